/* test-json.c: lib/json.h.
 * SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
test_good(void)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"{}", "{}"},
		{" \t\r\n{ \"a\" : [ 1 , 2 ] } \t\r\n", "{\"a\":[1,2]}"},
		{"[]", "[]"},
		{"[ ]", "[]"},
		{"{ }", "{}"},
		{"\"text\"", "\"text\""},
		{"\"\"", "\"\""},
		{"12", "12"},
		{" 12 ", "12"},
		{"-1", "-1"},
		{"0", "0"},
		{"true", "true"},
		{"false ", "false"},
		{"[null]", "[null]"},
		{"[true,false]", "[true,false]"},
		{"[0.5]", "[0.5]"},
		{"[-0.5e-3]", "[-0.5e-3]"},
		{"[1E+5]", "[1E+5]"},
		{"[9223372036854775807]", "[9223372036854775807]"},
		{"[-9223372036854775808]", "[-9223372036854775808]"},
		{"{\"\":1}", "{\"\":1}"},
		{"{\"a\":1,\"a\":2}", "{\"a\":2}"}, /* the last one counts */
		{"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
		 "[\"\\\"\\\\/\\b\\f\\n\\r\\t\"]"},
		{"[\"\\u00e9\\u20ac\"]", "[\"\xc3\xa9\xe2\x82\xac\"]"},
		{"[\"\\ud834\\udd1e\"]", "[\"\xf0\x9d\x84\x9e\"]"},
		{"[\"\xf0\x9d\x84\x9e\x7f\"]", "[\"\xf0\x9d\x84\x9e\x7f\"]"},
		{"[\"</script>\"]", "[\"</script>\"]"},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		json_object *o = json_read(a, rows[i].in, strlen(rows[i].in));

		if (o == NULL)
			tap_note("refused: %s", rows[i].in);
		TAP_STRING(o ? json_write(o, NULL) : NULL, rows[i].out);
	}
	arena_free(a);
}

static void
test_bad(void)
{
	static const char *const rows[] = {
		/* Nothing, or not all. */
		"",
		" ",
		"\t\r\n",
		"{",
		"}",
		"[",
		"]",
		"[1",
		"[1,",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,",
		"\"",
		"\"a",
		"tru",
		"nul",
		"-",
		"[\"a",
		"[\"\\",
		"[\"\\u",
		"[\"\\u00",
		"[\"\\u00e\"]",
		/* More than one value. */
		"{} {}",
		"{}x",
		"{},",
		"[]]",
		"1 2",
		"12abc",
		"{}{}",
		"[1 2]",
		"[1]//",
		"\"a\"\"b\"",
		/* What JavaScript or C would take. */
		"null",
		"NaN",
		"[NaN]",
		"{\"a\":NaN}",
		"[Infinity]",
		"[-Infinity]",
		"[nan]",
		"[undefined]",
		"{'a':1}",
		"['a']",
		"{a:1}",
		"[1,]",
		"{\"a\":1,}",
		"[,1]",
		"[,]",
		"{,}",
		"[1,,2]",
		"/**/{}",
		"{}/**/",
		"{}//",
		"{/*a*/}",
		"#\n{}",
		"(1)",
		"[True]",
		"[TRUE]",
		"[NULL]",
		"[`a`]",
		/* Numbers that are none. */
		"01",
		"[01]",
		"[-01]",
		"[00]",
		"[+1]",
		"[.5]",
		"[1.]",
		"[-.5]",
		"[0x1]",
		"[1e]",
		"[1e+]",
		"[1.2.3]",
		"[1e5e5]",
		"[--1]",
		"[1-2]",
		"[1_000]",
		"[1a]",
		/* Texts that are none. */
		"[\"\n\"]",
		"[\"\t\"]",
		"[\"\x01\"]",
		"[\"\x1f\"]",
		"[\"\\x41\"]",
		"[\"\\0\"]",
		"[\"\\'\"]",
		"[\"\\u{41}\"]",
		"[\"\\U0041\"]",
		"{1:2}",
		"{null:1}",
		"{\"a\" 1}",
		"{\"a\"=1}",
		"{\"a\":1 \"b\":2}",
		"{[]:1}",
		/* White space that is none. */
		"\v{}",
		"\f{}",
		"\xc2\xa0{}",
		"\xef\xbb\xbf{}",
		/* Not UTF-8: stray, cut off, overlong, surrogates, too high. */
		"[\"\x80\"]",
		"[\"\xff\"]",
		"[\"\xc3\"]",
		"[\"\xe2\x82\"]",
		"[\"\xc0\x80\"]",
		"[\"\xc0\xaf\"]",
		"[\"\xe0\x80\xaf\"]",
		"[\"\xed\xa0\x80\"]",
		"[\"\xf5\x80\x80\x80\"]",
		"[\"\xf4\x90\x80\x80\"]",
		"\xff\xfe{}",
		"{\"\xff\":1}",
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		json_object *o = json_read(a, rows[i], strlen(rows[i]));

		if (o != NULL)
			tap_note("taken: %s", rows[i]);
		CU_ASSERT_PTR_NULL(o);
	}
	arena_free(a);
}

