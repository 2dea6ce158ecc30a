/* trace.c: see trace.h.
 * SPDX-License-Identifier: MIT */
#include "trace.h"

#include <string.h>

#include "id.h"

#define SPAN_SIZE 17

static _Thread_local struct {
	char id[TRACE_SIZE], span[SPAN_SIZE];
} current;

/* Is it so many lower-case hex digits, and not all of them 0? */
static bool
is_id(const char *s, size_t len)
{
	return strspn(s, "0123456789abcdef") >= len && strspn(s, "0") < len;
}

bool
trace_read(const char *s, char ret_id[TRACE_SIZE])
{
	/* Later versions may be longer; ours is what they begin with. */
	if (s == NULL || strlen(s) < TRACE_PARENT_SIZE - 1 ||
	    strspn(s, "0123456789abcdef") != 2 || memcmp(s, "ff", 2) == 0 ||
	    s[2] != '-' || !is_id(s + 3, TRACE_SIZE - 1) || s[35] != '-' ||
	    !is_id(s + 36, SPAN_SIZE - 1) || s[52] != '-' ||
	    strspn(s + 53, "0123456789abcdef") != 2 ||
	    (s[55] != '\0' && (s[55] != '-' || memcmp(s, "00", 2) == 0)))
		return false;
	memcpy(ret_id, s + 3, TRACE_SIZE - 1);
	ret_id[TRACE_SIZE - 1] = '\0';
	return true;
}

void
trace_begin(const char *traceparent, const char *id)
{
	id_random(current.span, (SPAN_SIZE - 1) / 2);
	if (trace_read(traceparent, current.id))
		return;
	if (id != NULL && strlen(id) == TRACE_SIZE - 1 &&
	    is_id(id, TRACE_SIZE - 1))
		memcpy(current.id, id, TRACE_SIZE);
	else
		id_random(current.id, (TRACE_SIZE - 1) / 2);
}

void
trace_join(const char *id)
{
	if (*id == '\0')
		return;
	if (*current.id == '\0')
		id_random(current.span, (SPAN_SIZE - 1) / 2);
	memcpy(current.id, id, TRACE_SIZE);
}

void
trace_end(void)
{
	*current.id = '\0';
}

const char *
trace_id(void)
{
	return current.id;
}

const char *
trace_parent(struct arena *a)
{
	return *current.id ? arena_printf(a, "00-%s-%s-01", current.id,
					  current.span)
			   : NULL;
}
