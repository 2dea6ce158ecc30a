/* page.c: see view.h.  A page, and what goes with every one.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "flash.h"
#include "view.h"

#define SITE "Ticketing"

const char *
view_absolute(struct view *v, const char *path)
{
	return arena_printf(v->a, "%s%s", view_site, path);
}

const char *
view_local_path(const char *path)
{
	return *path == '/' && template_link_good(path) ? path : "/";
}

const char *
view_next(struct view *v)
{
	const char *next = v->typed ? form_get(v->typed, "next") : "";

	if (*next == '\0')
		next = form_get(&v->query, "next");
	next = view_local_path(next);
	/* Not back to a form's address that shows nothing. */
	return strncmp(next, "/sign", 5) == 0 ? "/" : next;
}

/* Where somebody is, to come back to it; what was just done is past then. */
static const char *
here(struct view *v)
{
	const char *s = v->path;

	if (strncmp(s, "/sign", 5) == 0)
		return view_next(v);
	if (v->rq->route != NULL && v->rq->route->form)
		return s;
	for (int i = 0; i < v->query.count; i++) {
		const struct form_field *f = &v->query.fields[i];

		if (strcmp(f->name, "done") != 0)
			s = arena_printf(v->a, "%s%c%s=%s", s,
					 strchr(s, '?') ? '&' : '?',
					 template_encode(v->a, f->name),
					 template_encode(v->a, f->value));
	}
	return s;
}

static void
put_user(struct view *v)
{
	const struct request *rq = v->rq;
	json_object *user;
	const char *next = template_encode(v->a, here(v));

	if (rq->signed_in) {
		user = model_object(v->model, "user");
		json_put_text(user, "id", rq->user.id);
		json_put_text(user, "email", rq->user.email);
		model_flag(user, "admin", view_is_admin(rq));
	}
	json_put_text(v->model, "signin_url",
		      arena_printf(v->a, "/signin?next=%s", next));
	json_put_text(v->model, "signup_url",
		      arena_printf(v->a, "/signup?next=%s", next));
}

/* Says which part of the shop the page is in, for aria-current. */
static void
put_nav(struct view *v)
{
	static const struct {
		const char *path, *name, *tab;
	} parts[] = {
		{"/library", "library", NULL},
		{"/orders", "orders", NULL},
		{"/sell/sales", "sales", NULL},
		{"/sell", "sell", NULL},
		{"/account/password", "account", "password"},
		{"/account/sessions", "account", "sessions"},
		{"/account/erase", "account", "erase"},
		{"/account", "account", "profile"},
		{"/admin/coupons", "admin", "coupons"},
		{"/admin/users", "admin", "users"},
		{"/admin/listings", "admin", "listings"},
		{"/help", "help", NULL},
	};
	json_object *nav = model_object(v->model, "nav");

	if (strcmp(v->path, "/") == 0)
		model_flag(nav, "home", true);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strncmp(v->path, parts[i].path, strlen(parts[i].path)) != 0)
			continue;
		model_flag(nav, parts[i].name, true);
		if (parts[i].tab != NULL)
			model_flag(model_object(v->model, "tab"), parts[i].tab,
				   true);
		break;
	}
}

static void
set_policy(struct view *v)
{
	bool stripe = json_object_object_get_ex(v->model, "stripe_key", NULL);

	http_set_header(
		v->rq, "Content-Security-Policy",
		"default-src 'none'; script-src 'self'%s; style-src 'self'; "
		"img-src 'self' data:; font-src 'self'; connect-src 'self'%s; "
		"%smanifest-src 'self'; form-action 'self'; base-uri 'none'; "
		"frame-ancestors 'none'",
		stripe ? " https://js.stripe.com" : "",
		stripe ? " https://api.stripe.com" : "",
		stripe ? "frame-src https://js.stripe.com "
			 "https://hooks.stripe.com; "
		       : "");
	http_set_header(v->rq, "Referrer-Policy",
			"strict-origin-when-cross-origin");
	http_set_header(v->rq, "Cross-Origin-Opener-Policy", "same-origin");
	http_set_header(v->rq, "X-Frame-Options", "DENY");
	http_set_header(v->rq, "Permissions-Policy",
			"camera=(), geolocation=(), microphone=()%s",
			stripe ? "" : ", payment=()");
}

/* Does If-None-Match have the tag, however nginx has weakened it? */
static bool
has_tag(struct request *rq, const char *tag)
{
	const char *sent = http_header(rq, "If-None-Match");

	return sent != NULL &&
	       (strstr(sent, tag) != NULL || strcmp(sent, "*") == 0);
}

/* A page that is for all the same is not sent again when it has not changed. */
static const struct fail *
answer(struct view *v, const char *html)
{
	char hash[ID_HASH_SIZE];
	const char *tag;

	http_reply_text(v->rq, "text/html; charset=utf-8", html);
	v->rq->status = v->status ? v->status : v->fail ? v->fail->status : 200;
	if (!v->cached || v->rq->signed_in || v->rq->status != 200)
		return NULL;
	id_hash(hash, html, strlen(html));
	tag = arena_printf(v->a, "\"%.32s\"", hash);
	/* nginx/home.conf has the other end of this, and tells browsers
	 * no-cache. */
	http_set_header(v->rq, "Cache-Control", "%s",
			v->kept ? "max-age=0, s-maxage=1, "
				  "stale-while-revalidate=4"
				: "no-cache");
	http_set_header(v->rq, "Vary", "Cookie");
	http_set_header(v->rq, "ETag", "W/%s", tag);
	if (has_tag(v->rq, tag)) {
		http_reply(v->rq, 304, NULL);
		v->rq->text = NULL;
	}
	return NULL;
}

