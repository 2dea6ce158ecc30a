/* test-stuff.c: stuff over its own socket and the bus.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "events.h"
#include "flow.h"
#include "forge.h"
#include "misuse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define UNKNOWN "/api/stuff/0123456789abcdef01234567"

static struct buyer ann, bob;

static const struct answer *
call(const char *method, const char *path, const char *body,
     const struct buyer *by)
{
	return fcgi_call("stuff", method, path, body, by ? by->token : NULL);
}

static const struct answer *
create(const char *title, const char *description, int64_t price,
       const struct buyer *by)
{
	char body[65536];

	snprintf(body, sizeof(body),
		 "{\"title\":\"%s\",\"description\":\"%s\",\"price\":%lld}",
		 title, description, (long long)price);
	return call("POST", "/api/stuff", body, by);
}

/* The path of a new listing, to be freed. */
static char *
new_listing(const char *title, int64_t price, const struct buyer *by)
{
	const struct answer *a = create(title, "", price, by);

	EXPECT(a, 201);
	return text("/api/stuff/%s", answer_text(a, "id"));
}

static const char *
id_in(const char *path)
{
	return path + strlen("/api/stuff/");
}

/* With a header, as "HTTP_IF_MATCH=\"1\"". */
static const struct answer *
edit(const char *path, const char *body, const struct buyer *by,
     const char *header)
{
	char script[256], cookie[1200], length[64];
	const char *params[] = {"REQUEST_METHOD=PUT",
				"CONTENT_TYPE=application/json",
				script,
				cookie,
				length,
				header,
				NULL};

	snprintf(script, sizeof(script), "SCRIPT_NAME=%s", path);
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=__Host-session=%s",
		 by->token);
	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu", strlen(body));
	return fcgi_ask("stuff", params, body, strlen(body));
}

/* Checks what GET path tells. */
#define EXPECT_STUFF(path, version, status) \
	expect_stuff(path, version, status, __FILE__, __LINE__)

static void
expect_stuff(const char *path, int64_t version, const char *status,
	     const char *file, int line)
{
	const struct answer *a = call("GET", path, NULL, &ann);

	tap_int(a->status, 200, "status", file, line);
	tap_int(answer_int(a, "version"), version, "version", file, line);
	tap_string(answer_text(a, "status"), status, "listing", file, line);
}

static void
test_create(void)
{
	const struct answer *a = call(
		"POST", "/api/stuff",
		"{\"title\":\" Analysis I \\n\",\"description\":\" of 2026\","
		"\"price\":550,\"id\":\"" FORGE_ID "\",\"userId\":\"" FORGE_ID
		"\",\"orderId\":\"" FORGE_ID "\",\"status\":\"sold\","
		"\"version\":9,\"currency\":\"eur\",\"createdAt\":0,"
		"\"file\":\"x\"}",
		&ann);
	char *path, *body;

	EXPECT(a, 201);
	TAP_STRING(names_of(a),
		   "id version title description price currency userId "
		   "orderId status file createdAt");
	CU_ASSERT_TRUE(id_valid(answer_text(a, "id")));
	CU_ASSERT_STRING_NOT_EQUAL(answer_text(a, "id"), FORGE_ID);
	TAP_INT(answer_int(a, "version"), 1);
	TAP_STRING(answer_text(a, "title"), "Analysis I");
	TAP_STRING(answer_text(a, "description"), " of 2026");
	TAP_INT(answer_int(a, "price"), 550);
	TAP_STRING(answer_text(a, "currency"), "usd");
	TAP_STRING(answer_text(a, "userId"), ann.id);
	TAP_STRING(answer_text(a, "orderId"), NULL);
	TAP_STRING(answer_text(a, "status"), "available");
	TAP_STRING(answer_header(a, "ETag"), "\"1\"");
	path = text("/api/stuff/%s", answer_text(a, "id"));
	TAP_STRING(answer_header(a, "Location"), path);
	body = strdup(a->body);

	a = call("GET", path, NULL, NULL);
	EXPECT(a, 200);
	TAP_STRING(a->body, body);
	TAP_STRING(answer_header(a, "ETag"), "\"1\"");
	a = call("HEAD", path, NULL, NULL);
	EXPECT(a, 200);
	TAP_INT(a->len, 0);
	TAP_INT(strtoul(answer_header(a, "Content-Length"), NULL, 10),
		strlen(body));
	free(body);
	free(path);

	EXPECT_ERROR(call("POST", "/api/stuff",
			  "{\"title\":\"a\",\"price\":50}", NULL),
		     401, "Not authorized");
}

