/* outbox.c: see outbox.h.
 * SPDX-License-Identifier: MIT */
#include "outbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "failpoint.h"
#include "service.h"

#define QUEUE 1024	  /* records that wait */
#define BATCH 32	  /* records whose events are on their way at once */
#define SWEEP_EVERY 10000 /* ms */
#define SWEEP_LIMIT 1000  /* records of one kind in one sweep */
#define REFUSED_WAIT 100  /* ms, before it is tried again */
#define CLOSE_WAIT 2000	  /* ms for what is queued at the end */

struct item {
	const struct kind *kind;
	char id[ID_SIZE];
	struct unsent *event; /* the one in its outbox; NULL: look */
};

struct outbox {
	const struct service *service;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all that follows */
	pthread_cond_t changed;
	struct item queue[QUEUE]; /* a ring */
	size_t first, count;
	bool missed; /* the queue was full: sweep */
	bool stopping;
	int64_t stop_by; /* on the monotonic clock: nothing is sent after */
};

/* A copy that is freed in one piece. */
static struct unsent *
copy_of(const struct unsent *event)
{
	const struct message_span *span = &event->span;
	const char *texts[] = {event->id, event->body,
			       span->traceparent ? span->traceparent : "",
			       span->parent};
	enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };
	size_t size = sizeof(*event);
	struct unsent *copy;
	char *p;

	for (int i = 0; i < TEXTS; i++)
		size += strlen(texts[i]) + 1;
	copy = malloc(size);
	if (copy == NULL)
		_exit(EX_OSERR); /* as arena.c */
	p = (char *)(copy + 1);
	for (int i = 0; i < TEXTS; i++) {
		size_t len = strlen(texts[i]) + 1;

		texts[i] = memcpy(p, texts[i], len);
		p += len;
	}
	*copy = (struct unsent){
		texts[0], event->channel, texts[1], {texts[2], texts[3]}};
	return copy;
}

/* The events of one record, on their way. */
struct sending {
	struct unsent *unsent;
	size_t first, count; /* of the batch's messages */
};

/* Takes what the bus has stored out of the outboxes: those of each kind at
 * once. */
static bool
note_sent(struct context *cx, const struct item *items, const struct sending *s,
	  const size_t *stored, size_t n)
{
	struct sent *sent = arena_alloc(cx->arena, n * sizeof(*sent));
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		size_t count = 0, j = 0;

		while (items[j].kind != items[i].kind)
			j++;
		if (j < i)
			continue; /* that kind's are done */
		for (; j < n; j++)
			if (items[j].kind == items[i].kind && stored[j] > 0)
				sent[count++] = (struct sent){
					items[j].id, s[j].unsent, stored[j]};
		if (count > 0 &&
		    store_sent(cx, items[i].kind, sent, count) != NULL)
			all = false;
	}
	return all;
}

/* Publishes all that the batch's records have.  False when the bus or the
 * database refused some. */
static bool
send_batch(struct context *cx, const struct item *items, size_t n)
{
	struct sending *s = arena_alloc(cx->arena, n * sizeof(*s));
	size_t *stored = arena_alloc(cx->arena, n * sizeof(*stored));
	struct bus_message *messages = arena_alloc(
		cx->arena, n * STORE_MAX_UNSENT * sizeof(*messages));
	size_t count = 0;
	int64_t began = clock_micros();
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		s[i].first = count;
		if (items[i].event != NULL) {
			s[i].unsent = items[i].event;
			s[i].count = 1;
		} else if (store_unsent(cx, items[i].kind, items[i].id,
					&s[i].unsent, &s[i].count) != NULL) {
			all = false;
		}
		for (size_t j = 0; j < s[i].count; j++)
			messages[count++] = (struct bus_message){
				.channel = s[i].unsent[j].channel,
				.bytes = s[i].unsent[j].body,
				.len = strlen(s[i].unsent[j].body)};
	}
	bus_publish_all(cx->service->bus, messages, count);
	FAILPOINT("published");
	for (size_t i = 0; i < n; i++) {
		/* In order: what is behind one that failed is sent again. */
		while (stored[i] < s[i].count &&
		       messages[s[i].first + stored[i]].stored) {
			const struct unsent *u = &s[i].unsent[stored[i]++];

			span_sent(cx->arena, &u->span, u->channel, u->id,
				  began);
		}
		if (stored[i] < s[i].count)
			all = false;
	}
	return note_sent(cx, items, s, stored, n) && all;
}

