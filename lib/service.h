/* service.h: a service is a table of routes, a table of what it hears, its
 * kinds of records and its tasks; all else is here.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_SERVICE_H
#define TICKETING_SERVICE_H

#include <pthread.h>

#include "bus.h"
#include "clock.h"
#include "context.h"
#include "events.h"
#include "http.h"
#include "id.h"
#include "log.h"
#include "metric.h"
#include "setting.h"
#include "store.h"

/*
 * What a service does when it hears an event.  Rows of one event are carried
 * out in order, then it is noted as heard, then acknowledged; after a crash
 * all rows come again, so each must find out by the record that it is done.
 * With a kind, decide() says what becomes of the record whose id target()
 * tells (see store_apply()); without one, decide() gets a NULL record, and
 * itself copes with events that come twice or in any order.
 */
struct hears {
	enum event_type event; /* EVENT_NONE ends the table */
	const struct kind *kind;
	/* Sets id, or leaves it "" when no record is concerned.  NULL: the
	 * record is the event's subject. */
	const struct fail *(*target)(struct context *cx,
				     const struct event *event,
				     char id[ID_SIZE]);
	store_decide decide; /* arg is the const struct event * */
	struct task *wake;   /* to run once it is saved, or NULL */
};

/* What a thread of its own does every so often, and when woken. */
struct task {
	const char *name; /* NULL ends a table of them */
	int64_t every;	  /* ms */
	void (*run)(struct context *cx);
	struct task_thread *thread; /* service.c's */
};

struct service {
	const char *name;
	const struct route *routes;	 /* or NULL */
	const struct hears *hears;	 /* or NULL */
	const struct kind *const *kinds; /* ends with NULL; NULL: no database,
					    and without hears no bus */
	const struct setting *settings;	 /* its own; or NULL */
	struct task *const *tasks;	 /* ends with NULL; or NULL */
	/* After the settings, before anything runs.  NULL, or a sentence on
	 * why the service can't start. */
	const char *(*open)(void);
	void (*close)(void);
	/* Adds a dependency's state to /readyz and says whether it is up. */
	bool (*ready)(struct context *cx, json_object *states);
	/* Answers a failed request with a page; false: with the JSON that
	 * programs get.  Or NULL. */
	bool (*show_fail)(struct request *rq, const struct fail *fail);
	/* Its own metrics, besides those that all have, see measure.h; and sets
	 * the METRIC_MEASURED ones.  Both may be NULL. */
	struct metric *const *metrics; /* ends with NULL */
	void (*measure)(struct context *cx);

	/* Set by service_main(). */
	struct store *store;
	struct bus *bus;
	struct outbox *outbox;
	struct transfers *transfers; /* NULL: no route streams */
	const char *base_url;
};

/*
 * Runs the service until SIGTERM or SIGINT: then requests and events in hand
 * are finished, and it returns 0.  Requests come on the FastCGI socket that
 * is standard input (spawn-fcgi), or FCGI_SOCKET names.  Exits with 78
 * (EX_CONFIG) and one sentence when the environment lacks something.
 */
int service_main(struct service *service);

/* Starts one of its threads, with a stack of the size that all have.  A process
 * that can't has no use, and ends with 71 (EX_OSERR). */
pthread_t service_thread(void *(*run)(void *), void *arg);

/* What main() does: service_main(), or with --openapi what openapi.h says;
 * other arguments are EX_USAGE. */
int service_run(struct service *service, int argc, char **argv);

/*
 * Does one thing on the service's database for who calls the program at a
 * command line, with the service's environment: no socket, no bus, no threads.
 * Returns what run(cx, arg) does.
 */
int service_command(struct service *service,
		    int (*run)(struct context *cx, void *arg), void *arg);

/* Has the task run soon, once, however often it is called until then. */
void task_wake(struct task *task);

/* Does what service->hears says; a bus_handler, whose closure is the
 * service. */
enum bus_verdict listen_handle(void *closure, const char *channel,
			       const void *bytes, size_t len);

#endif
