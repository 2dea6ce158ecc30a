/* flow.c: see flow.h.
 * SPDX-License-Identifier: MIT */
#include "flow.h"

#include <curl/curl.h>
#include <mongoc/mongoc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "token.h"

#define RETRY_PACE 20 /* ms before a trader who was refused tries again */
#define INSIST 10000  /* ms that one asks again when told to */
#define TRADERS 4
#define TRADE_PACE 50	/* ms between two: the checker reads all of them */
#define SETTLE_WAIT 120 /* s: what was lost on the way comes again after 30 */

extern const bool failpoint_enabled; /* lib/failpoint.c's */

void
need_failpoints(void)
{
	if (!failpoint_enabled)
		tap_skip_all("needs a build with --enable-failpoints");
}

int
rounds(int n)
{
	const char *percent = getenv("T_ROUNDS");

	n = (int)(n * (percent ? strtol(percent, NULL, 10) : 100) / 100);
	return n > 0 ? n : 1;
}

char *
text(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	return s;
}

/* --- threads --- */

struct one {
	pthread_t thread;
	pthread_barrier_t *start;
	void (*fn)(int i, void *arg);
	int i;
	void *arg;
};

static void *
run_one(void *arg)
{
	struct one *o = arg;

	pthread_barrier_wait(o->start);
	o->fn(o->i, o->arg);
	return NULL;
}

void
together(int n, void (*fn)(int i, void *arg), void *arg)
{
	struct one *all = calloc((size_t)n, sizeof(*all));
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, (unsigned)n);
	for (int i = 0; i < n; i++) {
		all[i] = (struct one){
			.start = &start, .fn = fn, .i = i, .arg = arg};
		if (pthread_create(&all[i].thread, NULL, run_one, &all[i]) != 0)
			abort();
	}
	for (int i = 0; i < n; i++)
		pthread_join(all[i].thread, NULL);
	pthread_barrier_destroy(&start);
	free(all);
}

/* --- steps --- */

const struct answer *
pay(struct student *s, const char *order_id, const char *token)
{
	return token ? askf(s, "POST", "/api/payments",
			    "{\"orderId\":\"%s\",\"token\":\"%s\"}", order_id,
			    token)
		     : askf(s, "POST", "/api/payments", "{\"orderId\":\"%s\"}",
			    order_id);
}

void
buyer_make(struct buyer *b)
{
	static bool ready;
	struct arena *a = arena_new();
	struct user user = {.role = "user"};

	if (!ready)
		token_init(stack("JWT_KEY"), "");
	ready = true;
	id_new(user.id);
	user.email = arena_printf(a, "%s@example.edu", user.id);
	memcpy(b->id, user.id, ID_SIZE);
	snprintf(b->token, sizeof(b->token), "%s", token_make(a, &user));
	arena_free(a);
}

const struct answer *
buyer_uploads(const struct buyer *b, const char *stuff_id)
{
	char path[64], cookie[1100];
	const char *params[] = {"REQUEST_METHOD=PUT",
				path,
				"REQUEST_ID=test",
				"CONTENT_TYPE=text/plain",
				"CONTENT_LENGTH=9",
				cookie,
				NULL};

	snprintf(path, sizeof(path), "SCRIPT_NAME=/api/stuff/%s/file",
		 stuff_id);
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=__Host-session=%s",
		 b->token);
	return fcgi_ask("stuff", params, "all of it", 9);
}

bool
is_dead(void *name)
{
	return stack_pid(name) == 0;
}

bool
may_insist(int64_t until)
{
	clock_sleep(RETRY_PACE);
	return clock_monotonic() < until;
}

const struct answer *
fcgi_insist(const char *service, const char *method, const char *path,
	    const char *body, const char *token)
{
	int64_t until = clock_monotonic() + INSIST;
	const struct answer *a;

	do
		a = fcgi_call(service, method, path, body, token);
	while (a->status == 503 && may_insist(until));
	return a;
}

char *
buyer_lists(const struct buyer *b, int64_t price)
{
	char body[128], *id;
	int64_t until = clock_monotonic() + INSIST;
	const struct answer *a;

	snprintf(body, sizeof(body), "{\"title\":\"Notes\",\"price\":%lld}",
		 (long long)price);
	a = fcgi_insist("stuff", "POST", "/api/stuff", body, b->token);
	TAP_INT(a->status, 201);
	id = strdup(a->status == 201 ? answer_text(a, "id") : "");
	do
		a = buyer_uploads(b, id);
	while (a->status == 503 && may_insist(until));
	TAP_INT(a->status, 200);
	return id;
}

