/* files.c: see files.h.
 * SPDX-License-Identifier: MIT */
#include "files.h"

#include <mongoc/mongoc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "disposition.h"
#include "failpoint.h"
#include "model.h"
#include "range.h"

#define RESERVE 64	  /* pieces that a note allows at a time */
#define BEAT_EVERY 5000	  /* ms, between two signs of life */
#define SWEEP_EVERY 10000 /* ms; with short leases, four times in one */
#define SWEEP_LIMIT 100	  /* notes in one sweep */
#define BATCH 64	  /* pieces that are deleted at once */
#define USER_UPLOADS 3	  /* at once */
#define USER_WAIT 10	  /* s, for one who has more */

#define FILES "fs.files"
#define CHUNKS "fs.chunks"
#define UPLOADS "uploads"

#define WRITING "writing"
#define DONE "done"
#define BROKEN "broken"
#define SWEPT "swept"

static int64_t max_bytes, lease; /* lease: s */

const struct setting files_settings[] = {
	{.name = "FILE_MAX_BYTES",
	 .number = &max_bytes,
	 .fallback = "104857600",
	 .min = 1,
	 .max = INT64_C(1) << 40},
	{.name = "FILE_LEASE_SECONDS",
	 .number = &lease,
	 .fallback = "120",
	 .min = 1,
	 .max = 86400},
	{0},
};

const struct kind files_kind = {
	.collection = FILES,
	.indexes = (const struct index[]){{.keys = {"metadata.stuffId"}},
					  {{NULL}}},
	.bare = true,
};
const struct kind files_chunks_kind = {
	.collection = CHUNKS,
	.indexes =
		(const struct index[]){
			{.keys = {"files_id", "n"}, .unique = true}, {{NULL}}},
	.bare = true,
};
const struct kind files_uploads_kind = {
	.collection = UPLOADS,
	.indexes = (const struct index[]){{.keys = {"state", "beat"}},
					  {.keys = {"userId", "state", "beat"}},
					  {{NULL}}},
	.bare = true,
};

static void
destroy_bson(void *b)
{
	bson_destroy(b);
}

static void
append_id(bson_t *b, const char *name, const char *id)
{
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, id);
	BSON_APPEND_OID(b, name, &oid);
}

static int64_t
int_at(const bson_t *doc, const char *name)
{
	bson_iter_t i;

	return bson_iter_init_find(&i, doc, name) ? bson_iter_as_int64(&i) : 0;
}

static int64_t
time_at(const bson_t *doc, const char *name)
{
	bson_iter_t i;

	return bson_iter_init_find(&i, doc, name) &&
			       BSON_ITER_HOLDS_DATE_TIME(&i)
		       ? bson_iter_date_time(&i)
		       : 0;
}

static void
id_at(const bson_t *doc, const char *name, char id[ID_SIZE])
{
	bson_iter_t i;

	*id = '\0';
	if (bson_iter_init_find(&i, doc, name) && BSON_ITER_HOLDS_OID(&i))
		bson_oid_to_string(bson_iter_oid(&i), id);
}

/* --- the notes ------------------------------------------------------------ */

/* Changes the note on a file in that state (and, if not 0, of that beat).
 * *ret_was is whether there is one. */
static const struct fail *
note(struct context *cx, mongoc_collection_t *c, const char *id,
     const char *state, int64_t beat, const bson_t *set, bool *ret_was)
{
	bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, reply;
	bson_error_t error;
	bool ok;

	append_id(&filter, "_id", id);
	BSON_APPEND_UTF8(&filter, "state", state);
	if (beat != 0)
		BSON_APPEND_DATE_TIME(&filter, "beat", beat);
	BSON_APPEND_DOCUMENT(&update, "$set", set);
	ok = mongoc_collection_update_one(c, &filter, &update, NULL, &reply,
					  &error);
	*ret_was = ok && int_at(&reply, "matchedCount") == 1;
	bson_destroy(&filter);
	bson_destroy(&update);
	bson_destroy(&reply);
	return ok ? NULL : store_failed(cx, &error);
}

