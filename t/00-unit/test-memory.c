/* test-memory.c: each allocation of the library's, and of the libraries that it
 * calls, fails in turn; so does each write.  What comes of it is a result that
 * is told apart from a good one, or exit 71 (EX_OSERR), and never a crash, a
 * leak or a good-looking half.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "disposition.h"
#include "events.h"
#include "fail.h"
#include "json.h"
#include "log.h"
#include "record.h"
#include "service.h"
#include "tap.h"
#include "token.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#define KEY "0123456789abcdef0123456789abcdef"
#define ID_1 "65f000000000000000000001"

static atomic_long live;     /* what is not freed */
static atomic_long fails_at; /* the one that fails; 0: none */
static atomic_long write_at; /* likewise, of writes */
static atomic_bool has_failed;

static bool
fails(atomic_long *at)
{
	if (*at == 0 || --*at > 0)
		return false;
	has_failed = true;
	return true;
}

#ifndef SANITIZED
/* What the linker makes of lib/memory.c's calls, see t/Makefile-t.am. */
void *__real___libc_malloc(size_t size);
void *__real___libc_calloc(size_t n, size_t size);
void *__real___libc_realloc(void *p, size_t size);
void *__wrap___libc_malloc(size_t size);
void *__wrap___libc_calloc(size_t n, size_t size);
void *__wrap___libc_realloc(void *p, size_t size);

void *
__wrap___libc_malloc(size_t size)
{
	if (fails(&fails_at))
		return NULL;
	live++;
	return __real___libc_malloc(size);
}

void *
__wrap___libc_calloc(size_t n, size_t size)
{
	if (fails(&fails_at))
		return NULL;
	live++;
	return __real___libc_calloc(n, size);
}

void *
__wrap___libc_realloc(void *p, size_t size)
{
	if (fails(&fails_at))
		return NULL;
	live += p == NULL;
	return __real___libc_realloc(p, size);
}

void __libc_free(void *p);

void
free(void *p)
{
	live -= p != NULL;
	__libc_free(p);
}
#endif

/* Of a log, which is the only thing that the library writes itself. */
ssize_t
write(int fd, const void *bytes, size_t len)
{
	if (fails(&write_at)) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_write, fd, bytes, len);
}

/* --- what is tried: true when the result is whole, or said to be none -------
 */

struct inner {
	char id[ID_SIZE];
	const char *text;
};
struct outer {
	struct head head;
	const char *title;
	int64_t price, at;
	bool really;
	struct inner inner;
};
static const struct field inner_fields[] = {
	FIELD(struct inner, id, "id", FIELD_ID),
	FIELD(struct inner, text, "text", FIELD_TEXT),
	{0},
};
static const struct field outer_fields[] = {
	STORE_HEAD(struct outer),
	FIELD(struct outer, title, "title", FIELD_TEXT,
	      .flags = FIELD_REQUIRED | FIELD_TRIM, .max = 200),
	FIELD(struct outer, price, "price", FIELD_INT, .min = 1, .max = 99),
	FIELD(struct outer, at, "at", FIELD_TIME),
	FIELD(struct outer, really, "really", FIELD_BOOL),
	FIELD(struct outer, inner, "inner", FIELD_RECORD,
	      .fields = inner_fields),
	{0},
};

static const char outer_json[] =
	"{\"id\":\"" ID_1 "\",\"version\":3,\"title\":\"Algebra\",\"price\":12,"
	"\"at\":\"2026-01-31T09:00:00.000Z\",\"really\":true,"
	"\"inner\":{\"id\":\"" ID_1 "\",\"text\":\"caf\\u00e9\"}}";

static bool
is_outer(const struct outer *o)
{
	return strcmp(o->title, "Algebra") == 0 && o->price == 12 &&
	       o->really && strcmp(o->inner.id, ID_1) == 0 &&
	       strcmp(o->inner.text, "café") == 0;
}

static bool
arena_works(struct arena *a)
{
	char *big = arena_alloc(a, 100000);
	const char *s = arena_printf(a, "%s %d", "text", 5);

	memset(big, 1, 100000);
	arena_defer(a, free, malloc(10));
	return strcmp(arena_strdup(a, s), "text 5") == 0;
}

static bool
json_works(struct arena *a)
{
	json_object *o = json_read(a, outer_json, strlen(outer_json));
	json_object *made = json_new_object(a);
	size_t len;

	if (o == NULL)
		return false; /* it would be taken for the sender's fault */
	json_put_text(made, "a", "text");
	json_put_int(made, "b", 5);
	json_put(made, "c", json_object_get(json_new_array(a)));
	return strcmp(json_write(made, &len),
		      "{\"a\":\"text\",\"b\":5,\"c\":[]}") == 0;
}

