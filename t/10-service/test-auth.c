/* test-auth.c: auth over its own socket.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "forge.h"
#include "misuse.h"
#include "token.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PASSWORD "correct horse battery"

static const struct answer *
sign(const char *how, const char *body)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/users/%s", how);
	return fcgi_call("auth", "POST", path, body, NULL);
}

static const struct answer *
sign_with(const char *how, const char *email, const char *password)
{
	char body[2048];

	snprintf(body, sizeof(body), "{\"email\":\"%s\",\"password\":\"%s\"}",
		 email, password);
	return sign(how, body);
}

/* The value of the session cookie that an answer sets; "" when none. */
static const char *
session_of(const struct answer *a)
{
	static char token[2048];
	const char *cookie = answer_header(a, "Set-Cookie");

	*token = '\0';
	if (cookie != NULL && strncmp(cookie, "__Host-session=", 15) == 0)
		snprintf(token, sizeof(token), "%.*s",
			 (int)strcspn(cookie + 15, ";"), cookie + 15);
	return token;
}

static void
expect_current(const char *token, const char *email)
{
	const struct answer *a =
		fcgi_call("auth", "GET", "/api/users/currentuser", NULL, token);

	EXPECT(a, 200);
	if (email == NULL)
		TAP_STRING(a->body, "{\"currentUser\":null}");
	else
		TAP_STRING(answer_text(a, "currentUser.email"), email);
}

static void
test_sign_up(void)
{
	const struct answer *a =
		sign("signup",
		     "{\"email\":\"  Ann@Example.edu\\n\",\"password\":"
		     "\"" PASSWORD "\",\"name\":\" Ann \",\"role\":"
		     "\"admin\",\"id\":\"" FORGE_ID "\",\"version\":9}");
	char *token = strdup(session_of(a));
	const char *cookie;

	EXPECT(a, 201);
	TAP_STRING(names_of(a), "id version email name role");
	CU_ASSERT_TRUE(id_valid(answer_text(a, "id")));
	CU_ASSERT_STRING_NOT_EQUAL(answer_text(a, "id"), FORGE_ID);
	TAP_STRING(answer_text(a, "email"), "Ann@Example.edu");
	TAP_STRING(answer_text(a, "name"), "Ann");
	TAP_STRING(answer_text(a, "role"), "user");
	TAP_INT(answer_int(a, "version"), 0);
	CU_ASSERT_PTR_NULL(strstr(a->body, "argon2"));
	TAP_STRING(answer_header(a, "Content-Type"), "application/json");
	TAP_STRING(answer_header(a, "Cache-Control"), "no-store");
	TAP_STRING(answer_header(a, "X-Content-Type-Options"), "nosniff");
	TAP_STRING(answer_header(a, "X-Request-Id"), "test");
	cookie = answer_header(a, "Set-Cookie");
	CU_ASSERT_PTR_NOT_NULL_FATAL(cookie);
	TAP_STRING(strchr(cookie, ';'), "; Path=/; Max-Age=900; Secure; "
					"HttpOnly; SameSite=Lax");
	expect_current(token, "Ann@Example.edu");
	free(token);

	/* Without a name. */
	a = sign_with("signup", "bob@example.edu", PASSWORD);
	EXPECT(a, 201);
	TAP_STRING(names_of(a), "id version email name role");
	TAP_STRING(answer_text(a, "name"), NULL);
}

static void
test_email_in_use(void)
{
	static const char *const again[] = {
		"ann@example.edu",   "ANN@EXAMPLE.EDU",	   "Ann@Example.edu",
		" ann@example.EDU ", "aNN@example.edu\\t",
	};
	int64_t before = db_count("auth", "users", "{}");

	for (size_t i = 0; i < COUNT(again); i++) {
		const struct answer *a =
			sign_with("signup", again[i], PASSWORD);

		EXPECT_ERROR(a, 400, "Email in use");
		CU_ASSERT_PTR_NULL(answer_header(a, "Set-Cookie"));
	}
	TAP_INT(db_count("auth", "users", "{}"), before);
}

