/* test-checker.c: the checker sees each rule that is broken, and no other.
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flow.h"

#define LATER "{\"$date\":\"2038-01-01T00:00:00Z\"}"

/* A sold listing, one whose order was cancelled, one that nobody wants, one
 * that is reserved, and their orders. */
static struct buyer seller, buyer;
static char *sold, *freed, *unwanted, *reserved;
static char paid[ID_SIZE], cancelled[ID_SIZE], live[ID_SIZE];

/* What the checker says before something is planted: some can't be undone. */
static char before[65536], last[65536];

static const char *
by_id(const char *id)
{
	static _Thread_local char filter[64];

	snprintf(filter, sizeof(filter), "{\"_id\":{\"$oid\":\"%s\"}}", id);
	return filter;
}

static bool
line_in(const char *line, size_t len, const char *all)
{
	for (; *all != '\0'; all += strcspn(all, "\n"), all += *all == '\n')
		if (strcspn(all, "\n") == len && strncmp(all, line, len) == 0)
			return true;
	return false;
}

/* What the checker says and has not said before. */
static const char *
checker_news(const char *const *args)
{
	const char *said = checker_says(1, args);
	static char news[65536];
	size_t n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(said);
	snprintf(last, sizeof(last), "%s", said);
	for (const char *p = said; *p != '\0';) {
		size_t len = strcspn(p, "\n") + 1;

		if (!line_in(p, len - 1, before)) {
			memcpy(news + n, p, len);
			n += len;
		}
		p += len;
	}
	news[n] = '\0';
	return news;
}

/* Has the checker found something of that rule, and of no other? */
static void
expect(const char *rules, const char *const *args)
{
	const char *news = checker_news(args);

	for (const char *r = rules; *r != '\0';) {
		char rule[16];

		snprintf(rule, sizeof(rule), "%.*s", (int)strcspn(r, " "), r);
		CU_ASSERT(breaks(news, rule));
		if (!breaks(news, rule))
			tap_note("nothing is said of %s", rule);
		r += strcspn(r, " ");
		r += *r == ' ';
	}
	CU_ASSERT(breaks_only(news, rules));
}

/* Likewise; and what it has found is no news from then on. */
static void
expect_for_good(const char *rules)
{
	expect(rules, NULL);
	snprintf(before, sizeof(before), "%s", last);
}

static void
keep_id(char *to, const struct answer *a)
{
	TAP_INT(a->status, 201);
	snprintf(to, ID_SIZE, "%s",
		 a->status == 201 ? answer_text(a, "id") : "");
}

static void
sound(void)
{
	buyer_make(&seller);
	buyer_make(&buyer);
	sold = buyer_lists(&seller, 500);
	freed = buyer_lists(&seller, 600);
	unwanted = buyer_lists(&seller, 700);
	reserved = buyer_lists(&seller, 800);
	keep_id(paid, buyer_buys(&buyer, sold));
	TAP_INT(buyer_pays(&buyer, paid, "pm_card_visa")->status, 201);
	keep_id(cancelled, buyer_buys(&buyer, freed));
	TAP_INT(buyer_cancels(&buyer, cancelled)->status, 204);
	keep_id(live, buyer_buys(&buyer, reserved));
	CU_ASSERT_TRUE(settles(NULL));
	/* From here on nobody mends what is planted. */
	for (const char *const *name =
		     (const char *const[]){"stuff", "orders", "expiration",
					   "payments", NULL};
	     *name != NULL; name++)
		stack_kill(*name, "KILL");
}

static void
outbox(void)
{
	db_update("orders", "orders", by_id(live),
		  "{\"$set\":{\"outbox\":[{\"id\":\"x\",\"channel\":\"x\","
		  "\"body\":\"x\"}]}}");
	expect("outbox", NULL);
	db_update("orders", "orders", by_id(live),
		  "{\"$set\":{\"outbox\":[]}}");
	expect("", NULL);
}

