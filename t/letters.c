/* letters.c: see letters.h.
 * SPDX-License-Identifier: MIT */
#include "letters.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flow.h"

static char folder[] = "/tmp/letters.XXXXXX", port[8], url[64];
static pid_t server;

static const char *
top(const char *path)
{
	static char full[4200];
	const char *dir = getenv("top_srcdir");

	snprintf(full, sizeof(full), "%s/%s", dir ? dir : ".", path);
	return full;
}

static const char *
python(void)
{
	static char path[5000];
	const char *tools = getenv("DEV_TOOLS");

	snprintf(path, sizeof(path), "%s/stripe/bin/python",
		 tools ? tools : top(".dev/tools"));
	return path;
}

void
letters_up(void)
{
	server = program_start(&(struct program){
		.argv = (const char *const[]){python(),
					      top("t/servers/smtp.py"), port,
					      folder, NULL}});
	if (!eventually(20000, port_answers, port))
		tap_note("the mail server does not start");
}

void
letters_down(void)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
}

static void
clean_up(void)
{
	char *command = text("rm -rf '%s'", folder);

	letters_down();
	if (getenv("T_KEEP") == NULL && system(command) != 0)
		tap_note("%s stays behind", folder);
	free(command);
}

const char *
letters_folder(void)
{
	return folder;
}

const char *
letters_open(void)
{
	char *there = text("'%s' -c 'import aiosmtpd' 2>/dev/null", python());

	if (system(there) != 0)
		tap_skip_all("aiosmtpd is not installed");
	free(there);
	if (mkdtemp(folder) == NULL)
		abort();
	port_choose(port);
	letters_up();
	atexit(clean_up);
	snprintf(url, sizeof(url), "smtp://127.0.0.1:%s", port);
	return url;
}
