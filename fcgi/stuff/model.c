/* model.c: see model.h.
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "pictures.h"
#include "standing.h"

#define BATCH 100	  /* of a seller's listings at once */
#define MARKS_LIFE 600000 /* ms */

const struct field stuff_file_fields[] = {
	FIELD(struct file, name, "name", FIELD_TEXT),
	FIELD(struct file, size, "size", FIELD_INT),
	FIELD(struct file, type, "type", FIELD_TEXT),
	FIELD(struct file, sha256, "sha256", FIELD_TEXT),
	{0},
};

const struct field stuff_fields[] = {
	STORE_HEAD(struct stuff),
	FIELD(struct stuff, title, "title", FIELD_TEXT),
	FIELD(struct stuff, description, "description", FIELD_TEXT),
	FIELD(struct stuff, price, "price", FIELD_INT, .flags = FIELD_ZERO),
	FIELD(struct stuff, currency, "currency", FIELD_TEXT),
	FIELD(struct stuff, user_id, "userId", FIELD_ID),
	FIELD(struct stuff, order_id, "orderId", FIELD_ID),
	FIELD(struct stuff, other_id, "otherId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct stuff, held_until, "heldUntil", FIELD_TIME,
	      .flags = FIELD_OMIT),
	FIELD(struct stuff, other_until, "otherUntil", FIELD_TIME,
	      .flags = FIELD_HIDDEN),
	FIELD(struct stuff, status, "status", FIELD_TEXT),
	FIELD(struct stuff, file, "file", FIELD_RECORD, .flags = FIELD_OR_NULL,
	      .fields = stuff_file_fields),
	FIELD(struct stuff, file_id, "fileId", FIELD_ID, .flags = FIELD_HIDDEN),
	FIELD(struct stuff, buyer_id, "buyerId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct stuff, hidden, "hidden", FIELD_TEXT, .flags = FIELD_OMIT),
	FIELD(struct stuff, seller_rev, "sellerRev", FIELD_INT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct stuff, picture, "picture", FIELD_TEXT,
	      .flags = FIELD_OMIT),
	FIELD(struct stuff, created_at, "createdAt", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"status", "-_id"}},
	{.keys = {"userId", "status", "-_id"}},
	{.keys = {"status", "price", "-_id"}},
	{.keys = {"status", "-price", "-_id"}},
	{{NULL}},
};

static bool
is(const struct stuff *s, const char *status)
{
	return strcmp(s->status, status) == 0;
}

static enum event_type
publishes(const void *rec)
{
	const struct stuff *s = rec;

	return s->untold	      ? EVENT_NONE
	       : is(s, STUFF_REMOVED) ? EVENT_STUFF_REMOVED
	       : s->head.version == 0 ? EVENT_STUFF_CREATED
				      : EVENT_STUFF_UPDATED;
}

static const struct fail *added(struct context *cx, const char *const *ids,
				size_t count);

const struct kind stuff_kind = {
	.collection = "stuff",
	.fields = stuff_fields,
	.size = sizeof(struct stuff),
	.publishes = publishes,
	.added = added,
	.indexes = indexes,
};

/* Narrows a filter to what people may find. */
static void
append_listed(bson_t *filter, const char *status, bool hidden_too)
{
	bson_t inner, list;

	if (status != NULL) {
		BSON_APPEND_UTF8(filter, "status", status);
	} else {
		BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &inner);
		BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
		BSON_APPEND_UTF8(&list, "0", STUFF_AVAILABLE);
		BSON_APPEND_UTF8(&list, "1", STUFF_RESERVED);
		bson_append_array_end(&inner, &list);
		bson_append_document_end(filter, &inner);
	}
	if (hidden_too)
		return;
	BSON_APPEND_DOCUMENT_BEGIN(filter, "hidden", &inner);
	BSON_APPEND_BOOL(&inner, "$exists", false);
	bson_append_document_end(filter, &inner);
}

/* A condition on one field: {name: {op: value}}. */
static void
append_price(bson_t *filter, const char *op, int64_t price)
{
	bson_t inner;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "price", &inner);
	BSON_APPEND_INT64(&inner, op, price);
	bson_append_document_end(filter, &inner);
}

static void
append_id(bson_t *filter, const char *op, const char *id)
{
	bson_oid_t oid;
	bson_t inner;

	bson_oid_init_from_string(&oid, id);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &inner);
	BSON_APPEND_OID(&inner, op, &oid);
	bson_append_document_end(filter, &inner);
}