static const struct fail *
note_state(struct context *cx, const char *id, const char *from, int64_t beat,
	   const char *to, bool *ret_was)
{
	bson_t set = BSON_INITIALIZER;
	mongoc_collection_t *c;
	const struct fail *fail;

	TRY(store_collection(cx, UPLOADS, &c));
	BSON_APPEND_UTF8(&set, "state", to);
	fail = note(cx, c, id, from, beat, &set, ret_was);
	bson_destroy(&set);
	return fail;
}

static const struct fail *
given_up(struct context *cx)
{
	return fail_unavailable(cx->arena,
				"The upload took a break that was too long, "
				"please try again",
				"the upload was given up");
}

/* Still alive, and about to write up to that many pieces. */
static const struct fail *
note_beat(struct context *cx, mongoc_collection_t *c, const char *id,
	  int64_t chunks)
{
	bson_t set = BSON_INITIALIZER;
	const struct fail *fail;
	bool was;

	BSON_APPEND_DATE_TIME(&set, "beat", clock_now());
	BSON_APPEND_INT64(&set, "chunks", chunks);
	fail = note(cx, c, id, WRITING, 0, &set, &was);
	bson_destroy(&set);
	if (fail == NULL && !was)
		return given_up(cx);
	return fail;
}

/* How many documents filter finds, up to limit. */
static const struct fail *
look(struct context *cx, const char *name, const bson_t *filter, int64_t limit,
     int64_t *ret_count)
{
	bson_t opts = BSON_INITIALIZER;
	mongoc_cursor_t *cursor;
	mongoc_collection_t *c;
	bson_error_t error;
	const bson_t *doc;
	const struct fail *fail = NULL;
	int64_t n = 0;

	TRY(store_collection(cx, name, &c));
	BSON_APPEND_INT64(&opts, "limit", limit);
	cursor = mongoc_collection_find_with_opts(c, filter, &opts, NULL);
	while (mongoc_cursor_next(cursor, &doc))
		n++;
	if (mongoc_cursor_error(cursor, &error))
		fail = store_failed(cx, &error);
	mongoc_cursor_destroy(cursor);
	bson_destroy(&opts);
	*ret_count = n;
	return fail;
}

static const struct fail *
check_user(struct context *cx, const char *user_id)
{
	bson_t filter = BSON_INITIALIZER, after;
	const struct fail *fail;
	int64_t n = 0;

	append_id(&filter, "userId", user_id);
	BSON_APPEND_UTF8(&filter, "state", WRITING);
	BSON_APPEND_DOCUMENT_BEGIN(&filter, "beat", &after);
	BSON_APPEND_DATE_TIME(&after, "$gt", clock_now() - lease * 1000);
	bson_append_document_end(&filter, &after);
	fail = look(cx, UPLOADS, &filter, USER_UPLOADS, &n);
	bson_destroy(&filter);
	if (fail == NULL && n >= USER_UPLOADS)
		return fail_too_many(cx->arena, USER_WAIT);
	return fail;
}

static const struct fail *
insert(struct context *cx, const char *name, const bson_t *doc)
{
	mongoc_collection_t *c;
	bson_error_t error;

	TRY(store_collection(cx, name, &c));
	if (!mongoc_collection_insert_one(c, doc, NULL, NULL, &error))
		return store_failed(cx, &error);
	return NULL;
}

static const struct fail *
note_new(struct context *cx, const char *id, const char *stuff_id,
	 const char *user_id)
{
	bson_t doc = BSON_INITIALIZER;
	const struct fail *fail;

	append_id(&doc, "_id", id);
	append_id(&doc, "stuffId", stuff_id);
	append_id(&doc, "userId", user_id);
	BSON_APPEND_UTF8(&doc, "state", WRITING);
	BSON_APPEND_DATE_TIME(&doc, "beat", clock_now());
	BSON_APPEND_INT64(&doc, "chunks", RESERVE);
	fail = insert(cx, UPLOADS, &doc);
	bson_destroy(&doc);
	return fail;
}

