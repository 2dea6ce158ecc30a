/* shop.c: what is for sale.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "pages.h"

#define PAGE_SIZE 24
#define PRICE_MAX 10000000 /* cents, of the API */
#define DESCRIPTION_MAX 160

static const struct {
	const char *value, *label;
} sorts[] = {
	{"new", "Newest first"},
	{"price", "Cheapest first"},
	{"-price", "Dearest first"},
};

/* A price that somebody typed, as part of the query of the API. */
static const char *
price_part(struct view *v, const char *name, const char *api_name)
{
	const char *typed = form_get(&v->query, name);
	int64_t cents;

	if (*typed == '\0')
		return "";
	cents = format_read_amount(typed);
	if (cents < 0) {
		v->fail = fail_field(v->a, NULL, name,
				     "Please write a price like 12.50");
		return "";
	}
	return arena_printf(v->a, "&%s=%lld", api_name,
			    (long long)(cents < PRICE_MAX ? cents : PRICE_MAX));
}

/* Another part, as it is. */
static const char *
part(struct view *v, const char *name)
{
	const char *value = form_get(&v->query, name);

	return *value ? arena_printf(v->a, "&%s=%s", name,
				     template_encode(v->a, value))
		      : "";
}

static const char *
search_path(struct view *v)
{
	const char *q = form_get(&v->query, "q");

	q += strspn(q, " \t\n");
	return arena_printf(v->a, "/api/stuff?brief=1&limit=%d%s%s%s%s%s%s",
			    PAGE_SIZE, *q ? part(v, "q") : "",
			    price_part(v, "minPrice", "min"),
			    price_part(v, "maxPrice", "max"), part(v, "seller"),
			    part(v, "sort"), part(v, "cursor"));
}

