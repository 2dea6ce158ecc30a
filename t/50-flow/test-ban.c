/* test-ban.c: a ban bites everywhere within two seconds, and an erased account
 * leaves nothing open.
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "browser.h"
#include "clock.h"
#include "flow.h"
#include "misuse.h"

#define BITES 2000 /* ms */
#define NOBODY "0123456789abcdef01234567"

static struct browser *
admin(void)
{
	static struct browser b;

	if (*b.id == '\0') {
		browser_new(&b);
		browser_becomes_admin(&b);
	}
	return &b;
}

/* One request to each service, which all need a signed-in user. */
static const struct call {
	const char *service, *path;
	int status; /* of a user in good standing */
} calls[] = {
	{"auth", "/api/users/sessions", 200},
	{"stuff", "/api/stuff/" NOBODY, 404}, /* DELETE */
	{"orders", "/api/orders", 200},
	{"payments", "/api/payments/" NOBODY, 404},
	/* Replicas of which each hears only some events. */
	{"stuff-2", "/api/stuff/" NOBODY, 404},
	{"orders-2", "/api/orders", 200},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static int
status_of(struct browser *b, const struct call *c)
{
	return browse(b, c->service,
		      strncmp(c->service, "stuff", 5) == 0 ? "DELETE" : "GET",
		      c->path, NULL)
		->status;
}

static char *
new_listing(struct browser *b)
{
	const struct answer *a = browse(b, "stuff", "POST", "/api/stuff",
					"{\"title\":\"Notes\",\"price\":500}");

	struct buyer seller;
	char *id;

	TAP_INT(a->status, 201);
	id = strdup(a->status == 201 ? answer_text(a, "id") : NOBODY);
	snprintf(seller.token, sizeof(seller.token), "%.1000s", b->session);
	TAP_INT(buyer_uploads(&seller, id)->status, 200);
	return id;
}

static const struct answer *
buys(struct browser *b, const char *stuff)
{
	char *body = text("{\"stuffId\":\"%s\"}", stuff);
	const struct answer *a =
		browse(b, "orders", "POST", "/api/orders", body);

	free(body);
	return a;
}

static char *
new_order(struct browser *b, const char *stuff)
{
	const struct answer *a;

	CU_ASSERT(buyer_can_buy(stuff, 10000));
	a = buys(b, stuff);
	TAP_INT(a->status, 201);
	return strdup(a->status == 201 ? answer_text(a, "id") : NOBODY);
}

/* Polls until a document is there. */
struct awaited {
	const char *database, *collection, *filter;
};

static bool
is_there(void *arg)
{
	const struct awaited *w = arg;

	return db_count(w->database, w->collection, w->filter) == 1;
}

/* Waits for the one document that filter, which it frees, finds. */
static void
comes(const char *service, const char *collection, char *filter)
{
	struct awaited w = {service, collection, filter};
	bool so = eventually(10000, is_there, &w);

	if (!so)
		tap_note("not so: %s", filter);
	CU_ASSERT_TRUE(so);
	free(filter);
}

/* Waits until the record has these fields. */
static void
comes_to_be(const char *service, const char *collection, const char *id,
	    const char *fields)
{
	comes(service, collection,
	      text("{\"_id\":{\"$oid\":\"%s\"},%s}", id, fields));
}

/* --- replicas
 * ----------------------------------------------------------------- */

static pid_t
start_replica(const char *service)
{
	char state[256], socket[256], client[64], dev[512];
	int null = open("/dev/null", O_WRONLY);
	pid_t pid;

	snprintf(state, sizeof(state), "DEV_STATE=%s", stack("DEV_STATE"));
	snprintf(socket, sizeof(socket), "FCGI_SOCKET=%s/%s-2.sock",
		 stack("RUN_DIR"), service);
	snprintf(client, sizeof(client), "NATS_CLIENT_ID=%s-2", service);
	snprintf(dev, sizeof(dev), "%s/dev", getenv("top_srcdir"));
	pid = program_start(&(struct program){
		.argv = (const char *const[]){dev, "run", service, NULL},
		.settings = (const char *const[]){state, socket, client, NULL},
		.err = null});
	close(null);
	return pid;
}

static bool
replica_is_up(void *arg)
{
	return fcgi_call(arg, "GET", "/readyz", NULL, NULL)->status == 200;
}

static void
stop_replica(pid_t pid)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
}

