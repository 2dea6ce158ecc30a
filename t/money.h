/* money.h: what tests of coupons, refunds and webhooks do again and again.
 * SPDX-License-Identifier: MIT */
#ifndef T_MONEY_H
#define T_MONEY_H

#include "flow.h"

/* As buyer_make(), with the role that the operator gives. */
void admin_make(struct buyer *b);

/* Makes a coupon of this JSON; its code. */
char *coupon_make(const struct buyer *admin, const char *body);

/* How many uses the list says that the coupon has; -1: it is not there. */
int64_t coupon_uses(const struct buyer *admin, const char *code);

/* POST /api/payments with both, either or none (NULL). */
const struct answer *buyer_redeems(const struct buyer *b, const char *order_id,
				   const char *token, const char *coupon);

/* A seller's listing and a buyer's order for it, still to be paid. */
struct deal {
	struct buyer seller, buyer;
	char stuff[ID_SIZE], order[ID_SIZE];
};
void deal_make(struct deal *d, int64_t price);

/* The same with a listing that is there. */
void deal_again(struct deal *d);

/* Pays it by card; it is sold then. */
void deal_pay(struct deal *d);

/* The status of the order becomes that, 20 s at most. */
bool deal_becomes(const struct deal *d, const char *status);

/* The gateway's word for the payment's intent; to be freed. */
char *deal_intent(const struct deal *d);

/* How many payments of the gateway's books, or refunds, the order has. */
int gateway_calls(const char *order_id, const char *path);
int64_t gateway_refunded(const char *order_id);

/* The parameter that signs a webhook; to be freed. */
char *webhook_signature(const char *body, int64_t off);

/* POSTs a webhook, signed as the gateway does, at a time some seconds off. */
const struct answer *webhook(const char *body, int64_t off);

/* An event of that type on an intent; the id is new if NULL. */
const struct answer *webhook_event(const char *id, const char *type,
				   const char *object, const char *intent);

/* The same, again and again, as the gateway does, until it is taken: a payment
 * that somebody works on, if only the reconciliation after a start, says 503.
 * webhook_taken() asserts that it was. */
const struct answer *webhook_insist(const char *id, const char *type,
				    const char *object, const char *intent);
void webhook_taken(const char *id, const char *type, const char *object,
		   const char *intent);

/* Starts payments again once it has died of a failpoint. */
void payments_start_again(void);

#endif
