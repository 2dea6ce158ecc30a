/* webhook.c: see webhook.h.
 *
 * What an event says is not believed: it only tells which payment to ask the
 * gateway about.  So one that is late, early or old does no harm.
 * SPDX-License-Identifier: MIT */
#include "webhook.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "gateway.h"
#include "model.h"

#define RECONCILE_EVERY 60000	       /* ms */
#define RECONCILE_BACK (3 * 24 * 3600) /* s, at the start */
#define RECONCILE_OVERLAP 900	       /* s, with the run before */
/* The gateway sends an event again for three days, and asking it once more does
 * no harm. */
#define SEEN_KEPT (INT64_C(30) * 24 * 3600 * 1000) /* ms */

struct seen {
	struct head head;
	const char *event, *type;
	int64_t created_at;
};

static const struct field seen_fields[] = {
	STORE_HEAD(struct seen),
	FIELD(struct seen, event, "event", FIELD_TEXT),
	FIELD(struct seen, type, "type", FIELD_TEXT),
	FIELD(struct seen, created_at, "createdAt", FIELD_TIME),
	{0},
};

static const struct index seen_indexes[] = {
	{.keys = {"createdAt"}},
	{{NULL}},
};

const struct kind webhook_kind = {
	.collection = "webhooks",
	.fields = seen_fields,
	.size = sizeof(struct seen),
	.indexes = seen_indexes,
};

const char *webhook_secret;

/* Is it the hex of this MAC?  In constant time. */
static bool
mac_is(const unsigned char mac[crypto_auth_hmacsha256_BYTES], const char *hex,
       size_t len)
{
	unsigned char raw[crypto_auth_hmacsha256_BYTES];
	size_t n = 0;

	return len == 2 * sizeof(raw) &&
	       sodium_hex2bin(raw, sizeof(raw), hex, len, NULL, &n, NULL) ==
		       0 &&
	       n == sizeof(raw) && sodium_memcmp(raw, mac, sizeof(raw)) == 0;
}

bool
webhook_signed(const char *header, const char *secret, const char *body,
	       size_t len, int64_t now)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	const char *t = NULL;
	size_t t_len = 0;
	int64_t time;
	bool good = false;

	for (const char *p = header; *p != '\0'; p += strspn(p, ", ")) {
		if (strncmp(p, "t=", 2) == 0 && t == NULL) {
			t = p + 2;
			t_len = strcspn(t, ", ");
		}
		p += strcspn(p, ",");
	}
	if (t == NULL || t_len == 0 || t_len > 12 ||
	    strspn(t, "0123456789") < t_len)
		return false;
	time = strtoll(t, NULL, 10);
	if (time < now - WEBHOOK_TOLERANCE || time > now + WEBHOOK_TOLERANCE)
		return false;
	crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret,
				    strlen(secret));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)t, t_len);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)".", 1);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, len);
	crypto_auth_hmacsha256_final(&state, mac);
	for (const char *p = header; *p != '\0'; p += strspn(p, ", ")) {
		size_t part = strcspn(p, ",");

		/* Several, while the secret is being changed. */
		if (strncmp(p, "v1=", 3) == 0 && mac_is(mac, p + 3, part - 3))
			good = true;
		p += part;
	}
	return good;
}

/* The intent that the event's object is, or is of: an id or the whole. */
static const char *
intent_of(json_object *object)
{
	const char *what = json_text(object, "object");
	json_object *whole;

	if (what != NULL && strcmp(what, "payment_intent") == 0)
		return json_text(object, "id");
	whole = json_member(object, "payment_intent", json_type_object);
	return whole ? json_text(whole, "id")
		     : json_text(object, "payment_intent");
}

/* Its order, should the intent's id not be saved yet. */
static const char *
order_of(json_object *object)
{
	json_object *facts = json_member(object, "metadata", json_type_object);
	const char *id = facts ? json_text(facts, "order_id") : NULL;

	return id != NULL && id_valid(id) ? id : NULL;
}

static const struct fail *
take_note(struct context *cx, const char *type, json_object *object)
{
	const char *intent = intent_of(object), *order = order_of(object);
	const struct fail *fail = fail_not_found(cx->arena);
	struct payment p;
	bool mended;

	if (intent != NULL)
		fail = payment_by_intent(cx, intent, &p);
	if (fail != NULL && fail->status == 404 && order != NULL)
		fail = store_get(cx, &payment_kind, order, &p);
	if (fail != NULL)
		return fail->status == 404 ? NULL : fail; /* not ours */
	if (GUARD_OFF("webhook-truth") && strcmp(type, "charge.refunded") == 0)
		return payment_refund(
			cx, p.head.id,
			&(struct refund_wish){.listing = LISTING_REMOVED}, &p);
	return payment_reconcile(cx, p.head.id, &mended);
}

