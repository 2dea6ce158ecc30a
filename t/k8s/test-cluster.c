/* test-cluster.c: a cluster goes on while its parts come and go; see prove.sh,
 * which starts it where dev is the cluster's (front.sh).
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "clock.h"
#include "flow.h"

#define LOOK_PACE 50 /* ms between two pages */

static const char *const services[] = {"auth",	     "stuff",	 "orders",
				       "expiration", "payments", "storefront"};
#define SERVICES (sizeof(services) / sizeof(services[0]))

static atomic_bool looked_enough;
static atomic_int pages, torn_pages;

/* Looks at a page that the storefront makes of what stuff answers. */
static void *
look_around(void *unused)
{
	(void)unused;
	while (!looked_enough) {
		const struct answer *a =
			fcgi_call("storefront", "GET", "/", NULL, NULL);

		pages++;
		if (a->status != 200 ||
		    strstr(a->body, "can&#39;t be shown right now") != NULL)
			torn_pages++;
		clock_sleep(LOOK_PACE);
	}
	return NULL;
}

static void
restart_all(void)
{
	pthread_t visitor;

	looked_enough = false;
	CU_ASSERT_FATAL(pthread_create(&visitor, NULL, look_around, NULL) == 0);
	some_trade(5);
	stack_restart("services", NULL);
	some_trade(5);
	looked_enough = true;
	pthread_join(visitor, NULL);
}

static void
rolling_restart(void)
{
	int before = asks_dropped();

	trade_while(restart_all);
	TAP_INT(asks_dropped() - before, 0);
	tap_note("%d pages", pages);
	CU_ASSERT(pages > 0);
	TAP_INT(torn_pages, 0);
}

static void
kill_pods(void)
{
	for (size_t i = 0; i < SERVICES; i++) {
		some_trade(3);
		stack_kill(services[i], NULL);
		stack_start(services[i], NULL);
	}
	some_trade(3);
}

static void
pods_killed(void)
{
	trade_while(kill_pods);
}

static void
delete_servers(void)
{
	some_trade(3);
	stack_kill("nats", NULL);
	stack_start("nats", NULL);
	some_trade(3);
	stack_kill("redis", NULL);
	stack_start("redis", NULL);
	some_trade(3);
}

static void
servers_deleted(void)
{
	trade_while(delete_servers);
}

static void
kill_kubelet(void)
{
	some_trade(3);
	stack_kill("kubelet", NULL);
	some_trade(10); /* what runs goes on */
	stack_start("kubelet", NULL);
	stack_kill("orders", NULL);
	stack_start("orders", NULL);
	some_trade(3);
}

static void
kubelet_killed(void)
{
	trade_while(kill_kubelet);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"all services are restarted amid trade: nothing is dropped",
		 rolling_restart},
		{"pods are killed amid trade", pods_killed},
		{"NATS' and Redis' pods are deleted amid trade",
		 servers_deleted},
		{"the node's kubelet is killed amid trade", kubelet_killed},
		{0},
	};

	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