static void
test_bad_fields(void)
{
	static const struct {
		const char *body, *fields;
	} rows[] = {
		{"{}", "email password"},
		{"{\"email\":null,\"password\":null}", "email password"},
		{"{\"email\":1,\"password\":2,\"name\":3}",
		 "email password name"},
		{"{\"email\":\"x\",\"password\":\"short\",\"name\":\"\"}",
		 "email password name"},
		{"{\"email\":{\"$gt\":\"\"},\"password\":{\"$gt\":\"\"}}",
		 "email password"},
		{"{\"email\":[\"c@example.edu\"],\"password\":[]}",
		 "email password"},
		{"{\"email\":1e400,\"password\":1e400}", "email password"},
		{"{\"email\":true,\"password\":false}", "email password"},
		{"{\"email\":\"c@example.edu\",\"password\":12345678}",
		 "password"},
		{"{\"email\":\"c@example.edu\\u0000\",\"password\":"
		 "\"" PASSWORD "\"}",
		 "email"},
		{"{\"email\":\"c@example.edu\",\"password\":"
		 "\"correct\\u0000horse\"}",
		 "password"},
		{"{\"email\":\"c@example.edu\",\"password\":\"" PASSWORD
		 "\",\"name\":\"a\\u0000\"}",
		 "name"},
		{"{\"email\":\"c@example.edu\",\"password\":\"" PASSWORD
		 "\",\"name\":{\"$gt\":\"\"}}",
		 "name"},
		/* the last of two counts */
		{"{\"email\":\"c@example.edu\",\"email\":\"c\","
		 "\"password\":\"" PASSWORD "\"}",
		 "email"},
	};
	int64_t before = db_count("auth", "users", "{}");
	const struct answer *a = sign("signup", rows[0].body);

	TAP_STRING(a->body,
		   "{\"errors\":[{\"message\":\"Bad Email\",\"field\":"
		   "\"email\"},{\"message\":\"Bad Password\",\"field\":"
		   "\"password\"}]}");
	for (size_t i = 0; i < COUNT(rows); i++) {
		a = sign("signup", rows[i].body);
		EXPECT_FIELDS(a, rows[i].fields);
		CU_ASSERT_PTR_NULL(answer_header(a, "Set-Cookie"));
	}
	for (size_t i = 0; i < 8; i++) /* but for names */
		EXPECT(sign("signin", rows[i].body), 400);
	TAP_INT(db_count("auth", "users", "{}"), before);
}

static void
test_emails(void)
{
	static const struct {
		const char *email;
		bool good;
	} rows[] = {
		{"a@b.cc", true},
		{"first.last+tag@sub.example.edu", true},
		{"o'brien@example.edu", true},
		{"1@2.3", true},
		{"x_-!#$%&*/=?^`{|}~@example.edu", true},
		{"", false},
		{" ", false},
		{"a", false},
		{"@", false},
		{"a@", false},
		{"@b.cc", false},
		{"a@b", false},
		{"a@.b", false},
		{"a@b.", false},
		{"a@b..cc", false},
		{"a..b@b.cc", false},
		{"a@b@c.dd", false},
		{"a b@c.dd", false},
		{"a@b c.dd", false},
		{"a,b@c.dd", false},
		{"a@b.cc,c@d.ee", false},
		{"<a@b.cc>", false},
		{"a@b.cc\\r\\nBcc: x", false},
		{"a\\u0000@b.cc", false},
		{"a@b.cc\\u0001", false},
		{"\\\"a\\\"@b.cc", false},
		{"\xc3\xa9@b.cc", false}, /* ASCII alone, as it is stored */
		{"a@b\xc3\xa9.cc", false},
		{"a@\xef\xbc\xa2.cc", false},
	};
	char local[66], domain[260], email[400];

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (rows[i].good)
			EXPECT(sign_with("signup", rows[i].email, PASSWORD),
			       201);
		else
			EXPECT_FIELDS(sign_with("signup", rows[i].email,
						PASSWORD),
				      "email");
	}
	/* Lengths: 64 before the @, 254 in all. */
	memset(local, 'l', sizeof(local));
	memset(domain, 'd', sizeof(domain));
	snprintf(email, sizeof(email), "%.64s@example.edu", local);
	EXPECT(sign_with("signup", email, PASSWORD), 201);
	snprintf(email, sizeof(email), "%.65s@example.edu", local);
	EXPECT_FIELDS(sign_with("signup", email, PASSWORD), "email");
	snprintf(email, sizeof(email), "a@%.248s.ee", domain);
	EXPECT_FIELDS(sign_with("signup", email, "short"), "password");
	snprintf(email, sizeof(email), "a@%.250s.ee", domain);
	EXPECT_FIELDS(sign_with("signup", email, "short"), "email password");
}

