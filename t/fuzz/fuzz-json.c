/* fuzz-json.c: JSON from outside: read, written, read again the same.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "json.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	json_object *o = json_read(a, (const char *)data, size), *again;
	const char *text;
	size_t len;

	if (o != NULL) {
		text = arena_strdup(a, json_write(o, &len));
		MUST(strlen(text) == len);
		again = json_read(a, text, len);
		MUST(again != NULL &&
		     strcmp(json_write(again, &len), text) == 0);
	}
	arena_free(a);
	return 0;
}
