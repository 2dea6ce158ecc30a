/* events.c: what stuff hears.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "model.h"

static const struct fail *
ordered_stuff(struct context *cx, const struct event *event, char id[ID_SIZE])
{
	const struct order_event *order = event->data;

	(void)cx;
	memcpy(id, order->stuff.id, ID_SIZE);
	return NULL;
}

const struct hears stuff_hears[] = {
	{EVENT_ORDER_CREATED, &stuff_kind, ordered_stuff, stuff_reserve, NULL},
	{EVENT_ORDER_CANCELLED, &stuff_kind, ordered_stuff, stuff_release,
	 NULL},
	{EVENT_ORDER_COMPLETED, &stuff_kind, ordered_stuff, stuff_sell, NULL},
	{EVENT_ORDER_REFUNDED, &stuff_kind, ordered_stuff, stuff_take_back,
	 NULL},
	{EVENT_USER_BANNED, NULL, NULL, stuff_follow_seller, NULL},
	{EVENT_USER_UNBANNED, NULL, NULL, stuff_follow_seller, NULL},
	{EVENT_USER_ERASED, NULL, NULL, stuff_follow_seller, NULL},
	{0},
};
