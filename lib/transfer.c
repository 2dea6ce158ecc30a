/* transfer.c: see transfer.h.
 * SPDX-License-Identifier: MIT */
#include "transfer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "measure.h"
#include "service.h"

#define QUEUE 256     /* requests that wait for a thread */
#define PATIENCE 5000 /* ms that those under way have at the end */

struct waiting {
	enum stream kind;
	FCGX_Request *request;
};

struct slot {
	struct transfers *transfers;
	pthread_t thread;
	FCGX_Request *request; /* what it serves now, or NULL */
};

struct transfers {
	const struct service *service;
	struct slot *slots;
	int64_t threads, max_uploads;
	pthread_mutex_t lock; /* guards all that follows, and slots' requests */
	pthread_cond_t added, ended;
	struct waiting queue[QUEUE]; /* a ring */
	size_t first, count;
	size_t admitted; /* those in the queue, or about to be */
	int64_t uploads; /* admitted or under way */
	int64_t busy;	 /* threads */
	bool stopping;
};

static void *
run(void *arg)
{
	struct slot *slot = arg;
	struct transfers *t = slot->transfers;
	struct context cx = {.service = t->service, .arena = arena_new()};

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct waiting w;

		while (t->count == 0 && !t->stopping)
			pthread_cond_wait(&t->added, &t->lock);
		if (t->count == 0)
			break;
		w = t->queue[t->first];
		t->first = (t->first + 1) % QUEUE;
		t->count--;
		t->admitted--;
		t->busy++;
		METRIC_ADD(&metric_pool_busy, 1, "transfers");
		slot->request = w.request;
		pthread_mutex_unlock(&t->lock);
		http_serve(&cx, w.request, true);
		arena_reset(cx.arena);
		pthread_mutex_lock(&t->lock);
		slot->request = NULL; /* its socket is closed next */
		pthread_mutex_unlock(&t->lock);
		FCGX_Finish_r(w.request);
		free(w.request);
		pthread_mutex_lock(&t->lock);
		t->busy--;
		METRIC_ADD(&metric_pool_busy, -1, "transfers");
		if (w.kind == UPLOAD)
			t->uploads--;
		pthread_cond_signal(&t->ended);
	}
	pthread_mutex_unlock(&t->lock);
	arena_free(cx.arena);
	return NULL;
}

struct transfers *
transfers_open(const struct service *service, int64_t threads)
{
	struct transfers *t = calloc(1, sizeof(*t));

	if (t == NULL ||
	    (t->slots = calloc((size_t)threads, sizeof(*t->slots))) == NULL)
		_exit(EX_OSERR);
	t->service = service;
	t->threads = threads;
	METRIC_SET(&metric_pool_size, threads, "transfers");
	t->max_uploads = threads - (threads + 3) / 4;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->added, NULL);
	pthread_cond_init(&t->ended, NULL);
	for (int64_t i = 0; i < threads; i++) {
		t->slots[i].transfers = t;
		t->slots[i].thread = service_thread(run, &t->slots[i]);
	}
	return t;
}

bool
transfers_admit(struct transfers *t, enum stream kind)
{
	bool may;

	pthread_mutex_lock(&t->lock);
	may = !t->stopping && t->admitted < QUEUE &&
	      (kind != UPLOAD || t->uploads < t->max_uploads);
	if (may) {
		t->admitted++;
		t->uploads += kind == UPLOAD;
	}
	pthread_mutex_unlock(&t->lock);
	return may;
}

void
transfers_add(struct transfers *t, enum stream kind, FCGX_Request *request)
{
	pthread_mutex_lock(&t->lock);
	t->queue[(t->first + t->count++) % QUEUE] =
		(struct waiting){kind, request};
	pthread_cond_signal(&t->added);
	pthread_mutex_unlock(&t->lock);
}

void
transfers_close(struct transfers *t)
{
	int64_t until = clock_monotonic() + PATIENCE;

	if (t == NULL)
		return;
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->added);
	while ((t->busy > 0 || t->count > 0) &&
	       clock_wait(&t->ended, &t->lock, until))
		;
	/* Who reads or writes such a socket sees its end. */
	for (int64_t i = 0; i < t->threads; i++)
		if (t->slots[i].request != NULL)
			shutdown(t->slots[i].request->ipcFd, SHUT_RDWR);
	for (size_t i = 0; i < t->count; i++)
		/* GCOVR_EXCL_START: stopped while more download than there are
		 * threads */
		shutdown(t->queue[(t->first + i) % QUEUE].request->ipcFd,
			 SHUT_RDWR);
	/* GCOVR_EXCL_STOP */
	pthread_mutex_unlock(&t->lock);
	for (int64_t i = 0; i < t->threads; i++)
		pthread_join(t->slots[i].thread, NULL);
	pthread_cond_destroy(&t->added);
	pthread_cond_destroy(&t->ended);
	pthread_mutex_destroy(&t->lock);
	free(t->slots);
	free(t);
}
