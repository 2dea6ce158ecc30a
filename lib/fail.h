/* fail.h: the one error type of all services, and its constructors.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_FAIL_H
#define TICKETING_FAIL_H

#include "arena.h"

/* What a client reads: {"message": msg, "field": param}; param may be NULL. */
struct reason {
	const char *msg;
	const char *param;
	const struct reason *next;
};

/*
 * A failure is a value and NULL is success, so functions that can fail return
 * `const struct fail *` and callers pass it on with TRY().  It lives in the
 * arena that it was made in.  http_reply_fail() is the only place that turns
 * one into an answer, and request_log() the only one that logs it.
 */
struct fail {
	const char *name;	      /* the constructor's, for the log */
	int status;		      /* HTTP */
	const struct reason *reasons; /* first one first; never empty */
	int retry_after;	      /* seconds; 0: no Retry-After */
	const char *allow;	      /* 405: the Allow header, else NULL */
	const char *cause;	      /* for the log alone; may be NULL */
};

#define TRY(expr)                                  \
	do {                                       \
		const struct fail *fail_ = (expr); \
		if (fail_ != NULL)                 \
			return fail_;              \
	} while (0)

/* 400 for fields; start with NULL, add each bad one: all are reported. */
struct fail *fail_field(struct arena *a, struct fail *f, const char *param,
			const char *msg);

const struct fail *fail_bad_request(struct arena *a, const char *msg);
const struct fail *fail_not_authorized(struct arena *a);
const struct fail *fail_payment_failed(struct arena *a, const char *msg);
const struct fail *fail_forbidden(struct arena *a, const char *msg);
const struct fail *fail_not_found(struct arena *a);
const struct fail *fail_method_not_allowed(struct arena *a, const char *allow);
const struct fail *fail_conflict(struct arena *a, const char *msg,
				 int retry_after);
const struct fail *fail_length_required(struct arena *a);
const struct fail *fail_too_large(struct arena *a);
const struct fail *fail_range(struct arena *a);
const struct fail *fail_too_many(struct arena *a, int retry_after);

/* 503: a dependency did not answer; cause goes to the log alone. */
const struct fail *fail_database(struct arena *a, const char *cause);
const struct fail *fail_unavailable(struct arena *a, const char *msg,
				    const char *cause);

/* 500: anything unknown. */
const struct fail *fail_unknown(struct arena *a, const char *cause_fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