static void
test_passwords(void)
{
	static const struct {
		const char *character;
		int times;
		bool good;
	} rows[] = {
		{"a", 0, false},
		{"a", 7, false},
		{"a", 9, true},
		{"a", 128, true},
		{"a", 129, false},
		{" ", 8, true},
		{"\xc3\xa9", 7, false},
		{"\xc3\xa9", 8, true},
		{"\xe2\x82\xac", 128, true},
		{"\xe2\x82\xac", 129, false},
	};
	char password[1024], email[64];

	for (size_t i = 0; i < COUNT(rows); i++) {
		*password = '\0';
		for (int j = 0; j < rows[i].times; j++)
			strcat(password, rows[i].character);
		snprintf(email, sizeof(email), "p%zu@example.edu", i);
		if (!rows[i].good) {
			EXPECT_FIELDS(sign_with("signup", email, password),
				      "password");
			continue;
		}
		EXPECT(sign_with("signup", email, password), 201);
		EXPECT(sign_with("signin", email, password), 200);
		/* All of it counts. */
		password[strlen(password) - 1] ^= 1;
		EXPECT(sign_with("signin", email, password), 400);
	}
}

/* The list is searched as a sorted one, so each of its rows must be found. */
static void
test_common_passwords(void)
{
	static const char *const common[] = {
#include "../../fcgi/auth/common-passwords.def"
	};
	static const char *const cases[] = {"Password", "PASSWORD", "Trustno1"};
	static const char *const good[] = {"password ", "passwords of mine",
					   " trustno1"};
	const struct answer *a;

	TAP_INT(COUNT(common), 3000);
	for (size_t i = 0; i < COUNT(common); i++) {
		CU_ASSERT(strlen(common[i]) >= 8);
		if (i > 0)
			CU_ASSERT(strcasecmp(common[i - 1], common[i]) < 0);
		if (i % 100 == 0 || i == COUNT(common) - 1)
			EXPECT_FIELDS(sign_with("signup", "w@example.edu",
						common[i]),
				      "password");
	}
	for (size_t i = 0; i < COUNT(cases); i++)
		EXPECT_FIELDS(sign_with("signup", "w@example.edu", cases[i]),
			      "password");
	a = sign("signup", "{\"email\":\"w\",\"password\":\"12345678\"}");
	TAP_STRING(a->body,
		   "{\"errors\":[{\"message\":\"Bad Email\",\"field\":"
		   "\"email\"},{\"message\":\"Too many people use this "
		   "password\",\"field\":\"password\"}]}");
	/* Who signs in with one learns nothing but that it is wrong. */
	EXPECT_FIELDS(sign_with("signin", "w@example.edu", "password"), "");
	for (size_t i = 0; i < COUNT(good); i++) {
		char email[64];

		snprintf(email, sizeof(email), "good%zu@example.edu", i);
		EXPECT(sign_with("signup", email, good[i]), 201);
	}
}

static void
test_names(void)
{
	char name[400] = "", body[1024];

	for (int i = 0; i < 100; i++)
		strcat(name, "\xe2\x82\xac");
	snprintf(body, sizeof(body),
		 "{\"email\":\"n@example.edu\",\"password\":\"" PASSWORD
		 "\",\"name\":\"%s\"}",
		 name);
	EXPECT(sign("signup", body), 201);
	snprintf(body, sizeof(body),
		 "{\"email\":\"m@example.edu\",\"password\":\"" PASSWORD
		 "\",\"name\":\"%s+\"}",
		 name);
	EXPECT_FIELDS(sign("signup", body), "name");
	EXPECT_FIELDS(sign("signup",
			   "{\"email\":\"m@example.edu\","
			   "\"password\":\"" PASSWORD "\",\"name\":\"  \"}"),
		      "name");
}

