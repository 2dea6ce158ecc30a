/* upload.c: the file of a listing, on its way from a form to stuff.
 * SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>

#include "disposition.h"
#include "pages.h"

#define BOUNDARY_MAX 70 /* RFC 2046 5.1.1 */
#define PIECE 16384
#define LINE_MAX_ 2048
#define LINES_MAX 16 /* of a part's head */
#define MARGIN (BOUNDARY_MAX + 8)
#define PICTURE_MAX 262144 /* bytes, by the API */

/*
 * A body of multipart/form-data (RFC 7578) as our form sends it: csrf, then the
 * file, and nothing behind it.  So the file's length is known when it begins,
 * and it goes on to stuff as it comes.  Its last bytes are not handed over
 * before the body was seen to end as it should.
 */
struct body {
	struct request *rq;
	char marker[BOUNDARY_MAX + 5]; /* "\r\n--" and the boundary */
	size_t marker_len;
	char bytes[PIECE]; /* read, from at on */
	size_t at, len;
	int64_t left;		     /* of the file */
	char window[MARGIN + PIECE]; /* in which a boundary is looked for */
	size_t tail;		     /* of the pieces before, at its start */
	const struct fail *fail;
};

static const struct fail *
fill(struct body *b)
{
	b->at = 0;
	return http_read(b->rq, b->bytes, sizeof(b->bytes), &b->len);
}

static const struct fail *
bad_body(struct request *rq)
{
	return fail_bad_request(rq->cx->arena, "The form is ill-formed");
}

/* Up to size bytes; fewer only at the end. */
static const struct fail *
take(struct body *b, char *to, size_t size, size_t *ret_len)
{
	size_t n = 0;

	while (n < size) {
		size_t have = b->len - b->at;

		if (have == 0) {
			TRY(fill(b));
			if (b->len == 0)
				break;
			continue;
		}
		have = have < size - n ? have : size - n;
		memcpy(to + n, b->bytes + b->at, have);
		b->at += have;
		n += have;
	}
	*ret_len = n;
	return NULL;
}

/* The next line, without its end. */
static const struct fail *
take_line(struct body *b, const char **ret)
{
	char *line = arena_alloc(b->rq->cx->arena, LINE_MAX_ + 1);
	size_t n = 0, got;

	do {
		if (n == LINE_MAX_)
			return bad_body(b->rq);
		TRY(take(b, line + n, 1, &got));
		if (got == 0 || line[n] == '\0')
			return bad_body(b->rq);
	} while (line[n++] != '\n');
	if (n < 2 || line[n - 2] != '\r')
		return bad_body(b->rq);
	line[n - 2] = '\0';
	*ret = line;
	return NULL;
}

/* The boundary that Content-Type names. */
static const struct fail *
begin(struct request *rq, struct body *b)
{
	const char *type = http_content_type(rq), *p;
	size_t len;

	b->rq = rq;
	if (type == NULL || strncasecmp(type, "multipart/form-data", 19) != 0 ||
	    (p = strcasestr(type, "boundary=")) == NULL)
		return bad_body(rq);
	p += strlen("boundary=");
	p += *p == '"';
	len = strcspn(p, "\"; \t");
	if (len == 0 || len > BOUNDARY_MAX)
		return bad_body(rq);
	b->marker_len = len + 4;
	memcpy(b->marker, "\r\n--", 4);
	memcpy(b->marker + 4, p, len);
	TRY(take_line(b, &p));
	return strcmp(p, b->marker + 2) == 0 ? NULL : bad_body(rq);
}

/* name="value" of a Content-Disposition; browsers write a quote as %22. */
static const char *
parameter(struct arena *a, const char *header, const char *name)
{
	const char *p = strstr(header, arena_printf(a, "; %s=\"", name));
	char *value, *to;
	size_t len;

	if (p == NULL)
		return "";
	p = strchr(p, '"') + 1;
	len = strcspn(p, "\"");
	value = to = arena_strndup(a, p, len);
	for (p = value; *p != '\0'; p++)
		if (strncmp(p, "%22", 3) == 0) {
			*to++ = '"';
			p += 2;
		} else {
			*to++ = *p;
		}
	*to = '\0';
	return value;
}

struct part {
	const char *name, *filename, *type;
};

static const struct fail *
take_head(struct body *b, struct part *ret)
{
	struct arena *a = b->rq->cx->arena;
	const char *line = "";

	*ret = (struct part){"", "", "application/octet-stream"};
	for (int i = 0; i < LINES_MAX; i++) {
		TRY(take_line(b, &line));
		if (*line == '\0')
			return NULL;
		if (strncasecmp(line, "Content-Disposition:", 20) == 0) {
			ret->name = parameter(a, line, "name");
			ret->filename = parameter(a, line, "filename");
		} else if (strncasecmp(line, "Content-Type:", 13) == 0) {
			line += 13;
			ret->type = line + strspn(line, " \t");
		}
	}
	return bad_body(b->rq);
}

/* The form's token and the head of its file. */
static const struct fail *
take_form(struct view *v, struct body *b, struct part *file)
{
	const char *line;
	struct part part;

	TRY(take_head(b, &part));
	if (strcmp(part.name, "csrf") != 0)
		return bad_body(b->rq);
	TRY(take_line(b, &line));
	TRY(view_check_csrf(v, line));
	TRY(take_line(b, &line));
	if (strcmp(line, b->marker + 2) != 0)
		return bad_body(b->rq);
	TRY(take_head(b, file));
	if (strcmp(file->name, "file") != 0)
		return bad_body(b->rq);
	/* What is left is the file and "\r\n--boundary--\r\n". */
	b->left = b->rq->length - b->rq->received + (int64_t)(b->len - b->at) -
		  (int64_t)b->marker_len - 4;
	return b->left >= 0 ? NULL : bad_body(b->rq);
}