static void
heard(void)
{
	char *line = text("{\"_id\":\"order:%s\"}", live);

	db_update("stuff", "heard", line, "{\"$set\":{\"version\":0}}");
	expect("heard", NULL);
	db_update("stuff", "heard", line, "{\"$set\":{\"version\":2}}");
	expect("heard", NULL);
	db_update("stuff", "heard", line, "{\"$set\":{\"version\":1}}");
	db_insert("orders", "heard", "{\"_id\":\"stuff:0123\",\"version\":1}");
	expect("heard", NULL);
	db_delete("orders", "heard", "{\"_id\":\"stuff:0123\"}");
	expect("", NULL);
	free(line);
}

static void
motion(void)
{
	char *payment = text("{\"_id\":{\"$oid\":\"%s\"},\"orderId\":{\"$oid\":"
			     "\"%s\"},\"amount\":800,\"status\":"
			     "\"authorizing\",\"rev\":1,\"version\":0}",
			     live, live);

	db_insert("payments", "payments", payment);
	expect("motion", NULL);
	db_update("payments", "payments", by_id(live),
		  "{\"$set\":{\"status\":\"captured\"}}");
	expect("status", NULL);
	db_delete("payments", "payments", by_id(live));
	expect("", NULL);
	free(payment);
}

static void
holder(void)
{
	char id[ID_SIZE], *order, *copy;

	id_new(id);
	order = text("{\"_id\":{\"$oid\":\"%s\"},\"status\":\"created\","
		     "\"userId\":{\"$oid\":\"%s\"},\"stuff\":{\"id\":{\"$oid\":"
		     "\"%s\"},\"title\":\"Notes\",\"price\":800},"
		     "\"expiresAt\":" LATER ",\"rev\":1,\"version\":0}",
		     id, buyer.id, reserved);
	copy = text("{\"_id\":{\"$oid\":\"%s\"},\"status\":\"created\","
		    "\"userId\":{\"$oid\":\"%s\"},\"price\":800,"
		    "\"expiresAt\":" LATER ",\"rev\":1,\"version\":0}",
		    id, buyer.id);
	db_insert("orders", "orders", order);
	db_insert("payments", "orders", copy);
	expect("holder", NULL);
	db_delete("orders", "orders", by_id(id));
	expect("copy", NULL);
	db_delete("payments", "orders", by_id(id));
	expect("", NULL);
	free(order);
	free(copy);
}

static void
copies(void)
{
	db_update("orders", "stuff", by_id(unwanted),
		  "{\"$set\":{\"price\":701}}");
	expect("copy", NULL);
	db_update("orders", "stuff", by_id(unwanted),
		  "{\"$set\":{\"price\":700}}");
	db_update("payments", "orders", by_id(paid),
		  "{\"$set\":{\"status\":\"cancelled\"}}");
	expect("copy", NULL);
	db_update("payments", "orders", by_id(paid),
		  "{\"$set\":{\"status\":\"complete\"}}");
	expect("", NULL);
}

/* A listing that is said to be free, as its copy says, and is not. */
static void
status(void)
{
	char *back = text("{\"$set\":{\"status\":\"reserved\",\"orderId\":"
			  "{\"$oid\":\"%s\"}}}",
			  live);

	db_update("stuff", "stuff", by_id(reserved),
		  "{\"$set\":{\"status\":\"available\"},\"$unset\":{"
		  "\"orderId\":1}}");
	db_update("orders", "stuff", by_id(reserved),
		  "{\"$set\":{\"status\":\"available\"}}");
	expect("status event", NULL);
	db_update("stuff", "stuff", by_id(reserved), back);
	db_update("orders", "stuff", by_id(reserved),
		  "{\"$set\":{\"status\":\"reserved\"}}");
	expect("", NULL);
	free(back);
}

static void
late(void)
{
	expect("late timer", (const char *[]){"--late", "-1000", NULL});
}

