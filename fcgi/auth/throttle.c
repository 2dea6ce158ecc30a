/* throttle.c: see throttle.h.
 * SPDX-License-Identifier: MIT */
#include "throttle.h"

#include <arpa/inet.h>
#include <string.h>

#include "failpoint.h"

enum { ADDRESS, ACCOUNT }; /* of struct throttle's by */

#define FORGET 3600000 /* ms after the last wrong one */

/* Behind one address there may be a whole campus. */
static const struct limits {
	int64_t free;
	int64_t longest; /* ms */
} limits_of[] = {[ADDRESS] = {100, 60000}, [ACCOUNT] = {10, 900000}};

struct counter {
	struct head head; /* id: of a hash of what is counted */
	int64_t wrong;
	int64_t until; /* no try before */
	int64_t last;
	bool counted; /* not stored: this change raised wrong */
};

static const struct field fields[] = {
	STORE_HEAD(struct counter),
	FIELD(struct counter, wrong, "wrong", FIELD_INT),
	FIELD(struct counter, until, "until", FIELD_TIME),
	FIELD(struct counter, last, "last", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"last"}},
	{{NULL}},
};

const struct kind throttle_kind = {
	.collection = "throttle",
	.fields = fields,
	.size = sizeof(struct counter),
	.indexes = indexes,
};

static void
id_of(struct context *cx, const char *what, const char *of, char id[ID_SIZE])
{
	const char *text = arena_printf(cx->arena, "%s:%s", what, of);
	char hash[ID_HASH_SIZE];

	id_hash(hash, text, strlen(text));
	memcpy(id, hash, ID_SIZE - 1);
	id[ID_SIZE - 1] = '\0';
}

/* Of IPv6, the half that names a network: its owner has all of the rest. */
static const char *
network(struct context *cx, const char *address)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET6, address, bytes) != 1)
		return address;
	return arena_printf(cx->arena, "%02x%02x:%02x%02x:%02x%02x:%02x%02x",
			    bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
			    bytes[5], bytes[6], bytes[7]);
}

static void
count_wrong(struct counter *c, const struct limits *limits)
{
	int64_t now = clock_now(), over, wait = 1000;

	if (now - c->last > FORGET)
		c->wrong = 0;
	c->last = now;
	c->counted = true;
	over = ++c->wrong - limits->free;
	for (int64_t i = 1; i < over && wait < limits->longest; i++)
		wait *= 2;
	if (over > 0)
		c->until =
			now + (wait < limits->longest ? wait : limits->longest);
}

/* store_decide functions; arg is the struct limits. */
static const struct fail *
enter(struct context *cx, void *rec, const void *arg)
{
	const struct limits *limits = arg;
	struct counter *c = rec;
	int64_t now = clock_now();

	if (c->wrong < limits->free || now - c->last > FORGET ||
	    GUARD_OFF("throttle"))
		return STORE_KEEP;
	if (now < c->until)
		return fail_too_many(cx->arena,
				     (int)((c->until - now + 999) / 1000));
	count_wrong(c, limits);
	return NULL;
}

static const struct fail *
wrong(struct context *cx, void *rec, const void *arg)
{
	(void)cx;
	count_wrong(rec, arg);
	return NULL;
}

/* Undoes what was counted in advance. */
static const struct fail *
take_back(struct context *cx, void *rec, const void *arg)
{
	struct counter *c = rec;

	(void)cx;
	(void)arg;
	if (c->wrong > 0)
		c->wrong--;
	c->until = clock_now();
	return NULL;
}

/* As store_change(), for a counter that may not be there yet. */
static const struct fail *
change(struct context *cx, const char *id, store_decide decide,
       const struct limits *limits, struct counter *ret)
{
	const struct fail *fail;

	do {
		fail = store_change(cx, &throttle_kind, id, decide, limits,
				    ret);
		if (fail == NULL || fail->status != 404)
			return fail;
		*ret = (struct counter){.wrong = 0};
		memcpy(ret->head.id, id, ID_SIZE);
		fail = decide(cx, ret, limits);
		if (fail == NULL)
			fail = store_add(cx, &throttle_kind, ret);
	} while (fail == STORE_DUPLICATE);
	return fail == STORE_KEEP ? NULL : fail;
}

const struct fail *
throttle_enter(struct context *cx, const char *email, const char *address,
	       struct throttle *ret)
{
	struct counter c;

	*ret = (struct throttle){0};
	id_of(cx, "account", email, ret->by[ACCOUNT].id);
	if (*address != '\0')
		id_of(cx, "address", network(cx, address), ret->by[ADDRESS].id);
	/* The address first: who is stopped there has no say on an account. */
	for (int i = 0; i < 2; i++) {
		if (*ret->by[i].id == '\0')
			continue;
		TRY(change(cx, ret->by[i].id, enter, &limits_of[i], &c));
		ret->by[i].there = c.head.rev > 0;
		ret->by[i].counted = c.counted;
	}
	return NULL;
}

static const struct fail *
forget(struct context *cx, const char *id)
{
	bson_t *filter = bson_new();
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, id);
	BSON_APPEND_OID(filter, "_id", &oid);
	return store_remove(cx, &throttle_kind, filter);
}

const struct fail *
throttle_leave(struct context *cx, const struct throttle *t, bool right)
{
	struct counter c;

	for (int i = 0; i < 2; i++) {
		if (*t->by[i].id == '\0')
			continue;
		if (!right && !t->by[i].counted)
			TRY(change(cx, t->by[i].id, wrong, &limits_of[i], &c));
		/* Who has an account of their own must not clear what they
		 * guess of others from there. */
		if (right && i == ACCOUNT && t->by[i].there)
			TRY(forget(cx, t->by[i].id));
		if (right && i == ADDRESS && t->by[i].counted)
			TRY(change(cx, t->by[i].id, take_back, NULL, &c));
	}
	return NULL;
}

void
throttle_sweep(struct context *cx)
{
	store_prune(cx, &throttle_kind, "last", clock_now() - FORGET);
}
