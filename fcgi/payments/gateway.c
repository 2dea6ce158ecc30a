/* gateway.c: see gateway.h.
 * SPDX-License-Identifier: MIT */
#include "gateway.h"

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint.h"
#include "json.h"
#include "log.h"
#include "trace.h"

#define CONNECT_TIMEOUT 2000 /* ms */
#define MAX_REPLY 524288     /* a page of a list */
#define MAX_KEYS 10
#define INTENTS "/v1/payment_intents"
#define CHARGES "/v1/charges"
#define REFUNDS "/v1/refunds"
#define DISPUTES "/v1/disputes"
#define RECENT_PAGES 300 /* of 100 */
#define ID_MAX 256
/* What an intent looks like depends on it, so it is not left to the account's
 * settings. */
#define API_VERSION "2023-10-16"

static const char *base, *key;
static pthread_key_t lines;

/* A thread's own connection and the last reply on it. */
struct line {
	CURL *curl;
	size_t len;
	char body[MAX_REPLY];
};

static void
hang_up(void *p)
{
	struct line *line = p;

	curl_easy_cleanup(line->curl);
	free(line);
}

/* Is the base a plain http:// address of this machine? */
static bool
is_loopback(const char *url)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		size_t len = strlen(hosts[i]);

		if (strncmp(url + 7, hosts[i], len) == 0 &&
		    strchr(":/", url[7 + len]) != NULL)
			return true;
	}
	return false;
}

const char *
gateway_open(const char *base_, const char *key_)
{
	bool plain = strncmp(base_, "http://", 7) == 0;

	if (!plain && strncmp(base_, "https://", 8) != 0)
		return "STRIPE_API_BASE is not https://HOST";
	if (plain && !is_loopback(base_) && strncmp(key_, "sk_test_", 8) != 0)
		return "STRIPE_API_BASE must be https:// for a live key";
	for (const char *p = key_; *p != '\0'; p++)
		if (!isgraph((unsigned char)*p))
			return "STRIPE_KEY has characters that no key has";
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 ||
	    pthread_key_create(&lines, hang_up) != 0)
		return "libcurl can't start";
	base = base_;
	key = key_;
	return NULL;
}

void
gateway_close(void)
{
	pthread_key_delete(lines);
	curl_global_cleanup();
}

/* Keeps a handle's connection alive from call to call. */
static struct line *
thread_line(void)
{
	struct line *line = pthread_getspecific(lines);

	if (line != NULL)
		return line;
	line = malloc(sizeof(*line));
	if (line == NULL)
		_exit(EX_OSERR);
	line->curl = curl_easy_init();
	if (line->curl == NULL || pthread_setspecific(lines, line) != 0)
		_exit(EX_OSERR);
	return line;
}

static size_t
receive(char *bytes, size_t size, size_t n, void *closure)
{
	struct line *line = closure;

	if (size * n > sizeof(line->body) - line->len)
		return 0; /* ends the call: CURLE_WRITE_ERROR */
	memcpy(line->body + line->len, bytes, size * n);
	line->len += size * n;
	return size * n;
}

static void
add_header(struct curl_slist **headers, const char *text)
{
	struct curl_slist *longer = curl_slist_append(*headers, text);

	if (longer == NULL)
		_exit(EX_OSERR);
	*headers = longer;
}

static void
free_headers(void *headers)
{
	curl_slist_free_all(headers);
}

/* One call, and what came back. */
struct call {
	const char *what;     /* for the log */
	const char *order_id; /* likewise, and for the key */
	const char *path;
	const char *form; /* NULL: GET */
	long status;	  /* HTTP; 0: no answer */
	CURLcode code;
	bool replayed;	   /* an earlier call's answer, kept under the key */
	json_object *json; /* NULL when it isn't JSON */
};

struct metric gateway_seconds = {
	METRIC_HISTOGRAM,
	"gateway_seconds",
	"Time of a call of the gateway; status 0: no answer.",
	{"call", "status"},
};

