/* clock.c: see clock.h.
 * SPDX-License-Identifier: MIT */
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "failpoint.h"

static int64_t
now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_now(void)
{
	return now(CLOCK_REALTIME) + CLOCK_JUMP();
}

int64_t
clock_monotonic(void)
{
	return now(CLOCK_MONOTONIC);
}

int64_t
clock_micros(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void
clock_sleep(int64_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000,
			      .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&ts, &ts) == -1 && errno == EINTR)
		;
}

char *
clock_format(struct arena *a, int64_t ms)
{
	int64_t millis = (ms % 1000 + 1000) % 1000; /* also before 1970 */
	time_t s = (ms - millis) / 1000;
	struct tm tm;
	char text[32];

	gmtime_r(&s, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return arena_printf(a, "%s.%03dZ", text, (int)millis);
}

int
clock_parse(const char *s, int64_t *ret_ms)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	struct tm tm = {0}, check;
	int n = 0, millis = 0;
	time_t t;

	/* sscanf() alone would take signs and spaces for digits. */
	for (; shape[n] != '\0'; n++)
		if (shape[n] == 'd' ? s[n] < '0' || s[n] > '9'
				    : s[n] != shape[n])
			return -1;
	/* NOLINTNEXTLINE(cert-err34-c): they are digits, and few. */
	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
		   &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -1;
	if (s[n] == '.') {
		int scale = 100;

		for (n++; s[n] >= '0' && s[n] <= '9' && scale > 0; n++) {
			millis += (s[n] - '0') * scale;
			scale /= 10;
		}
		if (s[n - 1] == '.')
			return -1;
	}
	if (strcmp(s + n, "Z") != 0)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	check = tm;
	t = timegm(&check);
	/* timegm() carries the 31st of June over to July: such is refused. */
	if (check.tm_mon != tm.tm_mon || check.tm_mday != tm.tm_mday ||
	    check.tm_hour != tm.tm_hour || check.tm_min != tm.tm_min ||
	    check.tm_sec != tm.tm_sec)
		return -1;
	*ret_ms = (int64_t)t * 1000 + millis;
	return 0;
}
