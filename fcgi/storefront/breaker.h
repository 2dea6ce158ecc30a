/* breaker.h: who asks a service in vain spares those who come after the wait.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_BREAKER_H
#define STOREFRONT_BREAKER_H

#include <stdbool.h>

/*
 * A page waits for a slow service as long as it may, and holds a worker. So
 * when one was slow, for a while only one page at a time finds out whether it
 * still is; for all others that part is missing at once, and the shop has
 * workers for the pages that don't need it.
 */

/* May what is under this path be asked now?  breaker_told() must follow. */
bool breaker_asks(const char *path);

/* How it went: it answered, whatever; or not, after so many ms. */
void breaker_told(const char *path, bool answered, long ms);

#endif
