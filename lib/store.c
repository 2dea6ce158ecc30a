/* store.c: see store.h.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "outbox.h"
#include "service.h"
#include "store-private.h"

#define MAX_TRIES 200 /* of a change that others are faster at */
#define AWAIT_STEP 10 /* ms between two looks of store_await() */

const struct fail store_duplicate = {.name = "duplicate"};
const struct fail store_keep = {.name = "keep"};
const struct fail store_early = {.name = "early"};

/* A record that a thread wants, or wants to add: by itself or with others. */
struct ask {
	struct call call;
	struct context *cx;
	const struct kind *kind;
	const char *id;
	void *rec;	   /* to be filled */
	const bson_t *doc; /* to be inserted */
	bool done;	   /* it was found; the insert was tried */
	const struct fail *fail;
};

static struct ask *
next(const struct ask *a)
{
	return (struct ask *)a->call.next;
}

/* A document or filter that begins with an id, which the arena owns. */
static bson_t *
by_id(struct context *cx, const char *id)
{
	return store_own(cx, store_ids_filter(&id, 1));
}

/* What a document has besides the fields of its record. */
static void
load_head(const bson_iter_t *at, void *rec)
{
	const char *key = bson_iter_key(at), *text;
	struct head *head = rec;
	uint32_t len;

	if (strcmp(key, "rev") == 0) {
		head->rev = bson_iter_as_int64(at);
	} else if (strcmp(key, "outbox") == 0) {
		head->unsent = store_count_elements(at);
	} else if (strcmp(key, "trace") == 0 && BSON_ITER_HOLDS_UTF8(at)) {
		text = bson_iter_utf8(at, &len);
		if (len == TRACE_SIZE - 1 || len == TRACE_CONTEXT_SIZE - 1)
			memcpy(head->trace, text, len + 1);
	}
}

static void
load(struct context *cx, const struct kind *kind, const bson_t *doc, void *rec)
{
	memset(rec, 0, kind->size);
	record_from_bson(cx->arena, kind->fields, doc, rec, load_head);
	if (!kind->traced)
		*((struct head *)rec)->trace = '\0';
}

const struct fail *
store_find(struct context *cx, const struct kind *kind, bson_t *filter,
	   const char *sort, int64_t limit, void **ret_recs, size_t *ret_count)
{
	char *recs = arena_alloc(cx->arena, (size_t)limit * kind->size);
	mongoc_cursor_t *cursor;
	bson_error_t error;
	const bson_t *doc;
	size_t n = 0;

	TRY(store_query(cx, kind->collection, filter, sort, limit, NULL,
			&cursor));
	while (n < (size_t)limit && mongoc_cursor_next(cursor, &doc))
		load(cx, kind, doc, recs + kind->size * n++);
	if (mongoc_cursor_error(cursor, &error))
		return store_failed(cx, &error);
	*ret_recs = recs;
	*ret_count = n;
	return NULL;
}

const struct fail *
store_count(struct context *cx, const struct kind *kind, bson_t *filter,
	    int64_t *ret_count)
{
	bson_t *command = store_own(cx, bson_new()), reply;
	mongoc_collection_t *c;
	bson_error_t error;
	bool ok;

	store_own(cx, filter);
	TRY(store_collection(cx, kind->collection, &c));
	BSON_APPEND_UTF8(command, "count", kind->collection);
	BSON_APPEND_DOCUMENT(command, "query", filter);
	ok = mongoc_collection_read_command_with_opts(c, command, NULL, NULL,
						      &reply, &error);
	*ret_count = ok ? store_int_at(&reply, "n") : 0;
	bson_destroy(&reply);
	return ok ? NULL : store_failed(cx, &error);
}

const struct fail *
store_find_one(struct context *cx, const struct kind *kind, bson_t *filter,
	       void *rec)
{
	void *found;
	size_t n;

	TRY(store_find(cx, kind, filter, NULL, 1, &found, &n));
	if (n == 0)
		return fail_not_found(cx->arena);
	memcpy(rec, found, kind->size);
	return NULL;
}

static bool
same_kind(const struct call *a, const struct call *b)
{
	return ((const struct ask *)a)->kind == ((const struct ask *)b)->kind;
}

