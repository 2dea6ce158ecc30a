/* id.c: see id.h.
 * SPDX-License-Identifier: MIT */
#include "id.h"

#include <bson/bson.h>
#include <sodium.h>
#include <string.h>

void
id_new(char id[ID_SIZE])
{
	bson_oid_t oid;

	bson_oid_init(&oid, NULL);
	bson_oid_to_string(&oid, id);
}

bool
id_valid(const char *s)
{
	return strlen(s) == ID_SIZE - 1 &&
	       strspn(s, "0123456789abcdef") == ID_SIZE - 1;
}

void
id_random(char *hex, size_t bytes)
{
	unsigned char raw[64];

	for (; bytes > 0; hex += 2 * sizeof(raw)) {
		size_t n = bytes < sizeof(raw) ? bytes : sizeof(raw);

		randombytes_buf(raw, n);
		sodium_bin2hex(hex, 2 * n + 1, raw, n);
		bytes -= n;
	}
	sodium_memzero(raw, sizeof(raw));
}

void
id_hash(char hex[ID_HASH_SIZE], const void *data, size_t len)
{
	unsigned char raw[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(raw, data, len);
	sodium_bin2hex(hex, ID_HASH_SIZE, raw, sizeof(raw));
}
