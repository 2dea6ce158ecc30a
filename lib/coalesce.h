/* coalesce.h: calls of many threads that are made as one.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_COALESCE_H
#define TICKETING_COALESCE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

/* A thread's call: the first member of a struct, in its stack, that says what
 * is asked and takes the answer. */
struct call {
	struct call *next; /* of those that are made as one */

	/* coalesce.c's */
	struct call *under_way; /* the next one that is */
	struct call *behind;	/* those that came since, in order */
	enum call_state { CALL_LEADS, CALL_WAITS, CALL_MADE } state;
	sem_t told;
};

struct coalescer {
	/* May these two be made as one? */
	bool (*same)(const struct call *a, const struct call *b);
	/* Makes a list of calls, in the thread of the first one, while those of
	 * the others wait: what is theirs, as an arena, may be used. */
	void (*make)(struct call *calls);

	/* coalesce.c's */
	pthread_mutex_t lock;
	struct call *under_way;
};

#define COALESCER(same, make)                               \
	{                                                   \
		same, make, PTHREAD_MUTEX_INITIALIZER, NULL \
	}

/*
 * Returns when the call is made.  Of those that are the same one is under way
 * at a time, and what comes meanwhile is made as one behind it, as a database's
 * group commit is: the more call, the less each costs, and who comes alone
 * waits for nobody.  None joins one that was begun before it came, so nothing
 * is read that is older than the call.
 */
void coalesce(struct coalescer *c, struct call *mine);

#endif
