/* test-storefront.c: the storefront's pages on the real stack.
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "browser.h"
#include "flow.h"
#include "misuse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HELD                                                                 \
	"The stuff is being checking out by someone else, please come back " \
	"later"
#define MISSING "can&#39;t be shown right now"
#define TABS 8
#define LATE 6000 /* ms: far above what a page may take, 2 s */

/* What must be nothing but text, and how that looks. */
#define HOSTILE "\"><script>alert(1)</script>'<img src=x onerror=alert(2)>{{x}}"
#define HOSTILE_ENCODED                                                     \
	"%22%3E%3Cscript%3Ealert(1)%3C/script%3E'%3Cimg%20src=x%20onerror=" \
	"alert(2)%3E%7B%7Bx%7D%7D"
#define HARMLESS "&lt;script&gt;alert(1)&lt;/script&gt;&#39;&lt;img src=x"

static const char *const as_form[] = {
	"Content-Type: application/x-www-form-urlencoded", NULL};

static const struct answer *
get(struct student *s, const char *path)
{
	return ask(s, "GET", path, NULL, NULL);
}

static bool
has(const struct answer *a, const char *part)
{
	return strstr(a->body, part) != NULL;
}

/* Has the page the part?  If not, its title is told. */
#define HAS(a, part) has_part(a, part, true, __FILE__, __LINE__)
#define HAS_NOT(a, part) has_part(a, part, false, __FILE__, __LINE__)
static void
has_part(const struct answer *a, const char *part, bool wanted,
	 const char *file, int line)
{
	const char *title = strstr(a->body, "<title>");

	if (has(a, part) != wanted)
		tap_note("%d, %.60s: %s %s", a->status, title ? title : a->body,
			 wanted ? "lacks" : "has", part);
	tap_int(has(a, part), wanted, part, file, line);
}

/* The page and its title, which says that it is the one. */
#define PAGE(a, status_, title)                  \
	do {                                     \
		const struct answer *page_ = a;  \
                                                 \
		TAP_INT(page_->status, status_); \
		HAS(page_, "<title>" title);     \
	} while (0)

/* The token of the forms on a page, to be freed. */
static char *
csrf_of(const struct answer *a)
{
	static const char before[] = "name=\"csrf\" value=\"";
	const char *p = strstr(a->body, before);

	if (p == NULL)
		return strdup("none");
	p += strlen(before);
	return strndup(p, strcspn(p, "\""));
}

/* Sends a form of a page; what is in it is encoded already. */
static const struct answer *
post(struct student *s, const char *page, const char *path, const char *fields)
{
	char *csrf = csrf_of(get(s, page));
	char *body = text("csrf=%s&%s", csrf, fields);
	const struct answer *a = ask(s, "POST", path, body, as_form);

	free(body);
	free(csrf);
	return a;
}

/* Follows the answer's redirect. */
static const struct answer *
follow(struct student *s, const struct answer *a)
{
	const char *to = answer_header(a, "Location");
	char path[512];

	TAP_INT(a->status, 303);
	snprintf(path, sizeof(path), "%s", to ? to : "/");
	return get(s, path);
}

/* What comes behind the last "/" of a redirect, up to "?". */
static void
id_of(const struct answer *a, const char *prefix, char id[ID_SIZE])
{
	const char *to = answer_header(a, "Location");

	snprintf(id, ID_SIZE, "000000000000000000000000");
	TAP_INT(a->status, 303);
	if (to != NULL && strncmp(to, prefix, strlen(prefix)) == 0)
		snprintf(id, ID_SIZE, "%.24s", to + strlen(prefix));
	CU_ASSERT(id_valid(id));
}

static struct student *
signs_up(const char *name)
{
	struct student *s = student_new();
	char email[32], *fields;

	id_random(email, 8);
	fields = text("email=%s%%40example.edu&password=correct+horse&name=%s"
		      "&next=%%2Fsell",
		      email, name);
	PAGE(follow(s, post(s, "/signup", "/signup", fields)), 200,
	     "Your listings");
	free(fields);
	return s;
}

/* Sends a file by a form of the listing: its "file" or "picture". */
static const struct answer *
sends(struct student *s, const char *id, const char *what, const char *name,
      const char *bytes)
{
	static const char *const multipart[] = {
		"Content-Type: multipart/form-data; boundary=----b", NULL};
	char *path = text("/sell/%s/%s", id, what);
	char *csrf = csrf_of(get(s, path));
	char *body = text("------b\r\nContent-Disposition: form-data; "
			  "name=\"csrf\"\r\n\r\n%s\r\n------b\r\n"
			  "Content-Disposition: form-data; name=\"file\"; "
			  "filename=\"%s\"\r\nContent-Type: text/plain\r\n\r\n"
			  "%s\r\n------b--\r\n",
			  csrf, name, bytes);
	const struct answer *a = ask(s, "POST", path, body, multipart);

	free(body);
	free(csrf);
	free(path);
	return a;
}

static const struct answer *
sends_file(struct student *s, const char *id, const char *name,
	   const char *bytes)
{
	return sends(s, id, "file", name, bytes);
}

static void
lists(struct student *s, const char *title, const char *description,
      char id[ID_SIZE])
{
	char *fields =
		text("title=%s&description=%s&price=12.50", title, description);

	id_of(post(s, "/sell/new", "/sell/new", fields), "/sell/", id);
	free(fields);
}

static const struct answer *
buys(struct student *s, const char *id)
{
	char *path = text("/stuff/%s/buy", id);
	const struct answer *a;

	a = post(s, "/account", path, "a=1");
	free(path);
	return a;
}

