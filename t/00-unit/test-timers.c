/* test-timers.c: what timers makes of a Redis that answers rubbish.
 * SPDX-License-Identifier: MIT */
#include "timers.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

#define ID_1 "65f000000000000000000001"
#define ID_2 "65f000000000000000000002"

int64_t expiration_window = 900;

static int listener;
static const char *answer; /* to whatever is asked, on each connection */

/* One connection after the other: an answer for each thing that comes. */
static void *
serve(void *unused)
{
	char asked[4096];
	int fd;

	(void)unused;
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		while (read(fd, asked, sizeof(asked)) > 0)
			if (write(fd, answer, strlen(answer)) < 0)
				break;
		close(fd);
	}
	return NULL;
}

/* Asks until it is asked indeed: after a failure there is a pause. */
static const struct fail *
claim(struct context *cx, const char ***ret_ids, size_t *ret_n)
{
	const struct fail *fail = NULL;

	for (int i = 0; i < 1000; i++) {
		fail = timers_claim(cx, 10, ret_ids, ret_n);
		if (fail == NULL || fail->cause == NULL ||
		    strstr(fail->cause, "a moment ago") == NULL)
			return fail;
		clock_sleep(10);
	}
	return fail;
}

static const struct fail *
rebuild(struct context *cx, const char **ret_name)
{
	const struct fail *fail = NULL;

	for (int i = 0; i < 1000; i++) {
		fail = timers_rebuild(cx, ret_name);
		if (fail == NULL || fail->cause == NULL ||
		    strstr(fail->cause, "a moment ago") == NULL)
			return fail;
		clock_sleep(10);
	}
	return fail;
}

static void
what_is_no_list_is_no_claim(void)
{
	static const char *const odd[] = {":5\r\n", "+OK\r\n", "$-1\r\n",
					  "$3\r\nabc\r\n", "*-1\r\n"};
	struct context cx = {.arena = arena_new()};
	const char **ids;
	size_t n;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		const struct fail *fail;

		answer = odd[i];
		fail = claim(&cx, &ids, &n);
		CU_ASSERT_PTR_NOT_NULL(fail);
		TAP_INT(fail ? fail->status : 0, 503);
	}
	arena_free(cx.arena);
}

static void
what_is_no_id_is_passed_over(void)
{
	struct context cx = {.arena = arena_new()};
	const char **ids = NULL;
	size_t n = 0;

	answer = "*6\r\n$24\r\n" ID_1 "\r\n:7\r\n$-1\r\n*1\r\n:1\r\n"
		 "$3\r\nabc\r\n$24\r\n" ID_2 "\r\n";
	CU_ASSERT_PTR_NULL_FATAL(claim(&cx, &ids, &n));
	TAP_INT(n, 2);
	if (n == 2) {
		TAP_STRING(ids[0], ID_1);
		TAP_STRING(ids[1], ID_2);
	}
	arena_free(cx.arena);
}

static void
an_epoch_is_a_text(void)
{
	static const char *const odd[] = {"$-1\r\n", ":1\r\n", "*0\r\n"};
	struct context cx = {.arena = arena_new()};
	const char *name = "";

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		answer = odd[i];
		CU_ASSERT_PTR_NOT_NULL(rebuild(&cx, &name));
	}
	answer = "$14\r\nrebuilding a 1\r\n";
	CU_ASSERT_PTR_NULL_FATAL(rebuild(&cx, &name));
	TAP_STRING(name, "rebuilding a 1");
	arena_free(cx.arena);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what is no list is no claim", what_is_no_list_is_no_claim},
		{"what is no id is passed over", what_is_no_id_is_passed_over},
		{"an epoch is a text", an_epoch_is_a_text},
		{0},
	};
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	pthread_t server;
	char url[64];
	int rc;

	log_init("test", "error");
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (void *)&at, len) != 0 ||
	    listen(listener, 8) != 0 ||
	    getsockname(listener, (void *)&at, &len) != 0 ||
	    pthread_create(&server, NULL, serve, NULL) != 0)
		tap_skip_all("no socket on the loopback");
	snprintf(url, sizeof(url), "redis://127.0.0.1:%u", ntohs(at.sin_port));
	if (timers_open(url) != NULL)
		return 1;
	rc = tap_run(argc, argv, tests);
	timers_close();
	shutdown(listener, SHUT_RDWR);
	pthread_join(server, NULL);
	close(listener);
	return rc;
}
