/* openapi.h: a service's routes, described for programs (OpenAPI 3.1).
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_OPENAPI_H
#define TICKETING_OPENAPI_H

struct service;

/*
 * For `service --openapi`: adds all that service->routes say to the document
 * on standard input (empty: a new one) and writes it to standard output, so
 * that the services' programs in a pipe make one.  Needs no environment.
 * Returns the exit status.
 */
int openapi_main(const struct service *service);

#endif
