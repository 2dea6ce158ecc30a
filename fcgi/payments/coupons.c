/* coupons.c: see coupons.h.
 * SPDX-License-Identifier: MIT */
#include "coupons.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "failpoint.h"
#include "model.h"

#define SWEEP_EVERY 5000  /* ms */
#define SWEEP_LIMIT 100	  /* coupons at once */
#define NOTE_SIZE ID_SIZE /* of an order in pending: its id and a space */

const struct field coupon_fields[] = {
	STORE_HEAD(struct coupon),
	FIELD(struct coupon, code, "code", FIELD_TEXT),
	FIELD(struct coupon, percent_off, "percentOff", FIELD_INT),
	FIELD(struct coupon, max_redemptions, "maxRedemptions", FIELD_INT),
	FIELD(struct coupon, redemptions, "redemptions", FIELD_INT,
	      .flags = FIELD_ZERO),
	FIELD(struct coupon, expires_at, "expiresAt", FIELD_TIME),
	FIELD(struct coupon, stuff_id, "stuffId", FIELD_ID),
	FIELD(struct coupon, created_at, "createdAt", FIELD_TIME),
	FIELD(struct coupon, deleted_at, "deletedAt", FIELD_TIME,
	      .flags = FIELD_HIDDEN),
	FIELD(struct coupon, pending, "pending", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	{0},
};

static const struct index coupon_indexes[] = {
	{.keys = {"code"}, .unique = true},
	{.keys = {"pending"}, .sparse = true},
	{{NULL}},
};

const struct kind coupon_kind = {
	.collection = "coupons",
	.fields = coupon_fields,
	.size = sizeof(struct coupon),
	.indexes = coupon_indexes,
};

/* --- codes --------------------------------------------------------------- */

/* Without I, L and O, which look like others, and U. */
static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void
coupon_code_new(char code[COUPON_CODE_SIZE])
{
	for (int i = 0; i < COUPON_CODE_SIZE - 1; i++)
		code[i] = (char)(i % 5 == 4 ? '-'
					    : letters[randombytes_uniform(
						      sizeof(letters) - 1)]);
	code[COUPON_CODE_SIZE - 1] = '\0';
}

bool
coupon_code_read(const char *typed, char code[COUPON_CODE_SIZE])
{
	int n = 0;

	for (; *typed != '\0'; typed++) {
		char c = (char)toupper((unsigned char)*typed);

		if (strchr(" -_.", c) != NULL)
			continue;
		c = (char)(c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c);
		if (strchr(letters, c) == NULL || n == COUPON_CODE_SIZE - 1)
			return false;
		code[n++] = c;
		if (n % 5 == 4 && n < COUPON_CODE_SIZE - 1)
			code[n++] = '-';
	}
	code[n] = '\0';
	return n == COUPON_CODE_SIZE - 1;
}

/* --- guessing ------------------------------------------------------------ */

/* A user's record of codes that don't exist; its id is the user's, so that all
 * replicas count together. */
struct guesses {
	struct head head;
	int64_t count, since;
};

static const struct field guesses_fields[] = {
	STORE_HEAD(struct guesses),
	FIELD(struct guesses, count, "count", FIELD_INT, .flags = FIELD_ZERO),
	FIELD(struct guesses, since, "since", FIELD_TIME),
	{0},
};

static const struct index guesses_indexes[] = {
	{.keys = {"since"}},
	{{NULL}},
};

const struct kind guesses_kind = {
	.collection = "guesses",
	.fields = guesses_fields,
	.size = sizeof(struct guesses),
	.indexes = guesses_indexes,
};

static const struct fail *
count_guess(struct context *cx, void *rec, const void *arg)
{
	struct guesses *g = rec;
	int64_t now = clock_now(), left;

	(void)arg;
	left = g->since + COUPON_GUESS_WINDOW * 1000 - now;
	if (left <= 0) {
		g->since = now;
		g->count = 0;
	} else if (g->count >= COUPON_GUESSES) {
		return fail_too_many(cx->arena, (int)(left / 1000) + 1);
	}
	g->count++;
	return NULL;
}

static const struct fail *
forgive_guess(struct context *cx, void *rec, const void *arg)
{
	struct guesses *g = rec;

	(void)cx;
	(void)arg;
	g->count -= g->count > 0;
	return NULL;
}

/* Counted before it is looked up, so that many at once are no way round. */
static const struct fail *
guess(struct context *cx, const struct user *user)
{
	struct guesses g;
	const struct fail *fail = store_change(cx, &guesses_kind, user->id,
					       count_guess, NULL, &g);

	if (fail == NULL || fail->status != 404)
		return fail;
	g = (struct guesses){.count = 1, .since = clock_now()};
	memcpy(g.head.id, user->id, ID_SIZE);
	fail = store_add(cx, &guesses_kind, &g);
	return fail == STORE_DUPLICATE
		       ? store_change(cx, &guesses_kind, user->id, count_guess,
				      NULL, &g)
		       : fail;
}

/* Also a deleted one. */
static const struct fail *
by_code(struct context *cx, const char *typed, struct coupon *ret)
{
	char code[COUPON_CODE_SIZE];
	bson_t *filter;

	if (!coupon_code_read(typed, code))
		return fail_not_found(cx->arena);
	filter = bson_new();
	BSON_APPEND_UTF8(filter, "code", code);
	return store_find_one(cx, &coupon_kind, filter, ret);
}

const struct fail *
coupon_find(struct context *cx, const struct user *user, const char *typed,
	    struct coupon *ret)
{
	struct guesses g;

	TRY(guess(cx, user));
	TRY(by_code(cx, typed, ret));
	TRY(store_change(cx, &guesses_kind, user->id, forgive_guess, NULL, &g));
	return ret->deleted_at != 0 ? fail_not_found(cx->arena) : NULL;
}

/* --- uses ---------------------------------------------------------------- */

int64_t
coupon_apply(int64_t percent_off, int64_t price)
{
	int64_t amount = price - price * percent_off / 100;

	if (amount == 0 || amount >= CHARGE_MIN)
		return amount;
	/* Too little to charge, and who gave a part did not mean all: the
	 * seller gets the least that can be charged. */
	return price < CHARGE_MIN ? price : CHARGE_MIN;
}

static const struct fail *
bad(struct context *cx, const char *why)
{
	return fail_field(cx->arena, NULL, "coupon", why);
}

/* All but whether a use is left. */
static const struct fail *
check_terms(struct context *cx, const struct coupon *c,
	    const struct order_copy *order)
{
	if (c->deleted_at != 0)
		return bad(cx, "There is no such coupon");
	if (c->expires_at != 0 && clock_now() >= c->expires_at)
		return bad(cx, "The coupon has expired");
	if (*c->stuff_id != '\0' && strcmp(c->stuff_id, order->stuff_id) != 0)
		return bad(cx, "The coupon is for other stuff");
	if (coupon_apply(c->percent_off, order->price) == order->price)
		return bad(cx, "The coupon takes nothing off this price");
	return NULL;
}

static bool
has_note(const struct coupon *c, const char *order_id)
{
	return c->pending != NULL && strstr(c->pending, order_id) != NULL;
}

const struct fail *
coupon_check(struct context *cx, const struct coupon *c,
	     const struct order_copy *order)
{
	TRY(check_terms(cx, c, order));
	if (c->redemptions >= c->max_redemptions &&
	    !has_note(c, order->head.id))
		return fail_conflict(cx->arena, "The coupon is used up", 0);
	return NULL;
}

static const struct fail *
take(struct context *cx, void *rec, const void *arg)
{
	const struct order_copy *order = arg;
	struct order_copy now;
	struct payment p;
	struct coupon *c = rec;
	const struct fail *fail;

	/* In this order: see coupons.h. */
	TRY(store_get(cx, &order_copy_kind, order->head.id, &now));
	if (order_is_cancelled(&now))
		return fail_conflict(cx->arena, "The order is cancelled", 0);
	fail = store_get(cx, &payment_kind, order->head.id, &p);
	if (fail == NULL)
		return STORE_DUPLICATE;
	if (fail->status != 404)
		return fail;
	if (has_note(c, order->head.id))
		return STORE_KEEP;
	if (GUARD_OFF("coupon-uses"))
		TRY(check_terms(cx, c, order));
	else
		TRY(coupon_check(cx, c, order));
	if (c->pending != NULL &&
	    strlen(c->pending) >= (size_t)COUPON_MAX_PENDING * NOTE_SIZE)
		return fail_unavailable(
			cx->arena, "Too many are redeeming, please try again",
			"too many pending uses of a coupon");
	c->redemptions++;
	c->pending = arena_printf(cx->arena, "%s%s ",
				  c->pending ? c->pending : "", order->head.id);
	return NULL;
}

const struct fail *
coupon_take(struct context *cx, const char *coupon_id,
	    const struct order_copy *order)
{
	struct coupon c;

	FAILPOINT("coupon-checked");
	TRY(store_change(cx, &coupon_kind, coupon_id, take, order, &c));
	FAILPOINT("coupon-taken");
	return NULL;
}

/* A use that is over. */
struct use {
	const char *order_id;
	bool needed;
};

static const struct fail *
end(struct context *cx, void *rec, const void *arg)
{
	const struct use *use = arg;
	struct coupon *c = rec;
	const char *note;

	if (!has_note(c, use->order_id))
		return STORE_KEEP;
	note = strstr(c->pending, use->order_id);
	c->pending = arena_printf(cx->arena, "%.*s%s", (int)(note - c->pending),
				  c->pending, note + NOTE_SIZE);
	if (*c->pending == '\0')
		c->pending = NULL;
	c->redemptions -= !use->needed;
	return NULL;
}

const struct fail *
coupon_spend(struct context *cx, const char *coupon_id, const char *order_id)
{
	struct use use = {.order_id = order_id, .needed = true};
	struct coupon c;

	TRY(store_change(cx, &coupon_kind, coupon_id, end, &use, &c));
	FAILPOINT("coupon-spent");
	return NULL;
}

const struct fail *
coupon_return(struct context *cx, const char *coupon_id, const char *order_id)
{
	struct use use = {.order_id = order_id, .needed = false};
	struct coupon c;

	TRY(store_change(cx, &coupon_kind, coupon_id, end, &use, &c));
	FAILPOINT("coupon-returned");
	return NULL;
}

/* Ends a use that no payment will end. */
static const struct fail *
sweep_use(struct context *cx, const char *coupon_id, const char *order_id)
{
	struct order_copy order;
	struct payment p;
	const struct fail *fail = store_get(cx, &payment_kind, order_id, &p);

	if (fail == NULL && strcmp(p.coupon_id, coupon_id) == 0)
		return NULL; /* it does that itself */
	if (fail != NULL && fail->status != 404)
		return fail;
	if (fail != NULL) {
		TRY(store_get(cx, &order_copy_kind, order_id, &order));
		if (!order_is_cancelled(&order))
			return NULL;
	}
	LOG(LOG_INFO, "use of a coupon given back",
	    LOG_TEXT("coupon", coupon_id), LOG_TEXT("order", order_id));
	return coupon_return(cx, coupon_id, order_id);
}

static void
sweep(struct context *cx)
{
	struct coupon *c;
	void *found;
	size_t n = SWEEP_LIMIT;
	char last[ID_SIZE] = "";

	store_prune(cx, &guesses_kind, "since",
		    clock_now() - COUPON_GUESS_WINDOW * 1000);
	while (n == SWEEP_LIMIT) {
		bson_t *filter = bson_new(), some;
		bson_oid_t oid;

		arena_reset(cx->arena);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "pending", &some);
		BSON_APPEND_BOOL(&some, "$exists", true);
		bson_append_document_end(filter, &some);
		if (*last != '\0') {
			bson_oid_init_from_string(&oid, last);
			BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &some);
			BSON_APPEND_OID(&some, "$gt", &oid);
			bson_append_document_end(filter, &some);
		}
		if (store_find(cx, &coupon_kind, filter, "_id", SWEEP_LIMIT,
			       &found, &n) != NULL)
			return;
		c = found;
		for (size_t i = 0; i < n; i++) {
			const char *p = c[i].pending;

			memcpy(last, c[i].head.id, ID_SIZE);
			for (; p != NULL && strlen(p) >= NOTE_SIZE;
			     p += NOTE_SIZE)
				if (sweep_use(cx, last,
					      arena_strndup(cx->arena, p,
							    ID_SIZE - 1)) !=
				    NULL)
					return;
		}
	}
}

