/* test-mail.c: letters, as a real mail server takes them.
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "letters.h"
#include "money.h"

struct wanted {
	const char *to, *subject, *says;
	int found;
	char raw[8192];
};

static bool
decode(const char *from, size_t len, char *to, size_t size)
{
	size_t n;

	if (sodium_base642bin((unsigned char *)to, size - 1, from, len, "\r\n",
			      &n, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return false;
	to[n] = '\0';
	return true;
}

/* The subject's encoded words, put together. */
static void
read_subject(const char *raw, char *to, size_t size)
{
	const char *p = strstr(raw, "\nSubject:"), *end = strstr(p, "\nMess");

	*to = '\0';
	while ((p = strstr(p, "=?utf-8?B?")) != NULL && p < end) {
		size_t len;

		p += 10;
		len = strcspn(p, "?");
		decode(p, len, to + strlen(to), size - strlen(to));
		p += len;
	}
}

static bool
arrived(void *arg)
{
	struct wanted *w = arg;
	DIR *dir = opendir(letters_folder());
	struct dirent *e;

	w->found = 0;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		char *path, raw[8192], subject[1024], body[4096];
		const char *text_at;
		FILE *f;

		if (strstr(e->d_name, ".eml") == NULL)
			continue;
		path = text("%s/%s", letters_folder(), e->d_name);
		f = fopen(path, "r");
		free(path);
		raw[fread(raw, 1, sizeof(raw) - 1, f)] = '\0';
		fclose(f);
		text_at = strstr(raw, "\r\n\r\n");
		if (text_at == NULL || !decode(text_at + 4, strlen(text_at + 4),
					       body, sizeof(body)))
			continue;
		read_subject(raw, subject, sizeof(subject));
		if (strncmp(raw, w->to, strlen(w->to)) != 0 ||
		    strcmp(subject, w->subject) != 0 ||
		    strstr(body, w->says) == NULL)
			continue;
		w->found++;
		strcpy(w->raw, raw);
	}
	if (dir != NULL)
		closedir(dir);
	return w->found > 0;
}

static bool
comes(struct student *to, const char *subject, const char *says)
{
	struct wanted w = {
		.to = student_email(to), .subject = subject, .says = says};

	if (!eventually(15000, arrived, &w)) {
		tap_note("no letter \"%s\" to %s", subject, w.to);
		return false;
	}
	TAP_INT(w.found, 1);
	return true;
}

static struct student *ann, *bob;
static char order[ID_SIZE];

static char *
lists(const char *title)
{
	const struct answer *a =
		askf(ann, "POST", "/api/stuff",
		     "{\"title\":\"%s\",\"price\":1250}", title);

	char *id;

	TAP_INT(a->status, 201);
	id = strdup(answer_text(a, "id"));
	TAP_INT(upload(ann, id, "notes", NULL)->status, 200);
	return id;
}

static void
a_sale(void)
{
	char *stuff, *id;

	ann = student_signed_up();
	bob = student_signed_up();
	/* A title that would be a header if it were let. */
	stuff = lists("Caf\\u00e9 \\u2603 notes\\r\\nBcc: eve@example."
		      "edu");
	id = buy(bob, stuff);
	snprintf(order, sizeof(order), "%s", id);
	/* With the server away, letters wait. */
	letters_down();
	TAP_INT(pay(bob, order, "pm_card_visa")->status, 201);
	clock_sleep(1500);
	letters_up();
	CU_ASSERT(comes(bob,
			"Receipt for Caf\u00e9 \u2603 notes\r\nBcc: "
			"eve@example.edu",
			"$12.50"));
	CU_ASSERT(comes(ann,
			"Sold: Caf\u00e9 \u2603 notes\r\nBcc: eve@example.edu",
			"was sold for $12.50"));
	free(stuff);
	free(id);
}

static void
a_refund(void)
{
	char *path = text("/api/payments/%s/refund", order);

	TAP_INT(ask(ann, "POST", path, "{\"listing\":\"removed\"}", NULL)
			->status,
		200);
	CU_ASSERT(comes(bob,
			"Refund for Caf\u00e9 \u2603 notes\r\nBcc: "
			"eve@example.edu",
			order));
	CU_ASSERT(comes(ann,
			"Refunded: Caf\u00e9 \u2603 notes\r\nBcc: "
			"eve@example.edu",
			"given back"));
	free(path);

	/* What was written to them is theirs to see. */
	path = text("\"orderId\":\"%s\"", order);
	CU_ASSERT_PTR_NOT_NULL(strstr(
		ask(bob, "GET", "/api/users/me/export", NULL, NULL)->body,
		path));
	free(path);
}

