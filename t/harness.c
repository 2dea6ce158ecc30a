/* harness.c: see harness.h.
 * SPDX-License-Identifier: MIT */
#include "harness.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus.h"
#include "clock.h"
#include "events.h"
#include "id.h"

#define MAX_ARGS 16
#define MAX_SETTINGS 64
#define ANSWER_MAX (64 << 20) /* bytes of a body that is kept */
#define ASK_TIMEOUT 30L	      /* s */
#define DROPPED_NOTED 20      /* requests; the others are only counted */

/* --- the stack ----------------------------------------------------------- */

static char folder[64]; /* "" while there is no stack */
static struct {
	char *name, *value;
} stack_env[MAX_SETTINGS];
static int stack_env_count;
static pid_t owner; /* children of the test don't take the stack down */

static const char *
path_of(const char *variable, const char *file)
{
	static _Thread_local char path[4096];
	const char *top = getenv(variable);

	snprintf(path, sizeof(path), "%s/%s", top ? top : ".", file);
	return path;
}

/* --- programs ------------------------------------------------------------ */

static bool
is_set(const char *const *settings, const char *variable)
{
	size_t len = strcspn(variable, "=") + 1;

	for (; settings != NULL && *settings != NULL; settings++)
		if (strncmp(*settings, variable, len) == 0)
			return true;
	return false;
}

pid_t
program_start(const struct program *p)
{
	const int streams[] = {p->in, p->out ? p->out : STDERR_FILENO, p->err};
	posix_spawn_file_actions_t files;
	const char **all;
	size_t n = 0, most = 1;
	pid_t pid;
	int rc;

	for (char **v = environ; *v != NULL; v++)
		most++;
	for (size_t i = 0; p->settings != NULL && p->settings[i] != NULL; i++)
		most++;
	all = calloc(most, sizeof(*all));
	if (all == NULL)
		return -1;
	for (char **v = environ; !p->bare && *v != NULL; v++)
		if (!is_set(p->settings, *v))
			all[n++] = *v;
	for (size_t i = 0; p->settings != NULL && p->settings[i] != NULL; i++)
		all[n++] = p->settings[i];
	posix_spawn_file_actions_init(&files);
	for (int i = 0; i < 3; i++)
		if (streams[i] != 0)
			posix_spawn_file_actions_adddup2(&files, streams[i], i);
	rc = posix_spawnp(&pid, p->argv[0], &files, NULL,
			  (char *const *)(uintptr_t)p->argv,
			  (char *const *)(uintptr_t)all);
	posix_spawn_file_actions_destroy(&files);
	free(all);
	return rc == 0 ? pid : -1;
}

