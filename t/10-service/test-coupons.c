/* test-coupons.c: coupons, as admins and buyers meet them.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
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

static void
only_admins_make_them(void)
{
	struct buyer b;
	const struct answer *a;

	buyer_make(&b);
	TAP_INT(call(NULL, "POST", "/api/coupons", "{}")->status, 401);
	TAP_INT(call(&b, "POST", "/api/coupons", "{}")->status, 403);
	TAP_INT(call(&b, "GET", "/api/coupons", NULL)->status, 403);
	TAP_INT(call(&b, "DELETE", "/api/coupons/X", NULL)->status, 403);
	a = call(&admin, "POST", "/api/coupons", "{}");
	TAP_INT(a->status, 201);
	TAP_INT(answer_int(a, "percentOff"), 100);
	TAP_INT(answer_int(a, "maxRedemptions"), 1);
	TAP_INT(answer_int(a, "redemptions"), 0);
	TAP_STRING(answer_text(a, "expiresAt"), NULL);
	CU_ASSERT(strstr(a->body, "pending") == NULL);
	a = call(&admin, "POST", "/api/coupons",
		 "{\"percentOff\":101,\"maxRedemptions\":0,\"count\":1001,"
		 "\"expiresAt\":\"2020-01-01T00:00:00Z\",\"stuffId\":\"x\"}");
	TAP_INT(a->status, 400);
	for (const char *const *f =
		     (const char *const[]){"percentOff", "maxRedemptions",
					   "count", "expiresAt", "stuffId",
					   NULL};
	     *f != NULL; f++)
		CU_ASSERT(strstr(a->body, *f) != NULL);
}

static void
codes_are_hard_to_guess_and_easy_to_type(void)
{
	char *code = coupon_make(&admin, "{\"percentOff\":50}");
	char path[200], typed[64], *p = typed;
	struct deal d;
	const struct answer *a;

	TAP_INT(strlen(code), 24);
	for (int i = 0; i < 24; i++)
		CU_ASSERT(i % 5 == 4
				  ? code[i] == '-'
				  : isdigit((unsigned char)code[i]) ||
					    (isupper((unsigned char)code[i]) &&
					     strchr("ILOU", code[i]) == NULL));
	/* Small letters, no groups, and letters that look like digits. */
	for (const char *c = code; *c != '\0'; c++)
		if (*c != '-')
			*p++ = *c == '0'   ? 'o'
			       : *c == '1' ? 'l'
					   : (char)tolower((unsigned char)*c);
	*p = '\0';
	deal_make(&d, 1000);
	snprintf(path, sizeof(path), "/api/coupons/%s?orderId=%s", typed,
		 d.order);
	a = call(&d.buyer, "GET", path, NULL);
	TAP_INT(a->status, 200);
	TAP_STRING(answer_text(a, "code"), code);
	TAP_INT(answer_int(a, "discount"), 500);
	TAP_INT(answer_int(a, "amount"), 500);
	TAP_INT(call(&admin, "GET", path, NULL)->status, 403);
	snprintf(path, sizeof(path), "/api/coupons/%s", typed);
	TAP_INT(call(&d.buyer, "GET", path, NULL)->status, 400);
	snprintf(path, sizeof(path),
		 "/api/coupons/0000-0000-0000-0000-0000?orderId=%s", d.order);
	TAP_INT(call(&d.buyer, "GET", path, NULL)->status, 404);
	/* Typed one way and another, it is the same request. */
	a = buyer_redeems(&d.buyer, d.order, "pm_card_visa", code);
	TAP_INT(a->status, 201);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_visa", typed)->status,
		201);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_visa", NULL)->status,
		409);
	TAP_INT(coupon_uses(&admin, code), 1);
	free(code);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
a_thousand_at_once(void)
{
	const struct answer *a = call(&admin, "POST", "/api/coupons",
				      "{\"count\":1000,\"percentOff\":10}");
	const char *codes[1000];

	TAP_INT(a->status, 201);
	TAP_INT(json_object_array_length(a->json), 1000);
	for (size_t i = 0; i < 1000; i++)
		codes[i] = json_text(json_object_array_get_idx(a->json, i),
				     "code");
	qsort(codes, 1000, sizeof(*codes), compare);
	for (size_t i = 1; i < 1000; i++)
		CU_ASSERT(strcmp(codes[i - 1], codes[i]) != 0);
}

