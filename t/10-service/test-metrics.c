/* test-metrics.c: what services answer to /metrics, and that it moves.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "misuse.h"

static const char *const services[] = {"auth",	     "stuff",	 "orders",
				       "expiration", "payments", "storefront"};
#define SERVICES (sizeof(services) / sizeof(services[0]))

static struct student *seller, *buyer;

static const char *
metrics(const char *service)
{
	const struct answer *a =
		fcgi_call(service, "GET", "/metrics", NULL, NULL);

	TAP_INT(a->status, 200);
	return a->body;
}

/* The value of a series as it is written, -1 when there is none. */
static double
value(const char *service, const char *series)
{
	const char *p = metrics(service);
	size_t len = strlen(series);

	for (; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, series, len) == 0 && p[len] == ' ')
			return strtod(p + len, NULL);
	}
	return -1;
}

struct wanted {
	const char *service, *series;
	double least, most;
};

static bool
has_value(void *arg)
{
	const struct wanted *w = arg;
	double v = value(w->service, w->series);

	return v >= w->least && v <= w->most;
}

static bool
becomes_between(const char *service, const char *series, double least,
		double most)
{
	struct wanted w = {service, series, least, most};

	if (eventually(20000, has_value, &w))
		return true;
	tap_note("%s: %s is %f", service, series, value(service, series));
	return false;
}

static bool
becomes_at_least(const char *service, const char *series, double least)
{
	return becomes_between(service, series, least, 1e9);
}

static void
sign_up(void)
{
	seller = student_signed_up();
	buyer = student_signed_up();
}

/* Prometheus' own opinion of every service's text. */
static void
well_formed(void)
{
	for (size_t i = 0; i < SERVICES; i++) {
		const char *text = metrics(services[i]);
		FILE *f = popen("promtool check metrics >&2", "w");

		CU_ASSERT_FATAL(f != NULL);
		fputs(text, f);
		TAP_INT(pclose(f), 0);
	}
}

/* Nobody would be called for the first dead event if it made its series. */
static void
dead_events_begin_at_none(void)
{
	TAP_INT(value("orders", "ticketing_events_total{channel="
				"\"stuff:updated\",outcome=\"dead\"}"),
		0);
	TAP_INT(value("expiration", "ticketing_events_total{channel="
				    "\"order:created\",outcome=\"dead\"}"),
		0);
}

static void
not_from_outside(void)
{
	static const char *const paths[] = {"/metrics", "/api/orders/metrics",
					    "/api/orders/../../metrics",
					    "/api/orders/%2e%2e/%2e%2e/metrics",
					    "//metrics"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const struct answer *a =
			ask(buyer, "GET", paths[i], NULL, NULL);

		CU_ASSERT(a->status == 404 || a->status == 400);
		CU_ASSERT_PTR_NULL(strstr(a->body, "ticketing_"));
	}
}

#define REQUESTS "ticketing_requests_total{method="

static void
requests(void)
{
	double before =
		value("stuff", REQUESTS
		      "\"GET\",route=\"/api/stuff/:id\",status=\"404\"}");
	double none =
		value("stuff", REQUESTS "\"-\",route=\"-\",status=\"404\"}");

	before = before < 0 ? 0 : before;
	none = none < 0 ? 0 : none;
	for (int i = 0; i < 3; i++)
		ask(buyer, "GET", "/api/stuff/0123456789abcdef01234567", NULL,
		    NULL);
	TAP_INT(value("stuff", REQUESTS "\"GET\",route=\"/api/stuff/:id\","
					"status=\"404\"}"),
		before + 3);
	/* What a client makes up is no label. */
	ask(buyer, "GET", "/api/stuff/ticketing-made-up", NULL, NULL);
	ask(buyer, "MADEUP", "/api/stuff/ticketing-made-up", NULL, NULL);
	TAP_INT(value("stuff", REQUESTS "\"-\",route=\"-\",status=\"404\"}"),
		none + 2);
	CU_ASSERT_PTR_NULL(strstr(metrics("stuff"), "made-up"));
	CU_ASSERT_PTR_NULL(strstr(metrics("stuff"), "MADEUP"));
	CU_ASSERT(value("stuff", "ticketing_request_seconds_count{method="
				 "\"GET\",route=\"/api/stuff/:id\"}") >= 3);
	CU_ASSERT(value("stuff", "ticketing_database_seconds_count{command="
				 "\"find\",outcome=\"ok\"}") >= 3);
}

static void
a_purchase(void)
{
	char *stuff, *order;
	static const char awaiting[] =
		"ticketing_holds{status=\"awaiting:payment\"}";

	TAP_INT(value("orders", awaiting), 0);
	stuff = list_stuff(seller, 700);
	order = buy(buyer, stuff);
	CU_ASSERT_TRUE(becomes_between("orders", awaiting, 1, 1));
	TAP_INT(pay(buyer, order, "pm_card_visa")->status, 201);
	CU_ASSERT_TRUE(becomes_between("orders", awaiting, 0, 0));
	CU_ASSERT_TRUE(becomes_between(
		"payments", "ticketing_payments{status=\"captured\"}", 1, 1));
	CU_ASSERT_TRUE(becomes_at_least(
		"payments",
		"ticketing_events_total{channel=\"order:completed\","
		"outcome=\"heard\"}",
		1));
	CU_ASSERT_TRUE(
		becomes_at_least("orders",
				 "ticketing_event_delay_seconds_count{channel="
				 "\"payment:created\"}",
				 1));
	CU_ASSERT_TRUE(becomes_at_least(
		"orders", "ticketing_bus_published_total{outcome=\"stored\"}",
		2));
	CU_ASSERT_TRUE(becomes_at_least(
		"payments",
		"ticketing_gateway_seconds_count{call=\"capture\","
		"status=\"200\"}",
		1));
	free(stuff);
	free(order);
}

