/* record.h: a struct described once, read and written from its description.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_RECORD_H
#define TICKETING_RECORD_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "fail.h"
#include "id.h"
#include "json.h"

/* The C type of the member that a field describes is in brackets.  An absent
 * value is NULL, "", 0 or false, and stands as null in JSON and not at all in
 * BSON (so a sparse index leaves it out). */
enum field_type {
	FIELD_TEXT,   /* const char *, UTF-8, in the arena */
	FIELD_ID,     /* char[ID_SIZE]; an ObjectId in BSON */
	FIELD_INT,    /* int64_t */
	FIELD_TIME,   /* int64_t, ms since 1970; RFC 3339 in JSON */
	FIELD_BOOL,   /* bool */
	FIELD_RECORD, /* a struct, described by .fields */
};

enum field_flags {
	FIELD_REQUIRED = 1, /* must be there when JSON is read */
	FIELD_HIDDEN = 2,   /* never shown: not written to JSON */
	FIELD_TRIM = 4,	    /* white space around a text is taken off */
	FIELD_ZERO = 8,	    /* an int whose 0 is a value: stands as 0 */
	FIELD_OMIT = 16,    /* not shown as null: left out when absent */
	FIELD_OR_NULL = 32, /* a record, absent when its first field is */
	FIELD_MANY = 64,    /* a list of it: in tables that only describe */
};

/* A table of these describes a struct; one with a NULL name ends it. */
struct field {
	const char *name; /* in JSON and BSON; "id" is "_id" in BSON */
	enum field_type type;
	size_t offset;
	unsigned flags;
	int64_t min, max; /* of an int's value, a text's characters; both 0:
			     any int that JSON can hold, any text */
	bool (*valid)(const void *member); /* or NULL; after all else */
	const char *msg; /* what one reads when it is bad; NULL: generic */
	const char *not_valid; /* the same when .valid says so; NULL: msg */
	const struct field *fields; /* of a FIELD_RECORD */
	const char *const *one_of;  /* a text's values, NULL ends them; or NULL:
				       any */
};

/* clang-format off */
#define FIELD(strukt, member, name_, type_, ...)                               \
	{.name = (name_), .type = (type_), .offset = offsetof(strukt, member), \
	 __VA_ARGS__}
/* clang-format on */

#define ONE_OF(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A row of a table that describes JSON which no struct stands behind. */
#define SHOWN(name_, type_, ...)                              \
	{                                                     \
		.name = (name_), .type = (type_), __VA_ARGS__ \
	}

/* Up to how many fields one table may hold, for the mask below. */
#define RECORD_MAX_FIELDS 64

/*
 * Reads an object from outside into rec, a zeroed struct.  Members that no
 * field names are passed over.  All bad fields are reported at once; the
 * param of one in a nested record is "outer.inner".  *ret_given, if not NULL,
 * gets bit i for each field i that was there and not null.
 */
const struct fail *record_from_json(struct arena *a, const struct field *fields,
				    json_object *o, void *rec,
				    uint64_t *ret_given);

/* As record_from_json(), from a query string ("q=a+b&min=50"): ints are read
 * from decimal text; a field given twice is bad. */
const struct fail *record_from_query(struct arena *a,
				     const struct field *fields,
				     const char *query, void *rec,
				     uint64_t *ret_given);

/* What the world may see of rec.  The arena owns the object. */
json_object *record_to_json(struct arena *a, const struct field *fields,
			    const void *rec);

/* The same as text. */
void record_print(struct json_out *out, const struct field *fields,
		  const void *rec);

/*
 * Appends each present field to `set` and the name of each absent one to
 * `unset` (which may be NULL).  The id is left out: it is the filter's.
 */
void record_to_bson(const struct field *fields, const void *rec, bson_t *set,
		    bson_t *unset);

/* Fills rec, a zeroed struct, from a document; members of another type than
 * the field's count as absent.  What no field names goes to other(), if that is
 * not NULL. */
void record_from_bson(struct arena *a, const struct field *fields,
		      const bson_t *doc, void *rec,
		      void (*other)(const bson_iter_t *at, void *rec));

#endif
