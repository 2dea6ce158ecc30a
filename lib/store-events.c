/* store-events.c: which events were heard, and which are still to be sent.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "service.h"
#include "store-private.h"

#define WAITING_LIMIT 1000 /* records that store_waiting() looks at */
#define HEARD "heard"	   /* {_id: "<family>:<subject>", version} */

static bson_t *
line_filter(struct context *cx, const struct event *event)
{
	bson_t *filter = bson_new();

	BSON_APPEND_UTF8(filter, "_id",
			 arena_printf(cx->arena, "%s:%s", event->family,
				      event->subject));
	return filter;
}

const struct fail *
store_line(struct context *cx, const struct event *event)
{
	mongoc_cursor_t *cursor;
	bson_error_t error;
	const bson_t *doc;
	int64_t heard = 0;

	if (GUARD_OFF("line"))
		return NULL;
	TRY(store_query(cx, HEARD, line_filter(cx, event), NULL, 1, NULL,
			&cursor));
	if (mongoc_cursor_next(cursor, &doc))
		heard = store_int_at(doc, "version");
	else if (mongoc_cursor_error(cursor, &error))
		return store_failed(cx, &error);
	if (event->version <= heard)
		return STORE_KEEP;
	return event->version == heard + 1 ? NULL : STORE_EARLY;
}

const struct fail *
store_heard(struct context *cx, const struct event *event)
{
	bson_t *filter = line_filter(cx, event), *update, *opts, max;
	mongoc_collection_t *c;
	bson_error_t error;

	store_own(cx, filter);
	TRY(store_collection(cx, HEARD, &c));
	update = store_own(cx, bson_new());
	BSON_APPEND_DOCUMENT_BEGIN(update, "$max", &max);
	BSON_APPEND_INT64(&max, "version", event->version);
	bson_append_document_end(update, &max);
	opts = store_own(cx, bson_new());
	BSON_APPEND_BOOL(opts, "upsert", true);
	/* Two that insert at once: one is refused, and again finds it there. */
	for (int i = 0; i < 2; i++) {
		if (mongoc_collection_update_one(c, filter, update, opts, NULL,
						 &error))
			return NULL;
		if (error.code != MONGOC_ERROR_DUPLICATE_KEY)
			break;
	}
	return store_failed(cx, &error);
}

/* Finds the records that have unsent events. */
static bson_t *
unsent_filter(void)
{
	bson_t *filter = bson_new(), exists;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "outbox.id", &exists);
	BSON_APPEND_BOOL(&exists, "$exists", true);
	bson_append_document_end(filter, &exists);
	return filter;
}

static int64_t
count_unsent(const bson_t *doc)
{
	bson_iter_t i;

	return bson_iter_init_find(&i, doc, "outbox") ? store_count_elements(&i)
						      : 0;
}

/* When the first event of an outbox was saved; INT64_MAX: it is empty. */
static int64_t
oldest_unsent(const bson_t *doc)
{
	struct arena *a = arena_new();
	bson_iter_t i, body;
	const char *text;
	uint32_t len;
	int64_t time;

	if (!bson_iter_init(&i, doc) ||
	    !bson_iter_find_descendant(&i, "outbox.0.body", &body) ||
	    !BSON_ITER_HOLDS_UTF8(&body)) {
		/* GCOVR_EXCL_START: nobody writes such an outbox */
		arena_free(a);
		return INT64_MAX;
		/* GCOVR_EXCL_STOP */
	}
	text = bson_iter_utf8(&body, &len);
	text = json_text(json_read(a, text, len), "time");
	if (text == NULL || clock_parse(text, &time) != 0)
		/* GCOVR_EXCL_START: nobody writes such an event */
		time = INT64_MAX;
	/* GCOVR_EXCL_STOP */
	arena_free(a);
	return time;
}

const struct fail *
store_waiting(struct context *cx, const struct kind *kind,
	      struct waiting_events *ret)
{
	mongoc_cursor_t *cursor;
	bson_error_t error;
	const bson_t *doc;
	int64_t oldest;

