/* test-files.c: the file that is sold, through nginx: who gets it, in which
 * parts, and what is left when something breaks off.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "harness.h"
#include "token.h"
#include "traffic.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB (1 << 20)
#define SIZE (5 * MIB + 12345) /* of most files here: 21 pieces */
#define SWEPT 40000	       /* ms: leases and the sweep's own pace */
#define LEASE "FILE_LEASE_SECONDS=2"

static struct student *seller, *buyer, *other;

static char *
listing(void)
{
	const struct answer *a;

	if (seller == NULL) {
		seller = student_signed_up();
		buyer = student_signed_up();
		other = student_signed_up();
	}
	a = askf(seller, "POST", "/api/stuff",
		 "{\"title\":\"Notes\",\"price\":500}");

	TAP_INT(a->status, 201);
	return strdup(a->status == 201 ? answer_text(a, "id") : "0");
}

static const char *
path_of(const char *id)
{
	static _Thread_local char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s/file", id);
	return path;
}

static struct transfer
up(const char *id, uint64_t seed, int64_t size)
{
	static const char *const headers[] = {
		"Content-Type: application/pdf",
		"Content-Disposition: attachment; filename=\"notes.pdf\"",
		NULL};

	return (struct transfer){.method = "PUT",
				 .path = path_of(id),
				 .token = student_cookie(seller),
				 .headers = headers,
				 .seed = seed,
				 .size = size};
}

static void
put(const char *id, uint64_t seed, int64_t size)
{
	struct transfer t = up(id, seed, size);

	transfer_run(&t);
	TAP_INT(t.status, 200);
	if (t.status != 200)
		tap_note("PUT: %d %s", t.code, t.body);
}

static struct transfer
get(const char *id, const struct student *s, uint64_t seed)
{
	struct transfer t = {.method = "GET",
			     .path = path_of(id),
			     .token = s ? student_cookie(s) : NULL,
			     .seed = seed};

	transfer_run(&t);
	return t;
}

/* The listing has this file, byte by byte. */
static void
has(const char *id, uint64_t seed, int64_t size)
{
	struct transfer t = get(id, seller, seed);
	char tag[80];

	TAP_INT(t.status, 200);
	TAP_INT(t.received, size);
	CU_ASSERT(t.same);
	snprintf(tag, sizeof(tag), "\"%s\"", bytes_hash(seed, size));
	TAP_STRING(transfer_header(&t, "ETag"), tag);
}

static void
status_is(const char *id, const struct student *s, int status)
{
	struct transfer t = get(id, s, 0);

	TAP_INT(t.status, status);
	if (t.status != status)
		tap_note("%s", t.body);
}

static void
test_replace(void)
{
	char *id = listing();
	struct transfer t = up(id, 1, SIZE);
	const struct answer *a;

	status_is(id, seller, 404);
	transfer_run(&t);
	TAP_INT(t.status, 200);
	a = ask(seller, "GET", "/api/stuff?limit=1", NULL, NULL);
	TAP_STRING(answer_text(a, "0.file.name"), "notes.pdf");
	TAP_STRING(answer_text(a, "0.file.type"), "application/pdf");
	TAP_INT(answer_int(a, "0.file.size"), SIZE);
	TAP_STRING(answer_text(a, "0.file.sha256"), bytes_hash(1, SIZE));
	TAP_INT(answer_int(a, "0.version"), 2);
	CU_ASSERT(strstr(a->body, "fileId") == NULL);
	has(id, 1, SIZE);
	/* One byte, a whole piece, a byte more than a piece; and back. */
	put(id, 2, 1);
	has(id, 2, 1);
	put(id, 3, 261120);
	has(id, 3, 261120);
	put(id, 4, 261121);
	has(id, 4, 261121);
	put(id, 5, SIZE);
	has(id, 5, SIZE);
	CU_ASSERT(kept_clean(SWEPT));
	free(id);
}

