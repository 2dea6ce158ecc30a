/* template-node.h: what a template is made into, between template.c, which
 * reads it, and render.c.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_TEMPLATE_NODE_H
#define STOREFRONT_TEMPLATE_NODE_H

#include "template.h"

enum node_type {
	NODE_TEXT, /* as it is in the file */
	NODE_VALUE,
	NODE_ADDRESS, /* the start of an address */
	NODE_QUERY,
	NODE_JSON,
	NODE_RAW,
	NODE_SECTION, /* up to end */
	NODE_INVERTED,
	NODE_PARTIAL,
};

struct node {
	enum node_type type;
	int line;
	const char *text; /* or the name */
	size_t len;	  /* of text */
	size_t end;	  /* of a section: the node behind it */
	size_t partial;	  /* which template */
};

struct template
{
	char *name; /* without ".html" */
	char *text; /* of the file */
	struct node *nodes;
	size_t count;
};

struct asset {
	char *file, *address;
};

struct templates {
	struct template *list;
	size_t count;
	struct asset *assets;
	size_t asset_count;
	char unread[256]; /* a template that can't be, or "" */
};

#define TEMPLATE_SUFFIX ".html"
#define TEMPLATE_LAYOUT "layout"
#define TEMPLATE_DEPTH 16 /* of partials in each other, and of sections */

/* Room for one more in a list of count things, of that size. */
void *template_grow(void *list, size_t count, size_t size);

/* Fills t->nodes from t->text; false, and why in error, cut to size. */
bool template_read(struct templates *all, struct template *t, char *error,
		   size_t size);

#endif
