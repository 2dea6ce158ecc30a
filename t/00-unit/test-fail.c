/* test-fail.c: lib/fail.h.
 * SPDX-License-Identifier: MIT */
#include "fail.h"

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
test_constructors(void)
{
	struct arena *a = arena_new();
	const struct {
		const struct fail *fail;
		const char *name;
		int status;
		const char *msg;
		int retry_after;
		const char *allow, *cause;
	} rows[] = {
		{fail_bad_request(a, "no"), "BadRequestError", 400, "no"},
		{fail_not_authorized(a), "NotAuthorizedError", 401,
		 "Not authorized"},
		{fail_payment_failed(a, "declined"), "PaymentFailedError", 402,
		 "declined"},
		{fail_forbidden(a, "not yours"), "ForbiddenError", 403,
		 "not yours"},
		{fail_not_found(a), "NotFoundError", 404, "Not Found"},
		{fail_method_not_allowed(a, "GET, HEAD"), "MethodNotAllowed",
		 405, "Method Not Allowed", 0, "GET, HEAD"},
		{fail_conflict(a, "held", 17), "ConflictError", 409, "held",
		 17},
		{fail_conflict(a, "sold", 0), "ConflictError", 409, "sold"},
		{fail_too_large(a), "PayloadTooLarge", 413,
		 "Payload too large"},
		{fail_too_many(a, 5), "TooManyRequests", 429,
		 "Too many requests, please try again later", 5},
		{fail_database(a, "timeout"), "DatabaseConnectionError", 503,
		 "Failed to connect to database", 1, NULL, "timeout"},
		{fail_unavailable(a, "later", "full"), "UnavailableError", 503,
		 "later", 1, NULL, "full"},
		{fail_unknown(a, "at %s:%d", "x", 3), "Error", 500,
		 "Something went wrong", 0, NULL, "at x:3"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct fail *f = rows[i].fail;

		TAP_STRING(f->name, rows[i].name);
		TAP_INT(f->status, rows[i].status);
		TAP_INT(f->retry_after, rows[i].retry_after);
		TAP_STRING(f->allow, rows[i].allow);
		TAP_STRING(f->cause, rows[i].cause);
		CU_ASSERT_PTR_NOT_NULL_FATAL(f->reasons);
		TAP_STRING(f->reasons->msg, rows[i].msg);
		TAP_STRING(f->reasons->param, NULL);
		CU_ASSERT_PTR_NULL(f->reasons->next);
	}
	arena_free(a);
}

static void
test_fields(void)
{
	struct arena *a = arena_new();
	struct fail *f = fail_field(a, NULL, "email", "Bad Email");
	const struct reason *r;

	TAP_STRING(f->name, "RequestValidationError");
	TAP_INT(f->status, 400);
	CU_ASSERT_PTR_EQUAL(fail_field(a, f, "password", "Bad Password"), f);
	CU_ASSERT_PTR_EQUAL(fail_field(a, f, "name", "Bad Name"), f);
	r = f->reasons;
	TAP_STRING(r->param, "email");
	TAP_STRING(r->msg, "Bad Email");
	r = r->next;
	TAP_STRING(r->param, "password");
	TAP_STRING(r->msg, "Bad Password");
	r = r->next;
	TAP_STRING(r->param, "name");
	TAP_STRING(r->msg, "Bad Name");
	CU_ASSERT_PTR_NULL(r->next);
	arena_free(a);
}

static int evaluated;

static const struct fail *
pass_on(const struct fail *fail)
{
	static const struct fail end = {.name = "end"};

	evaluated = 0;
	TRY((evaluated++, fail));
	return &end;
}

static void
test_try(void)
{
	static const struct fail fail = {.name = "first"};

	TAP_STRING(pass_on(&fail)->name, "first");
	TAP_INT(evaluated, 1);
	TAP_STRING(pass_on(NULL)->name, "end");
	TAP_INT(evaluated, 1);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"each constructor", test_constructors},
		{"bad fields add up in order", test_fields},
		{"TRY passes a failure on", test_try},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
