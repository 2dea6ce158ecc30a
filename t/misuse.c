/* misuse.c: see misuse.h.
 * SPDX-License-Identifier: MIT */
#include "misuse.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "forge.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_PARAMS 32
#define BODY_MAX 65536 /* what the services take */

struct target target;

/* --- expectations -------------------------------------------------------- */

/* {"errors":[{"message":"…","field":"…"}]} and nothing else: the fields named,
 * in the arena; NULL when it is not so. */
static const char *
fields_of(struct arena *a, json_object *o)
{
	json_object *list = json_member(o, "errors", json_type_array);
	const char *fields = "";

	if (list == NULL || json_object_object_length(o) != 1 ||
	    json_object_array_length(list) == 0)
		return NULL;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *e = json_object_array_get_idx(list, i);
		const char *message = json_text(e, "message");
		const char *field = json_text(e, "field");

		if (message == NULL || *message == '\0' ||
		    json_object_object_length(e) != (field ? 2 : 1))
			return NULL;
		if (field != NULL)
			fields = arena_printf(a, "%s%s%s", fields,
					      *fields ? " " : "", field);
	}
	return fields;
}

void
expect(const struct answer *a, int status, const char *message,
       const char *fields, const char *file, int line)
{
	struct arena *arena = arena_new();
	const char *type = answer_header(a, "Content-Type"), *named;

	tap_int(a->status, status, "status", file, line);
	if (a->status != status)
		tap_note("%.300s", a->error ? a->error : a->body);
	if (a->status >= 400) {
		tap_string(type, "application/json", "Content-Type", file,
			   line);
		tap_string(answer_header(a, "Cache-Control"), "no-store",
			   "Cache-Control", file, line);
		tap_string(answer_header(a, "WWW-Authenticate"),
			   a->status == 401 ? "Bearer" : NULL,
			   "WWW-Authenticate", file, line);
		named = fields_of(arena, a->json);
		if (named == NULL)
			tap_note("not an error's shape: %.300s", a->body);
		tap_int(named != NULL, 1, "shape", file, line);
		if (fields != NULL)
			tap_string(named, fields, "fields", file, line);
	}
	if (message != NULL)
		tap_string(answer_text(a, "errors.0.message"), message,
			   "message", file, line);
	arena_free(arena);
}

const char *
names_of(const struct answer *a)
{
	static _Thread_local char names[1024];

	*names = '\0';
	if (!json_object_is_type(a->json, json_type_object))
		return NULL;
	json_object_object_foreach(a->json, name, value)
	{
		size_t len = strlen(names);

		(void)value;
		snprintf(names + len, sizeof(names) - len, "%s%s",
			 len ? " " : "", name);
	}
	return names;
}

/* --- asking -------------------------------------------------------------- */

static bool
same_name(const char *param, const char *change)
{
	size_t len = strcspn(change, "=");

	return strncmp(param, change, len) == 0 && param[len] == '=';
}

/* The parameters of a good request with changes; in the arena. */
static const char **
make_params(struct arena *a, size_t len, const char *const *changes)
{
	const char **params = arena_alloc(a, MAX_PARAMS * sizeof(*params));
	const char *const *c;
	int n = 0;

	params[n++] = "REQUEST_METHOD=POST";
	params[n++] = arena_printf(a, "SCRIPT_NAME=%s", target.path);
	params[n++] = "QUERY_STRING=";
	params[n++] = "REQUEST_ID=misuse";
	params[n++] = "CONTENT_TYPE=application/json";
	params[n++] = arena_printf(a, "CONTENT_LENGTH=%zu", len);
	if (target.token != NULL)
		params[n++] = arena_printf(a, "HTTP_COOKIE=__Host-session=%s",
					   target.token);
	for (c = changes; c != NULL && *c != NULL; c++) {
		if (**c != '+')
			for (int i = 0; i < n; i++)
				if (same_name(params[i], *c))
					params[i--] = params[--n];
		if (strchr(*c, '=') != NULL && n < MAX_PARAMS - 1)
			params[n++] = *c + (**c == '+');
	}
	params[n] = NULL;
	return params;
}

static const struct answer *
ask_with(const char *const *changes, const void *body, size_t len)
{
	struct arena *a = arena_new();
	const struct answer *answer = fcgi_ask(
		target.service, make_params(a, len, changes), body, len);

	arena_free(a);
	return answer;
}

const struct answer *
ask_target(const char *const *changes)
{
	return ask_with(changes, target.body, strlen(target.body));
}

static const struct answer *
ask_body(const char *body)
{
	return ask_with(NULL, body, strlen(body));
}

static int64_t
count(void)
{
	return target.count ? target.count() : 0;
}

/* --- bodies -------------------------------------------------------------- */

/* The target's body with more members: {more,"a":1}. */
static char *
with_member(struct arena *a, const char *more)
{
	return arena_printf(a, "{%s,%s", more, target.body + 1);
}

