/* test-otlp.c: a real collector hears of a purchase as one tree of spans, and
 * nobody waits for it.
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flow.h"
#include "trace.h"

#define CALLER "00f067aa0ba902b7"
#define MAX_SPANS 200
#define QUEUE (2048 + 256) /* that may wait, and be sent, in lib/otlp.c */

static int port;
static char program[4096], config[256], spans_file[256], said_file[256];
static pid_t collector;
static struct student *seller, *buyer, *other;

/* --- the collector ------------------------------------------------------- */

static int
free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&at, size) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &size) != 0)
		tap_skip_all("there is no free port");
	close(fd);
	return ntohs(at.sin_port);
}

static void
write_config(void)
{
	FILE *f = fopen(config, "w");

	CU_ASSERT_FATAL(f != NULL);
	fprintf(f,
		"receivers: {otlp: {protocols: {http: "
		"{endpoint: '127.0.0.1:%d'}}}}\n"
		"exporters: {file: {path: '%s', append: true, "
		"flush_interval: 100ms}}\n"
		"service:\n"
		"  telemetry: {metrics: {level: none}}\n"
		"  pipelines: {traces: {receivers: [otlp], "
		"exporters: [file]}}\n",
		port, spans_file);
	fclose(f);
}

static bool
collects(void *arg)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool up = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;

	(void)arg;
	close(fd);
	return up;
}

static void
start_collector(void)
{
	char *argument = text("--config=file:%s", config);

	write_config();
	collector = fork();
	if (collector == 0) {
		int said = open(said_file, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(said, STDOUT_FILENO);
		dup2(said, STDERR_FILENO);
		execl(program, program, argument, (char *)NULL);
		_exit(127);
	}
	free(argument);
	CU_ASSERT_TRUE(eventually(20000, collects, NULL));
}

static void
kill_collector(void)
{
	kill(collector, SIGKILL);
	waitpid(collector, NULL, 0);
}

/* --- what it heard ------------------------------------------------------- */

struct heard {
	char service[32];
	struct span s;
};

/* The spans of one trace. */
struct tree {
	char trace[TRACE_SIZE];
	struct heard spans[MAX_SPANS];
	size_t count;
};

static void
copy(char *to, size_t size, json_object *o, const char *name)
{
	const char *s = json_text(o, name);

	snprintf(to, size, "%s", s ? s : "");
}

static int64_t
number_at(json_object *o, const char *name)
{
	json_object *n = NULL;

	json_object_object_get_ex(o, name, &n);
	return json_object_get_int64(n);
}

static json_object *
array_at(json_object *o, const char *name, size_t i)
{
	json_object *list = json_member(o, name, json_type_array);

	return list ? json_object_array_get_idx(list, i) : NULL;
}

/* The value of an attribute; NULL when there is none. */
static const char *
attribute(json_object *of, const char *key)
{
	json_object *at;

	for (size_t i = 0; (at = array_at(of, "attributes", i)) != NULL; i++)
		if (strcmp(json_text(at, "key"), key) == 0)
			return json_text(json_member(at, "value",
						     json_type_object),
					 "stringValue");
	return NULL;
}

static void
read_span(struct tree *t, const char *service, json_object *o)
{
	struct heard *h = &t->spans[t->count];
	const char *trace = json_text(o, "traceId");
	json_object *link = array_at(o, "links", 0);

	if (strcmp(trace, t->trace) != 0 || t->count == MAX_SPANS)
		return;
	memset(h, 0, sizeof(*h));
	snprintf(h->service, sizeof(h->service), "%s", service);
	copy(h->s.id, sizeof(h->s.id), o, "spanId");
	copy(h->s.parent, sizeof(h->s.parent), o, "parentSpanId");
	copy(h->s.name, sizeof(h->s.name), o, "name");
	h->s.kind = (enum span_kind)number_at(o, "kind");
	h->s.began = number_at(o, "startTimeUnixNano");
	h->s.ended = number_at(o, "endTimeUnixNano");
	copy(h->s.link_trace, sizeof(h->s.link_trace), link, "traceId");
	t->count++;
}

/* A line of the file is a request as the collector understood it. */
static void
read_tree(struct tree *t)
{
	struct arena *a = arena_new();
	FILE *f = fopen(spans_file, "r");
	char *line = NULL;
	size_t size = 0;

	t->count = 0;
	while (f != NULL && getline(&line, &size, f) > 0) {
		json_object *all = json_tokener_parse(line), *r, *scope, *o;

		for (size_t i = 0;
		     (r = array_at(all, "resourceSpans", i)) != NULL; i++) {
			const char *service = attribute(
				json_member(r, "resource", json_type_object),
				"service.name");

			scope = array_at(r, "scopeSpans", 0);
			for (size_t j = 0;
			     (o = array_at(scope, "spans", j)) != NULL; j++)
				read_span(t, service ? service : "-", o);
		}
		json_object_put(all);
	}
	if (f != NULL)
		fclose(f);
	free(line);
	arena_free(a);
}

static struct heard *
find(struct tree *t, const char *service, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->spans[i].service, service) == 0 &&
		    strcmp(t->spans[i].s.name, name) == 0)
			return &t->spans[i];
	return NULL;
}

