/* fuzz-form.c: a form as a browser sends it, urlencoded.
 * SPDX-License-Identifier: MIT */
#include <bson/bson.h>

#include "../../fcgi/storefront/form.h"
#include "fuzz.h"

static void
check(const char *s)
{
	MUST(bson_utf8_validate(s, strlen(s), false));
	for (; *s != '\0'; s++)
		MUST((unsigned char)*s >= ' ' || *s == '\n' || *s == '\t');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	const char *text = arena_strndup(a, (const char *)data, size);
	struct form f;

	if (form_read(a, text, &f)) {
		MUST(f.count >= 0 && f.count <= FORM_MAX_FIELDS);
		for (int i = 0; i < f.count; i++) {
			check(f.fields[i].name);
			check(f.fields[i].value);
			MUST(*f.fields[i].name != '\0');
		}
	}
	arena_free(a);
	return 0;
}
