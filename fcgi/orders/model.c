/* model.c: see model.h.
 * SPDX-License-Identifier: MIT */
#include "model.h"

#include <string.h>

#include "failpoint.h"
#include "standing.h"

#define HELD                                                                 \
	"The stuff is being checking out by someone else, please come back " \
	"later"
#define COPY_WAIT 1000	  /* ms for news of stuff that is not known */
#define SWEEP_EVERY 10000 /* ms */
#define SWEEP_LIMIT 100	  /* orders in one sweep */
#define WARN_LEAD                                                   \
	180000 /* ms before its end that a hold's buyer is reminded \
		*/

static int64_t window; /* s that a hold lasts */

const struct setting orders_settings[] = {
	{.name = "EXPIRATION_WINDOW_SECONDS",
	 .number = &window,
	 .fallback = "900",
	 .min = 1,
	 .max = 86400},
	{0},
};

static const struct field order_stuff_fields[] = {
	FIELD(struct order_stuff, id, "id", FIELD_ID),
	FIELD(struct order_stuff, title, "title", FIELD_TEXT),
	FIELD(struct order_stuff, price, "price", FIELD_INT,
	      .flags = FIELD_ZERO),
	FIELD(struct order_stuff, seller_id, "sellerId", FIELD_ID),
	{0},
};

const struct field order_fields[] = {
	STORE_HEAD(struct order),
	FIELD(struct order, status, "status", FIELD_TEXT),
	FIELD(struct order, reason, "reason", FIELD_TEXT),
	FIELD(struct order, listing, "listing", FIELD_TEXT,
	      .flags = FIELD_OMIT),
	FIELD(struct order, user_id, "userId", FIELD_ID),
	FIELD(struct order, slot, "slot", FIELD_ID, .flags = FIELD_HIDDEN),
	FIELD(struct order, stuff, "stuff", FIELD_RECORD,
	      .fields = order_stuff_fields),
	FIELD(struct order, expires_at, "expiresAt", FIELD_TIME),
	FIELD(struct order, created_at, "createdAt", FIELD_TIME),
	{0},
};

static const struct index order_indexes[] = {
	{.keys = {"slot"}, .unique = true, .sparse = true},
	{.keys = {"userId", "-_id"}},
	{.keys = {"status", "expiresAt"}},
	{{NULL}},
};

static bool
is(const struct order *o, const char *status)
{
	return strcmp(o->status, status) == 0;
}

static bool
live(const struct order *o)
{
	return is(o, ORDER_CREATED) || is(o, ORDER_AWAITING_PAYMENT);
}

static enum event_type
publishes(const void *rec)
{
	const struct order *o = rec;

	return is(o, ORDER_CREATED)	? EVENT_ORDER_CREATED
	       : is(o, ORDER_CANCELLED) ? EVENT_ORDER_CANCELLED
	       : is(o, ORDER_COMPLETE)	? EVENT_ORDER_COMPLETED
	       : is(o, ORDER_REFUNDED)	? EVENT_ORDER_REFUNDED
					: EVENT_NONE;
}

static const struct fail *added(struct context *cx, const char *const *ids,
				size_t count);

const struct kind order_kind = {
	.collection = "orders",
	.fields = order_fields,
	.traced = true,
	.size = sizeof(struct order),
	.publishes = publishes,
	.added = added,
	.indexes = order_indexes,
};

static const struct field copy_fields[] = {
	STORE_HEAD(struct stuff_copy),
	FIELD(struct stuff_copy, title, "title", FIELD_TEXT),
	FIELD(struct stuff_copy, status, "status", FIELD_TEXT),
	FIELD(struct stuff_copy, hidden, "hidden", FIELD_TEXT),
	FIELD(struct stuff_copy, price, "price", FIELD_INT,
	      .flags = FIELD_ZERO),
	FIELD(struct stuff_copy, user_id, "userId", FIELD_ID),
	FIELD(struct stuff_copy, sha256, "sha256", FIELD_TEXT),
	{0},
};

