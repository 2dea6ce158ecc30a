/* client.h: asks the other services, over HTTP as anyone does.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_CLIENT_H
#define STOREFRONT_CLIENT_H

#include "http.h"

#define CLIENT_MAX_REPLY 2097152 /* bytes; more counts as no answer */

/* Settings: where, and whose certificate is good there ("": the system's). */
extern const char *client_base, *client_ca_file;

/* public_base is the address that browsers know.  NULL, or what is wrong with
 * the settings. */
const char *client_open(const char *public_base);
void client_close(void);

/* For whom it is asked: what goes along with every call. */
struct visitor {
	const char *session, *refresh; /* cookies; NULL: none */
	const char *address, *agent, *request_id;
};

/* One call, and what came of it. */
struct call {
	const char *method;   /* NULL: GET, or POST when there is a body */
	const char *path;     /* with its query */
	json_object *body;    /* or NULL */
	const char *if_match; /* likewise */
	const char *what;     /* for the log and people: "the listings" */
	/* 2xx and, but for 204, an answer that is JSON. */
	bool good;
	long status;	   /* 0: no answer in time */
	json_object *json; /* the arena's; NULL when it isn't JSON */
	const char *text;  /* the answer, whatever it is; NULL: none */
	const char *next;  /* the cursor of the list's next page, or NULL */
	const char *location, *removed;
	int retry_after;
	struct header *cookies; /* what Set-Cookie said */
};

/* Makes all calls at once, and returns when all have ended, or until, on the
 * monotonic clock, has come. */
void client_run(struct arena *a, const struct visitor *visitor,
		struct call *calls[], size_t count, int64_t until);

/* What a call that is not good failed with. */
const struct fail *client_fail(struct arena *a, const struct call *c);

/*
 * Sends a file of length bytes with PUT, as read() hands it over: up to size
 * bytes each time, or -1, which breaks it off.  c->path says where to, type
 * and disposition what it is.
 */
typedef long (*client_read)(void *closure, char *bytes, size_t size);
void client_send(struct arena *a, const struct visitor *visitor, struct call *c,
		 const char *type, const char *disposition, int64_t length,
		 client_read read, void *closure);

#endif
