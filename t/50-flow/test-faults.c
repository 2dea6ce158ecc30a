/* test-faults.c: the marketplace goes on, or comes back whole, when one of its
 * servers or services is away.
 * SPDX-License-Identifier: MIT */
#include <json-c/json.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "flow.h"

#define ANSWER_MAX 3000 /* ms, whatever is down */

static const char *const services[] = {"auth", "stuff", "orders", "expiration",
				       "payments"};
#define SERVICES (sizeof(services) / sizeof(services[0]))

/* How it is started when it was killed.  A payment whose process died belongs
 * to it for 30 s yet; a test build makes that 1 s. */
static const char *
setting_of(const char *service)
{
	return strcmp(service, "payments") == 0 ? "GUARDS_OFF=lease" : NULL;
}

static void
order_ends(const struct buyer *b, const char *order_id, const char *reason,
	   int64_t ms)
{
	char *path = text("/api/orders/%s", order_id);

	CU_ASSERT(buyer_sees(b, "orders", path, "status", "cancelled", ms));
	CU_ASSERT(buyer_sees(b, "orders", path, "reason", reason, 0));
	free(path);
}

/* --- the bus --- */

static void
bus_absent_at_boot(void)
{
	struct buyer seller, alice, bob;
	char *stuff, *next, *path, order[ID_SIZE];
	const struct answer *a;

	buyer_make(&seller);
	buyer_make(&alice);
	buyer_make(&bob);
	stuff = buyer_lists(&seller, 500);
	CU_ASSERT(buyer_can_buy(stuff, 10000));
	stack_kill("nats", "KILL");
	for (size_t i = 0; i < SERVICES; i++)
		stack_restart(services[i], setting_of(services[i]));

	path = text("/api/stuff/%s", stuff);
	TAP_INT(fcgi_call("stuff", "GET", path, NULL, NULL)->status, 200);
	next = buyer_lists(&seller, 600);
	a = buyer_buys(&alice, stuff);
	TAP_INT(a->status, 201);
	TAP_INT(buyer_buys(&bob, stuff)->status, 409);
	snprintf(order, sizeof(order), "%s", answer_text(a, "id"));
	a = buyer_buys(&alice, stuff);
	snprintf(order, sizeof(order), "%s", answer_text(a, "id"));
	TAP_INT(buyer_cancels(&alice, order)->status, 204);
	a = buyer_buys(&bob, stuff);
	TAP_INT(a->status, 201);
	snprintf(order, sizeof(order), "%s", answer_text(a, "id"));
	a = buyer_pays(&bob, order, "pm_card_visa");
	TAP_INT(a->status, 404); /* payments has not heard of it */
	CU_ASSERT(a->ms < ANSWER_MAX);
	/* A service that can't tell of its changes is no less ready. */
	for (size_t i = 0; i < SERVICES; i++)
		TAP_INT(fcgi_call(services[i], "GET", "/readyz", NULL, NULL)
				->status,
			200);

	stack_start("nats", NULL);
	CU_ASSERT_TRUE(settles(NULL));
	TAP_INT(buyer_pays(&bob, order, "pm_card_visa")->status, 201);
	TAP_INT(buyer_buys(&alice, next)->status, 201);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(next);
	free(path);
}

static void
kill_bus(void)
{
	for (int i = 0; i < 2; i++) {
		some_trade(8);
		stack_kill("nats", "KILL");
		stack_start("nats", NULL);
	}
	some_trade(8);
}

static void
bus_killed(void)
{
	trade_while(kill_bus);
}

/* --- services --- */

static void
kill_services(void)
{
	for (int i = 0; i < rounds(10); i++) {
		const char *name = services[1 + (unsigned)i % (SERVICES - 1)];

		some_trade(3);
		stack_kill(name, "KILL");
		stack_start(name, setting_of(name));
	}
	some_trade(3);
}

static void
services_killed(void)
{
	trade_while(kill_services);
}

/* Its threads may listen at its socket for a moment after it is gone. */
static void
socket_lingers(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/auth.sock",
		 stack("RUN_DIR"));
	stack_kill("auth", "KILL");
	unlink(at.sun_path);
	CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
			listen(fd, 1) == 0);
	stack_start("auth", NULL);
	TAP_INT(fcgi_call("auth", "GET", "/readyz", NULL, NULL)->status, 200);
	close(fd);
}