const struct kind stuff_copy_kind = {
	.collection = "stuff",
	.fields = copy_fields,
	.size = sizeof(struct stuff_copy),
};

const struct fail *
order_of_stuff(struct context *cx, const char *stuff_id, struct order *ret)
{
	bson_t *filter = bson_new();
	bson_oid_t oid;

	bson_oid_init_from_string(&oid, stuff_id);
	BSON_APPEND_OID(filter, "slot", &oid);
	return store_find_one(cx, &order_kind, filter, ret);
}

const struct fail *
order_find(struct context *cx, const char *user_id, const struct page *page,
	   struct order **ret, size_t *ret_count)
{
	bson_t *filter = bson_new();
	bson_oid_t oid;
	void *found;

	bson_oid_init_from_string(&oid, user_id);
	BSON_APPEND_OID(filter, "userId", &oid);
	http_page_filter(page, filter);
	TRY(store_find(cx, &order_kind, filter, "-_id", http_page_fetch(page),
		       &found, ret_count));
	*ret = found;
	return NULL;
}

static const struct fail *
end(struct order *o, const char *reason)
{
	o->status = ORDER_CANCELLED;
	o->reason = reason;
	*o->slot = '\0';
	return NULL;
}

static bool
lapsed(const struct order *o)
{
	return clock_now() >= o->expires_at;
}

const struct fail *
order_cancel(struct context *cx, void *rec, const void *arg)
{
	const struct user *user = arg;
	struct order *o = rec;

	if (strcmp(o->user_id, user->id) != 0)
		return fail_forbidden(cx->arena, "Not your order");
	if (is(o, ORDER_COMPLETE))
		return fail_conflict(cx->arena, "The order is complete", 0);
	if (is(o, ORDER_REFUNDED))
		return fail_conflict(cx->arena, "The order is refunded", 0);
	return live(o) ? end(o, ORDER_BY_BUYER) : STORE_KEEP;
}

/* An event's order that is not there was never ours. */
static const struct fail *
check_there(struct context *cx, const struct order *o)
{
	if (o->head.rev == 0)
		return fail_unknown(cx->arena, "no order %s", o->head.id);
	return NULL;
}

/* Narrows a filter to live orders. */
static void
append_live(bson_t *filter)
{
	bson_t in, list;

	BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
	BSON_APPEND_UTF8(&list, "0", ORDER_CREATED);
	BSON_APPEND_UTF8(&list, "1", ORDER_AWAITING_PAYMENT);
	bson_append_array_end(&in, &list);
	bson_append_document_end(filter, &in);
}

/* Asked by the sweep, by a BUY that meets a lapsed hold, or by the expiration
 * service, whose clock may be ahead of ours. */
const struct fail *
order_expire(struct context *cx, void *rec, const void *arg)
{
	struct order *o = rec;

	(void)arg;
	TRY(check_there(cx, o));
	if (!live(o))
		return STORE_KEEP;
	return lapsed(o) ? end(o, ORDER_EXPIRED) : STORE_EARLY;
}

const struct fail *
order_drop(struct context *cx, void *rec, const void *arg)
{
	struct order *o = rec;

	(void)arg;
	TRY(check_there(cx, o));
	return live(o) ? end(o, ORDER_REMOVED) : STORE_KEEP;
}

/* A store_decide function; arg is not used.  Whoever closed their account has
 * cancelled, too. */
static const struct fail *
end_of_barred(struct context *cx, void *rec, const void *arg)
{
	struct standing buyer;
	struct order *o = rec;

	(void)arg;
	TRY(standing_get(cx, o->user_id, &buyer));
	if (!live(o) || !standing_bad(&buyer))
		return STORE_KEEP;
	return end(o, strcmp(buyer.state, STANDING_BANNED) == 0
			      ? ORDER_BANNED
			      : ORDER_BY_BUYER);
}

