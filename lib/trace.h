/* trace.h: which trace what a thread does belongs to (W3C Trace Context).
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_TRACE_H
#define TICKETING_TRACE_H

#include <stdbool.h>

#include "arena.h"

#define TRACE_SIZE 33	     /* an id's 32 digits and NUL */
#define TRACE_PARENT_SIZE 56 /* of a traceparent, likewise */

/* Begins, on this thread, a span of the trace that a traceparent names; if it
 * is none, of the trace whose id that is; else of a new one.  Both may be
 * NULL.  A span that began before is over then. */
void trace_begin(const char *traceparent, const char *id);

/* What this thread does from here on turns out to belong to that trace; "" is
 * passed over. */
void trace_join(const char *id);

void trace_end(void);

/* The trace's id, "" outside of one. */
const char *trace_id(void);

/* Is it a traceparent of version 00, as we make them?  *ret_id if so. */
bool trace_read(const char *traceparent, char ret_id[TRACE_SIZE]);

/* For who is called, or hears, next: "00-<trace>-<span>-01"; NULL outside of a
 * trace. */
const char *trace_parent(struct arena *a);

#endif
