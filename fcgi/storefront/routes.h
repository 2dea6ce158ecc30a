/* routes.h: the storefront's table of routes.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_ROUTES_H
#define STOREFRONT_ROUTES_H

#include "http.h"

extern const struct route storefront_routes[];

#endif
