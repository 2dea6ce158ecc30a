/* books.h: receipts for buyers, sales for sellers.
 * SPDX-License-Identifier: MIT */
#ifndef PAYMENTS_BOOKS_H
#define PAYMENTS_BOOKS_H

#include "service.h"

/* The newest sales that a seller's view counts. */
#define SALES_MAX 10000

/* Handlers and tables of their rows in routes.c. */
struct sales_query {
	const char *format;
};
extern const struct field sales_query[], sales_fields[], receipt_fields[];
const struct fail *books_receipt(struct request *rq);
const struct fail *books_sales(struct request *rq);

/* A text as one field of RFC 4180 CSV, which no spreadsheet takes for a
 * formula. */
const char *csv_text(struct arena *a, const char *s);

#endif
