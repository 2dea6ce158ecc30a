/* format.c: see format.h.
 * SPDX-License-Identifier: MIT */
#include "format.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "id.h"

#define SLUG_MAX 60
#define AMOUNT_MAX INT64_C(1000000000000)

const char *
format_amount(struct arena *a, int64_t cents)
{
	if (cents < 0)
		return "";
	return arena_printf(a, "%lld.%02d", (long long)(cents / 100),
			    (int)(cents % 100));
}

const char *
format_money(struct arena *a, int64_t cents, bool free)
{
	char digits[32], out[48], *to = out;
	const char *sign = cents < 0 ? "-" : "";
	int64_t all = cents < 0 ? -cents : cents;
	int len;

	if (cents == 0 && free)
		return "Free";
	len = snprintf(digits, sizeof(digits), "%lld", (long long)(all / 100));
	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return arena_printf(a, "%s$%s.%02d", sign, out, (int)(all % 100));
}

int64_t
format_read_amount(const char *s)
{
	int64_t whole = 0, cents = 0;
	int digits = 0, places = 0;

	s += strspn(s, " \t\n");
	s += *s == '$';
	for (; isdigit((unsigned char)*s) || *s == ','; s++) {
		if (*s == ',')
			continue;
		whole = whole * 10 + (*s - '0');
		digits++;
		if (whole > AMOUNT_MAX)
			return -1;
	}
	if (*s == '.')
		for (s++; isdigit((unsigned char)*s); s++, places++)
			cents = cents * 10 + (*s - '0');
	s += strspn(s, " \t\n");
	if (*s != '\0' || places > 2 || digits + places == 0)
		return -1;
	return whole * 100 + (places == 1 ? cents * 10 : cents);
}

json_object *
format_time_ms(struct arena *a, int64_t ms)
{
	static const char *const months[] = {"January", "February", "March",
					     "April",	"May",	    "June",
					     "July",	"August",   "September",
					     "October", "November", "December"};
	json_object *o = json_object_new_object();
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	json_put_text(o, "iso", clock_format(a, ms));
	json_put_text(o, "text",
		      arena_printf(a, "%d %s %d, %02d:%02d UTC", tm.tm_mday,
				   months[tm.tm_mon], tm.tm_year + 1900,
				   tm.tm_hour, tm.tm_min));
	return o;
}

json_object *
format_time(struct arena *a, const char *rfc3339)
{
	int64_t ms;

	if (rfc3339 == NULL || clock_parse(rfc3339, &ms) != 0)
		return NULL;
	return format_time_ms(a, ms);
}

const char *
format_size(struct arena *a, int64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB"};
	double n = (double)bytes / 1000;
	size_t unit = 0;

	if (bytes < 1000)
		return arena_printf(a, "%lld bytes", (long long)bytes);
	for (; n >= 1000 && unit < 2; unit++)
		n /= 1000;
	return arena_printf(a, n < 10 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

const char *
format_listing_path(struct arena *a, const char *id, const char *title)
{
	char slug[SLUG_MAX + 1];
	size_t n = 0;

	for (const char *p = title; *p != '\0' && n < SLUG_MAX; p++) {
		if (isalnum((unsigned char)*p) && (unsigned char)*p < 128)
			slug[n++] = (char)tolower((unsigned char)*p);
		else if (n > 0 && slug[n - 1] != '-')
			slug[n++] = '-';
	}
	while (n > 0 && slug[n - 1] == '-')
		n--;
	return arena_printf(a, "/stuff/%.*s%s%s", (int)n, slug, n ? "-" : "",
			    id);
}

const char *
format_excerpt(struct arena *a, const char *text, size_t max)
{
	char *s = arena_alloc(a, strlen(text) + 4);
	size_t n = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (!isspace((unsigned char)*p))
			s[n++] = *p;
		else if (n > 0 && s[n - 1] != ' ')
			s[n++] = ' ';
	}
	if (n <= max) {
		s[n] = '\0';
		return s;
	}
	for (n = max; n > max / 2 && s[n] != ' ';)
		n--;
	if (s[n] != ' ') /* one long word; not within a character */
		for (n = max; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80;)
			n--;
	memcpy(s + n, "\xe2\x80\xa6", 4);
	return s;
}

/* The first that stands in it. */
static const char *
named(const char *agent, const char *const (*names)[2])
{
	for (; (*names)[0] != NULL; names++)
		if (strstr(agent, (*names)[0]) != NULL)
			return (*names)[1];
	return NULL;
}

const char *
format_agent(struct arena *a, const char *agent)
{
	/* Each says that it is those below it, too. */
	static const char *const browsers[][2] = {
		{"Edg", "Edge"},	 {"OPR/", "Opera"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"Chrome/", "Chrome"},	 {"CriOS/", "Chrome"},
		{"Safari/", "Safari"},	 {NULL, NULL},
	};
	static const char *const systems[][2] = {
		{"iPhone", "an iPhone"}, {"iPad", "an iPad"},
		{"Android", "Android"},	 {"Windows", "Windows"},
		{"CrOS", "ChromeOS"},	 {"Mac OS X", "macOS"},
		{"Linux", "Linux"},	 {NULL, NULL},
	};
	const char *browser = named(agent, browsers);
	const char *system = named(agent, systems);

	if (browser != NULL && system != NULL)
		return arena_printf(a, "%s on %s", browser, system);
	return *agent ? format_excerpt(a, agent, 40) : "An unknown program";
}

json_object *
format_paragraphs(struct arena *a, const char *text)
{
	json_object *list = json_object_new_array();

	while (*(text += strspn(text, "\r\n \t")) != '\0') {
		const char *end = strstr(text, "\n\n");
		size_t len = end ? (size_t)(end - text) : strlen(text);

		json_object_array_add(
			list,
			json_object_new_string(arena_strndup(a, text, len)));
		text += len;
	}
	return list;
}