int
program_wait(pid_t pid)
{
	int status;

	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs argv with settings added to the environment; its standard output goes
 * to fd.  Returns its exit status. */
static int
run(const char *const *argv, const char *const *settings, int fd)
{
	return program_wait(program_start(&(struct program){
		.argv = argv, .settings = settings, .out = fd}));
}

int
stack_dev(const char *const *settings, const char *const *args)
{
	const char *argv[MAX_ARGS] = {path_of("top_srcdir", "dev")};
	FILE *log = tmpfile();
	char line[512];
	int n = 1, status;

	while (*args != NULL && n < MAX_ARGS - 1)
		argv[n++] = *args++;
	status = run(argv, settings, fileno(log));
	if (status != 0) {
		rewind(log);
		tap_note("dev %s: exit status %d", argv[1], status);
		while (fgets(line, sizeof(line), log) != NULL)
			tap_note("  %.*s", (int)strcspn(line, "\n"), line);
	}
	fclose(log);
	return status;
}

/* Prints what sanitizers told of the services; false when they did. */
static bool
is_sane(void)
{
	static const char script[] =
		"told='Sanitizer:|runtime error:' && "
		"! grep -qE \"$told\" \"$0\"/log/*.log || "
		"{ grep -hE -A 40 \"$told\" \"$0\"/log/*.log | head -n 200 | "
		"sed 's/^/# /'; false; }";

	return run((const char *[]){"/bin/sh", "-c", script, folder, NULL},
		   NULL, STDOUT_FILENO) == 0;
}

static void
stack_down(void)
{
	const char *keep = getenv("T_KEEP");
	bool sane;

	if (*folder == '\0' || getpid() != owner)
		return;
	stack_dev(NULL, (const char *[]){"down", NULL});
	sane = is_sane();
	if (keep != NULL && *keep != '\0')
		tap_note("kept: %s", folder);
	else
		run((const char *[]){"/bin/rm", "-rf", folder, NULL}, NULL,
		    STDOUT_FILENO);
	*folder = '\0';
	if (!sane) {
		printf("Bail out! A sanitizer told of a service\n");
		fflush(stdout);
		_exit(1);
	}
}

static void
on_signal(int number)
{
	(void)number;
	exit(1); /* runs stack_down() */
}

/* Undoes the shell quoting of `dev env` in place: '…', \c. */
static void
unquote(char *s)
{
	char *to = s;
	bool quoted = false;

	for (; *s != '\0'; s++) {
		if (*s == '\'')
			quoted = !quoted;
		else if (*s == '\\' && !quoted && s[1] != '\0')
			*to++ = *++s;
		else
			*to++ = *s;
	}
	*to = '\0';
}

static void
read_stack_env(void)
{
	FILE *out = tmpfile();
	char line[4096], *eq;

	run((const char *[]){path_of("top_srcdir", "dev"), "env", NULL}, NULL,
	    fileno(out));
	rewind(out);
	while (fgets(line, sizeof(line), out) != NULL &&
	       stack_env_count < MAX_SETTINGS) {
		line[strcspn(line, "\n")] = '\0';
		eq = strchr(line, '=');
		if (eq == NULL)
			continue;
		*eq = '\0';
		unquote(eq + 1);
		stack_env[stack_env_count].name = strdup(line);
		stack_env[stack_env_count++].value = strdup(eq + 1);
	}
	fclose(out);
}

void
stack_up(const char *const *settings)
{
	static char state[80], build[4096];
	const char *tiers = getenv("T_TIERS"), *tools = getenv("DEV_TOOLS");
	const char *build_dir = getenv("top_builddir");

	if (tiers != NULL && strcmp(tiers, "unit") == 0) {
		printf("1..0 # SKIP only unit tests are wanted\n");
		exit(0);
	}
	if (tools == NULL)
		tap_skip_all("the servers are not there: ./dev check "
			     "installs them, or set DEV_TOOLS");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	snprintf(folder, sizeof(folder), "/tmp/ticketing.XXXXXX");
	if (mkdtemp(folder) == NULL)
		tap_skip_all("no folder could be made in /tmp");
	owner = getpid();
	atexit(stack_down);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	snprintf(state, sizeof(state), "DEV_STATE=%s", folder);
	snprintf(build, sizeof(build), "DEV_BUILD=%s",
		 build_dir ? build_dir : ".");
	putenv(state);
	putenv(build);
	setenv("DEV_PORT", "0", 1);
	setenv("DEV_MONGO", "memory", 1);
	setenv("DEV_STRIPE", "scripted", 0);
	/* What an upload left that its service died of is gone in that time:
	 * before those who wait for all to settle have lost patience. */
	setenv("FILE_LEASE_SECONDS", "20", 0);
	if (stack_dev(settings, (const char *[]){"up", NULL}) != 0) {
		printf("1..1\nnot ok 1 - dev up\n");
		exit(1);
	}
	read_stack_env();
}

const char *
stack(const char *name)
{
	for (int i = 0; i < stack_env_count; i++)
		if (strcmp(stack_env[i].name, name) == 0)
			return stack_env[i].value;
	tap_note("dev env tells no %s", name);
	abort();
}

void
stack_restart(const char *name, const char *setting)
{
	CU_ASSERT(stack_dev((const char *[]){setting, NULL},
			    (const char *[]){"restart", name, NULL}) == 0);
}

void
stack_kill(const char *name, const char *signal_name)
{
	CU_ASSERT(stack_dev(NULL, (const char *[]){"kill", name, signal_name,
						   NULL}) == 0);
}

void
stack_start(const char *name, const char *setting)
{
	CU_ASSERT(stack_dev((const char *[]){setting, NULL},
			    (const char *[]){"start", name, NULL}) == 0);
}

pid_t
stack_pid(const char *name)
{
	char path[4096];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof(path), "%s/%s.pid", stack("RUN_DIR"), name);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%d", &pid) != 1 || kill(pid, 0) != 0)
		pid = 0;
	fclose(f);
	return pid;
}