/* Bodies of a listing, good or with the fields that are bad. */
static void
test_fields(void)
{
	static const struct {
		const char *body, *bad;
	} rows[] = {
		{"{\"title\":\"a\",\"price\":0}", NULL},
		{"{\"title\":\"a\",\"price\":50}", NULL},
		{"{\"title\":\"a\",\"price\":10000000}", NULL},
		{"{\"title\":\"a\",\"price\":0,\"description\":null}", NULL},
		{"{\"title\":\"<b>&'\\\"\xf0\x9f\x93\x9a\",\"price\":0}", NULL},
		{"{\"title\":1,\"title\":\"a\",\"price\":0}", NULL},
		{"{}", "title price"},
		{"{\"title\":null,\"price\":null}", "title price"},
		{"{\"title\":\"\",\"price\":1,\"description\":1}",
		 "title description price"},
		{"{\"title\":\"  \\n\",\"price\":0}", "title"},
		{"{\"title\":12,\"price\":0}", "title"},
		{"{\"title\":true,\"price\":0}", "title"},
		{"{\"title\":[\"a\"],\"price\":0}", "title"},
		{"{\"title\":{\"$gt\":\"\"},\"price\":0}", "title"},
		{"{\"title\":\"a\\u0000b\",\"price\":0}", "title"},
		{"{\"title\":\"a\",\"price\":0,\"description\":\"\\u0000\"}",
		 "description"},
		{"{\"title\":\"a\",\"price\":0,\"description\":{}}",
		 "description"},
		{"{\"title\":\"a\",\"price\":49}", "price"},
		{"{\"title\":\"a\",\"price\":10000001}", "price"},
		{"{\"title\":\"a\",\"price\":-1}", "price"},
		{"{\"title\":\"a\",\"price\":-50}", "price"},
		{"{\"title\":\"a\",\"price\":50.0}", "price"},
		{"{\"title\":\"a\",\"price\":50.5}", "price"},
		{"{\"title\":\"a\",\"price\":5e1}", "price"},
		{"{\"title\":\"a\",\"price\":1e400}", "price"},
		{"{\"title\":\"a\",\"price\":-1e400}", "price"},
		{"{\"title\":\"a\",\"price\":\"50\"}", "price"},
		{"{\"title\":\"a\",\"price\":\"12abc\"}", "price"},
		{"{\"title\":\"a\",\"price\":\"\"}", "price"},
		{"{\"title\":\"a\",\"price\":true}", "price"},
		{"{\"title\":\"a\",\"price\":[50]}", "price"},
		{"{\"title\":\"a\",\"price\":{\"$gt\":\"\"}}", "price"},
		{"{\"title\":\"a\",\"price\":9223372036854775807}", "price"},
		{"{\"title\":\"a\",\"price\":18446744073709551666}", "price"},
		{"{\"title\":\"a\",\"price\":99999999999999999999999}",
		 "price"},
		{"{\"title\":\"a\",\"price\":50,\"price\":1}", "price"},
	};
	char long_text[10002];
	int64_t before = db_count("stuff", "stuff", "{}"), made = 0;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer *a =
			call("POST", "/api/stuff", rows[i].body, &ann);

		if (rows[i].bad == NULL) {
			EXPECT(a, 201);
			made++;
		} else {
			EXPECT_FIELDS(a, rows[i].bad);
		}
	}
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[10001] = '\0';
	EXPECT_FIELDS(create(long_text + 10001 - 121, long_text, 0, &ann),
		      "title description");
	EXPECT(create(long_text + 10001 - 120, long_text + 1, 0, &ann), 201);
	TAP_INT(db_count("stuff", "stuff", "{}"), before + made + 1);
}

/* Characters count, not bytes. */
static void
test_long_texts(void)
{
	char title[121 * 4 + 1] = "", *description = calloc(10001, 4);

	for (int i = 0; i < 120; i++)
		strcat(title, "\xf0\x9f\x93\x9a");
	for (size_t i = 0; i < 10000; i++)
		memcpy(description + 3 * i, "\xe2\x82\xac", 3);
	EXPECT(create(title, description, 0, &ann), 201);
	strcat(title, "x");
	strcpy(description + 30000, "x");
	EXPECT_FIELDS(create(title, description, 0, &ann), "title description");
	free(description);
}

static void
test_show(void)
{
	EXPECT_ERROR(call("GET", UNKNOWN, NULL, NULL), 404, "Not Found");
	EXPECT_ERROR(call("PUT", UNKNOWN, "{}", &ann), 404, "Not Found");
	EXPECT_ERROR(call("DELETE", UNKNOWN, NULL, &ann), 404, "Not Found");
	EXPECT_ERROR(call("GET", "/api/stuff/x", NULL, NULL), 404, "Not Found");
}

static void
test_edit(void)
{
	char *path = new_listing("before", 500, &ann);
	const struct answer *a;

	/* Any subset. */
	a = call("PUT", path, "{\"title\":\" after \"}", &ann);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "title"), "after");
	TAP_INT(answer_int(a, "price"), 500);
	TAP_INT(answer_int(a, "version"), 2);
	TAP_STRING(answer_header(a, "ETag"), "\"2\"");
	a = call("PUT", path, "{\"price\":0,\"title\":null}", &ann);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "title"), "after");
	TAP_INT(answer_int(a, "price"), 0);
	TAP_INT(answer_int(a, "version"), 3);
	a = call("PUT", path, "{\"description\":\"x\",\"price\":700}", &ann);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "description"), "x");
	a = call("PUT", path, "{\"description\":\"\"}", &ann);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "description"), "");
	TAP_INT(answer_int(a, "price"), 700);
	TAP_INT(answer_int(a, "version"), 5);

	/* Nothing changes: no event, no version. */
	a = call("PUT", path, "{}", &ann);
	EXPECT(a, 200);
	TAP_INT(answer_int(a, "version"), 5);
	a = call("PUT", path,
		 "{\"userId\":\"" FORGE_ID "\",\"status\":\"sold\","
		 "\"version\":9}",
		 &ann);
	EXPECT(a, 200);
	EXPECT_STUFF(path, 5, "available");

	/* All or nothing. */
	EXPECT_FIELDS(call("PUT", path, "{\"title\":\"new\",\"price\":1}",
			   &ann),
		      "price");
	EXPECT_FIELDS(call("PUT", path,
			   "{\"title\":\"\",\"description\":1,\"price\":1}",
			   &ann),
		      "title description price");
	a = call("GET", path, NULL, NULL);
	TAP_STRING(answer_text(a, "title"), "after");
	TAP_INT(answer_int(a, "version"), 5);

	EXPECT_ERROR(call("PUT", path, "{\"title\":\"x\"}", NULL), 401,
		     "Not authorized");
	EXPECT_ERROR(call("PUT", path, "{\"title\":\"x\"}", &bob), 403,
		     "Only its seller may edit it");
	EXPECT_ERROR(call("PUT", path, NULL, &ann), 400,
		     "Content-Type must be application/json");
	EXPECT_STUFF(path, 5, "available");
	free(path);
}

