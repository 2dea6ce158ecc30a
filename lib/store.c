/* store.c: see store.h.
 * SPDX-License-Identifier: MIT */
#include "store.h"

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "coalesce.h"
#include "failpoint.h"
#include "measure.h"
#include "outbox.h"
#include "service.h"

/* A dead database must cost a client less than 3 s, and after the first one
 * to find out, nothing: for BREAK_MS all others are refused at once.  So the
 * driver must not send a read again that got no answer in time. */
#define TIMEOUT_MS 2000
#define BREAK_MS 500
#define SLOW_MS 500   /* a failure that took less says nothing of the others */
#define MAX_TRIES 200 /* of a change that others are faster at */
#define AWAIT_STEP 10 /* ms between two looks of store_await() */
#define WAITING_LIMIT 1000 /* records that store_waiting() looks at */
#define HEARD "heard"	   /* {_id: "<family>:<subject>", version} */

const struct fail store_duplicate = {.name = "duplicate"};
const struct fail store_keep = {.name = "keep"};
const struct fail store_early = {.name = "early"};

struct store {
	mongoc_client_pool_t *pool;
	char *database;
	const struct kind *const *kinds;
	pthread_mutex_t preparing;
	atomic_bool prepared;	   /* the indexes are there */
	atomic_llong closed_until; /* on the monotonic clock: the breaker */
	int64_t may_wait;	   /* callers at once in store_await() */
	atomic_int waiting;
	struct coalescer gets, adds;
};

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

static bool same_kind(const struct call *a, const struct call *b);
static void make_gets(struct call *calls);
static void make_adds(struct call *calls);

static void
set_default(mongoc_uri_t *uri, const char *option, int32_t value)
{
	if (!mongoc_uri_has_option(uri, option))
		mongoc_uri_set_option_as_int32(uri, option, value);
}

static void
on_answer(const mongoc_apm_command_succeeded_t *e)
{
	METRIC_TIME(&metric_database_seconds,
		    mongoc_apm_command_succeeded_get_duration(e),
		    mongoc_apm_command_succeeded_get_command_name(e), "ok");
}

static void
on_failure(const mongoc_apm_command_failed_t *e)
{
	METRIC_TIME(&metric_database_seconds,
		    mongoc_apm_command_failed_get_duration(e),
		    mongoc_apm_command_failed_get_command_name(e), "failed");
}

/* The driver itself tells how long each command took. */
static void
measure_commands(mongoc_client_pool_t *pool)
{
	mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();

	mongoc_apm_set_command_succeeded_cb(callbacks, on_answer);
	mongoc_apm_set_command_failed_cb(callbacks, on_failure);
	mongoc_client_pool_set_apm_callbacks(pool, callbacks, NULL);
	mongoc_apm_callbacks_destroy(callbacks);
}

struct store *
store_open(const char *text, const struct kind *const *kinds, int64_t threads,
	   const char **ret_error)
{
	mongoc_uri_t *uri = mongoc_uri_new(text);
	struct store *s;

	if (uri == NULL || mongoc_uri_get_database(uri) == NULL) {
		*ret_error = "MONGO_URI is not mongodb://HOST:PORT/DATABASE";
		mongoc_uri_destroy(uri);
		return NULL;
	}
	set_default(uri, MONGOC_URI_MAXPOOLSIZE, (int32_t)threads * 2 + 16);
	set_default(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, TIMEOUT_MS);
	set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, TIMEOUT_MS);
	set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, TIMEOUT_MS);
	set_default(uri, MONGOC_URI_SOCKETTIMEOUTMS, TIMEOUT_MS);
	if (!mongoc_uri_has_option(uri, MONGOC_URI_RETRYREADS))
		mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS,
					      false);
	if (!mongoc_uri_has_option(uri, MONGOC_URI_W))
		mongoc_uri_set_option_as_utf8(uri, MONGOC_URI_W, "majority");
	if (!mongoc_uri_has_option(uri, MONGOC_URI_JOURNAL))
		mongoc_uri_set_option_as_bool(uri, MONGOC_URI_JOURNAL, true);
	s = calloc(1, sizeof(*s));
	s->pool = mongoc_client_pool_new(uri);
	mongoc_client_pool_set_error_api(s->pool, MONGOC_ERROR_API_VERSION_2);
	measure_commands(s->pool);
	METRIC_SET(&metric_pool_size,
		   mongoc_uri_get_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE,
						  100),
		   "database");
	s->database = strdup(mongoc_uri_get_database(uri));
	s->kinds = kinds;
	s->may_wait = threads < 4 ? 1 : threads / 4;
	pthread_mutex_init(&s->preparing, NULL);
	s->gets = (struct coalescer)COALESCER(same_kind, make_gets);
	s->adds = (struct coalescer)COALESCER(same_kind, make_adds);
	mongoc_uri_destroy(uri);
	return s;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	mongoc_client_pool_destroy(s->pool);
	pthread_mutex_destroy(&s->preparing);
	free(s->database);
	free(s);
}

