/* test-keys.c: JWT_KEY is changed on a running stack, and nobody is signed
 * out.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "browser.h"
#include "clock.h"
#include "flow.h"
#include "misuse.h"

#define NEW_KEY "another key of thirty-two bytes, or a few more"

/* auth makes tokens, so it comes last: by then all others know the new key. */
static const char *const services[] = {"stuff", "orders", "payments", "auth"};
#define SERVICES (sizeof(services) / sizeof(services[0]))

static void
restart_all(const char *key, const char *previous)
{
	char *now = text("JWT_KEY=%s", key);
	char *before = text("JWT_KEY_PREVIOUS=%s", previous);

	for (size_t i = 0; i < SERVICES; i++)
		TAP_INT(stack_dev((const char *[]){now, before, NULL},
				  (const char *[]){"restart", services[i],
						   NULL}),
			0);
	free(now);
	free(before);
}

struct asking {
	struct browser b;
	atomic_bool over;
	int good, refused; /* neither: a service was being restarted */
};

static void
ask_or_rotate(int i, void *arg)
{
	struct asking *all = arg, *a = &all[i];

	if (i == 2) {
		restart_all(NEW_KEY, stack("JWT_KEY"));
		clock_sleep(300);
		all[0].over = all[1].over = true;
		return;
	}
	/* One goes on with its token, one refreshes again and again. */
	while (!a->over) {
		const struct answer *answer =
			browse(&a->b, "orders", "GET", "/api/orders", NULL);

		a->good += answer->status == 200;
		a->refused += answer->status == 401 || answer->status == 403;
		if (i == 1)
			a->refused += browser_refreshes(&a->b)->status == 401;
		clock_sleep(5);
	}
}

/* The part of a token that names its key. */
static bool
same_key(const char *token, const char *other)
{
	size_t n = strcspn(token, ".");

	return n == strcspn(other, ".") && strncmp(token, other, n) == 0;
}

static void
test_rotation(void)
{
	static struct asking all[3];
	struct browser b, old;

	browser_new(&b);
	old = b;
	for (int i = 0; i < 2; i++)
		browser_new(&all[i].b);
	together(3, ask_or_rotate, all);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT(all[i].good > 10);
		TAP_INT(all[i].refused, 0);
	}
	EXPECT(browse(&b, "orders", "GET", "/api/orders", NULL), 200);
	EXPECT(browser_refreshes(&b), 200);
	CU_ASSERT_FALSE(same_key(b.session, old.session));
	EXPECT(browse(&b, "stuff", "POST", "/api/stuff",
		      "{\"title\":\"Notes\",\"price\":500}"),
	       201);

	/* A quarter of an hour later the old key goes: who was away since then
	 * has a refresh token, which no key is part of. */
	restart_all(NEW_KEY, "");
	EXPECT(browse(&old, "orders", "GET", "/api/orders", NULL), 401);
	EXPECT(browse(&b, "orders", "GET", "/api/orders", NULL), 200);
	old = all[0].b;
	EXPECT(browse(&old, "orders", "GET", "/api/orders", NULL), 401);
	EXPECT(browser_refreshes(&old), 200);
	EXPECT(browse(&old, "orders", "GET", "/api/orders", NULL), 200);
}

/* Without the previous key, the same loop sees people signed out. */
static void
test_control(void)
{
	struct browser b;

	restart_all(stack("JWT_KEY"), "");
	browser_new(&b);
	EXPECT(browse(&b, "orders", "GET", "/api/orders", NULL), 200);
	restart_all(NEW_KEY, "");
	EXPECT(browse(&b, "orders", "GET", "/api/orders", NULL), 401);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"keys rotate and nobody is signed out", test_rotation},
		{"control: without the previous key", test_control},
		{0},
	};

	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