static void
test_refused(void)
{
	static const char *const chunked[] = {"Transfer-Encoding: chunked",
					      NULL};
	static const char *const bad_name[] = {
		"Content-Disposition: attachment; filename=\"x", NULL};
	static const char *const cross[] = {"Origin: https://evil.example",
					    NULL};
	char *id = listing();
	const struct {
		const char *id;
		const struct student *s;
		const char *const *headers;
		int64_t size;
		int status;
	} rows[] = {
		{id, NULL, NULL, SIZE, 401},
		{id, other, NULL, SIZE, 403},
		{"000000000000000000000000", seller, NULL, SIZE, 404},
		{id, seller, NULL, 0, 400},
		{id, seller, NULL, 20 * MIB + 1, 413},
		{id, seller, chunked, SIZE, 411},
		{id, seller, bad_name, SIZE, 400},
		{id, seller, cross, SIZE, 403},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct student *s = rows[i].s;
		struct transfer t = up(rows[i].id, 1, rows[i].size);

		t.token = s != NULL ? student_cookie(s) : NULL;
		t.headers = rows[i].headers;
		transfer_run(&t);
		/* What is refused is answered although its body is not read;
		 * a client that only sends may see the connection's end. */
		if (t.status != rows[i].status)
			tap_note("row %zu: %d %s", i, t.code, t.body);
		TAP_INT(t.status, rows[i].status);
		CU_ASSERT(strstr(t.body, "{\"errors\":[{\"message\":") != NULL);
	}
	status_is(id, seller, 404);
	CU_ASSERT(kept_clean(SWEPT));
	free(id);
}

static void
test_access(void)
{
	char *id = listing(), *order, path[64];
	const struct answer *a;
	struct transfer t;

	a = askf(buyer, "POST", "/api/orders", "{\"stuffId\":\"%s\"}", id);
	TAP_INT(a->status, 409);
	TAP_STRING(answer_text(a, "errors.0.message"),
		   "The stuff has no file yet, so it can't be bought");
	put(id, 1, SIZE);
	status_is(id, NULL, 401);
	status_is(id, buyer, 403);
	status_is(id, seller, 200);
	order = buy(buyer, id);
	snprintf(path, sizeof(path), "/api/stuff/%s", id);
	CU_ASSERT(becomes(buyer, path, "status", "reserved"));
	status_is(id, buyer, 403);
	t = up(id, 2, SIZE);
	transfer_run(&t);
	TAP_INT(t.status, 409); /* rule 5 */
	a = askf(buyer, "POST", "/api/payments",
		 "{\"orderId\":\"%s\",\"token\":\"pm_card_visa\"}", order);
	TAP_INT(a->status, 201);
	CU_ASSERT(becomes(buyer, path, "status", "sold"));
	status_is(id, NULL, 401);
	status_is(id, other, 403);
	t = get(id, buyer, 1);
	TAP_INT(t.status, 200);
	TAP_INT(t.received, SIZE);
	CU_ASSERT(t.same);
	TAP_STRING(transfer_header(&t, "Content-Disposition"),
		   "attachment; filename=\"notes.pdf\"");
	TAP_STRING(transfer_header(&t, "X-Content-Type-Options"), "nosniff");
	TAP_STRING(transfer_header(&t, "Content-Security-Policy"),
		   "default-src 'none'; sandbox");
	t = up(id, 2, SIZE);
	transfer_run(&t);
	TAP_INT(t.status, 409); /* the buyer keeps what was sold */
	has(id, 1, SIZE);
	CU_ASSERT(kept_clean(SWEPT));
	free(order);
	free(id);
}

