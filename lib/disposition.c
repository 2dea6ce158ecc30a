/* disposition.c: see disposition.h.
 * SPDX-License-Identifier: MIT */
#include "disposition.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define NAMELESS "file"
#define EXTENSION_MAX 16 /* bytes that are kept of a name that is too long */
#define TYPE_MAX 127	 /* characters of a media type, RFC 6838 4.2 */
#define BLANK " \t"

static const char digits[] = "0123456789ABCDEF";

static bool
is_token(unsigned char c)
{
	return isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t
token_length(const char *s)
{
	size_t n = 0;

	while (is_token((unsigned char)s[n]))
		n++;
	return n;
}

/* Bytes of the UTF-8 character at s, whose value is stored; 0 when it is none
 * (RFC 3629: no surrogates, nothing longer than needed). */
static size_t
character(const unsigned char *s, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = *s < 0x80		 ? 1
		   : (*s & 0xE0) == 0xC0 ? 2
		   : (*s & 0xF0) == 0xE0 ? 3
		   : (*s & 0xF8) == 0xF0 ? 4
					 : 0;
	uint32_t c = n < 2 ? *s : *s & (0x7Fu >> n);

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	if (n > 1 && (c < least[n] || c > 0x10FFFF || (c >> 11) == 0x1B))
		return 0;
	*ret = c;
	return n;
}

static bool
valid_utf8(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c;
	size_t n;

	for (; *p != '\0'; p += n)
		if ((n = character(p, &c)) == 0)
			return false;
	return true;
}

/* What nobody sees in a name, or what makes them see another one.  The joiners
 * U+200C and U+200D stay: Persian and Indic scripts, and emoji, need them. */
static bool
is_hidden(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C ||
	       c == 0x180E || c == 0x200B || c == 0x200E || c == 0x200F ||
	       (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) ||
	       c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
	       (c & 0xFFFE) == 0xFFFE || (c >= 0xE0000 && c <= 0xE007F);
}

/* ISO 8859-1 as UTF-8. */
static char *
from_latin1(struct arena *a, const char *s)
{
	char *out = arena_alloc(a, 2 * strlen(s) + 1), *p = out;

	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x80)
			*p++ = (char)(0xC0 | c >> 6);
		*p++ = (char)(c < 0x80 ? c : 0x80 | (c & 0x3F));
	}
	return out;
}

/* Cuts a name to size between characters; the extension stays. */
static void
shorten(char *name)
{
	size_t len = strlen(name), tail, keep;
	const char *dot = strrchr(name, '.');

	if (len <= DISPOSITION_NAME_MAX)
		return;
	tail = dot != NULL ? len - (size_t)(dot - name) : 0;
	if (tail > EXTENSION_MAX)
		tail = 0;
	keep = DISPOSITION_NAME_MAX - tail;
	while (((unsigned char)name[keep] & 0xC0) == 0x80)
		keep--;
	memmove(name + keep, name + len - tail, tail + 1);
}

const char *
disposition_safe(struct arena *a, const char *name)
{
	const unsigned char *p;
	char *out, *to;
	uint32_t c;
	size_t n;

	if (!valid_utf8(name))
		name = from_latin1(a, name);
	for (const char *s = name; *s != '\0'; s++)
		if (*s == '/' || *s == '\\')
			name = s + 1;
	out = to = arena_alloc(a, strlen(name) + 1);
	for (p = (const unsigned char *)name; *p != '\0'; p += n) {
		n = character(p, &c);
		if (is_hidden(c) || (to == out && (c == '.' || c == ' ')))
			continue;
		memcpy(to, p, n);
		to += n;
	}
	*to = '\0';
	shorten(out);
	/* Windows drops these behind a name; so nobody shall see them. */
	for (n = strlen(out); n > 0 && strchr(". ", out[n - 1]) != NULL;)
		out[--n] = '\0';
	return *out != '\0' ? out : NAMELESS;
}

/* A quoted string at *p without its quotes; NULL when it does not end. */
static char *
quoted(struct arena *a, const char **p)
{
	char *out = arena_alloc(a, strlen(*p) + 1), *to = out;

	for ((*p)++; **p != '"'; (*p)++) {
		if (**p == '\\')
			(*p)++;
		if (**p == '\0')
			return NULL;
		*to++ = **p;
	}
	(*p)++;
	return out;
}