/* --- a ban
 * -------------------------------------------------------------------- */

struct loop {
	struct browser b;
	const struct call *call;
	int64_t refused_at; /* when it was, for good; 0: not yet */
	int after;	    /* requests since then that were let in */
};

static atomic_bool over;

static void
keep_asking(int i, void *arg)
{
	struct loop *l = (struct loop *)arg + i;

	while (!over) {
		int status = status_of(&l->b, l->call);

		if (status == 403 && l->refused_at == 0)
			l->refused_at = clock_monotonic();
		else if (status != 403 && l->refused_at != 0)
			l->after++;
		clock_sleep(5);
	}
}

struct banning {
	struct loop loops[CALLS];
	int64_t banned_at;
};

static void
ban_in_a_loop(int i, void *arg)
{
	struct banning *b = arg;

	if (i < (int)CALLS) {
		keep_asking(i, b->loops);
		return;
	}
	clock_sleep(300); /* the loops run */
	browser_bans(admin(), &b->loops[0].b);
	b->banned_at = clock_monotonic();
	for (int left = (int)CALLS; left > 0;) {
		if (clock_monotonic() > b->banned_at + 20000)
			break;
		left = 0;
		for (size_t j = 0; j < CALLS; j++)
			left += status_of(&b->loops[j].b, &calls[j]) != 403;
	}
	clock_sleep(300);
	over = true;
}

static void
test_loop(void)
{
	static struct banning b;
	struct browser user;
	pid_t replicas[] = {start_replica("stuff"), start_replica("orders")};

	CU_ASSERT(eventually(10000, replica_is_up, "stuff-2"));
	CU_ASSERT(eventually(10000, replica_is_up, "orders-2"));
	admin();
	for (int round = 0; round < rounds(3); round++) {
		browser_new(&user);
		for (size_t i = 0; i < CALLS; i++) {
			b.loops[i] =
				(struct loop){.b = user, .call = &calls[i]};
			TAP_INT(status_of(&user, &calls[i]), calls[i].status);
		}
		over = false;
		together(CALLS + 1, ban_in_a_loop, &b);
		for (size_t i = 0; i < CALLS; i++) {
			int64_t ms = b.loops[i].refused_at - b.banned_at;

			tap_note("%s: %lld ms", calls[i].service,
				 (long long)ms);
			CU_ASSERT(b.loops[i].refused_at != 0 && ms < BITES);
			TAP_INT(b.loops[i].after, 0);
		}
	}
	stop_replica(replicas[0]);
	stop_replica(replicas[1]);
}

