/* main.c: auth, the service that knows who users are.
 * SPDX-License-Identifier: MIT */
#include "model.h"
#include "password.h"
#include "service.h"

int
main(void)
{
	static const struct kind *const kinds[] = {&user_kind, NULL};
	static struct service auth = {
		.name = "auth",
		.routes = auth_routes,
		.kinds = kinds,
		.open = password_open,
		.close = password_close,
	};

	return service_main(&auth);
}
