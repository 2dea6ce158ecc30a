/* template-read.c: makes nodes of a template's text, and finds out whether
 * every tag may stand where it does.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "markup.h"
#include "template-node.h"

/* What is being read. */
struct reading {
	struct templates *all;
	struct template *t;
	struct markup markup;
	size_t open[TEMPLATE_DEPTH]; /* sections: their nodes */
	struct markup before[TEMPLATE_DEPTH];
	int depth, line;
	char next; /* behind the tag */
	char *error;
	size_t error_size;
};

static bool __attribute__((format(printf, 2, 3)))
bad(struct reading *r, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	snprintf(r->error, r->error_size, "%s" TEMPLATE_SUFFIX ":%d: %s",
		 r->t->name, r->line, why);
	return false;
}

static struct node *
add(struct reading *r, enum node_type type, const char *text, size_t len)
{
	struct template *t = r->t;

	t->nodes = template_grow(t->nodes, t->count, sizeof(*t->nodes));
	t->nodes[t->count] = (struct node){
		.type = type, .line = r->line, .text = text, .len = len};
	return &t->nodes[t->count++];
}

static void
add_text(struct reading *r, const char *text, size_t len)
{
	if (len == 0)
		return;
	add(r, NODE_TEXT, text, len);
	markup_read(&r->markup, text, len);
}

static bool
name_good(const char *name)
{
	return *name != '\0' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
		       strlen(name);
}

/* {{name}} or {{url name}}: may it stand here, and as what? */
static bool
add_value(struct reading *r, enum node_type type, const char *name)
{
	struct markup *m = &r->markup;

	if (m->state != MARKUP_TEXT && !markup_quoted(m))
		return bad(r,
			   "{{%s}} stands neither in text nor in a quoted "
			   "value of an attribute",
			   name);
	if (markup_active(m))
		return bad(r, "{{%s}} in the attribute %s", name, m->attribute);
	if (type == NODE_VALUE && markup_address(m) && m->length == 0)
		type = NODE_ADDRESS;
	add(r, type, name, strlen(name));
	m->length++;
	markup_unknown(m);
	return true;
}

static bool
add_asset(struct reading *r, const char *file)
{
	const char *address = template_asset(r->all, file);

	if (!markup_quoted(&r->markup) || r->markup.length > 0)
		return bad(r, "{{asset %s}} is not all of a quoted value",
			   file);
	if (address == NULL)
		return bad(r, "there is no static/%s", file);
	add_text(r, address, strlen(address));
	return true;
}

static bool
open_section(struct reading *r, enum node_type type, const char *name)
{
	if (r->depth == TEMPLATE_DEPTH)
		return bad(r, "sections are nested too deeply");
	r->before[r->depth] = r->markup;
	r->open[r->depth++] = r->t->count;
	add(r, type, name, strlen(name));
	return true;
}

static bool
in_tag(const struct markup *m)
{
	return m->state == MARKUP_TAG_NAME || m->state == MARKUP_TAG ||
	       m->state == MARKUP_ATTRIBUTE;
}

/* May what stands between two places be left out?  Next is what follows. */
static bool
same_place(const struct markup *m, const struct markup *was, char next)
{
	/* Behind "</b>" and behind "<i>" is text all the same. */
	if (m->state == MARKUP_TEXT && was->state == MARKUP_TEXT)
		return true;
	if (strcmp(m->tag, was->tag) != 0)
		return false;
	if (in_tag(m) && in_tag(was)) /* whole attributes, like " hidden" */
		return isspace((unsigned char)next) || next == '>' ||
		       next == '/' || next == '{';
	return m->state == was->state && markup_quoted(m) &&
	       strcmp(m->attribute, was->attribute) == 0;
}

static bool
close_section(struct reading *r, const char *name)
{
	struct markup *m = &r->markup, *was;
	struct node *node;

	if (r->depth == 0)
		return bad(r, "{{/%s}} closes nothing", name);
	node = &r->t->nodes[r->open[--r->depth]];
	was = &r->before[r->depth];
	if (strcmp(node->text, name) != 0)
		return bad(r, "{{/%s}} closes {{#%s}} of line %d", name,
			   node->text, node->line);
	if (!same_place(m, was, r->next))
		return bad(r,
			   "{{#%s}} of line %d and {{/%s}} are not in the same "
			   "place of a tag",
			   name, node->line, name);
	*m = *was; /* it may be left out */
	markup_unknown(m);
	node->end = r->t->count;
	return true;
}

