/* calls.c: see calls.h.
 * SPDX-License-Identifier: MIT */
#include "calls.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcgiapp.h>
#include <hiredis/hiredis.h>
#include <jwt.h>
#include <mongoc/mongoc.h>
#include <nats/nats.h>
#include <pthread.h>
#include <semaphore.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"

#define LONG 500 /* ms that any sleep takes: nobody looks often */

static atomic_long counted, fails_at;
static enum calls_how fails_how;
static _Atomic(const char *) failed;
static atomic_bool everywhere, fatal;
static _Thread_local bool here, ours; /* ours: from the first time on */

static void
begin(long at, enum calls_how how)
{
	counted = 0;
	fails_at = at;
	fails_how = how;
	failed = NULL;
}

void
calls_begin(long at, enum calls_how how)
{
	begin(at, how);
	here = ours = true;
}

void
calls_begin_everywhere(long at, enum calls_how how)
{
	begin(at, how);
	everywhere = true;
}

void
calls_begin_fatal(long at)
{
	calls_begin(at, CALL_REFUSED);
	fatal = true;
}

long
calls_end(void)
{
	here = false;
	everywhere = false;
	fatal = false;
	return counted;
}

const char *
calls_failed(void)
{
	return failed;
}

/* The ways that a call can fail. */
#define CUT (1U << CALL_CUT)
#define LOST (1U << CALL_LOST)
#define REFUSED (1U << CALL_REFUSED)
#define FATAL (REFUSED | 1U << 31)

/* Is this the one?  Those that can't fail so don't. */
static bool
fails(const char *name, unsigned ways)
{
	if ((!here && !everywhere) || fatal != (ways == FATAL))
		return false;
	if (++counted != fails_at || !(ways & 1U << fails_how))
		return false;
	failed = name;
	return true;
}

/* A function's two names: what the linker makes of it, and of calls of it. */
#define WRAPPED(type, name, ...)         \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

/* --- the clock --- */

static atomic_llong pushed, set_back;

void
calls_later(long ms)
{
	pushed += ms;
}

void
calls_clock_right(void)
{
	set_back = pushed;
}

WRAPPED(int64_t, clock_now, void)
{
	return __real_clock_now() + pushed - set_back;
}

WRAPPED(int64_t, clock_monotonic, void)
{
	return __real_clock_monotonic() + pushed;
}

WRAPPED(void, clock_sleep, int64_t ms)
{
	if (ours)
		pushed += ms > LONG ? ms : LONG;
	else
		__real_clock_sleep(ms);
}

/* --- what is made as one --- */

static atomic_bool held;
static atomic_int standing, behind;

void
calls_hold(void)
{
	standing = behind = 0;
	held = true;
}

void
calls_let_go(void)
{
	held = false;
}

int
calls_standing(void)
{
	return standing;
}

int
calls_behind(void)
{
	return behind;
}

static void
stand(void)
{
	if (!held)
		return;
	standing++;
	while (held)
		__real_clock_sleep(1);
}

WRAPPED(int, sem_wait, sem_t *s)
{
	behind++;
	return __real_sem_wait(s);
}

/* --- MongoDB's driver --- */

static bool
no_answer(bson_error_t *error)
{
	if (fails_how == CALL_REFUSED)
		bson_set_error(error, MONGOC_ERROR_SERVER, 11600,
			       "interrupted at shutdown");
	else
		bson_set_error(error, MONGOC_ERROR_STREAM,
			       MONGOC_ERROR_STREAM_SOCKET, "socket error");
	return false;
}