/* Orders hears of a listing and its file by events. */
static void
buys_at_last(struct student *s, const char *id, char order[ID_SIZE])
{
	const struct answer *a = NULL;

	for (int i = 0; i < 200; i++) {
		a = buys(s, id);
		if (a->status == 303)
			break;
		usleep(50000);
	}
	id_of(a, "/checkout/", order);
}

/* Polls until the listing or order has that status. */
static bool
gets(struct student *s, const char *prefix, const char *id, const char *status)
{
	char path[64];

	snprintf(path, sizeof(path), "%s%s", prefix, id);
	return becomes(s, path, "status", status);
}

/* --- what everyone sees --------------------------------------------------- */

static void
test_public(void)
{
	struct student *s = student_new();
	const struct answer *a = get(s, "/");
	char tag[128];
	const char *headers[] = {tag, NULL};
	static const char *const json[] = {"Accept: application/json", NULL};

	PAGE(a, 200, "Students sell to students");
	HAS(a, "<link rel=\"canonical\" href=\"https://");
	HAS(a, "\"@type\":\"WebSite\"");
	HAS_NOT(a, "name=\"csrf\"");
	CU_ASSERT_PTR_NULL(answer_header(a, "Set-Cookie"));
	CU_ASSERT_PTR_NOT_NULL(
		strstr(answer_header(a, "Content-Security-Policy"),
		       "default-src 'none'; script-src 'self';"));
	CU_ASSERT_PTR_NULL(
		strstr(answer_header(a, "Content-Security-Policy"), "unsafe"));
	TAP_STRING(answer_header(a, "X-Content-Type-Options"), "nosniff");
	TAP_STRING(answer_header(a, "Referrer-Policy"),
		   "strict-origin-when-cross-origin");
	CU_ASSERT_PTR_NOT_NULL(strstr(a->headers, "Vary: Cookie\r\n"));
	snprintf(tag, sizeof(tag), "If-None-Match: %s",
		 answer_header(a, "ETag"));
	a = ask(s, "GET", "/", NULL, headers);
	TAP_INT(a->status, 304);
	TAP_INT(a->len, 0);
	TAP_INT(ask(s, "HEAD", "/", NULL, NULL)->status, 200);
	PAGE(get(s, "/help"), 200, "Help");
	PAGE(get(s, "/nothing/here"), 404, "Not found");
	PAGE(get(s, "/stuff/none"), 404, "Not found");
	a = ask(s, "GET", "/nothing", NULL, json);
	EXPECT_ERROR(a, 404, "Not Found");
	TAP_INT(get(s, "/api/nothing")->status, 404);
	TAP_INT(get(s, "/healthz")->status, 404);
	a = ask(s, "PUT", "/help", NULL, NULL);
	TAP_INT(a->status, 405);
	TAP_STRING(answer_header(a, "Allow"), "GET, HEAD");
	a = get(s, "/robots.txt");
	HAS(a, "\nSitemap: https://");
	HAS(a, "\nDisallow: /api/\n");
	HAS(a, "\nAllow: /api/stuff/*/picture\n");
	HAS(get(s, "/sitemap.xml"), "/sitemap/first.xml</loc>");
	a = get(s, "/?minPrice=cheap");
	TAP_INT(a->status, 400);
	HAS(a, "value=\"cheap\"");
	student_free(s);
}

/* Private pages lead to the sign-in, and back. */
static void
test_private(void)
{
	static const char *const paths[] = {
		"/orders",	"/library",	  "/sell",
		"/sell/new",	"/account",	  "/account/sessions",
		"/admin/users", "/admin/coupons", "/sell/sales",
	};
	struct student *s = student_new();
	const struct answer *a;

	for (size_t i = 0; i < COUNT(paths); i++) {
		a = get(s, paths[i]);
		TAP_INT(a->status, 303);
		CU_ASSERT(strncmp(answer_header(a, "Location"),
				  "/signin?next=%2F", 16) == 0);
	}
	a = get(s, "/signin?next=%2Forders");
	HAS(a, "name=\"next\" value=\"/orders\"");
	HAS(a, "noindex");
	/* Nowhere else. */
	HAS(get(s, "/signin?next=https%3A%2F%2Fevil.example"), "value=\"/\"");
	HAS(get(s, "/signin?next=%2F%2Fevil.example"), "value=\"/\"");
	/* The header's links lead back, too, but not to what is past. */
	HAS(get(s, "/signin?next=%2Forders"),
	    "<li><a href=\"/signup?next=%2Forders\">Sign up");
	HAS(get(s, "/?q=a+b&done=signed-out&sort=price"),
	    "<li><a href=\"/signin?next=%2F%3Fq%3Da%2520b%26sort%3Dprice\">");
	HAS(get(s, "/signin?next=%2F%3Fq%3Da%2520b"),
	    "<li><a href=\"/signup?next=%2F%3Fq%3Da%2520b\">");
	student_free(s);
	s = signs_up("Ann");
	PAGE(get(s, "/admin/users"), 403, "Not for you");
	/* Whoever gets lost is signed in still. */
	a = get(s, "/nothing");
	PAGE(a, 404, "Not found");
	HAS(a, "action=\"/signout\"");
	student_free(s);
}

/* --- a purchase, with text that would be more --------------------------- */

static void
shows_text(struct student *s, const char *path)
{
	const struct answer *a = get(s, path);

	if (a->status == 301) {
		char to[1024];

		snprintf(to, sizeof(to), "%s", answer_header(a, "Location"));
		a = get(s, to);
	}
	TAP_INT(a->status, 200);
	HAS(a, HARMLESS);
	HAS_NOT(a, "<script>alert");
	HAS_NOT(a, "<img src=x");
}

