/* openapi.c: see openapi.h.
 * SPDX-License-Identifier: MIT */
#include "openapi.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "service.h"

#define JSON_TYPE "application/json"

static const char head[] =
	"{\"openapi\":\"3.1.0\","
	"\"info\":{\"title\":\"Ticketing\",\"version\":\"1\",\"description\":"
	"\"Students sell digital stuff to each other. A listing is held for "
	"its "
	"buyer for 15 minutes, and sold once. Prices are in cents.\"},"
	"\"servers\":[{\"url\":\"/\"}],\"paths\":{},"
	"\"components\":{\"securitySchemes\":{"
	"\"cookie\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":"
	"\"" TOKEN_COOKIE "\"},"
	"\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
	"\"schemas\":{\"Errors\":{\"type\":\"object\",\"required\":[\"errors\"]"
	","
	"\"additionalProperties\":false,\"properties\":{\"errors\":{\"type\":"
	"\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"required\":"
	"[\"message\"],\"additionalProperties\":false,\"properties\":"
	"{\"message\":{\"type\":\"string\"},\"field\":{\"type\":\"string\"}}}}}"
	"}"
	"}}}";

static const struct {
	int status;
	const char *text;
} statuses[] = {
	{200, "OK"},
	{201, "Created"},
	{204, "Done; no content"},
	{206, "The part that Range asks for"},
	{304, "As If-None-Match says"},
	{400, "The request is malformed, or fields are bad"},
	{401, "Not signed in"},
	{402, "The card was declined"},
	{403, "Not theirs to do, banned, or asked by another site's page"},
	{404, "There is none"},
	{409, "Its state does not allow it now"},
	{411, "Content-Length is missing"},
	{413, "The body is too large"},
	{414, "The URL is too long"},
	{416, "The range begins behind the end"},
	{429, "Too often; Retry-After says when again"},
	{503, "Something that is needed does not answer; Retry-After"},
};
#define STATUSES (sizeof(statuses) / sizeof(statuses[0]))

static json_object *
new_object(void)
{
	return json_object_new_object();
}

/* An object with one member that is a text. */
static json_object *
object_of(const char *name, const char *text)
{
	json_object *o = new_object();

	json_put_text(o, name, text);
	return o;
}

static void
push(json_object *list, const char *text)
{
	json_object_array_add(list, json_object_new_string(text));
}

static json_object *describe(const struct field *fields, bool shown);

static void
put_range(json_object *o, const struct field *f, const char *least,
	  const char *most)
{
	if (f->min == 0 && f->max == 0)
		return;
	json_put_int(o, least, f->min);
	json_put_int(o, most, f->max);
}

/* See enum field_type. */
static json_object *
describe_value(const struct field *f, bool shown)
{
	json_object *o = new_object();

	switch (f->type) {
	case FIELD_TEXT:
		json_put_text(o, "type", "string");
		/* What is trimmed may be longer before. */
		if (!(f->flags & FIELD_TRIM))
			put_range(o, f, "minLength", "maxLength");
		break;
	case FIELD_ID:
		json_put_text(o, "type", "string");
		json_put_text(o, "pattern", "^[0-9a-f]{24}$");
		break;
	case FIELD_INT:
		json_put_text(o, "type", "integer");
		json_put_text(o, "format", "int64");
		put_range(o, f, "minimum", "maximum");
		break;
	case FIELD_TIME:
		json_put_text(o, "type", "string");
		json_put_text(o, "format", "date-time");
		json_put_text(o, "pattern", "Z$");
		break;
	case FIELD_BOOL:
		json_put_text(o, "type", "boolean");
		break;
	case FIELD_RECORD:
		json_object_put(o);
		return describe(f->fields, shown);
	}
	return o;
}

static json_object *
describe_list(json_object *items)
{
	json_object *o = object_of("type", "array");

	json_put(o, "items", items);
	return o;
}

static json_object *
or_null(json_object *schema)
{
	json_object *list = json_object_new_array(), *o = new_object();

	json_object_array_add(list, schema);
	json_object_array_add(list, object_of("type", "null"));
	json_put(o, "anyOf", list);
	return o;
}

static json_object *
describe_field(const struct field *f, bool shown)
{
	json_object *o = describe_value(f, shown), *list;

	if (f->one_of != NULL) {
		list = json_object_new_array();
		for (const char *const *s = f->one_of; *s != NULL; s++)
			push(list, *s);
		json_put(o, "enum", list);
	}
	return f->flags & FIELD_MANY ? describe_list(o) : o;
}

