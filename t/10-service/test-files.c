/* test-files.c: files on the stuff service's own socket: bodies that are not
 * what they say, and clients that take their time.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flow.h"
#include "token.h"
#include "traffic.h"

#define LEASE "FILE_LEASE_SECONDS=4"
#define PIECE 261120
#define UPLOADS_MAX 6	/* of the 8 threads for transfers */
#define USER_UPLOADS 3	/* of one user */
#define STALLED 100000	/* bytes of a body that come, and then no more */
#define SIZE "10000000" /* that it says */

static struct buyer ann, ben, eve;

static char *
listing(const struct buyer *b)
{
	const struct answer *a =
		fcgi_call("stuff", "POST", "/api/stuff",
			  "{\"title\":\"Notes\",\"price\":500}", b->token);

	TAP_INT(a->status, 201);
	return strdup(a->status == 201 ? answer_text(a, "id") : "0");
}

/* Begins to upload; -1 when it is not let in. */
static int
begin(const struct buyer *b, const char *id, const char *length, bool keep)
{
	char path[64], cookie[1100], says[64];
	const char *params[] = {"REQUEST_METHOD=PUT",
				path,
				"REQUEST_ID=test",
				"CONTENT_TYPE=text/plain",
				cookie,
				length ? says : NULL,
				NULL};
	int fd = fcgi_connect("stuff");

	snprintf(path, sizeof(path), "SCRIPT_NAME=/api/stuff/%s/file", id);
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=__Host-session=%s",
		 b ? b->token : "");
	snprintf(says, sizeof(says), "CONTENT_LENGTH=%s", length);
	CU_ASSERT(fd >= 0 && fcgi_begin(fd, keep, params) == 0);
	return fd;
}

/* A record of FastCGI's STDIN without the empty one that ends it. */
static void
send_part(int fd, size_t len)
{
	static char bytes[8 + 65528];

	while (len > 0) {
		size_t n = len < 65528 ? len : 65528;
		const unsigned char head[8] = {
			1, 5, 0, 1, (unsigned char)(n >> 8), (unsigned char)n,
			0, 0};

		memcpy(bytes, head, sizeof(head));
		CU_ASSERT(write(fd, bytes, n + 8) == (ssize_t)(n + 8));
		len -= n;
	}
}

static void
test_lengths(void)
{
	static const struct {
		const char *length;
		size_t sent;
		int status;
	} rows[] = {
		{"9", 9, 200},
		{"9", 8, 400},
		{"9", 10, 400},
		{"261120", PIECE, 200},
		{"261120", PIECE - 1, 400},
		{"261120", PIECE + 1, 400},
		{"261121", PIECE, 400},
		{"0", 0, 400},
		{"", 9, 411},
		{"-9", 9, 400},
		{"+9", 9, 400},
		{"9 ", 9, 400},
		{"0x9", 9, 400},
		{"9,9", 9, 400},
		{"104857601", 9, 413},
		{"99999999999999999999999", 9, 413},
	};
	static char bytes[PIECE + 1];
	char *id = listing(&ann);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = begin(&ann, id, rows[i].length, false);
		const struct answer *a;

		fcgi_body(fd, bytes, rows[i].sent);
		a = fcgi_receive(fd);
		if (a->status != rows[i].status)
			tap_note("%s, %zu: %s", rows[i].length, rows[i].sent,
				 a->body);
		TAP_INT(a->status, rows[i].status);
		close(fd);
	}
	CU_ASSERT(kept_clean(20000));
	free(id);
}

/* What follows a refused upload on its connection is no request. */
static void
test_smuggling(void)
{
	char *id = listing(&ann);
	const struct buyer *const who[] = {NULL, &eve};
	char c;

	for (size_t i = 0; i < 2; i++) {
		int fd = begin(who[i], id, SIZE, true);
		const struct answer *a = fcgi_receive(fd);

		TAP_INT(a->status, i == 0 ? 401 : 403);
		TAP_INT((int)read(fd, &c, 1), 0);
		close(fd);
	}
	free(id);
}

static bool
has_notes(void *arg)
{
	struct kept k;

	kept_look(&k);
	return k.notes >= *(const int *)arg;
}

