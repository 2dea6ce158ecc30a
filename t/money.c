/* money.c: see money.h.
 * SPDX-License-Identifier: MIT */
#include "money.h"

#include "misuse.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "token.h"

#define WEBHOOK_INSIST 20000 /* ms that a webhook is sent again */

void
admin_make(struct buyer *b)
{
	struct arena *a = arena_new();
	struct user user = {.role = "admin", .email = "boss@example.edu"};

	buyer_make(b); /* the key */
	memcpy(user.id, b->id, ID_SIZE);
	snprintf(b->token, sizeof(b->token), "%s", token_make(a, &user));
	arena_free(a);
}

void
payments_start_again(void)
{
	pid_t pid = stack_pid("payments");

	CU_ASSERT(eventually(20000, has_ended, &pid));
	stack_start("payments", NULL);
}

char *
coupon_make(const struct buyer *admin, const char *body)
{
	const struct answer *a = fcgi_insist("payments", "POST", "/api/coupons",
					     body, admin->token);

	TAP_INT(a->status, 201);
	return strdup(a->status == 201 ? answer_text(a, "code") : "");
}

int64_t
coupon_uses(const struct buyer *admin, const char *code)
{
	const struct answer *a =
		fcgi_insist("payments", "GET", "/api/coupons?limit=100", NULL,
			    admin->token);

	TAP_INT(a->status, 200);
	for (size_t i = 0;
	     a->status == 200 && i < json_object_array_length(a->json); i++) {
		json_object *o = json_object_array_get_idx(a->json, i), *n;

		if (strcmp(json_text(o, "code"), code) == 0 &&
		    json_object_object_get_ex(o, "redemptions", &n))
			return json_object_get_int64(n);
	}
	return -1;
}

const struct answer *
buyer_redeems(const struct buyer *b, const char *order_id, const char *token,
	      const char *coupon)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"orderId\":\"%s\"%s%s%s%s%s%s}",
		 order_id, token ? ",\"token\":\"" : "", token ? token : "",
		 token ? "\"" : "", coupon ? ",\"coupon\":\"" : "",
		 coupon ? coupon : "", coupon ? "\"" : "");
	return fcgi_insist("payments", "POST", "/api/payments", body, b->token);
}

void
deal_again(struct deal *d)
{
	const struct answer *a;

	buyer_make(&d->buyer);
	CU_ASSERT(buyer_can_buy(d->stuff, 10000));
	a = buyer_buys(&d->buyer, d->stuff);
	TAP_INT(a->status, 201);
	snprintf(d->order, ID_SIZE, "%s",
		 a->status == 201 ? answer_text(a, "id") : "");
}

void
deal_make(struct deal *d, int64_t price)
{
	char *stuff;

	buyer_make(&d->seller);
	stuff = buyer_lists(&d->seller, price);
	snprintf(d->stuff, ID_SIZE, "%s", stuff);
	free(stuff);
	deal_again(d);
}

void
deal_pay(struct deal *d)
{
	const struct answer *a =
		buyer_pays(&d->buyer, d->order, "pm_card_visa");

	char path[64];

	TAP_INT(a->status, 201);
	/* On a busy machine the answer may be that it goes on. */
	snprintf(path, sizeof(path), "/api/payments/%s", d->order);
	CU_ASSERT(buyer_sees(&d->buyer, "payments", path, "status", "captured",
			     90000));
}

bool
deal_becomes(const struct deal *d, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/orders/%s", d->order);
	return buyer_sees(&d->buyer, "orders", path, "status", status, 90000);
}

/* The gateway's books; to be used before the next question. */
static json_object *
books(const char *list)
{
	char url[256];
	const struct answer *a;

	snprintf(url, sizeof(url), "%s/_books", stack("STRIPE_API_BASE"));
	a = http_plain("GET", url, NULL);
	return json_member(a->json, list, json_type_array);
}

static json_object *
intent_of(const char *order_id)
{
	json_object *list = books("intents");

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i);
		const char *id =
			json_text(json_member(o, "metadata", json_type_object),
				  "order_id");

		if (id != NULL && strcmp(id, order_id) == 0)
			return o;
	}
	return NULL;
}

char *
deal_intent(const struct deal *d)
{
	json_object *o = intent_of(d->order);

	return strdup(o ? json_text(o, "id") : "");
}

int64_t
gateway_refunded(const char *order_id)
{
	json_object *o = intent_of(order_id), *n;

	return o && json_object_object_get_ex(o, "refunded", &n)
		       ? json_object_get_int64(n)
		       : -1;
}

int
gateway_calls(const char *order_id, const char *path)
{
	json_object *list = books("requests");
	int n = 0;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i);
		const char *id = json_text(o, "order_id");

		n += id != NULL && strcmp(id, order_id) == 0 &&
		     strcmp(json_text(o, "method"), "POST") == 0 &&
		     strstr(json_text(o, "path"), path) != NULL;
	}
	return n;
}

char *
webhook_signature(const char *body, int64_t off)
{
	const char *secret = stack("STRIPE_WEBHOOK_SECRET");
	crypto_auth_hmacsha256_state state;
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	char t[24], hex[2 * sizeof(mac) + 1];

	snprintf(t, sizeof(t), "%lld", (long long)(clock_now() / 1000 + off));
	crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret,
				    strlen(secret));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)t,
				      strlen(t));
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)".", 1);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)body,
				      strlen(body));
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
	return text("HTTP_STRIPE_SIGNATURE=t=%s,v0=00,v1=%064d,v1=%s", t, 0,
		    hex);
}

const struct answer *
webhook(const char *body, int64_t off)
{
	char length[40], *signature = webhook_signature(body, off);
	const char *params[] = {"REQUEST_METHOD=POST",
				"SCRIPT_NAME=/api/payments/webhook",
				"CONTENT_TYPE=application/json",
				length,
				signature,
				NULL};
	const struct answer *a;

	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu", strlen(body));
	a = fcgi_ask("payments", params, body, strlen(body));
	free(signature);
	return a;
}

const struct answer *
webhook_event(const char *id, const char *type, const char *object,
	      const char *intent)
{
	bool whole = strcmp(object, "payment_intent") == 0;
	char fresh[ID_SIZE], *body;
	const struct answer *a;

	id_new(fresh);
	body = text("{\"id\":\"%s%s\",\"object\":\"event\",\"type\":\"%s\","
		    "\"data\":{\"object\":{\"object\":\"%s\",\"%s\":\"%s\"}}}",
		    id ? "" : "evt_", id ? id : fresh, type, object,
		    whole ? "id" : "payment_intent", intent);
	a = webhook(body, 0);
	free(body);
	return a;
}

const struct answer *
webhook_insist(const char *id, const char *type, const char *object,
	       const char *intent)
{
	int64_t until = clock_monotonic() + WEBHOOK_INSIST;
	const struct answer *a;

	do
		a = webhook_event(id, type, object, intent);
	while (a->status == 503 && may_insist(until));
	return a;
}

void
webhook_taken(const char *id, const char *type, const char *object,
	      const char *intent)
{
	TAP_INT(webhook_insist(id, type, object, intent)->status, 200);
}
