/* http.c: see http.h.
 * SPDX-License-Identifier: MIT */
#include "http.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "failpoint.h"
#include "measure.h"
#include "pool.h"
#include "service.h"
#include "share.h"
#include "standing.h"
#include "trace.h"
#include "transfer.h"

#define DRAIN_MAX (1 << 20) /* bytes of a refused body that are read off */
#define STREAM_WAIT 30	    /* s that the peer may be silent in a transfer */
#define JSON_TYPE "application/json"
#define FORM_TYPE "application/x-www-form-urlencoded"

static const char *const method_names[METHOD__MAX] = {
	[GET] = "GET",
	[POST] = "POST",
	[PUT] = "PUT",
	[DELETE] = "DELETE",
};

/* A FastCGI parameter that is set and not empty, else NULL. */
static const char *
param(struct request *rq, const char *name)
{
	const char *value = FCGX_GetParam(name, rq->fcgi->envp);

	return value != NULL && *value != '\0' ? value : NULL;
}

static bool
begins(const char *s, const char *with)
{
	while (*with != '\0')
		if (*s++ != *with++)
			return false;
	return true;
}

/* Is the parameter the one that a header becomes, "HTTP_IF_MATCH=…"? */
static bool
is_header(const char *p, const char *name)
{
	if (!begins(p, "HTTP_"))
		return false;
	for (p += 5; *name != '\0'; p++, name++) {
		char c = *name;

		if (c == '-')
			c = '_';
		else if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (*p != c)
			return false;
	}
	return *p == '=';
}

const char *
http_header(struct request *rq, const char *name)
{
	for (char **p = rq->fcgi->envp; *p != NULL; p++)
		if (is_header(*p, name)) {
			const char *value = strchr(*p, '=') + 1;

			return *value ? value : NULL;
		}
	return NULL;
}

const char *
http_client(struct request *rq)
{
	const char *address = param(rq, "REMOTE_ADDR");

	return address ? address : "";
}

const struct fail *
http_reply(struct request *rq, int status, json_object *json)
{
	rq->status = status;
	rq->json = json;
	return NULL;
}

const struct fail *
http_reply_text(struct request *rq, const char *type, const char *text)
{
	rq->status = 200;
	rq->text = text;
	rq->text_type = type;
	return NULL;
}

const struct fail *
http_reply_written(struct request *rq, int status, struct json_out *out)
{
	json_add(out, "", 1);
	http_reply_text(rq, JSON_TYPE, out->bytes);
	rq->status = status;
	return NULL;
}

const struct fail *
http_reply_record(struct request *rq, int status, const struct field *fields,
		  const void *rec)
{
	const struct head *head = rec;
	struct json_out out = {rq->cx->arena};

	http_set_header(rq, "ETag", "\"%lld\"", (long long)head->version);
	record_print(&out, fields, rec);
	return http_reply_written(rq, status, &out);
}

void
http_set_header(struct request *rq, const char *name, const char *fmt, ...)
{
	struct header *h = arena_alloc(rq->cx->arena, sizeof(*h)), **tail;
	char *value, *to;
	va_list ap;

	va_start(ap, fmt);
	value = arena_vprintf(rq->cx->arena, fmt, ap);
	va_end(ap);
	to = value;
	for (const char *p = value; *p != '\0'; p++)
		if (!iscntrl((unsigned char)*p))
			*to++ = *p;
	*to = '\0';
	*h = (struct header){.name = name, .value = value};
	for (tail = &rq->headers; *tail != NULL;)
		tail = &(*tail)->next;
	*tail = h;
}

static int64_t
page_size(const struct page *page)
{
	return page->limit ? page->limit : HTTP_PAGE_DEFAULT;
}

int64_t
http_page_fetch(const struct page *page)
{
	return page_size(page) + 1;
}

void
http_page_filter(const struct page *page, bson_t *filter)
{
	bson_oid_t oid;
	bson_t behind;

	if (*page->cursor == '\0')
		return;
	bson_oid_init_from_string(&oid, page->cursor);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &behind);
	BSON_APPEND_OID(&behind, "$lt", &oid);
	bson_append_document_end(filter, &behind);
}