const struct fail *
orders_end_of(struct context *cx, void *none, const void *arg)
{
	const struct event *event = arg;
	bson_t *filter = bson_new();
	struct order *found, o;
	bson_oid_t oid;
	void *recs;
	size_t n;

	(void)none;
	bson_oid_init_from_string(&oid, event->subject);
	BSON_APPEND_OID(filter, "userId", &oid);
	append_live(filter);
	TRY(store_find(cx, &order_kind, filter, NULL, SWEEP_LIMIT, &recs, &n));
	found = recs;
	for (size_t i = 0; i < n; i++)
		TRY(store_change(cx, &order_kind, found[i].head.id,
				 end_of_barred, NULL, &o));
	/* The event is heard when none is left. */
	return n < SWEEP_LIMIT ? NULL : STORE_EARLY;
}

const struct fail *
order_confirm(struct context *cx, void *rec, const void *arg)
{
	struct order *o = rec;

	(void)arg;
	TRY(check_there(cx, o));
	if (!is(o, ORDER_CREATED))
		return STORE_KEEP;
	o->status = ORDER_AWAITING_PAYMENT;
	return NULL;
}

/*
 * The money is set aside; whether it is taken is decided here.  A hold that
 * lapsed has ended, also when nobody noticed.  One that stuff has not
 * confirmed may be for something that its seller removed: its word comes.
 */
const struct fail *
order_pay(struct context *cx, void *rec, const void *arg)
{
	struct order *o = rec;

	(void)arg;
	TRY(check_there(cx, o));
	if (!live(o) && !(is(o, ORDER_CANCELLED) && GUARD_OFF("arbiter")))
		return STORE_KEEP;
	if (lapsed(o) && !GUARD_OFF("arbiter"))
		return end(o, ORDER_EXPIRED);
	if (is(o, ORDER_CREATED))
		return STORE_EARLY;
	o->status = ORDER_COMPLETE;
	return NULL;
}

/* Also a complete order ends so, when the money that was set aside could not
 * be taken after all. */
const struct fail *
order_fail(struct context *cx, void *rec, const void *arg)
{
	struct order *o = rec;

	(void)arg;
	TRY(check_there(cx, o));
	return live(o) || is(o, ORDER_COMPLETE) ? end(o, ORDER_PAYMENT_FAILED)
						: STORE_KEEP;
}

const struct fail *
order_refund(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct payment_event *payment = event->data;
	struct order *o = rec;

	TRY(check_there(cx, o));
	if (!is(o, ORDER_COMPLETE))
		return STORE_KEEP;
	o->status = ORDER_REFUNDED;
	o->listing = payment->listing;
	*o->slot = '\0';
	return NULL;
}

const struct fail *
stuff_copy_put(struct context *cx, void *rec, const void *arg)
{
	const struct event *event = arg;
	const struct stuff_event *stuff = event->data;
	struct stuff_copy *copy = rec;

	(void)cx;
	copy->title = stuff->title;
	copy->status = stuff->status;
	copy->hidden = stuff->hidden;
	copy->price = stuff->price;
	memcpy(copy->user_id, stuff->user_id, ID_SIZE);
	copy->sha256 = stuff->file.sha256;
	return NULL;
}

static bool
removed(const struct stuff_copy *copy)
{
	return strcmp(copy->status, "removed") == 0 || copy->hidden != NULL;
}

static bool
complete(const void *rec)
{
	const struct stuff_copy *copy = rec;

	return copy->sha256 != NULL || removed(copy);
}

/* What one who came second reads. */
static const struct fail *
refuse(struct context *cx, const struct order *holder)
{
	int64_t left = holder->expires_at - clock_now();

	if (is(holder, ORDER_COMPLETE))
		return fail_conflict(cx->arena, "The stuff is sold", 0);
	return fail_conflict(cx->arena, HELD,
			     left > 1000 ? (int)((left + 999) / 1000) : 1);
}

/* The listing has an order already.  NULL, and *ret_again, when that has just
 * ended; NULL and *ret when it is the asker's own. */
