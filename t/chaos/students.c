/* students.c: what students do, and what they remember of the answers.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos.h"
#include "clock.h"
#include "flow.h"

#define STUDENTS 8
#define ADMIN_EVERY 6	 /* decisions of student 0 */
#define HOLDS 8		 /* orders that a student thinks of */
#define POSTS 32	 /* on the board */
#define BUY_TRIES 5	 /* while orders has not heard of it */
#define FILE_MOST 300000 /* bytes: two pieces and more */
#define PASSWORD "correct horse"

struct hold {
	char order[ID_SIZE], stuff[ID_SIZE];
	bool paid;
};

/* A seller's own: what its price and file are, if that is known. */
struct listing {
	char id[ID_SIZE];
	long price;
	char sha256[65];
	unsigned uploads;
	bool price_sure, file_sure, removed;
};

struct person {
	int number;
	uint64_t seed;
	unsigned decided;
	struct student *browser, *tab; /* tab: a second one, or NULL */
	char tab_path[64];
	long tab_price;
	char id[ID_SIZE], email[64];
	struct hold holds[HOLDS];
	int held;
	struct listing *mine;
	size_t listed;
};

/* What all see: the newest listings, coupons and paid orders. */
static struct {
	pthread_mutex_t lock;
	struct post {
		char id[ID_SIZE];
		int seller;
	} posts[POSTS], sales[POSTS];
	unsigned posted, sold;
	char coupon[64];
} board = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_bool over;
static int pace; /* ms between two decisions, and up to as many more */
static struct person people[STUDENTS];
static pthread_t threads[STUDENTS];

static bool
good(const struct answer *a)
{
	return a->status >= 200 && a->status <= 299;
}

/* Who can't know whether it was done. */
static bool
unsure(const struct answer *a)
{
	return a->status == 0 || a->status >= 500;
}

static const char *
id_of(const struct answer *a)
{
	const char *id = answer_text(a, "id");

	return id && strlen(id) == ID_SIZE - 1 ? id
					       : "000000000000000000000000";
}

/* --- accounts --- */

static bool
sign_up(struct person *p)
{
	const struct answer *a;
	char random[17];

	id_random(random, 8);
	snprintf(p->email, sizeof(p->email), "s%d-%s@example.edu", p->number,
		 random);
	student_free(p->browser);
	p->browser = student_new();
	a = askf(p->browser, "POST", "/api/users/signup",
		 "{\"email\":\"%s\",\"password\":\"" PASSWORD "\"}", p->email);
	*p->id = '\0';
	if (a->status != 201)
		return false;
	snprintf(p->id, sizeof(p->id), "%s", id_of(a));
	remember("user", p->id, 201, "%s", "");
	return true;
}

/* The token ended, or a clock that jumped said so. */
static void
stay_signed_in(struct person *p, const struct answer *a)
{
	if (*p->id == '\0') {
		sign_up(p);
	} else if (a != NULL && a->status == 401 &&
		   ask(p->browser, "POST", "/api/users/refresh", NULL, NULL)
				   ->status == 401) {
		askf(p->browser, "POST", "/api/users/signin",
		     "{\"email\":\"%s\",\"password\":\"" PASSWORD "\"}",
		     p->email);
	}
}

/* --- selling --- */

/* The n-th file of a listing: it tells itself which one it is. */
static char *
file_of(const char *stuff, unsigned n)
{
	uint64_t size = 64 + chance(n, strtoull(stuff + 8, NULL, 16), 0) %
				     (n % 3 == 0 ? FILE_MOST : 2000);
	char *s = malloc(size + 1);

	memset(s, 'a' + (int)(n % 26), size);
	s[size] = '\0';
	s[snprintf(s, 64, "%s %u ", stuff, n)] = '.';
	return s;
}

static const struct answer *
give_file(struct person *p, struct listing *l)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char *file = file_of(l->id, l->uploads++);
	const struct answer *a = upload(p->browser, l->id, file, NULL);

	if (a->status == 200) {
		crypto_hash_sha256(hash, (unsigned char *)file, strlen(file));
		sodium_bin2hex(l->sha256, sizeof(l->sha256), hash,
			       sizeof(hash));
	} else if (unsure(a)) {
		l->file_sure = false;
	}
	free(file);
	return a;
}

