/* test-coalesce.c: calls of many threads that are made as one.
 * SPDX-License-Identifier: MIT */
#include "coalesce.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "clock.h"
#include "tap.h"

#define PATIENCE 30000 /* ms */
#define THREADS 8
#define TIMES 5000
#define KEYS 3

/* A call asks what the number of its key is. */
struct question {
	struct call call;
	int key;
	long answer;
	int made;      /* how often it was */
	int place, of; /* where in which list */
};

static atomic_long numbers[KEYS];
static atomic_bool shut[KEYS]; /* calls of this key are not finished */
static atomic_int entered;

static bool
same(const struct call *a, const struct call *b)
{
	return ((const struct question *)a)->key ==
	       ((const struct question *)b)->key;
}

static struct question *
next(const struct question *q)
{
	return (struct question *)q->call.next;
}

static void
make(struct call *calls)
{
	struct question *first = (struct question *)calls;
	int64_t until = clock_monotonic() + PATIENCE;
	long number = numbers[first->key];
	int n = 0, place = 0;

	entered++;
	sched_yield(); /* so that some come meanwhile */
	while (shut[first->key] && clock_monotonic() < until)
		clock_sleep(1);
	for (struct question *q = first; q != NULL; q = next(q))
		n++;
	for (struct question *q = first; q != NULL; q = next(q), place++) {
		q->place = place;
		q->of = n;
		q->answer = number;
		q->made++;
	}
}

static struct coalescer coalescer;

static void *
ask(void *arg)
{
	coalesce(&coalescer, arg);
	return NULL;
}

static pthread_t
begin(struct question *q)
{
	pthread_t t;

	if (pthread_create(&t, NULL, ask, q) != 0)
		CU_FAIL_FATAL("no thread");
	return t;
}

/* Waits until n calls are behind q. */
static bool
have_come(const struct question *q, int n)
{
	int64_t until = clock_monotonic() + PATIENCE;
	int found;

	do {
		found = 0;
		pthread_mutex_lock(&coalescer.lock);
		for (const struct call *c = q->call.behind; c; c = c->next)
			found++;
		pthread_mutex_unlock(&coalescer.lock);
		if (found == n)
			return true;
		clock_sleep(1);
	} while (clock_monotonic() < until);
	return false;
}

static bool
have_entered(int n)
{
	int64_t until = clock_monotonic() + PATIENCE;

	while (entered < n && clock_monotonic() < until)
		clock_sleep(1);
	return entered == n;
}

static void
test_meanwhile(void)
{
	struct question first = {.key = 1},
			late[3] = {{.key = 1}, {.key = 1}, {.key = 1}};
	struct question other = {.key = 2};
	pthread_t t, behind[3];

	coalescer = (struct coalescer)COALESCER(same, make);
	numbers[1] = 10;
	shut[1] = true;
	entered = 0;
	t = begin(&first);
	CU_ASSERT_TRUE(have_entered(1));
	/* What is not the same does not wait. */
	pthread_join(begin(&other), NULL);
	TAP_INT(other.made, 1);
	TAP_INT(other.of, 1);
	/* This was not so when the first one was begun. */
	numbers[1] = 11;
	for (int i = 0; i < 3; i++) {
		behind[i] = begin(&late[i]);
		CU_ASSERT_TRUE(have_come(&first, i + 1));
	}
	TAP_INT(entered, 2);
	shut[1] = false;
	pthread_join(t, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(behind[i], NULL);
	TAP_INT(first.of, 1);
	TAP_INT(first.answer, 10);
	for (int i = 0; i < 3; i++) {
		TAP_INT(late[i].made, 1);
		TAP_INT(late[i].of, 3);
		TAP_INT(late[i].place, i);
		TAP_INT(late[i].answer, 11);
	}
	TAP_INT(entered, 3);
	CU_ASSERT_PTR_NULL(coalescer.under_way);
}

static atomic_int unmade, stale;

/* Each raises a number and then asks for it. */
static void *
ask_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < TIMES; i++) {
		struct question q = {.key = i % KEYS};
		long before = atomic_fetch_add(&numbers[q.key], 1) + 1;

		coalesce(&coalescer, &q.call);
		unmade += q.made != 1;
		stale += q.answer < before;
	}
	return NULL;
}

static void
ask_from_all(void)
{
	pthread_t threads[THREADS];

	unmade = stale = entered = 0;
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, ask_often, NULL) != 0)
			CU_FAIL_FATAL("no thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	tap_note("%d calls were made as %d", THREADS * TIMES, (int)entered);
}

static void
test_many(void)
{
	coalescer = (struct coalescer)COALESCER(same, make);
	ask_from_all();
	TAP_INT(unmade, 0);
	TAP_INT(stale, 0);
	CU_ASSERT_TRUE(entered < THREADS * TIMES);
	CU_ASSERT_PTR_NULL(coalescer.under_way);
}

/* Gives what the one before it read, as if that was still under way. */
static void
make_stale(struct call *calls)
{
	static atomic_long before[KEYS];
	struct question *q = (struct question *)calls;
	long number = numbers[q->key];

	make(calls);
	for (; q != NULL; q = next(q))
		q->answer = before[q->key];
	before[((struct question *)calls)->key] = number;
}

static void
test_control(void)
{
	coalescer = (struct coalescer)COALESCER(same, make_stale);
	ask_from_all();
	CU_ASSERT_TRUE(stale > 0);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what comes meanwhile is made as one", test_meanwhile},
		{"each is made once, and reads nothing older", test_many},
		{"control: what was read before", test_control},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
