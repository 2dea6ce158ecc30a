/* pictures.c: see pictures.h.
 * SPDX-License-Identifier: MIT */
#include "pictures.h"

#include <sodium.h>
#include <string.h>

#define VERSION_SIZE 17 /* of a hash, and NUL */

struct picture {
	struct head head; /* its id is the listing's */
	const char *type;
	const char *data; /* base64 */
};

static const struct field fields[] = {
	STORE_HEAD(struct picture),
	FIELD(struct picture, type, "type", FIELD_TEXT),
	FIELD(struct picture, data, "data", FIELD_TEXT),
	{0},
};

const struct kind picture_kind = {
	.collection = "pictures",
	.fields = fields,
	.size = sizeof(struct picture),
};

/* NULL: it is no picture. */
static const char *
type_of(const char *bytes, size_t len)
{
	if (len > 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
		return "image/png";
	if (len > 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
		return "image/jpeg";
	if (len > 12 && memcmp(bytes, "RIFF", 4) == 0 &&
	    memcmp(bytes + 8, "WEBP", 4) == 0)
		return "image/webp";
	return NULL;
}

/* A store_decide function: arg is the new struct picture. */
static const struct fail *
replace(struct context *cx, void *rec, const void *arg)
{
	const struct picture *new = arg;
	struct picture *p = rec;

	(void)cx;
	p->type = new->type;
	p->data = new->data;
	return NULL;
}

const struct fail *
picture_put(struct context *cx, const char *stuff_id, const char *bytes,
	    size_t len, const char **ret_version)
{
	struct picture new = {.type = type_of(bytes, len)}, old;
	size_t size =
		sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
	char *data, hash[ID_HASH_SIZE];
	const struct fail *fail;

	if (new.type == NULL)
		return fail_bad_request(
			cx->arena, "The picture is neither PNG, JPEG nor WebP");
	data = arena_alloc(cx->arena, size);
	sodium_bin2base64(data, size, (const unsigned char *)bytes, len,
			  sodium_base64_VARIANT_ORIGINAL);
	new.data = data;
	memcpy(new.head.id, stuff_id, ID_SIZE);
	fail = store_add(cx, &picture_kind, &new);
	if (fail == STORE_DUPLICATE)
		fail = store_change(cx, &picture_kind, stuff_id, replace, &new,
				    &old);
	TRY(fail);
	id_hash(hash, bytes, len);
	*ret_version = arena_strndup(cx->arena, hash, VERSION_SIZE - 1);
	return NULL;
}

const struct fail *
picture_remove(struct context *cx, const char *stuff_id)
{
	bson_t *filter = bson_new();
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, stuff_id);
	BSON_APPEND_OID(filter, "_id", &oid);
	return store_remove(cx, &picture_kind, filter);
}

struct bytes {
	char *bytes;
	size_t len;
};

static const struct fail *
write_out(struct request *rq, void *closure)
{
	const struct bytes *b = closure;

	http_write(rq, b->bytes, b->len);
	return NULL;
}

const struct fail *
picture_send(struct request *rq, const char *stuff_id)
{
	struct bytes *b = arena_alloc(rq->cx->arena, sizeof(*b));
	struct picture p;
	size_t max;

	TRY(store_get(rq->cx, &picture_kind, stuff_id, &p));
	max = strlen(p.data);
	b->bytes = arena_alloc(rq->cx->arena, max + 1);
	if (sodium_base642bin((unsigned char *)b->bytes, max, p.data, max, NULL,
			      &b->len, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0)
		return fail_unknown(rq->cx->arena, "a picture is broken");
	http_set_header(rq, "Cache-Control", "public, max-age=%d%s",
			*http_query(rq) ? 31536000 : 60,
			*http_query(rq) ? ", immutable" : "");
	http_set_header(rq, "Content-Security-Policy",
			"default-src 'none'; sandbox");
	return http_reply_stream(rq, 200, p.type, (int64_t)b->len, write_out,
				 b);
}
