/* test-metric.c: counters and histograms, also from many threads.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "metric.h"
#include "tap.h"

#define THREADS 8
#define TIMES 20000

static char *
written(struct metric *m)
{
	static char *text;
	static size_t len;
	FILE *to = open_memstream(&text, &len);

	metric_write(m, to);
	fclose(to);
	return text;
}

static void
expect(struct metric *m, const char *want)
{
	char *text = written(m);

	TAP_STRING(text, want);
	free(text);
}

static void
test_counter(void)
{
	static struct metric m = {
		METRIC_COUNTER, "things_total", "Things.", {"a", "b"}};

	expect(&m, "");
	METRIC_ADD(&m, 1, "x", "y");
	METRIC_ADD(&m, 2, "x", "y");
	expect(&m, "# HELP ticketing_things_total Things.\n"
		   "# TYPE ticketing_things_total counter\n"
		   "ticketing_things_total{a=\"x\",b=\"y\"} 3\n");
}

static void
test_measured(void)
{
	static struct metric m = {
		METRIC_MEASURED, "age_seconds", "Age.", {NULL}};
	static const char head[] = "# HELP ticketing_age_seconds Age.\n"
				   "# TYPE ticketing_age_seconds gauge\n";
	char *text;

	METRIC_SET(&m, 1500000, NULL);
	text = written(&m);
	TAP_STRING(text + strlen(head), "ticketing_age_seconds 1.500000\n");
	free(text);
	metric_forget(&m);
	expect(&m, head);
}

static void
test_histogram(void)
{
	static struct metric m = {
		METRIC_HISTOGRAM, "way_seconds", "Way.", {"to"}};
	static const char *const lines[] = {
		"way_seconds_bucket{to=\"a\",le=\"0.00025\"} 2\n",
		"way_seconds_bucket{to=\"a\",le=\"0.0005\"} 3\n",
		"way_seconds_bucket{to=\"a\",le=\"300\"} 3\n",
		"way_seconds_bucket{to=\"a\",le=\"+Inf\"} 4\n",
		"way_seconds_sum{to=\"a\"} 400.000501\n",
		"way_seconds_count{to=\"a\"} 4\n",
	};
	char *text;

	METRIC_TIME(&m, 250, "a");
	METRIC_TIME(&m, -5, "a");
	METRIC_TIME(&m, 251, "a");
	METRIC_TIME(&m, 400000000, "a");
	text = written(&m);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(text, lines[i]));
	free(text);
}

static struct metric shared = {METRIC_COUNTER, "all_total", "All.", {"which"}};

static void *
count(void *arg)
{
	static const char *const which[] = {"a", "b", "c", "d"};

	(void)arg;
	for (int i = 0; i < TIMES; i++)
		METRIC_ADD(&shared, 1, which[i % 4]);
	return NULL;
}

/* No count gets lost, and no series comes twice. */
static void
test_threads(void)
{
	pthread_t threads[THREADS];
	char line[80], *text, *at;

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	text = written(&shared);
	for (char c = 'a'; c <= 'd'; c++) {
		snprintf(line, sizeof(line),
			 "ticketing_all_total{which=\"%c\"} ", c);
		at = strstr(text, line);
		CU_ASSERT_FATAL(at != NULL);
		TAP_INT(atoi(at + strlen(line)), THREADS * TIMES / 4);
		CU_ASSERT_PTR_NULL(strstr(at + 1, line));
	}
	free(text);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a counter with labels", test_counter},
		{"what is measured can be forgotten", test_measured},
		{"a histogram's buckets", test_histogram},
		{"many threads at once", test_threads},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
