/* fuzz-redis.c: what Redis may answer to a claim and a rebuild.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <hiredis/hiredis.h>

#include "fuzz.h"

static struct input answers;

static void *answer(redisContext *c, int argc, const char **argv,
		    const size_t *lens);
#define redisCommandArgv answer
#define redisFree(link) ((void)(link))
#include "../../fcgi/expiration/timers.c"

int64_t expiration_window = 900;

static void *
answer(redisContext *c, int argc, const char **argv, const size_t *lens)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	size_t digits = 0;

	(void)argc;
	(void)argv;
	(void)lens;
	/* The library takes Redis's word for how long a list is: that is
	 * Redis's to say, and would use up all memory. */
	for (size_t i = 0; i < answers.left && digits < 5; i++)
		digits = isdigit(answers.at[i]) ? digits + 1 : 0;
	redisReaderFeed(reader, (const char *)answers.at, answers.left);
	if (digits >= 5 || redisReaderGetReply(reader, &reply) != REDIS_OK)
		reply = NULL;
	/* As the library does: whatever was not to be read ends it. */
	c->err = reply == NULL ? REDIS_ERR_PROTOCOL : 0;
	answers.at += answers.left;
	answers.left = 0;
	redisReaderFree(reader);
	return reply;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static redisContext link;
	struct context cx = {.arena = arena_new()};
	const char **ids, *name;
	size_t n;

	log_init("fuzz", "error");
	answers = (struct input){data, size};
	redis.host = redis.password = redis.db = "";
	redis.retry_at = 0;
	redis.link = &link;
	if (input_byte(&answers) % 2 == 0) {
		if (timers_claim(&cx, 256, &ids, &n) == NULL)
			for (size_t i = 0; i < n; i++)
				MUST(id_valid(ids[i]));
	} else if (timers_rebuild(&cx, &name) == NULL) {
		MUST(name != NULL && strlen(name) <= size);
	}
	redis.link = NULL;
	arena_free(cx.arena);
	return 0;
}
