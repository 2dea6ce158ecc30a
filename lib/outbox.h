/* outbox.h: sends what the store's records have in their outboxes.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_OUTBOX_H
#define TICKETING_OUTBOX_H

struct kind;
struct outbox;
struct service;
struct unsent;

/*
 * A thread publishes the events of each record that outbox_wake() names, in
 * order of version, has the kind look at records that are new, and takes out
 * what the bus has stored.  At start and every 10 s it looks for records that
 * were left with some, by a crash or while the bus was away.  So each event is
 * published at least once.
 */
struct outbox *outbox_open(const struct service *service);

/* Never waits.  A full queue is no loss: the next look finds the record.  An
 * event that is saved, and the only one in the record's outbox, may be handed
 * over to spare that look; else NULL. */
void outbox_wake(struct outbox *o, const struct kind *kind, const char *id,
		 const struct unsent *event);

/* Sends what is queued, if the bus is there, for 2 s at most: the rest is found
 * at the next start.  NULL is accepted. */
void outbox_close(struct outbox *o);

#endif
