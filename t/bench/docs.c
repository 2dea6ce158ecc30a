/* docs.c: see docs.h.
 * SPDX-License-Identifier: MIT */
#include "docs.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#define USER "5f0000000000000000000001"
#define TEXT_256                                                           \
	"Sixteen pages on groups, rings and fields, with all proofs that " \
	"are asked for, and exercises with their answers behind them.  "   \
	"From the lectures of the last winter; typeset, with an index, "   \
	"and corrected by two who passed the examination with it.      "

static void
append_oid(bson_t *b, const char *name, const char *hex)
{
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, hex);
	BSON_APPEND_OID(b, name, &oid);
}

static int64_t
now(void)
{
	struct timeval tv;

	gettimeofday(&tv, NULL);
	return (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000;
}

/* The head, and an event that is as long as the service's would be. */
static void
begin(bson_t *b, const bson_oid_t *id, int64_t version)
{
	BSON_APPEND_OID(b, "_id", id);
	BSON_APPEND_INT64(b, "rev", 1);
	BSON_APPEND_INT64(b, "version", version);
}

static void
end(bson_t *b, const bson_oid_t *id, const char *family, const char *data)
{
	char hex[25], name[48], body[1024];
	bson_t outbox, event;

	BSON_APPEND_ARRAY_BEGIN(b, "outbox", &outbox);
	if (family != NULL) {
		bson_oid_to_string(id, hex);
		snprintf(name, sizeof(name), "%s:%s:1", family, hex);
		snprintf(body, sizeof(body),
			 "{\"id\":\"%s\",\"type\":\"%s:created\","
			 "\"subject\":\"%s\",\"version\":1,"
			 "\"time\":\"2026-01-01T00:00:00.000Z\","
			 "\"traceparent\":\"00-%s00000000-%.16s-01\","
			 "\"data\":{\"id\":\"%s\",%s}}",
			 name, family, hex, hex, hex, hex, data);
		BSON_APPEND_DOCUMENT_BEGIN(&outbox, "0", &event);
		BSON_APPEND_UTF8(&event, "id", name);
		snprintf(name, sizeof(name), "%s:created", family);
		BSON_APPEND_UTF8(&event, "channel", name);
		BSON_APPEND_UTF8(&event, "body", body);
		bson_append_document_end(&outbox, &event);
	}
	bson_append_array_end(b, &outbox);
}

void
doc_listing(bson_t *b, const bson_oid_t *id, bool unsent)
{
	begin(b, id, 1);
	BSON_APPEND_UTF8(b, "title", "Algebra notes");
	BSON_APPEND_UTF8(b, "description", TEXT_256);
	BSON_APPEND_INT64(b, "price", 1250);
	BSON_APPEND_UTF8(b, "currency", "usd");
	append_oid(b, "userId", USER);
	BSON_APPEND_UTF8(b, "status", "available");
	BSON_APPEND_INT64(b, "sellerRev", 0);
	BSON_APPEND_DATE_TIME(b, "createdAt", now());
	end(b, id, unsent ? "stuff" : NULL,
	    "\"title\":\"Algebra notes\",\"price\":1250,\"userId\":\"" USER
	    "\",\"orderId\":null,\"status\":\"available\",\"file\":null,"
	    "\"hidden\":null");
}

void
doc_copy(bson_t *b, const bson_oid_t *id)
{
	begin(b, id, 0);
	BSON_APPEND_UTF8(b, "title", "Algebra notes");
	BSON_APPEND_UTF8(b, "status", "available");
	BSON_APPEND_INT64(b, "price", 1250);
	append_oid(b, "userId", USER);
	BSON_APPEND_UTF8(b, "sha256",
			 "e3b0c44298fc1c149afbf4c8996fb924"
			 "27ae41e4649b934ca495991b7852b855");
	end(b, id, NULL, NULL);
}

void
doc_order(bson_t *b, const bson_oid_t *id, const bson_oid_t *stuff, bool unsent)
{
	int64_t at = now();
	bson_t copy;

	begin(b, id, 1);
	BSON_APPEND_UTF8(b, "trace", "5f0000000000000000000001deadbeef");
	BSON_APPEND_UTF8(b, "status", "created");
	append_oid(b, "userId", USER);
	BSON_APPEND_OID(b, "slot", stuff);
	BSON_APPEND_DOCUMENT_BEGIN(b, "stuff", &copy);
	BSON_APPEND_OID(&copy, "id", stuff);
	BSON_APPEND_UTF8(&copy, "title", "Algebra notes");
	BSON_APPEND_INT64(&copy, "price", 1250);
	append_oid(&copy, "sellerId", USER);
	bson_append_document_end(b, &copy);
	BSON_APPEND_DATE_TIME(b, "expiresAt", at + 900000);
	BSON_APPEND_DATE_TIME(b, "createdAt", at);
	end(b, id, unsent ? "order" : NULL,
	    "\"status\":\"created\",\"reason\":null,\"userId\":\"" USER
	    "\",\"expiresAt\":\"2026-01-01T00:15:00.000Z\",\"stuff\":{\"id\":"
	    "\"" USER "\",\"title\":\"Algebra notes\",\"price\":1250,"
	    "\"sellerId\":\"" USER "\"},\"listing\":null");
}

void
doc_sent(bson_t *update, const bson_oid_t *id)
{
	char hex[25], name[48];
	bson_t pull, outbox, which, in;

	bson_oid_to_string(id, hex);
	snprintf(name, sizeof(name), "stuff:%s:1", hex);
	BSON_APPEND_DOCUMENT_BEGIN(update, "$pull", &pull);
	BSON_APPEND_DOCUMENT_BEGIN(&pull, "outbox", &outbox);
	BSON_APPEND_DOCUMENT_BEGIN(&outbox, "id", &which);
	BSON_APPEND_ARRAY_BEGIN(&which, "$in", &in);
	BSON_APPEND_UTF8(&in, "0", name);
	memcpy(name, "order", 5);
	BSON_APPEND_UTF8(&in, "1", name);
	bson_append_array_end(&which, &in);
	bson_append_document_end(&outbox, &which);
	bson_append_document_end(&pull, &outbox);
	bson_append_document_end(update, &pull);
}

void
doc_id(bson_oid_t *id, uint32_t run, uint32_t number)
{
	char hex[25];

	snprintf(hex, sizeof(hex), "%08x%08x%08x", run, 0, number);
	bson_oid_init_from_string(id, hex);
}
