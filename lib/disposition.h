/* disposition.h: a file's name, to and from Content-Disposition (RFC 6266,
 * RFC 8187), and its media type.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_DISPOSITION_H
#define TICKETING_DISPOSITION_H

#include "arena.h"

#define DISPOSITION_NAME_MAX 255 /* bytes, what file systems take */

/*
 * The name that a header gives a file, made safe with disposition_safe();
 * filename* in UTF-8 comes before filename.  NULL header, or one without a
 * name: "file".  NULL when the header is ill-formed.
 */
const char *disposition_read(struct arena *a, const char *header);

/*
 * A name to save a file under, in any script: valid UTF-8, no folders, no
 * control or invisible characters and none that turn the writing direction
 * (a name that looks like "exe.pdf" and is not), no dot in front, at most
 * DISPOSITION_NAME_MAX bytes (its extension is kept).  Never empty.
 */
const char *disposition_safe(struct arena *a, const char *name);

/* "attachment; filename=…" for a safe name: in ASCII, and where that is not
 * all, in UTF-8 too. */
const char *disposition_write(struct arena *a, const char *name);

/* A Content-Type without its parameters, in lower case;
 * "application/octet-stream" for NULL and what is no media type. */
const char *disposition_type(struct arena *a, const char *content_type);

#endif
