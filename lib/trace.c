/* trace.c: see trace.h.
 * SPDX-License-Identifier: MIT */
#include "trace.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "id.h"

static _Thread_local struct {
	struct span span;
	bool sampled;
	bool always; /* else it is told of when used is true */
	bool used;   /* others came of it */
} current;

static void (*tell)(const struct span *s);

/* Is it so many lower-case hex digits, and not all of them 0? */
static bool
is_id(const char *s, size_t len)
{
	return strspn(s, "0123456789abcdef") >= len && strspn(s, "0") < len;
}

/* Takes an id's digits, which are not NUL-terminated. */
static void
copy_id(char *to, const char *from, size_t size)
{
	memcpy(to, from, size - 1);
	to[size - 1] = '\0';
}

/* From a stock: each visit to the kernel for so few bytes costs more than the
 * rest of a span. */
static void
new_span_id(char id[TRACE_SPAN_SIZE])
{
	static _Thread_local unsigned char stock[256];
	static _Thread_local size_t left;
	const size_t size = (TRACE_SPAN_SIZE - 1) / 2;

	if (left == 0) {
		randombytes_buf(stock, sizeof(stock));
		left = sizeof(stock);
	}
	left -= size;
	sodium_bin2hex(id, TRACE_SPAN_SIZE, stock + left, size);
}

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

bool
trace_read(const char *s, char ret_id[TRACE_SIZE])
{
	/* Later versions may be longer; ours is what they begin with. */
	if (s == NULL || strlen(s) < TRACE_PARENT_SIZE - 1 ||
	    strspn(s, "0123456789abcdef") != 2 || memcmp(s, "ff", 2) == 0 ||
	    s[2] != '-' || !is_id(s + 3, TRACE_SIZE - 1) || s[35] != '-' ||
	    !is_id(s + 36, TRACE_SPAN_SIZE - 1) || s[52] != '-' ||
	    strspn(s + 53, "0123456789abcdef") != 2 ||
	    (s[55] != '\0' && (s[55] != '-' || memcmp(s, "00", 2) == 0)))
		return false;
	copy_id(ret_id, s + 3, TRACE_SIZE);
	return true;
}

void
trace_begin(enum span_kind kind, const char *traceparent, const char *id)
{
	struct span *s = &current.span;

	memset(&current, 0, sizeof(current));
	current.sampled = true;
	current.always = kind != SPAN_INTERNAL;
	s->kind = kind;
	new_span_id(s->id);
	if (trace_read(traceparent, s->trace)) {
		copy_id(s->parent, traceparent + 36, TRACE_SPAN_SIZE);
		current.sampled = strchr("13579bdf", traceparent[54]) != NULL;
	} else if (id != NULL && strlen(id) == TRACE_SIZE - 1 &&
		   is_id(id, TRACE_SIZE - 1)) {
		memcpy(s->trace, id, TRACE_SIZE);
	} else {
		id_random(s->trace, (TRACE_SIZE - 1) / 2);
	}
	if (tell != NULL)
		s->began = now_ns();
}

static void
link_to(struct span *s, const char *id)
{
	memcpy(s->link_trace, s->trace, TRACE_SIZE);
	memcpy(s->link_id, id, TRACE_SPAN_SIZE);
}

void
trace_join(const char *context)
{
	struct span *s = &current.span;

	if (*context == '\0' || strncmp(context, s->trace, TRACE_SIZE - 1) == 0)
		return;
	if (*s->trace == '\0') {
		trace_begin(SPAN_INTERNAL, NULL, NULL);
	} else if (current.used) {
		/* What came of it so far keeps its parent: another one. */
		struct span before = *s;

		trace_end();
		*s = before;
		if (s->kind != SPAN_INTERNAL)
			link_to(s, s->id);
		s->kind = SPAN_INTERNAL;
		new_span_id(s->id);
		current.used = false;
		s->began = tell ? now_ns() : 0;
	} else if (s->kind != SPAN_INTERNAL && *s->parent != '\0') {
		link_to(s, s->parent);
	}
	copy_id(s->trace, context, TRACE_SIZE);
	*s->parent = '\0';
	if (context[TRACE_SIZE - 1] == '-')
		copy_id(s->parent, context + TRACE_SIZE, TRACE_SPAN_SIZE);
}

void
trace_end(void)
{
	if (*current.span.trace != '\0' && (current.always || current.used))
		span_end(trace_span());
	*current.span.trace = '\0';
}

