/* main.c: auth, the service that knows who users are.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "mailer.h"
#include "model.h"
#include "password.h"
#include "session.h"
#include "throttle.h"

#define SWEEP_EVERY 3600000 /* ms */

static void
sweep(struct context *cx)
{
	session_sweep(cx);
	throttle_sweep(cx);
	mailer_sweep(cx);
}

static struct task auth_sweep = {
	.name = "sweep", .every = SWEEP_EVERY, .run = sweep};

/* The operator's word: the only way to become an admin. */
struct order {
	const char *email, *role;
};

static int
set_role(struct context *cx, void *arg)
{
	const struct order *order = arg;
	struct account account;
	const struct fail *fail = account_by_email(cx, order->email, &account);

	if (fail == NULL)
		fail = store_change(cx, &user_kind, account.head.id,
				    account_set_role, order->role, &account);
	if (fail != NULL && fail->status == 404) {
		fprintf(stderr, "auth: nobody has the address %s\n",
			order->email);
		return EX_NOUSER;
	}
	if (fail != NULL) {
		fprintf(stderr, "auth: %s\n",
			fail->cause ? fail->cause : fail->name);
		return EX_TEMPFAIL;
	}
	printf("%s is %s now\n", account.email,
	       strcmp(order->role, ROLE_ADMIN) == 0 ? "an admin" : "no admin");
	return 0;
}

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
main(int argc, char **argv)
{
	static const struct kind *const kinds[] = {
		&user_kind, &session_kind, &throttle_kind, &letter_kind, NULL};
	static struct task *const tasks[] = {&auth_sweep, &mailer_sending,
					     NULL};
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
	struct order order = {.email = argc == 3 ? argv[2] : NULL};

	if (argc == 1 || (argc == 2 && strcmp(argv[1], "--openapi") == 0))
		return service_run(&auth, argc, argv);
	if (argc == 3 && strcmp(argv[1], "--make-admin") == 0)
		order.role = ROLE_ADMIN;
	else if (argc == 3 && strcmp(argv[1], "--revoke-admin") == 0)
		order.role = ROLE_USER;
	if (order.role == NULL) {
		fprintf(stderr, "usage: auth [--make-admin EMAIL | "
				"--revoke-admin EMAIL | --openapi]\n");
		return EX_USAGE;
	}
	return service_command(&auth, set_role, &order);
}
