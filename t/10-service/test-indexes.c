/* test-indexes.c: what services ask of their database is served by an index
 * that they declare.
 * SPDX-License-Identifier: MIT
 *
 * A man in the middle of services and database hears every index that is made
 * and every query that is sent, while each route is asked and each event heard
 * once.  The database of the tests answers any query, if slowly, so nothing
 * else would tell.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "browser.h"
#include "clock.h"
#include "events.h"
#include "misuse.h"
#include "money.h"
#include "wire.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FIELDS 8
#define NAME 48

/* A field of an index or of a sort; "-name" descends. */
struct keys {
	char name[FIELDS][NAME];
	size_t n;
};

/* Of a query: which fields it has equal to a value or one of some, to one
 * alone, in a range; and its order.  What it has besides is looked at in each
 * document that an index led to. */
struct shape {
	char where[2 * NAME]; /* database.collection */
	struct keys equal, one, range, sort;
};

struct index_seen {
	char where[2 * NAME];
	struct keys keys;
	bool unique;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards these */
static struct shape shapes[256];
static struct index_seen indexes[128];
static size_t shape_count, index_count;
static char unknown[NAME]; /* a command that this test does not know */

/*
 * What has one of these is few documents, which an index that begins with it
 * leads to.  What else is asked of them is looked up in each, and they are
 * sorted in memory.
 */
static const struct {
	const char *where, *key, *why;
} few[] = {
	{"stuff.stuff", "userId", "a seller's listings"},
	{"orders.orders", "userId", "a buyer's orders"},
	{"payments.coupons", "pending", "coupons that are being redeemed"},
	{"*.standings", "changedAt", "who was banned in the last minutes"},
};

static void
add_key(struct keys *keys, const char *name, bool down)
{
	for (size_t i = 0; i < keys->n; i++)
		if (strcmp(keys->name[i] + (*keys->name[i] == '-'), name) == 0)
			return;
	if (keys->n == FIELDS)
		abort();
	snprintf(keys->name[keys->n++], NAME, "%s%s", down ? "-" : "", name);
}

static bool
has_key(const struct keys *keys, const char *name)
{
	name += *name == '-';
	for (size_t i = 0; i < keys->n; i++)
		if (strcmp(keys->name[i] + (*keys->name[i] == '-'), name) == 0)
			return true;
	return false;
}

static void
read_keys(const bson_iter_t *document, struct keys *keys)
{
	bson_iter_t i;

	if (bson_iter_recurse(document, &i))
		while (bson_iter_next(&i))
			add_key(keys, bson_iter_key(&i),
				bson_iter_as_int64(&i) < 0);
}

static bool
down(const struct keys *keys, size_t i)
{
	return keys->name[i][0] == '-';
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Their names with a space between, of a set in the alphabet's order. */
static const char *
names(const struct keys *keys, bool set, char text[FIELDS * NAME])
{
	struct keys k = *keys;

	if (set)
		qsort(k.name, k.n, NAME, by_name);
	*text = '\0';
	for (size_t i = 0, len = 0; i < k.n; i++)
		len += (size_t)snprintf(text + len, FIELDS * NAME - len, "%s%s",
					i ? " " : "", k.name[i]);
	return text;
}

static bool
same(const struct shape *a, const struct shape *b)
{
	char x[FIELDS * NAME], y[FIELDS * NAME];

	return strcmp(a->where, b->where) == 0 &&
	       strcmp(names(&a->equal, true, x), names(&b->equal, true, y)) ==
		       0 &&
	       strcmp(names(&a->one, true, x), names(&b->one, true, y)) == 0 &&
	       strcmp(names(&a->range, true, x), names(&b->range, true, y)) ==
		       0 &&
	       strcmp(names(&a->sort, false, x), names(&b->sort, false, y)) ==
		       0;
}

static void
note(const struct shape *shape)
{
	for (size_t i = 0; i < shape_count; i++)
		if (same(&shapes[i], shape))
			return;
	if (shape_count == COUNT(shapes))
		abort();
	shapes[shape_count++] = *shape;
}

/* A condition on one field. */
static void
read_condition(const bson_iter_t *at, struct shape *shape)
{
	const char *name = bson_iter_key(at), *op;
	bson_iter_t i;

	if (BSON_ITER_HOLDS_REGEX(at))
		return;
	if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &i) ||
	    !bson_iter_next(&i) || *bson_iter_key(&i) != '$') {
		add_key(&shape->equal, name, false);
		add_key(&shape->one, name, false);
		return;
	}
	op = bson_iter_key(&i);
	if (strcmp(op, "$in") == 0)
		add_key(&shape->equal, name, false);
	else if (strncmp(op, "$gt", 3) == 0 || strncmp(op, "$lt", 3) == 0 ||
		 (strcmp(op, "$exists") == 0 && bson_iter_as_bool(&i)))
		add_key(&shape->range, name, false);
}

