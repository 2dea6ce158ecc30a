/* fuzz-template.c: whatever a designer writes, what a user wrote stays text.
 * The input is two templates, of which the second begins behind a NUL byte:
 * part.html, for {{>part}}.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "../../fcgi/storefront/template.c"

/* What a user may have written; raw, it has what no template here has. */
#define USER "\\\"~<~>~'~&~"
#define LAYOUT "<body>{{unescaped_html body}}</body>"
#define ADDRESS "javascript:~"

static struct template make(const char *name, const uint8_t *bytes, size_t len)
{
	return (struct template){.name = copy(name, strlen(name)),
				 .text = copy((const char *)bytes, len)};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char model[] =
		"{\"x\":\"" USER "\",\"y\":\"" ADDRESS "\",\"a\":{\"b\":\"" USER
		"\"},\"list\":[\"" USER "\",{\"x\":\"" USER "\"}],\"n\":12,"
		"\"yes\":true,\"no\":false,\"body\":\"" USER "\"}";
	const uint8_t *second = size ? memchr(data, '\0', size) : NULL;
	size_t len = second ? (size_t)(second - data) : size;
	struct arena *a = arena_new();
	struct templates *all = calloc(1, sizeof(*all));
	char error[256] = "";
	bool good = true;

	all->list = calloc(3, sizeof(*all->list));
	/* By name, as they are read. */
	all->list[all->count++] =
		make("layout", (const uint8_t *)LAYOUT, strlen(LAYOUT));
	all->list[all->count++] = make("page", data, len);
	all->list[all->count++] =
		second ? make("part", second + 1, size - len - 1)
		       : make("part", data, 0);
	for (size_t i = 1; i < all->count; i++)
		good = good && strchr(all->list[i].text, '~') == NULL;
	for (size_t i = 0; good && i < all->count; i++)
		good = template_read(all, &all->list[i], error, sizeof(error));
	for (size_t i = 0; good && i < all->count; i++)
		good = link_partials(all, &all->list[i], 0, error,
				     sizeof(error));
	if (good) {
		const char *page = template_render(
			a, all, "page", json_read(a, model, strlen(model)));

		MUST(page != NULL);
		MUST(strstr(page, "~<~") == NULL &&
		     strstr(page, "~>~") == NULL);
		MUST(strstr(page, "~&~") == NULL);
		/* In JSON it is nothing special. */
		MUST(strstr(page, "~'~") == NULL ||
		     strcasestr(page, "ld+json"));
	}
	templates_free(all);
	arena_free(a);
	return 0;
}
