/* setting.c: see setting.h.
 * SPDX-License-Identifier: MIT */
#include "setting.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is wrong with a value, or NULL once it is stored. */
static const char *
store(const struct setting *s, const char *value)
{
	char *end;
	long long n = (long long)strlen(value);

	if (s->number != NULL) {
		errno = 0;
		n = strtoll(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0')
			return "is not a whole number";
	}
	/* An empty fallback is "none", however long a text that is set. */
	if (n < s->min && (s->number != NULL || *value != '\0'))
		return s->number ? "is too small" : "is too short";
	if (s->max != 0 && n > s->max)
		return s->number ? "is too large" : "is too long";
	if (s->number != NULL)
		*s->number = n;
	else
		*s->text = value;
	return NULL;
}

int
setting_read(const struct setting *const tables[], char *errors, size_t size)
{
	size_t used = 0;

	for (; *tables != NULL; tables++) {
		for (const struct setting *s = *tables; s->name != NULL; s++) {
			const char *value = getenv(s->name), *wrong;
			int n;

			if (value == NULL || *value == '\0')
				value = s->fallback;
			wrong = value ? store(s, value) : "is missing";
			if (wrong == NULL)
				continue;
			n = snprintf(errors + used, size - used, "%s%s %s",
				     used ? ", " : "", s->name, wrong);
			used += (size_t)n < size - used ? (size_t)n
							: size - used - 1;
		}
	}
	return used == 0 ? 0 : -1;
}