static bool
has_anything(const struct shape *s)
{
	return s->equal.n + s->range.n > 0;
}

/* Notes the query; once for each of its alternatives, if it has such. */
static void
read_filter(bson_iter_t i, struct shape *shape)
{
	bson_iter_t all, one, either = {0};
	bool has_either = false;

	while (bson_iter_next(&i)) {
		const char *name = bson_iter_key(&i);

		if (strcmp(name, "$or") == 0) {
			has_either = bson_iter_recurse(&i, &either);
		} else if (strcmp(name, "$and") == 0) {
			bson_iter_recurse(&i, &all);
			while (bson_iter_next(&all) &&
			       bson_iter_recurse(&all, &one))
				while (bson_iter_next(&one))
					if (strcmp(bson_iter_key(&one),
						   "$or") == 0)
						has_either = bson_iter_recurse(
							&one, &either);
					else
						read_condition(&one, shape);
		} else {
			read_condition(&i, shape);
		}
	}
	while (has_either && bson_iter_next(&either)) {
		struct shape branch = *shape;

		bson_iter_recurse(&either, &one);
		while (bson_iter_next(&one))
			read_condition(&one, &branch);
		note(&branch);
	}
	/* Alternatives beside another condition narrow what that one finds. */
	if (!has_either || has_anything(shape))
		note(shape);
}

static void
query(const char *where, const bson_iter_t *filter, const bson_iter_t *sort)
{
	struct shape shape = {0};
	bson_iter_t i;

	snprintf(shape.where, sizeof(shape.where), "%s", where);
	if (sort != NULL)
		read_keys(sort, &shape.sort);
	if (bson_iter_recurse(filter, &i))
		read_filter(i, &shape);
}

static void
made(const char *where, const bson_t *command)
{
	bson_iter_t i, list, one;

	if (!bson_iter_init_find(&i, command, "indexes") ||
	    !bson_iter_recurse(&i, &list))
		return;
	while (bson_iter_next(&list) && bson_iter_recurse(&list, &one)) {
		struct index_seen index = {0};

		snprintf(index.where, sizeof(index.where), "%s", where);
		while (bson_iter_next(&one))
			if (strcmp(bson_iter_key(&one), "key") == 0)
				read_keys(&one, &index.keys);
			else if (strcmp(bson_iter_key(&one), "unique") == 0)
				index.unique = bson_iter_as_bool(&one);
		for (size_t k = 0; k < index_count; k++)
			if (strcmp(indexes[k].where, where) == 0 &&
			    memcmp(&indexes[k].keys, &index.keys,
				   sizeof(index.keys)) == 0)
				return;
		if (index_count == COUNT(indexes))
			abort();
		indexes[index_count++] = index;
	}
}

