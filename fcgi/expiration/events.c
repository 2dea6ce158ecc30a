/* events.c: what expiration hears, and how it tells that an order's time is
 * over.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "failpoint.h"
#include "timers.h"

#define EXPIRE_EVERY 100 /* ms */
#define BATCH 256	 /* orders on their way to the bus at once */

/* A replay is through when nothing old came for so long.  The bus itself
 * needs up to 30 s to hand over again what got lost on its way. */
#define REPLAY_QUIET 35000 /* ms */
#define REPLAY_AT_LEAST                                      \
	3600000 /* ms back; twice the window, if that's more \
		 */

int64_t expiration_window;

static struct metric told = {
	METRIC_COUNTER,
	"expirations_total",
	"Orders told to be over.",
	{NULL},
};
static struct metric lateness = {
	METRIC_HISTOGRAM,
	"expiry_lateness_seconds",
	"Time from the end of an order's hold until orders ended it; a rebuild "
	"counts again what it has told again.",
	{NULL},
};
struct metric *const expiration_metrics[] = {&told, &lateness, NULL};

static const struct fail *
on_created(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct order_event *order = event->data;

	(void)rec;
	return timers_add(cx, event->subject, order->expires_at);
}

static const struct fail *
on_ended(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct order_event *order = event->data;

	(void)rec;
	if (order->reason != NULL && strcmp(order->reason, "expired") == 0)
		METRIC_TIME(&lateness, (event->time - order->expires_at) * 1000,
			    NULL);
	return timers_end(cx, event->subject);
}

const struct hears expiration_hears[] = {
	{EVENT_ORDER_CREATED, NULL, NULL, on_created, NULL},
	{EVENT_ORDER_CANCELLED, NULL, NULL, on_ended, NULL},
	{EVENT_ORDER_COMPLETED, NULL, NULL, on_ended, NULL},
	{0},
};

/* Has the bus tell all recent orders again if Redis may have forgotten some.
 * Every replica that finds the rebuild to be done does it: one may die. */
static void
rebuild(struct context *cx)
{
	static char current[100]; /* the rebuild that our replay is for */
	struct bus *bus = cx->service->bus;
	int64_t since = expiration_window * 2 * 1000;
	const char *name;
	int ended;

	if (GUARD_OFF("rebuild") || timers_rebuild(cx, &name) != NULL ||
	    (*name == '\0' && *current == '\0'))
		return;
	if (strcmp(name, current) == 0) {
		ended = bus_replay_end(bus, REPLAY_QUIET);
		if (ended == 0)
			return;
		if (ended > 0 && timers_rebuilt(cx, name) == NULL)
			LOG(LOG_INFO, "rebuilt", LOG_TEXT("rebuild", name));
		*current = '\0'; /* if that failed: from the start */
		return;
	}
	/* Redis was emptied once more, or another replica was faster. */
	bus_replay_end(bus, 0);
	*current = '\0';
	if (since < REPLAY_AT_LEAST)
		since = REPLAY_AT_LEAST;
	if (*name != '\0' && bus_replay(bus, since) == 0) {
		LOG(LOG_INFO, "rebuilding", LOG_TEXT("rebuild", name));
		snprintf(current, sizeof(current), "%s", name);
	}
}

static struct bus_message
message(struct context *cx, const char *order_id, struct message_span *ret_span)
{
	json_object *data = json_new_object(cx->arena);
	const char *id, *text;

	json_put_text(data, "orderId", order_id);
	text = event_write(cx->arena, EVENT_EXPIRATION_COMPLETE, order_id, 1,
			   data, &id, ret_span);
	return (struct bus_message){
		.channel = event_channel(EVENT_EXPIRATION_COMPLETE),
		.bytes = text,
		.len = strlen(text)};
}

/* Publishes all.  Moves the ids of those that are stored to the front and
 * returns their number. */
static size_t
publish_all(struct context *cx, const char **ids, size_t n)
{
	struct bus_message *m = arena_alloc(cx->arena, n * sizeof(*m));
	struct message_span *spans = arena_alloc(cx->arena, n * sizeof(*spans));
	int64_t began = clock_micros();
	size_t stored = 0;

	for (size_t i = 0; i < n; i++)
		m[i] = message(cx, ids[i], &spans[i]);
	bus_publish_all(cx->service->bus, m, n);
	for (size_t i = 0; i < n; i++) {
		if (!m[i].stored)
			continue; /* its lease ends, and it's claimed again */
		LOG(LOG_INFO, "expired", LOG_TEXT("order", ids[i]));
		span_sent(cx->arena, &spans[i], m[i].channel, ids[i], began);
		ids[stored++] = ids[i];
	}
	METRIC_ADD(&told, (int64_t)stored, NULL);
	return stored;
}

static void
expire(struct context *cx)
{
	const char **ids;
	size_t n;

	/* A claim without the bus would only wait for its lease to end. */
	if (!bus_connected(cx->service->bus))
		return;
	rebuild(cx);
	if (timers_claim(cx, BATCH, &ids, &n) != NULL || n == 0)
		return;
	FAILPOINT("claimed");
	if (n == BATCH)
		task_wake(&expire_task); /* there are more */
	n = publish_all(cx, ids, n);
	FAILPOINT("expired");
	if (n > 0)
		timers_done(cx, ids, n);
}

struct task expire_task = {
	.name = "expire",
	.every = EXPIRE_EVERY,
	.run = expire,
};
