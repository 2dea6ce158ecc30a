/* main.c: expiration, the service that says when an order's time is over.
 * SPDX-License-Identifier: MIT */
#include "timers.h"

static const char *redis_url;

static const char *
open_timers(void)
{
	return timers_open(redis_url);
}

static bool
ready(struct context *cx, json_object *states)
{
	bool up = timers_ping(cx) == NULL;

	json_put_text(states, "redis", up ? "up" : "down");
	return up;
}

int
main(int argc, char **argv)
{
	static const struct setting settings[] = {
		{.name = "REDIS_URL", .text = &redis_url},
		{.name = "EXPIRATION_WINDOW_SECONDS",
		 .number = &expiration_window,
		 .fallback = "900",
		 .min = 1,
		 .max = 86400},
		{0},
	};
	static struct task *const tasks[] = {&expire_task, NULL};
	static struct service expiration = {
		.name = "expiration",
		.hears = expiration_hears,
		.settings = settings,
		.tasks = tasks,
		.open = open_timers,
		.close = timers_close,
		.ready = ready,
		.metrics = expiration_metrics,
	};

	return service_run(&expiration, argc, argv);
}