static void
answers(void)
{
	char path[] = "/tmp/answers.XXXXXX", id[ID_SIZE];
	const struct {
		const char *what, *of, *answer;
	} wrong[] = {
		{"order", id, "201"},
		{"order", live, "204"},
		{"order", live, "201 0123456789abcdef01234567"},
		{"order", cancelled, "200 complete"},
		{"payment", paid, "402"},
		{"price", unwanted, "200 1"},
		{"file", unwanted, "200 00"},
		{"user", id, "201"},
		{"coupon", id, "201"},
	};
	const char *const args[] = {"--answers", path, NULL};
	FILE *f = fdopen(mkstemp(path), "w");

	fprintf(f, "order %s 201\norder %s 204\nstuff %s 201\n", live,
		cancelled, unwanted);
	fprintf(f, "order %s 409\npayment %s 201\n", sold, paid);
	fprintf(f, "order %s 200 cancelled\norder %s 200 created\n", cancelled,
		cancelled);
	fclose(f);
	expect("", args);
	id_new(id);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		f = fopen(path, "w");
		fprintf(f, "%s %s %s\n", wrong[i].what, wrong[i].of,
			wrong[i].answer);
		fclose(f);
		expect("answer", args);
	}
	unlink(path);
}

/* One that is due in some hundred years, of no order. */
static void
timers(void)
{
	redis_do("EVAL \"redis.call('ZADD', '{expiration}:due', "
		 "9999999999999, '0123456789abcdef01234567') "
		 "return {ok = 'OK'}\" 0");
	expect("timer", NULL);
	redis_do("EVAL \"redis.call('ZREM', '{expiration}:due', "
		 "'0123456789abcdef01234567') return {ok = 'OK'}\" 0");
	expect("", NULL);
}

static atomic_bool changed, checked;

static bool
has_changed(void *arg)
{
	(void)arg;
	return changed;
}

/* On a busy machine those that change may not have their turn for as long as
 * the checker takes once; but it may never say anything else. */
static bool
misses_rest(void *arg)
{
	const char *news = checker_news(NULL);

	(void)arg;
	CU_ASSERT(breaks_only(news, "rest"));
	return breaks(news, "rest");
}

static void
change_or_check(int i, void *arg)
{
	(void)arg;
	if (i == 0) {
		CU_ASSERT(eventually(10000, has_changed, NULL));
		CU_ASSERT(eventually(30000, misses_rest, NULL));
		checked = true;
	}
	while (!checked) {
		db_update("orders", "orders", by_id(live),
			  "{\"$inc\":{\"rev\":1}}");
		changed = true;
	}
}

/* So many that some time goes by while they are read. */
static void
add_users(int n)
{
	char *command = NULL;
	size_t len;
	FILE *f = open_memstream(&command, &len);

	fprintf(f, "{\"insert\":\"users\",\"documents\":[");
	for (int i = 0; i < n; i++)
		fprintf(f, "%s{\"_id\":\"crowd-%05d\"}", i ? "," : "", i);
	fprintf(f, "]}");
	fclose(f);
	db_command("auth", command);
	free(command);
}

static void
no_rest(void)
{
	add_users(5000);
	together(4, change_or_check, NULL);
	db_delete("auth", "users", "{\"_id\":{\"$gte\":\"crowd-\"}}");
	expect("", NULL);
}

/* What is on the bus stays there. */
static void
missing_event(void)
{
	char *line = text("{\"_id\":\"stuff:%s\"}", unwanted);

	db_update("stuff", "stuff", by_id(unwanted),
		  "{\"$set\":{\"version\":3}}");
	db_update("orders", "heard", line, "{\"$set\":{\"version\":3}}");
	expect("event", NULL);
	db_update("stuff", "stuff", by_id(unwanted),
		  "{\"$set\":{\"version\":2}}");
	db_update("orders", "heard", line, "{\"$set\":{\"version\":2}}");
	expect("", NULL);
	free(line);
}

