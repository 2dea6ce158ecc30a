/* browser.h: someone with an account, who keeps cookies as a browser does but
 * asks the services on their own sockets.
 * SPDX-License-Identifier: MIT */
#ifndef T_BROWSER_H
#define T_BROWSER_H

#include "harness.h"
#include "id.h"

#define BROWSER_PASSWORD "correct horse"

struct browser {
	char id[ID_SIZE], email[64];
	char session[2048], refresh[256]; /* the cookies' values; "": none */
	const char *agent;		  /* User-Agent; NULL: none */
	const char *address;		  /* REMOTE_ADDR; NULL: none */
};

/* Signs up with an address of its own. */
void browser_new(struct browser *b);

/* Asks, with the cookies and a JSON body or NULL, and keeps those set. */
const struct answer *browse(struct browser *b, const char *service,
			    const char *method, const char *path,
			    const char *body);

/* POST /api/users/signin and /refresh. */
const struct answer *browser_signs_in(struct browser *b, const char *password);
const struct answer *browser_refreshes(struct browser *b);

/* The operator makes it an admin, and it has a token that says so. */
void browser_becomes_admin(struct browser *b);

/* POST /api/users/ID/ban or unban; must succeed. */
void browser_bans(struct browser *admin, const struct browser *b);
void browser_unbans(struct browser *admin, const struct browser *b);

#endif