static void
test_ranges(void)
{
	static const struct {
		const char *header, *more;
		int status;
		int64_t first, count;
	} rows[] = {
		{"Range: bytes=0-0", NULL, 206, 0, 1},
		{"Range: bytes=0-261119", NULL, 206, 0, 261120},
		{"Range: bytes=261119-261120", NULL, 206, 261119, 2},
		{"Range: bytes=261120-", NULL, 206, 261120, SIZE - 261120},
		{"Range: bytes=100-3000000", NULL, 206, 100, 2999901},
		{"Range: bytes=-1", NULL, 206, SIZE - 1, 1},
		{"Range: bytes=-999999999", NULL, 206, 0, SIZE},
		{"Range: bytes=5-99999999999999999999", NULL, 206, 5, SIZE - 5},
		{"Range: bytes=5255224-", NULL, 206, 5255224, 1},
		{"Range: bytes=5255225-", NULL, 416, 0, 0},
		{"Range: bytes=-0", NULL, 416, 0, 0},
		{"Range: bytes=0-1,5-6", NULL, 200, 0, SIZE},
		{"Range: bytes=6-5", NULL, 200, 0, SIZE},
		{"Range: lines=0-1", NULL, 200, 0, SIZE},
		{"Range: bytes=7-8", "If-Range: %s", 206, 7, 2},
		{"Range: bytes=7-8", "If-Range: \"x\"", 200, 0, SIZE},
		{"Range: bytes=7-8", "If-Range: W/%s", 200, 0, SIZE},
		{"Range: bytes=7-8", "If-Range: Sat, 21 Nov 2026 10:00:00 GMT",
		 200, 0, SIZE},
		{"If-None-Match: \"x\"", NULL, 200, 0, SIZE},
		{"If-None-Match: *", NULL, 304, 0, 0},
		{"Range: bytes=7-8", "If-None-Match: \"x\", W/%s", 304, 0, 0},
	};
	char *id = listing(), tag[80], path[64];
	struct transfer t;

	put(id, 1, SIZE);
	snprintf(path, sizeof(path), "%s", path_of(id));
	snprintf(tag, sizeof(tag), "\"%s\"", bytes_hash(1, SIZE));
	for (size_t i = 0; i < COUNT(rows); i++) {
		char more[200] = "", part[100];
		const char *headers[] = {rows[i].header, NULL, NULL};
		const char *at;

		if (rows[i].more != NULL) {
			at = strstr(rows[i].more, "%s");
			snprintf(more, sizeof(more), "%.*s%s",
				 at ? (int)(at - rows[i].more) : 199,
				 rows[i].more, at ? tag : "");
			headers[1] = more;
		}
		t = (struct transfer){.method = "GET",
				      .path = path,
				      .token = student_cookie(seller),
				      .headers = headers,
				      .seed = 1,
				      .first = rows[i].first};
		transfer_run(&t);
		if (t.status != rows[i].status)
			tap_note("%s %s", rows[i].header, more);
		TAP_INT(t.status, rows[i].status);
		TAP_STRING(transfer_header(&t, "ETag"), tag);
		if (t.status == 416) {
			snprintf(part, sizeof(part), "bytes */%d", SIZE);
		} else {
			TAP_INT(t.received, rows[i].count);
			CU_ASSERT(t.same);
			snprintf(part, sizeof(part), "bytes %lld-%lld/%d",
				 (long long)rows[i].first,
				 (long long)(rows[i].first + rows[i].count - 1),
				 SIZE);
		}
		TAP_STRING(transfer_header(&t, "Content-Range"),
			   t.status == 206 || t.status == 416 ? part : NULL);
	}
	/* HEAD tells of the whole, and sends nothing. */
	t = (struct transfer){.method = "HEAD",
			      .path = path,
			      .token = student_cookie(seller),
			      .headers = (const char *[]){"Range: bytes=0-1",
							  NULL}};
	transfer_run(&t);
	TAP_INT(t.status, 200);
	TAP_INT(t.length, SIZE);
	TAP_INT(t.received, 0);
	TAP_STRING(transfer_header(&t, "Accept-Ranges"), "bytes");
	TAP_STRING(transfer_header(&t, "ETag"), tag);
	free(id);
}

static void
test_resume(void)
{
	char *id = listing(), command[4096], file[] = "/tmp/t-files.XXXXXX";
	int fd = mkstemp(file);
	static char begun[SIZE], whole[SIZE + 1];
	FILE *f;

	put(id, 1, SIZE);
	bytes_at(1, 0, begun, SIZE);
	f = fdopen(fd, "w");
	fwrite(begun, 1, 2 * MIB + 1, f);
	fclose(f);
	/* The real one, as a student would use it. */
	snprintf(command, sizeof(command),
		 "curl -fsS --cacert '%s' -H 'Authorization: Bearer %s' -C - "
		 "-o '%s' '%s%s'",
		 stack("CA_CERT"), student_cookie(seller), file,
		 stack("BASE_URL"), path_of(id));
	TAP_INT(system(command), 0);
	f = fopen(file, "r");
	TAP_INT((int)fread(whole, 1, sizeof(whole), f), SIZE);
	fclose(f);
	CU_ASSERT(memcmp(begun, whole, SIZE) == 0);
	remove(file);
	free(id);
}