const struct answer *
buyer_buys(const struct buyer *b, const char *stuff_id)
{
	char body[64];

	snprintf(body, sizeof(body), "{\"stuffId\":\"%s\"}", stuff_id);
	return fcgi_call("orders", "POST", "/api/orders", body, b->token);
}

const struct answer *
buyer_pays(const struct buyer *b, const char *order_id, const char *token)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"orderId\":\"%s\"%s%s%s}", order_id,
		 token ? ",\"token\":\"" : "", token ? token : "",
		 token ? "\"" : "");
	return fcgi_insist("payments", "POST", "/api/payments", body, b->token);
}

const struct answer *
buyer_cancels(const struct buyer *b, const char *order_id)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/orders/%s", order_id);
	return fcgi_call("orders", "DELETE", path, NULL, b->token);
}

void
buyer_reads(const struct buyer *b, const char *service, const char *path,
	    const char *member, char *ret, size_t size)
{
	const char *s = answer_text(
		fcgi_call(service, "GET", path, NULL, b->token), member);

	snprintf(ret, size, "%s", s ? s : "");
}

struct looking {
	const struct buyer *b;
	const char *service, *path, *member, *texts;
	char last[64];
};

static bool
sees(void *arg)
{
	struct looking *l = arg;
	size_t len;

	buyer_reads(l->b, l->service, l->path, l->member, l->last,
		    sizeof(l->last));
	for (const char *p = l->texts; *l->last != '\0' && *p != '\0';) {
		len = strcspn(p, "|");
		if (strlen(l->last) == len && strncmp(p, l->last, len) == 0)
			return true;
		p += len + (p[len] == '|');
	}
	return false;
}

bool
buyer_sees(const struct buyer *b, const char *service, const char *path,
	   const char *member, const char *texts, int64_t ms)
{
	struct looking l = {b, service, path, member, texts, ""};

	if (eventually(ms, sees, &l))
		return true;
	tap_note("%s: %s is \"%s\", not \"%s\"", path, member, l.last, texts);
	return false;
}

static bool
copy_is_there(void *arg)
{
	return db_count("orders", "stuff", arg) == 1;
}

bool
buyer_can_buy(const char *stuff_id, int64_t ms)
{
	char *filter = text("{\"_id\":{\"$oid\":\"%s\"},\"status\":"
			    "\"available\",\"sha256\":{\"$exists\":true}}",
			    stuff_id);
	bool there = eventually(ms, copy_is_there, filter);

	free(filter);
	return there;
}

static bool
order_is_known(void *filter)
{
	return db_count("payments", "orders", filter) == 1;
}

bool
buyer_can_pay(const char *order_id, int64_t ms)
{
	char *filter = text("{\"_id\":{\"$oid\":\"%s\"}}", order_id);
	bool known = eventually(ms, order_is_known, filter);

	free(filter);
	return known;
}

/* --- the checker --- */

const char *
checker_says(int seconds, const char *const *args)
{
	static const char *const names[] = {
		"MONGO_URI",	   "NATS_URL",	 "NATS_CLUSTER_ID",
		"STRIPE_API_BASE", "STRIPE_KEY", "REDIS_URL"};
	static char said[65536];
	const char *top = getenv("top_builddir");
	char path[4096], limit[16];
	const char *argv[16] = {path, limit};
	FILE *out = tmpfile();
	char settings[6][256];
	const char *given[7] = {NULL};
	int status;

	snprintf(path, sizeof(path), "%s/t/checker", top ? top : ".");
	snprintf(limit, sizeof(limit), "%d", seconds);
	for (int i = 2; args != NULL && *args != NULL && i < 15;)
		argv[i++] = *args++;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(settings[i], sizeof(settings[i]), "%s=%s", names[i],
			 stack(names[i]));
		given[i] = settings[i];
	}
	status = program_wait(program_start(&(struct program){
		.argv = argv, .settings = given, .out = fileno(out)}));
	rewind(out);
	said[fread(said, 1, sizeof(said) - 1, out)] = '\0';
	fclose(out);
	if (status < 0 || status > 1 || (status == 1) != (*said != '\0')) {
		tap_note("the checker failed, status %d", status);
		return NULL;
	}
	return said;
}

static bool
is_of(const char *line, const char *rule, size_t len)
{
	return strncmp(line, rule, len) == 0 && line[len] == ':';
}

