/* password.h: passwords as argon2id hashes (RFC 9106), by libsodium.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include <stdbool.h>

#include "context.h"

/* For struct service. */
const char *password_open(void);
void password_close(void);

/* Is it none of the 3,000 most common ones, in whatever case?  member is a
 * text. */
bool password_uncommon(const void *member);

/* At most two hashes are made at once, each takes 19 MiB: further callers wait,
 * and are refused (429) after 5 s. */

/* A salted hash in *ret_hash, in the arena. */
const struct fail *password_hash(struct context *cx, const char *password,
				 const char **ret_hash);

/* Is it the password of that hash?  With a NULL hash, for an account that is
 * not there, it takes as long and is false.  */
const struct fail *password_check(struct context *cx, const char *hash,
				  const char *password, bool *ret_right);

#endif
