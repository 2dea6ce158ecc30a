/* store-mongo.c: the store's database: its clients, indexes and queries.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "measure.h"
#include "service.h"
#include "store-private.h"

/* A dead database must cost a client less than 3 s, and after the first one
 * to find out, nothing: for BREAK_MS all others are refused at once.  So the
 * driver must not send a read again that got no answer in time. */
#define TIMEOUT_MS 2000
#define BREAK_MS 500
#define SLOW_MS 500 /* a failure that took less says nothing of the others */

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
	store_init_calls(s);
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

bson_t *
store_own(struct context *cx, bson_t *b)
{
	return arena_defer(cx->arena, destroy_bson, b);
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
	/* Those of the store's own queries, the last of what publishes.  _id is
	 * unique by itself; that the first is too lets mongo-java-server use
	 * it. */
	static const struct index own[] = {
		{.keys = {"_id", "rev"}, .unique = true},
		{.keys = {"outbox.id"}, .sparse = true},
	};
	bson_t *command = store_own(cx, bson_new()), indexes;
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
	bson_t *command = store_own(cx, bson_new());
	bson_error_t error;
	mongoc_client_t *c;

	BSON_APPEND_INT32(command, "ping", 1);
	TRY(client(cx, &c));
	if (!mongoc_client_command_simple(c, cx->service->store->database,
					  command, NULL, NULL, &error))
		return store_failed(cx, &error);
	return prepare(cx, c);
}

bson_t *
store_ids_filter(const char *const *ids, size_t count)
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

const struct fail *
store_query(struct context *cx, const char *name, bson_t *filter,
	    const char *sort, int64_t limit, const char *projection,
	    mongoc_cursor_t **ret_cursor)
{
	bson_t *opts = store_own(cx, bson_new()), inner;
	mongoc_collection_t *c;

	store_own(cx, filter);
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

int64_t
store_int_at(const bson_t *doc, const char *name)
{
	bson_iter_t i;

	return bson_iter_init_find(&i, doc, name) ? bson_iter_as_int64(&i) : 0;
}

const char *
store_text_at(struct context *cx, const bson_iter_t *document, const char *name)
{
	bson_iter_t i;

	if (bson_iter_recurse(document, &i) && bson_iter_find(&i, name) &&
	    BSON_ITER_HOLDS_UTF8(&i))
		return arena_strdup(cx->arena, bson_iter_utf8(&i, NULL));
	return "";
}

int64_t
store_count_elements(const bson_iter_t *array)
{
	bson_iter_t element;
	int64_t n = 0;

	if (bson_iter_recurse(array, &element))
		while (bson_iter_next(&element))
			n++;
	return n;
}