/* Is it never null where it is shown?  See record_to_json(). */
static bool
always_there(const struct field *f)
{
	return f->flags & (FIELD_REQUIRED | FIELD_MANY) ||
	       f->type == FIELD_BOOL ||
	       (f->type == FIELD_INT && f->flags & FIELD_ZERO) ||
	       (f->type == FIELD_RECORD && !(f->flags & FIELD_OR_NULL));
}

/* The schema of a record that is read, or of one that is shown. */
static json_object *
describe(const struct field *fields, bool shown)
{
	json_object *o = object_of("type", "object"), *v;
	json_object *members = new_object(), *required;

	required = json_object_new_array();
	for (const struct field *f = fields; f && f->name != NULL; f++) {
		if (shown && f->flags & FIELD_HIDDEN)
			continue;
		v = describe_field(f, shown);
		if (shown ? !always_there(f) : !(f->flags & FIELD_REQUIRED))
			v = or_null(v);
		json_put(members, f->name, v);
		if (shown ? !(f->flags & FIELD_OMIT)
			  : (f->flags & FIELD_REQUIRED) != 0)
			push(required, f->name);
	}
	json_put(o, "properties", members);
	if (json_object_array_length(required) > 0)
		json_put(o, "required", required);
	else
		json_object_put(required);
	/* More members are passed over where they are read, and never shown. */
	if (shown)
		json_put(o, "additionalProperties",
			 json_object_new_boolean(false));
	return o;
}

static void
put_content(json_object *o, const char *type, json_object *schema)
{
	json_object *content = json_member(o, "content", json_type_object);
	json_object *media = new_object();

	if (content == NULL)
		json_put(o, "content", content = new_object());
	json_put(media, "schema", schema);
	json_put(content, type, media);
}

static json_object *
parameter(const char *in, const char *name, bool required, json_object *schema)
{
	json_object *o = object_of("in", in);

	json_put_text(o, "name", name);
	json_put(o, "required", json_object_new_boolean(required));
	json_put(o, "schema", schema);
	return o;
}

/* "/api/orders/:id" to "/api/orders/{id}", and its parts to a list. */
static const char *
describe_path(struct arena *a, const char *path, json_object *parameters)
{
	static const struct field id[] = {{.name = "id", .type = FIELD_ID}};
	static const struct field code[] = {{.name = "code",
					     .type = FIELD_TEXT,
					     .min = 1,
					     .max = HTTP_MAX_CODE}};
	const char *out = "";

	while (*path != '\0') {
		size_t len = strcspn(path, ":"), name;

		out = arena_printf(a, "%s%.*s", out, (int)len, path);
		path += len;
		if (*path == '\0')
			break;
		name = strcspn(++path, "/");
		out = arena_printf(a, "%s{%.*s}", out, (int)name, path);
		json_object_array_add(
			parameters,
			parameter("path", arena_strndup(a, path, name), true,
				  describe_field(strncmp(path, "code", name)
							 ? id
							 : code,
						 true)));
		path += name;
	}
	return out;
}

static json_object *
describe_body(const struct route *r)
{
	json_object *o = new_object();

	if (r->body != NULL)
		put_content(o, JSON_TYPE, describe(r->body, false));
	else
		put_content(o, "*/*", new_object());
	json_put(o, "required",
		 json_object_new_boolean(r->body && !r->body_optional));
	return o;
}

static bool
may_answer(const struct route *r, int status)
{
	for (size_t i = 0; i < ROUTE_ALSO; i++)
		if (r->answers.also[i] == status)
			return true;
	switch (status) {
	case 400:
	case 413:
	case 414:
	case 503:
		return true;
	case 401:
		return r->access != ANYONE;
	case 403:
		return r->access != ANYONE ||
		       (r->method != GET && r->raw_max == 0);
	case 404:
		return strchr(r->path, ':') != NULL;
	case 411:
		return r->stream == UPLOAD;
	default:
		return status == (r->answers.status ? r->answers.status : 200);
	}
}

static json_object *
any_of(json_object *a, json_object *b)
{
	json_object *o = new_object(), *list = json_object_new_array();

	json_object_array_add(list, a);
	json_object_array_add(list, b);
	json_put(o, "anyOf", list);
	return o;
}

