/* test-orders.c: orders over its own socket and the bus.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus.h"
#include "clock.h"
#include "events.h"
#include "flow.h"
#include "forge.h"
#include "misuse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UNKNOWN "/api/orders/0123456789abcdef01234567"
#define WINDOW 900000 /* ms */
#define HELD                                                                 \
	"The stuff is being checking out by someone else, please come back " \
	"later"

static struct buyer ann, bob, sue; /* sue sells */

static const struct answer *
call(const char *method, const char *path, const char *body,
     const struct buyer *by)
{
	return fcgi_call("orders", method, path, body, by ? by->token : NULL);
}

/* --- the bus ------------------------------------------------------------- */

/* What orders told, as a listener of the test's own heard it. */
static struct {
	pthread_mutex_t lock;
	struct arena *arena;
	struct event events[10000];
	size_t count;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum bus_verdict
hear(void *closure, const char *channel, const void *bytes, size_t len)
{
	const struct fail *fail;
	struct event e;

	(void)closure;
	pthread_mutex_lock(&heard.lock);
	fail = event_read(heard.arena, channel, bytes, len, &e);
	if (fail != NULL)
		tap_note("orders told rubbish: %.*s", (int)len,
			 (const char *)bytes);
	else if (heard.count < COUNT(heard.events))
		heard.events[heard.count++] = e;
	pthread_mutex_unlock(&heard.lock);
	return BUS_DONE;
}

static struct bus *
listen_to_orders(void)
{
	static const char *const channels[] = {
		"order:created", "order:cancelled", "order:completed", NULL};
	struct bus_options options = {
		.url = stack("NATS_URL"),
		.cluster = stack("NATS_CLUSTER_ID"),
		.client = "test-listener",
		.group = "test-listener",
		.channels = channels,
		.handler = hear,
	};
	struct bus *bus = bus_open(&options);

	heard.arena = arena_new();
	bus_start(bus);
	return bus;
}

/* Looks for an event by the order's id and version. */
struct telling {
	const char *order;
	int64_t version;
	struct event event;
};

static bool
was_told(void *arg)
{
	struct telling *t = arg;
	bool found = false;

	pthread_mutex_lock(&heard.lock);
	for (size_t i = 0; i < heard.count && !found; i++) {
		t->event = heard.events[i];
		found = t->event.version == t->version &&
			strcmp(t->event.subject, t->order) == 0;
	}
	pthread_mutex_unlock(&heard.lock);
	return found;
}

/* Waits for it, and checks what it says. */
static void
expect_told(const char *order, int64_t version, enum event_type type,
	    const char *status, const char *reason)
{
	struct telling t = {order, version, {0}};
	const struct order_event *data;

	CU_ASSERT_TRUE_FATAL(eventually(20000, was_told, &t));
	data = t.event.data;
	TAP_STRING(event_channel(t.event.type), event_channel(type));
	TAP_STRING(data->id, order);
	TAP_STRING(data->status, status);
	TAP_STRING(data->reason, reason);
}

/* Tells of stuff as the service of it would. */
static void
tell_stuff(const char *what, const char *id, int64_t version, int64_t price,
	   const char *status, const char *order)
{
	char *channel = text("stuff:%s", what);
	char *data = text("{\"id\":\"%s\",\"title\":\"Notes %lld\",\"price\":"
			  "%lld,\"userId\":\"%s\",\"orderId\":%s%s%s,"
			  "\"status\":\"%s\",\"file\":{\"size\":9,"
			  "\"sha256\":\"x\"}}",
			  id, (long long)version, (long long)price, sue.id,
			  order ? "\"" : "", order ? order : "null",
			  order ? "\"" : "", status);

	bus_put_event(channel, id, version, data);
	free(channel);
	free(data);
}

static void
tell_payment(const char *what, const char *order)
{
	char *channel = text("payment:%s", what), id[ID_SIZE], *data;

	id_new(id);
	data = text("{\"id\":\"%s\",\"orderId\":\"%s\",\"amount\":500,"
		    "\"status\":\"%s\"}",
		    id, order, what);
	bus_put_event(channel, id, 1, data);
	free(channel);
	free(data);
}

static void
tell_expiration(const char *order)
{
	char *data = text("{\"orderId\":\"%s\"}", order);

	bus_put_event("expiration:complete", order, 1, data);
	free(data);
}

/* A new listing that orders knows of, its id to be freed. */
static char *
new_stuff(void)
{
	char id[ID_SIZE];

	id_new(id);
	tell_stuff("created", id, 1, 500, "available", NULL);
	CU_ASSERT_TRUE_FATAL(buyer_can_buy(id, 20000));
	return strdup(id);
}

/* The id of a new order, to be freed. */
static char *
new_order(const struct buyer *by, const char *stuff)
{
	const struct answer *a = buyer_buys(by, stuff);

	EXPECT(a, 201);
	return strdup(a->status == 201 ? answer_text(a, "id") : FORGE_ID);
}

static char *
path_of(const char *order)
{
	return text("/api/orders/%s", order);
}

#define AWAIT_ORDER(by, order, status)                                   \
	do {                                                             \
		char *path_ = path_of(order);                            \
		CU_ASSERT_TRUE(buyer_sees(by, "orders", path_, "status", \
					  status, 20000));               \
		free(path_);                                             \
	} while (0)

#define EXPECT_ORDER(by, order, version, status, reason) \
	expect_order(by, order, version, status, reason, __FILE__, __LINE__)

static void
expect_order(const struct buyer *by, const char *order, int64_t version,
	     const char *status, const char *reason, const char *file, int line)
{
	char *path = path_of(order);
	const struct answer *a = call("GET", path, NULL, by);

	tap_int(a->status, 200, "answer", file, line);
	tap_int(answer_int(a, "version"), version, "version", file, line);
	tap_string(answer_text(a, "status"), status, "status", file, line);
	tap_string(answer_text(a, "reason"), reason, "reason", file, line);
	free(path);
}

/* A listener has done all that was told before this. */
static void
settle(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);

