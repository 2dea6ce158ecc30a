/* share.c: see share.h.
 * SPDX-License-Identifier: MIT */
#include "share.h"

#include <string.h>

#include "coalesce.h"
#include "failpoint.h"

struct asker {
	struct call call;
	struct request *rq;
	const struct fail *fail;
	bool answered;
};

static bool
same(const struct call *a, const struct call *b)
{
	struct request *x = ((const struct asker *)a)->rq;
	struct request *y = ((const struct asker *)b)->rq;

	return x->route == y->route && strcmp(x->path, y->path) == 0 &&
	       strcmp(http_query(x), http_query(y)) == 0;
}

/* Runs the handler for the first one, and gives the others what it said. */
static void
make(struct call *calls)
{
	struct asker *first = (struct asker *)calls;
	struct request *from = first->rq, *to;
	struct header **since = &from->headers;
	size_t len;

	while (*since != NULL)
		since = &(*since)->next;
	first->fail = from->route->handler(from);
	FAILPOINT("shared");
	first->answered = true;
	if (first->fail != NULL || from->text == NULL)
		return;
	len = strlen(from->text);
	for (struct call *c = calls->next; c != NULL; c = c->next) {
		((struct asker *)c)->answered = true;
		to = ((struct asker *)c)->rq;
		to->status = from->status;
		to->text_type = from->text_type;
		to->text = arena_strndup(to->cx->arena, from->text, len);
		for (struct header *h = *since; h != NULL; h = h->next)
			http_set_header(to, h->name, "%s", h->value);
	}
}

const struct fail *
share_answer(struct request *rq)
{
	static struct coalescer coalescer = COALESCER(same, make);
	struct asker mine = {.rq = rq};

	coalesce(&coalescer, &mine.call);
	return mine.answered ? mine.fail : rq->route->handler(rq);
}
