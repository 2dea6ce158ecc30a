/* site.c: help, and what search engines ask for.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"

#define PART_PAGE 100 /* listings in one call */

const struct fail *
site_help(struct request *rq)
{
	static const char about[] = "How buying and selling works here.";
	struct view *v;

	TRY(view_get(rq, ANYONE, &v));
	v->cached = true;
	json_put_text(v->model, "window_minutes",
		      arena_printf(v->a, "%lld",
				   (long long)(pages_window + 59) / 60));
	json_put_text(v->model, "held_message",
		      "The stuff is being checking out by someone else, "
		      "please come back later");
	json_put_text(v->model, "canonical", view_absolute(v, "/help"));
	return view_page(v, "help", "Help", about);
}

const struct fail *
site_robots(struct request *rq)
{
	struct view *v;

	TRY(view_get(rq, ANYONE, &v));
	http_set_header(rq, "Cache-Control", "public, max-age=3600");
	/* Pictures are what og:image names: the longest rule counts. */
	return http_reply_text(rq, "text/plain; charset=utf-8",
			       arena_printf(v->a,
					    "User-agent: *\n"
					    "Allow: /api/stuff/*/picture\n"
					    "Disallow: /api/\n"
					    "Disallow: /account\n"
					    "Disallow: /admin\n"
					    "Disallow: /checkout\n"
					    "Disallow: /download\n"
					    "Disallow: /library\n"
					    "Disallow: /orders\n"
					    "Disallow: /sell\n"
					    "Disallow: /signin\n"
					    "Disallow: /signup\n"
					    "Sitemap: %s\n",
					    view_absolute(v, "/sitemap.xml")));
}

static const struct fail *
reply_xml(struct view *v, const char *root, const char *entries)
{
	http_set_header(v->rq, "Cache-Control", "public, max-age=3600");
	return http_reply_text(
		v->rq, "application/xml; charset=utf-8",
		arena_printf(
			v->a,
			"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
			"<%s xmlns=\"http://www.sitemaps.org/schemas/sitemap/"
			"0.9\">\n%s</%s>\n",
			root, entries, root));
}

/* The index: a part for each so many listings, named by the one before its
 * first, so that a part stays what it is when listings are added. */
const struct fail *
site_sitemap(struct request *rq)
{
	struct call c = {.what = "the listings", .path = "/api/stuff/marks"};
	struct view *v;
	char *text = NULL;
	size_t size;
	FILE *out;

	TRY(view_get(rq, ANYONE, &v));
	TRY(view_act(v, &c));
	out = open_memstream(&text, &size);
	if (out == NULL)
		return fail_unknown(v->a, "no memory for a sitemap");
	fprintf(out, "<sitemap><loc>%s</loc></sitemap>\n",
		view_absolute(v, "/sitemap/first.xml"));
	for (size_t i = 0; json_object_is_type(c.json, json_type_array) &&
			   i < json_object_array_length(c.json);
	     i++)
		fprintf(out, "<sitemap><loc>%s/%.24s.xml</loc></sitemap>\n",
			view_absolute(v, "/sitemap"),
			json_object_get_string(
				json_object_array_get_idx(c.json, i)));
	fclose(out);
	arena_defer(v->a, free, text);
	return reply_xml(v, "sitemapindex", text);
}

/* A part of it: from behind one listing up to and with the next mark. */
const struct fail *
site_sitemap_part(struct request *rq)
{
	const char *name = rq->params[0], *cursor;
	char id[ID_SIZE] = "";
	struct view *v;
	char *text = NULL;
	size_t size;
	FILE *out;

	TRY(view_get(rq, ANYONE, &v));
	if (strlen(name) == ID_SIZE - 1 + 4)
		memcpy(id, name, ID_SIZE - 1);
	if (strcmp(name, "first.xml") != 0 &&
	    (!id_valid(id) || strcmp(name + ID_SIZE - 1, ".xml") != 0))
		return fail_not_found(v->a);
	cursor = id;
	out = open_memstream(&text, &size);
	if (out == NULL)
		return fail_unknown(v->a, "no memory for a sitemap");
	for (int i = 0; i < SITE_MARK / PART_PAGE && cursor != NULL; i++) {
		struct call c = {.what = "the listings"};
		const struct fail *fail;

		c.path = arena_printf(
			v->a, "/api/stuff?brief=1&sort=old&limit=%d%s%s",
			PART_PAGE, *cursor ? "&cursor=" : "", cursor);
		fail = view_act(v, &c);
		if (fail != NULL) {
			fclose(out);
			free(text);
			return fail;
		}
		for (size_t k = 0;
		     json_object_is_type(c.json, json_type_array) &&
		     k < json_object_array_length(c.json);
		     k++) {
			json_object *o = json_object_array_get_idx(c.json, k);

			fprintf(out, "<url><loc>%s</loc></url>\n",
				view_absolute(v,
					      format_listing_path(
						      v->a, model_text(o, "id"),
						      model_text(o, "title"))));
		}
		cursor = c.next;
	}
	fclose(out);
	arena_defer(v->a, free, text);
	return reply_xml(v, "urlset", text);
}
