/* pool.c: see pool.h.
 *
 * libfcgi blocks in accept() and then in reading a request, so a connection
 * that is kept would hold its thread until nginx closes it, while others wait
 * to be accepted.  Here threads wait for whichever connection has something to
 * read, and only then hand it to FCGX_Accept_r(), which reads from what is open
 * already.
 * SPDX-License-Identifier: MIT */
#include "pool.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "failpoint.h"
#include "measure.h"
#include "service.h"
#include "transfer.h"

#define DESCRIPTORS 4096 /* a connection has one of the first so many */
#define ACCEPT_MOST 16	 /* at once: others want to be served as well */
#define ACCEPT_WAIT 50	 /* ms, when descriptors or memory have run out */

struct pool {
	const struct service *service;
	int listener, events;
	atomic_bool stopping;
	pthread_mutex_t lock; /* guards the next three */
	/* By descriptor: those that no thread is at; and whether something came
	 * at one while a thread was.  An event is told once (EPOLLET), so that
	 * a connection costs no call but its own from one request to the next,
	 * and has to be asked for again where it was no use. */
	FCGX_Request *idle[DESCRIPTORS];
	bool missed[DESCRIPTORS];
	bool looked_after; /* a thread looks for requests */
	pthread_cond_t free;
	int64_t count;
	pthread_t threads[];
};

/* The pool that this thread looks after. */
static _Thread_local struct pool *mine;

static void
look_after(struct pool *p)
{
	if (mine != NULL)
		return;
	pthread_mutex_lock(&p->lock);
	while (p->looked_after)
		pthread_cond_wait(&p->free, &p->lock);
	p->looked_after = true;
	pthread_mutex_unlock(&p->lock);
	mine = p;
}

void
pool_will_wait(void)
{
	struct pool *p = mine;

	if (p == NULL)
		return;
	mine = NULL;
	pthread_mutex_lock(&p->lock);
	p->looked_after = false;
	pthread_mutex_unlock(&p->lock);
	pthread_cond_signal(&p->free);
}

/* Has a request come whole, that is, one of a size that is common, without a
 * body?  Records begin with version, type, id (2 bytes), length (2) and
 * padding: those of BEGIN (type 1, 8 bytes), PARAMS (4), and two empty ones. */
static bool
is_whole(int fd)
{
	unsigned char b[4096];
	ssize_t n = recv(fd, b, sizeof(b), MSG_PEEK | MSG_DONTWAIT);

	return n >= 24 && b[1] == 1 && b[17] == 4 &&
	       n == 24 + (b[20] << 8) + b[21] + b[22] + 16;
}

/* Has one thread told when there is something to read, also if it is there
 * already. */
static void
watch(struct pool *p, int fd, int operation)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
				.data.fd = fd};

	if (epoll_ctl(p->events, operation, fd, &e) != 0)
		_exit(EX_OSERR); /* as arena.c */
}

/* Lets go of a connection until it asks for something. */
static void
put_down(struct pool *p, FCGX_Request *request)
{
	int fd = request->ipcFd;

	pthread_mutex_lock(&p->lock);
	p->idle[fd] = request;
	if (p->missed[fd] && !GUARD_OFF("missed"))
		watch(p, fd, EPOLL_CTL_MOD);
	p->missed[fd] = false;
	pthread_mutex_unlock(&p->lock);
}

/* NULL: a thread is at it. */
static FCGX_Request *
pick_up(struct pool *p, int fd)
{
	FCGX_Request *request;

	pthread_mutex_lock(&p->lock);
	request = p->idle[fd];
	p->idle[fd] = NULL;
	p->missed[fd] = request == NULL;
	pthread_mutex_unlock(&p->lock);
	return request;
}

/* libfcgi itself would wait for the other end to have read what we said: here
 * that is nothing. */
static void
hang_up(FCGX_Request *request)
{
	close(request->ipcFd);
	free(request);
}