static bool
lapsing(void *arg)
{
	char *filter = text("{\"orderId\":{\"$oid\":\"%s\"},\"letter\":"
			    "\"lapsing\",\"status\":\"sent\"}",
			    (const char *)arg);
	bool sent = db_count("auth", "letters", filter) == 1;

	free(filter);
	return sent;
}

/* 30 s: then it is half of these before the end. */
static void
a_hold_about_to_lapse(void)
{
	char *stuff = lists("Algebra"), *id = buy(bob, stuff);

	CU_ASSERT(eventually(35000, lapsing, id));
	free(stuff);
	free(id);
}

static void
who_has_left_gets_none(void)
{
	struct deal d;
	char *filter;
	int64_t n = 0;

	/* These have no account. */
	deal_make(&d, 1000);
	deal_pay(&d);
	filter = text("{\"orderId\":{\"$oid\":\"%s\"},\"status\":\"dropped\"}",
		      d.order);
	for (int i = 0; i < 200 && n != 2; i++) {
		clock_sleep(100);
		n = db_count("auth", "letters", filter);
	}
	TAP_INT(n, 2);
	free(filter);
}

#define OF_LETTER "{\"letter\":\"%s\",\"orderId\":{\"$oid\":\"%s\"}}"
#define LONG_AGO                                                       \
	"{\"$set\":{\"createdAt\":{\"$date\":\"2020-01-02T03:04:05Z\"" \
	"}}}"

static bool
is_forgotten(void *arg)
{
	const char *of = arg;

	return db_count("auth", "letters", of) == 0 &&
	       db_count("payments", "mails", of) == 0;
}

/* A letter is kept for 90 days, where it was asked for and where it was sent;
 * the payment that it tells of is kept for good. */
static void
what_is_long_ago_is_forgotten(void)
{
	char *old = text(OF_LETTER, "receipt", order);
	char *new = text(OF_LETTER, "refund", order);
	char *payment = text("{\"orderId\":{\"$oid\":\"%s\"}}", order);

	TAP_INT(db_count("auth", "letters", old), 1);
	db_update("auth", "letters", old, LONG_AGO);
	db_update("payments", "mails", old, LONG_AGO);
	stack_restart("auth", NULL);
	stack_restart("payments", NULL);
	CU_ASSERT(eventually(20000, is_forgotten, old));
	TAP_INT(db_count("auth", "letters", new), 1);
	TAP_INT(db_count("payments", "mails", new), 1);
	TAP_INT(db_count("payments", "payments", payment), 1);
	free(old);
	free(new);
	free(payment);
}

/* An erased account takes them along. */
static void
who_leaves_takes_theirs_along(void)
{
	char *of = text("{\"userId\":{\"$oid\":\"%s\"}}", student_id(bob));

	CU_ASSERT(db_count("auth", "letters", of) > 0);
	TAP_INT(ask(bob, "DELETE", "/api/users/me",
		    "{\"password\":\"correct horse\"}", NULL)
			->status,
		204);
	TAP_INT(db_count("auth", "letters", of), 0);
	free(of);
}

static void
the_books_are_right(void)
{
	CU_ASSERT_TRUE(settles(NULL));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a sale, with the mail server away at first", a_sale},
		{"a refund", a_refund},
		{"a hold about to lapse", a_hold_about_to_lapse},
		{"who has left gets none", who_has_left_gets_none},
		{"what is long ago is forgotten",
		 what_is_long_ago_is_forgotten},
		{"who leaves takes theirs along",
		 who_leaves_takes_theirs_along},
		{"the books are right", the_books_are_right},
		{0},
	};
	char *url = text("SMTP_URL=%s", letters_open());
	int status;

	stack_up((const char *const[]){url, "SMTP_FROM=market@example.edu",
				       "EXPIRATION_WINDOW_SECONDS=30", NULL});
	status = tap_run(argc, argv, tests);
	student_free(ann);
	student_free(bob);
	free(url);
	return status;
}
