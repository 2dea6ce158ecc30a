/* sell.c: what somebody sells, and what came of it.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "pages.h"

#define PAGE_SIZE 24

static const struct {
	const char *status, *label;
} tabs[] = {
	{"", "For sale"},
	{"sold", "Sold"},
	{"removed", "Removed"},
};

/* What may be done with one of one's own listings. */
static json_object *
own_card(struct view *v, json_object *stuff)
{
	json_object *card = model_card(v, stuff);
	const char *id = model_text(stuff, "id");
	bool free = model_is(stuff, "status", "available");

	model_flag(card, "needs_file",
		   free && json_member(stuff, "file", json_type_object) ==
				   NULL);
	if (free) {
		json_put_text(card, "edit_url",
			      arena_printf(v->a, "/sell/%s", id));
		json_put_text(card, "upload_url",
			      arena_printf(v->a, "/sell/%s/file", id));
		json_put_text(card, "picture_url",
			      arena_printf(v->a, "/sell/%s/picture", id));
		json_put_text(card, "remove_action",
			      arena_printf(v->a, "/sell/%s/remove", id));
	}
	if (model_is(stuff, "status", "sold"))
		json_put_text(card, "refund_action",
			      arena_printf(v->a, "/sell/%s/refund", id));
	return card;
}

static void
put_tabs(struct view *v, const char *status)
{
	json_object *list = model_array(v->model, "tabs"), *tab;

	for (size_t i = 0; i < sizeof(tabs) / sizeof(tabs[0]); i++) {
		tab = model_add(list);
		json_put_text(tab, "label", tabs[i].label);
		json_put_text(tab, "url",
			      *tabs[i].status
				      ? arena_printf(v->a, "/sell?status=%s",
						     tabs[i].status)
				      : "/sell");
		model_flag(tab, "current", strcmp(tabs[i].status, status) == 0);
	}
}

const struct fail *
sell_list(struct request *rq)
{
	struct call c = {.what = "your listings"};
	const char *status, *cursor;
	json_object *list;
	struct view *v;
	size_t n;

	TRY(view_get(rq, SIGNED_IN, &v));
	status = form_get(&v->query, "status");
	cursor = form_get(&v->query, "cursor");
	if (strcmp(status, "sold") != 0 && strcmp(status, "removed") != 0)
		status = "";
	c.path = arena_printf(v->a,
			      "/api/stuff?brief=1&limit=%d&seller=%s%s%s%s%s",
			      PAGE_SIZE, rq->user.id, *status ? "&status=" : "",
			      status, *cursor ? "&cursor=" : "",
			      template_encode(v->a, cursor));
	VIEW_CALLS(v, &c);
	put_tabs(v, status);
	if (view_has(v, &c) && json_object_is_type(c.json, json_type_array)) {
		list = model_array(v->model, "items");
		n = json_object_array_length(c.json);
		for (size_t i = 0; i < n; i++)
			json_object_array_add(
				list, own_card(v, json_object_array_get_idx(
							  c.json, i)));
		model_flag(v->model, "empty", n == 0);
		model_paging(v, "/sell", &c);
	}
	return view_page(v, "sell", "Your listings", "What you sell.");
}

/* --- one listing's form --------------------------------------------------- */

static const struct fail *
show_form(struct view *v, const char *action, json_object *stuff)
{
	json_object *form = model_form(v, action);
	const char *price = "";

	if (stuff != NULL)
		price = format_amount(v->a, model_int(stuff, "price"));
	model_field(v, form, "title", model_text(stuff, "title"));
	model_field(v, form, "description", model_text(stuff, "description"));
	model_field(v, form, "price", price);
	model_flag(v->model, "new", stuff == NULL);
	return view_page(v, "sell-form",
			 stuff ? "Edit your listing" : "Sell something",
			 "Say what it is and what it costs.");
}

const struct fail *
sell_new(struct request *rq)
{
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	return show_form(v, "/sell/new", NULL);
}

/* What the API is told: all bad fields are found out at once, so a price that
 * can't be read is sent as one that it refuses. */
static json_object *
listing_body(struct view *v)
{
	json_object *body = json_new_object(v->a);

	json_put_text(body, "title", form_get(v->typed, "title"));
	json_put_text(body, "description", form_get(v->typed, "description"));
	json_put_int(body, "price",
		     format_read_amount(form_get(v->typed, "price")));
	return body;
}

/* The API speaks of cents. */
static const struct fail *
speak_of_dollars(struct view *v, const struct fail *fail)
{
	struct fail *said = NULL;

	for (const struct reason *r = fail->reasons; r != NULL; r = r->next) {
		if (r->param == NULL)
			return fail;
		said = fail_field(v->a, said, r->param,
				  strcmp(r->param, "price") == 0
					  ? "A price is 0 for free, or from "
					    "0.50 to 100,000 dollars"
					  : r->msg);
	}
	return said;
}

const struct fail *
sell_create(struct request *rq)
{
	struct call c = {.what = "your listing", .path = "/api/stuff"};
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	c.body = listing_body(v);
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, sell_new, speak_of_dollars(v, fail));
	return view_go(v,
		       arena_printf(v->a, "/sell/%s/file",
				    model_text(c.json, "id")),
		       "listed");
}