static void
test_purchase(void)
{
	struct student *seller = signs_up(HOSTILE_ENCODED), *winner, *loser;
	char id[ID_SIZE], order[ID_SIZE], *path;
	const struct answer *a;

	winner = signs_up("Bob");
	loser = signs_up("Eve");
	lists(seller, HOSTILE_ENCODED, HOSTILE_ENCODED, id);
	path = text("/stuff/%s", id);
	a = get(winner, path);
	TAP_INT(a->status, 301);
	free(path);
	path = strdup(answer_header(a, "Location"));
	HAS(get(winner, path), "schema.org/OutOfStock");
	a = sends_file(seller, id, "%22><script>alert(1)</script>.txt",
		       "all of it");
	HAS(follow(seller, a), "The file is in place");
	a = get(loser, path);
	HAS(a, "\\u003cscript\\u003e");
	HAS(a, "schema.org/InStock");
	shows_text(loser, path);
	shows_text(seller, "/?q=%3Cscript%3E");
	shows_text(seller, "/sell");
	shows_text(seller, "/account"); /* the name */

	buys_at_last(winner, id, order);
	a = buys(loser, id);
	TAP_INT(a->status, 409);
	HAS(a, HELD);
	CU_ASSERT(atoi(answer_header(a, "Retry-After")) > 0);
	HAS(a, HARMLESS);
	CU_ASSERT(gets(loser, "/api/stuff/", id, "reserved"));
	a = get(loser, path);
	HAS(a, "schema.org/Reserved");
	HAS(a, "<time datetime=");
	free(path);
	path = text("/checkout/%s", order);
	shows_text(winner, path);
	PAGE(get(loser, path), 403, "Not for you");
	a = post(winner, path, path, "action=pay&coupon=&method=");
	TAP_INT(a->status, 400);
	HAS(a, "Please choose how to pay");
	a = post(winner, path, path,
		 "action=apply&method=pm_card_visa&coupon=" HOSTILE_ENCODED);
	TAP_INT(a->status, 400);
	HAS(a, "There is no such coupon");
	HAS(a, HARMLESS);
	a = post(winner, path, path, "action=pay&coupon=&method=pm_card_visa");
	HAS(follow(winner, a), "Thank you!");
	free(path);
	path = text("/orders/%s", order);
	CU_ASSERT(gets(winner, "/api/orders/", order, "complete"));
	shows_text(winner, path);
	PAGE(get(loser, path), 403, "Not for you");
	free(path);
	path = text("/orders/%s/receipt", order);
	shows_text(winner, path);
	free(path);
	HAS(get(winner, "/account/export"), "\"status\":\"captured\"");
	shows_text(winner, "/orders");
	shows_text(winner, "/library");
	path = text("/download/%s", id);
	a = get(winner, path);
	TAP_STRING(follow(winner, a)->body, "all of it");
	PAGE(get(loser, path), 403, "Not for you");
	free(path);
	shows_text(seller, "/sell/sales");
	shows_text(seller, "/sell?status=sold");
	PAGE(buys(loser, id), 409, "Please come back later");
	student_free(seller);
	student_free(winner);
	student_free(loser);
}

static void
test_declined(void)
{
	struct student *seller = signs_up("Ann"), *buyer = signs_up("Bob");
	char id[ID_SIZE], order[ID_SIZE], *path, *cancel;
	const struct answer *a;

	lists(seller, "Notes", "", id);
	sends_file(seller, id, "a.txt", "a");
	buys_at_last(buyer, id, order);
	path = text("/checkout/%s", order);
	a = post(buyer, path, path,
		 "action=pay&coupon=&method=pm_card_chargeCustomerFail");
	TAP_INT(a->status, 402);
	/* The hold is over with that; somebody else may buy it. */
	CU_ASSERT(gets(buyer, "/api/stuff/", id, "available"));
	a = get(buyer, path);
	TAP_INT(a->status, 303);
	free(path);
	path = text("/orders/%s", order);
	HAS(get(buyer, path), "The payment failed.");
	free(path);
	/* Let go by the buyer. */
	buys_at_last(buyer, id, order);
	path = text("/checkout/%s", order);
	cancel = text("/checkout/%s/cancel", order);
	a = post(buyer, path, cancel, "a=1");
	HAS(follow(buyer, a), "You were not charged");
	free(path);
	free(cancel);
	student_free(seller);
	student_free(buyer);
}

/* --- selling -------------------------------------------------------------- */

static void
test_selling(void)
{
	struct student *s = signs_up("Ann"), *other = signs_up("Eve");
	char id[ID_SIZE], *path, *body;
	const struct answer *a;

	a = post(s, "/sell/new", "/sell/new",
		 "title=&description=kept+%3Cb%3E&price=much");
	TAP_INT(a->status, 400);
	HAS(a, "Title must have 1 to 120 characters");
	HAS(a, "A price is 0 for free");
	HAS(a, "kept &lt;b&gt;");
	HAS(a, "value=\"much\"");
	lists(s, "Old+title", "", id);
	/* Without a file it can't be bought, so nobody reads that it can. */
	a = get(other, "/?q=Old+title");
	HAS(a, "<span class=\"state held\">Not ready yet</span>");
	HAS_NOT(a, "Available");
	path = text("/stuff/old-title-%s", id);
	a = get(other, path);
	HAS(a, "<span class=\"state held\">Not ready yet</span>");
	HAS(a, "data-status=\"available\"");
	free(path);
	path = text("/sell/%s", id);
	PAGE(get(other, path), 403, "Not for you");
	a = post(other, "/sell/new", path,
		 "title=Mine&description=&price=1&version=1");
	TAP_INT(a->status, 403);
	/* Two tabs: the second one's edit does not undo the first one's. */
	a = post(s, path, path,
		 "title=New+title&description=&price=2&version=1");
	HAS(follow(s, a), "Saved.");
	a = post(s, path, path, "title=Third&description=&price=2&version=1");
	TAP_INT(a->status, 409);
	HAS(a, "The stuff has changed since it was read");
	HAS(a, "value=\"Third\"");
	/* Its address says the title, and the old one leads to it. */
	free(path);
	path = text("/stuff/old-title-%s", id);
	a = get(other, path);
	TAP_INT(a->status, 301);
	body = text("/stuff/new-title-%s", id);
	TAP_STRING(answer_header(a, "Location"), body);
	free(body);
	CU_ASSERT(has(get(s, "/sitemap/first.xml"), "/stuff/new-title-"));
	free(path);
	path = text("/sell/%s/remove", id);
	TAP_INT(post(other, "/sell", path, "a=1")->status, 403);
	HAS(follow(s, post(s, "/sell/new", path, "a=1")),
	    "The listing is removed.");
	free(path);
	path = text("/stuff/new-title-%s", id);
	PAGE(get(other, path), 410, "No longer here");
	PAGE(get(s, path), 200, "New title");
	CU_ASSERT_FALSE(has(get(s, "/sitemap/first.xml"), "/stuff/new-title-"));
	free(path);
	student_free(s);
	student_free(other);
}