long
stack_rss(const char *name)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)stack_pid(name));
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return kib;
}

bool
eventually(int64_t ms, bool (*enough)(void *arg), void *arg)
{
	int64_t until = clock_monotonic() + ms, step = 5;

	while (!enough(arg)) {
		if (clock_monotonic() >= until)
			return enough(arg);
		clock_sleep(step);
		step = step < 100 ? step * 2 : 100;
	}
	return true;
}

/* --- answers ------------------------------------------------------------- */

struct answering {
	struct answer answer;
	struct arena *arena;
	char *body;
	size_t size, headers_len;
};

static void
answering_start(struct answering *g)
{
	if (g->arena == NULL)
		g->arena = arena_new();
	arena_reset(g->arena);
	free(g->body);
	*g = (struct answering){.arena = g->arena};
}

static void
answering_free(struct answering *g)
{
	arena_free(g->arena);
	free(g->body);
}

/* What a thread has of its own, one for each way to ask. */
enum way { BY_FCGI, BY_FCGI_STEPS, BY_HTTP, WAY__MAX };
static _Thread_local struct answering own[WAY__MAX];
static pthread_key_t own_key;
static pthread_once_t own_once = PTHREAD_ONCE_INIT;

static void
free_own(void *p)
{
	struct answering *g = p;

	for (int way = 0; way < WAY__MAX; way++)
		answering_free(&g[way]);
}

static void
make_own_key(void)
{
	pthread_key_create(&own_key, free_own); /* when a thread ends */
}

/* The calling thread's, started anew. */
static struct answering *
start_own(enum way way)
{
	pthread_once(&own_once, make_own_key);
	pthread_setspecific(own_key, own);
	answering_start(&own[way]);
	return &own[way];
}

static size_t
add_body(char *bytes, size_t one, size_t n, void *closure)
{
	struct answering *g = closure;

	(void)one;
	if (g->answer.len + n > ANSWER_MAX)
		return 0;
	if (g->answer.len + n >= g->size) {
		g->size = (g->answer.len + n + 1) * 2;
		g->body = realloc(g->body, g->size);
	}
	memcpy(g->body + g->answer.len, bytes, n);
	g->answer.len += n;
	return n;
}

static size_t
add_header(char *bytes, size_t one, size_t n, void *closure)
{
	struct answering *g = closure;

	(void)one;
	if (n > 5 && strncmp(bytes, "HTTP/", 5) == 0)
		g->headers_len = 0; /* a 100 Continue came before */
	if (g->headers_len + n < sizeof(g->answer.headers)) {
		memcpy(g->answer.headers + g->headers_len, bytes, n);
		g->headers_len += n;
		g->answer.headers[g->headers_len] = '\0';
	}
	return n;
}

static void
answering_end(struct answering *g)
{
	if (g->body != NULL) {
		g->body[g->answer.len] = '\0';
		g->answer.json = json_read(g->arena, g->body, g->answer.len);
	}
	g->answer.body = g->body ? g->body : "";
}

const char *
answer_header(const struct answer *a, const char *name)
{
	static _Thread_local char value[4096];
	size_t len = strlen(name);

	for (const char *p = a->headers; *p != '\0';) {
		if (strncasecmp(p, name, len) == 0 && p[len] == ':') {
			p += len + 1;
			p += strspn(p, " ");
			snprintf(value, sizeof(value), "%.*s",
				 (int)strcspn(p, "\r\n"), p);
			return value;
		}
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return NULL;
}

static json_object *
at_path(const struct answer *a, const char *path)
{
	json_object *o = a->json;
	char name[64];

	while (o != NULL && *path != '\0') {
		size_t len = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)len, path);
		if (json_object_is_type(o, json_type_array))
			o = json_object_array_get_idx(
				o, (size_t)strtol(name, NULL, 10));
		else if (!json_object_object_get_ex(o, name, &o))
			o = NULL;
		path += len + (path[len] == '.');
	}
	return o;
}

const char *
answer_text(const struct answer *a, const char *path)
{
	json_object *o = at_path(a, path);

	return json_object_is_type(o, json_type_string)
		       ? json_object_get_string(o)
		       : NULL;
}

