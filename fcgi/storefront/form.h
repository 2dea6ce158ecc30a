/* form.h: what a form or a query says.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_FORM_H
#define STOREFRONT_FORM_H

#include <stdbool.h>

#include "arena.h"

#define FORM_MAX_FIELDS 40
#define FORM_MAX_BYTES 200000 /* 10,000 characters of 4 bytes, encoded */

struct form {
	int count;
	struct form_field {
		const char *name, *value;
	} fields[FORM_MAX_FIELDS];
};

/* Reads application/x-www-form-urlencoded.  False when it is ill-formed: bad
 * encoding, not UTF-8, control characters but for white space, or too many
 * fields.  Lines end with \n in it. */
bool form_read(struct arena *a, const char *text, struct form *ret);

/* The value of a field, trimmed of nothing; "" when it is not there. */
const char *form_get(const struct form *f, const char *name);

/* Adds a field, if there is room. */
void form_add(struct form *f, const char *name, const char *value);

#endif
