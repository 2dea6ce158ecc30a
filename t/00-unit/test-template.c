/* test-template.c: fcgi/storefront/template.h: what a template may be, and that
 * no text becomes more than text.
 * SPDX-License-Identifier: MIT */
#include "template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LAYOUT "[{{unescaped_html body}}]"

static char dir[] = "/tmp/templates.XXXXXX";

static void
put_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (f == NULL)
		abort();
	fputs(text, f);
	fclose(f);
}

static void
remove_file(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

/* What the template makes of a model; or why it does not load. */
static const char *
fill(struct arena *a, const char *template, const char *json)
{
	struct templates *t;
	const char *text;
	char error[256];

	put_file("templates/page.html", template);
	t = templates_load(dir, error, sizeof(error));
	if (t == NULL)
		return arena_strdup(a, error);
	text = template_render(a, t, "page", json_read(a, json, strlen(json)));
	templates_free(t);
	return text;
}

static void
test_fill(void)
{
	static const struct {
		const char *template, *json, *text;
	} rows[] = {
		{"a", "{}", "[a]"},
		{"{{x}}", "{\"x\":\"y\"}", "[y]"},
		{"{{ x }}", "{\"x\":\"y\"}", "[y]"},
		{"{{x}}", "{\"x\":12}", "[12]"},
		{"{{x}}", "{\"x\":null}", "[]"},
		{"{{x}}", "{}", "[]"},
		{"{{x}}", "{\"x\":{\"y\":1}}", "[]"},
		{"{{x.y.z}}", "{\"x\":{\"y\":{\"z\":\"!\"}}}", "[!]"},
		{"{{x.y.z}}", "{\"x\":{\"y\":1}}", "[]"},
		{"{{#x}}a{{/x}}b", "{\"x\":true}", "[ab]"},
		{"{{#x}}a{{/x}}b", "{\"x\":false}", "[b]"},
		{"{{#x}}a{{/x}}b", "{\"x\":\"\"}", "[b]"},
		{"{{#x}}a{{/x}}b", "{\"x\":0}", "[b]"},
		{"{{#x}}a{{/x}}b", "{}", "[b]"},
		{"{{^x}}a{{/x}}b", "{}", "[ab]"},
		{"{{^x}}a{{/x}}b", "{\"x\":[]}", "[ab]"},
		{"{{^x}}a{{/x}}b", "{\"x\":[1]}", "[b]"},
		{"{{#x}}{{.}},{{/x}}", "{\"x\":[\"a\",\"<\"]}", "[a,&lt;,]"},
		{"{{#x}}{{y}}{{z}} {{/x}}",
		 "{\"z\":\"o\",\"y\":\"u\",\"x\":[{\"y\":\"1\"},{\"z\":\"2\"}]"
		 "}",
		 "[1o u2 ]"},
		{"{{#x}}{{#y}}{{a}}{{/y}}{{/x}}",
		 "{\"a\":\"A\",\"x\":{\"y\":[1,2]}}", "[AA]"},
		{"{{! not shown }}a", "{}", "[a]"},
		/* A tag alone on its line takes the line with it. */
		{"a\n  {{#x}}\nb\n  {{/x}}\nc\n", "{\"x\":true}",
		 "[a\nb\nc\n]"},
		{"a\n{{! c }}\nb", "{}", "[a\nb]"},
		{"a {{#x}}\nb{{/x}}", "{\"x\":true}", "[a \nb]"},
		{"{{>part}}", "{\"x\":\"<\"}", "[part &lt;\n]"},
		{"<p class=\"{{x}}\">{{x}}</p>", "{\"x\":\"a\\\"><b>\"}",
		 "[<p class=\"a&#34;&gt;&lt;b&gt;\">a&#34;&gt;&lt;b&gt;</p>]"},
		{"<p class='{{x}}'>", "{\"x\":\"' onclick='a\"}",
		 "[<p class='&#39; onclick=&#39;a'>]"},
		{"<option{{#x}} selected{{/x}}>", "{\"x\":true}",
		 "[<option selected>]"},
		{"<option {{#x}}selected{{/x}}>", "{}", "[<option >]"},
		{"<p{{#x}} id=\"{{x}}\"{{/x}}>", "{\"x\":\"i\"}",
		 "[<p id=\"i\">]"},
		{"<a href=\"/?q={{url x}}\">", "{\"x\":\"a b&c=\\\"\\u00e9\"}",
		 "[<a href=\"/?q=a%20b%26c%3D%22%C3%A9\">]"},
		{"<img src=\"{{asset a.css}}\">", "{}",
		 "[<img src=\"/static/a.css?v=bb4263d9ed\">]"},
	};
	struct arena *a = arena_new();

	put_file("templates/part.html", "part {{x}}\n");
	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_STRING(fill(a, rows[i].template, rows[i].json),
			   rows[i].text);
	arena_free(a);
}

/* What would be more than text where it stands is refused when it is loaded. */
static void
test_bad(void)
{
	static const struct {
		const char *template, *line; /* and the start of why */
	} rows[] = {
		{"<p {{x}}>", "1: {{x}} stands neither"},
		{"<{{x}}>", "1: {{x}} stands"}, /* a tag's name */
		{"a\nb\n<p class={{x}}>", "3: {{x}} stands neither"},
		{"<p class=a{{x}}>", "1: {{x}} stands neither"},
		{"<p {{x}}=\"\">", "1: {{x}} stands neither"},
		{"<script>{{x}}</script>", "1: {{x}} stands neither"},
		{"<script>\n'{{x}}'</script>", "2: {{x}} stands neither"},
		{"<SCRIPT>\n'{{x}}'</script>", "2: {{x}} stands neither"},
		{"<style>{{x}}</style>", "1: {{x}} stands neither"},
		{"<!-- {{x}} -->", "1: {{x}} stands neither"},
		{"<p onclick=\"{{x}}\">", "1: {{x}} in the attribute onclick"},
		{"<p onclick=\"a({{url x}})\">",
		 "1: {{x}} in the attribute onclick"},
		{"<p ONCLICK=\"{{x}}\">", "1: {{x}} in the attribute onclick"},
		{"<p style=\"{{x}}\">", "1: {{x}} in the attribute style"},
		{"<iframe srcdoc='{{x}}'>", "1: {{x}} in the attribute srcdoc"},
		{"<script src=\"/a\">{{x}}</script>", "1: {{x}} stands"},
		{"<p>{{json x}}</p>", "1: {{json x}} does not stand"},
		{"<script>{{json x}}</script>", "1: {{json x}} does not"},
		{"<script type=\"application/ld+js{{x}}on\">{{json x}}"
		 "</script>",
		 "1: {{json x}} does not"},
		{"<script type=\"application/ld+js{{#x}}{{/x}}on\">{{json x}}"
		 "</script>",
		 "1: {{json x}} does not"},
		{"{{unescaped_html body}}", "1: {{unescaped_html}} is for"},
		{"{{raw x}}", "1: {{raw}}: no such function"},
		{"{{{x}}}", "1: {{{x}}: that is no name"},
		{"{{&x}}", "1: {{&x}}: that is no name"},
		{"{{x y z}}", "1: {{x y z}}: that is no name"},
		{"{{}}", "1: {{}}: that is no name"},
		{"a\n{{#x}}\nb", "3: {{#x}} of line 2 is not closed"},
		{"{{#x}}{{/y}}", "1: {{/y}} closes {{#x}} of line 1"},
		{"{{/x}}", "1: {{/x}} closes nothing"},
		{"a\n{{x", "2: {{ without }}"},
		{"{{>nowhere}}", "1: there is no nowhere.html"},
		{"{{>page}}", "1: page.html has itself in it"},
		{"<p {{>part}}>", "1: {{>part}} does not stand in text"},
		{"<p", "1: it ends within a tag"},
		{"<!-- a", "1: it ends within a tag"},
		{"<a href=\"", "1: it ends within a tag"},
		{"<p>{{#x}}<p{{/x}} class=\"a\">", "1: {{#x}} of line 1 and"},
		{"<p id=\"{{#x}}\"{{/x}}>", "1: {{#x}} of line 1 and"},
		{"<link href=\"{{asset none.css}}\">",
		 "1: there is no static/none.css"},
	};
	struct arena *a = arena_new();

	put_file("templates/part.html", "part\n");
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *why = fill(a, rows[i].template, "{}");
		char start[128];

		snprintf(start, sizeof(start), "page.html:%s", rows[i].line);
		if (strncmp(why, start, strlen(start)) != 0)
			TAP_STRING(why, start);
	}
	arena_free(a);
}