const struct fail *
view_page(struct view *v, const char *name, const char *title,
	  const char *description)
{
	const char *html;

	json_put_text(v->model, "site", SITE);
	json_put_text(v->model, "title", title);
	json_put_text(v->model, "description", description);
	if (!json_object_object_get_ex(v->model, "canonical", NULL))
		model_flag(v->model, "noindex", true);
	json_put(v->model, "now", format_time_ms(v->a, clock_now()));
	put_user(v);
	put_nav(v);
	flash_put(v->model, form_get(&v->query, "done"));
	if (!v->cached || v->rq->signed_in)
		view_put_csrf(v);
	set_policy(v);
	html = template_render(v->a, v->templates, name, v->model);
	if (html == NULL)
		return fail_unknown(v->a, "there is no template %s", name);
	return answer(v, html);
}

const struct fail *
view_again(struct view *v, http_handler show, const struct fail *fail)
{
	if (fail->status == 401)
		return fail;
	v->fail = fail;
	return show(v->rq);
}

const struct fail *
view_go(struct view *v, const char *path, const char *done)
{
	http_set_header(v->rq, "Location", "%s%s%s", path,
			done == NULL		    ? ""
			: strchr(path, '?') != NULL ? "&done="
						    : "?done=",
			done ? done : "");
	return http_reply(v->rq, 303, NULL);
}

/* --- failures ------------------------------------------------------------- */

/* Who has to sign in first comes back to where they were, with what they had
 * typed. */
static const struct fail *
ask_to_sign_in(struct view *v)
{
	struct request *rq = v->rq;
	const char *query = http_query(rq);

	if (rq->route != NULL && rq->route->form) {
		v->fail = fail_not_authorized(v->a);
		return flash_keep(v);
	}
	return view_go(
		v,
		arena_printf(v->a, "/signin?next=%s",
			     template_encode(
				     v->a,
				     arena_printf(v->a, "%s%s%s", rq->path,
						  *query ? "?" : "", query))),
		NULL);
}

const struct fail *
view_busy(struct view *v, const struct fail *fail)
{
	int left = fail->retry_after;

	v->fail = fail;
	json_put_text(v->model, "message", fail->reasons->msg);

	if (left > 0) {
		json_put_text(v->model, "seconds",
			      arena_printf(v->a, "%d", left));
		json_put(v->model, "free_at",
			 format_time_ms(v->a, clock_now() + left * 1000));
	}
	model_flag(v->model, "sold",
		   strcmp(fail->reasons->msg, "The stuff is sold") == 0);
	return view_page(v, "busy", "Please come back later",
			 fail->reasons->msg);
}

static const struct fail *
show_error(struct view *v)
{
	const struct fail *fail = v->fail;
	const char *id = http_request_id(v->rq);

	json_put_text(v->model, "message", fail->reasons->msg);
	json_put_text(v->model, "status",
		      arena_printf(v->a, "%d", fail->status));
	model_flag(v->model, "retry",
		   fail->status == 503 || fail->status == 429);
	if (id != NULL)
		json_put_text(v->model, "request_id", id);
	switch (fail->status) {
	case 403:
		return view_page(v, "403", "Not for you", fail->reasons->msg);
	case 404:
		return view_page(v, "404", "Not found",
				 "There is nothing at this address.");
	case 409:
		return view_busy(v, fail);
	case 410:
		return view_page(v, "410", "No longer here",
				 "What was here was removed.");
	default:
		return view_page(v, "500",
				 fail->status == 503 ? "Please try again"
						     : "Something went wrong",
				 fail->reasons->msg);
	}
}

/* A form of a page that has gone stale is shown again as it was filled in. */
static bool
can_show_again(struct view *v, const struct fail *fail)
{
	const struct route *show = NULL;

	if (fail->status == 403 && strcmp(fail->reasons->msg, VIEW_STALE) == 0)
		show = http_find_route(v->rq, GET, v->rq->path);
	if (show == NULL)
		return false;
	v->fail = fail;
	return show->handler(v->rq) == NULL;
}

/* A program that wants JSON says so. */
static bool
wants_json(struct request *rq)
{
	const char *accept = http_header(rq, "Accept");

	/* An API that there is not: whoever has no path goes here. */
	if (strncmp(rq->path, "/api/", 5) == 0)
		return true;
	return accept != NULL && strstr(accept, "application/json") != NULL &&
	       strstr(accept, "text/html") == NULL;
}

bool
view_fail(struct request *rq, const struct fail *fail)
{
	struct view *v = rq->own ? rq->own : view_new(rq);
	const struct fail *again = NULL;

	if (wants_json(rq))
		return false;

	v->cached = false;
	if (fail->status == 401) {
		again = ask_to_sign_in(v);
	} else if (!can_show_again(v, fail)) {
		v->fail = fail;
		again = show_error(v);
	}
	if (again == NULL)
		return true;
	http_reply_text(rq, "text/plain; charset=utf-8",
			"Something went wrong. Please try again.\n");
	rq->status = 500;
	return true;
}
