/* fail.c: see fail.h.
 * SPDX-License-Identifier: MIT */
#include "fail.h"

#include <stdarg.h>

static struct fail *
fail_new(struct arena *a, const char *name, int status, const char *msg)
{
	struct reason *r = arena_alloc(a, sizeof(*r));
	struct fail *f = arena_alloc(a, sizeof(*f));

	r->msg = msg;
	*f = (struct fail){.name = name, .status = status, .reasons = r};
	return f;
}

struct fail *
fail_field(struct arena *a, struct fail *f, const char *param, const char *msg)
{
	struct reason *r = arena_alloc(a, sizeof(*r));
	const struct reason **tail;

	*r = (struct reason){.msg = msg, .param = param};
	if (f == NULL) {
		f = arena_alloc(a, sizeof(*f));
		f->name = "RequestValidationError";
		f->status = 400;
	}
	for (tail = &f->reasons; *tail != NULL;)
		tail = (const struct reason **)&(*tail)->next;
	*tail = r;
	return f;
}

const struct fail *
fail_bad_request(struct arena *a, const char *msg)
{
	return fail_new(a, "BadRequestError", 400, msg);
}

const struct fail *
fail_not_authorized(struct arena *a)
{
	return fail_new(a, "NotAuthorizedError", 401, "Not authorized");
}

const struct fail *
fail_payment_failed(struct arena *a, const char *msg)
{
	return fail_new(a, "PaymentFailedError", 402, msg);
}

const struct fail *
fail_forbidden(struct arena *a, const char *msg)
{
	return fail_new(a, "ForbiddenError", 403, msg);
}

const struct fail *
fail_not_found(struct arena *a)
{
	return fail_new(a, "NotFoundError", 404, "Not Found");
}

const struct fail *
fail_method_not_allowed(struct arena *a, const char *allow)
{
	struct fail *f =
		fail_new(a, "MethodNotAllowed", 405, "Method Not Allowed");

	f->allow = allow;
	return f;
}

const struct fail *
fail_conflict(struct arena *a, const char *msg, int retry_after)
{
	struct fail *f = fail_new(a, "ConflictError", 409, msg);

	f->retry_after = retry_after;
	return f;
}

const struct fail *
fail_length_required(struct arena *a)
{
	return fail_new(a, "LengthRequired", 411, "Content-Length is required");
}

const struct fail *
fail_range(struct arena *a)
{
	return fail_new(a, "RangeNotSatisfiable", 416,
			"The range begins behind the end");
}

const struct fail *
fail_too_large(struct arena *a)
{
	return fail_new(a, "PayloadTooLarge", 413, "Payload too large");
}

const struct fail *
fail_too_many(struct arena *a, int retry_after)
{
	struct fail *f = fail_new(a, "TooManyRequests", 429,
				  "Too many requests, please try again later");

	f->retry_after = retry_after;
	return f;
}

const struct fail *
fail_unavailable(struct arena *a, const char *msg, const char *cause)
{
	struct fail *f = fail_new(a, "UnavailableError", 503, msg);

	f->retry_after = 1;
	f->cause = cause;
	return f;
}

const struct fail *
fail_database(struct arena *a, const char *cause)
{
	struct fail *f = fail_new(a, "DatabaseConnectionError", 503,
				  "Failed to connect to database");

	f->retry_after = 1;
	f->cause = cause;
	return f;
}

const struct fail *
fail_unknown(struct arena *a, const char *cause_fmt, ...)
{
	struct fail *f = fail_new(a, "Error", 500, "Something went wrong");
	va_list ap;

	va_start(ap, cause_fmt);
	f->cause = arena_vprintf(a, cause_fmt, ap);
	va_end(ap);
	return f;
}