const struct fail *
files_check(struct context *cx, const char *id)
{
	bson_t filter = BSON_INITIALIZER;
	const struct fail *fail;
	int64_t n = 0;

	append_id(&filter, "_id", id);
	BSON_APPEND_UTF8(&filter, "state", WRITING);
	fail = look(cx, UPLOADS, &filter, 1, &n);
	bson_destroy(&filter);
	if (fail == NULL && n == 0 && !GUARD_OFF("file-check"))
		return given_up(cx);
	if (n > 0)
		FAILPOINT("file checked");
	return fail;
}

void
files_settle(struct context *cx, const char *id, bool given)
{
	bool was;

	/* Should the database be away, the lease ends and files_sweep finds
	 * out itself. */
	(void)note_state(cx, id, WRITING, 0, given ? DONE : BROKEN, &was);
	task_wake(&files_sweep);
}

/* --- up --------------------------------------------------------------------
 */

/* Memory of one upload, whatever its size. */
struct upload {
	uint8_t piece[FILES_CHUNK];
	bson_t *doc;
	mongoc_collection_t *chunks, *uploads; /* the arena's */
};

static void
free_upload(void *p)
{
	struct upload *u = p;

	bson_destroy(u->doc);
	free(u);
}

static struct upload *
new_upload(struct context *cx)
{
	struct upload *u = malloc(sizeof(*u));

	if (u == NULL)
		return NULL;
	u->doc = bson_sized_new(FILES_CHUNK + 256);
	return arena_defer(cx->arena, free_upload, u);
}

static const struct fail *
write_piece(struct context *cx, struct upload *u, const char *id, int32_t n,
	    size_t len)
{
	bson_error_t error;
	bson_oid_t oid;

	bson_reinit(u->doc);
	bson_oid_init(&oid, NULL);
	BSON_APPEND_OID(u->doc, "_id", &oid);
	append_id(u->doc, "files_id", id);
	BSON_APPEND_INT32(u->doc, "n", n);
	BSON_APPEND_BINARY(u->doc, "data", BSON_SUBTYPE_BINARY, u->piece,
			   (uint32_t)len);
	if (!mongoc_collection_insert_one(u->chunks, u->doc, NULL, NULL,
					  &error))
		return store_failed(cx, &error);
	return NULL;
}

static const struct fail *
write_file(struct context *cx, const char *id, const char *stuff_id,
	   const struct file *file)
{
	bson_t doc = BSON_INITIALIZER, metadata;
	const struct fail *fail;

	append_id(&doc, "_id", id);
	BSON_APPEND_INT64(&doc, "length", file->size);
	BSON_APPEND_INT32(&doc, "chunkSize", FILES_CHUNK);
	BSON_APPEND_DATE_TIME(&doc, "uploadDate", clock_now());
	BSON_APPEND_UTF8(&doc, "filename", file->name);
	BSON_APPEND_DOCUMENT_BEGIN(&doc, "metadata", &metadata);
	append_id(&metadata, "stuffId", stuff_id);
	BSON_APPEND_UTF8(&metadata, "type", file->type);
	BSON_APPEND_UTF8(&metadata, "sha256", file->sha256);
	bson_append_document_end(&doc, &metadata);
	fail = insert(cx, FILES, &doc);
	bson_destroy(&doc);
	return fail;
}

static const struct fail *
receive(struct request *rq, const char *id, const char *stuff_id,
	struct file *file)
{
	struct context *cx = rq->cx;
	struct upload *u = new_upload(cx);
	unsigned char hash[crypto_hash_sha256_BYTES];
	char *hex = arena_alloc(cx->arena, 2 * sizeof(hash) + 1);
	int64_t reserved = RESERVE, next_beat = clock_monotonic() + BEAT_EVERY;
	crypto_hash_sha256_state state;