static bool
add_partial(struct reading *r, const char *name)
{
	if (r->markup.state != MARKUP_TEXT)
		return bad(r, "{{>%s}} does not stand in text", name);
	add(r, NODE_PARTIAL, name, strlen(name));
	return true;
}

/* A word and a name, "url q". */
static bool
add_function(struct reading *r, const char *word, const char *name)
{
	if (!name_good(name))
		return bad(r, "{{%s %s}}: that is no name", word, name);
	if (strcmp(word, "url") == 0)
		return add_value(r, NODE_QUERY, name);
	if (strcmp(word, "asset") == 0)
		return add_asset(r, name);
	if (strcmp(word, "json") == 0) {
		if (r->markup.state != MARKUP_DATA)
			return bad(r,
				   "{{json %s}} does not stand in <script "
				   "type=\"application/ld+json\">",
				   name);
		add(r, NODE_JSON, name, strlen(name));
		return true;
	}
	if (strcmp(word, "unescaped_html") == 0) {
		if (strcmp(r->t->name, TEMPLATE_LAYOUT) != 0 ||
		    strcmp(name, "body") != 0 || r->markup.state != MARKUP_TEXT)
			return bad(r,
				   "{{unescaped_html}} is for body, in the "
				   "text of " TEMPLATE_LAYOUT TEMPLATE_SUFFIX);
		add(r, NODE_RAW, name, strlen(name));
		return true;
	}
	return bad(r, "{{%s}}: no such function", word);
}

/* The text between {{ and }}, which is ended with NUL in place. */
static bool
add_tag(struct reading *r, char kind, char *name)
{
	char *space = strpbrk(name, " \t\r\n");

	if (kind == '\0' && space != NULL) {
		*space++ = '\0';
		return add_function(r, name, space + strspn(space, " \t\r\n"));
	}
	if (!name_good(name))
		return bad(r, "{{%s}}: that is no name", name);
	switch (kind) {
	case '#':
		return open_section(r, NODE_SECTION, name);
	case '^':
		return open_section(r, NODE_INVERTED, name);
	case '/':
		return close_section(r, name);
	case '>':
		return add_partial(r, name);
	default:
		return add_value(r, NODE_VALUE, name);
	}
}

/* Does the tag [open, close) have its line for itself?  Then *ret_from and
 * *ret_to are the line's. */
static bool
alone(const char *text, const char *open, const char *close,
      const char **ret_from, const char **ret_to)
{
	const char *from = open, *to = close;

	while (from > text && (from[-1] == ' ' || from[-1] == '\t'))
		from--;
	to += strspn(to, " \t\r");
	if ((from > text && from[-1] != '\n') || (*to != '\n' && *to != '\0'))
		return false;
	*ret_from = from;
	*ret_to = to + (*to == '\n');
	return true;
}

static int
count_lines(const char *from, const char *to)
{
	int n = 0;

	for (; from < to; from++)
		n += *from == '\n';
	return n;
}

static char *
trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r\n");
	for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
		*--end = '\0';
	return s;
}

static bool
read_all(struct reading *r)
{
	char *text = r->t->text, *open, *close;
	const char *p = text, *from, *to;

	for (r->line = 1; (open = strstr(p, "{{")) != NULL; p = to) {
		char kind = open[2];

		close = strstr(open, "}}");
		from = open;
		if (close == NULL) {
			r->line += count_lines(p, open);
			return bad(r, "{{ without }}");
		}
		to = close + 2;
		if (strchr("#^/>!", kind) == NULL)
			kind = '\0';
		if (kind != '\0')
			alone(text, open, to, &from, &to);
		add_text(r, p, (size_t)(from - p));
		r->line += count_lines(p, open);
		*close = '\0';
		r->next = *to;
		if (kind != '!' &&
		    !add_tag(r, kind, trim(open + 2 + (kind != '\0'))))
			return false;
		r->line += count_lines(open, to);
	}
	add_text(r, p, strlen(p));
	if (r->depth > 0)
		return bad(r, "{{#%s}} of line %d is not closed",
			   r->t->nodes[r->open[r->depth - 1]].text,
			   r->t->nodes[r->open[r->depth - 1]].line);
	if (r->markup.state != MARKUP_TEXT)
		return bad(r, "it ends within a tag or comment");
	return true;
}

bool
template_read(struct templates *all, struct template *t, char *error,
	      size_t size)
{
	struct reading r = {
		.all = all, .t = t, .error = error, .error_size = size};

	return read_all(&r);
}
