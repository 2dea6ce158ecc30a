/* format.h: how money, times, sizes, browsers and addresses read: in one place.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_FORMAT_H
#define STOREFRONT_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "json.h"

/* "$1,234.50"; "Free" for nothing when free is true. */
const char *format_money(struct arena *a, int64_t cents, bool free);

/* "1234.50", as in a form or a machine's eyes; "" for less than 0. */
const char *format_amount(struct arena *a, int64_t cents);

/* Cents of what somebody typed: "12", "12.5", "$1,234.50".  -1: it is none. */
int64_t format_read_amount(const char *typed);

/* {iso, text} of a time in the API's form; NULL when it is none. */
json_object *format_time(struct arena *a, const char *rfc3339);
json_object *format_time_ms(struct arena *a, int64_t ms);

/* "1.2 MB". */
const char *format_size(struct arena *a, int64_t bytes);

/* The path of a listing's page: "/stuff/algebra-notes-ID". */
const char *format_listing_path(struct arena *a, const char *id,
				const char *title);

/* The start of a text, whole words of it, on one line. */
const char *format_excerpt(struct arena *a, const char *text, size_t max);

/* "Firefox on Linux", of what a browser calls itself; what is no browser is
 * called what it says, in short. */
const char *format_agent(struct arena *a, const char *agent);

/* [text, …]: what blank lines part. */
json_object *format_paragraphs(struct arena *a, const char *text);

#endif
