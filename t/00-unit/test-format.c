/* test-format.c: fcgi/storefront/format.h and form.h.
 * SPDX-License-Identifier: MIT */
#include "format.h"

#include <string.h>

#include "form.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID "0123456789abcdef01234567"

static struct arena *a;

static void
test_money(void)
{
	static const struct {
		int64_t cents;
		const char *text;
	} rows[] = {
		{0, "$0.00"},	       {5, "$0.05"},
		{99, "$0.99"},	       {1250, "$12.50"},
		{100000, "$1,000.00"}, {123456789, "$1,234,567.89"},
		{-150, "-$1.50"},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_STRING(format_money(a, rows[i].cents, false), rows[i].text);
	TAP_STRING(format_money(a, 0, true), "Free");
	TAP_STRING(format_amount(a, 1250), "12.50");
	TAP_STRING(format_amount(a, 7), "0.07");
}

static void
test_read_amount(void)
{
	static const struct {
		const char *typed;
		int64_t cents;
	} rows[] = {
		{"12", 1200},
		{"12.5", 1250},
		{"12.50", 1250},
		{" $1,234.50 ", 123450},
		{"0", 0},
		{"0.05", 5},
		{".5", 50},
		{"", -1},
		{".", -1},
		{"$", -1},
		{"-1", -1},
		{"1.234", -1},
		{"12 50", -1},
		{"1e3", -1},
		{"abc", -1},
		{"1.2.3", -1},
		{"12x", -1},
		{"99999999999999999999", -1},
		{"12,50.00", 125000},
		{"1.", 100},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_INT(format_read_amount(rows[i].typed), rows[i].cents);
}

static void
test_paths(void)
{
	static const struct {
		const char *title, *path;
	} rows[] = {
		{"Algebra notes", "/stuff/algebra-notes-" ID},
		{"  C++ & <b>you</b>! ", "/stuff/c-b-you-b-" ID},
		{"\xd0\x90\xd0\xb1\xd0\xb2", "/stuff/" ID},
		{"Caf\xc3\xa9 1", "/stuff/caf-1-" ID},
		{"", "/stuff/" ID},
		{"a/../../b?c#d%20", "/stuff/a-b-c-d-20-" ID},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_STRING(format_listing_path(a, ID, rows[i].title),
			   rows[i].path);
}

static void
test_texts(void)
{
	json_object *o = format_time(a, "2026-11-22T14:05:09.123Z");

	TAP_STRING(json_text(o, "iso"), "2026-11-22T14:05:09.123Z");
	TAP_STRING(json_text(o, "text"), "22 November 2026, 14:05 UTC");
	json_object_put(o);
	CU_ASSERT_PTR_NULL(format_time(a, "yesterday"));
	CU_ASSERT_PTR_NULL(format_time(a, NULL));
	TAP_STRING(format_size(a, 999), "999 bytes");
	TAP_STRING(format_size(a, 1200), "1.2 kB");
	TAP_STRING(format_size(a, 104857600), "105 MB");
	TAP_STRING(format_size(a, INT64_C(5000000000)), "5.0 GB");
	TAP_STRING(format_excerpt(a, " a\n\nb  c ", 20), "a b c ");
	TAP_STRING(format_excerpt(a, "one two three", 9),
		   "one two\xe2\x80\xa6");
	TAP_STRING(format_excerpt(a, "\xc3\xa9\xc3\xa9\xc3\xa9", 3),
		   "\xc3\xa9\xe2\x80\xa6");
	o = format_paragraphs(a, "\none\ntwo\n\n\n three \n\n");
	TAP_STRING(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
		   "[\"one\\ntwo\",\"three \"]");
	json_object_put(o);
}

static void
test_agents(void)
{
	static const char *const rows[][2] = {
		{"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "
		 "Firefox/128.0",
		 "Firefox on Linux"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
		 "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 "
		 "Edg/126.0.0.0",
		 "Edge on Windows"},
		{"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 "
		 "(KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
		 "Chrome on Android"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
		 "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
		 "Mobile/15E148 Safari/604.1",
		 "Safari on an iPhone"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
		 "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
		 "Safari/605.1.15",
		 "Safari on macOS"},
		{"curl/7.88.1", "curl/7.88.1"},
		{"", "An unknown program"},
		{"my own <b>Firefox</b>", "my own <b>Firefox</b>"},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_STRING(format_agent(a, rows[i][0]), rows[i][1]);
}

static void
test_forms(void)
{
	static const char *const bad[] = {
		"a=%",	 "a=%4",  "a=%zz", "a=%00", "a=%ff",
		"a=%c3", "%ff=a", "a=%1b", "a=%7f", "a=%ed%a0%80",
	};
	char many[8 * FORM_MAX_FIELDS] = "";
	struct form f;

	CU_ASSERT_FATAL(form_read(a, "a=1&b=x+y%26z&a=2&c&=d&e=%0d%0a&f=", &f));
	TAP_STRING(form_get(&f, "a"), "1");
	TAP_STRING(form_get(&f, "b"), "x y&z");
	TAP_STRING(form_get(&f, "c"), "");
	TAP_STRING(form_get(&f, "e"), "\n");
	TAP_STRING(form_get(&f, "none"), "");
	TAP_INT(f.count, 6);
	CU_ASSERT(form_read(a, "", &f));
	TAP_INT(f.count, 0);
	for (size_t i = 0; i < COUNT(bad); i++)
		CU_ASSERT_FALSE(form_read(a, bad[i], &f));
	for (int i = 0; i <= FORM_MAX_FIELDS; i++)
		strcat(many, "a=1&");
	CU_ASSERT_FALSE(form_read(a, many, &f));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"money", test_money},
		{"what is typed as money", test_read_amount},
		{"addresses of listings", test_paths},
		{"times, sizes, excerpts", test_texts},
		{"browsers", test_agents},
		{"forms", test_forms},
		{0},
	};
	int failed;

	a = arena_new();
	failed = tap_run(argc, argv, tests);
	arena_free(a);
	return failed;
}