/* The request's query but for its cursor, each part with "&" behind it. */
static const char *
query_without_cursor(struct request *rq)
{
	const char *query = param(rq, "QUERY_STRING"), *kept = "";

	for (const char *p = query; p != NULL && *p != '\0';) {
		size_t len = strcspn(p, "&");

		if (strncmp(p, "cursor=", 7) != 0 && len > 0)
			kept = arena_printf(rq->cx->arena, "%s%.*s&", kept,
					    (int)len, p);
		p += len + (p[len] == '&');
	}
	return kept;
}

const struct fail *
http_reply_page(struct request *rq, const struct page *page,
		const struct field *fields, const void *recs, size_t size,
		size_t count)
{
	struct json_out out = {rq->cx->arena};
	size_t shown = (size_t)page_size(page);
	const char *rec = recs;

	if (shown > count)
		shown = count;
	json_add(&out, "[", 1);
	for (size_t i = 0; i < shown; i++) {
		if (i > 0)
			json_add(&out, ",", 1);
		record_print(&out, fields, rec + i * size);
	}
	json_add(&out, "]", 1);
	if (shown > 0 && shown < count) {
		const struct head *last =
			(const void *)(rec + (shown - 1) * size);

		http_set_header(rq, "Link", "<%s?%scursor=%s>; rel=\"next\"",
				rq->path, query_without_cursor(rq), last->id);
	}
	return http_reply_written(rq, 200, &out);
}

const struct fail *
http_reply_stream(struct request *rq, int status, const char *type,
		  int64_t length, http_writer write, void *closure)
{
	rq->status = status;
	rq->reply_type = type;
	rq->reply_length = length;
	rq->writer = write;
	rq->closure = closure;
	return NULL;
}

bool
http_write(struct request *rq, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len > 0) {
		int n = len < INT_MAX ? (int)len : INT_MAX;

		if (FCGX_PutStr(p, n, rq->fcgi->out) != n)
			return false;
		rq->reply_length -= n;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* A body that is written in pieces.  What is amiss is known too late for a
 * status: all that can be done is not to end as if it were whole. */
static const struct fail *
send_stream(struct request *rq)
{
	const struct fail *fail = rq->writer(rq, rq->closure);

	if (fail == NULL && rq->reply_length == 0)
		return NULL;
	shutdown(rq->fcgi->ipcFd, SHUT_RDWR);
	return fail ? fail : fail_unknown(rq->cx->arena, "the client is gone");
}

static bool
has_header(const struct request *rq, const char *name)
{
	for (const struct header *h = rq->headers; h != NULL; h = h->next)
		if (strcasecmp(h->name, name) == 0)
			return true;
	return false;
}

static void
put_header(FCGX_Stream *out, const char *name, const char *value)
{
	FCGX_PutS(name, out);
	FCGX_PutS(": ", out);
	FCGX_PutS(value, out);
	FCGX_PutS("\r\n", out);
}

static void
put_number(FCGX_Stream *out, const char *name, int64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)n);
	put_header(out, name, text);
}

/* Writes the head, and the body unless it was a HEAD request. */
static const struct fail *
send_reply(struct request *rq)
{
	FCGX_Stream *out = rq->fcgi->out;
	const char *body = NULL, *type = JSON_TYPE;
	size_t len = 0;

	if (rq->json != NULL) {
		body = json_write(rq->json, &len);
	} else if (rq->text != NULL) {
		body = rq->text;
		type = rq->text_type;
		len = strlen(body);
	}
	put_number(out, "Status", rq->status);
	if (body != NULL) {
		put_header(out, "Content-Type", type);
		put_number(out, "Content-Length", (int64_t)len);
	}
	if (rq->writer != NULL) {
		put_header(out, "Content-Type", rq->reply_type);
		put_number(out, "Content-Length", rq->reply_length);
	}
	if (!has_header(rq, "Cache-Control"))
		put_header(out, "Cache-Control", "no-store");
	put_header(out, "X-Content-Type-Options", "nosniff");
	/* What is no page does nothing where it is shown as one. */
	if (!has_header(rq, "Content-Security-Policy"))
		put_header(out, "Content-Security-Policy",
			   "default-src 'none'; base-uri 'none'; "
			   "frame-ancestors 'none'; sandbox");
	for (const struct header *h = rq->headers; h != NULL; h = h->next)
		put_header(out, h->name, h->value);
	FCGX_PutS("\r\n", out);
	if (strcmp(rq->method, "HEAD") == 0)
		return NULL;
	if (rq->writer != NULL)
		return send_stream(rq);
	if (body != NULL)
		FCGX_PutStr(body, (int)len, out);
	return NULL;
}

