/* service.c: see service.h.
 * SPDX-License-Identifier: MIT */
#include "service.h"

#include <fcgiapp.h>
#include <link.h>
#include <malloc.h>
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "measure.h"
#include "openapi.h"
#include "otlp.h"
#include "outbox.h"
#include "pool.h"
#include "standing.h"
#include "trace.h"
#include "transfer.h"

#define BACKLOG 1024	  /* a full one is an instant 502 from nginx */
#define STACK_SIZE 524288 /* of a thread; the deepest path uses a tenth */

static struct {
	const char *level, *url, *cluster, *client, *base_url, *mongo_uri;
	const char *jwt_key, *jwt_key_previous, *socket, *collector;
	int64_t workers, transfers;
} conf;

static const struct setting common_settings[] = {
	{.name = "LOG_LEVEL", .text = &conf.level, .fallback = "info"},
	{.name = "OTEL_EXPORTER_OTLP_ENDPOINT",
	 .text = &conf.collector,
	 .fallback = ""},
	{.name = "FCGI_SOCKET", .text = &conf.socket, .fallback = ""},
	{.name = "FCGI_WORKERS",
	 .number = &conf.workers,
	 .fallback = "8",
	 .min = 1,
	 .max = 256},
	{0},
};

static const struct setting bus_settings[] = {
	{.name = "NATS_URL", .text = &conf.url},
	{.name = "NATS_CLUSTER_ID", .text = &conf.cluster},
	{.name = "NATS_CLIENT_ID", .text = &conf.client},
	{0},
};

static const struct setting store_settings[] = {
	{.name = "MONGO_URI", .text = &conf.mongo_uri},
	{0},
};

static const struct setting route_settings[] = {
	{.name = "BASE_URL", .text = &conf.base_url},
	{.name = "JWT_KEY", .text = &conf.jwt_key, .min = TOKEN_KEY_MIN},
	{.name = "JWT_KEY_PREVIOUS",
	 .text = &conf.jwt_key_previous,
	 .min = TOKEN_KEY_MIN,
	 .fallback = ""},
	{0},
};

static const struct setting transfer_settings[] = {
	{.name = "FCGI_TRANSFERS",
	 .number = &conf.transfers,
	 .fallback = "8",
	 .min = 2,
	 .max = 256},
	{0},
};

static const struct setting no_settings[] = {{0}};

static atomic_bool stopping;

pthread_t
service_thread(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (pthread_create(&t, &attr, run, arg) != 0)
		_exit(EX_OSERR);
	pthread_attr_destroy(&attr);
	return t;
}

struct task_thread {
	struct task *task;
	const struct service *service;
	pthread_t thread;
	pthread_mutex_t lock; /* guards woken */
	pthread_cond_t changed;
	bool woken;
};

static void *
run_task(void *arg)
{
	struct task_thread *t = arg;
	struct context cx = {.service = t->service, .arena = arena_new()};

	while (!stopping) {
		int64_t until = clock_monotonic() + t->task->every;

		trace_begin(SPAN_INTERNAL, NULL, NULL);
		span_name(trace_span(), "task %s", t->task->name);
		t->task->run(&cx);
		trace_end();
		arena_reset(cx.arena);
		pthread_mutex_lock(&t->lock);
		while (!t->woken && !stopping &&
		       clock_wait(&t->changed, &t->lock, until))
			;
		t->woken = false;
		pthread_mutex_unlock(&t->lock);
	}
	arena_free(cx.arena);
	return NULL;
}

static void
start_task(const struct service *service, struct task *task)
{
	struct task_thread *t = calloc(1, sizeof(*t));

	if (t == NULL)
		_exit(EX_OSERR);
	*t = (struct task_thread){.task = task, .service = service};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	task->thread = t;
}

