/* test-accounts.c: sessions, what users and admins do with accounts, and how
 * often passwords may be guessed.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "browser.h"
#include "clock.h"
#include "flow.h"
#include "misuse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOBODY "0123456789abcdef01234567"

static struct browser *
admin(void)
{
	static struct browser b;

	if (*b.id == '\0') {
		browser_new(&b);
		browser_becomes_admin(&b);
	}
	return &b;
}

static const struct answer *
me(struct browser *b, const char *method, const char *path, const char *body)
{
	return browse(b, "auth", method, path, body);
}

/* Changes a field of a browser's session in the database. */
static void
set_session(const struct browser *b, const char *field, int64_t ms)
{
	char *filter = text("{\"_id\":{\"$oid\":\"%.24s\"}}", b->refresh);
	char *update = text("{\"$set\":{\"%s\":{\"$date\":{\"$numberLong\":"
			    "\"%lld\"}}}}",
			    field, (long long)ms);

	db_update("auth", "sessions", filter, update);
	free(filter);
	free(update);
}

/* --- sessions
 * ----------------------------------------------------------------- */

static void
test_refresh(void)
{
	struct browser b, old;

	browser_new(&b);
	old = b;
	EXPECT(browser_refreshes(&b), 200);
	CU_ASSERT_STRING_NOT_EQUAL(b.refresh, old.refresh);
	CU_ASSERT_STRING_NOT_EQUAL(b.session, old.session);
	EXPECT(me(&b, "GET", "/api/users/sessions", NULL), 200);
	TAP_STRING(answer_text(browser_refreshes(&b), "id"), b.id);
	/* Neither the secret nor all of it is in the database. */
	for (const char *p = b.refresh; p != NULL; p = strchr(p, '.')) {
		char *filter;

		p += *p == '.';
		filter = text("{\"$or\":[{\"secret\":\"%s\"},{\"series\":"
			      "\"%.32s\"}]}",
			      p, p);
		TAP_INT(db_count("auth", "sessions", filter), 0);
		free(filter);
	}
}

static void
test_cookies(void)
{
	struct browser b;
	const struct answer *a;
	const char *second;

	browser_new(&b);
	a = browser_signs_in(&b, BROWSER_PASSWORD);
	EXPECT(a, 200);
	second = strstr(a->headers, "__Secure-refresh=");
	CU_ASSERT_PTR_NOT_NULL_FATAL(second);
	CU_ASSERT(strncmp(strchr(second, ';'),
			  "; Path=/; Max-Age=2592000; Secure; HttpOnly; "
			  "SameSite=Lax\r\n",
			  58) == 0);
	a = me(&b, "POST", "/api/users/signout", NULL);
	EXPECT(a, 200);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(a->headers, "__Secure-refresh=; Path=/; Max-Age=0;"));
	CU_ASSERT_PTR_NOT_NULL(
		strstr(a->headers, "__Host-session=; Path=/; Max-Age=0;"));
}

static void
test_reuse(void)
{
	struct browser b, thief, other;

	browser_new(&b);
	other = b;
	other.refresh[0] = '\0';
	EXPECT(browser_signs_in(&other, BROWSER_PASSWORD), 200);
	thief = b;
	EXPECT(browser_refreshes(&b), 200);
	set_session(&b, "spentAt", clock_now() - 11000);
	EXPECT(browser_refreshes(&thief), 401);
	EXPECT(browser_refreshes(&b), 401);
	EXPECT(browser_refreshes(&other), 200); /* another line */

	/* One before the last is reused at once. */
	thief = other;
	EXPECT(browser_refreshes(&other), 200);
	EXPECT(browser_refreshes(&other), 200);
	EXPECT(browser_refreshes(&thief), 401);
	EXPECT(browser_refreshes(&other), 401);
}