/* args: the call's own, with reply and error among them. */
#define FAIL_COMMAND(name, ways, reply, args)      \
	do {                                       \
		if (!fails(#name, ways))           \
			return __real_##name args; \
		if (fails_how == CALL_LOST)        \
			__real_##name args;        \
		else if ((reply) != NULL)          \
			bson_init(reply);          \
		return no_answer(error);           \
	} while (0)
#define READS (CUT | REFUSED)
#define WRITES (CUT | LOST | REFUSED)

WRAPPED(bool, mongoc_collection_insert_one, mongoc_collection_t *c,
	const bson_t *doc, const bson_t *opts, bson_t *reply,
	bson_error_t *error)
{
	FAIL_COMMAND(mongoc_collection_insert_one, WRITES, reply,
		     (c, doc, opts, reply, error));
}

WRAPPED(bool, mongoc_collection_insert_many, mongoc_collection_t *c,
	const bson_t **docs, size_t n, const bson_t *opts, bson_t *reply,
	bson_error_t *error)
{
	stand();
	FAIL_COMMAND(mongoc_collection_insert_many, WRITES, reply,
		     (c, docs, n, opts, reply, error));
}

WRAPPED(bool, mongoc_collection_update_one, mongoc_collection_t *c,
	const bson_t *selector, const bson_t *update, const bson_t *opts,
	bson_t *reply, bson_error_t *error)
{
	FAIL_COMMAND(mongoc_collection_update_one, WRITES, reply,
		     (c, selector, update, opts, reply, error));
}

WRAPPED(bool, mongoc_collection_delete_one, mongoc_collection_t *c,
	const bson_t *selector, const bson_t *opts, bson_t *reply,
	bson_error_t *error)
{
	FAIL_COMMAND(mongoc_collection_delete_one, WRITES, reply,
		     (c, selector, opts, reply, error));
}

WRAPPED(bool, mongoc_collection_delete_many, mongoc_collection_t *c,
	const bson_t *selector, const bson_t *opts, bson_t *reply,
	bson_error_t *error)
{
	FAIL_COMMAND(mongoc_collection_delete_many, WRITES, reply,
		     (c, selector, opts, reply, error));
}

WRAPPED(uint32_t, mongoc_bulk_operation_execute, mongoc_bulk_operation_t *bulk,
	bson_t *reply, bson_error_t *error)
{
	FAIL_COMMAND(mongoc_bulk_operation_execute, WRITES, reply,
		     (bulk, reply, error));
}

WRAPPED(bool, mongoc_client_write_command_with_opts, mongoc_client_t *client,
	const char *db, const bson_t *command, const bson_t *opts,
	bson_t *reply, bson_error_t *error)
{
	FAIL_COMMAND(mongoc_client_write_command_with_opts, WRITES, reply,
		     (client, db, command, opts, reply, error));
}

WRAPPED(bool, mongoc_collection_read_command_with_opts, mongoc_collection_t *c,
	const bson_t *command, const mongoc_read_prefs_t *prefs,
	const bson_t *opts, bson_t *reply, bson_error_t *error)
{
	FAIL_COMMAND(mongoc_collection_read_command_with_opts, READS, reply,
		     (c, command, prefs, opts, reply, error));
}

WRAPPED(bool, mongoc_client_command_simple, mongoc_client_t *client,
	const char *db, const bson_t *command, const mongoc_read_prefs_t *prefs,
	bson_t *reply, bson_error_t *error)
{
	FAIL_COMMAND(mongoc_client_command_simple, READS, reply,
		     (client, db, command, prefs, reply, error));
}

/* The one whose next document did not come. */
static _Thread_local mongoc_cursor_t *broken;

WRAPPED(bool, mongoc_cursor_next, mongoc_cursor_t *cursor, const bson_t **doc)
{
	stand();
	if (broken == cursor)
		return false;
	if (!fails("mongoc_cursor_next", READS))
		return __real_mongoc_cursor_next(cursor, doc);
	broken = cursor;
	return false;
}

WRAPPED(bool, mongoc_cursor_error, mongoc_cursor_t *cursor, bson_error_t *error)
{
	if (broken != cursor)
		return __real_mongoc_cursor_error(cursor, error);
	return !no_answer(error);
}

WRAPPED(void, mongoc_cursor_destroy, mongoc_cursor_t *cursor)
{
	if (broken == cursor)
		broken = NULL;
	__real_mongoc_cursor_destroy(cursor);
}

WRAPPED(mongoc_client_t *, mongoc_client_pool_pop, mongoc_client_pool_t *pool)
{
	return fails("mongoc_client_pool_pop", REFUSED)
		       ? NULL
		       : __real_mongoc_client_pool_pop(pool);
}

/* --- libcurl --- */

WRAPPED(CURLcode, curl_easy_perform, CURL *curl)
{
	if (!fails("curl_easy_perform", CUT | LOST | REFUSED))
		return __real_curl_easy_perform(curl);
	if (fails_how == CALL_REFUSED)
		return CURLE_COULDNT_CONNECT;
	if (fails_how == CALL_CUT)
		return CURLE_GOT_NOTHING;
	__real_curl_easy_perform(curl);
	return CURLE_OPERATION_TIMEDOUT;
}

WRAPPED(CURLMcode, curl_multi_perform, CURLM *multi, int *running)
{
	return fails("curl_multi_perform", REFUSED)
		       ? CURLM_OUT_OF_MEMORY
		       : __real_curl_multi_perform(multi, running);
}

WRAPPED(CURLMcode, curl_multi_add_handle, CURLM *multi, CURL *curl)
{
	return fails("curl_multi_add_handle", REFUSED)
		       ? CURLM_OUT_OF_MEMORY
		       : __real_curl_multi_add_handle(multi, curl);
}

WRAPPED(CURLMcode, curl_multi_poll, CURLM *multi, struct curl_waitfd *fds,
	unsigned count, int ms, int *ret)
{
	return fails("curl_multi_poll", REFUSED)
		       ? CURLM_OUT_OF_MEMORY
		       : __real_curl_multi_poll(multi, fds, count, ms, ret);
}

/* The message is read, and says that it failed. */
WRAPPED(CURLMsg *, curl_multi_info_read, CURLM *multi, int *left)
{
	CURLMsg *m = __real_curl_multi_info_read(multi, left);

	if (m != NULL && fails("curl_multi_info_read", LOST))
		m->data.result = CURLE_RECV_ERROR;
	return m;
}

/* --- what a process can't do without --- */

WRAPPED(CURL *, curl_easy_init, void)
{
	return fails("curl_easy_init", FATAL) ? NULL : __real_curl_easy_init();
}

WRAPPED(CURLM *, curl_multi_init, void)
{
	return fails("curl_multi_init", FATAL) ? NULL
					       : __real_curl_multi_init();
}

WRAPPED(struct curl_slist *, curl_slist_append, struct curl_slist *list,
	const char *text)
{
	return fails("curl_slist_append", FATAL)
		       ? NULL
		       : __real_curl_slist_append(list, text);
}

WRAPPED(char *, curl_easy_escape, CURL *curl, const char *text, int len)
{
	return fails("curl_easy_escape", FATAL)
		       ? NULL
		       : __real_curl_easy_escape(curl, text, len);
}

WRAPPED(int, pthread_create, pthread_t *t, const pthread_attr_t *attr,
	void *(*run)(void *), void *arg)
{
	return fails("pthread_create", FATAL)
		       ? EAGAIN
		       : __real_pthread_create(t, attr, run, arg);
}

/* --- hiredis --- */

static void *
hung_up(redisContext *c)
{
	c->err = REDIS_ERR_IO;
	snprintf(c->errstr, sizeof(c->errstr), "connection reset");
	return NULL;
}

WRAPPED(void *, redisCommandArgv, redisContext *c, int argc, const char **argv,
	const size_t *lens)
{
	redisReader *reader;
	void *reply = NULL;

	if (!fails("redisCommandArgv", CUT | LOST | REFUSED))
		return __real_redisCommandArgv(c, argc, argv, lens);
	if (fails_how == CALL_REFUSED) {
		reader = redisReaderCreate();
		redisReaderFeed(reader, "-READONLY a replica\r\n", 21);
		redisReaderGetReply(reader, &reply);
		redisReaderFree(reader);
		return reply;
	}
	if (fails_how == CALL_LOST)
		freeReplyObject(__real_redisCommandArgv(c, argc, argv, lens));
	return hung_up(c);
}

WRAPPED(redisContext *, redisConnectWithTimeout, const char *host, int port,
	const struct timeval wait)
{
	redisContext *c;

	if (!fails("redisConnectWithTimeout", CUT | REFUSED))
		return __real_redisConnectWithTimeout(host, port, wait);
	if (fails_how == CALL_REFUSED)
		return NULL;
	c = __real_redisConnectWithTimeout(host, port, wait);
	hung_up(c);
	return c;
}

WRAPPED(int, redisSetTimeout, redisContext *c, const struct timeval wait)
{
	if (!fails("redisSetTimeout", CUT))
		return __real_redisSetTimeout(c, wait);
	hung_up(c);
	return REDIS_ERR;
}

/* --- libfcgi --- */

WRAPPED(int, FCGX_GetStr, char *bytes, int n, FCGX_Stream *stream)
{
	return __real_FCGX_GetStr(
		bytes, n > 0 && fails("FCGX_GetStr", CUT) ? n / 2 : n, stream);
}

WRAPPED(int, FCGX_GetChar, FCGX_Stream *stream)
{
	/* Behind the body there is nothing to be cut off. */
	bool more = stream->rdNext != stream->stop;

	return more && fails("FCGX_GetChar", CUT) ? EOF
						  : __real_FCGX_GetChar(stream);
}

/* As the library does: whatever comes later fails too. */
static int
gone(FCGX_Stream *stream)
{
	stream->FCGI_errno = EPIPE;
	stream->isClosed = 1;
	stream->wrNext = stream->stop = stream->rdNext;
	return EOF;
}

WRAPPED(int, FCGX_PutStr, const char *bytes, int n, FCGX_Stream *stream)
{
	return fails("FCGX_PutStr", CUT) ? gone(stream)
					 : __real_FCGX_PutStr(bytes, n, stream);
}

WRAPPED(int, FCGX_PutS, const char *s, FCGX_Stream *stream)
{
	return fails("FCGX_PutS", CUT) ? gone(stream)
				       : __real_FCGX_PutS(s, stream);
}

/* --- NATS' client --- */

#define FAIL_NATS(name, args) \
	return fails(#name, REFUSED) ? NATS_NO_MEMORY : __real_##name args

WRAPPED(natsStatus, natsOptions_Create, natsOptions **o)
{
	FAIL_NATS(natsOptions_Create, (o));
}

WRAPPED(natsStatus, stanConnOptions_Create, stanConnOptions **o)
{
	FAIL_NATS(stanConnOptions_Create, (o));
}

WRAPPED(natsStatus, stanConnOptions_SetNATSOptions, stanConnOptions *o,
	natsOptions *nats)
{
	FAIL_NATS(stanConnOptions_SetNATSOptions, (o, nats));
}

WRAPPED(natsStatus, stanSubOptions_Create, stanSubOptions **o)
{
	FAIL_NATS(stanSubOptions_Create, (o));
}

WRAPPED(natsStatus, stanSubOptions_SetDurableName, stanSubOptions *o,
	const char *name)
{
	FAIL_NATS(stanSubOptions_SetDurableName, (o, name));
}

WRAPPED(natsStatus, stanConnection_Connect, stanConnection **ret,
	const char *cluster, const char *client, stanConnOptions *o)
{
	natsStatus s;

	if (!fails("stanConnection_Connect", CUT | LOST))
		return __real_stanConnection_Connect(ret, cluster, client, o);
	if (fails_how == CALL_CUT)
		return NATS_NO_SERVER;
	s = __real_stanConnection_Connect(ret, cluster, client, o);
	if (s == NATS_OK) /* the server has us, and we don't know */
		stanConnection_Destroy(*ret);
	*ret = NULL;
	return NATS_TIMEOUT;
}

WRAPPED(natsStatus, stanConnection_Subscribe, stanSubscription **ret,
	stanConnection *conn, const char *channel, stanMsgHandler cb,
	void *closure, stanSubOptions *o)
{
	return fails("stanConnection_Subscribe", CUT)
		       ? NATS_TIMEOUT
		       : __real_stanConnection_Subscribe(ret, conn, channel, cb,
							 closure, o);
}

WRAPPED(natsStatus, stanConnection_QueueSubscribe, stanSubscription **ret,
	stanConnection *conn, const char *channel, const char *group,
	stanMsgHandler cb, void *closure, stanSubOptions *o)
{
	return fails("stanConnection_QueueSubscribe", CUT)
		       ? NATS_TIMEOUT
		       : __real_stanConnection_QueueSubscribe(
				 ret, conn, channel, group, cb, closure, o);
}

/* An acknowledgement that does not come looks like this. */
struct lost_ack {
	stanPubAckHandler tell;
	void *closure;
};

static void
lose_ack(const char *guid, const char *error, void *closure)
{
	struct lost_ack *lost = closure;

	(void)error;
	lost->tell(guid, "publish ack timeout", lost->closure);
	free(lost);
}

WRAPPED(natsStatus, stanConnection_PublishAsync, stanConnection *conn,
	const char *channel, const void *bytes, int len, stanPubAckHandler tell,
	void *closure)
{
	struct lost_ack *lost;

	if (!fails("stanConnection_PublishAsync", CUT | LOST))
		return __real_stanConnection_PublishAsync(conn, channel, bytes,
							  len, tell, closure);
	if (fails_how == CALL_CUT)
		return NATS_CONNECTION_CLOSED;
	lost = malloc(sizeof(*lost));
	*lost = (struct lost_ack){tell, closure};
	return __real_stanConnection_PublishAsync(conn, channel, bytes, len,
						  lose_ack, lost);
}

WRAPPED(natsStatus, stanConnection_GetNATSConnection, stanConnection *conn,
	natsConnection **ret)
{
	FAIL_NATS(stanConnection_GetNATSConnection, (conn, ret));
}

WRAPPED(natsStatus, stanSubscription_AckMsg, stanSubscription *sub,
	stanMsg *msg)
{
	return fails("stanSubscription_AckMsg", CUT)
		       ? NATS_CONNECTION_CLOSED
		       : __real_stanSubscription_AckMsg(sub, msg);
}

/* --- libjwt and libsodium --- */

#define FAIL_JWT(name, args) \
	return fails(#name, REFUSED) ? ENOMEM : __real_##name args

WRAPPED(int, jwt_new, jwt_t **ret)
{
	FAIL_JWT(jwt_new, (ret));
}

WRAPPED(int, jwt_set_alg, jwt_t *jwt, jwt_alg_t alg, const unsigned char *key,
	int len)
{
	FAIL_JWT(jwt_set_alg, (jwt, alg, key, len));
}

WRAPPED(int, jwt_add_header, jwt_t *jwt, const char *name, const char *value)
{
	FAIL_JWT(jwt_add_header, (jwt, name, value));
}

WRAPPED(int, jwt_add_grant, jwt_t *jwt, const char *name, const char *value)
{
	FAIL_JWT(jwt_add_grant, (jwt, name, value));
}

WRAPPED(int, jwt_add_grant_int, jwt_t *jwt, const char *name, long value)
{
	FAIL_JWT(jwt_add_grant_int, (jwt, name, value));
}

WRAPPED(char *, jwt_encode_str, jwt_t *jwt)
{
	return fails("jwt_encode_str", REFUSED) ? NULL
						: __real_jwt_encode_str(jwt);
}

WRAPPED(int, jwt_decode, jwt_t **ret, const char *token,
	const unsigned char *key, int len)
{
	FAIL_JWT(jwt_decode, (ret, token, key, len));
}

/* argon2 asks the system for memory itself, and has a password that it can't
 * check for lack of that be wrong. */
static _Thread_local bool memory_gone;

/* What mmap() is called where files may be large, as configure has it. */
WRAPPED(void *, mmap64, void *at, size_t size, int prot, int flags, int fd,
	off_t offset)
{
	if (!memory_gone)
		return __real_mmap64(at, size, prot, flags, fd, offset);
	memory_gone = false;
	errno = ENOMEM;
	return MAP_FAILED;
}

WRAPPED(int, crypto_pwhash_str_alg, char *out, const char *password,
	unsigned long long len, unsigned long long passes, size_t memory,
	int alg)
{
	if (!fails("crypto_pwhash_str_alg", REFUSED))
		return __real_crypto_pwhash_str_alg(out, password, len, passes,
						    memory, alg);
	errno = ENOMEM;
	return -1;
}

WRAPPED(int, crypto_pwhash_str_verify, const char *hash, const char *password,
	unsigned long long len)
{
	if (!fails("crypto_pwhash_str_verify", REFUSED))
		return __real_crypto_pwhash_str_verify(hash, password, len);
	memory_gone = true;
	return -1;
}
