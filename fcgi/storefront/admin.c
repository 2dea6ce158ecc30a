/* admin.c: what admins see and do.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"

#define PAGE_SIZE 50
#define MADE_MAX 1000 /* coupons at once, by the API */
#define CODE_MAX 66   /* bytes of one, and its line's end */

static const char *
part(struct view *v, const char *name)
{
	const char *value = form_get(&v->query, name);

	return *value ? arena_printf(v->a, "&%s=%s", name,
				     template_encode(v->a, value))
		      : "";
}

static size_t
length(const struct call *c)
{
	return c->good && json_object_is_type(c->json, json_type_array)
		       ? json_object_array_length(c->json)
		       : 0;
}

/* --- coupons -------------------------------------------------------------- */

static void
put_coupon(struct view *v, json_object *to, json_object *from)
{
	const char *expires = model_text(from, "expiresAt");
	const char *stuff_id = model_text(from, "stuffId");
	int64_t until = 0;
	bool over = clock_parse(expires, &until) == 0 && clock_now() >= until;

	json_put_text(to, "code", model_text(from, "code"));
	json_put_text(to, "percent",
		      arena_printf(v->a, "%lld",
				   (long long)model_int(from, "percentOff")));
	json_put_text(to, "used",
		      arena_printf(v->a, "%lld",
				   (long long)model_int(from, "redemptions")));
	json_put_text(
		to, "max",
		arena_printf(v->a, "%lld",
			     (long long)model_int(from, "maxRedemptions")));
	json_put(to, "expires",
		 format_time(v->a, json_text(from, "expiresAt")));
	json_put(to, "created",
		 format_time(v->a, json_text(from, "createdAt")));
	if (*stuff_id != '\0') {
		json_put_text(to, "stuff_id", stuff_id);
		json_put_text(to, "stuff_url",
			      arena_printf(v->a, "/stuff/%s", stuff_id));
	}
	json_put_text(to, "delete_action", "/admin/coupons/delete");
	model_flag(to, "usable",
		   !over && model_int(from, "redemptions") <
				    model_int(from, "maxRedemptions"));
}

static void
put_coupon_form(struct view *v)
{
	json_object *form = model_form(v, "/admin/coupons");

	model_field(v, form, "percentOff", "100");
	model_field(v, form, "maxRedemptions", "1");
	model_field(v, form, "expiresAt", "");
	model_field(v, form, "stuffId", "");
	model_field(v, form, "count", "1");
}

/* Those that were just made, to be copied all at once: the newest ones. */
static const struct fail *
put_made(struct view *v)
{
	int64_t wanted = strtoll(form_get(&v->query, "made"), NULL, 10), n = 0;
	const char *cursor = "", *codes = "";

	if (wanted < 1 || wanted > MADE_MAX)
		return NULL;
	while (n < wanted && cursor != NULL) {
		struct call c = {.what = "the coupons"};
		char *more, *to;
		size_t count;

		c.path = arena_printf(v->a, "/api/coupons?limit=%lld%s%s",
				      wanted - n < 100 ? (long long)(wanted - n)
						       : 100,
				      *cursor ? "&cursor=" : "", cursor);
		TRY(view_act(v, &c));
		count = length(&c);
		more = to = arena_alloc(v->a, count * CODE_MAX + 1);
		for (size_t i = 0; i < count; i++, n++)
			to += snprintf(
				to, CODE_MAX, "%s\n",
				model_text(json_object_array_get_idx(c.json, i),
					   "code"));
		codes = arena_printf(v->a, "%s%s", codes, more);
		cursor = c.next;
	}
	json_put_text(model_object(v->model, "made"), "codes", codes);
	json_put_text(json_member(v->model, "made", json_type_object), "count",
		      arena_printf(v->a, "%lld", (long long)n));
	return NULL;
}

