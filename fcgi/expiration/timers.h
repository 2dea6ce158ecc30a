/* timers.h: which order is to expire when, kept in Redis.
 * SPDX-License-Identifier: MIT */
#ifndef EXPIRATION_TIMERS_H
#define EXPIRATION_TIMERS_H

#include "service.h"

/*
 * Redis is asked to be quick and may forget: orders looks for lapsed orders
 * itself, and timers_rebuild() tells when to tell Redis again.  Times are by
 * Redis's clock, so that replicas agree.
 *
 * Every call fails with 503 when Redis does not answer in time, and is safe to
 * repeat.  What they return is in the context's arena.
 */

/* Nothing is connected before its first use.  NULL, or a sentence on what is
 * wrong with the URL, redis://[:password@]host[:port][/db]. */
const char *timers_open(const char *url);
void timers_close(void);

/* Is Redis there, and may be written to? */
const struct fail *timers_ping(struct context *cx);

/* Has the order expire when it's due (ms since 1970), and never later than
 * said before; not at all when it has ended. */
const struct fail *timers_add(struct context *cx, const char *order_id,
			      int64_t due);
const struct fail *timers_end(struct context *cx, const char *order_id);

/* Takes up to limit orders that are due.  Those that are not reported done
 * within 10 s are given out again. */
const struct fail *timers_claim(struct context *cx, size_t limit,
				const char ***ret_ids, size_t *ret_count);
const struct fail *timers_done(struct context *cx, const char *const *ids,
			       size_t count);

/*
 * Says in *ret_name which rebuild is to be done, "" for none.  One is when
 * Redis is empty, and when it was started anew: it may have lost its last
 * second then.  It stays to be done, under its name, until someone who was
 * given that name and had all recent events told again since reports it done.
 */
const struct fail *timers_rebuild(struct context *cx, const char **ret_name);
const struct fail *timers_rebuilt(struct context *cx, const char *name);

/* events.c: what expiration hears, and the task that tells. */
extern const struct hears expiration_hears[];
extern struct task expire_task;
extern struct metric *const expiration_metrics[];
extern int64_t expiration_window; /* s that an order is held */

#endif