static void
post(const char *id, int seller)
{
	struct post *at;

	pthread_mutex_lock(&board.lock);
	at = &board.posts[board.posted++ % POSTS];
	memcpy(at->id, id, ID_SIZE);
	at->seller = seller;
	pthread_mutex_unlock(&board.lock);
}

static const struct answer *
set_price(struct person *p, struct listing *l, long price)
{
	const struct answer *a;
	char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s", l->id);
	a = askf(p->browser, "PUT", path, "{\"price\":%ld}", price);
	if (a->status == 200)
		l->price = price;
	else if (unsure(a))
		l->price_sure = false;
	return a;
}

static const struct answer *
sell(struct person *p, uint64_t r)
{
	long price = 100 + (long)(r % 900);
	const struct answer *a = askf(p->browser, "POST", "/api/stuff",
				      "{\"title\":\"Notes %u\",\"price\":%ld}",
				      p->decided, price);
	struct listing *l;

	if (a->status != 201)
		return a;
	p->mine = realloc(p->mine, (p->listed + 1) * sizeof(*p->mine));
	l = &p->mine[p->listed++];
	*l = (struct listing){
		.price = price, .price_sure = true, .file_sure = true};
	snprintf(l->id, sizeof(l->id), "%s", id_of(a));
	remember("stuff", l->id, 201, "%s", p->id);
	a = give_file(p, l);
	if (a->status != 200)
		return a;
	post(l->id, p->number);
	return a;
}

/* One of the student's newest. */
static struct listing *
own(struct person *p, uint64_t r)
{
	size_t n = p->listed < 6 ? p->listed : 6;

	return n > 0 ? &p->mine[p->listed - 1 - r % n] : NULL;
}

static const struct answer *
edit(struct person *p, uint64_t r)
{
	struct listing *l = own(p, r);

	return l ? set_price(p, l, 100 + (long)(r / 8 % 900)) : NULL;
}

/* The second tab, which signs in by itself. */
static struct student *
tab_of(struct person *p)
{
	if (p->tab == NULL)
		p->tab = student_new();
	askf(p->tab, "POST", "/api/users/signin",
	     "{\"email\":\"%s\",\"password\":\"" PASSWORD "\"}", p->email);
	return p->tab;
}

static void *
edit_in_tab(void *arg)
{
	struct person *p = arg;

	askf(p->tab, "PUT", p->tab_path, "{\"price\":%ld}", p->tab_price);
	return NULL;
}

/* Which of the two came last, nobody can say. */
static const struct answer *
edit_twice(struct person *p, uint64_t r)
{
	struct listing *l = own(p, r);
	const struct answer *a;
	pthread_t thread;

	if (l == NULL)
		return NULL;
	tab_of(p);
	l->price_sure = false;
	p->tab_price = 1000 + (long)(r % 900);
	snprintf(p->tab_path, sizeof(p->tab_path), "/api/stuff/%s", l->id);
	if (pthread_create(&thread, NULL, edit_in_tab, p) != 0)
		abort();
	a = set_price(p, l, 100 + (long)(r % 900));
	pthread_join(thread, NULL);
	return a;
}

static const struct answer *
replace(struct person *p, uint64_t r)
{
	struct listing *l = own(p, r);

	return l ? give_file(p, l) : NULL;
}

static const struct answer *
take_off(struct person *p, uint64_t r)
{
	struct listing *l = own(p, r);
	const struct answer *a;
	char path[64];

	if (l == NULL || l->removed)
		return NULL;
	snprintf(path, sizeof(path), "/api/stuff/%s", l->id);
	a = ask(p->browser, "DELETE", path, NULL, NULL);
	l->removed = a->status == 204;
	if (l->removed)
		remember("stuff", l->id, 204, "%s", "");
	return a;
}

static const struct answer *
refund(struct person *p, uint64_t r)
{
	char order[ID_SIZE] = "", path[80];
	const struct answer *a;

	pthread_mutex_lock(&board.lock);
	for (int i = 0; i < POSTS && *order == '\0'; i++)
		if (*board.sales[i].id != '\0' &&
		    board.sales[i].seller == p->number) {
			memcpy(order, board.sales[i].id, ID_SIZE);
			*board.sales[i].id = '\0';
		}
	pthread_mutex_unlock(&board.lock);
	if (*order == '\0')
		return NULL;
	snprintf(path, sizeof(path), "/api/payments/%s/refund", order);
	a = askf(p->browser, "POST", path, "{\"listing\":\"%s\"}",
		 r % 2 ? "free" : "removed");
	if (a->status == 200)
		remember("payment", order, 200, "refunded");
	return a;
}

