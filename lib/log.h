/* log.h: one JSON line an event, on standard error.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_LOG_H
#define TICKETING_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Sets the service's name, which each line carries, and the least level that
 * is written ("debug", "info", "warn", "error").  Returns -1, and sets
 * nothing, when there is no such level.  Call before threads start. */
int log_init(const char *service, const char *level);

/* The id of the request or event that this thread works on, which each of its
 * lines carries; NULL for none.  The text must outlive its use. */
void log_set_request(const char *id);

/* One member of a line; LOG_END ends a list of them. */
struct log_member {
	const char *name;
	const char *text; /* NULL: number */
	int64_t number;
};
#define LOG_TEXT(name, text) \
	((struct log_member){(name), (text) ? (text) : "", 0})
#define LOG_NUMBER(name, number) ((struct log_member){(name), NULL, (number)})

/*
 * Writes {"time","level","service","request","trace",msg,…members} as one line
 * on standard error, alone or with those of other threads that came meanwhile,
 * in the order of its thread's.  Every text is JSON-encoded, so that no value
 * can break a line or forge another.  Never log bodies, tokens, keys or card
 * data.
 */
void log_write(enum log_level level, const char *msg,
	       const struct log_member *members, int count);

#define LOG(level, msg, ...)                                         \
	log_write(level, msg, (struct log_member[]){__VA_ARGS__},    \
		  (int)(sizeof((struct log_member[]){__VA_ARGS__}) / \
			sizeof(struct log_member)))

#endif
