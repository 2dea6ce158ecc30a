/* seed.c: fills the databases with what a benchmark needs.
 * SPDX-License-Identifier: MIT
 *
 *	seed MONGO_URI listings|copies|unsent FIRST COUNT
 *
 * Listings, orders' copies of such, or listings whose event is still in the
 * outbox.  Their ids are 5e00000X00000000 and a number of eight digits, from
 * FIRST on, where X is 1, 2 or 3.
 */
#include <mongoc/mongoc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "docs.h"

#define BATCH 1000

static bool
insert(mongoc_collection_t *c, const char *what, uint32_t first, uint32_t n)
{
	const bson_t *docs[BATCH];
	bson_error_t error;
	bson_oid_t id;
	bool ok;

	for (uint32_t i = 0; i < n; i++) {
		bson_t *b = bson_new();

		if (*what == 'c') {
			doc_id(&id, 0x5e000002, first + i);
			doc_copy(b, &id);
		} else {
			doc_id(&id, *what == 'u' ? 0x5e000003 : 0x5e000001,
			       first + i);
			doc_listing(b, &id, *what == 'u');
		}
		docs[i] = b;
	}
	ok = mongoc_collection_insert_many(c, docs, n, NULL, NULL, &error);
	if (!ok)
		fprintf(stderr, "seed: %s\n", error.message);
	for (uint32_t i = 0; i < n; i++)
		bson_destroy((bson_t *)docs[i]);
	return ok;
}

int
main(int argc, char **argv)
{
	mongoc_client_t *client;
	mongoc_collection_t *c;
	uint32_t first, count;
	bool ok = true;

	if (argc != 5) {
		fprintf(stderr, "usage: seed MONGO_URI listings|copies|unsent "
				"FIRST COUNT\n");
		return 2;
	}
	mongoc_init();
	client = mongoc_client_new(argv[1]);
	c = mongoc_client_get_collection(
		client, *argv[2] == 'c' ? "orders" : "stuff", "stuff");
	first = (uint32_t)strtoul(argv[3], NULL, 10);
	count = (uint32_t)strtoul(argv[4], NULL, 10);
	for (uint32_t i = 0; ok && i < count; i += BATCH)
		ok = insert(c, argv[2], first + i,
			    count - i < BATCH ? count - i : BATCH);
	mongoc_collection_destroy(c);
	mongoc_client_destroy(client);
	mongoc_cleanup();
	return ok ? 0 : 1;
}
