/* bus-stan.c: bus.h on NATS Streaming.
 * SPDX-License-Identifier: MIT */
#include "bus.h"

#include <nats/nats.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "measure.h"

#define CONNECT_WAIT 2000 /* ms, for the server's answer */
#define PUBLISH_WAIT 2500 /* ms, for a publish's acknowledgement */
#define ACK_WAIT 30000	  /* ms, then the server hands it over again */
#define MAX_INFLIGHT 1024 /* unacknowledged on one channel */
#define PING_INTERVAL 2	  /* s; the library's own limits (5 s, 88 pings) */
#define PING_MAX 4	  /* would notice a dead server after 7 minutes */
#define BACKOFF_MIN 200	  /* ms */
#define BACKOFF_MAX 5000  /* ms */
#define AGAIN_MIN 5	  /* ms before a parked event is tried again */
#define AGAIN_MAX 500	  /* ms */

struct subscription {
	struct bus *bus;
	stanSubscription *sub;
	bool replay;
};

/* An event that was too early, or met a fault.  Its acknowledgement waits. */
struct parked {
	struct parked *next;
	stanSubscription *sub;
	stanMsg *msg;
	const char *channel;
	int64_t due, delay;
};

struct bus {
	struct bus_options options;
	pthread_t supervisor, retrier;
	int channels; /* how many, and so how many of each array below */
	struct subscription *live, *replays;

	pthread_mutex_t lock; /* guards all that follows */
	pthread_cond_t changed;
	stanConnection *conn; /* NULL while there is none */
	unsigned connections; /* how many there were: names the current one */
	bool lost, draining, stopping;
	int users;    /* threads inside a handler, or that use conn */
	int handlers; /* those inside a handler */
	struct parked *parked;
	size_t parked_count;
	bool replay_whole;     /* so far, all of it was done with */
	int64_t replay_began;  /* ms since 1970 */
	int64_t replay_old_at; /* monotonic: when something from before came */
};

static void *
xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		_exit(EX_OSERR); /* as arena.c: the supervisor restarts us */
	return p;
}

/* Waits on bus->changed for at most ms; the lock is held. */
static void
wait_changed(struct bus *bus, int64_t ms)
{
	clock_wait(&bus->changed, &bus->lock, clock_monotonic() + ms);
}

static void
leave(struct bus *bus)
{
	bus->users--;
	pthread_cond_broadcast(&bus->changed);
}

/* Parks a message unless the server handed over one that is parked already.
 * The lock is held. */
static void
park(struct bus *bus, stanSubscription *sub, stanMsg *msg, const char *channel)
{
	struct parked *p;

	for (p = bus->parked; p != NULL; p = p->next) {
		if (p->sub == sub &&
		    stanMsg_GetSequence(p->msg) == stanMsg_GetSequence(msg)) {
			/* GCOVR_EXCL_START: after 30 s without an
			 * acknowledgement */
			stanMsg_Destroy(msg);
			return;
			/* GCOVR_EXCL_STOP */
		}
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct parked){.next = bus->parked,
			     .sub = sub,
			     .msg = msg,
			     .channel = channel,
			     .delay = AGAIN_MIN,
			     .due = clock_monotonic() + AGAIN_MIN};
	bus->parked = p;
	bus->parked_count++;
	pthread_cond_broadcast(&bus->changed);
}

static const char *
own_channel(struct bus *bus, const char *channel)
{
	for (int i = 0; i < bus->channels; i++)
		if (strcmp(bus->options.channels[i], channel) == 0)
			return bus->options.channels[i];
	return channel; /* not reached: we subscribe to no other */
}

static enum bus_verdict
hand_over(struct bus *bus, const char *channel, stanMsg *msg)
{
	return bus->options.handler(bus->options.closure, channel,
				    stanMsg_GetData(msg),
				    (size_t)stanMsg_GetDataLength(msg));
}

/* What is new comes to the group too, and that sees it done.  The lock is
 * held. */
static void
note_replayed(struct bus *bus, enum bus_verdict verdict, int64_t stored_ns)
{
	if (stored_ns / 1000000 >= bus->replay_began)
		return;
	bus->replay_old_at = clock_monotonic();
	/* GCOVR_EXCL_START: a fault amid a rebuild, which fails another try */
	if (verdict == BUS_AGAIN)
		bus->replay_whole = false;
	/* GCOVR_EXCL_STOP */
}

