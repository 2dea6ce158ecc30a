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
	FIELD(struct account, status, "status", FIELD_TEXT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct account, reason, "reason", FIELD_TEXT),
	FIELD(struct account, valid_after, "validAfter", FIELD_INT),
	{0},
};

const struct field account_view[] = {
	STORE_HEAD(struct account),
	FIELD(struct account, email, "email", FIELD_TEXT),
	FIELD(struct account, name, "name", FIELD_TEXT),
	FIELD(struct account, role, "role", FIELD_TEXT),
	{0},
};

const struct field account_admin_view[] = {
	STORE_HEAD(struct account),
	FIELD(struct account, email, "email", FIELD_TEXT),
	FIELD(struct account, name, "name", FIELD_TEXT),
	FIELD(struct account, role, "role", FIELD_TEXT),
	FIELD(struct account, status, "status", FIELD_TEXT),
	FIELD(struct account, reason, "reason", FIELD_TEXT),
	FIELD(struct account, created_at, "createdAt", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"emailKey"}, .unique = true},
	{{NULL}},
};

static enum event_type
publishes(const void *rec)
{
	return ((const struct account *)rec)->news;
}

const struct kind user_kind = {
	.collection = "users",
	.fields = fields,
	.size = sizeof(struct account),
	.publishes = publishes,
	.indexes = indexes,
};

const char *
account_key(struct arena *a, const char *email)
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

	BSON_APPEND_UTF8(filter, "emailKey", account_key(cx->arena, email));
	return store_find_one(cx, &user_kind, filter, ret);
}

const struct fail *
account_add(struct context *cx, struct account *account)
{
	account->email_key = account_key(cx->arena, account->email);
	return store_add(cx, &user_kind, account);
}

const struct fail *
account_find(struct context *cx, const char *text, const struct page *page,
	     struct account **ret, size_t *ret_count)
{
	bson_t *filter = bson_new(), list, not ;
	void *found;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &not );
	BSON_APPEND_UTF8(&not, "$ne", ACCOUNT_ERASED);
	bson_append_document_end(filter, &not );
	if (text != NULL) {
		BSON_APPEND_ARRAY_BEGIN(filter, "$or", &list);
		store_append_search(cx, &list, "0", "emailKey", text);
		store_append_search(cx, &list, "1", "name", text);
		bson_append_array_end(filter, &list);
	}
	http_page_filter(page, filter);
	TRY(store_find(cx, &user_kind, filter, "-_id", http_page_fetch(page),
		       &found, ret_count));
	*ret = found;
	return NULL;
}

static bool
is(const struct account *a, const char *status)
{
	return a->status != NULL && strcmp(a->status, status) == 0;
}

bool
account_closed(const struct account *account)
{
	return account->status != NULL;
}

const struct fail *
account_ban(struct context *cx, void *rec, const void *arg)
{
	const struct ban *ban = arg;
	struct account *a = rec;

	if (is(a, ACCOUNT_ERASED))
		return fail_not_found(cx->arena);
	if (strcmp(a->head.id, ban->admin->id) == 0)
		return fail_forbidden(cx->arena, "You can't ban yourself");
	if (is(a, ACCOUNT_BANNED))
		return STORE_KEEP;
	a->status = ACCOUNT_BANNED;
	a->reason = ban->reason;
	a->valid_after = clock_now() / 1000 + 1;
	a->news = EVENT_USER_BANNED;
	return NULL;
}

const struct fail *
account_unban(struct context *cx, void *rec, const void *arg)
{
	struct account *a = rec;

	(void)arg;
	if (is(a, ACCOUNT_ERASED))
		return fail_not_found(cx->arena);
	if (!is(a, ACCOUNT_BANNED))
		return STORE_KEEP;
	a->status = a->reason = NULL;
	a->news = EVENT_USER_UNBANNED;
	return NULL;
}

const struct fail *
account_set_role(struct context *cx, void *rec, const void *arg)
{
	const char *role = arg;
	struct account *a = rec;

	(void)cx;
	if (strcmp(a->role, role) == 0)
		return STORE_KEEP;
	a->role = role;
	return NULL;
}

const struct fail *
account_set_name(struct context *cx, void *rec, const void *arg)
{
	struct account *a = rec;

	if (account_closed(a))
		return fail_not_authorized(cx->arena);
	a->name = arg;
	return NULL;
}

static const struct fail *
check_proof(struct context *cx, const struct account *a,
	    const struct proven *proven)
{
	if (account_closed(a))
		return fail_not_authorized(cx->arena);
	if (strcmp(a->password, proven->hash) != 0)
		return fail_conflict(cx->arena,
				     "The password has just been changed", 0);
	return NULL;
}

const struct fail *
account_set_password(struct context *cx, void *rec, const void *arg)
{
	const struct proven *proven = arg;
	struct account *a = rec;

	TRY(check_proof(cx, a, proven));
	a->password = proven->new_hash;
	return NULL;
}

const struct fail *
account_erase(struct context *cx, void *rec, const void *arg)
{
	struct account *a = rec,
		       erased = {
			       .head = a->head,
			       /* No address has a colon; unique, as the index
				  wants it. */
			       .email_key = arena_printf(cx->arena, "erased:%s",
							 a->head.id),
			       .role = ROLE_USER,
			       .status = ACCOUNT_ERASED,
			       .valid_after = clock_now() / 1000 + 1,
			       .news = EVENT_USER_ERASED,
		       };

	TRY(check_proof(cx, a, arg));
	*a = erased;
	return NULL;
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