static void
test_guesses(void)
{
	struct browser b, guess;
	char *bad[9];

	browser_new(&b);
	guess = b;
	bad[0] = text("x");
	bad[1] = text("%.24s", b.refresh);
	bad[2] = text("%.57s", b.refresh);
	bad[3] = text("%s0", b.refresh);
	bad[4] = text("%.121s", b.refresh);
	bad[5] = text("%s%s", NOBODY, b.refresh + 24);
	bad[6] = text("%s", b.refresh);
	bad[6][25] = bad[6][25] == '0' ? '1' : '0'; /* another series */
	bad[7] = text("%s", b.refresh);
	bad[7][24] = '!';
	bad[8] = text("%.24s.%.32s.%s", b.refresh, b.refresh + 58,
		      b.refresh + 58);
	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(guess.refresh, sizeof(guess.refresh), "%.255s",
			 bad[i]);
		free(bad[i]);
		EXPECT(browser_refreshes(&guess), 401);
	}
	*guess.refresh = '\0';
	EXPECT(browser_refreshes(&guess), 401);
	EXPECT(browser_refreshes(&b), 200); /* none of it ended this */
}

static void
test_expiry(void)
{
	struct browser b;

	browser_new(&b);
	set_session(&b, "expiresAt", clock_now() - 1);
	EXPECT(browser_refreshes(&b), 401);
}

static void
test_sign_out(void)
{
	struct browser b, copy;

	browser_new(&b);
	copy = b;
	*b.session = '\0'; /* it ran out: signing out works all the same */
	EXPECT(me(&b, "POST", "/api/users/signout", NULL), 200);
	TAP_STRING(b.refresh, "");
	EXPECT(browser_refreshes(&copy), 401);
	EXPECT(me(&b, "POST", "/api/users/signout", NULL), 200);

	/* Signing in leaves the session that was there. */
	browser_new(&b);
	copy = b;
	EXPECT(browser_signs_in(&b, BROWSER_PASSWORD), 200);
	EXPECT(browser_refreshes(&copy), 401);
	EXPECT(browser_refreshes(&b), 200);
}

static void
test_sessions(void)
{
	struct browser b, second, third, stranger;
	const struct answer *a;
	char path[128];

	browser_new(&b);
	second = third = b;
	*second.refresh = *third.refresh = '\0';
	second.agent = "Firefox \x80\xff\"1.0\"";
	EXPECT(browser_signs_in(&second, BROWSER_PASSWORD), 200);
	EXPECT(browser_signs_in(&third, BROWSER_PASSWORD), 200);
	a = me(&second, "GET", "/api/users/sessions", NULL);
	EXPECT(a, 200);
	TAP_INT(json_object_array_length(a->json), 3);
	TAP_STRING(answer_text(a, "1.agent"), "Firefox ??\"1.0\"");
	CU_ASSERT(strncmp(answer_text(a, "1.id"), second.refresh, 24) == 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(a->body, "\"current\":true"));
	CU_ASSERT_PTR_NULL(strstr(a->body, "secret"));

	snprintf(path, sizeof(path), "/api/users/sessions/%.24s",
		 third.refresh);
	browser_new(&stranger);
	EXPECT(me(&stranger, "DELETE", path, NULL), 404);
	EXPECT(me(&second, "DELETE", path, NULL), 204);
	EXPECT(me(&second, "DELETE", path, NULL), 404);
	EXPECT(browser_refreshes(&third), 401);
	EXPECT(me(&second, "DELETE", "/api/users/sessions", NULL), 204);
	EXPECT(browser_refreshes(&b), 401);
	EXPECT(browser_refreshes(&second), 200);
	*b.session = '\0';
	EXPECT(me(&b, "GET", "/api/users/sessions", NULL), 401);
}

/* --- one's own account
 * -------------------------------------------------------- */

static void
test_name(void)
{
	struct browser b;

	browser_new(&b);
	TAP_STRING(answer_text(me(&b, "PUT", "/api/users/me",
				  "{\"name\":\" Zoë \"}"),
			       "name"),
		   "Zoë");
	EXPECT_FIELDS(me(&b, "PUT", "/api/users/me", "{}"), "name");
	EXPECT_FIELDS(me(&b, "PUT", "/api/users/me", "{\"name\":\" \"}"),
		      "name");
	TAP_STRING(answer_text(browser_refreshes(&b), "name"), "Zoë");
}

