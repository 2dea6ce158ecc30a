/* coalesce.c: see coalesce.h.
 * SPDX-License-Identifier: MIT */
#include "coalesce.h"

#include <stddef.h>

/* One that is the same and under way; NULL: none.  The lock is held. */
static struct call *
find_same(const struct coalescer *c, const struct call *mine)
{
	struct call *call = c->under_way;

	while (call != NULL && !c->same(call, mine))
		call = call->under_way;
	return call;
}

/* The lock is held. */
static void
begin(struct coalescer *c, struct call *mine)
{
	mine->under_way = c->under_way;
	c->under_way = mine;
}

/* Its thread may return, so the call may be gone then. */
static void
tell(struct call *call, enum call_state state)
{
	call->state = state;
	sem_post(&call->told);
}

/* The first of those behind makes the next one. */
static void
end(struct coalescer *c, struct call *mine)
{
	struct call **at = &c->under_way, *heir;

	pthread_mutex_lock(&c->lock);
	while (*at != mine)
		at = &(*at)->under_way;
	*at = mine->under_way;
	heir = mine->behind;
	if (heir != NULL) {
		begin(c, heir);
		tell(heir, CALL_LEADS);
	}
	pthread_mutex_unlock(&c->lock);
}

void
coalesce(struct coalescer *c, struct call *mine)
{
	struct call *before, **last, *call, *next;

	mine->next = mine->behind = NULL;
	mine->state = CALL_LEADS;
	pthread_mutex_lock(&c->lock);
	before = find_same(c, mine);
	if (before == NULL) {
		begin(c, mine);
	} else {
		mine->state = CALL_WAITS;
		sem_init(&mine->told, 0, 0);
		for (last = &before->behind; *last != NULL;)
			last = &(*last)->next;
		*last = mine;
	}
	pthread_mutex_unlock(&c->lock);
	while (before != NULL && sem_wait(&mine->told) != 0)
		; /* a signal came */
	if (mine->state == CALL_MADE)
		return;
	c->make(mine);
	end(c, mine);
	for (call = mine->next; call != NULL; call = next) {
		next = call->next;
		tell(call, CALL_MADE);
	}
}
