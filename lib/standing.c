/* standing.c: see standing.h.
 * SPDX-License-Identifier: MIT */
#include "standing.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "failpoint.h"

#define LOOK_EVERY 1000 /* ms */
#define BATCH 256	/* read at once */
/* s: no token is out of one whose standing changed longer ago; clocks of
 * replicas may differ by the rest. */
#define REMEMBERED (TOKEN_LIFE + 300)

static const struct field fields[] = {
	STORE_HEAD(struct standing),
	FIELD(struct standing, state, "state", FIELD_TEXT),
	FIELD(struct standing, valid_after, "validAfter", FIELD_INT),
	FIELD(struct standing, changed_at, "changedAt", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"changedAt", "_id"}},
	{{NULL}},
};

const struct kind standing_kind = {
	.collection = "standings",
	.fields = fields,
	.size = sizeof(struct standing),
	.indexes = indexes,
};

/* One user in memory. */
struct known {
	char id[ID_SIZE];
	enum standing_of_token as; /* of a token that is not void */
	int64_t valid_after;
};

static struct {
	pthread_rwlock_t lock; /* guards what follows */
	struct known *at;      /* by id */
	size_t count;
} all = {.lock = PTHREAD_RWLOCK_INITIALIZER};

bool
standing_bad(const struct standing *s)
{
	return s->state != NULL;
}

const struct fail *
standing_get(struct context *cx, const char *user_id, struct standing *ret)
{
	const struct fail *fail = store_get(cx, &standing_kind, user_id, ret);

	if (fail == NULL || fail->status != 404)
		return fail;
	*ret = (struct standing){.state = NULL};
	return NULL;
}

/* A store_decide function; arg is the event. */
static const struct fail *
put(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct user_event *user = event->data;
	struct standing *s = rec;

	(void)cx;
	s->state = event->type == EVENT_USER_BANNED   ? STANDING_BANNED
		   : event->type == EVENT_USER_ERASED ? STANDING_ERASED
						      : NULL;
	s->valid_after = user->valid_after > 0 ? user->valid_after
					       : event->time / 1000 + 1;
	s->changed_at = clock_now();
	return NULL;
}

const struct hears standing_hears[] = {
	{EVENT_USER_BANNED, &standing_kind, NULL, put, &standing_task},
	{EVENT_USER_UNBANNED, &standing_kind, NULL, put, &standing_task},
	{EVENT_USER_ERASED, &standing_kind, NULL, put, &standing_task},
	{0},
};

/* The next of those that matter, behind an id, in its order. */
static const struct fail *
read_batch(struct context *cx, const char *behind, struct standing **ret,
	   size_t *ret_count)
{
	bson_t *filter = bson_new(), range;
	bson_oid_t oid;
	void *found;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "changedAt", &range);
	BSON_APPEND_DATE_TIME(&range, "$gte",
			      clock_now() - REMEMBERED * INT64_C(1000));
	bson_append_document_end(filter, &range);
	if (*behind != '\0') {
		bson_oid_init_from_string(&oid, behind);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
		BSON_APPEND_OID(&range, "$gt", &oid);
		bson_append_document_end(filter, &range);
	}
	TRY(store_find(cx, &standing_kind, filter, "_id", BATCH, &found,
		       ret_count));
	*ret = found;
	return NULL;
}

/* Reads all that matter; with the database away, what was known stays. */
static void
look(struct context *cx)
{
	struct known *at = NULL, *old;
	char last[ID_SIZE] = "";
	struct standing *found;
	size_t count = 0, n;

	if (GUARD_OFF("standing"))
		return;
	do {
		if (read_batch(cx, last, &found, &n) != NULL) {
			free(at);
			return;
		}
		at = realloc(at, (count + n + 1) * sizeof(*at));
		if (at == NULL)
			_exit(EX_OSERR); /* as arena.c */
		for (size_t i = 0; i < n; i++) {
			const struct standing *s = &found[i];
			struct known *k = &at[count++];

			*k = (struct known){.valid_after = s->valid_after};
			memcpy(k->id, s->head.id, ID_SIZE);
			memcpy(last, s->head.id, ID_SIZE);
			if (standing_bad(s))
				k->as = strcmp(s->state, STANDING_BANNED) == 0
						? TOKEN_BANNED
						: TOKEN_VOID;
		}
	} while (n == BATCH);
	pthread_rwlock_wrlock(&all.lock);
	old = all.at;
	all.at = at;
	all.count = count;
	pthread_rwlock_unlock(&all.lock);
	free(old);
}

struct task standing_task = {
	.name = "standing", .every = LOOK_EVERY, .run = look};

static int
by_id(const void *id, const void *known)
{
	return memcmp(id, ((const struct known *)known)->id, ID_SIZE);
}

enum standing_of_token
standing_of_token(const struct user *user)
{
	enum standing_of_token as = TOKEN_GOOD;
	const struct known *k = NULL;

	pthread_rwlock_rdlock(&all.lock);
	if (all.count > 0)
		k = bsearch(user->id, all.at, all.count, sizeof(*k), by_id);
	if (k != NULL)
		as = k->as != TOKEN_GOOD	     ? k->as
		     : user->issued < k->valid_after ? TOKEN_VOID
						     : TOKEN_GOOD;
	pthread_rwlock_unlock(&all.lock);
	return as;
}
