/* test-payments.c: payments over its own socket, the bus and the gateway.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "flow.h"
#include "misuse.h"

#define UNKNOWN "0123456789abcdef01234567"
#define HOUR 3600000 /* ms */

static struct buyer ann, bob;

/* Tells what orders would: of an order of ann's. */
static void
tell_order(const char *channel, const char *id, int version, int64_t price,
	   int64_t expires_at)
{
	struct arena *a = arena_new();

	bus_put_event(channel, id, version,
		      arena_printf(a,
				   "{\"id\":\"%s\",\"status\":\"%s\","
				   "\"userId\":\"%s\",\"expiresAt\":\"%s\","
				   "\"stuff\":{\"id\":\"%s\",\"title\":"
				   "\"Notes\",\"price\":%lld}}",
				   id,
				   strcmp(channel, "order:completed") == 0
					   ? "complete"
					   : strchr(channel, ':') + 1,
				   ann.id, clock_format(a, expires_at), id,
				   (long long)price));
	arena_free(a);
}

static void
new_order(char id[ID_SIZE], int64_t price)
{
	id_new(id);
	tell_order("order:created", id, 1, price, clock_now() + HOUR);
}

static const struct answer *
show(const struct buyer *by, const char *id)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/payments/%s", id);
	return fcgi_call("payments", "GET", path, NULL, by ? by->token : NULL);
}

static bool
becomes_status(const char *id, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/payments/%s", id);
	return buyer_sees(&ann, "payments", path, "status", status, 20000);
}

static void
test_pay(void)
{
	char id[ID_SIZE];
	const struct answer *a;

	new_order(id, 500);
	a = buyer_pays(&ann, id, "pm_card_visa");
	EXPECT(a, 201);
	TAP_STRING(names_of(a),
		   "id version orderId amount discount coupon currency status "
		   "reason createdAt capturedAt refunded refundedAt "
		   "refundedBy listing dispute");
	TAP_STRING(answer_text(a, "orderId"), id);
	TAP_INT(answer_int(a, "amount"), 500);
	TAP_STRING(answer_text(a, "currency"), "usd");
	/* Nothing is taken before orders has decided. */
	TAP_STRING(answer_text(a, "status"), "authorized");
	tell_order("order:completed", id, 2, 500, clock_now() + HOUR);
	CU_ASSERT_TRUE(becomes_status(id, "captured"));
	a = buyer_pays(&ann, id, "pm_card_visa");
	EXPECT(a, 201);
	TAP_STRING(answer_text(a, "status"), "captured");
	EXPECT_ERROR(buyer_pays(&ann, id, "pm_card_mastercard"), 409,
		     "The order is already paid");
	EXPECT(show(&bob, id), 403);
	EXPECT(show(NULL, id), 401);
	EXPECT(buyer_pays(&bob, id, "pm_card_visa"), 403);
	TAP_INT(channel_length("payment:created"), 1);
}

static void
test_cancelled(void)
{
	char id[ID_SIZE];

	new_order(id, 500);
	EXPECT(buyer_pays(&ann, id, "pm_card_visa"), 201);
	tell_order("order:cancelled", id, 2, 500, clock_now() + HOUR);
	CU_ASSERT_TRUE(becomes_status(id, "voided"));
	EXPECT_ERROR(buyer_pays(&ann, id, "pm_card_visa"), 409,
		     "The order is cancelled");
}

static void
test_declined(void)
{
	char id[ID_SIZE];
	const struct answer *a;

	new_order(id, 500);
	for (int i = 0; i < 2; i++) {
		a = buyer_pays(&ann, id, "pm_card_visa_chargeDeclined");
		EXPECT_ERROR(a, 402, "Your card was declined.");
	}
	EXPECT_ERROR(buyer_pays(&ann, id, "pm_card_visa"), 409,
		     "The payment has failed");
	a = show(&ann, id);
	TAP_STRING(answer_text(a, "status"), "failed");
	TAP_STRING(answer_text(a, "reason"), "Your card was declined.");
}

static void
test_free(void)
{
	char id[ID_SIZE];

	new_order(id, 0);
	EXPECT(buyer_pays(&ann, id, NULL), 201);
	tell_order("order:completed", id, 2, 0, clock_now() + HOUR);
	CU_ASSERT_TRUE(becomes_status(id, "captured"));
}