/* The filters of each statement of an update or delete. */
static void
statements(const char *where, const bson_iter_t *list)
{
	bson_iter_t i, one;

	bson_iter_recurse(list, &i);
	while (bson_iter_next(&i) && bson_iter_recurse(&i, &one))
		if (bson_iter_find(&one, "q"))
			query(where, &one, NULL);
}

static void
watch(void *closure, const struct wire_command *c)
{
	/* None of these looks for anything. */
	static const char *const others[] = {
		"hello",     "isMaster",    "ismaster", "ping",
		"buildInfo", "endSessions", "insert",
	};
	static const struct {
		const char *name, *filter;
	} queries[] = {
		{"find", "filter"},
		{"count", "query"},
		{"update", "updates"},
		{"delete", "deletes"},
	};
	bson_iter_t first, db, filter, sort;
	char where[2 * NAME];

	(void)closure;
	for (size_t i = 0; i < COUNT(others); i++)
		if (strcmp(c->name, others[i]) == 0)
			return;
	pthread_mutex_lock(&lock);
	if (!bson_iter_init_find(&db, c->body, "$db") ||
	    !bson_iter_init_find(&first, c->body, c->name))
		abort();
	snprintf(where, sizeof(where), "%s.%s", bson_iter_utf8(&db, NULL),
		 BSON_ITER_HOLDS_UTF8(&first) ? bson_iter_utf8(&first, NULL)
					      : "");
	if (strcmp(c->name, "createIndexes") == 0) {
		made(where, c->body);
		pthread_mutex_unlock(&lock);
		return;
	}
	for (size_t i = 0; i < COUNT(queries); i++) {
		if (strcmp(c->name, queries[i].name) != 0 ||
		    !bson_iter_init_find(&filter, c->body, queries[i].filter))
			continue;
		if (i > 1)
			statements(where, &filter);
		else
			query(where, &filter,
			      bson_iter_init_find(&sort, c->body, "sort")
				      ? &sort
				      : NULL);
		pthread_mutex_unlock(&lock);
		return;
	}
	snprintf(unknown, sizeof(unknown), "%s", c->name);
	pthread_mutex_unlock(&lock);
}

/* --- judging
 * ------------------------------------------------------------------ */

/* Does an index give the order, from its key number at on? */
static bool
gives_order(const struct keys *index, size_t at, const struct keys *sort)
{
	bool same_way = true, other_way = true;

	if (at + sort->n > index->n)
		return false;
	for (size_t i = 0; i < sort->n; i++) {
		const char *have = index->name[at + i], *want = sort->name[i];
		bool turned = (*have == '-') != (*want == '-');

		if (strcmp(have + (*have == '-'), want + (*want == '-')) != 0)
			return false;
		same_way = same_way && !turned;
		other_way = other_way && turned;
	}
	return same_way || other_way;
}

/*
 * Whether the index leads to what the query is for: its first keys are all that
 * the query has equal, so that nothing else is read but by a range; and where
 * the query has an order, the next keys give it.
 */
static bool
serves(const struct keys *index, const struct shape *s)
{
	struct keys sort = {0};
	size_t n = 0;

	while (n < index->n && has_key(&s->equal, index->name[n]))
		n++;
	if (n < s->equal.n)
		return false;
	/* Nor is a range an end to it, if another one is what counts. */
	for (size_t i = 0; n == 0 && i < s->range.n; i++)
		if (strcmp(s->range.name[i], index->name[0] + down(index, 0)))
			return false;
	/* Of what is the same in all, there is no order. */
	for (size_t i = 0; i < s->sort.n; i++)
		if (!has_key(&s->one, s->sort.name[i]))
			memcpy(sort.name[sort.n++], s->sort.name[i], NAME);
	if (sort.n > 0)
		return gives_order(index, n, &sort);
	return n > 0 || (index->n > 0 && has_key(&s->range, index->name[0]));
}

