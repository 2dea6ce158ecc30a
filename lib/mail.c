/* mail.c: see mail.h.
 * SPDX-License-Identifier: MIT */
#include "mail.h"

#include <string.h>

#include "clock.h"

static const struct field fields[] = {
	STORE_HEAD(struct mail),
	FIELD(struct mail, user_id, "userId", FIELD_ID),
	FIELD(struct mail, letter, "letter", FIELD_TEXT),
	FIELD(struct mail, order_id, "orderId", FIELD_ID),
	FIELD(struct mail, title, "title", FIELD_TEXT),
	FIELD(struct mail, amount, "amount", FIELD_INT, .flags = FIELD_ZERO),
	FIELD(struct mail, at, "at", FIELD_TIME),
	FIELD(struct mail, created_at, "createdAt", FIELD_TIME),
	{0},
};

static const struct index indexes[] = {
	{.keys = {"createdAt"}},
	{{NULL}},
};

static enum event_type
publishes(const void *rec)
{
	(void)rec;
	return EVENT_MAIL_SEND;
}

const struct kind mail_kind = {
	.collection = "mails",
	.fields = fields,
	.size = sizeof(struct mail),
	.publishes = publishes,
	.indexes = indexes,
};

static void
prune(struct context *cx)
{
	store_prune(cx, &mail_kind, "createdAt", clock_now() - MAIL_KEPT);
}

struct task mail_pruning = {.name = "mails", .every = 3600000, .run = prune};

const struct fail *
mail_send(struct context *cx, struct mail *mail)
{
	const char *key = arena_printf(cx->arena, "%s:%s:%s", mail->letter,
				       mail->order_id, mail->user_id);
	char hash[ID_HASH_SIZE];
	const struct fail *fail;

	id_hash(hash, key, strlen(key));
	memcpy(mail->head.id, hash, ID_SIZE - 1);
	mail->head.id[ID_SIZE - 1] = '\0';
	mail->created_at = clock_now();
	fail = store_add(cx, &mail_kind, mail);
	return fail == STORE_DUPLICATE ? NULL : fail;
}
