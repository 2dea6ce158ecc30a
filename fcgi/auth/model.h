/* model.h: users as auth holds them.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_MODEL_H
#define AUTH_MODEL_H

#include "service.h"

struct account {
	struct head head;
	const char *email;     /* as typed, trimmed */
	const char *email_key; /* in lower case: unique */
	const char *name, *role;
	const char *password; /* argon2id, as libsodium writes it */
	int64_t created_at;
};

extern const struct kind user_kind;
extern const struct route auth_routes[];

/* The account of an e-mail address, whatever its case; 404 when unknown. */
const struct fail *account_by_email(struct context *cx, const char *email,
				    struct account *ret);

/* Adds an account; STORE_DUPLICATE when the address has one. */
const struct fail *account_add(struct context *cx, struct account *account);

/* One @ between a local part of up to 64 bytes and a domain with a dot, in
 * 254 bytes of ASCII without spaces (RFC 5321 4.5.3.1): member is a text. */
bool account_email_valid(const void *member);

#endif