static bool
record_works(struct arena *a)
{
	json_object *o = json_read(a, outer_json, strlen(outer_json)), *back;
	struct outer in = {0}, out = {0};
	uint64_t given;
	bson_t doc;
	size_t len;

	if (o == NULL ||
	    record_from_json(a, outer_fields, o, &in, &given) != NULL ||
	    !is_outer(&in))
		return false;
	back = record_to_json(a, outer_fields, &in);
	if (strcmp(json_write(back, &len), json_write(o, &len)) != 0)
		return false;
	bson_init(&doc);
	record_to_bson(outer_fields, &in, &doc, NULL);
	record_from_bson(a, outer_fields, &doc, &out, NULL);
	bson_destroy(&doc);
	return is_outer(&out);
}

static bool
query_works(struct arena *a)
{
	struct inner in = {0};

	return record_from_query(a, inner_fields, "text=a+b%21&id=" ID_1, &in,
				 NULL) == NULL &&
	       strcmp(in.text, "a b!") == 0 && strcmp(in.id, ID_1) == 0;
}

static bool
failure_works(struct arena *a)
{
	struct fail *fail = fail_field(a, NULL, "title", "Bad title");

	fail = fail_field(a, fail, "price", "Bad price");
	return fail->status == 400 && fail->reasons->next != NULL;
}

/* A token that can't be made or read is none. */
static bool
token_works(struct arena *a)
{
	struct user user = {.id = ID_1, .email = "a@b.edu", .role = "user"};
	struct user read = {0};
	const char *token = token_make(a, &user);
	bool there = token != NULL && token_read(a, token, &read);

	token_init(KEY, ""); /* what is remembered is no leak */
	if (!there)
		return has_failed;
	return strcmp(read.id, ID_1) == 0 && strcmp(read.role, "user") == 0 &&
	       strcmp(read.email, "a@b.edu") == 0;
}

static bool
event_works(struct arena *a)
{
	static const char data[] =
		"{\"id\":\"" ID_1 "\",\"orderId\":\"" ID_1
		"\",\"amount\":5,\"status\":\"authorized\",\"reason\":null}";
	json_object *o = json_read(a, data, strlen(data));
	const struct payment_event *payment;
	const char *id, *text;
	struct event event;

	if (o == NULL)
		return false;
	text = event_write(a, EVENT_PAYMENT_CREATED, ID_1, 1, o, &id, NULL);
	if (event_read(a, "payment:created", text, strlen(text), &event) !=
	    NULL)
		return false; /* it would be set aside for ever */
	payment = event.data;
	return strcmp(payment->order_id, ID_1) == 0 && payment->amount == 5 &&
	       strcmp(payment->status, "authorized") == 0;
}

static bool
name_works(struct arena *a)
{
	const char *name = disposition_read(
		a, "attachment; filename*=UTF-8''%e2%82%ac%20rates.pdf");

	return name != NULL && strcmp(name, "€ rates.pdf") == 0 &&
	       strstr(disposition_write(a, name), "%E2%82%AC") != NULL;
}

static bool
log_works(struct arena *a)
{
	const char *latin = "caf\xe9";

	(void)a;
	LOG(LOG_ERROR, "tried", LOG_TEXT("text", latin), LOG_NUMBER("n", 5));
	return true;
}

/* A request of a route without a database, to the bytes of its answer. */
static const struct fail *
echo(struct request *rq)
{
	http_set_header(rq, "X-Seen", "%s", http_cookie(rq, "seen"));
	return http_reply_record(rq, 201, outer_fields, rq->body);
}

static void
no_more(FCGX_Stream *stream)
{
	stream->isClosed = 1;
}

static void
full(FCGX_Stream *stream, int closing)
{
	(void)closing;
	stream->isClosed = 1;
}

