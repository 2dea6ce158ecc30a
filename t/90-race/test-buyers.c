/* test-buyers.c: many want the same, at one moment.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "flow.h"

#define BUYERS 64
#define PAYERS 8
#define HELD                                                              \
	"{\"errors\":[{\"message\":\"The stuff is being checking out by " \
	"someone else, please come back later\"}]}"

/* --- 64 buyers of one listing --- */

static struct crowd {
	struct buyer buyers[BUYERS];
	char *stuff;
	atomic_int won, refused, other;
	int winner; /* one of them */
	char order[ID_SIZE];
} crowd;

static void
click_buy(int i, void *arg)
{
	struct crowd *c = arg;
	const struct answer *a = buyer_buys(&c->buyers[i], c->stuff);
	const char *wait = answer_header(a, "Retry-After");

	if (a->status == 201) {
		if (c->won++ == 0) {
			c->winner = i;
			snprintf(c->order, sizeof(c->order), "%s",
				 answer_text(a, "id"));
		}
	} else if (a->status == 409 && strcmp(a->body, HELD) == 0 &&
		   wait != NULL && strtol(wait, NULL, 10) > 0) {
		c->refused++;
	} else {
		c->other++;
		tap_note("%d: %s", a->status, a->error ? a->error : a->body);
	}
}

static void
new_listing(struct crowd *c)
{
	static struct buyer seller;

	if (*seller.id == '\0')
		buyer_make(&seller);
	free(c->stuff);
	c->stuff = buyer_lists(&seller, 500);
	CU_ASSERT(buyer_can_buy(c->stuff, 10000));
}

static void
one_of_many(void)
{
	struct crowd *c = &crowd;
	int n = rounds(200);

	for (int i = 0; i < BUYERS; i++)
		buyer_make(&c->buyers[i]);
	new_listing(c);
	for (int i = 0; i < n; i++) {
		c->won = c->refused = c->other = 0;
		together(BUYERS, click_buy, c);
		TAP_INT(c->won, 1);
		TAP_INT(c->refused, BUYERS - 1);
		TAP_INT(c->other, 0);
		if (c->won != 1)
			break;
		if (i % 4 != 3) {
			TAP_INT(buyer_cancels(&c->buyers[c->winner], c->order)
					->status,
				204);
			continue;
		}
		TAP_INT(buyer_pays(&c->buyers[c->winner], c->order,
				   "pm_card_visa")
				->status,
			201);
		new_listing(c);
	}
	tap_note("%d rounds", n);
	CU_ASSERT_TRUE(settles(NULL));
}

/* --- payments of one order, at once --- */

struct payers {
	const struct buyer *buyer;
	char order[ID_SIZE];
	char *tokens[2];
	atomic_int paid, refused, later, other;
};

static void
click_pay(int i, void *arg)
{
	struct payers *p = arg;
	const struct answer *a =
		buyer_pays(p->buyer, p->order, p->tokens[i % 2]);

	if (a->status == 201) {
		p->paid++;
		TAP_STRING(answer_text(a, "orderId"), p->order);
	} else if (a->status == 409) {
		p->refused++;
	} else if (a->status == 503) {
		p->later++; /* "being processed" */
	} else {
		p->other++;
		tap_note("%d: %s", a->status, a->error ? a->error : a->body);
	}
}

/* "Please ask again", they read: one of the cards has paid. */
static bool
ask_again(void *arg)
{
	const struct payers *p = arg;

	return buyer_pays(p->buyer, p->order, p->tokens[0])->status == 201 ||
	       buyer_pays(p->buyer, p->order, p->tokens[1])->status == 201;
}

/* PAYERS pay n orders, each at one moment: with one card, or two. */
static void
pay_at_once(int n, bool two_cards)
{
	struct crowd *c = &crowd;
	struct payers p = {.buyer = &c->buyers[0]};

	if (*c->buyers[0].id == '\0')
		buyer_make(&c->buyers[0]);
	for (int i = 0; i < n; i++) {
		new_listing(c);
		snprintf(p.order, sizeof(p.order), "%s",
			 answer_text(buyer_buys(p.buyer, c->stuff), "id"));
		for (int j = 0; j < 2; j++)
			p.tokens[j] =
				j == 1 && !two_cards
					? strdup(p.tokens[0])
					: gateway_post("/v1/payment_methods",
						       "type=card&card[number]"
						       "=4242424242424242");
		CU_ASSERT(buyer_can_pay(p.order, 10000));
		p.paid = p.refused = p.later = p.other = 0;
		together(PAYERS, click_pay, &p);
		TAP_INT(p.other, 0);
		CU_ASSERT(p.paid > 0 || eventually(90000, ask_again, &p));
		if (!two_cards)
			TAP_INT(p.refused, 0);
		free(p.tokens[0]);
		free(p.tokens[1]);
	}
}