static bool
leads_to_few(const struct keys *index, const struct shape *s)
{
	for (size_t i = 0; i < COUNT(few); i++) {
		const char *where = few[i].where, *there = s->where;

		if (*where == '*') {
			where = strchr(where, '.');
			there = strchr(there, '.');
		}
		if (strcmp(where, there) == 0 &&
		    strcmp(few[i].key, index->name[0]) == 0 &&
		    (has_key(&s->equal, few[i].key) ||
		     has_key(&s->range, few[i].key)))
			return true;
	}
	return false;
}

static bool
served(const struct shape *s, const struct index_seen *without)
{
	/* Besides those declared, each collection has one by _id; what has an
	 * _id is one document, whatever else is asked of it. */
	static const struct keys id = {.name = {"_id"}, .n = 1};

	if (has_key(&s->equal, "_id") || serves(&id, s))
		return true;
	for (size_t i = 0; i < index_count; i++)
		if (&indexes[i] != without &&
		    strcmp(indexes[i].where, s->where) == 0 &&
		    (serves(&indexes[i].keys, s) ||
		     leads_to_few(&indexes[i].keys, s)))
			return true;
	return false;
}

static void
tell(const struct shape *s)
{
	char equal[FIELDS * NAME], range[FIELDS * NAME], sort[FIELDS * NAME];

	tap_note("no index of %s serves: equal (%s) range (%s) sort (%s)",
		 s->where, names(&s->equal, true, equal),
		 names(&s->range, true, range), names(&s->sort, false, sort));
}

static void
every_query_has_an_index(void)
{
	pthread_mutex_lock(&lock);
	tap_note("%zu shapes of queries, %zu indexes", shape_count,
		 index_count);
	CU_ASSERT(shape_count > 40);
	CU_ASSERT(index_count > 20);
	TAP_STRING(unknown, "");
	for (size_t i = 0; i < shape_count; i++) {
		bool ok = served(&shapes[i], NULL);

		CU_ASSERT(ok);
		if (!ok)
			tell(&shapes[i]);
	}
	pthread_mutex_unlock(&lock);
}

/* The negative control, and the other way round: what no query needs is only
 * in the way of writes, unless it keeps something unique. */
static void
without_an_index_a_query_has_none(void)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < index_count; i++) {
		char keys[FIELDS * NAME];
		size_t lost = 0;

		for (size_t k = 0; k < shape_count; k++)
			lost += !served(&shapes[k], &indexes[i]);
		if (indexes[i].unique)
			continue;
		CU_ASSERT(lost > 0);
		if (lost == 0)
			tap_note("%s: no query needs the index (%s)",
				 indexes[i].where,
				 names(&indexes[i].keys, false, keys));
	}
	pthread_mutex_unlock(&lock);
}

/* --- asking for everything
 * ----------------------------------------------------- */

static struct browser boss, seller, other;
static struct buyer boss_token, seller_token;

static const struct answer *
ask_ok(struct browser *b, const char *service, const char *method,
       const char *path, const char *body)
{
	const struct answer *a = browse(b, service, method, path, body);

	if (a->status >= 400 || a->status == 0) {
		CU_FAIL("a request fails");
		tap_note("%s %s: %d %s", method, path, a->status,
			 a->body ? a->body : "");
	}
	return a;
}

/* A token of a browser's as one that flow.h takes. */
static void
as_buyer(const struct browser *from, struct buyer *to)
{
	memcpy(to->id, from->id, ID_SIZE);
	snprintf(to->token, sizeof(to->token), "%.1023s", from->session);
}