void
try_json(void)
{
	static const char *const no_json[] = {
		"",
		" ",
		"{",
		"}",
		"x",
		"null",
		"{\"a\":1",
		"{\"a\":1,}",
		"{'a':1}",
		"{a:1}",
		"{}{}",
		"{}x",
		"/**/{}",
		"{\"a\":NaN}",
		"[1,]",
		"{\"a\":Infinity}",
		"{\"a\":01}",
		"{\"a\":1.}",
		"\xef\xbb\xbf{}",
		"{\"\xff\":1}",
		"email=a&password=b",
		"<a/>",
		"--x\r\n\r\n{}",
	};
	static const char *const no_object[] = {"[]", "[{}]", "\"x\"",
						"12", "true", "-1.5e3"};
	static const char *const bad_members[] = {
		"\"x\":NaN", "\"x\":-Infinity",	   "\"x\":\"\n\"",
		"\"x\":'y'", "\"x\":\"\xc0\x80\"", "\"x\":\"\xed\xa0\x80\"",
	};
	static const char *const unknown[] = {
		"\"x\":1e400",
		"\"$gt\":\"\"",
		"\"$where\":\"1\"",
		"\"x\":{\"$gt\":\"\"}",
		"\"x\":\"a\\u0000b\"",
		"\"x.y\":1",
		"\"\":0",
		"\"x\":\"12abc\",\"x\":2",
		"\"__proto__\":{}",
		"\"_id\":1,\"rev\":7,\"outbox\":[]",
	};
	struct arena *a = arena_new();
	size_t len = strlen(target.body);
	int64_t before = count();
	char *deep = arena_alloc(a, BODY_MAX + 1);

	for (size_t i = 0; i < COUNT(no_json); i++)
		EXPECT_ERROR(ask_body(no_json[i]), 400,
			     "The body is not well-formed JSON");
	for (size_t i = 0; i < COUNT(no_object); i++)
		EXPECT_ERROR(ask_body(no_object[i]), 400,
			     "A JSON object is expected");
	for (size_t i = 0; i < COUNT(bad_members); i++)
		EXPECT_ERROR(ask_body(with_member(a, bad_members[i])), 400,
			     "The body is not well-formed JSON");
	/* Cut off anywhere. */
	for (size_t n = 0; n < len; n++)
		EXPECT_ERROR(ask_with(NULL, target.body, n), 400,
			     "The body is not well-formed JSON");
	EXPECT_ERROR(ask_with(NULL, target.body, len + 1), 400,
		     "The body is not well-formed JSON"); /* with its NUL */
	/* Deep ones, of the biggest size that is read. */
	memset(deep, '[', BODY_MAX);
	EXPECT_ERROR(ask_body(deep), 400, "The body is not well-formed JSON");
	memset(deep + BODY_MAX / 2, ']', BODY_MAX / 2);
	EXPECT_ERROR(ask_body(deep), 400, "The body is not well-formed JSON");
	for (size_t i = 0; i + 5 < BODY_MAX; i += 5)
		memcpy(deep + i, "{\"a\":", 5);
	EXPECT_ERROR(ask_body(deep), 400, "The body is not well-formed JSON");
	TAP_INT(count(), before);

	/* What nobody asked for is passed over. */
	for (size_t i = 0; i < COUNT(unknown); i++)
		EXPECT(ask_body(with_member(a, unknown[i])), target.status);
	arena_free(a);
}

void
try_sizes(void)
{
	static const size_t sizes[] = {BODY_MAX + 1, 100000, 1 << 20,
				       (1 << 20) + 1, 10000000};
	char *big = malloc(10000000 + 1);
	size_t len = strlen(target.body);
	int64_t before = count();

	for (size_t i = 0; i < COUNT(sizes); i++) {
		/* Good JSON, but for its size. */
		memset(big, ' ', sizes[i]);
		memcpy(big, target.body, len);
		EXPECT_ERROR(ask_with(NULL, big, sizes[i]), 413,
			     "Payload too large");
		memset(big, '[', sizes[i]);
		EXPECT_ERROR(ask_with(NULL, big, sizes[i]), 413,
			     "Payload too large");
	}
	TAP_INT(count(), before);
	memset(big, ' ', BODY_MAX);
	memcpy(big, target.body, len);
	EXPECT(ask_with(NULL, big, BODY_MAX), target.status);
	free(big);
}