static size_t
count_asks(const struct ask *all)
{
	size_t n = 0;

	for (; all != NULL; all = next(all))
		n++;
	return n;
}

/* What befell the one that asked, if anything did, befell all. */
static void
share_fail(struct ask *all, const struct fail *fail)
{
	for (struct ask *a = all; fail != NULL && a != NULL; a = next(a))
		a->fail = a == all ? fail
				   : fail_database(a->cx->arena,
						   arena_strdup(a->cx->arena,
								fail->cause));
}

static const struct fail *
get_for(struct ask *all)
{
	struct context *cx = all->cx;
	const char **ids =
		arena_alloc(cx->arena, count_asks(all) * sizeof(*ids));
	mongoc_cursor_t *cursor;
	bson_error_t error;
	const bson_t *doc;
	char id[ID_SIZE];
	bson_iter_t i;
	size_t n = 0;

	for (const struct ask *a = all, *other; a != NULL; a = next(a)) {
		for (other = all; strcmp(other->id, a->id) != 0;)
			other = next(other);
		if (other == a) /* the first that wants it */
			ids[n++] = a->id;
	}
	TRY(store_query(cx, all->kind->collection, store_ids_filter(ids, n),
			NULL, (int64_t)n, NULL, &cursor));
	while (mongoc_cursor_next(cursor, &doc)) {
		if (!bson_iter_init_find(&i, doc, "_id"))
			continue;
		bson_oid_to_string(bson_iter_oid(&i), id);
		for (struct ask *a = all; a != NULL; a = next(a))
			if (strcmp(a->id, id) == 0) {
				load(a->cx, a->kind, doc, a->rec);
				a->done = true;
			}
	}
	if (mongoc_cursor_error(cursor, &error))
		return store_failed(cx, &error);
	return NULL;
}

static void
make_gets(struct call *calls)
{
	struct ask *all = (struct ask *)calls;

	share_fail(all, get_for(all));
}

const struct fail *
store_get(struct context *cx, const struct kind *kind, const char *id,
	  void *rec)
{
	struct ask mine = {.cx = cx, .kind = kind, .id = id, .rec = rec};

	if (!id_valid(id))
		return fail_not_found(cx->arena);
	coalesce(&cx->service->store->gets, &mine.call);
	TRY(mine.fail);
	return mine.done ? NULL : fail_not_found(cx->arena);
}

const struct fail *
store_get_all(struct context *cx, const struct kind *kind,
	      const char *const *ids, size_t count, void **ret_recs,
	      size_t *ret_count)
{
	return store_find(cx, kind, store_ids_filter(ids, count), NULL,
			  (int64_t)count, ret_recs, ret_count);
}

const struct fail *
store_await(struct context *cx, const struct kind *kind, const char *id,
	    bool (*enough)(const void *rec), int64_t ms, void *rec)
{
	struct store *s = cx->service->store;
	bool may_wait = atomic_fetch_add(&s->waiting, 1) < s->may_wait;
	int64_t until = may_wait ? clock_monotonic() + ms : 0;
	const struct fail *fail = NULL;

	for (;;) {
		fail = store_get(cx, kind, id, rec);
		if ((fail == NULL && (enough == NULL || enough(rec))) ||
		    (fail != NULL && fail->status != 404) || !id_valid(id) ||
		    clock_monotonic() >= until)
			break;
		clock_sleep(AWAIT_STEP);
	}
	atomic_fetch_sub(&s->waiting, 1);
	if (fail != NULL && fail->status == 404 && id_valid(id) && !may_wait)
		return fail_unavailable(cx->arena, "Please try again",
					"too many wait for what is unknown");
	return fail;
}

/* A regular expression that finds text literally (PCRE). */
static const char *
literally(struct arena *a, const char *text)
{
	char *out = arena_alloc(a, 2 * strlen(text) + 1), *p = out;

	for (; *text != '\0'; text++) {
		if (strchr("\\^$.|?*+()[]{}-", *text) != NULL)
			*p++ = '\\';
		*p++ = *text;
	}
	return out;
}

