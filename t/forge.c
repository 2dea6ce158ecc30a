/* forge.c: see forge.h.
 * SPDX-License-Identifier: MIT */
#include "forge.h"

#include <sodium.h>
#include <string.h>

#include "clock.h"

static char *
base64url(struct arena *a, const void *bytes, size_t len)
{
	size_t size = sodium_base64_encoded_len(
		len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);

	return sodium_bin2base64(arena_alloc(a, size), size, bytes, len,
				 sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

const char *
forge(struct arena *a, const char *header, const char *claims, enum mac mac,
      const char *key)
{
	char *text =
		arena_printf(a, "%s.%s", base64url(a, header, strlen(header)),
			     base64url(a, claims, strlen(claims)));
	const unsigned char *bytes = (const unsigned char *)text;
	unsigned char sum[crypto_auth_hmacsha512_BYTES];
	crypto_auth_hmacsha256_state h256;
	crypto_auth_hmacsha512_state h512;
	size_t len = crypto_auth_hmacsha256_BYTES;

	switch (mac) {
	case HMAC_256:
		crypto_auth_hmacsha256_init(&h256, (const unsigned char *)key,
					    strlen(key));
		crypto_auth_hmacsha256_update(&h256, bytes, strlen(text));
		crypto_auth_hmacsha256_final(&h256, sum);
		break;
	case HMAC_512:
		crypto_auth_hmacsha512_init(&h512, (const unsigned char *)key,
					    strlen(key));
		crypto_auth_hmacsha512_update(&h512, bytes, strlen(text));
		crypto_auth_hmacsha512_final(&h512, sum);
		len = crypto_auth_hmacsha512_BYTES;
		break;
	case NO_MAC:
		return text;
	case EMPTY_MAC:
		return arena_printf(a, "%s.", text);
	}
	return arena_printf(a, "%s.%s", text, base64url(a, sum, len));
}

const char *
forge_claims(struct arena *a, const char *without, const char *more)
{
	long long now = (long long)(clock_now() / 1000);
	const struct {
		const char *name, *value;
	} all[] = {
		{"sub", "\"" FORGE_ID "\""},
		{"email", "\"a@b.cc\""},
		{"role", "\"user\""},
		{"iat", arena_printf(a, "%lld", now)},
		{"exp", arena_printf(a, "%lld", now + 60)},
		{"jti", "\"x\""},
	};
	const char *text = "";

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (without == NULL || strcmp(all[i].name, without) != 0)
			text = arena_printf(a, "%s%s\"%s\":%s", text,
					    *text ? "," : "", all[i].name,
					    all[i].value);
	return arena_printf(a, "{%s%s%s}", text, more ? "," : "",
			    more ? more : "");
}
