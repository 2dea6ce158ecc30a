/* test-kills.c: a service dies at each of its steps, amid trade.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "flow.h"

#define DIES_WITHIN 30000 /* ms of trade */

static const char *victim, *step;
static int after; /* it dies the so manieth time that it comes there */

/* A payment whose process died belongs to it for 30 s yet; a test build makes
 * that 1 s. */
static void
restart(const char *failpoints)
{
	CU_ASSERT(stack_dev((const char *[]){strcmp(victim, "payments") == 0
						     ? "GUARDS_OFF=lease"
						     : "LOG_LEVEL=info",
					     failpoints, NULL},
			    (const char *[]){"restart", victim, NULL}) == 0);
}

static void
die(void)
{
	char *failpoints = text("FAILPOINTS=%s=abort*%d", step, after);

	/* It may come there while it starts: that is no less a death. */
	stack_dev((const char *[]){strcmp(victim, "payments") == 0
					   ? "GUARDS_OFF=lease"
					   : "LOG_LEVEL=info",
				   failpoints, NULL},
		  (const char *[]){"restart", victim, NULL});
	CU_ASSERT(eventually(DIES_WITHIN, is_dead, (void *)(uintptr_t)victim));
	restart(NULL);
	some_trade(2);
	free(failpoints);
}

/* steps: "saved published". */
static void
dies_at(const char *service, const char *steps, int n)
{
	char name[32];

	victim = service;
	step = name;
	for (const char *p = steps; *p != '\0';) {
		size_t len = strcspn(p, " ");

		snprintf(name, sizeof(name), "%.*s", (int)len, p);
		for (int i = 1; i <= n; i++) {
			int64_t began = clock_monotonic();

			after = 1 + i % 3;
			trade_while(die);
			tap_note("%s died at %s, time %d: %lld ms", service,
				 name, after,
				 (long long)(clock_monotonic() - began));
		}
		p += len + (p[len] == ' ');
	}
}

static void
stuff(void)
{
	dies_at("stuff", "decided saved published applied", rounds(1));
}

static void
orders(void)
{
	dies_at("orders", "decided saved published applied", rounds(1));
}

static void
payments(void)
{
	dies_at("payments",
		"before-intent intent-created intent-saved charged authorized "
		"capture-answered captured cancel-answered saved published "
		"applied",
		rounds(1));
}

static void
expiration(void)
{
	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=1");
	dies_at("expiration", "claimed expired applied", rounds(1));
	stack_restart("orders", NULL);
}

/* --- negative controls --- */

struct deal {
	struct buyer seller, alice;
	char *stuff, order[ID_SIZE];
};

static void
deal_ready(struct deal *d)
{
	buyer_make(&d->seller);
	buyer_make(&d->alice);
	d->stuff = buyer_lists(&d->seller, 500);
	CU_ASSERT(buyer_can_buy(d->stuff, 10000));
}

static void
deal_bought(struct deal *d)
{
	deal_ready(d);
	snprintf(d->order, ID_SIZE, "%s",
		 answer_text(buyer_buys(&d->alice, d->stuff), "id"));
	CU_ASSERT(buyer_can_pay(d->order, 10000));
}

/* Its payment is under way when the process dies; then it comes back. */
static void
dies_while_paying(struct deal *d, const char *guards, const char *failpoints)
{
	deal_bought(d);
	stack_dev((const char *[]){guards, failpoints, NULL},
		  (const char *[]){"restart", "payments", NULL});
	buyer_pays(&d->alice, d->order, "pm_card_visa");
	CU_ASSERT(eventually(10000, is_dead, (void *)(uintptr_t) "payments"));
	stack_restart("payments", guards);
	free(d->stuff);
}

static void
no_key(void)
{
	struct deal d;

	dies_while_paying(&d, "GUARDS_OFF=gateway-key,lease",
			  "FAILPOINTS=charged=abort");
	/* The buyer asks again, for she has no answer. */
	for (int i = 0; i < 20; i++) {
		if (buyer_pays(&d.alice, d.order, "pm_card_visa")->status !=
		    503)
			break;
		clock_sleep(200);
	}
	CU_ASSERT(breaks(checker_says(5, NULL), "money"));
}

static void
no_recovery(void)
{
	struct deal d;

	dies_while_paying(&d, "GUARDS_OFF=gateway-recovery,lease",
			  "FAILPOINTS=charged=abort");
	CU_ASSERT(breaks(checker_says(4, NULL), "motion"));
	stack_restart("payments", NULL);
}

/* Published after it was saved, and not with it. */
static void
no_outbox(void)
{
	struct deal d;

	deal_ready(&d);
	stack_dev((const char *[]){"GUARDS_OFF=outbox",
				   "FAILPOINTS=saved=abort", NULL},
		  (const char *[]){"restart", "orders", NULL});
	buyer_buys(&d.alice, d.stuff);
	CU_ASSERT(eventually(10000, is_dead, (void *)(uintptr_t) "orders"));
	stack_restart("orders", NULL);
	CU_ASSERT(breaks(checker_says(2, NULL), "event"));
	free(d.stuff);
}

/* Nobody looks for what a dead process left in an outbox. */
static void
no_outbox_sweep(void)
{
	struct deal d;

	deal_ready(&d);
	stack_restart("orders", "FAILPOINTS=saved=abort");
	buyer_buys(&d.alice, d.stuff);
	CU_ASSERT(eventually(10000, is_dead, (void *)(uintptr_t) "orders"));
	stack_restart("orders", "GUARDS_OFF=sweep");
	CU_ASSERT(breaks(checker_says(3, NULL), "outbox"));
	stack_restart("orders", NULL);
	free(d.stuff);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"stuff dies at each step", stuff},
		{"orders dies at each step", orders},
		{"payments dies at each step", payments},
		{"expiration dies at each step", expiration},
		{"control: without sweeps an outbox is never emptied",
		 no_outbox_sweep},
		{"control: without recovery the money is set aside for ever",
		 no_recovery},
		{"control: without a key it is charged twice", no_key},
		{"control: without an outbox an event is lost", no_outbox},
		{0},
	};

	need_failpoints();
	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
