/* checkout.c: the quarter of an hour in which somebody may pay.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "pages.h"

/* The gateway's own test payment methods, which work with no live key. */
static const struct {
	const char *method, *label;
} cards[] = {
	{"pm_card_visa", "Test card that pays (Visa \xe2\x80\xa6"
			 "4242)"},
	{"pm_card_chargeCustomerFail",
	 "Test card that is declined (\xe2\x80\xa6"
	 "0341)"},
};

static void
put_order(struct view *v, json_object *order)
{
	json_object *o = model_object(v->model, "order");
	json_object *stuff = json_member(order, "stuff", json_type_object);
	const char *id = model_text(order, "id");
	int64_t until = 0;

	clock_parse(model_text(order, "expiresAt"), &until);
	json_put_text(o, "id", id);
	json_put_text(o, "title", model_text(stuff, "title"));
	json_put_text(o, "listing_url",
		      format_listing_path(v->a, model_text(stuff, "id"),
					  model_text(stuff, "title")));
	json_put_text(o, "price",
		      format_money(v->a, model_int(stuff, "price"), true));
	json_put(o, "expires", format_time_ms(v->a, until));
	json_put_text(o, "seconds_left",
		      arena_printf(v->a, "%lld",
				   (long long)((until - clock_now()) / 1000)));
	json_put_text(o, "cancel_action",
		      arena_printf(v->a, "/checkout/%s/cancel", id));
	model_cover(v, o, model_text(stuff, "id"), model_text(stuff, "title"));
}

/* What the coupon takes off, if it was asked for. */
static int64_t
put_coupon(struct view *v, const struct call *c, int64_t price)
{
	json_object *o;
	int64_t to_pay, off;

	if (!c->good)
		return price;
	o = model_object(v->model, "coupon");
	to_pay = model_int(c->json, "amount");
	off = price - to_pay;
	json_put_text(o, "code", model_text(c->json, "code"));
	json_put_text(
		o, "percent",
		arena_printf(v->a, "%lld",
			     (long long)model_int(c->json, "percentOff")));
	json_put_text(o, "off", format_money(v->a, off, false));
	json_put_text(o, "to_pay", format_money(v->a, to_pay, true));
	model_flag(o, "free", to_pay == 0);
	return to_pay;
}

static void
put_cards(struct view *v)
{
	const char *chosen = v->typed ? form_get(v->typed, "method") : "";
	json_object *list;

	if (*pages_stripe_key != '\0') {
		json_put_text(v->model, "stripe_key", pages_stripe_key);
		return;
	}
	list = model_array(v->model, "cards");
	for (size_t i = 0; i < sizeof(cards) / sizeof(cards[0]); i++)
		model_option(list, cards[i].method, cards[i].label,
			     *chosen ? chosen : cards[0].method);
}

static const char *
typed_coupon(struct view *v)
{
	const char *s = v->typed ? form_get(v->typed, "coupon") : "";

	return s + strspn(s, " \t\n");
}

const struct fail *
checkout_show(struct request *rq)
{
	struct call order = {.what = "your order"};
	struct call coupon = {.what = "the coupon"};
	const char *code, *id = rq->params[0];
	json_object *form;
	int64_t price, to_pay;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	code = typed_coupon(v);
	order.path = arena_printf(v->a, "/api/orders/%s", id);
	coupon.path = arena_printf(v->a, "/api/coupons/%s?orderId=%s",
				   template_encode(v->a, code), id);
	if (*code != '\0')
		VIEW_CALLS(v, &order, &coupon);
	else
		VIEW_CALLS(v, &order);
	if (!order.good)
		return client_fail(v->a, &order);
	if (!orders_open(order.json))
		return view_go(v, arena_printf(v->a, "/orders/%s", id), NULL);
	if (*code != '\0' && !coupon.good && v->fail == NULL)
		v->fail = coupon.status == 404
				  ? fail_field(v->a, NULL, "coupon",
					       "There is no such coupon")
				  : fail_field(v->a, NULL, "coupon",
					       client_fail(v->a, &coupon)
						       ->reasons->msg);
	put_order(v, order.json);
	price = model_int(json_member(order.json, "stuff", json_type_object),
			  "price");
	to_pay = put_coupon(v, &coupon, price);
	json_put_text(v->model, "to_pay", format_money(v->a, to_pay, true));
	model_flag(v->model, "free", to_pay == 0);
	form = model_form(v, arena_printf(v->a, "/checkout/%s", id));
	model_field(v, form, "coupon", "");
	model_field(v, form, "method", "");
	put_cards(v);
	return view_page(v, "checkout", "Checkout",
			 "Pay within the quarter of an hour that it is yours.");
}

/* The API's names for fields of our form. */
static const struct fail *
rename_token(struct view *v, const struct fail *fail)
{
	struct fail *renamed = NULL;

	for (const struct reason *r = fail->reasons; r != NULL; r = r->next)
		if (r->param != NULL)
			renamed =
				fail_field(v->a, renamed,
					   strcmp(r->param, "token") == 0
						   ? "method"
						   : r->param,
					   strcmp(r->param, "token") == 0
						   ? "Please choose how to pay"
						   : r->msg);
	return renamed ? renamed : fail;
}

/* What became of the order when it was not paid decides where to go. */
static const struct fail *
not_paid(struct view *v, const struct fail *fail)
{
	const char *order = arena_printf(v->a, "/orders/%s", v->rq->params[0]);

	if (fail->status == 402) {
		v->fail = fail;
		json_put_text(v->model, "declined", fail->reasons->msg);
		return orders_show(v->rq);
	}
	if (fail->status == 409 &&
	    strcmp(fail->reasons->msg, "The order is already paid") == 0)
		return view_go(v, order, NULL);
	return view_again(v, checkout_show, rename_token(v, fail));
}

const struct fail *
checkout_pay(struct request *rq)
{
	struct call pay = {.what = "the payment", .path = "/api/payments"};
	const char *coupon, *method;
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	if (strcmp(form_get(v->typed, "action"), "apply") == 0)
		return checkout_show(rq);
	coupon = typed_coupon(v);
	method = form_get(v->typed, "method");
	pay.body = json_new_object(v->a);
	json_put_text(pay.body, "orderId", rq->params[0]);
	if (*method != '\0')
		json_put_text(pay.body, "token", method);
	if (*coupon != '\0')
		json_put_text(pay.body, "coupon", coupon);
	fail = view_act(v, &pay);
	if (fail != NULL)
		return not_paid(v, fail);
	return view_go(v, arena_printf(v->a, "/orders/%s", rq->params[0]),
		       "paid");
}

const struct fail *
checkout_cancel(struct request *rq)
{
	struct call cancel = {.what = "your order", .method = "DELETE"};
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	cancel.path = arena_printf(v->a, "/api/orders/%s", rq->params[0]);
	TRY(view_act(v, &cancel));
	return view_go(v, arena_printf(v->a, "/orders/%s", rq->params[0]),
		       "cancelled");
}