	tell_stuff("updated", stuff, 2, 500, "reserved", order);
	AWAIT_ORDER(&ann, order, "awaiting:payment");
	tell_payment("created", order);
	AWAIT_ORDER(&ann, order, "complete");
	free(order);
	free(stuff);
}

/* --- buying -------------------------------------------------------------- */

static void
test_buy(void)
{
	char *stuff = new_stuff(), *path, *order, *body, *expires;
	const struct answer *a = buyer_buys(&ann, stuff);
	int64_t created = 0, lapses = 0;

	EXPECT(a, 201);
	TAP_STRING(names_of(a), "id version status reason userId stuff "
				"expiresAt createdAt");
	TAP_INT(answer_int(a, "version"), 1);
	TAP_STRING(answer_text(a, "status"), "created");
	TAP_STRING(answer_text(a, "reason"), NULL);
	TAP_STRING(answer_text(a, "userId"), ann.id);
	TAP_STRING(answer_text(a, "stuff.id"), stuff);
	TAP_STRING(answer_text(a, "stuff.title"), "Notes 1");
	TAP_INT(answer_int(a, "stuff.price"), 500);
	TAP_STRING(answer_header(a, "ETag"), "\"1\"");
	TAP_INT(clock_parse(answer_text(a, "createdAt"), &created), 0);
	TAP_INT(clock_parse(answer_text(a, "expiresAt"), &lapses), 0);
	TAP_INT(lapses - created, WINDOW);
	expires = strdup(answer_text(a, "expiresAt"));
	order = strdup(answer_text(a, "id"));
	path = path_of(order);
	TAP_STRING(answer_header(a, "Location"), path);
	body = strdup(a->body);
	expect_told(order, 1, EVENT_ORDER_CREATED, "created", NULL);

	a = call("GET", path, NULL, &ann);
	EXPECT(a, 200);
	TAP_STRING(a->body, body);
	a = call("HEAD", path, NULL, &ann);
	EXPECT(a, 200);
	TAP_INT(a->len, 0);

	/* Asking again never lengthens it. */
	a = buyer_buys(&ann, stuff);
	EXPECT(a, 201);
	TAP_STRING(answer_text(a, "id"), order);
	TAP_STRING(answer_text(a, "expiresAt"), expires);
	TAP_INT(answer_int(a, "version"), 1);
	free(body);
	free(path);
	free(order);
	free(expires);
	free(stuff);
}