/* --- buying --- */

static bool
pick_post(const struct person *p, uint64_t r, struct post *ret)
{
	bool there = false;

	pthread_mutex_lock(&board.lock);
	if (board.posted > 0) {
		unsigned back = (unsigned)(r % 8 < 6 ? 0 : r / 8 % POSTS);

		*ret = board.posts[(board.posted - 1 - back) % POSTS];
		there = *ret->id != '\0' && ret->seller != p->number;
	}
	pthread_mutex_unlock(&board.lock);
	return there;
}

/* The newest is wanted by all at once. */
static const struct answer *
buy_it(struct person *p, uint64_t r)
{
	const struct answer *a = NULL;
	struct post wanted;
	struct hold *h;

	if (p->held == HOLDS || !pick_post(p, r, &wanted))
		return NULL;
	for (int i = 0; i < BUY_TRIES && !over; i++) {
		a = askf(p->browser, "POST", "/api/orders",
			 "{\"stuffId\":\"%s\"}", wanted.id);
		if (a->status != 404)
			break;
		clock_sleep(20);
	}
	if (a == NULL || a->status != 201)
		return a;
	remember("order", id_of(a), 201, "%s %s", p->id, wanted.id);
	for (int i = 0; i < p->held; i++)
		if (strcmp(p->holds[i].order, id_of(a)) == 0)
			return a;
	h = &p->holds[p->held++];
	*h = (struct hold){.paid = false};
	snprintf(h->order, sizeof(h->order), "%s", id_of(a));
	memcpy(h->stuff, wanted.id, ID_SIZE);
	return a;
}

/* The first hold that is paid, or not; or NULL. */
static struct hold *
hold_of(struct person *p, bool paid)
{
	for (int i = 0; i < p->held; i++)
		if (p->holds[i].paid == paid)
			return &p->holds[i];
	return NULL;
}

static void
forget(struct person *p, struct hold *h)
{
	*h = p->holds[--p->held];
}

static int
seller_of(const char *stuff)
{
	int seller = -1;

	for (int i = 0; i < POSTS; i++)
		if (strcmp(board.posts[i].id, stuff) == 0)
			seller = board.posts[i].seller;
	return seller;
}

static void
paid(struct person *p, struct hold *h)
{
	struct post *at;

	(void)p;
	h->paid = true;
	pthread_mutex_lock(&board.lock);
	at = &board.sales[board.sold++ % POSTS];
	memcpy(at->id, h->order, ID_SIZE);
	at->seller = seller_of(h->stuff);
	pthread_mutex_unlock(&board.lock);
}

static const struct answer *
pay_it(struct person *p, uint64_t r)
{
	struct hold *h = hold_of(p, false);
	const struct answer *a;
	char more[128] = "";

	if (h == NULL)
		return NULL;
	pthread_mutex_lock(&board.lock);
	if (r % 5 == 0 && *board.coupon != '\0')
		snprintf(more, sizeof(more), ",\"coupon\":\"%s\"",
			 board.coupon);
	pthread_mutex_unlock(&board.lock);
	a = askf(p->browser, "POST", "/api/payments",
		 "{\"orderId\":\"%s\",\"token\":\"%s\"%s}", h->order,
		 r % 8 == 1 ? "pm_card_visa_chargeDeclined" : "pm_card_visa",
		 more);
	if (a->status == 201)
		remember("payment", h->order, 201, "%s",
			 answer_text(a, "status"));
	else if (a->status == 402)
		remember("payment", h->order, 402, "%s", "");
	if (a->status == 201)
		paid(p, h);
	else if (a->status >= 400 && a->status < 500 && a->status != 401 &&
		 a->status != 429)
		forget(p, h);
	return a;
}

static const struct answer *
let_lapse(struct person *p, uint64_t r)
{
	struct hold *h = hold_of(p, false);

	(void)r;
	if (h == NULL)
		return NULL;
	forget(p, h);
	return ask(p->browser, "GET", "/api/orders?limit=3", NULL, NULL);
}

