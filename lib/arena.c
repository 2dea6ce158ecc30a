/* arena.c: see arena.h.
 * SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define REDZONE 16 /* unaddressable bytes between allocations */
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#define REDZONE 0
#endif

#define BLOCK_SIZE 8192
#define ALIGN alignof(max_align_t)

struct block {
	struct block *next;
	size_t size, used;
	alignas(max_align_t) unsigned char bytes[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *);
	void *p;
};

struct arena {
	struct block *blocks; /* newest first; the last one is kept */
	struct deferred *deferred;
};

/* GCOVR_EXCL_START: the process ends, and its counters with it: test-memory */
_Noreturn static void
out_of_memory(void)
{
	static const char msg[] = "{\"level\":\"error\",\"msg\":\"out of "
				  "memory\"}\n";
	ssize_t n = write(STDERR_FILENO, msg, sizeof(msg) - 1);

	(void)n;
	_exit(EX_OSERR);
}
/* GCOVR_EXCL_STOP */

static struct block *
block_new(size_t size, struct block *next)
{
	struct block *b = NULL;

	if (size <= SIZE_MAX - sizeof(*b))
		b = malloc(sizeof(*b) + size);
	if (b == NULL)
		out_of_memory();
	/* cppcheck-suppress nullPointerRedundantCheck */
	*b = (struct block){.next = next, .size = size};
	POISON(b->bytes, size);
	return b;
}

struct arena *
arena_new(void)
{
	struct arena *a = malloc(sizeof(*a));

	if (a == NULL)
		out_of_memory();
	/* cppcheck-suppress nullPointerRedundantCheck */
	*a = (struct arena){.blocks = block_new(BLOCK_SIZE, NULL)};
	return a;
}

/* Memory that holds what was there before. */
static void *
take(struct arena *a, size_t size)
{
	struct block *b = a->blocks;
	void *p;
	size_t need;

	if (size > SIZE_MAX / 2)
		out_of_memory();
	need = (size + REDZONE + ALIGN - 1) / ALIGN * ALIGN;
	if (b->size - b->used < need) {
		b = block_new(need > BLOCK_SIZE ? need : BLOCK_SIZE, b);
		a->blocks = b;
	}
	p = b->bytes + b->used;
	b->used += need;
	UNPOISON(p, size);
	return p;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	return memset(take(a, size), 0, size);
}

void *
arena_defer(struct arena *a, void (*fn)(void *), void *p)
{
	struct deferred *d = arena_alloc(a, sizeof(*d));

	*d = (struct deferred){.next = a->deferred, .fn = fn, .p = p};
	a->deferred = d;
	return p;
}

void
arena_reset(struct arena *a)
{
	struct block *b;

	/* A deferred call may defer more. */
	while (a->deferred != NULL) {
		struct deferred *d = a->deferred;

		a->deferred = d->next;
		d->fn(d->p);
	}
	while ((b = a->blocks)->next != NULL) {
		a->blocks = b->next;
		UNPOISON(b->bytes, b->size);
		free(b);
	}
	b->used = 0;
	POISON(b->bytes, b->size);
}

void
arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	arena_reset(a);
	UNPOISON(a->blocks->bytes, a->blocks->size);
	free(a->blocks);
	free(a);
}

char *
arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *copy = take(a, len + 1);

	copy[len] = '\0';
	return memcpy(copy, s, len);
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *
arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	char small[256], *s; /* which most of them are */
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(small, sizeof(small), fmt, again);
	va_end(again);
	/* GCOVR_EXCL_START: as it says */
	if (len < 0) /* only a bad multibyte conversion; we use none */
		return arena_strdup(a, "");
	/* GCOVR_EXCL_STOP */
	if ((size_t)len < sizeof(small))
		return arena_strndup(a, small, (size_t)len);
	s = arena_alloc(a, (size_t)len + 1);
	vsnprintf(s, (size_t)len + 1, fmt, ap);
	return s;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}
