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

#define QUEUE 16384	  /* records that wait */
#define COPIES 256	  /* those of them that have their event with them */
#define BATCH 64	  /* records whose events are on their way at once */
#define CROWD 4		  /* records at once, from which on more soon come */
#define GATHER 5	  /* ms that these are then waited for */
#define SWEEP_EVERY 10000 /* ms */
#define SWEEP_LIMIT 1024  /* records of one kind that are read at once */
#define REFUSED_WAIT 100  /* ms, before it is tried again */
#define CLOSE_WAIT 2000	  /* ms for what is queued at the end */

struct item {
	const struct kind *kind;
	char id[ID_SIZE];
	struct unsent *event; /* the one in its outbox; NULL: look */
	bool untold; /* see tell_added(): its events don't count as sent */
};

/* Records whose events are on their way, or sent and still to be taken out of
 * their outboxes. */
struct batch {
	struct context cx; /* of what is looked up for it */
	struct item items[BATCH];
	struct outgoing records[BATCH]; /* likewise; none: nothing to send */
	size_t count;
	bool failed; /* the bus or the database refused some of it */
};

struct outbox {
	const struct service *service;
	pthread_t thread;
	struct batch batches[2]; /* the thread's: one is filled, one was sent */
	int filling;
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

/* Those of a batch that are of one kind. */
static size_t
of_kind(const struct batch *b, const struct kind *kind, size_t *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < b->count; i++)
		if (b->items[i].kind == kind)
			ret[n++] = i;
	return n;
}

/* Looks up what waits in the outboxes of those that came without it. */
static void
look(struct batch *b)
{
	const struct kind *const *kinds = b->cx.service->kinds;
	const char *ids[BATCH];
	size_t at[BATCH], n, found;
	struct outgoing *o;

	for (; *kinds != NULL; kinds++) {
		size_t wanted = 0;

		n = of_kind(b, *kinds, at);
		for (size_t i = 0; i < n; i++)
			if (b->items[at[i]].event == NULL)
				ids[wanted++] = b->items[at[i]].id;
		if (wanted == 0)
			continue;
		if (store_unsent(&b->cx, *kinds, ids, wanted, &o, &found) !=
		    NULL) {
			b->failed = true;
			continue;
		}
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < found; j++)
				if (strcmp(b->items[at[i]].id, o[j].id) == 0)
					b->records[at[i]] = o[j];
	}
}

/* Takes what the bus has stored of the batch that was sent out of the
 * outboxes.  What was refused waits for its turn again; false when some was. */
static bool
settle(struct outbox *o)
{
	struct batch *b = &o->batches[!o->filling];
	const struct kind *const *kinds = b->cx.service->kinds;
	struct outgoing sent[BATCH];
	size_t at[BATCH], n, count;
	bool failed;

	for (; b->count > 0 && *kinds != NULL; kinds++) {
		count = 0;
		n = of_kind(b, *kinds, at);
		for (size_t i = 0; i < n; i++)
			if (b->records[at[i]].count > 0)
				sent[count++] = b->records[at[i]];
		if (count > 0 &&
		    store_sent(&b->cx, *kinds, sent, count) != NULL)
			b->failed = true;
	}
	for (size_t i = 0; i < b->count; i++) {
		struct item *item = &b->items[i];

		free(item->event);
		if (b->failed)
			outbox_wake(o, item->kind, item->id, NULL);
	}
	failed = b->failed;
	arena_reset(b->cx.arena);
	b->count = 0;
	b->failed = false;
	return !failed;
}

/* Its first event is on its way. */
static bool
is_new(const struct outgoing *r)
{
	const char *version =
		r->count > 0 ? strrchr(r->unsent[0].id, ':') : NULL;

	return version != NULL && strcmp(version, ":1") == 0;
}

/* See struct kind; where it fails, the records of that kind are untold. */
static void
tell_added(struct batch *b)
{
	const struct kind *const *kinds = b->cx.service->kinds;
	const char *ids[BATCH];
	size_t at[BATCH], n, count;

	for (; *kinds != NULL; kinds++) {
		if ((*kinds)->added == NULL)
			continue;
		count = 0;
		n = of_kind(b, *kinds, at);
		for (size_t i = 0; i < n; i++)
			if (is_new(&b->records[at[i]]))
				ids[count++] = b->items[at[i]].id;
		if (count == 0 ||
		    ((*kinds)->added(&b->cx, ids, count) == NULL &&
		     !GUARD_OFF("added")))
			continue;
		for (size_t i = 0; i < n; i++)
			b->items[at[i]].untold = true;
	}
}

