/* tap.c: see tap.h.
 * SPDX-License-Identifier: MIT */
#include "tap.h"

#include <CUnit/TestRun.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned count;

static void
on_complete(const CU_pTest test, const CU_pSuite suite,
	    const CU_pFailureRecord failure)
{
	(void)suite;
	for (CU_pFailureRecord f = failure; f != NULL; f = f->pNext)
		printf("# %s:%u: %s\n", f->strFileName, f->uiLineNumber,
		       f->strCondition);
	printf("%sok %u - %s\n", failure ? "not " : "", ++count, test->pName);
	fflush(stdout);
}

int
tap_run(int argc, char **argv, const struct tap_test *tests)
{
	CU_pSuite suite;
	unsigned n = 0, failed;

	if (CU_initialize_registry() != CUE_SUCCESS ||
	    (suite = CU_add_suite(argv[0], NULL, NULL)) == NULL)
		abort();
	for (; tests->name != NULL; tests++) {
		if (argc > 1 && strstr(tests->name, argv[1]) == NULL)
			continue;
		if (CU_add_test(suite, tests->name, tests->run) == NULL)
			abort();
		n++;
	}
	printf("1..%u\n", n);
	fflush(stdout);
	CU_set_test_complete_handler(on_complete);
	CU_run_all_tests();
	failed = CU_get_number_of_tests_failed();
	CU_cleanup_registry();
	/* No test at all is no success. */
	return failed == 0 && count == n && n > 0 ? 0 : 1;
}

_Noreturn void
tap_skip_all(const char *why)
{
	const char *strict = getenv("SKIPS_AS_FAILS");

	if (strict != NULL && strcmp(strict, "1") == 0) {
		printf("1..1\nnot ok 1 - %s\n", why);
		exit(1);
	}
	printf("1..0 # SKIP %s\n", why);
	exit(0);
}

void
tap_note(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

void
tap_string(const char *actual, const char *expected, const char *what,
	   const char *file, int line)
{
	bool same = actual == NULL || expected == NULL
			    ? actual == expected
			    : strcmp(actual, expected) == 0;

	if (!same)
		tap_note("%s:%d: %s is \"%s\", not \"%s\"", file, line, what,
			 actual ? actual : "(null)",
			 expected ? expected : "(null)");
	CU_assertImplementation(same, (unsigned)line, what, file, "", CU_FALSE);
}

void
tap_int(long long actual, long long expected, const char *what,
	const char *file, int line)
{
	if (actual != expected)
		tap_note("%s:%d: %s is %lld, not %lld", file, line, what,
			 actual, expected);
	CU_assertImplementation(actual == expected, (unsigned)line, what, file,
				"", CU_FALSE);
}
