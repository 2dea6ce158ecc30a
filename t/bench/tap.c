/* tap.c: when what one service commits is applied by another.
 * SPDX-License-Identifier: MIT
 *
 *	tap MONGO_URI
 *
 * Stands between services and their database, on a port that it prints first.
 * Of each listing that is inserted into the database stuff and then, by its
 * event, into orders' own, it prints at the end (SIGTERM) how many us lay
 * between the database's two answers, one line each.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct seen {
	bson_oid_t id;
	int64_t committed, applied;
} seen[MAX]; /* a hash table, where a place that is taken leads to the next */

static struct seen *
find(const bson_oid_t *id)
{
	uint32_t n = bson_oid_hash(id) % MAX;

	while (seen[n].committed + seen[n].applied != 0 &&
	       !bson_oid_equal(&seen[n].id, id))
		n = (n + 1) % MAX;
	seen[n].id = *id;
	return &seen[n];
}

static void
watch(void *closure, const struct wire_command *c)
{
	bson_iter_t i, list, id;
	const char *db;
	struct seen *s;

	(void)closure;
	if (strcmp(c->name, "insert") != 0 ||
	    !bson_iter_init_find(&i, c->body, "insert") ||
	    strcmp(bson_iter_utf8(&i, NULL), "stuff") != 0 ||
	    !bson_iter_init_find(&i, c->body, "$db"))
		return;
	db = bson_iter_utf8(&i, NULL);
	if (!bson_iter_init_find(&i, c->body, "documents") ||
	    !bson_iter_recurse(&i, &list))
		return;
	pthread_mutex_lock(&lock);
	while (bson_iter_next(&list)) {
		if (!bson_iter_recurse(&list, &id) ||
		    !bson_iter_find(&id, "_id") || !BSON_ITER_HOLDS_OID(&id))
			continue;
		s = find(bson_iter_oid(&id));
		if (strcmp(db, "stuff") == 0)
			s->committed = c->answered;
		else if (strcmp(db, "orders") == 0)
			s->applied = c->answered;
	}
	pthread_mutex_unlock(&lock);
}

int
main(int argc, char **argv)
{
	sigset_t end;
	int port, caught;

	if (argc != 2) {
		fprintf(stderr, "usage: tap MONGO_URI\n");
		return 2;
	}
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	port = wire_open(argv[1], watch, NULL);
	if (port < 0)
		return 1;
	printf("%d\n", port);
	fflush(stdout);
	sigwait(&end, &caught);
	pthread_mutex_lock(&lock);
	for (size_t n = 0; n < MAX; n++)
		if (seen[n].committed != 0 && seen[n].applied != 0)
			printf("%lld\n", (long long)(seen[n].applied -
						     seen[n].committed));
	return 0;
}