/* Behind the listing that the cursor names, as dear as that is now. */
static const struct fail *
append_behind_price(struct context *cx, bson_t *alternatives, const char *op,
		    const char *cursor)
{
	const struct fail *fail;
	struct stuff last;
	bson_t inner;

	fail = store_get(cx, &stuff_kind, cursor, &last);
	if (fail != NULL && fail->status == 404)
		return fail_field(cx->arena, NULL, "cursor", "Bad cursor");
	TRY(fail);
	BSON_APPEND_DOCUMENT_BEGIN(alternatives, "0", &inner);
	append_price(&inner, op, last.price);
	bson_append_document_end(alternatives, &inner);
	BSON_APPEND_DOCUMENT_BEGIN(alternatives, "1", &inner);
	BSON_APPEND_INT64(&inner, "price", last.price);
	append_id(&inner, "$lt", cursor);
	bson_append_document_end(alternatives, &inner);
	return NULL;
}

/* In which order, and from where on; all is a list of conditions, of which
 * this is the one of that number. */
static const struct fail *
append_cursor(struct context *cx, bson_t *all, const char *number,
	      const struct stuff_search *search, const char **ret_sort)
{
	const char *sort = search->sort ? search->sort : STUFF_NEW;
	const char *cursor = search->page->cursor;
	bool price = strcmp(sort, STUFF_PRICE) == 0;
	bool down = strcmp(sort, STUFF_PRICE_DOWN) == 0;
	bool old = strcmp(sort, STUFF_OLD) == 0;
	const struct fail *fail = NULL;
	bson_t inner, list;

	*ret_sort = price  ? "price,-_id"
		    : down ? "-price,-_id"
		    : old  ? "_id"
			   : "-_id";
	if (*cursor == '\0')
		return NULL;
	BSON_APPEND_DOCUMENT_BEGIN(all, number, &inner);
	if (price || down) {
		BSON_APPEND_ARRAY_BEGIN(&inner, "$or", &list);
		fail = append_behind_price(cx, &list, price ? "$gt" : "$lt",
					   cursor);
		bson_append_array_end(&inner, &list);
	} else {
		append_id(&inner, old ? "$gt" : "$lt", cursor);
	}
	bson_append_document_end(all, &inner);
	return fail;
}

static void
append_text(struct context *cx, bson_t *all, const char *number,
	    const char *text)
{
	bson_t inner, list;

	BSON_APPEND_DOCUMENT_BEGIN(all, number, &inner);
	BSON_APPEND_ARRAY_BEGIN(&inner, "$or", &list);
	store_append_search(cx, &list, "0", "title", text);
	store_append_search(cx, &list, "1", "description", text);
	bson_append_array_end(&inner, &list);
	bson_append_document_end(all, &inner);
}

const struct fail *
stuff_find(struct context *cx, const struct stuff_search *search,
	   struct stuff **ret, size_t *ret_count)
{
	bson_t *filter = bson_new(), inner, all;
	const struct fail *fail;
	bson_oid_t seller;
	const char *sort;
	void *found;

	append_listed(filter, search->status, search->hidden_too);
	if (*search->seller != '\0') {
		bson_oid_init_from_string(&seller, search->seller);
		BSON_APPEND_OID(filter, "userId", &seller);
	}
	if (search->min > 0 || search->max >= 0) {
		BSON_APPEND_DOCUMENT_BEGIN(filter, "price", &inner);
		BSON_APPEND_INT64(&inner, "$gte", search->min);
		if (search->max >= 0)
			BSON_APPEND_INT64(&inner, "$lte", search->max);
		bson_append_document_end(filter, &inner);
	}
	if (search->text != NULL || *search->page->cursor != '\0') {
		BSON_APPEND_ARRAY_BEGIN(filter, "$and", &all);
		if (search->text != NULL)
			append_text(cx, &all, "0", search->text);
		fail = append_cursor(cx, &all, search->text ? "1" : "0", search,
				     &sort);
		bson_append_array_end(filter, &all);
	} else {
		fail = append_cursor(cx, NULL, "", search, &sort);
	}
	if (fail != NULL) {
		bson_destroy(filter);
		return fail;
	}
	TRY(store_find(cx, &stuff_kind, filter, sort,
		       http_page_fetch(search->page), &found, ret_count));
	*ret = found;
	return NULL;
}

static void
destroy_bson(void *b)
{
	bson_destroy(b);
}

static void
destroy_cursor(void *c)
{
	mongoc_cursor_destroy(c);
}