static void
accept_some(struct pool *p)
{
	for (int i = 0; i < ACCEPT_MOST; i++) {
		int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
		FCGX_Request *request;

		if (fd < 0 && errno == EAGAIN)
			break;
		if (fd < 0 || fd >= DESCRIPTORS) {
			LOG(LOG_WARN, "accept failed",
			    LOG_TEXT("cause",
				     strerror(fd < 0 ? errno : EMFILE)));
			if (fd >= 0)
				close(fd);
			pool_will_wait();
			clock_sleep(ACCEPT_WAIT);
			break;
		}
		request = malloc(sizeof(*request));
		if (request == NULL)
			_exit(EX_OSERR);
		/* It never accepts by itself; and FCGX_Accept_r() closes first
		 * what is not to be kept. */
		FCGX_InitRequest(request, -1, 0);
		request->ipcFd = fd;
		request->keepConnection = 1;
		watch(p, fd, EPOLL_CTL_ADD);
		put_down(p, request);
	}
}

static void
answer(struct pool *p, struct context *cx, FCGX_Request *request)
{
	int fd = request->ipcFd;
	enum stream stream;

	if (!is_whole(fd) && !GUARD_OFF("whole"))
		pool_will_wait();
	if (FCGX_Accept_r(request) != 0) { /* it is closed by then */
		free(request);
		return;
	}
	METRIC_ADD(&metric_pool_busy, 1, "workers");
	stream = http_serve(cx, request, false);
	METRIC_ADD(&metric_pool_busy, -1, "workers");
	arena_reset(cx->arena);
	if (stream != WHOLE) {
		epoll_ctl(p->events, EPOLL_CTL_DEL, fd, NULL);
		transfers_add(p->service->transfers, stream, request);
		return;
	}
	if (!request->keepConnection)
		pool_will_wait(); /* until the other end has closed it, too */
	FCGX_Finish_r(request);
	if (request->ipcFd < 0) {
		free(request);
		return;
	}
	put_down(p, request);
}

static void *
run(void *arg)
{
	struct pool *p = arg;
	struct context cx = {.service = p->service, .arena = arena_new()};
	struct epoll_event e;
	FCGX_Request *request;
	int n;

	/* At the end all are served that have asked by then. */
	while (look_after(p),
	       (n = epoll_wait(p->events, &e, 1, p->stopping ? 0 : -1)) != 0) {
		if (n < 0)
			continue;
		if (e.data.fd == p->listener) {
			if (p->stopping)
				continue;
			accept_some(p);
			watch(p, p->listener, EPOLL_CTL_MOD);
			continue;
		}
		request = pick_up(p, e.data.fd);
		if (request == NULL)
			continue;
		if (e.events & (EPOLLHUP | EPOLLERR))
			hang_up(request);
		else
			answer(p, &cx, request);
	}
	/* Tells the next one to end. */
	watch(p, p->listener, EPOLL_CTL_MOD);
	pool_will_wait();
	arena_free(cx.arena);
	return NULL;
}

struct pool *
pool_open(const struct service *service, int listener, int64_t threads)
{
	struct pool *p =
		calloc(1, sizeof(*p) + (size_t)threads * sizeof(p->threads[0]));

	if (p == NULL)
		_exit(EX_OSERR);
	p->service = service;
	p->listener = listener;
	p->count = threads;
	p->events = epoll_create1(EPOLL_CLOEXEC);
	if (p->events < 0 || fcntl(listener, F_SETFL, O_NONBLOCK) != 0)
		_exit(EX_OSERR);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->free, NULL);
	watch(p, listener, EPOLL_CTL_ADD);
	METRIC_SET(&metric_pool_size, threads, "workers");
	for (int64_t i = 0; i < threads; i++)
		p->threads[i] = service_thread(run, p);
	return p;
}

void
pool_close(struct pool *p)
{
	p->stopping = true;
	/* There is something to read at it from now on: its end. */
	shutdown(p->listener, SHUT_RDWR);
	for (int64_t i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	for (int i = 0; i < DESCRIPTORS; i++)
		if (p->idle[i] != NULL)
			hang_up(p->idle[i]);
	close(p->events);
	pthread_cond_destroy(&p->free);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
