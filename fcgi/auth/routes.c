/* routes.c: what auth answers.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "handlers.h"
#include "throttle.h"

#define WRONG "Invalid credentials"

struct credentials {
	const char *email, *password, *name;
};

static const struct field signin_body[] = {
	FIELD(struct credentials, email, "email", FIELD_TEXT,
	      .flags = FIELD_REQUIRED | FIELD_TRIM, .min = 1, .max = 254,
	      .msg = "Bad Email"),
	BODY_PASSWORD(struct credentials),
	{0},
};

static const struct field signup_body[] = {
	FIELD(struct credentials, email, "email", FIELD_TEXT,
	      .flags = FIELD_REQUIRED | FIELD_TRIM, .min = 3, .max = 254,
	      .valid = account_email_valid, .msg = "Bad Email"),
	BODY_NEW_PASSWORD(struct credentials, password, "password"),
	BODY_NAME(struct credentials, 0),
	{0},
};

static const struct fail *sign_up(struct request *rq);
static const struct fail *sign_in(struct request *rq);
static const struct fail *sign_out(struct request *rq);
static const struct fail *refresh(struct request *rq);
static const struct fail *current_user(struct request *rq);
static const struct fail *show_user(struct request *rq);

#define CREDENTIALS(fields) \
	.body = (fields), .body_size = sizeof(struct credentials)

static const struct field caller_fields[] = {
	SHOWN("id", FIELD_ID, .flags = FIELD_REQUIRED),
	SHOWN("email", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("role", FIELD_TEXT, .one_of = ONE_OF(ROLE_USER, ROLE_ADMIN),
	      .flags = FIELD_REQUIRED),
	{0},
};
static const struct field current_fields[] = {
	SHOWN("currentUser", FIELD_RECORD, .flags = FIELD_OR_NULL,
	      .fields = caller_fields),
	{0},
};

static const struct field user_fields[] = {
	SHOWN("id", FIELD_ID, .flags = FIELD_REQUIRED),
	SHOWN("name", FIELD_TEXT, .flags = FIELD_OR_NULL),
	{0},
};

const struct route auth_routes[] = {
	{POST, "/api/users/signup", sign_up, ANYONE, CREDENTIALS(signup_body),
	 .answers = {"Make an account and sign in", 201, account_view,
		     .also = {429}}},
	{POST, "/api/users/signin", sign_in, ANYONE, CREDENTIALS(signin_body),
	 .answers = {"Sign in", 200, account_view, .also = {401, 429}}},
	{POST, "/api/users/signout", sign_out, ANYONE,
	 .answers = {"End this session"}},
	{POST, "/api/users/refresh", refresh, ANYONE,
	 .answers = {"Change the refresh token for new ones", 200, account_view,
		     .also = {401}}},
	{GET, "/api/users/currentuser", current_user, ANYONE, .quick = true,
	 .answers = {"Who is signed in", 200, current_fields}},
	{GET, "/api/users", search_users, ADMIN, .query = search_query,
	 .query_size = sizeof(struct user_search),
	 .answers = {"Search accounts", 200, account_admin_view, LIST}},
	{GET, "/api/users/:id", show_user, ANYONE,
	 .answers = {"What everyone may know of a user", 200, user_fields}},
	{POST, "/api/users/:id/ban", ban_user, ADMIN, .body = ban_body,
	 .body_size = sizeof(struct ban_body), .body_optional = true,
	 .answers = {"Ban a user", 200, account_admin_view}},
	{POST, "/api/users/:id/unban", unban_user, ADMIN,
	 .answers = {"End a ban", 200, account_admin_view}},
	{PUT, "/api/users/me", change_name, SIGNED_IN, .body = name_body,
	 .body_size = sizeof(struct name_body),
	 .answers = {"Change one's name", 200, account_view}},
	{PUT, "/api/users/me/password", change_password, SIGNED_IN,
	 .body = password_body, .body_size = sizeof(struct password_body),
	 .answers = {"Change one's password, and end all other sessions", 200,
		     account_view, .also = {409, 429}}},
	{GET, "/api/users/me/export", export_me, SIGNED_IN,
	 .answers = {"All that is held on one", 200, export_view}},
	{DELETE, "/api/users/me", erase_me, SIGNED_IN, .body = erase_body,
	 .body_size = sizeof(struct password_body),
	 .answers = {"Erase one's account", 204, .also = {409, 429}}},
	{GET, "/api/users/sessions", list_sessions, SIGNED_IN,
	 .answers = {"One's sessions", 200, session_view, LIST}},
	{DELETE, "/api/users/sessions", end_other_sessions, SIGNED_IN,
	 .answers = {"End all sessions but this one", 204}},
	{DELETE, "/api/users/sessions/:id", end_session, SIGNED_IN,
	 .answers = {"End a session", 204}},
	{0},
};

static void
set_cookies(struct request *rq, const char *access, int access_life,
	    const char *refresh, int refresh_life)
{
	http_set_header(rq, "Set-Cookie",
			TOKEN_COOKIE "=%s; Path=/; Max-Age=%d; Secure; "
				     "HttpOnly; SameSite=Lax",
			access, access_life);
	http_set_header(rq, "Set-Cookie",
			REFRESH_COOKIE "=%s; Path=/; Max-Age=%d; Secure; "
				       "HttpOnly; SameSite=Lax",
			refresh, refresh_life);
}

void
clear_cookies(struct request *rq)
{
	set_cookies(rq, "", 0, "", 0);
}

/* Answers with the account, and with cookies for who is signed in so. */
static const struct fail *
welcome(struct request *rq, int status, const struct account *account,
	const char *refresh)
{
	struct user user = {.email = account->email,
			    .role = account->role,
			    .issued = account->valid_after};
	const char *token;

	memcpy(user.id, account->head.id, ID_SIZE);
	token = token_make(rq->cx->arena, &user);
	if (token == NULL)
		return fail_unknown(rq->cx->arena, "libjwt made no token");
	set_cookies(rq, token, TOKEN_LIFE, refresh, SESSION_LIFE);
	return http_reply_record(rq, status, account_view, account);
}

