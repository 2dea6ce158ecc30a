/* test-order.c: events that come twice, late and in any order have the same
 * effect as those that come once and in turn.
 * SPDX-License-Identifier: MIT */
#include <mongoc/mongoc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../fcgi/orders/model.h"
#include "../../fcgi/stuff/model.h"
#include "flow.h"
#include "service.h"

#define THREADS 8
#define HISTORIES 10000
#define LISTINGS 2000 /* histories of orders of one listing */
#define VERSIONS_MAX 4
#define ORDERS_MAX 4
#define COPIES_MAX 3	/* of one event */
#define HANDS_MAX 20000 /* deliveries of one history, then it never ends */

static unsigned seed;
static int hands_max = HANDS_MAX;

/* xorshift32: the same histories again from the same seed. */
static unsigned
dice(unsigned *state, unsigned sides)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state % sides;
}

/* --- services of the test's own, in its process --- */

static struct service orders = {.name = "orders"}, stuff = {.name = "stuff"};

/* What they publish is of no interest here. */
static struct kind quiet_stuff;
static struct hears stuff_rows[8];

static void
open_services(void)
{
	static const struct kind *const copies[] = {&stuff_copy_kind,
						    &order_kind, NULL};
	static const struct kind *const listings[] = {&quiet_stuff, NULL};
	const char *error = NULL;
	char *uri = text("%s/property_orders", stack("MONGO_URI"));

	mongoc_init();
	log_init("test", "error");
	orders.hears = orders_hears;
	orders.kinds = copies;
	orders.store = store_open(uri, copies, THREADS, &error);
	free(uri);

	quiet_stuff = stuff_kind;
	quiet_stuff.publishes = NULL;
	for (int i = 0; stuff_hears[i].event != EVENT_NONE; i++) {
		stuff_rows[i] = stuff_hears[i];
		stuff_rows[i].kind = &quiet_stuff;
	}
	uri = text("%s/property_stuff", stack("MONGO_URI"));
	stuff.hears = stuff_rows;
	stuff.kinds = listings;
	stuff.store = store_open(uri, listings, THREADS, &error);
	free(uri);
	CU_ASSERT_PTR_NULL_FATAL(error);
}

/* --- histories --- */

struct told {
	enum event_type type;
	const char *text;
};

/* What is still to be handed over. */
struct pile {
	struct told *at[ORDERS_MAX * 2 * COPIES_MAX + VERSIONS_MAX];
	size_t count;
};

static void
put(struct pile *p, struct told *t, unsigned copies)
{
	while (copies-- > 0)
		p->at[p->count++] = t;
}

/*
 * Hands the pile over in a random order.  What is too early, and some that was
 * not (its acknowledgement got lost), goes back on it.  Returns false when it
 * does not come to an end.
 */
static bool
deliver(struct service *service, struct pile *p, unsigned *state)
{
	unsigned lost = 3;

	for (int hands = 0; p->count > 0; hands++) {
		size_t i = dice(state, (unsigned)p->count);
		struct told *t = p->at[i];
		enum bus_verdict verdict;

		if (hands > hands_max)
			return false;
		verdict = listen_handle(service, event_channel(t->type),
					t->text, strlen(t->text));
		if (verdict == BUS_AGAIN)
			continue;
		if (lost > 0 && dice(state, 8) == 0) {
			lost--;
			continue;
		}
		p->at[i] = p->at[--p->count];
	}
	return true;
}

static struct told
tell(struct arena *a, enum event_type type, const char *subject,
     int64_t version, const char *data)
{
	const char *id;

	return (struct told){type, event_write(a, type, subject, version,
					       json_read(a, data, strlen(data)),
					       &id, NULL)};
}

/* --- one listing's own events, as orders hears them --- */

static atomic_int differing, endless, handed;

/* Makes a history, delivers it, and looks whether the copy is the last one. */
static void
copy_history(struct context *cx, unsigned *state)
{
	struct told told[VERSIONS_MAX];
	struct pile p = {.count = 0};
	struct arena *a = cx->arena;
	struct stuff_copy copy;
	unsigned n = 1 + dice(state, VERSIONS_MAX);
	bool removed = n > 1 && dice(state, 2) == 0;
	char id[ID_SIZE], seller[ID_SIZE];

	id_new(id);
	id_new(seller);
	for (unsigned v = 1; v <= n; v++) {
		bool last = v == n && removed;

		told[v - 1] =
			tell(a,
			     v == 1 ? EVENT_STUFF_CREATED
			     : last ? EVENT_STUFF_REMOVED
				    : EVENT_STUFF_UPDATED,
			     id, v,
			     arena_printf(a,
					  "{\"id\":\"%s\",\"title\":\"v%u\","
					  "\"price\":%u,\"userId\":\"%s\","
					  "\"orderId\":null,\"status\":\"%s\"}",
					  id, v, v * 100, seller,
					  last ? "removed" : "available"));
		put(&p, &told[v - 1], 1 + dice(state, COPIES_MAX));
	}
	handed += (int)p.count;
	if (!deliver(&orders, &p, state))
		endless++;
	else if (store_get(cx, &stuff_copy_kind, id, &copy) != NULL ||
		 copy.price != n * 100 ||
		 strcmp(copy.title, arena_printf(a, "v%u", n)) != 0 ||
		 strcmp(copy.status, removed ? "removed" : "available") != 0)
		differing++;
}