/* The one place that gives a failure its shape, unless the service answers
 * people and has one of its own. */
static void
reply_fail(struct request *rq, const struct fail *fail)
{
	const struct service *service = rq->cx->service;
	struct arena *a = rq->cx->arena;
	json_object *o, *list;

	if (fail->retry_after > 0)
		http_set_header(rq, "Retry-After", "%d", fail->retry_after);
	if (fail->allow != NULL)
		http_set_header(rq, "Allow", "%s", fail->allow);
	rq->writer = NULL;
	if (service->show_fail != NULL && service->show_fail(rq, fail))
		return;
	if (fail->status == 401) /* RFC 9110, 11.6.1 */
		http_set_header(rq, "WWW-Authenticate", "Bearer");
	o = json_new_object(a);
	list = json_object_new_array();
	for (const struct reason *r = fail->reasons; r != NULL; r = r->next) {
		json_object *e = json_object_new_object();

		json_put_text(e, "message", r->msg);
		if (r->param != NULL)
			json_put_text(e, "field", r->param);
		json_object_array_add(list, e);
	}
	json_put(o, "errors", list);
	http_reply(rq, fail->status, o);
}

/* Is it what a part of the pattern stands for? */
static bool
part_valid(const char *pattern, size_t len, const char *part)
{
	if (len == 5 && memcmp(pattern, ":code", len) == 0)
		return *part != '\0' && strlen(part) <= HTTP_MAX_CODE;
	if (len == 5 && memcmp(pattern, ":slug", len) == 0)
		return *part != '\0' && strlen(part) <= HTTP_MAX_SLUG;
	return id_valid(part);
}

/* Does path match pattern?  Its ":id" parts are stored in params. */
static bool
matches(struct arena *a, const char *pattern, const char *path,
	const char *params[HTTP_MAX_PARAMS])
{
	int n = 0;

	for (;;) {
		size_t want = strcspn(pattern, "/"), have = strcspn(path, "/");

		if (*pattern == ':') {
			const char *part = arena_strndup(a, path, have);

			if (!part_valid(pattern, want, part) ||
			    n == HTTP_MAX_PARAMS)
				return false;
			params[n++] = part;
		} else if (want != have || memcmp(pattern, path, want) != 0) {
			return false;
		}
		pattern += want;
		path += have;
		if (*pattern == '\0' || *path == '\0')
			return *pattern == *path;
		pattern++;
		path++;
	}
}

/* Finds the route of a request, 404 or 405. */
static const struct fail *
find_route(struct request *rq, const struct route *routes)
{
	struct arena *a = rq->cx->arena;
	bool allowed[METHOD__MAX] = {false}, any = false;
	const char *allow = "";

	if (strlen(rq->path) > HTTP_MAX_PATH)
		return fail_not_found(a);
	for (const struct route *r = routes; r && r->path != NULL; r++) {
		if (!matches(a, r->path, rq->path, rq->params))
			continue;
		if (strcmp(rq->method, method_names[r->method]) == 0 ||
		    (r->method == GET && strcmp(rq->method, "HEAD") == 0)) {
			rq->route = r;
			return NULL;
		}
		allowed[r->method] = any = true;
	}
	if (!any)
		return fail_not_found(a);
	for (int m = 0; m < METHOD__MAX; m++)
		if (allowed[m])
			allow = arena_printf(a, "%s%s%s%s", allow,
					     *allow ? ", " : "",
					     method_names[m],
					     m == GET ? ", HEAD" : "");
	return fail_method_not_allowed(a, allow);
}

const struct route *
http_find_route(struct request *rq, enum method method, const char *path)
{
	const struct route *r = rq->cx->service->routes;

	for (; r->path != NULL; r++)
		if (r->method == method &&
		    matches(rq->cx->arena, r->path, path, rq->params))
			return r;
	return NULL;
}

/* FCGX_GetParam() takes the first of several: what another reader, who takes
 * the last one, was shown may differ.  So there is at most one of each. */