static void
ask_auth(void)
{
	char *path;

	browser_new(&boss);
	browser_becomes_admin(&boss);
	browser_new(&seller);
	browser_new(&other);
	EXPECT(browser_signs_in(&seller, "wrong password"), 400);
	EXPECT(browser_signs_in(&seller, BROWSER_PASSWORD), 200);
	EXPECT(browser_refreshes(&seller), 200);
	ask_ok(&seller, "auth", "GET", "/api/users/currentuser", NULL);
	path = text("/api/users/sessions/%s",
		    answer_text(ask_ok(&seller, "auth", "GET",
				       "/api/users/sessions", NULL),
				"0.id"));
	ask_ok(&seller, "auth", "DELETE", path, NULL);
	free(path);
	EXPECT(browser_signs_in(&seller, BROWSER_PASSWORD), 200);
	ask_ok(&seller, "auth", "PUT", "/api/users/me", "{\"name\":\"Ann\"}");
	ask_ok(&seller, "auth", "PUT", "/api/users/me/password",
	       "{\"password\":\"" BROWSER_PASSWORD
	       "\",\"newPassword\":\"battery staple\"}");
	ask_ok(&seller, "auth", "DELETE", "/api/users/sessions", NULL);
	ask_ok(&seller, "auth", "GET", "/api/users/me/export", NULL);
	ask_ok(&boss, "auth", "GET", "/api/users", NULL);
	ask_ok(&boss, "auth", "GET", "/api/users?q=ann&limit=1", NULL);
	path = text("/api/users?cursor=%s", boss.id);
	ask_ok(&boss, "auth", "GET", path, NULL);
	free(path);
	path = text("/api/users/%s", seller.id);
	ask_ok(&seller, "auth", "GET", path, NULL);
	free(path);
	as_buyer(&boss, &boss_token);
	as_buyer(&seller, &seller_token);
}

/* Each order, with and without each other thing that a search may have. */
static void
ask_lists(const char *cursor)
{
	static const char *const sorts[] = {"", "new", "old", "price",
					    "-price"};
	char path[256];

	for (size_t sort = 0; sort < COUNT(sorts); sort++)
		for (int with = 0; with < 32; with++) {
			snprintf(path, sizeof(path),
				 "/api/stuff?limit=2%s%s%s%s%s%s%s%s%s",
				 *sorts[sort] ? "&sort=" : "", sorts[sort],
				 with & 1 ? "&cursor=" : "",
				 with & 1 ? cursor : "",
				 with & 2 ? "&seller=" : "",
				 with & 2 ? seller.id : "",
				 with & 4 ? "&q=x" : "",
				 with & 8 ? "&min=1&max=100000" : "",
				 with & 16 ? "&status=sold" : "");
			ask_ok(&boss, "stuff", "GET", path, NULL);
		}
}

static void
put_picture(const char *path)
{
	char *name = text("SCRIPT_NAME=%s", path);
	char *cookie =
		text("HTTP_COOKIE=__Host-session=%s", seller_token.token);
	const char *params[] = {
		"REQUEST_METHOD=PUT", name,   "CONTENT_TYPE=image/png",
		"CONTENT_LENGTH=12",  cookie, NULL};

	TAP_INT(fcgi_ask("stuff", params, "\x89PNG\r\n\x1a\npict", 12)->status,
		200);
	free(name);
	free(cookie);
}

static void
ask_stuff(void)
{
	char *listing = buyer_lists(&seller_token, 1000), *again, *path;

	ask_lists(listing);
	path = text("/api/stuff/%s", listing);
	ask_ok(&seller, "stuff", "GET", path, NULL);
	ask_ok(&seller, "stuff", "PUT", path, "{\"price\":1100}");
	ask_ok(&seller, "stuff", "GET", "/api/stuff/marks", NULL);
	free(path);
	TAP_INT(buyer_uploads(&seller_token, listing)->status, 200);
	path = text("/api/stuff/%s/file", listing);
	ask_ok(&seller, "stuff", "GET", path, NULL);
	free(path);
	path = text("/api/stuff/%s/picture", listing);
	put_picture(path);
	ask_ok(&seller, "stuff", "GET", path, NULL);
	free(path);
	path = text("/api/stuff/%s/file/link", listing);
	ask_ok(&seller, "stuff", "POST", path, NULL);
	free(path);
	again = buyer_lists(&seller_token, 500);
	path = text("/api/stuff/%s", again);
	ask_ok(&seller, "stuff", "DELETE", path, NULL);
	free(path);
	free(again);
	free(listing);
}

