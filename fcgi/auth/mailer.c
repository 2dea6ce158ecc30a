/* mailer.c: see mailer.h.
 * SPDX-License-Identifier: MIT */
#include "mailer.h"

#include <curl/curl.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "mail.h"
#include "model.h"

#define SEND_EVERY 5000	   /* ms */
#define SEND_LIMIT 50	   /* letters at once */
#define SMTP_TIMEOUT 15000 /* ms */
#define LEASE 60000	   /* ms that a try takes at most */
#define AGAIN_MIN 1000	   /* ms, doubled with each try */
#define AGAIN_MAX 1800000
#define GIVE_UP 86400000 /* ms */
#define LETTERS_SHOWN 1000

#define QUEUED "queued"
#define SENT "sent"
#define DROPPED "dropped"

static const char *url, *from;

const struct setting mailer_settings[] = {
	{.name = "SMTP_URL", .text = &url, .fallback = ""},
	{.name = "SMTP_FROM", .text = &from, .fallback = ""},
	{0},
};

struct letter {
	struct head head;
	char user_id[ID_SIZE], order_id[ID_SIZE];
	const char *letter, *title, *status;
	int64_t amount, at, created_at, next_at, tries;
};

static const struct field fields[] = {
	STORE_HEAD(struct letter),
	FIELD(struct letter, user_id, "userId", FIELD_ID),
	FIELD(struct letter, order_id, "orderId", FIELD_ID),
	FIELD(struct letter, letter, "letter", FIELD_TEXT),
	FIELD(struct letter, title, "title", FIELD_TEXT),
	FIELD(struct letter, status, "status", FIELD_TEXT),
	FIELD(struct letter, amount, "amount", FIELD_INT, .flags = FIELD_ZERO),
	FIELD(struct letter, at, "at", FIELD_TIME),
	FIELD(struct letter, created_at, "createdAt", FIELD_TIME),
	FIELD(struct letter, next_at, "nextAt", FIELD_TIME),
	FIELD(struct letter, tries, "tries", FIELD_INT, .flags = FIELD_ZERO),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"status", "nextAt"}},
	{.keys = {"userId", "-_id"}},
	{.keys = {"createdAt"}},
	{{NULL}},
};

/* As the user whom it is for sees it. */
const struct field letter_view[] = {
	FIELD(struct letter, letter, "letter", FIELD_TEXT),
	FIELD(struct letter, title, "title", FIELD_TEXT),
	FIELD(struct letter, amount, "amount", FIELD_INT, .flags = FIELD_ZERO),
	FIELD(struct letter, order_id, "orderId", FIELD_ID),
	FIELD(struct letter, status, "status", FIELD_TEXT),
	FIELD(struct letter, created_at, "createdAt", FIELD_TIME),
	{0},
};

const struct kind letter_kind = {
	.collection = "letters",
	.fields = fields,
	.size = sizeof(struct letter),
	.indexes = indexes,
};

const struct fail *
mailer_view(struct context *cx, const char *user_id, json_object **ret)
{
	bson_oid_t user;
	void *found;
	const struct letter *l;
	size_t n;

	bson_oid_init_from_string(&user, user_id);
	TRY(store_find(cx, &letter_kind, BCON_NEW("userId", BCON_OID(&user)),
		       "-_id", LETTERS_SHOWN, &found, &n));
	l = found;
	*ret = json_new_array(cx->arena);
	for (size_t i = 0; i < n; i++)
		json_object_array_add(*ret,
				      json_object_get(record_to_json(
					      cx->arena, letter_view, &l[i])));
	return NULL;
}

const struct fail *
mailer_forget(struct context *cx, const char *user_id)
{
	bson_oid_t user;

	bson_oid_init_from_string(&user, user_id);
	return store_remove(cx, &letter_kind,
			    BCON_NEW("userId", BCON_OID(&user)));
}

void
mailer_sweep(struct context *cx)
{
	store_prune(cx, &letter_kind, "createdAt", clock_now() - MAIL_KEPT);
}

static const struct fail *
put(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct mail_event *mail = event->data;
	struct letter *l = rec;

	(void)cx;
	if (*url == '\0' || l->head.rev != 0)
		return STORE_KEEP;
	memcpy(l->user_id, mail->user_id, ID_SIZE);
	memcpy(l->order_id, mail->order_id, ID_SIZE);
	l->letter = mail->letter;
	l->title = mail->title;
	l->amount = mail->amount;
	l->at = mail->at;
	l->status = QUEUED;
	l->created_at = l->next_at = clock_now();
	return NULL;
}

const struct hears mailer_hears[] = {
	{EVENT_MAIL_SEND, &letter_kind, NULL, put, &mailer_sending},
	{0},
};

