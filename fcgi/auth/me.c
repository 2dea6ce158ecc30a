/* me.c: what users do with what is held on them.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "handlers.h"
#include "mailer.h"

const struct field name_body[] = {
	BODY_NAME(struct name_body, FIELD_REQUIRED),
	{0},
};

const struct field password_body[] = {
	BODY_PASSWORD(struct password_body),
	BODY_NEW_PASSWORD(struct password_body, new_password, "newPassword"),
	{0},
};

const struct field erase_body[] = {
	BODY_PASSWORD(struct password_body),
	{0},
};

/* A session as its user sees it. */
struct session_view {
	char id[ID_SIZE];
	const char *agent;
	int64_t created_at, used_at;
	bool current; /* the one that asks */
};

const struct field session_view[] = {
	FIELD(struct session_view, id, "id", FIELD_ID),
	FIELD(struct session_view, agent, "agent", FIELD_TEXT),
	FIELD(struct session_view, created_at, "createdAt", FIELD_TIME),
	FIELD(struct session_view, used_at, "usedAt", FIELD_TIME),
	FIELD(struct session_view, current, "current", FIELD_BOOL),
	{0},
};

const struct field export_view[] = {
	SHOWN("user", FIELD_RECORD, .fields = account_admin_view),
	SHOWN("sessions", FIELD_RECORD, .flags = FIELD_MANY,
	      .fields = session_view),
	SHOWN("letters", FIELD_RECORD, .flags = FIELD_MANY,
	      .fields = letter_view),
	SHOWN("elsewhere", FIELD_TEXT, .flags = FIELD_MANY),
	{0},
};

/* The id of the session that this request's cookie is of, or "". */
static const struct fail *
current_session(struct request *rq, char id[ID_SIZE])
{
	return session_of(rq->cx, http_cookie(rq, REFRESH_COOKIE), id);
}

static const struct fail *
view_sessions(struct request *rq, json_object **ret)
{
	struct arena *a = rq->cx->arena;
	struct session *found;
	char current[ID_SIZE];
	size_t n;

	*ret = json_new_array(a);
	TRY(current_session(rq, current));
	TRY(session_find(rq->cx, rq->user.id, &found, &n));
	for (size_t i = 0; i < n; i++) {
		const struct session *s = &found[i];
		struct session_view view = {
			.agent = s->agent,
			.created_at = s->created_at,
			.used_at = s->used_at,
			.current = strcmp(s->head.id, current) == 0,
		};

		memcpy(view.id, s->head.id, ID_SIZE);
		json_object_array_add(*ret, json_object_get(record_to_json(
						    a, session_view, &view)));
	}
	return NULL;
}

const struct fail *
list_sessions(struct request *rq)
{
	json_object *list;

	TRY(view_sessions(rq, &list));
	return http_reply(rq, 200, list);
}

const struct fail *
end_session(struct request *rq)
{
	TRY(session_end(rq->cx, rq->user.id, rq->params[0]));
	return http_reply(rq, 204, NULL);
}

const struct fail *
end_other_sessions(struct request *rq)
{
	char current[ID_SIZE];

	TRY(current_session(rq, current));
	TRY(session_end_all(rq->cx, rq->user.id, current));
	return http_reply(rq, 204, NULL);
}

const struct fail *
change_name(struct request *rq)
{
	const struct name_body *body = rq->body;
	struct account account;

	TRY(own_account(rq, &account));
	TRY(store_change(rq->cx, &user_kind, rq->user.id, account_set_name,
			 body->name, &account));
	return http_reply_record(rq, 200, account_view, &account);
}

/* Whoever sits at a browser that was left signed in has to know the password
 * to change it, or to end the account. */
static const struct fail *
check_password(struct request *rq, const char *password,
	       struct account *ret_account)
{
	bool right;

	TRY(own_account(rq, ret_account));
	TRY(try_password(rq, ret_account->email_key, ret_account, password,
			 &right));
	if (!right)
		return fail_field(rq->cx->arena, NULL, "password",
				  "Wrong password");
	return NULL;
}

const struct fail *
change_password(struct request *rq)
{
	const struct password_body *body = rq->body;
	struct account account;
	struct proven proven;
	char current[ID_SIZE];

	TRY(check_password(rq, body->password, &account));
	proven.hash = account.password;
	TRY(password_hash(rq->cx, body->new_password, &proven.new_hash));
	TRY(store_change(rq->cx, &user_kind, rq->user.id, account_set_password,
			 &proven, &account));
	TRY(current_session(rq, current));
	TRY(session_end_all(rq->cx, rq->user.id, current));
	return http_reply_record(rq, 200, account_view, &account);
}

/* What other services hold, each tells itself: where, is told here. */
static json_object *
elsewhere(struct request *rq)
{
	static const char *const stuff[] = {"", "&status=sold",
					    "&status=removed"};
	struct arena *a = rq->cx->arena;
	json_object *list = json_object_new_array();

	json_object_array_add(list, json_object_new_string("/api/orders"));
	json_object_array_add(
		list, json_object_new_string("/api/payments/{orderId}"));
	json_object_array_add(list,
			      json_object_new_string("/api/payments/sales"));
	for (size_t i = 0; i < sizeof(stuff) / sizeof(stuff[0]); i++)
		json_object_array_add(list, json_object_new_string(arena_printf(
						    a, "/api/stuff?seller=%s%s",
						    rq->user.id, stuff[i])));
	return list;
}

const struct fail *
export_me(struct request *rq)
{
	json_object *o = json_new_object(rq->cx->arena), *sessions, *letters;
	struct account account;

	TRY(own_account(rq, &account));
	TRY(view_sessions(rq, &sessions));
	TRY(mailer_view(rq->cx, rq->user.id, &letters));
	json_put(o, "user",
		 json_object_get(record_to_json(rq->cx->arena,
						account_admin_view, &account)));
	json_put(o, "sessions", json_object_get(sessions));
	json_put(o, "letters", json_object_get(letters));
	json_put(o, "elsewhere", elsewhere(rq));
	http_set_header(rq, "Content-Disposition",
			"attachment; filename=\"account.json\"");
	return http_reply(rq, 200, o);
}

const struct fail *
erase_me(struct request *rq)
{
	const struct password_body *body = rq->body;
	struct account account;
	struct proven proven;

	TRY(check_password(rq, body->password, &account));
	proven = (struct proven){.hash = account.password};
	TRY(store_change(rq->cx, &user_kind, rq->user.id, account_erase,
			 &proven, &account));
	clear_cookies(rq);
	TRY(session_end_all(rq->cx, rq->user.id, ""));
	TRY(mailer_forget(rq->cx, rq->user.id));
	return http_reply(rq, 204, NULL);
}
