/* client.c: see client.h.
 * SPDX-License-Identifier: MIT */
#include "client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "breaker.h"
#include "service.h"
#include "trace.h"

#define CONNECT_TIMEOUT 1000 /* ms */
#define UPLOAD_TIMEOUT 60    /* s without a byte */
#define KEPT 8		     /* connections of a thread */

const char *client_base, *client_ca_file;

static char authority[512]; /* the public name, with its port */
static struct curl_slist *connect_to;
static pthread_key_t threads; /* a thread's CURLM, with its connections */

/* An exchange under way. */
struct exchange {
	struct arena *arena;
	struct call *call;
	CURL *curl;
	struct curl_slist *headers;
	struct span *span;
	char *body;
	size_t len, size;
	client_read read;
	void *closure;
};

static void
hang_up(void *multi)
{
	curl_multi_cleanup(multi);
}

/* The part behind "scheme://" up to the next slash; "" when it is none. */
static const char *
host_of(const char *url)
{
	const char *p = strstr(url, "://");

	return p ? p + 3 : "";
}

/* Requests go to where INTERNAL_BASE_URL says, with the public name: what is in
 * front there chooses the service by it, and shows its certificate. */
const char *
client_open(const char *public_base)
{
	const char *host = host_of(client_base), *name = host_of(public_base);
	bool secure = strncmp(client_base, "https://", 8) == 0;
	char text[1024];

	if (!secure && strncmp(client_base, "http://", 7) != 0)
		return "INTERNAL_BASE_URL is neither http:// nor https://";
	snprintf(authority, sizeof(authority), "%.*s", (int)strcspn(name, "/"),
		 name);
	snprintf(text, sizeof(text), "::%.*s%s", (int)strcspn(host, "/"), host,
		 strchr(host, ':') ? ""
		 : secure	   ? ":443"
				   : ":80");
	connect_to = curl_slist_append(NULL, text);
	if (connect_to == NULL || *authority == '\0' ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) != 0 ||
	    pthread_key_create(&threads, hang_up) != 0)
		return "libcurl can't start";
	return NULL;
}

void
client_close(void)
{
	pthread_key_delete(threads);
	curl_slist_free_all(connect_to);
	curl_global_cleanup();
}

static CURLM *
thread_multi(void)
{
	CURLM *multi = pthread_getspecific(threads);

	if (multi != NULL)
		return multi;
	multi = curl_multi_init();
	if (multi == NULL || pthread_setspecific(threads, multi) != 0)
		_exit(EX_OSERR);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)KEPT);
	return multi;
}

static size_t
receive(char *bytes, size_t size, size_t n, void *closure)
{
	struct exchange *x = closure;

	n *= size;
	if (n > CLIENT_MAX_REPLY - x->len)
		return 0; /* ends the call: CURLE_WRITE_ERROR */
	if (x->len + n + 1 > x->size) {
		x->size = 2 * (x->len + n + 1);
		x->body = realloc(x->body, x->size);
		if (x->body == NULL)
			_exit(EX_OSERR);
	}
	memcpy(x->body + x->len, bytes, n);
	x->len += n;
	x->body[x->len] = '\0';
	return n;
}

static size_t
hand_over(char *bytes, size_t size, size_t n, void *closure)
{
	struct exchange *x = closure;
	long got = x->read(x->closure, bytes, size * n);

	return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static void
add_header(struct exchange *x, const char *name, const char *value)
{
	struct curl_slist *longer;

	if (value == NULL || *value == '\0')
		return;
	longer = curl_slist_append(x->headers, arena_printf(x->arena, "%s: %s",
							    name, value));
	if (longer == NULL)
		_exit(EX_OSERR);
	x->headers = longer;
}

static void
add_cookies(struct exchange *x, const struct visitor *v)
{
	struct arena *a = x->arena;
	const char *text = "";

	if (v->session != NULL)
		text = arena_printf(a, TOKEN_COOKIE "=%s", v->session);
	/* Only auth may have that one. */
	if (v->refresh != NULL && strncmp(x->call->path, "/api/users", 10) == 0)
		text = arena_printf(a, "%s%s" TOKEN_REFRESH_COOKIE "=%s", text,
				    *text ? "; " : "", v->refresh);
	add_header(x, "Cookie", text);
}

static void
prepare(struct exchange *x, const struct visitor *v)
{
	struct call *c = x->call;
	CURL *curl = curl_easy_init();

	if (curl == NULL)
		_exit(EX_OSERR);
	x->curl = curl;
	add_cookies(x, v);
	add_header(x, "X-Request-Id", v->request_id);
	x->span = span_begin(x->arena, SPAN_CLIENT);
	add_header(x, "traceparent", span_parent(x->arena, x->span));
	add_header(x, "X-Forwarded-For", v->address);
	add_header(x, "User-Agent", v->agent);
	add_header(x, "Accept", "application/json");
	add_header(x, "If-Match", c->if_match);
	add_header(x, "Expect", " ");
	curl_easy_setopt(curl, CURLOPT_PRIVATE, x);
	curl_easy_setopt(curl, CURLOPT_URL,
			 arena_printf(x->arena, "%.*s://%s%s",
				      (int)strcspn(client_base, ":"),
				      client_base, authority, c->path));
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
	if (*client_ca_file != '\0')
		curl_easy_setopt(curl, CURLOPT_CAINFO, client_ca_file);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)CONNECT_TIMEOUT);
	curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 16384L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
	if (c->body != NULL) {
		add_header(x, "Content-Type", "application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
				 json_write(c->body, NULL));
	} else if (c->method != NULL && strcmp(c->method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	}
	if (c->method != NULL)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, c->method);
}

