/* checker.c: reads a whole stack and prints each rule that it breaks.
 *
 *   checker [--allow-dead] [--late S] [--answers FILE] [SECONDS]
 *
 * Waits until the stack is at rest, SECONDS (30) at most: nothing waits to be
 * published, all is heard, no payment is in motion.  Then one line says each
 * broken rule, after the rule's name:
 *
 *   rest    it did not come to rest: too much goes on
 *   outbox  an event is saved and not published
 *   heard   a service has not heard a version, or one that never was
 *   motion  a payment is neither done nor undone
 *   holder  two orders that are not cancelled for one listing
 *   money   charges are not what orders say
 *   coupon  a coupon was used more often than it may be, or than was paid
 *   event   the bus does not have each version of a record, once said
 *   copy    a service's copy is not what the owner has
 *   status  records contradict each other
 *   file    a file for sale is not whole, or something is left of another
 *   late    an order is live S (30) seconds after its time
 *   timer   Redis has a timer that is late, or of no order
 *   dead    something was set aside on dead:letter (--allow-dead: so what)
 *   answer  what a client was told is not so.  FILE has lines of what was
 *           answered: "order ID 201 [USER [STUFF]]", "stuff ID 204",
 *           "payment ID 402", "order ID 200 STATUS" and likewise "price ID 200
 *           CENTS", "file ID 200 SHA256", "user ID 200 banned", "coupon ID 201"
 *
 * REDIS_URL may be missing.  MONGO_URI (without a database), NATS_URL,
 * NATS_CLUSTER_ID, STRIPE_API_BASE and STRIPE_KEY say where the stack is. Exits
 * with 0 when no rule is broken, 1 when some are, 2 when the stack could not be
 * read. SPDX-License-Identifier: MIT */
#include "checker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

#define POLL 100	 /* ms */
#define BUS_QUIET 150	 /* ms, then what is on the bus has come */
#define BUS_MISSING 2500 /* ms, then what has not come is not there */

static struct {
	int64_t rest, late; /* ms */
	bool allow_dead;
	const char *answers;
} options = {.rest = 30000, .late = 30000};

/* Rules are also asked just to know; then they are silent. */
static bool silent;
static int broken_count;