static void
listed_and_deleted(void)
{
	char *code = coupon_make(&admin, "{}"), path[64];
	struct deal d;
	const struct answer *a =
		call(&admin, "GET", "/api/coupons?limit=2", NULL);

	TAP_INT(a->status, 200);
	TAP_INT(json_object_array_length(a->json), 2);
	TAP_STRING(json_text(json_object_array_get_idx(a->json, 0), "code"),
		   code);
	CU_ASSERT(strstr(a->headers, "rel=\"next\"") != NULL);
	snprintf(path, sizeof(path), "/api/coupons/%s", code);
	TAP_INT(call(&admin, "DELETE", path, NULL)->status, 204);
	TAP_INT(call(&admin, "DELETE", path, NULL)->status, 204);
	TAP_INT(call(&admin, "DELETE", "/api/coupons/0000-0000-0000-0000-0000",
		     NULL)
			->status,
		404);
	TAP_INT(coupon_uses(&admin, code), -1);
	deal_make(&d, 1000);
	a = buyer_redeems(&d.buyer, d.order, NULL, code);
	TAP_INT(a->status, 400);
	CU_ASSERT(strstr(a->body, "\"field\":\"coupon\"") != NULL);
	free(code);
}

static void
one_that_covers_all_needs_no_gateway(void)
{
	char *code = coupon_make(&admin, "{}");
	struct deal d;
	const struct answer *a;

	deal_make(&d, 1000);
	a = buyer_redeems(&d.buyer, d.order, NULL, code);
	TAP_INT(a->status, 201);
	TAP_INT(answer_int(a, "amount"), 0);
	TAP_INT(answer_int(a, "discount"), 1000);
	CU_ASSERT(deal_becomes(&d, "complete"));
	TAP_INT(gateway_calls(d.order, "/"), 0);
	TAP_INT(coupon_uses(&admin, code), 1);
	deal_make(&d, 1000);
	a = buyer_redeems(&d.buyer, d.order, NULL, code);
	TAP_INT(a->status, 409);
	TAP_STRING(json_text(json_object_array_get_idx(
				     json_member(a->json, "errors",
						 json_type_array),
				     0),
			     "message"),
		   "The coupon is used up");
	/* Who has no coupon after all can still pay. */
	deal_pay(&d);
	free(code);
}

static void
a_part_lowers_the_charge(void)
{
	static const struct {
		int64_t price;
		int percent;
		int64_t amount;
	} cases[] = {
		{1000, 25, 750}, {999, 33, 670}, {10000000, 1, 9900000},
		{100, 90, 50},	 {500, 99, 50},	 {51, 1, -1},
		{50, 10, -1},	 {60, 10, 54},	 {0, 50, -1},
		{50, 100, 0},
	};
	const struct answer *a;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *body = text("{\"percentOff\":%d}", cases[i].percent);
		char *code = coupon_make(&admin, body);
		struct deal d;

		deal_make(&d, cases[i].price);
		a = buyer_redeems(&d.buyer, d.order, "pm_card_visa", code);
		if (cases[i].amount < 0) {
			/* It would be used for nothing. */
			TAP_INT(a->status, 400);
			TAP_INT(coupon_uses(&admin, code), 0);
		} else {
			TAP_INT(a->status, 201);
			TAP_INT(answer_int(a, "amount"), cases[i].amount);
			CU_ASSERT(deal_becomes(&d, "complete"));
		}
		free(code);
		free(body);
	}
}