static void
test_held(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);
	const struct answer *a;
	long left;

	for (int i = 0; i < 3; i++) {
		a = buyer_buys(&bob, stuff);
		EXPECT_ERROR(a, 409, HELD);
		TAP_STRING(a->body,
			   "{\"errors\":[{\"message\":\"" HELD "\"}]}");
		CU_ASSERT_PTR_NOT_NULL_FATAL(answer_header(a, "Retry-After"));
		left = strtol(answer_header(a, "Retry-After"), NULL, 10);
		CU_ASSERT_TRUE(left > 0 && left <= WINDOW / 1000);
		/* so also when stuff has taken note of the hold */
		tell_stuff("updated", stuff, 2, 500, "reserved", order);
		AWAIT_ORDER(&ann, order, "awaiting:payment");
	}
	a = buyer_buys(&ann, stuff);
	EXPECT(a, 201);
	TAP_STRING(answer_text(a, "id"), order);
	free(order);
	free(stuff);
}

static void
test_bad_bodies(void)
{
	static const char *const bad[] = {
		"{}",
		"{\"stuffId\":null}",
		"{\"stuffId\":\"\"}",
		"{\"stuffId\":\"x\"}",
		"{\"stuffId\":12}",
		"{\"stuffId\":1e400}",
		"{\"stuffId\":true}",
		"{\"stuffId\":[\"" FORGE_ID "\"]}",
		"{\"stuffId\":{\"$gt\":\"\"}}",
		"{\"stuffId\":{\"$ne\":null}}",
		"{\"stuffId\":\"0123456789abcdef0123456\"}",
		"{\"stuffId\":\"0123456789abcdef012345678\"}",
		"{\"stuffId\":\"0123456789ABCDEF01234567\"}",
		"{\"stuffId\":\"0123456789abcdef0123456\\u0000\"}",
		"{\"stuffId\":\"" FORGE_ID "\\u0000\"}",
		"{\"stuffId\":\"" FORGE_ID "\",\"stuffId\":\"x\"}",
		"{\"stuffid\":\"" FORGE_ID "\"}",
	};
	int64_t before = db_count("orders", "orders", "{}");

	for (size_t i = 0; i < COUNT(bad); i++)
		EXPECT_FIELDS(call("POST", "/api/orders", bad[i], &ann),
			      "stuffId");
	TAP_INT(db_count("orders", "orders", "{}"), before);
}

static void
test_may_not(void)
{
	char *stuff = new_stuff();
	char *body = text("{\"stuffId\":\"%s\"}", stuff);
	int64_t before = db_count("orders", "orders", "{}");

	EXPECT_ERROR(call("POST", "/api/orders", body, NULL), 401,
		     "Not authorized");
	EXPECT_ERROR(buyer_buys(&sue, stuff), 400,
		     "You can't buy your own stuff");
	EXPECT_ERROR(buyer_buys(&ann, FORGE_ID), 404, "Not Found");
	TAP_INT(db_count("orders", "orders", "{}"), before);
	free(body);
	free(stuff);
}

struct race {
	const char *stuff;
	struct buyer buyers[32];
	int status[32];
	bool told[32];
};

static void
buy_one(int i, void *arg)
{
	struct race *race = arg;
	const struct answer *a = buyer_buys(&race->buyers[i], race->stuff);
	const char *message = answer_text(a, "errors.0.message");

	race->status[i] = a->status;
	race->told[i] = message != NULL && strcmp(message, HELD) == 0 &&
			answer_header(a, "Retry-After") != NULL;
}

static void
test_race(void)
{
	static struct race race;

	for (size_t i = 0; i < COUNT(race.buyers); i++)
		buyer_make(&race.buyers[i]);
	for (int round = 0; round < 5; round++) {
		char *stuff = new_stuff(), *filter;
		int won = 0, refused = 0;

		race.stuff = stuff;
		together((int)COUNT(race.buyers), buy_one, &race);
		for (size_t i = 0; i < COUNT(race.buyers); i++) {
			won += race.status[i] == 201;
			refused += race.status[i] == 409 && race.told[i];
		}
		TAP_INT(won, 1);
		TAP_INT(refused, COUNT(race.buyers) - 1);
		filter = text("{\"stuff.id\":{\"$oid\":\"%s\"}}", stuff);
		TAP_INT(db_count("orders", "orders", filter), 1);
		free(filter);
		free(stuff);
	}
}

