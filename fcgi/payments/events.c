/* events.c: what payments hears, and what it does of its own accord.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "model.h"

#define SETTLE_EVERY 2000 /* ms */
#define BATCH 100	  /* payments looked up at once */

const struct hears payments_hears[] = {
	{EVENT_ORDER_CREATED, &order_copy_kind, NULL, order_copy_put, NULL},
	{EVENT_ORDER_CANCELLED, &order_copy_kind, NULL, order_copy_put,
	 &payments_settling},
	{EVENT_ORDER_COMPLETED, &order_copy_kind, NULL, order_copy_put,
	 &payments_settling},
	{EVENT_ORDER_REFUNDED, &order_copy_kind, NULL, order_copy_put, NULL},
	{0},
};

/* Returns how many there were, and in last the id of the last one; fewer than
 * BATCH: these were all for now. */
static size_t
settle_batch(struct context *cx, char last[ID_SIZE])
{
	struct payment *found, p;
	const struct fail *fail;
	size_t n;

	if (payment_in_motion(cx, last, BATCH, &found, &n) != NULL)
		return 0;
	for (size_t i = 0; i < n; i++) {
		memcpy(last, found[i].head.id, ID_SIZE);
		fail = payment_settle(cx, last, &p);
		if (fail == NULL)
			continue;
		LOG(LOG_WARN, "payment not settled yet",
		    LOG_TEXT("payment", last),
		    LOG_TEXT("cause", fail->cause ? fail->cause : fail->name));
		/* Where one call takes long, so may those behind it.  It has
		 * put itself off, so the next run begins with them. */
		return 0;
	}
	return n;
}

static void
settle(struct context *cx)
{
	char last[ID_SIZE] = "";

	while (settle_batch(cx, last) == BATCH)
		arena_reset(cx->arena);
}

struct task payments_settling = {
	.name = "settling", .every = SETTLE_EVERY, .run = settle};
