/* log.c: see log.h.
 * SPDX-License-Identifier: MIT */
#include "log.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "clock.h"
#include "json.h"
#include "trace.h"

static const char *const levels[] = {
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARN] = "warn",
	[LOG_ERROR] = "error",
};

/* Bytes that wait for a thread that is writing: no more than one write() keeps
 * together where processes share a pipe. */
#define PENDING 4096

static const char *log_service = "-";
static enum log_level least = LOG_INFO;
static _Thread_local const char *request_id;

int
log_init(const char *service, const char *level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i], level) != 0)
			continue;
		log_service = service;
		least = (enum log_level)i;
		return 0;
	}
	return -1;
}

void
log_set_request(const char *id)
{
	request_id = id;
}

/* A byte that is not UTF-8 would make the line none of JSON's. */
static void
put_text(struct json_out *line, const char *name, const char *text)
{
	json_add_name(line, name);
	json_add_text(line, json_clean(line->arena, text));
}

/*
 * Lines that came while a thread is writing: that one writes them next, and
 * theirs go on.  Otherwise they would all wait for a lock of the kernel, and
 * for longer when its holder has lost its processor.
 */
static struct {
	pthread_mutex_t lock; /* guards these */
	pthread_cond_t room;
	char bytes[2][PENDING];
	int filled; /* which of the two is added to */
	size_t len;
	bool writing;
} pending = {.lock = PTHREAD_MUTEX_INITIALIZER,
	     .room = PTHREAD_COND_INITIALIZER};

static void
write_line(const char *line, size_t len)
{
	ssize_t written;

	pthread_mutex_lock(&pending.lock);
	/* A line that is longer than all the room waits for its own turn. */
	while (pending.writing && PENDING - pending.len < len)
		pthread_cond_wait(&pending.room, &pending.lock);
	if (pending.writing) {
		memcpy(pending.bytes[pending.filled] + pending.len, line, len);
		pending.len += len;
		pthread_mutex_unlock(&pending.lock);
		return;
	}
	pending.writing = true;
	for (;;) {
		pthread_mutex_unlock(&pending.lock);
		written = write(STDERR_FILENO, line, len);
		(void)written; /* there is nowhere to say so */
		pthread_mutex_lock(&pending.lock);
		if (pending.len == 0)
			break;
		line = pending.bytes[pending.filled];
		len = pending.len;
		pending.filled = !pending.filled;
		pending.len = 0;
		pthread_cond_broadcast(&pending.room);
	}
	pending.writing = false;
	pthread_cond_broadcast(&pending.room);
	pthread_mutex_unlock(&pending.lock);
}

static pthread_key_t arenas; /* each thread's, for the line that it makes */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
free_arena(void *a)
{
	arena_free(a);
}

static void
make_key(void)
{
	pthread_key_create(&arenas, free_arena);
}

static struct arena *
own_arena(void)
{
	struct arena *a;

	pthread_once(&once, make_key);
	a = pthread_getspecific(arenas);
	if (a == NULL) {
		a = arena_new();
		pthread_setspecific(arenas, a);
	}
	return a;
}

void
log_write(enum log_level level, const char *msg,
	  const struct log_member *members, int count)
{
	struct json_out line = {NULL};

	if (level < least)
		return;
	line.arena = own_arena();
	put_text(&line, "time", clock_format(line.arena, clock_now()));
	put_text(&line, "level", levels[level]);
	put_text(&line, "service", log_service);
	if (request_id != NULL)
		put_text(&line, "request", request_id);
	if (*trace_id() != '\0')
		put_text(&line, "trace", trace_id());
	put_text(&line, "msg", msg);
	for (int i = 0; i < count; i++) {
		if (members[i].text != NULL) {
			put_text(&line, members[i].name, members[i].text);
		} else {
			json_add_name(&line, members[i].name);
			json_add_int(&line, members[i].number);
		}
	}
	json_add(&line, "}\n", 2);
	write_line(line.bytes, line.len);
	arena_reset(line.arena);
}
