/* fuzz-multipart.c: a form with a file, through fcgi/storefront/upload.c.  A
 * line is its Content-Type, the next byte how much of the file is taken at a
 * time, and the rest is the body.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "pages.h"

static const struct fail *check_csrf(const char *token);
#define view_check_csrf(v, line) ((void)(v), check_csrf(line))
#include "../../fcgi/storefront/upload.c"

/* main.c's. */
int64_t pages_window = 900, pages_file_max = 1 << 20;
const char *pages_stripe_key = "";

static const struct fail *
check_csrf(const char *token)
{
	static const struct fail forged = {.name = "forged", .status = 403};

	return strcmp(token, "t") == 0 ? NULL : &forged;
}

static void
no_more(FCGX_Stream *stream)
{
	stream->isClosed = 1;
}

/* What goes on to stuff: as client_send() takes it. */
static void
take_file(struct body *b, size_t piece)
{
	size_t length = (size_t)b->left, n = 0;
	char *file = malloc(length + piece);
	long got;

	while ((got = hand_on(b, file + n, piece)) > 0) {
		n += (size_t)got;
		MUST(n <= length);
	}
	MUST(got == 0 || b->fail != NULL);
	if (got == 0) {
		MUST(n == length);
		MUST(memmem(file, n, b->marker, b->marker_len) == NULL);
	} else {
		MUST(n < length || n == 0);
	}
	free(file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct context cx = {.arena = arena_new()};
	struct input in = {data, size};
	char *type = input_line(&in, cx.arena);
	char *envp[] = {arena_alloc(cx.arena, strlen(type) + 20), NULL};
	size_t piece = (size_t)input_byte(&in) * 97 + 1;
	unsigned char *bytes = malloc(in.left + 1);
	struct body *b = arena_alloc(cx.arena, sizeof(*b));
	struct part file;
	FCGX_Stream from = {.rdNext = bytes,
			    .wrNext = bytes + in.left,
			    .stop = bytes + in.left,
			    .stopUnget = bytes,
			    .isReader = 1,
			    .fillBuffProc = no_more};
	FCGX_Request fcgi = {.in = &from, .envp = envp, .ipcFd = -1};
	struct request rq = {.cx = &cx,
			     .fcgi = &fcgi,
			     .length = (int64_t)in.left,
			     .began = clock_monotonic()};

	log_init("fuzz", "error");
	snprintf(envp[0], strlen(type) + 20, "CONTENT_TYPE=%s", type);
	if (in.left > 0)
		memcpy(bytes, in.at, in.left);
	if (begin(&rq, b) == NULL && take_form(NULL, b, &file) == NULL) {
		const char *name = disposition_safe(cx.arena, file.filename);

		MUST(strpbrk(disposition_write(cx.arena, name), "\r\n") ==
		     NULL);
		MUST(strpbrk(disposition_type(cx.arena, file.type), "\r\n") ==
		     NULL);
		if (b->left > 0)
			take_file(b, piece);
	}
	free(bytes);
	arena_free(cx.arena);
	return 0;
}
