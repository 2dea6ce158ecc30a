/* log.c: see log.h.
 * SPDX-License-Identifier: MIT */
#include "log.h"

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

void
log_write(enum log_level level, const char *msg,
	  const struct log_member *members, int count)
{
	struct json_out line = {NULL};
	ssize_t written;

	if (level < least)
		return;
	line.arena = arena_new();
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
	written = write(STDERR_FILENO, line.bytes, line.len);
	(void)written; /* a log that can't be written has nowhere to say so */
	arena_free(line.arena);
}
