/* calls.h: each call of a library that can fail does so in turn.
 * SPDX-License-Identifier: MIT */
#ifndef T_CALLS_H
#define T_CALLS_H

#include <stdbool.h>

/*
 * The linker gives calls.c what the program's own code calls of MongoDB's
 * driver, libcurl, hiredis, libfcgi, NATS' client, libjwt and libsodium, see
 * t/Makefile-t.am.  It passes all of it on, but for the one that is to fail.
 *
 * With that comes a clock that does not run but is pushed: what waits is
 * through at once.
 */

/* Ways to fail, as far as the call has them. */
enum calls_how {
	CALL_CUT,    /* not done: the connection broke */
	CALL_LOST,   /* done, but its answer never came */
	CALL_REFUSED /* not done: so said the server; the next ones are */
};

/* From now on the calling thread's calls count; the one with that number, from
 * 1, fails so (0: none). */
void calls_begin(long at, enum calls_how how);

/* No more from here on.  How many there were. */
long calls_end(void);

/* The one that failed, and whether it can fail so at all; NULL: none did. */
const char *calls_failed(void);

/* Likewise in all threads. */
void calls_begin_everywhere(long at, enum calls_how how);

/* Likewise calls without whose success a process has no use and ends with 71,
 * of which nothing is counted otherwise. */
void calls_begin_fatal(long at);

/* Inserts and reads of the database stand still until they are let go. */
void calls_hold(void);
void calls_let_go(void);

/* How many stand, and how many since calls_hold() had to wait for one that was
 * under way: see coalesce.h. */
int calls_standing(void);
int calls_behind(void);

/* The clock goes on by so many ms. */
void calls_later(long ms);

/* The time of day is that of the servers again. */
void calls_clock_right(void);

#endif
