/* model.c: see view.h.  What templates are filled with.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <string.h>

#include "view.h"

#define HUES 12
#define PATTERNS 6

json_object *
model_object(json_object *o, const char *name)
{
	json_object *inner = json_object_new_object();

	json_put(o, name, inner);
	return inner;
}

json_object *
model_array(json_object *o, const char *name)
{
	json_object *list = json_object_new_array();

	json_put(o, name, list);
	return list;
}

json_object *
model_add(json_object *array)
{
	json_object *o = json_object_new_object();

	json_object_array_add(array, o);
	return o;
}

void
model_flag(json_object *o, const char *name, bool value)
{
	json_put(o, name, json_object_new_boolean(value));
}

int64_t
model_int(json_object *o, const char *name)
{
	return json_object_get_int64(json_member(o, name, json_type_int));
}

const char *
model_text(json_object *o, const char *name)
{
	const char *s = json_text(o, name);

	return s ? s : "";
}

bool
model_is(json_object *o, const char *name, const char *value)
{
	return strcmp(model_text(o, name), value) == 0;
}

/* --- forms ---------------------------------------------------------------- */

json_object *
model_form(struct view *v, const char *action)
{
	json_object *form = model_object(v->model, "form");

	json_put_text(form, "action", action);
	/* What is said of no field of this form is said above it. */
	for (const struct reason *r = v->fail ? v->fail->reasons : NULL;
	     r != NULL; r = r->next)
		if (r->param == NULL)
			json_put_text(form, "error", r->msg);
	return form;
}

void
model_field(struct view *v, json_object *form, const char *name,
	    const char *value)
{
	json_object *field = model_object(form, name);
	const struct reason *r = v->fail ? v->fail->reasons : NULL;

	if (v->typed != NULL)
		value = form_get(v->typed, name);
	json_put_text(field, "value", value);
	for (; r != NULL; r = r->next)
		if (r->param != NULL && strcmp(r->param, name) == 0)
			json_put_text(field, "error", r->msg);
}

void
model_put_typed(struct view *v, json_object *body, const char *name)
{
	const char *value = form_get(v->typed, name);

	if (*value != '\0')
		json_put_text(body, name, value);
}

void
model_option(json_object *list, const char *value, const char *label,
	     const char *selected)
{
	json_object *o = model_add(list);

	json_put_text(o, "value", value);
	json_put_text(o, "label", label);
	model_flag(o, "selected", strcmp(value, selected) == 0);
}

void
model_paging(struct view *v, const char *path, const struct call *list)
{
	const char *kept = "";

	for (int i = 0; i < v->query.count; i++) {
		const struct form_field *f = &v->query.fields[i];

		if (strcmp(f->name, "cursor") != 0 &&
		    strcmp(f->name, "done") != 0 && *f->value != '\0')
			kept = arena_printf(v->a, "%s%s=%s&", kept,
					    template_encode(v->a, f->name),
					    template_encode(v->a, f->value));
	}
	if (*form_get(&v->query, "cursor") != '\0')
		json_put_text(model_object(v->model, "first"), "url",
			      arena_printf(v->a, "%s?%s", path, kept));
	if (list->next != NULL)
		json_put_text(model_object(v->model, "next"), "url",
			      arena_printf(v->a, "%s?%scursor=%s", path, kept,
					   list->next));
}

/* --- listings ------------------------------------------------------------- */

void
model_state(struct view *v, json_object *to, json_object *stuff)
{
	static const struct {
		const char *status, *text;
	} states[] = {
		{"available", "Available"},
		{"reserved", "Being checked out"},
		{"sold", "Sold"},
		{"removed", "Removed"},
	};
	json_object *state = model_object(to, "state");
	bool unready = model_is(stuff, "status", "available") &&
		       json_member(stuff, "file", json_type_object) == NULL;

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		bool is = model_is(stuff, "status", states[i].status);

		model_flag(state, states[i].status, is);
		if (is)
			json_put_text(state, "text",
				      unready ? "Not ready yet"
					      : states[i].text);
	}
	model_flag(state, "unready", unready);
	if (model_is(stuff, "status", "reserved"))
		json_put(state, "free_at",
			 format_time(v->a, json_text(stuff, "heldUntil")));
}

/* What stands in for a picture: the same each time for the same listing. */
void
model_cover(struct view *v, json_object *to, const char *id, const char *title)
{
	json_object *cover = model_object(to, "cover");
	char hash[ID_HASH_SIZE], initials[16];
	const char *p = title;
	size_t n = 0;

	/* Of the first two words, whole characters. */
	for (int word = 0; word < 2 && *p != '\0'; word++) {
		p += strspn(p, " \t\n-_/(\"'");
		if (*p == '\0')
			break;
		initials[n++] = (char)toupper((unsigned char)*p++);
		while (((unsigned char)*p & 0xc0) == 0x80 && n < 12)
			initials[n++] = *p++;
		p += strcspn(p, " \t\n");
	}
	initials[n] = '\0';
	id_hash(hash, id, strlen(id));
	json_put_text(cover, "initials", initials);
	json_put_text(cover, "hue",
		      arena_printf(v->a, "%d", (hash[0] * 7 + hash[1]) % HUES));
	json_put_text(cover, "pattern",
		      arena_printf(v->a, "%d",
				   (hash[2] * 5 + hash[3]) % PATTERNS));
}

void
model_file(struct view *v, json_object *to, json_object *stuff)
{
	json_object *file = json_member(stuff, "file", json_type_object), *o;

	model_flag(to, "has_file", file != NULL);
	if (file == NULL)
		return;
	o = model_object(to, "file");
	json_put_text(o, "name", model_text(file, "name"));
	json_put_text(o, "size", format_size(v->a, model_int(file, "size")));
	json_put_text(o, "type", model_text(file, "type"));
}

json_object *
model_card(struct view *v, json_object *stuff)
{
	json_object *card = json_object_new_object();
	const char *id = model_text(stuff, "id");
	const char *title = model_text(stuff, "title");

	json_put_text(card, "id", id);
	json_put_text(card, "title", title);
	json_put_text(card, "url", format_listing_path(v->a, id, title));
	json_put_text(card, "price",
		      format_money(v->a, model_int(stuff, "price"), true));
	json_put(card, "created",
		 format_time(v->a, json_text(stuff, "createdAt")));
	model_state(v, card, stuff);
	model_cover(v, card, id, title);
	if (*model_text(stuff, "picture") != '\0')
		json_put_text(json_member(card, "cover", json_type_object),
			      "url",
			      arena_printf(v->a, "/api/stuff/%s/picture?v=%s",
					   id, model_text(stuff, "picture")));
	model_file(v, card, stuff);
	return card;
}