static void
test_password(void)
{
	struct browser b, other;
	const char *path = "/api/users/me/password";

	browser_new(&b);
	other = b;
	*other.refresh = '\0';
	EXPECT(browser_signs_in(&other, BROWSER_PASSWORD), 200);
	EXPECT_FIELDS(me(&b, "PUT", path,
			 "{\"password\":\"wrong\",\"newPassword\":"
			 "\"battery staple\"}"),
		      "password");
	EXPECT_FIELDS(me(&b, "PUT", path, "{\"newPassword\":\"short\"}"),
		      "password newPassword");
	EXPECT_FIELDS(me(&b, "PUT", path,
			 "{\"password\":\"" BROWSER_PASSWORD
			 "\",\"newPassword\":\"iloveyou\"}"),
		      "newPassword");
	EXPECT(browser_refreshes(&other), 200);
	EXPECT(me(&b, "PUT", path,
		  "{\"password\":\"" BROWSER_PASSWORD
		  "\",\"newPassword\":\"battery staple\"}"),
	       200);
	EXPECT(browser_refreshes(&other), 401);
	EXPECT(browser_refreshes(&b), 200);
	EXPECT_ERROR(browser_signs_in(&other, BROWSER_PASSWORD), 400,
		     "Invalid credentials");
	EXPECT(browser_signs_in(&other, "battery staple"), 200);
}

static void
test_export(void)
{
	struct browser b;
	const struct answer *a;

	browser_new(&b);
	a = me(&b, "GET", "/api/users/me/export", NULL);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "user.email"), b.email);
	CU_ASSERT_PTR_NOT_NULL(answer_text(a, "user.createdAt"));
	CU_ASSERT_PTR_NOT_NULL(answer_text(a, "sessions.0.id"));
	CU_ASSERT_PTR_NULL(strstr(a->body, "argon2"));
	TAP_STRING(answer_text(a, "elsewhere.0"), "/api/orders");
	CU_ASSERT_PTR_NOT_NULL(strstr(a->body, b.id));
	*b.session = '\0';
	EXPECT(me(&b, "GET", "/api/users/me/export", NULL), 401);
}

static void
test_erasure(void)
{
	struct browser b, again;
	const struct answer *a;
	char *filter, path[64];

	browser_new(&b);
	again = b;
	EXPECT_FIELDS(me(&b, "DELETE", "/api/users/me",
			 "{\"password\":\"wrong\"}"),
		      "password");
	EXPECT_FIELDS(me(&b, "DELETE", "/api/users/me", "{}"), "password");
	a = me(&b, "DELETE", "/api/users/me",
	       "{\"password\":\"" BROWSER_PASSWORD "\"}");
	EXPECT(a, 204);
	TAP_STRING(b.session, "");
	EXPECT(browser_refreshes(&again), 401);
	EXPECT(me(&again, "GET", "/api/users/me/export", NULL), 401);
	EXPECT_ERROR(browser_signs_in(&again, BROWSER_PASSWORD), 400,
		     "Invalid credentials");

	/* The id is all that is left. */
	filter = text("{\"_id\":{\"$oid\":\"%s\"},\"email\":{\"$exists\":"
		      "false},\"name\":{\"$exists\":false},\"password\":"
		      "{\"$exists\":false}}",
		      b.id);
	TAP_INT(db_count("auth", "users", filter), 1);
	free(filter);
	filter = text("{\"userId\":{\"$oid\":\"%s\"}}", b.id);
	TAP_INT(db_count("auth", "sessions", filter), 0);
	free(filter);
	snprintf(path, sizeof(path), "/api/users/%s/ban", b.id);
	EXPECT(me(admin(), "POST", path, NULL), 404);

	/* The address is free. */
	filter =
		text("{\"email\":\"%s\",\"password\":\"" BROWSER_PASSWORD "\"}",
		     b.email);
	a = me(&again, "POST", "/api/users/signup", filter);
	EXPECT(a, 201);
	CU_ASSERT_STRING_NOT_EQUAL(answer_text(a, "id"), b.id);
	free(filter);
}

