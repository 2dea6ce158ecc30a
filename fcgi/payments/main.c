/* main.c: payments, the service that takes the money, once.
 * SPDX-License-Identifier: MIT */
#include "gateway.h"
#include "model.h"
#include "webhook.h"

static const char *key, *base;

static const struct setting settings[] = {
	{.name = "STRIPE_KEY", .text = &key, .min = 1},
	{.name = "STRIPE_WEBHOOK_SECRET", .text = &webhook_secret, .min = 1},
	{.name = "STRIPE_API_BASE",
	 .text = &base,
	 .fallback = "https://api.stripe.com"},
	/* Also service.c's: see routes.c on how many may wait. */
	{.name = "FCGI_WORKERS",
	 .number = &payments_workers,
	 .fallback = "8",
	 .min = 1,
	 .max = 256},
	{0},
};

static const char *
open_gateway(void)
{
	return gateway_open(base, key);
}

int
main(int argc, char **argv)
{
	static const struct kind *const kinds[] = {
		&payment_kind, &order_copy_kind, &coupon_kind, &guesses_kind,
		&webhook_kind, &mail_kind,	 NULL,
	};
	static struct task *const tasks[] = {
		&payments_settling, &coupons_sweep, &payments_reconciling,
		&mail_pruning,	    NULL,
	};
	static struct service payments = {
		.name = "payments",
		.routes = payments_routes,
		.hears = payments_hears,
		.kinds = kinds,
		.tasks = tasks,
		.settings = settings,
		.open = open_gateway,
		.close = gateway_close,
		.metrics = payments_metrics,
		.measure = payments_measure,
	};

	return service_run(&payments, argc, argv);
}
