/* fuzz-event.c: what comes on the bus.  A line names the channel, the rest is
 * the envelope.
 * SPDX-License-Identifier: MIT */
#include "events.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct input in = {data, size};
	const char *channel = input_line(&in, a);
	struct event event;

	if (event_read(a, channel, in.at, in.left, &event) == NULL) {
		MUST(event.type > EVENT_NONE && event.type < EVENT__MAX);
		MUST(event_of_channel(channel) == event.type);
		MUST(id_valid(event.subject) && event.version >= 1);
		MUST(event.data != NULL && event.family != NULL);
	}
	arena_free(a);
	return 0;
}
