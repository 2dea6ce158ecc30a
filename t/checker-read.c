/* checker-read.c: see checker.h.
 * SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <hiredis/hiredis.h>
#include <mongoc/mongoc.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checker.h"
#include "clock.h"

#define PAGE 2000 /* documents in one query */

void *
grown(void *at, size_t count, size_t size)
{
	if ((count & (count - 1)) != 0)
		return at;
	return realloc(at, (count > 0 ? 2 * count : 1) * size);
}

static struct arena *errors; /* what is said of a failure */

static const char *
error_text(const char *what, const char *why)
{
	return arena_printf(errors, "%s: %s", what, why);
}

/* --- the databases --- */

static mongoc_client_t *mongo;

static const struct field row_fields[] = {
	FIELD(struct row, version, "version", FIELD_INT),
	FIELD(struct row, rev, "rev", FIELD_INT),
	FIELD(struct row, title, "title", FIELD_TEXT),
	FIELD(struct row, status, "status", FIELD_TEXT),
	FIELD(struct row, intent, "intent", FIELD_TEXT),
	FIELD(struct row, user_id, "userId", FIELD_ID),
	FIELD(struct row, order_id, "orderId", FIELD_ID),
	FIELD(struct row, slot, "slot", FIELD_ID),
	FIELD(struct row, price, "price", FIELD_INT),
	FIELD(struct row, amount, "amount", FIELD_INT),
	FIELD(struct row, expires_at, "expiresAt", FIELD_TIME),
	FIELD(struct row, coupon_id, "couponId", FIELD_ID),
	FIELD(struct row, percent_off, "percentOff", FIELD_INT),
	FIELD(struct row, redemptions, "redemptions", FIELD_INT),
	FIELD(struct row, max_redemptions, "maxRedemptions", FIELD_INT),
	FIELD(struct row, refunded, "refunded", FIELD_INT),
	FIELD(struct row, pending, "pending", FIELD_TEXT),
	{0},
};

struct ordered {
	char id[ID_SIZE];
	const char *title;
	int64_t price;
};

static const struct field ordered_fields[] = {
	FIELD(struct ordered, id, "id", FIELD_ID),
	FIELD(struct ordered, title, "title", FIELD_TEXT),
	FIELD(struct ordered, price, "price", FIELD_INT),
	{0},
};

static void
load_row(struct arena *a, const bson_t *doc, struct row *row)
{
	bson_iter_t i, element;
	const uint8_t *bytes;
	uint32_t len;
	bson_t inner;

	memset(row, 0, sizeof(*row));
	record_from_bson(a, row_fields, doc, row, NULL);
	if (bson_iter_init_find(&i, doc, "_id")) {
		if (BSON_ITER_HOLDS_OID(&i))
			bson_oid_to_string(bson_iter_oid(&i), row->id);
		else if (BSON_ITER_HOLDS_UTF8(&i))
			snprintf(row->id, sizeof(row->id), "%s",
				 bson_iter_utf8(&i, NULL));
	}
	if (bson_iter_init_find(&i, doc, "outbox") &&
	    bson_iter_recurse(&i, &element))
		while (bson_iter_next(&element))
			row->unsent++;
	if (bson_iter_init(&i, doc) &&
	    bson_iter_find_descendant(&i, "file.sha256", &element) &&
	    BSON_ITER_HOLDS_UTF8(&element))
		row->sha256 = arena_strdup(a, bson_iter_utf8(&element, NULL));
	if (bson_iter_init_find(&i, doc, "stuff") &&
	    BSON_ITER_HOLDS_DOCUMENT(&i)) {
		struct ordered o = {0};

		bson_iter_document(&i, &len, &bytes);
		if (bson_init_static(&inner, bytes, len))
			record_from_bson(a, ordered_fields, &inner, &o, NULL);
		memcpy(row->stuff_id, o.id, ID_SIZE);
		row->title = o.title;
		row->price = o.price;
	}
}

