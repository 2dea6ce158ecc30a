/* routes.c: what payments answers.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdatomic.h>
#include <string.h>

#include "books.h"
#include "model.h"
#include "webhook.h"

#define RESULT_WAIT 3000 /* ms for what becomes of a payment */
#define LOOK_MIN 10	 /* ms between two looks meanwhile, the first time */
#define LOOK_MAX 50
#define KEY_MAX 255 /* bytes of an Idempotency-Key */

struct pay_body {
	char order_id[ID_SIZE];
	const char *token, *coupon;
};

/* A payment method's id, as the gateway makes them. */
static bool
token_valid(const void *member)
{
	static const char *const prefixes[] = {"pm_", "card_", "src_"};
	const char *s = *(const char *const *)member;
	bool known = false;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		known = known ||
			strncmp(s, prefixes[i], strlen(prefixes[i])) == 0;
	for (; known && *s != '\0'; s++)
		known = isalnum((unsigned char)*s) || *s == '_';
	return known;
}

static const struct field pay_body[] = {
	FIELD(struct pay_body, order_id, "orderId", FIELD_ID,
	      .flags = FIELD_REQUIRED),
	FIELD(struct pay_body, token, "token", FIELD_TEXT, .min = 1, .max = 255,
	      .valid = token_valid),
	FIELD(struct pay_body, coupon, "coupon", FIELD_TEXT, .min = 1,
	      .max = HTTP_MAX_CODE),
	{0},
};

static const struct fail *pay(struct request *rq);
static const struct fail *show(struct request *rq);
static const struct fail *give_back(struct request *rq);

struct refund_body {
	const char *listing;
};

static const struct field refund_body[] = {
	FIELD(struct refund_body, listing, "listing", FIELD_TEXT,
	      .flags = FIELD_REQUIRED,
	      .one_of = ONE_OF(LISTING_FREE, LISTING_REMOVED),
	      .msg = "listing is \"free\" or \"removed\""),
	{0},
};

const struct route payments_routes[] = {
	{POST, "/api/payments", pay, SIGNED_IN, .body = pay_body,
	 .body_size = sizeof(struct pay_body),
	 .answers = {"Pay an order", 201, payment_fields,
		     .also = {402, 404, 409, 429}}},
	{GET, "/api/payments/:id", show, .access = SIGNED_IN,
	 .answers = {"Show the payment of an order", 200, payment_fields}},
	{POST, "/api/payments/:id/refund", give_back, SIGNED_IN,
	 .body = refund_body, .body_size = sizeof(struct refund_body),
	 .answers = {"Give the money of an order back", 200, payment_fields,
		     .also = {409}}},
	{POST, "/api/payments/webhook", webhook_hear,
	 .raw_max = WEBHOOK_MAX_BODY,
	 .answers = {"What the card gateway has to tell"}},
	{GET, "/api/payments/:id/receipt", books_receipt, SIGNED_IN,
	 .answers = {"The receipt of an order", 200, receipt_fields}},
	{GET, "/api/payments/sales", books_sales, SIGNED_IN,
	 .query = sales_query, .query_size = sizeof(struct sales_query),
	 .answers = {"What one has sold", 200, sales_fields,
		     .type = "text/csv"}},
	{POST, "/api/coupons", coupons_create, ADMIN, .body = coupon_body,
	 .body_size = sizeof(struct coupon_body),
	 .answers = {"Make a coupon, or a list of count of them", 201,
		     coupon_fields, ONE_OR_LIST}},
	{GET, "/api/coupons", coupons_list, ADMIN, .query = coupon_list,
	 .query_size = sizeof(struct coupon_list),
	 .answers = {"All coupons", 200, coupon_fields, LIST}},
	{GET, "/api/coupons/:code", coupons_show, SIGNED_IN,
	 .query = coupon_query, .query_size = sizeof(struct coupon_query),
	 .answers = {"What a coupon would make of an order's price", 200,
		     offer_fields, .also = {429}}},
	{DELETE, "/api/coupons/:code", coupons_delete, ADMIN,
	 .answers = {"Take a coupon back", 204}},
	{0},
};