/* The id so many listings behind that one; "" when there are fewer. */
static const struct fail *
next_mark(struct context *cx, char id[ID_SIZE])
{
	bson_t *filter = arena_defer(cx->arena, destroy_bson, bson_new());
	bson_t *opts = arena_defer(cx->arena, destroy_bson, bson_new());
	mongoc_collection_t *c;
	mongoc_cursor_t *cursor;
	bson_error_t error;
	bson_iter_t at;
	const bson_t *doc;
	bson_t inner;

	append_listed(filter, NULL, false);
	if (*id != '\0')
		append_id(filter, "$gt", id);
	BSON_APPEND_INT64(opts, "skip", STUFF_MARK - 1);
	BSON_APPEND_INT64(opts, "limit", 1);
	BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &inner);
	BSON_APPEND_INT32(&inner, "_id", 1);
	bson_append_document_end(opts, &inner);
	BSON_APPEND_DOCUMENT_BEGIN(opts, "projection", &inner);
	BSON_APPEND_INT32(&inner, "_id", 1);
	bson_append_document_end(opts, &inner);
	TRY(store_collection(cx, stuff_kind.collection, &c));
	cursor = arena_defer(cx->arena, destroy_cursor,
			     mongoc_collection_find_with_opts(c, filter, opts,
							      NULL));
	*id = '\0';
	if (mongoc_cursor_next(cursor, &doc) &&
	    bson_iter_init_find(&at, doc, "_id") && BSON_ITER_HOLDS_OID(&at))
		bson_oid_to_string(bson_iter_oid(&at), id);
	if (mongoc_cursor_error(cursor, &error))
		return store_failed(cx, &error);
	return NULL;
}

/* Counting through all listings is not for everybody who asks: what was found
 * is gone on from, and for a while not found again. */
static struct {
	pthread_mutex_t lock; /* guards these */
	char (*ids)[ID_SIZE];
	size_t count;
	int64_t since; /* when they were found, on the monotonic clock */
} marks = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const struct fail *
find_marks(struct context *cx)
{
	char id[ID_SIZE] = "";

	if (marks.ids == NULL)
		marks.ids = calloc(STUFF_MARKS_MAX, sizeof(*marks.ids));
	if (marks.ids == NULL)
		return fail_unknown(cx->arena, "no memory for marks");
	if (marks.count == 0 || clock_monotonic() - marks.since > MARKS_LIFE) {
		marks.count = 0;
		marks.since = clock_monotonic();
	}
	while (marks.count < STUFF_MARKS_MAX) {
		if (marks.count > 0)
			memcpy(id, marks.ids[marks.count - 1], ID_SIZE);
		TRY(next_mark(cx, id));
		if (*id == '\0')
			break;
		memcpy(marks.ids[marks.count++], id, ID_SIZE);
	}
	return NULL;
}

const struct fail *
stuff_marks(struct context *cx, json_object *list)
{
	const struct fail *fail;

	if (pthread_mutex_trylock(&marks.lock) != 0)
		return fail_unavailable(cx->arena,
					"Service unavailable, please try again",
					"marks are being found");
	fail = find_marks(cx);
	for (size_t i = 0; fail == NULL && i < marks.count; i++)
		json_object_array_add(list,
				      json_object_new_string(marks.ids[i]));
	pthread_mutex_unlock(&marks.lock);
	return fail;
}

/* Only what nobody holds or bought may change. */
static const struct fail *
check_free(struct context *cx, const struct stuff *s)
{
	if (is(s, STUFF_REMOVED))
		return fail_not_found(cx->arena);
	if (is(s, STUFF_SOLD))
		return fail_conflict(cx->arena, "The stuff is sold", 0);
	if (is(s, STUFF_RESERVED))
		return fail_conflict(cx->arena,
				     "The stuff is reserved by an order", 0);
	return NULL;
}

const struct fail *
stuff_edit(struct context *cx, void *rec, const void *arg)
{
	const struct stuff_edit *edit = arg;
	struct stuff *s = rec;

	if (strcmp(s->user_id, edit->user->id) != 0)
		return fail_forbidden(cx->arena, "Only its seller may edit it");
	TRY(check_free(cx, s));
	if (edit->seen >= 0 && edit->seen != s->head.version)
		return fail_conflict(cx->arena,
				     "The stuff has changed since it was read",
				     0);
	if (edit->given == 0)
		return STORE_KEEP;
	if (edit->given & 1)
		s->title = edit->body->title;
	if (edit->given & 2)
		s->description = edit->body->description;
	if (edit->given & 4)
		s->price = edit->body->price;
	return NULL;
}

const struct fail *
stuff_remove(struct context *cx, void *rec, const void *arg)
{
	const struct user *user = arg;
	struct stuff *s = rec;

	if (strcmp(s->user_id, user->id) != 0 &&
	    strcmp(user->role, "admin") != 0)
		return fail_forbidden(cx->arena,
				      "Only its seller may remove it");
	TRY(check_free(cx, s));
	s->status = STUFF_REMOVED;
	return NULL;
}