static void
test_if_match(void)
{
	static const struct {
		const char *header;
		int status;
	} rows[] = {
		{NULL, 200}, /* to version 2 */
		{"HTTP_IF_MATCH=\"2\"", 200},
		{"HTTP_IF_MATCH=\"2\"", 409}, /* it is 3 now */
		{"HTTP_IF_MATCH=\"4\"", 409},
		{"HTTP_IF_MATCH=\"0\"", 409},
		{"HTTP_IF_MATCH=\"03\"", 200},
		{"HTTP_IF_MATCH=*", 200},
		{"HTTP_IF_MATCH=\"9223372036854775808\"", 409},
		{"HTTP_IF_MATCH=\"99999999999999999999\"", 409},
		{"HTTP_IF_MATCH=", 200},
		{"HTTP_IF_MATCH=6", 400},
		{"HTTP_IF_MATCH=\"6", 400},
		{"HTTP_IF_MATCH=\"\"", 400},
		{"HTTP_IF_MATCH=\"-1\"", 400},
		{"HTTP_IF_MATCH=\"+6\"", 400},
		{"HTTP_IF_MATCH=\" 6\"", 400},
		{"HTTP_IF_MATCH=\"6x\"", 400},
		{"HTTP_IF_MATCH=\"12abc\"", 400},
		{"HTTP_IF_MATCH=W/\"6\"", 400},
		{"HTTP_IF_MATCH=\"6\", \"7\"", 400},
		{"HTTP_IF_MATCH=NaN", 400},
	};
	char *path = new_listing("matched", 500, &ann), body[64];
	int64_t version = 1;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer *a;

		snprintf(body, sizeof(body), "{\"title\":\"%zu\"}", i);
		a = edit(path, body, &ann, rows[i].header);
		if (a->status != rows[i].status)
			tap_note("%s", rows[i].header);
		if (rows[i].status == 409)
			EXPECT_ERROR(a, 409,
				     "The stuff has changed since it "
				     "was read");
		else if (rows[i].status == 400)
			EXPECT_ERROR(a, 400, "Bad If-Match");
		else
			EXPECT(a, 200);
		if (rows[i].status == 200)
			version++;
		EXPECT_STUFF(path, version, "available");
	}
	free(path);
}

/* Sixteen edit what they have all read: one was first. */
struct editing {
	const char *path;
	int status[16];
};

static void
edit_one(int i, void *arg)
{
	struct editing *e = arg;
	char body[64];

	snprintf(body, sizeof(body), "{\"title\":\"by %d\"}", i);
	e->status[i] = edit(e->path, body, &ann, "HTTP_IF_MATCH=\"1\"")->status;
}

static void
test_edit_race(void)
{
	char *path = new_listing("raced", 500, &ann);
	struct editing e = {.path = path};
	int won = 0, lost = 0;

	together(16, edit_one, &e);
	for (int i = 0; i < 16; i++) {
		won += e.status[i] == 200;
		lost += e.status[i] == 409;
	}
	TAP_INT(won, 1);
	TAP_INT(lost, 15);
	EXPECT_STUFF(path, 2, "available");
	free(path);
}

/* A listing that one edits while others read it. */
static struct {
	char *path;
	atomic_llong acknowledged; /* the version that its seller has read */
	atomic_bool done;
	atomic_int reads, stale, bad;
} busy;

static void
edit_or_read(int i, void *arg)
{
	int n = rounds(30);
	char body[64];

	(void)arg;
	for (int e = 1; i == 0 && e <= n; e++) {
		const struct answer *a;

		snprintf(body, sizeof(body), "{\"title\":\"Edition %d\"}", e);
		a = call("PUT", busy.path, body, &ann);
		busy.bad += a->status != 200;
		busy.acknowledged = answer_int(a, "version");
		a = call("GET", busy.path, NULL, NULL);
		busy.stale += answer_int(a, "version") < busy.acknowledged;
	}
	if (i == 0)
		busy.done = true;
	while (!busy.done) {
		int64_t before = busy.acknowledged, version;
		const struct answer *a;
		char etag[32];

		a = call("GET", i % 2 ? busy.path : "/api/stuff?limit=1", NULL,
			 NULL);
		version = answer_int(a, i % 2 ? "version" : "0.version");
		busy.reads++;
		busy.stale += version < before;
		snprintf(etag, sizeof(etag), "\"%lld\"", (long long)version);
		busy.bad +=
			a->status != 200 ||
			(i % 2 && strcmp(answer_header(a, "ETag"), etag) != 0);
	}
}

/* They share answers; but none that is older than their question. */
static void
test_read_by_many(void)
{
	busy.path = new_listing("Edition 0", 500, &ann);
	/* So long an answer may get old. */
	stack_restart("stuff", "FAILPOINTS=shared=sleep:20");
	together(7, edit_or_read, NULL);
	tap_note("%d reads", (int)busy.reads);
	TAP_INT(busy.bad, 0);
	TAP_INT(busy.stale, 0);
	CU_ASSERT_TRUE(busy.reads > 0);
	stack_restart("stuff", NULL);
	free(busy.path);
}