static int
hex(char c)
{
	const char *d = memchr(digits, toupper((unsigned char)c), 16);

	return d != NULL ? (int)(d - digits) : -1;
}

/* The text of UTF-8''na%C3%AFve; NULL when it is in another encoding, or
 * ill-formed: then filename counts (RFC 6266 4.3). */
static char *
extended(struct arena *a, const char *s)
{
	char *out, *to;
	const char *p = strchr(s, '\'');

	if (p == NULL || strncasecmp(s, "utf-8'", 6) != 0 ||
	    (p = strchr(p + 1, '\'')) == NULL)
		return NULL;
	out = to = arena_alloc(a, strlen(p));
	for (p++; *p != '\0'; p++) {
		int high, low;

		if (*p != '%') {
			*to++ = *p;
			continue;
		}
		if ((high = hex(p[1])) < 0 || (low = hex(p[2])) < 0 ||
		    (high == 0 && low == 0))
			return NULL;
		*to++ = (char)(high << 4 | low);
		p += 2;
	}
	return valid_utf8(out) ? out : NULL;
}

const char *
disposition_read(struct arena *a, const char *header)
{
	const char *name = NULL, *better = NULL, *p = header;

	if (p == NULL)
		return NAMELESS;
	p += strspn(p, BLANK);
	if (token_length(p) == 0)
		return NULL;
	p += token_length(p);
	for (;;) {
		const char *param, *value;
		size_t len;

		p += strspn(p, BLANK);
		if (*p == '\0')
			break;
		if (*p++ != ';')
			return NULL;
		p += strspn(p, BLANK);
		if (*p == '\0')
			break; /* a semicolon too much */
		len = token_length(p);
		param = p;
		p += len;
		p += strspn(p, BLANK);
		if (len == 0 || *p++ != '=')
			return NULL;
		p += strspn(p, BLANK);
		if (*p == '"') {
			value = quoted(a, &p);
			if (value == NULL)
				return NULL;
		} else {
			size_t n = strcspn(p, "; \t");

			value = arena_strndup(a, p, n);
			p += n;
		}
		if (len == 8 && strncasecmp(param, "filename", 8) == 0) {
			if (name != NULL)
				return NULL;
			name = value;
		} else if (len == 9 &&
			   strncasecmp(param, "filename*", 9) == 0) {
			if (better != NULL)
				return NULL;
			better = extended(a, value);
		}
	}
	name = better != NULL ? better : name;
	return name != NULL ? disposition_safe(a, name) : NAMELESS;
}

const char *
disposition_write(struct arena *a, const char *name)
{
	size_t len = strlen(name);
	char *ascii = arena_alloc(a, len + 1), *to = ascii;
	char *utf8 = arena_alloc(a, 3 * len + 1), *to8 = utf8;

	for (const char *p = name; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (isalnum(c) || strchr("!#$&+-.^_`|~", c) != NULL) {
			*to8++ = (char)c;
		} else {
			*to8++ = '%';
			*to8++ = digits[c >> 4];
			*to8++ = digits[c & 15];
		}
		/* One sign for each character; a percent sign would be decoded
		 * by some browsers. */
		if ((c & 0xC0) != 0x80)
			*to++ = (char)(c >= 0x80 || strchr("\"\\%", c) ? '_'
								       : c);
	}
	if (strcmp(ascii, name) == 0)
		return arena_printf(a, "attachment; filename=\"%s\"", ascii);
	return arena_printf(a,
			    "attachment; filename=\"%s\"; filename*=UTF-8''%s",
			    ascii, utf8);
}

const char *
disposition_type(struct arena *a, const char *content_type)
{
	const char *p = content_type;
	size_t type, sub;
	char *out;

	if (p != NULL) {
		p += strspn(p, BLANK);
		type = token_length(p);
		sub = p[type] == '/' ? token_length(p + type + 1) : 0;
		if (type > 0 && sub > 0 && type + 1 + sub <= TYPE_MAX &&
		    strchr("; \t", p[type + 1 + sub]) != NULL) {
			out = arena_strndup(a, p, type + 1 + sub);
			for (char *c = out; *c != '\0'; c++)
				*c = (char)tolower((unsigned char)*c);
			return out;
		}
	}
	return "application/octet-stream";
}
