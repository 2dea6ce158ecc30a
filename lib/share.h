/* share.h: one answer for many who ask the same at once.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_SHARE_H
#define TICKETING_SHARE_H

#include "http.h"

/* Answers as the handler of the request's route does, which is run once for all
 * requests of the same route, path and query that wait for it: see coalesce.h.
 * What fails is not shared, each then runs it by itself. */
const struct fail *share_answer(struct request *rq);

#endif
