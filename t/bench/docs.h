/* docs.h: documents as the services write them, made with the driver alone.
 * SPDX-License-Identifier: MIT */
#ifndef T_BENCH_DOCS_H
#define T_BENCH_DOCS_H

#include <bson/bson.h>

/* Fills b, which is initialised, with a listing, orders' copy of one, or an
 * order for the listing stuff; each of that id.  unsent: its outbox has the
 * event that tells of it; else none. */
void doc_listing(bson_t *b, const bson_oid_t *id, bool unsent);
void doc_copy(bson_t *b, const bson_oid_t *id);
void doc_order(bson_t *b, const bson_oid_t *id, const bson_oid_t *stuff,
	       bool unsent);

/* The update that takes the event out of the outbox again. */
void doc_sent(bson_t *update, const bson_oid_t *id);

/* The id of that number: 24 digits, of which the first are run. */
void doc_id(bson_oid_t *id, uint32_t run, uint32_t number);

#endif