static json_object *
describe_answer(const struct route *r, int status, const char *text)
{
	json_object *o = object_of("description", text), *schema;
	const struct field *fields = r->answers.fields;

	if (status >= 400) {
		put_content(o, JSON_TYPE,
			    object_of("$ref", "#/components/schemas/Errors"));
		return o;
	}
	if (status == 204 || status == 304)
		return o;
	if (r->answers.type != NULL)
		put_content(o, r->answers.type, new_object());
	if (r->answers.type != NULL && fields == NULL)
		return o;
	schema = describe(fields, true);
	if (r->answers.how == LIST)
		schema = describe_list(schema);
	else if (r->answers.how == ONE_OR_LIST)
		schema = any_of(schema, describe_list(describe(fields, true)));
	put_content(o, JSON_TYPE, schema);
	return o;
}

static json_object *
describe_answers(const struct route *r)
{
	json_object *o = new_object();
	char name[16];

	for (size_t i = 0; i < STATUSES; i++) {
		if (!may_answer(r, statuses[i].status))
			continue;
		snprintf(name, sizeof(name), "%d", statuses[i].status);
		json_put(o, name,
			 describe_answer(r, statuses[i].status,
					 statuses[i].text));
	}
	return o;
}

/* Either of the two ways to say who is calling. */
/* Whoever is signed in, or has the role that is named. */
static json_object *
describe_access(enum access access)
{
	static const char *const ways[] = {"cookie", "token"};
	json_object *list = json_object_new_array(), *o, *roles;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		roles = json_object_new_array();
		if (access == ADMIN)
			json_object_array_add(roles,
					      json_object_new_string("admin"));
		o = new_object();
		json_put(o, ways[i], roles);
		json_object_array_add(list, o);
	}
	return list;
}

static void
add_route(struct arena *a, json_object *paths, const struct service *service,
	  const struct route *r)
{
	static const char *const methods[METHOD__MAX] = {
		[GET] = "get",
		[POST] = "post",
		[PUT] = "put",
		[DELETE] = "delete",
	};
	json_object *parameters = json_object_new_array(), *tags, *all;
	json_object *o = object_of("summary", r->answers.says);
	const char *path = describe_path(a, r->path, parameters);

	for (const struct field *f = r->query; f && f->name != NULL; f++) {
		json_object *schema = describe_field(f, false);

		/* "min=" is an empty field of a form: as good as none. */
		if (!(f->flags & FIELD_REQUIRED))
			schema = any_of(schema, object_of("const", ""));
		json_object_array_add(
			parameters,
			parameter("query", f->name,
				  (f->flags & FIELD_REQUIRED) != 0, schema));
	}
	tags = json_object_new_array();
	push(tags, service->name);
	json_put(o, "tags", tags);
	json_put(o, "parameters", parameters);
	if (r->body != NULL || r->raw_max > 0 || r->stream == UPLOAD)
		json_put(o, "requestBody", describe_body(r));
	if (r->access != ANYONE)
		json_put(o, "security", describe_access(r->access));
	json_put(o, "responses", describe_answers(r));
	all = json_member(paths, path, json_type_object);
	if (all == NULL)
		json_put(paths, path, all = new_object());
	json_put(all, methods[r->method], o);
}

static const char *
read_all(struct arena *a, FILE *from, size_t *ret_len)
{
	size_t size = 4096, n;
	char *text = arena_alloc(a, size);

	*ret_len = 0;
	while ((n = fread(text + *ret_len, 1, size - *ret_len, from)) > 0) {
		*ret_len += n;
		if (*ret_len == size) {
			char *longer = arena_alloc(a, size *= 2);

			text = memcpy(longer, text, *ret_len);
		}
	}
	return text;
}

int
openapi_main(const struct service *service)
{
	struct arena *a = arena_new();
	int status = EX_DATAERR;
	json_object *o, *paths;
	const char *text;
	size_t len;

	text = read_all(a, stdin, &len);
	o = len > 0 ? json_tokener_parse(text) : json_tokener_parse(head);
	paths = json_member(o, "paths", json_type_object);
	if (paths != NULL) {
		for (const struct route *r = service->routes; r->path; r++)
			add_route(a, paths, service, r);
		puts(json_object_to_json_string_ext(
			o, JSON_C_TO_STRING_NOSLASHESCAPE));
		status = fflush(stdout) == 0 ? 0 : EX_IOERR;
	} else {
		fprintf(stderr, "%s: standard input is no OpenAPI document\n",
			service->name);
	}
	json_object_put(o);
	arena_free(a);
	return status;
}
