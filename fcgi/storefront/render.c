/* render.c: see template.h.  Fills templates.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "template-node.h"

/* Where names are looked up, innermost first. */
struct scope {
	json_object *value;
	const struct scope *outer;
};

struct rendering {
	const struct templates *all;
	FILE *out;
	const char *body;
};

/* A member of o by the name up to len; false: there is none. */
static bool
member(json_object *o, const char *name, size_t len, json_object **ret)
{
	char key[64];

	if (len >= sizeof(key) || !json_object_is_type(o, json_type_object))
		return false;
	memcpy(key, name, len);
	key[len] = '\0';
	return json_object_object_get_ex(o, key, ret);
}

static json_object *
look_up(const struct scope *s, const char *name)
{
	size_t len = strcspn(name, ".");
	json_object *o = NULL;

	if (strcmp(name, ".") == 0)
		return s->value;
	while (s != NULL && !member(s->value, name, len, &o))
		s = s->outer;
	if (s == NULL)
		return NULL;
	for (name += len; *name == '.'; name += len) {
		name++;
		len = strcspn(name, ".");
		if (!member(o, name, len, &o))
			return NULL;
	}
	return o;
}

static bool
is_something(json_object *o)
{
	switch (json_object_get_type(o)) {
	case json_type_null:
		return false;
	case json_type_boolean:
		return json_object_get_boolean(o);
	case json_type_array:
		return json_object_array_length(o) > 0;
	case json_type_string:
		return json_object_get_string_len(o) > 0;
	case json_type_int:
		return json_object_get_int64(o) != 0;
	default:
		return true;
	}
}

static const char *
text_of(json_object *o)
{
	switch (json_object_get_type(o)) {
	case json_type_string:
	case json_type_int:
		return json_object_get_string(o);
	default:
		return "";
	}
}

static void
escape(FILE *out, const char *s)
{
	for (; *s != '\0'; s++)
		switch (*s) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&#34;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			putc_unlocked(*s, out);
		}
}

bool
template_link_good(const char *s)
{
	if (strncasecmp(s, "http://", 7) == 0 ||
	    strncasecmp(s, "https://", 8) == 0)
		return true;
	/* "//host" and, to browsers, "/\host" lead elsewhere; and they pass
	 * over control characters. */
	for (const char *p = s; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			return false;
	if (*s == '/')
		return s[1] != '/' && s[1] != '\\';
	return *s == '#' || *s == '?';
}

static void
encode(FILE *out, const char *s)
{
	for (; *s != '\0'; s++)
		if (isalnum((unsigned char)*s) || strchr("-._~", *s) != NULL)
			putc_unlocked(*s, out);
		else
			fprintf(out, "%%%02X", (unsigned char)*s);
}

/* No "</script>" or "<!--" must come of it, nor a line's end in a string. */
static void
write_json(FILE *out, json_object *o)
{
	const char *s = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	for (; *s != '\0'; s++)
		if (strchr("<>&", *s) != NULL)
			fprintf(out, "\\u%04x", (unsigned char)*s);
		else if (strncmp(s, "\xe2\x80\xa8", 3) == 0 ||
			 strncmp(s, "\xe2\x80\xa9", 3) == 0)
			fprintf(out, "\\u20%02x", (unsigned char)s[2] - 0x80),
				s += 2;
		else
			putc_unlocked(*s, out);
}

static void render(struct rendering *r, const struct template *t, size_t from,
		   size_t to, const struct scope *scope, int depth);

static void
render_section(struct rendering *r, const struct template *t, size_t at,
	       const struct scope *scope, int depth)
{
	const struct node *n = &t->nodes[at];
	json_object *o = look_up(scope, n->text);
	struct scope inner = {.value = o, .outer = scope};

	if (n->type == NODE_INVERTED) {
		if (!is_something(o))
			render(r, t, at + 1, n->end, scope, depth);
		return;
	}
	if (!is_something(o))
		return;
	if (!json_object_is_type(o, json_type_array)) {
		render(r, t, at + 1, n->end, &inner, depth);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(o); i++) {
		inner.value = json_object_array_get_idx(o, i);
		render(r, t, at + 1, n->end, &inner, depth);
	}
}

static void
render(struct rendering *r, const struct template *t, size_t from, size_t to,
       const struct scope *scope, int depth)
{
	for (size_t i = from; i < to; i++) {
		const struct node *n = &t->nodes[i];
		const struct template *partial;
		const char *s;

		switch (n->type) {
		case NODE_TEXT:
			fwrite(n->text, 1, n->len, r->out);
			break;
		case NODE_VALUE:
			escape(r->out, text_of(look_up(scope, n->text)));
			break;
		case NODE_ADDRESS:
			s = text_of(look_up(scope, n->text));
			escape(r->out, template_link_good(s) ? s : "#");
			break;
		case NODE_QUERY:
			encode(r->out, text_of(look_up(scope, n->text)));
			break;
		case NODE_JSON:
			write_json(r->out, look_up(scope, n->text));
			break;
		case NODE_RAW:
			fputs(r->body, r->out);
			break;
		case NODE_SECTION:
		case NODE_INVERTED:
			render_section(r, t, i, scope, depth);
			i = n->end - 1;
			break;
		case NODE_PARTIAL:
			partial = &r->all->list[n->partial];
			render(r, partial, 0, partial->count, scope, depth + 1);
			break;
		}
	}
}

static const struct template *
find(const struct templates *all, const char *name)
{
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->list[i].name, name) == 0)
			return &all->list[i];
	return NULL;
}

static const char *
fill(struct arena *a, const struct templates *all, const struct template *t,
     json_object *model, const char *body)
{
	const struct scope scope = {.value = model};
	char *text = NULL;
	size_t size;
	struct rendering r = {
		.all = all, .out = open_memstream(&text, &size), .body = body};

	if (r.out == NULL)
		_exit(EX_OSERR);
	render(&r, t, 0, t->count, &scope, 0);
	if (fclose(r.out) != 0)
		_exit(EX_OSERR);
	return arena_defer(a, free, text);
}

const char *
template_render(struct arena *a, const struct templates *t, const char *name,
		json_object *model)
{
	const struct template *page = find(t, name),
			      *layout = find(t, TEMPLATE_LAYOUT);

	if (page == NULL || layout == NULL)
		return NULL;
	return fill(a, t, layout, model, fill(a, t, page, model, ""));
}

const char *
template_encode(struct arena *a, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char *s = arena_alloc(a, 3 * strlen(text) + 1), *p = s;

	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text) ||
		    strchr("-._~", *text) != NULL) {
			*p++ = *text;
		} else {
			*p++ = '%';
			*p++ = hex[(unsigned char)*text >> 4];
			*p++ = hex[(unsigned char)*text & 15];
		}
	*p = '\0';
	return s;
}