static void
exchange(struct arena *a, struct call *c, const char *idempotency_key)
{
	struct line *line = thread_line();
	struct curl_slist *headers = NULL;
	struct curl_header *replayed;
	CURL *curl = line->curl;
	struct span *span = span_begin(a, SPAN_CLIENT);
	const char *parent = span_parent(a, span);
	int64_t began, us;

	line->len = 0;
	add_header(&headers, arena_printf(a, "Authorization: Bearer %s", key));
	add_header(&headers, "Stripe-Version: " API_VERSION);
	add_header(&headers, "Expect:");
	if (idempotency_key != NULL)
		add_header(&headers, arena_printf(a, "Idempotency-Key: %s",
						  idempotency_key));
	if (parent != NULL)
		add_header(&headers,
			   arena_printf(a, "traceparent: %s", parent));
	arena_defer(a, free_headers, headers);

	curl_easy_reset(curl); /* keeps its connections */
	curl_easy_setopt(curl, CURLOPT_URL,
			 arena_printf(a, "%s%s", base, c->path));
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (c->form != NULL)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, c->form);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, line);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)CONNECT_TIMEOUT);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)GATEWAY_TIMEOUT);
	if (strncmp(base, "http://", 7) == 0) {
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
		curl_easy_setopt(curl, CURLOPT_PROXY, "");
	} else {
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	}

	began = clock_micros();
	c->status = 0;
	c->replayed = false;
	c->json = NULL;
	c->code = curl_easy_perform(curl);
	if (c->code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &c->status);
	us = clock_micros() - began;
	LOG(*c->order_id ? LOG_INFO : LOG_DEBUG, "gateway asked",
	    LOG_TEXT("call", c->what), LOG_TEXT("order", c->order_id),
	    LOG_NUMBER("status", c->status), LOG_NUMBER("ms", us / 1000));
	METRIC_TIME(&gateway_seconds, us,
		    arena_strndup(a, c->what, strcspn(c->what, "-")),
		    arena_printf(a, "%ld", c->status));
	span_name(span, "gateway %s", c->what);
	span_text(span, "http.request.method", c->form ? "POST" : "GET");
	span_text(span, "ticketing.order.id", c->order_id);
	span_number(span, "http.response.status_code", c->status);
	if (c->status / 100 != 2)
		span_fail(span, curl_easy_strerror(c->code));
	span_end(span);
	if (c->code != CURLE_OK)
		return;
	c->replayed =
		curl_easy_header(curl, "Idempotent-Replayed", 0, CURLH_HEADER,
				 -1, &replayed) == CURLHE_OK;
	c->json = json_read(a, line->body, line->len);
}

static void
post(struct arena *a, struct call *c)
{
	const char *k = arena_printf(a, "%s-%s", c->what, c->order_id);

	/* The gateway keeps a failure of its own under the key for a day, and
	 * answers so all that time: then that key is spent.  The next ones come
	 * in order, so that a lost reply is found again under the same. */
	for (int i = 2; i <= MAX_KEYS; i++) {
		exchange(a, c, GUARD_OFF("gateway-key") ? NULL : k);
		if (!c->replayed || c->status < 500)
			break;
		k = arena_printf(a, "%s-%s-%d", c->what, c->order_id, i);
	}
}

static struct gateway_reply
unknown(const struct call *c)
{
	LOG(LOG_WARN, "gateway's outcome unknown", LOG_TEXT("call", c->what),
	    LOG_TEXT("order", c->order_id), LOG_NUMBER("status", c->status),
	    LOG_TEXT("cause", c->code != CURLE_OK ? curl_easy_strerror(c->code)
			      : c->json == NULL	  ? "not JSON"
						  : ""));
	return (struct gateway_reply){.state = GATEWAY_UNKNOWN};
}

static const char *
error_message(struct arena *a, json_object *error)
{
	const char *message = json_text(error, "message");

	return message ? arena_strdup(a, message) : NULL;
}

