/* test-edge.c: clients that dawdle, come by the thousand, hang up or write what
 * two readers may take for two things, and bytes on a service's socket that no
 * nginx sends.  Others don't notice.
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "flow.h"
#include "misuse.h"

#define IDLE 10000     /* connections, or as many as the system lets us have */
#define GIVEN_UP 90000 /* ms in which nginx must have given up on someone */

/* A connection to nginx, without TLS: what is here is before and below it. */
static int
edge_connect(void)
{
	const char *port = strrchr(stack("BASE_URL"), ':') + 1;
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(port)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (void *)&at, sizeof(at)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
served(void)
{
	struct student *s = student_new();

	TAP_INT(ask(s, "GET", "/api/stuff", NULL, NULL)->status, 200);
	student_free(s);
}

/* Has the other end closed, at the latest then?  What it says is passed over.
 */
static bool
hung_up(int fd, int64_t until)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char bytes[1024];
	int64_t left;

	while ((left = until - clock_monotonic()) > 0) {
		ssize_t n;

		if (poll(&p, 1, (int)left) <= 0)
			return false;
		n = recv(fd, bytes, sizeof(bytes), 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return true;
	}
	return false;
}

/* Begins a TLS handshake, or a plain request, and says no more. */
static void
dawdlers_are_given_up(void)
{
	static const char *const beginnings[] = {"", "\x16\x03\x01\x02",
						 "GET /api/st"};
	int fds[300];
	int64_t until;

	for (int i = 0; i < 300; i++) {
		const char *s = beginnings[i % 3];

		fds[i] = edge_connect();
		CU_ASSERT_FATAL(fds[i] >= 0);
		CU_ASSERT(send(fds[i], s, strlen(s), MSG_NOSIGNAL) >= 0);
	}
	served();
	until = clock_monotonic() + GIVEN_UP;
	for (int i = 0; i < 300; i++) {
		CU_ASSERT(hung_up(fds[i], until));
		close(fds[i]);
	}
	served();
}

/* --- bytes within TLS --- */

static CURL *
tls_open(void)
{
	CURL *c = curl_easy_init();

	curl_easy_setopt(c, CURLOPT_URL, stack("BASE_URL"));
	curl_easy_setopt(c, CURLOPT_CAINFO, stack("CA_CERT"));
	curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_SSL_ENABLE_ALPN, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	TAP_INT(curl_easy_perform(c), CURLE_OK);
	return c;
}

static bool
wait_for(CURL *c, short what, int64_t until)
{
	struct pollfd p = {.events = what};
	int64_t left = until - clock_monotonic();

	curl_easy_getinfo(c, CURLINFO_ACTIVESOCKET, &p.fd);
	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* False when the other end has closed. */
static bool
tls_send(CURL *c, const char *bytes, size_t len)
{
	int64_t until = clock_monotonic() + 10000;
	CURLcode rc = CURLE_OK;
	size_t n;

	for (; len > 0 && (rc == CURLE_OK || rc == CURLE_AGAIN);) {
		n = 0;
		rc = curl_easy_send(c, bytes, len, &n);
		bytes += n;
		len -= n;
		if (rc == CURLE_AGAIN && !wait_for(c, POLLOUT, until))
			break;
	}
	return len == 0;
}

/* Adds what has come so far to said; true once the other end has closed. */
static bool
tls_take(CURL *c, char *said, size_t size)
{
	size_t n, len = strlen(said);

	while (len + 1 < size) {
		CURLcode rc = curl_easy_recv(c, said + len, size - len - 1, &n);

		if (rc == CURLE_AGAIN)
			return false;
		if (rc != CURLE_OK || n == 0)
			return true;
		len += n;
		said[len] = '\0';
	}
	return false;
}

/* All that is answered until the other end closes; false: it does not. */
static bool
tls_read(CURL *c, char *said, size_t size)
{
	int64_t until = clock_monotonic() + GIVEN_UP;

	*said = '\0';
	while (!tls_take(c, said, size))
		if (strlen(said) + 1 >= size || !wait_for(c, POLLIN, until))
			return false;
	return true;
}

#define HOST "Host: localhost\r\n"
#define HIDDEN(name) "GET /" name " HTTP/1.1\r\n" HOST "\r\n"

/* How many answers there are in it. */
static int
answers_in(const char *said)
{
	int n = 0;

	for (; (said = strstr(said, "HTTP/1.1 ")) != NULL; said++)
		n++;
	return n;
}

/* Whatever the first request is taken for, its body is no request. */
static void
no_request_is_hidden(void)
{
#define POST_                                \
	"POST /api/orders HTTP/1.1\r\n" HOST \
	"Content-Type: application/json\r\n"
#define BOTH "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
	static const char *const hidden[] = {
		/* one length or the other */
		POST_ BOTH "\r\n0\r\n\r\n",
		POST_ "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"
		      "\r\n0\r\n\r\n",
		POST_ "Content-Length: 0\r\nContent-Length: 54\r\n\r\n",
		POST_ "Content-Length: 54\r\nContent-Length: 0\r\n\r\n",
		POST_ "Content-Length: 0, 54\r\n\r\n",
		POST_ "Content-Length: +0\r\n\r\n",
		POST_ "Content-Length: -1\r\n\r\n",
		POST_ "Content-Length: 0x36\r\n\r\n",
		POST_ "Content-Length: 18446744073709551616\r\n\r\n",
		/* chunked, or not quite */
		POST_ "Transfer-Encoding: xchunked\r\n\r\n",
		POST_ "Transfer-Encoding: chunked, identity\r\n\r\n",
		POST_ "Transfer-Encoding: identity, chunked\r\n\r\n",
		POST_ "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		POST_ "Transfer-Encoding:\x0b"
		      "chunked\r\n\r\n0\r\n\r\n",
		POST_ "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"
		      "\r\n0\r\n\r\n",
		POST_ "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
		POST_ "Transfer-Encoding: chunked\r\n\r\n"
		      "10000000000000000\r\n",
		POST_ "Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n",
		/* lines that end otherwise, or go on, or hold a NUL */
		POST_ "X: a\r\n b\r\nContent-Length : 54\r\n\r\n",
		POST_ "X: a\rContent-Length: 54\r\n\r\n",
		POST_ "X: a\x01\r\n Transfer-Encoding: chunked\r\n\r\n",
		"GET /api/stuff HTTP/1.1\r\n" HOST "Host: other\r\n\r\n",
		"GET /api/stuff HTTP/1.1\r\n\r\n",
		"GET /api/stuff\r\n",
		"GET /api/stuff HTTP/9.9\r\n" HOST "\r\n",
		"GET http://other.example/a b HTTP/1.1\r\n" HOST "\r\n",
		"CONNECT other.example:443 HTTP/1.1\r\n" HOST "\r\n",
	};
	char said[16384];

	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		char *bytes = text("%s" HIDDEN("hidden"), hidden[i]);
		CURL *c = tls_open();
		int n, status;

		tls_send(c, bytes, strlen(bytes));
		CU_ASSERT_TRUE(tls_read(c, said, sizeof(said)));
		n = answers_in(said);
		status = n ? (int)strtol(said + 9, NULL, 10) : 400;
		/* One that is refused ends its connection. */
		if (n > 1 || status < 400 || status > 505)
			tap_note("number %zu: %d answers: %.200s", i, n, said);
		CU_ASSERT(n <= 1);
		CU_ASSERT(status >= 400 && status <= 505);
		curl_easy_cleanup(c);
		free(bytes);
	}
	CU_ASSERT_FALSE(is_logged("storefront", "/hidden"));
}

/* Control: behind a request that is whole, one is a request. */
static void
one_behind_another(void)
{
	static const char both[] =
		"GET /api/stuff HTTP/1.1\r\n" HOST "\r\n"
		"GET /not-hidden HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
	char said[65536];
	CURL *c = tls_open();

	CU_ASSERT(tls_send(c, both, strlen(both)));
	CU_ASSERT_TRUE(tls_read(c, said, sizeof(said)));
	TAP_INT(answers_in(said), 2);
	CU_ASSERT_TRUE(is_logged("storefront", "/not-hidden"));
	curl_easy_cleanup(c);
}

/* Fills a request with so many headers of so many bytes each. */
static char *
with_headers(int count, int size)
{
	char *bytes = malloc((size_t)count * ((size_t)size + 20) + 200), *p;

	p = bytes + sprintf(bytes, "GET /api/stuff HTTP/1.1\r\n" HOST
				   "Connection: close\r\n");
	for (int i = 0; i < count; i++) {
		p += sprintf(p, "X-%d: ", i);
		memset(p, 'a', (size_t)size);
		p += size;
		p += sprintf(p, "\r\n");
	}
	memcpy(p, "\r\n", 3);
	return bytes;
}

static void
headers_of_all_sizes(void)
{
	static const struct {
		int count, size, status;
	} rows[] = {{1, 10, 200},   {100, 50, 200}, {1, 7000, 200},
		    {1, 9000, 400}, {3, 7000, 200}, {10, 7000, 400},
		    {1000, 40, 400}};
	char said[65536], *bytes;
	const char *path = "GET /api/stuff?q=";
	CURL *c;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bytes = with_headers(rows[i].count, rows[i].size);
		c = tls_open();
		tls_send(c, bytes, strlen(bytes));
		CU_ASSERT_TRUE(tls_read(c, said, sizeof(said)));
		TAP_INT(strtol(said + 9, NULL, 10), rows[i].status);
		if (rows[i].status >= 400)
			CU_ASSERT_PTR_NOT_NULL(strstr(said, "{\"errors\":["));
		curl_easy_cleanup(c);
		free(bytes);
	}
	/* Its first line, and that in one piece or in many. */
	bytes = malloc(20000);
	memset(bytes, 'a', 20000);
	memcpy(bytes, path, strlen(path));
	c = tls_open();
	tls_send(c, bytes, 20000);
	CU_ASSERT_TRUE(tls_read(c, said, sizeof(said)));
	TAP_INT(strtol(said + 9, NULL, 10), 414);
	curl_easy_cleanup(c);
	free(bytes);

	bytes = with_headers(3, 20);
	c = tls_open();
	for (const char *p = bytes; *p != '\0'; p++)
		CU_ASSERT_FATAL(tls_send(c, p, 1));
	CU_ASSERT_TRUE(tls_read(c, said, sizeof(said)));
	TAP_INT(strtol(said + 9, NULL, 10), 200);
	curl_easy_cleanup(c);
	free(bytes);
}

