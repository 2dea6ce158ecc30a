/* test-cached.c: the home page that nginx keeps for a second, for those alone
 * who have no cookie; at the local edge, and at the sidecar of a pod.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "flow.h"
#include "token.h"

#define HERD 16
#define SLOW "FAILPOINTS=answering=sleep:300"
#define HOME_ROUTE "ticketing_requests_total{method=\"GET\",route=\"/\","

static const char *site; /* whose pages are asked for */

/* How often the storefront made a home page so far. */
static long
made(void)
{
	const struct answer *a =
		fcgi_call("storefront", "GET", "/metrics", NULL, NULL);
	const char *p = strstr(a->body, HOME_ROUTE "status=\"200\"} ");

	TAP_INT(a->status, 200);
	return p ? strtol(strchr(p, ' '), NULL, 10) : 0;
}

/* What no test has asked for before. */
static char *
fresh_path(void)
{
	char id[ID_SIZE];

	id_new(id);
	return text("/?q=%s", id);
}

static const struct answer *
get(struct student *s, const char *path, const char *header)
{
	char *url = text("%s%s", site, path);
	const char *headers[] = {header, NULL};
	const struct answer *a = ask(s, "GET", url, NULL, headers);

	TAP_INT(a->status, 200);
	free(url);
	return a;
}

static bool
has(const struct answer *a, const char *part)
{
	return strstr(a->body, part) != NULL;
}

/* Is the page shown without being made? */
static bool
is_kept(void *path)
{
	struct student *s = student_new();
	long before;

	get(s, path, NULL);
	before = made();
	get(s, path, NULL);
	student_free(s);
	return made() == before;
}

static void
for_all_the_same(void)
{
	struct student *s = student_new();
	char *path = fresh_path(), first[64];
	const struct answer *a;

	CU_ASSERT(eventually(20000, is_kept, path));
	for (int i = 0; i < 20; i++) {
		a = get(s, path, NULL);
		CU_ASSERT_PTR_NULL(answer_header(a, "Set-Cookie"));
		CU_ASSERT_FALSE(has(a, "name=\"csrf\""));
		CU_ASSERT_PTR_NOT_NULL(answer_header(a, "ETag"));
		TAP_STRING(answer_header(a, "Cache-Control"), "no-cache");
		CU_ASSERT_PTR_NOT_NULL(strstr(a->headers, "Vary: Cookie\r\n"));
		CU_ASSERT_PTR_NULL(strstr(a->headers, "s-maxage"));
		/* Whose request it is says the log's line. */
		CU_ASSERT_FATAL(answer_header(a, "X-Request-Id") != NULL);
		if (i > 0)
			CU_ASSERT_STRING_NOT_EQUAL(
				answer_header(a, "X-Request-Id"), first);
		snprintf(first, sizeof(first), "%s",
			 answer_header(a, "X-Request-Id"));
	}
	free(path);
	student_free(s);
}

/* Each of their pages is made for them, and nobody else is shown it. */
static void
with_a_cookie(void)
{
	struct student *s = student_signed_up(), *none = student_new();
	char *cookie = text("Cookie: " TOKEN_COOKIE "=%s", student_cookie(s));
	char *bearer = text("Authorization: Bearer %s", student_cookie(s));
	const struct {
		const char *header;
		bool in; /* signed in by it */
	} rows[] = {
		{cookie, true},
		{bearer, true},
		{"Cookie: " TOKEN_COOKIE "=rubbish", false},
		{"Cookie: __Secure-refresh=rubbish", false},
		{"Cookie: __Host-visitor=0123", false},
		{"Cookie: anything=else", false},
	};
	char *path = fresh_path();

	CU_ASSERT(eventually(20000, is_kept, path));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct answer *a;
		long before = made();

		for (int n = 0; n < 3; n++) {
			a = get(none, path, rows[i].header);
			TAP_INT(has(a, "name=\"csrf\""), rows[i].in);
			TAP_INT(has(a, student_email(s)), rows[i].in);
			CU_ASSERT_FALSE(
				has(get(none, path, NULL), "name=\"csrf\""));
		}
		/* More, when one that was kept was old. */
		CU_ASSERT(made() - before >= 3);
	}
	free(path);
	free(bearer);
	free(cookie);
	student_free(none);
	student_free(s);
}

/* Whoever buys sees it held as soon as the API says so, although the page of
 * all others may be a second old. */
static void
after_buying(void)
{
	struct student *seller = student_signed_up();
	struct student *buyer = student_signed_up(), *none = student_new();
	char *cookie =
		text("Cookie: " TOKEN_COOKIE "=%s", student_cookie(buyer));
	char *id = list_stuff(seller, 500), *order;
	char *path = text("/?seller=%s", student_id(seller));
	char *api = text("/api/stuff/%s", id);
	static const char held[] = "class=\"state held\"";

	CU_ASSERT(eventually(20000, is_kept, path));
	CU_ASSERT_FALSE(has(get(none, path, cookie), held));
	order = buy(buyer, id);
	while (!has(ask(buyer, "GET", api, NULL, NULL),
		    "\"status\":\"reserved\""))
		get(none, path, NULL);
	CU_ASSERT(has(get(none, path, cookie), held));
	/* The others' is not older than it may be. */
	for (int64_t until = clock_monotonic() + 20000;
	     !has(get(none, path, NULL), held) && clock_monotonic() < until;)
		clock_sleep(20);
	CU_ASSERT(has(get(none, path, NULL), held));
	free(order);
	free(api);
	free(path);
	free(id);
	free(cookie);
	student_free(none);
	student_free(buyer);
	student_free(seller);
}