/* Reads an intent; UNKNOWN when it is none, or not the one that is meant. */
static struct gateway_reply
read_intent(struct arena *a, json_object *o, const char *intent)
{
	static const struct {
		const char *status;
		enum gateway_state state;
	} states[] = {
		{"requires_confirmation", GATEWAY_OPEN},
		{"requires_payment_method", GATEWAY_DECLINED},
		{"requires_action", GATEWAY_CHALLENGE},
		{"requires_capture", GATEWAY_HELD},
		{"succeeded", GATEWAY_TAKEN},
		{"canceled", GATEWAY_CANCELLED},
	};
	const char *id = json_text(o, "id"), *status = json_text(o, "status");
	const char *object = json_text(o, "object");
	struct gateway_reply r = {.state = GATEWAY_UNKNOWN};

	if (id == NULL || status == NULL || object == NULL ||
	    strcmp(object, "payment_intent") != 0 ||
	    (intent != NULL && strcmp(intent, id) != 0))
		return r;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(status, states[i].status) == 0)
			r.state = states[i].state;
	r.intent = arena_strdup(a, id);
	r.message = error_message(a, json_member(o, "last_payment_error",
						 json_type_object));
	return r;
}

/* What the gateway says about an intent after a call of that kind. */
static struct gateway_reply
look(struct arena *a, const struct call *after, const char *intent)
{
	struct call c = {
		.what = after->what,
		.order_id = after->order_id,
		.path = arena_printf(a, INTENTS "/%s", intent),
	};
	struct gateway_reply r = {.state = GATEWAY_UNKNOWN};

	exchange(a, &c, NULL);
	if (c.status == 200)
		r = read_intent(a, c.json, intent);
	return r.state == GATEWAY_UNKNOWN ? unknown(&c) : r;
}

static struct gateway_reply
act(struct arena *a, const char *order_id, const char *intent, const char *verb)
{
	struct call c = {
		.what = verb,
		.order_id = order_id,
		.path = arena_printf(a, INTENTS "/%s/%s", intent, verb),
		.form = "",
	};
	json_object *error;
	struct gateway_reply r;

	post(a, &c);
	if (c.status == 200) {
		r = read_intent(a, c.json, intent);
		if (r.state != GATEWAY_UNKNOWN)
			return r;
	}
	error = json_member(c.json, "error", json_type_object);
	if (c.status == 402 && error != NULL)
		return (struct gateway_reply){.state = GATEWAY_DECLINED,
					      .intent = intent,
					      .message =
						      error_message(a, error)};
	/* Who did not answer in 8 s is not asked: it may be at it still. */
	if (c.code == CURLE_OPERATION_TIMEDOUT ||
	    c.code == CURLE_COULDNT_CONNECT)
		return unknown(&c);
	return look(a, &c, intent);
}

struct gateway_reply
gateway_confirm(struct arena *a, const char *order_id, const char *intent)
{
	return act(a, order_id, intent, "confirm");
}

struct gateway_reply
gateway_capture(struct arena *a, const char *order_id, const char *intent)
{
	return act(a, order_id, intent, "capture");
}

struct gateway_reply
gateway_cancel(struct arena *a, const char *order_id, const char *intent)
{
	return act(a, order_id, intent, "cancel");
}

/* Does the error say that the payment method is of no use?  It is the one
 * thing that a create call names. */
static bool
names_method(const struct call *c, json_object *error)
{
	const char *code = json_text(error, "code");
	const char *param = json_text(error, "param");

	return c->status == 402 || c->status == 404 ||
	       (c->status == 400 &&
		((code && strcmp(code, "resource_missing") == 0) ||
		 (param && strcmp(param, "payment_method") == 0)));
}

static void
free_escaped(void *s)
{
	curl_free(s);
}

static const char *
escape(struct arena *a, const char *s)
{
	char *e = curl_easy_escape(thread_line()->curl, s, 0);

	if (e == NULL)
		_exit(EX_OSERR);
	return arena_defer(a, free_escaped, e);
}