static void
test_links(void)
{
	static const struct {
		const char *to;
		bool good;
	} rows[] = {
		{"https://a.example/b?c=d", true},
		{"http://a.example", true},
		{"HTTPS://a.example", true},
		{"/stuff/a", true},
		{"/", true},
		{"#part", true},
		{"?q=1", true},
		{"", false},
		{"javascript:alert(1)", false},
		{"JaVaScRiPt:alert(1)", false},
		{" javascript:alert(1)", false},
		{"java\\tscript:alert(1)", false},
		{"data:text/html,<script>", false},
		{"vbscript:a", false},
		{"mailto:a@b.example", false},
		{"//a.example", false},
		{"/\\\\a.example", false},
		{"/\\t/a.example", false},
		{"a.html", false},
		{"https:a", false},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *json =
			arena_printf(a, "{\"x\":\"%s\"}", rows[i].to);
		const char *made =
			fill(a, "<a title=\"\" href=\"{{x}}\">", json);

		TAP_INT(strstr(made, "href=\"#\"") == NULL ||
				strcmp(rows[i].to, "#") == 0,
			rows[i].good);
	}
	/* Behind a start of our own it may be anything. */
	TAP_STRING(fill(a, "<a href=\"/a/{{x}}\">", "{\"x\":\"b:c\"}"),
		   "[<a href=\"/a/b:c\">]");
	/* A start that may be left out is none. */
	TAP_STRING(fill(a, "<a href=\"{{#y}}/a/{{/y}}{{x}}\">",
			"{\"x\":\"javascript:a\"}"),
		   "[<a href=\"#\">]");
	TAP_STRING(fill(a, "<form action=\"{{x}}\">",
			"{\"x\":\"javascript:a\"}"),
		   "[<form action=\"#\">]");
	arena_free(a);
}