#define SLOW 60

/* Headers that come a byte at a time, bodies that begin and stop, and those
 * who shut their half down amid either. */
static void
slow_ones_are_given_up(void)
{
	static const char *const beginnings[] = {
		"GET /api/stuff HTTP/1.1\r\n" HOST "X: ",
		POST_ "Content-Length: 1000\r\n\r\n{",
		POST_ "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
	};
	CURL *slow[SLOW];
	bool over[SLOW] = {false};
	int left = SLOW;
	char said[4096];
	int64_t until;

	for (int i = 0; i < SLOW; i++) {
		const char *s = beginnings[i % 3];
		curl_socket_t fd;

		slow[i] = tls_open();
		CU_ASSERT(tls_send(slow[i], s, strlen(s)));
		curl_easy_getinfo(slow[i], CURLINFO_ACTIVESOCKET, &fd);
		if (i % 6 >= 3)
			shutdown(fd, SHUT_WR);
	}
	until = clock_monotonic() + GIVEN_UP;
	while (left > 0 && clock_monotonic() < until) {
		served(); /* which also takes its time */
		for (int i = 0; i < SLOW; i++) {
			*said = '\0';
			if (over[i])
				continue;
			over[i] = (i % 6 == 0 && !tls_send(slow[i], "a", 1)) ||
				  tls_take(slow[i], said, sizeof(said));
			left -= over[i];
		}
		clock_sleep(100); /* between two bytes */
	}
	TAP_INT(left, 0);
	for (int i = 0; i < SLOW; i++)
		curl_easy_cleanup(slow[i]);
	served();
}