static void
sweep(struct outbox *o, struct context *cx)
{
	const char **ids;
	size_t n;

	if (GUARD_OFF("sweep") || !bus_connected(o->service->bus))
		return;
	for (int i = 0; o->service->kinds[i] != NULL; i++) {
		const struct kind *kind = o->service->kinds[i];

		if (kind->publishes == NULL ||
		    store_with_unsent(cx, kind, SWEEP_LIMIT, &ids, &n) != NULL)
			continue;
		for (size_t j = 0; j < n; j++)
			outbox_wake(o, kind, ids[j], NULL);
	}
}

/* Takes up to BATCH records off the queue.  The lock is held. */
static size_t
take(struct outbox *o, struct item *items)
{
	size_t n = 0;

	while (o->count > 0 && n < BATCH) {
		items[n++] = o->queue[o->first];
		o->first = (o->first + 1) % QUEUE;
		o->count--;
	}
	return n;
}

static void
wait_until(struct outbox *o, int64_t at)
{
	struct timespec ts = {.tv_sec = at / 1000,
			      .tv_nsec = at % 1000 * 1000000};

	pthread_cond_timedwait(&o->changed, &o->lock, &ts);
}

static void *
run(void *closure)
{
	struct outbox *o = closure;
	struct context cx = {.service = o->service, .arena = arena_new()};
	struct item items[BATCH];
	int64_t next_sweep = 0;
	bool connected = false, sent = true;
	size_t n;

	pthread_mutex_lock(&o->lock);
	while (!o->stopping ||
	       (o->count > 0 && sent && clock_monotonic() < o->stop_by)) {
		/* What was saved while the bus was away is found at once when
		 * it is back. */
		bool now_connected = bus_connected(o->service->bus);

		if ((now_connected && !connected) || o->missed ||
		    clock_monotonic() >= next_sweep) {
			o->missed = false;
			pthread_mutex_unlock(&o->lock);
			sweep(o, &cx);
			pthread_mutex_lock(&o->lock);
			next_sweep = clock_monotonic() + SWEEP_EVERY;
		}
		connected = now_connected;
		n = take(o, items);
		if (n == 0) {
			if (!o->stopping)
				wait_until(o, connected ? next_sweep
							: clock_monotonic() +
								  REFUSED_WAIT);
			continue;
		}
		pthread_mutex_unlock(&o->lock);
		sent = send_batch(&cx, items, n);
		arena_reset(cx.arena);
		for (size_t i = 0; i < n; i++) {
			free(items[i].event);
			if (!sent)
				outbox_wake(o, items[i].kind, items[i].id,
					    NULL);
		}
		pthread_mutex_lock(&o->lock);
		if (!sent && !o->stopping)
			wait_until(o, clock_monotonic() + REFUSED_WAIT);
	}
	pthread_mutex_unlock(&o->lock);
	arena_free(cx.arena);
	return NULL;
}

struct outbox *
outbox_open(const struct service *service)
{
	struct outbox *o = calloc(1, sizeof(*o));
	pthread_condattr_t attr;

	if (o == NULL)
		_exit(EX_OSERR);
	o->service = service;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&o->thread, NULL, run, o) != 0)
		_exit(EX_OSERR);
	return o;
}

void
outbox_wake(struct outbox *o, const struct kind *kind, const char *id,
	    const struct unsent *event)
{
	bool there = false;

	pthread_mutex_lock(&o->lock);
	/* Often the record that waits last is woken again: once is enough, and
	 * what it has then is looked at. */
	if (o->count > 0) {
		struct item *last =
			&o->queue[(o->first + o->count - 1) % QUEUE];

		there = last->kind == kind && strcmp(last->id, id) == 0;
		if (there) {
			free(last->event);
			last->event = NULL;
		}
	}
	if (o->count == QUEUE) {
		o->missed = true; /* GCOVR_EXCL_LINE: 1,024 wait */
	} else if (!there) {
		struct item *item = &o->queue[(o->first + o->count) % QUEUE];

		item->kind = kind;
		memcpy(item->id, id, ID_SIZE);
		/* What can't leave soon takes no memory. */
		item->event = event != NULL && o->count < BATCH ? copy_of(event)
								: NULL;
		o->count++;
	}
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

void
outbox_close(struct outbox *o)
{
	if (o == NULL)
		return;
	pthread_mutex_lock(&o->lock);
	o->stopping = true;
	o->stop_by = clock_monotonic() + CLOSE_WAIT;
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
	pthread_join(o->thread, NULL);
	for (; o->count > 0; o->count--) {
		free(o->queue[o->first].event);
		o->first = (o->first + 1) % QUEUE;
	}
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
