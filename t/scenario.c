/* scenario.c: see scenario.h.
 * SPDX-License-Identifier: MIT */
#include "scenario.h"

#include <ctype.h>
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fcgi/payments/coupons.h"
#include "outbox.h"

#define CALLS_MAX 500 /* of one scenario: it does not end */
#define CODE_DIGITS "-0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#define SOON 2000 /* ms */

static mongoc_client_t *past; /* the services */

void
scenario_open(void)
{
	past = mongoc_client_new(stack("MONGO_URI"));
}

void
scenario_close(void)
{
	mongoc_client_destroy(past);
}

/* What runs in other threads does not: see t/Makefile-t.am. */
void __wrap_outbox_wake(struct outbox *o, const struct kind *k, const char *id,
			const struct unsent *event);
void __wrap_task_wake(struct task *task);
bool __wrap_bus_publish_wait(struct bus *bus, const char *channel,
			     const void *bytes, size_t len);

void
__wrap_outbox_wake(struct outbox *o, const struct kind *k, const char *id,
		   const struct unsent *event)
{
	(void)event;
	(void)o;
	(void)k;
	(void)id;
}

void
__wrap_task_wake(struct task *task)
{
	(void)task;
}

int buried;

bool
__wrap_bus_publish_wait(struct bus *bus, const char *channel, const void *bytes,
			size_t len)
{
	(void)bus;
	tap_note("%s: %.*s", channel, (int)len, (const char *)bytes);
	buried++;
	return true;
}

void
need(const char *error)
{
	if (error == NULL)
		return;
	tap_note("%s", error);
	abort();
}

/* --- asking them --- */

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

long dawdles;
static unsigned char *body_at, *body_end;

static void
dawdle(FCGX_Stream *stream)
{
	calls_later(dawdles);
	stream->rdNext = stream->stopUnget = body_at;
	stream->stop = body_end;
	stream->fillBuffProc = no_more;
}

char answer_whole[1 << 19];
const char *answer_body;

int
ask_in(struct service *service, const char *const *params, const char *token,
       const char *body, size_t len, bool transfer)
{
	struct context cx = {.service = service, .arena = arena_new()};
	const size_t max = sizeof(answer_whole) - 1;
	char *bytes = malloc(len + 1), *envp[16];
	FCGX_Stream in = {.isReader = 1, .fillBuffProc = no_more};
	FCGX_Stream out = {.wrNext = (unsigned char *)answer_whole,
			   .emptyBuffProc = full};
	FCGX_Request rq = {.in = &in, .out = &out, .envp = envp, .ipcFd = -1};
	const char *end;
	int n = 0, status;

	for (; params[n] != NULL; n++)
		envp[n] = arena_strdup(cx.arena, params[n]);
	envp[n++] = arena_strdup(
		cx.arena, arena_printf(cx.arena, "CONTENT_LENGTH=%zu", len));
	if (token != NULL)
		envp[n++] = arena_strdup(
			cx.arena,
			arena_printf(cx.arena, "HTTP_AUTHORIZATION=Bearer %s",
				     token));
	envp[n] = NULL;
	if (len > 0)
		memcpy(bytes, body, len);
	in.rdNext = in.stopUnget = body_at = (unsigned char *)bytes;
	in.wrNext = in.stop = body_end = in.rdNext + len;
	if (dawdles > 0) {
		in.stop = in.rdNext;
		in.fillBuffProc = dawdle;
	}
	out.rdNext = out.stop = out.wrNext + max;
	http_serve(&cx, &rq, transfer);
	n = (int)(out.FCGI_errno != 0
			  ? 0
			  : out.wrNext - (unsigned char *)answer_whole);
	answer_whole[n] = '\0';
	end = strstr(answer_whole, "\r\n\r\n");
	answer_body = end ? end + 4 : "";
	status = end ? (int)strtol(answer_whole + strlen("Status: "), NULL, 10)
		     : 0;
	free(bytes);
	arena_free(cx.arena);
	return status;
}

int
call_in(struct service *service, const char *method, const char *path,
	const char *token, const char *body)
{
	char *m = text("REQUEST_METHOD=%s", method);
	char *p = text("SCRIPT_NAME=%s", path);
	int status = ask_in(service,
			    (const char *const[]){m, p,
						  "CONTENT_TYPE="
						  "application/json",
						  NULL},
			    token, body, strlen(body), false);

	free(m);
	free(p);
	return status;
}

void
answer_id(char id[ID_SIZE])
{
	json_object *o = json_tokener_parse(answer_body);
	const char *s = json_text(o, "id");

	CU_ASSERT_FATAL(s != NULL && id_valid(s));
	memcpy(id, s, ID_SIZE);
	json_object_put(o);
}

