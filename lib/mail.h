/* mail.h: asks for a letter to a user; auth, which knows addresses, sends it.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_MAIL_H
#define TICKETING_MAIL_H

#include "service.h"

/* What letters there are. */
#define MAIL_RECEIPT "receipt"		   /* to a buyer who paid */
#define MAIL_SALE "sale"		   /* to the seller of that */
#define MAIL_REFUND "refund"		   /* to a buyer */
#define MAIL_SALE_REFUNDED "sale-refunded" /* to the seller */
#define MAIL_LAPSING "lapsing"		   /* to who holds, but did not pay */

struct mail {
	struct head head; /* the id is made of what follows */
	char user_id[ID_SIZE];
	const char *letter;
	char order_id[ID_SIZE];
	const char *title; /* of the stuff */
	int64_t amount;	   /* cents */
	int64_t at;	   /* of the deadline, if there is one */
	int64_t created_at;
};

/* A service that sends mail has these among its kinds and tasks: what it sent,
 * which is kept for so long.  No step is done again after that. */
extern const struct kind mail_kind;
extern struct task mail_pruning;
#define MAIL_KEPT (INT64_C(90) * 24 * 3600 * 1000) /* ms */

/*
 * Publishes mail:send: each letter once to one user about one order, however
 * often it is asked for.  So it can be part of a step that is done again after
 * a crash.
 */
const struct fail *mail_send(struct context *cx, struct mail *mail);

#endif
