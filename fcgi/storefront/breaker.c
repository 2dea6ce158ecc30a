/* breaker.c: see breaker.h.
 * SPDX-License-Identifier: MIT */
#include "breaker.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "clock.h"

#define SLOW                                                                   \
	500	   /* ms in vain; what is down says so sooner and costs little \
		    */
#define CLOSED 500 /* ms */
#define TRIAL 2500 /* ms, longer than a page waits */

static struct {
	const char *prefix;
	atomic_llong closed_until; /* on the monotonic clock; 0: open */
} services[] = {
	{"/api/users", 0},    {"/api/stuff", 0},   {"/api/orders", 0},
	{"/api/payments", 0}, {"/api/coupons", 0},
};

static atomic_llong *
door_of(const char *path)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (strncmp(path, services[i].prefix,
			    strlen(services[i].prefix)) == 0)
			return &services[i].closed_until;
	return NULL;
}

bool
breaker_asks(const char *path)
{
	atomic_llong *door = door_of(path);
	long long now = clock_monotonic(), until;

	if (door == NULL || (until = atomic_load(door)) == 0)
		return true;
	/* Whose turn it is keeps the others out meanwhile. */
	return now >= until &&
	       atomic_compare_exchange_strong(door, &until, now + TRIAL);
}

void
breaker_told(const char *path, bool answered, long ms)
{
	atomic_llong *door = door_of(path);

	if (door == NULL)
		return;
	if (answered)
		atomic_store(door, 0);
	else if (ms >= SLOW || atomic_load(door) != 0)
		atomic_store(door, clock_monotonic() + CLOSED);
}