/* A text that ends early or late by a NUL byte, which is none of JSON's. */
static void
test_nul(void)
{
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
		{"\0", 1},	    {"{}\0", 3},
		{"{}\0x", 4},	    {"12\0", 3},
		{"\0{}", 3},	    {"[1\0]", 4},
		{"[1\0,2]", 6},	    {"[\"a\0b\"]", 7},
		{"{\"a\0\":1}", 8}, {"{\"a\":1}\0\0\0", 10},
		{"tr\0ue", 5},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++)
		CU_ASSERT_PTR_NULL(json_read(a, rows[i].text, rows[i].len));
	/* The length counts, not what is behind it. */
	CU_ASSERT_PTR_NOT_NULL(json_read(a, "{}garbage", 2));
	CU_ASSERT_PTR_NOT_NULL(json_read(a, "125", 2));
	TAP_STRING(json_write(json_read(a, "125", 2), NULL), "12");
	arena_free(a);
}

/* Every beginning of a document is refused, and no byte behind it is read:
 * each copy has exactly the size that is told, for AddressSanitizer. */
static void
test_truncated(void)
{
	static const char text[] =
		"{\"title\":\"N\xc3\xb6tes \\u00e9\\n\",\"price\":-1.5e+3,"
		"\"list\":[true,false,null,{}],\"inner\":{\"a\":[]}}";
	struct arena *a = arena_new();
	size_t len = sizeof(text) - 1;

	for (size_t n = 0; n <= len; n++) {
		char *copy = malloc(n ? n : 1);

		memcpy(copy, text, n);
		CU_ASSERT_EQUAL(json_read(a, copy, n) != NULL, n == len);
		free(copy);
	}
	arena_free(a);
}

/* Opens brackets of depth levels around a 1. */
static char *
nested(struct arena *a, int depth, const char *open, const char *close)
{
	char *text = arena_alloc(a, (size_t)depth * 6 + 2), *p = text;

	for (int i = 0; i < depth; i++)
		p = stpcpy(p, open);
	*p++ = '1';
	for (int i = 0; i < depth; i++)
		p = stpcpy(p, close);
	return text;
}

static void
test_depth(void)
{
	static const struct {
		int depth;
		int taken;
	} rows[] = {
		{1, 1},
		{JSON_MAX_DEPTH - 1, 1},
		{JSON_MAX_DEPTH, 1},
		{JSON_MAX_DEPTH + 1, 0},
		{1000, 0},
		{1000000, 0},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		char *list = nested(a, rows[i].depth, "[", "]");
		char *object = nested(a, rows[i].depth, "{\"a\":", "}");

		TAP_INT(json_read(a, list, strlen(list)) != NULL,
			rows[i].taken);
		TAP_INT(json_read(a, object, strlen(object)) != NULL,
			rows[i].taken);
	}
	arena_free(a);
}

/* Big ones are read or refused like small ones; how big one may be is for
 * others to say. */