struct member {
	pthread_t thread;
	pthread_barrier_t *start;
	const char *path;
};

static void *
runs(void *arg)
{
	struct member *m = arg;
	struct student *s = student_new();

	pthread_barrier_wait(m->start);
	get(s, m->path, NULL);
	student_free(s);
	return NULL;
}

/* How often a page is made that so many ask for at once. */
static long
herd(void)
{
	struct member members[HERD];
	pthread_barrier_t start;
	char *path = fresh_path();
	long before = made();

	pthread_barrier_init(&start, NULL, HERD);
	for (int i = 0; i < HERD; i++) {
		members[i] = (struct member){.start = &start, .path = path};
		pthread_create(&members[i].thread, NULL, runs, &members[i]);
	}
	for (int i = 0; i < HERD; i++)
		pthread_join(members[i].thread, NULL);
	pthread_barrier_destroy(&start);
	free(path);
	return made() - before;
}

static bool
many_are_made(void *arg)
{
	(void)arg;
	return herd() > 1;
}

/* Runs a command in the shell; its variables say where things are. */
static void
shell(const char *command)
{
	char *all = text("TOP='%s' RUN='%s' STATE='%s' CONF='%s/nginx' && %s",
			 getenv("top_srcdir"), stack("RUN_DIR"),
			 stack("DEV_STATE"), stack("DEV_STATE"), command);
	FILE *f = popen(all, "w");

	CU_ASSERT_FATAL(f != NULL);
	TAP_INT(pclose(f), 0);
	free(all);
}

static void
a_herd(void)
{
	stack_restart("storefront", SLOW);
	TAP_INT(herd(), 1);
	TAP_INT(herd(), 1);
	/* Without the lock each of them makes one. */
	shell("sed 's/cache_lock on/cache_lock off/' \"$TOP/nginx/home.conf\" "
	      ">\"$CONF/home.conf\" && grep -q 'lock off' \"$CONF/home.conf\" "
	      "&& sed -i "
	      "\"s|\\\"[^\\\"]*/nginx/home.conf|\\\"$CONF/home.conf|\" "
	      "\"$CONF/routes.conf\" "
	      "&& grep -qF \"\\\"$CONF/home.conf\" \"$CONF/routes.conf\"");
	stack_kill("nginx", "HUP");
	CU_ASSERT(eventually(20000, many_are_made, NULL));
	stack_restart("nginx", NULL);
	stack_restart("storefront", NULL);
}

static pid_t sidecar;

static void
stop_sidecar(void)
{
	if (sidecar <= 0)
		return;
	kill(sidecar, SIGTERM);
	waitpid(sidecar, NULL, 0);
}

static bool
answers(void *url)
{
	return http_plain("GET", url, NULL)->status == 200;
}

/* The sidecar's own configuration, on other ports and in other folders. */
static void
at_the_sidecar(void)
{
	char *conf = text("%s/sidecar/sidecar.conf", stack("DEV_STATE"));
	const char *was = site;
	char *url;
	FILE *f;
	int port = 0;

	shell("mkdir -p \"$STATE/sidecar\" && python3 -c 'import socket\n"
	      "s = [socket.create_server((\"127.0.0.1\", 0)) for i in (1, 2)]\n"
	      "print(*[i.getsockname()[1] for i in s])' "
	      ">\"$STATE/sidecar/ports\" && "
	      "read -r A B <\"$STATE/sidecar/ports\" && "
	      "{ [ \"$(id -u)\" != 0 ] || echo \"user $(id -un) $(id -gn);\"; "
	      "sed -e \"s|/tmp/|$STATE/sidecar/|\" "
	      "-e \"s|include |include $TOP/nginx/|\" "
	      "-e \"s|listen 8080|listen 127.0.0.1:$A|\" "
	      "-e \"s|listen 8081|listen 127.0.0.1:$B|\" "
	      "-e \"s|/run/fcgi/service.sock|$RUN/storefront.sock|\" "
	      "-e \"s|/run/fcgi/|$STATE/sidecar/|\" "
	      "-e \"s|access_log /dev/stdout.*|access_log off;|\" "
	      "\"$TOP/nginx/sidecar.conf\"; } "
	      ">\"$STATE/sidecar/sidecar.conf\"");
	f = popen(url = text("cat '%s/sidecar/ports'", stack("DEV_STATE")),
		  "r");
	free(url);
	CU_ASSERT_FATAL(f != NULL && fscanf(f, "%d", &port) == 1);
	pclose(f);
	sidecar = program_start(&(struct program){
		.argv = (const char *const[]){"nginx", "-e", "stderr", "-c",
					      conf, NULL}});
	atexit(stop_sidecar);
	site = url = text("http://127.0.0.1:%d", port);
	CU_ASSERT_FATAL(eventually(20000, answers, url));
	for_all_the_same();
	with_a_cookie();
	after_buying();
	stack_restart("storefront", SLOW);
	TAP_INT(herd(), 1);
	stack_restart("storefront", NULL);
	site = was;
	free(url);
	free(conf);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"for all the same", for_all_the_same},
		{"with a cookie", with_a_cookie},
		{"after buying", after_buying},
		{"a herd makes one", a_herd},
		{"at the sidecar", at_the_sidecar},
		{0},
	};

	stack_up(NULL);
	site = stack("BASE_URL");
	return tap_run(argc, argv, tests);
}
