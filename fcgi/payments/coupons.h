/* coupons.h: what admins give away, and who used it.
 * SPDX-License-Identifier: MIT */
#ifndef PAYMENTS_COUPONS_H
#define PAYMENTS_COUPONS_H

#include "service.h"

/*
 * A coupon can be redeemed so often and no more.  A use is taken before the
 * payment that it is for is made, and in the same compare-and-set the order's
 * id is noted as pending.  When the payment ends, the note goes: with the use
 * when it failed or was voided, without it when it was captured.  Only then
 * does the payment's status say so, so that a crash in between is made up for
 * by doing the step again.
 *
 * Who takes a use reads first the coupon, then that the order is live and has
 * no payment, and saves only the coupon that was read.  Whatever ends a use
 * writes to the coupon; so a process that is stopped anywhere in between can't
 * take one late.  A note without a payment, left by a crash, is found by
 * coupons_sweep.
 */
struct coupon {
	struct head head;
	const char *code;	 /* as shown, unique */
	int64_t percent_off;	 /* 1 to 100 */
	int64_t max_redemptions; /* how many uses there are */
	int64_t redemptions;	 /* of these, how many are taken */
	int64_t expires_at;	 /* 0: never */
	char stuff_id[ID_SIZE];	 /* the one listing that it is for, or "" */
	int64_t created_at, deleted_at;
	const char *pending; /* orders that took a use and have not ended,
				each with a space behind it; NULL: none */
};

#define COUPON_CODE_SIZE 25 /* 100 bits: five groups of four, and NUL */
#define COUPON_BULK_MAX 1000

/* More orders than these at a time can't be redeeming one coupon (503). */
#define COUPON_MAX_PENDING 1000

/* The least that the gateway charges, in cents. */
#define CHARGE_MIN 50

/* How many codes that don't exist a user may try, in so many seconds. */
#define COUPON_GUESSES 10
#define COUPON_GUESS_WINDOW 600

extern const struct kind coupon_kind, guesses_kind;

/* Gives back uses whose order ended without a payment. */
extern struct task coupons_sweep;

/* A new code, never used before. */
void coupon_code_new(char code[COUPON_CODE_SIZE]);

/* The code as it is shown, whatever case, separators and look-alikes somebody
 * typed.  False when it can't be one. */
bool coupon_code_read(const char *typed, char code[COUPON_CODE_SIZE]);

/* What is to be paid of price: nothing, or at least what the gateway charges,
 * and never more than price. */
int64_t coupon_apply(int64_t percent_off, int64_t price);

/*
 * The coupon with the code that user typed; 404 when there is none.  Who tries
 * too many that don't exist reads 429.
 */
const struct fail *coupon_find(struct context *cx, const struct user *user,
			       const char *typed, struct coupon *ret);

struct order_copy;

/* May the coupon be used for the order now?  NULL, or why not. */
const struct fail *coupon_check(struct context *cx, const struct coupon *c,
				const struct order_copy *order);

/* Takes a use for the order, unless it has one.  STORE_DUPLICATE when the
 * order has a payment by now; else fails as coupon_check(). */
const struct fail *coupon_take(struct context *cx, const char *coupon_id,
			       const struct order_copy *order);

/* The order that took a use has ended, and needed it or did not.  Done once,
 * however often it is called. */
const struct fail *coupon_spend(struct context *cx, const char *coupon_id,
				const char *order_id);
const struct fail *coupon_return(struct context *cx, const char *coupon_id,
				 const char *order_id);

/* Handlers and tables of their rows in routes.c. */
struct coupon_body {
	int64_t percent_off, max_redemptions, count, expires_at;
	char stuff_id[ID_SIZE];
};
struct coupon_query {
	char order_id[ID_SIZE];
};
struct coupon_list {
	struct page page;
};
extern const struct field coupon_body[], coupon_query[], coupon_list[];
extern const struct field coupon_fields[], offer_fields[];
const struct fail *coupons_create(struct request *rq);
const struct fail *coupons_list(struct request *rq);
const struct fail *coupons_show(struct request *rq);
const struct fail *coupons_delete(struct request *rq);

#endif
