/* fuzz-range.c: Range, If-Range and If-None-Match.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "range.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct input in = {data, size};
	int64_t thing = 0, first = -1, count = -1;
	const char *header, *tags;

	for (int i = input_byte(&in) % 9; i > 0; i--)
		thing = (thing << 7) | (input_byte(&in) & 127);
	header = input_line(&in, a);
	tags = input_line(&in, a);
	switch (range_read(header, thing, &first, &count)) {
	case RANGE_WHOLE:
		MUST(first == 0 && count == thing);
		break;
	case RANGE_PART:
		MUST(first >= 0 && count > 0 && first < thing);
		MUST(count <= thing - first);
		break;
	case RANGE_NONE:
		break;
	}
	MUST(range_tag_in("*", "\"x\"", false));
	if (range_tag_in(tags, "\"deadbeef\"", false))
		MUST(strstr(tags, "\"deadbeef\"") || strchr(tags, '*'));
	range_tag_in(tags, "\"deadbeef\"", true);
	arena_free(a);
	return 0;
}