/* --- admins
 * ------------------------------------------------------------------- */

static int
operator(const char *option, const char *email)
{
	return stack_dev(NULL,
			 (const char *[]){"run", "auth", option, email, NULL});
}

static void
test_admins(void)
{
	struct browser b;
	char upper[sizeof(b.email)];

	browser_new(&b);
	EXPECT(me(&b, "GET", "/api/users", NULL), 403);
	memcpy(upper, b.email, sizeof(upper));
	upper[0] = 'B';
	TAP_INT(operator("--make-admin", upper), 0);
	EXPECT(me(&b, "GET", "/api/users", NULL), 403); /* the old token */
	EXPECT(browser_refreshes(&b), 200);
	EXPECT(me(&b, "GET", "/api/users", NULL), 200);
	TAP_INT(operator("--revoke-admin", b.email), 0);
	EXPECT(me(&b, "GET", "/api/users", NULL), 403); /* at once, here */
	TAP_STRING(answer_text(browser_refreshes(&b), "role"), "user");
	*b.session = '\0';
	EXPECT(me(&b, "GET", "/api/users", NULL), 401);
}

static void
test_search(void)
{
	struct browser b;
	const struct answer *a;
	char path[256];

	browser_new(&b);
	EXPECT(me(&b, "PUT", "/api/users/me", "{\"name\":\"Q.(x)* Zed\"}"),
	       200);
	a = me(admin(), "GET", "/api/users?q=q.%28X%29%2a", NULL);
	EXPECT(a, 200);
	TAP_INT(json_object_array_length(a->json), 1);
	TAP_STRING(answer_text(a, "0.id"), b.id);
	CU_ASSERT_PTR_NULL(strstr(a->body, "argon2"));
	a = me(admin(), "GET", "/api/users?q=.%2a", NULL);
	TAP_INT(json_object_array_length(a->json), 0);
	snprintf(path, sizeof(path), "/api/users?q=%.12s", b.email);
	TAP_STRING(answer_text(me(admin(), "GET", path, NULL), "0.id"), b.id);
	a = me(admin(), "GET", "/api/users?limit=1", NULL);
	TAP_INT(json_object_array_length(a->json), 1);
	CU_ASSERT_PTR_NOT_NULL(answer_header(a, "Link"));
	EXPECT_FIELDS(me(admin(), "GET", "/api/users?limit=0", NULL), "limit");
}

static void
test_bans(void)
{
	struct browser b;
	const struct answer *a;
	char ban[64], unban[64], self[64];

	browser_new(&b);
	snprintf(ban, sizeof(ban), "/api/users/%s/ban", b.id);
	snprintf(unban, sizeof(unban), "/api/users/%s/unban", b.id);
	snprintf(self, sizeof(self), "/api/users/%.24s/ban", admin()->id);
	EXPECT(me(&b, "POST", ban, NULL), 403);
	EXPECT(me(admin(), "POST", self, NULL), 403);
	EXPECT(me(admin(), "POST", "/api/users/" NOBODY "/ban", NULL), 404);
	EXPECT_FIELDS(me(admin(), "POST", ban, "{\"reason\":7}"), "reason");
	a = me(admin(), "POST", ban, "{\"reason\":\"spam\"}");
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "status"), "banned");
	TAP_STRING(answer_text(a, "reason"), "spam");
	TAP_INT(answer_int(a, "version"), 1);
	TAP_INT(answer_int(me(admin(), "POST", ban, NULL), "version"), 1);
	EXPECT(browser_refreshes(&b), 401);
	EXPECT_ERROR(browser_signs_in(&b, BROWSER_PASSWORD), 403,
		     "Your account is banned");
	EXPECT_ERROR(browser_signs_in(&b, "wrong"), 400, "Invalid credentials");
	a = me(admin(), "POST", unban, NULL);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "status"), NULL);
	TAP_INT(answer_int(a, "version"), 2);
	TAP_INT(answer_int(me(admin(), "POST", unban, NULL), "version"), 2);
	EXPECT(browser_refreshes(&b), 401); /* its sessions are over */
	EXPECT(browser_signs_in(&b, BROWSER_PASSWORD), 200);
}

