/* test-pool.c: connections that are kept, or never used, hold up nobody.
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flow.h"
#include "misuse.h"

#define THREADS 8
#define MANY 64 /* connections */
#define LIVE "{\"status\":\"live\"}"

static const char *const health[] = {"REQUEST_METHOD=GET",
				     "SCRIPT_NAME=/healthz", NULL};

static const char *const listings[] = {"REQUEST_METHOD=GET",
				       "SCRIPT_NAME=/api/stuff", NULL};

/* Asks on a connection, to be kept. */
static const struct answer *
ask_on(int fd)
{
	CU_ASSERT(fcgi_begin(fd, true, health) == 0);
	CU_ASSERT(fcgi_body(fd, NULL, 0) == 0);
	return fcgi_receive(fd);
}

static void
connect_all(int *fds)
{
	for (int i = 0; i < MANY; i++) {
		fds[i] = fcgi_connect("auth");
		CU_ASSERT_FATAL(fds[i] >= 0);
	}
}

static void
close_all(const int *fds)
{
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
}

static void
are_served(void)
{
	for (int i = 0; i < MANY; i++)
		TAP_INT(fcgi_ask("auth", health, NULL, 0)->status, 200);
}

/* One after another on each, all of which are kept meanwhile. */
static void
kept(void)
{
	int fds[MANY];

	connect_all(fds);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++)
			TAP_STRING(ask_on(fds[i])->body, LIVE);
		are_served();
	}
	close_all(fds);
	are_served();
}

static void
silent(void)
{
	int fds[MANY];

	connect_all(fds);
	are_served();
	for (int i = 0; i < MANY; i++)
		TAP_STRING(ask_on(fds[i])->body, LIVE);
	close_all(fds);
}

/* Requests that have begun, and go on when all others are served. */
static void
halting(void)
{
	int fds[THREADS - 1];

	for (int i = 0; i < THREADS - 1; i++) {
		fds[i] = fcgi_connect("auth");
		CU_ASSERT_FATAL(fds[i] >= 0);
		CU_ASSERT(fcgi_begin(fds[i], true, health) == 0);
	}
	are_served();
	for (int i = 0; i < THREADS - 1; i++) {
		CU_ASSERT(fcgi_body(fds[i], NULL, 0) == 0);
		TAP_STRING(fcgi_receive(fds[i])->body, LIVE);
		close(fds[i]);
	}
}

static atomic_int newcomers;

/* Most never let go of theirs; the first four come anew each time. */
static void
hammer(int i, void *arg)
{
	int fd = i < 4 ? -1 : fcgi_connect("auth");

	(void)arg;
	for (int n = 0; i < 4 && n < 50; n++) {
		TAP_INT(fcgi_ask("auth", health, NULL, 0)->status, 200);
		newcomers++;
	}
	while (i >= 4 && newcomers < 200)
		TAP_STRING(ask_on(fd)->body, LIVE);
	if (fd >= 0)
		close(fd);
}

/* Those who come anew have their turn among three times as many as there are
 * threads who ask without a break. */
static void
busy(void)
{
	newcomers = 0;
	together(4 + 24, hammer, NULL);
	TAP_INT(newcomers, 200);
}

/* Asks twice, the second time while a thread is still at the first, and gets
 * the first answer. */
static int
ask_early(const char *guards_off)
{
	const char *settings[] = {"FAILPOINTS=admitted=sleep:2000", guards_off,
				  NULL};
	int fd;

	CU_ASSERT(stack_dev(settings,
			    (const char *[]){"restart", "stuff", NULL}) == 0);
	fd = fcgi_connect("stuff");
	for (int i = 0; i < 2; i++) {
		CU_ASSERT(fcgi_begin(fd, true, listings) == 0);
		CU_ASSERT(fcgi_body(fd, NULL, 0) == 0);
		CU_ASSERT(i == 1 || eventually(10000, is_read, &fd));
	}
	TAP_STRING(fcgi_receive(fd)->body, "[]");
	return fd;
}

static void
early(void)
{
	int fd = ask_early(NULL);

	TAP_STRING(fcgi_receive(fd)->body, "[]");
	close(fd);
	stack_restart("stuff", NULL);
}

static void
stopped(void)
{
	pid_t pid = stack_pid("auth");
	int fds[MANY];
	char c;

	connect_all(fds);
	for (int i = 0; i < MANY / 2; i++)
		TAP_STRING(ask_on(fds[i])->body, LIVE);
	stack_kill("auth", "TERM");
	CU_ASSERT(eventually(20000, has_ended, &pid));
	for (int i = 0; i < MANY; i++)
		TAP_INT((int)read(fds[i], &c, 1), 0);
	close_all(fds);
	stack_start("auth", NULL);
	are_served();
}

/* What is left of a body is taken for the next request. */
static void
nothing_is_read_off(void)
{
	stack_restart("auth", "GUARDS_OFF=drain");
	CU_ASSERT(can_smuggle("auth"));
	stack_restart("auth", NULL);
	CU_ASSERT_FALSE(can_smuggle("auth"));
}

/* The one thread that looks for requests waits for the rest of the first. */
static void
no_other_looks(void)
{
	int first, second;
	struct pollfd p = {.events = POLLIN};

	stack_restart("auth", "GUARDS_OFF=whole");
	first = fcgi_connect("auth");
	CU_ASSERT(fcgi_begin(first, true, health) == 0);
	second = fcgi_connect("auth");
	CU_ASSERT(eventually(10000, is_read, &first));
	CU_ASSERT(fcgi_begin(second, true, health) == 0);
	CU_ASSERT(fcgi_body(second, NULL, 0) == 0);
	p.fd = second;
	TAP_INT(poll(&p, 1, 500), 0);
	CU_ASSERT(fcgi_body(first, NULL, 0) == 0);
	TAP_STRING(fcgi_receive(first)->body, LIVE);
	TAP_STRING(fcgi_receive(second)->body, LIVE);
	close(first);
	close(second);
	stack_restart("auth", NULL);
}

/* That something came meanwhile is forgotten. */
static void
early_is_missed(void)
{
	struct pollfd p = {.fd = ask_early("GUARDS_OFF=missed"),
			   .events = POLLIN};

	TAP_INT(poll(&p, 1, 1000), 0);
	close(p.fd);
	stack_restart("stuff", NULL);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"those that are kept", kept},
		{"those that are silent", silent},
		{"those that are slow to ask", halting},
		{"those that are kept busy", busy},
		{"one that is early with the next request", early},
		{"those that are there at the end", stopped},
		{"negative control: nothing is read off", nothing_is_read_off},
		{"negative control: no other looks", no_other_looks},
		{"negative control: the early one is missed", early_is_missed},
		{0},
	};

	need_failpoints();
	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