void
task_wake(struct task *task)
{
	struct task_thread *t = task->thread;

	pthread_mutex_lock(&t->lock);
	t->woken = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

static void
stop_task(struct task *task)
{
	struct task_thread *t = task->thread;

	task_wake(task);
	pthread_join(t->thread, NULL);
}

static void
free_task(struct task *task)
{
	pthread_cond_destroy(&task->thread->changed);
	pthread_mutex_destroy(&task->thread->lock);
	free(task->thread);
}

/* Ends with one sentence on why the service can't start. */
static _Noreturn void
refuse(const struct service *service, const char *why)
{
	LOG(LOG_ERROR, "can't start", LOG_TEXT("cause", why));
	fprintf(stderr, "%s: %s\n", service->name, why);
	exit(EX_CONFIG);
}

static bool
streams(const struct service *service)
{
	for (const struct route *r = service->routes; r && r->path; r++)
		if (r->stream != WHOLE)
			return true;
	return false;
}

static size_t
count_pointers(const void *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

/* Who answers requests refuses those of banned users, see standing.h.  What
 * that needs is in no service's own tables, so that none can forget it. */
static void
join_standing(struct service *service)
{
	static const struct kind *kinds[32];
	static struct task *tasks[32];
	static struct hears hears[64];
	size_t n = 0, own = 0;

	n = count_pointers((const void *const *)service->kinds);
	if (n + 2 > sizeof(kinds) / sizeof(kinds[0]))
		/* GCOVR_EXCL_START: a table is too small for its code */
		refuse(service, "it has too many kinds of records");
	/* GCOVR_EXCL_STOP */
	memcpy(kinds, service->kinds, n * sizeof(kinds[0]));
	kinds[n] = &standing_kind;
	service->kinds = kinds;

	n = count_pointers((const void *const *)service->tasks);
	if (n + 2 > sizeof(tasks) / sizeof(tasks[0]))
		/* GCOVR_EXCL_START: a table is too small for its code */
		refuse(service, "it has too many tasks");
	/* GCOVR_EXCL_STOP */
	if (n > 0)
		memcpy(tasks, service->tasks, n * sizeof(tasks[0]));
	tasks[n] = &standing_task;
	service->tasks = tasks;

	/* First, so that a service's own rows find it done. */
	for (n = 0; standing_hears[n].event != EVENT_NONE; n++)
		hears[n] = standing_hears[n];
	while (service->hears && service->hears[own].event != EVENT_NONE) {
		if (n + 2 > sizeof(hears) / sizeof(hears[0]))
			/* GCOVR_EXCL_START: a table is too small for its code
			 */
			refuse(service, "it hears too much");
		/* GCOVR_EXCL_STOP */
		hears[n++] = service->hears[own++];
	}
	service->hears = hears;
}

static bool
has_bus(const struct service *service)
{
	return service->hears != NULL || service->kinds != NULL;
}

static void
configure(struct service *service)
{
	const struct setting *const tables[] = {
		common_settings,
		has_bus(service) ? bus_settings : no_settings,
		service->kinds ? store_settings : no_settings,
		service->routes ? route_settings : no_settings,
		streams(service) ? transfer_settings : no_settings,
		service->settings ? service->settings : no_settings,
		NULL,
	};
	char errors[1024];
	const char *error = NULL;

	log_init(service->name, "info");
	if (setting_read(tables, errors, sizeof(errors)) != 0)
		refuse(service, errors);
	if (log_init(service->name, conf.level) != 0)
		refuse(service, "LOG_LEVEL is none of debug, info, warn, "
				"error");
	if (service->routes != NULL) {
		if (service->kinds != NULL)
			join_standing(service);
		token_init(conf.jwt_key, conf.jwt_key_previous);
		service->base_url = conf.base_url;
	}
	if (service->kinds != NULL)
		service->store =
			store_open(conf.mongo_uri, service->kinds,
				   conf.workers + conf.transfers, &error);
	if (error != NULL)
		refuse(service, error);
	error = service->open ? service->open() : NULL;
	if (error != NULL)
		refuse(service, error);
}

/* Secrets stay out of core files and of other processes' sight. */
static void
harden(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	prctl(PR_SET_DUMPABLE, 0); /* sanitizers trace themselves */
#endif
	/* Threads of a small service need no memory pools of their own. */
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 131072);
}

/* Lets go of the pages of one library's code and constants: they are never
 * written, and come back from the page cache as they are used. */
static int
release(struct dl_phdr_info *library, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)arg;
	for (int i = 0; i < library->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &library->dlpi_phdr[i];
		uintptr_t start = library->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			madvise((void *)(start / page * page),
				p->p_memsz + start % page, MADV_DONTNEED);
	}
	return 0;
}

static int
listen_socket(const struct service *service)
{
	int fd = STDIN_FILENO, listening = 0;
	socklen_t size = sizeof(listening);

	if (*conf.socket != '\0') {
		umask(0117); /* the socket is for us and our group: nginx */
		fd = FCGX_OpenSocket(conf.socket, BACKLOG);
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 ||
	    !listening)
		refuse(service, "FCGI_SOCKET is missing, and standard input "
				"is no FastCGI socket");
	return fd;
}