/* --- one's own orders ---------------------------------------------------- */

static void
test_others_order(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);
	char *path = path_of(order);

	EXPECT_ERROR(call("GET", path, NULL, NULL), 401, "Not authorized");
	EXPECT_ERROR(call("DELETE", path, NULL, NULL), 401, "Not authorized");
	EXPECT_ERROR(call("GET", path, NULL, &bob), 403, "Not your order");
	EXPECT_ERROR(call("DELETE", path, NULL, &bob), 403, "Not your order");
	EXPECT_ERROR(call("GET", path, NULL, &sue), 403, "Not your order");
	EXPECT_ERROR(call("GET", UNKNOWN, NULL, &ann), 404, "Not Found");
	EXPECT_ERROR(call("DELETE", UNKNOWN, NULL, &ann), 404, "Not Found");
	EXPECT_ERROR(call("GET", "/api/orders", NULL, NULL), 401,
		     "Not authorized");
	EXPECT_ORDER(&ann, order, 1, "created", NULL);
	free(path);
	free(order);
	free(stuff);
}

static void
test_cancel(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff), *second;
	char *path = path_of(order);
	const struct answer *a = call("DELETE", path, NULL, &ann);

	EXPECT(a, 204);
	TAP_INT(a->len, 0);
	EXPECT_ORDER(&ann, order, 2, "cancelled", "by-buyer");
	expect_told(order, 2, EVENT_ORDER_CANCELLED, "cancelled", "by-buyer");
	/* Once more, and nothing more happens: not to the next one's order. */
	second = new_order(&bob, stuff);
	CU_ASSERT_STRING_NOT_EQUAL(second, order);
	for (int i = 0; i < 3; i++)
		EXPECT(call("DELETE", path, NULL, &ann), 204);
	EXPECT_ORDER(&ann, order, 2, "cancelled", "by-buyer");
	EXPECT_ORDER(&bob, second, 1, "created", NULL);
	EXPECT_ERROR(buyer_buys(&ann, stuff), 409, HELD);
	free(path);
	free(order);

	/* While payment is awaited, too. */
	tell_stuff("updated", stuff, 2, 500, "reserved", second);
	AWAIT_ORDER(&bob, second, "awaiting:payment");
	EXPECT(buyer_cancels(&bob, second), 204);
	/* That it awaited payment was not told: one event, one version. */
	EXPECT_ORDER(&bob, second, 2, "cancelled", "by-buyer");
	free(second);
	free(stuff);
}

static void
test_list(void)
{
	static const char *const bad[][2] = {
		{"limit=0", "limit"},
		{"limit=101", "limit"},
		{"limit=12abc", "limit"},
		{"cursor=x", "cursor"},
		{"limit=1&limit=2", "limit"},
		{"cursor=%00", "cursor"},
		{"limit=x&cursor=x", "limit cursor"},
	};
	char *ids[25], next[256] = "/api/orders", path[64];
	struct buyer cid;
	int seen = 0, pages = 0;

	buyer_make(&cid);
	TAP_STRING(call("GET", "/api/orders", NULL, &cid)->body, "[]");
	for (size_t i = 0; i < COUNT(ids); i++) {
		char *stuff = new_stuff();

		ids[i] = new_order(&cid, stuff);
		free(stuff);
	}
	EXPECT(buyer_cancels(&cid, ids[24]), 204); /* listed all the same */
	while (*next != '\0' && pages < 10) {
		const struct answer *a = call("GET", next, NULL, &cid);
		const char *link, *end;

		EXPECT(a, 200);
		link = answer_header(a, "Link");
		for (size_t i = 0; i < json_object_array_length(a->json);
		     i++, seen++) {
			snprintf(path, sizeof(path), "%zu.id", i);
			TAP_STRING(answer_text(a, path), ids[24 - seen]);
			snprintf(path, sizeof(path), "%zu.userId", i);
			TAP_STRING(answer_text(a, path), cid.id);
		}
		pages++;
		*next = '\0';
		if (link != NULL) {
			end = strstr(link, ">; rel=\"next\"");
			CU_ASSERT_PTR_NOT_NULL_FATAL(end);
			snprintf(next, sizeof(next), "%.*s",
				 (int)(end - link - 1), link + 1);
		}
	}
	TAP_INT(seen, 25);
	TAP_INT(pages, 2);
	TAP_INT(json_object_array_length(
			call("GET", "/api/orders?limit=3", NULL, &cid)->json),
		3);
	TAP_INT(call("HEAD", "/api/orders", NULL, &cid)->status, 200);
	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(next, sizeof(next), "/api/orders?%s", bad[i][0]);
		EXPECT_FIELDS(call("GET", next, NULL, &cid), bad[i][1]);
	}
	for (size_t i = 0; i < COUNT(ids); i++)
		free(ids[i]);
}

