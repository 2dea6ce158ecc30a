/* test-refund.c: a refund happens once, whoever asks for it: the seller, an
 * admin and the gateway's dashboard at one moment, and whatever dies.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "money.h"

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

static int
refund(const struct buyer *by, const struct deal *d, const char *listing)
{
	char path[64], body[64];

	snprintf(path, sizeof(path), "/api/payments/%s/refund", d->order);
	snprintf(body, sizeof(body), "{\"listing\":\"%s\"}", listing);
	return fcgi_call("payments", "POST", path, body, by->token)->status;
}

static bool
payment_is(const struct deal *d, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/payments/%s", d->order);
	return buyer_sees(&d->buyer, "payments", path, "status", status, 90000);
}

struct race {
	struct deal deal;
	char *intent;
};

static void
one_of_them(int i, void *arg)
{
	struct race *r = arg;
	char *form;
	int status;

	switch (i % 4) {
	case 0:
		status = refund(&r->deal.seller, &r->deal, "free");
		CU_ASSERT(status == 200 || status == 503);
		break;
	case 1:
		status = refund(&admin, &r->deal, "removed");
		CU_ASSERT(status == 200 || status == 503);
		break;
	case 2: /* refused when another was faster */
		form = text("payment_intent=%s", r->intent);
		free(gateway_post("/v1/refunds", form));
		free(form);
		/* fall through */
	default:
		status = webhook_event(NULL, "charge.refunded", "charge",
				       r->intent)
				 ->status;
		CU_ASSERT(status == 200 || status == 503);
	}
}

static void
all_at_once(void)
{
	for (int i = 0; i < rounds(12); i++) {
		struct race r;

		deal_make(&r.deal, 1000);
		deal_pay(&r.deal);
		r.intent = deal_intent(&r.deal);
		together(8, one_of_them, &r);
		CU_ASSERT(deal_becomes(&r.deal, "refunded"));
		TAP_INT(gateway_refunded(r.deal.order), 1000);
		free(r.intent);
	}
}

static void
dies_before_it_is_saved(void)
{
	struct deal d;

	deal_make(&d, 1000);
	deal_pay(&d);
	restart_payments("refund-answered=abort", "lease");
	refund(&d.seller, &d, "free");
	payments_start_again();
	CU_ASSERT(deal_becomes(&d, "refunded"));
	TAP_INT(gateway_refunded(d.order), 1000);
	TAP_INT(gateway_calls(d.order, "/refunds"), 1);
}

static void
dies_before_the_webhook_is_noted(void)
{
	struct deal d;
	char *intent, *form;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	form = text("payment_intent=%s", intent);
	free(gateway_post("/v1/refunds", form));
	restart_payments("webhook-done=abort", "");
	webhook_insist("evt_once", "charge.refunded", "charge", intent);
	payments_start_again();
	webhook_taken("evt_once", "charge.refunded", "charge", intent);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	free(form);
	free(intent);
}

/* The hold has lapsed, and somebody captured in the dashboard all the same. */
static void
captured_past_us(void)
{
	struct deal d;
	char *intent, *path;

	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=3");
	deal_make(&d, 1000);
	CU_ASSERT(buyer_can_pay(d.order, 2000));
	stack_kill("orders", "KILL");
	TAP_INT(buyer_pays(&d.buyer, d.order, "pm_card_visa")->status, 201);
	intent = deal_intent(&d);
	path = text("/v1/payment_intents/%s/capture", intent);
	free(gateway_post(path, ""));
	webhook_taken(NULL, "payment_intent.succeeded", "payment_intent",
		      intent);
	clock_sleep(3000);
	stack_start("orders", NULL);
	CU_ASSERT(deal_becomes(&d, "cancelled"));
	CU_ASSERT(payment_is(&d, "voided"));
	TAP_INT(gateway_refunded(d.order), 1000);
	free(path);
	free(intent);
}

/*
 * The gateway refuses the first call, whose worker is held up for longer than
 * its lease before it saves that; the next one has the refund by then.  Returns
 * what the first says.
 */
static int
refused_late(struct deal *d, const char *guards)
{
	int status = 0;

	restart_payments("refund-answered=sleep:6000", guards);
	for (int i = 0; i < 5; i++) {
		deal_make(d, 1000);
		deal_pay(d);
		gateway_script(
			"{\"faults\":[{\"action\":\"status\",\"status\":402,"
			"\"store\":false,\"match\":{\"method\":\"POST\","
			"\"path\":"
			"\"/refunds\"},\"count\":1}]}");
		status = refund(&d->seller, d, "free");
		/* 0: nobody came in time to do it again. */
		if (gateway_refunded(d->order) > 0)
			break;
	}
	TAP_INT(gateway_refunded(d->order), 1000);
	return status;
}

static void
goes_on_late(void)
{
	struct deal d;

	TAP_INT(refused_late(&d, "lease"), 503);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	restart_payments("", "");
	CU_ASSERT(buyer_can_buy(d.stuff, 10000));
}

static void
the_books_are_right(void)
{
	CU_ASSERT_TRUE(settles(NULL));
}

/* Who believes an event refunds what nobody wanted refunded. */
static void
an_event_is_believed(void)
{
	struct deal d;
	char *intent;

	restart_payments("", "webhook-truth");
	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	CU_ASSERT(payment_is(&d, "refunded"));
	free(intent);
}

/* Who saves what they found out long ago says no to what was done. */
static void
saved_all_the_same(void)
{
	struct deal d;

	TAP_INT(refused_late(&d, "lease,stale-worker"), 409);
	CU_ASSERT(payment_is(&d, "captured"));
	restart_payments("", ""); /* which finds out */
	CU_ASSERT(deal_becomes(&d, "refunded"));
}

/* Who does not look first takes a refund whose answer was lost for refused. */
static void
nobody_looks(void)
{
	struct deal d;
	const char *said;

	restart_payments("", "refund-look,lease");
	deal_make(&d, 1000);
	deal_pay(&d);
	gateway_script("{\"idempotency\":false,\"faults\":[{\"action\":"
		       "\"drop_after\",\"match\":{\"method\":\"POST\","
		       "\"path\":\"/refunds\"},\"count\":1}]}");
	for (int i = 0; i < 100 && refund(&d.seller, &d, "free") != 409; i++)
		clock_sleep(100);
	CU_ASSERT(payment_is(&d, "captured"));
	said = checker_says(10, NULL);
	CU_ASSERT(said != NULL && breaks(said, "money"));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"seller, admin, dashboard and webhooks at once", all_at_once},
		{"dies before it is saved", dies_before_it_is_saved},
		{"dies before the webhook is noted",
		 dies_before_the_webhook_is_noted},
		{"captured past us", captured_past_us},
		{"goes on when another has done it", goes_on_late},
		{"the books are right", the_books_are_right},
		{"negative control: an event is believed",
		 an_event_is_believed},
		{"negative control: saved all the same", saved_all_the_same},
		{"negative control: nobody looks before refunding",
		 nobody_looks},
		{0},
	};

	need_failpoints();
	stack_up(NULL);
	admin_make(&admin);
	return tap_run(argc, argv, tests);
}
