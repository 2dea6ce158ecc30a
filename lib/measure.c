/* measure.c: see measure.h.
 * SPDX-License-Identifier: MIT */
#include "measure.h"

#include <pthread.h>

#include "otlp.h"
#include "service.h"

struct metric metric_requests = {
	METRIC_COUNTER,
	"requests_total",
	"Requests answered; route - is one that there is not.",
	{"method", "route", "status"},
};
struct metric metric_request_seconds = {
	METRIC_HISTOGRAM,
	"request_seconds",
	"Time from a request's arrival to the end of its answer.",
	{"method", "route"},
};
struct metric metric_pool_busy = {
	METRIC_GAUGE,
	"pool_busy",
	"Members of a pool (threads, database clients) that are in use.",
	{"pool"},
};
struct metric metric_pool_size = {
	METRIC_GAUGE,
	"pool_size",
	"Members that a pool has, or may have.",
	{"pool"},
};
struct metric metric_database_seconds = {
	METRIC_HISTOGRAM,
	"database_seconds",
	"Time of the database's answer to a command.",
	{"command", "outcome"},
};
struct metric metric_events = {
	METRIC_COUNTER,
	"events_total",
	"Events handed over by the bus; early and fault ones come again, dead "
	"ones are set aside.",
	{"channel", "outcome"},
};
struct metric metric_event_seconds = {
	METRIC_HISTOGRAM,
	"event_seconds",
	"Time to apply an event.",
	{"channel"},
};
struct metric metric_event_delay = {
	METRIC_HISTOGRAM,
	"event_delay_seconds",
	"Time from an event's saving to the end of its application here.",
	{"channel"},
};
struct metric metric_publish_seconds = {
	METRIC_HISTOGRAM,
	"bus_publish_seconds",
	"Time until a batch of events was stored by the bus, or refused.",
	{NULL},
};
struct metric metric_published = {
	METRIC_COUNTER,
	"bus_published_total",
	"Events that the bus stored or refused; refused ones are sent again.",
	{"outcome"},
};

struct metric metric_spans = {
	METRIC_COUNTER,
	"spans_total",
	"Spans of traces that the collector took or refused, or that were "
	"dropped: it was away, or too slow.",
	{"outcome"},
};

static struct metric spans_waiting = {
	METRIC_MEASURED,
	"spans_waiting",
	"Spans that wait to be sent to the collector.",
	{NULL},
};
static struct metric bus_up = {
	METRIC_MEASURED,
	"bus_up",
	"Whether there is a connection to the bus.",
	{NULL},
};
static struct metric parked = {
	METRIC_MEASURED,
	"events_parked",
	"Events that wait here to be handed over again.",
	{NULL},
};
static struct metric database_up = {
	METRIC_MEASURED,
	"database_up",
	"Whether the database answers.",
	{NULL},
};
static struct metric outbox_events = {
	METRIC_MEASURED,
	"outbox_events",
	"Events in the database's outboxes that the bus does not have yet.",
	{"collection"},
};
static struct metric outbox_age = {
	METRIC_MEASURED,
	"outbox_oldest_age_seconds",
	"Age of the oldest of these events.",
	{"collection"},
};

static struct metric *const common[] = {
	&metric_requests,
	&metric_request_seconds,
	&metric_pool_busy,
	&metric_pool_size,
	&metric_database_seconds,
	&metric_events,
	&metric_event_seconds,
	&metric_event_delay,
	&metric_publish_seconds,
	&metric_published,
	&metric_spans,
	&spans_waiting,
	&bus_up,
	&parked,
	&database_up,
	&outbox_events,
	&outbox_age,
	NULL,
};

static void
measure_outboxes(struct context *cx)
{
	int64_t now = clock_now();
	struct waiting_events w;

	for (int i = 0; cx->service->kinds[i] != NULL; i++) {
		const struct kind *kind = cx->service->kinds[i];

		if (kind->publishes == NULL ||
		    store_waiting(cx, kind, &w) != NULL)
			continue;
		METRIC_SET(&outbox_events, w.events, kind->collection);
		METRIC_SET(&outbox_age,
			   w.oldest < now ? (now - w.oldest) * 1000 : 0,
			   kind->collection);
	}
}

static void
forget(struct metric *const *metrics)
{
	for (; metrics != NULL && *metrics != NULL; metrics++)
		if ((*metrics)->type == METRIC_MEASURED)
			metric_forget(*metrics);
}

static void
write_all(struct metric *const *metrics, FILE *to)
{
	for (; metrics != NULL && *metrics != NULL; metrics++)
		metric_write(*metrics, to);
}

void
measure_write(struct context *cx, FILE *to)
{
	/* Two who ask at once would forget what the other one measured. */
	static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
	const struct service *service = cx->service;
	bool up = service->store != NULL && store_ping(cx) == NULL;

	pthread_mutex_lock(&turn);
	forget(common);
	forget(service->metrics);
	if (service->bus != NULL) {
		METRIC_SET(&bus_up, bus_connected(service->bus), NULL);
		METRIC_SET(&parked, (int64_t)bus_parked(service->bus), NULL);
	}
	if (otlp_waiting() >= 0)
		METRIC_SET(&spans_waiting, otlp_waiting(), NULL);
	if (service->store != NULL)
		METRIC_SET(&database_up, up, NULL);
	if (up)
		measure_outboxes(cx);
	if (service->measure != NULL && (up || service->store == NULL))
		service->measure(cx);
	write_all(common, to);
	write_all(service->metrics, to);
	pthread_mutex_unlock(&turn);
}
