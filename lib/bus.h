/* bus.h: durable events between services, whoever carries them.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_BUS_H
#define TICKETING_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * No type of the server behind it is in this header: today that is NATS
 * Streaming (bus-stan.c), whose support ended in 2023; JetStream may take its
 * place.  Delivery is at least once and in no sure order; the caller copes.
 *
 * The connection comes and goes: a thread of the bus connects, with a back-off
 * from 0.2 to 5 s, and subscribes anew after a loss.  No call here waits for
 * it.
 */
struct bus;

enum bus_verdict {
	BUS_DONE,  /* its effect is saved: acknowledge */
	BUS_AGAIN, /* hand it over again soon: too early, or a fault here */
};

/* Bytes are NUL-terminated past len.  Called from threads of the bus, for one
 * channel from more than one. */
typedef enum bus_verdict (*bus_handler)(void *closure, const char *channel,
					const void *bytes, size_t len);

struct bus_options {
	const char *url, *cluster, *client; /* client: unique in the cluster */
	const char *group; /* shares each channel's events among its members,
			      and its position outlives them */
	const char *const *channels; /* to listen to; NULL ends them */
	bus_handler handler;
	void *closure;
};

/* The options' texts must outlive the bus. */
struct bus *bus_open(const struct bus_options *options);

/* Starts to connect, and to hand over what comes. */
void bus_start(struct bus *bus);

/* Text or other bytes for a channel. */
struct bus_message {
	const char *channel;
	const void *bytes;
	size_t len;
	bool stored; /* set by bus_publish_all() */
};

/*
 * Hands all over, in order, and waits, some 3 s at most, for the answers: which
 * of them are known to be stored.  Any other may be stored all the same.
 * In two steps: what is to be done meanwhile goes between them; the messages
 * and their bytes must last till the second one.
 */
void bus_publish_all(struct bus *bus, struct bus_message *messages,
		     size_t count);
struct flight *bus_publish_begin(struct bus *bus, struct bus_message *messages,
				 size_t count);
void bus_publish_end(struct flight *flight);

/* As bus_publish_all(), one.  True when it is stored. */
bool bus_publish_wait(struct bus *bus, const char *channel, const void *bytes,
		      size_t len);

/*
 * Hands all that the channels received in the last since_ms milliseconds to
 * the handler again, aside from the group, and what comes meanwhile too, until
 * bus_replay_end(), another bus_replay() or the loss of the connection.
 * Returns -1 when there is no connection.
 */
int bus_replay(struct bus *bus, int64_t since_ms);

/*
 * Ends the replay if it handed over nothing from before its start for the last
 * quiet_ms milliseconds.  Returns 1 when all was handed over and done with, 0
 * while it goes on, -1 when some of it was not: the connection was lost, the
 * handler said BUS_AGAIN, or there was no replay.
 */
int bus_replay_end(struct bus *bus, int64_t quiet_ms);

bool bus_connected(struct bus *bus);

/* Events that wait to be handed over again. */
size_t bus_parked(struct bus *bus);

/* Stops handing over and waits for handlers that run; publishing goes on. */
void bus_drain(struct bus *bus);

/* Drains, if that is not done yet, and closes.  What was not acknowledged comes
 * again to the group. */
void bus_close(struct bus *bus);

#endif