void
store_append_search(struct context *cx, bson_t *list, const char *number,
		    const char *field, const char *text)
{
	bson_t one;

	BSON_APPEND_DOCUMENT_BEGIN(list, number, &one);
	BSON_APPEND_REGEX(&one, field, literally(cx->arena, text), "i");
	bson_append_document_end(list, &one);
}

/*
 * Raises rev, and version when the new state is published; then event holds
 * that event.  Returns false when it is not.
 */
static bool
advance(struct context *cx, const struct kind *kind, void *rec,
	struct unsent *event)
{
	struct head *head = rec;
	enum event_type type =
		kind->publishes ? kind->publishes(rec) : EVENT_NONE;

	head->rev++;
	if (type == EVENT_NONE)
		return false;
	head->version++;
	head->unsent++;
	event->channel = event_channel(type);
	event->body = event_write(cx->arena, type, head->id, head->version,
				  record_to_json(cx->arena, kind->fields, rec),
				  &event->id, &event->span);
	return true;
}

static void
append_event(bson_t *b, const char *name, const struct unsent *event)
{
	bson_t e;

	BSON_APPEND_DOCUMENT_BEGIN(b, name, &e);
	BSON_APPEND_UTF8(&e, "id", event->id);
	BSON_APPEND_UTF8(&e, "channel", event->channel);
	BSON_APPEND_UTF8(&e, "body", event->body);
	if (*event->span.parent != '\0') {
		BSON_APPEND_UTF8(&e, "span", event->span.traceparent);
		BSON_APPEND_UTF8(&e, "below", event->span.parent);
	}
	bson_append_document_end(b, &e);
}

/* What no outbox holds: said before the change is saved, or after it. */
/* GCOVR_EXCL_START: for negative controls, whose services are killed */
static void
publish_without_outbox(struct context *cx, const struct unsent *event)
{
	bus_publish_wait(cx->service->bus, event->channel, event->body,
			 strlen(event->body));
}
/* GCOVR_EXCL_STOP */

/* After a write, known to have happened (ok) or not. */
static void
written(struct context *cx, const struct kind *kind, const void *rec,
	const struct unsent *event, bool ok)
{
	const struct head *head = rec;

	FAILPOINT("saved");
	if (event == NULL)
		return;
	if (GUARD_OFF("outbox")) {
		publish_without_outbox(cx, event);
		ok = false;
	}
	ok = ok && head->unsent == 1 && !GUARD_OFF("save-first");
	outbox_wake(cx->service->outbox, kind, head->id, ok ? event : NULL);
}

/* Notes which inserts were refused.  False when the reply does not say so of
 * any: then nothing is known of the others either. */
static bool
note_refused(struct ask *all, const bson_t *reply)
{
	bson_iter_t i, errors, e;
	bool told = false;

	if (bson_has_field(reply, "writeConcernErrors") ||
	    !bson_iter_init_find(&i, reply, "writeErrors") ||
	    !bson_iter_recurse(&i, &errors))
		return false;
	while (bson_iter_next(&errors) && bson_iter_recurse(&errors, &e)) {
		struct ask *a = all;
		int64_t index = 0, code = 0;

		while (bson_iter_next(&e))
			if (strcmp(bson_iter_key(&e), "index") == 0)
				index = bson_iter_as_int64(&e);
			else if (strcmp(bson_iter_key(&e), "code") == 0)
				code = bson_iter_as_int64(&e);
		while (index-- > 0 && next(a) != NULL)
			a = next(a);
		a->fail = code == MONGOC_ERROR_DUPLICATE_KEY
				  ? STORE_DUPLICATE
				  : fail_database(a->cx->arena,
						  store_text_at(a->cx, &errors,
								"errmsg"));
		told = true;
	}
	return told;
}