/* Sends a multipart body as it is, but for @ which stands for the token. */
static const struct answer *
sends_body(struct student *s, const char *id, const char *body)
{
	static const char *const multipart[] = {
		"Content-Type: multipart/form-data; boundary=b", NULL};
	char *path = text("/sell/%s/file", id), *csrf = csrf_of(get(s, path));
	const char *at = strchr(body, '@');
	char *whole =
		at ? text("%.*s%s%s", (int)(at - body), body, csrf, at + 1)
		   : strdup(body);
	const struct answer *a = ask(s, "POST", path, whole, multipart);

	free(whole);
	free(csrf);
	free(path);
	return a;
}

#define CSRF_PART "--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n"
#define FILE_PART                                                    \
	"\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; " \
	"filename=\"a\"\r\n\r\n"

static void
test_uploads(void)
{
	static const struct {
		const char *body;
		int status;
	} rows[] = {
		{CSRF_PART "@" FILE_PART "abc\r\n--b--\r\n", 303},
		{CSRF_PART "@" FILE_PART "\r\n--c\r\n--\r\n\r\n--b--\r\n", 303},
		{CSRF_PART "@" FILE_PART "\r\n--b--\r\n", 400}, /* empty */
		{CSRF_PART "@" FILE_PART "abc", 400},
		{CSRF_PART "@" FILE_PART "abc\r\n--b--", 400},
		{CSRF_PART "@" FILE_PART "abc\r\n--b\r\nContent-Disposition: "
			   "form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n",
		 400},
		{CSRF_PART "@" FILE_PART "abc\r\n--bb--\r\n", 400},
		{CSRF_PART "0" FILE_PART "abc\r\n--b--\r\n", 403},
		{FILE_PART "abc\r\n--b--\r\n", 400},
		{CSRF_PART "@\r\n--b--\r\n", 400},
		{"", 400},
		{"--b\r\n\r\n\r\n", 400},
		{"--b", 400},
	};
	struct student *s = signs_up("Ann"), *other = signs_up("Eve");
	char id[ID_SIZE], *path;
	long before;

	lists(s, "Notes", "", id);
	path = text("/api/stuff/%s", id);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct answer *a = sends_body(s, id, rows[i].body);

		TAP_INT(a->status, rows[i].status);
		if (a->status != rows[i].status)
			tap_note("upload %zu", i);
		/* What broke off has left the file before it. */
		a = get(s, path);
		TAP_INT(answer_int(a, "file.size"), i == 0 ? 3 : 11);
	}
	TAP_INT(sends_body(other, id, rows[0].body)->status, 403);
	TAP_INT(answer_int(get(s, path), "file.size"), 11);

	/* A large file passes through in small memory. */
	before = stack_rss("storefront");
	{
		size_t size = 30 << 20;
		char *large = malloc(size + 1);

		memset(large, 'x', size);
		large[size] = '\0';
		TAP_INT(sends_file(s, id, "large", large)->status, 303);
		free(large);
		TAP_INT(answer_int(get(s, path), "file.size"), size);
	}
	CU_ASSERT(stack_rss("storefront") < before + 8192);
	free(path);
	student_free(s);
	student_free(other);
}

#define PNG "\x89PNG\r\n\x1a\n"