static void
paid_at_once(void)
{
	pay_at_once(rounds(12), false);
	pay_at_once(rounds(12), true);
	CU_ASSERT_TRUE(settles(NULL));
}

/* --- the seller changes what is being bought --- */

struct deal {
	struct buyer seller;
	int delay; /* ms, of the seller, so that either comes first */
	char *stuff;
};

static void
change_or_buy(int i, void *arg)
{
	struct deal *d = arg;
	char path[64];
	const struct answer *a;

	snprintf(path, sizeof(path), "/api/stuff/%s", d->stuff);
	if (i < 2)
		clock_sleep(d->delay);
	if (i == 0)
		a = fcgi_call("stuff", "DELETE", path, NULL, d->seller.token);
	else if (i == 1)
		a = fcgi_call("stuff", "PUT", path, "{\"price\":990}",
			      d->seller.token);
	else
		a = buyer_buys(&crowd.buyers[i], d->stuff);
	CU_ASSERT(a->status == 200 || a->status == 201 || a->status == 204 ||
		  a->status == 404 || a->status == 409);
}

static void
seller_against_buyers(void)
{
	struct deal d;
	int n = rounds(60);

	if (*crowd.buyers[0].id == '\0')
		for (int i = 0; i < BUYERS; i++)
			buyer_make(&crowd.buyers[i]);
	buyer_make(&d.seller);
	for (int i = 0; i < n; i++) {
		d.stuff = buyer_lists(&d.seller, 500);
		CU_ASSERT(buyer_can_buy(d.stuff, 10000));
		d.delay = i % 6 * 2;
		together(5, change_or_buy, &d);
		free(d.stuff);
	}
	/* Orders of what was removed have ended, what is held is as it was. */
	CU_ASSERT_TRUE(settles(NULL));
	tap_note("%lld removed, %lld orders ended by that",
		 (long long)db_count("stuff", "stuff",
				     "{\"status\":\"removed\"}"),
		 (long long)db_count("orders", "orders",
				     "{\"reason\":\"removed\"}"));
}

/* --- negative controls: without its guard, each of these breaks --- */

static void
edit(int i, void *arg)
{
	struct deal *d = arg;
	char path[64], body[32];

	snprintf(path, sizeof(path), "/api/stuff/%s", d->stuff);
	snprintf(body, sizeof(body), "{\"price\":%d}", 100 + i);
	for (int n = 0; n < 4; n++)
		fcgi_call("stuff", "PUT", path, body, d->seller.token);
}

static void
no_compare_and_set(void)
{
	struct deal d;
	const char *said;

	buyer_make(&d.seller);
	stack_restart("stuff", "GUARDS_OFF=cas");
	d.stuff = buyer_lists(&d.seller, 500);
	together(8, edit, &d);
	stack_restart("stuff", NULL);
	said = checker_says(2, NULL);
	CU_ASSERT(breaks(said, "event"));
	free(d.stuff);
}

static void
payments_of_their_own(void)
{
	stack_restart("payments", "GUARDS_OFF=one-payment");
	pay_at_once(1, true);
	stack_restart("payments", NULL);
	CU_ASSERT(breaks(checker_says(2, NULL), "money"));
}

static void
slots_not_unique(void)
{
	struct crowd *c = &crowd;
	const char *said;

	new_listing(c);
	db_command("orders", "{\"dropIndexes\":\"orders\",\"index\":\"slot\"}");
	c->won = 0;
	together(BUYERS, click_buy, c);
	tap_note("%d orders of one listing", c->won);
	CU_ASSERT(c->won > 1);
	said = checker_says(2, NULL);
	CU_ASSERT(breaks(said, "holder"));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"64 buyers: one order each time", one_of_many},
		{"8 payments of one order: one charge", paid_at_once},
		{"removed and edited while it is bought",
		 seller_against_buyers},
		{"control: without compare-and-set versions are lost",
		 no_compare_and_set},
		{"control: without one id for all, an order is paid twice",
		 payments_of_their_own},
		{"control: without the unique slot it is oversold",
		 slots_not_unique},
		{0},
	};

	need_failpoints();
	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
