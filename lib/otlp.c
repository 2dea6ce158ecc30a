/* otlp.c: see otlp.h.
 * SPDX-License-Identifier: MIT */
#include "otlp.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "id.h"
#include "json.h"
#include "log.h"
#include "measure.h"
#include "trace.h"

#define QUEUE 2048	 /* spans that wait */
#define BATCH 256	 /* spans of one request */
#define PERIOD 1000	 /* ms that a span waits for others */
#define TIMEOUT 2000	 /* ms of a request */
#define TRIES 6		 /* of a batch */
#define BACKOFF 500	 /* ms after the first one; then twice that, */
#define BACKOFF_MAX 5000 /* at most */
#define CLOSE_WAIT 2000	 /* ms for what waits at the end */
#define MAX_REPLY 4096

/* libcurl costs two megabytes of each process that it is in, used or not:
 * services that are not told of a collector do without. */
static struct {
	typeof(curl_global_init) *global_init;
	typeof(curl_global_cleanup) *global_cleanup;
	typeof(curl_easy_init) *easy_init;
	typeof(curl_easy_setopt) *easy_setopt;
	typeof(curl_easy_perform) *easy_perform;
	typeof(curl_easy_getinfo) *easy_getinfo;
	typeof(curl_easy_strerror) *easy_strerror;
	typeof(curl_easy_cleanup) *easy_cleanup;
	typeof(curl_slist_append) *slist_append;
	typeof(curl_slist_free_all) *slist_free_all;
} lib;

static struct {
	const char *service;
	char *url, instance[ID_SIZE];
	pthread_t thread;
	pthread_mutex_t lock; /* guards all that follows */
	pthread_cond_t changed;
	struct span *queue; /* a ring of QUEUE; NULL: not open */
	size_t first, count;
	size_t sending; /* that the thread has taken off it */
	bool stopping;
	int64_t stop_by; /* on the monotonic clock: nothing is sent after */
} exporter = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
collect(const struct span *s)
{
	bool full;

	pthread_mutex_lock(&exporter.lock);
	full = exporter.count == QUEUE;
	if (!full)
		exporter.queue[(exporter.first + exporter.count++) % QUEUE] =
			*s;
	/* The thread looks by itself each second: it is woken for a batch. */
	if (exporter.count == BATCH)
		pthread_cond_signal(&exporter.changed);
	pthread_mutex_unlock(&exporter.lock);
	if (full)
		METRIC_ADD(&metric_spans, 1, "dropped");
}

int64_t
otlp_waiting(void)
{
	int64_t n = -1;

	pthread_mutex_lock(&exporter.lock);
	if (exporter.queue != NULL)
		n = (int64_t)(exporter.count + exporter.sending);
	pthread_mutex_unlock(&exporter.lock);
	return n;
}

/* Waits for a batch, the end of the period, or of the service.  The lock is
 * held. */
static void
wait_until(int64_t at, size_t enough)
{
	while (exporter.count < enough && !exporter.stopping &&
	       clock_wait(&exporter.changed, &exporter.lock, at))
		;
}

static json_object *
attribute(const char *key, const char *kind, json_object *value)
{
	json_object *o = json_object_new_object();
	json_object *v = json_object_new_object();

	json_put(v, kind, value);
	json_put_text(o, "key", key);
	json_put(o, "value", v);
	return o;
}

/* A 64-bit number is a string in protobuf's JSON. */
static json_object *
number(struct arena *a, int64_t n)
{
	return json_object_new_string(arena_printf(a, "%lld", (long long)n));
}

static json_object *
text(struct arena *a, const char *s)
{
	return json_object_new_string(json_clean(a, s));
}

static json_object *
attributes_of(struct arena *a, const struct span *s)
{
	json_object *list = json_object_new_array();

	for (int i = 0; i < SPAN_ATTRIBUTES; i++) {
		const struct span_attribute *at = &s->attributes[i];

		if (at->key == NULL)
			break;
		json_object_array_add(
			list, at->is_number ? attribute(at->key, "intValue",
							number(a, at->number))
					    : attribute(at->key, "stringValue",
							text(a, at->text)));
	}
	return list;
}

static json_object *
span_to_json(struct arena *a, const struct span *s)
{
	json_object *o = json_object_new_object(), *links, *link, *status;

	json_put_text(o, "traceId", s->trace);
	json_put_text(o, "spanId", s->id);
	if (*s->parent != '\0')
		json_put_text(o, "parentSpanId", s->parent);
	json_put(o, "name", text(a, s->name));
	json_put_int(o, "kind", s->kind);
	json_put(o, "startTimeUnixNano", number(a, s->began));
	json_put(o, "endTimeUnixNano", number(a, s->ended));
	json_put(o, "attributes", attributes_of(a, s));
	if (*s->link_id != '\0') {
		links = json_object_new_array();
		link = json_object_new_object();
		json_put_text(link, "traceId", s->link_trace);
		json_put_text(link, "spanId", s->link_id);
		json_object_array_add(links, link);
		json_put(o, "links", links);
	}
	if (s->failed) {
		status = json_object_new_object();
		json_put_int(status, "code", 2); /* STATUS_CODE_ERROR */
		json_put(status, "message", text(a, s->why));
		json_put(o, "status", status);
	}
	return o;
}