const struct fail *
store_failed(struct context *cx, const bson_error_t *error)
{
	struct store *s = cx->service->store;
	int64_t now = clock_monotonic();

	if ((error->domain == MONGOC_ERROR_SERVER_SELECTION ||
	     error->domain == MONGOC_ERROR_STREAM) &&
	    now - cx->asked >= SLOW_MS)
		s->closed_until = now + BREAK_MS;
	return fail_database(cx->arena,
			     arena_strdup(cx->arena, error->message));
}

struct lent {
	struct context *cx;
	mongoc_client_pool_t *pool;
};

static void
give_back(void *p)
{
	struct lent *lent = p;

	METRIC_ADD(&metric_pool_busy, -1, "database");
	mongoc_client_pool_push(lent->pool, lent->cx->client);
	lent->cx->client = NULL;
}

/* The context's client, borrowed until its arena is reset. */
static const struct fail *
client(struct context *cx, mongoc_client_t **ret_client)
{
	struct store *s = cx->service->store;
	struct lent *lent;

	cx->asked = clock_monotonic();
	if (cx->asked < s->closed_until)
		return fail_database(cx->arena, "it failed a moment ago");
	if (cx->client == NULL) {
		cx->client = mongoc_client_pool_pop(s->pool);
		if (cx->client == NULL)
			return fail_database(cx->arena, "no client is free");
		METRIC_ADD(&metric_pool_busy, 1, "database");
		lent = arena_alloc(cx->arena, sizeof(*lent));
		*lent = (struct lent){cx, s->pool};
		arena_defer(cx->arena, give_back, lent);
	}
	*ret_client = cx->client;
	return NULL;
}

static void
destroy_bson(void *b)
{
	bson_destroy(b);
}

/* A new document that the arena owns. */
static bson_t *
new_bson(struct context *cx)
{
	return arena_defer(cx->arena, destroy_bson, bson_new());
}

static void
append_index(bson_t *indexes, int n, const struct index *index)
{
	char number[16], name[64] = "";
	bson_t one, keys;

	snprintf(number, sizeof(number), "%d", n);
	BSON_APPEND_DOCUMENT_BEGIN(indexes, number, &one);
	BSON_APPEND_DOCUMENT_BEGIN(&one, "key", &keys);
	for (int i = 0; i < 3 && index->keys[i] != NULL; i++) {
		const char *key = index->keys[i];
		bool down = *key == '-';
		size_t len = strlen(name);

		BSON_APPEND_INT32(&keys, key + down, down ? -1 : 1);
		snprintf(name + len, sizeof(name) - len, "%s%s", len ? "_" : "",
			 key);
	}
	bson_append_document_end(&one, &keys);
	BSON_APPEND_UTF8(&one, "name", name);
	if (index->unique && !(index->sparse && GUARD_OFF("unique-index")))
		BSON_APPEND_BOOL(&one, "unique", true);
	if (index->sparse)
		BSON_APPEND_BOOL(&one, "sparse", true);
	bson_append_document_end(indexes, &one);
}