static char *
stuff_data(int64_t price)
{
	return text("{\"id\":\"%s\",\"title\":\"Notes\",\"price\":%lld,"
		    "\"userId\":\"%s\",\"orderId\":null,\"status\":"
		    "\"available\"}",
		    unwanted, (long long)price, seller.id);
}

static void
wrong_events(void)
{
	char *right = stuff_data(700), *wrong = stuff_data(7);

	bus_put_event("stuff:created", unwanted, 1, right);
	expect("", NULL); /* the same once more is no fault */
	bus_put_event("stuff:updated", unwanted, 3, wrong);
	expect_for_good("event");
	bus_put_event("stuff:created", unwanted, 1, wrong);
	expect_for_good("event");
	free(right);
	free(wrong);
}

/* A byte of it, then all; and a piece of one that is nobody's. */
static void
files(void)
{
	char *chunk = text("{\"_id\":{\"$oid\":\"%024x\"},\"files_id\":{"
			   "\"$oid\":\"%024x\"},\"n\":0}",
			   7, 8);
	char *stray = text("{\"_id\":{\"$oid\":\"%024x\"}}", 7);

	db_update("stuff", "stuff", by_id(unwanted),
		  "{\"$set\":{\"file.size\":8}}");
	expect("file", NULL);
	db_update("stuff", "stuff", by_id(unwanted),
		  "{\"$set\":{\"file.size\":9}}");
	expect("", NULL);
	db_insert("stuff", "fs.chunks", chunk);
	expect("file", NULL);
	db_delete("stuff", "fs.chunks", stray);
	expect("", NULL);
	free(chunk);
	free(stray);
}

static void
dead(void)
{
	bus_put("dead:letter", "{\"why\":\"a test\"}");
	expect_for_good("dead");
	expect("", (const char *[]){"--allow-dead", NULL});
	bus_put("order:created", "rubbish");
	expect_for_good("dead");
}

/* A charge past the services. */
static void
charge(const char *order_id, int amount, const char *method)
{
	char *form = text("amount=%d&currency=usd&capture_method=%s&confirm="
			  "true&payment_method=pm_card_visa&metadata[order_id]="
			  "%s",
			  amount, method, order_id);
	char *intent = gateway_post("/v1/payment_intents", form);

	CU_ASSERT(*intent != '\0');
	free(intent);
	free(form);
}

static void
money(void)
{
	char *books = text("%s/_books", stack("STRIPE_API_BASE"));
	char nobody[ID_SIZE];

	charge(live, 800, "manual"); /* the buyer is just paying */
	expect("", NULL);
	charge(cancelled, 600, "manual");
	expect_for_good("money");
	charge(cancelled, 600, "automatic");
	expect_for_good("money");
	charge(paid, 500, "manual");
	expect_for_good("money");
	id_new(nobody);
	charge(nobody, 500, "manual");
	expect_for_good("money");
	db_update("payments", "payments", by_id(paid),
		  "{\"$set\":{\"intent\":\"pi_other\"}}");
	expect("money", NULL);
	http_plain("DELETE", books, NULL);
	*before = '\0';
	expect_for_good("money");
	free(books);
}

static void
unreadable(void)
{
	stack_kill("stripe", "KILL");
	CU_ASSERT_PTR_NULL(checker_says(1, NULL));
	stack_kill("mongo", "KILL");
	CU_ASSERT_PTR_NULL(checker_says(1, NULL));
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a sound stack breaks no rule", sound},
		{"outbox", outbox},
		{"heard", heard},
		{"motion, and a payment against its order", motion},
		{"holder, and an order that is gone", holder},
		{"copy", copies},
		{"status", status},
		{"late", late},
		{"answer", answers},
		{"timer", timers},
		{"rest", no_rest},
		{"money", money},
		{"file", files},
		{"event: one is missing", missing_event},
		{"event: one too many, one contradicted", wrong_events},
		{"dead", dead},
		{"what can't be read is no success", unreadable},
		{0},
	};

	stack_up((const char *const[]){NULL});
	return tap_run(argc, argv, tests);
}