static const struct fail *
meet_holder(struct context *cx, const char *stuff_id, const struct user *user,
	    struct order *ret, bool *ret_again)
{
	struct order holder;
	const struct fail *fail = order_of_stuff(cx, stuff_id, &holder);

	*ret_again = false;
	if (fail == NULL && live(&holder) && lapsed(&holder))
		fail = store_change(cx, &order_kind, holder.head.id,
				    order_expire, NULL, &holder);
	if (fail != NULL && fail->status != 404)
		return fail;
	if (fail != NULL || is(&holder, ORDER_CANCELLED)) {
		*ret_again = true;
		return NULL;
	}
	if (!live(&holder) || strcmp(holder.user_id, user->id) != 0)
		return refuse(cx, &holder);
	*ret = holder;
	return NULL;
}

const struct fail *
order_buy(struct context *cx, const char *stuff_id, const struct user *user,
	  struct order *ret)
{
	struct stuff_copy copy;
	const struct fail *fail;
	bool again;

	/* Who lists stuff and buys it at once is faster than its event. */
	TRY(store_await(cx, &stuff_copy_kind, stuff_id, NULL, COPY_WAIT,
			&copy));
	if (removed(&copy))
		return fail_not_found(cx->arena);
	if (strcmp(copy.user_id, user->id) == 0)
		return fail_bad_request(cx->arena,
					"You can't buy your own stuff");
	/* Nor is its file's event there before who saw it uploaded. */
	if (!complete(&copy))
		TRY(store_await(cx, &stuff_copy_kind, stuff_id, complete,
				COPY_WAIT, &copy));
	if (!complete(&copy))
		return fail_conflict(cx->arena,
				     "The stuff has no file yet, so it can't "
				     "be bought",
				     0);
	if (removed(&copy))
		return fail_not_found(cx->arena);
	do {
		int64_t now = clock_now();

		*ret = (struct order){
			.status = ORDER_CREATED,
			.stuff = {.title = copy.title, .price = copy.price},
			.created_at = now,
			.expires_at = now + window * 1000,
		};
		memcpy(ret->user_id, user->id, ID_SIZE);
		memcpy(ret->slot, stuff_id, ID_SIZE);
		memcpy(ret->stuff.id, stuff_id, ID_SIZE);
		memcpy(ret->stuff.seller_id, copy.user_id, ID_SIZE);
		fail = store_add(cx, &order_kind, ret);
		if (fail != STORE_DUPLICATE)
			return fail;
		TRY(meet_holder(cx, stuff_id, user, ret, &again));
	} while (again);
	return NULL;
}

/* A ban or a removal that was heard between order_buy()'s looks and its insert
 * found no order to end. */
static const struct fail *
added(struct context *cx, const char *const *ids, size_t count)
{
	const char **users = arena_alloc(cx->arena, count * sizeof(*users));
	const char **ids_of_stuff =
		arena_alloc(cx->arena, count * sizeof(*ids_of_stuff));
	size_t n, n_buyers, n_copies;
	struct stuff_copy *copies;
	struct standing *buyers;
	struct order *orders;
	void *found;

	if (GUARD_OFF("look-again"))
		return NULL;
	TRY(store_get_all(cx, &order_kind, ids, count, &found, &n));
	orders = found;
	for (size_t i = 0; i < n; i++) {
		users[i] = orders[i].user_id;
		ids_of_stuff[i] = orders[i].stuff.id;
	}
	TRY(store_get_all(cx, &standing_kind, users, n, &found, &n_buyers));
	buyers = found;
	TRY(store_get_all(cx, &stuff_copy_kind, ids_of_stuff, n, &found,
			  &n_copies));
	copies = found;
	for (size_t i = 0; i < n; i++) {
		struct order *o = &orders[i];

		for (size_t j = 0; j < n_buyers; j++)
			if (strcmp(buyers[j].head.id, o->user_id) == 0 &&
			    standing_bad(&buyers[j]))
				TRY(store_change(cx, &order_kind, o->head.id,
						 end_of_barred, NULL, o));
		for (size_t j = 0; j < n_copies; j++)
			if (strcmp(copies[j].head.id, o->stuff.id) == 0 &&
			    removed(&copies[j]))
				TRY(store_change(cx, &order_kind, o->head.id,
						 order_drop, NULL, o));
	}
	return NULL;
}

