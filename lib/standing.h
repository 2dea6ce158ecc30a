/* standing.h: whom no service lets in, from what auth tells.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_STANDING_H
#define TICKETING_STANDING_H

#include "service.h"

/*
 * A token is good for 15 minutes, whatever auth thinks of its user meanwhile.
 * So each service that has routes also hears of users who are banned or gone,
 * keeps that in its own database, and refuses their tokens: service.c adds what
 * is here to its tables, and http.c asks standing_of_token().
 *
 * A request costs no look at the database.  The few users that tokens may
 * still be out of are kept in memory, read anew when this process hears of one
 * and every second besides: of several replicas, one hears each event.
 */

/* A user's, as this service knows it. */
struct standing {
	struct head head;  /* id: the user's; rev 0: good, nothing was heard */
	const char *state; /* one of these, or NULL: good, again */
	int64_t valid_after; /* s: what was issued before is void */
	int64_t changed_at;
};
#define STANDING_BANNED "banned"
#define STANDING_ERASED "erased" /* the account is gone, for good */

extern const struct kind standing_kind;
extern const struct hears standing_hears[];
extern struct task standing_task;

/* Fills *ret from the database; zeros when there is nothing bad. */
const struct fail *standing_get(struct context *cx, const char *user_id,
				struct standing *ret);

/* Is there something that forbids this user to do anything? */
bool standing_bad(const struct standing *s);

enum standing_of_token {
	TOKEN_GOOD,
	TOKEN_VOID, /* was issued before a ban, or its user is gone: 401 */
	TOKEN_BANNED,
};

/* What a token of that user, issued at that time, is worth, from memory. */
enum standing_of_token standing_of_token(const struct user *user);

#endif
