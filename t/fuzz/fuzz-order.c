/* fuzz-order.c: events, one after the other, and what they make of an order:
 * it moves by the arrows of fcgi/orders/model.h alone.  Two lines are an event:
 * its channel and its envelope.
 * SPDX-License-Identifier: MIT */
#include "../../fcgi/orders/model.h"
#include "fuzz.h"

#define ID "65f000000000000000000001"

static bool
is(const struct order *o, const char *status)
{
	return strcmp(o->status, status) == 0;
}

/* Is there an arrow from was to now? */
static bool
may_become(const struct order *was, const struct order *now)
{
	bool live = is(was, ORDER_CREATED) || is(was, ORDER_AWAITING_PAYMENT);

	if (is(now, was->status))
		return true;
	return (is(was, ORDER_CREATED) && is(now, ORDER_AWAITING_PAYMENT)) ||
	       (is(was, ORDER_AWAITING_PAYMENT) && is(now, ORDER_COMPLETE)) ||
	       (live && is(now, ORDER_CANCELLED)) ||
	       (is(was, ORDER_COMPLETE) &&
		(is(now, ORDER_REFUNDED) || is(now, ORDER_CANCELLED)));
}

static void
hear(struct context *cx, const struct event *event, struct order *o)
{
	struct order was = *o;
	struct stuff_copy copy = {.title = NULL};

	for (const struct hears *h = orders_hears; h->event != EVENT_NONE;
	     h++) {
		if (h->event != event->type)
			continue;
		if (h->kind == &stuff_copy_kind) {
			MUST(h->decide(cx, &copy, event) == NULL);
			MUST(copy.title != NULL && copy.status != NULL);
		} else if (h->kind == &order_kind &&
			   h->decide(cx, o, event) != NULL) {
			/* It is not saved. */
			*o = was;
		}
	}
	MUST(may_become(&was, o));
	MUST((*o->slot == '\0') ==
	     (is(o, ORDER_CANCELLED) || is(o, ORDER_REFUNDED)));
	MUST(is(o, ORDER_CANCELLED) == (o->reason != NULL));
	MUST(o->stuff.price == 1250 && o->expires_at == was.expires_at);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct context cx = {.arena = arena_new()};
	struct input in = {data, size};
	/* Its time is over, or far from it. */
	struct order o = {
		.head = {.id = ID, .rev = 1, .version = 1},
		.status = ORDER_CREATED,
		.user_id = ID,
		.slot = ID,
		.stuff = {.id = ID, .title = "Notes", .price = 1250},
		.expires_at = input_byte(&in) % 2 ? 1 : INT64_MAX,
	};

	while (in.left > 0) {
		const char *channel = input_line(&in, cx.arena);
		const char *body = input_line(&in, cx.arena);
		struct event event;

		if (event_read(cx.arena, channel, body, strlen(body), &event) ==
		    NULL)
			hear(&cx, &event, &o);
	}
	arena_free(cx.arena);
	return 0;
}