/* Live orders whose time is over between these two, the first one first. */
static const struct fail *
live_until(struct context *cx, int64_t after, int64_t until, struct order **ret,
	   size_t *ret_count)
{
	bson_t *filter = bson_new(), range;
	void *found;

	append_live(filter);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "expiresAt", &range);
	BSON_APPEND_DATE_TIME(&range, "$gt", after);
	BSON_APPEND_DATE_TIME(&range, "$lte", until);
	bson_append_document_end(filter, &range);
	TRY(store_find(cx, &order_kind, filter, "expiresAt", SWEEP_LIMIT,
		       &found, ret_count));
	*ret = found;
	return NULL;
}

/* Reminds who holds something and is about to lose it.  Holds end in the order
 * in which they began, so it goes on where it was. */
static void
warn(struct context *cx)
{
	static int64_t warned; /* of this task's thread alone */
	int64_t now = clock_now(), lead = window * 1000 / 2;
	struct order *o;
	size_t n = SWEEP_LIMIT;

	lead = lead < WARN_LEAD ? lead : WARN_LEAD;
	warned = warned > now ? warned : now;
	while (n == SWEEP_LIMIT) {
		if (live_until(cx, warned, now + lead, &o, &n) != NULL)
			return;
		for (size_t i = 0; i < n; i++) {
			struct mail mail = {.letter = MAIL_LAPSING,
					    .title = o[i].stuff.title,
					    .amount = o[i].stuff.price,
					    .at = o[i].expires_at};

			memcpy(mail.order_id, o[i].head.id, ID_SIZE);
			memcpy(mail.user_id, o[i].user_id, ID_SIZE);
			if (mail_send(cx, &mail) != NULL)
				return;
			warned = o[i].expires_at;
		}
	}
}

static void
sweep(struct context *cx)
{
	struct order *lapsed_orders, o;
	size_t n;

	warn(cx);
	if (GUARD_OFF("sweeper") ||
	    live_until(cx, 0, clock_now(), &lapsed_orders, &n) != NULL)
		return;
	for (size_t i = 0; i < n; i++)
		if (store_change(cx, &order_kind, lapsed_orders[i].head.id,
				 order_expire, NULL, &o) == NULL)
			LOG(LOG_INFO, "hold swept",
			    LOG_TEXT("order", o.head.id));
	if (n == SWEEP_LIMIT)
		task_wake(&orders_sweep);
}

struct task orders_sweep = {
	.name = "sweep", .every = SWEEP_EVERY, .run = sweep};

static struct metric holds = {
	METRIC_MEASURED,
	"holds",
	"Live orders, each of which holds a listing.",
	{"status"},
};
static struct metric hold_overdue = {
	METRIC_MEASURED,
	"hold_overdue_seconds",
	"How long the hold that should have ended first is overdue.",
	{NULL},
};
struct metric *const orders_metrics[] = {&holds, &hold_overdue, NULL};

void
orders_measure(struct context *cx)
{
	static const char *const statuses[] = {ORDER_CREATED,
					       ORDER_AWAITING_PAYMENT};
	int64_t n, now = clock_now();
	struct order *lapsed_orders;
	size_t count;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		bson_t *filter = bson_new();

		BSON_APPEND_UTF8(filter, "status", statuses[i]);
		if (store_count(cx, &order_kind, filter, &n) == NULL)
			METRIC_SET(&holds, n, statuses[i]);
	}
	if (live_until(cx, 0, now, &lapsed_orders, &count) == NULL)
		METRIC_SET(&hold_overdue,
			   count ? (now - lapsed_orders->expires_at) * 1000 : 0,
			   NULL);
}
