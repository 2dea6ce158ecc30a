/* json.h: json-c with limits, and trees that an arena owns.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_JSON_H
#define TICKETING_JSON_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#define JSON_MAX_DEPTH 16

/*
 * Parses exactly len bytes of UTF-8 JSON (RFC 8259), nothing before or after
 * but white space, no deeper than JSON_MAX_DEPTH.  Returns NULL when it isn't;
 * a JSON null is refused too.  The arena owns the tree.
 */
json_object *json_read(struct arena *a, const char *text, size_t len);

/* A new empty object or array that the arena owns. */
json_object *json_new_object(struct arena *a);
json_object *json_new_array(struct arena *a);

/* Member `name` when o is an object that has one of that type, else NULL. */
json_object *json_member(json_object *o, const char *name, json_type type);

/* Text of a member that is a string without NUL bytes, else NULL. */
const char *json_text(json_object *o, const char *name);

/* Adds a member; o owns value then. */
void json_put(json_object *o, const char *name, json_object *value);
void json_put_text(json_object *o, const char *name, const char *value);
void json_put_int(json_object *o, const char *name, int64_t value);

/* The text, if it is UTF-8; else a copy in which what is not ASCII is "?". */
const char *json_clean(struct arena *a, const char *text);

/*
 * JSON that is written without a tree: for what every request writes.  It
 * starts with nothing but its arena; bytes is not NUL-terminated.
 */
struct json_out {
	struct arena *arena;
	char *bytes;
	size_t len, size;
};
void json_add(struct json_out *out, const char *bytes, size_t len); /* as is */
void json_add_text(struct json_out *out, const char *utf8);
void json_add_int(struct json_out *out, int64_t n);

/* The name of a member, which is none of a client's, and before it the brace
 * that opens the object, or a comma. */
void json_add_name(struct json_out *out, const char *name);

/* The text of a tree, without white space; the tree owns it. */
const char *json_write(json_object *o, size_t *ret_len);

#endif