static void
its_terms_hold(void)
{
	struct deal d, other;
	char *body, *code, at[40];
	struct arena *arena = arena_new();
	const struct answer *a;

	deal_make(&d, 1000);
	deal_make(&other, 1000);
	body = text("{\"stuffId\":\"%s\"}", other.stuff);
	code = coupon_make(&admin, body);
	TAP_INT(buyer_redeems(&d.buyer, d.order, NULL, code)->status, 400);
	TAP_INT(buyer_redeems(&other.buyer, other.order, NULL, code)->status,
		201);
	free(body);
	free(code);
	snprintf(at, sizeof(at), "%s", clock_format(arena, clock_now() + 2000));
	body = text("{\"expiresAt\":\"%s\"}", at);
	code = coupon_make(&admin, body);
	clock_sleep(2100);
	a = buyer_redeems(&d.buyer, d.order, NULL, code);
	TAP_INT(a->status, 400);
	CU_ASSERT(strstr(a->body, "expired") != NULL);
	free(body);
	free(code);
	/* Half off is not all: a card is needed too. */
	code = coupon_make(&admin, "{\"percentOff\":50}");
	a = buyer_redeems(&d.buyer, d.order, NULL, code);
	TAP_INT(a->status, 400);
	CU_ASSERT(strstr(a->body, "\"field\":\"token\"") != NULL);
	TAP_INT(coupon_uses(&admin, code), 0);
	deal_pay(&d);
	free(code);
	arena_free(arena);
}

static void
what_fails_gives_its_use_back(void)
{
	char *code = coupon_make(&admin, "{\"percentOff\":50}");
	struct deal d;

	deal_make(&d, 1000);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_chargeCustomerFail",
			      code)
			->status,
		402);
	CU_ASSERT(deal_becomes(&d, "cancelled"));
	TAP_INT(coupon_uses(&admin, code), 0);
	deal_make(&d, 1000);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_visa", code)->status,
		201);
	TAP_INT(coupon_uses(&admin, code), 1);
	free(code);
}

static bool
is_forgotten(void *arg)
{
	return db_count("payments", "guesses", arg) == 0;
}

static void
guessing_is_rate_limited(void)
{
	struct deal d;
	const struct answer *a = NULL;
	char *code = coupon_make(&admin, "{}");
	char path[200], *of;

	deal_make(&d, 1000);
	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path),
			 "/api/coupons/0000-0000-0000-0000-000%d?orderId=%s", i,
			 d.order);
		a = call(&d.buyer, "GET", path, NULL);
		TAP_INT(a->status, 404);
	}
	a = call(&d.buyer, "GET", path, NULL);
	TAP_INT(a->status, 429);
	CU_ASSERT(answer_header(a, "Retry-After") != NULL);
	/* A right one is no way to learn that either. */
	TAP_INT(buyer_redeems(&d.buyer, d.order, NULL, code)->status, 429);
	TAP_INT(buyer_redeems(&d.buyer, d.order, "pm_card_visa", NULL)->status,
		201);
	free(code);
	/* What was counted is forgotten once it counts no more. */
	of = text("{\"_id\":{\"$oid\":\"%s\"}}", d.buyer.id);
	db_update(
		"payments", "guesses", of,
		"{\"$set\":{\"since\":{\"$date\":\"2020-01-02T03:04:05Z\"}}}");
	CU_ASSERT(eventually(20000, is_forgotten, of));
	free(of);
}

static void
codes_stay_out_of_the_logs(void)
{
	struct student *s = student_signed_up();
	char *command;

	ask(s, "GET", "/api/coupons/SECR-ETCD?orderId=1", NULL, NULL);
	command = text("! grep -l 'SECR-ETCD' '%s'/*.log", stack("LOG_DIR"));
	TAP_INT(system(command), 0);
	free(command);
	student_free(s);
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
		{"only admins make them", only_admins_make_them},
		{"codes are hard to guess and easy to type",
		 codes_are_hard_to_guess_and_easy_to_type},
		{"a thousand at once", a_thousand_at_once},
		{"listed and deleted", listed_and_deleted},
		{"one that covers all needs no gateway",
		 one_that_covers_all_needs_no_gateway},
		{"a part lowers the charge, to 50 cents at least",
		 a_part_lowers_the_charge},
		{"its terms hold", its_terms_hold},
		{"what fails gives its use back",
		 what_fails_gives_its_use_back},
		{"guessing is rate-limited", guessing_is_rate_limited},
		{"codes stay out of the logs", codes_stay_out_of_the_logs},
		{"the books are right", the_books_are_right},
		{0},
	};

	stack_up(NULL);
	admin_make(&admin);
	return tap_run(argc, argv, tests);
}
