/* test-failpoint.c: lib/failpoint.h, in builds with failpoints and without.
 * SPDX-License-Identifier: MIT */
#include "failpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
reach(const char *name)
{
#ifndef WITH_FAILPOINTS
	(void)name;
#endif
	FAILPOINT(name);
}

/* The exit status of a process that reaches "here" so many times, and "other"
 * in between. */
static int
status_after(const char *failpoints, int times)
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (failpoints != NULL)
			setenv("FAILPOINTS", failpoints, 1);
		for (int i = 0; i < times; i++) {
			reach("here");
			reach("other");
		}
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_abort(void)
{
#ifdef WITH_FAILPOINTS
	const int dead = 134;
#else
	const int dead = 0;
#endif
	const struct {
		const char *failpoints;
		int times, status;
	} rows[] = {
		{NULL, 1, 0},
		{"", 1, 0},
		{",", 1, 0},
		{"here=abort", 0, 0},
		{"here=abort", 1, dead},
		{"x=abort,here=abort", 1, dead},
		{"here=abort,x=sleep:1", 1, dead},
		{"here=abort*3", 2, 0},
		{"here=abort*3", 3, dead},
		{"here=abort*1", 1, dead},
		{"her=abort", 1, 0},
		{"heres=abort", 1, 0},
		{"where=abort", 1, 0},
		{"here", 1, 0},
		{"here=", 1, 0},
		{"here=sleep:0", 1, 0},
		{"x=here=abort", 1, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].failpoints != NULL)
			tap_note("%s", rows[i].failpoints);
		TAP_INT(status_after(rows[i].failpoints, rows[i].times),
			rows[i].status);
	}
}

static void
test_sleep(void)
{
	int64_t began = clock_monotonic();

	setenv("FAILPOINTS", "here=sleep:50", 1);
	reach("here");
#ifdef WITH_FAILPOINTS
	CU_ASSERT_TRUE(clock_monotonic() - began >= 50);
#else
	(void)began;
#endif
	unsetenv("FAILPOINTS");
}

static void
test_guards(void)
{
#ifdef WITH_FAILPOINTS
	const bool off = true;
#else
	const bool off = false;
#endif
	const struct {
		const char *guards_off;
		bool off;
	} rows[] = {
		{"", false},	 {"here", off},	    {"x,here", off},
		{"here,x", off}, {"x,here,y", off}, {"heres", false},
		{"her", false},	 {"where", false},  {"x,where", false},
	};

	unsetenv("GUARDS_OFF");
	CU_ASSERT_FALSE(GUARD_OFF("here"));
	for (size_t i = 0; i < COUNT(rows); i++) {
		setenv("GUARDS_OFF", rows[i].guards_off, 1);
		TAP_INT(GUARD_OFF("here"), rows[i].off);
	}
	unsetenv("GUARDS_OFF");
}

static void
set_jump(const char *path, int64_t ms)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fwrite(&ms, sizeof(ms), 1, f) != 1)
		_exit(2);
	fclose(f);
}

/* How many hours off a clock is whose file says so many, and then none. */
static int
hours_off(const char *path, int64_t hours)
{
	int64_t before, off;

	set_jump(path, hours * 3600000);
	before = clock_now();
	set_jump(path, 0);
	off = before - clock_now() + 60000;
	return (int)(off / 3600000);
}

static void
test_jump(void)
{
#ifdef WITH_FAILPOINTS
	const int seen = 2;
#else
	const int seen = 0;
#endif
	char folder[] = "/tmp/jump.XXXXXX", path[64];
	int status;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/%s", folder,
		 program_invocation_short_name);
	if (fork() == 0) {
		setenv("CLOCK_JUMP", folder, 1);
		_exit(hours_off(path, 2));
	}
	wait(&status);
	TAP_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1, seen);
	unlink(path);
	rmdir(folder);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"jump", test_jump}, /* first: a clock looks once where */
		{"abort", test_abort},	 {"sleep", test_sleep},
		{"guards", test_guards}, {NULL},
	};

	return tap_run(argc, argv, tests);
}