static void
test_allow(void)
{
	static const struct {
		const char *method, *path, *allow;
	} rows[] = {
		{"PUT", "/api/orders", "GET, HEAD, POST"},
		{"DELETE", "/api/orders", "GET, HEAD, POST"},
		{"POST", UNKNOWN, "GET, HEAD, DELETE"},
		{"PUT", UNKNOWN, "GET, HEAD, DELETE"},
		{"PATCH", UNKNOWN, "GET, HEAD, DELETE"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer *a =
			call(rows[i].method, rows[i].path, NULL, &ann);

		EXPECT_ERROR(a, 405, "Method Not Allowed");
		TAP_STRING(answer_header(a, "Allow"), rows[i].allow);
	}
}

/* --- what it hears ------------------------------------------------------- */

static bool
has_copy(void *arg)
{
	return db_count("orders", "stuff", arg) == 1;
}

/* Stuff changes: what is bought is what was there at that moment. */
static void
test_stuff_events(void)
{
	char *stuff = new_stuff(), *order, *copy;
	const struct answer *a;

	/* Early: parked until what comes before it. */
	tell_stuff("updated", stuff, 4, 800, "available", NULL);
	tell_stuff("updated", stuff, 3, 700, "available", NULL);
	settle();
	order = new_order(&ann, stuff);
	a = call("GET", "/api/orders?limit=1", NULL, &ann);
	TAP_INT(answer_int(a, "0.stuff.price"), 500);
	EXPECT(buyer_cancels(&ann, order), 204);
	free(order);
	tell_stuff("updated", stuff, 2, 600, "available", NULL);
	copy = text("{\"_id\":{\"$oid\":\"%s\"},\"price\":800}", stuff);
	CU_ASSERT_TRUE(eventually(20000, has_copy, copy));
	free(copy);
	/* Twice, and old ones: no effect. */
	for (int version = 1; version <= 4; version++)
		tell_stuff(version == 1 ? "created" : "updated", stuff, version,
			   1, "available", NULL);
	settle();
	a = buyer_buys(&ann, stuff);
	EXPECT(a, 201);
	TAP_INT(answer_int(a, "stuff.price"), 800);
	TAP_STRING(answer_text(a, "stuff.title"), "Notes 4");
	free(stuff);
}

static void
test_removed(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);

	tell_stuff("removed", stuff, 2, 500, "removed", NULL);
	AWAIT_ORDER(&ann, order, "cancelled");
	EXPECT_ORDER(&ann, order, 2, "cancelled", "removed");
	expect_told(order, 2, EVENT_ORDER_CANCELLED, "cancelled", "removed");
	EXPECT_ERROR(buyer_buys(&bob, stuff), 404, "Not Found");
	EXPECT_ERROR(buyer_buys(&ann, stuff), 404, "Not Found");
	free(order);
	free(stuff);

	/* One that nobody holds. */
	stuff = new_stuff();
	tell_stuff("removed", stuff, 2, 500, "removed", NULL);
	settle();
	EXPECT_ERROR(buyer_buys(&bob, stuff), 404, "Not Found");
	free(stuff);
}