void
try_content_types(void)
{
	static const char *const bad[] = {
		"CONTENT_TYPE",
		"CONTENT_TYPE=",
		"CONTENT_TYPE=text/plain",
		"CONTENT_TYPE=application/x-www-form-urlencoded",
		"CONTENT_TYPE=multipart/form-data; boundary=x",
		"CONTENT_TYPE=application/jsonp",
		"CONTENT_TYPE=application/json5",
		"CONTENT_TYPE=application/json/x",
		"CONTENT_TYPE=application/json text/plain",
		"CONTENT_TYPE=text/plain; application/json",
		"CONTENT_TYPE=text/plain, application/json",
		"CONTENT_TYPE= application/json",
		"CONTENT_TYPE=json",
		"CONTENT_TYPE=application/",
		"CONTENT_TYPE=*/*",
	};
	static const char *const good[] = {
		"CONTENT_TYPE=application/json",
		"CONTENT_TYPE=application/json;charset=utf-8",
		"CONTENT_TYPE=application/json ; charset=UTF-8",
		"CONTENT_TYPE=Application/JSON",
	};
	int64_t before = count();

	for (size_t i = 0; i < COUNT(bad); i++)
		EXPECT_ERROR(ask_target((const char *[]){bad[i], NULL}), 400,
			     "Content-Type must be application/json");
	TAP_INT(count(), before);
	for (size_t i = 0; i < COUNT(good); i++)
		EXPECT(ask_target((const char *[]){good[i], NULL}),
		       target.status);
}

void
try_content_lengths(void)
{
	static const char *const bad[] = {
		"-1",  "+5",	" 5",  "5 ",  "0x10",	  "1e3",
		"1.0", "12abc", "abc", "5,5", "\xd9\xa5",
	};
	static const char *const huge[] = {
		"10000000",
		"18446744073709551615",
		"18446744073709551616",
		"18446744073709551617",
		"99999999999999999999999999999999",
	};
	struct arena *a = arena_new();
	size_t len = strlen(target.body);
	int64_t before = count();

	for (size_t i = 0; i < COUNT(bad); i++)
		EXPECT_ERROR(
			ask_target((const char *[]){
				arena_printf(a, "CONTENT_LENGTH=%s", bad[i]),
				NULL}),
			400, "Bad Content-Length");
	for (size_t i = 0; i < COUNT(huge); i++)
		EXPECT_ERROR(
			ask_target((const char *[]){
				arena_printf(a, "CONTENT_LENGTH=%s", huge[i]),
				NULL}),
			413, "Payload too large");
	/* Each that is not the truth. */
	for (size_t n = 0; n < len + 20; n++)
		if (n != len)
			EXPECT_ERROR(
				ask_target((const char *[]){
					arena_printf(a, "CONTENT_LENGTH=%zu",
						     n),
					NULL}),
				400,
				"The body is not as long as Content-Length "
				"says");
	EXPECT_ERROR(ask_target((const char *[]){"CONTENT_LENGTH", NULL}), 400,
		     "The body is not as long as Content-Length says");
	EXPECT_ERROR(ask_target((const char *[]){"CONTENT_LENGTH=", NULL}), 400,
		     "The body is not as long as Content-Length says");
	TAP_INT(count(), before);
	EXPECT(ask_target((const char *[]){
		       arena_printf(a, "CONTENT_LENGTH=000%zu", len), NULL}),
	       target.status);
	arena_free(a);
}

/* --- headers ------------------------------------------------------------- */

void
try_headers(void)
{
	/* The harmless one first and last: neither counts. */
	static const char *const twice[][3] = {
		{"+HTTP_COOKIE=a=b", "+HTTP_COOKIE=a=b"},
		{"+HTTP_COOKIE=", "+HTTP_COOKIE=a=b"},
		{"HTTP_AUTHORIZATION=Bearer x", "+HTTP_AUTHORIZATION=Basic y"},
		{"HTTP_ORIGIN=null", "+HTTP_ORIGIN=null"},
		{"HTTP_SEC_FETCH_SITE=none", "+HTTP_SEC_FETCH_SITE=none"},
		{"+CONTENT_TYPE=text/plain"},
		{"+CONTENT_TYPE=application/json"},
		{"+CONTENT_LENGTH=0"},
	};
	struct arena *a = arena_new();
	char *filling = arena_alloc(a, 100001);
	int64_t before = count();

	for (size_t i = 0; i < COUNT(twice); i++)
		EXPECT(ask_target(twice[i]), 400);
	EXPECT_ERROR(ask_target(twice[0]), 400, "A header stands twice");
	memset(filling, 'x', 100000);
	EXPECT_ERROR(ask_target((const char *[]){
			     arena_printf(a, "HTTP_COOKIE=%s", filling), NULL}),
		     400, "A header is too long");
	EXPECT_ERROR(ask_target((const char *[]){
			     arena_printf(a, "HTTP_COOKIE=a=%.9000s; %s",
					  filling, "__Host-session=x"),
			     NULL}),
		     400, "A header is too long");
	EXPECT_ERROR(
		ask_target((const char *[]){
			arena_printf(a, "HTTP_X_ANY=%.8192s", filling), NULL}),
		400, "A header is too long");
	EXPECT_ERROR(
		ask_target((const char *[]){
			arena_printf(a, "QUERY_STRING=%s", filling), NULL}),
		400, "The query is too long");
	TAP_INT(count(), before);
	EXPECT(ask_target((const char *[]){arena_printf(a, "HTTP_X_ANY=%.8000s",
							filling),
					   "HTTP_X_EMPTY=", NULL}),
	       target.status);
	arena_free(a);
}

