/* test-disposition.c: lib/disposition.h.
 * SPDX-License-Identifier: MIT */
#include "disposition.h"

#include <string.h>

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
test_read(void)
{
	static const struct {
		const char *header, *name; /* name NULL: ill-formed */
	} rows[] = {
		{NULL, "file"},
		{"attachment", "file"},
		{"attachment;", "file"},
		{"attachment; filename=notes.pdf", "notes.pdf"},
		{"attachment; filename=\"notes.pdf\"", "notes.pdf"},
		{"inline;filename = \"notes.pdf\" ;", "notes.pdf"},
		{"ATTACHMENT; FileName=\"a b;c.pdf\"", "a b;c.pdf"},
		{"attachment; filename=\"a\\\"b\\c.pdf\"", "a\"bc.pdf"},
		{"attachment; filename=\"\xc3\x9c"
		 "bung.pdf\"",
		 "\xc3\x9c"
		 "bung.pdf"},
		/* A browser of old times, in ISO 8859-1. */
		{"attachment; filename=\"\xdc"
		 "bung.pdf\"",
		 "\xc3\x9c"
		 "bung.pdf"},
		{"attachment; filename=x; filename*=UTF-8''%e2%82%ac.pdf",
		 "\xe2\x82\xac.pdf"},
		{"attachment; filename*=utf-8'en'%E2%82%AC; filename=x",
		 "\xe2\x82\xac"},
		/* What filename* can't say, filename says. */
		{"attachment; filename=x; filename*=KOI8-R''%c1", "x"},
		{"attachment; filename=x; filename*=UTF-8''%ff", "x"},
		{"attachment; filename=x; filename*=UTF-8''%4", "x"},
		{"attachment; filename=x; filename*=UTF-8''a%00b", "x"},
		{"attachment; filename=x; filename*=UTF-8", "x"},
		{"attachment; filename*=UTF-8''..%2f..%2Fetc%2Fpasswd",
		 "passwd"},
		{"attachment; name=y; filename=x", "x"},
		{"", NULL},
		{"; filename=x", NULL},
		{"attachment filename=x", NULL},
		{"attachment; filename", NULL},
		{"attachment; filename=\"x", NULL},
		{"attachment; filename=\"x\\", NULL},
		{"attachment; =x", NULL},
		{"attachment; filename=x; filename=y", NULL},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		TAP_STRING(disposition_read(a, rows[i].header), rows[i].name);
	}
	arena_free(a);
}

static void
test_safe(void)
{
	static const struct {
		const char *name, *safe;
	} rows[] = {
		{"notes.pdf", "notes.pdf"},
		{"a b.tar.gz", "a b.tar.gz"},
		{"", "file"},
		{".", "file"},
		{"..", "file"},
		{"...", "file"},
		{" . ", "file"},
		{"/", "file"},
		{"../../etc/passwd", "passwd"},
		{"C:\\Users\\ann\\notes.pdf", "notes.pdf"},
		{"/etc/cron.d/x", "x"},
		{".bashrc", "bashrc"},
		{"notes.pdf. ", "notes.pdf"},
		{"a\r\nSet-Cookie: x", "aSet-Cookie: x"},
		{"a\tb\x7f\x1b[31m.pdf", "ab[31m.pdf"},
		/* Every script, and what belongs to it, stays. */
		{"\xe8\xac\x9b\xe7\xbe\xa9.pdf",
		 "\xe8\xac\x9b\xe7\xbe\xa9.pdf"},
		{"\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae.txt",
		 "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae.txt"},
		{"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x8e\x93.png",
		 "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x8e\x93.png"},
		/* "exe.pdf" only to the eye: U+202E. */
		{"x\xe2\x80\xae"
		 "fdp.exe",
		 "xfdp.exe"},
		{"x\xe2\x81\xa6y\xe2\x81\xa9.pdf", "xy.pdf"},
		{"a\xe2\x80\x8b\xef\xbb\xbf\xc2\x85.pdf", "a.pdf"},
		{"\xe2\x80\xae.hidden", "hidden"},
		/* Not UTF-8: too long a form of "/", a surrogate. */
		{"a\xc0\xaf"
		 "b",
		 "a\xc3\x80\xc2\xaf"
		 "b"},
		{"\xed\xa0\x80x", "\xc3\xad\xc2\xa0x"},
	};
	struct arena *a = arena_new();
	char longest[2000] = "";
	const char *safe;

	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_STRING(disposition_safe(a, rows[i].name), rows[i].safe);
	for (int i = 0; i < 300; i++)
		strncat(longest, "\xe2\x82\xac", 4);
	strncat(longest, ".pdf", 5);
	safe = disposition_safe(a, longest);
	TAP_INT((int)strlen(safe), 83 * 3 + 4);
	TAP_STRING(safe + strlen(safe) - 7, "\xe2\x82\xac.pdf");
	memset(longest, 'x', 1000);
	longest[0] = '.', longest[500] = '.', longest[1000] = '\0';
	TAP_INT((int)strlen(disposition_safe(a, longest)),
		DISPOSITION_NAME_MAX);
	arena_free(a);
}

static void
test_write(void)
{
	static const struct {
		const char *name, *header;
	} rows[] = {
		{"notes.pdf", "attachment; filename=\"notes.pdf\""},
		{"a b.pdf", "attachment; filename=\"a b.pdf\""},
		{"a\"b%41.pdf", "attachment; filename=\"a_b_41.pdf\"; "
				"filename*=UTF-8''a%22b%2541.pdf"},
		{"\xc3\x9c"
		 "bung \xe2\x82\xac.pdf",
		 "attachment; filename=\"_bung _.pdf\"; "
		 "filename*=UTF-8''%C3%9Cbung%20%E2%82%AC.pdf"},
		{"a;b,c'd", "attachment; filename=\"a;b,c'd\""},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *header = disposition_write(a, rows[i].name);

		TAP_STRING(header, rows[i].header);
		/* What we write, we read. */
		TAP_STRING(disposition_read(a, header), rows[i].name);
	}
	arena_free(a);
}

static void
test_type(void)
{
	static const struct {
		const char *header, *type;
	} rows[] = {
		{"application/pdf", "application/pdf"},
		{" Text/HTML; charset=utf-8", "text/html"},
		{"image/svg+xml", "image/svg+xml"},
		{"application/vnd.oasis.opendocument.text",
		 "application/vnd.oasis.opendocument.text"},
		{NULL, "application/octet-stream"},
		{"", "application/octet-stream"},
		{"text", "application/octet-stream"},
		{"text/", "application/octet-stream"},
		{"/html", "application/octet-stream"},
		{"text/html/x", "application/octet-stream"},
		{"text/html,text/plain", "application/octet-stream"},
		{"text/h\xc3\xa4", "application/octet-stream"},
		{"text /html", "application/octet-stream"},
		{"a/b\r\nX: y", "application/octet-stream"},
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++)
		TAP_STRING(disposition_type(a, rows[i].header), rows[i].type);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"names that clients give", test_read},
		{"names that are safe", test_safe},
		{"names that we give", test_write},
		{"media types", test_type},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
