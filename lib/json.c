/* json.c: see json.h.
 * SPDX-License-Identifier: MIT */
#include "json.h"

#include <bson/bson.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#define DIGITS "0123456789"
#define OUT_SIZE 1024 /* of a struct json_out, to begin with */

static void
put(void *o)
{
	json_object_put(o);
}

/* What is left to read. */
struct text {
	const char *p, *end;
};

/* Takes one byte if it is in set. */
static bool
take(struct text *t, const char *set)
{
	if (t->p == t->end || *t->p == '\0' || strchr(set, *t->p) == NULL)
		return false;
	t->p++;
	return true;
}

static void
skip_space(struct text *t)
{
	while (take(t, " \t\r\n"))
		;
}

static bool
is_digits(struct text *t)
{
	if (!take(t, DIGITS))
		return false;
	while (take(t, DIGITS))
		;
	return true;
}

static bool
is_number(struct text *t)
{
	take(t, "-");
	if (!take(t, "0") && !is_digits(t))
		return false;
	if (take(t, ".") && !is_digits(t))
		return false;
	if (!take(t, "eE"))
		return true;
	take(t, "+-");
	return is_digits(t);
}

static bool
is_string(struct text *t)
{
	if (!take(t, "\""))
		return false;
	while (t->p < t->end && (unsigned char)*t->p >= ' ') {
		char c = *t->p++;

		if (c == '"')
			return true;
		if (c != '\\' || take(t, "\"\\/bfnrt"))
			continue;
		if (!take(t, "u"))
			return false;
		for (int i = 0; i < 4; i++)
			if (!take(t, DIGITS "abcdefABCDEF"))
				return false;
	}
	return false;
}

static bool
is_word(struct text *t, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(t->end - t->p) < len || memcmp(t->p, word, len) != 0)
		return false;
	t->p += len;
	return true;
}

static bool is_value(struct text *t, int depth);

/* The rest of an object or array, up to the bracket that closes it. */
static bool
is_list(struct text *t, const char *close, int depth)
{
	if (depth == JSON_MAX_DEPTH)
		return false;
	skip_space(t);
	if (take(t, close))
		return true;
	do {
		if (*close == '}') {
			skip_space(t);
			if (!is_string(t))
				return false;
			skip_space(t);
			if (!take(t, ":"))
				return false;
		}
		if (!is_value(t, depth + 1))
			return false;
	} while (take(t, ","));
	return take(t, close);
}

static bool
is_value(struct text *t, int depth)
{
	bool good;

	skip_space(t);
	if (take(t, "{"))
		good = is_list(t, "}", depth);
	else if (take(t, "["))
		good = is_list(t, "]", depth);
	else
		good = is_string(t) || is_word(t, "true") ||
		       is_word(t, "false") || is_word(t, "null") ||
		       is_number(t);
	skip_space(t);
	return good;
}

/*
 * Even when told to be strict, json-c 0.16 takes NaN, 'text', 007, 1., raw
 * control characters, and as UTF-8 what MongoDB then refuses: so the grammar
 * is checked here.
 */
static bool
is_json(const char *bytes, size_t len)
{
	struct text t = {bytes, bytes + len};

	return bson_utf8_validate(bytes, len, false) && is_value(&t, 0) &&
	       t.p == t.end;
}

json_object *
json_read(struct arena *a, const char *text, size_t len)
{
	json_tokener *t;
	json_object *o;
	enum json_tokener_error err;

	if (len == 0 || len > INT_MAX || !is_json(text, len))
		return NULL;
	t = json_tokener_new_ex(JSON_MAX_DEPTH + 1); /* it counts from 1 */
	o = json_tokener_parse_ex(t, text, (int)len);
	/* A bare number may go on: a NUL says that it does not. */
	if (json_tokener_get_error(t) == json_tokener_continue)
		o = json_tokener_parse_ex(t, "", 1);
	err = json_tokener_get_error(t);
	json_tokener_free(t);
	if (o != NULL)
		arena_defer(a, put, o);
	return err == json_tokener_success ? o : NULL;
}

