/* test-refunds.c: refunds, receipts and sales.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "money.h"

static struct buyer admin;

static const struct answer *
call(const struct buyer *b, const char *method, const char *path,
     const char *body)
{
	return fcgi_call("payments", method, path, body, b ? b->token : NULL);
}

static const struct answer *
refund(const struct buyer *by, const struct deal *d, const char *listing)
{
	char path[64], body[64];

	snprintf(path, sizeof(path), "/api/payments/%s/refund", d->order);
	snprintf(body, sizeof(body), "{\"listing\":\"%s\"}", listing);
	return fcgi_insist("payments", "POST", path, body,
			   by ? by->token : NULL);
}

static bool
stuff_becomes(const struct deal *d, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s", d->stuff);
	return buyer_sees(&d->seller, "stuff", path, "status", status, 20000);
}

static void
the_seller_frees_the_listing(void)
{
	struct deal d, stranger;
	const struct answer *a;

	deal_make(&d, 1000);
	TAP_INT(refund(&d.seller, &d, "free")->status, 404);
	deal_pay(&d);
	buyer_make(&stranger.buyer);
	TAP_INT(refund(&stranger.buyer, &d, "free")->status, 403);
	TAP_INT(refund(&d.buyer, &d, "free")->status, 403);
	TAP_INT(refund(NULL, &d, "free")->status, 401);
	TAP_INT(refund(&d.seller, &d, "burnt")->status, 400);
	a = refund(&d.seller, &d, "free");
	TAP_INT(a->status, 200);
	TAP_STRING(answer_text(a, "status"), "refunded");
	TAP_STRING(answer_text(a, "refundedBy"), "seller");
	TAP_INT(answer_int(a, "refunded"), 1000);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	CU_ASSERT(stuff_becomes(&d, "available"));
	TAP_INT(gateway_refunded(d.order), 1000);
	/* Again, and in another way: nothing more happens. */
	TAP_INT(refund(&d.seller, &d, "free")->status, 200);
	TAP_INT(refund(&admin, &d, "removed")->status, 200);
	TAP_INT(gateway_refunded(d.order), 1000);
	TAP_INT(gateway_calls(d.order, "/refunds"), 1);
	TAP_INT(buyer_cancels(&d.buyer, d.order)->status, 409);
	/* It can be sold anew. */
	deal_again(&d);
	deal_pay(&d);
	CU_ASSERT(stuff_becomes(&d, "sold"));
}

static void
an_admin_removes_the_listing(void)
{
	struct deal d;
	const struct answer *a;

	deal_make(&d, 1000);
	deal_pay(&d);
	a = refund(&admin, &d, "removed");
	TAP_INT(a->status, 200);
	TAP_STRING(answer_text(a, "refundedBy"), "admin");
	CU_ASSERT(deal_becomes(&d, "refunded"));
	CU_ASSERT(stuff_becomes(&d, "removed"));
}

static void
what_cost_nothing_needs_no_gateway(void)
{
	char *code = coupon_make(&admin, "{}");
	struct deal d;

	deal_make(&d, 1000);
	TAP_INT(buyer_redeems(&d.buyer, d.order, NULL, code)->status, 201);
	TAP_INT(refund(&d.seller, &d, "free")->status, 200);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	TAP_INT(gateway_calls(d.order, "/"), 0);
	/* It was paid with: what is paid is never given back. */
	TAP_INT(coupon_uses(&admin, code), 1);
	free(code);
}

static void
a_cancelled_order_has_nothing_to_refund(void)
{
	struct deal d;

	deal_make(&d, 1000);
	TAP_INT(buyer_pays(&d.buyer, d.order, "pm_card_chargeCustomerFail")
			->status,
		402);
	TAP_INT(refund(&d.seller, &d, "free")->status, 409);
}