static void
test_names(void)
{
	static const struct {
		const char *header, *name, *back, *type, *type_back;
	} rows[] = {
		{"filename=\"\xe8\xac\x9b\xe7\xbe\xa9.pdf\"",
		 "\xe8\xac\x9b\xe7\xbe\xa9.pdf",
		 "attachment; filename=\"__.pdf\"; "
		 "filename*=UTF-8''%E8%AC%9B%E7%BE%A9.pdf",
		 "text/html; charset=utf-8", "text/html"},
		{"filename=x; filename*=UTF-8''%D9%85%D8%AD.txt",
		 "\xd9\x85\xd8\xad.txt",
		 "attachment; filename=\"__.txt\"; "
		 "filename*=UTF-8''%D9%85%D8%AD.txt",
		 "rubbish", "application/octet-stream"},
		{"filename=\"../../etc/passwd\"", "passwd",
		 "attachment; filename=\"passwd\"", "a/b", "a/b"},
		{"filename=\"x\xe2\x80\xae"
		 "fdp.exe\"",
		 "xfdp.exe", "attachment; filename=\"xfdp.exe\"",
		 "image/svg+xml", "image/svg+xml"},
		{"filename=\"a\\\"; filename=\\\"b\"", "a\"; filename=\"b",
		 "attachment; filename=\"a_; filename=_b\"; "
		 "filename*=UTF-8''a%22%3B%20filename%3D%22b",
		 "A/B", "a/b"},
	};
	char *id = listing();

	for (size_t i = 0; i < COUNT(rows); i++) {
		char disposition[256], type[128];
		const char *headers[] = {disposition, type, NULL};
		struct transfer t = up(id, 1, 10);
		const struct answer *a;
		char path[64];

		snprintf(disposition, sizeof(disposition),
			 "Content-Disposition: attachment; %s", rows[i].header);
		snprintf(type, sizeof(type), "Content-Type: %s", rows[i].type);
		t.headers = headers;
		transfer_run(&t);
		TAP_INT(t.status, 200);
		snprintf(path, sizeof(path), "/api/stuff/%s", id);
		a = ask(other, "GET", path, NULL, NULL);
		TAP_STRING(answer_text(a, "file.name"), rows[i].name);
		TAP_STRING(answer_text(a, "file.type"), rows[i].type_back);
		t = get(id, seller, 1);
		TAP_STRING(transfer_header(&t, "Content-Disposition"),
			   rows[i].back);
		TAP_STRING(transfer_header(&t, "Content-Type"),
			   rows[i].type_back);
	}
	free(id);
}

/* A link for s, malloc()ed; "" and a failure when it is not given. */
static char *
link_for(struct student *s, const char *id)
{
	char path[80];
	const struct answer *a;

	snprintf(path, sizeof(path), "/api/stuff/%s/file/link", id);
	a = ask(s, "POST", path, NULL, NULL);
	TAP_INT(a->status, 201);
	return strdup(a->status == 201 ? answer_text(a, "url") : "");
}

static int
follow(const char *url)
{
	struct transfer t = {.method = "GET", .path = url, .seed = 1};

	transfer_run(&t);
	CU_ASSERT(t.status != 200 || (t.same && t.received == SIZE));
	return t.status;
}

/* Signs what a link says, as the service would; expires: s from now. */
static char *
forge(const char *id, const char *user, const char *order, const char *right,
      int64_t expires)
{
	char text[256], signature[TOKEN_SIGNATURE_SIZE], *url = malloc(512);
	long long at = clock_now() / 1000 + expires;

	snprintf(text, sizeof(text), "%s %s %s %s %lld", id, user, order, right,
		 at);
	token_sign("file link", text, signature);
	snprintf(url, 512, "%s?user=%s&order=%s&expires=%lld&signature=%s",
		 path_of(id), user, order, at, signature);
	return url;
}

static void
refuses(char *url, int status)
{
	int got = follow(url);

	if (got != status)
		tap_note("%s", url);
	TAP_INT(got, status);
	free(url);
}

