/* template.c: see template.h.  Reads templates.
 * SPDX-License-Identifier: MIT */
#include "template.h"

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "id.h"
#include "markup.h"
#include "template-node.h"

#define SUFFIX ".html"
#define FILE_MAX 262144
#define FILES_MAX 200
#define HASH_SHOWN 10 /* hex digits of a file's, in its address */
#define LAYOUT "layout"

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

static void *
grow(void *list, size_t count, size_t size)
{
	void *longer = list;

	if (count % 32 == 0)
		longer = realloc(list, (count + 32) * size);
	if (longer == NULL)
		_exit(EX_OSERR);
	return longer;
}

static char *
copy(const char *s, size_t len)
{
	char *c = strndup(s, len);

	if (c == NULL)
		_exit(EX_OSERR);
	return c;
}

static bool __attribute__((format(printf, 2, 3)))
bad(struct reading *r, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	snprintf(r->error, r->error_size, "%s" SUFFIX ":%d: %s", r->t->name,
		 r->line, why);
	return false;
}

static struct node *
add(struct reading *r, enum node_type type, const char *text, size_t len)
{
	struct template *t = r->t;

	t->nodes = grow(t->nodes, t->count, sizeof(*t->nodes));
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
		if (strcmp(r->t->name, LAYOUT) != 0 ||
		    strcmp(name, "body") != 0 || r->markup.state != MARKUP_TEXT)
			return bad(r, "{{unescaped_html}} is for body, in the "
				      "text of " LAYOUT SUFFIX);
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
read_template(struct reading *r)
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

static struct template *
find(const struct templates *all, const char *name)
{
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->list[i].name, name) == 0)
			return &all->list[i];
	return NULL;
}

/* Finds the partials of one; and whether they go round, by their depth. */
static bool
link_partials(struct reading *r, struct template *t, int depth)
{
	for (size_t i = 0; i < t->count; i++) {
		struct node *n = &t->nodes[i];
		struct template *partial;

		if (n->type != NODE_PARTIAL)
			continue;
		r->t = t;
		r->line = n->line;
		partial = find(r->all, n->text);
		if (partial == NULL)
			return bad(r, "there is no %s" SUFFIX, n->text);
		if (depth == TEMPLATE_DEPTH)
			return bad(r, "%s" SUFFIX " has itself in it", n->text);
		n->partial = (size_t)(partial - r->all->list);
		if (!link_partials(r, partial, depth + 1))
			return false;
	}
	return true;
}

/* --- files ---------------------------------------------------------------- */

static char *
read_file(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	char *text = malloc(FILE_MAX + 1);

	if (text == NULL)
		_exit(EX_OSERR);
	*ret_len = 0;
	if (f != NULL) {
		*ret_len = fread(text, 1, FILE_MAX, f);
		fclose(f);
	}
	text[*ret_len] = '\0';
	return text;
}

static bool
is_wanted(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return *name != '.' && len > end &&
	       strcmp(name + len - end, suffix) == 0;
}

/* Calls fn for each file of a folder whose name ends so. */
static bool
each_file(const char *dir, const char *sub, const char *suffix,
	  bool (*fn)(void *closure, const char *path, const char *name),
	  void *closure)
{
	struct dirent **list;
	char path[PATH_MAX], folder[PATH_MAX / 2];
	bool good = true;
	int n;

	snprintf(folder, sizeof(folder), "%s/%s", dir, sub);
	n = scandir(folder, &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (good && is_wanted(list[i]->d_name, suffix)) {
			snprintf(path, sizeof(path), "%s/%s", folder,
				 list[i]->d_name);
			good = fn(closure, path, list[i]->d_name);
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return good && n >= 0;
}

static bool
load_asset(void *closure, const char *path, const char *name)
{
	struct templates *all = closure;
	char hash[ID_HASH_SIZE], address[PATH_MAX];
	struct asset *asset;
	size_t len;
	char *bytes = read_file(path, &len);

	id_hash(hash, bytes, len);
	free(bytes);
	snprintf(address, sizeof(address), "/static/%s?v=%.*s", name,
		 HASH_SHOWN, hash);
	all->assets = grow(all->assets, all->asset_count, sizeof(*asset));
	asset = &all->assets[all->asset_count++];
	asset->file = copy(name, strlen(name));
	asset->address = copy(address, strlen(address));
	return all->asset_count < FILES_MAX;
}

static bool
load_template(void *closure, const char *path, const char *name)
{
	struct templates *all = closure;
	struct template *t;
	size_t len;

	all->list = grow(all->list, all->count, sizeof(*t));
	t = &all->list[all->count++];
	*t = (struct template){
		.name = copy(name, strlen(name) - strlen(SUFFIX)),
		.text = read_file(path, &len),
	};
	return all->count < FILES_MAX;
}

struct templates *
templates_load(const char *dir, char *error, size_t size)
{
	struct templates *all = calloc(1, sizeof(*all));
	bool good = true;

	if (all == NULL)
		_exit(EX_OSERR);
	each_file(dir, "static", "", load_asset, all);
	if (!each_file(dir, "templates", SUFFIX, load_template, all) ||
	    find(all, LAYOUT) == NULL) {
		snprintf(error, size,
			 "%s/templates:0: there is no " LAYOUT SUFFIX, dir);
		good = false;
	}
	for (size_t i = 0; good && i < all->count; i++) {
		struct reading r = {.all = all,
				    .t = &all->list[i],
				    .error = error,
				    .error_size = size};

		good = read_template(&r);
	}
	for (size_t i = 0; good && i < all->count; i++) {
		struct reading r = {
			.all = all, .error = error, .error_size = size};

		good = link_partials(&r, &all->list[i], 0);
	}
	if (good)
		return all;
	templates_free(all);
	return NULL;
}

void
templates_free(struct templates *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->count; i++) {
		free(t->list[i].name);
		free(t->list[i].text);
		free(t->list[i].nodes);
	}
	for (size_t i = 0; i < t->asset_count; i++) {
		free(t->assets[i].file);
		free(t->assets[i].address);
	}
	free(t->list);
	free(t->assets);
	free(t);
}

const char *
template_asset(const struct templates *t, const char *file)
{
	for (size_t i = 0; i < t->asset_count; i++)
		if (strcmp(t->assets[i].file, file) == 0)
			return t->assets[i].address;
	return NULL;
}

static bool
add_stamp(void *closure, const char *path, const char *name)
{
	unsigned long long *stamp = closure;
	struct stat st;

	(void)name;
	if (stat(path, &st) == 0)
		*stamp = *stamp * 1099511628211ULL +
			 (unsigned long long)st.st_ino +
			 (unsigned long long)st.st_size * 31 +
			 (unsigned long long)st.st_mtim.tv_nsec +
			 (unsigned long long)st.st_mtim.tv_sec * 1000003;
	return true;
}

unsigned long long
templates_stamp(const char *dir)
{
	unsigned long long stamp = 14695981039346656037ULL;

	each_file(dir, "static", "", add_stamp, &stamp);
	each_file(dir, "templates", SUFFIX, add_stamp, &stamp);
	return stamp;
}