/* --- guessing
 * ----------------------------------------------------------------- */

#define FREE 10

/* Sets a field of all counters. */
static void
set_counters(const char *field, const char *value)
{
	char *command = text("{\"update\":\"throttle\",\"updates\":[{\"q\":{},"
			     "\"u\":{\"$set\":{\"%s\":%s}},\"multi\":true}]}",
			     field, value);

	db_command("auth", command);
	free(command);
}

/* As if their time were over, or would not be for long. */
static void
time_passes(void)
{
	set_counters("until", "{\"$date\":{\"$numberLong\":\"1\"}}");
}

static void
time_stands_still(void)
{
	char *later = text("{\"$date\":{\"$numberLong\":\"%lld\"}}",
			   (long long)clock_now() + 600000);

	set_counters("until", later);
	free(later);
}

static void
test_guessing(void)
{
	struct browser known, unknown;
	const struct answer *a;

	browser_new(&known);
	unknown = known;
	unknown.email[0] = 'u';
	for (int i = 0; i <= FREE + 1; i++) {
		char *said;

		if (i > FREE)
			time_stands_still();
		a = browser_signs_in(&known, "wrong");
		EXPECT(a, i > FREE ? 429 : 400);
		said = strdup(a->body);
		a = browser_signs_in(&unknown, "wrong");
		EXPECT(a, i > FREE ? 429 : 400);
		TAP_STRING(a->body, said);
		free(said);
	}
	CU_ASSERT_PTR_NOT_NULL(answer_header(a, "Retry-After"));
	/* Also the right one waits, and after a restart; but not for ever. */
	stack_restart("auth", NULL);
	EXPECT(browser_signs_in(&known, BROWSER_PASSWORD), 429);
	EXPECT(me(&known, "DELETE", "/api/users/me",
		  "{\"password\":\"" BROWSER_PASSWORD "\"}"),
	       429);
	time_passes();
	EXPECT(browser_signs_in(&known, BROWSER_PASSWORD), 200);
	for (int i = 0; i < FREE; i++) /* and has cleared it */
		EXPECT(browser_signs_in(&known, "wrong"), 400);
}

static void
test_longest_wait(void)
{
	struct browser b;
	const struct answer *a;

	browser_new(&b);
	EXPECT(browser_signs_in(&b, "wrong"), 400);
	set_counters("wrong", "{\"$numberLong\":\"1000000\"}");
	time_passes();
	EXPECT(browser_signs_in(&b, "wrong"), 400);
	a = browser_signs_in(&b, BROWSER_PASSWORD);
	EXPECT(a, 429);
	CU_ASSERT(atoi(answer_header(a, "Retry-After")) <= 900);
	CU_ASSERT(atoi(answer_header(a, "Retry-After")) > 800);
}

static void
test_address(void)
{
	struct browser b;

	browser_new(&b);
	b.address = "2001:db8:1:2::1";
	db_delete("auth", "throttle", "{}");
	EXPECT(browser_signs_in(&b, "wrong"), 400);
	TAP_INT(db_count("auth", "throttle", "{}"), 2);
	/* More, of other accounts, from there. */
	set_counters("wrong", "{\"$numberLong\":\"110\"}");
	b.email[0] = 'x';
	b.address = "2001:db8:1:2:ffff::7"; /* the same network */
	EXPECT(browser_signs_in(&b, "wrong"), 400);
	b.email[0] = 'y';
	EXPECT(browser_signs_in(&b, "wrong"), 429);
	b.address = "2001:db8:1:3::1";
	EXPECT(browser_signs_in(&b, "wrong"), 400);
}

struct crowd {
	struct browser at[16];
	int status[16];
};

static void
guess(int i, void *arg)
{
	struct crowd *c = arg;

	c->status[i] = browser_signs_in(&c->at[i], "wrong")->status;
}