/* Uploads that stop in the middle take their own threads, and no more. */
static void
test_stalled(void)
{
	const struct buyer *const who[] = {&ann, &ben};
	char *of[2] = {listing(&ann), listing(&ben)}, *ready = listing(&ann);
	int fds[UPLOADS_MAX], n = 0;
	char path[64];
	const struct answer *a;

	TAP_INT(buyer_uploads(&ann, ready)->status, 200);
	snprintf(path, sizeof(path), "/api/stuff/%s/file", ready);
	for (int i = 0; i < UPLOADS_MAX; i++) {
		fds[i] = begin(who[i / USER_UPLOADS], of[i / USER_UPLOADS],
			       SIZE, false);
		send_part(fds[i], STALLED);
		n = i + 1;
		CU_ASSERT(eventually(10000, has_notes, &n));
		if (n == USER_UPLOADS) {
			a = buyer_uploads(&ann, of[0]);
			TAP_INT(a->status, 429);
			CU_ASSERT_PTR_NOT_NULL(answer_header(a, "Retry-After"));
		}
	}
	a = buyer_uploads(&eve, of[0]);
	TAP_INT(a->status, 503);
	CU_ASSERT_PTR_NOT_NULL(answer_header(a, "Retry-After"));
	for (int i = 0; i < 100; i++) {
		TAP_INT(fcgi_call("stuff", "GET", "/api/stuff", NULL, NULL)
				->status,
			200);
		a = fcgi_call("stuff", "GET", path, NULL, ann.token);
		TAP_INT(a->status, 200);
		TAP_STRING(a->body, "all of it");
	}
	/* Nor do they keep the service from ending: within ten seconds. */
	stack_restart("stuff", LEASE);
	for (int i = 0; i < UPLOADS_MAX; i++)
		close(fds[i]);
	TAP_INT(buyer_uploads(&ann, of[0])->status, 200);
	CU_ASSERT(kept_clean(40000));
	free(of[0]);
	free(of[1]);
	free(ready);
}

static bool
is_settled(void *arg)
{
	const char *id = arg;

	return buyer_uploads(&ann, id)->status == 200;
}

/* Downloads whose reader is gone, or asleep, do not stay. */
static void
test_readers(void)
{
	char *id = listing(&ann), path[80], cookie[1100];
	static char bytes[8 * PIECE];
	const char *params[] = {"REQUEST_METHOD=GET", path, "REQUEST_ID=test",
				cookie, NULL};
	int fd = begin(&ann, id, "2088960", false), asleep[8];

	fcgi_body(fd, bytes, sizeof(bytes));
	TAP_INT(fcgi_receive(fd)->status, 200);
	close(fd);
	snprintf(path, sizeof(path), "SCRIPT_NAME=/api/stuff/%s/file", id);
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=__Host-session=%s",
		 ann.token);
	for (int i = 0; i < 100; i++) {
		fd = fcgi_connect("stuff");
		CU_ASSERT(fcgi_begin(fd, false, params) == 0);
		CU_ASSERT(fcgi_body(fd, NULL, 0) == 0);
		close(fd);
	}
	for (int i = 0; i < 8; i++) {
		asleep[i] = fcgi_connect("stuff");
		CU_ASSERT(fcgi_begin(asleep[i], false, params) == 0);
		CU_ASSERT(fcgi_body(asleep[i], NULL, 0) == 0);
	}
	TAP_INT(fcgi_call("stuff", "GET", "/api/stuff", NULL, NULL)->status,
		200);
	for (int i = 0; i < 8; i++) {
		TAP_INT(fcgi_receive(asleep[i])->status, 200);
		close(asleep[i]);
	}
	CU_ASSERT(eventually(10000, is_settled, id));
	free(id);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"bodies as long as they say, and not", test_lengths},
		{"nothing behind a refused upload counts", test_smuggling},
		{"uploads that stop in the middle", test_stalled},
		{"downloads that nobody reads", test_readers},
		{NULL},
	};

	stack_up((const char *[]){LEASE, NULL});
	token_init(stack("JWT_KEY"), "");
	buyer_make(&ann);
	buyer_make(&ben);
	buyer_make(&eve);
	return tap_run(argc, argv, tests);
}