static void
test_remove(void)
{
	char *path = new_listing("gone", 500, &ann);
	struct buyer admin = ann;
	struct arena *arena = arena_new();
	const struct answer *a;

	EXPECT_ERROR(call("DELETE", path, NULL, NULL), 401, "Not authorized");
	EXPECT_ERROR(call("DELETE", path, NULL, &bob), 403,
		     "Only its seller may remove it");
	EXPECT_STUFF(path, 1, "available");
	a = call("DELETE", path, NULL, &ann);
	EXPECT(a, 204);
	TAP_INT(a->len, 0);
	TAP_STRING(answer_header(a, "Content-Type"), NULL);
	/* It is there for its seller, and nothing can be done with it. */
	EXPECT_STUFF(path, 2, "removed");
	a = call("GET", path, NULL, NULL);
	EXPECT_ERROR(a, 404, "Not Found");
	TAP_STRING(answer_header(a, "Stuff-Status"), "removed");
	EXPECT_ERROR(call("GET", path, NULL, &bob), 404, "Not Found");
	EXPECT_ERROR(call("DELETE", path, NULL, &ann), 404, "Not Found");
	EXPECT_ERROR(call("PUT", path, "{\"title\":\"x\"}", &ann), 404,
		     "Not Found");
	EXPECT_STUFF(path, 2, "removed");
	free(path);

	/* An admin may remove what others sell, but not edit it. */
	snprintf(admin.token, sizeof(admin.token), "%s",
		 forge(arena, FORGE_HS256,
		       forge_claims(arena, "role", "\"role\":\"admin\""),
		       HMAC_256, stack("JWT_KEY")));
	path = new_listing("bad", 500, &bob);
	EXPECT(call("PUT", path, "{\"title\":\"x\"}", &admin), 403);
	EXPECT(call("DELETE", path, NULL, &admin), 204);
	EXPECT(call("GET", path, NULL, &admin), 200);
	free(path);
	arena_free(arena);
}

/* --- lists --------------------------------------------------------------- */

/* The titles of a list, joined: "c b a". */
static const char *
titles(const char *query)
{
	static char joined[4096];
	char path[2048], member[32];
	const struct answer *a;
	const char *title;

	snprintf(path, sizeof(path), "/api/stuff?%s", query);
	a = call("GET", path, NULL, NULL);
	EXPECT(a, 200);
	*joined = '\0';
	for (int i = 0; i < 1000; i++) {
		snprintf(member, sizeof(member), "%d.title", i);
		title = answer_text(a, member);
		if (title == NULL)
			break;
		if (i > 0)
			strcat(joined, " ");
		strcat(joined, title);
	}
	return joined;
}

static void
test_list(void)
{
	static const struct {
		const char *query, *titles;
	} rows[] = {
		{"", "e d c b a"},
		{"min=0", "e d c b a"},
		{"min=1", "e d c b"},
		{"min=100&max=200", "c b"},
		{"min=101&max=199", ""},
		{"min=200&max=100", ""},
		{"max=0", "a"},
		{"max=100", "b a"},
		{"max=10000000", "e d c b a"},
		{"min=&max=", "e d c b a"},
		{"limit=100", "e d c b a"},
		{"limit=1", "e"},
		{"limit=2", "e d"},
		{"status=available", "e d c b a"},
		{"status=sold", ""},
		{"status=reserved", ""},
		{"status=removed", "x"},
		{"unknown=1", "e d c b a"},
		{"q=one", "c"}, /* a description */
		{"q=ONE", "c"},
		{"q=zzz", ""},
		{"q=+c+", "c"},
		{"q=%63", "c"},
		{"q=&limit=", "e d c b a"},
	};
	static const int prices[] = {0, 100, 200, 300, 400};
	struct buyer seller;
	char *path, query[512], title[2] = "a";
	const struct answer *a;

	buyer_make(&seller);
	for (size_t i = 0; i < COUNT(prices); i++, title[0]++)
		EXPECT(create(title, i == 2 ? "One more" : "", prices[i],
			      &seller),
		       201);
	path = new_listing("x", 100, &seller);
	EXPECT(call("DELETE", path, NULL, &seller), 204);
	free(path);
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(query, sizeof(query), "seller=%s&%s", seller.id,
			 rows[i].query);
		if (strcmp(titles(query), rows[i].titles) != 0)
			tap_note("%s", query);
		TAP_STRING(titles(query), rows[i].titles);
	}
	snprintf(query, sizeof(query), "/api/stuff?seller=%s", seller.id);
	a = call("GET", query, NULL, NULL);
	TAP_STRING(answer_header(a, "Link"), NULL);
	TAP_STRING(answer_text(a, "0.userId"), seller.id);
	a = call("HEAD", query, NULL, NULL);
	EXPECT(a, 200);
	TAP_INT(a->len, 0);
	CU_ASSERT_PTR_NULL(strchr(titles("seller=" FORGE_ID), 'a'));
	TAP_STRING(titles("seller=" FORGE_ID), "");
}

static void
test_bad_queries(void)
{
	static const struct {
		const char *query, *fields;
	} rows[] = {
		{"limit=0", "limit"},
		{"limit=-1", "limit"},
		{"limit=101", "limit"},
		{"limit=12abc", "limit"},
		{"limit=1.0", "limit"},
		{"limit=1e400", "limit"},
		{"limit=NaN", "limit"},
		{"limit=9223372036854775807", "limit"},
		{"limit=5&limit=6", "limit"},
		{"cursor=x", "cursor"},
		{"cursor=0123456789abcdef0123456", "cursor"},
		{"cursor=0123456789abcdef012345678", "cursor"},
		{"cursor=%7B%22$gt%22:%22%22%7D", "cursor"},
		{"seller=x", "seller"},
		{"seller=%00", "seller"},
		{"min=-1", "min"},
		{"max=-1", "max"},
		{"min=10000001", "min"},
		{"min=99999999999999999999", "min"},
		{"status=x", "status"},
		{"status=Sold", "status"},
		{"status=sold&status=available", "status"},
		{"q=%ff", "q"},
		{"q=a%00", "q"},
		{"q=%", "q"},
		{"min=x&max=x&limit=x&status=x&seller=x&cursor=x",
		 "min max seller status limit cursor"},
	};
	char path[512];

	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(path, sizeof(path), "/api/stuff?%s", rows[i].query);
		EXPECT_FIELDS(call("GET", path, NULL, NULL), rows[i].fields);
	}
	memset(path, 'x', sizeof(path));
	memcpy(path, "/api/stuff?q=", 13);
	path[13 + 101] = '\0';
	EXPECT_FIELDS(call("GET", path, NULL, NULL), "q");
	path[13 + 100] = '\0';
	EXPECT(call("GET", path, NULL, NULL), 200);
}