void
try_origins(void)
{
	struct arena *a = arena_new();
	const char *base = stack("BASE_URL");
	const struct {
		const char *header;
		bool good;
	} rows[] = {
		{arena_printf(a, "HTTP_ORIGIN=%s", base), true},
		{"HTTP_ORIGIN=", true}, /* as if there were none */
		{"HTTP_SEC_FETCH_SITE=same-origin", true},
		{"HTTP_SEC_FETCH_SITE=none", true},
		{"HTTP_ORIGIN=null", false},
		{"HTTP_ORIGIN=https://evil.example", false},
		{arena_printf(a, "HTTP_ORIGIN=%s.evil.example", base), false},
		{arena_printf(a, "HTTP_ORIGIN=%s/", base), false},
		{arena_printf(a, "HTTP_ORIGIN=%s %s", base, base), false},
		{arena_printf(a, "HTTP_ORIGIN=http%s", base + 5), false},
		{arena_printf(a, "HTTP_ORIGIN=%.*s", (int)strlen(base) - 1,
			      base),
		 false},
		{"HTTP_ORIGIN=https://localhost", false},
		{"HTTP_SEC_FETCH_SITE=cross-site", false},
		{"HTTP_SEC_FETCH_SITE=same-site", false},
		{"HTTP_SEC_FETCH_SITE=Same-Origin", false},
		{"HTTP_SEC_FETCH_SITE=rubbish", false},
	};
	int64_t before = count();

	for (size_t i = 0; i < COUNT(rows); i++)
		if (!rows[i].good)
			EXPECT_ERROR(ask_target((const char *[]){rows[i].header,
								 NULL}),
				     403, "Cross-site request refused");
	/* Both have to be right. */
	EXPECT_ERROR(ask_target((const char *[]){
			     rows[0].header, "HTTP_SEC_FETCH_SITE=cross-site",
			     NULL}),
		     403, "Cross-site request refused");
	EXPECT_ERROR(ask_target((const char *[]){
			     "HTTP_SEC_FETCH_SITE=same-origin",
			     "HTTP_ORIGIN=https://evil.example", NULL}),
		     403, "Cross-site request refused");
	TAP_INT(count(), before);
	for (size_t i = 0; i < COUNT(rows); i++)
		if (rows[i].good)
			EXPECT(ask_target(
				       (const char *[]){rows[i].header, NULL}),
			       target.status);
	arena_free(a);
}

/* --- tokens -------------------------------------------------------------- */

void
each_bad_token(void (*use)(const char *token))
{
	static const struct {
		const char *header;
		enum mac mac;
	} headers[] = {
		{"{\"alg\":\"none\"}", EMPTY_MAC},
		{"{\"alg\":\"none\"}", NO_MAC},
		{"{\"alg\":\"None\",\"typ\":\"JWT\"}", EMPTY_MAC},
		{"{\"alg\":\"HS512\",\"typ\":\"JWT\"}", HMAC_512},
		{"{\"alg\":\"HS512\",\"typ\":\"JWT\"}", HMAC_256},
		{"{\"alg\":\"RS256\",\"typ\":\"JWT\"}", HMAC_256},
		{FORGE_HS256, NO_MAC},
		{FORGE_HS256, EMPTY_MAC},
		{FORGE_HS256, HMAC_512},
		{"{\"alg\":\"HS256\",\"kid\":\"other\"}", HMAC_256},
	};
	static const char *const claims[][2] = {
		{"exp", NULL},
		{"exp", "\"exp\":1000000000"},
		{"exp", "\"exp\":\"4102444800\""},
		{"iat", NULL},
		{"iat", "\"iat\":4102444800"},
		{"sub", NULL},
		{"sub", "\"sub\":\"x\""},
		{"sub", "\"sub\":{\"$gt\":\"\"}"},
		{"email", NULL},
		{"role", NULL},
	};
	static const char *const rubbish[] = {
		"x", ".", "..", "a.b.c", "null", "{}", "eyJhbGciOiJub25lIn0..",
	};
	struct arena *a = arena_new();
	const char *key = stack("JWT_KEY"), *good = forge_claims(a, NULL, NULL);
	char *big = arena_alloc(a, 7001);

	for (size_t i = 0; i < COUNT(headers); i++)
		use(forge(a, headers[i].header, good, headers[i].mac, key));
	for (size_t i = 0; i < COUNT(claims); i++)
		use(forge(a, FORGE_HS256,
			  forge_claims(a, claims[i][0], claims[i][1]), HMAC_256,
			  key));
	for (size_t i = 0; i < COUNT(rubbish); i++)
		use(rubbish[i]);
	use(forge(a, FORGE_HS256, good, HMAC_256,
		  "another key, which has 32 bytes or more"));
	use(forge(a, FORGE_HS256, good, HMAC_256, ""));
	memset(big, 'x', 4000);
	use(forge(a, FORGE_HS256,
		  forge_claims(a, "jti",
			       arena_printf(a, "\"jti\":\"%s\"", big)),
		  HMAC_256, key));
	memset(big, 'x', 7000);
	use(big);
	arena_free(a);
}

