/* test-arena.c: lib/arena.h.
 * SPDX-License-Identifier: MIT */
#include "arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Around the edges of a word, of the alignment and of a block. */
static const size_t sizes[] = {0,    1,	    2,	   7,	 8,	  9,	15,
			       16,   17,    100,   1000, 4095,	  8191, 8192,
			       8193, 16384, 65536, 1,	 1000000, 3};

static bool
is_all(const unsigned char *p, size_t size, unsigned char byte)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != byte)
			return false;
	return true;
}

static void
test_alloc(void)
{
	struct arena *a = arena_new();
	unsigned char *made[COUNT(sizes)];

	/* The second round meets what the first has written. */
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < COUNT(sizes); i++) {
			made[i] = arena_alloc(a, sizes[i]);
			CU_ASSERT_PTR_NOT_NULL_FATAL(made[i]);
			TAP_INT((uintptr_t)made[i] % alignof(max_align_t), 0);
			CU_ASSERT_TRUE(is_all(made[i], sizes[i], 0));
			memset(made[i], (int)(i + 1), sizes[i]);
		}
		/* None overlaps another. */
		for (size_t i = 0; i < COUNT(sizes); i++)
			CU_ASSERT_TRUE(is_all(made[i], sizes[i],
					      (unsigned char)(i + 1)));
		arena_reset(a);
	}
	arena_free(a);
}

static void
test_many_small(void)
{
	struct arena *a = arena_new();
	int64_t *last = NULL;
	bool kept = true;

	for (int64_t i = 0; i < 100000; i++) {
		int64_t *n = arena_alloc(a, sizeof(*n));

		kept = kept && *n == 0 && (last == NULL || *last == i - 1);
		*n = i;
		last = n;
	}
	CU_ASSERT_TRUE(kept);
	arena_free(a);
}

static char order[16];

static void
note(void *p)
{
	strcat(order, p);
}

static struct arena *deferring;

static void
note_and_defer(void *p)
{
	note(p);
	arena_defer(deferring, note, "!");
}

static void
test_defer(void)
{
	struct arena *a = arena_new();

	*order = '\0';
	TAP_STRING(arena_defer(a, note, "a"), "a");
	arena_defer(a, note, "b");
	arena_alloc(a, 20000);
	arena_defer(a, note, "c");
	TAP_STRING(order, "");
	arena_reset(a);
	TAP_STRING(order, "cba");

	/* Each runs once, and a new one can be added. */
	arena_defer(a, note, "d");
	arena_reset(a);
	TAP_STRING(order, "cbad");
	arena_defer(a, note, "e");
	arena_free(a);
	TAP_STRING(order, "cbade");
	arena_free(NULL);
}

static void
test_defer_while_resetting(void)
{
	*order = '\0';
	deferring = arena_new();
	arena_defer(deferring, note, "a");
	arena_defer(deferring, note_and_defer, "b");
	arena_reset(deferring);
	TAP_STRING(order, "b!a");
	arena_free(deferring);
}

static struct arena *reading;
static char *text;

static void
read_text(void *p)
{
	(void)p;
	note(text);
}

/* What is deferred may still use what the arena holds. */
static void
test_defer_sees_memory(void)
{
	*order = '\0';
	reading = arena_new();
	arena_defer(reading, read_text, NULL);
	arena_alloc(reading, 100000);
	text = arena_strdup(reading, "there");
	arena_free(reading);
	TAP_STRING(order, "there");
}

static void
test_text(void)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} cuts[] = {
		{"", 0, ""},
		{"abc", 0, ""},
		{"abc", 2, "ab"},
		{"abc", 3, "abc"},
		{"\xc3\xa9", 2, "\xc3\xa9"},
	};
	struct arena *a = arena_new();
	char big[20000];

	for (size_t i = 0; i < COUNT(cuts); i++)
		TAP_STRING(arena_strndup(a, cuts[i].in, cuts[i].len),
			   cuts[i].out);
	TAP_STRING(arena_strdup(a, ""), "");
	TAP_STRING(arena_strdup(a, "hello"), "hello");
	TAP_STRING(arena_printf(a, "%s", ""), "");
	TAP_STRING(arena_printf(a, "%d-%s-%c%%", -5, "x", 'y'), "-5-x-y%");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	TAP_INT(strlen(arena_printf(a, "<%s>", big)), sizeof(big) + 1);
	TAP_STRING(arena_strdup(a, big), big);
	arena_free(a);
}

/* Bytes that hold a NUL are copied whole. */
static void
test_bytes(void)
{
	struct arena *a = arena_new();

	CU_ASSERT_EQUAL(memcmp(arena_strndup(a, "a\0b", 3), "a\0b", 4), 0);
	arena_free(a);
}

static void
test_reset_keeps_working(void)
{
	struct arena *a = arena_new();

	for (int i = 0; i < 1000; i++) {
		char *s = arena_printf(a, "%d", i);

		CU_ASSERT_TRUE(s[0] != '\0');
		arena_alloc(a, (size_t)i * 50);
		arena_reset(a);
	}
	arena_reset(a);
	arena_reset(a);
	arena_free(a);
}

/* No allocator gives half of the address space. */
static void
test_out_of_memory(void)
{
	int status = 0, out[2];
	char said[200] = "";
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(pipe(out), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDERR_FILENO);
		arena_alloc(arena_new(), SIZE_MAX - 4);
		_exit(0);
	}
	close(out[1]);
	CU_ASSERT_TRUE(read(out[0], said, sizeof(said) - 1) > 0);
	close(out[0]);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_TRUE(WIFEXITED(status));
	TAP_INT(WEXITSTATUS(status), EX_OSERR);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "out of memory"));
}

#ifdef WITH_ASAN
static void
test_poisoned(void)
{
	struct arena *a = arena_new();
	char *first = arena_alloc(a, 10), *second = arena_alloc(a, 10);
	char *big = arena_alloc(a, 100000);

	CU_ASSERT_FALSE(__asan_address_is_poisoned(first));
	CU_ASSERT_FALSE(__asan_address_is_poisoned(first + 9));
	CU_ASSERT_TRUE(__asan_address_is_poisoned(first + 10));
	CU_ASSERT_TRUE(__asan_address_is_poisoned(second - 1));
	CU_ASSERT_TRUE(__asan_address_is_poisoned(second + 10));
	CU_ASSERT_TRUE(__asan_address_is_poisoned(big + 100000));
	arena_reset(a);
	CU_ASSERT_TRUE(__asan_address_is_poisoned(first));
	CU_ASSERT_TRUE(__asan_address_is_poisoned(second));
	CU_ASSERT_TRUE(__asan_address_is_poisoned(big));
	arena_free(a);
}
#endif

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"memory is zeroed, aligned and apart", test_alloc},
		{"100,000 small ones", test_many_small},
		{"deferred calls run once, newest first", test_defer},
		{"a deferred call defers another", test_defer_while_resetting},
		{"a deferred call reads memory", test_defer_sees_memory},
		{"texts", test_text},
		{"bytes with a NUL", test_bytes},
		{"reset and use again", test_reset_keeps_working},
		{"out of memory is exit 71", test_out_of_memory},
#ifdef WITH_ASAN
		{"what is not allocated is poisoned", test_poisoned},
#endif
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
