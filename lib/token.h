/* token.h: who is calling, from a JSON Web Token (RFC 7519).
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_TOKEN_H
#define TICKETING_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "id.h"

#define TOKEN_COOKIE "__Host-session"
/* What gets the next one: for auth and the storefront, and nginx gives it to no
 * other service. */
#define TOKEN_REFRESH_COOKIE "__Secure-refresh"
#define TOKEN_LIFE 900	 /* s */
#define TOKEN_KEY_MIN 32 /* bytes, RFC 7518 3.2 */

struct user {
	char id[ID_SIZE];
	const char *email, *role; /* role: "user" or "admin" */
	int64_t issued;		  /* s since 1970 */
};

/* The keys of HS256; previous may be "" and only verifies, while keys rotate.
 * Call once, before threads start; they must outlive all use. */
void token_init(const char *current, const char *previous);

/* A token for user, issued now, or a second later when user->issued says so
 * (what was before is void, see standing.h), in the arena; NULL when libjwt
 * fails. */
const char *token_make(struct arena *a, const struct user *user);

/*
 * Is token one of ours, HS256 and nothing else, and in its time?  Fills *user,
 * whose texts are in the arena.
 */
bool token_read(struct arena *a, const char *token, struct user *user);

/*
 * A signature of text, in hex, for one purpose: HMAC-SHA256 with a key that is
 * made of the current key and the purpose, so that no signature serves as
 * another.  token_signed() also takes the previous key's.
 */
#define TOKEN_SIGNATURE_SIZE 65
void token_sign(const char *purpose, const char *text,
		char hex[TOKEN_SIGNATURE_SIZE]);
bool token_signed(const char *purpose, const char *text, const char *hex);

#endif