static void
on_message(stanConnection *conn, stanSubscription *sub, const char *channel,
	   stanMsg *msg, void *closure)
{
	struct subscription *s = closure;
	struct bus *bus = s->bus;
	enum bus_verdict verdict;
	unsigned connection;

	(void)conn;
	pthread_mutex_lock(&bus->lock);
	if (bus->draining) {
		pthread_mutex_unlock(&bus->lock);
		stanMsg_Destroy(msg);
		return;
	}
	bus->users++;
	bus->handlers++;
	connection = bus->connections;
	if (GUARD_OFF("save-before-ack") && !s->replay)
		stanSubscription_AckMsg(sub, msg);
	pthread_mutex_unlock(&bus->lock);

	verdict = hand_over(bus, channel, msg);

	pthread_mutex_lock(&bus->lock);
	if (s->replay) {
		note_replayed(bus, verdict, stanMsg_GetTimestamp(msg));
		stanMsg_Destroy(msg);
	} else if (verdict == BUS_AGAIN && !bus->draining && !bus->lost &&
		   connection == bus->connections) {
		park(bus, sub, msg, own_channel(bus, channel));
	} else {
		if (verdict == BUS_DONE)
			stanSubscription_AckMsg(sub, msg);
		stanMsg_Destroy(msg);
	}
	bus->handlers--;
	leave(bus);
	pthread_mutex_unlock(&bus->lock);
}

/* Takes the first parked message that is due; NULL, and how long to wait in
 * *ret_ms, when there is none.  The lock is held. */
static struct parked *
take_due(struct bus *bus, int64_t *ret_ms)
{
	int64_t now = clock_monotonic();
	struct parked **at, *p;

	*ret_ms = 60000;
	for (at = &bus->parked; (p = *at) != NULL; at = &p->next) {
		if (p->due <= now) {
			*at = p->next;
			bus->parked_count--;
			return p;
		}
		if (p->due - now < *ret_ms)
			*ret_ms = p->due - now;
	}
	return NULL;
}

static void
parked_free(struct parked *p)
{
	stanMsg_Destroy(p->msg);
	free(p);
}

static void *
retry(void *closure)
{
	struct bus *bus = closure;
	struct parked *p;
	enum bus_verdict verdict;
	int64_t ms;

	pthread_mutex_lock(&bus->lock);
	while (!bus->draining) {
		p = bus->lost ? NULL : take_due(bus, &ms);
		if (p == NULL) {
			wait_changed(bus, bus->lost ? 1000 : ms);
			continue;
		}
		bus->users++;
		pthread_mutex_unlock(&bus->lock);
		verdict = hand_over(bus, p->channel, p->msg);
		pthread_mutex_lock(&bus->lock);
		/* Its subscription lives: close_connection() waits for us. */
		if (verdict == BUS_DONE)
			stanSubscription_AckMsg(p->sub, p->msg);
		if (verdict == BUS_DONE || bus->lost || bus->draining) {
			parked_free(p);
		} else {
			p->delay = p->delay * 2 < AGAIN_MAX ? p->delay * 2
							    : AGAIN_MAX;
			p->due = clock_monotonic() + p->delay;
			p->next = bus->parked;
			bus->parked = p;
			bus->parked_count++;
		}
		leave(bus);
	}
	pthread_mutex_unlock(&bus->lock);
	return NULL;
}

/* On the library's one thread for such news: only tell the supervisor. */
static void
on_lost(stanConnection *conn, const char *error, void *closure)
{
	struct bus *bus = closure;

	(void)conn;
	LOG(LOG_WARN, "bus lost", LOG_TEXT("cause", error));
	pthread_mutex_lock(&bus->lock);
	bus->lost = true;
	pthread_cond_broadcast(&bus->changed);
	pthread_mutex_unlock(&bus->lock);
}

/*
 * The connection to the server came back by itself.  What the server handed
 * over meanwhile got lost on its way, and would come again only after ACK_WAIT:
 * to members that subscribe anew it comes at once.
 */
static void
on_reconnected(natsConnection *nats, void *closure)
{
	(void)nats;
	on_lost(NULL, "reconnected", closure);
}