/* The visitor's own listing; 403 for one of others. */
static const struct fail *
own_listing(struct view *v, struct call *c)
{
	c->what = "your listing";
	c->path = arena_printf(v->a, "/api/stuff/%s", v->rq->params[0]);
	TRY(view_need(v, c));
	if (!model_is(c->json, "userId", v->rq->user.id))
		return fail_forbidden(v->a, "It is not yours to change");
	json_put(v->model, "listing", own_card(v, c->json));
	return NULL;
}

const struct fail *
sell_edit(struct request *rq)
{
	const char *id = rq->params[0], *version;
	struct call c = {.path = NULL};
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	TRY(own_listing(v, &c));
	version = v->typed ? form_get(v->typed, "version") : "";
	/* Whoever is told that it changed has seen it, with this page. */
	if (*version == '\0' || (v->fail != NULL && v->fail->status == 409))
		version = arena_printf(v->a, "%lld",
				       (long long)model_int(c.json, "version"));
	json_put_text(v->model, "version", version);
	json_put_text(v->model, "upload_url",
		      arena_printf(v->a, "/sell/%s/file", id));
	json_put_text(v->model, "picture_url",
		      arena_printf(v->a, "/sell/%s/picture", id));
	json_put_text(v->model, "remove_action",
		      arena_printf(v->a, "/sell/%s/remove", id));
	if (model_is(c.json, "status", "reserved"))
		json_put_text(v->model, "locked",
			      "Somebody is checking it out right now: it "
			      "can't be changed.");
	else if (!model_is(c.json, "status", "available"))
		json_put_text(v->model, "locked",
			      model_is(c.json, "status", "sold")
				      ? "It is sold: it can't be changed any "
					"more."
				      : "It is removed.");
	return show_form(v, arena_printf(v->a, "/sell/%s", id), c.json);
}

const struct fail *
sell_save(struct request *rq)
{
	struct call c = {.what = "your listing", .method = "PUT"};
	const char *version;
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	version = form_get(v->typed, "version");
	c.path = arena_printf(v->a, "/api/stuff/%s", rq->params[0]);
	c.body = listing_body(v);
	if (*version != '\0' &&
	    strspn(version, "0123456789") == strlen(version))
		c.if_match = arena_printf(v->a, "\"%s\"", version);
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, sell_edit, speak_of_dollars(v, fail));
	return view_go(v, arena_printf(v->a, "/sell/%s", rq->params[0]),
		       "saved");
}

const struct fail *
sell_remove(struct request *rq)
{
	struct call c = {.what = "your listing", .method = "DELETE"};
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	c.path = arena_printf(v->a, "/api/stuff/%s", rq->params[0]);
	TRY(view_act(v, &c));
	return view_go(v, "/sell", "removed");
}

/* The order that bought it is in the listing. */
const struct fail *
sell_refund(struct request *rq)
{
	struct call listing = {.path = NULL};
	struct call refund = {.what = "the refund"};
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	TRY(own_listing(v, &listing));
	if (!model_is(listing.json, "status", "sold"))
		return fail_conflict(v->a, "There is nothing to refund", 0);
	refund.path = arena_printf(v->a, "/api/payments/%s/refund",
				   model_text(listing.json, "orderId"));
	refund.body = json_new_object(v->a);
	json_put_text(refund.body, "listing", form_get(v->typed, "listing"));
	TRY(view_act(v, &refund));
	return view_go(v, "/sell?status=sold", "refunded");
}

/* --- sales ---------------------------------------------------------------- */

static void
put_sums(struct view *v, json_object *to, json_object *from)
{
	static const struct {
		const char *name;
		bool money;
	} sums[] = {
		{"sales", false},   {"earnings", true},	 {"refunds", false},
		{"refunded", true}, {"disputes", false},
	};

	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		int64_t n = model_int(from, sums[i].name);

		json_put_text(to, sums[i].name,
			      sums[i].money ? format_money(v->a, n, false)
					    : arena_printf(v->a, "%lld",
							   (long long)n));
	}
}

const struct fail *
sell_sales(struct request *rq)
{
	struct call c = {.what = "your sales", .path = "/api/payments/sales"};
	json_object *rows, *list, *row, *one;
	struct view *v;
	size_t n = 0;

	TRY(view_get(rq, SIGNED_IN, &v));
	VIEW_CALLS(v, &c);
	if (c.status == 401 || c.status == 403)
		return client_fail(v->a, &c);
	if (view_has(v, &c)) {
		list = json_member(c.json, "listings", json_type_array);
		n = list ? json_object_array_length(list) : 0;
		put_sums(v, model_object(v->model, "total"), c.json);
		rows = model_array(v->model, "rows");
		for (size_t i = 0; i < n; i++) {
			one = json_object_array_get_idx(list, i);
			row = model_add(rows);
			json_put_text(row, "title", model_text(one, "title"));
			json_put_text(row, "url",
				      format_listing_path(
					      v->a, model_text(one, "stuffId"),
					      model_text(one, "title")));
			put_sums(v, row, one);
		}
		model_flag(v->model, "empty", n == 0);
	}
	json_put_text(v->model, "csv_url", "/api/payments/sales?format=csv");
	return view_page(v, "sales", "Sales and earnings",
			 "What you sold, and what you earned.");
}
