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

bool
clock_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until)
{
	struct timespec ts = {.tv_sec = until / 1000,
			      .tv_nsec = until % 1000 * 1000000};

	return pthread_cond_clockwait(c, lock, CLOCK_MONOTONIC, &ts) == 0;
}

static void
put_digits(char *to, size_t width, int n)
{
	while (width-- > 0) {
		to[width] = (char)('0' + n % 10);
		n /= 10;
	}
}

char *
clock_format(struct arena *a, int64_t ms)
{
	char *text = arena_strdup(a, "yyyy-mm-ddThh:mm:ss.mmmZ");
	int64_t millis = (ms % 1000 + 1000) % 1000; /* also before 1970 */
	time_t s = (ms - millis) / 1000;
	struct tm tm;

	gmtime_r(&s, &tm);
	put_digits(text, 4, tm.tm_year + 1900);
	put_digits(text + 5, 2, tm.tm_mon + 1);
	put_digits(text + 8, 2, tm.tm_mday);
	put_digits(text + 11, 2, tm.tm_hour);
	put_digits(text + 14, 2, tm.tm_min);
	put_digits(text + 17, 2, tm.tm_sec);
	put_digits(text + 20, 3, (int)millis);
	return text;
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