const struct fail *
stuff_may_put(struct context *cx, const struct stuff *s,
	      const struct user *user)
{
	if (strcmp(s->user_id, user->id) != 0)
		return fail_forbidden(cx->arena,
				      "Only its seller may give it a file");
	return check_free(cx, s);
}

const struct fail *
stuff_put_file(struct context *cx, void *rec, const void *arg)
{
	const struct stuff_put *put = arg;
	struct stuff *s = rec;

	TRY(stuff_may_put(cx, s, put->user));
	TRY(files_check(cx, put->file_id));
	s->file = put->file;
	memcpy(s->file_id, put->file_id, ID_SIZE);
	return NULL;
}

const struct fail *
stuff_put_picture(struct context *cx, void *rec, const void *arg)
{
	const struct stuff_picture *put = arg;
	struct stuff *s = rec;

	TRY(stuff_may_put(cx, s, put->user));
	s->picture = put->version;
	return NULL;
}

static const struct fail *
raise_rev(struct context *cx, void *rec, const void *arg)
{
	struct stuff *s = rec;

	(void)cx;
	(void)arg;
	s->untold = true;
	return NULL;
}

const struct fail *
stuff_current_file(struct context *cx, const char *id, bool fence,
		   char ret[ID_SIZE])
{
	struct stuff s;
	const struct fail *fail =
		fence ? store_change(cx, &stuff_kind, id, raise_rev, NULL, &s)
		      : store_get(cx, &stuff_kind, id, &s);

	*ret = '\0';
	if (fail == NULL)
		memcpy(ret, s.file_id, ID_SIZE);
	return fail != NULL && fail->status == 404 ? NULL : fail;
}

/* The record of an event on an order; it is not there when the order is for
 * something that never was. */
static const struct fail *
check_there(struct context *cx, const struct stuff *s)
{
	if (s->head.rev == 0)
		return fail_unknown(cx->arena, "no stuff %s", s->head.id);
	return NULL;
}

/*
 * Makes a listing what its seller's standing says.  The standing is read after
 * the listing, and what it was is kept in it, so that of two that do this at
 * once, before and after an unban, the later one wins.
 */
static const struct fail *
follow(struct context *cx, struct stuff *s)
{
	struct standing seller;

	TRY(standing_get(cx, s->user_id, &seller));
	s->seller_rev = seller.head.rev;
	s->hidden = is(s, STUFF_AVAILABLE) || is(s, STUFF_RESERVED)
			    ? seller.state
			    : NULL;
	if (is(s, STUFF_AVAILABLE) && s->hidden != NULL &&
	    strcmp(s->hidden, STANDING_ERASED) == 0)
		s->status = STUFF_REMOVED;
	return NULL;
}

/* A store_decide function; arg is not used. */
static const struct fail *
follow_seller(struct context *cx, void *rec, const void *arg)
{
	struct stuff *s = rec;
	int64_t seen = s->seller_rev;

	(void)arg;
	if (!is(s, STUFF_AVAILABLE) && !is(s, STUFF_RESERVED))
		return STORE_KEEP;
	TRY(follow(cx, s));
	return s->seller_rev == seen ? STORE_KEEP : NULL;
}

/* A ban that was heard after the seller was let in found no listing to hide. */
static const struct fail *
added(struct context *cx, const char *const *ids, size_t count)
{
	const char **users = arena_alloc(cx->arena, count * sizeof(*users));
	struct standing *sellers;
	struct stuff *listings;
	size_t n, n_sellers;
	void *found;

	if (GUARD_OFF("look-again"))
		return NULL;
	TRY(store_get_all(cx, &stuff_kind, ids, count, &found, &n));
	listings = found;
	for (size_t i = 0; i < n; i++)
		users[i] = listings[i].user_id;
	TRY(store_get_all(cx, &standing_kind, users, n, &found, &n_sellers));
	sellers = found;
	for (size_t i = 0; i < n; i++) {
		struct stuff *s = &listings[i];

		/* What is heard from here on finds the listing. */
		for (size_t j = 0; j < n_sellers; j++)
			if (strcmp(sellers[j].head.id, s->user_id) == 0)
				TRY(store_change(cx, &stuff_kind, s->head.id,
						 follow_seller, NULL, s));
	}
	return NULL;
}

/* The next unsold listings of a user, by id, behind one. */
static const struct fail *
unsold_of(struct context *cx, const char *user_id, const char *behind,
	  struct stuff **ret, size_t *ret_count)
{
	bson_t *filter = bson_new(), inner, list;
	bson_oid_t oid;
	void *found;

