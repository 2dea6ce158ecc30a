/* fuzz-disposition.c: Content-Disposition, the file names in it, and
 * Content-Type.
 * SPDX-License-Identifier: MIT */
#include <bson/bson.h>
#include <ctype.h>

#include "disposition.h"
#include "fuzz.h"

static void
check_safe(struct arena *a, const char *name)
{
	MUST(*name != '\0' && *name != '.');
	MUST(strlen(name) <= DISPOSITION_NAME_MAX);
	MUST(bson_utf8_validate(name, strlen(name), false));
	MUST(strpbrk(name, "/\\\r\n\t") == NULL);
	MUST(strcmp(disposition_safe(a, name), name) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	const char *text = arena_strndup(a, (const char *)data, size);
	const char *name = disposition_read(a, text), *header;

	if (name != NULL)
		check_safe(a, name);
	name = disposition_safe(a, text);
	check_safe(a, name);
	header = disposition_write(a, name);
	for (const char *p = header; *p != '\0'; p++)
		MUST(isprint((unsigned char)*p));
	MUST(strcmp(disposition_read(a, header), name) == 0);
	for (const char *p = disposition_type(a, text); *p != '\0'; p++)
		MUST(isgraph((unsigned char)*p) && !isupper((unsigned char)*p));
	arena_free(a);
	return 0;
}
