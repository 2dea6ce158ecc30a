/* timers.c: see timers.h.
 * SPDX-License-Identifier: MIT */
#include "timers.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"

#define CONNECT_WAIT 1	 /* s */
#define ANSWER_WAIT 2	 /* s */
#define REFUSED_WAIT 250 /* ms after a failure, in which none asks Redis */
#define LEASE "10000"	 /* ms; a publish is answered within some 3 s */

/* s.  How long an order:created may come behind the end of its order: far
 * longer than any queue's lag.  One that comes still later costs an event that
 * orders passes over. */
#define TOMBSTONE_LIFE "86400"

/* One hash tag, so that a cluster has all in one place. */
#define DUE "{expiration}:due"	       /* order id -> when, ms since 1970 */
#define CLAIMED "{expiration}:claimed" /* order id -> when its lease ends */
#define ENDED "{expiration}:ended:%s"  /* tombstone of an order */
#define EPOCH "{expiration}:epoch"     /* see timers_rebuild() */

/*
 * Scripts.  EVAL sends them in full: they are short, Redis keeps them compiled
 * all the same, and none can be missing after a restart.  By their first line
 * each is refused as a whole, before it did anything, by a Redis that can't
 * write: a replica, or one out of memory.
 */
static const char ping_script[] = "#!lua\n"
				  "return 1\n";

static const char add_script[] =
	"#!lua\n"
	"if redis.call('EXISTS', KEYS[2]) == 0 then\n"
	"	redis.call('ZADD', KEYS[1], 'LT', ARGV[2], ARGV[1])\n"
	"end\n";

static const char end_script[] =
	"#!lua\n"
	"redis.call('SET', KEYS[3], '', 'EX', ARGV[2])\n"
	"redis.call('ZREM', KEYS[1], ARGV[1])\n"
	"redis.call('ZREM', KEYS[2], ARGV[1])\n";

/* Overdue claims come first; a lease of 0 gives none. */
static const char claim_script[] =
	"#!lua\n"
	"local t = redis.call('TIME')\n"
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
	"local function lapsed(key, limit)\n"
	"	return redis.call('ZRANGEBYSCORE', key, '-inf', now,\n"
	"		'LIMIT', 0, limit)\n"
	"end\n"
	"local ids = lapsed(KEYS[2], ARGV[1])\n"
	"for _, id in ipairs(lapsed(KEYS[1], ARGV[1] - #ids)) do\n"
	"	table.insert(ids, id)\n"
	"end\n"
	"for _, id in ipairs(ids) do\n"
	"	if ARGV[2] ~= '0' then\n"
	"		redis.call('ZADD', KEYS[2], now + ARGV[2], id)\n"
	"	end\n"
	"	redis.call('ZREM', KEYS[1], id)\n"
	"end\n"
	"return ids\n";

/*
 * The epoch is "ready RUN", or "rebuilding RUN WHEN" until that is done, where
 * RUN names the process that Redis is.  WHEN makes a rebuild's name its own:
 * what was written before Redis was emptied once more counts for nothing.
 */
static const char rebuild_script[] =
	"#!lua\n"
	"local info = redis.call('INFO', 'server')\n"
	"local run = string.match(info, 'run_id:(%w+)') or '-'\n"
	"local epoch = redis.call('GET', KEYS[1]) or ''\n"
	"local ours = 'rebuilding ' .. run .. ' '\n"
	"if epoch == 'ready ' .. run then\n"
	"	return ''\n"
	"elseif string.sub(epoch, 1, #ours) ~= ours then\n"
	"	local t = redis.call('TIME')\n"
	"	epoch = ours .. t[1] .. '.' .. t[2]\n"
	"	redis.call('SET', KEYS[1], epoch)\n"
	"end\n"
	"return epoch\n";

static const char rebuilt_script[] =
	"#!lua\n"
	"local run = string.match(ARGV[1], '^rebuilding (%S+) ')\n"
	"if redis.call('GET', KEYS[1]) == ARGV[1] then\n"
	"	redis.call('SET', KEYS[1], 'ready ' .. run)\n"
	"end\n";

static struct {
	struct arena *arena; /* of these texts, "" where there is none */
	const char *host, *password, *db;
	int port;