/* --- deadlines --- */

static void
redis_away(void)
{
	struct buyer seller, alice;
	char *one, *two, order[ID_SIZE];

	buyer_make(&seller);
	buyer_make(&alice);
	one = buyer_lists(&seller, 500);
	two = buyer_lists(&seller, 500);
	CU_ASSERT(buyer_can_buy(one, 10000) && buyer_can_buy(two, 10000));
	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=2");

	snprintf(order, sizeof(order), "%s",
		 answer_text(buyer_buys(&alice, one), "id"));
	CU_ASSERT_TRUE(settles(NULL)); /* expiration has heard of it */
	redis_do("FLUSHALL");
	order_ends(&alice, order, "expired", 16000);

	snprintf(order, sizeof(order), "%s",
		 answer_text(buyer_buys(&alice, two), "id"));
	stack_kill("redis", "KILL");
	order_ends(&alice, order, "expired", 16000);
	stack_start("redis", NULL);
	stack_restart("orders", NULL);
	CU_ASSERT_TRUE(settles(NULL));
	free(one);
	free(two);
}

static void
expiration_away(void)
{
	struct buyer seller, alice, bob;
	char *one, *two, first[ID_SIZE], second[ID_SIZE];
	const struct answer *a;
	int64_t until;

	buyer_make(&seller);
	buyer_make(&alice);
	buyer_make(&bob);
	one = buyer_lists(&seller, 500);
	two = buyer_lists(&seller, 500);
	CU_ASSERT(buyer_can_buy(one, 10000) && buyer_can_buy(two, 10000));
	stack_kill("expiration", "KILL");
	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=1");
	snprintf(first, sizeof(first), "%s",
		 answer_text(buyer_buys(&alice, one), "id"));
	snprintf(second, sizeof(second), "%s",
		 answer_text(buyer_buys(&alice, two), "id"));
	/* The next buyer needs nobody to say that the time is over. */
	until = clock_monotonic() + 1500;
	do {
		a = buyer_buys(&bob, one);
	} while (a->status == 409 && clock_monotonic() < until);
	TAP_INT(a->status, 201);
	order_ends(&alice, first, "expired", 0);
	/* Nor does one whom nobody follows. */
	order_ends(&alice, second, "expired", 15000);
	stack_start("expiration", NULL);
	stack_restart("orders", NULL);
	CU_ASSERT_TRUE(settles(NULL));
	free(one);
	free(two);
}

/* --- the database --- */

static struct buyer seller_of_all;
static char *stuff_of_all, *order_of_all;

static void
ask_without_database(int i, void *arg)
{
	static const char *const paths[][2] = {
		{"stuff", "/api/stuff"},   {"stuff", "/api/stuff/%s"},
		{"orders", "/api/orders"}, {"orders", "/api/orders/%s"},
		{"stuff", "POST"},	   {"orders", "POST"},
		{"payments", "POST"},	   {"payments", "/api/payments/%s"},
		{"auth", "signin"},	   {"auth", "signup"},
	};
	const char *service = paths[i % 10][0], *what = paths[i % 10][1];
	struct student *s = student_new();
	char *auth = text("Authorization: Bearer %s", seller_of_all.token);
	char *path = *what == '/' ? strdup(what)
		     : strcmp(service, "auth") == 0
			     ? text("/api/users/%s", what)
			     : text("/api/%s", service);
	const char *post = *what == '/' ? NULL
			   : strcmp(service, "auth") == 0
				   ? "{\"email\":\"a@example.edu\","
				     "\"password\":\"correct horse\"}"
			   : strcmp(service, "stuff") == 0
				   ? "{\"title\":\"Notes\",\"price\":500}"
				   : NULL;
	char *body = post ? strdup(post)
		     : strcmp(service, "orders") == 0
			     ? text("{\"stuffId\":\"%s\"}", stuff_of_all)
			     : text("{\"orderId\":\"%s\",\"token\":"
				    "\"pm_card_visa\"}",
				    order_of_all);
	char *at = strstr(path, "%s");
	const struct answer *a;

	if (at != NULL) {
		char *full;

		*at = '\0';
		full = text("%s%s", path,
			    strcmp(service, "stuff") == 0 ? stuff_of_all
							  : order_of_all);
		free(path);
		path = full;
	}
	for (int n = 0; n < 3; n++) {
		a = ask(s, *what == '/' ? "GET" : "POST", path,
			*what == '/' ? NULL : body,
			(const char *[]){auth, NULL});
		if (a->status != 503 || a->ms >= ANSWER_MAX) {
			tap_note("%s: %d after %lld ms: %s", path, a->status,
				 (long long)a->ms,
				 a->error ? a->error : a->body);
			++*(atomic_int *)arg;
		} else if (strcmp(a->body,
				  "{\"errors\":[{\"message\":\"Failed to "
				  "connect to database\"}]}") != 0) {
			tap_note("%s: %s", path, a->body);
			++*(atomic_int *)arg;
		}
	}
	student_free(s);
	free(auth);
	free(path);
	free(body);
}