static void
test_may_not(void)
{
	char id[ID_SIZE];

	EXPECT(buyer_pays(&ann, UNKNOWN, "pm_card_visa"), 404);
	EXPECT(show(&ann, UNKNOWN), 404);
	EXPECT(show(&ann, "12"), 404);
	id_new(id);
	tell_order("order:created", id, 1, 500, clock_now() - 1);
	EXPECT_ERROR(buyer_pays(&ann, id, "pm_card_visa"), 409,
		     "The order has expired");
	new_order(id, 500);
	EXPECT_FIELDS(buyer_pays(&ann, id, NULL), "token");
	EXPECT(show(&ann, id), 404); /* nothing was saved of these */
}

static void
test_bad_bodies(void)
{
	static const struct {
		const char *body, *fields;
	} bad[] = {
		{"{}", "orderId"},
		{"{\"orderId\":\"12\",\"token\":5}", "orderId token"},
		{"{\"orderId\":{\"$gt\":\"\"}}", "orderId"},
		{"{\"orderId\":\"" UNKNOWN "\",\"token\":\"\"}", "token"},
		{"{\"orderId\":\"" UNKNOWN "\",\"token\":\"pm_a/../b\"}",
		 "token"},
		{"{\"orderId\":\"" UNKNOWN "\",\"token\":\"4242424242424242\"}",
		 "token"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_FIELDS(fcgi_call("payments", "POST", "/api/payments",
					bad[i].body, ann.token),
			      bad[i].fields);
}

/* What is heard in disorder is applied in order. */
static void
test_disorder(void)
{
	char id[ID_SIZE];

	id_new(id);
	tell_order("order:cancelled", id, 2, 500, clock_now() + HOUR);
	EXPECT(buyer_pays(&ann, id, "pm_card_visa"), 404);
	tell_order("order:created", id, 1, 500, clock_now() + HOUR);
	tell_order("order:created", id, 1, 500, clock_now() + HOUR);
	for (int i = 0; i < 500; i++) {
		const struct answer *a = buyer_pays(&ann, id, NULL);

		if (a->status == 409)
			break;
		clock_sleep(10);
	}
	EXPECT_ERROR(buyer_pays(&ann, id, "pm_card_visa"), 409,
		     "The order is cancelled");
}

static void
test_idempotency_key(void)
{
	char id[ID_SIZE], body[128], length[32], cookie[1100];
	const char *params[] = {"REQUEST_METHOD=POST",
				"SCRIPT_NAME=/api/payments",
				"CONTENT_TYPE=application/json",
				length,
				cookie,
				"HTTP_IDEMPOTENCY_KEY=once",
				NULL};

	new_order(id, 500);
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=__Host-session=%s",
		 ann.token);
	for (int i = 0; i < 2; i++) {
		snprintf(body, sizeof(body),
			 "{\"orderId\":\"%s\",\"token\":\"pm_card_%s\"}", id,
			 i == 0 ? "visa" : "mastercard");
		snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu",
			 strlen(body));
		EXPECT(fcgi_ask("payments", params, body, strlen(body)), 201);
	}
}

static int64_t
count_payments(void)
{
	return db_count("payments", "payments", "{}");
}

static char good_body[128];

/* A good request that can be made again and again: one that was answered. */
static void
test_target(void)
{
	char id[ID_SIZE];

	new_order(id, 500);
	EXPECT(buyer_pays(&ann, id, "pm_card_visa"), 201);
	tell_order("order:completed", id, 2, 500, clock_now() + HOUR);
	CU_ASSERT_TRUE(becomes_status(id, "captured"));
	snprintf(good_body, sizeof(good_body),
		 "{\"orderId\":\"%s\",\"token\":\"pm_card_visa\"}", id);
	target.body = good_body;
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"pay", test_pay},
		{"the order is cancelled", test_cancelled},
		{"declined", test_declined},
		{"free stuff", test_free},
		{"what may not be paid", test_may_not},
		{"bad bodies", test_bad_bodies},
		{"events in disorder", test_disorder},
		{"an idempotency key", test_idempotency_key},
		{"what is misused below", test_target},
		MISUSE_TESTS,
		{"forged tokens", try_tokens},
		{NULL},
	};
	static const char *const others[] = {"stuff", "orders", "expiration"};

	stack_up(NULL);
	/* The test tells what they would. */
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		stack_dev(NULL, (const char *[]){"kill", others[i], NULL});
	buyer_make(&ann);
	buyer_make(&bob);
	target = (struct target){
		.service = "payments",
		.collection = "/api/payments",
		.path = "/api/payments",
		.token = ann.token,
		.status = 201,
		.count = count_payments,
	};
	return tap_run(argc, argv, tests);
}