static bool
is_filtered(struct view *v)
{
	static const char *const names[] = {"q", "minPrice", "maxPrice",
					    "seller"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (*form_get(&v->query, names[i]) != '\0')
			return true;
	return false;
}

static void
put_search_form(struct view *v)
{
	json_object *form = model_form(v, "/"), *list;
	const char *sort = form_get(&v->query, "sort");

	model_field(v, form, "q", "");
	model_field(v, form, "minPrice", "");
	model_field(v, form, "maxPrice", "");
	if (*form_get(&v->query, "seller") != '\0')
		json_put_text(form, "seller", form_get(&v->query, "seller"));
	list = model_array(form, "sort");
	for (size_t i = 0; i < sizeof(sorts) / sizeof(sorts[0]); i++)
		model_option(list, sorts[i].value, sorts[i].label,
			     *sort ? sort : "new");
	json_put_text(v->model, "clear_url", "/");
}

static void
put_results(struct view *v, const struct call *c)
{
	size_t n = json_object_is_type(c->json, json_type_array)
			   ? json_object_array_length(c->json)
			   : 0;
	json_object *list = model_array(v->model, "results");

	for (size_t i = 0; i < n; i++)
		json_object_array_add(
			list,
			model_card(v, json_object_array_get_idx(c->json, i)));
	model_flag(v->model, "empty", n == 0);
	model_paging(v, "/", c);
}

static void
put_site(struct view *v)
{
	json_object *ld = model_object(v->model, "ld"), *action;

	json_put_text(ld, "@context", "https://schema.org");
	json_put_text(ld, "@type", "WebSite");
	json_put_text(ld, "name", "Ticketing");
	json_put_text(ld, "url", view_absolute(v, "/"));
	action = model_object(ld, "potentialAction");
	json_put_text(action, "@type", "SearchAction");
	json_put_text(action, "target",
		      view_absolute(v, "/?q={search_term_string}"));
	json_put_text(action, "query-input",
		      "required name=search_term_string");
}

static void
put_og(struct view *v, const char *type, const char *title,
       const char *description, const char *url)
{
	json_object *og = model_object(v->model, "og");

	json_put_text(og, "type", type);
	json_put_text(og, "title", title);
	json_put_text(og, "description", description);
	json_put_text(og, "url", url);
	json_put_text(v->model, "canonical", url);
}

const struct fail *
shop_home(struct request *rq)
{
	static const char about[] =
		"Notes, templates, code and art: made by students, sold to "
		"students. Pay once, download for good.";
	struct call list = {.what = "the listings"}, seller = {.what = NULL};
	bool filtered;
	struct view *v;

	TRY(view_get(rq, ANYONE, &v));
	v->cached = v->kept = true;
	v->typed = &v->query;
	filtered = is_filtered(v);
	list.path = search_path(v);
	seller = (struct call){
		.what = "the seller's name",
		.path = arena_printf(
			v->a, "/api/users/%s",
			template_encode(v->a, form_get(&v->query, "seller")))};
	if (v->fail == NULL && *form_get(&v->query, "seller") != '\0')
		VIEW_CALLS(v, &list, &seller);
	else if (v->fail == NULL)
		VIEW_CALLS(v, &list);
	if (v->fail == NULL && list.status == 400)
		v->fail = client_fail(v->a, &list);
	else if (v->fail == NULL && view_has(v, &list))
		put_results(v, &list);
	if (seller.good) {
		json_object *o = model_object(v->model, "seller");

		json_put_text(o, "id", model_text(seller.json, "id"));
		json_put_text(o, "name", model_text(seller.json, "name"));
	}
	put_search_form(v);
	model_flag(v->model, "filtered", filtered);
	if (!filtered && *form_get(&v->query, "cursor") == '\0') {
		put_og(v, "website", "Ticketing", about, view_absolute(v, "/"));
		put_site(v);
	}
	return view_page(v, "home",
			 filtered ? "Search" : "Students sell to students",
			 about);
}

/* --- one listing ---------------------------------------------------------- */

/* The id is what stands at the end: what is before it may change. */
static const struct fail *
read_slug(struct view *v, const char **ret_id)
{
	const char *slug = v->rq->params[0];
	size_t len = strlen(slug);

	if (len < ID_SIZE - 1 || !id_valid(slug + len - (ID_SIZE - 1)))
		return fail_not_found(v->a);
	*ret_id = slug + len - (ID_SIZE - 1);
	return NULL;
}

static const struct fail *
fail_gone(struct view *v)
{
	struct fail *f = fail_field(v->a, NULL, NULL, "It was removed.");

	f->name = "Gone";
	f->status = 410;
	return f;
}

static void
put_seller(struct view *v, json_object *listing, json_object *stuff,
	   const struct call *c)
{
	json_object *seller = model_object(listing, "seller");
	const char *id = model_text(stuff, "userId");
	const char *name = c->good ? model_text(c->json, "name") : "";

	if (!c->good && c->status != 404)
		view_has(v, c);
	json_put_text(seller, "id", id);
	json_put_text(seller, "name", *name ? name : "A student");
	json_put_text(seller, "url", arena_printf(v->a, "/?seller=%s", id));
}

/* Can the visitor buy it, and if not, why? */
static void
put_offer(struct view *v, json_object *stuff, const struct call *order)
{
	const char *id = model_text(stuff, "id");
	const struct request *rq = v->rq;
	json_object *o;
	bool free = model_is(stuff, "status", "available");
	bool own = rq->signed_in && model_is(stuff, "userId", rq->user.id);
	bool file = json_member(stuff, "file", json_type_object) != NULL;

	model_flag(v->model, "own", own);
	model_flag(v->model, "not_ready", free && !file);
	json_put_text(v->model, "live_url",
		      arena_printf(v->a, "/api/stuff/%s", id));
	if (own)
		json_put_text(v->model, "edit_url",
			      arena_printf(v->a, "/sell/%s", id));
	if (order->good && model_is(stuff, "status", "reserved")) {
		o = model_object(v->model, "held_by_me");
		json_put_text(o, "checkout_url",
			      arena_printf(v->a, "/checkout/%s",
					   model_text(order->json, "id")));
	} else if (order->good && model_is(order->json, "status", "complete")) {
		o = model_object(v->model, "bought_by_me");
		json_put_text(o, "order_url",
			      arena_printf(v->a, "/orders/%s",
					   model_text(order->json, "id")));
		json_put_text(o, "download_url",
			      arena_printf(v->a, "/download/%s", id));
	} else if (!own && rq->signed_in && free && file) {
		o = model_object(v->model, "buy");
		json_put_text(o, "action",
			      arena_printf(v->a, "/stuff/%s/buy", id));
	} else if (!rq->signed_in && free && file) {
		json_put_text(v->model, "buy_signin",
			      arena_printf(v->a, "/signin?next=%s",
					   template_encode(v->a, v->path)));
	}
}

static void
put_product(struct view *v, json_object *stuff, const char *description,
	    const char *url)
{
	json_object *ld = model_object(v->model, "ld"), *offer;

	json_put_text(ld, "@context", "https://schema.org");
	json_put_text(ld, "@type", "Product");
	json_put_text(ld, "name", model_text(stuff, "title"));
	json_put_text(ld, "description", description);
	json_put_text(ld, "sku", model_text(stuff, "id"));
	json_put_text(ld, "url", url);
	offer = model_object(ld, "offers");
	json_put_text(offer, "@type", "Offer");
	json_put_text(offer, "url", url);
	json_put_text(offer, "price",
		      format_amount(v->a, model_int(stuff, "price")));
	json_put_text(offer, "priceCurrency", "USD");
	json_put_text(offer, "availability",
		      model_is(stuff, "status", "sold")
			      ? "https://schema.org/SoldOut"
		      : model_is(stuff, "status", "reserved")
			      ? "https://schema.org/Reserved"
		      : json_member(stuff, "file", json_type_object)
			      ? "https://schema.org/InStock"
			      : "https://schema.org/OutOfStock");
}

/* For who shares it; a drawn cover is no picture. */
static void
put_image(struct view *v, json_object *cover)
{
	const char *url = model_text(cover, "url");

	if (*url == '\0')
		return;
	url = view_absolute(v, url);
	json_put_text(json_member(v->model, "og", json_type_object), "image",
		      url);
	json_put_text(json_member(v->model, "ld", json_type_object), "image",
		      url);
}

static const struct fail *
show_listing(struct view *v, json_object *stuff, const char *path)
{
	const char *title = model_text(stuff, "title");
	const char *text = model_text(stuff, "description"), *url, *order_id;
	const char *excerpt = format_excerpt(v->a, text, DESCRIPTION_MAX);
	struct call seller = {
		.what = "the seller's name",
		.path = arena_printf(v->a, "/api/users/%s",
				     model_text(stuff, "userId")),
	};
	struct call order = {.what = "your order"};
	json_object *listing = model_card(v, stuff);

	json_put(v->model, "listing", listing);
	order_id = model_text(stuff, "orderId");
	order.path = arena_printf(v->a, "/api/orders/%s", order_id);
	if (v->rq->signed_in && *order_id != '\0')
		VIEW_CALLS(v, &seller, &order);
	else
		VIEW_CALLS(v, &seller);
	url = view_absolute(v, path);
	if (*excerpt == '\0')
		excerpt = arena_printf(
			v->a, "%s: %s, from a student.", title,
			format_money(v->a, model_int(stuff, "price"), true));
	json_put_text(listing, "price_number",
		      format_amount(v->a, model_int(stuff, "price")));
	json_put(listing, "paragraphs", format_paragraphs(v->a, text));
	put_seller(v, listing, stuff, &seller);
	put_offer(v, stuff, &order);
	if (!model_is(stuff, "status", "removed")) {
		put_og(v, "product", title, excerpt, url);
		put_product(v, stuff, excerpt, url);
		put_image(v, json_member(listing, "cover", json_type_object));
	}
	return view_page(v, "listing", title, excerpt);
}

const struct fail *
shop_listing(struct request *rq)
{
	struct call c = {.what = "the listing"};
	const char *id, *path;
	struct view *v;

	TRY(view_get(rq, ANYONE, &v));
	TRY(read_slug(v, &id));
	v->cached = true;
	c.path = arena_printf(v->a, "/api/stuff/%s", id);
	VIEW_CALLS(v, &c);
	if (c.status == 404 && c.removed != NULL)
		return fail_gone(v);
	if (!c.good)
		return client_fail(v->a, &c);
	path = format_listing_path(v->a, id, model_text(c.json, "title"));
	if (strcmp(path, v->path) != 0) {
		const char *query = http_query(rq);

		http_set_header(rq, "Location", "%s%s%s", path,
				*query ? "?" : "", query);
		http_set_header(rq, "Cache-Control", "no-cache");
		return http_reply(rq, 301, NULL);
	}
	return show_listing(v, c.json, path);
}

const struct fail *
shop_buy(struct request *rq)
{
	struct call buy = {.what = "the checkout", .path = "/api/orders"};
	struct call stuff = {.what = "the listing"};
	const struct fail *fail;
	json_object *listing;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	buy.body = json_new_object(v->a);
	json_put_text(buy.body, "stuffId", rq->params[0]);
	fail = view_act(v, &buy);
	if (fail == NULL)
		return view_go(v,
			       arena_printf(v->a, "/checkout/%s",
					    model_text(buy.json, "id")),
			       NULL);
	if (fail->status != 409 && fail->status != 400)
		return fail;
	stuff.path = arena_printf(v->a, "/api/stuff/%s", rq->params[0]);
	VIEW_CALLS(v, &stuff);
	if (stuff.good) {
		listing = model_object(v->model, "listing");
		json_put_text(listing, "title",
			      model_text(stuff.json, "title"));
		json_put_text(
			listing, "url",
			format_listing_path(v->a, rq->params[0],
					    model_text(stuff.json, "title")));
	}
	if (fail->retry_after > 0)
		http_set_header(rq, "Retry-After", "%d", fail->retry_after);
	return view_busy(v, fail);
}
