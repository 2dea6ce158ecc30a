/* fuzz.h: what libFuzzer's targets have in common.
 * SPDX-License-Identifier: MIT */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

/* What must hold whatever the bytes are; libFuzzer keeps those that break it.
 */
#define MUST(cond) ((cond) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input, taken apart piece by piece. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t
input_byte(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

/* Up to a newline, which is passed over, as a text in the arena; its length
 * without what is behind a NUL byte. */
static inline char *
input_line(struct input *in, struct arena *a)
{
	const uint8_t *end = in->left ? memchr(in->at, '\n', in->left) : NULL;
	size_t len = end ? (size_t)(end - in->at) : in->left;
	char *line = arena_alloc(a, len + 1);

	if (len > 0)
		memcpy(line, in->at, len);
	len += end != NULL;
	in->at += len;
	in->left -= len;
	return line;
}

#endif
