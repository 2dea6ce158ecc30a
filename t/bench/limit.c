/* limit.c: what a service could reach at best.
 * SPDX-License-Identifier: MIT
 *
 * A pool of threads around libfcgi, as large as a service's, that answers
 * constants: DIR/NAME for a path that ends in NAME.  With /bare/ before that,
 * it does nothing else: the framework's limit.  Otherwise it first asks the
 * database what the service of the same name asks, by the driver alone: the
 * store's limit.
 *
 *	/driver/ID/show	    one listing, by its id
 *	/driver/list	    the 20 newest, and whether there are more
 *	/driver/create	    a listing with its event, which it then takes out
 *			    of the outbox, as the relay does
 *	/driver/STUFF/buy   an order, likewise
 *	/driver/STUFF/reads/buy  and it reads what orders looks at before that:
 *			    the copy of the listing
 *
 * It reads each answer to its end but makes nothing of it.  It reads no body,
 * no cookie, no token, checks nothing, looks nothing up before it writes, logs
 * nothing and publishes nothing.
 *
 *	MONGO_URI=mongodb://… limit SOCKET THREADS DIR
 */
#include <dirent.h>
#include <fcgiapp.h>
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "docs.h"

static struct body {
	char name[32], *bytes;
	int len;
} bodies[16];
static size_t count;

static mongoc_client_pool_t *pool;
static int listener;

static void
read_bodies(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir != NULL && count < 16 && (e = readdir(dir)) != NULL) {
		char path[512];
		struct body *b = &bodies[count];
		FILE *f;

		if (*e->d_name == '.' || strlen(e->d_name) >= sizeof(b->name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		memcpy(b->name, e->d_name, strlen(e->d_name) + 1);
		b->bytes = malloc(1 << 20);
		b->len = (int)fread(b->bytes, 1, 1 << 20, f);
		fclose(f);
		count++;
	}
	closedir(dir);
}

static const struct body *
find_body(const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(bodies[i].name, name) == 0)
			return &bodies[i];
	return NULL;
}

static bool
show(mongoc_collection_t *c, const bson_oid_t *id)
{
	bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
	mongoc_cursor_t *cursor;
	const bson_t *doc;
	bool ok;

	BSON_APPEND_OID(&filter, "_id", id);
	BSON_APPEND_INT64(&opts, "limit", 1);
	cursor = mongoc_collection_find_with_opts(c, &filter, &opts, NULL);
	ok = mongoc_cursor_next(cursor, &doc);
	mongoc_cursor_destroy(cursor);
	bson_destroy(&filter);
	bson_destroy(&opts);
	return ok;
}

/* What orders looks at: whether it is there or not. */
static void
look(mongoc_client_t *client, const bson_oid_t *id)
{
	mongoc_collection_t *c =
		mongoc_client_get_collection(client, "orders", "stuff");

	show(c, id);
	mongoc_collection_destroy(c);
}

static bool
list(mongoc_collection_t *c)
{
	bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER, inner, in;
	mongoc_cursor_t *cursor;
	const bson_t *doc;
	int n = 0;

	BSON_APPEND_DOCUMENT_BEGIN(&filter, "status", &inner);
	BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &in);
	BSON_APPEND_UTF8(&in, "0", "available");
	BSON_APPEND_UTF8(&in, "1", "reserved");
	bson_append_array_end(&inner, &in);
	bson_append_document_end(&filter, &inner);
	BSON_APPEND_DOCUMENT_BEGIN(&filter, "hidden", &inner);
	BSON_APPEND_BOOL(&inner, "$exists", false);
	bson_append_document_end(&filter, &inner);
	BSON_APPEND_INT64(&opts, "limit", 21);
	BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &inner);
	BSON_APPEND_INT32(&inner, "_id", -1);
	bson_append_document_end(&opts, &inner);
	cursor = mongoc_collection_find_with_opts(c, &filter, &opts, NULL);
	while (mongoc_cursor_next(cursor, &doc))
		n++;
	mongoc_cursor_destroy(cursor);
	bson_destroy(&filter);
	bson_destroy(&opts);
	return n > 0;
}