static void
a_lost_answer_refunds_once(void)
{
	struct deal d;
	const struct answer *a;

	deal_make(&d, 1000);
	deal_pay(&d);
	/* As where keys don't count. */
	gateway_script("{\"idempotency\":false,\"faults\":[{\"action\":"
		       "\"drop_after\",\"match\":{\"method\":\"POST\","
		       "\"path\":\"/refunds\"},\"count\":3}]}");
	a = refund(&d.seller, &d, "free");
	CU_ASSERT(a->status == 200 || a->status == 503);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	TAP_INT(refund(&d.seller, &d, "free")->status, 200);
	TAP_INT(gateway_refunded(d.order), 1000);
	gateway_script("{\"reset\":true}");
}

static void
what_the_gateway_refuses_stays_paid(void)
{
	struct deal d;
	const struct answer *a;

	deal_make(&d, 1000);
	deal_pay(&d);
	gateway_script("{\"faults\":[{\"action\":\"status\",\"status\":400,"
		       "\"match\":{\"method\":\"POST\",\"path\":\"/refunds\"},"
		       "\"body\":{\"error\":{\"type\":"
		       "\"invalid_request_error\",\"code\":"
		       "\"charge_disputed\",\"message\":\"It is disputed.\"}}"
		       "}]}");
	a = refund(&d.seller, &d, "free");
	TAP_INT(a->status, 409);
	CU_ASSERT(strstr(a->body, "It is disputed.") != NULL);
	CU_ASSERT(deal_becomes(&d, "complete"));
	gateway_script("{\"reset\":true}");
}

#define REFUSES(more)                                             \
	"{\"faults\":[{\"action\":\"status\",\"status\":402" more \
	",\"match\":{\"method\":\"POST\",\"path\":\"/refunds\"}," \
	"\"count\":1}]}"

/* The gateway keeps what it said under the call's key. */
static void
who_is_refused_may_ask_again(void)
{
	struct deal d;

	deal_make(&d, 1000);
	deal_pay(&d);
	gateway_script(REFUSES(""));
	TAP_INT(refund(&d.seller, &d, "free")->status, 409);
	TAP_INT(refund(&d.seller, &d, "free")->status, 200);
	TAP_INT(gateway_refunded(d.order), 1000);
	CU_ASSERT(stuff_becomes(&d, "available"));
}

/* It is made in the dashboard then: the seller has said what for. */
static void
what_was_refused_and_made_is_as_asked(void)
{
	struct deal d;
	char *intent, *form;

	deal_make(&d, 1000);
	deal_pay(&d);
	gateway_script(REFUSES(""));
	TAP_INT(refund(&d.seller, &d, "free")->status, 409);
	intent = deal_intent(&d);
	form = text("payment_intent=%s", intent);
	free(gateway_post("/v1/refunds", form));
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	CU_ASSERT(stuff_becomes(&d, "available"));
	free(form);
	free(intent);
}

static void
receipts(void)
{
	char *code = coupon_make(&admin, "{\"percentOff\":20}"), path[64];
	struct deal d;
	const struct answer *a;

	deal_make(&d, 1000);
	snprintf(path, sizeof(path), "/api/payments/%s/receipt", d.order);
	TAP_INT(call(&d.buyer, "GET", path, NULL)->status, 404);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_visa", code)->status,
		201);
	a = call(&d.buyer, "GET", path, NULL);
	TAP_INT(a->status, 200);
	TAP_STRING(answer_text(a, "sellerId"), d.seller.id);
	TAP_STRING(answer_text(a, "coupon"), code);
	TAP_STRING(answer_text(a, "status"), "paid");
	TAP_INT(answer_int(a, "price"), 1000);
	TAP_INT(answer_int(a, "discount"), 200);
	TAP_INT(answer_int(a, "amount"), 800);
	CU_ASSERT(strncmp(answer_text(a, "number"), "R-", 2) == 0);
	CU_ASSERT(answer_text(a, "date") != NULL);
	CU_ASSERT(strstr(a->body, "\"title\":\"Notes\"") != NULL);
	TAP_INT(call(&d.seller, "GET", path, NULL)->status, 403);
	TAP_INT(call(NULL, "GET", path, NULL)->status, 401);
	TAP_INT(refund(&d.seller, &d, "free")->status, 200);
	a = call(&d.buyer, "GET", path, NULL);
	TAP_STRING(answer_text(a, "status"), "refunded");
	TAP_INT(answer_int(a, "refunded"), 800);
	free(code);
}

