/* test-token.c: lib/token.h.
 * SPDX-License-Identifier: MIT */
#include "token.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "forge.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KEY "the current key: 32 bytes or more."
#define OLD_KEY "the previous key: 32 bytes or more"
#define ID1 FORGE_ID

static const char *
kid_of(struct arena *a, const char *key)
{
	char hash[ID_HASH_SIZE];

	id_hash(hash, key, strlen(key));
	id_hash(hash, hash, strlen(hash));
	return arena_strndup(a, hash, 8);
}

static const struct user alice = {
	.id = ID1, .email = "alice@example.com", .role = "admin"};

static void
test_round_trip(void)
{
	struct arena *a = arena_new();
	const char *one = token_make(a, &alice), *other = token_make(a, &alice);
	int64_t now = clock_now() / 1000;
	struct user user = {.email = NULL};

	CU_ASSERT_PTR_NOT_NULL_FATAL(one);
	CU_ASSERT_STRING_NOT_EQUAL(one, other); /* each has a jti */
	CU_ASSERT_TRUE(token_read(a, one, &user));
	TAP_STRING(user.id, ID1);
	TAP_STRING(user.email, "alice@example.com");
	TAP_STRING(user.role, "admin");
	CU_ASSERT_TRUE(user.issued <= now && user.issued > now - 60);
	CU_ASSERT_TRUE(strlen(one) < 1024);
	arena_free(a);
}

/* What a token says is what product rules ask for, no more. */
static void
test_claims(void)
{
	struct arena *a = arena_new();
	const char *token = token_make(a, &alice);
	const char *body = strchr(token, '.') + 1;
	char text[1024];
	size_t len = 0;

	TAP_INT(sodium_base642bin((unsigned char *)text, sizeof(text), body,
				  strcspn(body, "."), NULL, &len, NULL,
				  sodium_base64_VARIANT_URLSAFE_NO_PADDING),
		0);
	text[len] = '\0';
	for (size_t i = 0; i < 6; i++) {
		static const char *const names[] = {
			"\"sub\":", "\"email\":", "\"role\":",
			"\"iat\":", "\"exp\":",	  "\"jti\":"};

		CU_ASSERT_PTR_NOT_NULL(strstr(text, names[i]));
	}
	CU_ASSERT_PTR_NULL(strstr(text, "password"));
	arena_free(a);
}

static void
expect(struct arena *a, const char *token, bool good, const char *what)
{
	struct user user;
	bool read = token_read(a, token, &user);

	if (read != good)
		tap_note("%s: %s", what, good ? "refused" : "taken");
	TAP_INT(read, good);
}

#define HS256 FORGE_HS256