/* An ExportTraceServiceRequest. */
static const char *
request(struct arena *a, const struct span *spans, size_t n, size_t *ret_len)
{
	json_object *root = json_new_object(a);
	json_object *resource_spans = json_object_new_object();
	json_object *scope_spans = json_object_new_object();
	json_object *resource = json_object_new_object();
	json_object *scope = json_object_new_object();
	json_object *attributes = json_object_new_array();
	json_object *list = json_object_new_array();
	json_object *one;

	json_object_array_add(attributes,
			      attribute("service.name", "stringValue",
					text(a, exporter.service)));
	json_object_array_add(attributes,
			      attribute("service.namespace", "stringValue",
					text(a, "ticketing")));
	json_object_array_add(attributes,
			      attribute("service.instance.id", "stringValue",
					text(a, exporter.instance)));
	json_put(resource, "attributes", attributes);
	json_put_text(scope, "name", "ticketing");
	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, span_to_json(a, &spans[i]));
	json_put(scope_spans, "scope", scope);
	json_put(scope_spans, "spans", list);
	one = json_object_new_array();
	json_object_array_add(one, scope_spans);
	json_put(resource_spans, "resource", resource);
	json_put(resource_spans, "scopeSpans", one);
	one = json_object_new_array();
	json_object_array_add(one, resource_spans);
	json_put(root, "resourceSpans", one);
	return json_write(root, ret_len);
}

struct reply {
	size_t len;
	char body[MAX_REPLY];
};

/* What is beyond the first bytes of an answer is of no interest. */
static size_t
receive(char *bytes, size_t size, size_t n, void *closure)
{
	struct reply *r = closure;
	size_t room = sizeof(r->body) - r->len;

	n *= size;
	memcpy(r->body + r->len, bytes, n < room ? n : room);
	r->len += n < room ? n : room;
	return n;
}

/* How many of a request's spans a collector that took it did not want. */
static int64_t
refused(struct arena *a, const struct reply *r)
{
	json_object *o = json_member(json_read(a, r->body, r->len),
				     "partialSuccess", json_type_object);
	json_object *n = NULL;

	/* int64: a string, but collectors also write numbers. */
	if (o != NULL)
		json_object_object_get_ex(o, "rejectedSpans", &n);
	return n ? json_object_get_int64(n) : 0;
}

/* Whether it comes back to be sent again, as OTLP says. */
static bool
is_passing(long status)
{
	return status == 0 || status == 429 || status == 502 || status == 503 ||
	       status == 504;
}

/* One request.  *ret_status is 0 when there was no answer, and *ret_why then
 * says why. */
static void
post(CURL *curl, struct curl_slist *headers, const char *body, size_t len,
     struct reply *reply, long *ret_status, const char **ret_why)
{
	CURLcode code;

	reply->len = 0;
	*ret_status = 0;
	lib.easy_setopt(curl, CURLOPT_URL, exporter.url);
	lib.easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	lib.easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	lib.easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)len);
	lib.easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	lib.easy_setopt(curl, CURLOPT_WRITEDATA, reply);
	lib.easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	lib.easy_setopt(curl, CURLOPT_PROXY, "");
	lib.easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	lib.easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	lib.easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT);
	code = lib.easy_perform(curl);
	*ret_why = lib.easy_strerror(code);
	if (code == CURLE_OK) {
		lib.easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
		*ret_why = "";
	}
}

/* Waits before another try; false when the service ends meanwhile. */
static bool
wait_again(int64_t pause)
{
	bool again;

	pthread_mutex_lock(&exporter.lock);
	wait_until(clock_monotonic() + pause, SIZE_MAX);
	again = !exporter.stopping;
	pthread_mutex_unlock(&exporter.lock);
	return again;
}

/* Sends a batch, again and again while there is hope.  False when there is
 * none for another one either. */
static bool
send_batch(struct arena *a, CURL *curl, struct curl_slist *headers,
	   const struct span *spans, size_t n)
{
	struct reply *reply = arena_alloc(a, sizeof(*reply));
	int64_t pause = BACKOFF, count = (int64_t)n, bad;
	const char *body, *why = "";
	bool hope = true;
	long status = 0;
	size_t len;

	body = request(a, spans, n, &len);
	for (int i = 1;; i++) {
		post(curl, headers, body, len, reply, &status, &why);
		if (!is_passing(status) || i == TRIES)
			break;
		hope = wait_again(pause);
		if (!hope)
			break;
		pause = 2 * pause < BACKOFF_MAX ? 2 * pause : BACKOFF_MAX;
	}
	if (status / 100 == 2) {
		bad = refused(a, reply);
		METRIC_ADD(&metric_spans, count - bad, "sent");
		METRIC_ADD(&metric_spans, bad, "refused");
		return true;
	}
	LOG(LOG_WARN, "spans dropped", LOG_NUMBER("spans", count),
	    LOG_NUMBER("status", status), LOG_TEXT("cause", why));
	METRIC_ADD(&metric_spans, count,
		   is_passing(status) ? "dropped" : "refused");
	return hope;
}

