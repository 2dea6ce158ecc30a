/* test-clock.c: lib/clock.h.
 * SPDX-License-Identifier: MIT */
#include "clock.h"

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Times by `date -u -d … +%s%3N`. */
static const struct {
	int64_t ms;
	const char *text;
} times[] = {
	{0, "1970-01-01T00:00:00.000Z"},
	{1, "1970-01-01T00:00:00.001Z"},
	{999, "1970-01-01T00:00:00.999Z"},
	{-1, "1969-12-31T23:59:59.999Z"},
	{-1000, "1969-12-31T23:59:59.000Z"},
	{-1500, "1969-12-31T23:59:58.500Z"},
	{951782400000, "2000-02-29T00:00:00.000Z"}, /* by 400: leap */
	{1078012800000, "2004-02-29T00:00:00.000Z"},
	{1709164800123, "2024-02-29T00:00:00.123Z"},
	{1767225599999, "2025-12-31T23:59:59.999Z"},
	{1769850000000, "2026-01-31T09:00:00.000Z"},
	{2147483648000, "2038-01-19T03:14:08.000Z"}, /* beyond 32 bits */
	{4107542399000, "2100-02-28T23:59:59.000Z"},
	{4107542400000, "2100-03-01T00:00:00.000Z"}, /* by 100: not leap */
	{253402300799999, "9999-12-31T23:59:59.999Z"},
};

static void
test_format(void)
{
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(times); i++)
		TAP_STRING(clock_format(a, times[i].ms), times[i].text);
	arena_free(a);
}

static void
test_parse(void)
{
	static const struct {
		const char *text;
		int64_t ms;
	} more[] = {
		{"2026-01-31T09:00:00Z", 1769850000000},
		{"2026-01-31T09:00:00.5Z", 1769850000500},
		{"2026-01-31T09:00:00.05Z", 1769850000050},
		{"2026-01-31T09:00:00.005Z", 1769850000005},
		{"0001-01-01T00:00:00Z", -62135596800000},
	};
	int64_t ms;

	for (size_t i = 0; i < COUNT(times); i++) {
		ms = 42;
		TAP_INT(clock_parse(times[i].text, &ms), 0);
		TAP_INT(ms, times[i].ms);
	}
	for (size_t i = 0; i < COUNT(more); i++) {
		ms = 42;
		TAP_INT(clock_parse(more[i].text, &ms), 0);
		TAP_INT(ms, more[i].ms);
	}
}

static void
test_parse_bad(void)
{
	static const char *const bad[] = {
		"",
		"Z",
		"now",
		"0",
		"1769850000",
		"2026-01-31",
		"2026-01-31Z",
		"2026-01-31T09:00Z",
		"2026-01-31T09:00:00",
		"2026-01-31t09:00:00z",
		"2026-01-31 09:00:00Z",
		" 2026-01-31T09:00:00Z",
		"2026-01-31T09:00:00Z ",
		"2026-01-31T09:00:00ZZ",
		"2026-01-31T09:00:00+00:00",
		"2026-01-31T09:00:00+01:00",
		"2026-01-31T09:00:00-00:00",
		"2026-01-31T09:00:00.Z",
		"2026-01-31T09:00:00.0000Z",
		"2026-01-31T09:00:00.1.1Z",
		"2026-01-31T09:00:00,5Z",
		"26-01-31T09:00:00Z",
		"02026-01-31T09:00:00Z",
		"2026-1-31T09:00:00Z",
		"2026-01-1T09:00:00Z",
		"2026-01-31T9:00:00Z",
		"2026-00-31T09:00:00Z",
		"2026-13-01T09:00:00Z",
		"2026-01-00T09:00:00Z",
		"2026-01-32T09:00:00Z",
		"2026-04-31T09:00:00Z",
		"2025-02-29T09:00:00Z",
		"2100-02-29T09:00:00Z",
		"2026-01-31T24:00:00Z",
		"2026-01-31T09:60:00Z",
		"2026-01-31T23:59:60Z",
		"-999-01-31T09:00:00Z",
		"2026--1-31T09:00:00Z",
		"2026-01--1T09:00:00Z",
		"2026-01-31T-0:00:00Z",
		"2026-01-31T09:-0:00Z",
		"2026-01-31T09:00:-0Z",
		"2026-01-31T+9:00:00Z",
		"2026-01-31T 9:00:00Z",
		"2026/01/31T09:00:00Z",
		"2026-01-31T09-00-00Z",
		"\xd9\xa2-026-01-31T09:00:00Z",
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		int64_t ms = 42;

		if (clock_parse(bad[i], &ms) != -1)
			tap_note("taken: %s", bad[i]);
		TAP_INT(clock_parse(bad[i], &ms), -1);
		TAP_INT(ms, 42);
	}
}

/* Each day from 1904 to 2104, at a time that has all digits. */
static void
test_round_trip(void)
{
	struct arena *a = arena_new();
	int64_t at = -2082758399877, ms;
	int bad = 0;

	for (; at < 4228588800000; at += 86400000) {
		ms = 0;
		if (clock_parse(clock_format(a, at), &ms) != 0 || ms != at)
			bad++;
		arena_reset(a);
	}
	TAP_INT(bad, 0);
	arena_free(a);
}

static void
test_now(void)
{
	int64_t wall = clock_now(), before = clock_monotonic(), after;

	CU_ASSERT_TRUE(wall > 1700000000000 && wall < 4102444800000);
	clock_sleep(20);
	after = clock_monotonic();
	CU_ASSERT_TRUE(after - before >= 20);
	clock_sleep(0);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"times are written", test_format},
		{"times are read", test_parse},
		{"what is no time is refused", test_parse_bad},
		{"every day of two centuries there and back", test_round_trip},
		{"the clocks go", test_now},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