static int
by_row_id(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->id, y->id);
}

/* Adds the page behind the last row.  Some servers send all that is found in
 * one message, whatever its size: hence pages. */
static const char *
read_page(struct arena *a, mongoc_collection_t *c, struct rows *rows,
	  bson_value_t *last, bool *ret_more)
{
	bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, inner;
	mongoc_cursor_t *cursor;
	bson_error_t error;
	const bson_t *doc;
	bson_iter_t i;
	const char *fail = NULL;
	size_t n = 0;

	if (rows->count > 0) {
		BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &inner);
		BSON_APPEND_VALUE(&inner, "$gt", last);
		bson_append_document_end(&filter, &inner);
	}
	BSON_APPEND_INT64(&opts, "limit", PAGE);
	BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &inner);
	BSON_APPEND_INT32(&inner, "_id", 1);
	bson_append_document_end(&opts, &inner);
	cursor = mongoc_collection_find_with_opts(c, &filter, &opts, NULL);
	for (; mongoc_cursor_next(cursor, &doc); n++) {
		rows->at = grown(rows->at, rows->count, sizeof(*rows->at));
		load_row(a, doc, &rows->at[rows->count++]);
		if (bson_iter_init_find(&i, doc, "_id")) {
			if (last->value_type != 0)
				bson_value_destroy(last);
			bson_value_copy(bson_iter_value(&i), last);
		}
	}
	if (mongoc_cursor_error(cursor, &error))
		fail = error_text(mongoc_collection_get_name(c), error.message);
	mongoc_cursor_destroy(cursor);
	bson_destroy(&filter);
	bson_destroy(&opts);
	*ret_more = n == PAGE;
	return fail;
}

static const char *
read_collection(struct arena *a, const char *database, const char *name,
		struct rows *rows)
{
	mongoc_collection_t *c =
		mongoc_client_get_collection(mongo, database, name);
	bson_value_t last = {0};
	const char *fail = NULL;
	bool more = true;

	while (more && fail == NULL)
		fail = read_page(a, c, rows, &last, &more);
	if (last.value_type != 0)
		bson_value_destroy(&last);
	mongoc_collection_destroy(c);
	if (rows->count > 0)
		qsort(rows->at, rows->count, sizeof(*rows->at), by_row_id);
	return fail;
}

static const struct {
	const char *database, *collection;
	size_t offset;
} collections[] = {
	{"auth", "users", offsetof(struct snapshot, users)},
	{"stuff", "stuff", offsetof(struct snapshot, stuff)},
	{"stuff", "heard", offsetof(struct snapshot, stuff_heard)},
	{"orders", "orders", offsetof(struct snapshot, orders)},
	{"orders", "stuff", offsetof(struct snapshot, orders_stuff)},
	{"orders", "heard", offsetof(struct snapshot, orders_heard)},
	{"payments", "payments", offsetof(struct snapshot, payments)},
	{"payments", "coupons", offsetof(struct snapshot, coupons)},
	{"payments", "orders", offsetof(struct snapshot, payments_orders)},
	{"payments", "heard", offsetof(struct snapshot, payments_heard)},
};
#define COLLECTIONS (sizeof(collections) / sizeof(collections[0]))

static struct rows *
rows_of(const struct snapshot *s, size_t i)
{
	return (struct rows *)(uintptr_t)((const char *)s +
					  collections[i].offset);
}

const char *
read_databases(struct snapshot *ret)
{
	const char *fail = NULL;

	*ret = (struct snapshot){.arena = arena_new()};
	for (size_t i = 0; fail == NULL && i < COLLECTIONS; i++)
		fail = read_collection(ret->arena, collections[i].database,
				       collections[i].collection,
				       rows_of(ret, i));
	return fail;
}

void
snapshot_free(struct snapshot *s)
{
	for (size_t i = 0; i < COLLECTIONS; i++)
		free(rows_of(s, i)->at);
	arena_free(s->arena);
	*s = (struct snapshot){0};
}

