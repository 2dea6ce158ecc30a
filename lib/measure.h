/* measure.h: what every service measures, and what it answers to /metrics.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_MEASURE_H
#define TICKETING_MEASURE_H

#include "context.h"
#include "metric.h"

/* http.c */
extern struct metric metric_requests;	     /* method, route, status */
extern struct metric metric_request_seconds; /* method, route */

/* Threads at work and clients lent: "workers", "transfers", "database". */
extern struct metric metric_pool_busy, metric_pool_size;

extern struct metric metric_database_seconds; /* command, outcome */

/* listen.c: "heard", "early" and "fault", which come again, or "dead". */
extern struct metric metric_events;	   /* channel, outcome */
extern struct metric metric_event_seconds; /* channel: to apply it */
extern struct metric metric_event_delay;   /* channel: saved until heard */

/* bus-stan.c: a batch's way to the bus and back; "stored" or "refused". */
extern struct metric metric_publish_seconds;
extern struct metric metric_published; /* outcome */

/* otlp.c: "sent", "dropped" (no room, no collector) or "refused" by it. */
extern struct metric metric_spans; /* outcome */

/* Writes all that the service counts and measures now, its own metrics too.
 * What the database does not tell is left out. */
void measure_write(struct context *cx, FILE *to);

#endif
