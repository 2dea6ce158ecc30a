/* clock.h: the time, in one place.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_CLOCK_H
#define TICKETING_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"

/* Milliseconds since 1970, UTC. */
int64_t clock_now(void);

/* Milliseconds on a clock that is never set: for deadlines and durations. */
int64_t clock_monotonic(void);

/* Microseconds on the same clock: for what is measured. */
int64_t clock_micros(void);

/* Returns after ms milliseconds. */
void clock_sleep(int64_t ms);

/* As pthread_cond_wait(), until then on the clock that is never set at the
 * latest.  Returns whether it was before that. */
bool clock_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until);

/* RFC 3339 UTC with milliseconds, "2026-01-31T09:00:00.000Z". */
char *clock_format(struct arena *a, int64_t ms);

/* Reads RFC 3339 in UTC ("Z"), seconds with up to three decimals.  Returns 0,
 * or -1 for anything else. */
int clock_parse(const char *s, int64_t *ret_ms);

#endif
