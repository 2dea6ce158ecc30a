/* model.h: orders, which orders owns, and its copy of stuff.
 * SPDX-License-Identifier: MIT */
#ifndef ORDERS_MODEL_H
#define ORDERS_MODEL_H

#include "mail.h"
#include "service.h"

/*
 * An order's status.  It is live, and holds its listing, while created or
 * awaiting payment; stuff has confirmed the hold in the latter.
 *
 *   created ---------> awaiting:payment ------> complete
 *      |  stuff:updated      |  payment:created    |
 *      +---------------------+---------------------+--> cancelled
 *       expired, by-buyer, removed, banned,         payment-failed
 *       payment-failed
 *
 * A complete order whose money was given back is refunded: payment:refunded.
 *
 * Every arrow is one store_decide function below, and one compare-and-set:
 * that is what decides between a payment and the end of the fifteen minutes.
 */
#define ORDER_CREATED "created"
#define ORDER_AWAITING_PAYMENT "awaiting:payment"
#define ORDER_CANCELLED "cancelled"
#define ORDER_COMPLETE "complete"
#define ORDER_REFUNDED "refunded"

/* Why an order was cancelled. */
#define ORDER_EXPIRED "expired"
#define ORDER_BY_BUYER "by-buyer"
#define ORDER_PAYMENT_FAILED "payment-failed"
#define ORDER_REMOVED "removed"
#define ORDER_BANNED "banned"

struct order_stuff { /* as it was when BUY was clicked */
	char id[ID_SIZE];
	const char *title;
	int64_t price;
	char seller_id[ID_SIZE];
};

struct order {
	struct head head;
	const char *status, *reason;
	char user_id[ID_SIZE];
	/* What becomes of the listing of a refunded order: "free" for others,
	 * or "removed". */
	const char *listing;
	/* The listing's id unless cancelled or refunded, and unique: the one
	 * thing that keeps two buyers apart. */
	char slot[ID_SIZE];
	struct order_stuff stuff;
	int64_t created_at, expires_at;
};

struct stuff_copy {
	struct head head;
	const char *title, *status;
	const char *hidden; /* its seller is banned or gone; else NULL */
	int64_t price;
	char user_id[ID_SIZE];
	const char *sha256; /* of its file; NULL: it has none */
};

extern const struct field order_fields[];
extern const struct kind order_kind, stuff_copy_kind;
extern const struct route orders_routes[];
extern const struct hears orders_hears[];
extern const struct setting orders_settings[];

extern struct metric *const orders_metrics[];
void orders_measure(struct context *cx);

/* Ends what has lapsed, should nothing else have. */
extern struct task orders_sweep;

/*
 * BUY: holds the listing for user, or says who may not: 404 no such stuff, 400
 * own stuff, 409 held, sold or without a file.  The holder who asks again gets
 * the same order.
 */
const struct fail *order_buy(struct context *cx, const char *stuff_id,
			     const struct user *user, struct order *ret);

/* A buyer's orders, newest first. */
const struct fail *order_find(struct context *cx, const char *user_id,
			      const struct page *page, struct order **ret,
			      size_t *ret_count);

/* The order that holds or bought a listing; 404 when none does. */
const struct fail *order_of_stuff(struct context *cx, const char *stuff_id,
				  struct order *ret);

/* Ends the open orders of the user that the event is on. */
const struct fail *orders_end_of(struct context *cx, void *none,
				 const void *event);

/* store_decide functions; see store_change().  order_cancel() takes the struct
 * user who asks, order_expire() and order_drop() nothing, the others the
 * event. */
const struct fail *order_cancel(struct context *cx, void *rec, const void *arg);
const struct fail *order_expire(struct context *cx, void *rec, const void *arg);
const struct fail *order_drop(struct context *cx, void *rec, const void *arg);
const struct fail *order_confirm(struct context *cx, void *rec,
				 const void *arg);
const struct fail *order_pay(struct context *cx, void *rec, const void *arg);
const struct fail *order_fail(struct context *cx, void *rec, const void *arg);
const struct fail *order_refund(struct context *cx, void *rec, const void *arg);
const struct fail *stuff_copy_put(struct context *cx, void *rec,
				  const void *arg);

#endif
