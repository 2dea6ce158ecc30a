/* test-api.c: the API's description, and what nginx serves beside it.  That
 * services do as it says is t/api.sh's to find out.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "flow.h"

static const struct answer *
get(const char *path)
{
	static struct student *anyone;

	if (anyone == NULL)
		anyone = student_new();
	return ask(anyone, "GET", path, NULL, NULL);
}

static json_object *
at(json_object *o, const char *a, const char *b, const char *c)
{
	json_object_object_get_ex(o, a, &o);
	json_object_object_get_ex(o, b, &o);
	json_object_object_get_ex(o, c, &o);
	return o;
}

static void
is_described(void)
{
	const struct answer *a = get("/api/openapi.json");
	json_object *all = json_tokener_parse(a->body), *buy, *o;

	TAP_INT(a->status, 200);
	TAP_STRING(answer_header(a, "Content-Type"), "application/json");
	TAP_STRING(json_text(all, "openapi"), "3.1.0");
	buy = at(all, "paths", "/api/orders", "post");
	CU_ASSERT_FATAL(buy != NULL);
	CU_ASSERT_PTR_NOT_NULL(at(buy, "responses", "409", "content"));
	CU_ASSERT_PTR_NOT_NULL(
		at(buy, "requestBody", "content", "application/json"));
	/* Limits are those of the tables. */
	o = at(at(at(all, "paths", "/api/users/signup", "post"), "requestBody",
		  "content", "application/json"),
	       "schema", "properties", "password");
	TAP_STRING(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
		   "{\"type\":\"string\",\"minLength\":8,\"maxLength\":128}");
	/* Who may. */
	json_object_object_get_ex(buy, "security", &o);
	TAP_STRING(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
		   "[{\"cookie\":[]},{\"token\":[]}]");
	json_object_object_get_ex(at(all, "paths", "/api/users", "get"),
				  "security", &o);
	TAP_STRING(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN),
		   "[{\"cookie\":[\"admin\"]},{\"token\":[\"admin\"]}]");
	/* What is kept from the world is not described either. */
	CU_ASSERT_PTR_NULL(strstr(a->body, "emailKey"));
	CU_ASSERT_PTR_NULL(strstr(a->body, "idempotencyKey"));
	json_object_put(all);
}

/* Every path that is described is there, with its methods and no others. */
static void
is_there(void)
{
	struct student *s = student_new();
	json_object *all = json_tokener_parse(get("/api/openapi.json")->body);
	json_object *paths = json_member(all, "paths", json_type_object);

	CU_ASSERT_FATAL(paths != NULL);
	json_object_object_foreach(paths, pattern, methods)
	{
		static const char id[] = "0123456789abcdef01234567";
		const char *part = strchr(pattern, '{'), *allow;
		size_t before =
			part ? (size_t)(part - pattern) : strlen(pattern);
		char *path =
			text("%.*s%s%s", (int)before, pattern, part ? id : "",
			     part ? strchr(part, '}') + 1 : "");
		const struct answer *a = ask(s, "PATCH", path, NULL, NULL);

		TAP_INT(a->status, 405);
		allow = answer_header(a, "Allow");
		CU_ASSERT_FATAL(allow != NULL);
		json_object_object_foreach(methods, method, of)
		{
			(void)of;
			CU_ASSERT_PTR_NOT_NULL(strcasestr(allow, method));
		}
		free(path);
	}
	json_object_put(all);
	student_free(s);
}

static void
has_a_page(void)
{
	const struct answer *a = get("/api/docs/");

	TAP_INT(a->status, 200);
	TAP_STRING(answer_header(a, "Content-Type"),
		   "text/html; charset=utf-8");
	CU_ASSERT_PTR_NOT_NULL(answer_header(a, "Content-Security-Policy"));
	CU_ASSERT_PTR_NULL(strstr(a->body, "//")); /* all of it is ours */
	a = get("/api/docs");
	TAP_INT(a->status, 301);
	TAP_STRING(answer_header(a, "Location"), "/api/docs/");
	TAP_INT(get("/api/docs/docs.js")->status, 200);
	TAP_INT(get("/api/docs/docs.css")->status, 200);
	TAP_INT(get("/api/docs/docs.conf")->status, 404);
	TAP_INT(get("/api/docs/../nginx.conf.in")->status, 404);
	TAP_INT(get("/api/docs/..%2fnginx.conf.in")->status, 404);
}

/* RFC 9110, 15.5.6: also when nginx itself refuses. */
static void
says_what_is_allowed(void)
{
	struct student *s = student_new();
	const struct answer *a = ask(s, "TRACE", "/api/users", NULL, NULL);

	TAP_INT(a->status, 405);
	TAP_STRING(answer_header(a, "Allow"), "GET, HEAD, POST, PUT, DELETE");
	a = ask(s, "POST", "/api/openapi.json", "{}", NULL);
	TAP_INT(a->status, 405);
	TAP_STRING(answer_header(a, "Allow"), "GET, HEAD");
	a = ask(s, "GET", "/api", NULL, NULL);
	TAP_INT(a->status, 404);
	CU_ASSERT_PTR_NULL(answer_header(a, "Allow"));
	student_free(s);
}

/* --openapi adds to what it is given, or says that it is none. */
static void
is_added_to(void)
{
	char *command = text("echo '{\"paths\":{\"/x\":{}}}' | "
			     "%s/fcgi/orders/orders --openapi | "
			     "jq -e '.paths | has(\"/x\") and "
			     "has(\"/api/orders\")' >&2",
			     getenv("top_builddir"));
	char *rubbish = text("echo rubbish | %s/fcgi/orders/orders --openapi",
			     getenv("top_builddir"));

	char *unknown = text("%s/fcgi/expiration/expiration --openapi",
			     getenv("top_builddir"));

	TAP_INT(system(command), 0);
	CU_ASSERT(system(rubbish) != 0);
	CU_ASSERT(system(unknown) != 0);
	free(unknown);
	free(command);
	free(rubbish);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"the API is described", is_described},
		{"what is described is there", is_there},
		{"a page shows it", has_a_page},
		{"405 says what is allowed", says_what_is_allowed},
		{"each service adds its part", is_added_to},
		{NULL},
	};

	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