static void
test_what_they_had(void)
{
	struct browser user, other, reader = {.agent = NULL};
	char *listing, *wanted, *order, *path, *all;
	const struct answer *a;

	browser_new(&user);
	browser_new(&other);
	listing = new_listing(&user);
	wanted = new_listing(&other);
	order = new_order(&user, wanted);
	CU_ASSERT(buyer_can_buy(listing, 10000));
	path = text("/api/stuff/%s", listing);
	all = text("/api/stuff?seller=%s", user.id);

	browser_bans(admin(), &user);
	comes_to_be("orders", "orders", order,
		    "\"status\":\"cancelled\",\"reason\":\"banned\"");
	comes_to_be("stuff", "stuff", wanted, "\"status\":\"available\"");
	comes_to_be("stuff", "stuff", listing, "\"hidden\":\"banned\"");
	comes_to_be("orders", "stuff", listing, "\"hidden\":\"banned\"");
	EXPECT(browse(&reader, "stuff", "GET", path, NULL), 404);
	a = browse(&reader, "stuff", "GET", all, NULL);
	TAP_STRING(a->body, "[]");
	EXPECT(buys(&other, listing), 404);
	TAP_STRING(answer_text(browse(admin(), "stuff", "GET", path, NULL),
			       "hidden"),
		   "banned");
	a = browse(admin(), "stuff", "GET", all, NULL);
	TAP_INT(json_object_array_length(a->json), 1);
	/* Where nobody need be signed in, they are nobody. */
	TAP_STRING(browse(&user, "auth", "GET", "/api/users/currentuser", NULL)
			   ->body,
		   "{\"currentUser\":null}");

	browser_unbans(admin(), &user);
	comes_to_be("orders", "stuff", listing,
		    "\"hidden\":{\"$exists\":false}");
	EXPECT(browse(&reader, "stuff", "GET", path, NULL), 200);
	EXPECT(buys(&other, listing), 201);
	/* The old token stays void, a new one is good at once. */
	EXPECT(browse(&user, "orders", "GET", "/api/orders", NULL), 401);
	EXPECT(browser_signs_in(&user, BROWSER_PASSWORD), 200);
	a = browse(&user, "orders", "GET", "/api/orders", NULL);
	TAP_STRING(answer_text(a, "0.reason"), "banned");
	CU_ASSERT_TRUE(settles(NULL));
	free(listing);
	free(wanted);
	free(order);
	free(path);
	free(all);
}

/* A hold that somebody has on a banned seller's listing is theirs; sold, it
 * is to be seen again, and freed, hidden. */
static void
test_reserved(void)
{
	struct browser seller, buyer;
	char *sold, *freed, *order, *path;

	browser_new(&seller);
	browser_new(&buyer);
	sold = new_listing(&seller);
	freed = new_listing(&seller);
	order = new_order(&buyer, freed);
	path = text("/api/orders/%s", order);
	free(order);
	order = new_order(&buyer, sold);
	browser_bans(admin(), &seller);
	comes_to_be("stuff", "stuff", sold,
		    "\"hidden\":\"banned\",\"status\":\"reserved\"");
	free(freed);
	freed = strdup(answer_text(browse(&buyer, "orders", "GET", path, NULL),
				   "stuff.id"));
	EXPECT(browse(&buyer, "orders", "DELETE", path, NULL), 204);
	comes_to_be("stuff", "stuff", freed,
		    "\"hidden\":\"banned\",\"status\":\"available\"");
	free(path);
	path = text("{\"orderId\":\"%s\",\"token\":\"pm_card_visa\"}", order);
	EXPECT(browse(&buyer, "payments", "POST", "/api/payments", path), 201);
	comes_to_be("stuff", "stuff", sold,
		    "\"hidden\":{\"$exists\":false},\"status\":\"sold\"");
	free(sold);
	free(freed);
	free(order);
	free(path);
}

/* --- the moment of the ban
 * ---------------------------------------------------- */

struct moment {
	struct browser user, other;
	char *wanted;
};

/* Let in while in good standing, and banned before anything is saved. */
static void
do_at_once(int i, void *arg)
{
	struct moment *m = arg;
	struct browser user = m->user;

	if (i == 0) {
		browse(&user, "stuff", "POST", "/api/stuff",
		       "{\"title\":\"Late\",\"price\":500}");
	} else if (i == 1) {
		buys(&user, m->wanted);
	} else {
		clock_sleep(300);
		browser_bans(admin(), &user);
	}
}

/* Waits until what the user made there has these fields. */
static void
moment_comes_to_be(const struct moment *m, const char *service,
		   const char *fields)
{
	comes(service, service,
	      text("{\"userId\":{\"$oid\":\"%s\"},%s}", m->user.id, fields));
}

