/* admin.c: what admins do with accounts.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "handlers.h"

const struct field ban_body[] = {
	FIELD(struct ban_body, reason, "reason", FIELD_TEXT,
	      .flags = FIELD_TRIM, .min = 1, .max = 500, .msg = "Bad Reason"),
	{0},
};

const struct field search_query[] = {
	FIELD(struct user_search, q, "q", FIELD_TEXT, .flags = FIELD_TRIM,
	      .min = 1, .max = 100),
	HTTP_PAGE(struct user_search, page),
	{0},
};

/* The role in a token may be a quarter of an hour old; here is where it is
 * known better. */
static const struct fail *
check_admin(struct request *rq)
{
	struct account admin;

	TRY(own_account(rq, &admin));
	if (strcmp(admin.role, ROLE_ADMIN) != 0)
		return fail_forbidden(rq->cx->arena, "Admins only");
	return NULL;
}

const struct fail *
search_users(struct request *rq)
{
	const struct user_search *search = rq->query;
	struct account *found;
	size_t n;

	TRY(check_admin(rq));
	TRY(account_find(rq->cx, search->q, &search->page, &found, &n));
	return http_reply_page(rq, &search->page, account_admin_view, found,
			       sizeof(*found), n);
}

const struct fail *
ban_user(struct request *rq)
{
	const struct ban_body *body = rq->body;
	struct ban ban = {.admin = &rq->user, .reason = body->reason};
	struct account account;

	TRY(check_admin(rq));
	TRY(store_change(rq->cx, &user_kind, rq->params[0], account_ban, &ban,
			 &account));
	/* Also when it was banned before, in case this was left undone. */
	TRY(session_end_all(rq->cx, account.head.id, ""));
	return http_reply_record(rq, 200, account_admin_view, &account);
}

const struct fail *
unban_user(struct request *rq)
{
	struct account account;

	TRY(check_admin(rq));
	TRY(store_change(rq->cx, &user_kind, rq->params[0], account_unban, NULL,
			 &account));
	return http_reply_record(rq, 200, account_admin_view, &account);
}
