/* template.h: pages that designers write, filled with JSON.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_TEMPLATE_H
#define STOREFRONT_TEMPLATE_H

#include <stdbool.h>

#include "arena.h"
#include "json.h"

/*
 * A template is HTML with tags, a subset of Mustache:
 *
 *   {{name}} {{a.b}} {{.}}      text, escaped
 *   {{#name}} … {{/name}}       for each item; or once, if there is something
 *   {{^name}} … {{/name}}       if there is nothing
 *   {{>file}}                   another template
 *   {{! … }}                    a comment
 *   {{url name}}                percent-encoded, for a query
 *   {{json name}}               JSON, in <script type="application/ld+json">
 *   {{asset file}}              the address of a file in static/, with its hash
 *   {{unescaped_html body}}     as it is: for the page in its layout alone
 *
 * Where a tag stands decides what it may be: text goes between tags and into
 * quoted values of attributes, and nowhere else.  At the start of an address
 * (href, src, action…) it is looked at too: only http:, https: and what stays
 * on this site pass, all else becomes "#".  Anything else is an error when the
 * template is loaded, which names file and line.
 */
struct templates;

/*
 * Reads all *.html of DIR/templates; DIR/static has the assets.  NULL, and in
 * error, cut to size, "FILE:LINE: why" when one is bad.
 */
struct templates *templates_load(const char *dir, char *error, size_t size);
void templates_free(struct templates *t); /* NULL is accepted */

/* The page filled with the model; the arena owns it.  NULL when there is no
 * template of that name. */
const char *template_render(struct arena *a, const struct templates *t,
			    const char *name, json_object *model);

/* The address of a file in static/, with its hash; NULL: there is none. */
const char *template_asset(const struct templates *t, const char *file);

/* What all files there are like now: it changes when one does. */
unsigned long long templates_stamp(const char *dir);

/* Is it an address that a page may lead to: http:, https:, or on this site? */
bool template_link_good(const char *address);

/* The text percent-encoded as part of a query or path. */
const char *template_encode(struct arena *a, const char *text);

#endif
