/* fuzz-request.c: a whole request as FastCGI brings it: path, query, headers,
 * cookies, length and body, through lib/http.c to the answer.
 * SPDX-License-Identifier: MIT
 *
 * Lines NAME=VALUE are the parameters, up to an empty one; the rest is the
 * body. */
#include <stdio.h>
#include <unistd.h>

#include "fuzz.h"
#include "service.h"
#include "token.h"

#define ANSWER_MAX 262144

struct inner {
	char id[ID_SIZE];
	int64_t count;
};
struct body {
	const char *title;
	int64_t price, at;
	char id[ID_SIZE];
	bool really;
	struct inner inner;
};
struct query {
	struct page page;
	const char *q;
	int64_t min;
};

static const struct field inner_fields[] = {
	FIELD(struct inner, id, "id", FIELD_ID, .flags = FIELD_REQUIRED),
	FIELD(struct inner, count, "count", FIELD_INT, .min = 1, .max = 9),
	{0},
};
static const struct field body_fields[] = {
	FIELD(struct body, title, "title", FIELD_TEXT,
	      .flags = FIELD_REQUIRED | FIELD_TRIM, .min = 1, .max = 120),
	FIELD(struct body, price, "price", FIELD_INT, .flags = FIELD_ZERO,
	      .min = 0, .max = 10000000),
	FIELD(struct body, at, "at", FIELD_TIME),
	FIELD(struct body, id, "id", FIELD_ID),
	FIELD(struct body, really, "really", FIELD_BOOL),
	FIELD(struct body, inner, "inner", FIELD_RECORD,
	      .fields = inner_fields),
	{0},
};
static const struct field query_fields[] = {
	HTTP_PAGE(struct query, page),
	FIELD(struct query, q, "q", FIELD_TEXT, .max = 120),
	FIELD(struct query, min, "min", FIELD_INT, .min = 0, .max = 1000),
	{0},
};

static const struct fail *
echo(struct request *rq)
{
	const struct body *b = rq->body;

	MUST(b->title != NULL && *b->title != '\0');
	MUST(b->price >= 0 && b->price <= 10000000);
	MUST(*b->id == '\0' || id_valid(b->id));
	http_set_header(rq, "X-Title", "%s", b->title);
	return http_reply(rq, 201,
			  record_to_json(rq->cx->arena, body_fields, b));
}

static const struct fail *
list(struct request *rq)
{
	const struct query *q = rq->query;
	struct body recs[3] = {{.title = "a"}, {.title = "b"}, {.title = "c"}};

	MUST(q->page.limit >= 0 && q->page.limit <= HTTP_PAGE_MAX);
	return http_reply_page(rq, &q->page, body_fields, recs, sizeof(recs[0]),
			       3);
}

static const struct fail *
show(struct request *rq)
{
	const char *cookie = http_cookie(rq, "theme");

	MUST(id_valid(rq->params[0]));
	if (cookie != NULL)
		http_set_header(rq, "X-Theme", "%s", cookie);
	return http_reply(rq, 200, NULL);
}

static const struct fail *
raw(struct request *rq)
{
	MUST(rq->raw_len <= 512 && rq->raw[rq->raw_len] == '\0');
	return http_reply_text(rq, "text/plain", "heard");
}

static const struct route routes[] = {
	{POST, "/api/things", echo, ANYONE, .body = body_fields,
	 .body_size = sizeof(struct body)},
	{GET, "/api/things", list, ANYONE, .query = query_fields,
	 .query_size = sizeof(struct query)},
	{GET, "/api/things/:id", show, ANYONE},
	{PUT, "/api/things/:id", echo, SIGNED_IN, .body = body_fields,
	 .body_size = sizeof(struct body), .query = query_fields,
	 .query_size = sizeof(struct query)},
	{GET, "/api/codes/:code/:id", list, ADMIN, .query = query_fields,
	 .query_size = sizeof(struct query)},
	{POST, "/api/hook", raw, .raw_max = 512},
	{0},
};

static void
no_more(FCGX_Stream *stream)
{
	stream->isClosed = 1;
}

static void
full(FCGX_Stream *stream, int closing)
{
	(void)closing;
	stream->isClosed = 1;
}

/* Is it an answer of ours, with headers that nobody else made lines of? */
static void
check_answer(const char *answer, size_t len)
{
	static const char *const known[] = {"Status: ",
					    "Content-Type: ",
					    "Content-Length: ",
					    "Cache-Control: ",
					    "X-Content-Type-Options: ",
					    "Content-Security-Policy: ",
					    "X-Request-Id: ",
					    "X-Title: ",
					    "X-Theme: ",
					    "Link: ",
					    "Allow: ",
					    "WWW-Authenticate: ",
					    "Retry-After: "};
	const char *end = strstr(answer, "\r\n\r\n");

	MUST(end != NULL && strncmp(answer, "Status: ", 8) == 0);
	MUST(strtol(answer + 8, NULL, 10) >= 200);
	MUST(strtol(answer + 8, NULL, 10) < 500);
	for (const char *p = answer; p < end + 2; p = strstr(p, "\r\n") + 2) {
		bool ours = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			ours = ours ||
			       strncmp(p, known[i], strlen(known[i])) == 0;
		MUST(ours);
	}
	MUST(strlen(answer) == len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct service service = {
		.name = "fuzz",
		.routes = routes,
		.base_url = "https://ticketing.dev",
	};
	static bool begun;
	static char answer[ANSWER_MAX];
	struct context cx = {.service = &service, .arena = arena_new()};
	struct input in = {data, size};
	char *envp[65], *line;
	unsigned char *body;
	int n = 0;

	if (!begun) {
		log_init("fuzz", "error");
		token_init("0123456789abcdef0123456789abcdef", "");
		begun = true;
	}
	while (n < 64 && *(line = input_line(&in, cx.arena)) != '\0')
		envp[n++] = line;
	envp[n] = NULL;
	/* A copy of its own, so that a byte read behind it is noticed. */
	body = malloc(in.left + 1);
	if (in.left > 0)
		memcpy(body, in.at, in.left);
	FCGX_Stream from = {.rdNext = body,
			    .wrNext = body + in.left,
			    .stop = body + in.left,
			    .stopUnget = body,
			    .isReader = 1,
			    .fillBuffProc = no_more};
	FCGX_Stream to = {.rdNext = (unsigned char *)answer + ANSWER_MAX - 1,
			  .wrNext = (unsigned char *)answer,
			  .stop = (unsigned char *)answer + ANSWER_MAX - 1,
			  .emptyBuffProc = full};
	FCGX_Request request = {
		.in = &from, .out = &to, .envp = envp, .ipcFd = -1};
	const char *path = FCGX_GetParam("SCRIPT_NAME", envp);

	/* The probes ask servers that are not there. */
	if (path == NULL || strcmp(path, "/readyz") != 0) {
		MUST(http_serve(&cx, &request, false) == WHOLE);
		*to.wrNext = '\0';
		check_answer(answer,
			     (size_t)(to.wrNext - (unsigned char *)answer));
	}
	free(body);
	arena_free(cx.arena);
	return 0;
}