bool
breaks(const char *said, const char *rule)
{
	for (const char *p = said; p != NULL && *p != '\0';) {
		if (is_of(p, rule, strlen(rule)))
			return true;
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return false;
}

bool
breaks_only(const char *said, const char *rules)
{
	bool only = said != NULL;

	for (const char *p = said; p != NULL && *p != '\0';) {
		bool known = false;

		for (const char *r = rules; *r != '\0';) {
			size_t len = strcspn(r, " ");

			known = known || is_of(p, r, len);
			r += len + (r[len] == ' ');
		}
		if (!known) {
			tap_note("checker: %.*s", (int)strcspn(p, "\n"), p);
			only = false;
		}
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return only;
}

bool
settles(const char *const *args)
{
	return breaks_only(checker_says(SETTLE_WAIT, args), "");
}

/* --- servers --- */

static pthread_key_t mongo_key; /* a client for each thread */

static void
disconnect_mongo(void *client)
{
	mongoc_client_destroy(client);
}

static void
prepare_mongo(void)
{
	mongoc_init();
	pthread_key_create(&mongo_key, disconnect_mongo);
}

static mongoc_client_t *
connect_mongo(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	mongoc_client_t *client;

	pthread_once(&once, prepare_mongo);
	client = pthread_getspecific(mongo_key);
	if (client == NULL) {
		client = mongoc_client_new(stack("MONGO_URI"));
		mongoc_client_set_error_api(client, 2);
		pthread_setspecific(mongo_key, client);
	}
	return client;
}

static bson_t *
from_json(const char *json)
{
	bson_error_t error;
	bson_t *b = bson_new_from_json((const uint8_t *)json, -1, &error);

	if (b == NULL) {
		tap_note("%s: %s", error.message, json);
		abort();
	}
	return b;
}

static void
note_done(bool ok, const char *what, const bson_error_t *error)
{
	CU_ASSERT(ok);
	if (!ok)
		tap_note("%s: %s", what, error->message);
}

void
db_insert(const char *database, const char *collection, const char *document)
{
	mongoc_collection_t *c = mongoc_client_get_collection(
		connect_mongo(), database, collection);
	bson_t *d = from_json(document);
	bson_error_t error;

	note_done(mongoc_collection_insert_one(c, d, NULL, NULL, &error),
		  document, &error);
	bson_destroy(d);
	mongoc_collection_destroy(c);
}

void
db_update(const char *database, const char *collection, const char *filter,
	  const char *update)
{
	mongoc_collection_t *c = mongoc_client_get_collection(
		connect_mongo(), database, collection);
	bson_t *f = from_json(filter), *u = from_json(update), reply;
	bson_iter_t i;
	bson_error_t error;

	note_done(mongoc_collection_update_one(c, f, u, NULL, &reply, &error),
		  update, &error);
	CU_ASSERT(bson_iter_init_find(&i, &reply, "matchedCount") &&
		  bson_iter_as_int64(&i) == 1);
	bson_destroy(&reply);
	bson_destroy(f);
	bson_destroy(u);
	mongoc_collection_destroy(c);
}

void
db_delete(const char *database, const char *collection, const char *filter)
{
	mongoc_collection_t *c = mongoc_client_get_collection(
		connect_mongo(), database, collection);
	bson_t *f = from_json(filter);
	bson_error_t error;

	note_done(mongoc_collection_delete_many(c, f, NULL, NULL, &error),
		  filter, &error);
	bson_destroy(f);
	mongoc_collection_destroy(c);
}

void
db_command(const char *database, const char *command)
{
	bson_t *c = from_json(command);
	bson_error_t error;

	note_done(mongoc_client_command_simple(connect_mongo(), database, c,
					       NULL, NULL, &error),
		  command, &error);
	bson_destroy(c);
}

int64_t
db_count(const char *database, const char *collection, const char *filter)
{
	mongoc_collection_t *c = mongoc_client_get_collection(
		connect_mongo(), database, collection);
	bson_t *f = from_json(filter), opts = BSON_INITIALIZER;
	const bson_t *doc;
	mongoc_cursor_t *cursor;
	int64_t n = 0;

	BSON_APPEND_INT64(&opts, "limit", 10000);
	cursor = mongoc_collection_find_with_opts(c, f, &opts, NULL);
	while (mongoc_cursor_next(cursor, &doc))
		n++;
	mongoc_cursor_destroy(cursor);
	bson_destroy(&opts);
	bson_destroy(f);
	mongoc_collection_destroy(c);
	return n;
}

void
gateway_script(const char *json)
{
	char url[256];

	snprintf(url, sizeof(url), "%s/_control", stack("STRIPE_API_BASE"));
	TAP_INT(http_plain("POST", url, json)->status, 200);
}

static size_t
add_bytes(char *bytes, size_t one, size_t n, void *closure)
{
	fwrite(bytes, one, n, closure);
	return n;
}

char *
gateway_post(const char *path, const char *form)
{
	struct arena *arena = arena_new();
	CURL *curl = curl_easy_init();
	char *url = text("%s%s", stack("STRIPE_API_BASE"), path), *body = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&body, &len);
	const char *id;
	char *ret;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_USERPWD, "sk_test:");
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, add_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, to);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	CU_ASSERT(curl_easy_perform(curl) == CURLE_OK);
	curl_easy_cleanup(curl);
	fclose(to);
	id = json_text(json_read(arena, body, len), "id");
	if (id == NULL)
		tap_note("%s: %s", path, body);
	ret = strdup(id ? id : "");
	free(url);
	free(body);
	arena_free(arena);
	return ret;
}