/* Does the body end behind the file? */
static bool
ends_well(struct body *b)
{
	char end[MARGIN + 1];
	size_t want = b->marker_len + 4, got;

	b->fail = take(b, end, want, &got);
	return b->fail == NULL && got == want &&
	       memcmp(end, b->marker, b->marker_len) == 0 &&
	       memcmp(end + b->marker_len, "--\r\n", 4) == 0;
}

/* Another part would look like more of the file. */
static bool
has_boundary(struct body *b, const char *bytes, size_t len)
{
	bool found;
	size_t all = b->tail + len, keep;

	memcpy(b->window + b->tail, bytes, len);
	found = memmem(b->window, all, b->marker, b->marker_len) != NULL;
	keep = all < b->marker_len - 1 ? all : b->marker_len - 1;
	memmove(b->window, b->window + all - keep, keep);
	b->tail = keep;
	return found;
}

static long
hand_on(void *closure, char *bytes, size_t size)
{
	struct body *b = closure;
	size_t want = size < PIECE ? size : PIECE, got;

	if ((int64_t)want > b->left)
		want = (size_t)b->left;
	if (want == 0)
		return 0;
	b->fail = take(b, bytes, want, &got);
	if (b->fail != NULL)
		return -1;
	b->left -= (int64_t)got;
	if (got < want || has_boundary(b, bytes, got) ||
	    (b->left == 0 && !ends_well(b))) {
		b->fail = b->fail ? b->fail : bad_body(b->rq);
		return -1;
	}
	return (long)got;
}

static const struct fail *
field_fail(struct view *v, const char *msg)
{
	return fail_field(v->a, NULL, "file", msg);
}

/* What of a listing is sent. */
struct kind_of_upload {
	const char *name; /* in addresses */
	int64_t max;
	const char *title, *about;
};

static struct kind_of_upload
the_file(void)
{
	return (struct kind_of_upload){"file", pages_file_max,
				       "The file for sale",
				       "Add what is sold: any file will do."};
}

static struct kind_of_upload
the_picture(void)
{
	return (struct kind_of_upload){
		"picture", PICTURE_MAX, "A picture for the cover",
		"A PNG, JPEG or WebP picture that shows what it is."};
}

static const struct fail *
show(struct request *rq, struct kind_of_upload kind)
{
	struct call c = {.what = "your listing"};
	json_object *form, *card;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	c.path = arena_printf(v->a, "/api/stuff/%s", rq->params[0]);
	TRY(view_need(v, &c));
	if (!model_is(c.json, "userId", rq->user.id))
		return fail_forbidden(v->a, "It is not yours to change");
	card = model_card(v, c.json);
	json_put(v->model, "listing", card);
	model_flag(v->model, "picture", strcmp(kind.name, "picture") == 0);
	if (strcmp(kind.name, "file") == 0)
		model_file(v, v->model, c.json);
	json_put_text(v->model, "edit_url",
		      arena_printf(v->a, "/sell/%s", rq->params[0]));
	json_put_text(v->model, "max_size", format_size(v->a, kind.max));
	json_put_text(v->model, "max_bytes",
		      arena_printf(v->a, "%lld", (long long)kind.max));
	form = model_form(v, arena_printf(v->a, "/sell/%s/%s", rq->params[0],
					  kind.name));
	model_field(v, form, "file", "");
	return view_page(v, "upload", kind.title, kind.about);
}

const struct fail *
upload_show(struct request *rq)
{
	return show(rq, the_file());
}

const struct fail *
upload_show_picture(struct request *rq)
{
	return show(rq, the_picture());
}

static const struct fail *
send(struct view *v, struct body *b, struct kind_of_upload kind)
{
	struct call c = {.what = "your listing", .method = "PUT"};
	struct part file;
	const char *name;

	TRY(begin(v->rq, b));
	TRY(take_form(v, b, &file));
	if (b->left == 0)
		return field_fail(v, "Please choose a file that is not empty");
	if (b->left > kind.max)
		return field_fail(v, "The file is too large");
	name = disposition_safe(v->a, file.filename);
	c.path = arena_printf(v->a, "/api/stuff/%s/%s", v->rq->params[0],
			      kind.name);
	client_send(v->a, &v->visitor, &c, disposition_type(v->a, file.type),
		    disposition_write(v->a, name), b->left, hand_on, b);
	if (b->fail != NULL)
		return b->fail;
	if (c.status == 413)
		return field_fail(v, "The file is too large");
	return c.good ? NULL : client_fail(v->a, &c);
}

static const struct fail *
take_upload(struct request *rq, struct kind_of_upload kind,
	    http_handler show_again, const char *done)
{
	struct body *b = arena_alloc(rq->cx->arena, sizeof(*b));
	const struct fail *fail;
	struct view *v;

	TRY(view_get(rq, SIGNED_IN, &v));
	fail = send(v, b, kind);
	if (fail != NULL)
		return view_again(v, show_again, fail);
	return view_go(v, arena_printf(v->a, "/sell/%s", rq->params[0]), done);
}

const struct fail *
upload_take(struct request *rq)
{
	return take_upload(rq, the_file(), upload_show, "uploaded");
}

const struct fail *
upload_take_picture(struct request *rq)
{
	return take_upload(rq, the_picture(), upload_show_picture, "saved");
}
