/* test-record.c: lib/record.h.
 * SPDX-License-Identifier: MIT */
#include "record.h"

#include <string.h>

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID1 "0123456789abcdef01234567"
#define ID2 "fedcba987654321001234567"

struct inner {
	const char *name;
	int64_t size;
};

static const struct field inner_fields[] = {
	FIELD(struct inner, name, "name", FIELD_TEXT, .flags = FIELD_REQUIRED,
	      .min = 1, .max = 5),
	FIELD(struct inner, size, "size", FIELD_INT, .max = 9),
	{0},
};

struct thing {
	char id[ID_SIZE], other[ID_SIZE];
	const char *title, *note, *secret;
	int64_t price, count, at;
	bool yes;
	struct inner inner;
};

static bool
is_even(const void *member)
{
	return *(const int64_t *)member % 2 == 0;
}

static const struct field fields[] = {
	FIELD(struct thing, id, "id", FIELD_ID),
	FIELD(struct thing, other, "otherId", FIELD_ID),
	FIELD(struct thing, title, "title", FIELD_TEXT,
	      .flags = FIELD_REQUIRED | FIELD_TRIM, .min = 1, .max = 5,
	      .msg = "A title has 1 to 5 characters"),
	FIELD(struct thing, note, "note", FIELD_TEXT),
	FIELD(struct thing, secret, "secret", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct thing, price, "price", FIELD_INT,
	      .flags = FIELD_REQUIRED | FIELD_ZERO, .min = -10, .max = 1000,
	      .valid = is_even),
	FIELD(struct thing, count, "count", FIELD_INT),
	FIELD(struct thing, at, "at", FIELD_TIME),
	FIELD(struct thing, yes, "yes", FIELD_BOOL),
	FIELD(struct thing, inner, "inner", FIELD_RECORD,
	      .fields = inner_fields),
	{0},
};

/* The fields that a failure names, as "title price"; "" when there is none,
 * "!" when it is no validation failure. */
static const char *
named(struct arena *a, const struct fail *fail)
{
	const char *names = "";

	if (fail == NULL)
		return "";
	if (fail->status != 400 || fail->reasons == NULL)
		return "!";
	for (const struct reason *r = fail->reasons; r != NULL; r = r->next)
		names = arena_printf(a, "%s%s%s", names, *names ? " " : "",
				     r->param ? r->param : "!");
	return names;
}

