/* entry.c: how somebody comes and goes.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "flash.h"
#include "pages.h"

static json_object *
credentials_form(struct view *v, const char *action)
{
	json_object *form = model_form(v, action);

	model_field(v, form, "email", "");
	model_field(v, form, "password", "");
	json_put_text(json_member(form, "password", json_type_object), "value",
		      "");
	json_put_text(form, "next", view_next(v));
	return form;
}

const struct fail *
entry_show_signup(struct request *rq)
{
	struct view *v;

	TRY(view_get(rq, ANYONE, &v));
	if (rq->signed_in && v->fail == NULL)
		return view_go(v, view_next(v), NULL);
	model_field(v, credentials_form(v, "/signup"), "name", "");
	return view_page(v, "signup", "Sign up",
			 "An account to buy and sell with.");
}

/* What was typed before somebody had to sign in, as it came. */
static void
put_kept(struct view *v)
{
	json_object *list = model_array(v->model, "kept"), *o;

	for (int i = 0; v->typed != NULL && i < v->typed->count; i++) {
		const struct form_field *f = &v->typed->fields[i];

		if (strncmp(f->name, "kept.", 5) != 0)
			continue;
		o = model_add(list);
		json_put_text(o, "name", f->name);
		json_put_text(o, "value", f->value);
		model_flag(v->model, "resumed", true);
	}
}

const struct fail *
entry_show_signin(struct request *rq)
{
	struct view *v;

	TRY(view_get(rq, ANYONE, &v));
	if (rq->signed_in && v->fail == NULL)
		return view_go(v, view_next(v), NULL);
	/* That they are not signed in is why they are here. */
	if (v->fail != NULL && v->fail->status == 401) {
		v->fail = NULL;
		v->status = 401;
	}
	credentials_form(v, "/signin");
	put_kept(v);
	return view_page(v, "signin", "Sign in", "Welcome back.");
}

/* The page that somebody was at, with all that they had typed. */
static const struct fail *
go_on(struct view *v, struct form *kept, const char *next)
{
	const struct route *page = http_find_route(v->rq, GET, next);

	if (page == NULL)
		return view_go(v, "/", NULL);
	v->typed = kept;
	v->path = next;
	return page->handler(v->rq);
}

static const struct fail *
enter(struct view *v, const struct call *c, const char *done)
{
	struct form *kept = flash_kept(v);
	const char *next = view_next(v);

	view_signed_in(v, c);
	return kept != NULL ? go_on(v, kept, next) : view_go(v, next, done);
}

const struct fail *
entry_sign_up(struct request *rq)
{
	struct call c = {.what = "your account", .path = "/api/users/signup"};
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, ANYONE, &v));
	c.body = json_new_object(v->a);
	model_put_typed(v, c.body, "email");
	model_put_typed(v, c.body, "password");
	model_put_typed(v, c.body, "name");
	fail = view_act(v, &c);
	if (fail != NULL && fail->status == 400 &&
	    strcmp(fail->reasons->msg, "Email in use") == 0)
		fail = fail_field(v->a, NULL, "email", fail->reasons->msg);
	if (fail != NULL)
		return view_again(v, entry_show_signup, fail);
	return enter(v, &c, "welcome");
}

const struct fail *
entry_sign_in(struct request *rq)
{
	struct call c = {.what = "your account", .path = "/api/users/signin"};
	const struct fail *fail;
	struct view *v;

	TRY(view_post(rq, ANYONE, &v));
	c.body = json_new_object(v->a);
	model_put_typed(v, c.body, "email");
	model_put_typed(v, c.body, "password");
	fail = view_act(v, &c);
	if (fail != NULL)
		return view_again(v, entry_show_signin, fail);
	return enter(v, &c, NULL);
}

/* The browser forgets who it was also when auth is away. */
const struct fail *
entry_sign_out(struct request *rq)
{
	struct call c = {.what = "your account",
			 .method = "POST",
			 .path = "/api/users/signout"};
	struct view *v;

	TRY(view_post(rq, ANYONE, &v));
	VIEW_CALLS(v, &c);
	view_keep_cookies(v, &c);
	if (c.cookies == NULL)
		for (int i = 0; i < 2; i++)
			http_set_header(rq, "Set-Cookie",
					"%s=; Path=/; Max-Age=0; Secure; "
					"HttpOnly; SameSite=Lax",
					i ? TOKEN_REFRESH_COOKIE
					  : TOKEN_COOKIE);
	return view_go(v, "/", "signed-out");
}