	if (u == NULL)
		return fail_unavailable(cx->arena, "Out of memory", "malloc");
	/* Once: what a piece took of the arena would grow with the file. */
	TRY(store_collection(cx, CHUNKS, &u->chunks));
	TRY(store_collection(cx, UPLOADS, &u->uploads));
	crypto_hash_sha256_init(&state);
	for (int32_t n = 0; rq->received < rq->length; n++) {
		size_t len;

		TRY(http_read(rq, u->piece, sizeof(u->piece), &len));
		crypto_hash_sha256_update(&state, u->piece, len);
		if (n >= reserved || clock_monotonic() >= next_beat) {
			reserved = n + RESERVE;
			TRY(note_beat(cx, u->uploads, id, reserved));
			next_beat = clock_monotonic() + BEAT_EVERY;
		}
		TRY(write_piece(cx, u, id, n, len));
		FAILPOINT("piece");
	}
	crypto_hash_sha256_final(&state, hash);
	file->sha256 =
		sodium_bin2hex(hex, 2 * sizeof(hash) + 1, hash, sizeof(hash));
	file->size = rq->length;
	TRY(write_file(cx, id, stuff_id, file));
	FAILPOINT("file");
	/* The lease of what was slow to end starts anew. */
	return note_beat(cx, u->uploads, id, reserved);
}

const struct fail *
files_receive(struct request *rq, const char *stuff_id, struct file *ret,
	      char ret_id[ID_SIZE])
{
	struct context *cx = rq->cx;
	const struct fail *fail;

	if (rq->length > max_bytes)
		return fail_too_large(cx->arena);
	if (rq->length == 0)
		return fail_bad_request(cx->arena, "The file is empty");
	if (rq->length / FILES_CHUNK >= INT32_MAX - RESERVE)
		return fail_too_large(cx->arena);
	TRY(check_user(cx, rq->user.id));
	id_new(ret_id);
	TRY(note_new(cx, ret_id, stuff_id, rq->user.id));
	fail = receive(rq, ret_id, stuff_id, ret);
	if (fail != NULL)
		files_settle(cx, ret_id, false);
	return fail;
}

/* --- down ------------------------------------------------------------------
 */

struct reader {
	char id[ID_SIZE];
	int64_t size;	      /* of the file */
	int64_t first, count; /* the bytes that are wanted */
	mongoc_collection_t *chunks;
	mongoc_cursor_t *cursor; /* holds the piece */
	const uint8_t *piece;
	uint32_t len;
	int64_t n; /* the piece's number */
};

static void
close_reader(void *p)
{
	struct reader *r = p;

	mongoc_cursor_destroy(r->cursor);
	r->cursor = NULL;
}

static const struct fail *
read_piece(struct context *cx, struct reader *r, int64_t n)
{
	int64_t left = r->size - n * FILES_CHUNK;
	bson_t filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
	bson_error_t error;
	bson_subtype_t subtype;
	const bson_t *doc;
	bson_iter_t i;

	append_id(&filter, "files_id", r->id);
	BSON_APPEND_INT32(&filter, "n", (int32_t)n);
	BSON_APPEND_INT64(&opts, "limit", 1);
	BSON_APPEND_BOOL(&opts, "singleBatch", true);
	close_reader(r);
	r->cursor = mongoc_collection_find_with_opts(r->chunks, &filter, &opts,
						     NULL);
	bson_destroy(&filter);
	bson_destroy(&opts);
	if (!mongoc_cursor_next(r->cursor, &doc)) {
		if (mongoc_cursor_error(r->cursor, &error))
			return store_failed(cx, &error);
		return fail_unknown(cx->arena, "file %s has no piece %lld",
				    r->id, (long long)n);
	}
	if (!bson_iter_init_find(&i, doc, "data") ||
	    !BSON_ITER_HOLDS_BINARY(&i))
		return fail_unknown(cx->arena, "a piece of file %s is none",
				    r->id);
	bson_iter_binary(&i, &subtype, &r->len, &r->piece);
	if (r->len != (left < FILES_CHUNK ? left : FILES_CHUNK))
		return fail_unknown(cx->arena,
				    "piece %lld of file %s has %u "
				    "bytes",
				    (long long)n, r->id, r->len);
	r->n = n;
	return NULL;
}