static void
test_sign_in(void)
{
	static const char *const same[] = {"ann@example.edu", "ANN@example.EDU",
					   "  Ann@Example.edu "};
	static const char *const wrong[][2] = {
		{"ann@example.edu", "Correct horse battery"},
		{"ann@example.edu", PASSWORD " "},
		{"ann@example.edu", " " PASSWORD},
		{"ann@example.edu", "x"},
		{"nobody@example.edu", PASSWORD},
		{"nobody", PASSWORD},
		{".*", PASSWORD},
	};
	const struct answer *a;
	char *id, *body;

	a = sign_with("signin", "ann@example.edu", PASSWORD);
	EXPECT(a, 200);
	TAP_STRING(names_of(a), "id version email name role");
	id = strdup(answer_text(a, "id"));
	for (size_t i = 0; i < COUNT(same); i++) {
		a = sign_with("signin", same[i], PASSWORD);
		EXPECT(a, 200);
		TAP_STRING(answer_text(a, "id"), id);
		TAP_STRING(answer_text(a, "email"), "Ann@Example.edu");
	}
	free(id);
	/* One answer for all that is wrong. */
	body = strdup(sign_with("signin", wrong[0][0], wrong[0][1])->body);
	TAP_STRING(body, "{\"errors\":[{\"message\":\"Invalid "
			 "credentials\"}]}");
	for (size_t i = 0; i < COUNT(wrong); i++) {
		a = sign_with("signin", wrong[i][0], wrong[i][1]);
		EXPECT_ERROR(a, 400, "Invalid credentials");
		TAP_STRING(a->body, body);
		CU_ASSERT_PTR_NULL(answer_header(a, "Set-Cookie"));
	}
	free(body);
}

static void
test_sign_out(void)
{
	const struct answer *a = sign("signout", NULL);

	EXPECT(a, 200);
	TAP_STRING(a->body, "{}");
	TAP_STRING(answer_header(a, "Set-Cookie"),
		   "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; "
		   "SameSite=Lax");
	EXPECT(sign("signout", "{}"), 200);
	EXPECT(sign("signout", "{\"all\":true}"), 200);
	EXPECT_ERROR(sign("signout", "{"), 400,
		     "The body is not well-formed JSON");
}

static void
expect_nobody(const char *token)
{
	expect_current(token, NULL);
}

static void
test_current_user(void)
{
	const struct answer *a =
		sign_with("signin", "ann@example.edu", PASSWORD);
	char *token = strdup(session_of(a)), *id = strdup(answer_text(a, "id"));
	char bearer[2100], *length;
	const char *params[] = {"REQUEST_METHOD=GET",
				"SCRIPT_NAME=/api/users/currentuser",
				"HTTP_ORIGIN=https://evil.example", NULL, NULL};

	a = fcgi_call("auth", "GET", "/api/users/currentuser", NULL, token);
	EXPECT(a, 200);
	TAP_STRING(names_of(a), "currentUser");
	TAP_STRING(answer_text(a, "currentUser.id"), id);
	TAP_STRING(answer_text(a, "currentUser.email"), "Ann@Example.edu");
	TAP_STRING(answer_text(a, "currentUser.role"), "user");
	TAP_INT(json_object_object_length(
			json_member(a->json, "currentUser", json_type_object)),
		3);
	length = strdup(answer_header(a, "Content-Length"));

	a = fcgi_call("auth", "HEAD", "/api/users/currentuser", NULL, token);
	EXPECT(a, 200);
	TAP_INT(a->len, 0);
	TAP_STRING(answer_header(a, "Content-Length"), length);

	expect_current(NULL, NULL);
	each_bad_token(expect_nobody);

	/* A program's way; reading is nobody's secret to other sites' pages,
	 * which can't see the answer. */
	EXPECT(fcgi_ask("auth", params, NULL, 0), 200);
	snprintf(bearer, sizeof(bearer), "HTTP_AUTHORIZATION=Bearer %s", token);
	params[3] = bearer;
	a = fcgi_ask("auth", params, NULL, 0);
	EXPECT(a, 200);
	TAP_STRING(answer_text(a, "currentUser.id"), id);
	free(length);
	free(token);
	free(id);
}

/* The same address in sixteen ways, at one moment. */
struct race {
	int round;
	int status[16];
};