bool
snapshot_same(const struct snapshot *a, const struct snapshot *b)
{
	for (size_t i = 0; i < COLLECTIONS; i++) {
		const struct rows *x = rows_of(a, i), *y = rows_of(b, i);

		if (x->count != y->count)
			return false;
		for (size_t j = 0; j < x->count; j++)
			if (strcmp(x->at[j].id, y->at[j].id) != 0 ||
			    x->at[j].rev != y->at[j].rev ||
			    x->at[j].version != y->at[j].version ||
			    x->at[j].unsent != y->at[j].unsent)
				return false;
	}
	return true;
}

const struct row *
rows_find(const struct rows *rows, const char *id)
{
	struct row key;

	if (rows->count == 0)
		return NULL;
	snprintf(key.id, sizeof(key.id), "%s", id);
	return bsearch(&key, rows->at, rows->count, sizeof(*rows->at),
		       by_row_id);
}

void *
read_mongo(void)
{
	return mongo;
}

static const char *
open_mongo(const char *text)
{
	mongoc_uri_t *uri;

	mongoc_init();
	uri = mongoc_uri_new(text);
	if (uri == NULL)
		return "MONGO_URI is bad";
	mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
				       5000);
	mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, 10000);
	mongo = mongoc_client_new_from_uri(uri);
	mongoc_client_set_error_api(mongo, MONGOC_ERROR_API_VERSION_2);
	mongoc_uri_destroy(uri);
	return NULL;
}

/* --- the bus --- */

#define BUS_STARTS 10000 /* ms that it may take */

static struct {
	stanConnection *conn;
	stanSubscription *subs[EVENT__MAX + 1];

	pthread_mutex_t lock; /* guards all that follows */
	struct arena *arena;
	struct published *at;
	size_t count;
	const char **bad;
	size_t bad_count;
	int64_t heard_at; /* monotonic */
} bus = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
note_bad(const char *channel, const char *text)
{
	bus.bad = grown(bus.bad, bus.bad_count, sizeof(*bus.bad));
	bus.bad[bus.bad_count++] =
		arena_printf(bus.arena, "%s: %s", channel, text);
}

static void
note_event(const char *channel, const char *bytes, size_t len)
{
	struct published p = {0};
	json_object *o;

	if (strcmp(channel, EVENT_DEAD_LETTER) == 0 ||
	    event_read(bus.arena, channel, bytes, len, &p.event) != NULL) {
		note_bad(channel, arena_strndup(bus.arena, bytes, len));
		return;
	}
	o = json_read(bus.arena, bytes, len);
	p.channel = arena_strdup(bus.arena, channel);
	p.data = json_write(json_member(o, "data", json_type_object), NULL);
	bus.at = grown(bus.at, bus.count, sizeof(*bus.at));
	bus.at[bus.count++] = p;
}

static void
on_message(stanConnection *conn, stanSubscription *sub, const char *channel,
	   stanMsg *msg, void *closure)
{
	(void)conn;
	(void)sub;
	(void)closure;
	pthread_mutex_lock(&bus.lock);
	note_event(channel, stanMsg_GetData(msg),
		   (size_t)stanMsg_GetDataLength(msg));
	bus.heard_at = clock_monotonic();
	pthread_mutex_unlock(&bus.lock);
	stanMsg_Destroy(msg);
}

static natsStatus
subscribe_all(void)
{
	stanSubOptions *o = NULL;
	natsStatus s = stanSubOptions_Create(&o);

	if (s == NATS_OK)
		s = stanSubOptions_DeliverAllAvailable(o);
	for (int t = EVENT_NONE; s == NATS_OK && t < EVENT__MAX; t++)
		s = stanConnection_Subscribe(
			&bus.subs[t], bus.conn,
			t == EVENT_NONE ? EVENT_DEAD_LETTER
					: event_channel((enum event_type)t),
			on_message, NULL, o);
	stanSubOptions_Destroy(o);
	return s;
}