static void
test_pictures(void)
{
	static const char *const none[] = {"<svg onload=alert(1)>", "GIF89a",
					   "PNG\r\n\x1a\n", "x", "RIFFxxxxWEB"};
	static const char *const elsewhere[] = {"Origin: https://evil.example",
						NULL};
	struct student *s = signs_up("Ann"), *other = signs_up("Eve");
	char id[ID_SIZE], order[ID_SIZE], *path, *listing, *large;
	const struct answer *a;

	lists(s, "Notes", "", id);
	listing = text("/api/stuff/%s", id);
	path = text("%s/picture", listing);
	EXPECT(get(other, path), 404);
	for (size_t i = 0; i < COUNT(none); i++) {
		a = sends(s, id, "picture", "a.png", none[i]);
		TAP_INT(a->status, 400);
		HAS(a, "neither PNG, JPEG nor WebP");
	}
	TAP_STRING(answer_text(get(s, listing), "picture"), NULL);
	large = malloc(300001);
	memset(large, 'x', 300000);
	large[300000] = '\0';
	memcpy(large, PNG, 8);
	a = sends(s, id, "picture", "a.png", large);
	TAP_INT(a->status, 400);
	HAS(a, "The file is too large");
	large[262145] = '\0';
	EXPECT(ask(s, "PUT", path, large, NULL), 413);
	large[262144] = '\0';
	EXPECT(ask(s, "PUT", path, large, NULL), 200);
	free(large);

	a = sends(s, id, "picture", "a.png", PNG "one");
	TAP_INT(a->status, 303);
	HAS(get(s, "/sell"), "/picture?v=");
	a = get(other, path);
	TAP_INT(a->status, 200);
	TAP_STRING(a->body, PNG "one");
	TAP_STRING(answer_header(a, "Content-Type"), "image/png");
	TAP_STRING(answer_header(a, "X-Content-Type-Options"), "nosniff");
	TAP_STRING(answer_header(a, "Content-Security-Policy"),
		   "default-src 'none'; sandbox");
	EXPECT(ask(other, "PUT", path, PNG "two", NULL), 403);
	EXPECT(ask(s, "PUT", path, PNG "two", elsewhere), 403);
	TAP_STRING(get(other, path)->body, PNG "one");

	/* What is held can't change. */
	sends_file(s, id, "a.txt", "a");
	buys_at_last(other, id, order);
	CU_ASSERT(gets(s, "/api/stuff/", id, "reserved"));
	EXPECT(ask(s, "PUT", path, PNG "two", NULL), 409);
	TAP_STRING(get(other, path)->body, PNG "one");
	/* It goes with the listing. */
	TAP_INT(db_count("stuff", "pictures", "{}"), 1);
	free(path);
	path = text("/api/orders/%s", order);
	EXPECT(ask(other, "DELETE", path, NULL, NULL), 204);
	CU_ASSERT(gets(s, "/api/stuff/", id, "available"));
	EXPECT(ask(s, "DELETE", listing, NULL, NULL), 204);
	TAP_INT(db_count("stuff", "pictures", "{}"), 0);
	free(path);
	free(listing);
	student_free(s);
	student_free(other);
}

/* --- forms that are not ours ---------------------------------------------- */

static void
test_forgery(void)
{
	static const char *const others[][4] = {
		{"Content-Type: application/x-www-form-urlencoded",
		 "Origin: https://evil.example", NULL},
		{"Content-Type: application/x-www-form-urlencoded",
		 "Origin: null", NULL},
		{"Content-Type: application/x-www-form-urlencoded",
		 "Sec-Fetch-Site: cross-site", NULL},
		{"Content-Type: application/x-www-form-urlencoded",
		 "Sec-Fetch-Site: same-site", NULL},
	};
	struct student *s = signs_up("Ann"), *eve = signs_up("Eve");
	char *csrf = csrf_of(get(s, "/sell/new"));
	char *theirs = csrf_of(get(eve, "/sell/new")), *body;
	const struct answer *a;

	body = text("csrf=%s&title=Forged&description=&price=1", csrf);
	for (size_t i = 0; i < COUNT(others); i++)
		TAP_INT(ask(s, "POST", "/sell/new", body, others[i])->status,
			403);
	free(body);
	/* No token, another user's, one that is almost right: the form is shown
	 * again, and nothing has happened. */
	csrf[20] = csrf[20] == '0' ? '1' : '0';
	for (int i = 0; i < 3; i++) {
		body = text("csrf=%s&title=Forged&description=&price=1",
			    i == 0   ? ""
			    : i == 1 ? theirs
				     : csrf);
		a = ask(s, "POST", "/sell/new", body, as_form);
		TAP_INT(a->status, 403);
		HAS(a, "This form has gone stale");
		HAS(a, "value=\"Forged\"");
		free(body);
	}
	TAP_INT(ask(s, "POST", "/sell/new", "{}", NULL)->status, 400);
	TAP_INT(ask(s, "POST", "/signout", "a=1", as_form)->status, 403);
	HAS_NOT(get(s, "/sell"), "Forged");
	free(csrf);
	free(theirs);
	student_free(s);
	student_free(eve);
}

/* --- sign-in -------------------------------------------------------------- */

/* Who is signed out in the middle of a form loses nothing but passwords. */
static void
test_resumed(void)
{
	struct student *s = student_signed_up(), *after = student_new();
	char *csrf = csrf_of(get(s, "/sell/new"));
	char *body = text("csrf=%s&title=Kept+%%3Ci%%3E&description=all+of+it&"
			  "price=7.50",
			  csrf),
	     *fields;
	const struct answer *a = ask(after, "POST", "/sell/new", body, as_form);

	PAGE(a, 401, "Sign in");
	HAS(a, "name=\"kept.title\" value=\"Kept &lt;i&gt;\"");
	HAS(a, "name=\"next\" value=\"/sell/new\"");
	free(csrf);
	csrf = csrf_of(a);
	/* A typing error does not lose it either. */
	fields = text("csrf=%s&kept.title=Kept+%%3Ci%%3E&kept.description=all+"
		      "of+it&kept.price=7.50&next=%%2Fsell%%2Fnew&email=%s&"
		      "password=wrong+horse",
		      csrf, student_email(s));
	a = ask(after, "POST", "/signin", fields, as_form);
	PAGE(a, 400, "Sign in");
	HAS(a, "name=\"kept.title\" value=\"Kept &lt;i&gt;\"");
	HAS(a, "Invalid credentials");
	HAS_NOT(a, "wrong horse");
	free(fields);
	free(csrf);
	csrf = csrf_of(a);
	fields = text("csrf=%s&kept.title=Kept+%%3Ci%%3E&kept.description=all+"
		      "of+it&kept.price=7.50&next=%%2Fsell%%2Fnew&email=%s&"
		      "password=correct+horse",
		      csrf, student_email(s));
	a = ask(after, "POST", "/signin", fields, as_form);
	PAGE(a, 200, "Sell something");
	HAS(a, "value=\"Kept &lt;i&gt;\"");
	HAS(a, "all of it");
	HAS(a, "value=\"7.50\"");
	free(csrf);
	csrf = csrf_of(a);
	free(body);
	body = text("csrf=%s&title=Kept&description=all&price=7.50", csrf);
	TAP_INT(ask(after, "POST", "/sell/new", body, as_form)->status, 303);
	free(body);
	free(fields);
	free(csrf);
	student_free(s);
	student_free(after);
}