/* nginx has far fewer places: those that say nothing make room. */
static void
ten_thousand_idle(void)
{
	struct rlimit files;
	int *fds = calloc(IDLE, sizeof(*fds)), n = 0, max = IDLE;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < IDLE + 200)
		max = (int)files.rlim_cur - 200;
	while (n < max && (fds[n] = edge_connect()) >= 0)
		n++;
	tap_note("%d connections", n);
	CU_ASSERT(n > 100);
	for (int i = 0; i < 5; i++)
		served();
	for (int i = 0; i < n; i++)
		close(fds[i]);
	free(fds);
	served();
}

/* Both ends of a client that only writes: its request is answered. */
static void
half_closed(void)
{
	int fd = fcgi_connect("stuff");
	const struct answer *a;

	CU_ASSERT_FATAL(fd >= 0);
	TAP_INT(fcgi_begin(fd, false,
			   (const char *const[]){"REQUEST_METHOD=GET",
						 "SCRIPT_NAME=/api/stuff",
						 NULL}),
		0);
	TAP_INT(fcgi_body(fd, "", 0), 0);
	shutdown(fd, SHUT_WR);
	a = fcgi_receive(fd);
	TAP_INT(a->status, 200);
}

static bool
healthy(void *service)
{
	return fcgi_ask(service,
			(const char *const[]){"REQUEST_METHOD=GET",
					      "SCRIPT_NAME=/healthz", NULL},
			NULL, 0)
		       ->status == 200;
}

