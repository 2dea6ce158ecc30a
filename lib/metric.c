/* metric.c: see metric.h.
 * SPDX-License-Identifier: MIT */
#include "metric.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define PREFIX "ticketing_"
#define UNSET INT64_MIN

/* Upper ends of a histogram's buckets, for a quick query as for a late event.
 */
static const struct {
	int64_t us;
	const char *text;
} bounds[] = {
	{250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},
	{2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},
	{25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},
	{250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},
	{2500000, "2.5"}, {5000000, "5"},   {10000000, "10"},
	{30000000, "30"}, {60000000, "60"}, {300000000, "300"},
};
#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct series {
	struct series *next;
	char *values[METRIC_LABELS];
	atomic_llong value;		  /* a histogram's sum */
	atomic_llong buckets[BOUNDS + 1]; /* the last one: all longer times */
};

static bool
is_series(const struct series *s, const struct metric *m,
	  const char *const *values)
{
	for (int i = 0; i < METRIC_LABELS && m->labels[i] != NULL; i++)
		if (strcmp(s->values[i], values[i]) != 0)
			return false;
	return true;
}

static struct series *
new_series(const struct metric *m, const char *const *values)
{
	struct series *s = calloc(1, sizeof(*s));

	if (s == NULL)
		_exit(EX_OSERR); /* as arena.c */
	for (int i = 0; i < METRIC_LABELS && m->labels[i] != NULL; i++)
		if ((s->values[i] = strdup(values[i])) == NULL)
			_exit(EX_OSERR);
	if (m->type == METRIC_MEASURED)
		s->value = UNSET;
	return s;
}

static void
free_series(struct series *s)
{
	for (int i = 0; i < METRIC_LABELS; i++)
		free(s->values[i]);
	free(s);
}

/* The series of these values, which is added when there is none. */
static struct series *
find(struct metric *m, const char *const *values)
{
	struct series *first = m->series, *looked = NULL, *added = NULL;

	for (;;) {
		/* What stands behind `looked` was compared before. */
		for (struct series *s = first; s != looked; s = s->next) {
			if (!is_series(s, m, values))
				continue;
			if (added != NULL)
				free_series(added);
			return s;
		}
		looked = first;
		if (added == NULL)
			added = new_series(m, values);
		added->next = first;
		if (atomic_compare_exchange_strong(&m->series, &first, added))
			return added;
	}
}

void
metric_add(struct metric *m, int64_t n, const char *const *values)
{
	atomic_fetch_add_explicit(&find(m, values)->value, n,
				  memory_order_relaxed);
}

void
metric_set(struct metric *m, int64_t n, const char *const *values)
{
	find(m, values)->value = n;
}

void
metric_time(struct metric *m, int64_t us, const char *const *values)
{
	struct series *s = find(m, values);
	size_t i = 0;

	us = us > 0 ? us : 0; /* clocks of two machines may differ */
	while (i < BOUNDS && us > bounds[i].us)
		i++;
	atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->value, us, memory_order_relaxed);
}

void
metric_forget(struct metric *m)
{
	for (struct series *s = m->series; s != NULL; s = s->next)
		s->value = UNSET;
}

static bool
in_seconds(const struct metric *m)
{
	size_t len = strlen(m->name), tail = strlen("_seconds");

	return len > tail && strcmp(m->name + len - tail, "_seconds") == 0;
}

/* name{labels}, le among them when it is not NULL. */
static void
write_name(const struct metric *m, const struct series *s, const char *suffix,
	   const char *le, FILE *to)
{
	const char *before = "{";

	fprintf(to, PREFIX "%s%s", m->name, suffix);
	for (int i = 0; i < METRIC_LABELS && m->labels[i] != NULL; i++) {
		fprintf(to, "%s%s=\"%s\"", before, m->labels[i], s->values[i]);
		before = ",";
	}
	if (le != NULL) {
		fprintf(to, "%sle=\"%s\"", before, le);
		before = ",";
	}
	fputs(*before == ',' ? "} " : " ", to);
}

static void
write_value(const struct metric *m, long long value, FILE *to)
{
	if (in_seconds(m))
		fprintf(to, "%.6f\n", (double)value / 1e6);
	else
		fprintf(to, "%lld\n", value);
}

static void
write_histogram(const struct metric *m, const struct series *s, FILE *to)
{
	long long count = 0;

	for (size_t i = 0; i <= BOUNDS; i++) {
		count += s->buckets[i];
		write_name(m, s, "_bucket",
			   i < BOUNDS ? bounds[i].text : "+Inf", to);
		fprintf(to, "%lld\n", count);
	}
	write_name(m, s, "_sum", NULL, to);
	write_value(m, s->value, to);
	write_name(m, s, "_count", NULL, to);
	fprintf(to, "%lld\n", count);
}

void
metric_write(struct metric *m, FILE *to)
{
	static const char *const types[] = {
		[METRIC_COUNTER] = "counter",
		[METRIC_GAUGE] = "gauge",
		[METRIC_MEASURED] = "gauge",
		[METRIC_HISTOGRAM] = "histogram",
	};

	if (m->series == NULL)
		return;
	fprintf(to, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", m->name,
		m->help, m->name, types[m->type]);
	for (struct series *s = m->series; s != NULL; s = s->next) {
		long long value = s->value;

		if (m->type == METRIC_HISTOGRAM) {
			write_histogram(m, s, to);
		} else if (value != UNSET) {
			write_name(m, s, "", NULL, to);
			write_value(m, value, to);
		}
	}
}
