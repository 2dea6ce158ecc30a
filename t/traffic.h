/* t/traffic.h: files up and down in tests, as browsers and curl do it.
 * SPDX-License-Identifier: MIT */
#ifndef T_TRAFFIC_H
#define T_TRAFFIC_H

#include "harness.h"

/* A file of any size that no one keeps: its byte at an offset follows from the
 * offset and seed. */
void bytes_at(uint64_t seed, int64_t offset, void *bytes, size_t len);

/* SHA-256 of the first size bytes of it, in hex; the calling thread's. */
const char *bytes_hash(uint64_t seed, int64_t size);

/* What to do, and what came of it. */
struct transfer {
	const char *method, *path;  /* or an absolute URL */
	const char *token;	    /* of a session, or NULL */
	const char *const *headers; /* NULL ends them; or NULL */
	uint64_t seed;		    /* the body's, up or down */
	int64_t size;		    /* of the body that is sent; 0: none */
	int64_t break_at;      /* bytes sent, then the client goes; 0: no */
	void (*halfway)(void); /* called when half is sent or received */
	int64_t first;	       /* the offset of what should come */
	long speed;	       /* bytes/s that are received; 0: all */

	int status;		  /* 0: no whole answer */
	int code;		  /* libcurl's */
	int64_t received, length; /* length: Content-Length, or -1 */
	bool same;		  /* every byte was as it should be */
	char body[512];		  /* the start of it */
	char head[4096];
};

/* Does it; what came stands in t. */
void transfer_run(struct transfer *t);

/* Value of a header that came, in a buffer of the calling thread; NULL. */
const char *transfer_header(const struct transfer *t, const char *name);

/* For many at once: a CURL that does it, and its end. */
void *transfer_start(struct transfer *t);
void transfer_end(struct transfer *t, void *curl, int code);

/*
 * What is in the stuff service's database: pieces, files and notes on uploads;
 * and how many pieces the files of all listings have.
 */
struct kept {
	int64_t pieces, files, notes, wanted_pieces, wanted_files;
};
void kept_look(struct kept *ret);

/* Polls until there are no notes, and no files and pieces but the listings';
 * notes what it saw last when there still are after ms. */
bool kept_clean(int64_t ms);

#endif
