/* wire.h: a man in the middle of the services and their database.
 * SPDX-License-Identifier: MIT */
#ifndef T_WIRE_H
#define T_WIRE_H

#include <bson/bson.h>

/* A command that was answered.  What the driver sends beside it, an insert's
 * documents say, is in it as an array of that name.  Times are in us, of the
 * monotonic clock: when all of it, and when all of the answer was here. */
struct wire_command {
	const char *name;
	bson_t *body;
	int64_t asked, answered;
};

/* Called from threads of its own before the answer is passed on. */
typedef void (*wire_watcher)(void *closure, const struct wire_command *command);

/* Passes on to the database that uri names (mongodb://HOST:PORT, no TLS) what
 * comes to a port of loopback, which it returns, until the program ends; -1
 * when it can't.  Programs that use it need SIGPIPE ignored. */
int wire_open(const char *uri, wire_watcher watch, void *closure);

#endif