/* Records: version, type, request id, content length, padding, reserved. */
#define RECORD(version, type, id, len, pad) \
	version type "\x00" id len pad "\x00"
#define BEGIN                                              \
	RECORD("\x01", "\x01", "\x01", "\x00\x08", "\x00") \
	"\x00\x01\x00\x00\x00\x00\x00\x00"

static void
hostile_records(void)
{
#define BYTES(s)                 \
	{                        \
		s, sizeof(s) - 1 \
	}
	static const struct {
		const char *bytes;
		size_t len;
	} hostile[] = {
		BYTES("\x01"),
		BYTES("\x01\x01\x00\x01\x00"),
		BYTES("GET / HTTP/1.1\r\n\r\n"),
		BYTES(RECORD("\x09", "\x01", "\x01", "\x00\x08", "\x00")),
		BYTES(RECORD("\x01", "\x63", "\x01", "\x00\x00", "\x00")),
		BYTES(RECORD("\x01", "\x04", "\x01", "\x00\x00", "\x00")),
		BYTES(RECORD("\x01", "\x05", "\x01", "\x00\x04",
			     "\x00") "abcd"),
		/* begun, and no more; a role that is none; begun short */
		BYTES(BEGIN),
		BYTES(RECORD("\x01", "\x01", "\x01", "\x00\x08",
			     "\x00") "\x00\x07\x00\x00\x00\x00\x00\x00"),
		BYTES(RECORD("\x01", "\x01", "\x01", "\x00\x02",
			     "\x00") "\x00\x01"),
		/* parameters: cut off, longer than their record, of 1 GiB */
		BYTES(BEGIN RECORD("\x01", "\x04", "\x01", "\x00\x10",
				   "\x00") "\x05\x05"
					   "ab"),
		BYTES(BEGIN RECORD("\x01", "\x04", "\x01", "\x00\x04",
				   "\x00") "\x7f\x7f"
					   "ab" RECORD("\x01", "\x04", "\x01",
						       "\x00\x00", "\x00")),
		BYTES(BEGIN RECORD("\x01", "\x04", "\x01", "\x00\x09",
				   "\x00") "\x01\xc0\x00\x00\x00"
					   "abcd" RECORD("\x01", "\x04", "\x01",
							 "\x00\x00", "\x00")),
		/* another request's parameters amid ours; all is padding */
		BYTES(BEGIN RECORD("\x01", "\x04", "\x02", "\x00\x00", "\x00")),
		BYTES(BEGIN RECORD("\x01", "\x04", "\x01", "\x00\x00", "\xff")),
		/* aborted before it was whole; data without an end */
		BYTES(BEGIN RECORD("\x01", "\x02", "\x01", "\x00\x00", "\x00")),
		BYTES(BEGIN RECORD("\x01", "\x04", "\x01", "\x00\x00", "\x00")
			      RECORD("\x01", "\x05", "\x01", "\xff\xff",
				     "\x00") "x"),
	};
	pid_t before = stack_pid("stuff");

	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		/* More than there are workers, and each hangs up at last. */
		for (int n = 0; n < 12; n++) {
			int fd = fcgi_connect("stuff");

			CU_ASSERT_FATAL(fd >= 0);
			(void)!send(fd, hostile[i].bytes, hostile[i].len,
				    MSG_NOSIGNAL);
			if (n % 2 == 0)
				shutdown(fd, SHUT_WR);
			close(fd);
		}
		if (!eventually(20000, healthy, (void *)(uintptr_t) "stuff")) {
			tap_note("after number %zu", i);
			CU_FAIL("not healthy any more");
		}
	}
	served();
	TAP_INT(stack_pid("stuff"), before);
	TAP_INT(kill(before, 0), 0);
}