/* Inserts what doc is, and takes its event out of the outbox. */
static bool
write_and_send(mongoc_collection_t *c, const bson_t *doc, const bson_oid_t *id)
{
	bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
	bool ok;

	BSON_APPEND_OID(&filter, "_id", id);
	doc_sent(&update, id);
	ok = mongoc_collection_insert_one(c, doc, NULL, NULL, NULL) &&
	     mongoc_collection_update_one(c, &filter, &update, NULL, NULL,
					  NULL);
	bson_destroy(&filter);
	bson_destroy(&update);
	return ok;
}

/* Does to the database what the part of the path asks for. */
static bool
ask(mongoc_client_t *client, const char *name, const char *part)
{
	bool order = strcmp(name, "buy") == 0;
	bool reads = strstr(part, "/reads/") != NULL;
	mongoc_collection_t *c = mongoc_client_get_collection(
		client, order ? "orders" : "stuff", order ? "orders" : "stuff");
	bson_t doc = BSON_INITIALIZER;
	bson_oid_t id, stuff;
	char hex[25] = "";
	bool ok = true;

	if (strlen(part) > 24)
		memcpy(hex, part, 24);
	if (strlen(hex) == 24)
		bson_oid_init_from_string(&stuff, hex);
	bson_oid_init(&id, NULL);
	if (strcmp(name, "show") == 0) {
		ok = show(c, &stuff);
	} else if (strcmp(name, "list") == 0) {
		ok = list(c);
	} else if (strcmp(name, "create") == 0) {
		doc_listing(&doc, &id, true);
		ok = write_and_send(c, &doc, &id);
	} else if (order) {
		if (reads)
			look(client, &stuff);
		doc_order(&doc, &id, &stuff, true);
		ok = write_and_send(c, &doc, &id);
	}
	bson_destroy(&doc);
	mongoc_collection_destroy(c);
	return ok;
}

static void
answer(FCGX_Request *r)
{
	const char *path = FCGX_GetParam("SCRIPT_NAME", r->envp);
	const char *name = path ? strrchr(path, '/') : NULL, *part;
	const struct body *body = name ? find_body(name + 1) : NULL;
	mongoc_client_t *client;
	bool ok = body != NULL;

	part = ok ? strstr(path, "/driver/") : NULL;
	if (ok && part != NULL) {
		client = mongoc_client_pool_pop(pool);
		ok = ask(client, body->name, part + strlen("/driver/"));
		mongoc_client_pool_push(pool, client);
	}
	if (!ok) {
		FCGX_PutS("Status: 500\r\n\r\n", r->out);
		return;
	}
	FCGX_FPrintF(r->out,
		     "Status: 200\r\nContent-Type: application/json\r\n"
		     "Content-Length: %d\r\n\r\n",
		     body->len);
	FCGX_PutStr(body->bytes, body->len, r->out);
}

static void *
work(void *arg)
{
	FCGX_Request r;

	(void)arg;
	FCGX_InitRequest(&r, listener, 0);
	while (FCGX_Accept_r(&r) == 0) {
		answer(&r);
		FCGX_Finish_r(&r);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	const char *uri = getenv("MONGO_URI");
	mongoc_uri_t *u;
	pthread_t t;

	if (argc != 4 || uri == NULL) {
		fprintf(stderr,
			"usage: MONGO_URI=URI limit SOCKET THREADS DIR\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	FCGX_Init();
	mongoc_init();
	u = mongoc_uri_new(uri);
	/* What lib/store-mongo.c sets. */
	mongoc_uri_set_option_as_utf8(u, MONGOC_URI_W, "majority");
	mongoc_uri_set_option_as_bool(u, MONGOC_URI_JOURNAL, true);
	pool = mongoc_client_pool_new(u);
	mongoc_uri_destroy(u);
	read_bodies(argv[3]);
	umask(0117);
	listener = FCGX_OpenSocket(argv[1], 1024);
	for (int i = 1; i < atoi(argv[2]); i++)
		if (pthread_create(&t, NULL, work, NULL) != 0)
			return 1;
	work(NULL);
	return 0;
}
