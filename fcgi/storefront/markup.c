/* markup.c: see markup.h.
 * SPDX-License-Identifier: MIT */
#include "markup.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static void
append(char *to, size_t size, char c)
{
	size_t len = strlen(to);

	if (len + 1 < size) {
		to[len] = (char)tolower((unsigned char)c);
		to[len + 1] = '\0';
	}
}

static void
end_value(struct markup *m)
{
	m->state = MARKUP_TAG;
	if (strcmp(m->tag, "script") == 0 &&
	    strcmp(m->attribute, "type") == 0 &&
	    strcmp(m->value, "application/ld+json") == 0)
		m->data = true;
}

static void
end_tag(struct markup *m)
{
	bool raw = !m->closing && (strcmp(m->tag, "script") == 0 ||
				   strcmp(m->tag, "style") == 0);

	m->state = !raw ? MARKUP_TEXT : m->data ? MARKUP_DATA : MARKUP_RAW;
}

static void
begin_tag(struct markup *m)
{
	*m = (struct markup){.state = MARKUP_TAG_NAME};
}

/* In a tag, but not in a value. */
static void
read_tag(struct markup *m, char c)
{
	if (c == '>') {
		end_tag(m);
	} else if (m->state == MARKUP_TAG_NAME) {
		if (c == '/' && *m->tag == '\0')
			m->closing = true;
		else if (isspace((unsigned char)c) || c == '/')
			m->state = MARKUP_TAG;
		else
			append(m->tag, sizeof(m->tag), c);
	} else if (c == '=') { /* also behind a space */
		m->state = MARKUP_BEFORE_VALUE;
		m->length = 0;
		*m->value = '\0';
	} else if (isspace((unsigned char)c) || c == '/') {
		m->state = MARKUP_TAG;
	} else {
		if (m->state == MARKUP_TAG)
			*m->attribute = '\0';
		m->state = MARKUP_ATTRIBUTE;
		append(m->attribute, sizeof(m->attribute), c);
	}
}

static void
read_value(struct markup *m, char c)
{
	if (m->state == MARKUP_BEFORE_VALUE) {
		if (c == '"')
			m->state = MARKUP_DOUBLE_QUOTED;
		else if (c == '\'')
			m->state = MARKUP_SINGLE_QUOTED;
		else if (c == '>')
			end_tag(m);
		else if (!isspace((unsigned char)c))
			m->state = MARKUP_UNQUOTED;
	} else if (m->state == MARKUP_UNQUOTED) {
		if (c == '>')
			end_tag(m);
		else if (isspace((unsigned char)c))
			m->state = MARKUP_TAG;
	} else if (c == (m->state == MARKUP_DOUBLE_QUOTED ? '"' : '\'')) {
		end_value(m);
	} else {
		append(m->value, sizeof(m->value), c);
		m->length++;
	}
}

static void
read_one(struct markup *m, const char *p, size_t behind, size_t left)
{
	switch (m->state) {
	case MARKUP_TEXT:
		if (*p != '<')
			break;
		if (left >= 4 && memcmp(p, "<!--", 4) == 0)
			m->state = MARKUP_COMMENT;
		else if (left >= 2 && p[1] == '!')
			m->state = MARKUP_DECLARATION;
		else if (left < 2 || isalpha((unsigned char)p[1]) ||
			 p[1] == '/') /* whatever follows it names a tag */
			begin_tag(m);
		break;
	case MARKUP_COMMENT:
		if (*p == '>' && behind >= 2 && memcmp(p - 2, "--", 2) == 0)
			m->state = MARKUP_TEXT;
		break;
	case MARKUP_DECLARATION:
		if (*p == '>')
			m->state = MARKUP_TEXT;
		break;
	case MARKUP_RAW:
	case MARKUP_DATA:
		if (left >= 3 && p[0] == '<' && p[1] == '/' &&
		    left >= 2 + strlen(m->tag) &&
		    strncasecmp(p + 2, m->tag, strlen(m->tag)) == 0)
			begin_tag(m);
		break;
	case MARKUP_TAG_NAME:
	case MARKUP_TAG:
	case MARKUP_ATTRIBUTE:
		read_tag(m, *p);
		break;
	case MARKUP_BEFORE_VALUE:
	case MARKUP_DOUBLE_QUOTED:
	case MARKUP_SINGLE_QUOTED:
	case MARKUP_UNQUOTED:
		read_value(m, *p);
		break;
	}
}

void
markup_read(struct markup *m, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		read_one(m, text + i, i, len - i);
}

void
markup_unknown(struct markup *m)
{
	m->value[0] = '\0';
	append(m->value, sizeof(m->value), '?');
}

bool
markup_quoted(const struct markup *m)
{
	return m->state == MARKUP_DOUBLE_QUOTED ||
	       m->state == MARKUP_SINGLE_QUOTED;
}

static bool
is_one_of(const char *name, const char *const names[])
{
	for (size_t i = 0; names[i] != NULL; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

bool
markup_address(const struct markup *m)
{
	static const char *const names[] = {
		"href",	  "src",	"action",     "formaction", "cite",
		"poster", "background", "xlink:href", "data",	    NULL};

	return markup_quoted(m) && is_one_of(m->attribute, names);
}

bool
markup_active(const struct markup *m)
{
	static const char *const names[] = {"style", "srcdoc", "srcset",
					    "ping",  "target", NULL};

	return markup_quoted(m) &&
	       (strncmp(m->attribute, "on", 2) == 0 ||
		is_one_of(m->attribute, names) || strcmp(m->tag, "base") == 0);
}
