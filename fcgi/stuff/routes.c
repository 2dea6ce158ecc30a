/* routes.c: what stuff answers.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "disposition.h"
#include "failpoint.h"
#include "model.h"
#include "pictures.h"
#include "standing.h"

#define PRICE_MIN 50 /* cents: the gateway charges no less */
#define PRICE_MAX 10000000
#define LINK_LIFE 600	 /* s */
#define LINK "file link" /* what its signature is for */

struct search {
	const char *q, *status, *sort;
	int64_t min, max, brief;
	char seller[ID_SIZE];
	struct page page;
};

static bool
price_valid(const void *member)
{
	int64_t price = *(const int64_t *)member;

	return price == 0 || (price >= PRICE_MIN && price <= PRICE_MAX);
}

#define TITLE(flags_)                                               \
	FIELD(struct stuff_body, title, "title", FIELD_TEXT,        \
	      .flags = FIELD_TRIM | (flags_), .min = 1, .max = 120, \
	      .msg = "Title must have 1 to 120 characters")
#define DESCRIPTION(flags_)                                              \
	FIELD(struct stuff_body, description, "description", FIELD_TEXT, \
	      .flags = (flags_), .min = 0, .max = 10000,                 \
	      .msg = "Description must have at most 10000 characters")
#define PRICE(flags_)                                                          \
	FIELD(struct stuff_body, price, "price", FIELD_INT, .flags = (flags_), \
	      .valid = price_valid,                                            \
	      .msg = "Price must be 0, or 50 to 10000000 cents")

static const struct field create_body[] = {
	TITLE(FIELD_REQUIRED), DESCRIPTION(0), PRICE(FIELD_REQUIRED), {0}};
static const struct field edit_body[] = {
	TITLE(0), DESCRIPTION(0), PRICE(0), {0}};

#define SEARCH_MAX 4 /* the bit of "max" below */
static const struct field search_query[] = {
	FIELD(struct search, q, "q", FIELD_TEXT, .flags = FIELD_TRIM, .min = 1,
	      .max = 100),
	FIELD(struct search, min, "min", FIELD_INT, .max = PRICE_MAX),
	FIELD(struct search, max, "max", FIELD_INT, .max = PRICE_MAX),
	FIELD(struct search, seller, "seller", FIELD_ID),
	FIELD(struct search, status, "status", FIELD_TEXT,
	      .one_of = ONE_OF(STUFF_AVAILABLE, STUFF_RESERVED, STUFF_SOLD,
			       STUFF_REMOVED)),
	FIELD(struct search, sort, "sort", FIELD_TEXT,
	      .one_of = ONE_OF(STUFF_NEW, STUFF_OLD, STUFF_PRICE,
			       STUFF_PRICE_DOWN)),
	FIELD(struct search, brief, "brief", FIELD_INT, .max = 1),
	HTTP_PAGE(struct search, page),
	{0},
};

/* What a signed link says: until when it lets whom have the file, and by which
 * order if by one. */
struct link {
	char user[ID_SIZE], order[ID_SIZE];
	int64_t expires; /* s since 1970 */
	const char *signature;
};
static const struct field link_query[] = {
	FIELD(struct link, user, "user", FIELD_ID),
	FIELD(struct link, order, "order", FIELD_ID),
	FIELD(struct link, expires, "expires", FIELD_INT),
	FIELD(struct link, signature, "signature", FIELD_TEXT, .min = 64,
	      .max = 64),
	{0},
};

static const struct fail *list(struct request *rq);
static const struct fail *create(struct request *rq);
static const struct fail *marks(struct request *rq);
static const struct fail *show(struct request *rq);
static const struct fail *edit(struct request *rq);
static const struct fail *take_off(struct request *rq);
static const struct fail *put_file(struct request *rq);
static const struct fail *get_file(struct request *rq);
static const struct fail *make_link(struct request *rq);
static const struct fail *put_picture(struct request *rq);
static const struct fail *get_picture(struct request *rq);

#define BODY(fields) .body = (fields), .body_size = sizeof(struct stuff_body)