static struct heard *
find_id(struct tree *t, const char *id)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->spans[i].s.id, id) == 0)
			return &t->spans[i];
	return NULL;
}

/* How many spans are below none that was heard of; the caller's is not. */
static int
orphans(struct tree *t)
{
	int n = 0;

	for (size_t i = 0; i < t->count; i++) {
		struct span *s = &t->spans[i].s;

		if (strcmp(s->parent, CALLER) != 0 &&
		    find_id(t, s->parent) == NULL)
			n++;
		else if (s->ended < s->began || s->began == 0)
			n++;
	}
	return n;
}

struct wanted {
	/* The parent's name; NULL: it is the caller's; "": any. */
	const char *service, *name, *parent;
};

struct seen {
	struct tree *tree;
	const struct wanted *wanted; /* ends with a NULL service */
};

static const struct wanted *
missing(struct seen *seen)
{
	const struct wanted *w = seen->wanted;

	for (; w->service != NULL; w++) {
		struct heard *h = find(seen->tree, w->service, w->name);
		struct heard *p = h ? find_id(seen->tree, h->s.parent) : NULL;

		if (h == NULL)
			return w;
		if (w->parent != NULL && *w->parent == '\0')
			continue;
		if (w->parent == NULL
			    ? strcmp(h->s.parent, CALLER) != 0
			    : p == NULL || strcmp(p->s.name, w->parent) != 0)
			return w;
	}
	return NULL;
}

static bool
is_whole(void *arg)
{
	struct seen *seen = arg;

	read_tree(seen->tree);
	return missing(seen) == NULL && orphans(seen->tree) == 0;
}

/* Is there such a tree, and nothing beside it? */
static bool
hears(struct tree *t, const struct wanted *wanted)
{
	struct seen seen = {t, wanted};

	if (eventually(30000, is_whole, &seen))
		return true;
	if (missing(&seen) != NULL)
		tap_note("%s of %s is missing, or not below %s",
			 missing(&seen)->name, missing(&seen)->service,
			 missing(&seen)->parent ? missing(&seen)->parent
						: "the caller's");
	for (size_t i = 0; i < t->count; i++)
		tap_note("%s %s: %s below %s", t->spans[i].service,
			 t->spans[i].s.name, t->spans[i].s.id,
			 t->spans[i].s.parent);
	return false;
}

/* --- metrics ------------------------------------------------------------- */

static double
value(const char *service, const char *series)
{
	const struct answer *a =
		fcgi_call(service, "GET", "/metrics", NULL, NULL);
	const char *p = strstr(a->body, series);

	return p ? strtod(p + strlen(series), NULL) : -1;
}

#define DROPPED "ticketing_spans_total{outcome=\"dropped\"} "
#define SENT "ticketing_spans_total{outcome=\"sent\"} "
#define WAITING "\nticketing_spans_waiting "

static bool
has_dropped(void *arg)
{
	return value(arg, DROPPED) > 0;
}

/* --- tests --------------------------------------------------------------- */

static void
begin(struct tree *t, char ret_header[80])
{
	id_random(t->trace, (TRACE_SIZE - 1) / 2);
	snprintf(ret_header, 80, "traceparent: 00-%s-" CALLER "-01", t->trace);
}

static char *
buy_as(struct student *s, const char *stuff, const char *header)
{
	const char *const headers[] = {header, NULL};
	char *body = text("{\"stuffId\":\"%s\"}", stuff);
	const struct answer *a = ask(s, "POST", "/api/orders", body, headers);

	free(body);
	return text("%d %s", a->status,
		    a->status == 201 ? answer_text(a, "id") : "");
}

