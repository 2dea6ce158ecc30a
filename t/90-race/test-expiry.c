/* test-expiry.c: the end of the time against the payment, and against those
 * who forget it.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "flow.h"

#define PAYERS 20 /* at once; FCGI_WORKERS is above that */

static struct {
	struct buyer seller, buyers[PAYERS];
	char *stuff[PAYERS], order[PAYERS][ID_SIZE];
	atomic_int paid, lapsed, other;
} race;

static void
buy_and_pay(int i, void *arg)
{
	const struct buyer *b = &race.buyers[i];
	const struct answer *a = buyer_buys(b, race.stuff[i]);
	int64_t until = clock_monotonic() + 30000; /* to be heard of */

	(void)arg;
	TAP_INT(a->status, 201);
	snprintf(race.order[i], ID_SIZE, "%s",
		 a->status == 201 ? answer_text(a, "id") : "");
	do {
		a = buyer_pays(b, race.order[i], "pm_card_visa");
	} while (a->status == 404 && clock_monotonic() < until);
	if (a->status == 201 &&
	    strcmp(answer_text(a, "status"), "captured") == 0) {
		race.paid++;
	} else if (a->status == 409) {
		race.lapsed++;
	} else {
		race.other++; /* the answer is not known yet */
	}
}

/* Each of PAYERS buys and pays at once; his bank takes so long. */
static void
pay_against_time(int ms)
{
	char *script = text("{\"faults\":[{\"action\":\"delay\",\"match\":{"
			    "\"path\":\"/confirm$\"},\"ms\":%d}]}",
			    ms);

	gateway_script(script);
	for (int i = 0; i < PAYERS; i++)
		race.stuff[i] = buyer_lists(&race.seller, 500);
	for (int i = 0; i < PAYERS; i++)
		CU_ASSERT(buyer_can_buy(race.stuff[i], 10000));
	together(PAYERS, buy_and_pay, NULL);
	for (int i = 0; i < PAYERS; i++)
		free(race.stuff[i]);
	free(script);
}

static void
payment_against_deadline(void)
{
	int n = rounds(10), paid = 0, lapsed = 0, ms = 500, step = 160;

	buyer_make(&race.seller);
	for (int i = 0; i < PAYERS; i++)
		buyer_make(&race.buyers[i]);
	/* On any machine, this draws near to where either comes first. */
	for (int i = 0; i < n; i++) {
		race.paid = race.lapsed = 0;
		pay_against_time(ms);
		tap_note("%d ms: %d paid in time, %d lapsed", ms, race.paid,
			 race.lapsed);
		paid += race.paid;
		lapsed += race.lapsed;
		ms += race.paid > race.lapsed ? step : -step;
		ms = ms < 0 ? 0 : ms;
		step = step * 3 / 4;
	}
	gateway_script("{\"faults\":[]}");
	tap_note("%d answers came too late", race.other);
	CU_ASSERT(paid > 0 || n < 10);
	CU_ASSERT(lapsed > 0 || n < 10);
	CU_ASSERT_TRUE(settles(NULL));
}

/* The order has ended while nobody could hear of the money. */
static void
orders_away(void)
{
	struct buyer seller, alice;
	char *stuff, order[ID_SIZE], *path;

	buyer_make(&seller);
	buyer_make(&alice);
	stuff = buyer_lists(&seller, 500);
	CU_ASSERT(buyer_can_buy(stuff, 10000));
	snprintf(order, sizeof(order), "%s",
		 answer_text(buyer_buys(&alice, stuff), "id"));
	CU_ASSERT(buyer_can_pay(order, 10000));
	stack_kill("orders", "KILL");
	buyer_pays(&alice, order, "pm_card_visa"); /* or it goes on behind it */
	path = text("/api/payments/%s", order);
	CU_ASSERT(buyer_sees(&alice, "payments", path, "status",
			     "authorized|captured|voided", 10000));
	clock_sleep(1000); /* the order's time; nobody is there to end it */
	stack_start("orders", NULL);
	free(path);
	path = text("/api/orders/%s", order);
	CU_ASSERT(buyer_sees(&alice, "orders", path, "status", "cancelled",
			     15000));
	free(path);
	free(stuff);
}

