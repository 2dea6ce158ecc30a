/* events.h: what the services tell each other, made from events.def.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_EVENTS_H
#define TICKETING_EVENTS_H

#include "record.h"

/* clang-format off */
#define EVENT_MEMBER_ID(m) char m[ID_SIZE];
#define EVENT_MEMBER_TEXT(m) const char *m;
#define EVENT_MEMBER_INT(m) int64_t m;
#define EVENT_MEMBER_TIME(m) int64_t m;
#define EVENT_MEMBER_stuff_file(m) struct stuff_file m;
#define EVENT_MEMBER_ordered_stuff(m) struct ordered_stuff m;

#define SHAPE(s) struct s {
#define FIELD_(s, type, member, name, flags) EVENT_MEMBER_##type(member)
#define END_SHAPE(s) };
#include "events.def"
/* clang-format on */

/* EVENT_NONE, EVENT_USER_BANNED, … */
enum event_type {
	EVENT_NONE,
#define EVENT(name, channel, s) EVENT_##name,
#include "events.def"
	EVENT__MAX
};

/* One event as heard.  All is in the arena of event_read(). */
struct event {
	enum event_type type;
	const char *id;		 /* "<family>:<subject>:<version>", unique */
	const char *family;	 /* "order" of "order:created" */
	const char *subject;	 /* the id of the record that it tells of */
	int64_t version;	 /* that record's; the first one is 1 */
	int64_t time;		 /* ms since 1970, when it was saved */
	const char *traceparent; /* or NULL */
	const void *data;	 /* the struct that events.def names for it */
};

/* The channel of a type; NULL for EVENT_NONE. */
const char *event_channel(enum event_type type);

/* EVENT_NONE for an unknown channel. */
enum event_type event_of_channel(const char *channel);

/* The channel for events that nobody can apply. */
#define EVENT_DEAD_LETTER "dead:letter"

struct message_span;

/*
 * The envelope of product rule 6: {"id","type","subject","version","time",
 * "traceparent","data"}, in this thread's trace.  Data are those members of
 * record, the public state of what changed, that events.def gives the type.
 * Returned text is in the arena, and so is *ret_id; ret_span may be NULL.
 */
const char *event_write(struct arena *a, enum event_type type,
			const char *subject, int64_t version,
			json_object *record, const char **ret_id,
			struct message_span *ret_span);

/* Reads an envelope that came on channel.  NULL is success; else why it is
 * bad, as a validation failure. */
const struct fail *event_read(struct arena *a, const char *channel,
			      const void *bytes, size_t len,
			      struct event *ret_event);

#endif