	pthread_mutex_t lock; /* guards what follows */
	redisContext *link;   /* NULL while there is none */
	int64_t retry_at;     /* not asked before, on the monotonic clock */
	enum { UNKNOWN, UP, DOWN } state; /* logged when it changes */
} redis = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Takes the escapes of RFC 3986 2.1 off, in place. */
static bool
unescape(char *s)
{
	char *to = s, hex[3] = "", *end;

	for (; *s != '\0'; s++, to++) {
		*to = *s;
		if (*s != '%')
			continue;
		memcpy(hex, s + 1, s[1] ? 2 : 1);
		*to = (char)strtol(hex, &end, 16);
		if (end != hex + 2 || *to == '\0')
			return false;
		s += 2;
	}
	*to = '\0';
	return true;
}

/* Cuts the text at the first c; returns what is behind it, or "". */
static char *
cut(char *s, char c)
{
	char *at = strchr(s, c);

	if (at == NULL)
		return s + strlen(s);
	*at = '\0';
	return at + 1;
}

static bool
parse(char *url)
{
	char *host = url + strlen("redis://"), *password, *port, *db;

	if (strncmp(url, "redis://", strlen("redis://")) != 0)
		return false;
	password = strchr(host, '@') ? host : host + strlen(host);
	if (*password == ':')
		host = cut(password++, '@');
	db = cut(host, '/');
	port = cut(host, ':');
	redis.host = host;
	redis.port = *port ? (int)strtol(port, NULL, 10) : 6379;
	redis.password = password;
	redis.db = db;
	return *host != '\0' && strchr(host, '@') == NULL &&
	       unescape(password) && strlen(port) <= 5 &&
	       strspn(port, "0123456789") == strlen(port) && redis.port > 0 &&
	       redis.port < 65536 && strspn(db, "0123456789") == strlen(db);
}

const char *
timers_open(const char *url)
{
	redis.arena = arena_new();
	if (!parse(arena_strdup(redis.arena, url)))
		return "REDIS_URL is not like redis://[:password@]host"
		       "[:port][/db]";
	return NULL;
}

static void
hang_up(void)
{
	if (redis.link != NULL)
		redisFree(redis.link);
	redis.link = NULL;
}