static const struct fail *
create_indexes(struct context *cx, mongoc_client_t *client,
	       const struct kind *kind)
{
	/* Those of this file's queries, the last of what publishes.  _id is
	 * unique by itself; that the first is too lets mongo-java-server use
	 * it. */
	static const struct index own[] = {
		{.keys = {"_id", "rev"}, .unique = true},
		{.keys = {"outbox.id"}, .sparse = true},
	};
	bson_t *command = new_bson(cx), indexes;
	bson_error_t error;
	int n = 0, mine = kind->bare ? 0 : kind->publishes ? 2 : 1;

	BSON_APPEND_UTF8(command, "createIndexes", kind->collection);
	BSON_APPEND_ARRAY_BEGIN(command, "indexes", &indexes);
	for (int i = 0; i < mine; i++)
		append_index(&indexes, n++, &own[i]);
	for (const struct index *i = kind->indexes; i && i->keys[0]; i++)
		append_index(&indexes, n++, i);
	bson_append_array_end(command, &indexes);
	if (!mongoc_client_write_command_with_opts(client,
						   cx->service->store->database,
						   command, NULL, NULL, &error))
		return store_failed(cx, &error);
	return NULL;
}

/* A unique index is what keeps two buyers apart: nothing is read or written
 * before all indexes are known to be there. */
static const struct fail *
prepare(struct context *cx, mongoc_client_t *client)
{
	struct store *s = cx->service->store;
	const struct fail *fail = NULL;

	if (s->prepared)
		return NULL;
	pthread_mutex_lock(&s->preparing);
	for (int i = 0; !s->prepared && !fail && s->kinds[i] != NULL; i++)
		fail = create_indexes(cx, client, s->kinds[i]);
	if (fail == NULL)
		s->prepared = true;
	pthread_mutex_unlock(&s->preparing);
	return fail;
}

static void
destroy_collection(void *c)
{
	mongoc_collection_destroy(c);
}

const struct fail *
store_collection(struct context *cx, const char *name,
		 mongoc_collection_t **ret_collection)
{
	mongoc_client_t *c;

	TRY(client(cx, &c));
	TRY(prepare(cx, c));
	*ret_collection =
		arena_defer(cx->arena, destroy_collection,
			    mongoc_client_get_collection(
				    c, cx->service->store->database, name));
	return NULL;
}

const struct fail *
store_ping(struct context *cx)
{
	bson_t *command = new_bson(cx);
	bson_error_t error;
	mongoc_client_t *c;

	BSON_APPEND_INT32(command, "ping", 1);
	TRY(client(cx, &c));
	if (!mongoc_client_command_simple(c, cx->service->store->database,
					  command, NULL, NULL, &error))
		return store_failed(cx, &error);
	return prepare(cx, c);
}

/* A filter of one or many ids; its taker destroys it. */
static bson_t *
ids_filter(const char *const *ids, size_t count)
{
	bson_t *filter = bson_new(), which, in;
	char number[24];
	bson_oid_t oid;

	if (count == 1) {
		bson_oid_init_from_string(&oid, ids[0]);
		BSON_APPEND_OID(filter, "_id", &oid);
		return filter;
	}
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &which);
	BSON_APPEND_ARRAY_BEGIN(&which, "$in", &in);
	for (size_t i = 0; i < count; i++) {
		snprintf(number, sizeof(number), "%zu", i);
		bson_oid_init_from_string(&oid, ids[i]);
		BSON_APPEND_OID(&in, number, &oid);
	}
	bson_append_array_end(&which, &in);
	bson_append_document_end(filter, &which);
	return filter;
}

/* The same, which the arena owns; a document may begin like it. */
static bson_t *
by_id(struct context *cx, const char *id)
{
	return arena_defer(cx->arena, destroy_bson, ids_filter(&id, 1));
}

static void
destroy_cursor(void *c)
{
	mongoc_cursor_destroy(c);
}

static void
append_sort(struct context *cx, bson_t *keys, const char *sort)
{
	for (const char *p = sort; *p != '\0';) {
		bool down = *p == '-';
		size_t len = strcspn(p += down, ",");

		BSON_APPEND_INT32(keys, arena_strndup(cx->arena, p, len),
				  down ? -1 : 1);
		p += len + (p[len] == ',');
	}
}

/* Starts a query; it takes filter and projection (NULL: all). */
static const struct fail *
find(struct context *cx, const char *name, bson_t *filter, const char *sort,
     int64_t limit, const char *projection, mongoc_cursor_t **ret_cursor)
{
	bson_t *opts = new_bson(cx), inner;
	mongoc_collection_t *c;

	arena_defer(cx->arena, destroy_bson, filter);
	TRY(store_collection(cx, name, &c));
	BSON_APPEND_INT64(opts, "limit", limit);
	if (sort != NULL) {
		BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &inner);
		append_sort(cx, &inner, sort);
		bson_append_document_end(opts, &inner);
	}
	if (projection != NULL) {
		BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &inner);
		BSON_APPEND_INT32(&inner, projection, 1);
		bson_append_document_end(opts, &inner);
	}
	*ret_cursor = arena_defer(cx->arena, destroy_cursor,
				  mongoc_collection_find_with_opts(c, filter,
								   opts, NULL));
	return NULL;
}