/* Publishes the batch that was filled, and meanwhile settles the one before:
 * returns whether that went well. */
static bool
publish(struct outbox *o)
{
	struct batch *b = &o->batches[o->filling];
	int64_t began = clock_micros();
	struct bus_message *messages;
	struct flight *flight;
	size_t count = 0;
	bool settled;

	for (size_t i = 0; i < b->count; i++)
		count += b->records[i].count;
	messages = arena_alloc(b->cx.arena, count * sizeof(*messages));
	count = 0;
	for (size_t i = 0; i < b->count; i++)
		for (size_t j = 0; j < b->records[i].count; j++) {
			const struct unsent *u = &b->records[i].unsent[j];

			messages[count++] =
				(struct bus_message){.channel = u->channel,
						     .bytes = u->body,
						     .len = strlen(u->body)};
		}
	flight = bus_publish_begin(o->service->bus, messages, count);
	settled = settle(o);
	FAILPOINT("in-flight");
	tell_added(b);
	bus_publish_end(flight);
	FAILPOINT("published");
	for (size_t i = 0; i < b->count; i++) {
		struct outgoing *r = &b->records[i];
		size_t all = r->count;

		/* In order: what is behind one that failed is sent again. */
		for (r->count = 0; r->count < all && !b->items[i].untold &&
				   messages[r->count].stored;
		     r->count++) {
			const struct unsent *u = &r->unsent[r->count];

			span_sent(b->cx.arena, &u->span, u->channel, u->id,
				  began);
		}
		if (r->count < all)
			b->failed = true;
		messages += all;
	}
	o->filling = !o->filling;
	return settled;
}

/* Empties the queue.  The lock is held. */
static void
forget(struct outbox *o)
{
	for (; o->count > 0; o->count--) {
		free(o->queue[o->first].event);
		o->first = (o->first + 1) % QUEUE;
	}
}

/* What is queued now may be found by the sweep that is under way: it is looked
 * up, so that it does not go twice.  The lock is held. */
static void
distrust(struct outbox *o)
{
	for (size_t i = 0; i < o->count; i++) {
		struct item *item = &o->queue[(o->first + i) % QUEUE];

		free(item->event);
		item->event = NULL;
	}
}

/* Sends what these records have, in as many batches as it takes. */
static bool
send_records(struct outbox *o, const struct kind *kind,
	     const struct outgoing *records, size_t count)
{
	bool sent = true;

	while (sent && count > 0) {
		struct batch *b = &o->batches[o->filling];

		for (; b->count < BATCH && count > 0; records++, count--) {
			struct item *item = &b->items[b->count];

			*item = (struct item){.kind = kind};
			memcpy(item->id, records->id, ID_SIZE);
			b->records[b->count++] = *records;
		}
		sent = publish(o);
	}
	return settle(o) && sent;
}

static bool
is_stopping(struct outbox *o)
{
	bool stopping;

	pthread_mutex_lock(&o->lock);
	stopping = o->stopping;
	pthread_mutex_unlock(&o->lock);
	return stopping;
}

/* Sends all that is in outboxes.  False when some was refused. */
static bool
sweep(struct outbox *o, struct context *cx)
{
	const struct kind *const *kinds = o->service->kinds;
	struct outgoing *records;
	bool sent = settle(o);
	size_t n;

	for (; sent && !GUARD_OFF("sweep") && *kinds != NULL; kinds++) {
		if ((*kinds)->publishes == NULL)
			continue;
		do {
			sent = store_unsent(cx, *kinds, NULL, SWEEP_LIMIT,
					    &records, &n) == NULL &&
			       send_records(o, *kinds, records, n);
			arena_reset(cx->arena);
		} while (sent && n == SWEEP_LIMIT && !is_stopping(o));
	}
	return sent;
}

/* Takes up to BATCH records off the queue, each once.  True when all have their
 * event with them.  The lock is held. */
