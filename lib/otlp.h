/* otlp.h: hands spans to an OpenTelemetry collector (OTLP/HTTP, JSON).
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_OTLP_H
#define TICKETING_OTLP_H

#include <stdint.h>

/*
 * Collects the spans that trace_tell() speaks of from here on, and sends them
 * to endpoint "/v1/traces", in batches, by a thread of its own.  No one who
 * makes spans ever waits for it: a fixed number of spans waits, what comes
 * beyond is dropped and counted, and so is what the collector did not take in
 * some 15 s.  NULL, or why it can't; it is not opened twice.
 */
const char *otlp_open(const char *service, const char *endpoint);

/* How many spans wait to be sent; -1 when it is not open. */
int64_t otlp_waiting(void);

/* Sends what waits, for two seconds at most, and ends the thread.  Nothing when
 * it is not open. */
void otlp_close(void);

#endif
