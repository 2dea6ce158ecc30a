/* throttle.h: how often passwords may be guessed.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "service.h"

/*
 * Wrong passwords are counted for each account, that is for each e-mail
 * address whether it has one or not, and for each network address.  Some are
 * free; from then on each doubles the time until the next try is looked at at
 * all, up to a limit, so nobody is locked out for good.  A right password
 * clears its account; an hour without a wrong one clears anything.
 *
 * The counts are in the database, for all replicas.  Once the free ones are
 * used up, a try is counted before the password is looked at: of many at once,
 * one gets through.
 */
/* One try, and what it is counted by: the address and the account. */
struct throttle {
	struct {
		char id[ID_SIZE]; /* of a counter; "": none */
		bool there, counted;
	} by[2];
};

extern const struct kind throttle_kind;

/* May this be tried now?  429 with Retry-After when not; else *ret is for
 * throttle_leave().  email as account_key() makes it; address as http_client()
 * has it. */
const struct fail *throttle_enter(struct context *cx, const char *email,
				  const char *address, struct throttle *ret);

/* It was the right password, or the wrong one. */
const struct fail *throttle_leave(struct context *cx, const struct throttle *t,
				  bool right);

/* Takes forgotten ones out of the database. */
void throttle_sweep(struct context *cx);

#endif