int64_t payments_workers;

/*
 * A request waits for the result only while it has a place.  Three quarters of
 * the workers have one: with orders or the gateway away, the others still
 * answer those who just look.
 */
static atomic_int places_taken;

static bool
take_place(void)
{
	int64_t all = payments_workers - payments_workers / 4;

	if (atomic_fetch_add(&places_taken, 1) < all)
		return true;
	atomic_fetch_sub(&places_taken, 1);
	return false;
}

static bool
is_over(const struct payment *p)
{
	return !payment_is(p, PAYMENT_AUTHORIZING) &&
	       !payment_is(p, PAYMENT_AUTHORIZED);
}

/*
 * Waits until the payment is over, and settles it whenever nobody else does: it
 * is this request's own thread that captures once the order is complete, so
 * one buyer's slow bank is not in another's way.  What it came to is in the
 * record.
 */
static void
await_result(struct context *cx, const char *id, int64_t until)
{
	/* Each look's memory goes at once. */
	struct context look = {.arena = arena_new(), .service = cx->service};
	const struct fail *fail;
	struct payment p;
	int64_t pause = LOOK_MIN;
	bool over;

	for (;;) {
		fail = payment_settle(&look, id, &p);
		over = fail == NULL || fail == PAYMENT_PUT_OFF ? is_over(&p)
							       : true;
		arena_reset(look.arena);
		if (over || clock_monotonic() + pause > until)
			break;
		clock_sleep(pause);
		pause = pause * 3 / 2 < LOOK_MAX ? pause * 3 / 2 : LOOK_MAX;
	}
	arena_free(look.arena);
}

/* May this order be paid? */
static const struct fail *
check_order(struct context *cx, const struct order_copy *order)
{
	if (order_is_cancelled(order))
		return fail_conflict(cx->arena, "The order is cancelled", 0);
	if (order_is_complete(order))
		return fail_conflict(cx->arena, "The order is already paid", 0);
	if (clock_now() >= order->expires_at)
		return fail_conflict(cx->arena, "The order has expired", 0);
	return NULL;
}

/* The coupon that is asked for; *ret is NULL when none is. */
static const struct fail *
find_coupon(struct request *rq, const struct order_copy *order,
	    const struct payment_request *asked, const struct coupon **ret)
{
	struct coupon *c = arena_alloc(rq->cx->arena, sizeof(*c));
	const struct fail *fail;

	*ret = NULL;
	if (asked->coupon == NULL)
		return NULL;
	fail = coupon_find(rq->cx, &rq->user, asked->coupon, c);
	if (fail != NULL && fail->status == 404)
		return fail_field(rq->cx->arena, NULL, "coupon",
				  "There is no such coupon");
	TRY(fail);
	*ret = c;
	return coupon_check(rq->cx, c, order);
}

static const struct fail *
start(struct request *rq, const struct order_copy *order,
      const struct payment_request *asked, struct payment *ret)
{
	const struct coupon *coupon;
	int64_t amount = order->price;

	TRY(check_order(rq->cx, order));
	TRY(find_coupon(rq, order, asked, &coupon));
	if (coupon != NULL)
		amount = coupon_apply(coupon->percent_off, amount);
	if (amount > 0 && asked->method == NULL)
		return fail_field(rq->cx->arena, NULL, "token",
				  "A payment method is needed");
	return payment_start(rq->cx, order, asked, coupon, ret);
}

/* Another request than the one that made the payment. */
static const struct fail *
refuse(struct context *cx, const struct payment *p)
{
	return fail_conflict(
		cx->arena,
		payment_is(p, PAYMENT_FAILED)	? "The payment has failed"
		: payment_is(p, PAYMENT_VOIDED) ? "The order is cancelled"
		: payment_is(p, PAYMENT_AUTHORIZING)
			? "The order is being paid"
			: "The order is already paid",
		0);
}

