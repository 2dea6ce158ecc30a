/* harness.h: a whole stack of one's own for a test, and students to use it.
 * SPDX-License-Identifier: MIT */
#ifndef T_HARNESS_H
#define T_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "json.h"
#include "tap.h"

/*
 * stack_up() runs `dev up` in a folder of its own, on free ports, with the
 * programs of the build under test (DEV_BUILD), the databases in memory and
 * the scriptable gateway t/gateway.py (DEV_STRIPE=scripted).  settings are
 * "NAME=value" for its environment, a NULL ends them.  It is taken down when
 * the program ends, however it ends.  Skips the program when the tools are
 * not there and DEV_TOOLS does not say where.
 */
void stack_up(const char *const *settings);

/* What `dev env` tells: stack("BASE_URL"), "MONGO_URI", "RUN_DIR", … */
const char *stack(const char *name);

/*
 * Runs `dev ARGS…` on the stack with "NAME=value" settings added to its
 * environment for this run (FAILPOINTS, GUARDS_OFF, …); both arrays end with
 * NULL, settings may be NULL.  Returns its exit status; a failure is noted.
 */
int stack_dev(const char *const *settings, const char *const *args);

/* Short for dev restart, kill and start NAME; settings as "A=x" or NULL. */
void stack_restart(const char *name, const char *setting);
void stack_kill(const char *name, const char *signal);
void stack_start(const char *name, const char *setting);

/* The process of a service or server; 0 when it has none. */
pid_t stack_pid(const char *name);

/* Its resident memory in KiB. */
long stack_rss(const char *name);

/* Polls until enough(arg) or ms have passed; what it said last. */
bool eventually(int64_t ms, bool (*enough)(void *arg), void *arg);

/* An answer; it lasts until the asker's next question or end. */
struct answer {
	int status;	   /* HTTP; 0: none came, see error */
	const char *error; /* libcurl's, or what a FastCGI socket did */
	const char *body;
	size_t len;
	json_object *json; /* of the body, or NULL */
	int64_t ms;
	char headers[8192]; /* as received */
};

/* A student at a browser: a cookie jar and a connection of its own.  One
 * thread at a time. */
struct student;
struct student *student_new(void);
void student_free(struct student *s);

/*
 * Asks BASE_URL + path (or an absolute URL) through nginx.  body NULL: none;
 * else it is sent as application/json.  headers: more of them, "Name: value",
 * NULL ends them; or NULL.  Never NULL.
 */
const struct answer *ask(struct student *s, const char *method,
			 const char *path, const char *body,
			 const char *const *headers);

/* The same with a body made as by printf(). */
const struct answer *askf(struct student *s, const char *method,
			  const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Value of an answer's header, in a buffer of the calling thread; NULL. */
const char *answer_header(const struct answer *a, const char *name);

/* Text, or number, at a path of members in the body: "stuff.price". NULL, or
 * -1, when there is none. */
const char *answer_text(const struct answer *a, const char *path);
int64_t answer_int(const struct answer *a, const char *path);

/* A new student who signed up with an address of its own. */
struct student *student_signed_up(void);
const char *student_id(const struct student *s);
const char *student_email(const struct student *s);
const char *student_cookie(const struct student *s); /* the session's token */

/* Gives a listing a file, which has that text; headers as for ask(). */
const struct answer *upload(struct student *s, const char *stuff_id,
			    const char *text, const char *const *headers);

/* Steps that must succeed; ids are malloc()ed, 24 digits.  list_stuff() gives
 * it a file too: its version is 2. */
char *list_stuff(struct student *s, int64_t price);
char *buy(struct student *s, const char *stuff_id);

/* Polls GET path until its member has the text, 20 s at most. */
bool becomes(struct student *s, const char *path, const char *member,
	     const char *text);

/*
 * Asks a service on its own FastCGI socket, past nginx.  params are
 * "NAME=value" FastCGI parameters, NULL ends them (CONTENT_LENGTH is not
 * added).  The answer's memory is the calling thread's until its next call.
 */
const struct answer *fcgi_ask(const char *service, const char *const *params,
			      const void *body, size_t len);

/*
 * With T_HTTPS set, fcgi_ask() and fcgi_call() ask BASE_URL instead: of a stack
 * in a cluster, so that any replica answers.  How many of these so far got no
 * answer of a service: none at all, or one that a server in front made up.
 */
int asks_dropped(void);

/* The same step by step: a connection, or -1; the parameters of a request that
 * asks to keep it or not, and its body, 0 or -1; the answer. */
int fcgi_connect(const char *service);
int fcgi_begin(int fd, bool keep, const char *const *params);
int fcgi_body(int fd, const void *body, size_t len);
const struct answer *fcgi_receive(int fd);

/*
 * The same as a request: method, path with query, JSON body or NULL, and the
 * session token of a student or NULL.
 */
const struct answer *fcgi_call(const char *service, const char *method,
			       const char *path, const char *body,
			       const char *token);

/* A plain HTTP request to a server of the stack on loopback (the gateway's
 * control and books, NATS' monitor): url in full; as ask() without cookies. */
const struct answer *http_plain(const char *method, const char *url,
				const char *body);

/* Publishes bytes on a channel of the stack's bus, and waits until stored. */
void bus_put(const char *channel, const char *bytes);

/* An event as another service would send it: data is JSON text. */
void bus_put_event(const char *channel, const char *subject, int64_t version,
		   const char *data);

/*
 * Starts argv[0], which is looked for on the PATH; settings, "NAME=value" up to
 * a NULL, are set in its environment, or are all of that where it is bare.  Its
 * standard streams are these descriptors; where one is 0, it is ours, but what
 * it prints goes to our standard error: should this process die first, nobody
 * who reads our results waits for its end.  Returns its process id, or -1.
 * Unlike what fork() leaves, nothing of ours runs in it: of a process with
 * threads that could hang, as soon as it allocates memory.
 */
struct program {
	const char *const *argv, *const *settings;
	bool bare;
	int in, out, err;
};
pid_t program_start(const struct program *p);

/* Waits for its end.  Returns its exit status; -1 when it has none. */
int program_wait(pid_t pid);

/* A free port on loopback, as digits; and, for eventually(): does something
 * listen at these digits? */
void port_choose(char port[8]);
bool port_answers(void *port);

#endif