static const struct fail *
add_for(struct ask *all)
{
	struct context *cx = all->cx;
	const bson_t **docs =
		arena_alloc(cx->arena, count_asks(all) * sizeof(*docs));
	bson_t *opts = store_own(cx, bson_new()), reply;
	mongoc_collection_t *c;
	bson_error_t error;
	size_t n = 0;
	bool known;

	TRY(store_collection(cx, all->kind->collection, &c));
	for (struct ask *a = all; a != NULL; a = next(a)) {
		docs[n++] = a->doc;
		a->done = true;
	}
	/* What one is refused for is not the others'.  They go in one message,
	 * so the reply is of all. */
	BSON_APPEND_BOOL(opts, "ordered", false);
	known = mongoc_collection_insert_many(c, docs, n, opts, &reply,
					      &error) ||
		note_refused(all, &reply);
	bson_destroy(&reply);
	return known ? NULL : store_failed(cx, &error);
}

static void
make_adds(struct call *calls)
{
	struct ask *all = (struct ask *)calls;

	share_fail(all, add_for(all));
}

void
store_init_calls(struct store *s)
{
	s->gets = (struct coalescer)COALESCER(same_kind, make_gets);
	s->adds = (struct coalescer)COALESCER(same_kind, make_adds);
}

const struct fail *
store_add(struct context *cx, const struct kind *kind, void *rec)
{
	struct ask mine = {.cx = cx, .kind = kind};
	struct head *head = rec;
	struct unsent event;
	bson_t *doc, outbox;
	bool published;

	if (*head->id == '\0')
		id_new(head->id);
	if (kind->traced)
		trace_context(head->trace);
	published = advance(cx, kind, rec, &event);
	mine.doc = doc = by_id(cx, head->id);
	BSON_APPEND_INT64(doc, "rev", head->rev);
	if (*head->trace != '\0')
		BSON_APPEND_UTF8(doc, "trace", head->trace);
	record_to_bson(kind->fields, rec, doc, NULL);
	BSON_APPEND_ARRAY_BEGIN(doc, "outbox", &outbox);
	if (published && GUARD_OFF("save-first"))
		publish_without_outbox(cx, &event);
	else if (published && !GUARD_OFF("outbox"))
		append_event(&outbox, "0", &event);
	bson_append_array_end(doc, &outbox);
	coalesce(&cx->service->store->adds, &mine.call);
	if (mine.fail == STORE_DUPLICATE)
		head->rev = 0;
	else if (mine.done)
		written(cx, kind, rec, published ? &event : NULL,
			mine.fail == NULL);
	return mine.fail;
}

const struct fail *
store_add_all(struct context *cx, const struct kind *kind, void *recs,
	      size_t count)
{
	const bson_t **docs = arena_alloc(cx->arena, count * sizeof(*docs));
	mongoc_collection_t *c;
	bson_error_t error;

	TRY(store_collection(cx, kind->collection, &c));
	for (size_t i = 0; i < count; i++) {
		struct head *head = (void *)((char *)recs + i * kind->size);
		bson_t *doc, outbox;

		id_new(head->id);
		head->rev = 1;
		doc = by_id(cx, head->id);
		BSON_APPEND_INT64(doc, "rev", head->rev);
		record_to_bson(kind->fields, head, doc, NULL);
		BSON_APPEND_ARRAY_BEGIN(doc, "outbox", &outbox);
		bson_append_array_end(doc, &outbox);
		docs[i] = doc;
	}
	if (!mongoc_collection_insert_many(c, docs, count, NULL, NULL, &error))
		return store_failed(cx, &error);
	return NULL;
}

/* Replaces the state at head->rev by *rec.  *ret_saved is false when another
 * write was faster. */