static const struct answer *
cancel_it(struct person *p, uint64_t r)
{
	struct hold *h = hold_of(p, false);
	const struct answer *a;
	char path[64];

	(void)r;
	if (h == NULL)
		return NULL;
	snprintf(path, sizeof(path), "/api/orders/%s", h->order);
	a = ask(p->browser, "DELETE", path, NULL, NULL);
	if (a->status == 204)
		remember("order", h->order, 204, "%s", "");
	if (!unsure(a))
		forget(p, h);
	return a;
}

/* What was bought is one of its files, whole. */
static const struct answer *
download(struct person *p, uint64_t r)
{
	struct hold *h = hold_of(p, true);
	char path[64], stuff[ID_SIZE];
	const struct answer *a;
	unsigned n = 0;
	char *file;

	(void)r;
	if (h == NULL)
		return NULL;
	memcpy(stuff, h->stuff, ID_SIZE);
	snprintf(path, sizeof(path), "/api/stuff/%s/file", stuff);
	a = ask(p->browser, "GET", path, NULL, NULL);
	if (a->status == 200) {
		if (a->len > ID_SIZE)
			n = (unsigned)strtoul(a->body + ID_SIZE, NULL, 10);
		file = file_of(stuff, n);
		if (strcmp(file, a->body) != 0)
			accuse("the file of %s is not what was uploaded: "
			       "\"%.40s\"",
			       stuff, a->body);
		free(file);
		forget(p, h);
	} else if (!unsure(a) && a->status != 401) {
		forget(p, h); /* refunded, or lapsed at the last moment */
	}
	return a;
}

/* --- looking --- */

static const struct answer *
browse(struct person *p, uint64_t r)
{
	static const char *const paths[] = {"/", "/api/stuff?limit=10&brief=1",
					    "/api/stuff?q=notes&limit=5",
					    "/api/users/currentuser",
					    "/api/stuff?sort=price&limit=5"};

	return ask(p->browser, "GET", paths[r % 5], NULL, NULL);
}

/* What became of one's orders: what has ended has ended for good. */
static const struct answer *
look(struct person *p, uint64_t r)
{
	const struct answer *a =
		ask(p->browser, "GET", "/api/orders?limit=20", NULL, NULL);

	(void)r;
	for (size_t i = 0; a->status == 200 && a->json != NULL &&
			   i < json_object_array_length(a->json);
	     i++) {
		json_object *o = json_object_array_get_idx(a->json, i);

		remember("order", json_text(o, "id"), 200, "%s",
			 json_text(o, "status"));
	}
	return a;
}

static const struct answer *
renew(struct person *p, uint64_t r)
{
	(void)r;
	return ask(p->browser, "POST", "/api/users/refresh", NULL, NULL);
}

/* --- the admin, who is student 0 --- */

static const struct answer *
make_coupon(struct person *p, uint64_t r)
{
	const struct answer *a =
		askf(p->browser, "POST", "/api/coupons",
		     "{\"percentOff\":%d,\"maxRedemptions\":%d}",
		     (int)(r % 5 + 1) * 20, (int)(r / 5 % 3) + 1);
	if (a->status == 201) {
		remember("coupon", id_of(a), 201, "%s", "");
		pthread_mutex_lock(&board.lock);
		snprintf(board.coupon, sizeof(board.coupon), "%s",
			 answer_text(a, "code"));
		pthread_mutex_unlock(&board.lock);
	}
	return a;
}

/* Someone new lists and holds something, and is banned. */
static const struct answer *
ban(struct person *p, uint64_t r)
{
	struct person bad = {.number = STUDENTS, .decided = p->decided};
	const struct answer *a = NULL;
	char path[64];

	if (sign_up(&bad)) {
		sell(&bad, r);
		buy_it(&bad, r);
		snprintf(path, sizeof(path), "/api/users/%s/ban", bad.id);
		a = ask(p->browser, "POST", path, "{\"reason\":\"spam\"}",
			NULL);
		if (a->status == 200)
			remember("user", bad.id, 200, "banned");
	}
	student_free(bad.browser);
	free(bad.mine);
	return a;
}

/* --- the table --- */

