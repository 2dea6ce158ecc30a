/* pictures.h: the pictures on the covers of listings.
 * SPDX-License-Identifier: MIT */
#ifndef STUFF_PICTURES_H
#define STUFF_PICTURES_H

#include "service.h"

/*
 * A picture is small, and anyone may see it.  What it is, its first bytes say:
 * nothing but PNG, JPEG and WebP is taken, or told to browsers.
 */
#define PICTURE_MAX 262144 /* bytes */

extern const struct kind picture_kind;

/* The listing's picture becomes len bytes; *ret_version, in the arena, tells it
 * from others.  400 when it is none. */
const struct fail *picture_put(struct context *cx, const char *stuff_id,
			       const char *bytes, size_t len,
			       const char **ret_version);

/* Takes it away, if there is one. */
const struct fail *picture_remove(struct context *cx, const char *stuff_id);

/* Answers with a listing's picture; 404 when it has none. */
const struct fail *picture_send(struct request *rq, const char *stuff_id);

#endif