static const struct fail *
check_headers(struct request *rq)
{
	static const char *const single[] = {
		"HTTP_COOKIE=",		"HTTP_AUTHORIZATION=", "HTTP_ORIGIN=",
		"HTTP_SEC_FETCH_SITE=", "CONTENT_LENGTH=",     "CONTENT_TYPE=",
	};
	struct arena *a = rq->cx->arena;
	const char *query = param(rq, "QUERY_STRING");
	int seen[sizeof(single) / sizeof(single[0])] = {0};

	if (query != NULL && strlen(query) > HTTP_MAX_QUERY)
		return fail_bad_request(a, "The query is too long");
	for (char **p = rq->fcgi->envp; *p != NULL; p++) {
		for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
			if (begins(*p, single[i]) && ++seen[i] > 1)
				return fail_bad_request(
					a, "A header stands twice");
		if (begins(*p, "HTTP_") && strlen(*p) > HTTP_MAX_HEADER)
			return fail_bad_request(a, "A header is too long");
	}
	return NULL;
}

/* State changes come from our own pages or from programs, never from another
 * site's page (OWASP ASVS 5.0, 3.5.1). */
static const struct fail *
check_origin(struct request *rq)
{
	const char *site = http_header(rq, "Sec-Fetch-Site");
	const char *origin = http_header(rq, "Origin");

	if (rq->route->method == GET ||
	    (rq->route->raw_max > 0 && rq->route->access == ANYONE &&
	     !rq->route->form))
		return NULL;
	if ((site != NULL && strcmp(site, "same-origin") != 0 &&
	     strcmp(site, "none") != 0) ||
	    (origin != NULL && strcmp(origin, rq->cx->service->base_url) != 0))
		return fail_forbidden(rq->cx->arena,
				      "Cross-site request refused");
	return NULL;
}

const char *
http_cookie(struct request *rq, const char *name)
{
	const char *p = http_header(rq, "Cookie");
	size_t len = strlen(name);

	while (p != NULL && *p != '\0') {
		p += strspn(p, " ;");
		if (strncmp(p, name, len) == 0 && p[len] == '=') {
			p += len + 1;
			return arena_strndup(rq->cx->arena, p,
					     strcspn(p, "; "));
		}
		p += strcspn(p, ";");
	}
	return NULL;
}

static const struct fail *
check_access(struct request *rq)
{
	const char *bearer = http_header(rq, "Authorization");
	const char *token = http_cookie(rq, TOKEN_COOKIE);
	enum standing_of_token as = TOKEN_GOOD;

	if (bearer != NULL && strncasecmp(bearer, "Bearer ", 7) == 0)
		token = bearer + 7;
	rq->signed_in =
		token != NULL && token_read(rq->cx->arena, token, &rq->user);
	if (rq->signed_in)
		as = standing_of_token(&rq->user);
	rq->signed_in = rq->signed_in && as == TOKEN_GOOD;
	if (rq->route->access == ANYONE)
		return NULL;
	if (as == TOKEN_BANNED)
		return fail_forbidden(rq->cx->arena, HTTP_BANNED);
	if (!rq->signed_in)
		return fail_not_authorized(rq->cx->arena);
	if (rq->route->access == ADMIN && strcmp(rq->user.role, "admin") != 0)
		return fail_forbidden(rq->cx->arena, "Admins only");
	return NULL;
}

/* The Content-Length of an upload.  Its body is read by the handler, or not at
 * all: nginx stops sending when it has an answer, and closing waits for that.
 */
static const struct fail *
upload_length(struct request *rq)
{
	struct arena *a = rq->cx->arena;
	const char *p = param(rq, "CONTENT_LENGTH");

	if (p == NULL)
		return fail_length_required(a);
	for (; *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p))
			return fail_bad_request(a, "Bad Content-Length");
		if (rq->length > INT64_MAX / 10 - 1)
			return fail_too_large(a);
		rq->length = rq->length * 10 + (*p - '0');
	}
	return NULL;
}

const char *
http_query(struct request *rq)
{
	const char *query = param(rq, "QUERY_STRING");

	return query ? query : "";
}

const char *
http_request_id(struct request *rq)
{
	return param(rq, "REQUEST_ID");
}

