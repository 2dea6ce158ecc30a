/* fuzz-webhook.c: the signature of a webhook: a line with the header, the rest
 * is the body.  A header that says SIGNED is made as it should be.
 * SPDX-License-Identifier: MIT */
#include <sodium.h>

#include "fuzz.h"
#include "webhook.h"

#define NOW 1700000000
#define SECRET "whsec_fuzz"

static const char *
sign(struct arena *a, const uint8_t *body, size_t len)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	char hex[2 * sizeof(mac) + 1];
	const char *t = "1700000000.";

	crypto_auth_hmacsha256_init(&state, (const unsigned char *)SECRET,
				    strlen(SECRET));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)t,
				      strlen(t));
	crypto_auth_hmacsha256_update(&state, body, len);
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
	return arena_printf(a, "t=1700000000,v1=%s", hex);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct input in = {data, size};
	const char *header = input_line(&in, a);
	const char *good = sign(a, in.at, in.left);
	const char *body = (const char *)in.at;

	/* Only the right MAC will do, wherever it stands. */
	if (webhook_signed(header, SECRET, body, in.left, NOW))
		MUST(strcasestr(header, strchr(good, '=') + 12 + 3) != NULL);
	MUST(webhook_signed(good, SECRET, body, in.left, NOW));
	MUST(!webhook_signed(good, SECRET, body, in.left,
			     NOW + WEBHOOK_TOLERANCE + 1));
	MUST(!webhook_signed(good, SECRET "x", body, in.left, NOW));
	arena_free(a);
	return 0;
}
