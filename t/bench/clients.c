/* clients.c: very many clients that keep their connections, some of them
 *active. SPDX-License-Identifier: MIT
 *
 *	clients URL CA_CERT CLIENTS ACTIVE SECONDS PACE
 *
 * All connect and ask once.  Then the active ones ask every PACE ms, all others
 * wait; at the end each of these asks once more, on the connection that it had.
 * Prints how many requests the active ones made, how many of all clients'
 * failed, and the p50 and p99 of the active ones in us: from the moment that a
 * request was due, so that a server that is late makes none of them vanish.
 */
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HOLDERS                                                             \
	5	       /* processes for those that wait: libcurl takes more \
			  than one descriptor for each */
#define PATIENCE 10000 /* ms for an answer */
#define REFRESH 30     /* s */
#define SAMPLES (1 << 20)
#define ENOUGH 20 /* of a process could not connect: it is given up */

struct client {
	CURL *curl;
	curl_socket_t fd;
	bool broken, waiting;
	int64_t due; /* us: of its next request, or the one it waits for */
	size_t have;
	char answer[8192];
};

static const char *url, *ca;
static char request[512];
static struct client *clients;
static int active;
static uint32_t *samples;
static size_t sampled;

static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool
send_request(struct client *c)
{
	size_t n = 0, len = strlen(request);

	c->have = 0;
	return curl_easy_send(c->curl, request, len, &n) == CURLE_OK &&
	       n == len;
}

/* Is the answer there as a whole?  -1: it is none that is wanted. */
static int
complete(struct client *c)
{
	const char *body, *length;

	c->answer[c->have] = '\0';
	body = strstr(c->answer, "\r\n\r\n");
	if (body == NULL)
		return 0;
	length = strcasestr(c->answer, "\r\nContent-Length:");
	if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0 || length == NULL)
		return -1;
	return c->have >=
	       (size_t)(body + 4 - c->answer) + strtoul(length + 17, NULL, 10);
}

/* Reads what is there: as complete(). */
static int
read_answer(struct client *c)
{
	for (;;) {
		size_t n = 0;
		CURLcode rc =
			curl_easy_recv(c->curl, c->answer + c->have,
				       sizeof(c->answer) - 1 - c->have, &n);

		if (rc == CURLE_AGAIN)
			return complete(c);
		if (rc != CURLE_OK || n == 0)
			return -1;
		c->have += n;
	}
}

/* Asks, and waits for the answer. */
static bool
ask(struct client *c)
{
	int64_t until = now() + PATIENCE * 1000;
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int done = 0;

	if (!send_request(c))
		return false;
	while (done == 0 && now() < until) {
		poll(&p, 1, 100);
		done = read_answer(c);
	}
	return done == 1;
}

static void
connect_one(struct client *c)
{
	c->curl = curl_easy_init();
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_CAINFO, ca);
	curl_easy_setopt(c->curl, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)PATIENCE);
	c->broken = curl_easy_perform(c->curl) != CURLE_OK ||
		    curl_easy_getinfo(c->curl, CURLINFO_ACTIVESOCKET, &c->fd) !=
			    CURLE_OK ||
		    !ask(c);
}

/* Of the first count, those that waited long ask again, as people do now and
 * then: nginx closes what is silent for 75 s, and connecting may take that. */
static void
refresh(int count)
{
	static int next;

	for (int i = 0; i < count; i++) {
		struct client *c = &clients[next % count];

		if (!c->broken && now() - c->due < REFRESH * INT64_C(1000000))
			return;
		c->broken = c->broken || !ask(c);
		c->due = now();
		next = (next + 1) % count;
	}
}

/* Connects that many; how many could not. */
static int
connect_all(int count)
{
	int refused = 0;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	clients = calloc((size_t)count, sizeof(*clients));
	for (int i = 0; i < count; i++) {
		clients[i].broken = true;
		if (refused < ENOUGH)
			connect_one(&clients[i]);
		refused += clients[i].broken;
		clients[i].due = now();
		refresh(i + 1);
	}
	return refused;
}

/* Starts a process of count clients that wait, and returns a socket to it: it
 * says how many could not connect; told to, by a byte, it has each ask once
 * more and says how many failed. */
