/* trace.h: which trace what a thread does belongs to (W3C Trace Context), and
 * the spans that tell of it.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_TRACE_H
#define TICKETING_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

#define TRACE_SIZE 33	      /* an id's 32 digits and NUL */
#define TRACE_PARENT_SIZE 56  /* of a traceparent, likewise */
#define TRACE_SPAN_SIZE 17    /* of a span's id */
#define TRACE_CONTEXT_SIZE 50 /* "<trace>-<span>" */

/* OTLP's numbers. */
enum span_kind {
	SPAN_INTERNAL = 1,
	SPAN_SERVER,
	SPAN_CLIENT,
	SPAN_PRODUCER,
	SPAN_CONSUMER,
};

/* What took some time.  It is a plain value: texts are cut to size. */
#define SPAN_ATTRIBUTES 6
struct span {
	char trace[TRACE_SIZE], id[TRACE_SPAN_SIZE], parent[TRACE_SPAN_SIZE];
	char link_trace[TRACE_SIZE], link_id[TRACE_SPAN_SIZE];
	enum span_kind kind;
	int64_t began, ended; /* ns since 1970 */
	char name[80];
	bool failed;
	char why[80];
	struct span_attribute {
		const char *key; /* NULL: none */
		bool is_number;
		int64_t number;
		char text[64];
	} attributes[SPAN_ATTRIBUTES];
};

/*
 * Begins, on this thread, a span of the trace that a traceparent names; if it
 * is none, of the trace whose id that is; else of a new one.  Both may be
 * NULL.  A span that began before is over then, and forgotten.
 */
void trace_begin(enum span_kind kind, const char *traceparent, const char *id);

/*
 * What this thread does from here on turns out to belong to another trace,
 * below the span of it that a context (see trace_context()) names; a bare
 * trace's id will do, and "" is passed over.  Of a request's or event's former
 * parent remains a link.
 */
void trace_join(const char *context);

/* Ends the thread's span, which is told of by trace_tell() if it is
 * SPAN_INTERNAL only when others came of it. */
void trace_end(void);

/* Has the span told of only when others came of it. */
void trace_hush(void);

/* The trace's id, "" outside of one. */
const char *trace_id(void);

/* Is it a traceparent of version 00, as we make them?  *ret_id if so. */
bool trace_read(const char *traceparent, char ret_id[TRACE_SIZE]);

/* For who is called next: "00-<trace>-<span>-01", or -00 where who called us
 * wants none collected; NULL outside of a trace. */
const char *trace_parent(struct arena *a);

/* For a record, whose later changes join this: "<trace>-<span>"; "" outside of
 * a trace. */
void trace_context(char ret_context[TRACE_CONTEXT_SIZE]);

/*
 * What follows is for who collects spans, and no work when nobody does: then
 * these return NULL, which all that take a span accept.
 */

/* The thread's own span, which trace_end() ends. */
struct span *trace_span(void);

/* Begins another one below it, in the arena. */
struct span *span_begin(struct arena *a, enum span_kind kind);

/* As trace_parent(), but for who is called by means of that span; by the
 * thread's own when it is NULL. */
const char *span_parent(struct arena *a, const struct span *s);

void span_name(struct span *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Says more of it; the key must be a constant.  What exceeds SPAN_ATTRIBUTES
 * is left out. */
void span_text(struct span *s, const char *key, const char *text);
void span_number(struct span *s, const char *key, int64_t number);

void span_fail(struct span *s, const char *why);

/* Ends it, and has it told of. */
void span_end(struct span *s);

/*
 * An event's way to the bus is a span that the event itself names, so that who
 * hears it comes below that.  span_message() makes one for an event;
 * span_sent() tells of it once the bus has stored the event.
 */
struct message_span {
	const char *traceparent; /* the event's; NULL: outside of a trace */
	const char *parent;	 /* what it is below; "": nobody collects */
};
struct message_span span_message(struct arena *a);
void span_sent(struct arena *a, const struct message_span *m,
	       const char *channel, const char *event_id, int64_t began_us);

/* Who collects: gets each span that has ended, on the thread that it was of,
 * and must not wait.  Call before threads start. */
void trace_tell(void (*collect)(const struct span *s));

#endif