static void
test_paid(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);
	const struct answer *a;

	/* Before stuff has confirmed the hold, payment waits. */
	tell_payment("created", order);
	settle();
	EXPECT_ORDER(&ann, order, 1, "created", NULL);
	tell_stuff("updated", stuff, 2, 500, "reserved", order);
	AWAIT_ORDER(&ann, order, "complete");
	EXPECT_ORDER(&ann, order, 2, "complete", NULL);
	expect_told(order, 2, EVENT_ORDER_COMPLETED, "complete", NULL);

	/* Sold is sold. */
	a = buyer_buys(&bob, stuff);
	EXPECT_ERROR(a, 409, "The stuff is sold");
	TAP_STRING(answer_header(a, "Retry-After"), NULL);
	EXPECT_ERROR(buyer_buys(&ann, stuff), 409, "The stuff is sold");
	EXPECT_ERROR(buyer_cancels(&ann, order), 409, "The order is complete");
	tell_expiration(order);
	tell_payment("created", order);
	tell_stuff("removed", stuff, 3, 500, "removed", order);
	settle();
	EXPECT_ORDER(&ann, order, 2, "complete", NULL);

	/* The money could not be taken after all. */
	tell_payment("failed", order);
	AWAIT_ORDER(&ann, order, "cancelled");
	EXPECT_ORDER(&ann, order, 3, "cancelled", "payment-failed");
	expect_told(order, 3, EVENT_ORDER_CANCELLED, "cancelled",
		    "payment-failed");
	free(order);
	free(stuff);
}

static bool
is_slow(void *arg)
{
	(void)arg;
	return is_logged("orders", "\"failpoint\"");
}

/* What is heard in the process's last moment is told before it ends. */
static void
test_stopped(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);
	pid_t pid;

	tell_stuff("updated", stuff, 2, 500, "reserved", order);
	AWAIT_ORDER(&ann, order, "awaiting:payment");
	stack_restart("orders", "FAILPOINTS=decided=sleep:1000");
	pid = stack_pid("orders");
	tell_payment("created", order);
	CU_ASSERT_TRUE(eventually(20000, is_slow, NULL));
	kill(pid, SIGTERM);
	CU_ASSERT_TRUE(eventually(20000, has_ended, &pid));
	expect_told(order, 2, EVENT_ORDER_COMPLETED, "complete", NULL);
	stack_restart("orders", NULL);
	free(order);
	free(stuff);
}

static void
test_payment_failed(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff), *second;

	tell_stuff("updated", stuff, 2, 500, "reserved", order);
	AWAIT_ORDER(&ann, order, "awaiting:payment");
	tell_payment("failed", order);
	AWAIT_ORDER(&ann, order, "cancelled");
	EXPECT_ORDER(&ann, order, 2, "cancelled", "payment-failed");
	/* The listing is free; what comes late has no effect on the next. */
	second = new_order(&bob, stuff);
	tell_payment("created", order);
	tell_payment("failed", order);
	tell_expiration(order);
	tell_stuff("updated", stuff, 3, 500, "available", NULL);
	settle();
	EXPECT_ORDER(&ann, order, 2, "cancelled", "payment-failed");
	EXPECT_ORDER(&bob, second, 1, "created", NULL);
	free(second);
	free(order);
	free(stuff);
}

/* An expiration that comes before the deadline has to wait. */
static void
test_expiration_early(void)
{
	char *stuff = new_stuff(), *order = new_order(&ann, stuff);

	tell_expiration(order);
	settle();
	EXPECT_ORDER(&ann, order, 1, "created", NULL);
	EXPECT_ERROR(buyer_buys(&bob, stuff), 409, HELD);
	EXPECT(buyer_cancels(&ann, order), 204);
	settle();
	EXPECT_ORDER(&ann, order, 2, "cancelled", "by-buyer");
	free(order);
	free(stuff);
}

/* Restarts orders with holds of a second, without its sweep. */
static void
with_short_window(void)
{
	stack_dev((const char *[]){"EXPIRATION_WINDOW_SECONDS=1",
				   "GUARDS_OFF=sweeper", NULL},
		  (const char *[]){"restart", "orders", NULL});
}

static bool
is_past(void *arg)
{
	return clock_now() > *(int64_t *)arg;
}