static void
ask_orders_and_payments(void)
{
	struct deal paid, declined, lapsing, cancelled;
	char *path, *code, *intent;
	struct browser *b = &boss;

	deal_make(&lapsing, 900);
	deal_make(&paid, 1000);
	deal_pay(&paid);
	deal_make(&declined, 800);
	TAP_INT(buyer_pays(&declined.buyer, declined.order,
			   "pm_card_chargeCustomerFail")
			->status,
		402);
	deal_make(&cancelled, 700);
	buyer_cancels(&cancelled.buyer, cancelled.order);
	path = text("/api/orders/%s", paid.order);
	TAP_INT(fcgi_call("orders", "GET", path, NULL, paid.buyer.token)
			->status,
		200);
	free(path);
	path = text("/api/orders?cursor=%s", paid.order);
	TAP_INT(fcgi_call("orders", "GET", path, NULL, paid.buyer.token)
			->status,
		200);
	free(path);
	TAP_INT(fcgi_call("orders", "GET", "/api/orders", NULL,
			  paid.buyer.token)
			->status,
		200);
	path = text("/api/payments/%s", paid.order);
	TAP_INT(fcgi_call("payments", "GET", path, NULL, paid.buyer.token)
			->status,
		200);
	free(path);
	path = text("/api/payments/%s/receipt", paid.order);
	TAP_INT(fcgi_call("payments", "GET", path, NULL, paid.buyer.token)
			->status,
		200);
	free(path);
	TAP_INT(fcgi_call("payments", "GET", "/api/payments/sales", NULL,
			  paid.seller.token)
			->status,
		200);
	intent = deal_intent(&paid);
	webhook_taken(NULL, "charge.refunded", "charge", intent);
	free(intent);
	path = text("/api/payments/%s/refund", paid.order);
	TAP_INT(fcgi_insist("payments", "POST", path, "{\"listing\":\"free\"}",
			    paid.seller.token)
			->status,
		200);
	free(path);
	code = coupon_make(&boss_token, "{\"percentOff\":50}");
	path = text("/api/coupons/%s?orderId=%s", code, lapsing.order);
	ask_ok(b, "payments", "GET", "/api/coupons", NULL);
	TAP_INT(fcgi_call("payments", "GET", path, NULL, lapsing.buyer.token)
			->status,
		200);
	free(path);
	path = text("/api/coupons/%s", code);
	ask_ok(b, "payments", "DELETE", path, NULL);
	free(path);
	free(code);
	CU_ASSERT(deal_becomes(&paid, "refunded"));
	CU_ASSERT(deal_becomes(&declined, "cancelled"));
	CU_ASSERT(buyer_sees(&lapsing.buyer, "orders",
			     (path = text("/api/orders/%s", lapsing.order)),
			     "status", "cancelled", 40000));
	free(path);
}

static bool
heard_all(void *arg)
{
	static const char *const services[] = {"auth", "stuff", "orders",
					       "expiration", "payments"};
	char *missing = arg;

	*missing = '\0';
	for (int e = EVENT_NONE + 1; e < EVENT__MAX; e++) {
		bool heard = false;
		char *series = text("ticketing_events_total{channel=\"%s\","
				    "outcome=\"heard\"}",
				    event_channel((enum event_type)e));

		for (size_t i = 0; !heard && i < COUNT(services); i++)
			heard = strstr(fcgi_call(services[i], "GET", "/metrics",
						 NULL, NULL)
					       ->body,
				       series) != NULL;
		free(series);
		if (!heard)
			snprintf(missing, NAME, "%s",
				 event_channel((enum event_type)e));
	}
	return *missing == '\0';
}