static const struct fail *
send_pieces(struct request *rq, void *closure)
{
	struct reader *r = closure;

	while (r->count > 0) {
		int64_t n = r->first / FILES_CHUNK, skip, len;

		if (r->cursor == NULL || r->n != n)
			TRY(read_piece(rq->cx, r, n));
		skip = r->first % FILES_CHUNK;
		len = r->len - skip < r->count ? r->len - skip : r->count;
		FAILPOINT("sending");
		if (!http_write(rq, r->piece + skip, (size_t)len))
			return NULL; /* gone: nothing more is read */
		r->first += len;
		r->count -= len;
	}
	return NULL;
}

const struct fail *
files_send(struct request *rq, const char *id, const struct file *file)
{
	struct context *cx = rq->cx;
	struct reader *r = arena_alloc(cx->arena, sizeof(*r));
	const char *tag = arena_printf(cx->arena, "\"%s\"", file->sha256);
	const char *range = http_header(rq, "Range");
	const char *if_range = http_header(rq, "If-Range");
	bool head = strcmp(rq->method, "HEAD") == 0;
	enum range part;

	http_set_header(rq, "ETag", "%s", tag);
	http_set_header(rq, "Cache-Control", "private, no-cache");
	if (range_tag_in(http_header(rq, "If-None-Match"), tag, true))
		return http_reply(rq, 304, NULL);
	if (head || (if_range != NULL && strcmp(if_range, tag) != 0))
		range = NULL; /* RFC 9110, 14.2 and 13.1.5 */
	*r = (struct reader){.size = file->size};
	memcpy(r->id, id, ID_SIZE);
	arena_defer(cx->arena, close_reader, r);
	part = range_read(range, file->size, &r->first, &r->count);
	http_set_header(rq, "Accept-Ranges", "bytes");
	if (part == RANGE_NONE) {
		http_set_header(rq, "Content-Range", "bytes */%lld",
				(long long)file->size);
		return fail_range(cx->arena);
	}
	if (part == RANGE_PART)
		http_set_header(rq, "Content-Range", "bytes %lld-%lld/%lld",
				(long long)r->first,
				(long long)(r->first + r->count - 1),
				(long long)file->size);
	/* Whatever it is, it is saved, and never shown as a page of ours. */
	http_set_header(rq, "Content-Disposition", "%s",
			disposition_write(cx->arena, file->name));
	http_set_header(rq, "Content-Security-Policy",
			"default-src 'none'; sandbox");
	/* While there still is a status to say it with. */
	if (!head) {
		TRY(store_collection(cx, CHUNKS, &r->chunks));
		TRY(read_piece(cx, r, r->first / FILES_CHUNK));
	}
	return http_reply_stream(rq, part == RANGE_PART ? 206 : 200, file->type,
				 r->count, send_pieces, r);
}

/* --- the sweep -------------------------------------------------------------
 */

struct noted {
	char id[ID_SIZE], stuff_id[ID_SIZE];
	const char *state;
	int64_t beat, chunks;
};

static bool
is(const struct noted *n, const char *state)
{
	return strcmp(n->state, state) == 0;
}