static void
test_links(void)
{
	char *id = listing(), *twin = listing(), *order, path[64], data[512];
	char *of_seller, *of_buyer;
	const struct answer *a;
	static const char *const parts[] = {
		"user=", "order=", "expires=", "signature=", "stuff/"};

	put(id, 1, SIZE);
	put(twin, 1, SIZE);
	order = buy(buyer, id);
	a = askf(buyer, "POST", "/api/payments",
		 "{\"orderId\":\"%s\",\"token\":\"pm_card_visa\"}", order);
	TAP_INT(a->status, 201);
	snprintf(path, sizeof(path), "/api/stuff/%s", id);
	CU_ASSERT(becomes(buyer, path, "status", "sold"));
	of_seller = link_for(seller, id);
	of_buyer = link_for(buyer, id);
	TAP_INT(follow(of_seller), 200);
	TAP_INT(follow(of_buyer), 200);
	snprintf(path, sizeof(path), "/api/stuff/%s/file/link", id);
	TAP_INT(ask(other, "POST", path, NULL, NULL)->status, 403);

	/* Each part of it changed, by the last digit. */
	for (size_t i = 0; i < COUNT(parts); i++) {
		char *url = strdup(of_buyer), *p = strstr(url, parts[i]);

		p += strlen(parts[i]);
		p += strcspn(p, "&/") - 1;
		*p = *p == '1' ? '2' : '1';
		refuses(url, strcmp(parts[i], "stuff/") == 0 ? 404 : 403);
	}
	/* What we sign ourselves is taken: so what follows is refused for
	 * what it says. */
	refuses(forge(id, student_id(buyer), order, "buyer", 60), 200);
	refuses(forge(id, student_id(buyer), order, "buyer", -1), 403);
	refuses(forge(id, student_id(buyer), order, "owner", 60), 403);
	refuses(forge(id, student_id(buyer), "", "buyer", 60), 403);
	refuses(forge(id, student_id(other), order, "buyer", 60), 403);
	refuses(forge(twin, student_id(buyer), order, "buyer", 60), 403);
	refuses(forge(id, student_id(other), "", "admin", 60), 200);

	/* The buyer's access ends: so does the link. */
	snprintf(data, sizeof(data),
		 "{\"id\":\"%s\",\"status\":\"cancelled\",\"reason\":"
		 "\"payment-failed\",\"userId\":\"%s\",\"expiresAt\":"
		 "\"2026-01-01T00:00:00Z\",\"stuff\":{\"id\":\"%s\",\"title\":"
		 "\"Notes\",\"price\":500}}",
		 order, student_id(buyer), id);
	bus_put_event("order:cancelled", order, 3, data);
	snprintf(path, sizeof(path), "/api/stuff/%s", id);
	CU_ASSERT(becomes(seller, path, "status", "available"));
	status_is(id, buyer, 403);
	TAP_INT(follow(of_buyer), 403);
	TAP_INT(follow(of_seller), 200);
	free(of_seller);
	free(of_buyer);
	free(order);
	free(id);
	free(twin);
}

/* --- broken off in the middle ----------------------------------------------
 */

static char *broken;

/* Uploads another file over the first one, of which something breaks; what
 * was there must stay, and nothing else. */
static struct transfer
break_upload(void (*halfway)(void), int64_t break_at)
{
	struct transfer t = up(broken, 2, SIZE);

	t.halfway = halfway;
	t.break_at = break_at;
	transfer_run(&t);
	CU_ASSERT(t.status != 200);
	return t;
}

static void
test_client_goes(void)
{
	broken = listing();
	put(broken, 1, SIZE);
	break_upload(NULL, 1);
	break_upload(NULL, 261120);
	break_upload(NULL, SIZE / 2);
	break_upload(NULL, SIZE - 1);
	has(broken, 1, SIZE);
	CU_ASSERT(kept_clean(SWEPT));
	free(broken);
}

static void
kill_nginx(void)
{
	stack_kill("nginx", "KILL");
}

static void
test_nginx_dies(void)
{
	broken = listing();
	put(broken, 1, SIZE);
	break_upload(kill_nginx, 0);
	stack_start("nginx", NULL);
	has(broken, 1, SIZE);
	CU_ASSERT(kept_clean(SWEPT));
	free(broken);
}

static void
kill_database(void)
{
	stack_kill("mongo", "KILL");
}