static void
sales(void)
{
	struct deal d, same;
	const struct answer *a;
	json_object *list;

	deal_make(&d, 1000);
	deal_pay(&d);
	same = d;
	TAP_INT(refund(&d.seller, &d, "free")->status, 200);
	CU_ASSERT(deal_becomes(&d, "refunded"));
	CU_ASSERT(stuff_becomes(&d, "available"));
	deal_again(&same);
	deal_pay(&same);
	a = fcgi_call("stuff", "POST", "/api/stuff",
		      "{\"title\":\"=HYPERLINK(\\\"x\\\"), or so\","
		      "\"price\":300}",
		      d.seller.token);
	TAP_INT(a->status, 201);
	snprintf(same.stuff, ID_SIZE, "%s", answer_text(a, "id"));
	TAP_INT(buyer_uploads(&d.seller, same.stuff)->status, 200);
	deal_again(&same);
	deal_pay(&same);
	a = call(&d.seller, "GET", "/api/payments/sales", NULL);
	TAP_INT(a->status, 200);
	TAP_INT(answer_int(a, "sales"), 3);
	TAP_INT(answer_int(a, "earnings"), 1300);
	TAP_INT(answer_int(a, "refunds"), 1);
	TAP_INT(answer_int(a, "refunded"), 1000);
	list = json_member(a->json, "listings", json_type_array);
	TAP_INT(json_object_array_length(list), 2);
	TAP_STRING(json_text(json_object_array_get_idx(list, 0), "stuffId"),
		   same.stuff);
	TAP_STRING(json_text(json_object_array_get_idx(list, 1), "stuffId"),
		   d.stuff);
	a = call(&d.seller, "GET", "/api/payments/sales?format=csv", NULL);
	TAP_INT(a->status, 200);
	TAP_STRING(answer_header(a, "Content-Type"), "text/csv; charset=utf-8");
	/* No spreadsheet takes the title for a formula. */
	CU_ASSERT(strstr(a->body, ",\"'=HYPERLINK(\"\"x\"\"), or so\",") !=
		  NULL);
	CU_ASSERT(strncmp(a->body, "date,orderId,stuffId,", 21) == 0);
	CU_ASSERT(strstr(a->body, ",refunded,") != NULL);
	a = call(&d.buyer, "GET", "/api/payments/sales", NULL);
	TAP_INT(answer_int(a, "sales"), 0);
	TAP_INT(call(NULL, "GET", "/api/payments/sales", NULL)->status, 401);
	TAP_INT(call(&d.seller, "GET", "/api/payments/sales?format=x", NULL)
			->status,
		400);
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
		{"the seller frees the listing", the_seller_frees_the_listing},
		{"an admin removes the listing", an_admin_removes_the_listing},
		{"what cost nothing needs no gateway",
		 what_cost_nothing_needs_no_gateway},
		{"a cancelled order has nothing to refund",
		 a_cancelled_order_has_nothing_to_refund},
		{"a lost answer refunds once", a_lost_answer_refunds_once},
		{"what the gateway refuses stays paid",
		 what_the_gateway_refuses_stays_paid},
		{"who is refused may ask again", who_is_refused_may_ask_again},
		{"what was refused and is made is as it was asked for",
		 what_was_refused_and_made_is_as_asked},
		{"receipts", receipts},
		{"sales", sales},
		{"the books are right", the_books_are_right},
		{0},
	};

	stack_up(NULL);
	admin_make(&admin);
	return tap_run(argc, argv, tests);
}
