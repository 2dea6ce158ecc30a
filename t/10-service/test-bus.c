/* test-bus.c: each call that the bus makes of NATS' client fails in turn, on
 * whichever thread, from connecting to acknowledging.  What was published and
 * told to be stored comes all the same, and the bus can be closed.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "calls.h"
#include "clock.h"
#include "flow.h"
#include "log.h"

#define CHANNEL "test:calls"
#define CALLS_MAX 40 /* those later are of the same kinds */
#define WAIT 40000   /* ms; the bus itself takes 30 s for what it lost */

static char wanted[ID_SIZE];
static atomic_int heard, put_off;

/* The first time, it is to come again. */
static enum bus_verdict
hear(void *closure, const char *channel, const void *bytes, size_t len)
{
	(void)closure;
	(void)channel;
	if (len != strlen(wanted) || memcmp(bytes, wanted, len) != 0)
		return BUS_DONE;
	if (put_off++ == 0)
		return BUS_AGAIN;
	heard++;
	return BUS_DONE;
}

static bool
publishes(void *bus)
{
	return bus_publish_wait(bus, CHANNEL, wanted, strlen(wanted));
}

static bool
is_up(void *bus)
{
	return bus_connected(bus);
}

static bool
has_heard(void *unused)
{
	(void)unused;
	return heard > 0;
}

/* It may have been stored twice, and the first put off. */
static bool
none_is_parked(void *bus)
{
	return bus_parked(bus) == 0;
}

/* A bus from its start to its end.  Returns how many calls there were. */
static long
live(long at, enum calls_how how)
{
	static const char *const channels[] = {CHANNEL, NULL};
	struct bus *bus = bus_open(&(struct bus_options){
		.url = stack("NATS_URL"),
		.cluster = stack("NATS_CLUSTER_ID"),
		.client = "test-calls",
		.group = "test-calls",
		.channels = channels,
		.handler = hear,
	});
	long n;

	id_new(wanted);
	heard = put_off = 0;
	calls_begin_everywhere(at, how);
	bus_start(bus);
	CU_ASSERT_TRUE(eventually(WAIT, is_up, bus));
	CU_ASSERT_TRUE(eventually(WAIT, publishes, bus));
	CU_ASSERT_TRUE(eventually(WAIT, has_heard, NULL));
	CU_ASSERT_TRUE(eventually(WAIT, none_is_parked, bus));
	n = calls_end();
	bus_close(bus);
	return n;
}

static void
each_fails(void)
{
	long n = live(0, CALL_CUT);
	int failed = 0;

	CU_ASSERT(n > 5);
	for (long at = 1; at <= n && at <= CALLS_MAX; at++)
		for (int how = CALL_CUT; how <= CALL_REFUSED; how++) {
			live(at, (enum calls_how)how);
			failed += calls_failed() != NULL;
		}
	tap_note("%ld calls, %d failures", n, failed);
	CU_ASSERT(failed > 3);
}

/* A rebuild that can't begin says so. */
static void
no_replay(void)
{
	static const char *const channels[] = {CHANNEL, NULL};
	struct bus *bus = bus_open(&(struct bus_options){
		.url = stack("NATS_URL"),
		.cluster = stack("NATS_CLUSTER_ID"),
		.client = "test-calls",
		.group = "test-calls",
		.channels = channels,
		.handler = hear,
	});

	TAP_INT(bus_replay(bus, 60000), -1);
	TAP_INT(bus_replay_end(bus, 0), -1);
	bus_start(bus);
	CU_ASSERT_TRUE(eventually(WAIT, is_up, bus));
	for (long at = 1; at <= 4; at++) {
		int rc;

		calls_begin(at, at < 3 ? CALL_REFUSED : CALL_CUT);
		rc = bus_replay(bus, 60000);
		calls_end();
		if (calls_failed() != NULL)
			TAP_INT(rc, -1);
	}
	TAP_INT(bus_replay(bus, 60000), 0);
	CU_ASSERT(bus_replay_end(bus, 0) != 0);
	bus_close(bus);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"each call fails", each_fails},
		{"a replay that can't begin", no_replay},
		{0},
	};

	stack_up((const char *const[]){NULL});
	if (sodium_init() < 0)
		return 1;
	log_init("test", "error");
	return tap_run(argc, argv, tests);
}