struct task coupons_sweep = {
	.name = "coupons", .every = SWEEP_EVERY, .run = sweep};

/* --- routes -------------------------------------------------------------- */

static bool
is_future(const void *member)
{
	return *(const int64_t *)member > clock_now();
}

const struct field coupon_body[] = {
	FIELD(struct coupon_body, percent_off, "percentOff", FIELD_INT,
	      .min = 1, .max = 100, .msg = "percentOff is from 1 to 100"),
	FIELD(struct coupon_body, max_redemptions, "maxRedemptions", FIELD_INT,
	      .min = 1, .max = 1000000,
	      .msg = "maxRedemptions is from 1 to 1000000"),
	FIELD(struct coupon_body, expires_at, "expiresAt", FIELD_TIME,
	      .valid = is_future, .msg = "expiresAt is a time to come"),
	FIELD(struct coupon_body, stuff_id, "stuffId", FIELD_ID),
	FIELD(struct coupon_body, count, "count", FIELD_INT, .min = 1,
	      .max = COUPON_BULK_MAX, .msg = "count is from 1 to 1000"),
	{0},
};

const struct field coupon_query[] = {
	FIELD(struct coupon_query, order_id, "orderId", FIELD_ID,
	      .flags = FIELD_REQUIRED),
	{0},
};

