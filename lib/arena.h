/* arena.h: memory that lives as long as one request, event or task run.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_ARENA_H
#define TICKETING_ARENA_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Everything that a handler makes hangs on an arena and goes with it: handlers
 * never free.  An arena belongs to one thread.  No call here returns NULL: a
 * process that is out of memory says so and exits with 71 (EX_OSERR), and its
 * supervisor starts it again.
 */
struct arena;

struct arena *arena_new(void);

/* Runs what was deferred, newest first, and frees all.  NULL is accepted. */
void arena_free(struct arena *a);

/* As arena_free(), but the arena can be used again: it keeps one block. */
void arena_reset(struct arena *a);

/* Zeroed bytes, aligned for any type. */
void *arena_alloc(struct arena *a, size_t size);

/* Calls fn(p) when the arena is reset or freed: for what other libraries
 * allocated.  Returns p, so that a constructor can be wrapped. */
void *arena_defer(struct arena *a, void (*fn)(void *), void *p);

char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

#endif
