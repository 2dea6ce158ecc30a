/* listen.c: what happens to an event that came (see service.h).
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <string.h>

#include "failpoint.h"
#include "measure.h"
#include "service.h"
#include "trace.h"

/* Longest that an event waits for one before it, unheard. */
#define EARLY_MAX 3600000 /* ms */

static const struct fail *
apply(struct context *cx, const struct hears *h, const struct event *event)
{
	const struct fail *fail = NULL;
	char id[ID_SIZE] = "";

	if (h->kind == NULL) {
		fail = h->decide(cx, NULL, event);
		return fail == STORE_KEEP ? NULL : fail;
	}
	if (h->target == NULL)
		memcpy(id, event->subject, ID_SIZE);
	else
		fail = h->target(cx, event, id);
	if (fail != NULL || *id == '\0')
		return fail;
	return store_apply(cx, h->kind, id, h->decide, event);
}

static const struct fail *
apply_all(struct context *cx, const struct event *event)
{
	const struct hears *h;
	bool lined = false;

	for (h = cx->service->hears; h->event != EVENT_NONE; h++)
		if (h->event == event->type && h->kind != NULL)
			lined = true;
	if (lined) {
		const struct fail *fail = store_line(cx, event);

		if (fail != NULL)
			return fail == STORE_KEEP ? NULL : fail;
	}
	for (h = cx->service->hears; h->event != EVENT_NONE; h++)
		if (h->event == event->type)
			TRY(apply(cx, h, event));
	FAILPOINT("applied");
	if (lined)
		TRY(store_heard(cx, event));
	for (h = cx->service->hears; h->event != EVENT_NONE; h++)
		if (h->event == event->type && h->wake != NULL)
			task_wake(h->wake);
	return NULL;
}

/* Sets an event aside that can never be applied, so that it blocks nothing. */
static enum bus_verdict
bury(struct context *cx, const char *channel, const void *bytes, size_t len,
     const char *why)
{
	json_object *o = json_new_object(cx->arena);
	const char *text;
	size_t n;

	span_fail(trace_span(), why);
	json_put_text(o, "service", cx->service->name);
	json_put_text(o, "channel", channel);
	json_put_text(o, "why", why);
	json_put(o, "body",
		 bson_utf8_validate(bytes, len, true)
			 ? json_object_new_string_len(bytes, (int)len)
			 : NULL);
	text = json_write(o, &n);
	if (!bus_publish_wait(cx->service->bus, EVENT_DEAD_LETTER, text, n))
		return BUS_AGAIN;
	METRIC_ADD(&metric_events, 1, channel, "dead");
	LOG(LOG_ERROR, "event set aside", LOG_TEXT("channel", channel),
	    LOG_TEXT("cause", why));
	return BUS_DONE;
}

static const char *
describe(struct context *cx, const struct fail *fail)
{
	const struct reason *r = fail->reasons;

	return fail->cause ? fail->cause
	       : r ? arena_printf(cx->arena, "%s%s%s", r->param ? r->param : "",
				  r->param ? ": " : "", r->msg)
		   : fail->name;
}

/* A fault puts off all events, and each of them many times: once a second is
 * told of it. */
static void
log_put_off(const char *cause)
{
	static atomic_llong next;
	int64_t now = clock_monotonic();

	if (now < next)
		return;
	next = now + 1000;
	LOG(LOG_WARN, "events put off", LOG_TEXT("cause", cause));
}

enum bus_verdict
listen_handle(void *closure, const char *channel, const void *bytes, size_t len)
{
	struct context cx = {.service = closure, .arena = arena_new()};
	enum bus_verdict verdict = BUS_DONE;
	struct event event;
	const struct fail *fail;
	int64_t began = clock_micros(), us;

	fail = event_read(cx.arena, channel, bytes, len, &event);
	if (fail != NULL) {
		verdict = bury(&cx, channel, bytes, len, describe(&cx, fail));
		arena_free(cx.arena);
		return verdict;
	}
	log_set_request(event.id);
	trace_begin(SPAN_CONSUMER, event.traceparent, NULL);
	span_name(trace_span(), "process %s", channel);
	span_text(trace_span(), "messaging.system", "nats");
	span_text(trace_span(), "messaging.operation.type", "process");
	span_text(trace_span(), "messaging.destination.name", channel);
	span_text(trace_span(), "messaging.message.id", event.id);
	fail = apply_all(&cx, &event);
	us = clock_micros() - began;
	if (fail == NULL) {
		LOG(LOG_INFO, "heard", LOG_TEXT("channel", channel),
		    LOG_NUMBER("ms", us / 1000));
		METRIC_ADD(&metric_events, 1, channel, "heard");
		METRIC_TIME(&metric_event_seconds, us, channel);
		METRIC_TIME(&metric_event_delay,
			    (clock_now() - event.time) * 1000, channel);
	} else if (fail == STORE_EARLY) {
		METRIC_ADD(&metric_events, 1, channel, "early");
		trace_hush();
		verdict = clock_now() - event.time > EARLY_MAX
				  ? bury(&cx, channel, bytes, len,
					 "what comes before it never came")
				  : BUS_AGAIN;
	} else if (fail->status == 503) {
		METRIC_ADD(&metric_events, 1, channel, "fault");
		trace_hush();
		log_put_off(describe(&cx, fail));
		verdict = BUS_AGAIN;
	} else {
		verdict = bury(&cx, channel, bytes, len, describe(&cx, fail));
	}
	trace_end();
	log_set_request(NULL);
	arena_free(cx.arena);
	return verdict;
}
