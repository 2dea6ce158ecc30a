/* test-expiration.c: expiration between the bus and Redis.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "flow.h"
#include "misuse.h"

static void
tell_order(const char *channel, const char *id, int version, int64_t expires_at)
{
	struct arena *a = arena_new();

	bus_put_event(channel, id, version,
		      arena_printf(a,
				   "{\"id\":\"%s\",\"status\":\"created\","
				   "\"userId\":\"%s\",\"expiresAt\":\"%s\","
				   "\"stuff\":{\"id\":\"%s\",\"title\":"
				   "\"Notes\",\"price\":500}}",
				   id, id, clock_format(a, expires_at), id));
	arena_free(a);
}

static int64_t
expired(void)
{
	return channel_length("expiration:complete");
}

static bool
has_expired(void *number)
{
	return expired() >= *(int64_t *)number;
}

static bool
expires(int64_t number)
{
	return eventually(20000, has_expired, &number);
}

static void
test_on_time(void)
{
	char id[ID_SIZE];
	int64_t before = expired(), due = clock_now() + 1000;

	id_new(id);
	tell_order("order:created", id, 1, due);
	CU_ASSERT_TRUE(expires(before + 1));
	CU_ASSERT_TRUE(clock_now() >= due);
}

/* What is long due is told at once; what is heard again, no later. */
static void
test_past(void)
{
	char id[ID_SIZE];
	int64_t before = expired();

	id_new(id);
	tell_order("order:created", id, 1, clock_now() + 3600000);
	tell_order("order:created", id, 1, clock_now() - 1000);
	tell_order("order:created", id, 1, clock_now() + 3600000);
	CU_ASSERT_TRUE(expires(before + 1));
}

/* What has ended does not expire, in whatever order that is heard. */
static void
test_ended(void)
{
	char id[ID_SIZE], last[ID_SIZE];
	int64_t before = expired(), due = clock_now() + 1000;

	id_new(id);
	tell_order("order:created", id, 1, due);
	tell_order("order:cancelled", id, 2, due);
	id_new(id);
	tell_order("order:completed", id, 2, due);
	tell_order("order:created", id, 1, due);
	/* All of these were heard before this one is due. */
	id_new(last);
	tell_order("order:created", last, 1, due + 1000);
	CU_ASSERT_TRUE(expires(before + 1));
	TAP_INT(expired(), before + 1);
}

static void
test_bad_events(void)
{
	int64_t before = channel_length("dead:letter"), want;

	bus_put("order:created", "{");
	bus_put("order:cancelled", "{\"id\":\"x\"}");
	want = before + 2;
	for (int i = 0; i < 500 && channel_length("dead:letter") < want; i++)
		clock_sleep(20);
	TAP_INT(channel_length("dead:letter"), want);
	test_past(); /* they are in nobody's way */
}

static void
test_ready(void)
{
	const struct answer *a =
		fcgi_call("expiration", "GET", "/readyz", NULL, NULL);

	TAP_INT(a->status, 200);
	TAP_STRING(answer_text(a, "redis"), "up");
	TAP_STRING(answer_text(a, "bus"), "up");
	stack_kill("redis", "KILL");
	a = fcgi_call("expiration", "GET", "/readyz", NULL, NULL);
	TAP_INT(a->status, 503);
	TAP_STRING(answer_text(a, "redis"), "down");
	TAP_INT(fcgi_call("expiration", "GET", "/healthz", NULL, NULL)->status,
		200);
	stack_start("redis", NULL);
	test_past();
	EXPECT_ERROR(fcgi_call("expiration", "GET", "/api", NULL, NULL), 404,
		     "Not Found");
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"on time", test_on_time},
		{"what is past", test_past},
		{"what has ended", test_ended},
		{"bad events are set aside", test_bad_events},
		{"ready while Redis is", test_ready},
		{NULL},
	};
	static const char *const others[] = {"auth", "stuff", "orders",
					     "payments"};

	stack_up(NULL);
	/* The test tells what they would. */
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		stack_dev(NULL, (const char *[]){"kill", others[i], NULL});
	/* A rebuild would hand all over once more, and what is past would be
	 * told twice: 90-race/test-expiry looks at that. */
	stack_dev((const char *[]){"GUARDS_OFF=rebuild", NULL},
		  (const char *[]){"restart", "expiration", NULL});
	return tap_run(argc, argv, tests);
}
