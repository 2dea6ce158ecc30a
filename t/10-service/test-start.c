/* test-start.c: a service that is told to stop before it has started.
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"

#define TIMES 100
#define STEP 500      /* us later, each time */
#define ENDS_BY 20000 /* ms */

static char socket_setting[64];

struct process {
	pid_t pid;
	int status;
};

static bool
has_ended(void *arg)
{
	struct process *p = arg;

	return waitpid(p->pid, &p->status, WNOHANG) == p->pid;
}

static pid_t
start(void)
{
	char *const environment[] = {
		"MONGO_URI=mongodb://127.0.0.1:1/"
		"orders?serverSelectionTimeoutMS=1",
		"NATS_URL=nats://127.0.0.1:1",
		"NATS_CLUSTER_ID=none",
		"NATS_CLIENT_ID=none",
		"BASE_URL=https://localhost",
		"JWT_KEY=the current key: 32 bytes or more.",
		socket_setting,
		NULL};
	char program[512];
	pid_t pid;
	int null;

	snprintf(program, sizeof(program), "%s/fcgi/orders/orders",
		 getenv("top_builddir"));
	pid = fork();
	if (pid == 0) {
		null = open("/dev/null", O_RDWR);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execve(program, (char *[]){program, NULL}, environment);
		_exit(127);
	}
	return pid;
}

/* Whenever that is, it ends: by the signal, or in order. */
static void
stopped_while_starting(void)
{
	int killed = 0, ended = 0;

	for (int i = 0; i < TIMES; i++) {
		struct process p = {.pid = start()};

		CU_ASSERT_FATAL(p.pid > 0);
		usleep((useconds_t)(i * STEP));
		kill(p.pid, SIGTERM);
		if (!eventually(ENDS_BY, has_ended, &p)) {
			kill(p.pid, SIGKILL);
			waitpid(p.pid, &p.status, 0);
		}
		if (WIFEXITED(p.status))
			ended += WEXITSTATUS(p.status) == 0;
		else
			killed += WTERMSIG(p.status) == SIGTERM;
	}
	tap_note("%d by the signal, %d in order", killed, ended);
	TAP_INT(killed + ended, TIMES);
}

static void
remove_socket(void)
{
	unlink(socket_setting + sizeof("FCGI_SOCKET=") - 1);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"stopped while it starts", stopped_while_starting},
		{0},
	};

	snprintf(socket_setting, sizeof(socket_setting),
		 "FCGI_SOCKET=/tmp/ticketing-start-%d.sock", (int)getpid());
	atexit(remove_socket);
	return tap_run(argc, argv, tests);
}