/* Notes that are settled, or whose time is over. */
static void
due(bson_t *filter)
{
	bson_t either, one, in, states;

	BSON_APPEND_ARRAY_BEGIN(filter, "$or", &either);
	BSON_APPEND_DOCUMENT_BEGIN(&either, "0", &one);
	BSON_APPEND_DOCUMENT_BEGIN(&one, "state", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &states);
	BSON_APPEND_UTF8(&states, "0", DONE);
	BSON_APPEND_UTF8(&states, "1", BROKEN);
	bson_append_array_end(&in, &states);
	bson_append_document_end(&one, &in);
	bson_append_document_end(&either, &one);
	BSON_APPEND_DOCUMENT_BEGIN(&either, "1", &one);
	BSON_APPEND_DOCUMENT_BEGIN(&one, "state", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &states);
	BSON_APPEND_UTF8(&states, "0", WRITING);
	BSON_APPEND_UTF8(&states, "1", SWEPT);
	bson_append_array_end(&in, &states);
	bson_append_document_end(&one, &in);
	BSON_APPEND_DOCUMENT_BEGIN(&one, "beat", &in);
	BSON_APPEND_DATE_TIME(&in, "$lt", clock_now() - lease * 1000);
	bson_append_document_end(&one, &in);
	bson_append_document_end(&either, &one);
	bson_append_array_end(filter, &either);
}

/* The documents that filter (which it takes) finds, copied into the arena. */
static const struct fail *
find(struct context *cx, const char *name, bson_t *filter, int64_t limit,
     bson_t ***ret, size_t *ret_count)
{
	bson_t **docs = arena_alloc(cx->arena, (size_t)limit * sizeof(*docs));
	bson_t opts = BSON_INITIALIZER;
	mongoc_collection_t *c = NULL;
	mongoc_cursor_t *cursor;
	const struct fail *fail;
	bson_error_t error;
	const bson_t *doc;
	size_t n = 0;

	fail = store_collection(cx, name, &c);
	if (fail == NULL) {
		BSON_APPEND_INT64(&opts, "limit", limit);
		cursor = mongoc_collection_find_with_opts(c, filter, &opts,
							  NULL);
		while (n < (size_t)limit && mongoc_cursor_next(cursor, &doc))
			docs[n++] = arena_defer(cx->arena, destroy_bson,
						bson_copy(doc));
		if (mongoc_cursor_error(cursor, &error))
			fail = store_failed(cx, &error);
		mongoc_cursor_destroy(cursor);
	}
	bson_destroy(&opts);
	bson_destroy(filter);
	*ret = docs;
	*ret_count = n;
	return fail;
}

static const struct fail *
delete_one(struct context *cx, const char *name, const char *id)
{
	bson_t filter = BSON_INITIALIZER;
	mongoc_collection_t *c;
	bson_error_t error;
	bool ok;

	TRY(store_collection(cx, name, &c));
	append_id(&filter, "_id", id);
	ok = mongoc_collection_delete_one(c, &filter, NULL, NULL, &error);
	bson_destroy(&filter);
	return ok ? NULL : store_failed(cx, &error);
}

/* By their full key, which every database finds without a search. */
static const struct fail *
delete_pieces(struct context *cx, const char *id, int64_t from, int64_t to)
{
	bson_t filter = BSON_INITIALIZER;
	mongoc_bulk_operation_t *bulk;
	mongoc_collection_t *c;
	bson_error_t error;
	bool ok;

	TRY(store_collection(cx, CHUNKS, &c));
	bulk = mongoc_collection_create_bulk_operation_with_opts(c, NULL);
	for (int64_t n = from; n < to; n++) {
		bson_reinit(&filter);
		append_id(&filter, "files_id", id);
		BSON_APPEND_INT32(&filter, "n", (int32_t)n);
		mongoc_bulk_operation_remove_one(bulk, &filter);
	}
	ok = mongoc_bulk_operation_execute(bulk, NULL, &error) != 0;
	mongoc_bulk_operation_destroy(bulk);
	bson_destroy(&filter);
	return ok ? NULL : store_failed(cx, &error);
}

/* The pieces first: while there is something to find them by. */
static const struct fail *
delete_file(struct context *cx, const char *id, int64_t chunks)
{
	for (int64_t n = 0; n < chunks; n += BATCH)
		TRY(delete_pieces(cx, id, n,
				  n + BATCH < chunks ? n + BATCH : chunks));
	FAILPOINT("pieces deleted");
	TRY(delete_one(cx, FILES, id));
	LOG(LOG_INFO, "file deleted", LOG_TEXT("file", id));
	return NULL;
}