/* What is searched is text, whatever it means in a regular expression. */
static void
test_literal(void)
{
	static const char special[] = "\\^$.|?*+()[]{}-/#&%=~!@'\"<>,;:_` ";
	struct buyer seller;
	char query[512], escaped[8];

	buyer_make(&seller);
	EXPECT(create("plain", "nothing here", 0, &seller), 201);
	for (const char *p = special; *p != '\0' && *p != ' '; p++) {
		bool quote = *p == '"' || *p == '\\';
		char *title = text("x%s%cy", quote ? "\\" : "", *p);

		EXPECT(create(title, "", 0, &seller), 201);
		free(title);
	}
	for (const char *p = special; *p != '\0' && *p != ' '; p++) {
		char expected[4] = {'x', *p, 'y', '\0'};

		snprintf(escaped, sizeof(escaped), "%%%02x", (unsigned char)*p);
		snprintf(query, sizeof(query), "seller=%s&limit=100&q=%s",
			 seller.id, escaped);
		TAP_STRING(titles(query), expected);
		snprintf(query, sizeof(query), "seller=%s&limit=100&q=x%sy",
			 seller.id, escaped);
		TAP_STRING(titles(query), expected);
	}
	/* As expressions these would find "plain". */
	for (int i = 0; i < 6; i++) {
		static const char *const expressions[] = {
			"pl.in",   "p*lain",	   "%5ep%5cw%2b%24",
			"(plain)", "pl%5bab%5din", "plain%7cxxx"};

		snprintf(query, sizeof(query), "seller=%s&q=%s", seller.id,
			 expressions[i]);
		TAP_STRING(titles(query), "");
	}
	/* One that takes a backtracking matcher for ever. */
	snprintf(query, sizeof(query), "seller=%s&q=(n%%2b)%%2b%%24",
		 seller.id);
	TAP_STRING(titles(query), "");
}

/* The titles of all pages of a list, of two each. */
static const char *
paged_titles(const char *query)
{
	static char joined[4096];
	char path[512], member[32];

	*joined = '\0';
	snprintf(path, sizeof(path), "/api/stuff?limit=2&%s", query);
	for (int pages = 0; *path != '\0' && pages < 50; pages++) {
		const struct answer *a = call("GET", path, NULL, NULL);
		const char *link;

		EXPECT(a, 200);
		for (size_t i = 0; i < json_object_array_length(a->json); i++) {
			snprintf(member, sizeof(member), "%zu.title", i);
			strcat(joined, answer_text(a, member));
			strcat(joined, " ");
		}
		link = answer_header(a, "Link");
		snprintf(path, sizeof(path), "%.*s",
			 link ? (int)(strchr(link, '>') - link - 1) : 0,
			 link ? link + 1 : "");
	}
	return joined;
}

/* Some prices are the same: then the newest is first. */
static void
test_sort(void)
{
	static const struct {
		const char *query, *titles;
	} rows[] = {
		{"sort=new", "f e d c b a "},
		{"sort=old", "a b c d e f "},
		{"sort=price", "d e c b f a "},
		{"sort=-price", "a f c b e d "},
		{"sort=price&q=word", "d c f "},
		{"sort=-price&q=word", "f c d "},
		{"sort=-price&max=300", "c b e d "},
	};
	static const int prices[] = {500, 200, 200, 0, 100, 400};
	struct buyer seller;
	char title[2] = "a", query[256];
	const struct answer *a;

	buyer_make(&seller);
	for (size_t i = 0; i < COUNT(prices); i++, title[0]++)
		EXPECT(create(title, i == 2 || i == 3 || i == 5 ? "a word" : "",
			      prices[i], &seller),
		       201);
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(query, sizeof(query), "seller=%s&%s", seller.id,
			 rows[i].query);
		TAP_STRING(paged_titles(query), rows[i].titles);
	}
	snprintf(query, sizeof(query), "/api/stuff?seller=%s&brief=1",
		 seller.id);
	a = call("GET", query, NULL, NULL);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "0.title"), "f");
	TAP_STRING(answer_text(a, "0.description"), NULL);
	EXPECT_FIELDS(call("GET", "/api/stuff?sort=title&brief=2", NULL, NULL),
		      "sort brief");
	/* A cursor that names nothing that has a price. */
	EXPECT_FIELDS(call("GET", "/api/stuff?sort=price&cursor=" FORGE_ID,
			   NULL, NULL),
		      "cursor");
}

/* Every thousandth listing, oldest first. */
static void
test_marks(void)
{
	const struct answer *a = call("GET", "/api/stuff/marks", NULL, NULL);
	size_t before;
	char mark[ID_SIZE];

	EXPECT(a, 200);
	CU_ASSERT_FATAL(json_object_is_type(a->json, json_type_array));
	before = json_object_array_length(a->json);
	for (int i = 0; i < 1000; i++) {
		char id[ID_SIZE], *document;

		id_new(id);
		document = text("{\"_id\":{\"$oid\":\"%s\"},\"rev\":"
				"{\"$numberLong\":\"1\"},\"status\":"
				"\"available\",\"title\":\"m\",\"userId\":"
				"{\"$oid\":\"" FORGE_ID "\"}}",
				id);
		db_insert("stuff", "stuff", document);
		free(document);
	}
	a = call("GET", "/api/stuff/marks", NULL, NULL);
	EXPECT(a, 200);
	TAP_INT(json_object_array_length(a->json), before + 1);
	snprintf(mark, sizeof(mark), "%s",
		 json_object_get_string(
			 json_object_array_get_idx(a->json, before)));
	CU_ASSERT(id_valid(mark));
	/* It is not counted again for who asks again. */
	db_delete("stuff", "stuff", "{\"title\":\"m\"}");
	a = call("GET", "/api/stuff/marks", NULL, NULL);
	EXPECT(a, 200);
	TAP_INT(json_object_array_length(a->json), before + 1);
}