/* Is it of a kind that may tell of money? */
static bool
matters(const char *type)
{
	static const char *const kinds[] = {"payment_intent.", "charge.",
					    "refund."};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(type, kinds[i], strlen(kinds[i])) == 0)
			return true;
	return false;
}

const struct fail *
webhook_hear(struct request *rq)
{
	struct context *cx = rq->cx;
	const char *header = http_header(rq, "Stripe-Signature");
	json_object *o, *object;
	struct seen seen = {.created_at = clock_now()}, before;
	char hash[ID_HASH_SIZE];
	const struct fail *fail;

	if (rq->raw == NULL || header == NULL ||
	    !webhook_signed(header, webhook_secret, rq->raw, rq->raw_len,
			    clock_now() / 1000))
		return fail_bad_request(cx->arena, "Bad signature");
	o = json_read(cx->arena, rq->raw, rq->raw_len);
	object = json_member(json_member(o, "data", json_type_object), "object",
			     json_type_object);
	seen.event = o ? json_text(o, "id") : NULL;
	seen.type = o ? json_text(o, "type") : NULL;
	if (seen.event == NULL || seen.type == NULL || object == NULL)
		return fail_bad_request(cx->arena, "Not an event");
	id_hash(hash, seen.event, strlen(seen.event));
	memcpy(seen.head.id, hash, ID_SIZE - 1);
	fail = store_get(cx, &webhook_kind, seen.head.id, &before);
	if (fail != NULL && fail->status != 404)
		return fail;
	if (fail != NULL && matters(seen.type)) {
		TRY(take_note(cx, seen.type, object));
		/* Noted when it is done and not before: it comes again until
		 * then, and asking the gateway twice does no harm. */
		FAILPOINT("webhook-done");
		fail = store_add(cx, &webhook_kind, &seen);
		if (fail != STORE_DUPLICATE)
			TRY(fail);
	}
	return http_reply(rq, 200, json_new_object(cx->arena));
}

/* --- reconciliation ------------------------------------------------------ */

struct metric webhook_repairs = {
	METRIC_COUNTER,
	"reconciliation_repairs_total",
	"Payments found to differ from the gateway's books, and mended or not.",
	{"outcome"},
};

struct round {
	const struct service *service;
	int64_t looked, mended, failed;
};

/* Does our record say so already?  A payment in motion finds out itself. */
static bool
known(const struct payment *p, const struct gateway_news *news)
{
	bool failed =
		payment_is(p, PAYMENT_FAILED) || payment_is(p, PAYMENT_VOIDED);

	switch (news->of) {
	case NEWS_REFUND:
		return failed || payment_is(p, PAYMENT_REFUNDED);
	case NEWS_DISPUTE:
		return p->dispute != NULL &&
		       strcmp(p->dispute, news->status) == 0;
	case NEWS_CHARGE:
		break;
	}
	if (failed)
		return !news->captured || news->refunded >= p->amount;
	if (payment_is(p, PAYMENT_AUTHORIZED))
		return true;
	return news->captured && news->refunded == p->refunded &&
	       news->disputed == (p->dispute != NULL);
}

static void
compare(void *closure, const struct gateway_news *news)
{
	struct round *round = closure;
	struct context cx = {.arena = arena_new(), .service = round->service};
	const struct fail *fail;
	struct payment p;
	bool mended = false;

	round->looked++;
	fail = payment_by_intent(&cx, news->intent, &p);
	if (fail == NULL && !known(&p, news))
		fail = payment_reconcile(&cx, p.head.id, &mended);
	round->mended += mended;
	round->failed += fail != NULL && fail->status != 404;
	arena_free(cx.arena);
}

static void
reconcile(struct context *cx)
{
	static int64_t since; /* of this task's thread alone */
	struct round round = {.service = cx->service};
	int64_t began = clock_now() / 1000;

	store_prune(cx, &webhook_kind, "createdAt", clock_now() - SEEN_KEPT);
	if (since == 0)
		since = began - RECONCILE_BACK;
	if (!gateway_recent(since, compare, &round))
		round.failed++;
	METRIC_ADD(&webhook_repairs, round.mended, "mended");
	METRIC_ADD(&webhook_repairs, round.failed, "failed");
	if (round.failed == 0)
		since = began - RECONCILE_OVERLAP;
	LOG(round.failed || round.mended ? LOG_WARN : LOG_INFO, "reconciled",
	    LOG_NUMBER("looked", round.looked),
	    LOG_NUMBER("mended", round.mended),
	    LOG_NUMBER("failed", round.failed));
}

struct task payments_reconciling = {
	.name = "reconciling", .every = RECONCILE_EVERY, .run = reconcile};
