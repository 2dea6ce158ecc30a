/* model.c: see model.h.
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <ctype.h>
#include <string.h>

static const struct field fields[] = {
	STORE_HEAD(struct account),
	FIELD(struct account, email, "email", FIELD_TEXT),
	FIELD(struct account, email_key, "emailKey", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct account, name, "name", FIELD_TEXT),
	FIELD(struct account, role, "role", FIELD_TEXT),
	FIELD(struct account, password, "password", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct account, created_at, "createdAt", FIELD_TIME,
	      .flags = FIELD_HIDDEN),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"emailKey"}, .unique = true},
	{{NULL}},
};

const struct kind user_kind = {
	.collection = "users",
	.fields = fields,
	.size = sizeof(struct account),
	.indexes = indexes,
};

static const char *
key(struct arena *a, const char *email)
{
	char *s = arena_strdup(a, email);

	for (char *p = s; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return s;
}

const struct fail *
account_by_email(struct context *cx, const char *email, struct account *ret)
{
	bson_t *filter = bson_new();

	BSON_APPEND_UTF8(filter, "emailKey", key(cx->arena, email));
	return store_find_one(cx, &user_kind, filter, ret);
}

const struct fail *
account_add(struct context *cx, struct account *account)
{
	account->email_key = key(cx->arena, account->email);
	return store_add(cx, &user_kind, account);
}

bool
account_email_valid(const void *member)
{
	const char *s = *(const char *const *)member;
	const char *at = strchr(s, '@'), *dot;

	if (at == NULL || at == s || at - s > 64 || strlen(s) > 254 ||
	    strchr(at + 1, '@') != NULL)
		return false;
	for (const char *p = s; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p) || (unsigned char)*p > 126 ||
		    strchr("\"<>(),;:\\[]", *p) != NULL)
			return false;
	dot = strchr(at + 1, '.');
	return dot != NULL && dot != at + 1 && dot[1] != '\0' &&
	       strstr(s, "..") == NULL && s[strlen(s) - 1] != '.';
}