static natsStatus
connect_once(struct bus *bus, stanConnection **ret_conn)
{
	natsOptions *nats = NULL;
	stanConnOptions *stan = NULL;
	natsStatus s = natsOptions_Create(&nats);

	if (s == NATS_OK)
		s = natsOptions_SetURL(nats, bus->options.url);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(nats, CONNECT_WAIT);
	if (s == NATS_OK)
		s = natsOptions_SetReconnectWait(nats, BACKOFF_MIN);
	if (s == NATS_OK)
		s = natsOptions_SetReconnectedCB(nats, on_reconnected, bus);
	if (s == NATS_OK)
		s = stanConnOptions_Create(&stan);
	if (s == NATS_OK)
		s = stanConnOptions_SetNATSOptions(stan, nats);
	if (s == NATS_OK)
		s = stanConnOptions_SetConnectionWait(stan, CONNECT_WAIT);
	if (s == NATS_OK)
		s = stanConnOptions_SetPubAckWait(stan, PUBLISH_WAIT);
	if (s == NATS_OK)
		s = stanConnOptions_SetPings(stan, PING_INTERVAL, PING_MAX);
	if (s == NATS_OK)
		s = stanConnOptions_SetConnectionLostHandler(stan, on_lost,
							     bus);
	if (s == NATS_OK)
		s = stanConnection_Connect(ret_conn, bus->options.cluster,
					   bus->options.client, stan);
	stanConnOptions_Destroy(stan);
	natsOptions_Destroy(nats);
	return s;
}

/* Subscribes to all channels: as the group's member, or aside from it to what
 * came in the last since_ms. */
static natsStatus
subscribe(struct bus *bus, stanConnection *conn, struct subscription *subs,
	  int64_t since_ms)
{
	const char *group = bus->options.group;
	stanSubOptions *o = NULL;
	natsStatus s = stanSubOptions_Create(&o);

	if (s == NATS_OK)
		s = stanSubOptions_SetManualAckMode(o, since_ms == 0);
	if (s == NATS_OK)
		s = stanSubOptions_SetAckWait(o, ACK_WAIT);
	if (s == NATS_OK)
		s = stanSubOptions_SetMaxInflight(o, MAX_INFLIGHT);
	if (s == NATS_OK && since_ms == 0)
		s = stanSubOptions_DeliverAllAvailable(o);
	if (s == NATS_OK && since_ms == 0)
		s = stanSubOptions_SetDurableName(o, group);
	if (s == NATS_OK && since_ms != 0)
		s = stanSubOptions_StartAtTimeDelta(o, since_ms);
	for (int i = 0; s == NATS_OK && i < bus->channels; i++) {
		const char *channel = bus->options.channels[i];

		s = since_ms != 0
			    ? stanConnection_Subscribe(&subs[i].sub, conn,
						       channel, on_message,
						       &subs[i], o)
			    : stanConnection_QueueSubscribe(&subs[i].sub, conn,
							    channel, group,
							    on_message,
							    &subs[i], o);
	}
	stanSubOptions_Destroy(o);
	return s;
}

/* Close, never unsubscribe: that would forget the group's position. */
static void
close_subscriptions(struct bus *bus, struct subscription *subs)
{
	for (int i = 0; i < bus->channels; i++) {
		if (subs[i].sub == NULL)
			continue;
		stanSubscription_Close(subs[i].sub);
		stanSubscription_Destroy(subs[i].sub);
		subs[i].sub = NULL;
	}
}

/* Lets go of a connection that is lost or to be closed.  Only the supervisor
 * calls it, with bus->lost or bus->stopping set, without the lock. */
static void
close_connection(struct bus *bus, stanConnection *conn)
{
	struct parked *p;

	pthread_mutex_lock(&bus->lock);
	bus->conn = NULL;
	bus->replay_whole = false;
	while (bus->users > 0)
		pthread_cond_wait(/* GCOVR_EXCL_LINE: a race */
				  &bus->changed, &bus->lock);
	while ((p = bus->parked) != NULL) {
		bus->parked = p->next;
		parked_free(p);
	}
	bus->parked_count = 0;
	pthread_mutex_unlock(&bus->lock);
	close_subscriptions(bus, bus->live);
	close_subscriptions(bus, bus->replays);
	stanConnection_Destroy(conn);
}