static struct browser reader;
static char refreshed[TABS][256];

/* A tab whose access token has run out. */
static void
open_tab(int i, void *arg)
{
	char cookie[512];
	const char *const params[] = {"REQUEST_METHOD=GET",
				      "SCRIPT_NAME=/account", cookie, NULL};
	const struct answer *a;
	const char *p;

	(void)arg;
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=__Secure-refresh=%s",
		 reader.refresh);
	a = fcgi_ask("storefront", params, NULL, 0);
	TAP_INT(a->status, 200);
	HAS(a, reader.email);
	CU_ASSERT_PTR_NOT_NULL(strstr(a->headers, "__Host-session="));
	p = strstr(a->headers, "__Secure-refresh=");
	CU_ASSERT_PTR_NOT_NULL(p);
	if (p != NULL)
		snprintf(refreshed[i], sizeof(refreshed[i]), "%.*s",
			 (int)strcspn(p, ";"), p);
}

/* How often auth was asked for new tokens. */
static int
refreshes(void)
{
	char path[4096], line[2048];
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/auth.log", stack("LOG_DIR"));
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, "\"path\":\"/api/users/refresh\"") != NULL;
	fclose(f);
	return n;
}

static void
test_refresh(void)
{
	const struct answer *a;
	char cookie[512];
	const char *const params[] = {"REQUEST_METHOD=GET",
				      "SCRIPT_NAME=/account", cookie, NULL};
	int before;

	browser_new(&reader);
	before = refreshes();
	together(TABS, open_tab, NULL);
	TAP_INT(refreshes(), before + 1);
	/* All have the same successor, so whichever comes last stays. */
	for (int i = 1; i < TABS; i++)
		TAP_STRING(refreshed[i], refreshed[0]);
	snprintf(cookie, sizeof(cookie), "HTTP_COOKIE=%s", refreshed[0]);
	a = fcgi_ask("storefront", params, NULL, 0);
	TAP_INT(a->status, 200);
	HAS(a, reader.email);
	snprintf(cookie, sizeof(cookie),
		 "HTTP_COOKIE=__Secure-refresh=rubbish");
	TAP_INT(fcgi_ask("storefront", params, NULL, 0)->status, 303);
}

/* What nginx hands to a service: a listener in the service's place keeps it. */
struct listener {
	int fd;
	char heard[16384];
};

static void *
hear(void *arg)
{
	struct listener *l = arg;
	int fd = accept(l->fd, NULL, NULL);
	ssize_t n = fd >= 0 ? recv(fd, l->heard, sizeof(l->heard) - 1, 0) : 0;

	for (ssize_t i = 0; i < n; i++) /* it is no text */
		if (l->heard[i] == '\0')
			l->heard[i] = ' ';
	close(fd);
	return NULL;
}

static void
ask_instead_of(struct listener *l, const char *service, const char *path,
	       const char *cookies)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	const char *const headers[] = {cookies, NULL};
	struct student *s = student_new();
	pthread_t thread;

	memset(l, 0, sizeof(*l));
	stack_kill(service, NULL);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s.sock",
		 stack("RUN_DIR"), service);
	unlink(at.sun_path);
	l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_FATAL(bind(l->fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
			chmod(at.sun_path, 0666) == 0 && listen(l->fd, 8) == 0);
	pthread_create(&thread, NULL, hear, l);
	ask(s, "GET", path, NULL, headers);
	shutdown(l->fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(l->fd);
	unlink(at.sun_path);
	stack_start(service, NULL);
	student_free(s);
}

/* The refresh token is for auth and the storefront alone. */
static void
test_cookies(void)
{
	static const char *const cookies[] = {
		"Cookie: a=1; __Secure-refresh=secret; b=2",
		"Cookie: __Secure-refresh=secret; a=1; b=2",
		"Cookie: a=1; b=2; __Secure-refresh=secret",
	};
	struct listener l;

	for (size_t i = 0; i < COUNT(cookies); i++) {
		ask_instead_of(&l, "stuff", "/api/stuff", cookies[i]);
		CU_ASSERT_PTR_NOT_NULL(strstr(l.heard, "a=1; b=2"));
		CU_ASSERT_PTR_NULL(strstr(l.heard, "secret"));
	}
	ask_instead_of(&l, "auth", "/api/users/sessions", cookies[0]);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.heard, "__Secure-refresh=secret"));
	ask_instead_of(&l, "storefront", "/help", cookies[0]);
	CU_ASSERT_PTR_NOT_NULL(strstr(l.heard, "__Secure-refresh=secret"));
}

