/* test-purchase.c: purchases from end to end, through nginx.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"

#define HELD                                                                 \
	"The stuff is being checking out by someone else, please come back " \
	"later"

static struct student *seller, *alice, *bob;

static void
sign_up(void)
{
	seller = student_signed_up();
	alice = student_signed_up();
	bob = student_signed_up();
}

static bool
stuff_becomes(const char *id, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s", id);
	return becomes(seller, path, "status", status);
}

static bool
order_becomes(struct student *s, const char *id, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/orders/%s", id);
	return becomes(s, path, "status", status);
}

static const struct answer *
cancel(struct student *s, const char *order_id)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/orders/%s", order_id);
	return ask(s, "DELETE", path, NULL, NULL);
}

static const struct answer *
order_of(struct student *s, const char *id)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/orders/%s", id);
	return ask(s, "GET", path, NULL, NULL);
}

/* Nobody can buy what is gone. */
static void
sold_for_good(const char *stuff_id)
{
	const struct answer *a;

	CU_ASSERT(stuff_becomes(stuff_id, "sold"));
	a = askf(bob, "POST", "/api/orders", "{\"stuffId\":\"%s\"}", stuff_id);
	TAP_INT(a->status, 409);
	TAP_STRING(answer_text(a, "errors.0.message"), "The stuff is sold");
	CU_ASSERT_PTR_NULL(answer_header(a, "Retry-After"));
}

static void
paid(void)
{
	char *stuff = list_stuff(seller, 1250), *order = buy(alice, stuff);
	const struct answer *a;

	CU_ASSERT(stuff_becomes(stuff, "reserved"));
	a = pay(alice, order, "pm_card_visa");
	TAP_INT(a->status, 201);
	TAP_STRING(answer_text(a, "orderId"), order);
	TAP_INT(answer_int(a, "amount"), 1250);
	CU_ASSERT(order_becomes(alice, order, "complete"));
	sold_for_good(stuff);
	TAP_INT(cancel(alice, order)->status, 409);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
}

static void
declined_by(const char *card)
{
	char *stuff = list_stuff(seller, 900), *order = buy(alice, stuff);
	const struct answer *a = pay(alice, order, card);

	TAP_INT(a->status, 402);
	CU_ASSERT_PTR_NOT_NULL(answer_text(a, "errors.0.message"));
	CU_ASSERT(order_becomes(alice, order, "cancelled"));
	TAP_STRING(answer_text(order_of(alice, order), "reason"),
		   "payment-failed");
	CU_ASSERT(stuff_becomes(stuff, "available"));
	free(order);
	order = buy(bob, stuff);
	TAP_INT(pay(bob, order, "pm_card_visa")->status, 201);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
}

static void
declined(void)
{
	declined_by("pm_card_visa_chargeDeclined");
	declined_by("pm_card_visa_chargeDeclinedInsufficientFunds");
}

/* The order is complete already when the bank takes its word back. */
static void
declined_at_capture(void)
{
	char *stuff = list_stuff(seller, 900), *order = buy(alice, stuff);
	char *card = gateway_post("/v1/payment_methods",
				  "type=card&card[number]=4000000000000994");

	TAP_INT(pay(alice, order, card)->status, 402);
	CU_ASSERT(order_becomes(alice, order, "cancelled"));
	CU_ASSERT(stuff_becomes(stuff, "available"));
	CU_ASSERT_TRUE(settles(NULL));
	free(card);
	free(stuff);
	free(order);
}

static void
for_nothing(void)
{
	char *stuff = list_stuff(seller, 0), *order = buy(alice, stuff);
	const struct answer *a = pay(alice, order, NULL);

	TAP_INT(a->status, 201);
	TAP_INT(answer_int(a, "amount"), 0);
	CU_ASSERT(order_becomes(alice, order, "complete"));
	sold_for_good(stuff);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
}

static void
cancelled_by_buyer(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(alice, stuff);
	char *next;
	const struct answer *a;

	TAP_INT(cancel(bob, order)->status, 403);
	TAP_INT(cancel(alice, order)->status, 204);
	TAP_STRING(answer_text(order_of(alice, order), "reason"), "by-buyer");
	CU_ASSERT(stuff_becomes(stuff, "available"));
	next = buy(bob, stuff);
	/* Once more, nothing happens; least of all to the next buyer. */
	TAP_INT(cancel(alice, order)->status, 204);
	TAP_INT(answer_int(order_of(alice, order), "version"), 2);
	a = pay(alice, order, "pm_card_visa");
	TAP_INT(a->status, 409);
	TAP_STRING(answer_text(a, "errors.0.message"),
		   "The order is cancelled");
	TAP_INT(pay(bob, next, "pm_card_visa")->status, 201);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
	free(next);
}

static void
reserved_stays(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(alice, stuff);
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s", stuff);
	CU_ASSERT(stuff_becomes(stuff, "reserved"));
	TAP_INT(ask(seller, "DELETE", path, NULL, NULL)->status, 409);
	TAP_INT(ask(seller, "PUT", path, "{\"price\":70000}", NULL)->status,
		409);
	TAP_INT(pay(alice, order, "pm_card_visa")->status, 201);
	CU_ASSERT(stuff_becomes(stuff, "sold"));
	TAP_INT(ask(seller, "DELETE", path, NULL, NULL)->status, 409);
	TAP_INT(ask(seller, "PUT", path, "{\"price\":70000}", NULL)->status,
		409);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
}

