/* main.c: auth, the service that knows who users are.
 * SPDX-License-Identifier: MIT */
#include "mailer.h"
#include "model.h"
#include "password.h"
#include "service.h"

static const char *
open_all(void)
{
	const char *error = mailer_open();

	return error ? error : password_open();
}

static void
close_all(void)
{
	password_close();
	mailer_close();
}

int
main(void)
{
	static const struct kind *const kinds[] = {&user_kind, &letter_kind,
						   NULL};
	static struct task *const tasks[] = {&mailer_sending, NULL};
	static struct service auth = {
		.name = "auth",
		.routes = auth_routes,
		.hears = mailer_hears,
		.kinds = kinds,
		.tasks = tasks,
		.settings = mailer_settings,
		.open = open_all,
		.close = close_all,
	};

	return service_main(&auth);
}