static int64_t
int_at(const bson_t *doc, const char *name)
{
	bson_iter_t i;

	return bson_iter_init_find(&i, doc, name) ? bson_iter_as_int64(&i) : 0;
}

/* How many elements an outbox has. */
static int64_t
count_elements(const bson_iter_t *outbox)
{
	bson_iter_t element;
	int64_t n = 0;

	if (bson_iter_recurse(outbox, &element))
		while (bson_iter_next(&element))
			n++;
	return n;
}

static int64_t
count_unsent(const bson_t *doc)
{
	bson_iter_t i;

	return bson_iter_init_find(&i, doc, "outbox") ? count_elements(&i) : 0;
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
		head->unsent = count_elements(at);
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

	TRY(find(cx, kind->collection, filter, sort, limit, NULL, &cursor));
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
	bson_t *command = new_bson(cx), reply;
	bson_error_t error;
	mongoc_client_t *c;
	bool ok;

	arena_defer(cx->arena, destroy_bson, filter);
	TRY(client(cx, &c));
	TRY(prepare(cx, c));
	BSON_APPEND_UTF8(command, "count", kind->collection);
	BSON_APPEND_DOCUMENT(command, "query", filter);
	ok = mongoc_client_read_command_with_opts(c,
						  cx->service->store->database,
						  command, NULL, NULL, &reply,
						  &error);
	*ret_count = ok ? int_at(&reply, "n") : 0;
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
	TRY(find(cx, all->kind->collection, ids_filter(ids, n), NULL,
		 (int64_t)n, NULL, &cursor));
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
	return store_find(cx, kind, ids_filter(ids, count), NULL,
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

static const char *
text_at(struct context *cx, const bson_iter_t *document, const char *name)
{
	bson_iter_t i;

	if (bson_iter_recurse(document, &i) && bson_iter_find(&i, name) &&
	    BSON_ITER_HOLDS_UTF8(&i))
		return arena_strdup(cx->arena, bson_iter_utf8(&i, NULL));
	return "";
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
						  text_at(a->cx, &errors,
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
	bson_t *opts = new_bson(cx), reply;
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
	bson_t *filter = by_id(cx, head->id), *update = new_bson(cx);
	bson_t *unset = new_bson(cx), set, push;
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
	*ret_saved = ok && int_at(&reply, "matchedCount") == 1;
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

	arena_defer(cx->arena, destroy_bson, filter);
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
	TRY(find(cx, HEARD, line_filter(cx, event), NULL, 1, NULL, &cursor));
	if (mongoc_cursor_next(cursor, &doc))
		heard = int_at(doc, "version");
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

	arena_defer(cx->arena, destroy_bson, filter);
	TRY(store_collection(cx, HEARD, &c));
	update = new_bson(cx);
	BSON_APPEND_DOCUMENT_BEGIN(update, "$max", &max);
	BSON_APPEND_INT64(&max, "version", event->version);
	bson_append_document_end(update, &max);
	opts = new_bson(cx);
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
	TRY(find(cx, kind->collection, unsent_filter(), NULL, WAITING_LIMIT,
		 "outbox", &cursor));
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
			unsent[n++] =
				(struct unsent){text_at(cx, &e, "id"),
						text_at(cx, &e, "channel"),
						text_at(cx, &e, "body"),
						{text_at(cx, &e, "span"),
						 text_at(cx, &e, "below")}};
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
	TRY(find(cx, kind->collection,
		 ids ? ids_filter(ids, count) : unsent_filter(), NULL,
		 (int64_t)count, "outbox", &cursor));
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
	bson_t *update = new_bson(cx), pull, outbox, which, in;
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
	filter = arena_defer(cx->arena, destroy_bson, ids_filter(ids, count));
	if (!mongoc_collection_update_many(c, filter,
					   pull_update(cx, sent, count), NULL,
					   NULL, &error))
		return store_failed(cx, &error);
	return NULL;
}