static void broken(const char *rule, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void
broken(const char *rule, const char *fmt, ...)
{
	va_list ap;

	broken_count++;
	if (silent)
		return;
	printf("%s: ", rule);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static const char *
or_none(const char *s)
{
	return s != NULL && *s != '\0' ? s : "none";
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
is(const struct row *r, const char *status)
{
	return same(r->status, status);
}

/* Does the order have no claim to its listing? */
static bool
ended(const struct row *order)
{
	return is(order, "cancelled") || is(order, "refunded");
}

static bool
live(const struct row *order)
{
	return is(order, "created") || is(order, "awaiting:payment");
}

/* Behind the last row. */
static const struct row *
end_of(const struct rows *rows)
{
	return rows->at + rows->count;
}

/* --- what is published --- */

static const struct published *events;
static size_t event_count;

static int
compare_key(const struct published *p, const char *family, const char *subject,
	    int64_t version)
{
	int order = strcmp(p->event.family, family);

	if (order == 0)
		order = strcmp(p->event.subject, subject);
	if (order == 0)
		order = (p->event.version > version) -
			(p->event.version < version);
	return order;
}

/* The first event that is not before that one. */
static const struct published *
event_from(const char *family, const char *subject, int64_t version)
{
	size_t low = 0, high = event_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_key(&events[mid], family, subject, version) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return &events[low];
}

static const struct published *
event_at(const char *family, const char *subject, int64_t version)
{
	const struct published *p = event_from(family, subject, version);

	return p < events + event_count &&
			       compare_key(p, family, subject, version) == 0
		       ? p
		       : NULL;
}

/* Is it what a record in that state says, on the right channel? */
static bool
event_fits(const struct published *p, const struct row *r)
{
	const struct stuff_event *stuff = p->event.data;
	const struct order_event *order = p->event.data;
	const struct payment_event *payment = p->event.data;

	switch (p->event.type) {
	case EVENT_STUFF_CREATED:
	case EVENT_STUFF_UPDATED:
	case EVENT_STUFF_REMOVED:
		return same(stuff->id, r->id) && same(stuff->title, r->title) &&
		       stuff->price == r->price &&
		       same(stuff->user_id, r->user_id) &&
		       same(stuff->order_id, r->order_id) &&
		       is(r, stuff->status);
	case EVENT_ORDER_CREATED:
	case EVENT_ORDER_CANCELLED:
	case EVENT_ORDER_COMPLETED:
	case EVENT_ORDER_REFUNDED:
		/* What stuff confirms is not news. */
		return same(order->id, r->id) &&
		       (is(r, order->status) ||
			(live(r) && same(order->status, "created"))) &&
		       same(order->user_id, r->user_id) &&
		       order->expires_at == r->expires_at &&
		       same(order->stuff.id, r->stuff_id) &&
		       same(order->stuff.title, r->title) &&
		       order->stuff.price == r->price;
	case EVENT_PAYMENT_CREATED:
	case EVENT_PAYMENT_FAILED:
	case EVENT_PAYMENT_REFUNDED:
		return same(payment->id, r->id) &&
		       same(payment->order_id, r->order_id) &&
		       payment->amount == r->amount;
	default:
		return true;
	}
}

static bool
channel_fits(const struct published *p)
{
	const struct stuff_event *stuff = p->event.data;
	const struct order_event *order = p->event.data;
	const struct payment_event *payment = p->event.data;

	switch (p->event.type) {
	case EVENT_STUFF_CREATED:
		return p->event.version == 1 &&
		       same(stuff->status, "available");
	case EVENT_STUFF_UPDATED:
		return p->event.version > 1 && !same(stuff->status, "removed");
	case EVENT_STUFF_REMOVED:
		return same(stuff->status, "removed");
	case EVENT_ORDER_CREATED:
		return p->event.version == 1 && same(order->status, "created");
	case EVENT_ORDER_CANCELLED:
		return same(order->status, "cancelled");
	case EVENT_ORDER_COMPLETED:
		return same(order->status, "complete");
	case EVENT_ORDER_REFUNDED:
		return same(order->status, "refunded");
	case EVENT_PAYMENT_CREATED:
		return same(payment->status, "authorized");
	case EVENT_PAYMENT_FAILED:
		return same(payment->status, "failed");
	case EVENT_PAYMENT_REFUNDED:
		return same(payment->status, "refunded");
	case EVENT_EXPIRATION_COMPLETE:
		return p->event.version == 1;
	default:
		return true;
	}
}

static void
check_events_of(const char *family, const struct rows *rows)
{
	for (const struct row *r = rows->at; r < end_of(rows); r++) {
		const struct published *p;

		for (int64_t v = 1; v <= r->version; v++) {
			p = event_at(family, r->id, v);
			if (p == NULL)
				broken("event",
				       "%s %s version %lld of %lld is not on "
				       "the bus",
				       family, r->id, (long long)v,
				       (long long)r->version);
			else if (v == r->version && !event_fits(p, r))
				broken("event",
				       "%s %s is not what %s version %lld "
				       "says: %s",
				       family, r->id, p->channel, (long long)v,
				       p->data);
		}
	}
	for (const struct published *p = event_from(family, "", 0);
	     p < events + event_count && same(p->event.family, family); p++) {
		const struct row *r = rows_find(rows, p->event.subject);
		char id[128];

		if (r == NULL || p->event.version > r->version)
			broken("event",
			       "%s version %lld is on the bus, its record has "
			       "version %lld",
			       p->event.id, (long long)p->event.version,
			       (long long)(r ? r->version : 0));
		if (p->contradicted)
			broken("event", "%s was said twice, each otherwise",
			       p->event.id);
		if (!channel_fits(p))
			broken("event", "%s is not for %s: %s", p->event.id,
			       p->channel, p->data);
		snprintf(id, sizeof(id), "%s:%s:%lld", family, p->event.subject,
			 (long long)p->event.version);
		if (!same(id, p->event.id))
			broken("event", "%s is not the id of %s", p->event.id,
			       id);
	}
}

static void
check_events(const struct snapshot *s)
{
	check_events_of("stuff", &s->stuff);
	check_events_of("order", &s->orders);
	check_events_of("payment", &s->payments);
	for (const struct published *p = event_from("expiration", "", 0);
	     p < events + event_count && same(p->event.family, "expiration");
	     p++)
		if (rows_find(&s->orders, p->event.subject) == NULL)
			broken("event", "%s is of no order", p->event.id);
}

static void
check_dead(void)
{
	const char *const *texts;
	size_t n = options.allow_dead ? 0 : bus_bad(&texts);

	for (size_t i = 0; i < n; i++)
		broken("dead", "%s", texts[i]);
}

/* --- at rest --- */

static void
check_outbox_of(const char *family, const struct rows *rows)
{
	for (const struct row *r = rows->at; r < end_of(rows); r++)
		if (r->unsent > 0)
			broken("outbox", "%s %s has %lld unsent events", family,
			       r->id, (long long)r->unsent);
}

static void
check_outboxes(const struct snapshot *s)
{
	check_outbox_of("user", &s->users);
	check_outbox_of("stuff", &s->stuff);
	check_outbox_of("order", &s->orders);
	check_outbox_of("payment", &s->payments);
}

static void
check_heard_of(const char *listener, const struct rows *heard,
	       const char *family, const struct rows *owners)
{
	size_t len = strlen(family);

	for (const struct row *r = owners->at; r < end_of(owners); r++) {
		char line[80];
		const struct row *h;

		snprintf(line, sizeof(line), "%s:%.24s", family, r->id);
		h = rows_find(heard, line);
		if ((h ? h->version : 0) != r->version)
			broken("heard", "%s heard version %lld of %s, not %lld",
			       listener, (long long)(h ? h->version : 0), line,
			       (long long)r->version);
	}
	for (const struct row *h = heard->at; h < end_of(heard); h++)
		if (strncmp(h->id, family, len) == 0 && h->id[len] == ':' &&
		    rows_find(owners, h->id + len + 1) == NULL)
			broken("heard", "%s heard of %s, which is not there",
			       listener, h->id);
}

static void
check_heard(const struct snapshot *s)
{
	check_heard_of("stuff", &s->stuff_heard, "order", &s->orders);
	check_heard_of("payments", &s->payments_heard, "order", &s->orders);
	check_heard_of("orders", &s->orders_heard, "stuff", &s->stuff);
	check_heard_of("orders", &s->orders_heard, "payment", &s->payments);
	for (const struct published *p = event_from("expiration", "", 0);
	     p < events + event_count && same(p->event.family, "expiration");
	     p++)
		if (rows_find(&s->orders, p->event.subject) != NULL &&
		    rows_find(&s->orders_heard,
			      arena_printf(s->arena, "expiration:%s",
					   p->event.subject)) == NULL)
			broken("heard", "orders has not heard %s", p->event.id);
}

static void
check_motion(const struct snapshot *s)
{
	for (const struct row *p = s->payments.at; p < end_of(&s->payments);
	     p++)
		if (is(p, "authorizing") || is(p, "authorized") ||
		    is(p, "refunding"))
			broken("motion", "payment %s is %s", p->id, p->status);
}

/* --- records --- */

static int
by_stuff(const void *a, const void *b)
{
	const struct row *const *x = a, *const *y = b;

	return strcmp((*x)->stuff_id, (*y)->stuff_id);
}

/* The orders that have not ended, by the listing that they are for. */
static struct row const **
taken_slots(const struct snapshot *s, size_t *ret_count)
{
	const struct row **at =
		arena_alloc(s->arena, (s->orders.count + 1) * sizeof(*at));
	size_t n = 0;

	for (const struct row *o = s->orders.at; o < end_of(&s->orders); o++)
		if (!ended(o))
			at[n++] = o;
	if (n > 0)
		qsort(at, n, sizeof(*at), by_stuff);
	*ret_count = n;
	return at;
}

static void
check_holders(const struct snapshot *s)
{
	size_t n;
	const struct row **taken = taken_slots(s, &n);

	for (size_t i = 1; i < n; i++)
		if (same(taken[i]->stuff_id, taken[i - 1]->stuff_id))
			broken("holder",
			       "stuff %s has order %s, %s, and order %s, %s",
			       taken[i]->stuff_id, taken[i - 1]->id,
			       taken[i - 1]->status, taken[i]->id,
			       taken[i]->status);
	for (const struct row *o = s->orders.at; o < end_of(&s->orders); o++)
		if (!same(o->slot, ended(o) ? "" : o->stuff_id))
			broken("holder",
			       "order %s, %s, of stuff %s has slot "
			       "%s",
			       o->id, o->status, o->stuff_id, or_none(o->slot));
}

/* The order that holds or bought the listing: the one that it names, where
 * there are two. */
static const struct row *
taker_of(const struct rows *orders, const struct row **taken, size_t n,
	 const struct row *stuff)
{
	const struct row *named = rows_find(orders, stuff->order_id);
	struct row key = {0};
	const struct row *k = &key, **found;

	if (named != NULL && !ended(named) && same(named->stuff_id, stuff->id))
		return named;
	memcpy(key.stuff_id, stuff->id, ID_SIZE);
	found = n > 0 ? bsearch(&k, taken, n, sizeof(*taken), by_stuff) : NULL;
	return found ? *found : NULL;
}

static void
check_status(const struct snapshot *s)
{
	size_t n;
	const struct row **taken = taken_slots(s, &n);

	for (const struct row *r = s->stuff.at; r < end_of(&s->stuff); r++) {
		const struct row *o = taker_of(&s->orders, taken, n, r);
		const char *should = o == NULL ? ""
				     : live(o) ? "reserved"
					       : "sold";

		if (o == NULL ? is(r, "reserved") || is(r, "sold") ||
					*r->order_id != '\0'
			      : !is(r, should) || !same(r->order_id, o->id))
			broken("status",
			       "stuff %s is %s by order %s, but order %s is %s",
			       r->id, r->status, or_none(r->order_id),
			       o ? o->id : "none", o ? o->status : "live");
	}
	for (const struct row *o = s->orders.at; o < end_of(&s->orders); o++)
		if (rows_find(&s->stuff, o->stuff_id) == NULL)
			broken("status",
			       "order %s is for stuff %s, which is "
			       "not there",
			       o->id, o->stuff_id);
	for (const struct row *p = s->payments.at; p < end_of(&s->payments);
	     p++) {
		const struct row *o = rows_find(&s->orders, p->order_id);
		const char *should = is(p, "captured")	 ? "complete"
				     : is(p, "refunded") ? "refunded"
				     : is(p, "voided") || is(p, "failed")
					     ? "cancelled"
					     : NULL;

		if (o == NULL)
			broken("status", "payment %s is of no order", p->id);
		else if (should != NULL && !is(o, should))
			broken("status", "payment %s is %s, but its order %s",
			       p->id, p->status, o->status);
	}
}

static void
check_copies(const struct snapshot *s)
{
	for (const struct row *c = s->orders_stuff.at;
	     c < end_of(&s->orders_stuff); c++) {
		const struct row *r = rows_find(&s->stuff, c->id);

		if (r == NULL)
			broken("copy",
			       "orders has stuff %s, which is not "
			       "there",
			       c->id);
		else if (!same(c->title, r->title) || c->price != r->price ||
			 !is(c, r->status) || !same(c->user_id, r->user_id))
			broken("copy",
			       "stuff %s is \"%s\", %lld, %s; orders has "
			       "\"%s\", %lld, %s",
			       c->id, r->title, (long long)r->price, r->status,
			       c->title, (long long)c->price, c->status);
	}
	for (const struct row *c = s->payments_orders.at;
	     c < end_of(&s->payments_orders); c++) {
		const struct row *o = rows_find(&s->orders, c->id);

		if (o == NULL)
			broken("copy",
			       "payments has order %s, which is not "
			       "there",
			       c->id);
		/* An order that stuff has confirmed is no news to payments. */
		else if ((live(o) ? !is(c, "created") : !is(c, o->status)) ||
			 !same(c->user_id, o->user_id) ||
			 c->price != o->price || c->expires_at != o->expires_at)
			broken("copy",
			       "order %s is %s, %lld; payments has %s, %lld",
			       c->id, o->status, (long long)o->price, c->status,
			       (long long)c->price);
	}
	for (const struct row *r = s->stuff.at; r < end_of(&s->stuff); r++)
		if (rows_find(&s->orders_stuff, r->id) == NULL)
			broken("copy", "orders has no stuff %s", r->id);
	for (const struct row *o = s->orders.at; o < end_of(&s->orders); o++)
		if (rows_find(&s->payments_orders, o->id) == NULL)
			broken("copy", "payments has no order %s", o->id);
}

static void
check_late(const struct snapshot *s)
{
	int64_t now = clock_now();

	for (const struct row *o = s->orders.at; o < end_of(&s->orders); o++)
		if (live(o) && now > o->expires_at + options.late)
			broken("late", "order %s is %s %lld s after its time",
			       o->id, o->status,
			       (long long)(now - o->expires_at) / 1000);
}

/* --- money --- */

/* What is to be paid for the order: its price less the coupon of its payment,
 * and at least 50 cents if it is not free. */
static int64_t
costs(const struct snapshot *s, const struct row *o)
{
	const struct row *p = rows_find(&s->payments, o->id);
	const struct row *c = p != NULL && *p->coupon_id != '\0'
				      ? rows_find(&s->coupons, p->coupon_id)
				      : NULL;
	int64_t cost;

	if (c == NULL)
		return o->price;
	cost = o->price - o->price * c->percent_off / 100;
	return cost > 0 && cost < 50 ? (o->price < 50 ? o->price : 50) : cost;
}

/* All that was done about one order. */
struct account {
	int64_t kept, times, held;
	const char *intent; /* one that has money */
};

static struct account
account_of(const struct snapshot *s, const struct charges *charges,
	   const struct row *o)
{
	struct account a = {0};
	size_t low = 0, high = charges->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(charges->at[mid].order_id, o->id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < charges->count && same(charges->at[low].order_id, o->id);
	     low++) {
		const struct charge *c = &charges->at[low];

		a.kept += c->captured - c->refunded;
		a.times += c->times;
		a.held += c->held;
		if (c->captured > c->refunded)
			a.intent = c->id;
		if (c->amount != costs(s, o))
			broken("money",
			       "order %s costs %lld, its charge %s "
			       "is %lld",
			       o->id, (long long)costs(s, o), c->id,
			       (long long)c->amount);
	}
	return a;
}

/* The payment whose order this is: its id is the order's. */
static void
check_payment_of(const struct snapshot *s, const struct row *o,
		 const struct account *a)
{
	const struct row *p = rows_find(&s->payments, o->id);

	if (p == NULL || !is(p, "captured"))
		broken("money", "order %s is complete, its payment %s", o->id,
		       p ? p->status : "is not there");
	else if (p->amount != costs(s, o))
		broken("money", "order %s costs %lld, its payment is %lld",
		       o->id, (long long)costs(s, o), (long long)p->amount);
	else if (a->intent != NULL && !same(p->intent, a->intent))
		broken("money", "payment %s names charge %s, not %s", p->id,
		       or_none(p->intent), a->intent);
}

static void
check_money(const struct snapshot *s, const struct charges *charges)
{
	for (const struct row *o = s->orders.at; o < end_of(&s->orders); o++) {
		struct account a = account_of(s, charges, o);
		const struct row *p = rows_find(&s->payments, o->id);
		int64_t should = 0;

		/* Less what was given back of it in the gateway's dashboard. */
		if (is(o, "complete"))
			should = costs(s, o) - (p ? p->refunded : 0);

		if (a.kept != should)
			broken("money",
			       "order %s is %s and costs %lld, but "
			       "%lld was kept",
			       o->id, o->status, (long long)o->price,
			       (long long)a.kept);
		if (a.held > (live(o) ? 1 : 0))
			broken("money",
			       "order %s is %s, but %lld charges are "
			       "held",
			       o->id, o->status, (long long)a.held);
		if (a.times > 1)
			broken("money", "order %s was charged %lld times",
			       o->id, (long long)a.times);
		if (is(o, "complete"))
			check_payment_of(s, o, &a);
	}
	for (size_t i = 0; i < charges->count; i++) {
		const struct charge *c = &charges->at[i];

		if ((c->held || c->times > 0 || c->captured > 0) &&
		    rows_find(&s->orders, c->order_id) == NULL)
			broken("money",
			       "charge %s is for order %s, which is "
			       "not there",
			       c->id, or_none(c->order_id));
	}
}

/* --- coupons --- */

static void
check_coupon(const struct snapshot *s, const struct row *c)
{
	int64_t used = 0;

	for (const struct row *p = s->payments.at; p < end_of(&s->payments);
	     p++)
		if (same(p->coupon_id, c->id) &&
		    (is(p, "captured") || is(p, "refunded")))
			used++;
	for (const char *n = c->pending; n != NULL && *n != '\0';
	     n += ID_SIZE) {
		const char *id = arena_strndup(s->arena, n, ID_SIZE - 1);
		const struct row *o = rows_find(&s->orders, id);

		used++;
		if (o == NULL || !live(o))
			broken("coupon",
			       "a use of %s is taken for order %s, which is %s",
			       c->id, id, o ? o->status : "not there");
	}
	if (c->redemptions != used)
		broken("coupon",
		       "%s says that %lld uses are taken, but %lld are", c->id,
		       (long long)c->redemptions, (long long)used);
	if (used > c->max_redemptions)
		broken("coupon", "%s may be used %lld times, not %lld", c->id,
		       (long long)c->max_redemptions, (long long)used);
}

static void
check_coupons(const struct snapshot *s)
{
	for (const struct row *c = s->coupons.at; c < end_of(&s->coupons); c++)
		check_coupon(s, c);
	for (const struct row *p = s->payments.at; p < end_of(&s->payments);
	     p++)
		if (*p->coupon_id != '\0' &&
		    rows_find(&s->coupons, p->coupon_id) == NULL)
			broken("coupon",
			       "payment %s has coupon %s, which is not there",
			       p->id, p->coupon_id);
}

/* --- answers --- */

/* What a client was told: of what, with which status, and two words more. */
struct answer {
	char what[16], id[32], detail[80], more[80];
	int status;
};

/* May a record that was said to be in one state be in the other at last? */
static bool
may_become(const char *said, const char *is)
{
	return same(said, is) ||
	       ((same(said, "complete") || same(said, "captured")) &&
		same(is, "refunded"));
}

static bool
is_final(const char *status)
{
	static const char *const final[] = {"cancelled", "complete", "refunded",
					    "captured",	 "voided",   "failed",
					    "removed",	 NULL};

	for (const char *const *f = final; *f != NULL; f++)
		if (same(*f, status))
			return true;
	return false;
}

/* 201: it was made, by and for whom. */
static bool
as_made(const struct answer *a, const struct row *r)
{
	if (same(a->what, "payment"))
		return !is(r, "failed") && (!is_final(a->detail) ||
					    may_become(a->detail, r->status));
	return (*a->detail == '\0' || same(a->what, "user") ||
		same(a->detail, r->user_id)) &&
	       (*a->more == '\0' || same(a->more, r->stuff_id));
}

/* 200: it is in that state, for good if that is final. */
static bool
as_shown(const struct answer *a, const struct row *r)
{
	if (same(a->what, "price"))
		return r->price == strtoll(a->detail, NULL, 10);
	if (same(a->what, "file"))
		return same(a->detail, r->sha256);
	if (same(a->what, "user"))
		return is(r, a->detail);
	return !is_final(a->detail) || may_become(a->detail, r->status);
}

static bool
holds(const struct answer *a, const struct row *r)
{
	if (a->status == 204)
		return is(r, same(a->what, "order") ? "cancelled" : "removed");
	if (a->status == 402)
		return is(r, "failed");
	return a->status == 201 ? as_made(a, r) : as_shown(a, r);
}

static const struct rows *
rows_named(const struct snapshot *s, const char *what)
{
	return same(what, "order")     ? &s->orders
	       : same(what, "payment") ? &s->payments
	       : same(what, "user")    ? &s->users
	       : same(what, "coupon")  ? &s->coupons
				       : &s->stuff;
}

static void
check_answer(const struct snapshot *s, const struct answer *a)
{
	const struct row *r = rows_find(rows_named(s, a->what), a->id);

	if ((a->status < 200 || a->status > 299) && a->status != 402)
		return;
	if (r == NULL)
		broken("answer", "%s %s was answered with %d and is not there",
		       a->what, a->id, a->status);
	else if (!holds(a, r))
		broken("answer",
		       "%s %s was answered with %d %s %s and is %s, of %s",
		       a->what, a->id, a->status, a->detail, a->more,
		       or_none(r->status), or_none(r->user_id));
}

static const char *
check_answers(const struct snapshot *s)
{
	FILE *f = options.answers ? fopen(options.answers, "r") : NULL;
	char line[256];

	if (options.answers == NULL)
		return NULL;
	if (f == NULL)
		return "the file of answers can't be read";
	while (fgets(line, sizeof(line), f) != NULL) {
		struct answer a = {0};

		if (sscanf(line, "%15s %31s %d %79s %79s", a.what, a.id,
			   &a.status, a.detail, a.more) < 3)
			return "a line of answers can't be read";
		check_answer(s, &a);
	}
	fclose(f);
	return NULL;
}

/* --- timers --- */

static void
check_timers(const struct snapshot *s, const struct timers *timers)
{
	int64_t now = clock_now();

	for (size_t i = 0; i < timers->count; i++) {
		const struct timer *t = &timers->at[i];

		if (rows_find(&s->orders, t->order_id) == NULL)
			broken("timer",
			       "Redis has a timer of order %s, which "
			       "is not there",
			       t->order_id);
		else if (now > t->due + options.late)
			broken("timer", "the timer of order %s is %lld s late",
			       t->order_id, (long long)(now - t->due) / 1000);
	}
}

/* --- files --- */

static void __attribute__((format(printf, 1, 2)))
file_broken(const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	broken("file", "%s", line);
}

/* --- all --- */

static bool
at_rest(const struct snapshot *s)
{
	bool rest;

	silent = true;
	broken_count = 0;
	check_outboxes(s);
	check_heard(s);
	check_motion(s);
	rest = broken_count == 0;
	silent = false;
	return rest;
}

static bool
all_came(const char *family, const struct rows *rows)
{
	for (const struct row *r = rows->at; r < end_of(rows); r++)
		for (int64_t v = 1; v <= r->version; v++)
			if (event_at(family, r->id, v) == NULL)
				return false;
	return true;
}

static bool
bus_complete(const struct snapshot *s)
{
	bool complete;

	events = bus_freeze(&event_count);
	complete = all_came("stuff", &s->stuff) &&
		   all_came("order", &s->orders) &&
		   all_came("payment", &s->payments);
	bus_thaw();
	return complete;
}

static const char *
check_all(const struct snapshot *s, const struct charges *charges,
	  const struct timers *timers)
{
	const char *fail;

	broken_count = 0;
	check_outboxes(s);
	check_heard(s);
	check_motion(s);
	check_holders(s);
	check_status(s);
	check_copies(s);
	check_late(s);
	check_timers(s, timers);
	check_money(s, charges);
	check_coupons(s);
	check_events(s);
	check_dead();
	fail = read_files(read_mongo(), s->arena, file_broken);
	return fail ? fail : check_answers(s);
}

/*
 * Reads everything between two readings of the databases: if these are the
 * same, all of it is of one moment, for what changes a record raises its rev
 * for good.
 */
static const char *
check(bool last, bool *ret_done)
{
	struct snapshot before, after = {0};
	struct arena *a = arena_new();
	struct charges charges;
	struct timers timers;
	const char *fail = read_databases(&before);
	bool resting, still = false;

	events = bus_freeze(&event_count);
	resting = fail == NULL && at_rest(&before);
	bus_thaw();
	if (fail == NULL && (resting || last)) {
		while (bus_complete(&before) ? bus_quiet() < BUS_QUIET
					     : bus_quiet() < BUS_MISSING)
			clock_sleep(POLL / 4);
		fail = read_gateway(a, &charges);
		if (fail == NULL)
			fail = read_redis(a, &timers);
		if (fail == NULL)
			fail = read_databases(&after);
		still = fail == NULL && snapshot_same(&before, &after);
		events = bus_freeze(&event_count);
		*ret_done = still && at_rest(&after);
		if (fail == NULL && (*ret_done || last)) {
			fail = check_all(&after, &charges, &timers);
			if (!still)
				broken("rest", "records change all the time");
			*ret_done = true;
		}
		bus_thaw();
	}
	snapshot_free(&before);
	if (after.arena != NULL)
		snapshot_free(&after);
	arena_free(a);
	return fail;
}

static int
usage(void)
{
	fprintf(stderr, "usage: checker [--allow-dead] [--late S] "
			"[--answers FILE] [SECONDS]\n");
	return 2;
}

int
main(int argc, char **argv)
{
	const char *fail;
	int64_t until;
	bool done = false;

	for (int i = 1; i < argc; i++) {
		if (same(argv[i], "--allow-dead"))
			options.allow_dead = true;
		else if (same(argv[i], "--late") && i + 1 < argc)
			options.late = strtol(argv[++i], NULL, 10) * 1000;
		else if (same(argv[i], "--answers") && i + 1 < argc)
			options.answers = argv[++i];
		else if (*argv[i] >= '0' && *argv[i] <= '9')
			options.rest = strtol(argv[i], NULL, 10) * 1000;
		else
			return usage();
	}
	until = clock_monotonic() + options.rest;
	fail = read_open();
	while (fail == NULL && !done) {
		fail = check(clock_monotonic() >= until, &done);
		if (!done)
			clock_sleep(POLL);
	}
	if (fail != NULL)
		fprintf(stderr, "checker: %s\n", fail);
	read_close();
	return fail ? 2 : broken_count > 0 ? 1 : 0;
}