#define CROWD 1000

static atomic_int refused, healths;

/* All at once; and amid them someone asks whether the service lives. */
static void
ask_in_crowd(int i, void *unused)
{
	(void)unused;
	if (i % 100 == 99)
		healths += healthy((void *)(uintptr_t) "stuff");
	else
		refused += fcgi_call("stuff", "GET", "/api/stuff", NULL, NULL)
				   ->status == 503;
}

static void
crowd_at_a_dead_database(void)
{
	stack_kill("mongo", "STOP");
	together(CROWD, ask_in_crowd, NULL);
	stack_kill("mongo", "CONT");
	TAP_INT(healths, CROWD / 100);
	TAP_INT(refused, CROWD - CROWD / 100);
}

static bool
serves_again(void *unused)
{
	(void)unused;
	return fcgi_call("stuff", "GET", "/api/stuff", NULL, NULL)->status ==
	       200;
}

/* What never reached a service, or got no answer there, reads as if it had. */
static void
nginx_speaks_alike(void)
{
	struct student *s = student_new();
	char *cookie = malloc(100000), *url;
	const char *const headers[] = {cookie, NULL};
	const struct answer *a;

	memset(cookie, 'x', 99999);
	cookie[99999] = '\0';
	memcpy(cookie, "Cookie: a=", 10);
	EXPECT_ERROR(ask(s, "GET", "/api/stuff", NULL, headers), 400,
		     "Bad Request");
	cookie[9000] = '\0';
	url = text("%s/api/stuff?q=%s", stack("HTTP_URL"), cookie + 10);
	EXPECT_ERROR(http_plain("GET", url, NULL), 414, "URI Too Long");
	free(url);
	cookie[9000] = 'x';
	cookie[70000] = '\0';
	EXPECT_ERROR(ask(s, "POST", "/api/users/signup", cookie, NULL), 413,
		     "Payload Too Large");
	a = ask(s, "TRACE", "/api/stuff", NULL, NULL);
	EXPECT_ERROR(a, 405, "Method Not Allowed");
	CU_ASSERT_PTR_NOT_NULL(answer_header(a, "Allow"));
	EXPECT_ERROR(ask(s, "GET", "/api/nothing", NULL, NULL), 404,
		     "Not Found");
	stack_kill("orders", "KILL");
	a = ask(s, "GET", "/api/orders", NULL, NULL);
	EXPECT_ERROR(a, 503, "Service unavailable, please try again");
	TAP_STRING(answer_header(a, "Retry-After"), "1");
	stack_start("orders", NULL);
	/* It accepts, and says no more. */
	stack_kill("orders", "STOP");
	a = ask(s, "GET", "/api/orders", NULL, NULL);
	EXPECT_ERROR(a, 503, "Service unavailable, please try again");
	stack_kill("orders", "CONT");
	free(cookie);
	student_free(s);
}

static void
all_is_well(void)
{
	CU_ASSERT(eventually(20000, serves_again, NULL));
	served();
	CU_ASSERT_TRUE(settles(NULL));
}