static const struct wanted bought[] = {
	{"orders", "POST /api/orders", NULL},
	{"orders", "send order:created", "POST /api/orders"},
	{"stuff", "process order:created", "send order:created"},
	{"stuff", "send stuff:updated", "process order:created"},
	{"orders", "process stuff:updated", "send stuff:updated"},
	{"payments", "process order:created", "send order:created"},
	{"expiration", "process order:created", "send order:created"},
	{"payments", "POST /api/payments", "process order:created"},
	{"payments", "gateway intent", "POST /api/payments"},
	{"payments", "gateway confirm", "POST /api/payments"},
	{"payments", "gateway capture", ""}, /* by the task, or at once */
	{"payments", "send payment:created", "POST /api/payments"},
	{"orders", "process payment:created", "send payment:created"},
	{"orders", "send order:completed", "process payment:created"},
	{"stuff", "process order:completed", "send order:completed"},
	{"payments", "process order:completed", "send order:completed"},
	{"expiration", "process order:completed", "send order:completed"},
	{0},
};

/* The collector is not there yet: nothing of that shows.  Then it comes, and
 * hears of all. */
static void
two_students(void)
{
	static struct tree t;
	char header[80], *stuff, *order, *lost;

	seller = student_signed_up();
	buyer = student_signed_up();
	other = student_signed_up();
	stuff = list_stuff(seller, 700);
	begin(&t, header);
	order = buy_as(buyer, stuff, header);
	CU_ASSERT_FATAL(strncmp(order, "201 ", 4) == 0);
	lost = buy_as(other, stuff, "X-Nothing: 1");
	TAP_STRING(lost, "409 ");
	/* Paying, the browser knows of no trace. */
	TAP_INT(pay(buyer, order + 4, "pm_card_visa")->status, 201);
	CU_ASSERT(value("orders", WAITING) > 0);
	start_collector();

	CU_ASSERT_TRUE_FATAL(hears(&t, bought));
	TAP_INT(find(&t, "orders", "POST /api/orders")->s.kind, SPAN_SERVER);
	TAP_INT(find(&t, "orders", "send order:created")->s.kind,
		SPAN_PRODUCER);
	TAP_INT(find(&t, "stuff", "process order:created")->s.kind,
		SPAN_CONSUMER);
	TAP_INT(find(&t, "payments", "gateway intent")->s.kind, SPAN_CLIENT);
	CU_ASSERT(value("orders", SENT) > 0);
	TAP_INT(value("orders", DROPPED), -1);
	/* Whatever this finds, it would find an orphan. */
	memset(find(&t, "orders", "send order:created"), 0,
	       sizeof(struct heard));
	CU_ASSERT(orphans(&t) >= 4);
	free(stuff);
	free(order);
	free(lost);
}

static void
a_page(void)
{
	static const struct wanted wanted[] = {
		{"storefront", "GET /", NULL},
		{"storefront", "GET the listings", "GET /"},
		{"stuff", "GET /api/stuff", "GET the listings"},
		{0},
	};
	static struct tree t;
	char header[80];
	const char *const headers[] = {header, NULL};

	begin(&t, header);
	TAP_INT(ask(buyer, "GET", "/", NULL, headers)->status, 200);
	CU_ASSERT_TRUE_FATAL(hears(&t, wanted));
}

/* A caller that wants nothing collected. */
static void
unsampled(void)
{
	static const struct wanted after[] = {
		{"orders", "GET /api/orders", NULL},
		{0},
	};
	static struct tree t, next;
	char header[80];
	const char *const headers[] = {header, NULL};

	begin(&t, header);
	memcpy(strrchr(header, '-'), "-00", 3);
	TAP_INT(ask(buyer, "GET", "/api/orders", NULL, headers)->status, 200);
	begin(&next, header);
	TAP_INT(ask(buyer, "GET", "/api/orders", NULL, headers)->status, 200);
	CU_ASSERT_TRUE_FATAL(hears(&next, after));
	read_tree(&t);
	TAP_INT(t.count, 0);
}

/* What a service that stops still has is sent before it ends. */
static void
stops(void)
{
	static const struct wanted wanted[] = {
		{"stuff", "GET /api/stuff/:id", NULL},
		{0},
	};
	static struct tree t;
	char header[80];
	const char *const headers[] = {header, NULL};

	begin(&t, header);
	TAP_INT(ask(buyer, "GET", "/api/stuff/0123456789abcdef01234567", NULL,
		    headers)
			->status,
		404);
	stack_restart("stuff", NULL);
	CU_ASSERT_TRUE_FATAL(hears(&t, wanted));
}

#define CODE "KEEP-THIS-SECRET"