void
trace_hush(void)
{
	current.always = false;
}

const char *
trace_id(void)
{
	return current.span.trace;
}

static const char *
parent_of(struct arena *a, const char *trace, const char *id)
{
	return arena_printf(a, "00-%s-%s-%s", trace, id,
			    current.sampled ? "01" : "00");
}

const char *
trace_parent(struct arena *a)
{
	return span_parent(a, NULL);
}

void
trace_context(char ret_context[TRACE_CONTEXT_SIZE])
{
	*ret_context = '\0';
	if (*current.span.trace == '\0')
		return;
	current.used = true;
	snprintf(ret_context, TRACE_CONTEXT_SIZE, "%s-%s", current.span.trace,
		 current.span.id);
}

struct span *
trace_span(void)
{
	return tell != NULL && current.sampled && *current.span.trace != '\0'
		       ? &current.span
		       : NULL;
}

struct span *
span_begin(struct arena *a, enum span_kind kind)
{
	const struct span *own = trace_span();
	struct span *s;

	if (own == NULL)
		return NULL;
	current.used = true;
	s = arena_alloc(a, sizeof(*s));
	memcpy(s->trace, own->trace, TRACE_SIZE);
	memcpy(s->parent, own->id, TRACE_SPAN_SIZE);
	new_span_id(s->id);
	s->kind = kind;
	s->began = now_ns();
	return s;
}

const char *
span_parent(struct arena *a, const struct span *s)
{
	s = s ? s : &current.span;
	if (*s->trace == '\0')
		return NULL;
	current.used = true;
	return parent_of(a, s->trace, s->id);
}

void
span_name(struct span *s, const char *fmt, ...)
{
	va_list ap;

	if (s == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(s->name, sizeof(s->name), fmt, ap);
	va_end(ap);
}

/* The attribute of that key, or a free one; NULL when there is none. */
static struct span_attribute *
attribute(struct span *s, const char *key)
{
	for (int i = 0; s != NULL && i < SPAN_ATTRIBUTES; i++) {
		struct span_attribute *at = &s->attributes[i];

		if (at->key != NULL && strcmp(at->key, key) != 0)
			continue;
		at->key = key;
		return at;
	}
	return NULL;
}

void
span_text(struct span *s, const char *key, const char *text)
{
	struct span_attribute *at = attribute(s, key);

	if (at != NULL)
		snprintf(at->text, sizeof(at->text), "%s", text);
}

void
span_number(struct span *s, const char *key, int64_t number)
{
	struct span_attribute *at = attribute(s, key);

	if (at == NULL)
		return;
	at->is_number = true;
	at->number = number;
}

void
span_fail(struct span *s, const char *why)
{
	if (s == NULL)
		return;
	s->failed = true;
	snprintf(s->why, sizeof(s->why), "%s", why);
}

void
span_end(struct span *s)
{
	if (s == NULL)
		return;
	s->ended = now_ns();
	tell(s);
}

struct message_span
span_message(struct arena *a)
{
	const struct span *own = trace_span();
	char id[TRACE_SPAN_SIZE];

	if (own == NULL)
		return (struct message_span){trace_parent(a), ""};
	current.used = true;
	new_span_id(id);
	return (struct message_span){parent_of(a, own->trace, id),
				     arena_strdup(a, own->id)};
}

void
span_sent(struct arena *a, const struct message_span *m, const char *channel,
	  const char *event_id, int64_t began_us)
{
	struct span *s;
	char trace[TRACE_SIZE];

	if (tell == NULL || strlen(m->parent) != TRACE_SPAN_SIZE - 1 ||
	    !trace_read(m->traceparent, trace))
		return;
	s = arena_alloc(a, sizeof(*s));
	memcpy(s->trace, trace, TRACE_SIZE);
	copy_id(s->id, m->traceparent + 36, TRACE_SPAN_SIZE);
	memcpy(s->parent, m->parent, TRACE_SPAN_SIZE);
	s->kind = SPAN_PRODUCER;
	s->began = now_ns() - (clock_micros() - began_us) * 1000;
	span_name(s, "send %s", channel);
	span_text(s, "messaging.system", "nats");
	span_text(s, "messaging.operation.type", "send");
	span_text(s, "messaging.destination.name", channel);
	span_text(s, "messaging.message.id", event_id);
	span_end(s);
}

void
trace_tell(void (*collect)(const struct span *s))
{
	tell = collect;
}
