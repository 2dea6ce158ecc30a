/* main.c: auth, the service that knows who users are.
 * SPDX-License-Identifier: MIT */
#include "model.h"
#include "password.h"
#include "session.h"

#define SWEEP_EVERY 3600000 /* ms */

static struct task auth_sweep = {
	.name = "sweep", .every = SWEEP_EVERY, .run = session_sweep};

int
main(void)
{
	static const struct kind *const kinds[] = {&user_kind, &session_kind,
						   NULL};
	static struct task *const tasks[] = {&auth_sweep, NULL};
	static struct service auth = {
		.name = "auth",
		.routes = auth_routes,
		.kinds = kinds,
		.tasks = tasks,
		.open = password_open,
		.close = password_close,
	};

	return service_main(&auth);
}