/* Both services hold what they let in for long enough.  failpoints: more of
 * them, with a comma before; guards_off: or NULL. */
static void
act_at_the_moment(struct moment *m, const char *failpoints,
		  const char *guards_off)
{
	char *slow = text("FAILPOINTS=admitted=sleep:2500%s", failpoints);
	const char *settings[] = {slow, guards_off, NULL};

	admin();
	memset(m, 0, sizeof(*m));
	browser_new(&m->user);
	browser_new(&m->other);
	m->wanted = new_listing(&m->other);
	CU_ASSERT(buyer_can_buy(m->wanted, 10000));
	stack_dev(settings, (const char *[]){"restart", "stuff", NULL});
	stack_dev(settings, (const char *[]){"restart", "orders", NULL});
	together(3, do_at_once, m);
	free(slow);
}

/* What was done is taken back. */
static void
is_undone(struct moment *m)
{
	moment_comes_to_be(m, "stuff", "\"hidden\":\"banned\"");
	moment_comes_to_be(m, "orders", "\"reason\":\"banned\"");
	free(m->wanted);
}

static void
test_moment(void)
{
	struct moment m;

	need_failpoints();
	act_at_the_moment(&m, "", NULL);
	is_undone(&m);
	stack_restart("stuff", NULL);
	stack_restart("orders", NULL);
}

/* Both die when what is new is saved and sent, and not looked at. */
static void
test_moment_dies(void)
{
	struct moment m;

	act_at_the_moment(&m, ",in-flight=abort", NULL);
	CU_ASSERT(eventually(10000, is_dead, (void *)(uintptr_t) "stuff"));
	CU_ASSERT(eventually(10000, is_dead, (void *)(uintptr_t) "orders"));
	moment_comes_to_be(&m, "stuff", "\"hidden\":{\"$exists\":false}");
	moment_comes_to_be(&m, "orders", "\"reason\":{\"$exists\":false}");
	stack_restart("stuff", NULL);
	stack_restart("orders", NULL);
	is_undone(&m);
}

static bool
is_sent_twice_more(void *before)
{
	return channel_length("stuff:created") > *(int64_t *)before + 2;
}

/* The look fails: what is new is sent until it succeeds. */
static void
test_look_fails(void)
{
	int64_t before = channel_length("stuff:created");
	struct browser seller;
	char *id;

	browser_new(&seller);
	stack_restart("stuff", "GUARDS_OFF=added");
	id = new_listing(&seller);
	CU_ASSERT(eventually(20000, is_sent_twice_more, &before));
	stack_restart("stuff", NULL);
	comes_to_be("stuff", "stuff", id, "\"outbox\":{\"$in\":[[],null]}");
	free(id);
}

static void
test_moment_unguarded(void)
{
	static const char sent[] = "\"outbox\":{\"$in\":[[],null]}";
	struct moment m;
	char *fields;

	act_at_the_moment(&m, "", "GUARDS_OFF=look-again");
	fields = text("\"hidden\":{\"$exists\":false},%s", sent);
	moment_comes_to_be(&m, "stuff", fields);
	free(fields);
	fields = text("\"reason\":{\"$exists\":false},%s", sent);
	moment_comes_to_be(&m, "orders", fields);
	free(fields);
	/* What has been sent is not looked at by those who come after. */
	stack_restart("stuff", NULL);
	stack_restart("orders", NULL);
	moment_comes_to_be(&m, "stuff", "\"hidden\":{\"$exists\":false}");
	moment_comes_to_be(&m, "orders", "\"reason\":{\"$exists\":false}");
	free(m.wanted);
}

/* --- without the bus
 * ---------------------------------------------------------- */

