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
#define HTTP_MAX_SLUG 400

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

/* What has no bound in memory, and is done aside from the workers; see
 * transfer.h. */
enum stream {
	WHOLE,
	UPLOAD,	  /* the handler reads the body, with http_read() */
	DOWNLOAD, /* the answer may be http_reply_stream()'s */
};

/* What a route answers when all is well, for its description alone: see
 * openapi.h, which knows by the other columns what else it may answer. */
#define ROUTE_ALSO 6
struct answers {
	const char *says;	    /* what it does, in one line */
	int status;		    /* 0: 200 */
	const struct field *fields; /* of the object; NULL: it has none */
	enum { ONE, LIST, ONE_OR_LIST } how;
	const char *type;     /* instead of JSON, or besides it */
	int also[ROUTE_ALSO]; /* other statuses */
};

struct request;
typedef const struct fail *(*http_handler)(struct request *rq);
typedef const struct fail *(*http_writer)(struct request *rq, void *closure);

/* A row of a service's table.  A HEAD request is answered as GET, without the
 * body.  A path's ":id" parts match a well-formed id (else 404), a ":code" any
 * text of up to HTTP_MAX_CODE bytes, which is kept out of the log, a ":slug"
 * any of up to HTTP_MAX_SLUG. */
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
	enum stream stream;
	/* Not 0: the body is anything of up to so many bytes and of any type,
	 * handed over as it is in request.raw; from anywhere where access is
	 * ANYONE. */
	size_t raw_max;
	/* That is what a form of one of our own pages sends: of the type
	 * application/x-www-form-urlencoded, and not from elsewhere. */
	bool form;
	/* The handler waits for nothing: neither the store nor anybody else. */
	bool quick;
	/* What it answers to who is not signed in depends on path and query
	 * alone, and is text: see share.h. */
	bool shared;
	struct answers answers;
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
	bool transfer;	  /* not done by a worker */
	bool handed_over; /* will not be */
	int64_t length;	  /* of an UPLOAD's body */
	int64_t received; /* of these */
	int64_t began;	  /* on the monotonic clock */
	void *own;	  /* what the service's handlers hand each other */

	int status; /* the answer */
	struct header *headers;
	json_object *json; /* NULL: no content, text or a writer's */
	const char *text, *text_type;
	http_writer writer; /* instead of json; see http_reply_stream() */
	void *closure;
	int64_t reply_length;
	const char *reply_type;
};

/* The row of the service's table that such a request goes to, whose path's
 * parts become the request's params; NULL when there is none. */
const struct route *http_find_route(struct request *rq, enum method method,
				    const char *path);

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

/* Likewise JSON that is written already; out's arena is the request's. */
const struct fail *http_reply_written(struct request *rq, int status,
				      struct json_out *out);

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

/* The request's query, undecoded; "" when there is none. */
const char *http_query(struct request *rq);

/* The id under which the request is logged; NULL when it has none. */
const char *http_request_id(struct request *rq);

/* The media type of the body, as the client says; NULL when it does not. */
const char *http_content_type(struct request *rq);

/*
 * Reads the next bytes of an UPLOAD's body: *ret_len is less than size only at
 * its end.  Fails when it is broken off, longer or shorter than Content-Length
 * says, or slower than HTTP_SLOWEST.
 */
#define HTTP_SLOWEST 8192 /* bytes a second on average, */
#define HTTP_GRACE 30	  /* after so many seconds */
const struct fail *http_read(struct request *rq, void *bytes, size_t size,
			     size_t *ret_len);

/*
 * The answer is length bytes of a media type, for which write(rq, closure)
 * is called after the handler, when the headers are sent; not for HEAD.  It
 * calls http_write().  Should it fail, or write less, the connection is broken
 * off: the client sees that its body is too short.
 */
const struct fail *http_reply_stream(struct request *rq, int status,
				     const char *type, int64_t length,
				     http_writer write, void *closure);

/* False when the client is gone. */
bool http_write(struct request *rq, const void *bytes, size_t len);

/*
 * Answers one accepted request by service->routes, and logs it.  One of a
 * route that streams is checked, but only answered where transfer is true;
 * else, when all is well, its kind is returned, and transfers_add() is next.
 */
enum stream http_serve(struct context *cx, FCGX_Request *fcgi, bool transfer);

#endif