static const char *
open_bus(const char *url, const char *cluster)
{
	natsOptions *nats = NULL;
	stanConnOptions *stan = NULL;
	char client[40];
	natsStatus s = natsOptions_Create(&nats);

	bus.arena = arena_new();
	bus.heard_at = clock_monotonic();
	snprintf(client, sizeof(client), "checker-%d", (int)getpid());
	if (s == NATS_OK)
		s = natsOptions_SetURL(nats, url);
	if (s == NATS_OK)
		s = stanConnOptions_Create(&stan);
	if (s == NATS_OK)
		s = stanConnOptions_SetNATSOptions(stan, nats);
	if (s == NATS_OK)
		s = stanConnection_Connect(&bus.conn, cluster, client, stan);
	/* A bus that has just started answers for a moment without it. */
	while (s == NATS_NO_RESPONDERS &&
	       clock_monotonic() < bus.heard_at + BUS_STARTS) {
		clock_sleep(50);
		s = stanConnection_Connect(&bus.conn, cluster, client, stan);
	}
	stanConnOptions_Destroy(stan);
	natsOptions_Destroy(nats);
	if (s == NATS_OK)
		s = subscribe_all();
	return s == NATS_OK ? NULL
			    : error_text("the bus", natsStatus_GetText(s));
}

static int
by_version(const void *a, const void *b)
{
	const struct published *x = a, *y = b;
	int order = strcmp(x->event.family, y->event.family);

	if (order == 0)
		order = strcmp(x->event.subject, y->event.subject);
	if (order == 0)
		order = (x->event.version > y->event.version) -
			(x->event.version < y->event.version);
	return order;
}

const struct published *
bus_freeze(size_t *ret_count)
{
	size_t n = 0;

	pthread_mutex_lock(&bus.lock);
	if (bus.count > 0)
		qsort(bus.at, bus.count, sizeof(*bus.at), by_version);
	for (size_t i = 0; i < bus.count; i++) {
		struct published *last = n > 0 ? &bus.at[n - 1] : NULL;
		const struct published *p = &bus.at[i];

		if (last == NULL || by_version(last, p) != 0)
			bus.at[n++] = *p;
		else if (p->contradicted ||
			 strcmp(last->channel, p->channel) != 0 ||
			 strcmp(last->data, p->data) != 0)
			last->contradicted = true;
	}
	bus.count = n;
	*ret_count = n;
	return bus.at;
}

void
bus_thaw(void)
{
	pthread_mutex_unlock(&bus.lock);
}

int64_t
bus_quiet(void)
{
	int64_t ms;

	pthread_mutex_lock(&bus.lock);
	ms = clock_monotonic() - bus.heard_at;
	pthread_mutex_unlock(&bus.lock);
	return ms;
}

size_t
bus_bad(const char *const **ret_texts)
{
	*ret_texts = bus.bad;
	return bus.bad_count;
}

/* --- the gateway --- */

static CURL *curl;
static const char *gateway, *gateway_key;

struct body {
	char *bytes;
	size_t len;
};

static size_t
add_body(char *bytes, size_t one, size_t n, void *closure)
{
	struct body *b = closure;

	(void)one;
	b->bytes = realloc(b->bytes, b->len + n + 1);
	memcpy(b->bytes + b->len, bytes, n);
	b->len += n;
	b->bytes[b->len] = '\0';
	return n;
}

static void
put_json(void *o)
{
	json_object_put(o);
}