static void
use_for_target(const char *token)
{
	struct arena *a = arena_new();
	const char *cookie =
		arena_printf(a, "HTTP_COOKIE=__Host-session=%s", token);
	const char *bearer =
		arena_printf(a, "HTTP_AUTHORIZATION=Bearer %s", token);

	EXPECT_ERROR(ask_target((const char *[]){cookie, NULL}), 401,
		     "Not authorized");
	EXPECT_ERROR(ask_target((const char *[]){"HTTP_COOKIE", bearer, NULL}),
		     401, "Not authorized");
	/* One that speaks for itself is not helped by a cookie. */
	EXPECT_ERROR(ask_target((const char *[]){bearer, NULL}), 401,
		     "Not authorized");
	arena_free(a);
}

void
try_tokens(void)
{
	struct arena *a = arena_new();
	const char *const bad[] = {
		"HTTP_COOKIE",
		"HTTP_COOKIE=",
		"HTTP_COOKIE=;;;",
		"HTTP_COOKIE=__Host-session",
		"HTTP_COOKIE=__Host-session=",
		arena_printf(a, "HTTP_COOKIE=session=%s", target.token),
		arena_printf(a, "HTTP_COOKIE=x__Host-session=%s", target.token),
		arena_printf(a, "HTTP_COOKIE=__host-session=%s", target.token),
		arena_printf(a, "HTTP_COOKIE=a=\"; __Host-session=x; b=\"%s",
			     target.token),
		arena_printf(a, "HTTP_COOKIE=__Host-session=%sx", target.token),
		arena_printf(a, "HTTP_COOKIE=__Host-session=\"%s\"",
			     target.token),
	};
	const char *const good[] = {
		arena_printf(a, "HTTP_COOKIE=a=b; __Host-session=%s; c=d",
			     target.token),
		arena_printf(a,
			     "HTTP_COOKIE=__Host-sessions=x;"
			     "__Host-session=%s",
			     target.token),
	};
	int64_t before = count();

	for (size_t i = 0; i < COUNT(bad); i++)
		EXPECT_ERROR(ask_target((const char *[]){bad[i], NULL}), 401,
			     "Not authorized");
	each_bad_token(use_for_target);
	TAP_INT(count(), before);
	for (size_t i = 0; i < COUNT(good); i++)
		EXPECT(ask_target((const char *[]){good[i], NULL}),
		       target.status);
	for (int i = 0; i < 2; i++)
		EXPECT(ask_target((const char *[]){
			       "HTTP_COOKIE",
			       arena_printf(a, "HTTP_AUTHORIZATION=%s %s",
					    i ? "bearer" : "Bearer",
					    target.token),
			       NULL}),
		       target.status);
	/* Another scheme says nothing. */
	EXPECT(ask_target(
		       (const char *[]){"HTTP_AUTHORIZATION=Basic eDp5", NULL}),
	       target.status);
	arena_free(a);
}

/* --- paths and methods --------------------------------------------------- */