const char *
mailer_open(void)
{
	if (*url == '\0')
		return NULL;
	if (strncmp(url, "smtp://", 7) != 0 && strncmp(url, "smtps://", 8) != 0)
		return "SMTP_URL is not smtp://HOST or smtps://HOST";
	if (!account_email_valid(&from))
		return "SMTP_FROM is no e-mail address";
	return curl_global_init(CURL_GLOBAL_DEFAULT) == 0
		       ? NULL
		       : "libcurl can't start";
}

void
mailer_close(void)
{
	if (*url != '\0')
		curl_global_cleanup();
}

/* --- what a letter says -------------------------------------------------- */

/* {title}, {amount}, {number}, {link} and {at} stand for what they say. */
static const struct {
	const char *letter, *subject, *body;
} letters[] = {
	{MAIL_RECEIPT, "Receipt for {title}",
	 "Thank you for buying {title} for {amount}.\n\n"
	 "Receipt R-{number}. What you bought is in your library:\n{link}\n"},
	{MAIL_SALE, "Sold: {title}", "{title} was sold for {amount}.\n"},
	{MAIL_REFUND, "Refund for {title}",
	 "Your order of {title} was refunded: {amount} are on their way back "
	 "to you.\nReceipt R-{number}.\n"},
	{MAIL_SALE_REFUNDED, "Refunded: {title}",
	 "The sale of {title} was undone, and {amount} were given back to the "
	 "buyer.\n"},
	{MAIL_LAPSING, "{title} is reserved for you until {at}",
	 "You have {title} reserved, but it is not paid yet. At {at} it is "
	 "free for others again.\n\nPay now: {link}\n"},
};
#define LETTERS (sizeof(letters) / sizeof(letters[0]))

static const char *
value_of(struct context *cx, const struct letter *l, const char *name,
	 size_t len)
{
	struct arena *a = cx->arena;

	if (strncmp(name, "title", len) == 0)
		return l->title ? l->title : "";
	if (strncmp(name, "amount", len) == 0)
		return arena_printf(a, "$%lld.%02lld",
				    (long long)l->amount / 100,
				    (long long)l->amount % 100);
	if (strncmp(name, "number", len) == 0)
		return l->order_id;
	if (strncmp(name, "at", len) == 0)
		return clock_format(a, l->at);
	return arena_printf(a, "%s/orders/%s", cx->service->base_url,
			    l->order_id);
}

static const char *
fill_in(struct context *cx, const struct letter *l, const char *text)
{
	const char *out = "";

	while (*text != '\0') {
		size_t plain = strcspn(text, "{"), name;

		out = arena_printf(cx->arena, "%s%.*s", out, (int)plain, text);
		text += plain;
		if (*text == '\0')
			break;
		name = strcspn(++text, "}");
		out = arena_printf(cx->arena, "%s%s", out,
				   value_of(cx, l, text, name));
		text += name + 1;
	}
	return out;
}

/* Base64 in lines that e-mail allows; each stands for itself when something
 * stands before it. */
static const char *
base64(struct arena *a, const char *s, size_t len, size_t bytes_a_line,
       const char *before, const char *after)
{
	const char *out = "";

	for (size_t i = 0; i < len;) {
		char line[128];
		size_t n = len - i < bytes_a_line ? len - i : bytes_a_line;

		/* Not in the middle of a character. */
		while (*before != '\0' && i + n < len && n > 1 &&
		       ((unsigned char)s[i + n] & 0xC0) == 0x80)
			n--;
		sodium_bin2base64(line, sizeof(line),
				  (const unsigned char *)s + i, n,
				  sodium_base64_VARIANT_ORIGINAL);
		out = arena_printf(a, "%s%s%s%s", out, before, line, after);
		i += n;
	}
	return out;
}

/* A title may hold anything: encoded (RFC 2047), it ends no header. */
static const char *
message(struct context *cx, const struct letter *l, const char *to, size_t kind)
{
	struct arena *a = cx->arena;
	const char *subject = fill_in(cx, l, letters[kind].subject);
	const char *body = fill_in(cx, l, letters[kind].body);
	const char *host = strchr(from, '@') + 1;
	time_t now = (time_t)(clock_now() / 1000);
	char date[64];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	return arena_printf(
		a,
		"Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nSubject:%s"
		"Message-ID: <%s@%s>\r\nAuto-Submitted: auto-generated\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n%s",
		date, from, to,
		base64(a, subject, strlen(subject), 42, " =?utf-8?B?",
		       "?=\r\n"),
		l->head.id, host,
		base64(a, body, strlen(body), 57, "", "\r\n"));
}

/* --- sending ------------------------------------------------------------- */

struct upload {
	const char *at;
	size_t left;
};

