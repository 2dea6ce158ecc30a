/* record.c: see record.h.
 * SPDX-License-Identifier: MIT */
#include "record.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

/* Where the member that f describes is in rec. */
static void *
member(const struct field *f, const void *rec)
{
	return (char *)rec + f->offset;
}

static size_t
characters(const char *utf8)
{
	size_t n = 0;

	for (; *utf8 != '\0'; utf8++)
		n += ((unsigned char)*utf8 & 0xC0) != 0x80;
	return n;
}

static const char *
trim(struct arena *a, const char *s)
{
	size_t len;

	s += strspn(s, " \t\r\n");
	for (len = strlen(s); len > 0 && strchr(" \t\r\n", s[len - 1]);)
		len--;
	return arena_strndup(a, s, len);
}

static bool
in_range(const struct field *f, int64_t n)
{
	return (f->min == 0 && f->max == 0) || (n >= f->min && n <= f->max);
}

static bool
listed(const struct field *f, const char *s)
{
	for (const char *const *p = f->one_of; p != NULL && *p != NULL; p++)
		if (strcmp(*p, s) == 0)
			return true;
	return f->one_of == NULL;
}

/* Reads one JSON value into its member.  Returns false when it is bad. */
static bool
read_value(struct arena *a, const struct field *f, json_object *v, void *rec)
{
	void *m = member(f, rec);
	const char *s = NULL;
	int64_t n;

	if (f->type == FIELD_TEXT || f->type == FIELD_ID ||
	    f->type == FIELD_TIME) {
		if (!json_object_is_type(v, json_type_string))
			return false;
		s = json_object_get_string(v);
		if (strlen(s) != (size_t)json_object_get_string_len(v))
			return false;
	}
	switch (f->type) {
	case FIELD_TEXT:
		s = f->flags & FIELD_TRIM ? trim(a, s) : arena_strdup(a, s);
		*(const char **)m = s;
		if (!in_range(f, (int64_t)characters(s)) || !listed(f, s))
			return false;
		break;
	case FIELD_ID:
		if (!id_valid(s))
			return false;
		memcpy(m, s, ID_SIZE);
		break;
	case FIELD_TIME:
		if (clock_parse(s, m) != 0)
			return false;
		break;
	case FIELD_INT:
		if (!json_object_is_type(v, json_type_int))
			return false;
		/* json-c makes INT64_MAX or MIN of what does not fit, and
		 * keeps some of it as unsigned: none of these is a value. */
		n = json_object_get_int64(v);
		if (n == INT64_MAX || n == INT64_MIN || !in_range(f, n))
			return false;
		*(int64_t *)m = n;
		break;
	case FIELD_BOOL:
		if (!json_object_is_type(v, json_type_boolean))
			return false;
		*(bool *)m = json_object_get_boolean(v);
		break;
	case FIELD_RECORD:
		return json_object_is_type(v, json_type_object);
	}
	return true;
}

static const char *
message(struct arena *a, const struct field *f)
{
	return f->msg ? f->msg : arena_printf(a, "Bad %s", f->name);
}

/* As read_value(), but returns NULL, or what is wrong with it. */
static const char *
read_member(struct arena *a, const struct field *f, json_object *v, void *rec)
{
	if (!read_value(a, f, v, rec))
		return message(a, f);
	if (f->valid == NULL || f->valid(member(f, rec)))
		return NULL;
	return f->not_valid ? f->not_valid : message(a, f);
}

static struct fail *
read_fields(struct arena *a, const struct field *fields, json_object *o,
	    void *rec, uint64_t *given, const char *prefix, struct fail *fail)
{
	*given = 0;
	for (const struct field *f = fields; f->name != NULL; f++) {
		json_object *v = NULL;
		const char *wrong = NULL;
		uint64_t inner;
		bool there =
			json_object_object_get_ex(o, f->name, &v) && v != NULL;

		if (there)
			*given |= UINT64_C(1) << (f - fields);
		if (there)
			wrong = read_member(a, f, v, rec);
		else if (f->flags & FIELD_REQUIRED)
			wrong = message(a, f);
		if (wrong != NULL)
			fail = fail_field(a, fail,
					  arena_printf(a, "%s%s", prefix,
						       f->name),
					  wrong);
		else if (there && f->type == FIELD_RECORD)
			fail = read_fields(
				a, f->fields, v, member(f, rec), &inner,
				arena_printf(a, "%s%s.", prefix, f->name),
				fail);
	}
	return fail;
}

const struct fail *
record_from_json(struct arena *a, const struct field *fields, json_object *o,
		 void *rec, uint64_t *ret_given)
{
	uint64_t given;
	const struct fail *fail;

	if (!json_object_is_type(o, json_type_object))
		return fail_bad_request(a, "A JSON object is expected");
	fail = read_fields(a, fields, o, rec, &given, "", NULL);
	if (ret_given != NULL)
		*ret_given = given;
	return fail;
}

