/* session.h: who stays signed in, where and for how long.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_SESSION_H
#define AUTH_SESSION_H

#include "service.h"

/*
 * A session is what one browser or program has after signing in: a line of
 * refresh tokens, of which the last one is good, once, for a new access token
 * (lib/token.h) and its own successor.
 *
 * A token is "ID.SERIES.SECRET": the session's id, 128 random bits that all
 * of the line share, and 256 that it has alone.  Only their hashes are stored.
 * Whoever presents a series with a secret that was spent has a copy: the
 * session ends, for both who use it.  One who guesses at an id knows no
 * series, and can't end anybody's session.
 *
 * Two tabs that refresh at once present the same token.  For SESSION_GRACE
 * after it was spent it is answered with the same successor again, so both
 * stay signed in, as does one whose answer was lost on the way.  The successor
 * is made of its predecessor's secret and a random seed that is stored: neither
 * a spent token nor a look at the database is enough to make it.
 */
#define SESSION_LIFE (30 * 86400) /* s since it was refreshed last */
#define SESSION_GRACE 10	  /* s */
#define SESSION_MAX 50		  /* of one user; the oldest go */

struct session {
	struct head head;
	char user_id[ID_SIZE];
	const char *series, *secret; /* hashes of the good token's parts */
	const char *spent; /* hash of its predecessor's secret; NULL: none */
	const char *seed;
	int64_t spent_at;
	const char *agent; /* what the browser calls itself */
	int64_t created_at, used_at, expires_at;
};

extern const struct kind session_kind;

/* Begins a session.  agent may be NULL, or hold anything; *ret_token is the
 * arena's. */
const struct fail *session_start(struct context *cx, const char *user_id,
				 const char *agent, const char **ret_token);

/* Spends token for its successor.  401 when it is not good, or any more;
 * token may be NULL. */
const struct fail *session_refresh(struct context *cx, const char *token,
				   struct session *ret, const char **ret_token);

/* The session that token, good or just spent, belongs to: its id, or "" when
 * there is none.  It is not spent by that. */
const struct fail *session_of(struct context *cx, const char *token,
			      char id[ID_SIZE]);

/* Ends the session that token is of, if there is one. */
const struct fail *session_sign_out(struct context *cx, const char *token);

/* A user's sessions, the newest first. */
const struct fail *session_find(struct context *cx, const char *user_id,
				struct session **ret, size_t *ret_count);

/* Ends a session of that user, if it is one. */
const struct fail *session_end(struct context *cx, const char *user_id,
			       const char *id);

/* Ends a user's sessions but for the one with the id keep, "": all. */
const struct fail *session_end_all(struct context *cx, const char *user_id,
				   const char *keep);

/* Takes expired ones out of the database. */
void session_sweep(struct context *cx);

#endif
