/* setting.h: configuration from the environment, and from nowhere else.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_SETTING_H
#define TICKETING_SETTING_H

#include <stddef.h>
#include <stdint.h>

/* One variable of the environment; a NULL name ends a table of them. */
struct setting {
	const char *name;
	const char **text;    /* where its text goes, or NULL */
	int64_t *number;      /* where its number goes, or NULL */
	const char *fallback; /* NULL: it must be set; "": none is fine */
	int64_t min, max;     /* of a number; of a text's length in bytes; max
				 0: no upper bound */
};

/*
 * Reads all tables (the array of them ends with NULL).  Returns 0, or -1 and
 * in errors, cut to size, one sentence that names all that is missing or bad
 * (never a value: some are secrets).  Texts belong to the environment.
 */
int setting_read(const struct setting *const tables[], char *errors,
		 size_t size);

#endif
