/* checker.h: what the checker has read of a stack.
 * SPDX-License-Identifier: MIT */
#ifndef T_CHECKER_H
#define T_CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "events.h"

/*
 * A document of any collection: the members that it has.  The descriptions are
 * the checker's own, so that a wrong one in a service is no excuse.
 */
struct row {
	char id[80]; /* an ObjectId's digits, or the text that _id is */
	int64_t rev, version, unsent;
	const char *title, *status, *intent;
	const char *sha256; /* of its file */
	char user_id[ID_SIZE], order_id[ID_SIZE], slot[ID_SIZE];
	char stuff_id[ID_SIZE];
	int64_t price, amount, expires_at;
	char coupon_id[ID_SIZE];
	int64_t percent_off, redemptions, max_redemptions, refunded;
	const char *pending; /* ids with a space behind each */
};

/* By id. */
struct rows {
	struct row *at;
	size_t count;
};

/* All databases, one collection after the other. */
struct snapshot {
	struct arena *arena;
	struct rows users, stuff, orders, payments, coupons;
	struct rows orders_stuff; /* copies */
	struct rows payments_orders;
	struct rows stuff_heard, orders_heard, payments_heard;
};

/* An order's timer in Redis. */
struct timer {
	const char *order_id;
	int64_t due; /* ms since 1970; or when its claim ends */
};

struct timers {
	struct timer *at;
	size_t count;
};

/* One version of one record as it was published, however often. */
struct published {
	struct event event;
	const char *channel, *data; /* data: its JSON */
	bool contradicted;	    /* it came again with other content */
};

/* One PaymentIntent, or what else can hold money. */
struct charge {
	const char *id, *order_id;
	int64_t amount, captured, refunded;
	int64_t times; /* that the card was charged */
	bool held;     /* money is set aside */
};

struct charges {
	struct charge *at; /* by order_id */
	size_t count;
};

/* Each returns NULL, or why it can't be read. */
const char *read_open(void);
const char *read_databases(struct snapshot *ret);
const char *read_gateway(struct arena *a, struct charges *ret);
const char *read_redis(struct arena *a, struct timers *ret);

/*
 * Reads every file for sale, of a stack that is at rest, and calls fault() for
 * each that is not whole, and for what is left of others; what uploads that
 * were broken off a moment ago left may still be there.
 */
typedef void (*file_fault)(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
const char *read_files(void *mongo, struct arena *a, file_fault fault);
void *read_mongo(void); /* the client */

/* An array with room for one more than its count: the room doubles. */
void *grown(void *at, size_t count, size_t size);

void snapshot_free(struct snapshot *s);
bool snapshot_same(const struct snapshot *a, const struct snapshot *b);

/* The row with that id; NULL when there is none. */
const struct row *rows_find(const struct rows *rows, const char *id);

/* What the bus has told so far is in front of bus_freeze()'s caller until
 * bus_thaw(): by family, subject and version. */
const struct published *bus_freeze(size_t *ret_count);
void bus_thaw(void);

/* How long nothing came, in ms. */
int64_t bus_quiet(void);

/* Texts of dead letters, and of what no one can read. */
size_t bus_bad(const char *const **ret_texts);

void read_close(void);

#endif