static struct activity {
	const char *name;
	const struct answer *(*run)(struct person *p, uint64_t r);
	unsigned weight;
	atomic_uint done, refused, failed, idle;
} activities[] = {
	{"browse", browse, 10},
	{"sell", sell, 14},
	{"buy", buy_it, 26},
	{"pay", pay_it, 20},
	{"let lapse", let_lapse, 2},
	{"cancel", cancel_it, 4},
	{"edit", edit, 6},
	{"edit in two tabs", edit_twice, 5},
	{"replace the file", replace, 5},
	{"take off", take_off, 3},
	{"refund", refund, 3},
	{"download", download, 8},
	{"look", look, 6},
	{"refresh", renew, 2},
	{"make a coupon", make_coupon, 0},
	{"ban", ban, 0},
};
#define ACTIVITIES (sizeof(activities) / sizeof(activities[0]))

static struct activity *
decide(uint64_t seed, int student, unsigned n)
{
	unsigned all = 0, at;

	/* The admin's own, which no other may do. */
	if (student == 0 && n % ADMIN_EVERY == ADMIN_EVERY - 1)
		return &activities[ACTIVITIES - 1 - n / ADMIN_EVERY % 2];
	for (size_t i = 0; i < ACTIVITIES; i++)
		all += activities[i].weight;
	at = (unsigned)(chance(seed, (uint64_t)student * 2, n) % all);
	for (size_t i = 0; i < ACTIVITIES; i++) {
		if (at < activities[i].weight)
			return &activities[i];
		at -= activities[i].weight;
	}
	abort();
}

const char *
decision(uint64_t seed, int student, unsigned n)
{
	return student < STUDENTS ? decide(seed, student, n)->name : NULL;
}

static void
note_outcome(struct activity *what, const struct answer *a)
{
	if (a == NULL)
		what->idle++;
	else if (good(a))
		what->done++;
	else if (unsure(a))
		what->failed++;
	else
		what->refused++;
}

static void *
live(void *arg)
{
	struct person *p = arg;

	while (!over) {
		struct activity *what = decide(p->seed, p->number, p->decided);
		uint64_t r = chance(p->seed, (uint64_t)p->number * 2 + 1,
				    p->decided++);
		const struct answer *a = NULL;

		if (*p->id != '\0')
			a = what->run(p, r);
		note_outcome(what, a);
		stay_signed_in(p, a);
		clock_sleep(pace + (int64_t)(r >> 32) % pace);
	}
	return NULL;
}

/* What each seller knows at last. */
static void
remember_listings(const struct person *p)
{
	for (size_t i = 0; i < p->listed; i++) {
		const struct listing *l = &p->mine[i];

		if (l->price_sure)
			remember("price", l->id, 200, "%ld", l->price);
		if (l->file_sure && *l->sha256 != '\0')
			remember("file", l->id, 200, "%s", l->sha256);
	}
}

void
students_start(uint64_t seed, int ms)
{
	pace = ms;
	for (int i = 0; i < STUDENTS; i++) {
		people[i] = (struct person){.number = i, .seed = seed};
		CU_ASSERT_FATAL(sign_up(&people[i]));
	}
	CU_ASSERT_FATAL(
		stack_dev(NULL, (const char *[]){"run", "auth", "--make-admin",
						 people[0].email, NULL}) == 0);
	TAP_INT(renew(&people[0], 0)->status, 200);
	for (int i = 0; i < STUDENTS; i++)
		if (pthread_create(&threads[i], NULL, live, &people[i]) != 0)
			abort();
}

void
students_stop(void)
{
	over = true;
	for (int i = 0; i < STUDENTS; i++) {
		pthread_join(threads[i], NULL);
		remember_listings(&people[i]);
		student_free(people[i].browser);
		student_free(people[i].tab);
		free(people[i].mine);
	}
}

unsigned
students_bought(void)
{
	for (size_t i = 0; i < ACTIVITIES; i++)
		if (activities[i].run == buy_it)
			return activities[i].done;
	abort();
}

bool
students_tell(void)
{
	bool all = true;

	for (size_t i = 0; i < ACTIVITIES; i++) {
		const struct activity *w = &activities[i];

		tap_note("%-16s %6u done %6u refused %6u failed", w->name,
			 w->done, w->refused, w->failed);
		all = all && w->done > 0;
	}
	return all;
}
