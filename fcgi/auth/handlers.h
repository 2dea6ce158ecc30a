/* handlers.h: what routes.c puts together; see its table.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_HANDLERS_H
#define AUTH_HANDLERS_H

#include "model.h"
#include "password.h"
#include "session.h"

/*
 * The refresh token's cookie: the browser sends it with all that it asks of
 * this site, so that the storefront can refresh on the way, and nginx lets
 * nobody but auth and the storefront see it.  Auth wants it for more than the
 * refresh route: so that signing out ends the session although the access token
 * ran out meanwhile, and a list of sessions can tell which one is this.  Lax,
 * as the access token's: who follows a link from elsewhere is signed in; other
 * sites' POST requests come without it, and are refused besides.
 */
#define REFRESH_COOKIE TOKEN_REFRESH_COOKIE

/* routes.c.  The caller's account; 401 when it is gone, 403 when banned. */
const struct fail *own_account(struct request *rq, struct account *ret);

/* Is that the account's password?  *ret_right is false for an account that is
 * not there (password NULL), after as long.  429 when it was tried too often;
 * key is the address's that was typed. */
const struct fail *try_password(struct request *rq, const char *key,
				const struct account *account,
				const char *password, bool *ret_right);

/* Has the browser forget who is signed in. */
void clear_cookies(struct request *rq);

/* What an account is made of, for bodies that have it. */
#define BODY_NAME(strukt, flags_)                                   \
	FIELD(strukt, name, "name", FIELD_TEXT,                     \
	      .flags = FIELD_TRIM | (flags_), .min = 1, .max = 100, \
	      .msg = "Bad Name")
#define BODY_NEW_PASSWORD(strukt, member, name_)                          \
	FIELD(strukt, member, name_, FIELD_TEXT, .flags = FIELD_REQUIRED, \
	      .min = 8, .max = 128, .msg = "Bad Password",                \
	      .valid = password_uncommon,                                 \
	      .not_valid = "Too many people use this password")
/* Any password may be tried: what is too short is just wrong. */
#define BODY_PASSWORD(strukt)                                 \
	FIELD(strukt, password, "password", FIELD_TEXT,       \
	      .flags = FIELD_REQUIRED, .min = 1, .max = 1024, \
	      .msg = "Bad Password")

/* admin.c: what admins do with accounts. */
struct ban_body {
	const char *reason;
};
struct user_search {
	const char *q;
	struct page page;
};
extern const struct field ban_body[], search_query[];
const struct fail *search_users(struct request *rq);
const struct fail *ban_user(struct request *rq);
const struct fail *unban_user(struct request *rq);

/* me.c: what users do with what is held on them. */
struct name_body {
	const char *name;
};
struct password_body {
	const char *password, *new_password;
};
extern const struct field name_body[], password_body[], erase_body[];
extern const struct field session_view[], export_view[];
const struct fail *change_name(struct request *rq);
const struct fail *change_password(struct request *rq);
const struct fail *export_me(struct request *rq);
const struct fail *erase_me(struct request *rq);
const struct fail *list_sessions(struct request *rq);
const struct fail *end_session(struct request *rq);
const struct fail *end_other_sessions(struct request *rq);

#endif
