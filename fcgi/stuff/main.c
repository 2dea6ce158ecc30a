/* main.c: stuff, the service that knows what is for sale.
 * SPDX-License-Identifier: MIT */
#include "model.h"
#include "pictures.h"

int
main(int argc, char **argv)
{
	static const struct kind *const kinds[] = {
		&stuff_kind,	     &files_kind,   &files_chunks_kind,
		&files_uploads_kind, &picture_kind, NULL};
	static struct task *const tasks[] = {&files_sweep, NULL};
	static struct service stuff = {
		.name = "stuff",
		.routes = stuff_routes,
		.hears = stuff_hears,
		.kinds = kinds,
		.tasks = tasks,
		.settings = files_settings,
		.open = files_open,
	};

	return service_run(&stuff, argc, argv);
}