/* --- the orders of one listing, as stuff hears them --- */

static void
orders_history(struct context *cx, unsigned *state)
{
	struct told told[ORDERS_MAX * 2];
	struct pile p = {.count = 0};
	struct arena *a = cx->arena;
	struct stuff s = {.title = "Notes",
			  .description = "",
			  .price = 100,
			  .currency = "usd",
			  .status = STUFF_AVAILABLE};
	unsigned n = 1 + dice(state, ORDERS_MAX), end = dice(state, 3);
	char order[ID_SIZE], buyer[ID_SIZE];

	id_new(buyer);
	memcpy(s.user_id, buyer, ID_SIZE);
	if (store_add(cx, &quiet_stuff, &s) != NULL) {
		endless++;
		return;
	}
	/* All but the last were cancelled; that one too, or it is live, or
	 * complete. */
	for (unsigned i = 0; i < n; i++) {
		unsigned versions = i + 1 == n && end == 1 ? 1 : 2;
		bool complete = i + 1 == n && end == 2;

		id_new(order);
		for (unsigned v = 1; v <= versions; v++) {
			struct told *t = &told[i * 2 + v - 1];

			*t = tell(a,
				  v == 1     ? EVENT_ORDER_CREATED
				  : complete ? EVENT_ORDER_COMPLETED
					     : EVENT_ORDER_CANCELLED,
				  order, v,
				  arena_printf(
					  a,
					  "{\"id\":\"%s\",\"status\":\"x\","
					  "\"userId\":\"%s\",\"expiresAt\":"
					  "\"2038-01-01T00:00:00Z\",\"stuff\":{"
					  "\"id\":\"%s\",\"title\":\"Notes\","
					  "\"price\":100}}",
					  order, buyer, s.head.id));
			put(&p, t, 1 + dice(state, COPIES_MAX));
		}
	}
	handed += (int)p.count;
	if (!deliver(&stuff, &p, state))
		endless++;
	else if (store_get(cx, &quiet_stuff, s.head.id, &s) != NULL ||
		 strcmp(s.order_id, end == 0 ? "" : order) != 0 ||
		 strcmp(s.status, end == 0   ? STUFF_AVAILABLE
				  : end == 1 ? STUFF_RESERVED
					     : STUFF_SOLD) != 0 ||
		 *s.other_id != '\0')
		differing++;
}

/* --- many of them --- */

struct many {
	int count; /* each thread's */
	const struct service *service;
	void (*history)(struct context *cx, unsigned *state);
};

static void
run_some(int i, void *arg)
{
	const struct many *m = arg;
	struct context cx = {.service = m->service, .arena = arena_new()};
	unsigned state = seed + (unsigned)i * 2654435761U;

	if (state == 0)
		state = 1;
	for (int n = 0; n < m->count; n++) {
		m->history(&cx, &state);
		arena_reset(cx.arena);
	}
	arena_free(cx.arena);
}

static void
run_many(int count, const struct service *service,
	 void (*history)(struct context *cx, unsigned *state))
{
	struct many m = {(count + THREADS - 1) / THREADS, service, history};

	differing = endless = handed = 0;
	together(THREADS, run_some, &m);
	tap_note("%d histories of %d events: %d differ, %d do not end",
		 m.count * THREADS, handed, differing, endless);
}

static void
copies_converge(void)
{
	run_many(rounds(HISTORIES), &orders, copy_history);
	TAP_INT(differing, 0);
	TAP_INT(endless, 0);
}

static void
listings_converge(void)
{
	run_many(rounds(LISTINGS), &stuff, orders_history);
	TAP_INT(differing, 0);
	TAP_INT(endless, 0);
}

static void
without_lines(void)
{
	hands_max = 200; /* many of these don't */
	setenv("GUARDS_OFF", "line", 1);
	run_many(rounds(200) + 40, &orders, copy_history);
	CU_ASSERT(differing > 0);
	run_many(rounds(200) + 40, &stuff, orders_history);
	CU_ASSERT(differing + endless > 0);
	unsetenv("GUARDS_OFF");
}

static void
close_services(void)
{
	store_close(orders.store);
	store_close(stuff.store);
	mongoc_cleanup();
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"services of the test's own", open_services},
		{"copies of a record converge", copies_converge},
		{"so does a listing, whatever becomes of its orders",
		 listings_converge},
		{"control: without lines of versions they don't",
		 without_lines},
		{"all is closed", close_services},
		{0},
	};
	const char *given = getenv("T_SEED");

	need_failpoints();
	seed = given ? (unsigned)strtoul(given, NULL, 10)
		     : (unsigned)time(NULL);
	stack_up((const char *const[]){NULL});
	tap_note("T_SEED=%u", seed);
	return tap_run(argc, argv, tests);
}
