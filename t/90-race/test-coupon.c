/* test-coupon.c: a coupon is used as often as it may be, whoever is faster and
 * whatever dies.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "money.h"

#define BUYERS 64

static struct buyer admin;

static void
restart_payments(const char *failpoints, const char *guards)
{
	char *fail = text("FAILPOINTS=%s", failpoints);
	char *off = text("GUARDS_OFF=%s", guards);

	stack_dev((const char *const[]){fail, off, NULL},
		  (const char *const[]){"restart", "payments", NULL});
	free(fail);
	free(off);
}

struct race {
	struct deal deals[BUYERS];
	const char *code;
	atomic_int won, lost, other;
};

static void
redeem(int i, void *arg)
{
	struct race *r = arg;
	const struct deal *d = &r->deals[i];
	int status = buyer_redeems(&d->buyer, d->order, NULL, r->code)->status;

	if (status == 201)
		r->won++;
	else if (status == 409)
		r->lost++;
	else
		r->other++;
}

/* All want the coupon at one moment; how many got it. */
static int
race(struct race *r, int uses)
{
	char *body = text("{\"maxRedemptions\":%d}", uses);
	char *code = coupon_make(&admin, body);
	int64_t taken;

	for (int i = 0; i < BUYERS; i++)
		deal_make(&r->deals[i], 1000);
	r->code = code;
	r->won = r->lost = r->other = 0;
	together(BUYERS, redeem, r);
	taken = coupon_uses(&admin, code);
	if (taken != r->won || r->other > 0)
		tap_note("%d got it, %d came too late, %d read something else, "
			 "%lld uses are taken",
			 r->won, r->lost, r->other, (long long)taken);
	free(body);
	free(code);
	return r->won;
}

static void
the_last_use_by_64_buyers(void)
{
	struct race *r = calloc(1, sizeof(*r));

	for (int i = 0; i < rounds(4); i++) {
		int uses = i % 2 ? 3 : 1;

		TAP_INT(race(r, uses), uses);
		TAP_INT(r->lost, BUYERS - uses);
	}
	/* Who came too late still has the order. */
	for (int i = 0, n = 0; i < BUYERS && n < 3; i++) {
		const struct deal *d = &r->deals[i];
		int status =
			buyer_pays(&d->buyer, d->order, "pm_card_visa")->status;

		CU_ASSERT(status == 201 || status == 409);
		n += status == 201;
	}
	free(r);
}

static void
the_order_that_lapses_gives_it_back(void)
{
	char *code = coupon_make(&admin, "{\"percentOff\":50}"), *body;
	struct deal d;

	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=3");
	deal_make(&d, 1000);
	gateway_script("{\"faults\":[{\"action\":\"status\",\"store\":false,"
		       "\"match\":{\"path\":\"/confirm\"}}]}");
	body = text("{\"orderId\":\"%s\",\"token\":\"pm_card_visa\","
		    "\"coupon\":\"%s\"}",
		    d.order, code);
	TAP_INT(fcgi_call("payments", "POST", "/api/payments", body,
			  d.buyer.token)
			->status,
		503);
	free(body);
	TAP_INT(coupon_uses(&admin, code), 1);
	CU_ASSERT(deal_becomes(&d, "cancelled"));
	gateway_script("{\"reset\":true}");
	for (int i = 0; i < 900 && coupon_uses(&admin, code) != 0; i++)
		clock_sleep(100);
	TAP_INT(coupon_uses(&admin, code), 0);
	stack_restart("orders", NULL);
	deal_make(&d, 1000);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_visa", code)->status,
		201);
	TAP_INT(coupon_uses(&admin, code), 1);
	free(code);
}

static bool
uses_are(const char *code, int n)
{
	for (int i = 0; i < 900 && coupon_uses(&admin, code) != n; i++)
		clock_sleep(100);
	return coupon_uses(&admin, code) == n;
}

/* A use is taken, and nothing is known of it but the note. */
static void
dies_before_there_is_a_payment(void)
{
	char *code = coupon_make(&admin, "{}");
	struct deal d, again;

	restart_payments("coupon-taken=abort", "lease");
	deal_make(&d, 1000);
	buyer_redeems(&d.buyer, d.order, NULL, code);
	payments_start_again();
	TAP_INT(coupon_uses(&admin, code), 1);
	TAP_INT(buyer_cancels(&d.buyer, d.order)->status, 204);
	CU_ASSERT(uses_are(code, 0));

	restart_payments("coupon-taken=abort", "lease");
	deal_make(&d, 1000);
	buyer_redeems(&d.buyer, d.order, NULL, code);
	payments_start_again();
	deal_make(&again, 1000);
	TAP_INT(buyer_redeems(&again.buyer, again.order, NULL, code)->status,
		409);
	TAP_INT(buyer_redeems(&d.buyer, d.order, NULL, code)->status, 201);
	CU_ASSERT(uses_are(code, 1));
	CU_ASSERT(deal_becomes(&d, "complete"));

	/* Pays another way after all. */
	free(code);
	code = coupon_make(&admin, "{}");
	restart_payments("coupon-taken=abort", "lease");
	deal_make(&d, 1000);
	buyer_redeems(&d.buyer, d.order, NULL, code);
	payments_start_again();
	deal_pay(&d);
	CU_ASSERT(uses_are(code, 0));
	free(code);
}

static void
dies_before_the_payment_says_so(void)
{
	char *code = coupon_make(&admin, "{\"percentOff\":50}");
	struct deal d;

	restart_payments("coupon-spent=abort", "lease");
	deal_make(&d, 1000);
	buyer_redeems(&d.buyer, d.order, "pm_card_visa", code);
	payments_start_again();
	CU_ASSERT(deal_becomes(&d, "complete"));
	CU_ASSERT(uses_are(code, 1));
	free(code);

	code = coupon_make(&admin, "{\"percentOff\":50}");
	restart_payments("coupon-returned=abort", "lease");
	deal_make(&d, 1000);
	buyer_redeems(&d.buyer, d.order, "pm_card_chargeCustomerFail", code);
	payments_start_again();
	CU_ASSERT(deal_becomes(&d, "cancelled"));
	CU_ASSERT(uses_are(code, 0));
	free(code);
}

static void
the_books_are_right(void)
{
	CU_ASSERT_TRUE(settles(NULL));
}

/* Without a look at how many are left, in the same write: too many. */
static void
negative_control(void)
{
	struct race *r = calloc(1, sizeof(*r));
	const char *said;

	restart_payments("coupon-checked=sleep:200", "coupon-uses");
	CU_ASSERT(race(r, 1) > 1);
	restart_payments("", "");
	said = checker_says(60, NULL);
	CU_ASSERT(said != NULL && breaks(said, "coupon"));
	free(r);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"the last use by 64 buyers", the_last_use_by_64_buyers},
		{"the order that lapses gives it back",
		 the_order_that_lapses_gives_it_back},
		{"dies before there is a payment",
		 dies_before_there_is_a_payment},
		{"dies before the payment says so",
		 dies_before_the_payment_says_so},
		{"the books are right", the_books_are_right},
		{"negative control: a use is taken without another look",
		 negative_control},
		{0},
	};

	need_failpoints();
	stack_up(NULL);
	admin_make(&admin);
	return tap_run(argc, argv, tests);
}