const char *
http_content_type(struct request *rq)
{
	return param(rq, "CONTENT_TYPE");
}

const struct fail *
http_read(struct request *rq, void *bytes, size_t size, size_t *ret_len)
{
	static const char broken[] = "The body is not as long as "
				     "Content-Length says";
	FCGX_Stream *in = rq->fcgi->in;
	struct arena *a = rq->cx->arena;
	size_t n = 0;

	while (n < size && rq->received < rq->length) {
		/* The first byte waits for more to come; then what has come is
		 * taken, so that time is looked at while little comes. */
		size_t want = (size_t)(rq->length - rq->received) - 1, ready;
		int64_t seconds = (clock_monotonic() - rq->began) / 1000;
		int c = FCGX_GetChar(in);

		if (c == EOF)
			return fail_bad_request(a, broken);
		((unsigned char *)bytes)[n++] = (unsigned char)c;
		ready = (size_t)(in->stop - in->rdNext);
		want = want < ready ? want : ready;
		want = want < size - n ? want : size - n;
		if (want > 0 &&
		    FCGX_GetStr((char *)bytes + n, (int)want, in) != (int)want)
			return fail_bad_request(a, broken);
		n += want;
		rq->received += (int64_t)want + 1;
		if (rq->received < (seconds - HTTP_GRACE) * HTTP_SLOWEST)
			return fail_bad_request(a, "The body comes too slowly");
	}
	if (rq->received == rq->length && FCGX_GetChar(in) != EOF)
		return fail_bad_request(a, broken);
	*ret_len = n;
	return NULL;
}

/* Reads what is left of a body, up to a limit, and throws it away. */
static void
read_off(FCGX_Stream *in)
{
	char drain[4096];
	int n = 1;

	for (int all = 0; n > 0 && all < DRAIN_MAX; all += n)
		n = FCGX_GetStr(drain, sizeof(drain), in);
}

/* Reads the whole body, as long as Content-Length says.  What is refused is
 * read off all the same, up to a limit: bytes left behind on a connection that
 * is closed can cost the client its answer. */
static const struct fail *
read_body(struct request *rq, size_t max, const char **ret_body,
	  size_t *ret_len)
{
	struct arena *a = rq->cx->arena;
	const char *header = param(rq, "CONTENT_LENGTH");
	const struct fail *fail = NULL;
	char *body;
	size_t len = 0;
	int n;

	*ret_len = 0;
	for (const char *p = header; p != NULL && *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p))
			return fail_bad_request(a, "Bad Content-Length");
		if (len <= DRAIN_MAX)
			len = len * 10 + (size_t)(*p - '0');
	}
	if (len > max) {
		read_off(rq->fcgi->in);
		return fail_too_large(a);
	}
	body = arena_alloc(a, len + 1);
	n = FCGX_GetStr(body, (int)len, rq->fcgi->in);
	if ((size_t)n != len || FCGX_GetChar(rq->fcgi->in) != EOF)
		fail = fail_bad_request(a, "The body is not as long as "
					   "Content-Length says");
	*ret_body = body;
	*ret_len = len;
	return fail;
}

static bool
is_type(const char *type, const char *wanted)
{
	size_t len = strlen(wanted);

	if (type == NULL || strncasecmp(type, wanted, len) != 0)
		return false;
	type += len + strspn(type + len, " \t");
	return *type == '\0' || *type == ';';
}

static const struct fail *
parse_body(struct request *rq, const char *body, size_t len)
{
	struct arena *a = rq->cx->arena;
	const struct route *r = rq->route;
	json_object *o;
	void *into;

	if (r->form && len > 0 &&
	    !is_type(param(rq, "CONTENT_TYPE"), FORM_TYPE))
		return fail_bad_request(a, "Content-Type must be " FORM_TYPE);
	if (r->raw_max > 0) {
		rq->raw = body;
		rq->raw_len = len;
		return NULL;
	}
	if (r->method == GET || (r->body == NULL && len == 0))
		return NULL;
	if (len == 0 && r->body_optional) {
		rq->body = arena_alloc(a, r->body_size);
		return NULL;
	}
	if (!is_type(param(rq, "CONTENT_TYPE"), JSON_TYPE))
		return fail_bad_request(
			a, "Content-Type must be application/json");
	o = json_read(a, body, len);
	if (o == NULL)
		return fail_bad_request(a, "The body is not well-formed JSON");
	if (r->body == NULL)
		return NULL;
	into = arena_alloc(a, r->body_size);
	rq->body = into;
	return record_from_json(a, r->body, o, into, &rq->given);
}

