/* range.c: see range.h.
 * SPDX-License-Identifier: MIT */
#include "range.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define UNIT "bytes="

/* Reads digits; what is too large to count is larger than any thing.  False
 * when there are none. */
static bool
number(const char **p, int64_t *ret)
{
	const char *start = *p;

	for (*ret = 0; **p >= '0' && **p <= '9'; (*p)++)
		*ret = *ret > INT64_MAX / 10 - 1 ? INT64_MAX
						 : *ret * 10 + (**p - '0');
	return *p != start;
}

enum range
range_read(const char *header, int64_t size, int64_t *ret_first,
	   int64_t *ret_count)
{
	const char *p = header;
	int64_t first, last = INT64_MAX;
	bool has_first, has_last;

	*ret_first = 0;
	*ret_count = size;
	if (p == NULL || strncasecmp(p, UNIT, strlen(UNIT)) != 0)
		return RANGE_WHOLE;
	p += strlen(UNIT);
	p += strspn(p, " \t");
	has_first = number(&p, &first);
	if (*p++ != '-')
		return RANGE_WHOLE;
	has_last = number(&p, &last);
	if (!has_last)
		last = INT64_MAX;
	p += strspn(p, " \t");
	if (*p != '\0' || (!has_first && !has_last) ||
	    (has_first && last < first))
		return RANGE_WHOLE;
	if (!has_first) { /* the last so many bytes */
		first = last < size ? size - last : 0;
		if (last == 0)
			return RANGE_NONE;
		last = INT64_MAX;
	}
	if (first >= size)
		return RANGE_NONE;
	*ret_first = first;
	*ret_count = (last < size ? last + 1 : size) - first;
	return RANGE_PART;
}

bool
range_tag_in(const char *header, const char *tag, bool weak)
{
	size_t len = strlen(tag);

	for (const char *p = header; p != NULL && *p != '\0';) {
		bool is_weak;
		const char *end;

		p += strspn(p, " \t,");
		if (*p == '*')
			return true;
		is_weak = strncmp(p, "W/", 2) == 0;
		p += is_weak ? 2 : 0;
		if (*p != '"' || (end = strchr(p + 1, '"')) == NULL)
			return false;
		if ((size_t)(end + 1 - p) == len && memcmp(p, tag, len) == 0 &&
		    (weak || !is_weak))
			return true;
		p = end + 1;
	}
	return false;
}