/* Follows Link headers from the first page to the last. */
static void
test_paging(void)
{
	struct buyer seller;
	char next[512], expected[16];
	int seen = 0, pages = 0;

	buyer_make(&seller);
	for (int i = 0; i < 45; i++) {
		char *title = text("n%d", i);

		EXPECT(create(title, "", 0, &seller), 201);
		free(title);
	}
	snprintf(next, sizeof(next), "/api/stuff?seller=%s", seller.id);
	for (int limit = 0; limit <= 7; limit += 7) {
		snprintf(next, sizeof(next), "/api/stuff?seller=%s%s",
			 seller.id, limit ? "&limit=7&q=N" : "");
		for (seen = pages = 0; *next != '\0' && pages < 50; pages++) {
			const struct answer *a = call("GET", next, NULL, NULL);
			const char *link = answer_header(a, "Link");
			size_t n = json_object_array_length(a->json);
			const char *end;

			TAP_INT(a->status, 200);
			for (size_t i = 0; i < n; i++, seen++) {
				char *member = text("%zu.title", i);

				snprintf(expected, sizeof(expected), "n%d",
					 44 - seen);
				TAP_STRING(answer_text(a, member), expected);
				free(member);
			}
			*next = '\0';
			if (link == NULL)
				break;
			TAP_INT(n, limit ? limit : 20);
			end = strstr(link, ">; rel=\"next\"");
			CU_ASSERT_TRUE_FATAL(*link == '<' && end != NULL);
			snprintf(next, sizeof(next), "%.*s",
				 (int)(end - link - 1), link + 1);
			/* A new one does not move the pages that follow. */
			EXPECT(create("new", "", 0, &bob), 201);
		}
		TAP_INT(seen, 45);
		TAP_INT(pages, limit ? 6 : 2);
	}
}

/* --- what it hears ------------------------------------------------------- */

/* Tells of an order on the bus, as orders would. */
static void
tell(const char *what, const char *order, int64_t version, const char *stuff)
{
	char *channel = text("order:%s", what);
	char *data = text("{\"id\":\"%s\",\"status\":\"%s\",\"userId\":\"%s\","
			  "\"expiresAt\":\"2026-01-31T09:00:00.000Z\","
			  "\"stuff\":{\"id\":\"%s\",\"title\":\"x\","
			  "\"price\":500}}",
			  order, what, bob.id, stuff);

	bus_put_event(channel, order, version, data);
	free(channel);
	free(data);
}

struct waiting {
	const char *path;
	int64_t version;
};

static bool
has_version(void *arg)
{
	const struct waiting *w = arg;

	return answer_int(call("GET", w->path, NULL, &ann), "version") >=
	       w->version;
}

#define AWAIT_STUFF(path, version, status)                           \
	do {                                                         \
		struct waiting w_ = {path, version};                 \
		CU_ASSERT_TRUE(eventually(20000, has_version, &w_)); \
		EXPECT_STUFF(path, version, status);                 \
	} while (0)

/* A listener has caught up when it has done what came last.  Events of one
 * subject are in order, those of others aren't: so one more of each is told. */
static void
settle(void)
{
	char *path = new_listing("settled", 500, &ann), order[ID_SIZE];

	id_new(order);
	tell("created", order, 1, id_in(path));
	AWAIT_STUFF(path, 2, "reserved");
	tell("cancelled", order, 2, id_in(path));
	AWAIT_STUFF(path, 3, "available");
	free(path);
}

static void
test_hold(void)
{
	char *path = new_listing("held", 500, &ann), order[ID_SIZE];
	char *sale;
	const struct answer *a;

	id_new(order);
	tell("created", order, 1, id_in(path));
	AWAIT_STUFF(path, 2, "reserved");
	a = call("GET", path, NULL, NULL);
	TAP_STRING(answer_text(a, "orderId"), order);
	TAP_STRING(answer_text(a, "heldUntil"), "2026-01-31T09:00:00.000Z");
	/* Reserved stuff can't change. */
	EXPECT_ERROR(call("PUT", path, "{\"price\":50}", &ann), 409,
		     "The stuff is reserved by an order");
	EXPECT_ERROR(edit(path, "{\"price\":50}", &ann, "HTTP_IF_MATCH=\"2\""),
		     409, "The stuff is reserved by an order");
	EXPECT_ERROR(call("DELETE", path, NULL, &ann), 409,
		     "The stuff is reserved by an order");
	EXPECT_ERROR(call("DELETE", path, NULL, &bob), 403,
		     "Only its seller may remove it");
	EXPECT_STUFF(path, 2, "reserved");

	tell("cancelled", order, 2, id_in(path));
	AWAIT_STUFF(path, 3, "available");
	a = call("GET", path, NULL, NULL);
	TAP_STRING(answer_text(a, "orderId"), NULL);
	TAP_STRING(answer_text(a, "heldUntil"), NULL);
	EXPECT(call("PUT", path, "{\"price\":60}", &ann), 200);

	id_new(order);
	tell("created", order, 1, id_in(path));
	AWAIT_STUFF(path, 5, "reserved");
	tell("completed", order, 2, id_in(path));
	AWAIT_STUFF(path, 6, "sold");
	TAP_STRING(answer_text(call("GET", path, NULL, NULL), "heldUntil"),
		   NULL);
	TAP_STRING(answer_text(call("GET", path, NULL, NULL), "orderId"),
		   order);
	EXPECT_ERROR(call("PUT", path, "{\"price\":50}", &ann), 409,
		     "The stuff is sold");
	EXPECT_ERROR(call("DELETE", path, NULL, &ann), 409,
		     "The stuff is sold");
	/* Lists hold it when they are asked for it. */
	sale = text("q=held&seller=%s", ann.id);
	TAP_STRING(titles(sale), "");
	free(sale);
	sale = text("q=held&seller=%s&status=sold", ann.id);
	TAP_STRING(titles(sale), "held");
	free(sale);

	/* The money could not be taken after all. */
	tell("cancelled", order, 3, id_in(path));
	AWAIT_STUFF(path, 7, "available");
	free(path);
}

