/* flash.c: see flash.h.
 * SPDX-License-Identifier: MIT */
#include "flash.h"

#include <string.h>

#include "pages.h"

#define KEPT "kept."

static const struct {
	const char *done, *text;
} words[] = {
	{"paid", "Thank you! It is yours: download it below."},
	{"cancelled", "You have let it go. You were not charged."},
	{"removed", "The listing is removed."},
	{"refunded", "The money goes back to the buyer."},
	{"saved", "Saved."},
	{"uploaded", "The file is in place. Your listing can be bought now."},
	{"listed",
	 "Your listing is there. Add the file, and it can be bought."},
	{"welcome", "Welcome! Your account is ready."},
	{"signed-out", "You are signed out."},
	{"password", "Your password is changed; all other sessions are over."},
	{"ended", "That session is over."},
	{"erased", "Your account is erased."},
	{"made", "Made."},
	{"deleted", "Deleted."},
	{"banned", "The account is banned."},
	{"unbanned", "The account is no longer banned."},
};

void
flash_put(json_object *model, const char *done)
{
	json_object *flash;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i].done, done) != 0)
			continue;
		flash = model_object(model, "flash");
		json_put_text(flash, "text", words[i].text);
		model_flag(flash, "good", true);
	}
}

static bool
is_secret(const char *name)
{
	return strcmp(name, "csrf") == 0 || strcmp(name, "password") == 0 ||
	       strcmp(name, "newPassword") == 0;
}

const struct fail *
flash_keep(struct view *v)
{
	struct form *typed = v->typed;
	struct form kept = {0};
	const char *path = v->rq->path;

	for (int i = 0; typed != NULL && i < typed->count; i++)
		if (!is_secret(typed->fields[i].name))
			form_add(&kept,
				 arena_printf(v->a, KEPT "%s",
					      typed->fields[i].name),
				 typed->fields[i].value);
	/* Only a page can be come back to. */
	if (http_find_route(v->rq, GET, path) == NULL)
		path = strncmp(path, "/stuff/", 7) == 0
			       ? arena_printf(v->a, "/stuff/%.24s", path + 7)
			       : "/";
	form_add(&kept, "next", path);
	v->typed = arena_alloc(v->a, sizeof(kept));
	*v->typed = kept;
	model_flag(v->model, "resumed", true);
	return entry_show_signin(v->rq);
}

struct form *
flash_kept(struct view *v)
{
	struct form *kept = arena_alloc(v->a, sizeof(*kept));
	const size_t len = strlen(KEPT);

	for (int i = 0; i < v->typed->count; i++)
		if (strncmp(v->typed->fields[i].name, KEPT, len) == 0)
			form_add(kept, v->typed->fields[i].name + len,
				 v->typed->fields[i].value);
	return kept->count > 0 ? kept : NULL;
}