static bson_t *
of_stuff(const char *stuff_id)
{
	bson_t *filter = bson_new();

	append_id(filter, "metadata.stuffId", stuff_id);
	return filter;
}

static const struct fail *
has_note(struct context *cx, const char *id, bool *ret)
{
	bson_t filter = BSON_INITIALIZER;
	const struct fail *fail;
	int64_t n = 0;

	append_id(&filter, "_id", id);
	fail = look(cx, UPLOADS, &filter, 1, &n);
	bson_destroy(&filter);
	*ret = n > 0;
	return fail;
}

/* Files of a listing that are not its own any more.  One that has a note is
 * that note's business; whether there is one is seen before what the listing
 * has, since the note goes after the listing has the file. */
static const struct fail *
delete_replaced(struct context *cx, const char *stuff_id)
{
	bson_t **docs;
	size_t n;

	TRY(find(cx, FILES, of_stuff(stuff_id), SWEEP_LIMIT, &docs, &n));
	for (size_t i = 0; i < n; i++) {
		int64_t size = int_at(docs[i], "length");
		char id[ID_SIZE], current[ID_SIZE];
		bool noted;

		id_at(docs[i], "_id", id);
		TRY(has_note(cx, id, &noted));
		TRY(stuff_current_file(cx, stuff_id, false, current));
		if (!noted && strcmp(id, current) != 0)
			TRY(delete_file(cx, id,
					(size + FILES_CHUNK - 1) /
						FILES_CHUNK));
	}
	return NULL;
}

static const struct fail *
sweep_one(struct context *cx, const struct noted *n)
{
	char current[ID_SIZE];
	bool was;

	if (is(n, WRITING)) { /* and silent for too long */
		TRY(note_state(cx, n->id, WRITING, n->beat, BROKEN, &was));
		if (!was)
			return NULL;
	}
	/* Behind the fence, no compare-and-set that began before can win. */
	TRY(stuff_current_file(cx, n->stuff_id, !is(n, DONE), current));
	if (strcmp(n->id, current) != 0)
		TRY(delete_file(cx, n->id, n->chunks));
	TRY(delete_replaced(cx, n->stuff_id));
	/* An insert that timed out may come after our delete: once more. */
	if (!is(n, DONE) && !is(n, SWEPT) && strcmp(n->id, current) != 0)
		return note_state(cx, n->id, BROKEN, 0, SWEPT, &was);
	return delete_one(cx, UPLOADS, n->id);
}

static void
sweep(struct context *cx)
{
	bson_t *filter = bson_new(), **docs;
	bson_iter_t i;
	size_t n;

	due(filter);
	if (GUARD_OFF("file-sweep")) {
		bson_destroy(filter);
		return;
	}
	if (find(cx, UPLOADS, filter, SWEEP_LIMIT, &docs, &n) != NULL)
		return;
	for (size_t k = 0; k < n; k++) {
		struct noted note = {.beat = time_at(docs[k], "beat"),
				     .chunks = int_at(docs[k], "chunks")};

		id_at(docs[k], "_id", note.id);
		id_at(docs[k], "stuffId", note.stuff_id);
		if (*note.id == '\0' || *note.stuff_id == '\0' ||
		    !bson_iter_init_find(&i, docs[k], "state") ||
		    !BSON_ITER_HOLDS_UTF8(&i))
			continue;
		note.state = bson_iter_utf8(&i, NULL);
		/* What can't be done now will be, by the next sweep. */
		(void)sweep_one(cx, &note);
	}
}

struct task files_sweep = {.name = "files", .every = SWEEP_EVERY, .run = sweep};

const char *
files_open(void)
{
	if (lease * 250 < SWEEP_EVERY)
		files_sweep.every = lease * 250;
	return NULL;
}
