/* store.h: versioned records in MongoDB, each with the outbox of its events.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_STORE_H
#define TICKETING_STORE_H

#include "context.h"
#include "events.h"
#include "record.h"
#include "trace.h"

/*
 * The one way to write.  A record is one document: {_id, rev, version, …its
 * fields, outbox:[{id, channel, body}]}.  Every write is conditional on rev,
 * which every write raises (compare-and-set); where the kind says that the new
 * state is published, the same write raises version and puts the event into
 * the outbox.  So there is no change without its event, no event without its
 * change, and a version counts the events.  outbox.h sends them.
 *
 * Every call fails with fail_database() (503) when the database does not
 * answer in time.  A write that failed so may have happened: calling again is
 * safe, as it starts from what is there.
 */

/* First member, named head, of every struct that is stored. */
struct head {
	char id[ID_SIZE];
	int64_t version; /* of the last published change; 0: none yet */
	int64_t rev;	 /* 0: not stored yet */
	int64_t unsent;	 /* events in the outbox */
	char trace[TRACE_CONTEXT_SIZE]; /* of a traced kind's: where it was
					   added, see trace_context() */
};

#define STORE_HEAD(strukt)                                               \
	FIELD(strukt, head.id, "id", FIELD_ID, .flags = FIELD_REQUIRED), \
		FIELD(strukt, head.version, "version", FIELD_INT,        \
		      .flags = FIELD_ZERO)

/* More unsent events than this and a record takes no change (503). */
#define STORE_MAX_UNSENT 32

struct index {
	const char *keys[3]; /* ascending; "-name" descends; NULL ends them */
	bool unique, sparse;
};

/* What a collection holds.  Its indexes end with one without keys; besides
 * them each has the one that the store's own queries need. */
struct kind {
	const char *collection;
	const struct field *fields;
	size_t size;
	/* Which event tells of this new state; NULL: none ever does. */
	enum event_type (*publishes)(const void *rec);
	const struct index *indexes;
	/* What was heard while a record was being added did not find it: this
	 * looks for that, at these records that are new.  It is called at least
	 * once for each, when it is saved and before its first event counts as
	 * sent; after a failure again.  NULL: nothing matters. */
	const struct fail *(*added)(struct context *cx, const char *const *ids,
				    size_t count);
	/* Its documents are no records, and are read and written by means of
	 * store_collection(): only the indexes are made. */
	bool bare;
	/* A record remembers the trace that it was added in; what changes it
	 * later joins that, and so do the events of it. */
	bool traced;
};

/* Verdicts that are no failures; compare with ==. */
extern const struct fail store_duplicate, store_keep, store_early;
#define STORE_DUPLICATE (&store_duplicate) /* a unique index has it already */
#define STORE_KEEP (&store_keep)	   /* nothing to change */
#define STORE_EARLY (&store_early)	   /* not before another event */

/*
 * Says what becomes of a record: changes *rec and returns NULL to have it
 * saved, or returns STORE_KEEP or a failure.  It may be called several times,
 * each on the state of that moment, and must have no other effect.
 */
typedef const struct fail *(*store_decide)(struct context *cx, void *rec,
					   const void *arg);

struct store;

/* Opens the database that uri names; kinds ends with NULL.  Connects when
 * first used.  NULL, and a sentence in *ret_error, when uri is bad. */
struct store *store_open(const char *uri, const struct kind *const *kinds,
			 int64_t threads, const char **ret_error);
void store_close(struct store *s);

/* Answers the database?  Makes the indexes if that is still to do. */
const struct fail *store_ping(struct context *cx);

/* Fills *rec.  fail_not_found() when there is none, or id is no id. */
const struct fail *store_get(struct context *cx, const struct kind *kind,
			     const char *id, void *rec);

/* Those of these count records that are there, in any order; in the arena. */
const struct fail *store_get_all(struct context *cx, const struct kind *kind,
				 const char *const *ids, size_t count,
				 void **ret_recs, size_t *ret_count);

/*
 * As store_get(), for what an event may be about to bring: looks again for up
 * to ms milliseconds while the record is not there, or enough(), if not NULL,
 * says that it is not yet far enough; returns what is there then.  At most a
 * quarter of the workers wait like this at one time, any other looks once and
 * fails with 503: asking for what never comes can't occupy them all.
 */