void
redis_do(const char *command)
{
	const char *port = strrchr(stack("REDIS_URL"), ':') + 1;
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtol(port, NULL, 10)),
		.sin_addr = {htonl(INADDR_LOOPBACK)},
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char line[256], answer[16] = "";

	snprintf(line, sizeof(line), "%s\r\n", command);
	CU_ASSERT(connect(fd, (struct sockaddr *)&address, sizeof(address)) ==
		  0);
	CU_ASSERT(send(fd, line, strlen(line), MSG_NOSIGNAL) ==
		  (ssize_t)strlen(line));
	CU_ASSERT(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
	CU_ASSERT(answer[0] == '+');
	close(fd);
}

/* --- traders --- */

static struct {
	pthread_mutex_t lock;
	FILE *answers;	   /* every 2xx, for the checker */
	atomic_int orders; /* that were made */
	atomic_bool stop;
	void (*meanwhile)(void);
} trade = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Was it done?  Who is refused comes back a little later. */
static bool
answered(const struct answer *a, const char *what, const char *id)
{
	if (a->status < 200 || a->status > 299) {
		clock_sleep(20);
		return false;
	}
	pthread_mutex_lock(&trade.lock);
	fprintf(trade.answers, "%s %s %d\n", what, id, a->status);
	pthread_mutex_unlock(&trade.lock);
	return true;
}

static void
trade_once(const struct buyer *seller, const struct buyer *b, unsigned what)
{
	char stuff[ID_SIZE], order[ID_SIZE];
	const struct answer *a = fcgi_call("stuff", "POST", "/api/stuff",
					   "{\"title\":\"Notes\",\"price\":"
					   "500}",
					   seller->token);

	snprintf(stuff, sizeof(stuff), "%s",
		 a->status == 201 ? answer_text(a, "id") : "");
	if (!answered(a, "stuff", stuff) ||
	    buyer_uploads(seller, stuff)->status != 200) {
		clock_sleep(RETRY_PACE);
		return;
	}
	/* Orders may be away, or not have heard of it.  Who lists anew instead,
	 * at once, only makes more for it to hear. */
	for (;;) {
		a = buyer_buys(b, stuff);
		/* 409: it has not heard of its file. */
		if ((a->status != 404 && a->status != 409 && a->status != 503 &&
		     a->status != 0) ||
		    trade.stop)
			break;
		clock_sleep(RETRY_PACE);
	}
	snprintf(order, sizeof(order), "%s",
		 a->status == 201 ? answer_text(a, "id") : "");
	if (!answered(a, "order", order))
		return;
	trade.orders++;
	if (what % 5 == 0)
		answered(buyer_cancels(b, order), "order", order);
	else if (what % 5 < 4)
		answered(buyer_pays(b, order,
				    what % 5 == 1
					    ? "pm_card_visa_chargeDeclined"
					    : "pm_card_visa"),
			 "payment", order);
	/* Or it is left to lapse. */
}

static void
trade_or_not(int i, void *arg)
{
	struct buyer *people = arg;

	if (i == 0) {
		trade.meanwhile();
		trade.stop = true;
	}
	for (unsigned n = 0; !trade.stop; n++) {
		trade_once(&people[0], &people[i], n);
		clock_sleep(TRADE_PACE);
	}
}

void
trade_while(void (*meanwhile)(void))
{
	struct buyer people[TRADERS + 1];
	char path[] = "/tmp/answers.XXXXXX";

	for (int i = 0; i <= TRADERS; i++)
		buyer_make(&people[i]);
	trade.answers = fdopen(mkstemp(path), "w");
	trade.orders = 0;
	trade.stop = false;
	trade.meanwhile = meanwhile;
	together(TRADERS + 1, trade_or_not, people);
	fclose(trade.answers);
	CU_ASSERT(trade.orders > 0);
	/* A lost acknowledgement comes again after 30 s. */
	CU_ASSERT_TRUE(settles((const char *[]){"--answers", path, NULL}));
	unlink(path);
}

static int orders_wanted;

static bool
traded(void *arg)
{
	(void)arg;
	return trade.orders >= orders_wanted;
}

void
some_trade(int n)
{
	orders_wanted = trade.orders + n;
	CU_ASSERT(eventually(240000, traded, NULL));
}
