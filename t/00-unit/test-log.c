/* test-log.c: lib/log.h.
 * SPDX-License-Identifier: MIT */
#include "log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Runs write() with standard error in a file; what it wrote, in the arena. */
static char *
logged(struct arena *a, void (*write_it)(void))
{
	FILE *f = tmpfile();
	int was = dup(STDERR_FILENO);
	long size;
	char *text;

	fflush(stderr);
	dup2(fileno(f), STDERR_FILENO);
	write_it();
	dup2(was, STDERR_FILENO);
	close(was);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	text = arena_alloc(a, (size_t)size + 1);
	CU_ASSERT_EQUAL(fread(text, 1, (size_t)size, f), (size_t)size);
	fclose(f);
	return text;
}

/* Cuts the next line off as JSON; NULL at the end. */
static json_object *
next_line(struct arena *a, char **text)
{
	char *line = *text, *end = strchr(line, '\n');
	json_object *o;

	if (*line == '\0')
		return NULL;
	CU_ASSERT_PTR_NOT_NULL_FATAL(end);
	*end = '\0';
	*text = end + 1;
	o = json_read(a, line, strlen(line));
	if (o == NULL)
		tap_note("not JSON: %s", line);
	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	return o;
}

static void
write_members(void)
{
	const char *text = "x", *empty = "", *none = NULL;

	log_init("stuff", "info");
	LOG(LOG_INFO, "first", LOG_TEXT("text", text), LOG_NUMBER("n", -5),
	    LOG_TEXT("none", none));
	log_set_request("r1");
	LOG(LOG_ERROR, "second", LOG_NUMBER("most", INT64_MAX));
	log_set_request(NULL);
	LOG(LOG_WARN, "third", LOG_TEXT("a", empty));
}

static void
test_members(void)
{
	struct arena *a = arena_new();
	char *text = logged(a, write_members);
	json_object *o = next_line(a, &text);
	int64_t at = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(json_text(o, "time"));
	TAP_INT(clock_parse(json_text(o, "time"), &at), 0);
	CU_ASSERT_TRUE(clock_now() - at >= 0);
	TAP_STRING(json_text(o, "level"), "info");
	TAP_STRING(json_text(o, "service"), "stuff");
	TAP_STRING(json_text(o, "request"), NULL);
	TAP_STRING(json_text(o, "msg"), "first");
	TAP_STRING(json_text(o, "text"), "x");
	TAP_STRING(json_text(o, "none"), "");
	TAP_INT(json_object_get_int64(json_member(o, "n", json_type_int)), -5);

	o = next_line(a, &text);
	TAP_STRING(json_text(o, "level"), "error");
	TAP_STRING(json_text(o, "request"), "r1");
	TAP_INT(json_object_get_int64(json_member(o, "most", json_type_int)),
		INT64_MAX);

	o = next_line(a, &text);
	TAP_STRING(json_text(o, "level"), "warn");
	TAP_STRING(json_text(o, "request"), NULL);
	CU_ASSERT_PTR_NULL(next_line(a, &text));
	arena_free(a);
}

static const struct {
	const char *text, *read; /* read: as a reader of the line gets it */
} nasty[] = {
	{"a\nb", "a\nb"},
	{"\r\n{\"level\":\"error\"}\n", "\r\n{\"level\":\"error\"}\n"},
	{"\",\"level\":\"forged", "\",\"level\":\"forged"},
	{"\x1b[31m\x07\b\t", "\x1b[31m\x07\b\t"},
	{"\x01\x1f\x7f", "\x01\x1f\x7f"},
	{"\\", "\\"},
	{"%s%n%d", "%s%n%d"},
	{"\xc3\xa9\xe2\x80\xa8", "\xc3\xa9\xe2\x80\xa8"},
	/* What is not UTF-8 would make the line none of JSON's. */
	{"/\xff\xfe", "/??"},
	{"\xc3", "?"},
	{"\xc0\x80\xed\xa0\x80", "?????"},
};

static void
write_nasty(void)
{
	log_init("stuff", "info");
	for (size_t i = 0; i < COUNT(nasty); i++) {
		log_set_request(nasty[i].text);
		LOG(LOG_INFO, nasty[i].text, LOG_TEXT("x", nasty[i].text));
	}
	log_set_request(NULL);
}

static void
test_nasty(void)
{
	struct arena *a = arena_new();
	char *text = logged(a, write_nasty);

	for (const char *p = text; *p != '\0'; p++)
		CU_ASSERT_TRUE((unsigned char)*p >= ' ' || *p == '\n');
	for (size_t i = 0; i < COUNT(nasty); i++) {
		json_object *o = next_line(a, &text);

		TAP_STRING(json_text(o, "msg"), nasty[i].read);
		TAP_STRING(json_text(o, "x"), nasty[i].read);
		TAP_STRING(json_text(o, "request"), nasty[i].read);
		TAP_STRING(json_text(o, "level"), "info");
	}
	CU_ASSERT_PTR_NULL(next_line(a, &text));
	arena_free(a);
}

static const char *least;

static void
write_levels(void)
{
	CU_ASSERT_EQUAL(log_init("stuff", least), 0);
	for (int level = LOG_DEBUG; level <= LOG_ERROR; level++)
		LOG((enum log_level)level, "x", LOG_NUMBER("n", level));
}

static void
test_levels(void)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	struct arena *a = arena_new();

	for (int i = 0; i < (int)COUNT(names); i++) {
		char *text;
		json_object *o;

		least = names[i];
		text = logged(a, write_levels);
		for (int j = i; j < (int)COUNT(names); j++) {
			o = next_line(a, &text);
			TAP_STRING(json_text(o, "level"), names[j]);
		}
		CU_ASSERT_PTR_NULL(next_line(a, &text));
	}
	TAP_INT(log_init("other", "INFO"), -1);
	TAP_INT(log_init("other", ""), -1);
	TAP_INT(log_init("other", "verbose"), -1);
	arena_free(a);
}

static void *
write_many(void *arg)
{
	log_set_request(arg);
	for (int i = 0; i < 500; i++)
		LOG(LOG_INFO, "many", LOG_TEXT("by", arg));
	return NULL;
}

static void
write_threads(void)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
	pthread_t threads[COUNT(names)];

	log_init("stuff", "info");
	for (size_t i = 0; i < COUNT(names); i++)
		pthread_create(&threads[i], NULL, write_many,
			       (void *)(uintptr_t)names[i]);
	for (size_t i = 0; i < COUNT(names); i++)
		pthread_join(threads[i], NULL);
}

/* Lines don't mix, and each thread has its own request. */
static void
test_threads(void)
{
	struct arena *a = arena_new();
	char *text = logged(a, write_threads);
	json_object *o;
	int lines = 0;

	while ((o = next_line(a, &text)) != NULL) {
		TAP_STRING(json_text(o, "request"), json_text(o, "by"));
		lines++;
	}
	TAP_INT(lines, 3000);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"members", test_members},
		{"nothing breaks or forges a line", test_nasty},
		{"levels", test_levels},
		{"threads", test_threads},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