static void
each_event_is_heard(void)
{
	char missing[NAME];

	ask_ok(&other, "auth", "POST", "/api/users/signout", NULL);
	EXPECT(browser_signs_in(&other, BROWSER_PASSWORD), 200);
	browser_bans(&boss, &seller);
	browser_unbans(&boss, &seller);
	ask_ok(&other, "auth", "DELETE", "/api/users/me",
	       "{\"password\":\"" BROWSER_PASSWORD "\"}");
	eventually(20000, heard_all, missing);
	TAP_STRING(missing, "");
}

/* What the descriptions of the services' routes have, their metrics have. */
static void
each_route_is_asked(void)
{
	static const char *const services[] = {"auth", "stuff", "orders",
					       "payments"};
	char *url = text("%s/api/openapi.json", stack("BASE_URL"));
	struct student *s = student_new();
	const struct answer *a = ask(s, "GET", url, NULL, NULL);
	json_object *described, *paths;
	char *all[COUNT(services)];

	free(url);
	TAP_INT(a->status, 200);
	for (size_t i = 0; i < COUNT(services); i++)
		all[i] = strdup(
			fcgi_call(services[i], "GET", "/metrics", NULL, NULL)
				->body);
	/* Deeper than what clients may send. */
	described = json_tokener_parse(a->body);
	paths = json_member(described, "paths", json_type_object);
	json_object_object_foreach(paths, path, methods)
	{
		json_object_object_foreach(methods, method, operation)
		{
			char route[128], *to = route, *line;
			bool asked = false;

			if (!json_object_is_type(operation, json_type_object) ||
			    strcmp(method, "parameters") == 0)
				continue;
			for (const char *p = path; *p != '\0'; p++)
				if (*p != '}')
					*to++ = (char)(*p == '{' ? ':' : *p);
			*to = '\0';
			line = text("method=\"%c%c%c", method[0] - 32,
				    method[1] - 32, method[2] - 32);
			for (size_t i = 0; !asked && i < COUNT(services); i++)
				for (const char *p = all[i];
				     !asked &&
				     (p = strstr(
					      p,
					      "ticketing_requests_total{")) !=
					     NULL;
				     p++) {
					size_t len = strcspn(p, "\n");
					char *one = strndup(p, len);
					char *r = text("route=\"%s\"", route);

					asked = strstr(one, line) &&
						strstr(one, r) &&
						strstr(one, "status=\"2");
					free(r);
					free(one);
				}
			CU_ASSERT(asked);
			if (!asked)
				tap_note("nobody asked %s %s", method, path);
			free(line);
		}
	}
	for (size_t i = 0; i < COUNT(services); i++)
		free(all[i]);
	json_object_put(described);
	student_free(s);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"auth is asked for all it answers", ask_auth},
		{"so is stuff", ask_stuff},
		{"so are orders and payments", ask_orders_and_payments},
		{"each event is heard", each_event_is_heard},
		{"each route is asked", each_route_is_asked},
		{"every query has an index", every_query_has_an_index},
		{"without an index a query has none",
		 without_an_index_a_query_has_none},
		{0},
	};
	static const char *const services[] = {"auth", "stuff", "orders",
					       "payments"};
	char *uri;
	int port;

	stack_up((const char *const[]){"EXPIRATION_WINDOW_SECONDS=15",
				       "SMTP_FROM=shop@example.edu",
				       "SMTP_URL=smtp://127.0.0.1:9", NULL});
	port = wire_open(stack("MONGO_URI"), watch, NULL);
	if (port < 0)
		tap_skip_all("no port is free");
	uri = text("MONGO_URI=mongodb://127.0.0.1:%d", port);
	for (size_t i = 0; i < COUNT(services); i++)
		if (stack_dev((const char *[]){uri, NULL},
			      (const char *[]){"restart", services[i], NULL}) !=
		    0)
			abort();
	free(uri);
	return tap_run(argc, argv, tests);
}
