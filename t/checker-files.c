/* checker-files.c: reads the files for sale.
 * SPDX-License-Identifier: MIT */
#include <mongoc/mongoc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

#define PIECE 261120 /* bytes */

/* The ids that some documents name, by text. */
struct ids {
	char (*at)[ID_SIZE];
	size_t count;
};

struct reading {
	mongoc_client_t *mongo;
	struct arena *arena;
	file_fault fault;
	struct ids given, noted;
};

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool
has(const struct ids *ids, const char *id)
{
	return ids->count > 0 &&
	       bsearch(id, ids->at, ids->count, ID_SIZE, by_text) != NULL;
}

static bool
oid_at(const bson_t *doc, const char *name, char id[ID_SIZE])
{
	bson_iter_t i;

	if (!bson_iter_init_find(&i, doc, name) || !BSON_ITER_HOLDS_OID(&i))
		return false;
	bson_oid_to_string(bson_iter_oid(&i), id);
	return true;
}

static mongoc_cursor_t *
find(const struct reading *r, const char *name, const char *projection)
{
	mongoc_collection_t *c =
		mongoc_client_get_collection(r->mongo, "stuff", name);
	bson_t all = BSON_INITIALIZER, opts = BSON_INITIALIZER, inner;
	mongoc_cursor_t *cursor;

	if (projection != NULL) {
		BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &inner);
		BSON_APPEND_INT32(&inner, projection, 1);
		bson_append_document_end(&opts, &inner);
	}
	cursor = mongoc_collection_find_with_opts(c, &all, &opts, NULL);
	bson_destroy(&all);
	bson_destroy(&opts);
	mongoc_collection_destroy(c);
	return cursor;
}

static const char *
end(const struct reading *r, mongoc_cursor_t *cursor)
{
	bson_error_t error;
	const char *fail = NULL;

	if (mongoc_cursor_error(cursor, &error))
		fail = arena_printf(r->arena, "files: %s", error.message);
	mongoc_cursor_destroy(cursor);
	return fail;
}

/* Which ids stand at a member of a collection's documents. */
static const char *
read_ids(const struct reading *r, const char *collection, const char *member,
	 struct ids *ret)
{
	mongoc_cursor_t *cursor = find(r, collection, member);
	const bson_t *doc;
	char id[ID_SIZE];

	*ret = (struct ids){0};
	while (mongoc_cursor_next(cursor, &doc))
		if (oid_at(doc, member, id)) {
			ret->at = grown(ret->at, ret->count, sizeof(*ret->at));
			memcpy(ret->at[ret->count++], id, ID_SIZE);
		}
	if (ret->count > 0)
		qsort(ret->at, ret->count, sizeof(*ret->at), by_text);
	return end(r, cursor);
}

/* Hashes piece n; *ret_len is 0 when there is none. */
static const char *
hash_piece(const struct reading *r, const char *file, int32_t n,
	   crypto_hash_sha256_state *state, uint32_t *ret_len)
{
	mongoc_collection_t *c =
		mongoc_client_get_collection(r->mongo, "stuff", "fs.chunks");
	bson_t filter = BSON_INITIALIZER;
	mongoc_cursor_t *cursor;
	bson_subtype_t type;
	const uint8_t *bytes;
	const bson_t *doc;
	bson_iter_t i;
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, file);
	BSON_APPEND_OID(&filter, "files_id", &oid);
	BSON_APPEND_INT32(&filter, "n", n);
	cursor = mongoc_collection_find_with_opts(c, &filter, NULL, NULL);
	*ret_len = 0;
	if (mongoc_cursor_next(cursor, &doc) &&
	    bson_iter_init_find(&i, doc, "data") &&
	    BSON_ITER_HOLDS_BINARY(&i)) {
		bson_iter_binary(&i, &type, ret_len, &bytes);
		crypto_hash_sha256_update(state, bytes, *ret_len);
	}
	bson_destroy(&filter);
	mongoc_collection_destroy(c);
	return end(r, cursor);
}

/* Is a listing's file all there, and what the listing says? */
static const char *
check_file(const struct reading *r, const char *listing, const char *file,
	   int64_t size, const char *sha256)
{
	crypto_hash_sha256_state state;
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(hash) + 1];
	int64_t got = 0;
	const char *fail;
	uint32_t len = 1;

	crypto_hash_sha256_init(&state);
	for (int32_t n = 0; len > 0; n++) {
		fail = hash_piece(r, file, n, &state, &len);
		if (fail != NULL)
			return fail;
		got += len;
	}
	crypto_hash_sha256_final(&state, hash);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	if (got != size || strcmp(hex, sha256) != 0)
		r->fault("the file of stuff %s has %lld bytes of %lld, or "
			 "others than were uploaded",
			 listing, (long long)got, (long long)size);
	return NULL;
}

static const char *
check_listing(const struct reading *r, const bson_t *doc)
{
	char listing[ID_SIZE], file[ID_SIZE];
	bson_iter_t i, inner;
	int64_t size = 0;
	const char *sha256 = "";

	if (!oid_at(doc, "_id", listing) || !oid_at(doc, "fileId", file))
		return NULL;
	if (bson_iter_init(&i, doc) &&
	    bson_iter_find_descendant(&i, "file.size", &inner))
		size = bson_iter_as_int64(&inner);
	if (bson_iter_init(&i, doc) &&
	    bson_iter_find_descendant(&i, "file.sha256", &inner) &&
	    BSON_ITER_HOLDS_UTF8(&inner))
		sha256 = bson_iter_utf8(&inner, NULL);
	return check_file(r, listing, file, size, sha256);
}

static const char *
check_listings(const struct reading *r)
{
	mongoc_cursor_t *cursor = find(r, "stuff", NULL);
	const char *fail = NULL, *failed;
	const bson_t *doc;

	while (fail == NULL && mongoc_cursor_next(cursor, &doc))
		fail = check_listing(r, doc);
	failed = end(r, cursor);
	return fail ? fail : failed;
}

/* What no listing has and no upload is about to be. */
static const char *
check_orphans(const struct reading *r, const char *collection,
	      const char *member)
{
	struct ids ids;
	const char *fail = read_ids(r, collection, member, &ids);

	for (size_t i = 0; fail == NULL && i < ids.count; i++)
		if (!has(&r->given, ids.at[i]) && !has(&r->noted, ids.at[i]) &&
		    (i == 0 || strcmp(ids.at[i - 1], ids.at[i]) != 0))
			r->fault("%s has some of file %s, which no listing has",
				 collection, ids.at[i]);
	free(ids.at);
	return fail;
}

const char *
read_files(void *mongo, struct arena *a, file_fault fault)
{
	struct reading r = {.mongo = mongo, .arena = a, .fault = fault};
	const char *fail = read_ids(&r, "uploads", "_id", &r.noted);

	/* A note goes when its listing has the file: so the notes first.  Of
	 * one whose file is replaced now, the earlier one still waits. */
	if (fail == NULL)
		fail = read_ids(&r, "stuff", "fileId", &r.given);
	if (fail == NULL)
		fail = check_listings(&r);
	if (fail == NULL && r.noted.count == 0)
		fail = check_orphans(&r, "fs.chunks", "files_id");
	if (fail == NULL && r.noted.count == 0)
		fail = check_orphans(&r, "fs.files", "_id");
	free(r.given.at);
	free(r.noted.at);
	return fail;
}