static void
sign_up_one(int i, void *arg)
{
	struct race *race = arg;
	char email[64];

	snprintf(email, sizeof(email), "%s-%d@%s.edu",
		 i & 1	 ? "race"
		 : i & 2 ? "RACE"
			 : "rAcE",
		 race->round,
		 i & 4	 ? "example"
		 : i & 8 ? "Example"
			 : "EXAMPLE");
	race->status[i] = sign_with("signup", email, PASSWORD)->status;
}

static void
test_race(void)
{
	for (int round = 0; round < 10; round++) {
		struct race race = {.round = round};
		int made = 0, refused = 0;
		char filter[64];

		together(16, sign_up_one, &race);
		for (int i = 0; i < 16; i++) {
			made += race.status[i] == 201;
			refused += race.status[i] == 400;
		}
		TAP_INT(made, 1);
		TAP_INT(refused, 15);
		snprintf(filter, sizeof(filter),
			 "{\"emailKey\":\"race-%d@example.edu\"}", round);
		TAP_INT(db_count("auth", "users", filter), 1);
	}
}

static void
test_allow(void)
{
	static const struct {
		const char *method, *path, *allow;
	} rows[] = {
		{"GET", "/api/users/signup", "POST"},
		{"DELETE", "/api/users/signin", "POST"},
		{"HEAD", "/api/users/signout", "POST"},
		{"POST", "/api/users/currentuser", "GET, HEAD"},
		{"PATCH", "/api/users/currentuser", "GET, HEAD"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer *a = fcgi_call("auth", rows[i].method,
						   rows[i].path, NULL, NULL);

		TAP_INT(a->status, 405);
		TAP_STRING(answer_header(a, "Allow"), rows[i].allow);
		if (strcmp(rows[i].method, "HEAD") != 0)
			EXPECT_ERROR(a, 405, "Method Not Allowed");
		else
			TAP_INT(a->len, 0);
	}
}

/* While keys rotate, who is signed in stays so. */
static void
test_rotation(void)
{
	char *token = strdup(
		session_of(sign_with("signin", "ann@example.edu", PASSWORD)));
	char *old;
	const char *const rotated[] = {
		"JWT_KEY=the next key, which has 32 bytes or more", NULL, NULL};
	const char *settings[3] = {rotated[0]};

	old = text("JWT_KEY_PREVIOUS=%s", stack("JWT_KEY"));
	settings[1] = old;
	stack_dev(settings, (const char *[]){"restart", "auth", NULL});
	expect_current(token, "Ann@Example.edu");
	stack_dev(rotated, (const char *[]){"restart", "auth", NULL});
	expect_current(token, NULL);
	stack_restart("auth", NULL);
	expect_current(token, "Ann@Example.edu");
	free(old);
	free(token);
}

static void
test_passwords_kept(void)
{
	CU_ASSERT_FALSE(is_logged("auth", PASSWORD));
	CU_ASSERT_FALSE(is_logged("auth", "argon2"));
	TAP_INT(db_count("auth", "users",
			 "{\"password\":{\"$not\":{\"$regex\":"
			 "\"^.argon2id.v=19.m=19456,t=2,p=1.\"}}}"),
		0);
}

static int64_t
count_users(void)
{
	return db_count("auth", "users", "{}");
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"sign-up", test_sign_up},
		{"one account for an address", test_email_in_use},
		{"bad fields, all at once", test_bad_fields},
		{"addresses", test_emails},
		{"passwords", test_passwords},
		{"common passwords", test_common_passwords},
		{"names", test_names},
		{"sign-in", test_sign_in},
		{"sign-out", test_sign_out},
		{"current user", test_current_user},
		{"one address in sixteen threads", test_race},
		{"what is allowed", test_allow},
		{"keys rotate", test_rotation},
		MISUSE_TESTS,
		{"passwords are kept as hashes", test_passwords_kept},
		{NULL},
	};

	stack_up(NULL);
	sign_with("signup", "target@example.edu", PASSWORD);
	target = (struct target){
		.service = "auth",
		.collection = "/api/users",
		.path = "/api/users/signin",
		.body = "{\"email\":\"target@example.edu\",\"password\":"
			"\"" PASSWORD "\"}",
		.status = 200,
		.count = count_users,
	};
	return tap_run(argc, argv, tests);
}