static void *
supervise(void *closure)
{
	struct bus *bus = closure;
	int64_t backoff = BACKOFF_MIN;
	stanConnection *conn;
	natsStatus s;

	for (;;) {
		conn = NULL;
		pthread_mutex_lock(&bus->lock);
		bus->lost = false;
		bus->connections++;
		pthread_mutex_unlock(&bus->lock);

		s = connect_once(bus, &conn);
		pthread_mutex_lock(&bus->lock);
		bus->conn = s == NATS_OK ? conn : NULL;
		pthread_mutex_unlock(&bus->lock);
		if (s == NATS_OK)
			s = subscribe(bus, conn, bus->live, 0);

		pthread_mutex_lock(&bus->lock);
		if (s == NATS_OK) {
			backoff = BACKOFF_MIN;
			LOG(LOG_INFO, "bus connected",
			    LOG_TEXT("client", bus->options.client));
			while (!bus->stopping && !bus->lost)
				pthread_cond_wait(&bus->changed, &bus->lock);
		} else if (!bus->stopping) {
			LOG(LOG_WARN, "bus not connected",
			    LOG_TEXT("cause", natsStatus_GetText(s)));
			wait_changed(bus, backoff + randombytes_uniform(
							    (uint32_t)backoff));
			backoff = backoff * 2 < BACKOFF_MAX ? backoff * 2
							    : BACKOFF_MAX;
		}
		bus->lost = true; /* no more parking on this connection */
		pthread_mutex_unlock(&bus->lock);

		if (conn != NULL)
			close_connection(bus, conn);
		pthread_mutex_lock(&bus->lock);
		if (bus->stopping) {
			pthread_mutex_unlock(&bus->lock);
			return NULL;
		}
		pthread_mutex_unlock(&bus->lock);
	}
}

struct bus *
bus_open(const struct bus_options *options)
{
	struct bus *bus = xcalloc(1, sizeof(*bus));

	bus->options = *options;
	while (options->channels[bus->channels] != NULL)
		bus->channels++;
	bus->live = xcalloc((size_t)bus->channels + 1, sizeof(*bus->live));
	bus->replays = xcalloc((size_t)bus->channels + 1, sizeof(*bus->live));
	for (int i = 0; i < bus->channels; i++) {
		bus->live[i].bus = bus;
		bus->replays[i] = (struct subscription){bus, NULL, true};
	}
	pthread_mutex_init(&bus->lock, NULL);
	pthread_cond_init(&bus->changed, NULL);
	return bus;
}

void
bus_start(struct bus *bus)
{
	if (pthread_create(&bus->supervisor, NULL, supervise, bus) != 0 ||
	    pthread_create(&bus->retrier, NULL, retry, bus) != 0)
		_exit(EX_OSERR);
}

/* The connection, for use until leave(); NULL when there is none. */
static stanConnection *
borrow(struct bus *bus)
{
	stanConnection *conn;

	pthread_mutex_lock(&bus->lock);
	conn = bus->lost ? NULL : bus->conn;
	if (conn != NULL)
		bus->users++;
	pthread_mutex_unlock(&bus->lock);
	return conn;
}

static void
give_back(struct bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	leave(bus);
	pthread_mutex_unlock(&bus->lock);
}

/* Messages that are on their way together. */
struct flight {
	struct bus_message *messages;
	size_t count;
	int64_t began;
	pthread_mutex_t lock; /* guards pending, and stored of the messages */
	pthread_cond_t landed;
	size_t pending;
	struct passenger {
		struct flight *flight;
		struct bus_message *message;
	} passengers[];
};

static void
land(struct passenger *p, bool stored)
{
	struct flight *f = p->flight;

	pthread_mutex_lock(&f->lock);
	p->message->stored = stored;
	if (--f->pending == 0)
		pthread_cond_signal(&f->landed);
	pthread_mutex_unlock(&f->lock);
}

static void
on_ack(const char *guid, const char *error, void *closure)
{
	(void)guid;
	land(closure, error == NULL);
}