static bool
can_buy(void *arg)
{
	return buyer_buys(&bob, arg)->status == 201;
}

static void
test_expiration(void)
{
	char *stuff = new_stuff(), *order;
	const struct answer *a;
	int64_t lapses = 0;

	with_short_window();
	/* The expiration service says so. */
	order = new_order(&ann, stuff);
	tell_expiration(order);
	AWAIT_ORDER(&ann, order, "cancelled");
	EXPECT_ORDER(&ann, order, 2, "cancelled", "expired");
	expect_told(order, 2, EVENT_ORDER_CANCELLED, "cancelled", "expired");
	free(order);

	/* Nobody does, but the next buyer comes. */
	order = new_order(&ann, stuff);
	a = buyer_buys(&bob, stuff);
	EXPECT_ERROR(a, 409, HELD);
	TAP_STRING(answer_header(a, "Retry-After"), "1");
	CU_ASSERT_TRUE(eventually(20000, can_buy, stuff));
	EXPECT_ORDER(&ann, order, 2, "cancelled", "expired");
	free(order);
	free(stuff);

	/* The money comes too late. */
	stuff = new_stuff();
	order = new_order(&ann, stuff);
	tell_stuff("updated", stuff, 2, 500, "reserved", order);
	AWAIT_ORDER(&ann, order, "awaiting:payment");
	a = call("GET", "/api/orders?limit=1", NULL, &ann);
	TAP_INT(clock_parse(answer_text(a, "0.expiresAt"), &lapses), 0);
	CU_ASSERT_TRUE(eventually(20000, is_past, &lapses));
	tell_payment("created", order);
	AWAIT_ORDER(&ann, order, "cancelled");
	EXPECT_ORDER(&ann, order, 2, "cancelled", "expired");
	free(order);
	free(stuff);
}

/* Who held it and lets it lapse may buy it again: a new order. */
static void
test_same_buyer_again(void)
{
	char *stuff = new_stuff(), *order = new_order(&bob, stuff);
	const struct answer *a;

	do
		a = buyer_buys(&bob, stuff);
	while (a->status == 201 && strcmp(answer_text(a, "id"), order) == 0);
	EXPECT(a, 201);
	EXPECT_ORDER(&bob, order, 2, "cancelled", "expired");
	free(order);
	free(stuff);
}

/* With nothing else to end it, the sweep does. */
static void
test_sweep(void)
{
	char *stuff = new_stuff(), *order;

	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=1");
	order = new_order(&ann, stuff);
	AWAIT_ORDER(&ann, order, "cancelled");
	EXPECT_ORDER(&ann, order, 2, "cancelled", "expired");
	free(order);
	free(stuff);
	stack_restart("orders", NULL);
}

struct length {
	const char *channel;
	int64_t length;
};

static bool
is_as_long(void *arg)
{
	const struct length *l = arg;

	return channel_length(l->channel) >= l->length;
}

static void
test_bad_events(void)
{
	static const char *const bad[] = {
		"",
		"x",
		"null",
		"[]",
		"{}",
		"\xff\xfe",
		"{\"id\":\"x\",\"type\":\"payment:created\",\"subject\":"
		"\"" FORGE_ID "\",\"version\":-1,\"time\":"
		"\"2026-01-31T09:00:00.000Z\",\"data\":{}}",
		"{\"id\":\"x\",\"type\":\"payment:created\",\"subject\":"
		"\"" FORGE_ID "\",\"version\":1,\"time\":"
		"\"2026-01-31T09:00:00.000Z\",\"data\":{\"orderId\":"
		"{\"$gt\":\"\"}}}",
	};
	static const char *const channels[] = {
		"stuff:created",   "stuff:updated",  "stuff:removed",
		"payment:created", "payment:failed", "expiration:complete"};
	struct length l = {"dead:letter", channel_length("dead:letter")};

	for (size_t i = 0; i < COUNT(channels); i++)
		for (size_t j = 0; j < COUNT(bad); j++)
			bus_put(channels[i], bad[j]);
	/* All right, but of orders that never were. */
	tell_payment("created", FORGE_ID);
	tell_payment("failed", FORGE_ID);
	tell_expiration(FORGE_ID);
	l.length += (int64_t)(COUNT(channels) * COUNT(bad)) + 3;
	CU_ASSERT_TRUE(eventually(20000, is_as_long, &l));
	settle();
	TAP_INT(channel_length("dead:letter"), l.length);
}

