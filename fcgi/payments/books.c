/* books.c: see books.h.
 * SPDX-License-Identifier: MIT */
#include "books.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define BATCH 500 /* payments looked up at once */

/* Was it paid, whatever became of it? */
static bool
is_sale(const struct payment *p)
{
	return payment_is(p, PAYMENT_CAPTURED) ||
	       payment_is(p, PAYMENT_REFUNDING) ||
	       payment_is(p, PAYMENT_REFUNDED);
}

static void
put_time(struct arena *a, json_object *o, const char *name, int64_t ms)
{
	if (ms != 0)
		json_put_text(o, name, clock_format(a, ms));
	else
		json_put(o, name, NULL);
}

static void
put_or_null(json_object *o, const char *name, const char *text)
{
	if (text != NULL && *text != '\0')
		json_put_text(o, name, text);
	else
		json_put(o, name, NULL);
}

static const struct field item_fields[] = {
	SHOWN("stuffId", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("title", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("price", FIELD_INT, .flags = FIELD_REQUIRED),
	{0},
};

const struct field receipt_fields[] = {
	SHOWN("number", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("date", FIELD_TIME),
	SHOWN("orderId", FIELD_ID, .flags = FIELD_REQUIRED),
	SHOWN("buyerId", FIELD_ID, .flags = FIELD_REQUIRED),
	SHOWN("sellerId", FIELD_ID),
	SHOWN("items", FIELD_RECORD, .flags = FIELD_MANY,
	      .fields = item_fields),
	SHOWN("price", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("coupon", FIELD_TEXT),
	SHOWN("discount", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("amount", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("currency", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("status", FIELD_TEXT, .one_of = ONE_OF("paid", "refunded"),
	      .flags = FIELD_REQUIRED),
	SHOWN("refunded", FIELD_INT, .flags = FIELD_REQUIRED),
	SHOWN("refundedAt", FIELD_TIME),
	{0},
};

const struct fail *
books_receipt(struct request *rq)
{
	struct arena *a = rq->cx->arena;
	json_object *o = json_new_object(a), *items, *item;
	struct payment p;

	TRY(store_get(rq->cx, &payment_kind, rq->params[0], &p));
	if (strcmp(p.user_id, rq->user.id) != 0 &&
	    strcmp(rq->user.role, "admin") != 0)
		return fail_forbidden(a, "Not your payment");
	if (!is_sale(&p))
		return fail_not_found(a);
	item = json_object_new_object();
	json_put_text(item, "stuffId", p.stuff_id);
	json_put_text(item, "title", p.title ? p.title : "");
	json_put_int(item, "price", p.price);
	items = json_object_new_array();
	json_object_array_add(items, item);
	json_put_text(o, "number", arena_printf(a, "R-%s", p.head.id));
	put_time(a, o, "date", p.captured_at);
	json_put_text(o, "orderId", p.order_id);
	json_put_text(o, "buyerId", p.user_id);
	put_or_null(o, "sellerId", p.seller_id);
	json_put(o, "items", items);
	json_put_int(o, "price", p.price);
	put_or_null(o, "coupon", p.coupon);
	json_put_int(o, "discount", p.discount);
	json_put_int(o, "amount", p.amount);
	json_put_text(o, "currency", p.currency);
	json_put_text(o, "status",
		      payment_is(&p, PAYMENT_REFUNDED) ? "refunded" : "paid");
	json_put_int(o, "refunded", p.refunded);
	put_time(a, o, "refundedAt", p.refunded_at);
	return http_reply(rq, 200, o);
}

/* --- sales --------------------------------------------------------------- */

const struct field sales_query[] = {
	FIELD(struct sales_query, format, "format", FIELD_TEXT,
	      .one_of = ONE_OF("json", "csv"), .msg = "format is json or csv"),
	{0},
};

#define SUMS                                                           \
	SHOWN("sales", FIELD_INT, .flags = FIELD_REQUIRED),            \
		SHOWN("earnings", FIELD_INT, .flags = FIELD_REQUIRED), \
		SHOWN("refunds", FIELD_INT, .flags = FIELD_REQUIRED),  \
		SHOWN("refunded", FIELD_INT, .flags = FIELD_REQUIRED), \
		SHOWN("disputes", FIELD_INT, .flags = FIELD_REQUIRED)

static const struct field listing_fields[] = {
	SHOWN("stuffId", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SHOWN("title", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SUMS,
	{0},
};

const struct field sales_fields[] = {
	SHOWN("currency", FIELD_TEXT, .flags = FIELD_REQUIRED),
	SUMS,
	SHOWN("listings", FIELD_RECORD, .flags = FIELD_MANY,
	      .fields = listing_fields),
	{0},
};

/* The next sales of a seller, newest first, behind that id ("": the first). */
static const struct fail *
next_sales(struct context *cx, const char *seller_id, const char *behind,
	   struct payment **ret, size_t *ret_count)
{
	bson_t *filter = bson_new(), in, list;
	bson_oid_t oid;
	void *found;

	bson_oid_init_from_string(&oid, seller_id);
	BSON_APPEND_OID(filter, "sellerId", &oid);
	BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &in);
	BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
	BSON_APPEND_UTF8(&list, "0", PAYMENT_CAPTURED);
	BSON_APPEND_UTF8(&list, "1", PAYMENT_REFUNDING);
	BSON_APPEND_UTF8(&list, "2", PAYMENT_REFUNDED);
	bson_append_array_end(&in, &list);
	bson_append_document_end(filter, &in);
	if (*behind != '\0') {
		bson_oid_init_from_string(&oid, behind);
		BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &in);
		BSON_APPEND_OID(&in, "$lt", &oid);
		bson_append_document_end(filter, &in);
	}
	TRY(store_find(cx, &payment_kind, filter, "-_id", BATCH, &found,
		       ret_count));
	*ret = found;
	return NULL;
}

/* What is counted, of one listing or all. */
struct sum {
	const char *title;
	char stuff_id[ID_SIZE], last[ID_SIZE]; /* last: its newest order */
	int64_t sales, earnings, refunds, refunded, disputes;
};

struct ledger {
	struct arena *arena;
	struct sum *of; /* one for each sale at first, then for a listing */
	size_t count;
	struct sum total;
	FILE *csv; /* or NULL */
};

static void
add(struct sum *to, const struct sum *s)
{
	to->sales += s->sales;
	to->earnings += s->earnings;
	to->refunds += s->refunds;
	to->refunded += s->refunded;
	to->disputes += s->disputes;
}

const char *
csv_text(struct arena *a, const char *s)
{
	char *out = arena_alloc(a, 2 * strlen(s) + 4), *p = out;

	*p++ = '"';
	if (*s != '\0' && strchr("=+-@\t\r\n", *s) != NULL)
		*p++ = '\'';
	for (; *s != '\0'; s++) {
		if (*s == '"')
			*p++ = '"';
		*p++ = *s;
	}
	*p++ = '"';
	*p = '\0';
	return out;
}

static void
write_line(struct context *cx, FILE *csv, const struct payment *p)
{
	struct arena *a = cx->arena;

	fprintf(csv, "%s,%s,%s,%s,%lld,%lld,%lld,%lld,%s,%s,%s,%s\r\n",
		p->captured_at ? clock_format(a, p->captured_at) : "",
		p->order_id, p->stuff_id, csv_text(a, p->title ? p->title : ""),
		(long long)p->price, (long long)p->discount,
		(long long)p->amount, (long long)p->refunded, p->currency,
		p->status,
		p->refunded_at ? clock_format(a, p->refunded_at) : "",
		csv_text(a, p->dispute ? p->dispute : ""));
}

static void
enter(struct ledger *l, const struct payment *p)
{
	struct sum *s = &l->of[l->count++];

	*s = (struct sum){
		.title = p->title ? arena_strdup(l->arena, p->title) : "",
		.sales = 1,
		.earnings = p->amount - p->refunded,
		.refunds = payment_is(p, PAYMENT_REFUNDED),
		.refunded = p->refunded,
		.disputes = p->dispute != NULL,
	};
	memcpy(s->stuff_id, p->stuff_id, ID_SIZE);
	memcpy(s->last, p->head.id, ID_SIZE);
	add(&l->total, s);
}

static const struct fail *
read_sales(struct request *rq, struct ledger *l)
{
	/* Each batch's memory goes at once. */
	struct context batch = {.arena = arena_new(),
				.service = rq->cx->service};
	const struct fail *fail = NULL;
	char last[ID_SIZE] = "";
	struct payment *found;
	size_t n = BATCH;

	while (n == BATCH && l->count + BATCH <= SALES_MAX) {
		arena_reset(batch.arena);
		fail = next_sales(&batch, rq->user.id, last, &found, &n);
		if (fail != NULL)
			break;
		for (size_t i = 0; i < n; i++) {
			enter(l, &found[i]);
			if (l->csv != NULL)
				write_line(&batch, l->csv, &found[i]);
			memcpy(last, found[i].head.id, ID_SIZE);
		}
	}
	if (fail != NULL)
		fail = fail_database(rq->cx->arena,
				     fail->cause ? arena_strdup(rq->cx->arena,
								fail->cause)
						 : NULL);
	arena_free(batch.arena);
	return fail;
}

static int
by_stuff(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;
	int order = strcmp(x->stuff_id, y->stuff_id);

	return order != 0 ? order : strcmp(y->last, x->last);
}

static int
newest_first(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;

	return strcmp(y->last, x->last);
}

/* Makes one of all sums of a listing. */
static void
by_listing(struct ledger *l)
{
	size_t n = 0;

	if (l->count == 0)
		return;
	qsort(l->of, l->count, sizeof(*l->of), by_stuff);
	for (size_t i = 1; i < l->count; i++)
		if (strcmp(l->of[n].stuff_id, l->of[i].stuff_id) == 0)
			add(&l->of[n], &l->of[i]);
		else
			l->of[++n] = l->of[i];
	l->count = n + 1;
	qsort(l->of, l->count, sizeof(*l->of), newest_first);
}

static void
put_sum(json_object *o, const struct sum *s)
{
	json_put_int(o, "sales", s->sales);
	json_put_int(o, "earnings", s->earnings);
	json_put_int(o, "refunds", s->refunds);
	json_put_int(o, "refunded", s->refunded);
	json_put_int(o, "disputes", s->disputes);
}

static const struct fail *
reply_json(struct request *rq, struct ledger *l)
{
	json_object *o = json_new_object(rq->cx->arena);
	json_object *list = json_object_new_array();

	by_listing(l);
	for (size_t i = 0; i < l->count; i++) {
		json_object *one = json_object_new_object();

		json_put_text(one, "stuffId", l->of[i].stuff_id);
		json_put_text(one, "title", l->of[i].title);
		put_sum(one, &l->of[i]);
		json_object_array_add(list, one);
	}
	json_put_text(o, "currency", "usd");
	put_sum(o, &l->total);
	json_put(o, "listings", list);
	return http_reply(rq, 200, o);
}

static bool
wants_csv(struct request *rq)
{
	const struct sales_query *q = rq->query;
	const char *accept = http_header(rq, "Accept");

	return q->format != NULL
		       ? strcmp(q->format, "csv") == 0
		       : accept != NULL && strncmp(accept, "text/csv", 8) == 0;
}

const struct fail *
books_sales(struct request *rq)
{
	struct arena *a = rq->cx->arena;
	struct ledger l = {.arena = a};
	const struct fail *fail;
	char *text = NULL;
	size_t size;

	l.of = arena_alloc(a, SALES_MAX * sizeof(*l.of));
	if (wants_csv(rq)) {
		l.csv = open_memstream(&text, &size);
		if (l.csv == NULL)
			return fail_unknown(a, "no memory for the sales");
		fputs("date,orderId,stuffId,title,price,discount,amount,"
		      "refunded,currency,status,refundedAt,dispute\r\n",
		      l.csv);
	}
	fail = read_sales(rq, &l);
	if (l.csv != NULL) {
		fclose(l.csv);
		arena_defer(a, free, text);
	}
	TRY(fail);
	if (l.csv == NULL)
		return reply_json(rq, &l);
	http_set_header(rq, "Content-Disposition",
			"attachment; filename=\"sales.csv\"");
	return http_reply_text(rq, "text/csv; charset=utf-8", text);
}
