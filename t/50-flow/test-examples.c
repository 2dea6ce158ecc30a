/* test-examples.c: what examples/ shows does what it says.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"

/* What the command prints, to be freed; *ret_status as of pclose(). */
static char *
run(const char *command, int *ret_status)
{
	char *all = text("export BASE_URL='%s' CA_CERT='%s'; %s",
			 stack("BASE_URL"), stack("CA_CERT"), command);
	char *out = calloc(1, 65536);
	FILE *f = popen(all, "r");

	CU_ASSERT_FATAL(f != NULL && out != NULL);
	out[fread(out, 1, 65535, f)] = '\0';
	*ret_status = pclose(f);
	free(all);
	return out;
}

static void
a_purchase(void)
{
	char *command = text("'%s/examples/purchase.sh'", getenv("top_srcdir"));
	int status;
	char *out = run(command, &status);

	TAP_INT(status, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "Bob has bought "));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "1250 Algebra notes"));
	CU_ASSERT_TRUE(settles(NULL));
	free(command);
	free(out);
}

/* More than one page of listings, and those of one text. */
static void
a_client(void)
{
	struct student *s = student_signed_up();
	char *command, *out;
	int status, lines = 0;

	for (int i = 0; i < 60; i++)
		TAP_INT(askf(s, "POST", "/api/stuff",
			     "{\"title\":\"Drawing & %d\",\"price\":1205}", i)
				->status,
			201);
	command = text("'%s/examples/browse' \"$BASE_URL\" 'drawing & '",
		       getenv("top_builddir"));
	out = run(command, &status);
	TAP_INT(status, 0);
	for (const char *p = out; (p = strstr(p, "12.05 Drawing & ")); p++)
		lines++;
	TAP_INT(lines, 60);
	free(out);
	free(command);
	command = text("'%s/examples/browse' \"$BASE_URL/nowhere\" 2>&1",
		       getenv("top_builddir"));
	out = run(command, &status);
	CU_ASSERT(status != 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "404"));
	free(out);
	free(command);
	student_free(s);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a purchase by curl", a_purchase},
		{"a client in C", a_client},
		{NULL},
	};

	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