void
timers_close(void)
{
	hang_up();
	arena_free(redis.arena);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Sends one command.  NULL, and the cause in *ret_cause, when it got no answer
 * or an error for one.  The lock is held. */
static redisReply *
ask(struct context *cx, const char **args, size_t n, const char **ret_cause)
{
	redisReply *r = redisCommandArgv(redis.link, (int)n, args, NULL);

	if (r == NULL) {
		*ret_cause = arena_strdup(cx->arena, redis.link->errstr);
		return NULL;
	}
	arena_defer(cx->arena, freeReplyObject, r);
	if (r->type != REDIS_REPLY_ERROR)
		return r;
	*ret_cause = r->str;
	return NULL;
}

/* Connects if need be.  redisReconnect() would forget half of this. */
static bool
connect_redis(struct context *cx, const char **ret_cause)
{
	const struct timeval connect_wait = {.tv_sec = CONNECT_WAIT};
	const struct timeval answer_wait = {.tv_sec = ANSWER_WAIT};
	const char *auth[] = {"AUTH", redis.password};
	const char *select[] = {"SELECT", redis.db};

	if (redis.link != NULL)
		return true;
	*ret_cause = "no memory for a connection";
	redis.link =
		redisConnectWithTimeout(redis.host, redis.port, connect_wait);
	if (redis.link == NULL)
		return false;
	*ret_cause = arena_strdup(cx->arena, redis.link->errstr);
	if (redis.link->err != 0 ||
	    redisSetTimeout(redis.link, answer_wait) != REDIS_OK)
		return false;
	if (*redis.password != '\0' && ask(cx, auth, 2, ret_cause) == NULL)
		return false;
	return *redis.db == '\0' || ask(cx, select, 2, ret_cause) != NULL;
}

static void
note(bool up, const char *cause)
{
	if (up && redis.state != UP)
		LOG(LOG_INFO, "redis is up", LOG_TEXT("host", redis.host));
	if (!up && redis.state != DOWN)
		LOG(LOG_WARN, "redis is down", LOG_TEXT("host", redis.host),
		    LOG_TEXT("cause", cause));
	redis.state = up ? UP : DOWN;
}

/*
 * One connection is enough: each command takes far less than its way.  Any
 * failure ends it, errors too: "READONLY" and "LOADING" are said by a server
 * that is not, or not yet, the one to ask.
 */
static const struct fail *
call(struct context *cx, const char **args, size_t n, redisReply **ret)
{
	const char *cause = "it was down a moment ago";
	redisReply *r = NULL;

	pthread_mutex_lock(&redis.lock);
	if (clock_monotonic() >= redis.retry_at) {
		if (connect_redis(cx, &cause))
			r = ask(cx, args, n, &cause);
		if (r == NULL) {
			hang_up();
			redis.retry_at = clock_monotonic() + REFUSED_WAIT;
		}
		note(r != NULL, cause);
	}
	pthread_mutex_unlock(&redis.lock);
	if (r == NULL)
		return fail_unavailable(cx->arena, "Redis does not answer",
					cause);
	if (ret != NULL)
		*ret = r;
	return NULL;
}

static const struct fail *
odd_answer(struct context *cx)
{
	return fail_unavailable(cx->arena, "Redis does not answer",
				"its answer makes no sense");
}

const struct fail *
timers_ping(struct context *cx)
{
	const char *args[] = {"EVAL", ping_script, "0"};

	return call(cx, args, COUNT(args), NULL);
}

const struct fail *
timers_add(struct context *cx, const char *order_id, int64_t due)
{
	const char *args[] = {
		"EVAL",
		add_script,
		"2",
		DUE,
		arena_printf(cx->arena, ENDED, order_id),
		order_id,
		arena_printf(cx->arena, "%lld", (long long)due),
	};

	return call(cx, args, COUNT(args), NULL);
}

const struct fail *
timers_end(struct context *cx, const char *order_id)
{
	const char *args[] = {
		"EVAL",	  end_script,
		"3",	  DUE,
		CLAIMED,  arena_printf(cx->arena, ENDED, order_id),
		order_id, TOMBSTONE_LIFE,
	};

	return call(cx, args, COUNT(args), NULL);
}

const struct fail *
timers_claim(struct context *cx, size_t limit, const char ***ret_ids,
	     size_t *ret_count)
{
	const char *args[] = {
		"EVAL",
		claim_script,
		"2",
		DUE,
		CLAIMED,
		arena_printf(cx->arena, "%zu", limit),
		GUARD_OFF("lease") ? "0" : LEASE,
	};
	redisReply *r = NULL;

	TRY(call(cx, args, COUNT(args), &r));
	if (r == NULL || r->type != REDIS_REPLY_ARRAY)
		return odd_answer(cx);
	*ret_ids = arena_alloc(cx->arena, (r->elements + 1) * sizeof(char *));
	*ret_count = 0;
	/* What others put there must not keep orders from expiring. */
	for (size_t i = 0; i < r->elements; i++)
		if (r->element[i]->type == REDIS_REPLY_STRING &&
		    id_valid(r->element[i]->str))
			(*ret_ids)[(*ret_count)++] = r->element[i]->str;
	return NULL;
}

const struct fail *
timers_done(struct context *cx, const char *const *ids, size_t count)
{
	const char **args = arena_alloc(cx->arena, (count + 2) * sizeof(*args));

	args[0] = "ZREM";
	args[1] = CLAIMED;
	memcpy(args + 2, ids, count * sizeof(*args));
	return call(cx, args, count + 2, NULL);
}

const struct fail *
timers_rebuild(struct context *cx, const char **ret_name)
{
	const char *args[] = {"EVAL", rebuild_script, "1", EPOCH};
	redisReply *r = NULL;

	TRY(call(cx, args, COUNT(args), &r));
	if (r == NULL || r->type != REDIS_REPLY_STRING)
		return odd_answer(cx);
	*ret_name = r->str;
	return NULL;
}

const struct fail *
timers_rebuilt(struct context *cx, const char *name)
{
	const char *args[] = {"EVAL", rebuilt_script, "1", EPOCH, name};

	return call(cx, args, COUNT(args), NULL);
}