static struct bus *
open_bus(struct service *service)
{
	static const char *channels[EVENT__MAX + 1];
	struct bus_options options = {
		.url = conf.url,
		.cluster = conf.cluster,
		.client = conf.client,
		.group = service->name,
		.channels = channels,
		.handler = listen_handle,
		.closure = service,
	};
	const struct hears *h = service->hears;
	int n = 0;

	for (; h != NULL && h->event != EVENT_NONE; h++) {
		bool had = false;

		for (int i = 0; i < n; i++)
			had = had || channels[i] == event_channel(h->event);
		if (had)
			continue;
		channels[n++] = event_channel(h->event);
		/* An increase is only seen of what was there before. */
		METRIC_ADD(&metric_events, 0, event_channel(h->event), "dead");
	}
	return bus_open(&options);
}

/* What a task does, here and now. */
static void
run_once(const struct service *service, const struct task *task)
{
	struct context cx = {.service = service, .arena = arena_new()};

	task->run(&cx);
	arena_free(cx.arena);
}

/* It would print lines of its own, which are not JSON. */
static void
log_driver(mongoc_log_level_t level, const char *domain, const char *message,
	   void *arg)
{
	(void)arg;
	LOG(level <= MONGOC_LOG_LEVEL_WARNING ? LOG_WARN : LOG_DEBUG, "driver",
	    LOG_TEXT("domain", domain), LOG_TEXT("cause", message));
}

static void
start_libraries(const struct service *service)
{
	harden();
	if (sodium_init() < 0 || FCGX_Init() != 0)
		/* GCOVR_EXCL_START: the system lacks all that is random */
		refuse(service, "libsodium or libfcgi can't start");
	/* GCOVR_EXCL_STOP */
	mongoc_log_set_handler(log_driver, NULL);
	mongoc_init();
}

static void
close_service(struct service *service)
{
	if (service->close != NULL)
		service->close();
	store_close(service->store);
	mongoc_cleanup();
}

int
service_command(struct service *service,
		int (*run)(struct context *cx, void *arg), void *arg)
{
	struct context cx = {.service = service};
	int status;

	start_libraries(service);
	configure(service);
	cx.arena = arena_new();
	status = run(&cx, arg);
	arena_free(cx.arena);
	close_service(service);
	return status;
}

int
service_main(struct service *service)
{
	static struct task *const no_tasks[] = {NULL};
	struct task *const *tasks;
	struct pool *pool;
	const char *why;
	sigset_t signals;
	int fd, caught;

	/* Threads inherit this: signals come to sigwait() below alone.  Nor
	 * does libfcgi get one that comes before: its handler would take it,
	 * and then accept nothing. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	start_libraries(service);
	configure(service);
	fd = listen_socket(service);

	why = *conf.collector ? otlp_open(service->name, conf.collector) : NULL;
	if (why != NULL)
		refuse(service, why);
	/* All is made before anything runs that may use it. */
	tasks = service->tasks ? service->tasks : no_tasks;
	if (service->routes != NULL && service->kinds != NULL)
		run_once(service, &standing_task);
	for (int i = 0; tasks[i] != NULL; i++)
		start_task(service, tasks[i]);
	if (has_bus(service))
		service->bus = open_bus(service);
	if (service->kinds != NULL)
		service->outbox = outbox_open(service);
	if (streams(service))
		service->transfers = transfers_open(service, conf.transfers);
	if (has_bus(service))
		bus_start(service->bus);
	for (int i = 0; tasks[i] != NULL; i++)
		tasks[i]->thread->thread =
			service_thread(run_task, tasks[i]->thread);
	pool = pool_open(service, fd, conf.workers);
	/* Starting ran through forty libraries, once: half of what is resident
	 * by now is not used again. */
	dl_iterate_phdr(release, NULL);
	LOG(LOG_INFO, "started", LOG_NUMBER("workers", conf.workers));

	sigwait(&signals, &caught);
	LOG(LOG_INFO, "stopping", LOG_NUMBER("signal", caught));
	stopping = true;
	pool_close(pool);
	transfers_close(service->transfers);
	for (int i = 0; tasks[i] != NULL; i++)
		stop_task(tasks[i]);
	/* No one is left to make news by the time the outbox is emptied. */
	if (has_bus(service))
		bus_drain(service->bus);
	outbox_close(service->outbox);
	if (has_bus(service))
		bus_close(service->bus);
	for (int i = 0; tasks[i] != NULL; i++)
		free_task(tasks[i]);
	otlp_close();
	close_service(service);
	LOG(LOG_INFO, "stopped", LOG_NUMBER("signal", caught));
	return 0;
}

int
service_run(struct service *service, int argc, char **argv)
{
	if (argc == 1)
		return service_main(service);
	if (argc == 2 && service->routes != NULL &&
	    strcmp(argv[1], "--openapi") == 0)
		return openapi_main(service);
	fprintf(stderr, "usage: %s%s\n", service->name,
		service->routes ? " [--openapi]" : "");
	return EX_USAGE;
}
