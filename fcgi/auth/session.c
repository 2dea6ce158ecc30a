/* session.c: see session.h.
 * SPDX-License-Identifier: MIT */
#include "session.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "failpoint.h"

#define SERIES_SIZE 33 /* hex digits and NUL */
#define SECRET_SIZE 65
#define AGENT_MAX 200

/* A token taken apart. */
struct parts {
	char id[ID_SIZE], series[SERIES_SIZE], secret[SECRET_SIZE];
};

static const struct field fields[] = {
	STORE_HEAD(struct session),
	FIELD(struct session, user_id, "userId", FIELD_ID),
	FIELD(struct session, series, "series", FIELD_TEXT),
	FIELD(struct session, secret, "secret", FIELD_TEXT),
	FIELD(struct session, spent, "spent", FIELD_TEXT),
	FIELD(struct session, seed, "seed", FIELD_TEXT),
	FIELD(struct session, spent_at, "spentAt", FIELD_TIME),
	FIELD(struct session, agent, "agent", FIELD_TEXT),
	FIELD(struct session, created_at, "createdAt", FIELD_TIME),
	FIELD(struct session, used_at, "usedAt", FIELD_TIME),
	FIELD(struct session, expires_at, "expiresAt", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"userId", "-_id"}},
	{.keys = {"expiresAt"}},
	{{NULL}},
};

const struct kind session_kind = {
	.collection = "sessions",
	.fields = fields,
	.size = sizeof(struct session),
	.indexes = indexes,
};

/* Verdict of rotate(): somebody has a copy. */
static const struct fail reused = {.name = "reused"};

static const char *
hash(struct arena *a, const char *text)
{
	char *hex = arena_alloc(a, ID_HASH_SIZE);

	id_hash(hex, text, strlen(text));
	return hex;
}

static bool
same(const char *a, const char *b)
{
	return a != NULL && b != NULL && strlen(a) == strlen(b) &&
	       sodium_memcmp(a, b, strlen(a)) == 0;
}

/* Copies size - 1 hex digits that end is behind; what follows, or NULL. */
static const char *
take(const char *text, char *to, size_t size, char end)
{
	size_t len = size - 1;

	if (text == NULL || strspn(text, "0123456789abcdef") != len ||
	    text[len] != end)
		return NULL;
	memcpy(to, text, len);
	to[len] = '\0';
	return text + len + (end != '\0');
}

static bool
take_apart(const char *token, struct parts *p)
{
	token = take(token, p->id, ID_SIZE, '.');
	token = take(token, p->series, SERIES_SIZE, '.');
	return take(token, p->secret, SECRET_SIZE, '\0') != NULL;
}

static const char *
put_together(struct arena *a, const struct parts *p)
{
	return arena_printf(a, "%s.%s.%s", p->id, p->series, p->secret);
}

/* The secret that follows that one, by a seed of 64 hex digits. */
static void
succeed(char successor[SECRET_SIZE], const char *secret, const char *seed)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, (const unsigned char *)seed,
				    strlen(seed));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)secret,
				      strlen(secret));
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_bin2hex(successor, SECRET_SIZE, mac, sizeof(mac));
	sodium_memzero(mac, sizeof(mac));
}

/* Printable ASCII of it, up to a length. */
static const char *
clean(struct arena *a, const char *agent)
{
	char *s = arena_strndup(a, agent, strnlen(agent, AGENT_MAX));

	for (char *p = s; *p != '\0'; p++)
		if (!isprint((unsigned char)*p) || (unsigned char)*p > 126)
			*p = '?';
	return s;
}

static bson_t *
by_user(const char *user_id)
{
	bson_t *filter = bson_new();
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, user_id);
	BSON_APPEND_OID(filter, "userId", &oid);
	return filter;
}

static const struct fail *
end(struct context *cx, const char *id)
{
	bson_t *filter = bson_new();
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, id);
	BSON_APPEND_OID(filter, "_id", &oid);
	return store_remove(cx, &session_kind, filter);
}

/* Of a program that signs in every quarter of an hour, and never out. */
static const struct fail *
make_room(struct context *cx, const char *user_id)
{
	struct session *found;
	size_t n;

	TRY(session_find(cx, user_id, &found, &n));
	for (size_t i = SESSION_MAX - 1; i < n; i++)
		TRY(end(cx, found[i].head.id));
	return NULL;
}

