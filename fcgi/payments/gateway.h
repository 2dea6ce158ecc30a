/* gateway.h: Stripe's PaymentIntents, in the few words that payments needs.
 * SPDX-License-Identifier: MIT */
#ifndef PAYMENTS_GATEWAY_H
#define PAYMENTS_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "metric.h"

/*
 * What is known of an intent after a call.  All but GATEWAY_UNKNOWN are sure:
 * the gateway said so, in answer to the call or, when that answer told
 * nothing, in answer to a question about the intent.
 */
enum gateway_state {
	GATEWAY_UNKNOWN,   /* timeout, 5xx, 409, 429, rubbish: ask again */
	GATEWAY_OPEN,	   /* there, and nothing was charged yet */
	GATEWAY_CHALLENGE, /* the bank wants to see the buyer (3-D Secure) */
	GATEWAY_DECLINED,  /* refused, see message; nothing is held */
	GATEWAY_HELD,	   /* the amount is set aside for us */
	GATEWAY_TAKEN,	   /* the amount is ours */
	GATEWAY_CANCELLED, /* nothing is held, or ever will be */
	GATEWAY_RETURNED,  /* the amount was ours and was given back */
};

struct gateway_reply {
	enum gateway_state state;
	const char *intent;  /* its id, where one is known */
	const char *message; /* for the buyer, if the gateway had one */
};

/* How long one call takes at most, and one function below: a call, perhaps
 * again under another key, and a question. */
#define GATEWAY_TIMEOUT 8000 /* ms */
#define GATEWAY_LONGEST (3 * GATEWAY_TIMEOUT)

/* Call once, before threads start; the texts must outlive all use.  NULL, or
 * a sentence on why this can't be. */
const char *gateway_open(const char *base, const char *key);

/* After all threads that used it have ended. */
void gateway_close(void);

/*
 * Each is safe to call again, after a crash too: the first one by its
 * Idempotency-Key (and what it makes twice, it does not charge), the others
 * because an intent is confirmed, captured or cancelled once.  Texts that they
 * return are in the arena.  order_id is the order's, for keys and metadata.
 */

/* An intent to charge amount cents to the payment method, not confirmed yet.
 * OPEN; DECLINED, and no intent, when there is no such payment method; or
 * UNKNOWN. */
struct gateway_reply gateway_create(struct arena *a, const char *order_id,
				    int64_t amount, const char *method);

/* Sets the amount aside.  Any state; OPEN says that it did not happen. */
struct gateway_reply gateway_confirm(struct arena *a, const char *order_id,
				     const char *intent);

/* Takes what is held.  Any state; HELD says that it did not happen. */
struct gateway_reply gateway_capture(struct arena *a, const char *order_id,
				     const char *intent);

/* Lets go of what is held, and of the intent.  Any state; all but CANCELLED
 * and TAKEN say that it did not happen. */
struct gateway_reply gateway_cancel(struct arena *a, const char *order_id,
				    const char *intent);

/* Gives back what of amount was not given back yet.  RETURNED; DECLINED when
 * the gateway says that it won't; or UNKNOWN.  It looks before it acts, so it
 * refunds once also where keys don't count.  A refusal is kept under its key:
 * who asks anew after one counts try up. */
struct gateway_reply gateway_refund(struct arena *a, const char *order_id,
				    const char *intent, int64_t amount,
				    int64_t try);

/* All that is known of an intent; state UNKNOWN: nothing is. */
struct gateway_facts {
	enum gateway_state state;
	int64_t refunded;    /* cents */
	const char *dispute; /* its state; NULL: there is none known */
};
struct gateway_facts gateway_ask(struct arena *a, const char *order_id,
				 const char *intent);

/* A charge, refund or dispute, as a list of them tells it. */
struct gateway_news {
	enum { NEWS_CHARGE, NEWS_REFUND, NEWS_DISPUTE } of;
	const char *intent;
	const char *status;
	bool captured, disputed; /* a charge */
	int64_t refunded;	 /* of a charge, cents */
};

/*
 * What happened lately: calls each() with every charge, refund and dispute that
 * was made since then (s since 1970), newest first.  Returns false when the
 * gateway does not tell.
 */
bool gateway_recent(int64_t since,
		    void (*each)(void *closure,
				 const struct gateway_news *news),
		    void *closure);

/* How long calls take, by what they are for. */
extern struct metric gateway_seconds; /* call, status */

#endif