	*ret = (struct waiting_events){.oldest = INT64_MAX};
	TRY(store_query(cx, kind->collection, unsent_filter(), NULL,
			WAITING_LIMIT, "outbox", &cursor));
	while (mongoc_cursor_next(cursor, &doc)) {
		ret->events += count_unsent(doc);
		oldest = oldest_unsent(doc);
		ret->oldest = oldest < ret->oldest ? oldest : ret->oldest;
	}
	if (mongoc_cursor_error(cursor, &error))
		return store_failed(cx, &error);
	return NULL;
}

/* What one document of these queries holds. */
static struct outgoing
outgoing_of(struct context *cx, const bson_t *doc)
{
	struct unsent *unsent = arena_alloc(
		cx->arena, sizeof(*unsent) * (size_t)count_unsent(doc));
	char *id = arena_alloc(cx->arena, ID_SIZE);
	bson_iter_t i, e;
	size_t n = 0;

	if (bson_iter_init_find(&i, doc, "_id"))
		bson_oid_to_string(bson_iter_oid(&i), id);
	if (bson_iter_init_find(&i, doc, "outbox") && bson_iter_recurse(&i, &e))
		while (bson_iter_next(&e))
			unsent[n++] = (struct unsent){
				store_text_at(cx, &e, "id"),
				store_text_at(cx, &e, "channel"),
				store_text_at(cx, &e, "body"),
				{store_text_at(cx, &e, "span"),
				 store_text_at(cx, &e, "below")}};
	return (struct outgoing){id, unsent, n};
}

const struct fail *
store_unsent(struct context *cx, const struct kind *kind,
	     const char *const *ids, size_t count, struct outgoing **ret,
	     size_t *ret_count)
{
	mongoc_cursor_t *cursor;
	bson_error_t error;
	const bson_t *doc;
	size_t n = 0;

	*ret = arena_alloc(cx->arena, count * sizeof(**ret));
	TRY(store_query(cx, kind->collection,
			ids ? store_ids_filter(ids, count) : unsent_filter(),
			NULL, (int64_t)count, "outbox", &cursor));
	while (n < count && mongoc_cursor_next(cursor, &doc))
		if (((*ret)[n] = outgoing_of(cx, doc)).count > 0)
			n++;
	if (mongoc_cursor_error(cursor, &error))
		return store_failed(cx, &error);
	*ret_count = n;
	return NULL;
}

/* Takes each event out of whichever of the outboxes it is in. */
static bson_t *
pull_update(struct context *cx, const struct outgoing *sent, size_t count)
{
	bson_t *update = store_own(cx, bson_new()), pull, outbox, which, in;
	char number[24];
	size_t n = 0;

	BSON_APPEND_DOCUMENT_BEGIN(update, "$pull", &pull);
	BSON_APPEND_DOCUMENT_BEGIN(&pull, "outbox", &outbox);
	BSON_APPEND_DOCUMENT_BEGIN(&outbox, "id", &which);
	BSON_APPEND_ARRAY_BEGIN(&which, "$in", &in);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < sent[i].count; j++) {
			snprintf(number, sizeof(number), "%zu", n++);
			BSON_APPEND_UTF8(&in, number, sent[i].unsent[j].id);
		}
	bson_append_array_end(&which, &in);
	bson_append_document_end(&outbox, &which);
	bson_append_document_end(&pull, &outbox);
	bson_append_document_end(update, &pull);
	return update;
}

const struct fail *
store_sent(struct context *cx, const struct kind *kind,
	   const struct outgoing *sent, size_t count)
{
	const char **ids = arena_alloc(cx->arena, count * sizeof(*ids));
	mongoc_collection_t *c;
	bson_error_t error;
	bson_t *filter;

	for (size_t i = 0; i < count; i++)
		ids[i] = sent[i].id;
	TRY(store_collection(cx, kind->collection, &c));
	filter = store_own(cx, store_ids_filter(ids, count));
	if (!mongoc_collection_update_many(c, filter,
					   pull_update(cx, sent, count), NULL,
					   NULL, &error))
		return store_failed(cx, &error);
	return NULL;
}
