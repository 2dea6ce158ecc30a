/* memory.c: malloc() as all of this process gets it, the libraries included.
 *
 * Several of them are not right without memory: json-c reads through NULL, or
 * leaves a member out of what it writes; libbson aborts; libfcgi reads through
 * NULL.  Half an event would be worse than none.  So a process that is out of
 * memory ends with 71 (EX_OSERR), whoever asked for it: what it had saved, it
 * goes on with when its supervisor starts it again.
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* Sanitizers have a malloc() of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static void *
need(void *p)
{
	static const char msg[] = "{\"level\":\"error\",\"msg\":\"out of "
				  "memory\"}\n";
	ssize_t n;

	if (p == NULL) {
		/* GCOVR_EXCL_START: the process ends: test-memory */
		n = write(STDERR_FILENO, msg, sizeof(msg) - 1);
		(void)n;
		_exit(EX_OSERR);
		/* GCOVR_EXCL_STOP */
	}
	return p;
}

void *
malloc(size_t size)
{
	return need(__libc_malloc(size));
}

void *
calloc(size_t n, size_t size)
{
	return need(__libc_calloc(n, size));
}

/* NULL is also what is left of p when size is 0. */
void *
realloc(void *p, size_t size)
{
	void *q = __libc_realloc(p, size);

	return size == 0 ? q : need(q);
}
#endif