/* What GET path answers; NULL when that is no JSON, with its status. */
static json_object *
get(struct arena *a, const char *path, long *ret_status)
{
	struct body body = {0};
	json_object *o = NULL;
	char url[1024];

	*ret_status = 0;
	snprintf(url, sizeof(url), "%s%s", gateway, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, add_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	if (gateway_key != NULL)
		curl_easy_setopt(curl, CURLOPT_USERPWD,
				 arena_printf(a, "%s:", gateway_key));
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	/* The books are deeper than json.h lets requests be. */
	if (body.bytes != NULL)
		o = json_tokener_parse(body.bytes);
	free(body.bytes);
	return o ? arena_defer(a, put_json, o) : NULL;
}

static int64_t
int_of(json_object *o, const char *name)
{
	json_object *v = json_member(o, name, json_type_int);

	return v ? json_object_get_int64(v) : 0;
}

static bool
is_status(json_object *o, const char *status)
{
	const char *s = json_text(o, "status");

	return s != NULL && strcmp(s, status) == 0;
}

static struct charge *
add_charge(struct charges *c, json_object *intent)
{
	json_object *facts = json_member(intent, "metadata", json_type_object);
	const char *order_id = facts ? json_text(facts, "order_id") : NULL;

	c->at = grown(c->at, c->count, sizeof(*c->at));
	c->at[c->count] = (struct charge){
		.id = json_text(intent, "id"),
		.order_id = order_id ? order_id : "",
		.amount = int_of(intent, "amount"),
		.held = is_status(intent, "requires_capture"),
	};
	return &c->at[c->count++];
}

/* The books of t/gateway.py tell what happened and not just how it ended. */
static void
read_books(json_object *intents, struct charges *ret)
{
	for (size_t i = 0; i < json_object_array_length(intents); i++) {
		json_object *intent = json_object_array_get_idx(intents, i);
		json_object *steps =
			json_member(intent, "history", json_type_array);
		struct charge *c = add_charge(ret, intent);

		c->captured = int_of(intent, "captured");
		c->refunded = int_of(intent, "refunded");
		for (size_t j = 0; steps && j < json_object_array_length(steps);
		     j++) {
			json_object *step = json_object_array_get_idx(steps, j);
			const char *event = json_text(step, "event");

			c->times += event && strcmp(event, "authorise") == 0;
		}
	}
}

/* All pages of a list. */
static json_object *
get_list(struct arena *a, const char *path)
{
	json_object *all = json_new_array(a), *page, *data, *more;
	const char *last = NULL;
	size_t n;
	long status;

	do {
		page = get(a,
			   last ? arena_printf(a,
					       "%s?limit=100&"
					       "starting_after=%s",
					       path, last)
				: arena_printf(a, "%s?limit=100", path),
			   &status);
		data = json_member(page, "data", json_type_array);
		if (status != 200 || data == NULL)
			return NULL;
		n = json_object_array_length(data);
		for (size_t i = 0; i < n; i++)
			json_object_array_add(
				all, json_object_get(json_object_array_get_idx(
					     data, i)));
		if (n > 0)
			last = json_text(json_object_array_get_idx(data, n - 1),
					 "id");
		more = json_member(page, "has_more", json_type_boolean);
	} while (n > 0 && more != NULL && json_object_get_boolean(more));
	return all;
}

static const char *
read_lists(struct arena *a, struct charges *ret)
{
	json_object *intents = get_list(a, "/v1/payment_intents");
	json_object *charges = get_list(a, "/v1/charges");

	if (intents == NULL || charges == NULL)
		return "the gateway has neither books nor lists";
	for (size_t i = 0; i < json_object_array_length(intents); i++) {
		json_object *intent = json_object_array_get_idx(intents, i);
		struct charge *c = add_charge(ret, intent);

		if (is_status(intent, "succeeded"))
			c->captured = c->amount;
		c->times = c->held || c->captured > 0;
		for (size_t j = 0; j < json_object_array_length(charges); j++) {
			json_object *o = json_object_array_get_idx(charges, j);
			const char *of = json_text(o, "payment_intent");

			if (of != NULL && strcmp(of, c->id) == 0 &&
			    c->captured > 0)
				c->refunded += int_of(o, "amount_refunded");
		}
	}
	return NULL;
}

static int
by_order(const void *a, const void *b)
{
	const struct charge *x = a, *y = b;

	return strcmp(x->order_id, y->order_id);
}

static void
free_charges(void *at)
{
	free(at);
}

const char *
read_gateway(struct arena *a, struct charges *ret)
{
	const char *fail = NULL;
	json_object *books, *intents;
	long status;

	*ret = (struct charges){0};
	books = get(a, "/_books", &status);
	intents = json_member(books, "intents", json_type_array);
	if (status == 0)
		return "the gateway does not answer";
	if (intents != NULL)
		read_books(intents, ret);
	else
		fail = read_lists(a, ret);
	if (ret->count > 0)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_order);
	arena_defer(a, free_charges, ret->at);
	return fail;
}