static const struct fail *
save(struct context *cx, const struct kind *kind, void *rec, bool *ret_saved)
{
	struct head *head = rec;
	bson_t *filter = by_id(cx, head->id),
	       *update = store_own(cx, bson_new());
	bson_t *unset = store_own(cx, bson_new()), set, push;
	struct unsent event;
	bool published, ok;
	mongoc_collection_t *c;
	bson_error_t error;
	bson_t reply;

	if (head->unsent >= STORE_MAX_UNSENT)
		return fail_unavailable(cx->arena,
					"Too many changes, please try again",
					"the outbox is full");
	TRY(store_collection(cx, kind->collection, &c));
	if (!GUARD_OFF("cas"))
		BSON_APPEND_INT64(filter, "rev", head->rev);
	published = advance(cx, kind, rec, &event);
	BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
	BSON_APPEND_INT64(&set, "rev", head->rev);
	record_to_bson(kind->fields, rec, &set, unset);
	bson_append_document_end(update, &set);
	if (bson_count_keys(unset) > 0)
		BSON_APPEND_DOCUMENT(update, "$unset", unset);
	if (published && GUARD_OFF("save-first")) {
		publish_without_outbox(cx, &event);
	} else if (published && !GUARD_OFF("outbox")) {
		BSON_APPEND_DOCUMENT_BEGIN(update, "$push", &push);
		append_event(&push, "outbox", &event);
		bson_append_document_end(update, &push);
	}
	ok = mongoc_collection_update_one(c, filter, update, NULL, &reply,
					  &error);
	*ret_saved = ok && store_int_at(&reply, "matchedCount") == 1;
	bson_destroy(&reply);
	if (!ok && error.code == MONGOC_ERROR_DUPLICATE_KEY)
		return STORE_DUPLICATE;
	if (*ret_saved || !ok)
		written(cx, kind, rec, published ? &event : NULL, ok);
	return ok ? NULL : store_failed(cx, &error);
}

/* store_change(), or with an event store_apply(). */
static const struct fail *
change(struct context *cx, const struct kind *kind, const char *id,
       store_decide decide, const void *arg, const struct event *event,
       void *rec)
{
	for (int i = 0; i < MAX_TRIES; i++) {
		const struct fail *fail = store_get(cx, kind, id, rec);
		bool saved = true;

		if (fail != NULL && fail->status == 404 && event != NULL) {
			memset(rec, 0, kind->size);
			memcpy(((struct head *)rec)->id, id, ID_SIZE);
		} else if (fail != NULL) {
			return fail;
		}
		trace_join(((struct head *)rec)->trace);
		/* The line is read after the record and before it is saved, so
		 * that whatever happens in between raises rev: a process that
		 * is stopped anywhere here can't apply an event late. */
		fail = event ? store_line(cx, event) : NULL;
		if (fail == NULL)
			fail = decide(cx, rec, arg);
		if (fail == STORE_KEEP)
			return NULL;
		TRY(fail);
		FAILPOINT("decided");
		if (((struct head *)rec)->rev != 0)
			fail = save(cx, kind, rec, &saved);
		else
			fail = store_add(cx, kind, rec);
		if (fail == STORE_DUPLICATE && event != NULL)
			/* GCOVR_EXCL_START: two hear the first event of a
			 * record at once */
			continue;
		/* GCOVR_EXCL_STOP */
		if (fail != NULL || saved)
			return fail;
	}
	/* GCOVR_EXCL_START: who loses 200 times on end */
	return fail_unavailable(cx->arena, "Too many changes, please try again",
				"others were always faster");
	/* GCOVR_EXCL_STOP */
}

const struct fail *
store_change(struct context *cx, const struct kind *kind, const char *id,
	     store_decide decide, const void *arg, void *rec)
{
	return change(cx, kind, id, decide, arg, NULL, rec);
}

const struct fail *
store_apply(struct context *cx, const struct kind *kind, const char *id,
	    store_decide decide, const struct event *event)
{
	return change(cx, kind, id, decide, event, event,
		      arena_alloc(cx->arena, kind->size));
}

const struct fail *
store_remove(struct context *cx, const struct kind *kind, bson_t *filter)
{
	mongoc_collection_t *c;
	bson_error_t error;

	store_own(cx, filter);
	TRY(store_collection(cx, kind->collection, &c));
	if (!mongoc_collection_delete_many(c, filter, NULL, NULL, &error))
		return store_failed(cx, &error);
	return NULL;
}

const struct fail *
store_prune(struct context *cx, const struct kind *kind, const char *field,
	    int64_t before)
{
	bson_t *filter = bson_new(), in;

	BSON_APPEND_DOCUMENT_BEGIN(filter, field, &in);
	BSON_APPEND_DATE_TIME(&in, "$lt", before);
	bson_append_document_end(filter, &in);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "outbox.0", &in);
	BSON_APPEND_BOOL(&in, "$exists", false);
	bson_append_document_end(filter, &in);
	return store_remove(cx, kind, filter);
}