static const struct fail *
parse_query(struct request *rq)
{
	const char *query = param(rq, "QUERY_STRING");
	void *into;

	if (rq->route->query == NULL)
		return NULL;
	into = arena_alloc(rq->cx->arena, rq->route->query_size);
	rq->query = into;
	return record_from_query(rq->cx->arena, rq->route->query,
				 query ? query : "", into,
				 rq->route->body ? NULL : &rq->given);
}

static const struct fail *
serve(struct request *rq)
{
	const struct service *service = rq->cx->service;
	const struct fail *lost = find_route(rq, service->routes), *unread;
	/* NOLINTNEXTLINE(clang-analyzer-core.*): found is found. */
	bool upload = lost == NULL && rq->route->stream == UPLOAD;
	const char *body = "", *length = param(rq, "CONTENT_LENGTH");
	size_t len = 0;
	size_t max = lost == NULL ? rq->route->raw_max : 0;

	if (lost != NULL || !rq->route->quick || (length && *length != '\0'))
		pool_will_wait();
	/* But for a file, the body is read off whatever becomes of the
	 * request. */
	if (lost == NULL)
		span_name(trace_span(), "%s %s",
			  method_names[rq->route->method], rq->route->path);
	unread = upload ? upload_length(rq)
			: read_body(rq, max > 0 ? max : HTTP_MAX_BODY, &body,
				    &len);
	TRY(check_headers(rq));
	TRY(lost);
	TRY(check_origin(rq));
	TRY(unread);
	TRY(check_access(rq));
	FAILPOINT("admitted");
	if (!upload)
		TRY(parse_body(rq, body, len));
	TRY(parse_query(rq));
	if (rq->route->stream != WHOLE && !rq->transfer) {
		if (!transfers_admit(service->transfers, rq->route->stream))
			return fail_unavailable(
				rq->cx->arena,
				"Too many transfers, please "
				"try again",
				"all transfer threads are busy");
		rq->handed_over = true;
		return NULL;
	}
	if (rq->route->shared && !rq->signed_in)
		return share_answer(rq);
	return rq->route->handler(rq);
}

static void
reply_metrics(struct request *rq)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	if (to == NULL)
		_exit(EX_OSERR); /* as arena.c */
	measure_write(rq->cx, to);
	fclose(to);
	arena_defer(rq->cx->arena, free, text);
	http_reply_text(rq, "text/plain; version=0.0.4; charset=utf-8", text);
}

/* For probes of the pod itself; nginx never routes them from outside. */
static bool
serve_probe(struct request *rq)
{
	const struct service *service = rq->cx->service;
	json_object *o = json_new_object(rq->cx->arena);
	bool ready = true;

	if (strcmp(rq->path, "/healthz") == 0) {
		json_put_text(o, "status", "live");
	} else if (strcmp(rq->path, "/readyz") == 0) {
		pool_will_wait();
		if (service->store != NULL) {
			ready = store_ping(rq->cx) == NULL;
			json_put_text(o, "database", ready ? "up" : "down");
		}
		if (service->ready != NULL)
			ready = service->ready(rq->cx, o) && ready;
		/* A service does its work without the bus, and catches up:
		 * told, but not counted. */
		if (service->bus != NULL)
			json_put_text(o, "bus",
				      bus_connected(service->bus) ? "up"
								  : "down");
		json_put_text(o, "status", ready ? "ready" : "not ready");
	} else if (strcmp(rq->path, "/metrics") == 0) {
		pool_will_wait();
		reply_metrics(rq);
		return true;
	} else {
		return false;
	}
	http_reply(rq, ready ? 200 : 503, o);
	return true;
}

/* A code in the path is worth money: it stays out of the log. */
static const char *
logged_path(const struct request *rq)
{
	return rq->route != NULL && strstr(rq->route->path, ":code") != NULL
		       ? rq->route->path
		       : rq->path;
}