static void
test_10_mb(void)
{
	size_t len = 10000000;
	char *text = malloc(len + 1);
	struct arena *a = arena_new();
	json_object *o;

	memset(text, 'x', len);
	text[0] = text[len - 1] = '"';
	o = json_read(a, text, len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	TAP_INT(json_object_get_string_len(o), len - 2);
	CU_ASSERT_PTR_NULL(json_read(a, text, len - 1));
	memset(text, '[', len);
	CU_ASSERT_PTR_NULL(json_read(a, text, len));
	for (size_t i = 0; i < len; i++)
		text[i] = i % 2 ? ',' : '1';
	text[0] = '[';
	text[len - 1] = ']';
	CU_ASSERT_PTR_NULL(json_read(a, text, len));
	text[1] = ' ';
	o = json_read(a, text, len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	TAP_INT(json_object_array_length(o), len / 2 - 1);
	memset(text, ' ', len);
	CU_ASSERT_PTR_NULL(json_read(a, text, len));
	arena_free(a);
	free(text);
}

/* 1e400 is a number by the grammar; whoever wants an int refuses it. */
static void
test_numbers(void)
{
	static const struct {
		const char *text;
		json_type type;
	} rows[] = {
		{"[1]", json_type_int},		{"[-0]", json_type_int},
		{"[1.0]", json_type_double},	{"[1e2]", json_type_double},
		{"[1e400]", json_type_double},	{"[-1e400]", json_type_double},
		{"[1e-400]", json_type_double},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		json_object *o =
			json_read(a, rows[i].text, strlen(rows[i].text));

		CU_ASSERT_PTR_NOT_NULL_FATAL(o);
		TAP_INT(json_object_get_type(json_object_array_get_idx(o, 0)),
			rows[i].type);
	}
	arena_free(a);
}

static void
test_members(void)
{
	static const char text[] = "{\"s\":\"x\",\"n\":1,\"z\":null,"
				   "\"nul\":\"a\\u0000b\",\"o\":{},\"l\":[]}";
	struct arena *a = arena_new();
	json_object *o = json_read(a, text, strlen(text));

	CU_ASSERT_PTR_NOT_NULL(json_member(o, "s", json_type_string));
	CU_ASSERT_PTR_NOT_NULL(json_member(o, "n", json_type_int));
	CU_ASSERT_PTR_NOT_NULL(json_member(o, "o", json_type_object));
	CU_ASSERT_PTR_NOT_NULL(json_member(o, "l", json_type_array));
	CU_ASSERT_PTR_NULL(json_member(o, "s", json_type_int));
	CU_ASSERT_PTR_NULL(json_member(o, "z", json_type_string));
	CU_ASSERT_PTR_NULL(json_member(o, "absent", json_type_string));
	CU_ASSERT_PTR_NULL(json_member(NULL, "s", json_type_string));
	CU_ASSERT_PTR_NULL(json_member(json_member(o, "l", json_type_array),
				       "s", json_type_string));
	TAP_STRING(json_text(o, "s"), "x");
	TAP_STRING(json_text(o, "n"), NULL);
	TAP_STRING(json_text(o, "z"), NULL);
	TAP_STRING(json_text(o, "nul"), NULL);
	TAP_STRING(json_text(o, "absent"), NULL);
	TAP_STRING(json_text(NULL, "s"), NULL);
	arena_free(a);
}

static void
test_write(void)
{
	struct arena *a = arena_new();
	json_object *o = json_new_object(a), *l = json_new_array(a);
	size_t len = 0;

	json_put_text(o, "text", "a\"b\\c\n\x01</\xc3\xa9");
	json_put_text(o, "none", NULL);
	json_put_int(o, "least", INT64_MIN);
	json_put_int(o, "most", INT64_MAX);
	json_object_array_add(l, json_object_new_boolean(1));
	json_put(o, "list", json_object_get(l));
	json_put_int(o, "least", 0); /* replaced */
	TAP_STRING(
		json_write(o, &len),
		"{\"text\":\"a\\\"b\\\\c\\n\\u0001</\xc3\xa9\",\"none\":null,"
		"\"least\":0,\"most\":9223372036854775807,"
		"\"list\":[true]}");
	TAP_INT(len, strlen(json_write(o, NULL)));
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what is JSON", test_good},
		{"what is not", test_bad},
		{"NUL bytes", test_nul},
		{"truncated anywhere", test_truncated},
		{"depth", test_depth},
		{"10 MB", test_10_mb},
		{"types of numbers", test_numbers},
		{"members", test_members},
		{"writing", test_write},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
