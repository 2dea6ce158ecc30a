/* view.c: see view.h.
 * SPDX-License-Identifier: MIT */
#include "view.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "flash.h"
#include "refresh.h"

#define LOOK_EVERY 1000 /* ms, at whether a template was changed */
#define NEARLY_OVER 10	/* s before its end that a token is refreshed */
#define VISITOR_COOKIE "__Host-visitor"
#define VISITOR_SIZE 33
#define CSRF "storefront form"

const char *view_dir;

const char *view_site;

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

	view_site = base_url;
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

struct view *
view_new(struct request *rq)
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
	/* What failed before anybody looked who asks: an unknown address. */
	if (!rq->signed_in && v->visitor.session != NULL)
		rq->signed_in = token_read(v->a, v->visitor.session, &rq->user);
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
	bool fresh =
		v->rq->signed_in && clock_now() / 1000 + NEARLY_OVER <
					    v->rq->user.issued + TOKEN_LIFE;

	if (fresh || v->visitor.refresh == NULL)
		return;
	refresh_run(v->a, &v->visitor, &c, v->rq->began + VIEW_REFRESH_WAIT);
	if (c.good)
		view_signed_in(v, &c);
	else if (c.status == 0 || c.status >= 500)
		view_missing(v, "We can't check right now whether you are "
				"signed in. Please try again in a moment.");
}

bool
view_is_admin(const struct request *rq)
{
	return rq->signed_in && strcmp(rq->user.role, "admin") == 0;
}

const struct fail *
view_get(struct request *rq, enum access access, struct view **ret)
{
	struct view *v = rq->own;

	if (v == NULL) {
		v = view_new(rq);
		if (!form_read(v->a, http_query(rq), &v->query))
			return fail_bad_request(v->a,
						"The address is ill-formed");
		refresh(v);
	}
	*ret = v;
	if (access != ANYONE && !rq->signed_in)
		return fail_not_authorized(v->a);
	if (access == ADMIN && !view_is_admin(rq))
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
void
view_put_csrf(struct view *v)
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
view_act_all(struct view *v, struct call *calls[], size_t count)
{
	run_until(v, calls, count, VIEW_ACT_WAIT);
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
