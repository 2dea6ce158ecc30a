/* test-webhook.c: what the gateway says of its own accord, and what it forgot
 * to say.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"

static struct buyer admin;

static const struct answer *
payment_of(const struct deal *d)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/payments/%s", d->order);
	return fcgi_call("payments", "GET", path, NULL, d->buyer.token);
}

static bool
stuff_becomes(const struct deal *d, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s", d->stuff);
	return buyer_sees(&d->seller, "stuff", path, "status", status, 20000);
}

/* Somebody gives the money back in the gateway's dashboard. */
static char *
dashboard_refund(const char *intent, int64_t amount)
{
	char *form = text("payment_intent=%s&amount=%lld", intent,
			  (long long)amount);
	char *id = gateway_post("/v1/refunds", form);

	CU_ASSERT(*id != '\0');
	free(form);
	return id;
}

static void
only_what_is_signed_is_heard(void)
{
	static const char body[] =
		"{\"id\":\"evt_1\",\"type\":\"a.b\",\"data\":"
		"{\"object\":{}}}";
	char length[32];
	const char *params[] = {"REQUEST_METHOD=POST",
				"SCRIPT_NAME=/api/payments/webhook", NULL,
				length, NULL};

	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu",
		 sizeof(body) - 1);
	TAP_INT(webhook(body, 0)->status, 200);
	TAP_INT(webhook(body, -290)->status, 200);
	TAP_INT(webhook(body, -310)->status, 400);
	TAP_INT(webhook(body, 310)->status, 400);
	TAP_INT(webhook("[]", 0)->status, 400);
	TAP_INT(webhook("{}", 0)->status, 400);
	TAP_INT(webhook("", 0)->status, 400);
	for (const char *const *h =
		     (const char *const[]){"HTTP_STRIPE_SIGNATURE=t=1,v1=00",
					   "HTTP_STRIPE_SIGNATURE=v1=",
					   "HTTP_STRIPE_SIGNATURE=t=,v1=,",
					   "HTTP_STRIPE_SIGNATURE=,,,",
					   "HTTP_STRIPE_SIGNATURE=t=9e9,v1=z",
					   NULL};
	     *h != NULL; h++) {
		params[2] = *h;
		TAP_INT(fcgi_ask("payments", params, body, sizeof(body) - 1)
				->status,
			400);
	}
	params[2] = "HTTP_ACCEPT=*/*";
	TAP_INT(fcgi_ask("payments", params, body, sizeof(body) - 1)->status,
		400);
}

static void
refunded_in_the_dashboard(void)
{
	struct deal d;
	char *intent;
	const struct answer *a;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	/* What an event says is not believed. */
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	TAP_STRING(answer_text(payment_of(&d), "status"), "captured");
	/* A part of it is only noted. */
	free(dashboard_refund(intent, 400));
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	a = payment_of(&d);
	TAP_STRING(answer_text(a, "status"), "captured");
	TAP_INT(answer_int(a, "refunded"), 400);
	free(dashboard_refund(intent, 600));
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	a = payment_of(&d);
	TAP_STRING(answer_text(a, "status"), "refunded");
	TAP_STRING(answer_text(a, "refundedBy"), "gateway");
	CU_ASSERT(deal_becomes(&d, "refunded"));
	CU_ASSERT(stuff_becomes(&d, "removed"));
	free(intent);
}

static void
each_event_once(void)
{
	struct deal d;
	char *intent, *body;
	int before;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	body = text("evt_%s", d.order);
	webhook_taken(body, "payment_intent.succeeded", "payment_intent",
		      intent);
	/* The second is known, and the gateway is not asked again. */
	gateway_script("{\"faults\":[{\"action\":\"status\",\"match\":"
		       "{\"method\":\"GET\"}}]}");
	webhook_taken(body, "payment_intent.succeeded", "payment_intent",
		      intent);
	TAP_INT(webhook_event(NULL, "payment_intent.succeeded",
			      "payment_intent", intent)
			->status,
		503);
	gateway_script("{\"reset\":true}");
	before = (int)db_count("payments", "webhooks", "{}");
	webhook_taken(NULL, "customer.created", "customer", "x");
	webhook_taken(NULL, "charge.succeeded", "charge", "pi_other");
	TAP_INT(db_count("payments", "webhooks", "{}"), before + 1);
	free(body);
	free(intent);
}

static bool
is_forgotten(void *arg)
{
	return db_count("payments", "webhooks", arg) == 0;
}