int
tell(struct service *service, enum event_type type, const char *subject,
     int64_t version, const char *fmt, ...)
{
	struct arena *a = arena_new();
	char data[1024];
	const char *id, *event;
	enum bus_verdict verdict;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(data, sizeof(data), fmt, ap);
	va_end(ap);
	event = event_write(a, type, subject, version,
			    json_read(a, data, strlen(data)), &id, NULL);
	verdict = listen_handle(service, event_channel(type), event,
				strlen(event));
	arena_free(a);
	return verdict == BUS_DONE ? 200 : 503;
}

int
run_in(struct service *service, struct task *task)
{
	struct context cx = {.service = service, .arena = arena_new()};

	task->run(&cx);
	arena_free(cx.arena);
	return 0; /* it does not say */
}

/* --- all that is stored --- */

/* Calls each(collection) for all of the service's. */
static void
each_collection(struct service *service,
		void (*each)(mongoc_collection_t *c, FILE *to), FILE *to)
{
	char *db = text("calls_%s", service->name);

	for (int k = 0;; k++) {
		const struct kind *kind = service->kinds[k];
		mongoc_collection_t *c = mongoc_client_get_collection(
			past, db, kind ? kind->collection : "heard");

		each(c, to);
		mongoc_collection_destroy(c);
		if (kind == NULL)
			break;
	}
	free(db);
}

static void
empty(mongoc_collection_t *c, FILE *to)
{
	bson_t all = BSON_INITIALIZER;

	(void)to;
	mongoc_collection_delete_many(c, &all, NULL, NULL, NULL);
}

/* A document as JSON, and how many came before it. */
struct line {
	char *json;
	size_t at;
};

static char
looks(char c)
{
	return isxdigit(c) ? '0' : c;
}

/* In the order of what is no id, time or number: what is new may come before
 * what is old, for the database puts it where something was deleted. */
static int
by_looks(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	for (size_t i = 0;; i++) {
		char c = looks(x->json[i]), d = looks(y->json[i]);

		if (c != d)
			return c < d ? -1 : 1;
		if (c == '\0')
			return x->at < y->at ? -1 : 1;
	}
}

/* How often it was changed, and until when somebody works on it, is no part of
 * a state; nor are guesses that count until they are known to be right. */
static void
dump(mongoc_collection_t *c, FILE *to)
{
	bson_t all = BSON_INITIALIZER;
	/* Pieces of files. */
	bson_t *opts = BCON_NEW("sort", "{", "n", BCON_INT32(1), "}");
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(c, &all, opts, NULL);
	const bson_t *doc;
	struct line *lines = NULL;
	size_t n = 0;

	while (mongoc_cursor_next(cursor, &doc)) {
		bson_t kept = BSON_INITIALIZER;

		bson_copy_to_excluding_noinit(doc, &kept, "rev", "leaseUntil",
					      "trace", "chunks", "data",
					      "count", "since", "tries", NULL);
		lines = realloc(lines, (n + 1) * sizeof(*lines));
		lines[n] = (struct line){
			bson_as_relaxed_extended_json(&kept, NULL), n};
		n++;
		bson_destroy(&kept);
	}
	if (n > 1)
		qsort(lines, n, sizeof(*lines), by_looks);
	for (size_t i = 0; i < n; i++) {
		fprintf(to, "%s %s\n", mongoc_collection_get_name(c),
			lines[i].json);
		bson_free(lines[i].json);
	}
	free(lines);
	mongoc_cursor_destroy(cursor);
	bson_destroy(opts);
}