static int
hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10;
}

/* Undoes the percent and plus encoding of len bytes; NULL when it is ill-
 * formed, has a NUL or is not UTF-8. */
static char *
decode(struct arena *a, const char *s, size_t len)
{
	char *out = arena_alloc(a, len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			if (i + 2 >= len ||
			    !isxdigit((unsigned char)s[i + 1]) ||
			    !isxdigit((unsigned char)s[i + 2]))
				return NULL;
			c = (char)(hex(s[i + 1]) << 4 | hex(s[i + 2]));
			i += 2;
		}
		if (c == '\0')
			return NULL;
		out[n++] = c;
	}
	return bson_utf8_validate(out, n, false) ? out : NULL;
}

static json_object *
query_value(const struct field *f, const char *text)
{
	char *end;
	long long n;

	if (f->type != FIELD_INT)
		return json_object_new_string(text);
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' ||
	    isspace((unsigned char)*text))
		return json_object_new_string(text); /* not an int: bad */
	return json_object_new_int64(n);
}

const struct fail *
record_from_query(struct arena *a, const struct field *fields,
		  const char *query, void *rec, uint64_t *ret_given)
{
	json_object *o = json_new_object(a);
	struct fail *fail = NULL;

	for (const char *p = query; *p != '\0';) {
		size_t len = strcspn(p, "&"), eq = strcspn(p, "=&");
		char *name = decode(a, p, eq);
		char *value = eq < len ? decode(a, p + eq + 1, len - eq - 1)
				       : arena_strdup(a, "");
		const struct field *f = fields;

		p += len + (p[len] == '&');
		while (f->name != NULL &&
		       (name == NULL || strcmp(f->name, name) != 0))
			f++;
		if (f->name == NULL)
			continue;
		if (value == NULL ||
		    json_object_object_get_ex(o, f->name, NULL))
			fail = fail_field(a, fail, f->name, message(a, f));
		else if (*value != '\0') /* "min=" is an empty form field */
			json_put(o, f->name, query_value(f, value));
	}
	if (fail != NULL)
		return fail;
	return record_from_json(a, fields, o, rec, ret_given);
}

/* Is the member's value one that stands for absence? */
static bool
absent(const struct field *f, const void *m)
{
	switch (f->type) {
	case FIELD_TEXT:
		return *(const char *const *)m == NULL;
	case FIELD_ID:
		return *(const char *)m == '\0';
	case FIELD_INT:
		return *(const int64_t *)m == 0 && !(f->flags & FIELD_ZERO);
	case FIELD_TIME:
		return *(const int64_t *)m == 0;
	case FIELD_RECORD:
		return (f->flags & FIELD_OR_NULL) &&
		       absent(f->fields, member(f->fields, m));
	case FIELD_BOOL:
		break;
	}
	return false;
}

json_object *
record_to_json(struct arena *a, const struct field *fields, const void *rec)
{
	json_object *o = json_new_object(a), *v;

	for (const struct field *f = fields; f->name != NULL; f++) {
		const void *m = member(f, rec);

		if (f->flags & FIELD_HIDDEN ||
		    (f->flags & FIELD_OMIT && absent(f, m)))
			continue;
		v = NULL;
		if (!absent(f, m))
			switch (f->type) {
			case FIELD_TEXT:
				v = json_object_new_string(
					*(const char *const *)m);
				break;
			case FIELD_ID:
				v = json_object_new_string(m);
				break;
			case FIELD_TIME:
				v = json_object_new_string(
					clock_format(a, *(const int64_t *)m));
				break;
			case FIELD_INT:
				v = json_object_new_int64(*(const int64_t *)m);
				break;
			case FIELD_BOOL:
				v = json_object_new_boolean(*(const bool *)m);
				break;
			case FIELD_RECORD:
				v = json_object_get(
					record_to_json(a, f->fields, m));
				break;
			}
		json_put(o, f->name, v);
	}
	return o;
}

static void
print_value(struct json_out *out, const struct field *f, const void *m)
{
	if (absent(f, m)) {
		json_add(out, "null", 4);
		return;
	}
	switch (f->type) {
	case FIELD_TEXT:
		json_add_text(out, *(const char *const *)m);
		break;
	case FIELD_ID:
		json_add_text(out, m);
		break;
	case FIELD_TIME:
		json_add_text(out,
			      clock_format(out->arena, *(const int64_t *)m));
		break;
	case FIELD_INT:
		json_add_int(out, *(const int64_t *)m);
		break;
	case FIELD_BOOL:
		if (*(const bool *)m)
			json_add(out, "true", 4);
		else
			json_add(out, "false", 5);
		break;
	case FIELD_RECORD:
		record_print(out, f->fields, m);
		break;
	}
}