/* Its id is kept for a month, ten times as long as it may come again. */
static void
what_is_long_ago_is_forgotten(void)
{
	char event[64], *intent, *old;
	struct deal d;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	for (int i = 0; i < 2; i++) {
		snprintf(event, sizeof(event), "evt_%d_%s", i, d.order);
		webhook_taken(event, "payment_intent.succeeded",
			      "payment_intent", intent);
	}
	old = text("{\"event\":\"evt_0_%s\"}", d.order);
	TAP_INT(db_count("payments", "webhooks", old), 1);
	db_update("payments", "webhooks", old,
		  "{\"$set\":{\"createdAt\":{\"$date\":"
		  "\"2020-01-02T03:04:05Z\"}}}");
	stack_restart("payments", NULL);
	CU_ASSERT(eventually(20000, is_forgotten, old));
	free(old);
	old = text("{\"event\":\"evt_1_%s\"}", d.order);
	TAP_INT(db_count("payments", "webhooks", old), 1);
	free(old);
	free(intent);
}

static void
disputes_are_flagged(void)
{
	struct deal d;
	char *intent, *path;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	path = text("/v1/payment_intents/%s/_dispute", intent);
	free(gateway_post(path, "status=needs_response"));
	webhook_taken(NULL, "charge.dispute.created", "dispute", intent);
	TAP_STRING(answer_text(payment_of(&d), "dispute"), "needs_response");
	TAP_INT(answer_int(fcgi_call("payments", "GET", "/api/payments/sales",
				     NULL, d.seller.token),
			   "disputes"),
		1);
	free(gateway_post(path, "status=won"));
	webhook_taken(NULL, "charge.dispute.closed", "dispute", intent);
	/* The first one, late: what holds is what the gateway says now. */
	webhook_taken(NULL, "charge.dispute.created", "dispute", intent);
	TAP_STRING(answer_text(payment_of(&d), "dispute"), "won");
	free(path);
	free(intent);
}

static void
a_refund_that_fails_later_is_noticed(void)
{
	struct deal d;
	char *intent, *refund, *path, *filter;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	refund = dashboard_refund(intent, 1000);
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	path = text("/v1/refunds/%s/_fail", refund);
	free(gateway_post(path, ""));
	webhook_taken(NULL, "refund.failed", "refund", intent);
	filter =
		text("{\"_id\":{\"$oid\":\"%s\"},\"alert\":{\"$exists\":true}}",
		     d.order);
	TAP_INT(db_count("payments", "payments", filter), 1);
	/* So that the books are right below. */
	free(dashboard_refund(intent, 1000));
	webhook_taken(NULL, "refund.updated", "refund", intent);
	TAP_INT(db_count("payments", "payments", filter), 0);
	free(filter);
	free(path);
	free(refund);
	free(intent);
}

static void
large_ones_come_through_nginx(void)
{
	struct student *s = student_new();
	char *body = malloc(300000);

	memset(body, ' ', 299999);
	body[200000] = '\0';
	/* From anywhere: it is the signature that counts. */
	TAP_INT(ask(s, "POST", "/api/payments/webhook", body,
		    (const char *const[]){"Origin: https://elsewhere.example",
					  NULL})
			->status,
		400);
	body[200000] = ' ';
	body[299999] = '\0';
	TAP_INT(ask(s, "POST", "/api/payments/webhook", body, NULL)->status,
		413);
	body[100000] = '\0';
	TAP_INT(ask(s, "POST", "/api/payments", body, NULL)->status, 413);
	free(body);
	student_free(s);
}

static bool
succeeds(void *command)
{
	return system(command) == 0;
}

static void
what_it_forgot_to_say_is_found(void)
{
	struct deal d;
	char *intent, *command;

	deal_make(&d, 1000);
	deal_pay(&d);
	intent = deal_intent(&d);
	free(dashboard_refund(intent, 1000));
	/* It looks at once when it starts, and then every minute. */
	stack_restart("payments", NULL);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	command = text("grep -q '\"msg\":\"reconciled\".*\"mended\":1' "
		       "'%s/payments.log'",
		       stack("LOG_DIR"));
	CU_ASSERT(eventually(20000, succeeds, command));
	free(command);
	free(intent);
}

static void
the_books_are_right(void)
{
	CU_ASSERT_TRUE(settles(NULL));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"only what is signed is heard", only_what_is_signed_is_heard},
		{"refunded in the dashboard", refunded_in_the_dashboard},
		{"each event once", each_event_once},
		{"what is long ago is forgotten",
		 what_is_long_ago_is_forgotten},
		{"disputes are flagged", disputes_are_flagged},
		{"a refund that fails later is noticed",
		 a_refund_that_fails_later_is_noticed},
		{"large ones come through nginx",
		 large_ones_come_through_nginx},
		{"what it forgot to say is found",
		 what_it_forgot_to_say_is_found},
		{"the books are right", the_books_are_right},
		{0},
	};

	stack_up(NULL);
	admin_make(&admin);
	return tap_run(argc, argv, tests);
}