struct flight *
bus_publish_begin(struct bus *bus, struct bus_message *messages, size_t count)
{
	struct flight *f =
		xcalloc(1, sizeof(*f) + count * sizeof(f->passengers[0]));
	stanConnection *conn = borrow(bus);

	f->messages = messages;
	f->count = f->pending = count;
	f->began = clock_micros();
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->landed, NULL);
	for (size_t i = 0; i < count; i++) {
		struct bus_message *m = &messages[i];

		f->passengers[i] = (struct passenger){f, m};
		if (conn == NULL ||
		    stanConnection_PublishAsync(conn, m->channel, m->bytes,
						(int)m->len, on_ack,
						&f->passengers[i]) != NATS_OK)
			land(&f->passengers[i], false);
	}
	if (conn != NULL)
		give_back(bus);
	return f;
}

void
bus_publish_end(struct flight *f)
{
	/* The library answers each that it took, with an error after
	 * PUBLISH_WAIT or when the connection is closed. */
	pthread_mutex_lock(&f->lock);
	while (f->pending > 0)
		pthread_cond_wait(&f->landed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	if (f->count > 0)
		METRIC_TIME(&metric_publish_seconds, clock_micros() - f->began,
			    NULL);
	for (size_t i = 0; i < f->count; i++)
		METRIC_ADD(&metric_published, 1,
			   f->messages[i].stored ? "stored" : "refused");
	pthread_cond_destroy(&f->landed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void
bus_publish_all(struct bus *bus, struct bus_message *messages, size_t count)
{
	bus_publish_end(bus_publish_begin(bus, messages, count));
}

bool
bus_publish_wait(struct bus *bus, const char *channel, const void *bytes,
		 size_t len)
{
	struct bus_message m = {.channel = channel, .bytes = bytes, .len = len};

	bus_publish_all(bus, &m, 1);
	return m.stored;
}

int
bus_replay(struct bus *bus, int64_t since_ms)
{
	stanConnection *conn = borrow(bus);
	natsStatus s;

	if (conn == NULL)
		return -1;
	close_subscriptions(bus, bus->replays);
	pthread_mutex_lock(&bus->lock);
	bus->replay_whole = true;
	bus->replay_began = clock_now();
	bus->replay_old_at = clock_monotonic();
	pthread_mutex_unlock(&bus->lock);
	s = subscribe(bus, conn, bus->replays, since_ms);
	give_back(bus);
	return s == NATS_OK ? 0 : -1;
}

int
bus_replay_end(struct bus *bus, int64_t quiet_ms)
{
	stanConnection *conn = borrow(bus);
	int ended;

	if (conn == NULL)
		return -1;
	pthread_mutex_lock(&bus->lock);
	ended = !bus->replay_whole
			? -1
			: clock_monotonic() - bus->replay_old_at >= quiet_ms;
	if (ended != 0)
		bus->replay_whole = false; /* there is none any more */
	pthread_mutex_unlock(&bus->lock);
	if (ended != 0)
		close_subscriptions(bus, bus->replays);
	give_back(bus);
	return ended;
}

bool
bus_connected(struct bus *bus)
{
	stanConnection *conn = borrow(bus);
	natsConnection *nats = NULL;
	bool up = false;

	if (conn == NULL)
		return false;
	if (stanConnection_GetNATSConnection(conn, &nats) == NATS_OK) {
		up = natsConnection_Status(nats) == NATS_CONN_STATUS_CONNECTED;
		stanConnection_ReleaseNATSConnection(conn);
	}
	give_back(bus);
	return up;
}

size_t
bus_parked(struct bus *bus)
{
	size_t n;

	pthread_mutex_lock(&bus->lock);
	n = bus->parked_count;
	pthread_mutex_unlock(&bus->lock);
	return n;
}

void
bus_drain(struct bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	bus->draining = true;
	pthread_cond_broadcast(&bus->changed);
	while (bus->handlers > 0)
		pthread_cond_wait(&bus->changed, &bus->lock);
	pthread_mutex_unlock(&bus->lock);
	pthread_join(bus->retrier, NULL);
}

void
bus_close(struct bus *bus)
{
	if (!bus->draining)
		bus_drain(bus);
	pthread_mutex_lock(&bus->lock);
	bus->stopping = true;
	pthread_cond_broadcast(&bus->changed);
	pthread_mutex_unlock(&bus->lock);
	pthread_join(bus->supervisor, NULL);
	nats_CloseAndWait(2000);
	pthread_cond_destroy(&bus->changed);
	pthread_mutex_destroy(&bus->lock);
	free(bus->live);
	free(bus->replays);
	free(bus);
}