static const struct fail *
answer(struct request *rq, const struct payment *p)
{
	struct arena *a = rq->cx->arena;

	if (payment_is(p, PAYMENT_FAILED))
		return fail_payment_failed(a, p->reason);
	if (payment_is(p, PAYMENT_VOIDED))
		return fail_conflict(a, "The order is cancelled", 0);
	if (payment_is(p, PAYMENT_AUTHORIZING) || p->reason != NULL)
		return PAYMENT_PUT_OFF;
	http_set_header(rq, "Location", "/api/payments/%s", p->order_id);
	return http_reply_record(rq, 201, payment_kind.fields, p);
}

static const struct fail *
carry_out(struct request *rq, const struct order_copy *order,
	  const struct payment_request *asked, bool may_wait)
{
	struct context *cx = rq->cx;
	int64_t began = clock_monotonic();
	struct payment p;
	const struct fail *fail =
		store_get(cx, &payment_kind, order->head.id, &p);

	if (fail != NULL && fail->status == 404) {
		fail = start(rq, order, asked, &p);
		if (fail == STORE_DUPLICATE)
			fail = store_get(cx, &payment_kind, order->head.id, &p);
	}
	/* With a gateway that takes its time there is none left to wait. */
	if (fail != PAYMENT_PUT_OFF) {
		TRY(fail);
		began = clock_monotonic();
	}
	if (!payment_is_of(cx, &p, asked))
		return refuse(cx, &p);
	if (may_wait && !is_over(&p)) {
		await_result(cx, p.head.id, began + RESULT_WAIT);
		TRY(store_get(cx, &payment_kind, p.head.id, &p));
	}
	return answer(rq, &p);
}

static bool
key_valid(const char *key)
{
	size_t len = strlen(key);

	for (const char *p = key; *p != '\0'; p++)
		if (!isprint((unsigned char)*p))
			return false;
	return len <= KEY_MAX;
}

static const struct fail *
pay(struct request *rq)
{
	const struct pay_body *body = rq->body;
	struct payment_request asked = {
		.method = body->token,
		.idempotency_key = http_header(rq, "Idempotency-Key"),
	};
	struct order_copy order;
	char code[COUPON_CODE_SIZE];
	const struct fail *fail;
	bool place;

	/* However it is typed, it is the same request. */
	asked.coupon = body->coupon;
	if (body->coupon != NULL && coupon_code_read(body->coupon, code))
		asked.coupon = code;
	if (asked.idempotency_key != NULL && !key_valid(asked.idempotency_key))
		return fail_bad_request(rq->cx->arena, "Bad Idempotency-Key");
	/* Who buys and pays at once is faster than the order's event. */
	TRY(store_await(rq->cx, &order_copy_kind, body->order_id, NULL,
			ORDER_WAIT, &order));
	if (strcmp(order.user_id, rq->user.id) != 0)
		return fail_forbidden(rq->cx->arena, "Not your order");
	trace_join(order.head.trace); /* a purchase is one, from BUY on */
	place = take_place();
	fail = carry_out(rq, &order, &asked, place);
	if (place)
		atomic_fetch_sub(&places_taken, 1);
	return fail;
}

static const struct fail *
show(struct request *rq)
{
	struct payment p;

	TRY(store_get(rq->cx, &payment_kind, rq->params[0], &p));
	if (strcmp(p.user_id, rq->user.id) != 0 &&
	    strcmp(rq->user.role, "admin") != 0)
		return fail_forbidden(rq->cx->arena, "Not your payment");
	return http_reply_record(rq, 200, payment_kind.fields, &p);
}

static const struct fail *
give_back(struct request *rq)
{
	const struct refund_body *body = rq->body;
	struct refund_wish wish = {.user = &rq->user, .listing = body->listing};
	struct payment p;

	TRY(payment_refund(rq->cx, rq->params[0], &wish, &p));
	return http_reply_record(rq, 200, payment_kind.fields, &p);
}
