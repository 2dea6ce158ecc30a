/* refresh.c: see refresh.h.
 * SPDX-License-Identifier: MIT */
#include "refresh.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "service.h"

#define SLOTS 64
#define COOKIES 4
#define KEPT 8000 /* ms; auth's own grace is 10 s */

enum state { EMPTY, ASKING, ANSWERED };

static struct slot {
	enum state state;
	char token[ID_HASH_SIZE]; /* its hash */
	long status;
	char *cookies[COOKIES];
	int64_t until; /* an answer is good; on the monotonic clock */
} slots[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards these */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void
clear(struct slot *s)
{
	for (int i = 0; i < COOKIES; i++) {
		free(s->cookies[i]);
		s->cookies[i] = NULL;
	}
	s->state = EMPTY;
}

static void
keep(struct slot *s, const struct call *c)
{
	const struct header *h = c->cookies;

	for (int i = 0; i < COOKIES && h != NULL; i++, h = h->next)
		if ((s->cookies[i] = strdup(h->value)) == NULL)
			_exit(EX_OSERR);
	s->status = c->status;
	s->until = clock_monotonic() + KEPT;
	s->state = ANSWERED;
}

static void
hand_out(struct arena *a, const struct slot *s, struct call *c)
{
	struct header **tail = &c->cookies;

	c->status = s->status;
	c->good = true;
	for (int i = 0; i < COOKIES && s->cookies[i] != NULL; i++) {
		*tail = arena_alloc(a, sizeof(**tail));
		**tail = (struct header){.name = "Set-Cookie",
					 .value = arena_strdup(a,
							       s->cookies[i])};
		tail = &(*tail)->next;
	}
}

static bool
is_of(const struct slot *s, enum state state, const char *token)
{
	return s->state == state && strcmp(s->token, token) == 0;
}

/* Is there an answer by now?  Waits for one that was asked for.  If there is
 * not, the slot is the caller's to fill, unless it is in another's use: then
 * *ret_mine is false. */
static bool
await(struct slot *s, const char *token, int64_t until, bool *ret_mine)
{
	bool answered;

	*ret_mine = false;
	while (is_of(s, ASKING, token))
		if (!clock_wait(&changed, &lock, until))
			return false;
	answered = is_of(s, ANSWERED, token) && clock_monotonic() < s->until;
	if (!answered && s->state != ASKING) {
		clear(s);
		memcpy(s->token, token, ID_HASH_SIZE);
		s->state = ASKING;
		*ret_mine = true;
	}
	return answered;
}

void
refresh_run(struct arena *a, const struct visitor *visitor, struct call *c,
	    int64_t until)
{
	char token[ID_HASH_SIZE];
	struct slot *s;
	bool mine;

	id_hash(token, visitor->refresh, strlen(visitor->refresh));
	s = &slots[strtoul((char[]){token[0], token[1], '\0'}, NULL, 16) %
		   SLOTS];
	pthread_mutex_lock(&lock);
	if (await(s, token, until, &mine)) {
		hand_out(a, s, c);
		pthread_mutex_unlock(&lock);
		return;
	}
	pthread_mutex_unlock(&lock);
	client_run(a, visitor, &c, 1, until);
	if (!mine)
		return;
	pthread_mutex_lock(&lock);
	if (c->good)
		keep(s, c);
	else
		clear(s);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}
