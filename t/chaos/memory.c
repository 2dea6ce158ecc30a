/* memory.c: all that clients were told, for the checker.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "chaos.h"
#include "tap.h"

static struct {
	pthread_mutex_t lock;
	FILE *file;
	int count, accusations;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

void
memory_open(const char *path)
{
	memory.file = fopen(path, "w");
	if (memory.file == NULL)
		abort();
}

void
memory_close(void)
{
	fclose(memory.file);
}

void
remember(const char *what, const char *id, int status, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&memory.lock);
	fprintf(memory.file, "%s %s %d ", what, id, status);
	va_start(ap, fmt);
	vfprintf(memory.file, fmt, ap);
	va_end(ap);
	fputc('\n', memory.file);
	memory.count++;
	pthread_mutex_unlock(&memory.lock);
}

void
accuse(const char *fmt, ...)
{
	va_list ap;
	char text[512];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&memory.lock);
	tap_note("told: %s", text);
	memory.accusations++;
	pthread_mutex_unlock(&memory.lock);
}

int
memory_count(void)
{
	return memory.count;
}

int
memory_accusations(void)
{
	return memory.accusations;
}
