/* pool.h: the threads that answer requests.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_POOL_H
#define TICKETING_POOL_H

#include <stdint.h>

struct pool;
struct service;

/*
 * Threads that answer what comes to a listening socket, each request by
 * http_serve().  nginx may keep its connections: one on which nothing is asked
 * costs no thread, and all that ask, new or kept, are served in the order in
 * which they did.  A connection that never asks for anything costs none either.
 */
struct pool *pool_open(const struct service *service, int listener,
		       int64_t threads);

/*
 * What a thread says before it may wait: another one then looks for requests.
 * For http.c, which says it for every request but those of quick routes.  One
 * thread at a time looks, and answers what is quick by itself: to wake another
 * for each costs more than to answer it.
 */
void pool_will_wait(void);

/* Accepts nothing more, answers what has come, and ends the threads. */
void pool_close(struct pool *p);

#endif
