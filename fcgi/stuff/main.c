/* main.c: stuff, the service that knows what is for sale.
 * SPDX-License-Identifier: MIT */
#include "model.h"

int
main(void)
{
	static const struct kind *const kinds[] = {&stuff_kind, NULL};
	static struct service stuff = {
		.name = "stuff",
		.routes = stuff_routes,
		.hears = stuff_hears,
		.kinds = kinds,
	};

	return service_main(&stuff);
}
