/* test-refresh.c: many tabs refresh at once.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "browser.h"
#include "flow.h"

#define TABS 64
#define ROUNDS 20

struct tabs {
	struct browser at[TABS];
	int status[TABS];
};

static void
refresh(int i, void *arg)
{
	struct tabs *t = arg;

	t->status[i] = browser_refreshes(&t->at[i])->status;
}

/* How many tabs are still signed in when all have refreshed at once, and then
 * all again, each with what it got. */
static int
signed_in(struct tabs *t, bool *ret_one_successor)
{
	int n = 0;

	together(TABS, refresh, t);
	*ret_one_successor = true;
	for (int i = 0; i < TABS; i++)
		if (strcmp(t->at[i].refresh, t->at[0].refresh) != 0)
			*ret_one_successor = false;
	for (int i = 0; i < TABS; i++)
		n += t->status[i] == 200;
	if (n < TABS)
		return n;
	together(TABS, refresh, t);
	n = 0;
	for (int i = 0; i < TABS; i++)
		n += t->status[i] == 200;
	return n;
}

static int64_t
writes_to_session(const struct browser *b)
{
	char *filter =
		text("{\"_id\":{\"$oid\":\"%.24s\"},\"rev\":3}", b->refresh);
	int64_t n = db_count("auth", "sessions", filter);

	free(filter);
	return n;
}

static void
one_round(struct tabs *t)
{
	browser_new(&t->at[0]);
	for (int i = 1; i < TABS; i++)
		t->at[i] = t->at[0];
}

static void
test_all_stay(void)
{
	static struct tabs t;

	for (int i = 0; i < rounds(ROUNDS); i++) {
		bool one;

		one_round(&t);
		TAP_INT(signed_in(&t, &one), TABS);
		CU_ASSERT_TRUE(one);
		/* Made, and rotated once by each of the two crowds. */
		TAP_INT(writes_to_session(&t.at[0]), 1);
	}
}

/* Negative controls. */

static void
test_without_grace(void)
{
	static struct tabs t;
	bool one;
	int lost = 0;

	stack_restart("auth", "GUARDS_OFF=grace");
	for (int i = 0; i < rounds(ROUNDS) && lost == 0; i++) {
		one_round(&t);
		lost += signed_in(&t, &one) < TABS;
	}
	CU_ASSERT_TRUE(lost > 0);
	stack_restart("auth", NULL);
}

static void
test_without_cas(void)
{
	static struct tabs t;
	bool one;
	int broken = 0;

	/* Each waits between its look and its write, so that others do too. */
	CU_ASSERT(
		stack_dev((const char *[]){"GUARDS_OFF=cas",
					   "FAILPOINTS=decided=sleep:20", NULL},
			  (const char *[]){"restart", "auth", NULL}) == 0);
	for (int i = 0; i < rounds(ROUNDS) && broken == 0; i++) {
		one_round(&t);
		broken += signed_in(&t, &one) < TABS || !one;
	}
	CU_ASSERT_TRUE(broken > 0);
	stack_restart("auth", NULL);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"64 tabs refresh at once and stay signed in", test_all_stay},
		{"control: without grace some are signed out",
		 test_without_grace},
		{"control: without compare-and-set there are several "
		 "successors",
		 test_without_cas},
		{0},
	};

	need_failpoints();
	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