static bool
request_works(struct arena *a)
{
	static const struct route routes[] = {
		{POST, "/api/things/:id", echo, ANYONE, .body = outer_fields,
		 .body_size = sizeof(struct outer)},
		{0},
	};
	static const struct service service = {
		.name = "test", .routes = routes, .base_url = "https://x"};
	static char answer[8192];
	char length[40], *body = arena_strdup(a, outer_json);
	char *envp[] = {"REQUEST_METHOD=POST",
			"SCRIPT_NAME=/api/things/" ID_1,
			"CONTENT_TYPE=application/json",
			length,
			"HTTP_COOKIE=a=b; seen=1",
			"HTTP_AUTHORIZATION=Bearer x.y.z",
			NULL};
	FCGX_Stream in = {.rdNext = (unsigned char *)body,
			  .stopUnget = (unsigned char *)body,
			  .isReader = 1,
			  .fillBuffProc = no_more};
	FCGX_Stream out = {.wrNext = (unsigned char *)answer,
			   .emptyBuffProc = full};
	FCGX_Request request = {
		.in = &in, .out = &out, .envp = envp, .ipcFd = -1};
	struct context cx = {.service = &service, .arena = a};

	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu", strlen(body));
	in.stop = in.wrNext = in.rdNext + strlen(body);
	out.stop = out.rdNext = (unsigned char *)answer + sizeof(answer) - 1;
	http_serve(&cx, &request, false);
	*out.wrNext = '\0';
	return strncmp(answer, "Status: 201\r\n", 13) == 0 &&
	       strstr(answer, "X-Seen: 1\r\n") != NULL &&
	       strstr(answer, "\"title\":\"Algebra\"") != NULL &&
	       strstr(answer, "\"text\":\"café\"}}") != NULL;
}

/* --- each in turn -----------------------------------------------------------
 */

enum { WHOLE_RESULT = 0, AFTER_FAILURE = 10, BAD_RESULT = 11, LEAK = 12 };

static int
attempt(bool (*works)(struct arena *))
{
	long before = live;
	struct arena *a = arena_new();
	bool good = works(a);
	long mine;

	arena_free(a);
	mine = live - before;
	fails_at = write_at = 0;
	return !good	    ? BAD_RESULT
	       : mine > 0   ? LEAK
	       : has_failed ? AFTER_FAILURE
			    : WHOLE_RESULT;
}

static void
try_each(bool (*works)(struct arena *), atomic_long *which)
{
	int status, code = AFTER_FAILURE;
	long n = 0, exits = 0, bad = 0;

	/* What libraries keep for later, they have by then. */
	attempt(works);
	TAP_INT(attempt(works), WHOLE_RESULT);
#ifdef SANITIZED
	if (which == &fails_at)
		return; /* their malloc() does not fail */
#endif
	while (code != WHOLE_RESULT && n < 2000) {
		pid_t pid;

		n++;
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int quiet = dup(STDERR_FILENO);

			if (quiet < 0 ||
			    freopen("/dev/null", "w", stderr) == NULL)
				_exit(99);
			*which = n;
			_exit(attempt(works));
		}
		waitpid(pid, &status, 0);
		code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		exits += code == EX_OSERR;
		if (code != EX_OSERR && code != AFTER_FAILURE &&
		    code != WHOLE_RESULT) {
			tap_note("number %ld: %s %d", n,
				 WIFSIGNALED(status) ? "signal" : "result",
				 WIFSIGNALED(status) ? WTERMSIG(status) : code);
			bad++;
		}
	}
	tap_note("%ld tried, %ld of them ended with exit 71", n - 1, exits);
	TAP_INT(bad, 0); /* neither a whole result nor exit 71 */
	CU_ASSERT(n > 1 && n < 2000);
}

#define EACH(what)                                 \
	static void what##_out_of_memory(void)     \
	{                                          \
		try_each(what##_works, &fails_at); \
	}
EACH(arena)
EACH(json)
EACH(record)
EACH(query)
EACH(failure)
EACH(token)
EACH(event)
EACH(name)
EACH(log)
EACH(request)

static void
log_cannot_be_written(void)
{
	try_each(log_works, &write_at);
}

static void
request_cannot_be_logged(void)
{
	try_each(request_works, &write_at);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"arena, out of memory", arena_out_of_memory},
		{"JSON, out of memory", json_out_of_memory},
		{"records, out of memory", record_out_of_memory},
		{"queries, out of memory", query_out_of_memory},
		{"failures, out of memory", failure_out_of_memory},
		{"tokens, out of memory", token_out_of_memory},
		{"events, out of memory", event_out_of_memory},
		{"file names, out of memory", name_out_of_memory},
		{"the log, out of memory", log_out_of_memory},
		{"a request, out of memory", request_out_of_memory},
		{"a log that can't be written", log_cannot_be_written},
		{"a request that can't be logged", request_cannot_be_logged},
		{0},
	};

	log_init("test", "info");
	token_init(KEY, "");
	return tap_run(argc, argv, tests);
}
