/* account.c: what somebody does with their account.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "pages.h"

#define EXPORT_PAGES 100 /* of each list */
#define AT_ONCE 8	 /* calls */

const struct fail *
account_show(struct request *rq)
{
	struct call c = {.what = "your account",
			 .path = "/api/users/me/export"};
	json_object *user, *form;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	VIEW_CALLS(v, &c);
	if (c.status == 401 || c.status == 403)
		return client_fail(v->a, &c);
	view_has(v, &c);
	user = json_member(c.json, "user", json_type_object);
	json_put_text(v->model, "email",
		      user ? model_text(user, "email") : rq->user.email);
	json_put(v->model, "since",
		 format_time(v->a, json_text(user, "createdAt")));
	json_put_text(v->model, "export_url", "/account/export");
	json_put_text(v->model, "password_url", "/account/password");
	json_put_text(v->model, "sessions_url", "/account/sessions");
	json_put_text(v->model, "erase_url", "/account/erase");
	form = model_form(v, "/account");
	model_field(v, form, "name", model_text(user, "name"));
	return view_page(v, "account", "Your account",
			 "Your name, password and sessions.");
}

const struct fail *
account_save_name(struct request *rq)
{
	struct call c = {.what = "your account",
			 .method = "PUT",
			 .path = "/api/users/me"};
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	c.body = json_new_object(v->a);
	json_put_text(c.body, "name", form_get(v->typed, "name"));
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, account_show, fail);
	return view_go(v, "/account", "saved");
}

/* A form of passwords, which are never shown again. */
static void
password_field(struct view *v, json_object *form, const char *name)
{
	model_field(v, form, name, "");
	json_put_text(json_member(form, name, json_type_object), "value", "");
}

const struct fail *
account_show_password(struct request *rq)
{
	json_object *form;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	form = model_form(v, "/account/password");
	password_field(v, form, "password");
	password_field(v, form, "newPassword");
	return view_page(v, "password", "Change your password",
			 "All other sessions end when you do.");
}

const struct fail *
account_save_password(struct request *rq)
{
	struct call c = {.what = "your account",
			 .method = "PUT",
			 .path = "/api/users/me/password"};
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	c.body = json_new_object(v->a);
	model_put_typed(v, c.body, "password");
	model_put_typed(v, c.body, "newPassword");
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, account_show_password, fail);
	return view_go(v, "/account", "password");
}

const struct fail *
account_sessions(struct request *rq)
{
	struct call c = {.what = "your sessions",
			 .path = "/api/users/sessions"};
	json_object *list, *from, *to;
	struct view *v;
	size_t n;

	TRY(view_get(rq, SIGNED_IN, &v));
	TRY(view_need(v, &c));
	list = model_array(v->model, "sessions");
	n = json_object_is_type(c.json, json_type_array)
		    ? json_object_array_length(c.json)
		    : 0;
	for (size_t i = 0; i < n; i++) {
		from = json_object_array_get_idx(c.json, i);
		to = model_add(list);
		json_put_text(to, "id", model_text(from, "id"));
		json_put_text(to, "agent",
			      format_agent(v->a, model_text(from, "agent")));
		json_put(to, "created",
			 format_time(v->a, json_text(from, "createdAt")));
		json_put(to, "used",
			 format_time(v->a, json_text(from, "usedAt")));
		model_flag(to, "current",
			   json_object_get_boolean(json_member(
				   from, "current", json_type_boolean)));
		json_put_text(to, "end_action",
			      arena_printf(v->a, "/account/sessions/%s/end",
					   model_text(from, "id")));
	}
	if (n > 1)
		json_put_text(v->model, "end_others_action",
			      "/account/sessions/end-others");
	return view_page(v, "sessions", "Where you are signed in",
			 "End what you don't know.");
}

static const struct fail *
end(struct request *rq, const char *path)
{
	struct call c = {.what = "your sessions", .method = "DELETE"};
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	c.path = path;
	TRY(view_act(v, &c));
	return view_go(v, "/account/sessions", "ended");
}

const struct fail *
account_end_session(struct request *rq)
{
	return end(rq, arena_printf(rq->cx->arena, "/api/users/sessions/%s",
				    rq->params[0]));
}

const struct fail *
account_end_others(struct request *rq)
{
	return end(rq, "/api/users/sessions");
}

/* --- all that is held ----------------------------------------------------- */

/* All pages of a list, into one. */
static const struct fail *
gather(struct view *v, const char *path, json_object *into)
{
	const char *cursor = "", *and = strchr(path, '?') ? "&" : "?";

	for (int i = 0; i < EXPORT_PAGES && cursor != NULL; i++) {
		struct call c = {.what = "what is held on you"};
		size_t n = 0;

		c.path = arena_printf(v->a, "%s%slimit=100%s%s", path, and,
				      *cursor ? "&cursor=" : "", cursor);
		TRY(view_act(v, &c));
		if (json_object_is_type(c.json, json_type_array))
			n = json_object_array_length(c.json);
		for (size_t k = 0; k < n; k++)
			json_object_array_add(
				into, json_object_get(json_object_array_get_idx(
					      c.json, k)));
		cursor = c.next;
	}
	return NULL;
}

/* The payments of these orders, some at once. */
static void
gather_payments(struct view *v, json_object *orders, json_object *into)
{
	size_t n = json_object_array_length(orders);

	for (size_t i = 0; i < n; i += AT_ONCE) {
		struct call calls[AT_ONCE], *list[AT_ONCE];
		size_t count = n - i < AT_ONCE ? n - i : AT_ONCE;

		for (size_t k = 0; k < count; k++) {
			calls[k] = (struct call){
				.what = "your payments",
				.path = arena_printf(
					v->a, "/api/payments/%s",
					model_text(json_object_array_get_idx(
							   orders, i + k),
						   "id")),
			};
			list[k] = &calls[k];
		}
		view_act_all(v, list, count);
		for (size_t k = 0; k < count; k++)
			if (calls[k].good)
				json_object_array_add(
					into, json_object_get(calls[k].json));
	}
}

const struct fail *
account_export(struct request *rq)
{
	static const char *const status[] = {"", "&status=sold",
					     "&status=removed"};
	struct call c = {.what = "your account",
			 .path = "/api/users/me/export"};
	json_object *orders, *listings;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	TRY(view_act(v, &c));
	orders = model_array(c.json, "orders");
	listings = model_array(c.json, "listings");
	TRY(gather(v, "/api/orders", orders));
	for (size_t i = 0; i < sizeof(status) / sizeof(status[0]); i++)
		TRY(gather(v,
			   arena_printf(v->a, "/api/stuff?seller=%s%s",
					rq->user.id, status[i]),
			   listings));
	gather_payments(v, orders, model_array(c.json, "payments"));
	http_set_header(rq, "Content-Disposition",
			"attachment; filename=\"account.json\"");
	return http_reply_text(rq, "application/json",
			       json_write(c.json, NULL));
}

const struct fail *
account_show_erase(struct request *rq)
{
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	password_field(v, model_form(v, "/account/erase"), "password");
	return view_page(v, "erase", "Erase your account",
			 "This can't be undone.");
}

const struct fail *
account_erase(struct request *rq)
{
	struct call c = {.what = "your account",
			 .method = "DELETE",
			 .path = "/api/users/me"};
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, SIGNED_IN, &v));
	c.body = json_new_object(v->a);
	model_put_typed(v, c.body, "password");
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, account_show_erase, fail);
	view_keep_cookies(v, &c);
	return view_go(v, "/", "erased");
}
