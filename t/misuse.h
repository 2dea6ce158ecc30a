/* misuse.h: what a client may do wrong, tried on one route of any service.
 * SPDX-License-Identifier: MIT */
#ifndef T_MISUSE_H
#define T_MISUSE_H

#include "harness.h"

/* Checks a status, and on a failure that it has the shape of product.md. */
#define EXPECT(answer, status) \
	expect(answer, status, NULL, NULL, __FILE__, __LINE__)

/* A failure with this one message. */
#define EXPECT_ERROR(answer, status, message) \
	expect(answer, status, message, NULL, __FILE__, __LINE__)

/* 400, and exactly these fields are named, in this order ("title price"). */
#define EXPECT_FIELDS(answer, fields) \
	expect(answer, 400, NULL, fields, __FILE__, __LINE__)

void expect(const struct answer *a, int status, const char *message,
	    const char *fields, const char *file, int line);

/* The route that all of this is tried on, by POST; main() fills it in. */
struct target {
	const char *service;
	const char *collection; /* a path: nothing is below it but ids */
	const char *path;	/* of the route */
	const char *body;	/* a good one, an object */
	const char *token;	/* of one who may; NULL: anyone may */
	int status;		/* of a good request */
	/* How much there is that a request could have left behind, or NULL. */
	int64_t (*count)(void);
};
extern struct target target;

/* A good request to the target with changes: "NAME=value" sets a FastCGI
 * parameter, "NAME" takes it away, "+NAME=value" adds it once more.  NULL ends
 * them. */
const struct answer *ask_target(const char *const *changes);

void try_json(void);
void try_sizes(void);
void try_content_types(void);
void try_content_lengths(void);
void try_headers(void);
void try_origins(void);
void try_tokens(void); /* of a route for whom is signed in */
void try_paths(void);
void try_methods(void);
void try_smuggling(void);
void try_probes(void);
void try_starts(void);
void try_stop(void);
void try_log(void);

/* All of them but try_tokens(), as rows of a program's last tests. */
#define MISUSE_TESTS                                                        \
	{"bad JSON", try_json}, {"big bodies", try_sizes},                  \
		{"content types", try_content_types},                       \
		{"content lengths that lie", try_content_lengths},          \
		{"headers twice or too long", try_headers},                 \
		{"other sites", try_origins}, {"unknown paths", try_paths}, \
		{"unknown methods", try_methods},                           \
		{"no request is smuggled", try_smuggling},                  \
		{"probes", try_probes}, {"bad settings", try_starts},       \
		{"a request in hand is finished", try_stop},                \
	{                                                                   \
		"no secret is in the log", try_log                          \
	}

/* Is a request found in a body that nobody wanted? */
bool can_smuggle(const char *service);

/* Calls use() for each token that is none. */
void each_bad_token(void (*use)(const char *token));

/* A member of the object a.json as JSON text, NULL: a's; and its names, in
 * order: "id title price". */
const char *names_of(const struct answer *a);

/* Is the text in the service's log? */
bool is_logged(const char *service, const char *text);

/* For eventually(): is the process, a pid_t, gone but perhaps for its exit
 * status? */
bool has_ended(void *pid);

/* A descriptor, by address: has the other side read all that was sent? */
bool is_read(void *fd);

/* The number of events that are or were on a channel of the bus. */
int64_t channel_length(const char *channel);

#endif