void
try_paths(void)
{
	static const char *const elsewhere[] = {
		"/",
		"/api",
		"/api/",
		"/index.html",
		"*",
		"",
		"/metrics/x",
		"/healthz/",
		"/HEALTHZ",
		"/../healthz",
		"/\xff\xfe",
		"/%00",
		"/api/unknown",
		"/api/unknown/0123456789abcdef01234567",
	};
	/* behind the collection's path */
	static const char *const below[] = {
		"/",
		"//",
		"x",
		"/.",
		"/..",
		"/../..",
		"/x",
		"/0",
		"/0123456789abcdef0123456",
		"/0123456789abcdef012345678",
		"/0123456789ABCDEF01234567",
		"/0123456789abcdeg01234567",
		"/0123456789abcdef01234567/",
		"/0123456789abcdef01234567/x",
		"/0123456789abcdef01234567/0123456789abcdef01234567",
		"/%30123456789abcdef01234567",
		"/0123456789abcdef0123456\n",
		"/{\"$gt\":\"\"}",
		"/[object Object]",
		"/null",
		"/:id",
		"?",
		"/' or 1=1",
		"/0123456789abcdef01234567\xff",
	};
	static const char *const methods[] = {
		"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
	struct arena *a = arena_new();
	char *filling = arena_alloc(a, 20001);
	int64_t before = count();

	for (size_t m = 0; m < COUNT(methods); m++) {
		const char *method =
			arena_printf(a, "REQUEST_METHOD=%s", methods[m]);

		for (size_t i = 0; i < COUNT(elsewhere) + COUNT(below); i++) {
			const char *path =
				i < COUNT(elsewhere)
					? elsewhere[i]
					: arena_printf(
						  a, "%s%s", target.collection,
						  below[i - COUNT(elsewhere)]);
			const struct answer *answer = ask_target((
				const char *[]){
				method, arena_printf(a, "SCRIPT_NAME=%s", path),
				NULL});

			TAP_INT(answer->status, 404);
			if (answer->status != 404)
				tap_note("%s %s", methods[m], path);
			else if (m != 1)
				EXPECT_ERROR(answer, 404, "Not Found");
		}
	}
	memset(filling, 'x', 20000);
	filling[0] = '/';
	EXPECT_ERROR(ask_target((const char *[]){
			     arena_printf(a, "SCRIPT_NAME=%s", filling), NULL}),
		     404, "Not Found");
	TAP_INT(count(), before);
	arena_free(a);
}

void
try_methods(void)
{
	static const char *const methods[] = {
		"PATCH",   "OPTIONS",  "TRACE",
		"CONNECT", "PROPFIND", "post",
		"Post",	   "POSTS",    "POS",
		"POST ",   "get",      "head",
		"\xff",	   "X",	       "POST /x HTTP/1.1\r\nX: y",
	};
	struct arena *a = arena_new();
	int64_t before = count();

	for (size_t i = 0; i < COUNT(methods); i++) {
		const struct answer *answer = ask_target((const char *[]){
			arena_printf(a, "REQUEST_METHOD=%s", methods[i]),
			NULL});
		const char *allow;

		EXPECT_ERROR(answer, 405, "Method Not Allowed");
		allow = answer_header(answer, "Allow");
		CU_ASSERT_PTR_NOT_NULL_FATAL(allow);
		CU_ASSERT_PTR_NOT_NULL(strstr(allow, "POST"));
		CU_ASSERT_PTR_NULL(strstr(allow, "PATCH"));
	}
	TAP_INT(count(), before);
	arena_free(a);
}

/* --- smuggling ----------------------------------------------------------- */

#define SMUGGLED "/smuggled"
#define LIVE "{\"status\":\"live\"}"

/* Fills a body with FastCGI records: a request for SMUGGLED, again and again,
 * so that a reader who loses its place in the stream meets one. */
static void
fill_smuggled(char *body, size_t len)
{
	static const char request[] =
		"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00"
		"\x00"
		"\x01\x04\x00\x01\x00\x29\x00\x00"
		"\x0e\x03REQUEST_METHODGET"
		"\x0b\x09SCRIPT_NAME/smuggled"
		"\x01\x04\x00\x01\x00\x00\x00\x00"
		"\x01\x05\x00\x01\x00\x00\x00\x00";
	const size_t size = sizeof(request) - 1;

	memset(body, 0, len);
	for (size_t at = 0; at + size <= len; at += size)
		memcpy(body + at, request, size);
}

/* Is the second request of a connection answered as what it is, or not at all?
 * Never is SMUGGLED. */
static bool
second_is_right(int fd)
{
	static const char *const second[] = {"REQUEST_METHOD=GET",
					     "SCRIPT_NAME=/healthz", NULL};
	const struct answer *a;

	if (fcgi_begin(fd, false, second) != 0 || fcgi_body(fd, NULL, 0) != 0)
		return true;
	a = fcgi_receive(fd);
	if (a->status == 0 || strcmp(a->body, LIVE) == 0)
		return true;
	tap_note("the second answer is %s", a->body);
	return false;
}

bool
can_smuggle(const char *service)
{
	/* A request to be kept, with a body of 16,304 bytes. */
	static const char first[] =
		"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00"
		"\x00"
		"\x01\x04\x00\x01\x00\x28\x00\x00"
		"\x0e\x03REQUEST_METHODGET"
		"\x0b\x08SCRIPT_NAME/healthz"
		"\x01\x04\x00\x01\x00\x00\x00\x00"
		"\x01\x05\x00\x01\x3f\xb0\x00\x00";
	/* libfcgi reads 8192 bytes at once: behind the first so many, requests
	 * begin. */
	char all[8192 + 64 * 128 + 8] = "";
	const size_t size = sizeof(first) - 1;
	int fd = fcgi_connect(service);
	bool can;

	CU_ASSERT_FATAL(fd >= 0);
	memcpy(all, first, size);
	for (size_t at = 8192; at + 128 < sizeof(all); at += 128) {
		fill_smuggled(all + at, 97);
		all[at + 89 + 6] = 31; /* padding */
	}
	memcpy(all + sizeof(all) - 8, "\x01\x05\x00\x01\x00\x00\x00", 8);
	CU_ASSERT(send(fd, all, sizeof(all), MSG_NOSIGNAL) ==
		  (ssize_t)sizeof(all));
	TAP_STRING(fcgi_receive(fd)->body, LIVE);
	can = !second_is_right(fd);
	close(fd);
	return can;
}

/* Sends two requests on one connection, the first one with a body that is
 * refused for the changes. */
static void
smuggle(const char *const *changes, size_t len)
{
	struct arena *a = arena_new();
	char *body = arena_alloc(a, len);
	int fd = fcgi_connect(target.service);

	CU_ASSERT_FATAL(fd >= 0);
	fill_smuggled(body, len);
	if (fcgi_begin(fd, true, make_params(a, len, changes)) == 0)
		fcgi_body(fd, body, len);
	TAP_INT(fcgi_receive(fd)->status >= 200, true);
	if (!second_is_right(fd)) {
		tap_note("%zu bytes, %s", len,
			 *changes ? *changes : "no change");
		CU_FAIL("smuggled");
	}
	close(fd);
	arena_free(a);
}

void
try_smuggling(void)
{
	static const char *const refused[][4] = {
		{NULL}, /* no JSON */
		{"CONTENT_TYPE=text/plain"},
		{"CONTENT_LENGTH=abc"},
		{"CONTENT_LENGTH"},
		{"CONTENT_LENGTH=0"},
		{"CONTENT_LENGTH=1"},
		{"CONTENT_LENGTH=4096"},
		{"CONTENT_LENGTH=99999999999"},
		{"HTTP_COOKIE"},
		{"HTTP_COOKIE=a", "+HTTP_COOKIE=b"},
		{"HTTP_ORIGIN=https://evil.example"},
		{"SCRIPT_NAME=/unknown"},
		{"REQUEST_METHOD=PATCH"},
		{"REQUEST_METHOD=GET", "SCRIPT_NAME=/healthz"},
		{"REQUEST_METHOD=GET", "SCRIPT_NAME=/healthz",
		 "CONTENT_LENGTH=0"},
		{"REQUEST_METHOD=GET", "SCRIPT_NAME=/readyz"},
	};

	/* About the sizes of libfcgi's buffers and our own limits. */
	static const size_t sizes[] = {97,    1000,  8192,   9000,
				       20000, 65536, 100000, 2000000};

	for (size_t i = 0; i < COUNT(refused); i++)
		for (size_t j = 0; j < COUNT(sizes); j++)
			smuggle(refused[i], sizes[j]);
	CU_ASSERT_FALSE(is_logged(target.service, SMUGGLED));
}

/* --- the process --------------------------------------------------------- */

void
try_probes(void)
{
	const struct answer *a =
		fcgi_call(target.service, "GET", "/healthz", NULL, NULL);

	EXPECT(a, 200);
	TAP_STRING(a->body, LIVE);
	a = fcgi_call(target.service, "GET", "/readyz", NULL, NULL);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "status"), "ready");
	TAP_STRING(answer_text(a, "database"), "up");
	TAP_STRING(answer_text(a, "bus"), "up");
}