struct gateway_reply
gateway_create(struct arena *a, const char *order_id, int64_t amount,
	       const char *method)
{
	struct call c = {
		.what = "intent", .order_id = order_id, .path = INTENTS};
	json_object *error, *priced;
	struct gateway_reply r;

	c.form = arena_printf(a,
			      "amount=%lld&currency=usd&capture_method=manual"
			      "&payment_method_types[]=card"
			      "&payment_method=%s&metadata[order_id]=%s",
			      (long long)amount, escape(a, method), order_id);
	post(a, &c);
	if (c.status == 200) {
		r = read_intent(a, c.json, NULL);
		priced = json_member(c.json, "amount", json_type_int);
		if (r.intent != NULL && priced != NULL &&
		    json_object_get_int64(priced) == amount) {
			/* Confirming tells what is the matter with it. */
			r.state = GATEWAY_OPEN;
			return r;
		}
	}
	error = json_member(c.json, "error", json_type_object);
	if (error == NULL || json_text(error, "type") == NULL ||
	    !names_method(&c, error))
		return unknown(&c);
	return (struct gateway_reply){
		.state = GATEWAY_DECLINED,
		.message = c.status == 402 ? error_message(a, error)
					   : "There is no such payment method",
	};
}

static json_object *
list_of(const struct call *c)
{
	return c->status == 200 ? json_member(c->json, "data", json_type_array)
				: NULL;
}

static int64_t
number(json_object *o, const char *name)
{
	json_object *v = json_member(o, name, json_type_int);

	return v ? json_object_get_int64(v) : 0;
}

/* How much of an intent was given back, or is on its way; false: not known. */
static bool
refunded_of(struct arena *a, struct call *c, const char *intent,
	    int64_t *ret_amount)
{
	json_object *list;

	*ret_amount = 0;
	if (GUARD_OFF("refund-look"))
		return true;
	c->path =
		arena_printf(a, REFUNDS "?payment_intent=%s&limit=100", intent);
	c->form = NULL;
	exchange(a, c, NULL);
	list = list_of(c);
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i);
		const char *status = json_text(o, "status");

		if (status != NULL && strcmp(status, "failed") != 0 &&
		    strcmp(status, "canceled") != 0)
			*ret_amount += number(o, "amount");
	}
	return list != NULL;
}

struct gateway_reply
gateway_refund(struct arena *a, const char *order_id, const char *intent,
	       int64_t amount, int64_t try)
{
	struct call c = {.what = "refund", .order_id = order_id};
	struct gateway_reply r = {.state = GATEWAY_DECLINED, .intent = intent};
	json_object *error;
	const char *status;
	int64_t had;

	if (!refunded_of(a, &c, intent, &had))
		return unknown(&c);
	if (had < amount) {
		/* What others gave back makes it another call, too. */
		c.what = arena_printf(a, "refund-%lld-%lld", (long long)try,
				      (long long)(amount - had));
		c.path = REFUNDS;
		c.form = arena_printf(a,
				      "payment_intent=%s&amount=%lld"
				      "&metadata[order_id]=%s",
				      intent, (long long)(amount - had),
				      order_id);
		post(a, &c);
		if (c.code == CURLE_OPERATION_TIMEDOUT ||
		    c.code == CURLE_COULDNT_CONNECT)
			return unknown(&c);
		status = c.status == 200 ? json_text(c.json, "status") : NULL;
		error = json_member(c.json, "error", json_type_object);
		if (status != NULL && strcmp(status, "failed") == 0)
			return r;
		if (error != NULL && c.status >= 400 && c.status < 500 &&
		    c.status != 409 && c.status != 429 && c.status != 401)
			r.message = error_message(a, error);
		if (status != NULL && GUARD_OFF("refund-look"))
			had = amount;
		else if (!refunded_of(a, &c, intent, &had))
			return unknown(&c);
	}
	if (had >= amount)
		return (struct gateway_reply){.state = GATEWAY_RETURNED,
					      .intent = intent};
	return r.message != NULL ? r : unknown(&c);
}