static const struct field link_fields[] = {
	SHOWN("url", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("expiresAt", FIELD_TIME, .flags = FIELD_REQUIRED),
	{0},
};

const struct route stuff_routes[] = {
	{GET, "/api/stuff", list, ANYONE, .query = search_query,
	 .query_size = sizeof(struct search), .shared = true,
	 .answers = {"Search listings, the newest first", 200, stuff_fields,
		     LIST}},
	{POST, "/api/stuff", create, SIGNED_IN, BODY(create_body),
	 .answers = {"List something", 201, stuff_fields}},
	{GET, "/api/stuff/marks", marks, ANYONE,
	 .answers = {"The ids at which a sitemap's parts begin", 200,
		     .type = "application/json"}},
	{GET, "/api/stuff/:id", show, ANYONE, .shared = true,
	 .answers = {"Show a listing", 200, stuff_fields}},
	{PUT, "/api/stuff/:id", edit, SIGNED_IN, BODY(edit_body),
	 .answers = {"Edit one's listing", 200, stuff_fields, .also = {409}}},
	{DELETE, "/api/stuff/:id", take_off, SIGNED_IN,
	 .answers = {"Take one's listing off", 204, .also = {409}}},
	{PUT, "/api/stuff/:id/file", put_file, SIGNED_IN, .stream = UPLOAD,
	 .answers = {"Upload the file that is sold", 200, stuff_file_fields,
		     .also = {409, 429}}},
	{GET, "/api/stuff/:id/file", get_file, ANYONE, .query = link_query,
	 .query_size = sizeof(struct link), .stream = DOWNLOAD,
	 .answers = {"Download the file", 200, .type = "*/*",
		     .also = {206, 304, 401, 403, 416}}},
	{POST, "/api/stuff/:id/file/link", make_link, SIGNED_IN,
	 .answers = {"Make a link to the file that needs no session", 201,
		     link_fields}},
	{PUT, "/api/stuff/:id/picture", put_picture, SIGNED_IN,
	 .raw_max = PICTURE_MAX,
	 .answers = {"Put a picture on one's listing", 200, stuff_fields,
		     .also = {409}}},
	{GET, "/api/stuff/:id/picture", get_picture, ANYONE, .stream = DOWNLOAD,
	 .answers = {"A listing's picture", 200, .type = "image/*"}},
	{0},
};

static bool
is_admin(const struct request *rq)
{
	return rq->signed_in && strcmp(rq->user.role, "admin") == 0;
}

static const struct fail *
list(struct request *rq)
{
	const struct search *s = rq->query;
	struct stuff_search search = {
		.text = s->q,
		.min = s->min,
		.max = rq->given & SEARCH_MAX ? s->max : -1,
		.seller = s->seller,
		.status = s->status,
		.hidden_too = is_admin(rq) && *s->seller != '\0',
		.sort = s->sort,
		.page = &s->page,
	};
	struct stuff *found;
	size_t n;

	TRY(stuff_find(rq->cx, &search, &found, &n));
	/* Long texts that a page of titles has no use for. */
	for (size_t i = 0; s->brief && i < n; i++)
		found[i].description = NULL;
	return http_reply_page(rq, &s->page, stuff_kind.fields, found,
			       sizeof(*found), n);
}

static const struct fail *
marks(struct request *rq)
{
	json_object *list = json_new_array(rq->cx->arena);

	TRY(stuff_marks(rq->cx, list));
	return http_reply(rq, 200, list);
}

static const struct fail *
create(struct request *rq)
{
	const struct stuff_body *body = rq->body;
	struct stuff stuff = {
		.title = body->title,
		.description = body->description ? body->description : "",
		.price = body->price,
		.currency = "usd",
		.status = STUFF_AVAILABLE,
		.created_at = clock_now(),
	};

	memcpy(stuff.user_id, rq->user.id, ID_SIZE);
	TRY(store_add(rq->cx, &stuff_kind, &stuff));
	http_set_header(rq, "Location", "/api/stuff/%s", stuff.head.id);
	return http_reply_record(rq, 201, stuff_kind.fields, &stuff);
}

/* What is removed is there for its seller and admins alone. */
static const struct fail *
get_visible(struct request *rq, struct stuff *ret)
{
	bool own;

	TRY(store_get(rq->cx, &stuff_kind, rq->params[0], ret));
	own = rq->signed_in && strcmp(rq->user.id, ret->user_id) == 0;
	if (own || is_admin(rq) ||
	    (strcmp(ret->status, STUFF_REMOVED) != 0 && ret->hidden == NULL))
		return NULL;
	/* What search engines know may be gone for good. */
	if (strcmp(ret->status, STUFF_REMOVED) == 0)
		http_set_header(rq, "Stuff-Status", STUFF_REMOVED);
	return fail_not_found(rq->cx->arena);
}

static const struct fail *
show(struct request *rq)
{
	struct stuff stuff;

	TRY(get_visible(rq, &stuff));
	return http_reply_record(rq, 200, stuff_kind.fields, &stuff);
}

/* If-Match: "3".  *ret_seen is -1 when there is none, or it is "*". */
static const struct fail *
seen_version(struct request *rq, int64_t *ret_seen)
{
	const char *header = http_header(rq, "If-Match");
	char *end;

	*ret_seen = -1;
	if (header == NULL || strcmp(header, "*") == 0)
		return NULL;
	if (*header == '"' && header[1] >= '0' && header[1] <= '9') {
		*ret_seen = strtoll(header + 1, &end, 10);
		if (strcmp(end, "\"") == 0)
			return NULL;
	}
	return fail_bad_request(rq->cx->arena, "Bad If-Match");
}

static const struct fail *
edit(struct request *rq)
{
	struct stuff_edit change = {
		.body = rq->body, .given = rq->given, .user = &rq->user};
	struct stuff stuff;

	TRY(seen_version(rq, &change.seen));
	TRY(store_change(rq->cx, &stuff_kind, rq->params[0], stuff_edit,
			 &change, &stuff));
	return http_reply_record(rq, 200, stuff_kind.fields, &stuff);
}

static const struct fail *
take_off(struct request *rq)
{
	struct stuff stuff = {.status = NULL};
	const struct fail *fail =
		store_change(rq->cx, &stuff_kind, rq->params[0], stuff_remove,
			     &rq->user, &stuff);

	/* Also of one's listing that is off already: it may be that the
	 * database went away in between. */
	if (fail != NULL && (fail->status != 404 || stuff.status == NULL))
		return fail;
	TRY(picture_remove(rq->cx, stuff.head.id));
	return fail ? fail : http_reply(rq, 204, NULL);
}

static const struct fail *
put_file(struct request *rq)
{
	struct context *cx = rq->cx;
	struct stuff_put put = {.user = &rq->user};
	const struct fail *fail;
	struct stuff stuff;

	TRY(store_get(cx, &stuff_kind, rq->params[0], &stuff));
	TRY(stuff_may_put(cx, &stuff, &rq->user));
	put.file.name = disposition_read(
		cx->arena, http_header(rq, "Content-Disposition"));
	if (put.file.name == NULL)
		return fail_bad_request(cx->arena, "Bad Content-Disposition");
	put.file.type = disposition_type(cx->arena, http_content_type(rq));
	TRY(files_receive(rq, stuff.head.id, &put.file, put.file_id));
	fail = store_change(cx, &stuff_kind, stuff.head.id, stuff_put_file,
			    &put, &stuff);
	FAILPOINT("given");
	files_settle(cx, put.file_id, fail == NULL);
	TRY(fail);
	http_set_header(rq, "ETag", "\"%s\"", stuff.file.sha256);
	return http_reply(rq, 200,
			  record_to_json(cx->arena, stuff_file_fields,
					 &stuff.file));
}

/*
 * What gives a user the file now: "owner", "buyer" of the order that completed,
 * "admin"; NULL: nothing does.  Asked of the listing each time: it ends with
 * the reason for it.
 */
static const char *
right_to(const struct stuff *s, const char *user_id, bool admin)
{
	if (strcmp(user_id, s->user_id) == 0)
		return "owner";
	if (strcmp(s->status, STUFF_SOLD) == 0 &&
	    strcmp(user_id, s->buyer_id) == 0)
		return "buyer";
	return admin ? "admin" : NULL;
}

/* What a link's signature is of. */
static const char *
link_text(struct arena *a, const struct stuff *s, const struct link *link,
	  const char *right)
{
	return arena_printf(a, "%s %s %s %s %lld", s->head.id, link->user,
			    link->order, right, (long long)link->expires);
}

static const struct fail *
check_link(struct context *cx, const struct stuff *s, const struct link *link)
{
	/* Who is neither owner nor buyer now was an admin when it was made, or
	 * the signature is not of this text. */
	const char *right = right_to(s, link->user, true);
	struct user user = {.issued = link->expires - LINK_LIFE};

	memcpy(user.id, link->user, ID_SIZE);
	if (standing_of_token(&user) != TOKEN_GOOD ||
	    clock_now() / 1000 >= link->expires ||
	    (strcmp(right, "buyer") == 0 &&
	     strcmp(link->order, s->order_id) != 0) ||
	    !token_signed(LINK, link_text(cx->arena, s, link, right),
			  link->signature))
		return fail_forbidden(cx->arena,
				      "The link does not lead here any more");
	return NULL;
}

static const struct fail *
check_right(struct request *rq, const struct stuff *s, const char **ret)
{
	const char *right;

	if (!rq->signed_in)
		return fail_not_authorized(rq->cx->arena);
	right = right_to(s, rq->user.id, is_admin(rq));
	if (right == NULL)
		return fail_forbidden(rq->cx->arena,
				      "Only its seller and its buyer may have "
				      "the file");
	*ret = right;
	return NULL;
}

static const struct fail *
get_file(struct request *rq)
{
	const struct link *link = rq->query;
	const char *right;
	struct stuff stuff;

	TRY(store_get(rq->cx, &stuff_kind, rq->params[0], &stuff));
	if (link->signature != NULL)
		TRY(check_link(rq->cx, &stuff, link));
	else
		TRY(check_right(rq, &stuff, &right));
	if (*stuff.file_id == '\0')
		return fail_not_found(rq->cx->arena);
	return files_send(rq, stuff.file_id, &stuff.file);
}

/* For a browser's or a download manager's own window, which has no cookie. */
static const struct fail *
make_link(struct request *rq)
{
	struct context *cx = rq->cx;
	struct link link = {.expires = clock_now() / 1000 + LINK_LIFE};
	json_object *o = json_new_object(cx->arena);
	char signature[TOKEN_SIGNATURE_SIZE];
	const char *right = "";
	struct stuff stuff;

	TRY(store_get(cx, &stuff_kind, rq->params[0], &stuff));
	TRY(check_right(rq, &stuff, &right));
	if (*stuff.file_id == '\0')
		return fail_not_found(cx->arena);
	memcpy(link.user, rq->user.id, ID_SIZE);
	if (strcmp(right, "buyer") == 0)
		memcpy(link.order, stuff.order_id, ID_SIZE);
	token_sign(LINK, link_text(cx->arena, &stuff, &link, right), signature);
	json_put_text(o, "url",
		      arena_printf(cx->arena,
				   "%s/api/stuff/%s/file?user=%s&order=%s"
				   "&expires=%lld&signature=%s",
				   cx->service->base_url, stuff.head.id,
				   link.user, link.order,
				   (long long)link.expires, signature));
	json_put_text(o, "expiresAt",
		      clock_format(cx->arena, link.expires * 1000));
	return http_reply(rq, 201, o);
}

static const struct fail *
put_picture(struct request *rq)
{
	struct stuff_picture put = {.user = &rq->user};
	struct stuff stuff;

	TRY(store_get(rq->cx, &stuff_kind, rq->params[0], &stuff));
	TRY(stuff_may_put(rq->cx, &stuff, &rq->user));
	TRY(picture_put(rq->cx, stuff.head.id, rq->raw, rq->raw_len,
			&put.version));
	TRY(store_change(rq->cx, &stuff_kind, stuff.head.id, stuff_put_picture,
			 &put, &stuff));
	return http_reply_record(rq, 200, stuff_kind.fields, &stuff);
}

static const struct fail *
get_picture(struct request *rq)
{
	struct stuff stuff;

	TRY(get_visible(rq, &stuff));
	if (stuff.picture == NULL)
		return fail_not_found(rq->cx->arena);
	return picture_send(rq, stuff.head.id);
}
