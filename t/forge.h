/* forge.h: JSON Web Tokens as an attacker, or another issuer, would make them.
 * SPDX-License-Identifier: MIT */
#ifndef T_FORGE_H
#define T_FORGE_H

#include "arena.h"

enum mac { HMAC_256, HMAC_512, NO_MAC, EMPTY_MAC };

#define FORGE_HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define FORGE_ID "0123456789abcdef01234567" /* whom forge_claims() are of */

/* A token with this header and these claims, signed so; in the arena. */
const char *forge(struct arena *a, const char *header, const char *claims,
		  enum mac mac, const char *key);

/* Claims that are good for the next minute, but without one member (or NULL)
 * and with "name":value more (or NULL). */
const char *forge_claims(struct arena *a, const char *without,
			 const char *more);

#endif
