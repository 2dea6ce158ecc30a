/* test-trace.c: lib/trace.h.
 * SPDX-License-Identifier: MIT */
#include "trace.h"

#include <string.h>

#include "tap.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void
test_read(void)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"00-" ID "-" SPAN "-01", true},
		{"00-" ID "-" SPAN "-00", true},
		{"cc-" ID "-" SPAN "-01-what-the-future-is-like", true},
		{"cc-" ID "-" SPAN "-01", true},
		{"00-" ID "-" SPAN "-01-x", false},
		{"cc-" ID "-" SPAN "-01.x", false},
		{"ff-" ID "-" SPAN "-01", false},
		{"00-" ID "-" SPAN "-0", false},
		{"00-" ID "-" SPAN, false},
		{"00-00000000000000000000000000000000-" SPAN "-01", false},
		{"00-" ID "-0000000000000000-01", false},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false},
		{"0x-" ID "-" SPAN "-01", false},
		{"00_" ID "-" SPAN "-01", false},
		{"00-" ID "_" SPAN "-01", false},
		{ID, false},
		{"", false},
		{NULL, false},
	};
	char id[TRACE_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		TAP_INT(trace_read(rows[i].text, id), rows[i].good);
		if (rows[i].good)
			TAP_STRING(id, ID);
	}
}

static void
test_begin(void)
{
	struct arena *a = arena_new();
	char id[TRACE_SIZE];
	const char *first;

	TAP_STRING(trace_id(), "");
	CU_ASSERT_PTR_NULL(trace_parent(a));
	trace_begin("00-" ID "-" SPAN "-01",
		    "0123456789abcdef0123456789abcdef");
	TAP_STRING(trace_id(), ID);
	first = trace_parent(a);
	CU_ASSERT_TRUE(trace_read(first, id));
	TAP_STRING(id, ID);
	CU_ASSERT_PTR_NULL(strstr(first, SPAN)); /* ours is another span */
	TAP_STRING(trace_parent(a), first);
	trace_begin("rubbish", ID);
	TAP_STRING(trace_id(), ID);
	CU_ASSERT_STRING_NOT_EQUAL(trace_parent(a), first);
	/* None given, or none of ours: a new one. */
	trace_begin(NULL, "req-1");
	CU_ASSERT_STRING_NOT_EQUAL(trace_id(), ID);
	CU_ASSERT_TRUE(trace_read(trace_parent(a), id));
	trace_end();
	TAP_STRING(trace_id(), "");
	CU_ASSERT_PTR_NULL(trace_parent(a));
	arena_free(a);
}

static void
test_join(void)
{
	struct arena *a = arena_new();
	char id[TRACE_SIZE];

	trace_begin(NULL, NULL);
	trace_join(ID);
	TAP_STRING(trace_id(), ID);
	trace_join("");
	TAP_STRING(trace_id(), ID);
	trace_end();
	trace_join(ID);
	CU_ASSERT_TRUE(trace_read(trace_parent(a), id));
	trace_end();
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what is a traceparent", test_read},
		{"a trace begins", test_begin},
		{"a trace is joined", test_join},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
