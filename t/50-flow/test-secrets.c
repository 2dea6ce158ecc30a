/* test-secrets.c: what must stay secret is in no log and on no command line,
 * after all sorts of things went well and wrong.
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "browser.h"
#include "flow.h"

#define PASSWORD "horse-battery-staple-91"
#define CARD "pm_card_visa"

static const char *secrets[16];
static const char *names[16];
static size_t count;

static void
keep_secret(const char *name, const char *value)
{
	/* Shorter ones could be anything. */
	CU_ASSERT_FATAL(value != NULL && strlen(value) >= 8);
	names[count] = name;
	secrets[count++] = strdup(value);
}

/* Which secret is in these bytes, or NULL. */
static const char *
secret_in(const char *bytes, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (memmem(bytes, len, secrets[i], strlen(secrets[i])) != NULL)
			return names[i];
	return NULL;
}

/* All of a file, to be freed; its length in *ret_len. */
static char *
contents(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "r");
	char *all = NULL;
	size_t n, size = 0;

	*ret_len = 0;
	if (f == NULL)
		return NULL;
	do {
		size += 65536;
		all = realloc(all, size);
		n = fread(all + *ret_len, 1, size - *ret_len, f);
		*ret_len += n;
	} while (n > 0);
	fclose(f);
	return all;
}

static void
trade(void)
{
	struct browser b;
	struct student *seller = student_signed_up();
	struct student *buyer = student_signed_up();
	char *stuff, *order, *path;
	const char *link;

	browser_new(&b);
	browser_signs_in(&b, PASSWORD); /* wrong */
	TAP_INT(browse(&b, "auth", "PUT", "/api/users/me/password",
		       "{\"password\":\"" BROWSER_PASSWORD
		       "\",\"newPassword\":\"" PASSWORD "\"}")
				->status < 500,
		1);
	browser_signs_in(&b, PASSWORD);
	TAP_INT(browser_refreshes(&b)->status, 200);
	keep_secret("a session's token", b.session);
	keep_secret("a refresh token", b.refresh);
	keep_secret("a student's token", student_cookie(buyer));

	stuff = list_stuff(seller, 1250);
	order = buy(buyer, stuff);
	TAP_INT(pay(buyer, order, CARD)->status, 201);
	path = text("/api/stuff/%s", stuff);
	CU_ASSERT(becomes(seller, path, "status", "sold"));
	free(path);
	path = text("/api/stuff/%s/file/link", stuff);
	link = answer_text(ask(buyer, "POST", path, NULL, NULL), "url");
	CU_ASSERT_PTR_NOT_NULL_FATAL(link);
	TAP_INT(ask(buyer, "GET", link, NULL, NULL)->status, 200);
	/* What is asked for where it is not understood is logged, too. */
	ask(buyer, "GET", "/api/nothing", NULL,
	    (const char *const[]){"Authorization: Bearer rubbish", NULL});
	ask(buyer, "POST", "/api/users/signin",
	    "{\"email\":\"x\",\"password\":\"" PASSWORD "\",}", NULL);
	free(path);
	free(order);
	free(stuff);
	student_free(seller);
	student_free(buyer);
}

static void
begin(void)
{
	static const char *const settings[] = {"JWT_KEY", "STRIPE_KEY",
					       "STRIPE_WEBHOOK_SECRET"};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		keep_secret(settings[i], stack(settings[i]));
	keep_secret("a password", PASSWORD);
	keep_secret("a browser's password", BROWSER_PASSWORD);
	trade();
	/* With a database that does not answer more is logged. */
	stack_kill("mongo", "STOP");
	fcgi_call("auth", "POST", "/api/users/signin",
		  "{\"email\":\"a@b.edu\",\"password\":\"" PASSWORD "\"}",
		  NULL);
	stack_kill("mongo", "CONT");
	stack_kill("payments", NULL);
	stack_start("payments", NULL);
}

static void
logs(void)
{
	const char *folder = stack("LOG_DIR");
	DIR *d = opendir(folder);
	struct dirent *e;
	int looked_at = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((e = readdir(d)) != NULL) {
		char *path = text("%s/%s", folder, e->d_name);
		size_t len;
		char *all = contents(path, &len);
		const char *found = all ? secret_in(all, len) : NULL;

		/* The gateway's own log is not ours to keep clean. */
		if (found != NULL && strncmp(e->d_name, "stripe", 6) != 0) {
			tap_note("%s is in %s", found, e->d_name);
			CU_FAIL("a log holds a secret");
		}
		looked_at += len > 0;
		free(all);
		free(path);
	}
	closedir(d);
	CU_ASSERT(looked_at >= 6); /* five services and nginx */
}

static void
command_lines(void)
{
	static const char *const services[] = {
		"auth", "stuff", "orders", "expiration", "payments", "nginx"};

	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		char *path =
			text("/proc/%d/cmdline", (int)stack_pid(services[i]));
		size_t len;
		char *all = contents(path, &len);
		const char *found = all ? secret_in(all, len) : NULL;

		CU_ASSERT(len > 0);
		if (found != NULL) {
			tap_note("%s is told to %s", found, services[i]);
			CU_FAIL("a command line holds a secret");
		}
		free(all);
		free(path);
	}
}

/* Control: it is found where it is. */
static void
found_where_it_is(void)
{
	char *line = text("{\"msg\":\"%s\"}", secrets[0]);

	CU_ASSERT_PTR_NOT_NULL(secret_in(line, strlen(line)));
	free(line);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"all sorts of things happen", begin},
		{"control: a secret is found where it is", found_where_it_is},
		{"no log holds a secret", logs},
		{"no command line holds a secret", command_lines},
		{0},
	};

	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