/* Takes up to BATCH spans off the queue.  The lock is held. */
static size_t
take(struct span *batch)
{
	size_t n = 0;

	while (exporter.count > 0 && n < BATCH) {
		batch[n++] = exporter.queue[exporter.first];
		exporter.first = (exporter.first + 1) % QUEUE;
		exporter.count--;
	}
	return n;
}

static void *
run(void *arg)
{
	struct curl_slist *headers =
		lib.slist_append(NULL, "Content-Type: application/json");
	struct span *batch = calloc(BATCH, sizeof(*batch));
	struct arena *a = arena_new();
	CURL *curl = lib.easy_init();
	const char *why = "the service ends";
	bool hope = true;
	size_t n;

	if (headers == NULL || batch == NULL || curl == NULL)
		_exit(EX_OSERR);
	pthread_mutex_lock(&exporter.lock);
	while (!exporter.stopping || (hope && exporter.count > 0 &&
				      clock_monotonic() < exporter.stop_by)) {
		wait_until(clock_monotonic() + PERIOD, BATCH);
		n = exporter.sending = take(batch);
		if (n == 0)
			continue;
		pthread_mutex_unlock(&exporter.lock);
		hope = send_batch(a, curl, headers, batch, n);
		arena_reset(a);
		pthread_mutex_lock(&exporter.lock);
		exporter.sending = 0;
	}
	n = exporter.count;
	pthread_mutex_unlock(&exporter.lock);
	if (n > 0)
		LOG(LOG_WARN, "spans dropped", LOG_NUMBER("spans", (int64_t)n),
		    LOG_TEXT("cause", why));
	lib.easy_cleanup(curl);
	lib.slist_free_all(headers);
	arena_free(a);
	free(batch);
	return arg;
}

static bool
load(void)
{
	static const struct {
		void *to;
		const char *name;
	} symbols[] = {
		{&lib.global_init, "curl_global_init"},
		{&lib.global_cleanup, "curl_global_cleanup"},
		{&lib.easy_init, "curl_easy_init"},
		{&lib.easy_setopt, "curl_easy_setopt"},
		{&lib.easy_perform, "curl_easy_perform"},
		{&lib.easy_getinfo, "curl_easy_getinfo"},
		{&lib.easy_strerror, "curl_easy_strerror"},
		{&lib.easy_cleanup, "curl_easy_cleanup"},
		{&lib.slist_append, "curl_slist_append"},
		{&lib.slist_free_all, "curl_slist_free_all"},
	};
	void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
		return false;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(library, symbols[i].name);

		if (symbol == NULL)
			return false;
		memcpy(symbols[i].to, &symbol, sizeof(symbol));
	}
	return lib.global_init(CURL_GLOBAL_DEFAULT) == 0;
}

const char *
otlp_open(const char *service, const char *endpoint)
{
	size_t len = strlen(endpoint);

	if (strncmp(endpoint, "http://", 7) != 0 &&
	    strncmp(endpoint, "https://", 8) != 0)
		return "OTEL_EXPORTER_OTLP_ENDPOINT is neither http:// nor "
		       "https://";
	if (!load())
		return "OTEL_EXPORTER_OTLP_ENDPOINT is set, but there is no "
		       "libcurl.so.4";
	while (len > 0 && endpoint[len - 1] == '/')
		len--;
	exporter.service = service;
	id_new(exporter.instance);
	exporter.queue = calloc(QUEUE, sizeof(*exporter.queue));
	if (exporter.queue == NULL ||
	    asprintf(&exporter.url, "%.*s/v1/traces", (int)len, endpoint) < 0)
		_exit(EX_OSERR);
	pthread_cond_init(&exporter.changed, NULL);
	trace_tell(collect);
	if (pthread_create(&exporter.thread, NULL, run, NULL) != 0)
		_exit(EX_OSERR);
	pthread_setname_np(exporter.thread, "otlp");
	return NULL;
}

void
otlp_close(void)
{
	if (exporter.queue == NULL)
		return;
	trace_tell(NULL);
	pthread_mutex_lock(&exporter.lock);
	exporter.stopping = true;
	exporter.stop_by = clock_monotonic() + CLOSE_WAIT;
	pthread_cond_signal(&exporter.changed);
	pthread_mutex_unlock(&exporter.lock);
	pthread_join(exporter.thread, NULL);
	pthread_cond_destroy(&exporter.changed);
	free(exporter.url);
	free(exporter.queue);
	exporter.queue = NULL;
	lib.global_cleanup();
}