static int
hold(int count)
{
	struct pollfd told = {.events = POLLIN};
	int ends[2], errors;
	char go;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
		exit(1);
	if (fork() != 0) {
		close(ends[1]);
		return ends[0];
	}
	close(ends[0]);
	told.fd = ends[1];
	errors = connect_all(count);
	if (write(ends[1], &errors, sizeof(errors)) != sizeof(errors))
		_exit(1);
	while (poll(&told, 1, 500) == 0)
		refresh(count);
	if (read(ends[1], &go, 1) != 1)
		_exit(1);
	errors = 0;
	for (int i = 0; i < count; i++)
		errors += clients[i].broken || !ask(&clients[i]);
	_exit(write(ends[1], &errors, sizeof(errors)) != sizeof(errors));
}

static int
hear(int fd)
{
	int n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : ENOUGH;
}

static void
answered(struct client *c, int done, int64_t pace)
{
	int64_t at = now();

	if (done < 0 || at - c->due > PATIENCE * INT64_C(1000)) {
		c->broken = true;
		return;
	}
	if (sampled < SAMPLES)
		samples[sampled++] = (uint32_t)(at - c->due);
	c->waiting = false;
	c->due += pace;
	if (c->due < at)
		c->due = at;
}

/* Sends what is due; returns how many ms it is until the next. */
static int
send_due(int64_t end)
{
	int64_t at = now(), next = at + 50000;

	for (int i = 0; i < active; i++) {
		struct client *c = &clients[i];

		if (c->broken || c->waiting)
			continue;
		if (c->due <= at && at < end) {
			c->waiting = send_request(c);
			c->broken = !c->waiting;
		} else if (c->due < next) {
			next = c->due;
		}
	}
	return (int)((next - at + 999) / 1000);
}

static bool
any_waiting(void)
{
	for (int i = 0; i < active; i++)
		if (clients[i].waiting && !clients[i].broken)
			return true;
	return false;
}

static void
run(int64_t us, int64_t pace)
{
	struct epoll_event events[256], e = {.events = EPOLLIN};
	int64_t began = now(), end = began + us;
	int epoll = epoll_create1(0);

	for (int i = 0; i < active; i++) {
		e.data.ptr = &clients[i];
		clients[i].due = began + pace * i / active;
		epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &e);
	}
	while (now() < end ||
	       (any_waiting() && now() < end + PATIENCE * INT64_C(1000))) {
		int n = epoll_wait(epoll, events, 256, send_due(end));

		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			int done = read_answer(c);

			if (c->waiting && done != 0)
				answered(c, done, pace);
			else if (done < 0)
				c->broken = true;
			if (c->broken)
				epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
		}
	}
	for (int i = 0; i < active; i++)
		clients[i].broken = clients[i].broken || clients[i].waiting;
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	struct rlimit files;
	const char *host;
	int holders[HOLDERS], idle, refused, errors = 0;

	if (argc != 7) {
		fprintf(stderr, "usage: clients URL CA_CERT CLIENTS ACTIVE "
				"SECONDS PACE\n");
		return 2;
	}
	url = argv[1];
	ca = argv[2];
	active = atoi(argv[4]);
	idle = atoi(argv[3]) - active;
	host = strstr(url, "//") + 2;
	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: %.*s\r\n\r\n", strchr(host, '/'),
		 (int)strcspn(host, "/"), host);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (int i = 0; i < HOLDERS; i++)
		holders[i] =
			hold(idle * (i + 1) / HOLDERS - idle * i / HOLDERS);
	samples = calloc(SAMPLES, sizeof(*samples));
	refused = connect_all(active);
	for (int i = 0; i < HOLDERS; i++)
		refused += hear(holders[i]);
	if (refused < ENOUGH)
		run(atoi(argv[5]) * INT64_C(1000000),
		    atoi(argv[6]) * INT64_C(1000));
	for (int i = 0; i < active; i++)
		errors += clients[i].broken;
	for (int i = 0; i < HOLDERS; i++)
		errors += write(holders[i], "", 1) == 1 ? hear(holders[i])
							: ENOUGH;
	qsort(samples, sampled, sizeof(*samples), by_size);
	printf("RESULT %zu %d %u %u\n", sampled, errors, samples[sampled / 2],
	       samples[sampled * 99 / 100]);
	return 0;
}
