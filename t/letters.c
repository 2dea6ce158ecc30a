/* letters.c: see letters.h.
 * SPDX-License-Identifier: MIT */
#include "letters.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
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

static void
choose_port(void)
{
	char *command = text("python3 '%s' smtp 0", top("t/servers/ports.py"));
	FILE *f = popen(command, "r");

	if (f == NULL || fscanf(f, "smtp %7s", port) != 1)
		abort();
	pclose(f);
	free(command);
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

static bool
answers(void *arg)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtol(port, NULL, 10)),
		.sin_addr = {htonl(INADDR_LOOPBACK)},
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool there =
		connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	(void)arg;
	close(fd);
	return there;
}

void
letters_up(void)
{
	server = fork();
	if (server == 0) {
		execl(python(), python(), top("t/servers/smtp.py"), port,
		      folder, (char *)NULL);
		_exit(127);
	}
	if (!eventually(20000, answers, NULL))
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
	choose_port();
	letters_up();
	atexit(clean_up);
	snprintf(url, sizeof(url), "smtp://127.0.0.1:%s", port);
	return url;
}