static void
captured_before_its_time(void)
{
	orders_away();
	CU_ASSERT_TRUE(settles(NULL));
}

/* --- Redis forgets --- */

/* Someone buys, and then Redis is emptied.  Is the order ended? */
static bool
ends_after_flush(int64_t ms)
{
	struct buyer seller, alice;
	char *stuff, order[ID_SIZE], *filter;
	bool ended;
	int64_t until;

	buyer_make(&seller);
	buyer_make(&alice);
	stuff = buyer_lists(&seller, 500);
	CU_ASSERT(buyer_can_buy(stuff, 10000));
	snprintf(order, sizeof(order), "%s",
		 answer_text(buyer_buys(&alice, stuff), "id"));
	CU_ASSERT(breaks_only(checker_says(10, NULL), "")); /* all is heard */
	redis_do("FLUSHALL");
	filter = text("{\"_id\":{\"$oid\":\"%s\"},\"status\":\"cancelled\"}",
		      order);
	until = clock_monotonic() + ms;
	while (!(ended = db_count("orders", "orders", filter) == 1) &&
	       clock_monotonic() < until)
		clock_sleep(20);
	free(filter);
	free(stuff);
	return ended;
}

static void
flushed(void)
{
	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=2");
	CU_ASSERT(ends_after_flush(16000));
	CU_ASSERT_TRUE(settles(NULL));
}

static void
flushed_without_sweeper(void)
{
	CU_ASSERT(stack_dev((const char *[]){"EXPIRATION_WINDOW_SECONDS=2",
					     "GUARDS_OFF=sweeper", NULL},
			    (const char *[]){"restart", "orders", NULL}) == 0);
	CU_ASSERT(ends_after_flush(6000));
	CU_ASSERT_TRUE(settles(NULL));
}

static void
flushed_without_rebuild(void)
{
	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=2");
	stack_restart("expiration", "GUARDS_OFF=rebuild");
	CU_ASSERT(ends_after_flush(16000));
	CU_ASSERT_TRUE(settles(NULL));
}

/* --- negative controls --- */

static void
nobody_remembers(void)
{
	stack_restart("expiration", "GUARDS_OFF=rebuild");
	CU_ASSERT(stack_dev((const char *[]){"EXPIRATION_WINDOW_SECONDS=2",
					     "GUARDS_OFF=sweeper", NULL},
			    (const char *[]){"restart", "orders", NULL}) == 0);
	CU_ASSERT_FALSE(ends_after_flush(4500));
	CU_ASSERT(breaks(checker_says(5, (const char *[]){"--late", "2", NULL}),
			 "late"));
	stack_restart("expiration", NULL);
	stack_restart("orders", NULL);
	CU_ASSERT_TRUE(settles(NULL));
}

static void
captures_at_once(void)
{
	stack_restart("payments", "GUARDS_OFF=wait-for-order");
	orders_away();
	stack_restart("payments", NULL);
	CU_ASSERT(breaks(checker_says(3, NULL), "money"));
}

/* Orders believes whoever comes last. */
static void
no_arbiter(void)
{
	const char *said;

	stack_restart("orders", "GUARDS_OFF=arbiter");
	stack_restart("payments", "FAILPOINTS=charged=sleep:1500");
	pay_against_time(0);
	stack_restart("payments", NULL);
	said = checker_says(5, NULL);
	CU_ASSERT(breaks(said, "holder"));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a payment against the deadline: either, and all of it",
		 payment_against_deadline},
		{"nothing is taken while orders can't say what for",
		 captured_before_its_time},
		{"Redis is flushed: the order ends", flushed},
		{"also when orders does not sweep", flushed_without_sweeper},
		{"also when expiration does not rebuild",
		 flushed_without_rebuild},
		{"control: without either it is held for ever",
		 nobody_remembers},
		{"control: captured at once, money is kept", captures_at_once},
		{"control: without an arbiter the ended order is complete",
		 no_arbiter},
		{0},
	};

	need_failpoints();
	stack_up((const char *const[]){"EXPIRATION_WINDOW_SECONDS=1",
				       "FCGI_WORKERS=32", NULL});
	return tap_run(argc, argv, tests);
}