/* A header of the answer, in the arena; NULL when it has none. */
static const char *
header_of(struct exchange *x, const char *name, size_t index)
{
	struct curl_header *h;

	if (curl_easy_header(x->curl, name, index, CURLH_HEADER, -1, &h) !=
	    CURLHE_OK)
		return NULL;
	return arena_strdup(x->arena, h->value);
}

static void
keep_cookies(struct exchange *x)
{
	struct header **tail = &x->call->cookies;
	const char *value;

	for (size_t i = 0; (value = header_of(x, "Set-Cookie", i)) != NULL;
	     i++) {
		*tail = arena_alloc(x->arena, sizeof(**tail));
		**tail = (struct header){.name = "Set-Cookie", .value = value};
		tail = &(*tail)->next;
	}
}

/* The cursor in a Link header: <path?cursor=…>; rel="next". */
static const char *
next_of(struct exchange *x)
{
	const char *link = header_of(x, "Link", 0), *p;

	if (link == NULL || (p = strstr(link, "cursor=")) == NULL)
		return NULL;
	p += strlen("cursor=");
	return arena_strndup(x->arena, p, strcspn(p, "&>"));
}

static void
conclude(struct exchange *x, CURLcode code)
{
	struct call *c = x->call;
	const char *after;

	if (code != CURLE_OK) {
		LOG(LOG_WARN, "a service does not answer",
		    LOG_TEXT("path", c->what),
		    LOG_TEXT("cause", curl_easy_strerror(code)));
		return;
	}
	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &c->status);
	c->text = x->body;
	if (x->len > 0)
		c->json = json_read(x->arena, x->body, x->len);
	c->good = c->status / 100 == 2 && (c->status == 204 || c->json != NULL);
	c->next = next_of(x);
	c->location = header_of(x, "Location", 0);
	c->removed = header_of(x, "Stuff-Status", 0);
	after = header_of(x, "Retry-After", 0);
	c->retry_after = after ? (int)strtol(after, NULL, 10) : 0;
	keep_cookies(x);
	if (!c->good && (c->status >= 500 || c->status / 100 == 2))
		LOG(LOG_WARN, "a service fails", LOG_TEXT("path", c->what),
		    LOG_NUMBER("status", c->status));
}

static void
discard(struct exchange *x)
{
	curl_easy_cleanup(x->curl);
	curl_slist_free_all(x->headers);
	if (x->body != NULL)
		arena_defer(x->arena, free, x->body);
}

/* Waits for all, or the deadline. */
static void
await(CURLM *multi, int64_t until)
{
	int running = 1, left;
	CURLMsg *message;
	struct exchange *x;

	while (running > 0) {
		int64_t ms = until - clock_monotonic();

		if (curl_multi_perform(multi, &running) != CURLM_OK)
			break;
		while ((message = curl_multi_info_read(multi, &left)) != NULL)
			if (message->msg == CURLMSG_DONE) {
				curl_easy_getinfo(message->easy_handle,
						  CURLINFO_PRIVATE, &x);
				conclude(x, message->data.result);
			}
		if (running == 0 || ms <= 0)
			break;
		curl_multi_poll(multi, NULL, 0, ms < 1000 ? (int)ms : 1000,
				NULL);
	}
}

