/* template.c: see template.h.  Loads templates.
 * SPDX-License-Identifier: MIT */
#include "template.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "id.h"
#include "template-node.h"

#define FILE_MAX 262144
#define FILES_MAX 200
#define HASH_SHOWN 10 /* hex digits of a file's, in its address */

void *
template_grow(void *list, size_t count, size_t size)
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
link_partials(struct templates *all, struct template *t, int depth, char *error,
	      size_t size)
{
	for (size_t i = 0; i < t->count; i++) {
		struct node *n = &t->nodes[i];
		struct template *partial;

		if (n->type != NODE_PARTIAL)
			continue;
		partial = find(all, n->text);
		if (partial == NULL || depth == TEMPLATE_DEPTH) {
			snprintf(error, size,
				 "%s" TEMPLATE_SUFFIX
				 ":%d: %s%s" TEMPLATE_SUFFIX "%s",
				 t->name, n->line,
				 partial ? "" : "there is no ", n->text,
				 partial ? " has itself in it" : "");
			return false;
		}
		n->partial = (size_t)(partial - all->list);
		if (!link_partials(all, partial, depth + 1, error, size))
			return false;
	}
	return true;
}

/* --- files ---------------------------------------------------------------- */

/* Up to FILE_MAX bytes of it; NULL when it can't be read, or must be whole and
 * has more. */
static char *
read_file(const char *path, bool must, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	char *text;
	bool whole;

	if (f == NULL)
		return NULL;
	text = malloc(FILE_MAX + 1);
	if (text == NULL)
		_exit(EX_OSERR);
	*ret_len = fread(text, 1, FILE_MAX, f);
	whole = (!must || fgetc(f) == EOF) && !ferror(f);
	fclose(f);
	text[*ret_len] = '\0';
	if (whole)
		return text;
	free(text);
	return NULL;
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
	char *bytes = read_file(path, false, &len);

	if (bytes == NULL)
		return true; /* whoever wants it is told */
	id_hash(hash, bytes, len);
	free(bytes);
	snprintf(address, sizeof(address), "/static/%s?v=%.*s", name,
		 HASH_SHOWN, hash);
	all->assets =
		template_grow(all->assets, all->asset_count, sizeof(*asset));
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
	char *text = read_file(path, true, &len);

	if (text == NULL) {
		snprintf(all->unread, sizeof(all->unread), "%s", name);
		return false;
	}
	all->list = template_grow(all->list, all->count, sizeof(*t));
	t = &all->list[all->count++];
	*t = (struct template){
		.name = copy(name, strlen(name) - strlen(TEMPLATE_SUFFIX)),
		.text = text,
	};
	return all->count < FILES_MAX;
}

struct templates *
templates_load(const char *dir, char *error, size_t size)
{
	struct templates *all = calloc(1, sizeof(*all));
	bool good;

	if (all == NULL)
		_exit(EX_OSERR);
	each_file(dir, "static", "", load_asset, all);
	good = each_file(dir, "templates", TEMPLATE_SUFFIX, load_template, all);
	if (*all->unread != '\0') {
		snprintf(error, size, "%s:0: it can't be read, or is too large",
			 all->unread);
	} else if (!good || find(all, TEMPLATE_LAYOUT) == NULL) {
		snprintf(error, size,
			 "%s/templates:0: there is no " TEMPLATE_LAYOUT
				 TEMPLATE_SUFFIX,
			 dir);
		good = false;
	}
	for (size_t i = 0; good && i < all->count; i++)
		good = template_read(all, &all->list[i], error, size);
	for (size_t i = 0; good && i < all->count; i++)
		good = link_partials(all, &all->list[i], 0, error, size);
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
	each_file(dir, "templates", TEMPLATE_SUFFIX, add_stamp, &stamp);
	return stamp;
}