struct gateway_facts
gateway_ask(struct arena *a, const char *order_id, const char *intent)
{
	struct call c = {.what = "look", .order_id = order_id};
	struct gateway_facts f = {.state = GATEWAY_UNKNOWN};
	struct gateway_reply r = look(a, &c, intent);
	json_object *list;

	if (r.state == GATEWAY_UNKNOWN)
		return f;
	if (r.state == GATEWAY_TAKEN) {
		if (!refunded_of(a, &c, intent, &f.refunded))
			return f;
		c.path = arena_printf(a, DISPUTES "?payment_intent=%s&limit=1",
				      intent);
		exchange(a, &c, NULL);
		list = list_of(&c);
		if (list != NULL && json_object_array_length(list) > 0) {
			const char *status = json_text(
				json_object_array_get_idx(list, 0), "status");

			f.dispute = status ? arena_strdup(a, status) : NULL;
		} else if (list == NULL && c.status != 404) {
			return f;
		}
	}
	f.state = r.state;
	return f;
}

static struct gateway_news
read_news(json_object *o, const char *what)
{
	const char *status = json_text(o, "status");
	json_object *captured = json_member(o, "captured", json_type_boolean);
	json_object *disputed = json_member(o, "disputed", json_type_boolean);

	return (struct gateway_news){
		.of = strcmp(what, CHARGES) == 0   ? NEWS_CHARGE
		      : strcmp(what, REFUNDS) == 0 ? NEWS_REFUND
						   : NEWS_DISPUTE,
		.intent = json_text(o, "payment_intent"),
		.status = status ? status : "",
		.captured = captured && json_object_get_boolean(captured),
		.disputed = disputed && json_object_get_boolean(disputed),
		.refunded = number(o, "amount_refunded"),
	};
}

typedef void (*news_handler)(void *closure, const struct gateway_news *news);

/* One page of a list: hands over what was made since then, and in *ret_after
 * leaves the id to go on behind, or NULL at the end.  False: no answer. */
static bool
recent_page(struct arena *a, const char *path, int64_t since, news_handler each,
	    void *closure, char ret_after[ID_MAX])
{
	struct call c = {.what = "list", .order_id = ""};
	json_object *list, *more, *o = NULL;
	const char *id;

	c.path = arena_printf(a, "%s?limit=100%s%s", path,
			      *ret_after ? "&starting_after=" : "", ret_after);
	*ret_after = '\0';
	exchange(a, &c, NULL);
	/* Not each stand-in has disputes. */
	if (c.status == 404)
		return true;
	list = list_of(&c);
	if (list == NULL)
		return false;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct gateway_news news;

		o = json_object_array_get_idx(list, i);
		if (number(o, "created") < since)
			return true;
		news = read_news(o, path);
		if (news.intent != NULL)
			each(closure, &news);
	}
	id = o ? json_text(o, "id") : NULL;
	more = json_member(c.json, "has_more", json_type_boolean);
	if (id != NULL && strlen(id) < ID_MAX && more != NULL &&
	    json_object_get_boolean(more))
		memcpy(ret_after, id, strlen(id) + 1);
	return true;
}

/* Newest first. */
static bool
recent(const char *path, int64_t since, news_handler each, void *closure)
{
	struct arena *a = arena_new(); /* of one page */
	char after[ID_MAX] = "";
	int pages = 0;
	bool told;

	do {
		arena_reset(a);
		told = recent_page(a, path, since, each, closure, after);
	} while (told && *after != '\0' && ++pages < RECENT_PAGES);
	arena_free(a);
	if (pages == RECENT_PAGES)
		LOG(LOG_WARN, "too much at the gateway to look at all",
		    LOG_TEXT("of", path));
	return told;
}

bool
gateway_recent(int64_t since, news_handler each, void *closure)
{
	return recent(CHARGES, since, each, closure) &&
	       recent(REFUNDS, since, each, closure) &&
	       recent(DISPUTES, since, each, closure);
}