json_object *
json_new_object(struct arena *a)
{
	return arena_defer(a, put, json_object_new_object());
}

json_object *
json_new_array(struct arena *a)
{
	return arena_defer(a, put, json_object_new_array());
}

json_object *
json_member(json_object *o, const char *name, json_type type)
{
	json_object *m;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, name, &m) ||
	    !json_object_is_type(m, type))
		return NULL;
	return m;
}

const char *
json_text(json_object *o, const char *name)
{
	json_object *m = json_member(o, name, json_type_string);
	const char *s;

	if (m == NULL)
		return NULL;
	s = json_object_get_string(m);
	return strlen(s) == (size_t)json_object_get_string_len(m) ? s : NULL;
}

void
json_put(json_object *o, const char *name, json_object *value)
{
	json_object_object_add(o, name, value);
}

void
json_put_text(json_object *o, const char *name, const char *value)
{
	json_put(o, name, value ? json_object_new_string(value) : NULL);
}

void
json_put_int(json_object *o, const char *name, int64_t value)
{
	json_put(o, name, json_object_new_int64(value));
}

const char *
json_clean(struct arena *a, const char *text)
{
	const char *end = text;
	char *copy;

	while (*end != '\0' && (unsigned char)*end < 128)
		end++; /* as most of them do */
	if (*end == '\0' || bson_utf8_validate(text, strlen(text), false))
		return text;
	copy = arena_strdup(a, text);
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p > 126)
			*p = '?';
	return copy;
}

const char *
json_write(json_object *o, size_t *ret_len)
{
	return json_object_to_json_string_length(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
		ret_len);
}

void
json_add(struct json_out *out, const char *bytes, size_t len)
{
	char *grown;

	if (out->size - out->len < len) {
		out->size = 2 * out->size + len + OUT_SIZE;
		grown = arena_alloc(out->arena, out->size);
		if (out->len > 0)
			memcpy(grown, out->bytes, out->len);
		out->bytes = grown;
	}
	memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
}

/* How many bytes of these stand for themselves, eight at a time. */
static size_t
plain(const char *s, size_t len)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	size_t n = 0;

	for (uint64_t w; n + sizeof(w) <= len; n += sizeof(w)) {
		memcpy(&w, s + n, sizeof(w));
		/* One is below ' ', or '"', or '\\', and none of these is
		 * above 127. */
		if (((w - ones * ' ') | ((w ^ ones * '"') - ones) |
		     ((w ^ ones * '\\') - ones)) &
		    ~w & ones * 128)
			break;
	}
	while (n < len && (unsigned char)s[n] >= ' ' && s[n] != '"' &&
	       s[n] != '\\')
		n++;
	return n;
}

/* As json-c escapes it. */
void
json_add_text(struct json_out *out, const char *utf8)
{
	static const char hex[] = "0123456789abcdef";
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

	size_t len = strlen(utf8);

	json_add(out, "\"", 1);
	for (;;) {
		size_t n = plain(utf8, len);
		unsigned char c = (unsigned char)utf8[n];
		char escape[] = "\\u00xx";
		const char *known;

		json_add(out, utf8, n);
		if (n == len)
			break;
		known = strchr(from, c);
		escape[4] = hex[c >> 4];
		escape[5] = hex[c & 15];
		if (known != NULL)
			escape[1] = to[known - from];
		json_add(out, escape, known ? 2 : 6);
		utf8 += n + 1;
		len -= n + 1;
	}
	json_add(out, "\"", 1);
}

void
json_add_int(struct json_out *out, int64_t n)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;

	do {
		*--p = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (n < 0)
		*--p = '-';
	json_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

void
json_add_name(struct json_out *out, const char *name)
{
	char last = '\0';

	if (out->len > 0)
		last = out->bytes[out->len - 1];
	if (last == '\0' || last == '[' || last == ':' || last == ',')
		json_add(out, "{\"", 2);
	else
		json_add(out, ",\"", 2);
	json_add(out, name, strlen(name));
	json_add(out, "\":", 2);
}