static const struct fail *
check_open(struct context *cx, const struct account *account)
{
	if (!account_closed(account))
		return NULL;
	return strcmp(account->status, ACCOUNT_BANNED) == 0
		       ? fail_forbidden(cx->arena, HTTP_BANNED)
		       : fail_not_authorized(cx->arena);
}

const struct fail *
own_account(struct request *rq, struct account *ret)
{
	const struct fail *fail =
		store_get(rq->cx, &user_kind, rq->user.id, ret);

	if (fail != NULL)
		return fail->status == 404 ? fail_not_authorized(rq->cx->arena)
					   : fail;
	return check_open(rq->cx, ret);
}

static const struct fail *
start_session(struct request *rq, int status, struct account *account)
{
	const char *password = account->password, *token;
	const struct fail *fail;

	TRY(check_open(rq->cx, account));
	/* Who signs in anew leaves the session that the browser had. */
	TRY(session_sign_out(rq->cx, http_cookie(rq, REFRESH_COOKIE)));
	TRY(session_start(rq->cx, account->head.id,
			  http_header(rq, "User-Agent"), &token));
	/* A ban or a new password since then found no session to end: so look
	 * again. */
	TRY(store_get(rq->cx, &user_kind, account->head.id, account));
	fail = check_open(rq->cx, account);
	if (fail == NULL && strcmp(account->password, password) != 0)
		fail = fail_bad_request(rq->cx->arena, WRONG);
	if (fail != NULL) {
		TRY(session_sign_out(rq->cx, token));
		return fail;
	}
	return welcome(rq, status, account, token);
}

static const struct fail *
sign_up(struct request *rq)
{
	const struct credentials *c = rq->body;
	struct account account = {
		.email = c->email,
		.name = c->name,
		.role = ROLE_USER,
		.created_at = clock_now(),
	};
	const struct fail *fail;

	TRY(password_hash(rq->cx, c->password, &account.password));
	fail = account_add(rq->cx, &account);
	if (fail == STORE_DUPLICATE)
		return fail_bad_request(rq->cx->arena, "Email in use");
	TRY(fail);
	return start_session(rq, 201, &account);
}

const struct fail *
try_password(struct request *rq, const char *key, const struct account *account,
	     const char *password, bool *ret_right)
{
	struct throttle t;

	TRY(throttle_enter(rq->cx, key, http_client(rq), &t));
	TRY(password_check(rq->cx, account->password, password, ret_right));
	return throttle_leave(rq->cx, &t, *ret_right);
}

static const struct fail *
sign_in(struct request *rq)
{
	const struct credentials *c = rq->body;
	struct account account = {.password = NULL};
	const struct fail *fail;
	bool right;

	fail = account_by_email(rq->cx, c->email, &account);
	if (fail != NULL && fail->status != 404)
		return fail;
	TRY(try_password(rq, account_key(rq->cx->arena, c->email), &account,
			 c->password, &right));
	if (!right)
		return fail_bad_request(rq->cx->arena, WRONG);
	return start_session(rq, 200, &account);
}

static const struct fail *
sign_out(struct request *rq)
{
	const char *token = http_cookie(rq, REFRESH_COOKIE);

	/* The browser forgets it all even when the database is away. */
	clear_cookies(rq);
	TRY(session_sign_out(rq->cx, token));
	return http_reply(rq, 200, json_new_object(rq->cx->arena));
}

/* Cookies that are refused stay: this may be the late word of one tab, when
 * another has signed in anew. */
static const struct fail *
refresh(struct request *rq)
{
	struct session session;
	struct account account;
	const struct fail *fail;
	const char *token;

	TRY(session_refresh(rq->cx, http_cookie(rq, REFRESH_COOKIE), &session,
			    &token));
	fail = store_get(rq->cx, &user_kind, session.user_id, &account);
	if (fail != NULL && fail->status != 404)
		return fail;
	if (fail != NULL || account_closed(&account))
		return fail_not_authorized(rq->cx->arena);
	return welcome(rq, 200, &account, token);
}

static const struct fail *
current_user(struct request *rq)
{
	struct json_out out = {rq->cx->arena};

	json_add_name(&out, "currentUser");
	if (rq->signed_in) {
		json_add_name(&out, "id");
		json_add_text(&out, rq->user.id);
		json_add_name(&out, "email");
		json_add_text(&out, rq->user.email);
		json_add_name(&out, "role");
		json_add_text(&out, rq->user.role);
		json_add(&out, "}}", 2);
	} else {
		json_add(&out, "null}", 5);
	}
	return http_reply_written(rq, 200, &out);
}

/* What anyone may know of a seller: the name that they chose to go by. */
static const struct fail *
show_user(struct request *rq)
{
	json_object *o = json_new_object(rq->cx->arena);
	struct account account;

	TRY(store_get(rq->cx, &user_kind, rq->params[0], &account));
	if (account_closed(&account))
		return fail_not_found(rq->cx->arena);
	json_put_text(o, "id", account.head.id);
	if (account.name != NULL)
		json_put_text(o, "name", account.name);
	else
		json_put(o, "name", NULL);
	return http_reply(rq, 200, o);
}