const struct fail *store_await(struct context *cx, const struct kind *kind,
			       const char *id, bool (*enough)(const void *rec),
			       int64_t ms, void *rec);

/* The one record that filter (which it takes) finds, likewise. */
const struct fail *store_find_one(struct context *cx, const struct kind *kind,
				  bson_t *filter, void *rec);

/* How many records filter (which it takes) finds: by an index, please. */
const struct fail *store_count(struct context *cx, const struct kind *kind,
			       bson_t *filter, int64_t *ret_count);

/* Up to limit records that filter (which it takes) finds, in the order of
 * sort, keys as in struct index with commas between; NULL: any.  They are in
 * the arena. */
const struct fail *store_find(struct context *cx, const struct kind *kind,
			      bson_t *filter, const char *sort, int64_t limit,
			      void **ret_recs, size_t *ret_count);

/* Appends to list, an array whose next index is number, the condition that the
 * field has text in it: literally, but in any case. */
void store_append_search(struct context *cx, bson_t *list, const char *number,
			 const char *field, const char *text);

/* Inserts *rec, whose id is made when it has none.  STORE_DUPLICATE when a
 * unique index refuses it. */
const struct fail *store_add(struct context *cx, const struct kind *kind,
			     void *rec);

/* Inserts count records, which are not published, in one message.  A failure
 * may leave some of them. */
const struct fail *store_add_all(struct context *cx, const struct kind *kind,
				 void *recs, size_t count);

/* Loads the record, lets decide(cx, rec, arg) change it, saves it; again from
 * the start when another was faster.  *rec is the new state, or the old one
 * where it was kept. */
const struct fail *store_change(struct context *cx, const struct kind *kind,
				const char *id, store_decide decide,
				const void *arg, void *rec);

/* Takes out all that filter (which it takes) finds, of a kind that publishes
 * nothing; a change that is under way then fails with fail_not_found(). */
const struct fail *store_remove(struct context *cx, const struct kind *kind,
				bson_t *filter);

/* Takes out what is from before that time, by a field that the kind has an
 * index of, likewise; but nothing that has unsent events. */
const struct fail *store_prune(struct context *cx, const struct kind *kind,
			       const char *field, int64_t before);

/*
 * As store_change(), for what event does to a record, which decide gets as its
 * arg.  A record that is not there is handed over zeroed, with its id, and
 * added.  Nothing is changed when the event was heard before; STORE_EARLY when
 * one of its line is missing before it.
 */
const struct fail *store_apply(struct context *cx, const struct kind *kind,
			       const char *id, store_decide decide,
			       const struct event *event);

/* Where event stands in its line: NULL it is next, STORE_KEEP it was heard,
 * STORE_EARLY one before it was not. */
const struct fail *store_line(struct context *cx, const struct event *event);

/* Notes that all that event does is saved. */
const struct fail *store_heard(struct context *cx, const struct event *event);

/*
 * For what is no record: a collection of the database, which belongs to the
 * arena, as its client does; and the failure of a call of the driver.
 */
struct _mongoc_collection_t;
const struct fail *store_collection(struct context *cx, const char *name,
				    struct _mongoc_collection_t **ret);
const struct fail *store_failed(struct context *cx, const bson_error_t *error);

/* An unsent event; and a record with those in its outbox, in order. */
struct unsent {
	const char *id, *channel, *body;
	struct message_span span; /* neither is NULL */
};
struct outgoing {
	const char *id;
	const struct unsent *unsent;
	size_t count;
};

/* Those of these count records that have unsent events; of any count records
 * where ids is NULL. */
const struct fail *store_unsent(struct context *cx, const struct kind *kind,
				const char *const *ids, size_t count,
				struct outgoing **ret, size_t *ret_count);

/* Takes these events out of the outboxes of records of one kind. */
const struct fail *store_sent(struct context *cx, const struct kind *kind,
			      const struct outgoing *sent, size_t count);

/* Events in the outboxes of a kind's records, of the first thousand of them,
 * and when the oldest one was saved, ms since 1970. */
struct waiting_events {
	int64_t events, oldest;
};
const struct fail *store_waiting(struct context *cx, const struct kind *kind,
				 struct waiting_events *ret);

#endif
