/* model.h: payments, which payments owns, and its copy of orders.
 * SPDX-License-Identifier: MIT */
#ifndef PAYMENTS_MODEL_H
#define PAYMENTS_MODEL_H

#include "coupons.h"
#include "mail.h"
#include "service.h"

/*
 * A payment's status.  There is one payment for an order, for its id is the
 * order's.  The money is only set aside until orders has said what becomes of
 * the order; then it is taken, or let go.
 *
 *   authorizing -----------> authorized -----------> captured
 *      |   the gateway          |   order:completed
 *      |   holds the money      |
 *      +------------------------+--> voided   order:cancelled
 *      +------------------------+--> failed   the card was declined
 *
 *   captured <-----------> refunding -----------> refunded
 *      |  seller, admin, or    |  the gateway gave
 *      |  the gateway's own    |  the money back
 *      |  word; refused
 *
 * While authorizing, authorized or refunding it is in motion: payment_settle()
 * does the next step, whoever calls it and whatever happened before.  What is
 * there decides what that is; the first row that fits:
 *
 *   status       and                     then
 *   authorizing  amount, no intent       create the intent, save its id
 *   either       the order is cancelled  cancel the intent: voided
 *   either       a reason                cancel the intent: failed
 *   authorizing                          confirm: authorized, or a reason
 *   authorized   the order is complete   capture: captured, or a reason
 *   refunding                            refund what is not refunded yet:
 *                                        refunded, or why not and captured
 *
 * So an intent is known before it can charge, nothing is captured before its
 * order is complete, and a payment is failed or voided only once the gateway
 * has said that nothing is held.  An outcome that is not known changes
 * nothing: the step is done again.
 */
#define PAYMENT_AUTHORIZING "authorizing"
#define PAYMENT_AUTHORIZED "authorized"
#define PAYMENT_CAPTURED "captured"
#define PAYMENT_FAILED "failed"
#define PAYMENT_VOIDED "voided"
#define PAYMENT_REFUNDING "refunding"
#define PAYMENT_REFUNDED "refunded"

/* What becomes of the listing of a refunded order. */
#define LISTING_FREE "free"
#define LISTING_REMOVED "removed"

/* In motion, it belongs to the process that works on it for so long, more than
 * a step can take, and to any other thereafter.  That spares the gateway the
 * same call twice at once.  Who goes on after its lease has passed on can save
 * nothing: a claim raises rev, and a step is saved at the rev of its claim. */
#define PAYMENT_LEASE 30000 /* ms */

/*
 * Places where a test build dies, waits or forgets (see failpoint.h).
 * FAILPOINTS, in the order they are passed: before-intent, intent-created,
 * intent-saved, charged (the gateway has confirmed, nothing is saved of it),
 * authorized, capture-answered, captured; and cancel-answered; and
 * refund-answered.  With a coupon also coupon-checked, coupon-taken,
 * coupon-spent, coupon-returned. GUARDS_OFF, for negative controls: one-payment
 * a payment has an id of its own: two of an order are paid gateway-key       no
 * Idempotency-Key, and the intent is confirmed before its id is saved: a crash
 * in between charges twice gateway-recovery  nobody goes on with an authorizing
 * payment whose process died: the money stays set aside for ever wait-for-order
 * captures at once: the money is kept of an order that lapsed meanwhile
 *   coupon-uses       a use is taken without another look at how many are left
 *   refund-look       the gateway is not asked what was given back: a lost
 *                     answer leaves an order complete, its money gone
 *   webhook-truth     an event is believed: an old one refunds what is paid
 *   stale-worker      what was found out by a worker whose lease has passed on
 *                     is saved: it says "refused" of a refund that was made
 * And lease: it lasts 1 s, so that tests of recovery are over soon.
 */

struct order_copy {
	struct head head;
	const char *status; /* as in its last event */
	char user_id[ID_SIZE], seller_id[ID_SIZE], stuff_id[ID_SIZE];
	const char *title;
	int64_t price, expires_at;
};