static void
test_json(void)
{
	struct arena *a = arena_new();

	TAP_STRING(fill(a,
			"<script type=\"application/ld+json\">{{json x}}"
			"</script>",
			"{\"x\":{\"a\":\"</script><!--&\\u2028\\\"\"}}"),
		   "[<script type=\"application/ld+json\">{\"a\":\"\\u003c/"
		   "script\\u003e\\u003c!--\\u0026\\u2028\\\"\"}</script>]");
	TAP_STRING(fill(a,
			"<script type=\"application/ld+json\">{{json x}}"
			"</script>",
			"{}"),
		   "[<script type=\"application/ld+json\">null</script>]");
	arena_free(a);
}

static void
test_stamp(void)
{
	unsigned long long before = templates_stamp(dir);

	TAP_INT(templates_stamp(dir) == before, 1);
	put_file("templates/new.html", "a");
	CU_ASSERT(templates_stamp(dir) != before);
	remove_file("templates/new.html");
	TAP_INT(templates_stamp(dir) == before, 1);
	put_file("static/a.css", "b{}\n");
	CU_ASSERT(templates_stamp(dir) != before);
}

/* What is not there. */
static void
test_lacking(void)
{
	char error[256];

	CU_ASSERT_PTR_NULL(
		templates_load("/nonexistent", error, sizeof(error)));
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "layout.html"));
}

/* No page is empty because its template could not be read. */
static void
test_unreadable(void)
{
	struct templates *t;
	char error[256], path[256], *big = malloc(300000);

	snprintf(path, sizeof(path), "%s/templates/folder.html", dir);
	CU_ASSERT_FATAL(mkdir(path, 0700) == 0);
	CU_ASSERT_PTR_NULL(templates_load(dir, error, sizeof(error)));
	TAP_STRING(error, "folder.html:0: it can't be read, or is too large");
	rmdir(path);

	memset(big, 'a', 299999);
	big[299999] = '\0';
	put_file("templates/page.html", big);
	CU_ASSERT_PTR_NULL(templates_load(dir, error, sizeof(error)));
	TAP_STRING(error, "page.html:0: it can't be read, or is too large");

	/* What else there is, somebody may have put there for others. */
	put_file("templates/page.html", "a");
	put_file("static/a.css", big);
	snprintf(path, sizeof(path), "%s/static/folder", dir);
	CU_ASSERT_FATAL(mkdir(path, 0700) == 0);
	t = templates_load(dir, error, sizeof(error));
	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	CU_ASSERT_PTR_NULL(template_asset(t, "folder"));
	CU_ASSERT_PTR_NOT_NULL(template_asset(t, "a.css"));
	templates_free(t);
	rmdir(path);
	free(big);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"templates are filled", test_fill},
		{"what may not stand somewhere is refused", test_bad},
		{"links lead to pages", test_links},
		{"JSON in a page", test_json},
		{"changes are seen", test_stamp},
		{"no templates", test_lacking},
		{"templates that can't be read", test_unreadable},
		{0},
	};
	char sub[64];
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(sub, sizeof(sub), "%s/templates", dir);
	mkdir(sub, 0700);
	snprintf(sub, sizeof(sub), "%s/static", dir);
	mkdir(sub, 0700);
	put_file("templates/layout.html", LAYOUT);
	put_file("static/a.css", "a{}\n");
	failed = tap_run(argc, argv, tests);
	remove_file("templates/layout.html");
	remove_file("templates/page.html");
	remove_file("templates/part.html");
	remove_file("static/a.css");
	rmdir(sub);
	snprintf(sub, sizeof(sub), "%s/templates", dir);
	rmdir(sub);
	rmdir(dir);
	return failed;
}