const struct fail *
session_start(struct context *cx, const char *user_id, const char *agent,
	      const char **ret_token)
{
	int64_t now = clock_now();
	struct session s = {
		.agent = clean(cx->arena, agent ? agent : ""),
		.created_at = now,
		.used_at = now,
		.expires_at = now + SESSION_LIFE * INT64_C(1000),
	};
	struct parts p;

	TRY(make_room(cx, user_id));
	id_new(s.head.id);
	memcpy(s.user_id, user_id, ID_SIZE);
	memcpy(p.id, s.head.id, ID_SIZE);
	id_random(p.series, SERIES_SIZE / 2);
	id_random(p.secret, SECRET_SIZE / 2);
	s.series = hash(cx->arena, p.series);
	s.secret = hash(cx->arena, p.secret);
	TRY(store_add(cx, &session_kind, &s));
	*ret_token = put_together(cx->arena, &p);
	return NULL;
}

static bool
just_spent(const struct session *s, const char *secret_hash)
{
	return same(s->spent, secret_hash) && !GUARD_OFF("grace") &&
	       clock_now() - s->spent_at <= SESSION_GRACE * 1000;
}

/* A store_decide function: arg is the struct parts that were presented. */
static const struct fail *
rotate(struct context *cx, void *rec, const void *arg)
{
	const struct parts *p = arg;
	const char *presented = hash(cx->arena, p->secret);
	struct session *s = rec;
	char *seed, successor[SECRET_SIZE];

	if (!same(s->series, hash(cx->arena, p->series)) ||
	    clock_now() >= s->expires_at)
		return fail_not_authorized(cx->arena);
	if (just_spent(s, presented))
		return STORE_KEEP;
	if (!same(s->secret, presented))
		return &reused;
	seed = arena_alloc(cx->arena, SECRET_SIZE);
	id_random(seed, SECRET_SIZE / 2);
	succeed(successor, p->secret, seed);
	s->seed = seed;
	s->spent = presented;
	s->secret = hash(cx->arena, successor);
	s->spent_at = s->used_at = clock_now();
	s->expires_at = s->used_at + SESSION_LIFE * INT64_C(1000);
	return NULL;
}

const struct fail *
session_refresh(struct context *cx, const char *token, struct session *ret,
		const char **ret_token)
{
	const struct fail *fail;
	struct parts p, next;

	if (!take_apart(token, &p))
		return fail_not_authorized(cx->arena);
	fail = store_change(cx, &session_kind, p.id, rotate, &p, ret);
	if (fail == &reused) {
		LOG(LOG_WARN, "refresh token reused: session ended",
		    LOG_TEXT("session", p.id), LOG_TEXT("user", ret->user_id));
		TRY(end(cx, p.id));
		return fail_not_authorized(cx->arena);
	}
	if (fail != NULL)
		return fail->status == 404 ? fail_not_authorized(cx->arena)
					   : fail;
	next = p;
	succeed(next.secret, p.secret, ret->seed);
	*ret_token = put_together(cx->arena, &next);
	return NULL;
}

const struct fail *
session_of(struct context *cx, const char *token, char id[ID_SIZE])
{
	const struct fail *fail;
	const char *presented;
	struct session s;
	struct parts p;

	*id = '\0';
	if (!take_apart(token, &p))
		return NULL;
	fail = store_get(cx, &session_kind, p.id, &s);
	if (fail != NULL)
		return fail->status == 404 ? NULL : fail;
	presented = hash(cx->arena, p.secret);
	if (same(s.series, hash(cx->arena, p.series)) &&
	    clock_now() < s.expires_at &&
	    (same(s.secret, presented) || just_spent(&s, presented)))
		memcpy(id, p.id, ID_SIZE);
	return NULL;
}

const struct fail *
session_sign_out(struct context *cx, const char *token)
{
	char id[ID_SIZE];

	TRY(session_of(cx, token, id));
	return *id != '\0' ? end(cx, id) : NULL;
}

const struct fail *
session_find(struct context *cx, const char *user_id, struct session **ret,
	     size_t *ret_count)
{
	void *found;

	TRY(store_find(cx, &session_kind, by_user(user_id), "-_id",
		       2 * SESSION_MAX, &found, ret_count));
	*ret = found;
	return NULL;
}

const struct fail *
session_end(struct context *cx, const char *user_id, const char *id)
{
	struct session s;

	TRY(store_get(cx, &session_kind, id, &s));
	if (strcmp(s.user_id, user_id) != 0)
		return fail_not_found(cx->arena);
	return end(cx, id);
}

const struct fail *
session_end_all(struct context *cx, const char *user_id, const char *keep)
{
	bson_t *filter = by_user(user_id), other;
	bson_oid_t oid;

	if (*keep != '\0') {
		bson_oid_init_from_string(&oid, keep);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &other);
		BSON_APPEND_OID(&other, "$ne", &oid);
		bson_append_document_end(filter, &other);
	}
	return store_remove(cx, &session_kind, filter);
}

void
session_sweep(struct context *cx)
{
	store_prune(cx, &session_kind, "expiresAt", clock_now());
}