struct payment {
	struct head head;
	char order_id[ID_SIZE], user_id[ID_SIZE];
	int64_t amount;	  /* cents: the price less the discount */
	int64_t discount; /* by the coupon */
	const char *coupon;
	char coupon_id[ID_SIZE];
	const char *currency, *status;
	const char *reason; /* why it failed, or is going to */
	int64_t created_at;
	const char *method;  /* the gateway's id of a card */
	const char *intent;  /* the gateway's id of this */
	const char *request; /* hash of what was asked for */
	const char *idempotency_key;
	int64_t lease_until; /* 0: nobody works on it */

	/* As the order was, for the books. */
	char seller_id[ID_SIZE], stuff_id[ID_SIZE];
	const char *title;
	int64_t price, captured_at;

	int64_t refunded; /* cents that were given back */
	int64_t refunded_at;
	const char *refunded_by;    /* "seller", "admin" or "gateway" */
	const char *refund_refused; /* why the last try was */
	int64_t refund_try;	    /* counts those who asked for it */
	const char *listing;	    /* LISTING_FREE or _REMOVED */
	const char *dispute;	    /* the gateway's word for its state */
	const char *alert;	    /* what someone must look into */
};

/* Who asks for a payment; texts may be NULL.  The coupon's code is as it is
 * shown, or else as it was typed. */
struct payment_request {
	const char *method, *coupon, *idempotency_key;
};

/* How long a request waits for news of an order that is not known. */
#define ORDER_WAIT 1000 /* ms */

extern const struct field payment_fields[];
extern const struct kind payment_kind, order_copy_kind;
extern const struct route payments_routes[];
extern const struct hears payments_hears[];
extern int64_t payments_workers;

extern struct metric *const payments_metrics[];
void payments_measure(struct context *cx);

/* Settles what nobody else does. */
extern struct task payments_settling;

bool payment_is(const struct payment *p, const char *status);
bool order_is_complete(const struct order_copy *o);
bool order_is_cancelled(const struct order_copy *o);

/* Is it the request that made p, asked again? */
bool payment_is_of(struct context *cx, const struct payment *p,
		   const struct payment_request *rq);

/* 503: the gateway's answer is not known; it is asked again some seconds
 * later.  Compare with ==. */
extern const struct fail payment_put_off;
#define PAYMENT_PUT_OFF (&payment_put_off)

/*
 * Makes the payment of an order and settles it as far as can be now.
 * STORE_DUPLICATE when there is one; or PAYMENT_PUT_OFF; or fails as
 * coupon_take() when coupon, which may be NULL, can't be had.
 */
const struct fail *payment_start(struct context *cx,
				 const struct order_copy *order,
				 const struct payment_request *rq,
				 const struct coupon *coupon,
				 struct payment *ret);

/*
 * Does all that can be done now for the payment, unless another does.  *ret is
 * its state then, also with PAYMENT_PUT_OFF.
 */
const struct fail *payment_settle(struct context *cx, const char *id,
				  struct payment *ret);

/* Who wants an order refunded. */
struct refund_wish {
	const struct user *user; /* NULL: the gateway did it */
	const char *listing;
};

/*
 * Gives the money of an order back, in full and once, and says what becomes of
 * the listing; again: nothing more happens.  *ret is the payment then.  403
 * for others than the seller and admins, 409 when there is nothing to refund
 * or the gateway refuses.
 */
const struct fail *payment_refund(struct context *cx, const char *id,
				  const struct refund_wish *wish,
				  struct payment *ret);

/*
 * Asks the gateway what became of the payment's intent, and makes our record
 * say the same, or the gateway do what our record says.  *ret_mended, if that
 * was anything.
 */
const struct fail *payment_reconcile(struct context *cx, const char *id,
				     bool *ret_mended);

/* The payment whose intent that is; 404 when there is none. */
const struct fail *payment_by_intent(struct context *cx, const char *intent,
				     struct payment *ret);

/* Payments in motion, by id, behind that id ("": the first ones). */
const struct fail *payment_in_motion(struct context *cx, const char *behind,
				     int64_t limit, struct payment **ret,
				     size_t *ret_count);

/* A store_decide function: the copy becomes what the event says. */
const struct fail *order_copy_put(struct context *cx, void *rec,
				  const void *arg);

#endif