const struct field offer_fields[] = {
	SHOWN("code", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("percentOff", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("price", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("discount", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("amount", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("currency", FIELD_TEXT, .flags = FIELD_REQUIRED),
	{0},
};

const struct field coupon_list[] = {HTTP_PAGE(struct coupon_list, page), {0}};

const struct fail *
coupons_create(struct request *rq)
{
	const struct coupon_body *body = rq->body;
	struct arena *a = rq->cx->arena;
	size_t n = body->count ? (size_t)body->count : 1;
	struct coupon *made = arena_alloc(a, n * sizeof(*made));
	json_object *list = json_new_array(a);

	for (size_t i = 0; i < n; i++) {
		char *code = arena_alloc(a, COUPON_CODE_SIZE);

		coupon_code_new(code);
		made[i] = (struct coupon){
			.code = code,
			.percent_off =
				body->percent_off ? body->percent_off : 100,
			.max_redemptions = body->max_redemptions
						   ? body->max_redemptions
						   : 1,
			.expires_at = body->expires_at,
			.created_at = clock_now(),
		};
		memcpy(made[i].stuff_id, body->stuff_id, ID_SIZE);
	}
	TRY(store_add_all(rq->cx, &coupon_kind, made, n));
	if (body->count == 0)
		return http_reply_record(rq, 201, coupon_fields, made);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(
			list, json_object_get(record_to_json(a, coupon_fields,
							     &made[i])));
	return http_reply(rq, 201, list);
}

const struct fail *
coupons_list(struct request *rq)
{
	const struct coupon_list *q = rq->query;
	bson_t *filter = bson_new(), none;
	void *found;
	size_t n;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "deletedAt", &none);
	BSON_APPEND_BOOL(&none, "$exists", false);
	bson_append_document_end(filter, &none);
	http_page_filter(&q->page, filter);
	TRY(store_find(rq->cx, &coupon_kind, filter, "-_id",
		       http_page_fetch(&q->page), &found, &n));
	return http_reply_page(rq, &q->page, coupon_fields, found,
			       sizeof(struct coupon), n);
}

const struct fail *
coupons_show(struct request *rq)
{
	const struct coupon_query *q = rq->query;
	json_object *o = json_new_object(rq->cx->arena);
	struct order_copy order;
	const struct fail *fail;
	struct coupon c;
	int64_t amount;

	/* Who buys and types a code at once is faster than the order's
	 * event. */
	TRY(store_await(rq->cx, &order_copy_kind, q->order_id, NULL, ORDER_WAIT,
			&order));
	if (strcmp(order.user_id, rq->user.id) != 0)
		return fail_forbidden(rq->cx->arena, "Not your order");
	TRY(coupon_find(rq->cx, &rq->user, rq->params[0], &c));
	fail = coupon_check(rq->cx, &c, &order);
	if (fail != NULL)
		return fail->status < 500 ? fail_not_found(rq->cx->arena)
					  : fail;
	amount = coupon_apply(c.percent_off, order.price);
	json_put_text(o, "code", c.code);
	json_put_int(o, "percentOff", c.percent_off);
	json_put_int(o, "price", order.price);
	json_put_int(o, "discount", order.price - amount);
	json_put_int(o, "amount", amount);
	json_put_text(o, "currency", "usd");
	return http_reply(rq, 200, o);
}

static const struct fail *delete (struct context *cx, void *rec,
				  const void *arg)
{
	struct coupon *c = rec;

	(void)cx;
	(void)arg;
	if (c->deleted_at != 0)
		return STORE_KEEP;
	c->deleted_at = clock_now();
	return NULL;
}

/* Orders that have taken a use of it go on with that. */
const struct fail *
coupons_delete(struct request *rq)
{
	struct coupon c;

	TRY(by_code(rq->cx, rq->params[0], &c));
	TRY(store_change(rq->cx, &coupon_kind, c.head.id, delete, NULL, &c));
	return http_reply(rq, 204, NULL);
}