static void
a_lapse(void)
{
	static const char late[] = "ticketing_expiry_lateness_seconds_count";
	double before = value("expiration", late);
	char *stuff = list_stuff(seller, 700), *order;

	before = before < 0 ? 0 : before;
	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=2");
	order = buy(buyer, stuff);
	CU_ASSERT_TRUE(becomes_at_least("expiration", late, before + 1));
	CU_ASSERT_TRUE(becomes_at_least("expiration",
					"ticketing_expirations_total", 1));
	CU_ASSERT_TRUE(becomes_between("orders",
				       "ticketing_hold_overdue_seconds", 0, 0));
	stack_restart("orders", NULL);
	free(stuff);
	free(order);
}

static void
dead_and_early(void)
{
	bus_put("stuff:updated", "{");
	CU_ASSERT_TRUE(becomes_at_least(
		"orders",
		"ticketing_events_total{channel=\"stuff:updated\","
		"outcome=\"dead\"}",
		1));
	/* Its first version never comes. */
	bus_put_event("user:banned", "0123456789abcdef01234567", 2,
		      "{\"id\":\"0123456789abcdef01234567\"}");
	CU_ASSERT_TRUE(
		becomes_between("stuff", "ticketing_events_parked", 1, 1));
	CU_ASSERT_TRUE(becomes_at_least(
		"stuff",
		"ticketing_events_total{channel=\"user:banned\","
		"outcome=\"early\"}",
		1));
}

static void
without_the_bus(void)
{
	static const char waiting[] =
		"ticketing_outbox_events{collection=\"stuff\"}";

	TAP_INT(value("stuff", waiting), 0);
	stack_kill("nats", "KILL");
	TAP_INT(ask(seller, "POST", "/api/stuff",
		    "{\"title\":\"Notes\",\"price\":100}", NULL)
			->status,
		201);
	CU_ASSERT_TRUE(becomes_between("stuff", "ticketing_bus_up", 0, 0));
	TAP_INT(value("stuff", waiting), 1);
	CU_ASSERT_TRUE(becomes_at_least(
		"stuff",
		"ticketing_outbox_oldest_age_seconds{collection=\"stuff\"}",
		0.1));
	stack_start("nats", NULL);
	CU_ASSERT_TRUE(becomes_between("stuff", waiting, 0, 0));
	CU_ASSERT_TRUE(becomes_between("stuff", "ticketing_bus_up", 1, 1));
}

#define CROWD 1200 /* listings: more than the relay's queue holds */

static void
list_many(int i, void *arg)
{
	const struct buyer *b = arg;

	for (int n = i; n < CROWD; n += 8)
		TAP_INT(fcgi_insist("stuff", "POST", "/api/stuff",
				    "{\"title\":\"Notes\",\"price\":100}",
				    b->token)
				->status,
			201);
}

/* All of them are told when the bus is back. */
static void
a_crowd_without_the_bus(void)
{
	static const char waiting[] =
		"ticketing_outbox_events{collection=\"stuff\"}";
	static const char unsent[] = "{\"outbox.0\":{\"$exists\":true}}";
	struct buyer b;

	buyer_make(&b);
	stack_kill("nats", "KILL");
	together(8, list_many, &b);
	TAP_INT(db_count("stuff", "stuff", unsent), CROWD);
	/* Of more than a thousand it is not said how many. */
	TAP_INT(value("stuff", waiting), 1000);
	stack_start("nats", NULL);
	CU_ASSERT_TRUE(becomes_between("stuff", waiting, 0, 0));
	TAP_INT(db_count("stuff", "stuff", unsent), 0);
	CU_ASSERT(channel_length("stuff:created") >= CROWD);
	/* And while it is there. */
	together(8, list_many, &b);
	CU_ASSERT_TRUE(becomes_between("stuff", waiting, 0, 0));
	CU_ASSERT(channel_length("stuff:created") >= 2 * CROWD);
}

static void
without_the_database(void)
{
	stack_kill("mongo", "STOP");
	CU_ASSERT_TRUE(
		becomes_between("orders", "ticketing_database_up", 0, 0));
	/* What is not known is not told. */
	CU_ASSERT_PTR_NULL(strstr(metrics("orders"), "ticketing_holds{"));
	stack_kill("mongo", "CONT");
	CU_ASSERT_TRUE(
		becomes_between("orders", "ticketing_database_up", 1, 1));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"two students", sign_up},
		{"dead events begin at none", dead_events_begin_at_none},
		{"not routed from outside", not_from_outside},
		{"requests by route and status", requests},
		{"a purchase", a_purchase},
		{"a hold that lapses", a_lapse},
		{"dead and early events", dead_and_early},
		{"promtool finds nothing wrong", well_formed},
		{"the outbox without the bus", without_the_bus},
		{"a crowd without the bus", a_crowd_without_the_bus},
		{"without the database", without_the_database},
		{NULL},
	};

	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