static bool
take(struct outbox *o)
{
	struct batch *b = &o->batches[o->filling];
	bool known = true;

	for (; o->count > 0 && b->count < BATCH; o->count--) {
		struct item *item = &o->queue[o->first];
		size_t at = 0;

		o->first = (o->first + 1) % QUEUE;
		while (at < b->count &&
		       (b->items[at].kind != item->kind ||
			strcmp(b->items[at].id, item->id) != 0))
			at++;
		if (at < b->count) {
			/* There is more now than either has with it. */
			free(b->items[at].event);
			free(item->event);
			item->event = NULL;
		} else {
			b->count++;
		}
		b->items[at] = *item;
		b->records[at] = (struct outgoing){b->items[at].id, item->event,
						   item->event != NULL};
		known = known && item->event != NULL;
	}
	return known;
}

static void *
run(void *closure)
{
	struct outbox *o = closure;
	struct context cx = {.service = o->service, .arena = arena_new()};
	int64_t next_sweep = 0;
	bool connected = false, sent = true, known;
	size_t last = 0; /* how many went together */

	pthread_mutex_lock(&o->lock);
	while (!o->stopping || (o->count > 0 && sent && connected &&
				clock_monotonic() < o->stop_by)) {
		/* What was saved while the bus was away is found at once when
		 * it is back. */
		bool was = connected;

		connected = bus_connected(o->service->bus);
		if (!connected) {
			if (!o->stopping)
				clock_wait(&o->changed, &o->lock,
					   clock_monotonic() + REFUSED_WAIT);
			continue;
		}
		if (!was || o->missed || clock_monotonic() >= next_sweep) {
			o->missed = false;
			if (!GUARD_OFF("sweep"))
				forget(o); /* it is saved, and found */
			pthread_mutex_unlock(&o->lock);
			sent = sweep(o, &cx);
			pthread_mutex_lock(&o->lock);
			distrust(o);
			next_sweep = clock_monotonic() +
				     (sent ? SWEEP_EVERY : REFUSED_WAIT);
		}
		if (last >= CROWD && o->count < BATCH && !o->stopping) {
			/* Each batch wakes five threads here and at the bus:
			 * many small ones would take the processors from those
			 * who save what is to be sent. */
			pthread_mutex_unlock(&o->lock);
			clock_sleep(GATHER);
			pthread_mutex_lock(&o->lock);
		}
		known = take(o);
		last = o->batches[o->filling].count;
		if (o->batches[0].count + o->batches[1].count == 0) {
			if (!o->stopping)
				clock_wait(&o->changed, &o->lock, next_sweep);
			continue;
		}
		pthread_mutex_unlock(&o->lock);
		if (o->batches[o->filling].count == 0) {
			sent = settle(o);
		} else if (known) {
			sent = publish(o);
		} else {
			/* What was sent is not to be found again. */
			sent = settle(o);
			look(&o->batches[o->filling]);
			sent = publish(o) && sent;
		}
		pthread_mutex_lock(&o->lock);
		if (!sent && !o->stopping)
			clock_wait(&o->changed, &o->lock,
				   clock_monotonic() + REFUSED_WAIT);
	}
	pthread_mutex_unlock(&o->lock);
	settle(o);
	arena_free(cx.arena);
	return NULL;
}

struct outbox *
outbox_open(const struct service *service)
{
	struct outbox *o = calloc(1, sizeof(*o));

	if (o == NULL)
		_exit(EX_OSERR);
	o->service = service;
	for (int i = 0; i < 2; i++)
		o->batches[i].cx = (struct context){.service = service,
						    .arena = arena_new()};
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	if (pthread_create(&o->thread, NULL, run, o) != 0)
		_exit(EX_OSERR);
	return o;
}

void
outbox_wake(struct outbox *o, const struct kind *kind, const char *id,
	    const struct unsent *event)
{
	struct item *item;

	pthread_mutex_lock(&o->lock);
	if (o->count == QUEUE) {
		o->missed = true;
	} else {
		item = &o->queue[(o->first + o->count) % QUEUE];
		*item = (struct item){.kind = kind};
		memcpy(item->id, id, ID_SIZE);
		/* What can't leave soon takes no memory. */
		item->event = event != NULL && o->count < COPIES
				      ? copy_of(event)
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
	forget(o);
	for (int i = 0; i < 2; i++)
		arena_free(o->batches[i].cx.arena);
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