int64_t
answer_int(const struct answer *a, const char *path)
{
	json_object *o = at_path(a, path);

	return json_object_is_type(o, json_type_int) ? json_object_get_int64(o)
						     : -1;
}

/* --- students ------------------------------------------------------------ */

struct student {
	CURL *curl;
	struct answering answering;
	char id[ID_SIZE], email[64], token[2048];
};

struct student *
student_new(void)
{
	struct student *s = calloc(1, sizeof(*s));

	s->curl = curl_easy_init();
	curl_easy_setopt(s->curl, CURLOPT_COOKIEFILE, "");
	return s;
}

void
student_free(struct student *s)
{
	if (s == NULL)
		return;
	curl_easy_cleanup(s->curl);
	answering_free(&s->answering);
	free(s);
}

static const struct answer *
ask_url(CURL *curl, struct answering *g, const char *method, const char *url,
	const char *body, const char *const *headers)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	int64_t began = clock_monotonic();
	bool typed = false;
	long status = 0;
	CURLcode code;

	answering_start(g);
	for (; headers != NULL && *headers != NULL; headers++) {
		list = curl_slist_append(list, *headers);
		typed = typed ||
			strncasecmp(*headers, "Content-Type:", 13) == 0;
	}
	if (body != NULL && !typed)
		list = curl_slist_append(list,
					 "Content-Type: application/json");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, ASK_TIMEOUT);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, add_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, g);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, add_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, g);
	if (strncmp(url, "https:", 6) == 0)
		curl_easy_setopt(curl, CURLOPT_CAINFO, stack("CA_CERT"));
	curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(curl, CURLOPT_NOBODY,
			 strcmp(method, "HEAD") == 0 ? 1L : 0L);
	if (body != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
				 (curl_off_t)strlen(body));
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(list);
	g->answer.status = (int)status;
	if (code != CURLE_OK) {
		g->answer.status = 0;
		g->answer.error = curl_easy_strerror(code);
	}
	g->answer.ms = clock_monotonic() - began;
	answering_end(g);
	return &g->answer;
}

const struct answer *
ask(struct student *s, const char *method, const char *path, const char *body,
    const char *const *headers)
{
	char url[8192];

	snprintf(url, sizeof(url), "%s%s",
		 strncmp(path, "http", 4) == 0 ? "" : stack("BASE_URL"), path);
	return ask_url(s->curl, &s->answering, method, url, body, headers);
}

