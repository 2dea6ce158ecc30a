/* markup.h: where in an HTML document a template's text has got to.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_MARKUP_H
#define STOREFRONT_MARKUP_H

#include <stdbool.h>
#include <stddef.h>

enum markup_state {
	MARKUP_TEXT,
	MARKUP_TAG_NAME,
	MARKUP_TAG, /* in a tag, between attributes */
	MARKUP_ATTRIBUTE,
	MARKUP_BEFORE_VALUE,
	MARKUP_DOUBLE_QUOTED,
	MARKUP_SINGLE_QUOTED,
	MARKUP_UNQUOTED,
	MARKUP_COMMENT,
	MARKUP_DECLARATION, /* <!doctype html> */
	MARKUP_RAW,	    /* in <script> or <style> */
	MARKUP_DATA,	    /* in <script type="application/ld+json"> */
};

/* Zeroed: at the start of a document. */
struct markup {
	enum markup_state state;
	char tag[16], attribute[24]; /* in lower case, cut to size */
	char value[32];		     /* of the attribute, its beginning */
	size_t length;		     /* of the attribute's value so far */
	bool closing, data;
};

/* Goes on over len bytes of markup. */
void markup_read(struct markup *m, const char *text, size_t len);

/* What was read of this value is not all of it: a tag stands there. */
void markup_unknown(struct markup *m);

/* Is it in a quoted attribute's value? */
bool markup_quoted(const struct markup *m);

/* Does that attribute hold an address that a click or load follows? */
bool markup_address(const struct markup *m);

/* Does that attribute hold what is more than text: a program, style, markup or
 * a list of addresses? */
bool markup_active(const struct markup *m);

#endif
