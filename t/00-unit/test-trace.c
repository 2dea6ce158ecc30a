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
	trace_begin(SPAN_SERVER, "00-" ID "-" SPAN "-01",
		    "0123456789abcdef0123456789abcdef");
	TAP_STRING(trace_id(), ID);
	first = trace_parent(a);
	CU_ASSERT_TRUE(trace_read(first, id));
	TAP_STRING(id, ID);
	CU_ASSERT_PTR_NULL(strstr(first, SPAN)); /* ours is another span */
	TAP_STRING(trace_parent(a), first);
	trace_begin(SPAN_SERVER, "rubbish", ID);
	TAP_STRING(trace_id(), ID);
	CU_ASSERT_STRING_NOT_EQUAL(trace_parent(a), first);
	/* None given, or none of ours: a new one. */
	trace_begin(SPAN_SERVER, NULL, "req-1");
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

	trace_begin(SPAN_SERVER, NULL, NULL);
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

#define OTHER "0123456789abcdef0123456789abcdef"
#define OTHER_SPAN "0123456789abcdef"

static struct span told[8];
static size_t told_count;

static void
keep(const struct span *s)
{
	if (told_count < sizeof(told) / sizeof(told[0]))
		told[told_count] = *s;
	told_count++;
}

static void
test_spans(void)
{
	struct arena *a = arena_new();
	char id[TRACE_SIZE], long_text[200];
	struct message_span m;
	struct span *s;

	CU_ASSERT_PTR_NULL(trace_span()); /* nobody collects */
	trace_begin(SPAN_SERVER, "00-" ID "-" SPAN "-01", NULL);
	CU_ASSERT_PTR_NULL(span_begin(a, SPAN_CLIENT));
	TAP_STRING(span_message(a).traceparent, trace_parent(a));
	trace_end();

	trace_tell(keep);
	CU_ASSERT_PTR_NULL(span_begin(a, SPAN_CLIENT)); /* outside of one */
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	trace_begin(SPAN_SERVER, "00-" ID "-" SPAN "-01", NULL);
	s = span_begin(a, SPAN_CLIENT);
	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	CU_ASSERT_TRUE(trace_read(span_parent(a, s), id));
	CU_ASSERT_PTR_NOT_NULL(strstr(span_parent(a, s), s->id));
	span_name(s, "%s", long_text);
	span_text(s, "text", long_text);
	for (int i = 0; i < 2 * SPAN_ATTRIBUTES; i++)
		span_number(s, "number", i);
	for (int i = 0; i < SPAN_ATTRIBUTES; i++)
		span_number(s,
			    (const char *[]){"1", "2", "3", "4", "5", "6"}[i],
			    i);
	span_end(s);
	m = span_message(a);
	span_sent(a, &m, "order:created", "order:1:1", 0);
	span_fail(trace_span(), "why");
	trace_end();
	trace_end();

	TAP_INT(told_count, 3);
	TAP_STRING(told[0].parent, told[2].id);
	TAP_INT(strlen(told[0].name), sizeof(told[0].name) - 1);
	TAP_INT(told[0].attributes[1].number, 2 * SPAN_ATTRIBUTES - 1);
	TAP_STRING(told[0].attributes[SPAN_ATTRIBUTES - 1].key, "4");
	TAP_INT(told[1].kind, SPAN_PRODUCER);
	TAP_STRING(told[1].parent, told[2].id);
	CU_ASSERT_PTR_NOT_NULL(strstr(m.traceparent, told[1].id));
	TAP_INT(told[2].kind, SPAN_SERVER);
	TAP_STRING(told[2].parent, SPAN);
	TAP_STRING(told[2].trace, ID);
	CU_ASSERT_TRUE(told[2].failed);
	CU_ASSERT(told[2].began <= told[0].began &&
		  told[0].began <= told[0].ended &&
		  told[0].ended <= told[2].ended);
	arena_free(a);
}

/* What a record was added in is where its later changes belong. */
static void
test_joined_spans(void)
{
	struct arena *a = arena_new();
	char context[TRACE_CONTEXT_SIZE];

	told_count = 0;
	trace_begin(SPAN_SERVER, "00-" ID "-" SPAN "-01", NULL);
	trace_join(OTHER "-" OTHER_SPAN);
	trace_context(context);
	trace_join(context);
	trace_end();
	TAP_INT(told_count, 1);
	TAP_STRING(told[0].trace, OTHER);
	TAP_STRING(told[0].parent, OTHER_SPAN);
	TAP_STRING(told[0].link_trace, ID);
	TAP_STRING(told[0].link_id, SPAN);
	CU_ASSERT_PTR_NOT_NULL(strstr(context, told[0].id));

	/* What had come of it keeps a parent that is told of. */
	told_count = 0;
	trace_begin(SPAN_CONSUMER, "00-" ID "-" SPAN "-01", NULL);
	trace_parent(a);
	trace_join(OTHER);
	trace_end();
	TAP_INT(told_count, 2);
	TAP_STRING(told[0].trace, ID);
	TAP_STRING(told[0].parent, SPAN);
	TAP_STRING(told[1].trace, OTHER);
	TAP_STRING(told[1].parent, "");
	TAP_STRING(told[1].link_id, told[0].id);
	CU_ASSERT_STRING_NOT_EQUAL(told[1].id, told[0].id);
	arena_free(a);
}

static void
test_untold(void)
{
	struct arena *a = arena_new();

	told_count = 0;
	trace_begin(SPAN_INTERNAL, NULL, NULL); /* a task with nothing to do */
	trace_end();
	trace_begin(SPAN_SERVER, NULL, NULL); /* a probe */
	trace_hush();
	trace_end();
	/* A caller that wants none. */
	trace_begin(SPAN_SERVER, "00-" ID "-" SPAN "-00", NULL);
	CU_ASSERT_PTR_NULL(span_begin(a, SPAN_CLIENT));
	TAP_STRING(strrchr(trace_parent(a), '-'), "-00");
	trace_end();
	TAP_INT(told_count, 0);
	trace_begin(SPAN_INTERNAL, NULL, NULL);
	trace_parent(a);
	trace_end();
	TAP_INT(told_count, 1);
	trace_tell(NULL);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what is a traceparent", test_read},
		{"a trace begins", test_begin},
		{"a trace is joined", test_join},
		{"spans", test_spans},
		{"spans of what joins a trace", test_joined_spans},
		{"what is not told of", test_untold},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
