/* main.c: orders, the service that decides who holds and who bought what.
 * SPDX-License-Identifier: MIT */
#include "model.h"

int
main(int argc, char **argv)
{
	static const struct kind *const kinds[] = {
		&order_kind, &stuff_copy_kind, &mail_kind, NULL};
	static struct task *const tasks[] = {&orders_sweep, &mail_pruning,
					     NULL};
	static struct service orders = {
		.name = "orders",
		.routes = orders_routes,
		.hears = orders_hears,
		.kinds = kinds,
		.tasks = tasks,
		.settings = orders_settings,
		.metrics = orders_metrics,
		.measure = orders_measure,
	};

	return service_run(&orders, argc, argv);
}