static bool
database_serves(void *arg)
{
	struct buyer *b = arg;
	char body[96];

	snprintf(body, sizeof(body), "{\"stuffId\":\"%s\"}", stuff_of_all);
	return fcgi_call("stuff", "GET", "/api/stuff", NULL, NULL)->status ==
		       200 &&
	       fcgi_call("payments", "GET",
			 "/api/payments/0123456789abcdef"
			 "01234567",
			 NULL, b->token)
			       ->status == 404 &&
	       fcgi_call("orders", "POST", "/api/orders", body, b->token)
			       ->status == 201;
}

static void
database_stopped(void)
{
	struct buyer buyer;
	atomic_int wrong = 0;
	int64_t began;

	buyer_make(&seller_of_all);
	buyer_make(&buyer);
	stuff_of_all = buyer_lists(&seller_of_all, 500);
	CU_ASSERT(buyer_can_buy(stuff_of_all, 10000));
	order_of_all =
		strdup(answer_text(buyer_buys(&buyer, stuff_of_all), "id"));
	CU_ASSERT_TRUE(settles(NULL));
	stack_kill("mongo", "STOP");
	together(20, ask_without_database, &wrong);
	TAP_INT(wrong, 0);
	stack_kill("mongo", "CONT");
	began = clock_monotonic();
	CU_ASSERT(eventually(5000, database_serves, &buyer));
	tap_note("back after %lld ms", (long long)(clock_monotonic() - began));
	TAP_INT(buyer_pays(&buyer, order_of_all, "pm_card_visa")->status, 201);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff_of_all);
	free(order_of_all);
}

static void
freeze_database(void)
{
	for (int i = 0; i < 2; i++) {
		some_trade(8);
		stack_kill("mongo", "STOP");
		clock_sleep(3000); /* is what happens, not a wait for it */
		stack_kill("mongo", "CONT");
	}
	some_trade(8);
}

static void
database_stopped_amid_trade(void)
{
	trade_while(freeze_database);
}

/* Whatever was away, what the services logged is lines of JSON.  Those that
 * begin with "==" are a sanitizer's, which stack_down() looks for. */
static void
logs_are_json(void)
{
	char line[8192];

	for (size_t i = 0; i < SERVICES; i++) {
		char *path = text("%s/%s.log", stack("LOG_DIR"), services[i]);
		FILE *f = fopen(path, "r");
		int lines = 0, others = 0;

		CU_ASSERT_FATAL(f != NULL);
		for (; fgets(line, sizeof(line), f) != NULL; lines++) {
			json_object *o = json_tokener_parse(line);

			if (o == NULL && strncmp(line, "==", 2) == 0)
				continue;
			if (o == NULL && others++ == 0)
				tap_note("%s: %s", services[i], line);
			json_object_put(o);
		}
		fclose(f);
		CU_ASSERT(lines > 0);
		TAP_INT(others, 0);
		free(path);
	}
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"the bus is absent at boot", bus_absent_at_boot},
		{"the bus is killed amid trade", bus_killed},
		{"services are killed amid trade", services_killed},
		{"a service starts though its socket is in use",
		 socket_lingers},
		{"Redis is flushed, and killed", redis_away},
		{"expiration is away past the deadline", expiration_away},
		{"the database stands still: 503 in time", database_stopped},
		{"it stands still amid trade", database_stopped_amid_trade},
		{"all that was logged is JSON", logs_are_json},
		{0},
	};

	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
