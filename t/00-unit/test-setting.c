/* test-setting.c: lib/setting.h.
 * SPDX-License-Identifier: MIT */
#include "setting.h"

#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *url, *key, *level, *old_key;
static int64_t workers, window;

static const struct setting first[] = {
	{.name = "T_URL", .text = &url},
	{.name = "T_KEY", .text = &key, .min = 8, .max = 12},
	{0},
};
static const struct setting second[] = {
	{.name = "T_LEVEL", .text = &level, .fallback = "info"},
	{.name = "T_OLD_KEY", .text = &old_key, .fallback = "", .min = 8},
	{.name = "T_WORKERS",
	 .number = &workers,
	 .fallback = "8",
	 .min = 1,
	 .max = 256},
	{.name = "T_WINDOW", .number = &window, .min = -5},
	{0},
};
static const struct setting *const tables[] = {first, second, NULL};

/* Sets the whole environment of these names, "NAME=value" each. */
static void
environment(const char *const *values, size_t count)
{
	clearenv();
	for (size_t i = 0; i < count && values[i] != NULL; i++) {
		char *name = strdup(values[i]), *eq = strchr(name, '=');

		*eq = '\0';
		setenv(name, eq + 1, 1);
		free(name);
	}
}

static void
test_good(void)
{
	char errors[200] = "untouched";

	environment((const char *const[]){"T_URL=x", "T_KEY=12345678",
					  "T_WINDOW=-5"},
		    3);
	TAP_INT(setting_read(tables, errors, sizeof(errors)), 0);
	TAP_STRING(url, "x");
	TAP_STRING(key, "12345678");
	TAP_STRING(level, "info");
	TAP_STRING(old_key, "");
	TAP_INT(workers, 8);
	TAP_INT(window, -5);

	environment((const char *const[]){"T_URL=y", "T_KEY=123456789012",
					  "T_WINDOW=9223372036854775807",
					  "T_LEVEL=debug", "T_WORKERS=256",
					  "T_OLD_KEY=abcdefgh"},
		    6);
	TAP_INT(setting_read(tables, errors, sizeof(errors)), 0);
	TAP_STRING(url, "y");
	TAP_STRING(level, "debug");
	TAP_STRING(old_key, "abcdefgh");
	TAP_INT(workers, 256);
	TAP_INT(window, INT64_MAX);
}

static void
test_bad(void)
{
	static const struct {
		const char *values[6];
		const char *errors;
	} rows[] = {
		/* all that is missing, in one sentence */
		{{NULL},
		 "T_URL is missing, T_KEY is missing, T_WINDOW is missing"},
		/* an empty one is missing */
		{{"T_URL=", "T_KEY=", "T_WINDOW=", "T_WORKERS="},
		 "T_URL is missing, T_KEY is missing, T_WINDOW is missing"},
		/* and no value is told */
		{{"T_URL=x", "T_KEY=hunter2", "T_WINDOW=1"},
		 "T_KEY is too short"},
		{{"T_URL=x", "T_KEY=1234567890123", "T_WINDOW=1"},
		 "T_KEY is too long"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=1", "T_OLD_KEY=short"},
		 "T_OLD_KEY is too short"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=-6", "T_WORKERS=0"},
		 "T_WORKERS is too small, T_WINDOW is too small"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=1", "T_WORKERS=257"},
		 "T_WORKERS is too large"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=12abc"},
		 "T_WINDOW is not a whole number"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=1.0"},
		 "T_WINDOW is not a whole number"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=1e3"},
		 "T_WINDOW is not a whole number"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW= "},
		 "T_WINDOW is not a whole number"},
		{{"T_URL=x", "T_KEY=12345678", "T_WINDOW=9223372036854775808"},
		 "T_WINDOW is not a whole number"},
	};
	char errors[200];

	for (size_t i = 0; i < COUNT(rows); i++) {
		environment(rows[i].values, COUNT(rows[i].values));
		*errors = '\0';
		TAP_INT(setting_read(tables, errors, sizeof(errors)), -1);
		TAP_STRING(errors, rows[i].errors);
	}
}

/* A message that doesn't fit is cut, and it is still a failure. */
static void
test_cut(void)
{
	char errors[24];

	environment(NULL, 0);
	for (size_t size = 2; size < sizeof(errors); size++) {
		memset(errors, '?', sizeof(errors));
		TAP_INT(setting_read(tables, errors, size), -1);
		TAP_INT(strlen(errors), size - 1);
		TAP_INT(strncmp(errors, "T_URL is missing, T_KEY is missing",
				size - 1),
			0);
	}
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"values and fallbacks", test_good},
		{"all that is wrong is named", test_bad},
		{"a long message is cut", test_cut},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