/* --- Redis --- */

static const char *
read_timers(struct arena *a, redisContext *redis, const char *key,
	    struct timers *ret)
{
	redisReply *r = redisCommand(redis, "ZRANGE %s 0 -1 WITHSCORES", key);

	if (r == NULL || r->type != REDIS_REPLY_ARRAY) {
		const char *why = r ? "it refuses" : redis->errstr;

		freeReplyObject(r);
		return error_text("Redis", why);
	}
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
		ret->at = grown(ret->at, ret->count, sizeof(*ret->at));
		ret->at[ret->count++] = (struct timer){
			.order_id = arena_strdup(a, r->element[i]->str),
			.due = (int64_t)strtod(r->element[i + 1]->str, NULL)};
	}
	freeReplyObject(r);
	return NULL;
}

const char *
read_redis(struct arena *a, struct timers *ret)
{
	const char *url = getenv("REDIS_URL"), *fail = NULL;
	const struct timeval limit = {.tv_sec = 5};
	char host[256];
	int port;
	redisContext *redis;

	*ret = (struct timers){0};
	if (url == NULL)
		return NULL;
	if (sscanf(url, "redis://%255[^:/]:%d", host, &port) != 2)
		return "REDIS_URL is bad";
	redis = redisConnectWithTimeout(host, port, limit);
	if (redis == NULL || redis->err != 0)
		fail = error_text("Redis", redis ? redis->errstr : "no memory");
	else
		redisSetTimeout(redis, limit);
	if (fail == NULL)
		fail = read_timers(a, redis, "{expiration}:due", ret);
	if (fail == NULL)
		fail = read_timers(a, redis, "{expiration}:claimed", ret);
	if (redis != NULL)
		redisFree(redis);
	arena_defer(a, free, ret->at);
	return fail;
}

/* --- all --- */

const char *
read_open(void)
{
	const char *mongo_uri = getenv("MONGO_URI");
	const char *url = getenv("NATS_URL"), *fail;
	const char *cluster = getenv("NATS_CLUSTER_ID");

	errors = arena_new();
	gateway = getenv("STRIPE_API_BASE");
	gateway_key = getenv("STRIPE_KEY");
	if (mongo_uri == NULL || url == NULL || cluster == NULL ||
	    gateway == NULL)
		return "MONGO_URI, NATS_URL, NATS_CLUSTER_ID and "
		       "STRIPE_API_BASE say what to read";
	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = curl_easy_init();
	fail = open_mongo(mongo_uri);
	return fail ? fail : open_bus(url, cluster);
}

void
read_close(void)
{
	for (int t = EVENT_NONE; t < EVENT__MAX; t++) {
		if (bus.subs[t] != NULL)
			stanSubscription_Close(bus.subs[t]);
		stanSubscription_Destroy(bus.subs[t]);
	}
	stanConnection_Destroy(bus.conn);
	nats_CloseAndWait(2000);
	free(bus.at);
	free(bus.bad);
	arena_free(bus.arena);
	if (mongo != NULL)
		mongoc_client_destroy(mongo);
	mongoc_cleanup();
	curl_easy_cleanup(curl);
	curl_global_cleanup();
	arena_free(errors);
}
