/* store-private.h: what the parts of the store share: store-mongo.c (its
 * database), store.c (records) and store-events.c (what was heard, and what is
 * still to be sent).  SPDX-License-Identifier: MIT */
#ifndef TICKETING_STORE_PRIVATE_H
#define TICKETING_STORE_PRIVATE_H

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "coalesce.h"
#include "store.h"

struct store {
	mongoc_client_pool_t *pool;
	char *database;
	const struct kind *const *kinds;
	pthread_mutex_t preparing;
	atomic_bool prepared;	   /* the indexes are there */
	atomic_llong closed_until; /* on the monotonic clock: the breaker */
	int64_t may_wait;	   /* callers at once in store_await() */
	atomic_int waiting;
	struct coalescer gets, adds;
};

/* store.c's: what store_get() and store_add() make together. */
void store_init_calls(struct store *s);

/* Has the arena destroy b, and returns it. */
bson_t *store_own(struct context *cx, bson_t *b);

/* A filter of one or many ids; its taker destroys it. */
bson_t *store_ids_filter(const char *const *ids, size_t count);

/* Starts a query; it takes filter and projection, a field (NULL: all).  The
 * cursor is the arena's. */
const struct fail *store_query(struct context *cx, const char *collection,
			       bson_t *filter, const char *sort, int64_t limit,
			       const char *projection,
			       mongoc_cursor_t **ret_cursor);

/* A field of a document: 0 or "" where it is not there, or no such thing; the
 * text is in the arena. */
int64_t store_int_at(const bson_t *doc, const char *name);
const char *store_text_at(struct context *cx, const bson_iter_t *document,
			  const char *name);

/* How many elements an array, as an outbox, has. */
int64_t store_count_elements(const bson_iter_t *array);

#endif
