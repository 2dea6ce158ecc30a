/* t/traffic.c: see traffic.h.
 * SPDX-License-Identifier: MIT */
#include "traffic.h"

#include <curl/curl.h>
#include <mongoc/mongoc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 261120 /* of GridFS */
#define PATIENCE 300 /* s that a transfer may take */

static uint64_t
word_at(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

void
bytes_at(uint64_t seed, int64_t offset, void *bytes, size_t len)
{
	unsigned char *to = bytes;

	while (len > 0) {
		uint64_t word = word_at(seed, (uint64_t)offset / 8);
		size_t skip = (size_t)offset % 8, n = 8 - skip;

		n = n < len ? n : len;
		memcpy(to, (const char *)&word + skip, n);
		to += n;
		offset += (int64_t)n;
		len -= n;
	}
}

const char *
bytes_hash(uint64_t seed, int64_t size)
{
	static _Thread_local char hex[65];
	unsigned char hash[32], bytes[65536];
	crypto_hash_sha256_state state;

	crypto_hash_sha256_init(&state);
	for (int64_t at = 0; at < size; at += (int64_t)sizeof(bytes)) {
		size_t n = sizeof(bytes);

		if (size - at < (int64_t)n)
			n = (size_t)(size - at);
		bytes_at(seed, at, bytes, n);
		crypto_hash_sha256_update(&state, bytes, n);
	}
	crypto_hash_sha256_final(&state, hash);
	return sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
}

/* What libcurl's callbacks need besides. */
struct running {
	struct transfer *t;
	int64_t sent;
	bool halved;
	struct curl_slist *headers;
};

static void
halve(struct running *r, bool half)
{
	if (!half || r->halved || r->t->halfway == NULL)
		return;
	r->halved = true;
	r->t->halfway();
}

static size_t
send_some(char *to, size_t one, size_t n, void *closure)
{
	struct running *r = closure;
	struct transfer *t = r->t;
	int64_t end = t->break_at > 0 ? t->break_at : t->size;

	n *= one;
	halve(r, r->sent >= t->size / 2);
	if (r->sent >= end && end < t->size)
		return CURL_READFUNC_ABORT;
	if (end - r->sent < (int64_t)n)
		n = (size_t)(end - r->sent);
	bytes_at(t->seed, r->sent, to, n);
	r->sent += (int64_t)n;
	return n;
}

static size_t
take_some(char *from, size_t one, size_t n, void *closure)
{
	struct running *r = closure;
	struct transfer *t = r->t;
	unsigned char expected[65536];

	n *= one;
	for (size_t done = 0; done < n;) {
		size_t len = n - done;

		len = len < sizeof(expected) ? len : sizeof(expected);
		bytes_at(t->seed, t->first + t->received + (int64_t)done,
			 expected, len);
		t->same = t->same && memcmp(expected, from + done, len) == 0;
		done += len;
	}
	if (t->received < (int64_t)sizeof(t->body) - 1) {
		size_t room = sizeof(t->body) - 1 - (size_t)t->received;

		memcpy(t->body + t->received, from, n < room ? n : room);
	}
	t->received += (int64_t)n;
	halve(r, t->length > 0 && t->received >= t->length / 2);
	return n;
}

static size_t
take_header(char *from, size_t one, size_t n, void *closure)
{
	struct transfer *t = ((struct running *)closure)->t;
	size_t len = strlen(t->head);

	n *= one;
	if (n > 5 && strncmp(from, "HTTP/", 5) == 0)
		len = 0;
	if (len + n < sizeof(t->head)) {
		memcpy(t->head + len, from, n);
		t->head[len + n] = '\0';
	}
	if (n > 15 && strncasecmp(from, "Content-Length:", 15) == 0)
		t->length = strtoll(from + 15, NULL, 10);
	return n;
}

void *
transfer_start(struct transfer *t)
{
	struct running *r = calloc(1, sizeof(*r));
	CURL *curl = curl_easy_init();
	char url[4096], bearer[4096];

	r->t = t;
	t->length = -1;
	t->same = true;
	t->received = 0;
	t->status = 0;
	memset(t->body, 0, sizeof(t->body));
	*t->head = '\0';
	snprintf(url, sizeof(url), "%s%s",
		 strncmp(t->path, "http", 4) == 0 ? "" : stack("BASE_URL"),
		 t->path);
	r->headers = curl_slist_append(NULL, "Expect:");
	if (t->token != NULL) {
		snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s",
			 t->token);
		r->headers = curl_slist_append(r->headers, bearer);
	}
	for (const char *const *h = t->headers; h && *h; h++)
		r->headers = curl_slist_append(r->headers, *h);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)PATIENCE);
	curl_easy_setopt(curl, CURLOPT_CAINFO, stack("CA_CERT"));
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->headers);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, r);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_some);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(curl, CURLOPT_MAX_RECV_SPEED_LARGE,
			 (curl_off_t)t->speed);
	if (t->size > 0 || strcmp(t->method, "PUT") == 0) {
		curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
				 (curl_off_t)t->size);
		curl_easy_setopt(curl, CURLOPT_READFUNCTION, send_some);
		curl_easy_setopt(curl, CURLOPT_READDATA, r);
	}
	if (strcmp(t->method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->method);
	return curl;
}