const struct fail *
admin_coupons(struct request *rq)
{
	struct call c = {.what = "the coupons"};
	json_object *list;
	struct view *v;

	TRY(view_get(rq, ADMIN, &v));
	c.path = arena_printf(v->a, "/api/coupons?limit=%d%s", PAGE_SIZE,
			      part(v, "cursor"));
	VIEW_CALLS(v, &c);
	if (c.status == 401 || c.status == 403)
		return client_fail(v->a, &c);
	put_coupon_form(v);
	TRY(put_made(v));
	if (view_has(v, &c)) {
		list = model_array(v->model, "coupons");
		for (size_t i = 0; i < length(&c); i++)
			put_coupon(v, model_add(list),
				   json_object_array_get_idx(c.json, i));
		model_flag(v->model, "empty", length(&c) == 0);
		model_paging(v, "/admin/coupons", &c);
	}
	return view_page(v, "coupons", "Coupons", "Make and delete coupons.");
}

/* A number as it was typed; what is none is sent as text, and refused. */
static void
put_number(struct view *v, json_object *body, const char *name)
{
	const char *typed = form_get(v->typed, name);

	typed += strspn(typed, " ");
	if (*typed == '\0')
		return;
	if (strlen(typed) < 10 && strspn(typed, "0123456789") == strlen(typed))
		json_put_int(body, name, strtoll(typed, NULL, 10));
	else
		json_put_text(body, name, typed);
}

/* A datetime-local field has no zone and may lack seconds. */
static void
put_expiry(struct view *v, json_object *body)
{
	const char *typed = form_get(v->typed, "expiresAt");

	if (*typed != '\0')
		json_put_text(body, "expiresAt",
			      arena_printf(v->a, "%s%s%s", typed,
					   strlen(typed) == 16 ? ":00" : "",
					   strchr(typed, 'Z') ? "" : "Z"));
}

const struct fail *
admin_make_coupons(struct request *rq)
{
	struct call c = {.what = "the coupons", .path = "/api/coupons"};
	const struct fail *fail;
	const char *stuff_id;
	size_t made;
	struct view *v;

	TRY(view_post(rq, ADMIN, &v));
	c.body = json_new_object(v->a);
	put_number(v, c.body, "percentOff");
	put_number(v, c.body, "maxRedemptions");
	put_number(v, c.body, "count");
	put_expiry(v, c.body);
	stuff_id = form_get(v->typed, "stuffId");
	if (*stuff_id != '\0')
		json_put_text(c.body, "stuffId", stuff_id);
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, admin_coupons, fail);
	made = json_object_is_type(c.json, json_type_array)
		       ? json_object_array_length(c.json)
		       : 1;
	return view_go(v, arena_printf(v->a, "/admin/coupons?made=%zu", made),
		       NULL);
}

const struct fail *
admin_delete_coupon(struct request *rq)
{
	struct call c = {.what = "the coupon", .method = "DELETE"};
	struct view *v;

	TRY(view_post(rq, ADMIN, &v));
	c.path =
		arena_printf(v->a, "/api/coupons/%s",
			     template_encode(v->a, form_get(v->typed, "code")));
	TRY(view_act(v, &c));
	return view_go(v, "/admin/coupons", "deleted");
}

/* --- users ---------------------------------------------------------------- */

static void
put_account(struct view *v, json_object *to, json_object *from)
{
	const char *id = model_text(from, "id");
	bool banned = model_is(from, "status", "banned");
	bool erased = model_is(from, "status", "erased");

	json_put_text(to, "id", id);
	json_put_text(to, "email", model_text(from, "email"));
	json_put_text(to, "name", model_text(from, "name"));
	json_put_text(to, "role", model_text(from, "role"));
	json_put_text(to, "status", model_text(from, "status"));
	json_put_text(to, "reason", model_text(from, "reason"));
	model_flag(to, "banned", banned);
	model_flag(to, "erased", erased);
	json_put(to, "created",
		 format_time(v->a, json_text(from, "createdAt")));
	json_put_text(to, "listings_url",
		      arena_printf(v->a, "/admin/listings?seller=%s", id));
	if (banned)
		json_put_text(to, "unban_action",
			      arena_printf(v->a, "/admin/users/%s/unban", id));
	else if (!erased)
		json_put_text(to, "ban_action",
			      arena_printf(v->a, "/admin/users/%s/ban", id));
}

