/* transfer.h: threads for what takes its time: files that come and go.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_TRANSFER_H
#define TICKETING_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "http.h"

/*
 * nginx hands an upload over as it comes, so a slow client holds a thread for
 * as long as it likes.  That is never a worker: a worker finds out that a
 * request streams and may, and hands it over.  Uploads get three quarters of
 * these threads at most and are refused when those are busy.  Downloads have
 * the rest, and wait in a queue for a thread: nginx takes them at its own
 * speed, whatever the client's is, so each is done soon.
 */
struct transfers;

struct transfers *transfers_open(const struct service *service,
				 int64_t threads);

/* May one more begin?  True takes its place; transfers_add() must follow. */
bool transfers_admit(struct transfers *t, enum stream kind);

/* Has http_serve() done by a thread, then finishes and frees the request. */
void transfers_add(struct transfers *t, enum stream kind,
		   FCGX_Request *request);

/* Lets what is under way end, for some seconds; then breaks it off.  NULL is
 * accepted. */
void transfers_close(struct transfers *t);

#endif
