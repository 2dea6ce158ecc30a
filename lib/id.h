/* id.h: identifiers and random codes.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_ID_H
#define TICKETING_ID_H

#include <stdbool.h>
#include <stddef.h>

#define ID_SIZE 25 /* 24 hex digits and NUL */

/* A new id, a MongoDB ObjectId: ids grow with the second they were made in. */
void id_new(char id[ID_SIZE]);

/* Is s 24 hex digits, lower case? */
bool id_valid(const char *s);

/* Writes bytes random bytes as 2 * bytes hex digits and NUL. */
void id_random(char *hex, size_t bytes);

/* SHA-256 of len bytes as 64 hex digits and NUL. */
#define ID_HASH_SIZE 65
void id_hash(char hex[ID_HASH_SIZE], const void *data, size_t len);

#endif
