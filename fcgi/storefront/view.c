/* view.c: see view.h.
 * SPDX-License-Identifier: MIT */
#include "view.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "flash.h"

#define SITE "Ticketing"
#define LOOK_EVERY 1000 /* ms, at whether a template was changed */
#define NEARLY_OVER 10	/* s before its end that a token is refreshed */
#define VISITOR_COOKIE "__Host-visitor"
#define VISITOR_SIZE 33
#define CSRF "storefront form"

const char *view_dir;

static const char *site_url;

/* The templates now, and who still uses earlier ones. */
struct edition {
	struct templates *templates;
	int users;
	bool current;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards these */
static struct edition *edition;
static unsigned long long stamp;
static int64_t looked;

static struct edition *
new_edition(char *error, size_t size)
{
	struct edition *e = calloc(1, sizeof(*e));

	if (e != NULL)
		e->templates = templates_load(view_dir, error, size);
	if (e == NULL || e->templates == NULL) {
		free(e);
		return NULL;
	}
	e->current = true;
	return e;
}

const char *
view_open(const char *base_url)
{
	static char error[512];

	site_url = base_url;
	stamp = templates_stamp(view_dir);
	edition = new_edition(error, sizeof(error));
	return edition ? NULL : error;
}

static void
discard(struct edition *e)
{
	templates_free(e->templates);
	free(e);
}

void
view_close(void)
{
	discard(edition);
}

static void
leave(void *p)
{
	struct edition *e = p;
	bool last;

	pthread_mutex_lock(&lock);
	last = --e->users == 0 && !e->current;
	pthread_mutex_unlock(&lock);
	if (last)
		discard(e);
}

/* A designer sees what they save; a bad template leaves the pages as they
 * were.  Called with the lock held. */
static void
look_for_changes(void)
{
	char text[512], *error = text;
	struct edition *changed;
	unsigned long long now;

	if (clock_monotonic() < looked + LOOK_EVERY)
		return;
	looked = clock_monotonic();
	now = templates_stamp(view_dir);
	if (now == stamp)
		return;
	stamp = now;
	changed = new_edition(error, sizeof(text));
	if (changed == NULL) {
		LOG(LOG_ERROR, "bad template", LOG_TEXT("cause", error));
		return;
	}
	edition->current = false;
	if (edition->users == 0)
		discard(edition);
	edition = changed;
}

static const struct templates *
current_templates(struct arena *a)
{
	struct edition *e;

	pthread_mutex_lock(&lock);
	look_for_changes();
	e = edition;
	e->users++;
	pthread_mutex_unlock(&lock);
	arena_defer(a, leave, e);
	return e->templates;
}

/* --- who ------------------------------------------------------------------ */

static struct view *
new_view(struct request *rq)
{
	struct view *v = arena_alloc(rq->cx->arena, sizeof(*v));

	*v = (struct view){
		.rq = rq,
		.a = rq->cx->arena,
		.templates = current_templates(rq->cx->arena),
		.model = json_new_object(rq->cx->arena),
		.path = rq->path,
		.visitor = {.session = http_cookie(rq, TOKEN_COOKIE),
			    .refresh = http_cookie(rq, TOKEN_REFRESH_COOKIE),
			    .address = http_client(rq),
			    .agent = http_header(rq, "User-Agent"),
			    .request_id = http_request_id(rq)},
	};
	if (v->visitor.refresh != NULL && *v->visitor.refresh == '\0')
		v->visitor.refresh = NULL;
	if (!rq->signed_in)
		v->visitor.session = NULL;
	rq->own = v;
	return v;
}

void
view_keep_cookies(struct view *v, const struct call *c)
{
	for (const struct header *h = c->cookies; h != NULL; h = h->next)
		http_set_header(v->rq, "Set-Cookie", "%s", h->value);
}

/* The value of a cookie that a call set; NULL: it did not, or took it away. */
static const char *
cookie_of(struct view *v, const struct call *c, const char *name)
{
	size_t len = strlen(name);

	for (const struct header *h = c->cookies; h != NULL; h = h->next)
		if (strncmp(h->value, name, len) == 0 && h->value[len] == '=') {
			const char *value = h->value + len + 1;

			return *value == ';'
				       ? NULL
				       : arena_strndup(v->a, value,
						       strcspn(value, ";"));
		}
	return NULL;
}

void
view_signed_in(struct view *v, const struct call *c)
{
	view_keep_cookies(v, c);
	v->visitor.session = cookie_of(v, c, TOKEN_COOKIE);
	v->visitor.refresh = cookie_of(v, c, TOKEN_REFRESH_COOKIE);
	v->rq->signed_in = v->visitor.session != NULL &&
			   token_read(v->a, v->visitor.session, &v->rq->user);
}

static void
run_until(struct view *v, struct call *calls[], size_t count, int64_t wait)
{
	client_run(v->a, &v->visitor, calls, count, v->rq->began + wait);
}

/* An access token lives for a quarter of an hour; the reader never notices.
 * Tabs that do so at once get the same tokens, see auth's session.h. */
static void
refresh(struct view *v)
{
	struct call c = {.method = "POST",
			 .path = "/api/users/refresh",
			 .what = "your sign-in"};
	struct call *list[] = {&c};
	bool fresh =
		v->rq->signed_in && clock_now() / 1000 + NEARLY_OVER <
					    v->rq->user.issued + TOKEN_LIFE;

	if (fresh || v->visitor.refresh == NULL)
		return;
	run_until(v, list, 1, VIEW_REFRESH_WAIT);
	if (c.good)
		view_signed_in(v, &c);
	else if (c.status == 0 || c.status >= 500)
		view_missing(v, "We can't check right now whether you are "
				"signed in. Please try again in a moment.");
}

static bool
is_admin(const struct request *rq)
{
	return rq->signed_in && strcmp(rq->user.role, "admin") == 0;
}

const struct fail *
view_get(struct request *rq, enum access access, struct view **ret)
{
	struct view *v = rq->own;

	if (v == NULL) {
		v = new_view(rq);
		if (!form_read(v->a, http_query(rq), &v->query))
			return fail_bad_request(v->a,
						"The address is ill-formed");
		refresh(v);
	}
	*ret = v;
	if (access != ANYONE && !rq->signed_in)
		return fail_not_authorized(v->a);
	if (access == ADMIN && !is_admin(rq))
		return fail_forbidden(v->a, "This page is for admins only");
	return NULL;
}

/* What a form's token is bound to: the session; else the user; else a cookie
 * that says nothing. */
static const char *
binding(struct view *v)
{
	const char *id, *series;

	if (v->rq->signed_in && v->visitor.refresh != NULL &&
	    (id = strchr(v->visitor.refresh, '.')) != NULL &&
	    (series = strchr(id + 1, '.')) != NULL)
		return arena_strndup(v->a, v->visitor.refresh,
				     (size_t)(series - v->visitor.refresh));
	if (v->rq->signed_in)
		return v->rq->user.id;
	return http_cookie(v->rq, VISITOR_COOKIE);
}

static const char *
csrf_text(struct view *v, const char *salt, const char *bound)
{
	return arena_printf(v->a, "%s %s", salt, bound);
}

/* New each time, so that its bytes in a compressed page tell nothing. */
static void
put_csrf(struct view *v)
{
	char salt[17], signature[TOKEN_SIGNATURE_SIZE], *fresh;
	const char *bound = binding(v);

	if (bound == NULL || *bound == '\0') {
		fresh = arena_alloc(v->a, VISITOR_SIZE);
		id_random(fresh, (VISITOR_SIZE - 1) / 2);
		bound = fresh;
		http_set_header(v->rq, "Set-Cookie",
				VISITOR_COOKIE "=%s; Path=/; Secure; HttpOnly; "
					       "SameSite=Lax",
				bound);
	}
	id_random(salt, 8);
	token_sign(CSRF, csrf_text(v, salt, bound), signature);
	json_put_text(v->model, "csrf",
		      arena_printf(v->a, "%s%s", salt, signature));
}

const struct fail *
view_check_csrf(struct view *v, const char *token)
{
	const char *bound = binding(v), *salt;

	if (strlen(token) == 16 + TOKEN_SIGNATURE_SIZE - 1 && bound != NULL &&
	    *bound != '\0') {
		salt = arena_strndup(v->a, token, 16);
		if (token_signed(CSRF, csrf_text(v, salt, bound), token + 16))
			return NULL;
	}
	return fail_forbidden(v->a, VIEW_STALE);
}

const struct fail *
view_post(struct request *rq, enum access access, struct view **ret)
{
	const struct fail *fail;
	struct form *form = arena_alloc(rq->cx->arena, sizeof(*form));

	if (!form_read(rq->cx->arena, rq->raw ? rq->raw : "", form))
		return fail_bad_request(rq->cx->arena,
					"The form is ill-formed");
	fail = view_get(rq, access, ret);
	if (rq->own != NULL)
		((struct view *)rq->own)->typed = form;
	TRY(fail);
	return view_check_csrf(*ret, form_get(form, "csrf"));
}

/* --- calls ---------------------------------------------------------------- */

void
view_run(struct view *v, struct call *calls[], size_t count)
{
	run_until(v, calls, count, VIEW_WAIT);
}

const struct fail *
view_need(struct view *v, struct call *c)
{
	run_until(v, &c, 1, VIEW_WAIT);
	return c->good ? NULL : client_fail(v->a, c);
}

const struct fail *
view_act(struct view *v, struct call *c)
{
	run_until(v, &c, 1, VIEW_ACT_WAIT);
	return c->good ? NULL : client_fail(v->a, c);
}

void
view_missing(struct view *v, const char *text)
{
	json_object *list;

	if (!json_object_object_get_ex(v->model, "missing", &list))
		list = model_array(v->model, "missing");
	json_object_array_add(list, json_object_new_string(text));
	v->cached = false;
}

bool
view_has(struct view *v, const struct call *c)
{
	if (!c->good)
		view_missing(v, arena_printf(v->a,
					     "Sorry: %s can't be shown right "
					     "now. Please try again in a "
					     "moment.",
					     c->what));
	return c->good;
}

/* --- pages ---------------------------------------------------------------- */

const char *
view_absolute(struct view *v, const char *path)
{
	return arena_printf(v->a, "%s%s", site_url, path);
}

const char *
view_local_path(const char *path)
{
	return *path == '/' && template_link_good(path) ? path : "/";
}

static void
put_user(struct view *v)
{
	const struct request *rq = v->rq;
	json_object *user;
	const char *here = template_encode(v->a, v->path);

	if (rq->signed_in) {
		user = model_object(v->model, "user");
		json_put_text(user, "id", rq->user.id);
		json_put_text(user, "email", rq->user.email);
		model_flag(user, "admin", is_admin(rq));
	}
	if (strcmp(v->path, "/") == 0 || strncmp(v->path, "/sign", 5) == 0)
		here = "%2F";
	json_put_text(v->model, "signin_url",
		      arena_printf(v->a, "/signin?next=%s", here));
	json_put_text(v->model, "signup_url",
		      arena_printf(v->a, "/signup?next=%s", here));
}

static void
put_nav(struct view *v)
{
	static const struct {
		const char *path, *name;
	} parts[] = {
		{"/library", "library"},  {"/orders", "orders"},
		{"/sell/sales", "sales"}, {"/sell", "sell"},
		{"/account", "account"},  {"/admin", "admin"},
		{"/help", "help"},
	};
	json_object *nav = model_object(v->model, "nav");

	if (strcmp(v->path, "/") == 0)
		model_flag(nav, "home", true);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strncmp(v->path, parts[i].path, strlen(parts[i].path)) ==
		    0) {
			model_flag(nav, parts[i].name, true);
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
	v->rq->status = v->fail ? v->fail->status : 200;
	if (!v->cached || v->rq->signed_in || v->rq->status != 200)
		return NULL;
	id_hash(hash, html, strlen(html));
	tag = arena_printf(v->a, "\"%.32s\"", hash);
	http_set_header(v->rq, "Cache-Control", "no-cache");
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
		put_csrf(v);
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

void
view_fail(struct request *rq, const struct fail *fail)
{
	struct view *v = rq->own ? rq->own : new_view(rq);
	const struct fail *again = NULL;

	v->cached = false;
	if (fail->status == 401) {
		again = ask_to_sign_in(v);
	} else if (!can_show_again(v, fail)) {
		v->fail = fail;
		again = show_error(v);
	}
	if (again == NULL)
		return;
	http_reply_text(rq, "text/plain; charset=utf-8",
			"Something went wrong. Please try again.\n");
	rq->status = 500;
}
