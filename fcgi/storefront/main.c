/* main.c: the storefront, the service whose pages people see.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "client.h"
#include "pages.h"
#include "routes.h"
#include "view.h"

const char *pages_stripe_key;
int64_t pages_window, pages_file_max;

static struct service storefront;

static const struct setting settings[] = {
	{.name = "STOREFRONT_DIR", .text = &view_dir},
	{.name = "INTERNAL_BASE_URL", .text = &client_base},
	{.name = "INTERNAL_CA_FILE", .text = &client_ca_file, .fallback = ""},
	{.name = "STRIPE_PUBLISHABLE_KEY",
	 .text = &pages_stripe_key,
	 .fallback = ""},
	{.name = "EXPIRATION_WINDOW_SECONDS",
	 .number = &pages_window,
	 .fallback = "900",
	 .min = 1,
	 .max = 86400},
	{.name = "FILE_MAX_BYTES",
	 .number = &pages_file_max,
	 .fallback = "104857600",
	 .min = 1,
	 .max = INT64_C(1) << 40},
	{0},
};

static const char *
open_all(void)
{
	const char *error = client_open(storefront.base_url);

	return error ? error : view_open(storefront.base_url);
}

static void
close_all(void)
{
	view_close();
	client_close();
}

static struct service storefront = {
	.name = "storefront",
	.routes = storefront_routes,
	.settings = settings,
	.open = open_all,
	.close = close_all,
	.show_fail = view_fail,
};

/* For who edits templates. */
static int
check_templates(const char *dir)
{
	char error[512];
	struct templates *t = templates_load(dir, error, sizeof(error));

	if (t == NULL) {
		fprintf(stderr, "%s\n", error);
		return EX_DATAERR;
	}
	templates_free(t);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--check-templates") == 0)
		return check_templates(argv[2]);
	if (argc > 1) {
		fprintf(stderr, "usage: storefront [--check-templates DIR]\n");
		return EX_USAGE;
	}
	return service_main(&storefront);
}
