/* model.c: see model.h.
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <string.h>

#include "failpoint.h"
#include "standing.h"

#define BATCH 100 /* of a seller's listings at once */

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
	FIELD(struct stuff, status, "status", FIELD_TEXT),
	FIELD(struct stuff, file, "file", FIELD_RECORD, .flags = FIELD_OR_NULL,
	      .fields = stuff_file_fields),
	FIELD(struct stuff, file_id, "fileId", FIELD_ID, .flags = FIELD_HIDDEN),
	FIELD(struct stuff, buyer_id, "buyerId", FIELD_ID,
	      .flags = FIELD_HIDDEN),
	FIELD(struct stuff, hidden, "hidden", FIELD_TEXT, .flags = FIELD_OMIT),
	FIELD(struct stuff, seller_rev, "sellerRev", FIELD_INT,
	      .flags = FIELD_HIDDEN),
	FIELD(struct stuff, created_at, "createdAt", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"status", "-_id"}},
	{.keys = {"userId", "status", "-_id"}},
	{.keys = {"status", "price", "-_id"}},
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

const struct kind stuff_kind = {
	.collection = "stuff",
	.fields = stuff_fields,
	.size = sizeof(struct stuff),
	.publishes = publishes,
	.indexes = indexes,
};

const struct fail *
stuff_find(struct context *cx, const struct stuff_search *search,
	   struct stuff **ret, size_t *ret_count)
{
	bson_t *filter = bson_new(), inner, list;
	bson_oid_t seller;
	void *found;

	if (search->status != NULL) {
		BSON_APPEND_UTF8(filter, "status", search->status);
	} else {
		BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &inner);
		BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
		BSON_APPEND_UTF8(&list, "0", STUFF_AVAILABLE);
		BSON_APPEND_UTF8(&list, "1", STUFF_RESERVED);
		bson_append_array_end(&inner, &list);
		bson_append_document_end(filter, &inner);
	}
	if (!search->hidden_too) {
		BSON_APPEND_DOCUMENT_BEGIN(filter, "hidden", &inner);
		BSON_APPEND_BOOL(&inner, "$exists", false);
		bson_append_document_end(filter, &inner);
	}
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
	if (search->text != NULL) {
		BSON_APPEND_ARRAY_BEGIN(filter, "$or", &list);
		store_append_search(cx, &list, "0", "title", search->text);
		store_append_search(cx, &list, "1", "description",
				    search->text);
		bson_append_array_end(filter, &list);
	}
	http_page_filter(search->page, filter);
	TRY(store_find(cx, &stuff_kind, filter, "-_id",
		       http_page_fetch(search->page), &found, ret_count));
	*ret = found;
	return NULL;
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

const struct fail *
stuff_check_seller(struct context *cx, struct stuff *stuff)
{
	if (GUARD_OFF("look-again"))
		return NULL;
	return store_change(cx, &stuff_kind, stuff->head.id, follow_seller,
			    NULL, stuff);
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
	struct stuff *s = rec;

	TRY(check_there(cx, s));
	if (is(s, STUFF_REMOVED) || strcmp(s->order_id, event->subject) == 0 ||
	    strcmp(s->other_id, event->subject) == 0)
		return STORE_KEEP;
	if (*s->other_id != '\0')
		return STORE_EARLY;
	if (*s->order_id != '\0') {
		memcpy(s->other_id, event->subject, ID_SIZE);
		return NULL;
	}
	s->status = STUFF_RESERVED;
	memcpy(s->order_id, event->subject, ID_SIZE);
	return NULL;
}

/* The holder has ended: the other one, if there is one, holds it. */
static void
pass_on(struct stuff *s)
{
	memcpy(s->order_id, s->other_id, ID_SIZE);
	*s->other_id = *s->buyer_id = '\0';
	s->status = *s->order_id != '\0' ? STUFF_RESERVED : STUFF_AVAILABLE;
}

const struct fail *
stuff_release(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	struct stuff *s = rec;

	TRY(check_there(cx, s));
	if (strcmp(s->order_id, event->subject) == 0)
		pass_on(s);
	else if (strcmp(s->other_id, event->subject) == 0)
		*s->other_id = '\0';
	else
		return STORE_KEEP;
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
		*s->order_id = '\0';
	}
	return follow(cx, s);
}
