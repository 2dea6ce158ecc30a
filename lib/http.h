/* http.h: routes, requests and answers over FastCGI.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_HTTP_H
#define TICKETING_HTTP_H

#include <fcgiapp.h>

#include "context.h"
#include "json.h"
#include "record.h"
#include "token.h"

/* What comes from outside has a ceiling, each: 400 above it, the body 413. */
#define HTTP_MAX_PATH 1024
#define HTTP_MAX_QUERY 4096
#define HTTP_MAX_HEADER 8192 /* one header's value */
#define HTTP_MAX_BODY 65536
#define HTTP_MAX_PARAMS 2 /* ":id" and ":code" parts of a path */
#define HTTP_MAX_CODE 64

/* What a banned user reads, with 403. */
#define HTTP_BANNED "Your account is banned"

#define HTTP_PAGE_DEFAULT 20
#define HTTP_PAGE_MAX 100

enum method { GET, POST, PUT, DELETE, METHOD__MAX };

enum access {
	ANYONE,	   /* request.signed_in says whether somebody is */
	SIGNED_IN, /* else 401; 403 when banned */
	ADMIN,	   /* else 401 or 403 */
};

struct request;
typedef const struct fail *(*http_handler)(struct request *rq);

/* A row of a service's table.  A HEAD request is answered as GET, without the
 * body.  A path's ":id" parts match a well-formed id (else 404), a ":code" any
 * text of up to HTTP_MAX_CODE bytes, which is kept out of the log. */
struct route {
	enum method method;
	const char *path; /* "/api/orders/:id"; NULL ends the table */
	http_handler handler;
	enum access access;
	/* Described: the JSON body, read into request.body, and the query,
	 * into request.query, zeroed structs of these sizes.  NULL: no body
	 * is expected, the query is passed over. */
	const struct field *body;
	size_t body_size;
	const struct field *query;
	size_t query_size;
	bool body_optional; /* no body reads as all zeros */
	/* Not 0: the body is anything of up to so many bytes, from anywhere
	 * and of any type, handed over as it is in request.raw. */
	size_t raw_max;
};

struct header {
	const char *name, *value;
	struct header *next;
};

struct request {
	struct context *cx;
	FCGX_Request *fcgi;
	const struct route *route;
	const char *method, *path;
	const char *params[HTTP_MAX_PARAMS]; /* those parts of the path */
	const void *body, *query;	     /* see struct route */
	const char *raw;		     /* likewise; NUL-terminated */
	size_t raw_len;
	uint64_t given; /* bit i: the body's (or else query's) field i was there
			 */
	bool signed_in;
	struct user user; /* if signed_in */

	int status; /* the answer */
	struct header *headers;
	json_object *json; /* NULL: no content, or text */
	const char *text, *text_type;
};

/* A request's header, as "Idempotency-Key"; NULL when absent. */
const char *http_header(struct request *rq, const char *name);

/* The value of a request's cookie, in the arena; NULL when there is none. */
const char *http_cookie(struct request *rq, const char *name);

/* The address of the client, as the server in front saw it; "" when it did not
 * say. */
const char *http_client(struct request *rq);

/* The answer, which is sent after the handler returns NULL.  json may be NULL
 * and belongs to the arena.  Returns NULL, so that it can be returned. */
const struct fail *http_reply(struct request *rq, int status,
			      json_object *json);

/* Likewise a text of another type than JSON. */
const struct fail *http_reply_text(struct request *rq, const char *type,
				   const char *text);

/* What the world may see of rec, with its version as ETag. */
const struct fail *http_reply_record(struct request *rq, int status,
				     const struct field *fields,
				     const void *rec);

/* Adds a header to the answer.  Control characters in its value are left
 * out. */
void http_set_header(struct request *rq, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Rows of a query's table and members of its struct, for lists. */
struct page {
	int64_t limit;	      /* 0: HTTP_PAGE_DEFAULT */
	char cursor[ID_SIZE]; /* list from behind this id; "": from the top */
};
#define HTTP_PAGE(strukt, page)                                 \
	FIELD(strukt, page.limit, "limit", FIELD_INT, .min = 1, \
	      .max = HTTP_PAGE_MAX),                            \
		FIELD(strukt, page.cursor, "cursor", FIELD_ID)

/* How many records to ask the store for: one more than the page holds. */
int64_t http_page_fetch(const struct page *page);

/* Narrows a filter to ids behind the cursor; the list is by "-_id". */
void http_page_filter(const struct page *page, bson_t *filter);

/* A list of count records, as fetched; when there are more than the page
 * holds, a Link header leads on. */
const struct fail *http_reply_page(struct request *rq, const struct page *page,
				   const struct field *fields, const void *recs,
				   size_t size, size_t count);

/* Answers one accepted request by service->routes, and logs it. */
void http_serve(struct context *cx, FCGX_Request *fcgi);

#endif
