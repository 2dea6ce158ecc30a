/* chaos.c: students use a stack while faults fall on it; then nothing may be
 * lost, and nothing doubled.
 *
 *   chaos [--minutes N] [--seed S] [--plan]
 *   chaos --controls [NAME]
 *
 * The faults and what students decide follow from the seed: --plan prints
 * both.  With --controls one guard is off in each run, and it must be found
 * out. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chaos.h"
#include "clock.h"
#include "flow.h"

#define FAULT_EVERY 9000    /* ms, in a long campaign */
#define RECOVERY_MAX 120000 /* ms */
/* s; what was lost on the way comes again after 30. */
#define SETTLE_MAX 180
#define CONTROL_MINUTES 0.6
#define CONTROL_FAULTS 9  /* each of them may miss what it is after */
#define CONTROL_MAX 90000 /* ms more, for so many purchases */
#define CONTROL_BUYS 40
#define CONTROL_WINDOW 60 /* s: a second hold is still there to be seen */
#define WINDOW 12
#define PACE 250
#define LONG 5 /* minutes; the more is done, the slower the database */
#define LONG_PACE 600
#define HURRY 40   /* for races: a control takes what time there is */
#define PLANNED 40 /* decisions of each student that --plan shows */

static uint64_t seed = 1;
static double minutes = 1;

/*
 * A guard off, what all services do slowly so that the faults come amid it, the
 * faults that show it, and what the checker must say then ("a|b"): what would
 * never be true for a moment only, or is asked when all has had its time.
 */
static const struct control {
	const char *name, *guards, *slow, *faults, *signs;
	int settle; /* s */
} controls[] = {
	{"no unique index", "unique-index", NULL, "is killed", "holder:", 8},
	{"publish before save", "save-first", NULL,
	 "the database is stopped|is killed while the database stands still",
	 "its record has|was said twice|which is not there", 8},
	{"no idempotency key", "gateway-key,lease", NULL,
	 "payments is killed while the bank is slow", "was charged", 12},
	{"no version check", "cas", "decided=sleep:15",
	 "stumbles beside another", "its record has|was said twice|is not what",
	 8},
	{"ack before save", "save-before-ack", "decided=sleep:40",
	 "is killed while the database stands still", "heard:", 45},
	{0},
};
static const struct control *control; /* NULL: the campaign itself */

/* --- recovery ------------------------------------------------------------ */

struct probe {
	struct student *browser;
	int64_t since;
	int64_t answered, emptied; /* ms since, or -1 */
};

static bool
all_answer(void *arg)
{
	static const struct {
		const char *path;
		int status;
	} asks[] = {
		{"/api/stuff?limit=1", 200},
		{"/api/users/currentuser", 200},
		{"/api/orders?limit=1", 401},
		{"/api/coupons", 401},
		{"/", 200},
	};
	struct probe *p = arg;

	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++)
		if (ask(p->browser, "GET", asks[i].path, NULL, NULL)->status !=
		    asks[i].status)
			return false;
	for (const char *const *s =
		     (const char *const[]){"stuff", "orders", "payments",
					   "expiration", "auth", NULL};
	     *s != NULL; s++)
		if (fcgi_call(*s, "GET", "/readyz", NULL, NULL)->status != 200)
			return false;
	return true;
}

/* Each was seen empty once: students go on filling them. */
static bool
outboxes_emptied(void *arg)
{
	static const char *const owners[] = {"auth", "stuff", "orders",
					     "payments"};
	static const char *const records[] = {"users", "stuff", "orders",
					      "payments"};
	bool *seen = arg;
	bool all = true;

	for (int i = 0; i < 4; i++) {
		seen[i] = seen[i] ||
			  db_count(owners[i], records[i],
				   "{\"outbox.id\":{\"$exists\":true}}") == 0;
		all = all && seen[i];
	}
	return all;
}

static bool
recovers(struct probe *p)
{
	bool seen[4] = {false};

	p->answered = p->emptied = -1;
	if (!eventually(RECOVERY_MAX, all_answer, p))
		return false;
	p->answered = clock_monotonic() - p->since;
	if (!eventually(RECOVERY_MAX, outboxes_emptied, seen))
		return false;
	p->emptied = clock_monotonic() - p->since;
	return true;
}

/* --- the campaign -------------------------------------------------------- */

static struct strike *plan;
static size_t planned;

static void
make_plan(void)
{
	int64_t ms = (int64_t)(minutes * 60000);

	plan = schedule(seed, control ? control->faults : NULL, ms,
			control ? CONTROL_FAULTS : (size_t)(ms / FAULT_EVERY),
			&planned);
}

static void
print_plan(void)
{
	make_plan();
	for (size_t i = 0; i < planned; i++)
		printf("%7.1f s for %4.1f s: %s %u\n",
		       (double)plan[i].at / 1000, (double)plan[i].hold / 1000,
		       plan[i].text, plan[i].pick);
	for (int i = 0; decision(seed, i, 0) != NULL; i++) {
		printf("student %d:", i);
		for (unsigned n = 0; n < PLANNED; n++)
			printf("%s %s", n ? "," : "", decision(seed, i, n));
		printf("\n");
	}
}

static void
sleep_until(int64_t at)
{
	int64_t left = at - clock_monotonic();

	if (left > 0)
		clock_sleep(left);
}