static void
measure(const struct request *rq, int64_t us)
{
	/* What clients write is no label. */
	const char *method = "-", *route = "-";
	char status[16];

	if (rq->route != NULL) {
		method = method_names[rq->route->method];
		route = rq->route->path;
	}
	snprintf(status, sizeof(status), "%d", rq->status);
	METRIC_ADD(&metric_requests, 1, method, route, status);
	METRIC_TIME(&metric_request_seconds, us, method, route);
}

/* What the request's span says, in OpenTelemetry's words. */
static void
describe(const struct request *rq, const char *why)
{
	struct span *s = trace_span();

	if (rq->route == NULL)
		span_name(s, "HTTP");
	else
		span_text(s, "http.route", rq->route->path);
	span_text(s, "http.request.method", rq->method);
	span_text(s, "url.path", logged_path(rq));
	span_number(s, "http.response.status_code", rq->status);
	if (rq->status >= 500)
		span_fail(s, why ? why : "");
}

/* libfcgi knows no time limits. */
static void
limit_silence(FCGX_Request *fcgi)
{
	const struct timeval limit = {.tv_sec = STREAM_WAIT};

	setsockopt(fcgi->ipcFd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fcgi->ipcFd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* Bytes of a body that were not read would be taken for the next request of the
 * connection: it is kept only where none are left.  What the handler did not
 * want is read off, up to a limit; not of what is streamed, which may come
 * slowly. */
static bool
may_keep(struct request *rq)
{
	FCGX_Stream *in = rq->fcgi->in;

	if (!rq->fcgi->keepConnection || rq->transfer ||
	    (rq->route != NULL && rq->route->stream != WHOLE))
		return false;
	if (GUARD_OFF("drain"))
		return true;
	read_off(in);
	return FCGX_HasSeenEOF(in) != 0 && FCGX_GetError(in) == 0;
}

enum stream
http_serve(struct context *cx, FCGX_Request *fcgi, bool transfer)
{
	struct request rq = {.cx = cx,
			     .fcgi = fcgi,
			     .transfer = transfer,
			     .began = clock_monotonic()};
	const char *id, *why = NULL;
	const struct fail *fail = NULL, *cut;
	int64_t began = clock_micros();
	bool probe;

	if (transfer)
		limit_silence(fcgi);
	rq.method = param(&rq, "REQUEST_METHOD");
	rq.path = param(&rq, "SCRIPT_NAME");
	rq.method = rq.method ? rq.method : "GET";
	rq.path = rq.path ? rq.path : "/";
	id = param(&rq, "REQUEST_ID"); /* nginx's $request_id */
	log_set_request(id);
	trace_begin(SPAN_SERVER, http_header(&rq, "traceparent"), id);
	if (id != NULL)
		http_set_header(&rq, "X-Request-Id", "%s", id);
	probe = serve_probe(&rq);
	if (!probe)
		fail = serve(&rq);
	if (rq.handed_over) {
		trace_hush();
		trace_end();
		log_set_request(NULL);
		return rq.route->stream;
	}
	if (fail != NULL)
		reply_fail(&rq, fail);
	FAILPOINT("answering");
	cut = send_reply(&rq);
	fail = fail ? fail : cut;
	if (!probe)
		measure(&rq, clock_micros() - began);
	else
		trace_hush();
	if (fail != NULL)
		why = fail->cause     ? fail->cause
		      : fail->reasons ? fail->reasons->msg
				      : fail->name;
	/* Who asks every other second whether all is well is no news. */
	LOG(rq.status >= 500	    ? LOG_ERROR
	    : probe && fail == NULL ? LOG_DEBUG
				    : LOG_INFO,
	    "request", LOG_TEXT("method", rq.method),
	    LOG_TEXT("path", logged_path(&rq)), LOG_NUMBER("status", rq.status),
	    LOG_TEXT("user", rq.signed_in ? rq.user.id : ""),
	    LOG_TEXT("error", fail ? fail->name : ""), LOG_TEXT("cause", why),
	    LOG_NUMBER("ms", clock_monotonic() - rq.began));
	describe(&rq, why);
	trace_end();
	log_set_request(NULL);
	if (!may_keep(&rq))
		fcgi->keepConnection = 0;
	return WHOLE;
}