	bson_oid_init_from_string(&oid, user_id);
	BSON_APPEND_OID(filter, "userId", &oid);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &inner);
	BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
	BSON_APPEND_UTF8(&list, "0", STUFF_AVAILABLE);
	BSON_APPEND_UTF8(&list, "1", STUFF_RESERVED);
	bson_append_array_end(&inner, &list);
	bson_append_document_end(filter, &inner);
	if (*behind != '\0') {
		bson_oid_init_from_string(&oid, behind);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &inner);
		BSON_APPEND_OID(&inner, "$gt", &oid);
		bson_append_document_end(filter, &inner);
	}
	TRY(store_find(cx, &stuff_kind, filter, "_id", BATCH, &found,
		       ret_count));
	*ret = found;
	return NULL;
}

const struct fail *
stuff_follow_seller(struct context *cx, void *none, const void *arg)
{
	const struct event *event = arg;
	char last[ID_SIZE] = "";
	struct stuff *found, s;
	size_t n;

	(void)none;
	do {
		TRY(unsold_of(cx, event->subject, last, &found, &n));
		for (size_t i = 0; i < n; i++) {
			memcpy(last, found[i].head.id, ID_SIZE);
			TRY(store_change(cx, &stuff_kind, last, follow_seller,
					 NULL, &s));
			if (is(&s, STUFF_REMOVED))
				TRY(picture_remove(cx, last));
		}
	} while (n == BATCH);
	return NULL;
}

/*
 * Several orders for one listing have no common line of versions.  But orders
 * lets one in only when those before it are cancelled.  So of two that are
 * heard of, one has ended, and its cancellation is on the way: of the holder,
 * or of the other one, which was long under way itself.  It is kept in mind
 * until either comes.  Of a third, nothing can be kept before that.
 */
const struct fail *
stuff_reserve(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct order_event *order = event->data;
	struct stuff *s = rec;

	TRY(check_there(cx, s));
	if (is(s, STUFF_REMOVED) || strcmp(s->order_id, event->subject) == 0 ||
	    strcmp(s->other_id, event->subject) == 0)
		return STORE_KEEP;
	if (*s->other_id != '\0')
		return STORE_EARLY;
	if (*s->order_id != '\0') {
		memcpy(s->other_id, event->subject, ID_SIZE);
		s->other_until = order->expires_at;
		return NULL;
	}
	s->status = STUFF_RESERVED;
	s->held_until = order->expires_at;
	memcpy(s->order_id, event->subject, ID_SIZE);
	return NULL;
}

/* The holder has ended: the other one, if there is one, holds it. */
static void
pass_on(struct stuff *s)
{
	memcpy(s->order_id, s->other_id, ID_SIZE);
	*s->other_id = *s->buyer_id = '\0';
	s->held_until = s->other_until;
	s->other_until = 0;
	s->status = *s->order_id != '\0' ? STUFF_RESERVED : STUFF_AVAILABLE;
}

const struct fail *
stuff_release(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	struct stuff *s = rec;

	TRY(check_there(cx, s));
	if (strcmp(s->order_id, event->subject) == 0) {
		pass_on(s);
	} else if (strcmp(s->other_id, event->subject) == 0) {
		*s->other_id = '\0';
		s->other_until = 0;
	} else {
		return STORE_KEEP;
	}
	return follow(cx, s);
}

const struct fail *
stuff_sell(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct order_event *order = event->data;
	struct stuff *s = rec;

	TRY(check_there(cx, s));
	if (strcmp(s->other_id, event->subject) == 0)
		pass_on(s); /* so the holder has ended, if unheard */
	if (strcmp(s->order_id, event->subject) != 0 || is(s, STUFF_SOLD))
		return STORE_KEEP;
	s->status = STUFF_SOLD;
	s->held_until = 0;
	memcpy(s->buyer_id, order->user_id, ID_SIZE);
	s->hidden = NULL;
	return NULL;
}

/* The order is refunded: its buyer has no claim any more. */
const struct fail *
stuff_take_back(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct order_event *order = event->data;
	struct stuff *s = rec;

	TRY(check_there(cx, s));
	if (strcmp(s->order_id, event->subject) != 0)
		return STORE_KEEP;
	/* What is removed ends the order of who was faster than that. */
	pass_on(s);
	if (order->listing == NULL || strcmp(order->listing, "free") != 0) {
		s->status = STUFF_REMOVED;
		s->held_until = 0;
		*s->order_id = '\0';
	}
	return follow(cx, s);
}