const struct fail *
admin_users(struct request *rq)
{
	struct call c = {.what = "the accounts"};
	json_object *list;
	struct view *v;

	TRY(view_get(rq, ADMIN, &v));
	v->typed = &v->query;
	c.path = arena_printf(v->a, "/api/users?limit=%d%s%s", PAGE_SIZE,
			      part(v, "q"), part(v, "cursor"));
	VIEW_CALLS(v, &c);
	if (c.status >= 400 && c.status < 500)
		v->fail = client_fail(v->a, &c);
	if (c.status == 401 || c.status == 403)
		return v->fail;
	model_field(v, model_form(v, "/admin/users"), "q", "");
	if (v->fail == NULL && view_has(v, &c)) {
		list = model_array(v->model, "users");
		for (size_t i = 0; i < length(&c); i++)
			put_account(v, model_add(list),
				    json_object_array_get_idx(c.json, i));
		model_flag(v->model, "empty", length(&c) == 0);
		model_paging(v, "/admin/users", &c);
	}
	return view_page(v, "users", "Users", "Find, ban and unban users.");
}

static const struct fail *
change_ban(struct request *rq, const char *verb)
{
	struct call c = {.what = "the account", .method = "POST"};
	const char *reason;
	struct view *v;

	TRY(view_post(rq, ADMIN, &v));
	c.path = arena_printf(v->a, "/api/users/%s/%s", rq->params[0], verb);
	reason = form_get(v->typed, "reason");
	if (*reason != '\0') {
		c.body = json_new_object(v->a);
		json_put_text(c.body, "reason", reason);
	}
	TRY(view_act(v, &c));
	return view_go(v, "/admin/users",
		       strcmp(verb, "ban") == 0 ? "banned" : "unbanned");
}

const struct fail *
admin_ban(struct request *rq)
{
	return change_ban(rq, "ban");
}

const struct fail *
admin_unban(struct request *rq)
{
	return change_ban(rq, "unban");
}

/* --- listings ------------------------------------------------------------- */

static void
put_listing(struct view *v, json_object *list, json_object *stuff)
{
	json_object *card = model_card(v, stuff);
	const char *id = model_text(stuff, "id");
	const char *seller = model_text(stuff, "userId");

	json_put_text(card, "seller_id", seller);
	json_put_text(card, "seller_url",
		      arena_printf(v->a, "/admin/listings?seller=%s", seller));
	json_put_text(card, "hidden", model_text(stuff, "hidden"));
	if (model_is(stuff, "status", "available"))
		json_put_text(card, "remove_action",
			      arena_printf(v->a, "/admin/listings/%s/remove",
					   id));
	json_object_array_add(list, card);
}

static void
put_listings_form(struct view *v)
{
	static const struct {
		const char *status, *label;
	} all[] = {
		{"", "For sale"},	{"available", "Available"},
		{"reserved", "Held"},	{"sold", "Sold"},
		{"removed", "Removed"},
	};
	json_object *form = model_form(v, "/admin/listings"), *list;

	model_field(v, form, "q", "");
	model_field(v, form, "seller", "");
	list = model_array(form, "status");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		model_option(list, all[i].status, all[i].label,
			     form_get(&v->query, "status"));
}

const struct fail *
admin_listings(struct request *rq)
{
	struct call c = {.what = "the listings"};
	json_object *list;
	struct view *v;

	TRY(view_get(rq, ADMIN, &v));
	v->typed = &v->query;
	c.path = arena_printf(v->a, "/api/stuff?brief=1&limit=%d%s%s%s%s",
			      PAGE_SIZE, part(v, "q"), part(v, "seller"),
			      part(v, "status"), part(v, "cursor"));
	VIEW_CALLS(v, &c);
	if (c.status == 400)
		v->fail = client_fail(v->a, &c);
	put_listings_form(v);
	if (v->fail == NULL && view_has(v, &c)) {
		list = model_array(v->model, "items");
		for (size_t i = 0; i < length(&c); i++)
			put_listing(v, list,
				    json_object_array_get_idx(c.json, i));
		model_flag(v->model, "empty", length(&c) == 0);
		model_paging(v, "/admin/listings", &c);
	}
	return view_page(v, "listings", "Listings",
			 "All listings, whoever sells them.");
}

const struct fail *
admin_remove(struct request *rq)
{
	struct call c = {.what = "the listing", .method = "DELETE"};
	struct view *v;

	TRY(view_post(rq, ADMIN, &v));
	c.path = arena_printf(v->a, "/api/stuff/%s", rq->params[0]);
	TRY(view_act(v, &c));
	return view_go(v, "/admin/listings", "removed");
}
