/* events.c: what orders hears.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "model.h"

static const struct fail *holder(struct context *cx, const struct event *event,
				 char id[ID_SIZE]);
static const struct fail *confirmed(struct context *cx,
				    const struct event *event,
				    char id[ID_SIZE]);
static const struct fail *paid(struct context *cx, const struct event *event,
			       char id[ID_SIZE]);

const struct hears orders_hears[] = {
	{EVENT_STUFF_CREATED, &stuff_copy_kind, NULL, stuff_copy_put, NULL},
	{EVENT_STUFF_UPDATED, &stuff_copy_kind, NULL, stuff_copy_put, NULL},
	{EVENT_STUFF_UPDATED, &order_kind, confirmed, order_confirm, NULL},
	{EVENT_STUFF_REMOVED, &stuff_copy_kind, NULL, stuff_copy_put, NULL},
	{EVENT_STUFF_REMOVED, &order_kind, holder, order_drop, NULL},
	{EVENT_EXPIRATION_COMPLETE, &order_kind, NULL, order_expire, NULL},
	{EVENT_PAYMENT_CREATED, &order_kind, paid, order_pay, NULL},
	{EVENT_PAYMENT_FAILED, &order_kind, paid, order_fail, NULL},
	{EVENT_PAYMENT_REFUNDED, &order_kind, paid, order_refund, NULL},
	{EVENT_USER_BANNED, NULL, NULL, orders_end_of, NULL},
	{EVENT_USER_ERASED, NULL, NULL, orders_end_of, NULL},
	{0},
};

/* The order that holds the stuff, if one does. */
static const struct fail *
holder(struct context *cx, const struct event *event, char id[ID_SIZE])
{
	struct order order;
	const struct fail *fail = order_of_stuff(cx, event->subject, &order);

	if (fail == NULL)
		memcpy(id, order.head.id, ID_SIZE);
	return fail != NULL && fail->status == 404 ? NULL : fail;
}

/* The order whose hold stuff has taken note of, if it tells of one. */
static const struct fail *
confirmed(struct context *cx, const struct event *event, char id[ID_SIZE])
{
	const struct stuff_event *stuff = event->data;

	(void)cx;
	memcpy(id, stuff->order_id, ID_SIZE);
	return NULL;
}

static const struct fail *
paid(struct context *cx, const struct event *event, char id[ID_SIZE])
{
	const struct payment_event *payment = event->data;

	(void)cx;
	memcpy(id, payment->order_id, ID_SIZE);
	return NULL;
}
