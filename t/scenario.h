/* scenario.h: a service of the test's own, in its process, does one thing while
 * each call of a library fails in turn, see calls.h.
 * SPDX-License-Identifier: MIT */
#ifndef T_SCENARIO_H
#define T_SCENARIO_H

#include "calls.h"
#include "flow.h"
#include "service.h"

#define RECOVERS 120000 /* ms after which all is tried again */

/* Once the driver is there, and before it goes. */
void scenario_open(void);
void scenario_close(void);

/* Ends the program unless it is NULL: what it needs is not there. */
void need(const char *error);

/* --- asking a service --- */

/* Asks as nginx would; params are "NAME=value", NULL ends them.  The answer's
 * status, or 0 when it broke off. */
int ask_in(struct service *service, const char *const *params,
	   const char *token, const char *body, size_t len, bool transfer);

/* The same with JSON. */
int call_in(struct service *service, const char *method, const char *path,
	    const char *token, const char *body);

/* How long the body takes to come, in ms: 0 unless set. */
extern long dawdles;

/* The last answer, and the part of it behind the headers. */
extern char answer_whole[];
extern const char *answer_body;

/* Copies the id in the last answer. */
void answer_id(char id[ID_SIZE]);

/* Tells a service of an event.  200: heard; 503: again, please. */
int tell(struct service *service, enum event_type type, const char *subject,
	 int64_t version, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Runs a task once.  0: it does not say how that went. */
int run_in(struct service *service, struct task *task);

/* Empties a service's database, whose name is "calls_" and its own. */
void clear(struct service *service);

/* --- each in turn --- */

/* What they may do with a token runs out: they get new ones in time. */
extern struct buyer seller, buyer, admin;

/* Events set aside for ever. */
extern int buried;

struct scenario {
	struct service *of;
	void (*set)(void); /* in empty databases */
	int (*act)(void);  /* a status; 0: it does not say, or broke off */
	int good;	   /* that it says when all is well */
	/* It goes in steps, of which some may be done; asked again, the others
	 * are. */
	bool steps;
	/* The last of them are nobody's business but a task's. */
	bool later;
	bool soon; /* who waits for long is too late */
	/* Asked again, it is done anew: nothing says that it is the same.  So
	 * is it whole? */
	bool (*whole)(void);
	int again; /* what may be said then */
};

/* Nothing more is asked of it. */
bool whole(void);

/* Has each call that act() makes fail, in each way that it can. */
void try_each(const struct scenario *s);

#define EACH(name, ...)                                    \
	static void name(void)                             \
	{                                                  \
		try_each(&(struct scenario){__VA_ARGS__}); \
	}

#endif