static json_object *
parse(struct arena *a, const char *text)
{
	json_object *o = json_read(a, text, strlen(text));

	if (o == NULL)
		tap_note("not JSON: %s", text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	return o;
}

static void
test_read(void)
{
	static const char text[] =
		"{\"id\":\"" ID1 "\",\"otherId\":\"" ID2 "\","
		"\"title\":\" \\t\\r\\nN\xc3\xb6t\xe2\x82\xac \\n\","
		"\"note\":\"  kept \",\"secret\":\"s\",\"price\":-10,"
		"\"count\":9223372036854775806,"
		"\"at\":\"2026-01-31T09:00:00.123Z\",\"yes\":true,"
		"\"inner\":{\"name\":\"in\",\"size\":9}}";
	struct arena *a = arena_new();
	struct thing t = {0};
	uint64_t given = 0;

	CU_ASSERT_PTR_NULL(
		record_from_json(a, fields, parse(a, text), &t, &given));
	TAP_STRING(t.id, ID1);
	TAP_STRING(t.other, ID2);
	TAP_STRING(t.title, "N\xc3\xb6t\xe2\x82\xac");
	TAP_STRING(t.note, "  kept ");
	TAP_STRING(t.secret, "s");
	TAP_INT(t.price, -10);
	TAP_INT(t.count, INT64_MAX - 1);
	TAP_INT(t.at, 1769850000123);
	TAP_INT(t.yes, true);
	TAP_STRING(t.inner.name, "in");
	TAP_INT(t.inner.size, 9);
	TAP_INT(given, (1 << (COUNT(fields) - 1)) - 1);
	arena_free(a);
}

static void
test_given(void)
{
	static const struct {
		const char *text;
		uint64_t given;
	} rows[] = {
		{"{\"title\":\"a\",\"price\":0}", 1 << 2 | 1 << 5},
		{"{\"title\":\"a\",\"price\":0,\"note\":null,\"at\":null,"
		 "\"inner\":null}",
		 1 << 2 | 1 << 5},
		{"{\"title\":\"a\",\"price\":0,\"note\":\"\",\"yes\":false,"
		 "\"count\":0}",
		 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct thing t = {0};
		uint64_t given = 0;

		CU_ASSERT_PTR_NULL(record_from_json(
			a, fields, parse(a, rows[i].text), &t, &given));
		TAP_INT(given, rows[i].given);
	}
	arena_free(a);
}

/* Each is put into an object that has what is required. */
static void
test_bad_values(void)
{
	static const struct {
		const char *members, *bad; /* bad: the fields named */
	} rows[] = {
		{"", ""},
		{"\"unknown\":1,\"$where\":\"1\",\"__proto__\":{},\"\":0", ""},
		/* ids */
		{"\"id\":\"\"", "id"},
		{"\"id\":\"0123456789abcdef0123456\"", "id"},
		{"\"id\":\"0123456789abcdef012345678\"", "id"},
		{"\"id\":\"0123456789ABCDEF01234567\"", "id"},
		{"\"id\":\"0123456789abcdef0123456\\u0000\"", "id"},
		{"\"id\":\"" ID1 "\\u0000\"", "id"},
		{"\"id\":12", "id"},
		{"\"id\":{\"$gt\":\"\"}", "id"},
		{"\"id\":{\"$oid\":\"" ID1 "\"}", "id"},
		{"\"id\":[\"" ID1 "\"]", "id"},
		{"\"id\":true", "id"},
		/* texts */
		{"\"note\":\"\"", ""},
		{"\"note\":\"a\\u0000b\"", "note"},
		{"\"note\":\"\\u0000\"", "note"},
		{"\"note\":1", "note"},
		{"\"note\":1.5", "note"},
		{"\"note\":true", "note"},
		{"\"note\":{\"$gt\":\"\"}", "note"},
		{"\"note\":{}", "note"},
		{"\"note\":[]", "note"},
		{"\"note\":[\"x\"]", "note"},
		/* ints */
		{"\"count\":0", ""},
		{"\"count\":-0", ""},
		{"\"count\":9223372036854775806", ""},
		{"\"count\":-9223372036854775807", ""},
		{"\"count\":9223372036854775807", "count"},
		{"\"count\":9223372036854775808", "count"},
		{"\"count\":-9223372036854775808", "count"},
		{"\"count\":-9223372036854775809", "count"},
		{"\"count\":18446744073709551615", "count"},
		{"\"count\":18446744073709551616", "count"},
		{"\"count\":99999999999999999999999999", "count"},
		{"\"count\":-99999999999999999999999999", "count"},
		{"\"count\":1e400", "count"},
		{"\"count\":-1e400", "count"},
		{"\"count\":1.0", "count"},
		{"\"count\":1.5", "count"},
		{"\"count\":1e2", "count"},
		{"\"count\":\"12\"", "count"},
		{"\"count\":\"12abc\"", "count"},
		{"\"count\":\"\"", "count"},
		{"\"count\":true", "count"},
		{"\"count\":{\"$gt\":\"\"}", "count"},
		{"\"count\":{\"$numberLong\":\"1\"}", "count"},
		{"\"count\":[1]", "count"},
		/* times */
		{"\"at\":\"2026-01-31T09:00:00Z\"", ""},
		{"\"at\":\"2026-02-31T09:00:00Z\"", "at"},
		{"\"at\":\"2026-01-31T09:00:00Z\\u0000\"", "at"},
		{"\"at\":\"\"", "at"},
		{"\"at\":1769850000123", "at"},
		{"\"at\":{\"$date\":0}", "at"},
		/* truth */
		{"\"yes\":false", ""},
		{"\"yes\":0", "yes"},
		{"\"yes\":1", "yes"},
		{"\"yes\":\"true\"", "yes"},
		{"\"yes\":{}", "yes"},
		/* records */
		{"\"inner\":{\"name\":\"in\"}", ""},
		{"\"inner\":{}", "inner.name"},
		{"\"inner\":{\"name\":null}", "inner.name"},
		{"\"inner\":{\"name\":\"toolong\",\"size\":10}",
		 "inner.name inner.size"},
		{"\"inner\":\"in\"", "inner"},
		{"\"inner\":[]", "inner"},
		{"\"inner\":[{\"name\":\"in\"}]", "inner"},
		{"\"inner\":1", "inner"},
		/* the last of two counts */
		{"\"note\":1,\"note\":\"x\"", ""},
		{"\"note\":\"x\",\"note\":1", "note"},
		/* many at once, in the table's order */
		{"\"yes\":1,\"inner\":{\"size\":-1},\"id\":1,\"at\":1",
		 "id at yes inner.name inner.size"},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct thing t = {0};
		const char *text =
			arena_printf(a, "{\"title\":\"a\",\"price\":2%s%s}",
				     *rows[i].members ? "," : "",
				     rows[i].members);
		const struct fail *fail =
			record_from_json(a, fields, parse(a, text), &t, NULL);

		if (strcmp(named(a, fail), rows[i].bad) != 0)
			tap_note("%s", text);
		TAP_STRING(named(a, fail), rows[i].bad);
	}
	arena_free(a);
}

static void
test_ranges(void)
{
	static const struct {
		const char *text, *bad;
	} rows[] = {
		{"{}", "title price"},
		{"{\"title\":null,\"price\":null}", "title price"},
		{"{\"title\":\"\",\"price\":0}", "title"},
		{"{\"title\":\"  \\t\",\"price\":0}", "title"},
		{"{\"title\":\"12345\",\"price\":0}", ""},
		{"{\"title\":\" 12345 \",\"price\":0}", ""},
		{"{\"title\":\"123456\",\"price\":0}", "title"},
		/* characters, not bytes */
		{"{\"title\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\","
		 "\"price\":0}",
		 ""},
		{"{\"title\":\"\xf0\x9d\x84\x9e\xf0\x9d\x84\x9e\",\"price\":0}",
		 ""},
		{"{\"title\":\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9+\","
		 "\"price\":0}",
		 "title"},
		{"{\"title\":\"a\",\"price\":-10}", ""},
		{"{\"title\":\"a\",\"price\":-12}", "price"},
		{"{\"title\":\"a\",\"price\":1000}", ""},
		{"{\"title\":\"a\",\"price\":1002}", "price"},
		{"{\"title\":\"a\",\"price\":1}", "price"}, /* not even */
		{"{\"title\":\"\",\"price\":1}", "title price"},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct thing t = {0};
		const struct fail *fail = record_from_json(
			a, fields, parse(a, rows[i].text), &t, NULL);

		if (strcmp(named(a, fail), rows[i].bad) != 0)
			tap_note("%s", rows[i].text);
		TAP_STRING(named(a, fail), rows[i].bad);
	}
	arena_free(a);
}

struct one {
	const char *size;
};
static const struct field one_fields[] = {
	FIELD(struct one, size, "size", FIELD_TEXT,
	      .one_of = ONE_OF("small", "large")),
	{0},
};

static void
test_one_of(void)
{
	struct one one = {NULL};
	struct arena *a = arena_new();

	TAP_STRING(named(a, record_from_query(a, one_fields, "size=large", &one,
					      NULL)),
		   "");
	TAP_STRING(one.size, "large");
	TAP_STRING(named(a, record_from_query(a, one_fields, "size=larg", &one,
					      NULL)),
		   "size");
	TAP_STRING(named(a,
			 record_from_query(a, one_fields, "size=", &one, NULL)),
		   "");
	arena_free(a);
}

static void
test_messages(void)
{
	struct arena *a = arena_new();
	struct thing t = {0};
	const struct fail *f = record_from_json(
		a, fields, parse(a, "{\"inner\":{}}"), &t, NULL);
	const struct reason *r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	TAP_STRING(f->name, "RequestValidationError");
	r = f->reasons;
	TAP_STRING(r->msg, "A title has 1 to 5 characters");
	r = r->next;
	TAP_STRING(r->msg, "Bad price");
	r = r->next;
	TAP_STRING(r->msg, "Bad name");
	CU_ASSERT_PTR_NULL(r->next);
	arena_free(a);
}

static void
test_no_object(void)
{
	static const char *const texts[] = {"[]", "[{\"title\":\"a\"}]",
					    "\"x\"", "12", "true"};
	struct arena *a = arena_new();
	struct thing t = {0};

	for (size_t i = 0; i < COUNT(texts); i++) {
		const struct fail *f = record_from_json(
			a, fields, parse(a, texts[i]), &t, NULL);

		CU_ASSERT_PTR_NOT_NULL_FATAL(f);
		TAP_STRING(f->name, "BadRequestError");
		TAP_STRING(f->reasons->param, NULL);
	}
	CU_ASSERT_PTR_NOT_NULL(record_from_json(a, fields, NULL, &t, NULL));
	arena_free(a);
}

struct search {
	const char *q;
	int64_t min, max;
	char seller[ID_SIZE];
	int64_t from;
};

static const struct field search_fields[] = {
	FIELD(struct search, q, "q", FIELD_TEXT, .flags = FIELD_TRIM, .min = 1,
	      .max = 10),
	FIELD(struct search, min, "min", FIELD_INT, .min = 0, .max = 1000),
	FIELD(struct search, max, "max", FIELD_INT),
	FIELD(struct search, seller, "seller", FIELD_ID),
	FIELD(struct search, from, "from", FIELD_TIME),
	{0},
};

static void
test_query(void)
{
	static const struct {
		const char *query, *bad, *q;
		int64_t min, max;
		uint64_t given;
	} rows[] = {
		{"", "", NULL, 0, 0, 0},
		{"&&&", "", NULL, 0, 0, 0},
		{"=", "", NULL, 0, 0, 0},
		{"q=ab", "", "ab", 0, 0, 1},
		{"q=a+b", "", "a b", 0, 0, 1},
		{"q=a%20b", "", "a b", 0, 0, 1},
		{"q=%2B%26%3D%25", "", "+&=%", 0, 0, 1},
		{"q=a=b", "", "a=b", 0, 0, 1},
		{"q=%c3%A9", "", "\xc3\xa9", 0, 0, 1},
		{"%71=x", "", "x", 0, 0, 1},
		{"min=50&max=60&q=x", "", "x", 50, 60, 7},
		{"max=60&q=x&&min=50&", "", "x", 50, 60, 7},
		{"min=0&max=-5", "", NULL, 0, -5, 6},
		{"max=9223372036854775806", "", NULL, 0, INT64_MAX - 1, 4},
		{"seller=" ID1, "", NULL, 0, 0, 8},
		{"from=2026-01-31T09:00:00Z", "", NULL, 0, 0, 16},
		{"from=2026-01-31T09%3A00%3A00Z", "", NULL, 0, 0, 16},
		{"unknown=1&$gt=&q[$gt]=", "", NULL, 0, 0, 0},
		{"%=1&%zz=2&%00=3", "", NULL, 0, 0, 0},
		/* an empty form field is none */
		{"q=&min=&seller=", "", NULL, 0, 0, 0},
		{"q&min", "", NULL, 0, 0, 0},
		{"q=12345678901", "q"},
		{"q=+", "q"}, /* nothing is left */
		{"q=%", "q"},
		{"q=%2", "q"},
		{"q=%2g", "q"},
		{"q=%g2", "q"},
		{"q=a%00b", "q"},
		{"q=%ff", "q"},
		{"q=%c0%80", "q"},
		{"q=%ed%a0%80", "q"},
		{"q=\xff", "q"},
		{"q=a&q=b", "q"},
		{"q=a&%71=a", "q"},
		{"min=1&min=1", "min"},
		{"min=-1", "min"},
		{"min=1001", "min"},
		{"min=12abc", "min"},
		{"min=abc", "min"},
		{"min=1.0", "min"},
		{"min=1e2", "min"},
		{"min=0x10", "min"},
		{"min=+5", "min"}, /* a space */
		{"min=%205", "min"},
		{"min=5%20", "min"},
		{"min=NaN", "min"},
		{"max=1e400", "max"},
		{"max=9223372036854775807", "max"},
		{"max=9223372036854775808", "max"},
		{"max=-9223372036854775809", "max"},
		{"max=99999999999999999999999", "max"},
		{"seller=x", "seller"},
		{"seller=%7B%22$gt%22:%22%22%7D", "seller"},
		{"seller=0123456789ABCDEF01234567", "seller"},
		{"from=2026-01-31", "from"},
		{"min=x&seller=x&from=x", "min seller from"},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct search s = {0};
		uint64_t given = 0;
		const struct fail *fail = record_from_query(
			a, search_fields, rows[i].query, &s, &given);

		if (strcmp(named(a, fail), rows[i].bad) != 0)
			tap_note("%s", rows[i].query);
		TAP_STRING(named(a, fail), rows[i].bad);
		if (fail != NULL || *rows[i].bad != '\0')
			continue;
		TAP_STRING(s.q, rows[i].q);
		TAP_INT(s.min, rows[i].min);
		TAP_INT(s.max, rows[i].max);
		TAP_INT(given, rows[i].given);
	}
	arena_free(a);
}

/* Both ways to write JSON write the same. */
static void
shown(struct arena *a, const struct thing *thing, const char *expected)
{
	struct json_out out = {a};

	TAP_STRING(json_write(record_to_json(a, fields, thing), NULL),
		   expected);
	record_print(&out, fields, thing);
	json_add(&out, "", 1);
	TAP_STRING(out.bytes, expected);
}

static void
test_to_json(void)
{
	const struct thing full = {
		.id = ID1,
		.other = ID2,
		.title = "a\"b",
		.note = "",
		.secret = "hidden",
		.price = 50,
		.count = INT64_MIN,
		.at = 1769850000123,
		.yes = true,
		.inner = {"in", 3},
	};
	const struct thing empty = {0};
	struct arena *a = arena_new();

	shown(a, &full,
	      "{\"id\":\"" ID1 "\",\"otherId\":\"" ID2 "\","
	      "\"title\":\"a\\\"b\",\"note\":\"\",\"price\":50,"
	      "\"count\":-9223372036854775808,"
	      "\"at\":\"2026-01-31T09:00:00.123Z\",\"yes\":true,"
	      "\"inner\":{\"name\":\"in\",\"size\":3}}");
	/* A zero is a value where the field says so, and absent elsewhere. */
	shown(a, &empty,
	      "{\"id\":null,\"otherId\":null,\"title\":null,"
	      "\"note\":null,\"price\":0,\"count\":null,\"at\":null,"
	      "\"yes\":false,\"inner\":{\"name\":null,\"size\":null}}");
	arena_free(a);
}

/* Each character below 128, and some above, is escaped as json-c does. */
static void
test_escapes(void)
{
	struct arena *a = arena_new();
	char text[2000], *p = text;
	struct thing thing = {.title = text, .note = "\xc3\xa4 \xe2\x82\xac"};

	for (int round = 0; round < 10; round++) /* also across growth */
		for (char c = 1; c < 127; c++)
			*p++ = c;
	*p = '\0';
	shown(a, &thing, json_write(record_to_json(a, fields, &thing), NULL));
	arena_free(a);
}

static void
test_bson_round_trip(void)
{
	const struct thing things[] = {
		{.id = ID1,
		 .other = ID2,
		 .title = "a",
		 .note = "",
		 .secret = "kept",
		 .price = 50,
		 .count = INT64_MAX,
		 .at = 1769850000123,
		 .yes = true,
		 .inner = {"in", 3}},
		{.id = ID1, .title = "\xc3\xa9", .count = INT64_MIN, .at = -1},
		{.id = ID1},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(things); i++) {
		const struct thing *t = &things[i];
		struct thing back = {0};
		bson_t doc = BSON_INITIALIZER;
		bson_oid_t oid;

		bson_oid_init_from_string(&oid, t->id);
		BSON_APPEND_OID(&doc, "_id", &oid);
		record_to_bson(fields, t, &doc, NULL);
		record_from_bson(a, fields, &doc, &back, NULL);
		TAP_STRING(back.id, t->id);
		TAP_STRING(back.other, t->other);
		TAP_STRING(back.title, t->title);
		TAP_STRING(back.note, t->note);
		TAP_STRING(back.secret, t->secret);
		TAP_INT(back.price, t->price);
		TAP_INT(back.count, t->count);
		TAP_INT(back.at, t->at);
		TAP_INT(back.yes, t->yes);
		TAP_STRING(back.inner.name, t->inner.name);
		TAP_INT(back.inner.size, t->inner.size);
		bson_destroy(&doc);
	}
	arena_free(a);
}

/* The BSON as extended JSON. */
static void
assert_bson(const bson_t *b, const char *expected)
{
	char *text = bson_as_canonical_extended_json(b, NULL);

	TAP_STRING(text, expected);
	bson_free(text);
}

static void
test_to_bson(void)
{
	const struct thing t = {
		.id = ID1, .title = "a", .yes = true, .inner = {.size = 2}};
	bson_t set = BSON_INITIALIZER, unset = BSON_INITIALIZER;

	record_to_bson(fields, &t, &set, &unset);
	assert_bson(&set,
		    "{ \"title\" : \"a\", "
		    "\"price\" : { \"$numberLong\" : \"0\" }, "
		    "\"yes\" : true, "
		    "\"inner\" : { \"size\" : { \"$numberLong\" : \"2\" } } }");
	assert_bson(&unset, "{ \"otherId\" : true, \"note\" : true, "
			    "\"secret\" : true, \"count\" : true, "
			    "\"at\" : true }");
	bson_destroy(&set);
	bson_destroy(&unset);
}

/* A document that someone else wrote can't upset a reader. */
static void
test_from_foreign_bson(void)
{
	struct arena *a = arena_new();
	bson_t doc = BSON_INITIALIZER, inner;
	struct thing t = {0};

	BSON_APPEND_UTF8(&doc, "_id", "not an oid");
	BSON_APPEND_UTF8(&doc, "otherId", ID1);
	BSON_APPEND_INT32(&doc, "title", 5);
	BSON_APPEND_NULL(&doc, "note");
	BSON_APPEND_DOUBLE(&doc, "price", 1.5);
	BSON_APPEND_INT32(&doc, "count", 7);
	BSON_APPEND_INT64(&doc, "at", 12);
	BSON_APPEND_ARRAY_BEGIN(&doc, "inner", &inner);
	bson_append_array_end(&doc, &inner);
	BSON_APPEND_UTF8(&doc, "more", "x");
	record_from_bson(a, fields, &doc, &t, NULL);
	TAP_STRING(t.id, "");
	TAP_STRING(t.other, "");
	TAP_STRING(t.title, NULL);
	TAP_STRING(t.note, NULL);
	TAP_INT(t.price, 0);
	TAP_INT(t.count, 7); /* 32 bits are an int too */
	TAP_INT(t.at, 0);
	TAP_INT(t.yes, false);
	TAP_STRING(t.inner.name, NULL);
	bson_destroy(&doc);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"each type is read", test_read},
		{"what was given is told", test_given},
		{"bad values are named, all at once", test_bad_values},
		{"ranges", test_ranges},
		{"one of some texts", test_one_of},
		{"messages", test_messages},
		{"what is no object", test_no_object},
		{"queries", test_query},
		{"as JSON, without what is hidden", test_to_json},
		{"escapes", test_escapes},
		{"to BSON and back", test_bson_round_trip},
		{"what is absent is unset", test_to_bson},
		{"a document of others", test_from_foreign_bson},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
