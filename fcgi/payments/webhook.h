/* webhook.h: what the gateway says of its own accord.
 * SPDX-License-Identifier: MIT */
#ifndef PAYMENTS_WEBHOOK_H
#define PAYMENTS_WEBHOOK_H

#include "service.h"

#define WEBHOOK_MAX_BODY 262144
#define WEBHOOK_TOLERANCE 300 /* s that a signature is good for */

/* Events that were dealt with, each once; the id is made of the event's. */
extern const struct kind webhook_kind;

/* STRIPE_WEBHOOK_SECRET; must outlive all use. */
extern const char *webhook_secret;

/*
 * Does header ("t=…,v1=…,v1=…") sign the body with the secret, at a time within
 * the tolerance of now (s since 1970)?
 */
bool webhook_signed(const char *header, const char *secret, const char *body,
		    size_t len, int64_t now);

/* POST /api/payments/webhook. */
const struct fail *webhook_hear(struct request *rq);

/* Looks at what happened at the gateway lately, and mends what no webhook told
 * us. */
extern struct task payments_reconciling;
extern struct metric webhook_repairs; /* outcome */

#endif
