/* fuzz-token.c: a JSON Web Token.  The first byte says whether the rest is a
 * whole token, or "header\npayload" that is then signed as it should be: what
 * is behind the signature must stand as well.
 * SPDX-License-Identifier: MIT */
#include <sodium.h>

#include "clock.h"
#include "fuzz.h"
#include "token.h"

#define KEY "0123456789abcdef0123456789abcdef"

static char *
base64(struct arena *a, const void *bytes, size_t len)
{
	size_t size = sodium_base64_encoded_len(
		len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);

	return sodium_bin2base64(arena_alloc(a, size), size, bytes, len,
				 sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* "NOW" is the time, so that seeds do not age. */
static const char *
with_time(struct arena *a, const char *payload)
{
	const char *now = strstr(payload, "NOW");

	if (now == NULL)
		return payload;
	return arena_printf(a, "%.*s%lld%s", (int)(now - payload), payload,
			    (long long)(clock_now() / 1000),
			    with_time(a, now + 3));
}

static const char *
signed_token(struct arena *a, struct input *in)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	const char *head = input_line(in, a);
	const char *load =
		with_time(a, arena_strndup(a, (const char *)in->at, in->left));
	const char *text =
		arena_printf(a, "%s.%s", base64(a, head, strlen(head)),
			     base64(a, load, strlen(load)));

	crypto_auth_hmacsha256_init(&state, (const unsigned char *)KEY,
				    strlen(KEY));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)text,
				      strlen(text));
	crypto_auth_hmacsha256_final(&state, mac);
	return arena_printf(a, "%s.%s", text, base64(a, mac, sizeof(mac)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct input in = {data, size};
	struct user user = {0};
	bool sign = input_byte(&in) == 's';
	const char *token =
		sign ? signed_token(a, &in)
		     : arena_strndup(a, (const char *)in.at, in.left);

	token_init(KEY, "");
	if (token_read(a, token, &user)) {
		MUST(sign); /* nobody guesses a signature */
		MUST(id_valid(user.id));
		MUST(user.email != NULL && user.role != NULL);
		MUST(user.issued > clock_now() / 1000 - 2 * TOKEN_LIFE);
	}
	arena_free(a);
	return 0;
}