/* Runs the service's program with this environment alone, its standard input
 * being no socket.  Returns its exit status; what it said in said. */
static int
start_bare(const char *const *environment, char *said, size_t size)
{
	const char *top = getenv("top_builddir");
	char path[4096];
	const char *argv[] = {path, NULL};
	size_t used = 0;
	ssize_t n;
	int out[2], null = open("/dev/null", O_RDONLY);
	pid_t pid;

	snprintf(path, sizeof(path), "%s/fcgi/%s/%s", top ? top : ".",
		 target.service, target.service);
	CU_ASSERT_EQUAL_FATAL(pipe(out), 0);
	fcntl(out[0], F_SETFD, FD_CLOEXEC);
	fcntl(out[1], F_SETFD, FD_CLOEXEC);
	pid = program_start(&(struct program){.argv = argv,
					      .settings = environment,
					      .bare = true,
					      .in = null,
					      .out = out[1],
					      .err = out[1]});
	close(null);
	close(out[1]);
	while (used < size - 1 &&
	       (n = read(out[0], said + used, size - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(out[0]);
	return program_wait(pid);
}

#define GOOD_ENVIRONMENT                                                 \
	"NATS_URL=nats://127.0.0.1:1", "NATS_CLUSTER_ID=x",              \
		"NATS_CLIENT_ID=y", "MONGO_URI=mongodb://127.0.0.1:1/z", \
		"BASE_URL=https://localhost", "STRIPE_KEY=sk_test_x",    \
		"STRIPE_WEBHOOK_SECRET=whsec_x"
#define KEY "12345678901234567890123456789012"
#define LONG_KEY "JWT_KEY=" KEY

void
try_starts(void)
{
	static const struct {
		const char *environment[16];
		const char *says[8];
	} rows[] = {
		{{NULL},
		 {"JWT_KEY is missing", "MONGO_URI is missing",
		  "NATS_URL is missing", "NATS_CLUSTER_ID is missing",
		  "NATS_CLIENT_ID is missing", "BASE_URL is missing"}},
		{{GOOD_ENVIRONMENT}, {"JWT_KEY is missing"}},
		{{GOOD_ENVIRONMENT, "JWT_KEY="}, {"JWT_KEY is missing"}},
		{{GOOD_ENVIRONMENT, "JWT_KEY=secret789012345678901234567890x"},
		 {"JWT_KEY is too short"}},
		{{GOOD_ENVIRONMENT, LONG_KEY, "JWT_KEY_PREVIOUS=secret"},
		 {"JWT_KEY_PREVIOUS is too short"}},
		{{GOOD_ENVIRONMENT, "FCGI_WORKERS=0", "JWT_KEY=secret"},
		 {"JWT_KEY is too short", "FCGI_WORKERS is too small"}},
		{{GOOD_ENVIRONMENT, LONG_KEY, "FCGI_WORKERS=8x"},
		 {"FCGI_WORKERS is not a whole number"}},
		{{GOOD_ENVIRONMENT, LONG_KEY, "LOG_LEVEL=loud"}, {"LOG_LEVEL"}},
		{{"NATS_URL=nats://127.0.0.1:1", "NATS_CLUSTER_ID=x",
		  "NATS_CLIENT_ID=y", "MONGO_URI=secret", LONG_KEY,
		  "STRIPE_KEY=sk_test_x", "STRIPE_WEBHOOK_SECRET=whsec_x",
		  "BASE_URL=https://localhost"},
		 {"MONGO_URI"}},
		{{GOOD_ENVIRONMENT, LONG_KEY}, {"FCGI_SOCKET is missing"}},
	};
	char said[8192];

	for (size_t i = 0; i < COUNT(rows); i++) {
		TAP_INT(start_bare(rows[i].environment, said, sizeof(said)),
			EX_CONFIG);
		for (int j = 0; j < 8 && rows[i].says[j] != NULL; j++) {
			if (strstr(said, rows[i].says[j]) == NULL)
				tap_note("not in: %s", said);
			CU_ASSERT_PTR_NOT_NULL(strstr(said, rows[i].says[j]));
		}
		CU_ASSERT_PTR_NULL(strstr(said, "secret"));
		CU_ASSERT_PTR_NULL(strstr(said, KEY));
	}
}

bool
is_read(void *arg)
{
	int unread = -1;

	return ioctl(*(int *)arg, SIOCOUTQ, &unread) == 0 && unread == 0;
}

static bool
no_more_accepted(void *arg)
{
	int fd = fcgi_connect(arg);

	if (fd < 0)
		return true;
	close(fd);
	return false;
}

bool
has_ended(void *arg)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)*(pid_t *)arg);
	f = fopen(path, "r");
	if (f == NULL)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state == 'Z';
}