/* Each connection that the service has finds out by itself. */
static bool
serves(void *id)
{
	for (int i = 0; i < 5; i++)
		if (get(id, seller, 1).status != 200)
			return false;
	return true;
}

static void
test_database_dies(void)
{
	struct transfer t;

	broken = listing();
	put(broken, 1, SIZE);
	/* This database writes to the disk once a second. */
	clock_sleep(2500);
	t = break_upload(kill_database, 0);
	TAP_INT(t.status, 503);
	stack_start("mongo", NULL);
	CU_ASSERT(eventually(20000, serves, broken));
	has(broken, 1, SIZE);
	CU_ASSERT(kept_clean(SWEPT));
	free(broken);
}

static bool
is_away(void *id)
{
	return get(id, seller, 0).status == 503;
}

/* At each step of an upload: what is there is one file or the other. */
static void
test_service_dies(void)
{
	static const struct {
		const char *failpoints;
		bool replaced;
	} rows[] = {
		{"FAILPOINTS=piece=abort*1", false},
		{"FAILPOINTS=piece=abort*12", false},
		{"FAILPOINTS=file=abort", false},
		{"FAILPOINTS=given=abort", true},
		{"FAILPOINTS=pieces deleted=abort", true},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *settings[] = {LEASE, rows[i].failpoints, NULL};
		struct transfer t;

		broken = listing();
		put(broken, 1, SIZE);
		CU_ASSERT(kept_clean(SWEPT));
		stack_dev(settings, (const char *[]){"restart", "stuff", NULL});
		t = up(broken, 2, SIZE);
		transfer_run(&t);
		/* The last one dies when the earlier file is deleted. */
		TAP_INT(t.status, i == 4 ? 200 : 503);
		CU_ASSERT(eventually(SWEPT, is_away, broken));
		stack_restart("stuff", LEASE);
		has(broken, rows[i].replaced ? 2 : 1, SIZE);
		CU_ASSERT(kept_clean(SWEPT));
		free(broken);
	}
}

/*
 * A writer sleeps for longer than its lease, between the last look at its note
 * and the write that gives the listing its file.  Meanwhile it is given up and
 * its pieces are deleted.  Returns whether the listing's file is whole then.
 */
static bool
wakes_up_late(const char *guards_off)
{
	const char *settings[] = {LEASE, "FAILPOINTS=file checked=sleep:5000",
				  guards_off, NULL};
	struct transfer t;
	bool whole;
	int status;

	broken = listing();
	put(broken, 1, SIZE);
	CU_ASSERT(kept_clean(SWEPT));
	stack_dev(settings, (const char *[]){"restart", "stuff", NULL});
	t = up(broken, 2, SIZE);
	transfer_run(&t);
	status = t.status;
	t = get(broken, seller, status == 200 ? 2 : 1);
	whole = t.status == 200 && t.same && t.received == SIZE;
	tap_note("uploaded: %d, downloaded: %d", status, t.status);
	stack_restart("stuff", LEASE);
	if (whole) {
		TAP_INT(status, 503);
		CU_ASSERT(kept_clean(SWEPT));
	}
	free(broken);
	return whole;
}

static void
test_late(void)
{
	CU_ASSERT(wakes_up_late(NULL));
}

/* Without its second look, the listing gets what is not there any more. */
static void
test_late_unguarded(void)
{
	CU_ASSERT(!wakes_up_late("GUARDS_OFF=file-check"));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a file, and others in its place", test_replace},
		{"uploads that are refused", test_refused},
		{"who gets it", test_access},
		{"ranges and conditions", test_ranges},
		{"curl -C - goes on where it broke off", test_resume},
		{"names in any script", test_names},
		{"signed links", test_links},
		{"the client goes away", test_client_goes},
		{"nginx dies", test_nginx_dies},
		{"the database dies", test_database_dies},
		{"the service dies", test_service_dies},
		{"a writer that wakes up late", test_late},
		{"the same without its second look", test_late_unguarded},
		{NULL},
	};

	stack_up((const char *[]){"DEV_MONGO=h2", "FILE_MAX_BYTES=20971520",
				  LEASE, NULL});
	token_init(stack("JWT_KEY"), "");
	return tap_run(argc, argv, tests);
}