static void
test_account(void)
{
	struct student *s = signs_up("Ann"), *admin;
	const struct answer *a;

	a = post(s, "/account", "/account", "name=");
	TAP_INT(a->status, 400);
	HAS(a, "Bad Name");
	a = post(s, "/account", "/account", "name=" HOSTILE_ENCODED);
	HAS(follow(s, a), HARMLESS);
	a = post(s, "/account/password", "/account/password",
		 "password=wrong&newPassword=battery+staple");
	TAP_INT(a->status, 400);
	HAS(a, "Wrong password");
	HAS_NOT(a, "battery");
	a = post(s, "/account/password", "/account/password",
		 "password=correct+horse&newPassword=battery+staple");
	HAS(follow(s, a), "Your password is changed");
	HAS(get(s, "/account/sessions"), "<time datetime=");
	a = get(s, "/account/export");
	TAP_STRING(answer_header(a, "Content-Disposition"),
		   "attachment; filename=\"account.json\"");
	CU_ASSERT_PTR_NOT_NULL(answer_text(a, "user.email"));
	CU_ASSERT(has(a, "\"orders\":[]"));
	a = post(s, "/account/erase", "/account/erase", "password=wrong");
	TAP_INT(a->status, 400);
	a = post(s, "/account", "/signout", "a=1");
	HAS(follow(s, a), "You are signed out.");
	TAP_INT(get(s, "/account")->status, 303);
	student_free(s);

	admin = student_signed_up();
	TAP_INT(stack_dev(NULL, (const char *[]){"run", "auth", "--make-admin",
						 student_email(admin), NULL}),
		0);
	TAP_INT(ask(admin, "POST", "/api/users/refresh", NULL, NULL)->status,
		200);
	PAGE(get(admin, "/admin/users?q=example.edu"), 200, "Users");
	HAS(get(admin, "/admin/users?q=%3Cscript%3E"), HARMLESS);
	a = post(admin, "/admin/coupons", "/admin/coupons",
		 "percentOff=101&maxRedemptions=1&count=3&expiresAt=&stuffId=");
	TAP_INT(a->status, 400);
	HAS(a, "percentOff is from 1 to 100");
	a = post(admin, "/admin/coupons", "/admin/coupons",
		 "percentOff=50&maxRedemptions=1&count=3&expiresAt="
		 "2099-01-01T10%3A00&stuffId=");
	HAS(follow(admin, a), "1 January 2099, 10:00 UTC");
	PAGE(get(admin, "/admin/listings?status=sold"), 200, "Listings");
	student_free(admin);
}

/* --- when something is away ----------------------------------------------- */

#define QUICKLY(a) CU_ASSERT((a)->ms < LATE)

/* Is nothing missing on the page any more?  A service that was slow is asked
 * again after a while. */
static bool
is_whole(void *arg)
{
	return !has(get(arg, "/"), MISSING);
}

static void
test_down(void)
{
	struct student *s = signs_up("Ann");
	char id[ID_SIZE], *path;
	const struct answer *a;

	lists(s, "Notes", "", id);
	path = text("/stuff/notes-%s", id);
	for (int stopped = 0; stopped < 2; stopped++) {
		stack_kill("auth", stopped ? "STOP" : "KILL");
		a = get(s, path);
		PAGE(a, 200, "Notes");
		HAS(a, "the seller&#39;s name " MISSING);
		QUICKLY(a);
		if (stopped)
			stack_kill("auth", "CONT");
		else
			stack_start("auth", NULL);
		stack_kill("stuff", stopped ? "STOP" : "KILL");
		a = get(s, "/");
		PAGE(a, 200, "Students sell to students");
		HAS(a, "the listings " MISSING);
		CU_ASSERT_PTR_NULL(answer_header(a, "ETag"));
		QUICKLY(a);
		a = get(s, path);
		TAP_INT(a->status, 503);
		HAS(a, "<title>Please try again");
		QUICKLY(a);
		/* What was typed is there still. */
		a = post(s, "/sell/new", "/sell/new",
			 "title=Typed&description=&price=1");
		TAP_INT(a->status, 503);
		HAS(a, "value=\"Typed\"");
		if (stopped)
			stack_kill("stuff", "CONT");
		else
			stack_start("stuff", NULL);
		CU_ASSERT(eventually(10000, is_whole, s));
	}
	/* The storefront itself: nginx has a page for that. */
	stack_kill("storefront", "KILL");
	a = get(s, "/");
	TAP_INT(a->status, 503);
	HAS(a, "<title>Back in a moment");
	a = ask(s, "POST", "/signin", "a=1", as_form);
	TAP_INT(a->status, 503);
	HAS(a, "<title>Back in a moment");
	TAP_INT(get(s, "/api/stuff")->status, 200);
	stack_start("storefront", NULL);
	free(path);
	student_free(s);
}

/* What a server that has lost its mind may say. */
static const char *const rubbish[] = {
	"rubbish\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[}",
	"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"id\":[1,2]}",
	"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,null,\"]",
	"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n[1,null]",
	"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n[{\"title\":null}]",
	"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n[",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops",
	"HTTP/1.1 400 Oh\r\nContent-Length: 13\r\n\r\n{\"errors\":{}}",
	"",
};
static int listener;
static _Atomic size_t turn;

