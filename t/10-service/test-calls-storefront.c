/* test-calls-storefront.c: as test-calls.c, of a file on its way through the
 * storefront to a stack's stuff: each piece that a browser sends, and each call
 * of libcurl.  And of a service that gets no descriptors any more.
 * SPDX-License-Identifier: MIT */
#include <mongoc/mongoc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../fcgi/storefront/pages.h"
#include "../../fcgi/storefront/routes.h"
#include "misuse.h"
#include "scenario.h"

/* Of what main.c has. */
int64_t pages_window = 900, pages_file_max = 1 << 20;
const char *pages_stripe_key = "";

/* It stores nothing itself. */
static const struct kind *const no_kinds[] = {NULL};
static struct service storefront = {.name = "storefront",
				    .routes = storefront_routes,
				    .show_fail = view_fail};
static struct service nobody = {.name = "nobody", .kinds = no_kinds};

/* --- a file through the storefront, on to the stack's own stuff --- */

#define FORM_FILE 40000 /* bytes: some pieces */
#define FORM_SALT "0123456789abcdef"

static char stuff_id[ID_SIZE], form_sum[2 * crypto_hash_sha256_BYTES + 1];

/* It is told from the services' by their time, and they know only their own. */
static void
with_listing(void)
{
	char *id;

	calls_clock_right();
	buyer_make(&seller);
	id = buyer_lists(&seller, 1250);
	memcpy(stuff_id, id, ID_SIZE);
	free(id);
}

/* The listing's file is as before, and that is another, or the whole of what
 * was sent. */
static bool
has_form_file(void)
{
	char *path = text("/api/stuff/%s", stuff_id);
	const struct answer *a =
		fcgi_call("stuff", "GET", path, NULL, seller.token);
	const char *sum = answer_text(a, "file.sha256");
	bool is = sum != NULL && strcmp(sum, form_sum) == 0;

	CU_ASSERT(is || (sum != NULL && answer_int(a, "file.size") < 100));
	free(path);
	return is;
}

static int
send_form(void)
{
	static char body[FORM_FILE + 1000];
	unsigned char hash[crypto_hash_sha256_BYTES];
	char signature[TOKEN_SIGNATURE_SIZE], *bound, *path, *cookie;
	size_t len;
	int status;

	bound = text(FORM_SALT " %s", seller.id);
	token_sign("storefront form", bound, signature);
	len = (size_t)sprintf(
		body,
		"--b\r\nContent-Disposition: form-data; name=\"csrf\""
		"\r\n\r\n" FORM_SALT "%s\r\n--b\r\nContent-Disposition: "
		"form-data; name=\"file\"; filename=\"notes.txt\"\r\n"
		"Content-Type: text/plain\r\n\r\n",
		signature);
	memset(body + len, 'f', FORM_FILE);
	crypto_hash_sha256(hash, (unsigned char *)body + len, FORM_FILE);
	sodium_bin2hex(form_sum, sizeof(form_sum), hash, sizeof(hash));
	len += FORM_FILE;
	len += (size_t)sprintf(body + len, "\r\n--b--\r\n");
	path = text("SCRIPT_NAME=/sell/%s/file", stuff_id);
	cookie = text("HTTP_COOKIE=" TOKEN_COOKIE "=%s", seller.token);
	status = ask_in(&storefront,
			(const char *const[]){"REQUEST_METHOD=POST", path,
					      "CONTENT_TYPE=multipart/"
					      "form-data; boundary=b",
					      cookie, NULL},
			NULL, body, len, true);
	calls_end();
	/* Who is not signed in is shown where to. */
	if (status == 303 && strstr(answer_whole, "Location: /sell/") == NULL)
		status = 401;
	if (!has_form_file())
		CU_ASSERT(status != 303);
	free(cookie);
	free(path);
	free(bound);
	return status;
}

EACH(storefront_upload, &nobody, with_listing, send_form, 303, .steps = true,
     .soon = true, .whole = has_form_file)

/* --- no descriptors --- */

#define MANY 30 /* more than there are workers */
#define FEW 4	/* descriptors: not as many as any service has */

/* Has its log a line with that message, and so on? */
static bool
log_says(const char *log, const char *msg)
{
	char *command = text("grep -q '\"msg\":\"%s\"' '%s'", msg, log);
	bool does = system(command) == 0;

	free(command);
	return does;
}

static bool
says_accept_failed(void *log)
{
	return log_says(log,
			"accept failed\".*\"cause\":\"Too many open files");
}

static bool
says_stopped(void *log)
{
	return log_says(log, "stopped");
}

static void
set_files(pid_t pid, rlim_t n)
{
	struct rlimit limit;

	CU_ASSERT_FATAL(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
	limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	CU_ASSERT_FATAL(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

/* Who asks while there are none is answered when there are some again, by the
 * same process; and without any it ends as it should. */
static void
no_descriptors(void)
{
	static const char *const health[] = {"REQUEST_METHOD=GET",
					     "SCRIPT_NAME=/healthz", NULL};
	char *log = text("%s/stuff.log", stack("LOG_DIR"));
	pid_t pid = stack_pid("stuff");
	int fds[MANY];

	CU_ASSERT_FALSE(says_accept_failed(log));
	set_files(pid, FEW);
	for (int i = 0; i < MANY; i++) {
		fds[i] = fcgi_connect("stuff");
		CU_ASSERT_FATAL(fds[i] >= 0);
		TAP_INT(fcgi_begin(fds[i], false, health), 0);
		TAP_INT(fcgi_body(fds[i], "", 0), 0);
	}
	CU_ASSERT(eventually(20000, says_accept_failed, log));
	set_files(pid, RLIM_INFINITY);
	for (int i = 0; i < MANY; i++) {
		TAP_INT(fcgi_receive(fds[i])->status, 200);
		close(fds[i]);
	}
	TAP_INT(fcgi_insist("stuff", "GET", "/api/stuff", NULL, NULL)->status,
		200);
	TAP_INT(stack_pid("stuff"), pid);
	set_files(pid, FEW);
	stack_kill("stuff", "TERM");
	CU_ASSERT(eventually(20000, says_stopped, log));
	CU_ASSERT(eventually(20000, has_ended, &pid));
	stack_start("stuff", NULL);
	free(log);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		/* First: it waits, which later takes no time, see calls.h. */
		{"a service without descriptors", no_descriptors},
		{"a file comes through the storefront", storefront_upload},
		{0},
	};
	int rc;

	stack_up((const char *const[]){NULL});
	need(sodium_init() < 0 ? "libsodium can't start" : NULL);
	mongoc_init();
	scenario_open();
	log_init("test", "error");
	token_init(stack("JWT_KEY"), "");
	storefront.base_url = client_base = stack("BASE_URL");
	client_ca_file = stack("CA_CERT");
	view_dir = text("%s/fcgi/storefront", getenv("top_srcdir"));
	need(client_open(stack("BASE_URL")));
	need(view_open(stack("BASE_URL")));
	rc = tap_run(argc, argv, tests);
	view_close();
	client_close();
	free((char *)view_dir);
	scenario_close();
	mongoc_cleanup();
	return rc;
}
