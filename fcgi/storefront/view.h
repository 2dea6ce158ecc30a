/* view.h: one page that is being made: for whom, of what, with what missing.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_VIEW_H
#define STOREFRONT_VIEW_H

#include "client.h"
#include "form.h"
#include "format.h"
#include "service.h"
#include "template.h"

/* From when a request came; parts that are late are left out of the page. */
#define VIEW_REFRESH_WAIT 1000 /* ms */
#define VIEW_WAIT 1700	       /* ms, all of it */
#define VIEW_ACT_WAIT 13000    /* ms for what changes something */

/* A request's own. */
struct view {
	struct request *rq;
	struct arena *a;
	const struct templates *templates;
	struct visitor visitor;
	json_object *model;
	struct form query;
	struct form *typed;	 /* what a form said, or NULL */
	const struct fail *fail; /* what was wrong with that, or NULL */
	int status;		 /* of the page, when it is not fail's */
	const char *path;	 /* of this page, for who comes back to it */
	bool cached; /* for all the same: may have an ETag, has no csrf */
	bool kept;   /* and shown again, by the server in front, for a second */
};

extern const char *view_dir; /* a setting: where templates/ and static/ are */

const char *view_open(const char *base_url);
void view_close(void);

/*
 * The view of a request, for its handler.  Who may see it: ANYONE, SIGNED_IN
 * or ADMIN; an access token that has run out is refreshed before that.  401,
 * 403; bad queries are 400.
 */
const struct fail *view_get(struct request *rq, enum access access,
			    struct view **ret);

/* Likewise for what a form sent: view->typed has it.  403 when it is not of one
 * of our pages that this visitor was shown. */
const struct fail *view_post(struct request *rq, enum access access,
			     struct view **ret);

/* Is that the token of one of this visitor's forms? */
const struct fail *view_check_csrf(struct view *v, const char *token);

/* Makes calls at once, within the time that a page has. */
#define VIEW_CALLS(v, ...)                                \
	view_run(v, (struct call *[]){__VA_ARGS__},       \
		 sizeof((struct call *[]){__VA_ARGS__}) / \
			 sizeof(struct call *))
void view_run(struct view *v, struct call *calls[], size_t count);

/* Makes one call that the page is nothing without, or that does something;
 * NULL, or what it failed with. */
const struct fail *view_need(struct view *v, struct call *c);
const struct fail *view_act(struct view *v, struct call *c);
void view_act_all(struct view *v, struct call *calls[], size_t count);

/* Was it good?  If not, the page says that this part is missing. */
bool view_has(struct view *v, const struct call *c);
void view_missing(struct view *v, const char *text);

/* The page, from a template, with all that layout.html wants. */
const struct fail *view_page(struct view *v, const char *name,
			     const char *title, const char *description);

/* Shows the form again, by its GET handler, with what was typed and what was
 * wrong with it.  What has nothing to do with the form is passed on. */
const struct fail *view_again(struct view *v, http_handler show,
			      const struct fail *fail);

/* 303 to another page, which says so when done is not NULL; see flash.c. */
const struct fail *view_go(struct view *v, const char *path, const char *done);

/* The page of who came second, or can't have it for another reason. */
const struct fail *view_busy(struct view *v, const struct fail *fail);

/* The failures' page, unless a program asks; a service's show_fail. */
bool view_fail(struct request *rq, const struct fail *fail);

/* Passes on what auth set. */
void view_keep_cookies(struct view *v, const struct call *c);

/* Takes up the session that a call began. */
void view_signed_in(struct view *v, const struct call *c);

/* "https://ticketing.dev" before a path. */
const char *view_absolute(struct view *v, const char *path);

/* Where somebody goes on who signs in or up: the page that they came from. */
const char *view_next(struct view *v);

/* A path of this site that somebody handed in, or "/". */
const char *view_local_path(const char *path);

/* For page.c: a view without a look at who asks; the csrf of its forms. */
struct view *view_new(struct request *rq);
void view_put_csrf(struct view *v);
bool view_is_admin(const struct request *rq);
extern const char *view_site; /* "https://ticketing.dev" */

/* --- models --------------------------------------------------------------- */

json_object *model_object(json_object *o, const char *name);
json_object *model_array(json_object *o, const char *name);
void model_flag(json_object *o, const char *name, bool value);
json_object *model_add(json_object *array); /* an object, at its end */

/* A form's field: what was typed, or else value; and what is wrong. */
void model_field(struct view *v, json_object *form, const char *name,
		 const char *value);
/* What was typed, into what the API is told, unless it is nothing. */
void model_put_typed(struct view *v, json_object *body, const char *name);
json_object *model_form(struct view *v, const char *action);
void model_option(json_object *list, const char *value, const char *label,
		  const char *selected);

/* first and next of a list at a path, whose query is kept but for the cursor.
 */
void model_paging(struct view *v, const char *path, const struct call *list);

int64_t model_int(json_object *o, const char *name);	  /* 0: none */
const char *model_text(json_object *o, const char *name); /* "": none */

/* A listing as the API has it, as the pages show it. */
json_object *model_card(struct view *v, json_object *stuff);
void model_state(struct view *v, json_object *to, json_object *stuff);
void model_cover(struct view *v, json_object *to, const char *id,
		 const char *title);
void model_file(struct view *v, json_object *to, json_object *stuff);
bool model_is(json_object *o, const char *name, const char *value);

#endif