static void *
talk(void *arg)
{
	char request[16384];
	int fd;

	(void)arg;
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		const char *said = rubbish[turn];

		if (recv(fd, request, sizeof(request), 0) > 0)
			send(fd, said, strlen(said), MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

static void
test_rubbish(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	struct student *s = signs_up("Ann");
	const struct answer *a;
	pthread_t thread;
	char *setting;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	CU_ASSERT_FATAL(bind(listener, (struct sockaddr *)&at, size) == 0 &&
			listen(listener, 64) == 0 &&
			getsockname(listener, (struct sockaddr *)&at, &size) ==
				0);
	pthread_create(&thread, NULL, talk, NULL);
	setting = text("INTERNAL_BASE_URL=http://127.0.0.1:%d",
		       ntohs(at.sin_port));
	stack_restart("storefront", setting);
	for (turn = 0; turn < COUNT(rubbish); turn++) {
		a = get(s, "/");
		CU_ASSERT(a->status == 200 || a->status == 400);
		HAS(a, "</html>");
		QUICKLY(a);
		a = get(s, "/stuff/notes-0123456789abcdef01234567");
		CU_ASSERT(a->status == 301 || a->status >= 400);
		QUICKLY(a);
		a = get(s, "/account");
		HAS(a, "</html>");
		QUICKLY(a);
		a = get(s, "/library");
		CU_ASSERT(has(a, "</html>") || a->status == 303);
		a = get(s, "/sell/sales");
		HAS(a, "</html>");
		a = post(s, "/sell/new", "/sell/new",
			 "title=Typed&description=&price=1");
		CU_ASSERT(a->status == 303 || has(a, "</html>"));
	}
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
	stack_restart("storefront", NULL);
	PAGE(get(s, "/"), 200, "Students sell to students");
	free(setting);
	student_free(s);
}

/* With a real key the card is typed into Stripe's own field: only there may the
 * page load anything from elsewhere. */
static void
test_stripe(void)
{
	struct student *seller = signs_up("Ann"), *buyer = signs_up("Bob");
	char id[ID_SIZE], order[ID_SIZE], *path;
	const struct answer *a;

	lists(seller, "Notes", "", id);
	sends_file(seller, id, "a.txt", "a");
	buys_at_last(buyer, id, order);
	path = text("/checkout/%s", order);
	a = get(buyer, path);
	HAS(a, "value=\"pm_card_visa\"");
	HAS_NOT(a, "stripe.com");
	CU_ASSERT_PTR_NULL(strstr(a->headers, "stripe.com"));
	stack_restart("storefront", "STRIPE_PUBLISHABLE_KEY=pk_test_1");
	a = get(buyer, path);
	TAP_INT(a->status, 200);
	HAS(a, "pk_test_1");
	HAS_NOT(a, "pm_card_visa");
	CU_ASSERT_PTR_NOT_NULL(strstr(a->headers, "script-src 'self' "
						  "https://js.stripe.com;"));
	CU_ASSERT_PTR_NULL(strstr(get(buyer, "/")->headers, "stripe.com"));
	stack_restart("storefront", NULL);
	free(path);
	student_free(seller);
	student_free(buyer);
}

/* A part holds a thousand, and all of them hold each listing once. */
static void
test_sitemap(void)
{
	static const char loc[] = "<loc>";
	struct student *s = student_new();
	const char *parts[8];
	int n = 0, listings = 0;
	char *index;

	for (int i = 0; i < 1001; i++) {
		char id[ID_SIZE], *document;

		id_new(id);
		document = text("{\"_id\":{\"$oid\":\"%s\"},\"rev\":"
				"{\"$numberLong\":\"1\"},\"status\":"
				"\"available\",\"title\":\"mapped\","
				"\"userId\":{\"$oid\":\"%s\"}}",
				id, id);
		db_insert("stuff", "stuff", document);
		free(document);
	}
	index = strdup(get(s, "/sitemap.xml")->body);
	for (char *p = index; n < 8 && (p = strstr(p, loc)) != NULL;) {
		char *end = strstr(p += strlen(loc), "</loc>");

		CU_ASSERT_FATAL(end != NULL);
		*end = '\0';
		parts[n++] = strstr(p, "/sitemap/");
		p = end + 1;
	}
	CU_ASSERT(n >= 2);
	for (int i = 0; i < n; i++) {
		const struct answer *a = get(s, parts[i]);
		int here = 0;

		TAP_INT(a->status, 200);
		for (const char *p = a->body; (p = strstr(p, loc)) != NULL;
		     here++)
			p += strlen(loc);
		CU_ASSERT(here <= 1000);
		for (const char *p = a->body;
		     (p = strstr(p, "/stuff/mapped-")) != NULL; listings++)
			p++;
	}
	TAP_INT(listings, 1001);
	db_delete("stuff", "stuff", "{\"title\":\"mapped\"}");
	free(index);
	student_free(s);
}

/* What the log may not hold: coupons, passwords, tokens. */
static void
test_log(void)
{
	try_log();
	CU_ASSERT_FALSE(is_logged("storefront", "correct horse"));
	CU_ASSERT_FALSE(is_logged("storefront", "__Secure-refresh"));
	CU_ASSERT_FALSE(is_logged("storefront", "csrf"));
}

/* What the service says that lacks a template, or has a bad one. */
static void
test_starts(void)
{
	CU_ASSERT(stack_dev((const char *[]){"STOREFRONT_DIR=/nonexistent",
					     "FCGI_SOCKET=/nonexistent", NULL},
			    (const char *[]){"run", "storefront", NULL}) == 78);
	CU_ASSERT(stack_dev((const char *[]){"INTERNAL_BASE_URL=gopher://a",
					     "FCGI_SOCKET=/nonexistent", NULL},
			    (const char *[]){"run", "storefront", NULL}) == 78);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what everyone sees", test_public},
		{"private pages", test_private},
		{"a purchase, and text that stays text", test_purchase},
		{"a declined card, a hold let go", test_declined},
		{"selling", test_selling},
		{"uploads", test_uploads},
		{"pictures", test_pictures},
		{"forms of others", test_forgery},
		{"a sign-in in the middle of a form", test_resumed},
		{"several tabs refresh", test_refresh},
		{"who sees the refresh token", test_cookies},
		{"the account, the admin", test_account},
		{"a service that is down or slow", test_down},
		{"a service that answers rubbish", test_rubbish},
		{"a real card field", test_stripe},
		{"a sitemap of several parts", test_sitemap},
		{"bad settings", test_starts},
		{"no request is smuggled", try_smuggling},
		{"no secret is in the log", test_log},
		{0},
	};

	stack_up(NULL);
	target = (struct target){.service = "storefront",
				 .path = "/signout",
				 .body = "{\"a\":1}",
				 .status = 400};
	return tap_run(argc, argv, tests);
}