static void
test_twice(void)
{
	char *path = new_listing("twice", 500, &ann), order[ID_SIZE];

	id_new(order);
	for (int i = 0; i < 3; i++)
		tell("created", order, 1, id_in(path));
	AWAIT_STUFF(path, 2, "reserved");
	for (int i = 0; i < 3; i++)
		tell("completed", order, 2, id_in(path));
	AWAIT_STUFF(path, 3, "sold");
	for (int i = 0; i < 3; i++)
		tell("created", order, 1, id_in(path));
	settle();
	EXPECT_STUFF(path, 3, "sold");
	free(path);
}

/* What is early waits for what comes before it. */
static void
test_out_of_order(void)
{
	char *path = new_listing("early", 500, &ann);
	char first[ID_SIZE], second[ID_SIZE];

	id_new(first);
	tell("cancelled", first, 2, id_in(path));
	settle();
	EXPECT_STUFF(path, 1, "available");
	tell("created", first, 1, id_in(path));
	AWAIT_STUFF(path, 3, "available");

	/* A second order's, before the first one's end is known: orders would
	 * not have let it in before that. */
	id_new(first);
	id_new(second);
	tell("created", first, 1, id_in(path));
	AWAIT_STUFF(path, 4, "reserved");
	tell("completed", second, 2, id_in(path));
	tell("created", second, 1, id_in(path));
	AWAIT_STUFF(path, 6, "sold");
	tell("cancelled", first, 2, id_in(path));
	settle();
	EXPECT_STUFF(path, 6, "sold");
	TAP_STRING(answer_text(call("GET", path, NULL, NULL), "orderId"),
		   second);

	/* One that ended long before, and was under way till now. */
	id_new(first);
	tell("created", first, 1, id_in(path));
	AWAIT_STUFF(path, 7, "sold");
	tell("cancelled", first, 2, id_in(path));
	AWAIT_STUFF(path, 8, "sold");
	TAP_STRING(answer_text(call("GET", path, NULL, NULL), "orderId"),
		   second);
	free(path);
}

/* An order that was too late for a listing that its seller has removed. */
static void
test_removed_first(void)
{
	char *path = new_listing("removed", 500, &ann), order[ID_SIZE];

	EXPECT(call("DELETE", path, NULL, &ann), 204);
	id_new(order);
	tell("created", order, 1, id_in(path));
	settle();
	EXPECT_STUFF(path, 2, "removed");
	tell("cancelled", order, 2, id_in(path));
	settle();
	EXPECT_STUFF(path, 2, "removed");
	free(path);
}

struct length {
	const char *channel;
	int64_t length;
};

static bool
is_as_long(void *arg)
{
	const struct length *l = arg;

	return channel_length(l->channel) >= l->length;
}

/* Waits for that many events on a channel, and for no more. */
static void
await_length(const char *channel, int64_t length)
{
	struct length l = {channel, length};

	CU_ASSERT_TRUE(eventually(20000, is_as_long, &l));
	TAP_INT(channel_length(channel), length);
}

static void
test_bad_events(void)
{
	static const char *const bad[] = {
		"",
		"x",
		"null",
		"[]",
		"{}",
		"\xff\xfe",
		"{\"id\":\"x\"}",
		"{\"id\":\"x\",\"type\":\"order:created\",\"subject\":"
		"\"" FORGE_ID "\",\"version\":0,\"time\":"
		"\"2026-01-31T09:00:00.000Z\",\"data\":{}}",
		"{\"id\":\"x\",\"type\":\"order:cancelled\",\"subject\":"
		"\"" FORGE_ID "\",\"version\":1,\"time\":"
		"\"2026-01-31T09:00:00.000Z\",\"data\":{}}",
	};
	int64_t before = channel_length("dead:letter");
	char order[ID_SIZE];

	for (size_t i = 0; i < COUNT(bad); i++)
		bus_put("order:created", bad[i]);
	/* All right, but of stuff that never was. */
	id_new(order);
	tell("created", order, 1, FORGE_ID);
	await_length("dead:letter", before + (int64_t)COUNT(bad) + 1);
	settle();
	await_length("dead:letter", before + (int64_t)COUNT(bad) + 1);
}

/* What the bus told of one listing, as often as it may: by version. */
#define VERSIONS 8