/* Ids are numbered as they come; what is random, or a time, is left out. */
static char *
plain(char *s)
{
	static char ids[64][ID_SIZE];
	char *out = malloc(2 * strlen(s) + 1), *to = out;
	int known = 0;

	while (*s != '\0') {
		size_t hex = strspn(s, "0123456789abcdef");
		size_t digits = strspn(s, "0123456789");

		if (hex == ID_SIZE - 1) {
			int i = 0;

			while (i < known && strncmp(ids[i], s, hex) != 0)
				i++;
			if (i == known && known < 63)
				memcpy(ids[known++], s, hex);
			to += sprintf(to, "#%d", i);
			s += hex;
		} else if (to > out && to[-1] == '"' &&
			   strspn(s, CODE_DIGITS) == COUPON_CODE_SIZE - 1 &&
			   strchr("\"\\", s[COUPON_CODE_SIZE - 1]) != NULL) {
			*to++ = '~';
			s += COUPON_CODE_SIZE - 1;
		} else if (hex >= 16 || digits >= 10) {
			*to++ = '~';
			s += hex;
		} else if (strncmp(s, "$argon2id$", 10) == 0) {
			s += strcspn(s, "\"");
		} else if (hex == 4 && s[4] == '-' && isdigit(s[5])) {
			*to++ = '@'; /* 2026-01-01T00:00:00.000Z */
			s += strcspn(s, "Z");
		} else if (hex > 0) {
			memcpy(to, s, hex);
			to += hex;
			s += hex;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
	return out;
}

static char *
state(struct service *service)
{
	char *bytes, *s;
	size_t len;
	FILE *to = open_memstream(&bytes, &len);

	each_collection(service, dump, to);
	fclose(to);
	s = plain(bytes);
	free(bytes);
	return s;
}

/* --- each in turn --- */

struct buyer seller, buyer, admin;

/* Gives them a new token. */
static void
renew(struct buyer *b, const char *role)
{
	struct arena *a = arena_new();
	struct user user = {.role = role, .email = "a@x.edu"};

	memcpy(user.id, b->id, ID_SIZE);
	snprintf(b->token, sizeof(b->token), "%s", token_make(a, &user));
	arena_free(a);
}

bool
whole(void)
{
	return true;
}

void
clear(struct service *service)
{
	each_collection(service, empty, NULL);
}

/* Tells where a state is another than it should be. */
static void
tell_difference(const char *what, const char *is, const char *should)
{
	size_t n = 0;

	while (is[n] != '\0' && is[n] == should[n])
		n++;
	n = n > 100 ? n - 100 : 0;
	tap_note("%s", what);
	tap_note("is: …%.300s", is + n);
	tap_note("should be: …%.300s",
		 n < strlen(should) ? should + n : "nothing");
}

static bool
is_failure(int status, const char *failed)
{
	/* A body that broke off is its sender's fault, and a token that can't
	 * be read is none. */
	if (strncmp(failed, "FCGX_Get", 8) == 0)
		return status == 400;
	if (strcmp(failed, "jwt_decode") == 0)
		return status == 401;
	return status == 0 || status == 500 || status == 503;
}

/* The clock goes on, so what gave up for a while tries again.  More than once
 * only where a step waits for another. */
static void
heal(const struct scenario *s, const char *after, const char *what)
{
	char *now = NULL;
	int status = -1;

	for (int i = 0; i < (s->steps ? 5 : 1); i++) {
		bool done;

		calls_later(s->soon ? SOON : RECOVERS);
		renew(&seller, "user");
		renew(&buyer, "user");
		renew(&admin, "admin");
		status = s->act();
		free(now);
		now = state(s->of);
		done = s->whole ? s->whole() : strcmp(now, after) == 0;
		if (done && (status == s->good || status == s->again)) {
			free(now);
			return;
		}
	}
	tell_difference(what, now, after);
	tap_note("status %d", status);
	CU_FAIL("not as if nothing had failed");
	free(now);
}

static void
try_one(const struct scenario *s, long at, enum calls_how how,
	const char *before, const char *after, int *ret_failed)
{
	static const char *const hows[] = {"cut", "lost", "refused"};
	const char *failed;
	char what[128], *now;
	bool done;
	int status;

	/* Where all is slow, some of them. */
	if (rounds(100) < 50 && how != CALL_CUT && (at + (long)how) % 3 != 0)
		return;
	clear(s->of);
	s->set();
	calls_begin(at, how);
	status = s->act();
	calls_end();
	failed = calls_failed();
	if (failed == NULL)
		return;
	++*ret_failed;
	snprintf(what, sizeof(what), "number %ld, %s %s: status %d", at, failed,
		 hows[how], status);
	now = state(s->of);
	done = strcmp(now, after) == 0;
	if (status != s->good && !is_failure(status, failed)) {
		tap_note("%s: %s", what, answer_body);
		CU_FAIL("neither done nor an error");
	}
	if (s->good != 0 && status == s->good && !done && !s->later) {
		tell_difference(what, now, after);
		CU_FAIL("said to be done, and is not");
	}
	if (!done && !s->steps && strcmp(now, before) != 0) {
		tell_difference(what, now, before);
		CU_FAIL("half is stored");
	}
	free(now);
	heal(s, after, what);
}

void
try_each(const struct scenario *s)
{
	char *before, *after;
	int status, failed = 0;
	long n;

	buried = 0;
	clear(s->of);
	s->set();
	before = state(s->of);
	calls_begin(0, CALL_CUT);
	status = s->act();
	n = calls_end();
	after = state(s->of);
	TAP_INT(status, s->good);
	CU_ASSERT(n > 0 && n < CALLS_MAX);
	for (long at = 1; status == s->good && at <= n; at++)
		for (int how = CALL_CUT; how <= CALL_REFUSED; how++)
			try_one(s, at, (enum calls_how)how, before, after,
				&failed);
	TAP_INT(buried, 0);
	CU_ASSERT(failed > 0);
	tap_note("%ld calls, %d failures", n, failed);
	free(before);
	free(after);
}