/* The process is asked to end in the middle of a request. */
void
try_stop(void)
{
	struct arena *a = arena_new();
	size_t len = strlen(target.body);
	void *name = (void *)(uintptr_t)target.service;
	pid_t pid = stack_pid(target.service);
	int fd = fcgi_connect(target.service);

	CU_ASSERT_FATAL(fd >= 0 && pid > 0);
	CU_ASSERT_EQUAL(fcgi_begin(fd, false, make_params(a, len, NULL)), 0);
	CU_ASSERT_TRUE(eventually(10000, is_read, &fd));
	kill(pid, SIGTERM);
	CU_ASSERT_TRUE(eventually(10000, no_more_accepted, name));
	CU_ASSERT_EQUAL(fcgi_body(fd, target.body, len), 0);
	EXPECT(fcgi_receive(fd), target.status);
	close(fd);
	CU_ASSERT_TRUE(eventually(20000, has_ended, &pid));
	stack_restart(target.service, NULL);
	EXPECT(ask_target(NULL), target.status);
	arena_free(a);
}

bool
is_logged(const char *service, const char *text)
{
	char path[4096], *line = NULL;
	size_t size = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.log", stack("LOG_DIR"), service);
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while (!found && getline(&line, &size, f) > 0)
		found = strstr(line, text) != NULL;
	free(line);
	fclose(f);
	return found;
}

void
try_log(void)
{
	CU_ASSERT_TRUE(is_logged(target.service, "\"path\":"));
	CU_ASSERT_FALSE(is_logged(target.service, stack("JWT_KEY")));
	CU_ASSERT_FALSE(is_logged(target.service, "__Host-session"));
	CU_ASSERT_FALSE(is_logged(target.service, "Bearer"));
	if (target.token != NULL)
		CU_ASSERT_FALSE(is_logged(target.service, target.token));
}

int64_t
channel_length(const char *channel)
{
	char url[512];
	const struct answer *a;

	snprintf(url, sizeof(url), "%s/streaming/channelsz?channel=%s",
		 stack("NATS_MONITOR_URL"), channel);
	a = http_plain("GET", url, NULL);
	/* A channel comes to be with its first event. */
	return a->status == 200 ? answer_int(a, "last_seq") : 0;
}
