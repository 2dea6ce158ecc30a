/* model.h: listings, which stuff owns.
 * SPDX-License-Identifier: MIT */
#ifndef STUFF_MODEL_H
#define STUFF_MODEL_H

#include "files.h"
#include "service.h"

/* A listing's status: available -> reserved -> sold; back to available when
 * the order that holds it is cancelled, or back to available or removed when
 * the one that bought it is refunded; available -> removed for good. */
#define STUFF_AVAILABLE "available"
#define STUFF_RESERVED "reserved"
#define STUFF_SOLD "sold"
#define STUFF_REMOVED "removed"

struct stuff {
	struct head head;
	const char *title, *description;
	int64_t price; /* cents */
	const char *currency;
	char user_id[ID_SIZE];	/* the seller */
	char order_id[ID_SIZE]; /* that holds or bought it, or "" */
	char other_id[ID_SIZE]; /* see stuff_reserve() */
	int64_t held_until;	/* by that order; 0: it is not held */
	int64_t other_until;	/* likewise, by the other one */
	const char *status;
	struct file file;	/* what is sold */
	char file_id[ID_SIZE];	/* where it is */
	const char *picture;	/* the version of its cover's; NULL: none */
	char buyer_id[ID_SIZE]; /* who may have it, while it is sold */
	/* Its seller's state, banned or erased, while it is unsold: nobody but
	 * admins finds it, nobody can buy it.  And what that is known from:
	 * rev of the seller's struct standing. */
	const char *hidden;
	int64_t seller_rev;
	int64_t created_at;
	bool untold; /* not stored: this change is not published */
};

extern const struct kind stuff_kind;
extern const struct field stuff_fields[];
extern const struct field stuff_file_fields[]; /* of a struct file */
extern const struct route stuff_routes[];
extern const struct hears stuff_hears[];

/* What a list is narrowed to; absent values narrow nothing. */
struct stuff_search {
	const char *text;
	int64_t min, max; /* price in cents; max -1: no bound */
	const char *seller, *status;
	bool hidden_too;
	const char *sort; /* one of those below; NULL: the first */
	const struct page *page;
};

/* How a list may be sorted: newest or oldest first, by price up or down. */
#define STUFF_NEW "new"
#define STUFF_OLD "old"
#define STUFF_PRICE "price"
#define STUFF_PRICE_DOWN "-price"

/* Every so many listings, oldest first, the id of one: those between two are
 * one part of a sitemap. */
#define STUFF_MARK 1000
#define STUFF_MARKS_MAX 49000
/* Adds the ids to list; 503 while another request finds them. */
const struct fail *stuff_marks(struct context *cx, json_object *list);

/* Sold and removed listings only when status asks for them. */
const struct fail *stuff_find(struct context *cx,
			      const struct stuff_search *search,
			      struct stuff **ret, size_t *ret_count);

/* An edit: the fields that given has a bit for, in the order of struct
 * stuff_body; seen is the version that the editor saw, or -1. */
struct stuff_body {
	const char *title, *description;
	int64_t price;
};
struct stuff_edit {
	const struct stuff_body *body;
	uint64_t given;
	const struct user *user;
	int64_t seen;
};

/* A new file in the place of the one before, if there was one. */
struct stuff_put {
	struct file file;
	char file_id[ID_SIZE];
	const struct user *user;
};

/* A new picture: its version, and who gives it. */
struct stuff_picture {
	const char *version;
	const struct user *user;
};

/* Could this user give it a (new) file now?  So that nobody sends one in vain:
 * stuff_put_file() asks again. */
const struct fail *stuff_may_put(struct context *cx, const struct stuff *s,
				 const struct user *user);

/* The id of a listing's file, "" for none.  fence: no change that was decided
 * on before this is saved after it. */
const struct fail *stuff_current_file(struct context *cx, const char *id,
				      bool fence, char ret[ID_SIZE]);

/* Brings all unsold listings of the user that the event is on up to date. */
const struct fail *stuff_follow_seller(struct context *cx, void *none,
				       const void *event);

/* store_decide functions; see store_change().  The first takes a struct
 * stuff_edit, the second the struct user who asks, the third a struct
 * stuff_put, the fourth a struct stuff_picture, the others the event. */
const struct fail *stuff_edit(struct context *cx, void *rec, const void *arg);
const struct fail *stuff_remove(struct context *cx, void *rec, const void *arg);
const struct fail *stuff_put_file(struct context *cx, void *rec,
				  const void *arg);
const struct fail *stuff_put_picture(struct context *cx, void *rec,
				     const void *arg);
const struct fail *stuff_reserve(struct context *cx, void *rec,
				 const void *arg);
const struct fail *stuff_release(struct context *cx, void *rec,
				 const void *arg);
const struct fail *stuff_sell(struct context *cx, void *rec, const void *arg);
const struct fail *stuff_take_back(struct context *cx, void *rec,
				   const void *arg);

#endif
