/* events.c: see events.h.
 * SPDX-License-Identifier: MIT */
#include "events.h"

#include <string.h>

#include "clock.h"
#include "trace.h"

/* clang-format off */
#define ROW_ID(s, m, n, f) FIELD(struct s, m, n, FIELD_ID, .flags = (f))
#define ROW_TEXT(s, m, n, f) FIELD(struct s, m, n, FIELD_TEXT, .flags = (f))
#define ROW_INT(s, m, n, f) FIELD(struct s, m, n, FIELD_INT, .flags = (f))
#define ROW_TIME(s, m, n, f) FIELD(struct s, m, n, FIELD_TIME, .flags = (f))
#define ROW_stuff_file(s, m, n, f)                                             \
	FIELD(struct s, m, n, FIELD_RECORD, .flags = (f),                      \
	      .fields = stuff_file_fields)
#define ROW_ordered_stuff(s, m, n, f)                                          \
	FIELD(struct s, m, n, FIELD_RECORD, .flags = (f),                             \
	      .fields = ordered_stuff_fields)

#define SHAPE(s) static const struct field s##_fields[] = {
#define FIELD_(s, type, member, name, flags) ROW_##type(s, member, name, flags),
#define END_SHAPE(s) {0}};
#include "events.def"
/* clang-format on */

static const struct {
	const char *channel;
	const struct field *fields;
	size_t size;
} types[EVENT__MAX] = {
#define EVENT(name, channel_, s) \
	[EVENT_##name] = {channel_, s##_fields, sizeof(struct s)},
#include "events.def"
};

struct envelope {
	const char *id, *type, *traceparent;
	char subject[ID_SIZE];
	int64_t version, time;
};

static const struct field envelope_fields[] = {
	FIELD(struct envelope, id, "id", FIELD_TEXT, .flags = FIELD_REQUIRED,
	      .min = 1, .max = 100),
	FIELD(struct envelope, type, "type", FIELD_TEXT,
	      .flags = FIELD_REQUIRED),
	FIELD(struct envelope, subject, "subject", FIELD_ID,
	      .flags = FIELD_REQUIRED),
	FIELD(struct envelope, version, "version", FIELD_INT,
	      .flags = FIELD_REQUIRED, .min = 1, .max = INT64_MAX - 1),
	FIELD(struct envelope, time, "time", FIELD_TIME,
	      .flags = FIELD_REQUIRED),
	FIELD(struct envelope, traceparent, "traceparent", FIELD_TEXT),
	{0}};

const char *
event_channel(enum event_type type)
{
	return types[type].channel;
}

enum event_type
event_of_channel(const char *channel)
{
	for (int t = EVENT_NONE + 1; t < EVENT__MAX; t++)
		if (strcmp(types[t].channel, channel) == 0)
			return (enum event_type)t;
	return EVENT_NONE;
}

const char *
event_write(struct arena *a, enum event_type type, const char *subject,
	    int64_t version, json_object *record, const char **ret_id,
	    struct message_span *ret_span)
{
	json_object *o = json_new_object(a), *data = json_object_new_object();
	const char *channel = types[type].channel;
	struct message_span span = span_message(a);

	for (const struct field *f = types[type].fields; f->name; f++) {
		json_object *v = NULL;

		json_object_object_get_ex(record, f->name, &v);
		json_put(data, f->name, json_object_get(v));
	}
	*ret_id = arena_printf(a, "%.*s:%s:%lld", (int)strcspn(channel, ":"),
			       channel, subject, (long long)version);
	json_put_text(o, "id", *ret_id);
	json_put_text(o, "type", channel);
	json_put_text(o, "subject", subject);
	json_put_int(o, "version", version);
	json_put_text(o, "time", clock_format(a, clock_now()));
	if (ret_span != NULL)
		*ret_span = span;
	if (span.traceparent != NULL)
		json_put_text(o, "traceparent", span.traceparent);
	else
		json_put(o, "traceparent", NULL);
	json_put(o, "data", data);
	return json_write(o, NULL);
}

const struct fail *
event_read(struct arena *a, const char *channel, const void *bytes, size_t len,
	   struct event *ret_event)
{
	enum event_type type = event_of_channel(channel);
	struct envelope *e = arena_alloc(a, sizeof(*e));
	json_object *o = json_read(a, bytes, len);
	json_object *d = json_member(o, "data", json_type_object);
	void *data;

	if (o == NULL)
		return fail_bad_request(a, "not JSON");
	TRY(record_from_json(a, envelope_fields, o, e, NULL));
	if (type == EVENT_NONE || strcmp(e->type, channel) != 0)
		return fail_field(a, NULL, "type", "not this channel's");
	if (d == NULL)
		return fail_field(a, NULL, "data", "Bad data");
	data = arena_alloc(a, types[type].size);
	TRY(record_from_json(a, types[type].fields, d, data, NULL));
	*ret_event = (struct event){
		.type = type,
		.id = e->id,
		.family = arena_strndup(a, channel, strcspn(channel, ":")),
		.subject = e->subject,
		.version = e->version,
		.time = e->time,
		.traceparent = e->traceparent,
		.data = data,
	};
	return NULL;
}
