/* failpoint.c: see failpoint.h.
 * SPDX-License-Identifier: MIT */
#include "failpoint.h"

/* ISO C wants one declaration, whatever the build. */
extern const bool failpoint_enabled;

#ifndef WITH_FAILPOINTS
const bool failpoint_enabled = false;
#else
const bool failpoint_enabled = true;

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "pool.h"

/* The entry for name in a list "a=1,b,c=2", or NULL; past the name. */
static const char *
entry(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; p != NULL && *p != '\0';) {
		if (strncmp(p, name, len) == 0 && strchr("=,", p[len]) != NULL)
			return p + len;
		p = strchr(p, ',');
		if (p != NULL)
			p++;
	}
	return NULL;
}

void
failpoint_reach(const char *name)
{
	static atomic_int reached;
	const char *e = entry(getenv("FAILPOINTS"), name);
	int at = 1;

	if (e == NULL)
		return;
	if (strncmp(e, "=sleep:", 7) == 0) {
		LOG(LOG_INFO, "failpoint", LOG_TEXT("name", name));
		pool_will_wait();
		clock_sleep(strtol(e + 7, NULL, 10));
	} else if (strncmp(e, "=abort", 6) == 0) {
		/* GCOVR_EXCL_START: the process ends: all of
		 * t/90-race/test-kills.c */
		if (e[6] == '*')
			at = (int)strtol(e + 7, NULL, 10);
		if (atomic_fetch_add(&reached, 1) + 1 >= at)
			_Exit(134); /* as a kill: no handler, no flush */
				    /* GCOVR_EXCL_STOP */
	}
}

bool
failpoint_guard_off(const char *name)
{
	return entry(getenv("GUARDS_OFF"), name) != NULL;
}

static const _Atomic int64_t *jump; /* NULL: this clock is right */

static void
map_jump(void)
{
	const char *folder = getenv("CLOCK_JUMP");
	char path[4096];
	void *map;
	int fd;

	if (folder == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s", folder,
		 program_invocation_short_name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*jump), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		jump = map;
}

int64_t
failpoint_jump(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, map_jump);
	return jump ? *jump : 0;
}
#endif
