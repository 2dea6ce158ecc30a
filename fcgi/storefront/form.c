/* form.c: see form.h.
 * SPDX-License-Identifier: MIT */
#include "form.h"

#include <bson/bson.h>
#include <ctype.h>
#include <string.h>

static int
hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0'
	       : c >= 'a' && c <= 'f'	 ? c - 'a' + 10
	       : c >= 'A' && c <= 'F'	 ? c - 'A' + 10
					 : -1;
}

/* One name or value, up to end.  NULL when it is bad. */
static const char *
decode(struct arena *a, const char *p, const char *end)
{
	char *s = arena_alloc(a, (size_t)(end - p) + 1), *to = s;

	for (; p < end; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '%') {
			if (end - p < 3 || hex(p[1]) < 0 || hex(p[2]) < 0)
				return NULL;
			c = (unsigned char)(hex(p[1]) * 16 + hex(p[2]));
			p += 2;
		} else if (c == '+') {
			c = ' ';
		}
		if (c == '\r') /* browsers end lines with \r\n */
			continue;
		if (iscntrl(c) && c != '\n' && c != '\t')
			return NULL;
		*to++ = (char)c;
	}
	*to = '\0';
	return bson_utf8_validate(s, (size_t)(to - s), false) ? s : NULL;
}

bool
form_read(struct arena *a, const char *text, struct form *ret)
{
	*ret = (struct form){0};
	while (*text != '\0') {
		const char *end = text + strcspn(text, "&"), *equals, *name,
			   *value;

		equals = memchr(text, '=', (size_t)(end - text));
		equals = equals ? equals : end;
		name = decode(a, text, equals);
		value = decode(a, equals + (equals < end), end);
		if (name == NULL || value == NULL)
			return false;
		if (*name != '\0') {
			if (ret->count == FORM_MAX_FIELDS)
				return false;
			form_add(ret, name, value);
		}
		text = end + (*end == '&');
	}
	return true;
}

const char *
form_get(const struct form *f, const char *name)
{
	for (int i = 0; i < f->count; i++)
		if (strcmp(f->fields[i].name, name) == 0)
			return f->fields[i].value;
	return "";
}

void
form_add(struct form *f, const char *name, const char *value)
{
	if (f->count < FORM_MAX_FIELDS)
		f->fields[f->count++] = (struct form_field){name, value};
}
