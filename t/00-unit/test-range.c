/* test-range.c: lib/range.h.
 * SPDX-License-Identifier: MIT */
#include "range.h"

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
test_read(void)
{
	static const struct {
		const char *header;
		int64_t size;
		enum range range;
		int64_t first, count;
	} rows[] = {
		{NULL, 100, RANGE_WHOLE, 0, 100},
		{"", 100, RANGE_WHOLE, 0, 100},
		{"bytes=0-0", 100, RANGE_PART, 0, 1},
		{"bytes=0-99", 100, RANGE_PART, 0, 100},
		{"bytes=0-100", 100, RANGE_PART, 0, 100},
		{"bytes=99-", 100, RANGE_PART, 99, 1},
		{"bytes=10-19", 100, RANGE_PART, 10, 10},
		{"BYTES=10-19", 100, RANGE_PART, 10, 10},
		{"bytes= 10-19 ", 100, RANGE_PART, 10, 10},
		{"bytes=0-", 100, RANGE_PART, 0, 100},
		{"bytes=-1", 100, RANGE_PART, 99, 1},
		{"bytes=-100", 100, RANGE_PART, 0, 100},
		{"bytes=-101", 100, RANGE_PART, 0, 100},
		/* Larger than any number is larger than any file. */
		{"bytes=5-99999999999999999999999999", 100, RANGE_PART, 5, 95},
		{"bytes=-99999999999999999999999999", 100, RANGE_PART, 0, 100},
		{"bytes=99999999999999999999999999-", 100, RANGE_NONE},
		{"bytes=9223372036854775807-", 100, RANGE_NONE},
		{"bytes=0-9223372036854775807", 100, RANGE_PART, 0, 100},
		{"bytes=0-18446744073709551616", 100, RANGE_PART, 0, 100},
		/* Nothing of it is there. */
		{"bytes=100-", 100, RANGE_NONE},
		{"bytes=100-200", 100, RANGE_NONE},
		{"bytes=-0", 100, RANGE_NONE},
		{"bytes=0-0", 0, RANGE_NONE},
		/* Several, and what is ill-formed: as if it was not there. */
		{"bytes=0-1,3-4", 100, RANGE_WHOLE, 0, 100},
		{"bytes=0-1,", 100, RANGE_WHOLE, 0, 100},
		{"bytes=-", 100, RANGE_WHOLE, 0, 100},
		{"bytes=", 100, RANGE_WHOLE, 0, 100},
		{"bytes", 100, RANGE_WHOLE, 0, 100},
		{"bytes=5", 100, RANGE_WHOLE, 0, 100},
		{"bytes=6-5", 100, RANGE_WHOLE, 0, 100},
		{"bytes=+1-5", 100, RANGE_WHOLE, 0, 100},
		{"bytes=0x1-5", 100, RANGE_WHOLE, 0, 100},
		{"bytes=--5", 100, RANGE_WHOLE, 0, 100},
		{"bytes=1-5-", 100, RANGE_WHOLE, 0, 100},
		{"bytes=1 -5", 100, RANGE_WHOLE, 0, 100},
		{"lines=1-5", 100, RANGE_WHOLE, 0, 100},
		{"0-5", 100, RANGE_WHOLE, 0, 100},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t first = -1, count = -1;
		enum range range = range_read(rows[i].header, rows[i].size,
					      &first, &count);

		TAP_INT(range, rows[i].range);
		if (rows[i].range != RANGE_NONE) {
			TAP_INT(first, rows[i].first);
			TAP_INT(count, rows[i].count);
		}
	}
}

static void
test_tag_in(void)
{
	static const struct {
		const char *header;
		bool strong, weak;
	} rows[] = {
		{NULL, false, false},
		{"", false, false},
		{"\"abc\"", true, true},
		{"W/\"abc\"", false, true},
		{"*", true, true},
		{"\"x\", \"abc\"", true, true},
		{"\"x\",\"abc\" , \"y\"", true, true},
		{"W/\"x\", W/\"abc\"", false, true},
		{"\"x\"", false, false},
		{"\"abcd\"", false, false},
		{"\"ab\"", false, false},
		{"abc", false, false},
		{"\"abc", false, false},
		{"w/\"abc\"", false, false},
		{"\"a,\"abc\"", false, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		TAP_INT(range_tag_in(rows[i].header, "\"abc\"", false),
			rows[i].strong);
		TAP_INT(range_tag_in(rows[i].header, "\"abc\"", true),
			rows[i].weak);
	}
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"ranges", test_read},
		{"entity tags", test_tag_in},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