static size_t
give(char *to, size_t size, size_t n, void *closure)
{
	struct upload *u = closure;
	size_t len = size * n < u->left ? size * n : u->left;

	memcpy(to, u->at, len);
	u->at += len;
	u->left -= len;
	return len;
}

static bool
is_loopback(void)
{
	const char *host = strstr(url, "://") + 3;

	return strncmp(host, "127.0.0.1", 9) == 0 ||
	       strncmp(host, "localhost", 9) == 0 ||
	       strncmp(host, "[::1]", 5) == 0;
}

/* Returns the server's answer: 250 when it has taken the letter, 0 when none
 * came. */
static long
smtp(struct context *cx, const char *to, const char *text,
     const char **ret_error)
{
	CURL *curl = curl_easy_init();
	struct upload upload = {text, strlen(text)};
	struct curl_slist *rcpt;
	CURLcode code;
	long status = 0;

	rcpt = curl_slist_append(NULL, arena_printf(cx->arena, "<%s>", to));
	if (curl == NULL || rcpt == NULL) {
		curl_slist_free_all(rcpt);
		curl_easy_cleanup(curl);
		*ret_error = "no memory";
		return 0;
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_USE_SSL,
			 is_loopback() ? (long)CURLUSESSL_TRY
				       : (long)CURLUSESSL_ALL);
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM,
			 arena_printf(cx->arena, "<%s>", from));
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, rcpt);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
	curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)SMTP_TIMEOUT);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	*ret_error = curl_easy_strerror(code);
	curl_slist_free_all(rcpt);
	curl_easy_cleanup(curl);
	return code == CURLE_OK		       ? 250
	       : status >= 500 && status < 600 ? status
					       : 0;
}

static const struct fail taken = {.name = "taken"};

/* It is this try's for so long, and another's thereafter. */
static const struct fail *
claim(struct context *cx, void *rec, const void *arg)
{
	struct letter *l = rec;

	(void)cx;
	(void)arg;
	if (strcmp(l->status, QUEUED) != 0 || l->next_at > clock_now())
		return &taken;
	l->next_at = clock_now() + LEASE;
	l->tries++;
	return NULL;
}

static const struct fail *
settle(struct context *cx, void *rec, const void *arg)
{
	struct letter *l = rec;
	int64_t wait = AGAIN_MIN;

	(void)cx;
	l->status = arg;
	for (int64_t i = 1; i < l->tries && wait < AGAIN_MAX; i++)
		wait *= 2;
	l->next_at = clock_now() + wait;
	return NULL;
}

/* What becomes of the letter now. */
static const char *
try_to_send(struct context *cx, const struct letter *l)
{
	const char *error = "";
	struct account account;
	const struct fail *fail;
	size_t kind = 0;
	long status;

	while (kind < LETTERS && strcmp(letters[kind].letter, l->letter) != 0)
		kind++;
	fail = store_get(cx, &user_kind, l->user_id, &account);
	if (fail != NULL && fail->status != 404)
		return QUEUED;
	/* Whoever has left, and what is too late, gets no letter. */
	if (kind == LETTERS || fail != NULL ||
	    !account_email_valid(&account.email) ||
	    (l->at != 0 && clock_now() >= l->at) ||
	    clock_now() - l->created_at > GIVE_UP)
		return DROPPED;
	status = smtp(cx, account.email, message(cx, l, account.email, kind),
		      &error);
	if (status == 250)
		return SENT;
	LOG(LOG_WARN, "letter not sent", LOG_TEXT("letter", l->head.id),
	    LOG_NUMBER("status", status), LOG_TEXT("cause", error));
	return status >= 500 ? DROPPED : QUEUED;
}

static void
send_all(struct context *cx)
{
	bson_t *filter, before;
	struct letter *l;
	size_t n;
	void *found;

	if (*url == '\0')
		return;
	filter = bson_new();
	BSON_APPEND_UTF8(filter, "status", QUEUED);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "nextAt", &before);
	BSON_APPEND_DATE_TIME(&before, "$lte", clock_now());
	bson_append_document_end(filter, &before);
	if (store_find(cx, &letter_kind, filter, "nextAt", SEND_LIMIT, &found,
		       &n) != NULL)
		return;
	l = found;
	for (size_t i = 0; i < n; i++) {
		struct letter now;
		const char *status;

		if (store_change(cx, &letter_kind, l[i].head.id, claim, NULL,
				 &now) != NULL)
			continue;
		status = try_to_send(cx, &now);
		if (store_change(cx, &letter_kind, l[i].head.id, settle, status,
				 &now) != NULL)
			return;
		/* A server that is away is away for the others too. */
		if (strcmp(status, QUEUED) == 0)
			return;
	}
	if (n == SEND_LIMIT)
		task_wake(&mailer_sending);
}

struct task mailer_sending = {
	.name = "mail", .every = SEND_EVERY, .run = send_all};