void
record_print(struct json_out *out, const struct field *fields, const void *rec)
{
	bool empty = true;

	for (const struct field *f = fields; f->name != NULL; f++) {
		const void *m = member(f, rec);

		if (f->flags & FIELD_HIDDEN ||
		    (f->flags & FIELD_OMIT && absent(f, m)))
			continue;
		json_add_name(out, f->name);
		print_value(out, f, m);
		empty = false;
	}
	if (empty)
		json_add(out, "{}", 2);
	else
		json_add(out, "}", 1);
}

static void
append(bson_t *b, const struct field *f, const void *m)
{
	bson_oid_t oid;
	bson_t inner;

	switch (f->type) {
	case FIELD_TEXT:
		BSON_APPEND_UTF8(b, f->name, *(const char *const *)m);
		break;
	case FIELD_ID:
		bson_oid_init_from_string(&oid, m);
		BSON_APPEND_OID(b, f->name, &oid);
		break;
	case FIELD_INT:
		BSON_APPEND_INT64(b, f->name, *(const int64_t *)m);
		break;
	case FIELD_TIME:
		BSON_APPEND_DATE_TIME(b, f->name, *(const int64_t *)m);
		break;
	case FIELD_BOOL:
		BSON_APPEND_BOOL(b, f->name, *(const bool *)m);
		break;
	case FIELD_RECORD:
		BSON_APPEND_DOCUMENT_BEGIN(b, f->name, &inner);
		for (f = f->fields; f->name != NULL; f++) {
			const void *mm = member(f, m);

			if (!absent(f, mm))
				append(&inner, f, mm);
		}
		bson_append_document_end(b, &inner);
		break;
	}
}

void
record_to_bson(const struct field *fields, const void *rec, bson_t *set,
	       bson_t *unset)
{
	for (const struct field *f = fields; f->name != NULL; f++) {
		const void *m = member(f, rec);

		if (strcmp(f->name, "id") == 0)
			continue;
		if (!absent(f, m))
			append(set, f, m);
		else if (unset != NULL)
			BSON_APPEND_BOOL(unset, f->name, true);
	}
}

/* The field that an element of a document is of; NULL: none.  They come in the
 * fields' order, so it is looked for from behind the last one. */
static const struct field *
field_of(const struct field *fields, const struct field *next, const char *key)
{
	if (strcmp(key, "_id") == 0)
		key = "id";
	for (const struct field *f = next; f->name != NULL; f++)
		if (strcmp(f->name, key) == 0)
			return f;
	for (const struct field *f = fields; f < next; f++)
		if (strcmp(f->name, key) == 0)
			return f;
	return NULL;
}

static void
read_document(struct arena *a, const struct field *fields, bson_iter_t *i,
	      void *rec, void (*other)(const bson_iter_t *at, void *rec))
{
	const struct field *f, *next = fields;
	bson_iter_t inner;
	const char *s;
	uint32_t len;
	void *m;

	while (bson_iter_next(i)) {
		f = field_of(fields, next, bson_iter_key(i));
		if (f == NULL) {
			if (other != NULL)
				other(i, rec);
			continue;
		}
		next = f + 1;
		m = member(f, rec);
		switch (f->type) {
		case FIELD_TEXT:
			if (!BSON_ITER_HOLDS_UTF8(i))
				break;
			s = bson_iter_utf8(i, &len);
			*(const char **)m = arena_strndup(a, s, len);
			break;
		case FIELD_ID:
			if (BSON_ITER_HOLDS_OID(i))
				bson_oid_to_string(bson_iter_oid(i), m);
			break;
		case FIELD_INT:
			if (BSON_ITER_HOLDS_INT(i))
				*(int64_t *)m = bson_iter_as_int64(i);
			break;
		case FIELD_TIME:
			if (BSON_ITER_HOLDS_DATE_TIME(i))
				*(int64_t *)m = bson_iter_date_time(i);
			break;
		case FIELD_BOOL:
			*(bool *)m = bson_iter_as_bool(i);
			break;
		case FIELD_RECORD:
			if (BSON_ITER_HOLDS_DOCUMENT(i) &&
			    bson_iter_recurse(i, &inner))
				read_document(a, f->fields, &inner, m, NULL);
			break;
		}
	}
}

void
record_from_bson(struct arena *a, const struct field *fields, const bson_t *doc,
		 void *rec, void (*other)(const bson_iter_t *at, void *rec))
{
	bson_iter_t i;

	if (bson_iter_init(&i, doc))
		read_document(a, fields, &i, rec, other);
}
