/* context.h: what one request, event or task run works with.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_CONTEXT_H
#define TICKETING_CONTEXT_H

#include <stdint.h>

#include "arena.h"
#include "fail.h"

struct service;

/* Belongs to one thread.  What it borrows (a database client) goes back when
 * its arena is reset. */
struct context {
	struct arena *arena;
	const struct service *service;
	void *client;  /* the store's */
	int64_t asked; /* likewise: when it last had the client, monotonic */
};

#endif
