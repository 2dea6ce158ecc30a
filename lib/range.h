/* range.h: which part of a thing a request is for (RFC 9110, 13 and 14).
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_RANGE_H
#define TICKETING_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range {
	RANGE_WHOLE, /* 200: no range, several, or none that we understand */
	RANGE_PART,  /* 206 */
	RANGE_NONE,  /* 416: it begins behind the end */
};

/*
 * What a Range header ("bytes=0-99", "bytes=100-", "bytes=-100"; NULL: none)
 * asks for of a thing of size bytes.  Sets *ret_first and *ret_count for the
 * first two.  Several ranges are answered by the whole, as a server may.
 */
enum range range_read(const char *header, int64_t size, int64_t *ret_first,
		      int64_t *ret_count);

/* Does a list of entity tags, or "*", name the strong one `tag` (with its
 * quotes)?  weak says that W/"x" counts as "x", as in If-None-Match. */
bool range_tag_in(const char *header, const char *tag, bool weak);

#endif