static void
removed_and_edited(void)
{
	char *stuff = list_stuff(seller, 700), *order;
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s", stuff);
	TAP_INT(ask(seller, "PUT", path, "{\"price\":750}", NULL)->status, 200);
	CU_ASSERT_TRUE(settles(NULL)); /* orders has heard of it */
	order = buy(alice, stuff);
	TAP_INT(answer_int(order_of(alice, order), "stuff.price"), 750);
	CU_ASSERT(stuff_becomes(stuff, "reserved"));
	TAP_INT(cancel(alice, order)->status, 204);
	CU_ASSERT(stuff_becomes(stuff, "available"));
	TAP_INT(ask(seller, "DELETE", path, NULL, NULL)->status, 204);
	CU_ASSERT_TRUE(settles(NULL));
	TAP_INT(askf(alice, "POST", "/api/orders", "{\"stuffId\":\"%s\"}",
		     stuff)
			->status,
		404);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
}

static void
two_buyers(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(alice, stuff),
	     *again;
	const struct answer *a =
		askf(bob, "POST", "/api/orders", "{\"stuffId\":\"%s\"}", stuff);
	const char *wait;

	TAP_INT(a->status, 409);
	TAP_STRING(a->body, "{\"errors\":[{\"message\":\"" HELD "\"}]}");
	wait = answer_header(a, "Retry-After");
	CU_ASSERT_PTR_NOT_NULL_FATAL(wait);
	CU_ASSERT(strtol(wait, NULL, 10) > 880 &&
		  strtol(wait, NULL, 10) <= 900);
	/* Asking again gets the same order, for no longer. */
	again = buy(alice, stuff);
	TAP_STRING(again, order);
	a = askf(seller, "POST", "/api/orders", "{\"stuffId\":\"%s\"}", stuff);
	TAP_INT(a->status, 400);
	TAP_INT(order_of(bob, order)->status, 403);
	TAP_INT(pay(bob, order, "pm_card_visa")->status, 403);
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
	free(again);
}

static const struct answer *
pay_with_key(struct student *s, const char *order_id, const char *token,
	     const char *key)
{
	char *body =
		text("{\"orderId\":\"%s\",\"token\":\"%s\"}", order_id, token);
	char *header = text("Idempotency-Key: %s", key);
	const struct answer *a = ask(s, "POST", "/api/payments", body,
				     (const char *[]){header, NULL});

	free(body);
	free(header);
	return a;
}

static void
paid_again(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(alice, stuff);
	char *body, id[ID_SIZE];
	const struct answer *a =
		pay_with_key(alice, order, "pm_card_visa", "once");

	TAP_INT(a->status, 201);
	CU_ASSERT(order_becomes(alice, order, "complete"));
	CU_ASSERT_TRUE(settles(NULL)); /* captured by now, if not then */
	a = pay_with_key(alice, order, "pm_card_visa", "once");
	TAP_INT(a->status, 201);
	snprintf(id, sizeof(id), "%s", answer_text(a, "id"));
	body = strdup(a->body);
	a = pay(alice, order, "pm_card_visa");
	TAP_INT(a->status, 201);
	TAP_STRING(a->body, body);
	a = pay(alice, order, "pm_card_mastercard");
	TAP_INT(a->status, 409);
	TAP_STRING(answer_text(a, "errors.0.message"),
		   "The order is already paid");
	CU_ASSERT_TRUE(settles(NULL));
	free(body);
	free(stuff);
	free(order);
}

static void
declined_again(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(alice, stuff);
	char *body;
	const struct answer *a =
		pay(alice, order, "pm_card_visa_chargeDeclined");

	TAP_INT(a->status, 402);
	body = strdup(a->body);
	a = pay(alice, order, "pm_card_visa_chargeDeclined");
	TAP_INT(a->status, 402);
	TAP_STRING(a->body, body);
	TAP_INT(pay(alice, order, "pm_card_visa")->status, 409);
	CU_ASSERT_TRUE(settles(NULL));
	free(body);
	free(stuff);
	free(order);
}

/* The last one, since it leaves a short window. */
static void
lapsed(void)
{
	char *stuff = list_stuff(seller, 700), *order, *next;
	const struct answer *a;

	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=2");
	order = buy(alice, stuff);
	CU_ASSERT(order_becomes(alice, order, "cancelled"));
	TAP_STRING(answer_text(order_of(alice, order), "reason"), "expired");
	CU_ASSERT(stuff_becomes(stuff, "available"));
	TAP_INT(pay(alice, order, "pm_card_visa")->status, 409);
	CU_ASSERT_TRUE(settles(NULL));
	stack_restart("orders", NULL);
	next = buy(bob, stuff);
	a = pay(bob, next, "pm_card_visa");
	TAP_INT(a->status, 201);
	CU_ASSERT(stuff_becomes(stuff, "sold"));
	CU_ASSERT_TRUE(settles(NULL));
	free(stuff);
	free(order);
	free(next);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"three students sign up", sign_up},
		{"paid by card: sold", paid},
		{"declined card: free again, and bought by another", declined},
		{"declined at capture: free again", declined_at_capture},
		{"free of charge", for_nothing},
		{"cancelled by its buyer, twice", cancelled_by_buyer},
		{"what is reserved or sold stays as it is", reserved_stays},
		{"edited, then removed", removed_and_edited},
		{"two buyers: one order, and the message", two_buyers},
		{"a payment sent again is the same payment", paid_again},
		{"so is one that was declined", declined_again},
		{"lapsed: free again, and bought by another", lapsed},
		{0},
	};

	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
