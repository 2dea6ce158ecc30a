/* tap.h: CUnit tests that speak TAP, for automake's driver.
 * SPDX-License-Identifier: MIT */
#ifndef T_TAP_H
#define T_TAP_H

#include <CUnit/CUnit.h>

struct tap_test {
	const char *name; /* NULL ends the table */
	void (*run)(void);
};

/* Runs all tests in order, or those whose names hold argv[1], and prints one
 * line each.  Returns the exit status of main(). */
int tap_run(int argc, char **argv, const struct tap_test *tests);

/* Ends the program: what it needs is not there.  A failure when
 * SKIPS_AS_FAILS=1 is set, as in CI. */
_Noreturn void tap_skip_all(const char *why);

/* A line of comment in the output. */
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* CU_ASSERT_STRING_EQUAL that prints both; NULL equals only NULL. */
#define TAP_STRING(actual, expected) \
	tap_string(actual, expected, #actual, __FILE__, __LINE__)
void tap_string(const char *actual, const char *expected, const char *what,
		const char *file, int line);

/* Likewise for integers. */
#define TAP_INT(actual, expected)                                              \
	tap_int((long long)(actual), (long long)(expected), #actual, __FILE__, \
		__LINE__)
void tap_int(long long actual, long long expected, const char *what,
	     const char *file, int line);

#endif
