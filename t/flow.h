/* flow.h: what tests of whole flows and races do again and again.
 * SPDX-License-Identifier: MIT */
#ifndef T_FLOW_H
#define T_FLOW_H

#include "harness.h"
#include "id.h"

/* Was this built with --enable-failpoints?  Skips the program if not. */
void need_failpoints(void);

/* That many rounds, at T_ROUNDS percent (100); at least one. */
int rounds(int n);

/* Runs fn(i, arg) in n threads that start at one moment; waits for all. */
void together(int n, void (*fn)(int i, void *arg), void *arg);

/* As POST /api/payments, token NULL: none. */
const struct answer *pay(struct student *s, const char *order_id,
			 const char *token);

/* A student without an account: the token is all that services ask for. */
struct buyer {
	char id[ID_SIZE], token[1024];
};
void buyer_make(struct buyer *b);

/* Gives a listing of theirs a small file, without which nobody can buy it. */
const struct answer *buyer_uploads(const struct buyer *b, const char *stuff_id);

/* For eventually(): is no process of that service there? */
bool is_dead(void *name);

/* For who is told by a 503 to ask again: waits a moment.  False when that went
 * on till then, on the monotonic clock. */
bool may_insist(int64_t until);

/* As fcgi_call(), asking again, for a while, when told to by a 503. */
const struct answer *fcgi_insist(const char *service, const char *method,
				 const char *path, const char *body,
				 const char *token);

/* As list_stuff(), buy() and pay(), over the services' own sockets.  The
 * answer lasts until the thread asks anew. */
char *buyer_lists(const struct buyer *b, int64_t price);
const struct answer *buyer_buys(const struct buyer *b, const char *stuff_id);
const struct answer *buyer_pays(const struct buyer *b, const char *order_id,
				const char *token);
const struct answer *buyer_cancels(const struct buyer *b, const char *order_id);

/* Copies the text at a member of GET path; "" when it is not there. */
void buyer_reads(const struct buyer *b, const char *service, const char *path,
		 const char *member, char *ret, size_t size);

/* Polls that until it is one of the texts ("a|b"), ms at most. */
bool buyer_sees(const struct buyer *b, const char *service, const char *path,
		const char *member, const char *texts, int64_t ms);

/* Polls until the orders' copy of the listing is available and has a file. */
bool buyer_can_buy(const char *stuff_id, int64_t ms);

/* Polls until payments has heard of the order: what was only just bought is
 * lost to it for as long as orders is away. */
bool buyer_can_pay(const char *order_id, int64_t ms);

/* Runs the checker with more arguments (NULL ends them; NULL: none) and the
 * seconds it may wait.  Returns what it printed, until it is called again;
 * NULL when it could not read the stack. */
const char *checker_says(int seconds, const char *const *args);

/* Has a line of that rule? */
bool breaks(const char *said, const char *rule);

/* What the checker says, but for lines of these rules ("late holder"). */
bool breaks_only(const char *said, const char *rules);

/* Waits until the stack has settled with no rule broken; false, and a note of
 * each that is, when that takes too long. */
bool settles(const char *const *args);

/*
 * Some buyers list, buy, pay, cancel and let lapse, whatever happens, while
 * meanwhile() is called.  Then the stack must come to rest with no rule broken
 * and all that they were told true.
 */
void trade_while(void (*meanwhile)(void));

/* For meanwhile(): returns when n more orders have come about. */
void some_trade(int n);

/* Writes past the services.  Documents are MongoDB's extended JSON. */
void db_insert(const char *database, const char *collection,
	       const char *document);
void db_update(const char *database, const char *collection, const char *filter,
	       const char *update);
void db_delete(const char *database, const char *collection,
	       const char *filter);
void db_command(const char *database, const char *command);
int64_t db_count(const char *database, const char *collection,
		 const char *filter);

/* POSTs it to the gateway's /_control. */
void gateway_script(const char *json);

/* POSTs a form to the gateway past the services; the new thing's id, to be
 * freed, or "" when it was refused. */
char *gateway_post(const char *path, const char *form);

/* One command without arguments to Redis: "FLUSHALL". */
void redis_do(const char *command);

/* Text as by printf(), to be freed. */
char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
