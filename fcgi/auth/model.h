/* model.h: users as auth holds them.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_MODEL_H
#define AUTH_MODEL_H

#include "service.h"

/* An account's status; NULL: good. */
#define ACCOUNT_BANNED "banned"
#define ACCOUNT_ERASED "erased"

#define ROLE_USER "user"
#define ROLE_ADMIN "admin"

struct account {
	struct head head;
	const char *email;     /* as typed, trimmed */
	const char *email_key; /* in lower case: unique */
	const char *name, *role;
	const char *password; /* argon2id, as libsodium writes it */
	int64_t created_at;
	const char *status, *reason; /* reason: of a ban; may be NULL */
	int64_t valid_after; /* s: tokens issued before its ban are void */
	/* Not stored: what tells of the change that is being made. */
	enum event_type news;
};

/* A ban: who asks for it, and why (or NULL). */
struct ban {
	const struct user *admin;
	const char *reason;
};

extern const struct kind user_kind;
extern const struct route auth_routes[];

/* What an e-mail address is found and counted by: in lower case. */
const char *account_key(struct arena *a, const char *email);

/* The account of an e-mail address, whatever its case; 404 when unknown. */
const struct fail *account_by_email(struct context *cx, const char *email,
				    struct account *ret);

/* Adds an account; STORE_DUPLICATE when the address has one. */
const struct fail *account_add(struct context *cx, struct account *account);

/* A change that the password is asked for; hash is what it was checked with,
 * and if another change was faster, the check no longer counts. */
struct proven {
	const char *hash;
	const char *new_hash;
};

/* How an account reads to its user, and to admins. */
extern const struct field account_view[], account_admin_view[];

/* Accounts whose address or name has text in it, whatever its case, newest
 * first; NULL: all. */
const struct fail *account_find(struct context *cx, const char *text,
				const struct page *page, struct account **ret,
				size_t *ret_count);

/* Is it one that nobody may sign in to? */
bool account_closed(const struct account *account);

/* store_decide functions.  The first two take a struct ban, the next two the
 * new role and name, the last two a struct proven.  An erased account is a
 * tombstone: the id stays, since the books of other services name it, the
 * person goes, and the address may be used anew. */
const struct fail *account_ban(struct context *cx, void *rec, const void *arg);
const struct fail *account_unban(struct context *cx, void *rec,
				 const void *arg);
const struct fail *account_set_role(struct context *cx, void *rec,
				    const void *arg);

const struct fail *account_set_name(struct context *cx, void *rec,
				    const void *arg);
const struct fail *account_set_password(struct context *cx, void *rec,
					const void *arg);
const struct fail *account_erase(struct context *cx, void *rec,
				 const void *arg);

/* One @ between a local part of up to 64 bytes and a domain with a dot, in
 * 254 bytes of ASCII without spaces (RFC 5321 4.5.3.1): member is a text. */
bool account_email_valid(const void *member);

#endif