const struct answer *
askf(struct student *s, const char *method, const char *path, const char *fmt,
     ...)
{
	char body[8192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(body, sizeof(body), fmt, ap);
	va_end(ap);
	return ask(s, method, path, body, NULL);
}

/* What the session cookie in the jar holds. */
static void
copy_token(struct student *s)
{
	struct curl_slist *cookies = NULL;

	curl_easy_getinfo(s->curl, CURLINFO_COOKIELIST, &cookies);
	for (struct curl_slist *c = cookies; c != NULL; c = c->next) {
		const char *name = strstr(c->data, "__Host-session\t");

		if (name != NULL)
			snprintf(s->token, sizeof(s->token), "%s",
				 strchr(name, '\t') + 1);
	}
	curl_slist_free_all(cookies);
}

struct student *
student_signed_up(void)
{
	struct student *s = student_new();
	const struct answer *a;
	char random[17];

	id_random(random, 8);
	snprintf(s->email, sizeof(s->email), "student-%s@example.edu", random);
	a = askf(s, "POST", "/api/users/signup",
		 "{\"email\":\"%s\",\"password\":\"correct horse\"}", s->email);
	TAP_INT(a->status, 201);
	if (a->status == 201)
		snprintf(s->id, sizeof(s->id), "%s", answer_text(a, "id"));
	else
		tap_note("sign-up: %s", a->error ? a->error : a->body);
	copy_token(s);
	return s;
}

const char *
student_id(const struct student *s)
{
	return s->id;
}

const char *
student_email(const struct student *s)
{
	return s->email;
}

const char *
student_cookie(const struct student *s)
{
	return s->token;
}

/* The id in a 201, or 24 zeros: what follows fails then, and says so. */
static char *
new_id(const struct answer *a)
{
	const char *id = answer_text(a, "id");

	TAP_INT(a->status, 201);
	if (a->status != 201)
		tap_note("%s", a->error ? a->error : a->body);
	return strdup(id ? id : "000000000000000000000000");
}

const struct answer *
upload(struct student *s, const char *stuff_id, const char *text,
       const char *const *headers)
{
	static const char *const usual[] = {
		"Content-Type: text/plain",
		"Content-Disposition: attachment; filename=\"notes.txt\"",
		NULL};
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s/file", stuff_id);
	return ask(s, "PUT", path, text, headers ? headers : usual);
}

char *
list_stuff(struct student *s, int64_t price)
{
	char *id = new_id(askf(s, "POST", "/api/stuff",
			       "{\"title\":\"Notes\",\"description\":\"of a "
			       "term\",\"price\":%lld}",
			       (long long)price));
	const struct answer *a = upload(s, id, "all of it", NULL);

	TAP_INT(a->status, 200);
	if (a->status != 200)
		tap_note("%s", a->error ? a->error : a->body);
	return id;
}

char *
buy(struct student *s, const char *stuff_id)
{
	return new_id(askf(s, "POST", "/api/orders", "{\"stuffId\":\"%s\"}",
			   stuff_id));
}

struct becoming {
	struct student *s;
	const char *path, *member, *text;
};

static bool
is_so(void *arg)
{
	const struct becoming *b = arg;
	const struct answer *a = ask(b->s, "GET", b->path, NULL, NULL);
	const char *text = answer_text(a, b->member);

	return text != NULL && strcmp(text, b->text) == 0;
}

bool
becomes(struct student *s, const char *path, const char *member,
	const char *text)
{
	struct becoming b = {s, path, member, text};

	if (eventually(20000, is_so, &b))
		return true;
	tap_note("%s: %s is not \"%s\": %s", path, member, text,
		 s->answering.answer.body);
	return false;
}

/* --- FastCGI, as nginx speaks it (FastCGI 1.0) ------------------------------
 */

enum { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };

static int
send_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A stream of records of one type, its empty end included. */
static int
send_stream(int fd, unsigned char type, const void *bytes, size_t len)
{
	const char *p = bytes;

	for (;;) {
		size_t n = len < 65535 ? len : 65535;
		unsigned char head[8] = {1,
					 type,
					 0,
					 1,
					 (unsigned char)(n >> 8),
					 (unsigned char)n,
					 0,
					 0};

		if (send_all(fd, head, 8) != 0 || send_all(fd, p, n) != 0)
			return -1;
		if (n == 0)
			return 0;
		p += n;
		len -= n;
	}
}

static size_t
put_length(unsigned char *to, size_t n)
{
	if (n < 128) {
		to[0] = (unsigned char)n;
		return 1;
	}
	to[0] = (unsigned char)(n >> 24 | 0x80);
	to[1] = (unsigned char)(n >> 16);
	to[2] = (unsigned char)(n >> 8);
	to[3] = (unsigned char)n;
	return 4;
}

static int
send_params(int fd, const char *const *params)
{
	size_t size = 0, used = 0;
	unsigned char *bytes;
	int rc;

	for (int i = 0; params[i] != NULL; i++)
		size += strlen(params[i]) + 8;
	bytes = malloc(size + 1);
	for (; *params != NULL; params++) {
		size_t name = strcspn(*params, "=");
		const char *value = *params + name + ((*params)[name] == '=');

		used += put_length(bytes + used, name);
		used += put_length(bytes + used, strlen(value));
		memcpy(bytes + used, *params, name);
		memcpy(bytes + used + name, value, strlen(value));
		used += name + strlen(value);
	}
	rc = send_stream(fd, PARAMS, bytes, used);
	free(bytes);
	return rc;
}

static int
receive(int fd, void *to, size_t len)
{
	char *p = to;

	while (len > 0) {
		ssize_t n = recv(fd, p, len, 0);

		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Splits what came on STDOUT into status, headers and body. */
static void
split_answer(struct answering *g)
{
	char *end = g->body ? strstr(g->body, "\r\n\r\n") : NULL;
	const char *status;

	if (end == NULL) {
		g->answer.error = "no headers";
		return;
	}
	snprintf(g->answer.headers, sizeof(g->answer.headers), "%.*s",
		 (int)(end + 2 - g->body), g->body);
	status = answer_header(&g->answer, "Status");
	g->answer.status = status ? (int)strtol(status, NULL, 10) : 200;
	g->answer.len -= (size_t)(end + 4 - g->body);
	memmove(g->body, end + 4, g->answer.len + 1);
}

int
fcgi_connect(const char *service)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ASK_TIMEOUT};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s.sock",
		 stack("RUN_DIR"), service);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int
fcgi_begin(int fd, bool keep, const char *const *params)
{
	const unsigned char begin[16] = {1, BEGIN, 0,	 1, 0, 8, 0, 0,
					 0, 1,	   keep, 0, 0, 0, 0, 0};

	if (send_all(fd, begin, sizeof(begin)) != 0)
		return -1;
	return send_params(fd, params);
}

int
fcgi_body(int fd, const void *body, size_t len)
{
	return send_stream(fd, STDIN, body, len);
}

/* Receives up to the end of the request. */
static void
receive_answer(int fd, struct answering *g)
{
	unsigned char head[8];
	char chunk[65536 + 256];

	while (receive(fd, head, 8) == 0) {
		size_t n = (size_t)head[4] << 8 | head[5];

		if (receive(fd, chunk, n + head[6]) != 0 || head[1] == END)
			break;
		if (head[1] == STDOUT)
			add_body(chunk, 1, n, g);
	}
	if (g->body != NULL)
		g->body[g->answer.len] = '\0';
	split_answer(g);
	answering_end(g);
}

const struct answer *
fcgi_receive(int fd)
{
	struct answering *g = start_own(BY_FCGI_STEPS);

	receive_answer(fd, g);
	return &g->answer;
}

/* --- the same through HTTPS --- */

static atomic_int dropped;

int
asks_dropped(void)
{
	return dropped;
}

/* A thread's own connection, as a browser's. */
static pthread_key_t curl_key;
static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
make_curl_key(void)
{
	pthread_key_create(&curl_key, curl_easy_cleanup);
}

static CURL *
own_curl(void)
{
	CURL *curl;

	pthread_once(&curl_once, make_curl_key);
	curl = pthread_getspecific(curl_key);
	if (curl == NULL) {
		curl = curl_easy_init();
		pthread_setspecific(curl_key, curl);
	}
	return curl;
}

/* The value of a FastCGI parameter; "" when there is none. */
static const char *
param(const char *const *params, const char *name)
{
	size_t len = strlen(name);

	for (; *params != NULL; params++)
		if (strncmp(*params, name, len) == 0 && (*params)[len] == '=')
			return *params + len + 1;
	return "";
}

/* What only nginx says, the sidecar's or the ingress'. */
static bool
is_dropped(const struct answer *a)
{
	const char *message = answer_text(a, "errors.0.message");

	return a->status == 0 || a->status == 502 || a->status == 504 ||
	       (a->status == 503 &&
		(message == NULL ||
		 strcmp(message, "Service unavailable, please try again") ==
			 0));
}

static const struct answer *
https_ask(const char *const *params, const char *body, size_t len)
{
	const char *query = param(params, "QUERY_STRING");
	const char *cookie = param(params, "HTTP_COOKIE");
	const char *type = param(params, "CONTENT_TYPE");
	char url[8192], cookies[4096], types[256], *text = NULL;
	const char *headers[3] = {NULL};
	const struct answer *a;
	int n = 0;

	snprintf(url, sizeof(url), "%s%s%s%s", stack("BASE_URL"),
		 param(params, "SCRIPT_NAME"), *query ? "?" : "", query);
	snprintf(cookies, sizeof(cookies), "Cookie: %s", cookie);
	snprintf(types, sizeof(types), "Content-Type: %s", type);
	if (*cookie != '\0')
		headers[n++] = cookies;
	if (*type != '\0')
		headers[n++] = types;
	if (body != NULL)
		text = strndup(body, len);
	a = ask_url(own_curl(), start_own(BY_FCGI),
		    param(params, "REQUEST_METHOD"), url, text, headers);
	free(text);
	if (is_dropped(a) && dropped++ < DROPPED_NOTED) {
		const char *why = a->error ? a->error : a->body;

		tap_note("dropped: %s %s: %d %.*s",
			 param(params, "REQUEST_METHOD"), url, a->status,
			 (int)strcspn(why, "\r\n"), why);
	}
	return a;
}

const struct answer *
fcgi_ask(const char *service, const char *const *params, const void *body,
	 size_t len)
{
	struct answering *g;
	int64_t began = clock_monotonic();
	int fd;

	if (getenv("T_HTTPS") != NULL)
		return https_ask(params, body, len);
	g = start_own(BY_FCGI);
	fd = fcgi_connect(service);
	if (fd < 0) {
		g->answer.error = "connect failed";
		answering_end(g);
		return &g->answer;
	}
	/* Who refuses a body may close early and still answer. */
	if (fcgi_begin(fd, false, params) != 0 || fcgi_body(fd, body, len) != 0)
		g->answer.error = "send failed";
	receive_answer(fd, g);
	close(fd);
	g->answer.ms = clock_monotonic() - began;
	return &g->answer;
}

const struct answer *
fcgi_call(const char *service, const char *method, const char *path,
	  const char *body, const char *token)
{
	size_t len = body ? strlen(body) : 0, script = strcspn(path, "?");
	char m[64], s[2048], q[8192], l[64], c[4096];
	const char *params[] = {m,
				s,
				q,
				"REQUEST_ID=test",
				l,
				body ? "CONTENT_TYPE=application/json"
				     : "CONTENT_TYPE=",
				token ? c : NULL,
				NULL};

	snprintf(m, sizeof(m), "REQUEST_METHOD=%s", method);
	snprintf(s, sizeof(s), "SCRIPT_NAME=%.*s", (int)script, path);
	snprintf(q, sizeof(q), "QUERY_STRING=%s",
		 path[script] == '?' ? path + script + 1 : "");
	snprintf(l, sizeof(l),
		 body ? "CONTENT_LENGTH=%zu" : "CONTENT_LENGTH=", len);
	if (token != NULL)
		snprintf(c, sizeof(c), "HTTP_COOKIE=__Host-session=%s", token);
	return fcgi_ask(service, params, body, len);
}

const struct answer *
http_plain(const char *method, const char *url, const char *body)
{
	CURL *curl = curl_easy_init();
	const struct answer *a =
		ask_url(curl, start_own(BY_HTTP), method, url, body, NULL);

	curl_easy_cleanup(curl);
	return a;
}

/* --- the bus -----------------------------------------------------------------
 */

static enum bus_verdict
hear_nothing(void *closure, const char *channel, const void *bytes, size_t len)
{
	(void)closure;
	(void)channel;
	(void)bytes;
	(void)len;
	return BUS_DONE;
}

static bool
connected(void *bus)
{
	return bus_connected(bus);
}

void
bus_put(const char *channel, const char *bytes)
{
	static const char *const none[] = {NULL};
	static struct bus *bus;
	static char client[32];

	if (bus == NULL) {
		struct bus_options options = {
			.url = stack("NATS_URL"),
			.cluster = stack("NATS_CLUSTER_ID"),
			.client = client,
			.group = "test",
			.channels = none,
			.handler = hear_nothing,
		};

		snprintf(client, sizeof(client), "test-%d", (int)getpid());
		bus = bus_open(&options);
		bus_start(bus);
	}
	CU_ASSERT(eventually(10000, connected, bus));
	CU_ASSERT(bus_publish_wait(bus, channel, bytes, strlen(bytes)));
}

void
bus_put_event(const char *channel, const char *subject, int64_t version,
	      const char *data)
{
	struct arena *a = arena_new();
	json_object *record = json_read(a, data, strlen(data));
	const char *id;

	bus_put(channel, event_write(a, event_of_channel(channel), subject,
				     version, record, &id, NULL));
	arena_free(a);
}

/* --- ports ------------------------------------------------------------------
 */

void
port_choose(char port[8])
{
	const char *top = getenv("top_srcdir");
	char command[4200];
	FILE *f;

	snprintf(command, sizeof(command),
		 "python3 '%s/t/servers/ports.py' port 0", top ? top : ".");
	f = popen(command, "r");
	if (f == NULL || fscanf(f, "port %7s", port) != 1)
		abort();
	pclose(f);
}

bool
port_answers(void *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtol(port, NULL, 10)),
		.sin_addr = {htonl(INADDR_LOOPBACK)},
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool there =
		connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return there;
}
