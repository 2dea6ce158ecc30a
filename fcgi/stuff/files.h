/* files.h: the bytes of the files for sale, in GridFS.
 * SPDX-License-Identifier: MIT */
#ifndef STUFF_FILES_H
#define STUFF_FILES_H

#include "service.h"

/*
 * GridFS' standard layout, so that any driver reads it: fs.chunks holds a file
 * in pieces of FILES_CHUNK bytes and fs.files says what it is.  They are
 * written and read piece by piece, so memory is constant whatever the size.
 * A file is never changed: an upload makes a new one, under a new id, and a
 * compare-and-set on the listing puts it in the place of the one before.
 *
 * Whatever breaks off in between must leave nothing behind.  So `uploads` has
 * a note on each new file, written before its first piece, and removed when no
 * file of its listing is left but the listing's.  It says how many pieces
 * there may be at most, and when its writer was last alive.  files_sweep is the
 * only one to delete a piece:
 *
 *   writing --> done ---> the listing has it: the one before goes
 *      |
 *      +------> broken -> its pieces go --> swept: once more, for what was
 *                                           under way, after the lease
 *
 * A writer that has been silent for FILE_LEASE_SECONDS is broken.  One that
 * wakes up again later can do no harm: see files_check().
 */
#define FILES_CHUNK 261120 /* bytes */

/* What the world may know of a file; no name: there is none. */
struct file {
	const char *name;
	int64_t size;
	const char *type, *sha256;
};

extern const struct kind files_kind, files_chunks_kind, files_uploads_kind;
extern const struct setting files_settings[];
extern struct task files_sweep;
const char *files_open(void); /* a service's open */

/*
 * Reads the request's body into a new file for a listing.  Sets ret's size and
 * sha256; its name and type are noted.  files_settle() must follow when it
 * succeeds.  411, 413, 429 (many at once), 400 (empty, broken off), 503.
 */
const struct fail *files_receive(struct request *rq, const char *stuff_id,
				 struct file *ret, char ret_id[ID_SIZE]);

/*
 * For the store_decide function that gives the file to its listing: fails when
 * the file was given up.  The sweep gives it up first, then raises the
 * listing's rev, then looks whether the listing has it: so either that sees
 * it, or this sees that it is given up.
 */
const struct fail *files_check(struct context *cx, const char *id);

/* The listing has it, or never will. */
void files_settle(struct context *cx, const char *id, bool given);

/* Answers with the file, or the part of it that the request is for. */
const struct fail *files_send(struct request *rq, const char *id,
			      const struct file *file);

#endif