static void
test_header(void)
{
	static const struct {
		const char *header;
		enum mac mac;
		bool good;
	} rows[] = {
		{HS256, HMAC_256, true},
		{"{\"alg\":\"HS256\"}", HMAC_256, true},
		{"{\"typ\":\"JWT\",\"alg\":\"HS256\"}", HMAC_256, true},
		{HS256, NO_MAC, false},
		{HS256, EMPTY_MAC, false},
		{HS256, HMAC_512, false},
		{"{\"alg\":\"none\"}", EMPTY_MAC, false},
		{"{\"alg\":\"none\"}", NO_MAC, false},
		{"{\"alg\":\"none\"}", HMAC_256, false},
		{"{\"alg\":\"None\"}", EMPTY_MAC, false},
		{"{\"alg\":\"nOnE\"}", EMPTY_MAC, false},
		{"{\"alg\":\"NONE\"}", HMAC_256, false},
		{"{\"alg\":\"\"}", EMPTY_MAC, false},
		{"{\"alg\":\"HS512\",\"typ\":\"JWT\"}", HMAC_512, false},
		{"{\"alg\":\"HS512\"}", HMAC_256, false},
		{"{\"alg\":\"HS384\"}", HMAC_256, false},
		{"{\"alg\":\"RS256\"}", HMAC_256, false},
		{"{\"alg\":\"ES256\"}", HMAC_256, false},
		{"{\"alg\":\"PS256\"}", HMAC_256, false},
		{"{\"alg\":\"hs256\"}", HMAC_256, false},
		{"{\"alg\":\"HS256 \"}", HMAC_256, false},
		{"{\"alg\":\"HS256\\u0000\"}", HMAC_256, false},
		{"{\"alg\":[\"HS256\"]}", HMAC_256, false},
		{"{\"alg\":{\"$gt\":\"\"}}", HMAC_256, false},
		{"{\"alg\":null}", HMAC_256, false},
		{"{\"alg\":256}", HMAC_256, false},
		{"{\"typ\":\"JWT\"}", HMAC_256, false},
		{"{}", HMAC_256, false},
		/* two readers may take another one of two */
		{"{\"alg\":\"HS256\",\"alg\":\"none\"}", EMPTY_MAC, false},
		{"{\"alg\":\"none\",\"alg\":\"HS256\"}", EMPTY_MAC, false},
		{"{\"alg\":\"HS512\",\"alg\":\"HS256\"}", HMAC_512, false},
		/* which key is ours to say, not the token's */
		{"{\"alg\":\"HS256\",\"kid\":\"\"}", HMAC_256, false},
		{"{\"alg\":\"HS256\",\"kid\":\"unknown\"}", HMAC_256, false},
		{"{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", HMAC_256,
		 false},
		{"[]", HMAC_256, false},
		{"null", HMAC_256, false},
		{"\"HS256\"", HMAC_256, false},
		{"{\"alg\":\"HS256\"", HMAC_256, false},
		{"{\"alg\":\"HS256\"}}", HMAC_256, false},
		{"x", HMAC_256, false},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++)
		expect(a,
		       forge(a, rows[i].header, forge_claims(a, NULL, NULL),
			     rows[i].mac, KEY),
		       rows[i].good, rows[i].header);
	arena_free(a);
}

