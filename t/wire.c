/* wire.c: see wire.h.
 * SPDX-License-Identifier: MIT */
#include "wire.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define OP_MSG 2013
#define MORE_TO_COME 2 /* flag: no answer is wanted, or another one follows */
#define MESSAGE_MAX (48 << 20)

static struct wire {
	struct sockaddr_in database;
	wire_watcher watch;
	void *closure;
	int listener;
} wire;

struct message {
	uint8_t *bytes;
	uint32_t len;
};

static uint32_t
number_at(const uint8_t *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return BSON_UINT32_FROM_LE(n);
}

static bool
receive(int fd, void *to, size_t len)
{
	return recv(fd, to, len, MSG_WAITALL) == (ssize_t)len;
}

static bool
read_message(int fd, struct message *m)
{
	uint8_t head[4];

	if (!receive(fd, head, sizeof(head)))
		return false;
	m->len = number_at(head);
	if (m->len < 16 || m->len > MESSAGE_MAX)
		return false;
	m->bytes = malloc(m->len);
	memcpy(m->bytes, head, sizeof(head));
	return receive(fd, m->bytes + 4, m->len - 4);
}

static bool
write_message(int fd, const struct message *m)
{
	for (size_t n = 0; n < m->len;) {
		ssize_t sent = send(fd, m->bytes + n, m->len - n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		n += (size_t)sent;
	}
	return true;
}

static bool
more_to_come(const struct message *m)
{
	return m->len >= 20 && number_at(m->bytes + 12) == OP_MSG &&
	       (number_at(m->bytes + 16) & MORE_TO_COME) != 0;
}

/* The documents of a section, "documents" of an insert, as an array. */
static void
append_section(bson_t *to, const uint8_t *p, const uint8_t *end)
{
	const char *name = (const char *)p;
	char number[16];
	uint32_t n = 0;
	bson_t array, one;

	p += strnlen(name, (size_t)(end - p)) + 1;
	BSON_APPEND_ARRAY_BEGIN(to, name, &array);
	while (p + 5 <= end && bson_init_static(&one, p, number_at(p))) {
		snprintf(number, sizeof(number), "%u", n++);
		BSON_APPEND_DOCUMENT(&array, number, &one);
		p += number_at(p);
	}
	bson_append_array_end(to, &array);
}

/* The command that a message is; NULL for what the driver says in its old
 * protocol, which is how it greets. */
static bson_t *
command_of(const struct message *m)
{
	const uint8_t *p = m->bytes + 20, *end = m->bytes + m->len;
	bson_t *command, body;

	if (m->len < 26 || number_at(m->bytes + 12) != OP_MSG || *p != 0 ||
	    !bson_init_static(&body, p + 1, number_at(p + 1)))
		return NULL;
	command = bson_copy(&body);
	p += 1 + number_at(p + 1);
	while (p + 5 < end && *p == 1) {
		append_section(command, p + 5, p + 1 + number_at(p + 1));
		p += 1 + number_at(p + 1);
	}
	return command;
}

static void
tell(bson_t *body, int64_t asked)
{
	struct wire_command command = {
		.body = body, .asked = asked, .answered = clock_micros()};
	bson_iter_t i;

	if (bson_iter_init(&i, body) && bson_iter_next(&i)) {
		command.name = bson_iter_key(&i);
		wire.watch(wire.closure, &command);
	}
}

/* One request and its answers. */
static bool
pass(int client, int database)
{
	struct message request = {0}, answer = {0};
	bson_t *command = NULL;
	int64_t asked;
	bool ok = read_message(client, &request);

	asked = clock_micros();
	if (ok)
		command = command_of(&request);
	ok = ok && write_message(database, &request);
	for (bool more = ok && !more_to_come(&request); ok && more;) {
		ok = read_message(database, &answer);
		if (ok && command != NULL)
			tell(command, asked);
		more = ok && more_to_come(&answer);
		ok = ok && write_message(client, &answer);
		free(answer.bytes);
		answer.bytes = NULL;
	}
	free(request.bytes);
	bson_destroy(command);
	return ok;
}

static void
no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void *
serve(void *arg)
{
	int client = (int)(intptr_t)arg;
	int database = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	no_delay(client);
	no_delay(database);
	if (connect(database, (struct sockaddr *)&wire.database,
		    sizeof(wire.database)) == 0)
		while (pass(client, database))
			;
	close(client);
	close(database);
	return NULL;
}

static void *
take(void *arg)
{
	pthread_t t;
	int fd;

	(void)arg;
	while ((fd = accept4(wire.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		if (pthread_create(&t, NULL, serve, (void *)(intptr_t)fd) == 0)
			pthread_detach(t);
	return NULL;
}

int
wire_open(const char *uri, wire_watcher watch, void *closure)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(here);
	const char *port = strrchr(uri, ':');
	pthread_t t;

	wire = (struct wire){
		.database = here, .watch = watch, .closure = closure};
	wire.database.sin_port =
		htons((uint16_t)strtoul(port ? port + 1 : "", NULL, 10));
	wire.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(wire.listener, (struct sockaddr *)&here, sizeof(here)) != 0 ||
	    listen(wire.listener, 128) != 0 ||
	    getsockname(wire.listener, (struct sockaddr *)&here, &size) != 0 ||
	    pthread_create(&t, NULL, take, NULL) != 0)
		return -1;
	pthread_detach(t);
	return ntohs(here.sin_port);
}