/* How many of many guesses at once are looked at. */
static int
looked_at(void)
{
	struct crowd c;
	int n = 0;

	browser_new(&c.at[0]);
	browser_signs_in(&c.at[0], "wrong");
	set_counters("wrong", "{\"$numberLong\":\"30\"}");
	for (size_t i = 1; i < COUNT(c.at); i++)
		c.at[i] = c.at[0];
	together(COUNT(c.at), guess, &c);
	for (size_t i = 0; i < COUNT(c.at); i++)
		n += c.status[i] == 400;
	return n;
}

static void
test_guesses_at_once(void)
{
	TAP_INT(looked_at(), 1);
}

static void
test_guesses_unguarded(void)
{
	need_failpoints();
	stack_restart("auth", "GUARDS_OFF=throttle");
	TAP_INT(looked_at(), 16);
	stack_restart("auth", NULL);
}

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* A wide margin, and a ratio: what would give an account away is that one of
 * them takes no hash at all, a twentieth of the time. */
static void
test_same_time(void)
{
	struct browser known, unknown;
	int64_t took[2][9];
	double ratio;

	browser_new(&known);
	unknown = known;
	for (int i = 0; i < 9; i++) {
		struct timespec t[3];

		unknown.email[0] = (char)('c' + i);
		clock_gettime(CLOCK_MONOTONIC, &t[0]);
		EXPECT(browser_signs_in(&known, "wrong"), 400);
		clock_gettime(CLOCK_MONOTONIC, &t[1]);
		EXPECT(browser_signs_in(&unknown, "wrong"), 400);
		clock_gettime(CLOCK_MONOTONIC, &t[2]);
		for (int j = 0; j < 2; j++)
			took[j][i] = (t[j + 1].tv_sec - t[j].tv_sec) *
					     INT64_C(1000000000) +
				     t[j + 1].tv_nsec - t[j].tv_nsec;
	}
	qsort(took[0], 9, sizeof(took[0][0]), by_value);
	qsort(took[1], 9, sizeof(took[1][0]), by_value);
	ratio = (double)took[0][4] / (double)took[1][4];
	tap_note("known / unknown: %.2f", ratio);
	CU_ASSERT(ratio > 0.4 && ratio < 2.5);
}

/* Anyone may know the name that a seller goes by, and nothing else. */
static void
test_names(void)
{
	const struct answer *a;
	struct browser b;
	char path[64];

	browser_new(&b);
	EXPECT(me(&b, "PUT", "/api/users/me", "{\"name\":\"Ann <b>\"}"), 200);
	snprintf(path, sizeof(path), "/api/users/%s", b.id);
	a = fcgi_call("auth", "GET", path, NULL, NULL);
	EXPECT(a, 200);
	TAP_STRING(names_of(a), "id name");
	TAP_STRING(answer_text(a, "name"), "Ann <b>");
	EXPECT(fcgi_call("auth", "GET", "/api/users/0123456789abcdef01234567",
			 NULL, NULL),
	       404);
	EXPECT(me(&b, "DELETE", "/api/users/me",
		  "{\"password\":\"" BROWSER_PASSWORD "\"}"),
	       204);
	EXPECT(fcgi_call("auth", "GET", path, NULL, NULL), 404);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"refresh tokens are rotated, and stored as hashes",
		 test_refresh},
		{"cookies", test_cookies},
		{"names", test_names},
		{"a spent token that comes back ends its session", test_reuse},
		{"who guesses ends nobody's session", test_guesses},
		{"sessions expire", test_expiry},
		{"signing out", test_sign_out},
		{"list of sessions", test_sessions},
		{"name", test_name},
		{"a new password ends other sessions", test_password},
		{"export", test_export},
		{"erasure", test_erasure},
		{"admins are made by the operator", test_admins},
		{"admins search users", test_search},
		{"bans", test_bans},
		{"guessing: known and unknown alike", test_guessing},
		{"guessing: a quarter of an hour at most", test_longest_wait},
		{"guessing from one network", test_address},
		{"guessing at once", test_guesses_at_once},
		{"control: unthrottled", test_guesses_unguarded},
		{"an unknown address takes as long as a wrong password",
		 test_same_time},
		{0},
	};

	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
