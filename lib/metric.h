/* metric.h: what is counted and measured, for Prometheus.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_METRIC_H
#define TICKETING_METRIC_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#define METRIC_LABELS 3

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,	  /* kept up as things happen */
	METRIC_MEASURED,  /* a gauge that is set whenever somebody asks */
	METRIC_HISTOGRAM, /* of times */
};

struct series;

/*
 * A metric is a static variable, with a series for each combination of its
 * labels' values that came up.  Values are few and our own words (routes,
 * channels, statuses), never text from outside: a series stays for good.  No
 * call takes a lock or waits.  All numbers are integers; where the name ends
 * with "_seconds" they are microseconds.
 */
struct metric {
	enum metric_type type;
	const char *name, *help;
	const char *labels[METRIC_LABELS];
	_Atomic(struct series *) series;
};

/* The labels' values come last, as many as the metric has; NULL for none.
 * METRIC_TIME() is for histograms, the others for all else. */
#define METRIC_ADD(metric, n, ...) \
	metric_add(metric, n, (const char *[METRIC_LABELS]){__VA_ARGS__})
#define METRIC_SET(metric, n, ...) \
	metric_set(metric, n, (const char *[METRIC_LABELS]){__VA_ARGS__})
#define METRIC_TIME(metric, us, ...) \
	metric_time(metric, us, (const char *[METRIC_LABELS]){__VA_ARGS__})

void metric_add(struct metric *m, int64_t n, const char *const *values);
void metric_set(struct metric *m, int64_t n, const char *const *values);
void metric_time(struct metric *m, int64_t us, const char *const *values);

/* Drops what was measured: only what is set again is written again. */
void metric_forget(struct metric *m);

/* Writes it in Prometheus' text format. */
void metric_write(struct metric *m, FILE *to);

#endif