void
transfer_end(struct transfer *t, void *curl, int code)
{
	struct running *r = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&r);
	t->code = code;
	t->status = code == CURLE_OK ? (int)status : 0;
	curl_easy_cleanup(curl);
	curl_slist_free_all(r->headers);
	free(r);
}

void
transfer_run(struct transfer *t)
{
	CURL *curl = transfer_start(t);

	transfer_end(t, curl, (int)curl_easy_perform(curl));
}

const char *
transfer_header(const struct transfer *t, const char *name)
{
	struct answer a = {.body = ""};

	memcpy(a.headers, t->head, sizeof(t->head));
	return answer_header(&a, name);
}

/* --- the database -------------------------------------------------------- */

static mongoc_client_t *
client(void)
{
	static mongoc_client_t *c;

	if (c == NULL) {
		mongoc_init();
		c = mongoc_client_new(stack("MONGO_URI"));
	}
	return c;
}

static int64_t
count(const char *name)
{
	mongoc_collection_t *c =
		mongoc_client_get_collection(client(), "stuff", name);
	bson_t all = BSON_INITIALIZER;
	bson_error_t error;
	int64_t n = mongoc_collection_count_documents(c, &all, NULL, NULL, NULL,
						      &error);

	mongoc_collection_destroy(c);
	if (n < 0)
		tap_note("%s: %s", name, error.message);
	return n;
}

/* The pieces of the file that a document of fs.files is of, and whether the
 * listing that it is of has it. */
static void
look_at(const bson_t *doc, mongoc_collection_t *listings, struct kept *ret)
{
	bson_t filter = BSON_INITIALIZER;
	bson_iter_t i, inner;
	bson_error_t error;
	int64_t size = 0;

	if (bson_iter_init_find(&i, doc, "length"))
		size = bson_iter_as_int64(&i);
	if (bson_iter_init_find(&i, doc, "_id"))
		BSON_APPEND_OID(&filter, "fileId", bson_iter_oid(&i));
	if (bson_iter_init(&i, doc) &&
	    bson_iter_find_descendant(&i, "metadata.stuffId", &inner))
		BSON_APPEND_OID(&filter, "_id", bson_iter_oid(&inner));
	if (mongoc_collection_count_documents(listings, &filter, NULL, NULL,
					      NULL, &error) == 1) {
		ret->wanted_files++;
		ret->wanted_pieces += (size + PIECE - 1) / PIECE;
	}
	bson_destroy(&filter);
}

void
kept_look(struct kept *ret)
{
	mongoc_collection_t *files =
		mongoc_client_get_collection(client(), "stuff", "fs.files");
	mongoc_collection_t *listings =
		mongoc_client_get_collection(client(), "stuff", "stuff");
	bson_t all = BSON_INITIALIZER;
	mongoc_cursor_t *cursor =
		mongoc_collection_find_with_opts(files, &all, NULL, NULL);
	const bson_t *doc;

	*ret = (struct kept){.pieces = count("fs.chunks"),
			     .files = count("fs.files"),
			     .notes = count("uploads")};
	while (mongoc_cursor_next(cursor, &doc))
		look_at(doc, listings, ret);
	mongoc_cursor_destroy(cursor);
	mongoc_collection_destroy(files);
	mongoc_collection_destroy(listings);
}

static bool
is_clean(void *arg)
{
	struct kept *k = arg;

	kept_look(k);
	return k->notes == 0 && k->files == k->wanted_files &&
	       k->pieces == k->wanted_pieces;
}

bool
kept_clean(int64_t ms)
{
	struct kept k;

	if (eventually(ms, is_clean, &k))
		return true;
	tap_note("%lld notes; %lld files, wanted %lld; %lld pieces, wanted "
		 "%lld",
		 (long long)k.notes, (long long)k.files,
		 (long long)k.wanted_files, (long long)k.pieces,
		 (long long)k.wanted_pieces);
	return false;
}
