/* routes.c: what orders answers.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "model.h"

struct buy_body {
	char stuff_id[ID_SIZE];
};
static const struct field buy_body[] = {
	FIELD(struct buy_body, stuff_id, "stuffId", FIELD_ID,
	      .flags = FIELD_REQUIRED),
	{0},
};

struct list_query {
	struct page page;
};
static const struct field list_query[] = {HTTP_PAGE(struct list_query, page),
					  {0}};

static const struct fail *list(struct request *rq);
static const struct fail *buy(struct request *rq);
static const struct fail *show(struct request *rq);
static const struct fail *cancel(struct request *rq);

const struct route orders_routes[] = {
	{GET, "/api/orders", list, SIGNED_IN, .query = list_query,
	 .query_size = sizeof(struct list_query),
	 .answers = {"One's orders, the newest first", 200, order_fields,
		     LIST}},
	{POST, "/api/orders", buy, SIGNED_IN, .body = buy_body,
	 .body_size = sizeof(struct buy_body),
	 .answers = {"BUY: hold a listing for 15 minutes", 201, order_fields,
		     .also = {404, 409}}},
	{GET, "/api/orders/:id", show, SIGNED_IN,
	 .answers = {"Show one's order", 200, order_fields}},
	{DELETE, "/api/orders/:id", cancel, SIGNED_IN,
	 .answers = {"Cancel one's order", 204, .also = {409}}},
	{0},
};

static const struct fail *
list(struct request *rq)
{
	const struct list_query *q = rq->query;
	struct order *found;
	size_t n;

	TRY(order_find(rq->cx, rq->user.id, &q->page, &found, &n));
	return http_reply_page(rq, &q->page, order_kind.fields, found,
			       sizeof(*found), n);
}

static const struct fail *
buy(struct request *rq)
{
	const struct buy_body *body = rq->body;
	struct order order;

	TRY(order_buy(rq->cx, body->stuff_id, &rq->user, &order));
	http_set_header(rq, "Location", "/api/orders/%s", order.head.id);
	return http_reply_record(rq, 201, order_kind.fields, &order);
}

static const struct fail *
show(struct request *rq)
{
	struct order order;

	TRY(store_get(rq->cx, &order_kind, rq->params[0], &order));
	if (strcmp(order.user_id, rq->user.id) != 0)
		return fail_forbidden(rq->cx->arena, "Not your order");
	return http_reply_record(rq, 200, order_kind.fields, &order);
}

static const struct fail *
cancel(struct request *rq)
{
	struct order order;

	TRY(store_change(rq->cx, &order_kind, rq->params[0], order_cancel,
			 &rq->user, &order));
	return http_reply(rq, 204, NULL);
}
