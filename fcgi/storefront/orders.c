/* orders.c: what somebody bought, or was about to.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "pages.h"

#define PAGE_SIZE 20
#define FILES_MAX 20 /* listings whose files a page asks for at once */

bool
orders_open(json_object *order)
{
	int64_t until;

	return (model_is(order, "status", "created") ||
		model_is(order, "status", "awaiting:payment")) &&
	       clock_parse(model_text(order, "expiresAt"), &until) == 0 &&
	       clock_now() < until;
}

static const char *
reason_text(json_object *order)
{
	static const struct {
		const char *reason, *text;
	} reasons[] = {
		{"by-buyer", "You let it go."},
		{"payment-failed", "The payment failed."},
		{"removed", "The seller removed the listing."},
		{"banned", "It was cancelled by an admin."},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (model_is(order, "reason", reasons[i].reason))
			return reasons[i].text;
	return "The time to pay ran out.";
}

static void
put_state(json_object *to, json_object *order)
{
	json_object *state = model_object(to, "state");
	bool paid = model_is(order, "status", "complete");
	bool refunded = model_is(order, "status", "refunded");
	bool open = orders_open(order);
	bool cancelled = !paid && !refunded && !open;

	model_flag(state, "open", open);
	model_flag(state, "paid", paid);
	model_flag(state, "refunded", refunded);
	model_flag(state, "cancelled", cancelled);
	json_put_text(state, "text",
		      paid	 ? "Paid"
		      : refunded ? "Refunded"
		      : open	 ? "Waiting for payment"
				 : "Cancelled");
	if (cancelled)
		json_put_text(to, "reason", reason_text(order));
}

static json_object *
order_model(struct view *v, json_object *order)
{
	json_object *o = json_object_new_object();
	json_object *stuff = json_member(order, "stuff", json_type_object);
	const char *id = model_text(order, "id");
	const char *stuff_id = model_text(stuff, "id");
	const char *title = model_text(stuff, "title");

	json_put_text(o, "id", id);
	json_put_text(o, "url", arena_printf(v->a, "/orders/%s", id));
	json_put_text(o, "title", title);
	json_put_text(o, "price",
		      format_money(v->a, model_int(stuff, "price"), true));
	json_put_text(o, "listing_url",
		      format_listing_path(v->a, stuff_id, title));
	json_put(o, "created",
		 format_time(v->a, json_text(order, "createdAt")));
	json_put(o, "expires",
		 format_time(v->a, json_text(order, "expiresAt")));
	put_state(o, order);
	model_cover(v, o, stuff_id, title);
	if (orders_open(order))
		json_put_text(o, "checkout_url",
			      arena_printf(v->a, "/checkout/%s", id));
	if (model_is(order, "status", "complete"))
		json_put_text(o, "download_url",
			      arena_printf(v->a, "/download/%s", stuff_id));
	if (model_is(order, "status", "complete") ||
	    model_is(order, "status", "refunded"))
		json_put_text(o, "receipt_url",
			      arena_printf(v->a, "/orders/%s/receipt", id));
	return o;
}

static const char *
list_path(struct view *v)
{
	const char *cursor = form_get(&v->query, "cursor");

	return arena_printf(v->a, "/api/orders?limit=%d%s%s", PAGE_SIZE,
			    *cursor ? "&cursor=" : "",
			    template_encode(v->a, cursor));
}

static size_t
length(const struct call *c)
{
	return c->good && json_object_is_type(c->json, json_type_array)
		       ? json_object_array_length(c->json)
		       : 0;
}

const struct fail *
orders_list(struct request *rq)
{
	struct call c = {.what = "your orders"};
	json_object *list;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	c.path = list_path(v);
	VIEW_CALLS(v, &c);
	if (c.status == 401 || c.status == 403)
		return client_fail(v->a, &c);
	if (view_has(v, &c)) {
		list = model_array(v->model, "orders");
		for (size_t i = 0; i < length(&c); i++)
			json_object_array_add(
				list, order_model(v, json_object_array_get_idx(
							     c.json, i)));
		model_flag(v->model, "empty", length(&c) == 0);
		model_paging(v, "/orders", &c);
	}
	return view_page(v, "orders", "Your orders",
			 "What you bought, or were about to.");
}

static void
put_payment(struct view *v, json_object *payment)
{
	json_object *o = model_object(v->model, "payment");
	int64_t discount = model_int(payment, "discount");
	const char *status = model_text(payment, "status");

	json_put_text(o, "amount",
		      format_money(v->a, model_int(payment, "amount"), true));
	if (discount > 0)
		json_put_text(o, "discount",
			      format_money(v->a, discount, false));
	if (json_text(payment, "coupon") != NULL)
		json_put_text(o, "coupon", model_text(payment, "coupon"));
	json_put_text(o, "status",
		      strcmp(status, "captured") == 0	 ? "Paid"
		      : strcmp(status, "refunded") == 0	 ? "Refunded"
		      : strcmp(status, "refunding") == 0 ? "Being refunded"
		      : strcmp(status, "failed") == 0	 ? "Failed"
		      : strcmp(status, "voided") == 0	 ? "Not charged"
							 : "Being paid");
	if (json_text(payment, "reason") != NULL)
		json_put_text(o, "reason", model_text(payment, "reason"));
}

const struct fail *
orders_show(struct request *rq)
{
	struct call order = {.what = "your order"};
	struct call payment = {.what = "the payment"};
	struct call stuff = {.what = "the file's name"};
	json_object *o;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	order.path = arena_printf(v->a, "/api/orders/%s", rq->params[0]);
	payment.path = arena_printf(v->a, "/api/payments/%s", rq->params[0]);
	VIEW_CALLS(v, &order, &payment);
	if (!order.good)
		return client_fail(v->a, &order);
	o = order_model(v, order.json);
	json_put(v->model, "order", o);
	if (payment.status != 404 && view_has(v, &payment))
		put_payment(v, payment.json);
	if (model_is(order.json, "status", "complete")) {
		stuff.path =
			arena_printf(v->a, "/api/stuff/%s",
				     model_text(json_member(order.json, "stuff",
							    json_type_object),
						"id"));
		VIEW_CALLS(v, &stuff);
		if (view_has(v, &stuff))
			model_file(v, o, stuff.json);
	}
	if (model_is(order.json, "status", "cancelled"))
		json_put_text(o, "again_url", model_text(o, "listing_url"));
	return view_page(v, "order",
			 arena_printf(v->a, "Your order: %s",
				      model_text(o, "title")),
			 "Your order, and what became of it.");
}

const struct fail *
orders_receipt(struct request *rq)
{
	struct call c = {.what = "the receipt"};
	json_object *r, *items, *item = NULL;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	c.path = arena_printf(v->a, "/api/payments/%s/receipt", rq->params[0]);
	TRY(view_need(v, &c));
	items = json_member(c.json, "items", json_type_array);
	if (items != NULL && json_object_array_length(items) > 0)
		item = json_object_array_get_idx(items, 0);
	r = model_object(v->model, "receipt");
	json_put_text(r, "number", model_text(c.json, "number"));
	json_put(r, "date", format_time(v->a, json_text(c.json, "date")));
	json_put_text(r, "title", model_text(item, "title"));
	json_put_text(r, "price",
		      format_money(v->a, model_int(c.json, "price"), true));
	json_put_text(r, "amount",
		      format_money(v->a, model_int(c.json, "amount"), false));
	if (json_text(c.json, "coupon") != NULL) {
		json_put_text(r, "coupon", model_text(c.json, "coupon"));
		json_put_text(r, "discount",
			      format_money(v->a, model_int(c.json, "discount"),
					   false));
	}
	model_flag(r, "paid", model_is(c.json, "status", "paid"));
	model_flag(r, "refunded", model_is(c.json, "status", "refunded"));
	if (model_int(c.json, "refunded") > 0)
		json_put_text(r, "refunded_amount",
			      format_money(v->a, model_int(c.json, "refunded"),
					   false));
	json_put(r, "refunded_at",
		 format_time(v->a, json_text(c.json, "refundedAt")));
	json_put_text(r, "seller_id", model_text(c.json, "sellerId"));
	json_put_text(r, "buyer_id", model_text(c.json, "buyerId"));
	json_put_text(r, "order_url",
		      arena_printf(v->a, "/orders/%s", rq->params[0]));
	return view_page(v, "receipt", "Receipt", "Your receipt.");
}

/* --- the library ---------------------------------------------------------- */

static void
put_item(struct view *v, json_object *list, json_object *order,
	 const struct call *stuff)
{
	json_object *o = order_model(v, order);

	json_put_text(o, "order_url", model_text(o, "url"));
	json_put(o, "bought", format_time(v->a, json_text(order, "createdAt")));
	if (stuff->good)
		model_file(v, o, stuff->json);
	json_object_array_add(list, o);
}

/* What was bought and paid; their files' names come from stuff, all at once. */
static void
put_items(struct view *v, const struct call *orders)
{
	json_object *list = model_array(v->model, "items"), *bought[FILES_MAX];
	struct call stuff[FILES_MAX], *calls[FILES_MAX];
	size_t n = 0, missing = 0;

	for (size_t i = 0; i < length(orders) && n < FILES_MAX; i++) {
		json_object *o = json_object_array_get_idx(orders->json, i);

		if (!model_is(o, "status", "complete"))
			continue;
		stuff[n] = (struct call){
			.what = "the files' names",
			.path = arena_printf(
				v->a, "/api/stuff/%s",
				model_text(json_member(o, "stuff",
						       json_type_object),
					   "id"))};
		calls[n] = &stuff[n];
		bought[n++] = o;
	}
	view_run(v, calls, n);
	for (size_t i = 0; i < n; i++) {
		if (!stuff[i].good && missing++ == 0)
			view_has(v, &stuff[i]);
		put_item(v, list, bought[i], &stuff[i]);
	}
	model_flag(v->model, "empty", n == 0 && orders->next == NULL);
}

const struct fail *
orders_library(struct request *rq)
{
	struct call c = {.what = "your library"};
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	c.path = list_path(v);
	VIEW_CALLS(v, &c);
	if (c.status == 401 || c.status == 403)
		return client_fail(v->a, &c);
	if (view_has(v, &c)) {
		put_items(v, &c);
		model_paging(v, "/library", &c);
	}
	return view_page(v, "library", "Your library",
			 "All that you bought, to download for good.");
}

/* The address of the file itself, good for some minutes: a download goes on
 * when the sign-in has run out meanwhile. */
const struct fail *
orders_download(struct request *rq)
{
	struct call c = {.what = "the file", .method = "POST"};
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	c.path = arena_printf(v->a, "/api/stuff/%s/file/link", rq->params[0]);
	TRY(view_need(v, &c));
	return view_go(v, model_text(c.json, "url"), NULL);
}