static void
test_keys(void)
{
	struct arena *a = arena_new();
	const char *good = forge_claims(a, NULL, NULL);
	const struct {
		const char *kid, *key;
		bool good;
	} rows[] = {
		{kid_of(a, KEY), KEY, true},
		{kid_of(a, OLD_KEY), OLD_KEY, true},
		{NULL, KEY, true},
		{NULL, OLD_KEY, false}, /* it has to be named */
		{kid_of(a, KEY), OLD_KEY, false},
		{kid_of(a, OLD_KEY), KEY, false},
		{kid_of(a, "another"), KEY, false},
		{kid_of(a, ""), "", false},
		{NULL, "", false},
		{NULL, "another key of 32 bytes or more...", false},
		{NULL, KEY " ", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *header = HS256;

		if (rows[i].kid != NULL)
			header = arena_printf(
				a, "{\"alg\":\"HS256\",\"kid\":\"%s\"}",
				rows[i].kid);
		expect(a, forge(a, header, good, HMAC_256, rows[i].key),
		       rows[i].good, header);
	}
	arena_free(a);
}

/* Keys rotate: what the last key signed is good as long as it is previous. */
static void
test_rotation(void)
{
	struct arena *a = arena_new();
	const char *token;

	token_init(OLD_KEY, "");
	token = token_make(a, &alice);
	expect(a, token, true, "current");
	token_init(KEY, OLD_KEY);
	expect(a, token, true, "previous");
	expect(a, token_make(a, &alice), true, "new current");
	token_init(KEY, "");
	expect(a, token, false, "gone");
	/* An empty previous key signs nothing. */
	expect(a,
	       forge(a,
		     arena_printf(a, "{\"alg\":\"HS256\",\"kid\":\"%s\"}",
				  kid_of(a, "")),
		     forge_claims(a, NULL, NULL), HMAC_256, ""),
	       false, "empty");
	token_init(KEY, OLD_KEY);
	arena_free(a);
}

static void
test_times(void)
{
	struct arena *a = arena_new();
	long long now = (long long)(clock_now() / 1000);
	const struct {
		const char *without, *more;
		bool good;
	} rows[] = {
		{NULL, NULL, true},
		{NULL, "\"nbf\":0", true},
		{"exp", NULL, false},
		{"iat", NULL, false},
		{"exp", arena_printf(a, "\"exp\":%lld", now + 30), true},
		{"exp", arena_printf(a, "\"exp\":%lld", now - 1), false},
		{"exp", arena_printf(a, "\"exp\":%lld", now), false},
		{"exp", "\"exp\":0", false},
		{"exp", "\"exp\":-1", false},
		{"exp", arena_printf(a, "\"exp\":\"%lld\"", now + 30), false},
		{"exp", arena_printf(a, "\"exp\":%lld.5", now + 30), false},
		{"exp", "\"exp\":1e400", false},
		{"exp", "\"exp\":true", false},
		{"exp", "\"exp\":null", false},
		{"exp", "\"exp\":[4102444800]", false},
		{"exp", "\"exp\":{\"$gt\":0}", false},
		{"iat", arena_printf(a, "\"iat\":%lld", now - 900), true},
		{"iat", arena_printf(a, "\"iat\":%lld", now + 5), true},
		{"iat", arena_printf(a, "\"iat\":%lld", now + 3600), false},
		{"iat", "\"iat\":9223372036854775807", false},
		{"iat", "\"iat\":0", false},
		{"iat", "\"iat\":-5", false},
		{"iat", arena_printf(a, "\"iat\":\"%lld\"", now), false},
		{"iat", "\"iat\":null", false},
		{"iat", "\"iat\":false", false},
		{"iat", "\"iat\":1.5", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		expect(a,
		       forge(a, HS256,
			     forge_claims(a, rows[i].without, rows[i].more),
			     HMAC_256, KEY),
		       rows[i].good, rows[i].more ? rows[i].more : "as is");
	arena_free(a);
}

static void
test_who(void)
{
	static const struct {
		const char *without, *more;
		bool good;
	} rows[] = {
		{"sub", NULL, false},
		{"email", NULL, false},
		{"role", NULL, false},
		{"jti", NULL, true},
		{"sub", "\"sub\":\"\"", false},
		{"sub", "\"sub\":\"0123456789abcdef0123456\"", false},
		{"sub", "\"sub\":\"0123456789ABCDEF01234567\"", false},
		{"sub", "\"sub\":\"" ID1 "0\"", false},
		{"sub", "\"sub\":1", false},
		{"sub", "\"sub\":null", false},
		{"sub", "\"sub\":{\"$gt\":\"\"}", false},
		{"sub", "\"sub\":[\"" ID1 "\"]", false},
		{"email", "\"email\":\"\"", false},
		{"email", "\"email\":1", false},
		{"role", "\"role\":\"\"", false},
		{"role", "\"role\":[\"admin\"]", false},
		{"role", "\"role\":true", false},
	};
	static const char *const bodies[] = {"",   "[]", "null",       "{",
					     "{}", "x",	 "\"" ID1 "\""};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++)
		expect(a,
		       forge(a, HS256,
			     forge_claims(a, rows[i].without, rows[i].more),
			     HMAC_256, KEY),
		       rows[i].good, rows[i].more ? rows[i].more : "less");
	for (size_t i = 0; i < COUNT(bodies); i++)
		expect(a, forge(a, HS256, bodies[i], HMAC_256, KEY), false,
		       bodies[i]);
	arena_free(a);
}

static void
test_form(void)
{
	static const char *const rows[] = {
		"",
		".",
		"..",
		"...",
		"a",
		"a.b",
		"a.b.c",
		"a..",
		".b.",
		"..c",
		"a.b.",
		".b.c",
		"a..c",
		"a.b.c.d",
		" ",
		"%%%.%.%",
		"null",
		"\xff.\xff.\xff",
		"eyJhbGciOiJIUzI1NiJ9",
		"eyJhbGciOiJIUzI1NiJ9..",
		"eyJhbGciOiJIUzI1NiJ9.e30.",
		"eyJhbGciOiJIUzI1NiJ9.e30.e30",
	};
	struct arena *a = arena_new();
	const char *good = token_make(a, &alice);
	size_t len = strlen(good);

	for (size_t i = 0; i < COUNT(rows); i++)
		expect(a, rows[i], false, rows[i]);
	expect(a, good, true, "good");
	for (const char *p = "=. \n;,\"+/"; *p != '\0'; p++) {
		expect(a, arena_printf(a, "%s%c", good, *p), false, "behind");
		expect(a, arena_printf(a, "%c%s", *p, good), false, "before");
	}
	expect(a, arena_printf(a, "%s.%s", good, good), false, "twice");
	/* No beginning and no end of it is one. */
	for (size_t n = 0; n < len; n++) {
		expect(a, arena_strndup(a, good, n), false, "beginning");
		if (n > 0)
			expect(a, good + n, false, "end");
	}
	arena_free(a);
}

/* Each bit of each character, one at a time. */
static void
test_flips(void)
{
	struct arena *a = arena_new();
	char *token = arena_strdup(a, token_make(a, &alice));
	size_t len = strlen(token);
	struct user user;
	int taken = 0;

	CU_ASSERT_TRUE(token_read(a, token, &user));
	for (size_t i = 0; i < len; i++) {
		struct arena *each = arena_new();

		for (int bit = 0; bit < 8; bit++) {
			token[i] = (char)(token[i] ^ 1 << bit);
			if (token[i] != '\0' &&
			    token_read(each, token, &user)) {
				tap_note("taken: bit %d of byte %zu", bit, i);
				taken++;
			}
			token[i] = (char)(token[i] ^ 1 << bit);
		}
		arena_free(each);
	}
	TAP_INT(taken, 0);
	CU_ASSERT_TRUE(token_read(a, token, &user));
	arena_free(a);
}

/* Tokens are remembered, but not for longer than they are good. */
static void
test_runs_out(void)
{
	struct arena *a = arena_new();
	int64_t until = clock_monotonic() + 20000;
	long long end = (long long)(clock_now() / 1000) + 2;
	const char *token = forge(
		a, HS256,
		forge_claims(a, "exp", arena_printf(a, "\"exp\":%lld", end)),
		HMAC_256, KEY);
	struct user user;

	while (token_read(a, token, &user) && clock_monotonic() < until)
		clock_sleep(10);
	CU_ASSERT_TRUE(clock_now() / 1000 >= end);
	CU_ASSERT_FALSE(token_read(a, token, &user));
	arena_free(a);
}

/* More of them than are remembered: each is whose it says. */
static void
test_many(void)
{
	enum { MANY = 2000 };
	struct arena *a = arena_new(), *each = arena_new();
	const char *tokens[MANY];
	struct user user = alice;
	int wrong = 0;

	for (int i = 0; i < MANY; i++) {
		snprintf(user.id, sizeof(user.id), "%024x", (unsigned)i);
		tokens[i] = token_make(a, &user);
	}
	for (int round = 0; round < 2; round++)
		for (unsigned i = 0; i < MANY; i++) {
			struct user read;
			char id[ID_SIZE];

			snprintf(id, sizeof(id), "%024x", i);
			wrong += !token_read(each, tokens[i], &read) ||
				 strcmp(read.id, id) != 0 ||
				 strcmp(read.email, alice.email) != 0;
			arena_reset(each);
		}
	TAP_INT(wrong, 0);
	arena_free(each);
	arena_free(a);
}

/* Signed all right, but longer than any of ours. */
static void
test_oversized(void)
{
	static const struct {
		size_t filling;
		bool good;
	} rows[] = {{100, true},    {1000, true},    {2000, false},
		    {10000, false}, {100000, false}, {10000000, false}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct arena *a = arena_new();
		char *filling = arena_alloc(a, rows[i].filling + 1);

		memset(filling, 'x', rows[i].filling);
		expect(a,
		       forge(a, HS256,
			     forge_claims(a, "jti",
					  arena_printf(a, "\"jti\":\"%s\"",
						       filling)),
			     HMAC_256, KEY),
		       rows[i].good, "filling");
		expect(a, filling, false, "no token");
		arena_free(a);
	}
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"there and back", test_round_trip},
		{"what it says", test_claims},
		{"algorithms and headers", test_header},
		{"keys", test_keys},
		{"rotation", test_rotation},
		{"times", test_times},
		{"who it is", test_who},
		{"ill-formed ones", test_form},
		{"every bit counts", test_flips},
		{"running out", test_runs_out},
		{"many", test_many},
		{"oversized ones", test_oversized},
		{NULL},
	};

	if (sodium_init() < 0)
		abort();
	token_init(KEY, OLD_KEY);
	return tap_run(argc, argv, tests);
}