/* A path may have a coupon's code in it: it is not told. */
static void
describe(struct exchange *x)
{
	const struct call *c = x->call;
	const char *method;

	if (x->span == NULL)
		return;
	curl_easy_getinfo(x->curl, CURLINFO_EFFECTIVE_METHOD, &method);
	span_name(x->span, "%s %s", method, c->what ? c->what : "");
	span_text(x->span, "http.request.method", method);
	span_number(x->span, "http.response.status_code", c->status);
	if (c->status == 0 || c->status >= 400)
		span_fail(x->span, c->status ? "" : "no answer");
	span_end(x->span);
}

static void
run(struct exchange *list, size_t count, int64_t until)
{
	CURLM *multi = thread_multi();

	for (size_t i = 0; i < count; i++) {
		curl_easy_setopt(list[i].curl, CURLOPT_HTTPHEADER,
				 list[i].headers);
		curl_multi_add_handle(multi, list[i].curl);
	}
	await(multi, until);
	for (size_t i = 0; i < count; i++) {
		if (list[i].call->status == 0)
			LOG(LOG_WARN, "no answer",
			    LOG_TEXT("path", list[i].call->what));
		describe(&list[i]);
		curl_multi_remove_handle(multi, list[i].curl);
		discard(&list[i]);
	}
}

/* Only reads are given up before they are tried. */
static bool
is_read(const struct call *c)
{
	return c->method == NULL && c->body == NULL;
}

void
client_run(struct arena *a, const struct visitor *visitor, struct call *calls[],
	   size_t count, int64_t until)
{
	struct exchange *list = arena_alloc(a, (count + 1) * sizeof(*list));
	int64_t began = clock_monotonic();
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (is_read(calls[i]) && !breaker_asks(calls[i]->path))
			continue;
		list[n] = (struct exchange){.arena = a, .call = calls[i]};
		prepare(&list[n++], visitor);
	}
	run(list, n, until);
	for (size_t i = 0; i < n; i++)
		if (is_read(list[i].call))
			breaker_told(list[i].call->path,
				     list[i].call->status != 0,
				     (long)(clock_monotonic() - began));
}

void
client_send(struct arena *a, const struct visitor *visitor, struct call *c,
	    const char *type, const char *disposition, int64_t length,
	    client_read read, void *closure)
{
	struct exchange x = {
		.arena = a, .call = c, .read = read, .closure = closure};

	prepare(&x, visitor);
	add_header(&x, "Content-Type", type);
	add_header(&x, "Content-Disposition", disposition);
	curl_easy_setopt(x.curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(x.curl, CURLOPT_READFUNCTION, hand_over);
	curl_easy_setopt(x.curl, CURLOPT_READDATA, &x);
	curl_easy_setopt(x.curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)length);
	curl_easy_setopt(x.curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(x.curl, CURLOPT_LOW_SPEED_TIME, (long)UPLOAD_TIMEOUT);
	run(&x, 1, INT64_MAX);
}

const struct fail *
client_fail(struct arena *a, const struct call *c)
{
	json_object *list = json_member(c->json, "errors", json_type_array), *e;
	const char *msg = NULL, *field;
	struct fail *fields = NULL;
	size_t n = list ? json_object_array_length(list) : 0;

	for (size_t i = 0; i < n; i++) {
		e = json_object_array_get_idx(list, i);
		field = json_text(e, "field");
		msg = json_text(e, "message");
		if (field != NULL && msg != NULL)
			fields = fail_field(a, fields, arena_strdup(a, field),
					    arena_strdup(a, msg));
	}
	if (fields != NULL && c->status == 400)
		return fields;
	msg = msg ? arena_strdup(a, msg) : "Something went wrong";
	switch (c->status) {
	case 400:
		return fail_bad_request(a, msg);
	case 401:
		return fail_not_authorized(a);
	case 402:
		return fail_payment_failed(a, msg);
	case 403:
		return fail_forbidden(a, msg);
	case 404:
		return fail_not_found(a);
	case 409:
		return fail_conflict(a, msg, c->retry_after);
	case 413:
		return fail_too_large(a);
	case 429:
		return fail_too_many(a, c->retry_after);
	default:
		return fail_unavailable(
			a,
			arena_printf(a,
				     "Sorry: %s can't be reached right now. "
				     "Please try again in a moment.",
				     c->what ? c->what : "the service"),
			"a service failed");
	}
}