/* What tells browsers to be careful is in every answer, whoever makes it. */
static void
browsers_are_told(void)
{
	static const struct {
		const char *method, *path;
		int status;
	} answers[] = {
		{"GET", "/", 200}, /* the storefront's */
		{"GET", "/orders", 303},
		{"GET", "/nothing", 404},
		{"GET", "/api/stuff", 200}, /* a service's */
		{"GET", "/api/orders", 401},
		{"PUT", "/api/stuff", 405},
		{"GET", "/api/openapi.json", 200}, /* nginx's own */
		{"GET", "/api/docs/", 200},
		{"GET", "/static/shop.css", 200},
		{"GET", "/static/nothing", 404},
		{"GET", "/metrics", 404},
		{"GET", "/api/nothing", 404},
	};
	struct student *s = student_new();
	const char *policy;

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const struct answer *a =
			ask(s, answers[i].method, answers[i].path, NULL, NULL);
		const char *hsts =
			answer_header(a, "Strict-Transport-Security");

		if (a->status != answers[i].status)
			tap_note("%s %s", answers[i].method, answers[i].path);
		TAP_INT(a->status, answers[i].status);
		TAP_STRING(hsts, "max-age=31536000; includeSubDomains");
		TAP_STRING(answer_header(a, "X-Content-Type-Options"),
			   "nosniff");
		policy = answer_header(a, "Content-Security-Policy");
		CU_ASSERT_FATAL(policy != NULL);
		CU_ASSERT(strstr(policy, "default-src 'none'") ||
			  strstr(policy, "object-src 'none'"));
		CU_ASSERT_PTR_NOT_NULL(strstr(policy, "base-uri 'none'"));
		CU_ASSERT_PTR_NOT_NULL(
			strstr(policy, "frame-ancestors 'none'"));
		CU_ASSERT_PTR_NULL(strstr(policy, "unsafe"));
		CU_ASSERT_PTR_NULL(
			answer_header(a, "Access-Control-Allow-Origin"));
	}
	student_free(s);
}

/* What comes of a connection by that version of TLS, by a client that would
 * take any: "" when all is well. */
static const char *
by_tls(long version)
{
	static char error[CURL_ERROR_SIZE];
	CURL *curl = curl_easy_init();

	CU_ASSERT_FATAL(curl != NULL);
	*error = '\0';
	curl_easy_setopt(curl, CURLOPT_URL, stack("BASE_URL"));
	curl_easy_setopt(curl, CURLOPT_CAINFO, stack("CA_CERT"));
	curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION,
			 version | version << 16 /* CURL_SSLVERSION_MAX_ */);
	curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, "ALL:@SECLEVEL=0");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	if (curl_easy_perform(curl) != CURLE_OK && *error == '\0')
		snprintf(error, sizeof(error), "an error");
	curl_easy_cleanup(curl);
	return error;
}

static void
tls_of_today(void)
{
	TAP_STRING(by_tls(CURL_SSLVERSION_TLSv1_3), "");
	TAP_STRING(by_tls(CURL_SSLVERSION_TLSv1_2), "");
	/* It is nginx that says no. */
	CU_ASSERT_PTR_NOT_NULL(strstr(by_tls(CURL_SSLVERSION_TLSv1_1),
				      "alert protocol version"));
	CU_ASSERT_PTR_NOT_NULL(strstr(by_tls(CURL_SSLVERSION_TLSv1_0),
				      "alert protocol version"));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"browsers are told to be careful", browsers_are_told},
		{"TLS 1.2 and later, and nothing older", tls_of_today},
		{"who begins and says no more is given up",
		 dawdlers_are_given_up},
		{"so is whose header or body does not end",
		 slow_ones_are_given_up},
		{"no request is hidden in another", no_request_is_hidden},
		{"control: one behind another is answered", one_behind_another},
		{"headers of all sizes, whole and in pieces",
		 headers_of_all_sizes},
		{"ten thousand idle connections", ten_thousand_idle},
		{"a client that only listens", half_closed},
		{"hostile FastCGI records", hostile_records},
		{"a thousand at a dead database", crowd_at_a_dead_database},
		{"what nginx says itself is in the same shape",
		 nginx_speaks_alike},
		{"all is well afterwards", all_is_well},
		{0},
	};

	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