static bool
is_told(const char *what)
{
	char *command = text("grep -qF -e '%s' '%s'", what, spans_file);
	int status = system(command);

	free(command);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What no log has, no span has. */
static void
secrets(void)
{
	static const struct wanted wanted[] = {
		{"payments", "GET /api/coupons/:code", NULL},
		{0},
	};
	static struct tree t;
	char header[80];
	const char *const headers[] = {header, NULL};

	begin(&t, header);
	ask(buyer, "GET",
	    "/api/coupons/" CODE "?orderId=0123456789abcdef01234567", NULL,
	    headers);
	CU_ASSERT_TRUE_FATAL(hears(&t, wanted));
	CU_ASSERT_TRUE(is_told("/api/coupons/:code"));
	CU_ASSERT_FALSE(is_told(CODE));
	CU_ASSERT_FALSE(is_told(student_cookie(buyer)));
	CU_ASSERT_FALSE(is_told(student_email(buyer)));
	CU_ASSERT_FALSE(is_told("pm_card_visa"));
	CU_ASSERT_FALSE(is_told(stack("STRIPE_KEY")));
}

/* More than there is room for. */
static void
collector_is_dead(void)
{
	char *stuff, *order;

	kill_collector();
	for (int i = 0; i < QUEUE + 600; i++)
		if (fcgi_call("stuff", "GET",
			      "/api/stuff/0123456789abcdef01234567", NULL, NULL)
			    ->status != 404)
			CU_FAIL_FATAL("a request fails");
	CU_ASSERT_TRUE(eventually(30000, has_dropped, "stuff"));
	CU_ASSERT(value("stuff", WAITING) <= QUEUE);
	stuff = list_stuff(seller, 700);
	order = buy(buyer, stuff);
	TAP_INT(pay(buyer, order, "pm_card_visa")->status, 201);
	stack_restart("stuff", NULL); /* it ends all the same */
	free(stuff);
	free(order);
}

/* How often the process's memory map names libcurl. */
static bool
has_libcurl(const char *service)
{
	char path[64], line[4096];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)stack_pid(service));
	f = fopen(path, "r");
	CU_ASSERT_FATAL(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		found = found || strstr(line, "libcurl") != NULL;
	fclose(f);
	return found;
}

/* How many threads it has for spans. */
static int
threads(const char *service)
{
	char *command = text("cat /proc/%d/task/*/comm | grep -c '^otlp$'",
			     (int)stack_pid(service));
	FILE *f = popen(command, "r");
	int n = -1;

	CU_ASSERT_FATAL(f != NULL);
	CU_ASSERT(fscanf(f, "%d", &n) == 1);
	pclose(f);
	free(command);
	return n;
}

static void
not_asked_for(void)
{
	TAP_INT(threads("stuff"), 1);
	CU_ASSERT_TRUE(has_libcurl("stuff"));
	stack_restart("stuff", "OTEL_EXPORTER_OTLP_ENDPOINT=");
	CU_ASSERT_FALSE(has_libcurl("stuff"));
	TAP_INT(threads("stuff"), 0);
	TAP_INT(value("stuff", WAITING), -1);
}

/* The address is checked at the start, as every setting is. */
static void
bad_address(void)
{
	CU_ASSERT(stack_dev((const char *[]){"OTEL_EXPORTER_OTLP_ENDPOINT="
					     "collector:4318",
					     NULL},
			    (const char *[]){"restart", "orders", NULL}) != 0);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a purchase is one tree, though the collector comes late",
		 two_students},
		{"a page and what it asks", a_page},
		{"who wants none", unsampled},
		{"a service stops", stops},
		{"no secret is told", secrets},
		{"the collector is dead", collector_is_dead},
		{"no collector", not_asked_for},
		{"no address", bad_address},
		{NULL},
	};
	const char *tools = getenv("DEV_TOOLS");
	char folder[] = "/tmp/collector.XXXXXX";
	char *setting, *command;
	int status;

	snprintf(program, sizeof(program), "%s/bin/collector",
		 tools ? tools : "");
	port = free_port();
	setting = text("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", port);
	stack_up((const char *[]){setting, NULL});
	if (access(program, X_OK) != 0)
		tap_skip_all("there is no collector: ./dev check installs it");
	if (mkdtemp(folder) == NULL)
		tap_skip_all("no folder could be made in /tmp");
	snprintf(config, sizeof(config), "%s/config.yaml", folder);
	snprintf(spans_file, sizeof(spans_file), "%s/spans.json", folder);
	snprintf(said_file, sizeof(said_file), "%s/log", folder);
	status = tap_run(argc, argv, tests);
	command = text("rm -rf '%s'", folder);
	if (getenv("T_KEEP") == NULL && system(command) != 0)
		status = 1;
	free(command);
	free(setting);
	return status;
}