static struct {
	pthread_mutex_t lock;
	char subject[ID_SIZE];
	enum event_type types[VERSIONS];
	bool contradicted;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum bus_verdict
note_told(void *closure, const char *channel, const void *bytes, size_t len)
{
	struct arena *a = arena_new();
	struct event e;

	(void)closure;
	CU_ASSERT(event_read(a, channel, bytes, len, &e) == NULL);
	pthread_mutex_lock(&told.lock);
	if (strcmp(e.subject, told.subject) == 0 && e.version < VERSIONS) {
		enum event_type *type = &told.types[e.version];

		told.contradicted |= *type != EVENT_NONE && *type != e.type;
		*type = e.type;
	}
	pthread_mutex_unlock(&told.lock);
	arena_free(a);
	return BUS_DONE;
}

static enum event_type
told_as(int version)
{
	enum event_type type;

	pthread_mutex_lock(&told.lock);
	type = told.types[version];
	pthread_mutex_unlock(&told.lock);
	return type;
}

static bool
is_told(void *version)
{
	return told_as(*(int *)version) != EVENT_NONE;
}

/* Each change is told; what was asked for and refused is not. */
static void
test_tells(void)
{
	static const enum event_type want[VERSIONS] = {
		[1] = EVENT_STUFF_CREATED,
		[2] = EVENT_STUFF_UPDATED,
		[3] = EVENT_STUFF_REMOVED,
	};
	static const char *const channels[] = {"stuff:created", "stuff:updated",
					       "stuff:removed", NULL};
	struct bus *bus = bus_open(&(struct bus_options){
		.url = stack("NATS_URL"),
		.cluster = stack("NATS_CLUSTER_ID"),
		.client = "test-stuff-told",
		.group = "test-stuff-told",
		.channels = channels,
		.handler = note_told,
	});
	char *path = new_listing("told", 500, &ann);
	int last = 3;

	/* The group is new: it hears all from the beginning. */
	memcpy(told.subject, id_in(path), ID_SIZE);
	EXPECT(call("PUT", path, "{\"price\":1}", &ann), 400);
	EXPECT(call("PUT", path, "{\"price\":50}", &bob), 403);
	EXPECT(call("PUT", path, "{\"price\":50}", &ann), 200);
	EXPECT(call("DELETE", path, NULL, &ann), 204);
	EXPECT(call("PUT", path, "{\"price\":60}", &ann), 404);
	bus_start(bus);
	/* Each on a channel of its own, in whatever order. */
	for (int i = 1; i <= last; i++)
		CU_ASSERT(eventually(20000, is_told, &i));
	settle();
	bus_drain(bus); /* closed, it would close bus_put()'s as well */
	for (int i = 0; i < VERSIONS; i++)
		TAP_INT(told_as(i), want[i]);
	CU_ASSERT_FALSE(told.contradicted);
	free(path);
}

/* --- faults -------------------------------------------------------------- */

static bool
answers_again(void *arg)
{
	return call("GET", "/api/stuff", NULL, NULL)->status == 200 && !arg;
}

static void
test_database_down(void)
{
	char *path = new_listing("safe", 500, &ann);
	const struct answer *a;

	stack_kill("mongo", "STOP");
	a = call("GET", path, NULL, NULL);
	EXPECT_ERROR(a, 503, "Failed to connect to database");
	TAP_STRING(a->body, "{\"errors\":[{\"message\":\"Failed to connect "
			    "to database\"}]}");
	TAP_STRING(answer_header(a, "Retry-After"), "1");
	EXPECT_ERROR(call("GET", "/api/stuff", NULL, NULL), 503,
		     "Failed to connect to database");
	EXPECT_ERROR(create("lost", "", 0, &ann), 503,
		     "Failed to connect to database");
	/* What needs no database is answered. */
	EXPECT(call("GET", "/healthz", NULL, NULL), 200);
	EXPECT(call("GET", "/api/stuff/x", NULL, NULL), 404);
	EXPECT(call("POST", "/api/stuff", "{}", NULL), 401);
	EXPECT(call("POST", "/api/stuff", "{}", &ann), 400);
	a = call("GET", "/readyz", NULL, NULL);
	TAP_INT(a->status, 503);
	TAP_STRING(answer_text(a, "database"), "down");
	stack_kill("mongo", "CONT");
	CU_ASSERT_TRUE(eventually(20000, answers_again, NULL));
	EXPECT_STUFF(path, 1, "available");
	free(path);
}

static void
test_allow(void)
{
	static const struct {
		const char *method, *path, *allow;
	} rows[] = {
		{"PUT", "/api/stuff", "GET, HEAD, POST"},
		{"DELETE", "/api/stuff", "GET, HEAD, POST"},
		{"PATCH", "/api/stuff", "GET, HEAD, POST"},
		{"POST", UNKNOWN, "GET, HEAD, PUT, DELETE"},
		{"OPTIONS", UNKNOWN, "GET, HEAD, PUT, DELETE"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer *a =
			call(rows[i].method, rows[i].path, NULL, &ann);

		EXPECT_ERROR(a, 405, "Method Not Allowed");
		TAP_STRING(answer_header(a, "Allow"), rows[i].allow);
	}
}

static int64_t
count_stuff(void)
{
	return db_count("stuff", "stuff", "{}");
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"create", test_create},
		{"good and bad fields", test_fields},
		{"long texts", test_long_texts},
		{"what is not there", test_show},
		{"edit", test_edit},
		{"If-Match", test_if_match},
		{"an edit in sixteen threads", test_edit_race},
		{"an edit while many read", test_read_by_many},
		{"remove", test_remove},
		{"lists", test_list},
		{"bad queries", test_bad_queries},
		{"a search is literal", test_literal},
		{"sorting", test_sort},
		{"marks", test_marks},
		{"paging", test_paging},
		{"what is allowed", test_allow},
		{"orders hold, free and buy it", test_hold},
		{"events that come twice", test_twice},
		{"events out of order", test_out_of_order},
		{"an order for what was removed", test_removed_first},
		{"bad events are set aside", test_bad_events},
		{"what it tells", test_tells},
		{"the database does not answer", test_database_down},
		MISUSE_TESTS,
		{"forged tokens", try_tokens},
		{NULL},
	};

	static const char *const others[] = {"orders", "payments",
					     "expiration"};

	stack_up(NULL);
	/* The test tells of orders, and nobody else sets events aside. */
	for (size_t i = 0; i < COUNT(others); i++)
		stack_dev(NULL, (const char *[]){"kill", others[i], NULL});
	buyer_make(&ann);
	buyer_make(&bob);
	target = (struct target){
		.service = "stuff",
		.collection = "/api/stuff",
		.path = "/api/stuff",
		.body = "{\"title\":\"target\",\"price\":500}",
		.token = ann.token,
		.status = 201,
		.count = count_stuff,
	};
	return tap_run(argc, argv, tests);
}