/* What falls, how long, and how long it took to recover. */
static bool
fall(const struct strike *s, int64_t began, struct probe *p)
{
	int64_t struck;
	bool ok;

	sleep_until(began + s->at);
	struck = clock_monotonic();
	ok = s->fault->strike(s->target, s->pick);
	clock_sleep(s->hold);
	ok = s->fault->heal(s->target, s->pick) && ok;
	p->since = clock_monotonic();
	if (!ok || !recovers(p)) {
		tap_note("%6.1f s: %s: it does not recover",
			 (double)(struck - began) / 1000, s->text);
		return false;
	}
	tap_note("%6.1f s: %s, %.1f s; all answer after %.2f s, outboxes "
		 "were empty after %.2f s",
		 (double)(struck - began) / 1000, s->text,
		 (double)(p->since - struck) / 1000, (double)p->answered / 1000,
		 (double)p->emptied / 1000);
	return true;
}

/* Is one of the signs in what the checker said?  How many times it is tells how
 * far the control is from seeing nothing. */
static bool
finds(const char *said, const char *signs)
{
	char sign[64];
	int found = 0;

	for (; said != NULL && *signs != '\0'; signs += *signs == '|') {
		size_t len = strcspn(signs, "|");

		snprintf(sign, sizeof(sign), "%.*s", (int)len, signs);
		signs += len;
		for (const char *at = strstr(said, sign); at != NULL;
		     at = strstr(at + 1, sign)) {
			const char *line = at;

			while (line > said && line[-1] != '\n')
				line--;
			if (found++ == 0)
				tap_note("found: %.*s",
					 (int)strcspn(line, "\n"), line);
		}
	}
	if (found > 0)
		tap_note("found %d times", found);
	else
		tap_note("the checker said: %s", said ? said : "nothing");
	return found > 0;
}

static bool
bought_enough(void *arg)
{
	(void)arg;
	return students_bought() >= CONTROL_BUYS;
}

static void
campaign(void)
{
	char path[] = "/tmp/answers.XXXXXX";
	const char *const args[] = {"--answers", path, NULL};
	struct probe probe = {.browser = student_new()};
	int64_t began;
	int fallen = 0, left_out = 0;
	int64_t slowest = 0;
	bool well = true;
	const char *said;

	close(mkstemp(path));
	memory_open(path);
	make_plan();
	students_start(seed, control	      ? HURRY
			     : minutes > LONG ? LONG_PACE
					      : PACE);
	began = clock_monotonic();
	for (size_t i = 0; i < planned && well; i++) {
		if (plan[i].fault->root && !bench_is_root()) {
			tap_note("LEFT OUT, for it needs root: %s",
				 plan[i].text);
			left_out++;
			continue;
		}
		/* With a guard off it may well not recover. */
		well = fall(&plan[i], began, &probe) || control != NULL;
		fallen++;
		slowest = probe.emptied > slowest ? probe.emptied : slowest;
	}
	CU_ASSERT(well);
	if (well)
		sleep_until(began + (int64_t)(minutes * 60000));
	if (control != NULL) /* on a busy machine that takes longer */
		eventually(CONTROL_MAX, bought_enough, NULL);
	students_stop();
	memory_close();
	tap_note("%d faults fell in %.0f s, %d were left out; the slowest "
		 "recovery took %.1f s; %d answers are remembered; seed %llu",
		 fallen, (double)(clock_monotonic() - began) / 1000, left_out,
		 (double)slowest / 1000, memory_count(),
		 (unsigned long long)seed);
	CU_ASSERT(students_tell() || control != NULL);
	began = clock_monotonic();
	said = checker_says(control ? control->settle : SETTLE_MAX, args);
	tap_note("the checker took %.1f s",
		 (double)(clock_monotonic() - began) / 1000);
	if (control == NULL) {
		CU_ASSERT(breaks_only(said, ""));
		TAP_INT(memory_accusations(), 0);
	} else {
		CU_ASSERT(finds(said, control->signs));
	}
	student_free(probe.browser);
	if (getenv("T_KEEP") == NULL)
		unlink(path);
	free(plan);
}

/* --- all ----------------------------------------------------------------- */

static int
run_controls(char **argv, const char *only)
{
	int failed = 0, ran = 0, status;

	for (const struct control *c = controls; c->name != NULL; c++) {
		pid_t pid;

		if (only != NULL && strstr(c->name, only) == NULL)
			continue;
		ran++;
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			execl("/proc/self/exe", argv[0], "--control", c->name,
			      (char *)NULL);
			_exit(127);
		}
		while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
			;
		failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	}
	return failed > 0 || ran == 0;
}

static int
usage(void)
{
	fprintf(stderr, "usage: chaos [--minutes N] [--seed S] [--plan]\n"
			"       chaos --controls [NAME]\n");
	return 2;
}

static struct tap_test tests[] = {
	{"nothing is lost and nothing doubled", campaign}, {0}};

int
main(int argc, char **argv)
{
	bool wants_plan = false;

	for (int i = 1; i < argc; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--plan") == 0) {
			wants_plan = true;
		} else if (strcmp(argv[i], "--controls") == 0) {
			need_failpoints();
			return run_controls(argv, next);
		} else if (next == NULL) {
			return usage();
		} else if (strcmp(argv[i], "--minutes") == 0) {
			minutes = strtod(argv[++i], NULL);
		} else if (strcmp(argv[i], "--seed") == 0) {
			seed = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--control") == 0) {
			for (control = controls;
			     control->name != NULL &&
			     strcmp(control->name, argv[i + 1]) != 0;)
				control++;
			i++;
		} else {
			return usage();
		}
	}
	if (wants_plan) {
		print_plan();
		return 0;
	}
	need_failpoints(); /* for clocks that jump */
	if (control != NULL) {
		tests[0].name = control->name;
		setenv("GUARDS_OFF", control->guards, 1);
		if (control->slow != NULL)
			setenv("FAILPOINTS", control->slow, 1);
		minutes = CONTROL_MINUTES;
	}
	bench_up(control ? CONTROL_WINDOW : WINDOW);
	return tap_run(1, argv, tests);
}
