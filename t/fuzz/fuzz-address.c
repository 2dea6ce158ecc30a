/* fuzz-address.c: mail addresses, and codes of coupons as users type them.
 * SPDX-License-Identifier: MIT */
#include "coupons.h"
#include "fuzz.h"
#include "model.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	const char *text = arena_strndup(a, (const char *)data, size);
	char code[COUPON_CODE_SIZE], again[COUPON_CODE_SIZE];

	if (account_email_valid(&text)) {
		MUST(strlen(text) <= 254 && strpbrk(text, "\r\n <>") == NULL);
		MUST(strchr(text, '@') == strrchr(text, '@'));
	}
	if (coupon_code_read(text, code)) {
		MUST(strlen(code) == COUPON_CODE_SIZE - 1);
		MUST(coupon_code_read(code, again));
		MUST(strcmp(code, again) == 0);
	}
	arena_free(a);
	return 0;
}