static void
test_bus_away(void)
{
	struct browser user;

	admin();
	browser_new(&user);
	stack_kill("nats", "KILL");
	browser_bans(admin(), &user);
	EXPECT(browser_refreshes(&user), 401);
	EXPECT(browser_signs_in(&user, BROWSER_PASSWORD), 403);
	EXPECT(browse(&user, "auth", "GET", "/api/users/me/export", NULL), 403);
	/* The others don't know yet, but for the token's life. */
	EXPECT(browse(&user, "orders", "GET", "/api/orders", NULL), 200);
	stack_start("nats", NULL);
	comes_to_be("orders", "standings", user.id, "\"state\":\"banned\"");
	comes_to_be("payments", "standings", user.id, "\"state\":\"banned\"");
	/* And after a restart, from the first request on. */
	stack_restart("orders", NULL);
	EXPECT(browse(&user, "orders", "GET", "/api/orders", NULL), 403);
}

static void
test_unguarded(void)
{
	struct browser user;

	browser_new(&user);
	stack_restart("orders", "GUARDS_OFF=standing");
	browser_bans(admin(), &user);
	comes_to_be("orders", "standings", user.id, "\"state\":\"banned\"");
	clock_sleep(BITES);
	EXPECT(browse(&user, "orders", "GET", "/api/orders", NULL), 200);
	stack_restart("orders", NULL);
	EXPECT(browse(&user, "orders", "GET", "/api/orders", NULL), 403);
}

/* --- an erased account
 * -------------------------------------------------------- */

static void
test_erased(void)
{
	struct browser user, other;
	char *listing, *held, *sold, *wanted, *order, *holding, *path;

	browser_new(&user);
	browser_new(&other);
	listing = new_listing(&user);
	held = new_listing(&user);
	sold = new_listing(&user);
	wanted = new_listing(&other);
	order = new_order(&other, sold);
	path = text("{\"orderId\":\"%s\",\"token\":\"pm_card_visa\"}", order);
	EXPECT(browse(&other, "payments", "POST", "/api/payments", path), 201);
	comes_to_be("stuff", "stuff", sold, "\"status\":\"sold\"");
	holding = new_order(&other, held);
	comes_to_be("stuff", "stuff", held, "\"status\":\"reserved\"");
	free(order);
	order = new_order(&user, wanted);

	EXPECT(browse(&user, "auth", "DELETE", "/api/users/me",
		      "{\"password\":\"" BROWSER_PASSWORD "\"}"),
	       204);
	comes_to_be("stuff", "stuff", listing, "\"status\":\"removed\"");
	comes_to_be("orders", "orders", order,
		    "\"status\":\"cancelled\",\"reason\":\"by-buyer\"");
	comes_to_be("stuff", "stuff", held,
		    "\"status\":\"reserved\",\"hidden\":\"erased\"");
	free(path);
	path = text("/api/orders/%s", holding);
	EXPECT(browse(&other, "orders", "DELETE", path, NULL), 204);
	comes_to_be("stuff", "stuff", held, "\"status\":\"removed\"");
	/* The books stay. */
	free(path);
	path = text("/api/stuff/%s", sold);
	TAP_STRING(answer_text(browse(&other, "stuff", "GET", path, NULL),
			       "userId"),
		   user.id);
	CU_ASSERT_TRUE(settles(NULL));
	free(listing);
	free(held);
	free(sold);
	free(wanted);
	free(order);
	free(holding);
	free(path);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"refused within 2 s by every service and replica", test_loop},
		{"orders are cancelled, listings hidden, and restored",
		 test_what_they_had},
		{"what others hold of a banned seller", test_reserved},
		{"a listing and a BUY at the moment of the ban", test_moment},
		{"the same, and both die before they look at it again",
		 test_moment_dies},
		{"what can't be looked at doesn't count as sent",
		 test_look_fails},
		{"control: not looked at again", test_moment_unguarded},
		{"with the bus away", test_bus_away},
		{"control: nobody asks for the standing", test_unguarded},
		{"an erased account leaves nothing open", test_erased},
		{0},
	};

	need_failpoints();
	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
