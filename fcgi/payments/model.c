/* model.c: see model.h.
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <string.h>

#include "failpoint.h"
#include "gateway.h"
#include "webhook.h"

/* How long after an unknown outcome it is asked again: a quarter of the
 * payment's age, within these. */
#define AGAIN_MIN 1000 /* ms */
#define AGAIN_MAX 60000

_Static_assert(PAYMENT_LEASE > GATEWAY_LONGEST, "a step outlasts its lease");

const struct field payment_fields[] = {
	STORE_HEAD(struct payment),
	FIELD(struct payment, order_id, "orderId", FIELD_ID),
	FIELD(struct payment, user_id, "userId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, amount, "amount", FIELD_INT, .flags = FIELD_ZERO),
	FIELD(struct payment, discount, "discount", FIELD_INT,
	      .flags = FIELD_ZERO),
	FIELD(struct payment, coupon, "coupon", FIELD_TEXT),
	FIELD(struct payment, coupon_id, "couponId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, currency, "currency", FIELD_TEXT),
	FIELD(struct payment, status, "status", FIELD_TEXT),
	FIELD(struct payment, reason, "reason", FIELD_TEXT),
	FIELD(struct payment, created_at, "createdAt", FIELD_TIME),
	FIELD(struct payment, method, "method", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, intent, "intent", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, request, "request", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, idempotency_key, "idempotencyKey", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, lease_until, "leaseUntil", FIELD_TIME,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, seller_id, "sellerId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, stuff_id, "stuffId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, title, "title", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, price, "price", FIELD_INT,
	      .flags = FIELD_HIDDEN | FIELD_ZERO),
	FIELD(struct payment, captured_at, "capturedAt", FIELD_TIME),
	FIELD(struct payment, refunded, "refunded", FIELD_INT,
	      .flags = FIELD_ZERO),
	FIELD(struct payment, refunded_at, "refundedAt", FIELD_TIME),
	FIELD(struct payment, refunded_by, "refundedBy", FIELD_TEXT),
	FIELD(struct payment, refund_refused, "refundRefused", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, refund_try, "refundTry", FIELD_INT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct payment, listing, "listing", FIELD_TEXT),
	FIELD(struct payment, dispute, "dispute", FIELD_TEXT),
	FIELD(struct payment, alert, "alert", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	{0},
};

static const struct index payment_indexes[] = {
	{.keys = {"status", "_id"}},
	{.keys = {"sellerId", "status", "-_id"}},
	{.keys = {"intent"}, .sparse = true},
	{.keys = {NULL}},
};

bool
payment_is(const struct payment *p, const char *status)
{
	return strcmp(p->status, status) == 0;
}

/* Only the first state of being authorized is news, and of being refunded:
 * others tell who works on it, or what the gateway thinks of it. */
static enum event_type
publishes(const void *rec)
{
	const struct payment *p = rec;

	return payment_is(p, PAYMENT_FAILED) ? EVENT_PAYMENT_FAILED
	       : payment_is(p, PAYMENT_AUTHORIZED) && p->head.version == 0
		       ? EVENT_PAYMENT_CREATED
	       : payment_is(p, PAYMENT_REFUNDED) && p->head.version == 1
		       ? EVENT_PAYMENT_REFUNDED
		       : EVENT_NONE;
}

const struct kind payment_kind = {
	.collection = "payments",
	.fields = payment_fields,
	.traced = true,
	.size = sizeof(struct payment),
	.publishes = publishes,
	.indexes = payment_indexes,
};

static const struct field copy_fields[] = {
	STORE_HEAD(struct order_copy),
	FIELD(struct order_copy, status, "status", FIELD_TEXT),
	FIELD(struct order_copy, user_id, "userId", FIELD_ID),
	FIELD(struct order_copy, seller_id, "sellerId", FIELD_ID),
	FIELD(struct order_copy, stuff_id, "stuffId", FIELD_ID),
	FIELD(struct order_copy, title, "title", FIELD_TEXT),
	FIELD(struct order_copy, price, "price", FIELD_INT,
	      .flags = FIELD_ZERO),
	FIELD(struct order_copy, expires_at, "expiresAt", FIELD_TIME),
	{0},
};

const struct kind order_copy_kind = {
	.collection = "orders",
	.fields = copy_fields,
	.traced = true,
	.size = sizeof(struct order_copy),
};

bool
order_is_complete(const struct order_copy *o)
{
	return strcmp(o->status, "complete") == 0;
}

bool
order_is_cancelled(const struct order_copy *o)
{
	return strcmp(o->status, "cancelled") == 0;
}

const struct fail *
order_copy_put(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct order_event *order = event->data;
	struct order_copy *copy = rec;

	(void)cx;
	copy->head.version = event->version;
	copy->status = order->status;
	copy->price = order->stuff.price;
	copy->expires_at = order->expires_at;
	copy->title = order->stuff.title;
	memcpy(copy->user_id, order->user_id, ID_SIZE);
	memcpy(copy->seller_id, order->stuff.seller_id, ID_SIZE);
	memcpy(copy->stuff_id, order->stuff.id, ID_SIZE);
	return NULL;
}

const struct fail *
payment_in_motion(struct context *cx, const char *behind, int64_t limit,
		  struct payment **ret, size_t *ret_count)
{
	bson_t *filter = bson_new(), in, list, after;
	bson_oid_t oid;
	void *found;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
	BSON_APPEND_UTF8(&list, "0", PAYMENT_AUTHORIZING);
	BSON_APPEND_UTF8(&list, "1", PAYMENT_AUTHORIZED);
	BSON_APPEND_UTF8(&list, "2", PAYMENT_REFUNDING);
	bson_append_array_end(&in, &list);
	bson_append_document_end(filter, &in);
	if (*behind != '\0') {
		bson_oid_init_from_string(&oid, behind);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &after);
		BSON_APPEND_OID(&after, "$gt", &oid);
		bson_append_document_end(filter, &after);
	}
	TRY(store_find(cx, &payment_kind, filter, "_id", limit, &found,
		       ret_count));
	*ret = found;
	return NULL;
}

static const char *
request_hash(struct context *cx, const struct payment_request *rq)
{
	char *hex = arena_alloc(cx->arena, ID_HASH_SIZE);
	const char *s =
		arena_printf(cx->arena, "%s%s%s", rq->method ? rq->method : "",
			     rq->coupon ? "\n" : "",
			     rq->coupon ? rq->coupon : "");

	id_hash(hex, s, strlen(s));
	return hex;
}

bool
payment_is_of(struct context *cx, const struct payment *p,
	      const struct payment_request *rq)
{
	return strcmp(p->request, request_hash(cx, rq)) == 0 ||
	       (rq->idempotency_key != NULL && p->idempotency_key != NULL &&
		strcmp(p->idempotency_key, rq->idempotency_key) == 0);
}

static int64_t
lease(void)
{
	return clock_now() + (GUARD_OFF("lease") ? 1000 : PAYMENT_LEASE);
}

/* Verdict on a payment that another works on, or has moved already. */
static const struct fail taken = {.name = "taken"};

static bool
in_motion(const struct payment *p)
{
	return payment_is(p, PAYMENT_AUTHORIZING) ||
	       payment_is(p, PAYMENT_AUTHORIZED) ||
	       payment_is(p, PAYMENT_REFUNDING);
}

static const struct fail *
claim(struct context *cx, void *rec, const void *arg)
{
	struct payment *p = rec;

	(void)cx;
	(void)arg;
	if (p->lease_until > clock_now() || !in_motion(p))
		return &taken;
	p->lease_until = lease();
	return NULL;
}

/* Does whoever read the payment at that rev still work on it?  Each claim
 * raises rev: who was stopped for longer than its lease, and goes on, has lost
 * it. */
static bool
is_mine(const struct payment *p, int64_t rev)
{
	return p->head.rev == rev || GUARD_OFF("stale-worker");
}

/* What a step made of a payment. */
struct move {
	int64_t rev;	  /* save() sets it */
	const char *from; /* in no other status does it count */
	const char *to;	  /* the same: it goes on, and so does the lease */
	const char *intent, *reason; /* NULL: as it was */
	const char *refused;	     /* from refunding: why */
};

/* The one place that changes a payment in motion, but for its lease. */
static const struct fail *
make(struct context *cx, void *rec, const void *arg)
{
	const struct move *m = arg;
	struct payment *p = rec;

	(void)cx;
	if (!payment_is(p, m->from) || !is_mine(p, m->rev))
		return &taken;
	p->status = m->to;
	if (m->intent != NULL)
		p->intent = m->intent;
	if (m->reason != NULL)
		p->reason = m->reason;
	if (strcmp(m->to, PAYMENT_CAPTURED) == 0 && p->captured_at == 0)
		p->captured_at = clock_now();
	if (strcmp(m->from, PAYMENT_REFUNDING) == 0)
		p->refund_refused = m->refused;
	if (strcmp(m->to, PAYMENT_REFUNDED) == 0) {
		p->refunded = p->amount;
		p->refunded_at = clock_now();
	}
	p->lease_until = strcmp(m->to, m->from) == 0 ? lease() : 0;
	return NULL;
}

static const struct fail *
save(struct context *cx, struct payment *p, const struct move *m)
{
	struct move mine = *m;

	mine.rev = p->head.rev;
	return store_change(cx, &payment_kind, p->head.id, make, &mine, p);
}

static const struct fail *
move(struct context *cx, struct payment *p, const char *from, const char *to)
{
	return save(cx, p, &(struct move){.from = from, .to = to});
}

/* Notes why it can't be paid, in the gateway's words if it had some; next its
 * intent is cancelled. */
static const struct fail *
decline(struct context *cx, struct payment *p, const struct gateway_reply *r,
	const char *otherwise)
{
	return save(cx, p,
		    &(struct move){.from = p->status,
				   .to = p->status,
				   .reason = r->message ? r->message
							: otherwise});
}

/* Another end of the lease that we have. */
struct loan {
	int64_t rev, until;
};

static const struct fail *
lend(struct context *cx, void *rec, const void *arg)
{
	const struct loan *loan = arg;
	struct payment *p = rec;

	(void)cx;
	if (!is_mine(p, loan->rev))
		return &taken;
	p->lease_until = loan->until;
	return NULL;
}

static const struct fail *
hold(struct context *cx, struct payment *p, int64_t until)
{
	struct loan loan = {p->head.rev, until};

	return store_change(cx, &payment_kind, p->head.id, lend, &loan, p);
}

static const struct reason ask_again = {
	.msg = "The payment is being processed, please ask again"};

const struct fail payment_put_off = {
	.name = "UnavailableError",
	.status = 503,
	.reasons = &ask_again,
	.retry_after = 1,
	.cause = "the gateway's outcome is unknown",
};

/* Leaves the step to be done again by whoever comes, some seconds later. */
static const struct fail *
put_off(struct context *cx, struct payment *p)
{
	int64_t now = clock_now(), wait = (now - p->created_at) / 4;

	wait = wait < AGAIN_MIN ? AGAIN_MIN : wait;
	wait = wait > AGAIN_MAX ? AGAIN_MAX : wait;
	TRY(hold(cx, p, now + wait));
	return PAYMENT_PUT_OFF;
}

/* Letters to the buyer and the seller, as part of the step. */
static const struct fail *
tell(struct context *cx, const struct payment *p, const char *to_buyer,
     const char *to_seller)
{
	struct mail mail = {
		.letter = to_buyer, .title = p->title, .amount = p->amount};

	memcpy(mail.order_id, p->order_id, ID_SIZE);
	memcpy(mail.user_id, p->user_id, ID_SIZE);
	TRY(mail_send(cx, &mail));
	if (*p->seller_id == '\0')
		return NULL;
	mail.head = (struct head){0};
	mail.letter = to_seller;
	memcpy(mail.user_id, p->seller_id, ID_SIZE);
	return mail_send(cx, &mail);
}

static const struct fail *
create(struct context *cx, struct payment *p)
{
	struct gateway_reply r;

	FAILPOINT("before-intent");
	r = gateway_create(cx->arena, p->order_id, p->amount, p->method);
	FAILPOINT("intent-created");
	if (r.state == GATEWAY_DECLINED)
		return decline(cx, p, &r, "The card was declined");
	if (r.state == GATEWAY_UNKNOWN)
		return put_off(cx, p);
	if (GUARD_OFF("gateway-key")) {
		gateway_confirm(cx->arena, p->order_id, r.intent);
		FAILPOINT("charged");
	}
	TRY(save(cx, p,
		 &(struct move){.from = PAYMENT_AUTHORIZING,
				.to = PAYMENT_AUTHORIZING,
				.intent = r.intent}));
	FAILPOINT("intent-saved");
	return NULL;
}

static const struct fail *
confirm(struct context *cx, struct payment *p)
{
	struct gateway_reply r = {.state = GATEWAY_HELD};

	if (p->amount > 0)
		r = gateway_confirm(cx->arena, p->order_id, p->intent);
	FAILPOINT("charged");
	switch (r.state) {
	case GATEWAY_UNKNOWN:
	case GATEWAY_OPEN:
	case GATEWAY_RETURNED:
		return put_off(cx, p);
	case GATEWAY_CHALLENGE:
		r.message = NULL;
		return decline(cx, p, &r, "The card needs authentication");
	case GATEWAY_DECLINED:
		return decline(cx, p, &r, "The card was declined");
	case GATEWAY_CANCELLED:
		return decline(cx, p, &r, "The payment was cancelled");
	case GATEWAY_HELD:
	case GATEWAY_TAKEN:
		break;
	}
	TRY(move(cx, p, PAYMENT_AUTHORIZING, PAYMENT_AUTHORIZED));
	FAILPOINT("authorized");
	return NULL;
}

static const struct fail *
capture(struct context *cx, struct payment *p)
{
	struct gateway_reply r = {.state = GATEWAY_TAKEN};

	if (p->amount > 0)
		r = gateway_capture(cx->arena, p->order_id, p->intent);
	FAILPOINT("capture-answered");
	switch (r.state) {
	case GATEWAY_UNKNOWN:
	case GATEWAY_OPEN:
	case GATEWAY_HELD:
	case GATEWAY_CHALLENGE:
	case GATEWAY_RETURNED:
		return put_off(cx, p);
	case GATEWAY_DECLINED:
		return decline(cx, p, &r, "The card was declined");
	case GATEWAY_CANCELLED:
		return decline(cx, p, &r, "The money is no longer set aside");
	case GATEWAY_TAKEN:
		break;
	}
	if (p->coupon != NULL)
		TRY(coupon_spend(cx, p->coupon_id, p->order_id));
	TRY(tell(cx, p, MAIL_RECEIPT, MAIL_SALE));
	TRY(move(cx, p, PAYMENT_AUTHORIZED, PAYMENT_CAPTURED));
	FAILPOINT("captured");
	return NULL;
}

/* Ends it, as failed or voided, once nothing is held. */
static const struct fail *
cancel(struct context *cx, struct payment *p, const char *to)
{
	struct gateway_reply r = {.state = GATEWAY_CANCELLED};

	if (p->intent != NULL)
		r = gateway_cancel(cx->arena, p->order_id, p->intent);
	FAILPOINT("cancel-answered");
	/* It was captured past us, as in the gateway's dashboard. */
	if (r.state == GATEWAY_TAKEN) {
		TRY(hold(cx, p, lease()));
		r = gateway_refund(cx->arena, p->order_id, p->intent, p->amount,
				   p->refund_try);
	}
	if (r.state != GATEWAY_CANCELLED && r.state != GATEWAY_RETURNED)
		return put_off(cx, p);
	if (p->coupon != NULL)
		TRY(coupon_return(cx, p->coupon_id, p->order_id));
	return move(cx, p, p->status, to);
}

static const struct fail *
refund(struct context *cx, struct payment *p)
{
	struct gateway_reply r = {.state = GATEWAY_RETURNED};

	if (p->amount > 0)
		r = gateway_refund(cx->arena, p->order_id, p->intent, p->amount,
				   p->refund_try);
	FAILPOINT("refund-answered");
	if (r.state == GATEWAY_DECLINED)
		return save(cx, p,
			    &(struct move){.from = PAYMENT_REFUNDING,
					   .to = PAYMENT_CAPTURED,
					   .refused = r.message
							      ? r.message
							      : "The refund "
								"is refused"});
	if (r.state != GATEWAY_RETURNED)
		return put_off(cx, p);
	TRY(tell(cx, p, MAIL_REFUND, MAIL_SALE_REFUNDED));
	return move(cx, p, PAYMENT_REFUNDING, PAYMENT_REFUNDED);
}

/* The next step of a payment in motion; see the table in model.h.  NULL when
 * there is none for now. */
typedef const struct fail *(*payment_step)(struct context *cx,
					   struct payment *p);

static const struct fail *
fail_it(struct context *cx, struct payment *p)
{
	return cancel(cx, p, PAYMENT_FAILED);
}

static const struct fail *
void_it(struct context *cx, struct payment *p)
{
	return cancel(cx, p, PAYMENT_VOIDED);
}

static payment_step
next_step(const struct payment *p, const struct order_copy *order)
{
	bool authorizing = payment_is(p, PAYMENT_AUTHORIZING);

	if (!in_motion(p))
		return NULL;
	if (payment_is(p, PAYMENT_REFUNDING))
		return refund;
	/* Even with the order cancelled: under its key this finds an intent
	 * that was created and whose id was never saved. */
	if (authorizing && p->amount > 0 && p->intent == NULL &&
	    p->reason == NULL)
		return create;
	if (order_is_cancelled(order))
		return void_it;
	if (p->reason != NULL)
		return fail_it;
	if (authorizing)
		return confirm;
	if (order_is_complete(order) || GUARD_OFF("wait-for-order"))
		return capture;
	return NULL;
}

/* Steps on until nothing is left to do.  ours: *p is under our lease. */
static const struct fail *
go_on(struct context *cx, struct payment *p, bool ours)
{
	for (;;) {
		struct order_copy order;
		const struct fail *fail = NULL;
		const char *before;
		payment_step step;

		TRY(store_get(cx, &order_copy_kind, p->order_id, &order));
		step = next_step(p, &order);
		if (step == NULL)
			return NULL;
		if (!ours)
			fail = store_change(cx, &payment_kind, p->head.id,
					    claim, NULL, p);
		/* What is next may have changed with what was claimed. */
		before = p->status;
		if (fail == NULL && next_step(p, &order) == step)
			fail = step(cx, p);
		if (fail == &taken)
			return NULL;
		TRY(fail);
		/* A new status is saved without a lease. */
		ours = payment_is(p, before);
	}
}

const struct fail *
payment_settle(struct context *cx, const char *id, struct payment *ret)
{
	TRY(store_get(cx, &payment_kind, id, ret));
	if (payment_is(ret, PAYMENT_AUTHORIZING) &&
	    GUARD_OFF("gateway-recovery"))
		return NULL;
	/* A short cut: claim() decides. */
	if (ret->lease_until > clock_now())
		return NULL;
	return go_on(cx, ret, false);
}

/* What the order costs with the coupon, of which it gets a use. */
static const struct fail *
redeem(struct context *cx, const struct order_copy *order,
       const struct coupon *coupon, struct payment *p)
{
	TRY(coupon_take(cx, coupon->head.id, order));
	p->amount = coupon_apply(coupon->percent_off, order->price);
	p->discount = order->price - p->amount;
	p->coupon = coupon->code;
	memcpy(p->coupon_id, coupon->head.id, ID_SIZE);
	return NULL;
}

/* The order has another payment: does that use the coupon? */
static const struct fail *
give_up(struct context *cx, const struct order_copy *order,
	const struct coupon *coupon)
{
	struct payment other;

	TRY(store_get(cx, &payment_kind, order->head.id, &other));
	if (strcmp(other.coupon_id, coupon->head.id) != 0)
		TRY(coupon_return(cx, coupon->head.id, order->head.id));
	return STORE_DUPLICATE;
}

const struct fail *
payment_start(struct context *cx, const struct order_copy *order,
	      const struct payment_request *rq, const struct coupon *coupon,
	      struct payment *ret)
{
	const struct fail *fail;

	*ret = (struct payment){
		.amount = order->price,
		.currency = "usd",
		.status = PAYMENT_AUTHORIZING,
		.created_at = clock_now(),
		.method = rq->method,
		.request = request_hash(cx, rq),
		.idempotency_key = rq->idempotency_key,
		.lease_until = lease(),
		.title = order->title,
		.price = order->price,
	};
	memcpy(ret->seller_id, order->seller_id, ID_SIZE);
	memcpy(ret->stuff_id, order->stuff_id, ID_SIZE);
	if (coupon != NULL)
		TRY(redeem(cx, order, coupon, ret));
	if (!GUARD_OFF("one-payment"))
		memcpy(ret->head.id, order->head.id, ID_SIZE);
	memcpy(ret->order_id, order->head.id, ID_SIZE);
	memcpy(ret->user_id, order->user_id, ID_SIZE);
	fail = store_add(cx, &payment_kind, ret);
	if (fail == STORE_DUPLICATE && coupon != NULL)
		return give_up(cx, order, coupon);
	TRY(fail);
	return go_on(cx, ret, true);
}

static const struct fail *
wish_refund(struct context *cx, void *rec, const void *arg)
{
	const struct refund_wish *wish = arg;
	struct payment *p = rec;
	bool admin = wish->user && strcmp(wish->user->role, "admin") == 0;

	if (wish->user != NULL && !admin &&
	    strcmp(wish->user->id, p->seller_id) != 0)
		return fail_forbidden(cx->arena, "Not your sale");
	if (payment_is(p, PAYMENT_REFUNDING) || payment_is(p, PAYMENT_REFUNDED))
		return STORE_KEEP;
	if (!payment_is(p, PAYMENT_CAPTURED))
		return fail_conflict(
			cx->arena, "Only a complete order can be refunded", 0);
	p->status = PAYMENT_REFUNDING;
	/* What the gateway refused to whoever asked for it here, and has done
	 * all the same, is as they asked. */
	if (wish->user != NULL || p->refund_refused == NULL) {
		p->refunded_by = wish->user == NULL ? "gateway"
				 : admin	    ? "admin"
						    : "seller";
		p->listing = wish->listing;
	}
	p->refund_refused = NULL;
	p->refund_try++;
	p->lease_until = 0;
	return NULL;
}

const struct fail *
payment_refund(struct context *cx, const char *id,
	       const struct refund_wish *wish, struct payment *ret)
{
	TRY(store_change(cx, &payment_kind, id, wish_refund, wish, ret));
	TRY(payment_settle(cx, id, ret));
	if (payment_is(ret, PAYMENT_CAPTURED))
		return fail_conflict(cx->arena,
				     ret->refund_refused
					     ? ret->refund_refused
					     : "The refund is refused",
				     0);
	if (!payment_is(ret, PAYMENT_REFUNDED))
		return fail_unavailable(
			cx->arena,
			"The refund is being processed, please ask again",
			"another works on it");
	return NULL;
}

const struct fail *
payment_by_intent(struct context *cx, const char *intent, struct payment *ret)
{
	bson_t *filter = bson_new();

	BSON_APPEND_UTF8(filter, "intent", intent);
	return store_find_one(cx, &payment_kind, filter, ret);
}

/* Notes what the gateway says about a payment that is over. */
static const struct fail *
note_facts(struct context *cx, void *rec, const void *arg)
{
	const struct gateway_facts *f = arg;
	struct payment *p = rec;
	const char *alert;
	bool done = payment_is(p, PAYMENT_REFUNDED);

	(void)cx;
	if (in_motion(p))
		return STORE_KEEP;
	if (done && f->refunded < p->amount)
		alert = "the refund has failed at the gateway";
	else if (payment_is(p, PAYMENT_CAPTURED) && f->state != GATEWAY_TAKEN)
		alert = "the gateway has no money of it";
	else
		alert = NULL;
	if ((alert == NULL) == (p->alert == NULL) &&
	    (f->dispute == NULL ||
	     (p->dispute != NULL && strcmp(f->dispute, p->dispute) == 0)) &&
	    (!payment_is(p, PAYMENT_CAPTURED) || f->refunded == p->refunded))
		return STORE_KEEP;
	p->alert = alert;
	if (f->dispute != NULL)
		p->dispute = f->dispute;
	if (payment_is(p, PAYMENT_CAPTURED))
		p->refunded = f->refunded; /* a part of it */
	return NULL;
}

/* The gateway has money of a payment that we say is failed or voided. */
static const struct fail *
let_go(struct context *cx, const struct payment *p,
       const struct gateway_facts *f, bool *ret_mended)
{
	struct gateway_reply r = {.state = GATEWAY_CANCELLED};

	if (f->state == GATEWAY_TAKEN && f->refunded < p->amount)
		r = gateway_refund(cx->arena, p->order_id, p->intent, p->amount,
				   p->refund_try);
	else if (f->state == GATEWAY_HELD)
		r = gateway_cancel(cx->arena, p->order_id, p->intent);
	else
		return NULL;
	*ret_mended = true;
	return r.state == GATEWAY_RETURNED || r.state == GATEWAY_CANCELLED
		       ? NULL
		       : fail_unavailable(cx->arena, "Please try again",
					  "money that is not let go yet");
}

const struct fail *
payment_reconcile(struct context *cx, const char *id, bool *ret_mended)
{
	static const struct refund_wish wish = {.listing = LISTING_REMOVED};
	struct gateway_facts f;
	struct payment p;
	int64_t rev;

	*ret_mended = false;
	TRY(payment_settle(cx, id, &p));
	if (in_motion(&p) || p.intent == NULL)
		return NULL;
	f = gateway_ask(cx->arena, p.order_id, p.intent);
	if (f.state == GATEWAY_UNKNOWN)
		return fail_unavailable(cx->arena, "Please try again",
					"the gateway does not say");
	if (payment_is(&p, PAYMENT_CAPTURED) && f.refunded >= p.amount) {
		*ret_mended = true;
		return payment_refund(cx, id, &wish, &p);
	}
	if (payment_is(&p, PAYMENT_FAILED) || payment_is(&p, PAYMENT_VOIDED))
		return let_go(cx, &p, &f, ret_mended);
	rev = p.head.rev;
	TRY(store_change(cx, &payment_kind, id, note_facts, &f, &p));
	*ret_mended = p.head.rev != rev;
	if (*ret_mended)
		LOG(LOG_ERROR, "the gateway says otherwise",
		    LOG_TEXT("payment", id), LOG_TEXT("alert", p.alert),
		    LOG_TEXT("dispute", p.dispute),
		    LOG_NUMBER("refunded", p.refunded));
	return NULL;
}

static struct metric payments = {
	METRIC_MEASURED,
	"payments",
	"Payments in each state.",
	{"status"},
};
struct metric *const payments_metrics[] = {&payments, &gateway_seconds,
					   &webhook_repairs, NULL};

void
payments_measure(struct context *cx)
{
	static const char *const statuses[] = {
		PAYMENT_AUTHORIZING, PAYMENT_AUTHORIZED, PAYMENT_CAPTURED,
		PAYMENT_FAILED,	     PAYMENT_VOIDED,	 PAYMENT_REFUNDING,
		PAYMENT_REFUNDED,
	};
	int64_t n;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		bson_t *filter = bson_new();

		BSON_APPEND_UTF8(filter, "status", statuses[i]);
		if (store_count(cx, &payment_kind, filter, &n) == NULL)
			METRIC_SET(&payments, n, statuses[i]);
	}
}
