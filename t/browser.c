/* browser.c: see browser.h.
 * SPDX-License-Identifier: MIT */
#include "browser.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Keeps a cookie that the answer sets. */
static void
keep(const struct answer *a, const char *name, char *value, size_t size)
{
	static const char header[] = "Set-Cookie: ";
	size_t len = strlen(name);

	for (const char *p = a->headers; p != NULL && *p != '\0';) {
		if (strncasecmp(p, header, strlen(header)) == 0) {
			p += strlen(header);
			if (strncmp(p, name, len) == 0 && p[len] == '=')
				snprintf(value, size, "%.*s",
					 (int)strcspn(p + len + 1, ";\r\n"),
					 p + len + 1);
		}
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
}

const struct answer *
browse(struct browser *b, const char *service, const char *method,
       const char *path, const char *body)
{
	size_t script = strcspn(path, "?"), n = 0;
	char m[64], s[512], q[512], l[64], c[4096], ua[1024], ra[128];
	const char *params[16];
	const struct answer *a;

	snprintf(m, sizeof(m), "REQUEST_METHOD=%s", method);
	snprintf(s, sizeof(s), "SCRIPT_NAME=%.*s", (int)script, path);
	snprintf(q, sizeof(q), "QUERY_STRING=%s",
		 path[script] == '?' ? path + script + 1 : "");
	params[n++] = m;
	params[n++] = s;
	params[n++] = q;
	params[n++] = "REQUEST_ID=test";
	if (*b->session != '\0' || *b->refresh != '\0') {
		snprintf(c, sizeof(c),
			 "HTTP_COOKIE=__Host-session=%s; __Secure-refresh=%s",
			 b->session, b->refresh);
		params[n++] = c;
	}
	if (b->agent != NULL) {
		snprintf(ua, sizeof(ua), "HTTP_USER_AGENT=%s", b->agent);
		params[n++] = ua;
	}
	if (b->address != NULL) {
		snprintf(ra, sizeof(ra), "REMOTE_ADDR=%s", b->address);
		params[n++] = ra;
	}
	if (body != NULL) {
		snprintf(l, sizeof(l), "CONTENT_LENGTH=%zu", strlen(body));
		params[n++] = l;
		params[n++] = "CONTENT_TYPE=application/json";
	}
	params[n] = NULL;
	a = fcgi_ask(service, params, body, body ? strlen(body) : 0);
	keep(a, "__Host-session", b->session, sizeof(b->session));
	keep(a, "__Secure-refresh", b->refresh, sizeof(b->refresh));
	return a;
}

static const struct answer *
sign(struct browser *b, const char *path, const char *password)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"email\":\"%s\",\"password\":\"%s\"}",
		 b->email, password);
	return browse(b, "auth", "POST", path, body);
}

void
browser_new(struct browser *b)
{
	const struct answer *a;
	char random[17];

	*b = (struct browser){.agent = NULL};
	id_random(random, 8);
	snprintf(b->email, sizeof(b->email), "b-%s@example.edu", random);
	a = sign(b, "/api/users/signup", BROWSER_PASSWORD);
	TAP_INT(a->status, 201);
	if (a->status == 201)
		snprintf(b->id, sizeof(b->id), "%s", answer_text(a, "id"));
}

const struct answer *
browser_signs_in(struct browser *b, const char *password)
{
	return sign(b, "/api/users/signin", password);
}

const struct answer *
browser_refreshes(struct browser *b)
{
	return browse(b, "auth", "POST", "/api/users/refresh", NULL);
}

void
browser_becomes_admin(struct browser *b)
{
	TAP_INT(stack_dev(NULL, (const char *[]){"run", "auth", "--make-admin",
						 b->email, NULL}),
		0);
	TAP_STRING(answer_text(browser_refreshes(b), "role"), "admin");
}

static void
decide(struct browser *admin, const struct browser *b, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), "/api/users/%s/%s", b->id, what);
	TAP_INT(browse(admin, "auth", "POST", path, NULL)->status, 200);
}

void
browser_bans(struct browser *admin, const struct browser *b)
{
	decide(admin, b, "ban");
}

void
browser_unbans(struct browser *admin, const struct browser *b)
{
	decide(admin, b, "unban");
}