/* How many different events were heard. */
static int64_t
count_heard(void)
{
	int64_t n = 0;

	pthread_mutex_lock(&heard.lock);
	for (size_t i = 0; i < heard.count; i++) {
		size_t j = 0;

		while (strcmp(heard.events[j].id, heard.events[i].id) != 0)
			j++;
		n += j == i;
	}
	pthread_mutex_unlock(&heard.lock);
	return n;
}

/* The sum of all orders' versions; no test's order has more than three. */
static int64_t
sum_versions(void)
{
	return db_count("orders", "orders", "{\"version\":{\"$gte\":1}}") +
	       db_count("orders", "orders", "{\"version\":{\"$gte\":2}}") +
	       db_count("orders", "orders", "{\"version\":{\"$gte\":3}}");
}

static bool
all_is_told(void *arg)
{
	return !arg && count_heard() >= sum_versions();
}

static bool
outboxes_are_empty(void *arg)
{
	return !arg && db_count("orders", "orders",
				"{\"outbox.0\":{\"$exists\":true}}") == 0;
}

/* Every version of every order was told, and nothing else: each on the channel
 * of its state. */
static void
test_all_told(void)
{
	CU_ASSERT_TRUE(eventually(20000, all_is_told, NULL));
	CU_ASSERT_TRUE(eventually(20000, outboxes_are_empty, NULL));
	TAP_INT(count_heard(), sum_versions());
	CU_ASSERT_TRUE(count_heard() > 50);
	TAP_INT(db_count("orders", "orders", "{\"version\":{\"$gte\":4}}"), 0);
	pthread_mutex_lock(&heard.lock);
	for (size_t i = 0; i < heard.count; i++)
		TAP_INT(heard.events[i].type == EVENT_ORDER_CREATED,
			heard.events[i].version == 1);
	pthread_mutex_unlock(&heard.lock);
}

/* What the tests of misuse ask for. */
static void
test_target(void)
{
	char *stuff = new_stuff();

	target.body = text("{\"stuffId\":\"%s\"}", stuff);
	EXPECT(ask_target(NULL), 201);
	free(stuff);
}

static int64_t
count_orders(void)
{
	return db_count("orders", "orders", "{}");
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"buy", test_buy},
		{"held by someone else", test_held},
		{"bad bodies", test_bad_bodies},
		{"who may not buy what", test_may_not},
		{"one listing in 32 threads", test_race},
		{"the orders of others", test_others_order},
		{"cancel", test_cancel},
		{"lists", test_list},
		{"what is allowed", test_allow},
		{"stuff changes", test_stuff_events},
		{"stuff is removed", test_removed},
		{"paid", test_paid},
		{"stopped while it hears", test_stopped},
		{"payment failed", test_payment_failed},
		{"an early expiration", test_expiration_early},
		{"bad events are set aside", test_bad_events},
		{"every version is told", test_all_told},
		{"expiration", test_expiration},
		{"the same buyer after it lapsed", test_same_buyer_again},
		{"the sweep", test_sweep},
		{"what is misused below", test_target},
		MISUSE_TESTS,
		{"forged tokens", try_tokens},
		{NULL},
	};
	static const char *const others[] = {"stuff", "payments", "expiration"};
	struct bus *bus;
	int status;

	stack_up(NULL);
	/* The test tells what they would. */
	for (size_t i = 0; i < COUNT(others); i++)
		stack_dev(NULL, (const char *[]){"kill", others[i], NULL});
	buyer_make(&ann);
	buyer_make(&bob);
	buyer_make(&sue);
	bus = listen_to_orders();
	target = (struct target){
		.service = "orders",
		.collection = "/api/orders",
		.path = "/api/orders",
		.token = ann.token,
		.status = 201,
		.count = count_orders,
	};
	status = tap_run(argc, argv, tests);
	bus_close(bus);
	arena_free(heard.arena);
	return status;
}
