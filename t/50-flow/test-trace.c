/* test-trace.c: a purchase is one trace, and dev tells it.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"
#include "trace.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00-" TRACE "-00f067aa0ba902b7-01"

static struct student *seller, *buyer;

/* What dev prints, to be freed. */
static char *
said_by_dev(const char *verb, const char *arg)
{
	char *command =
		text("DEV_STATE='%s' '%s/dev' %s %s", stack("DEV_STATE"),
		     getenv("top_srcdir"), verb, arg);
	char *out = calloc(1, 65536);
	FILE *f = popen(command, "r");
	size_t n;

	CU_ASSERT_FATAL(f != NULL && out != NULL);
	n = fread(out, 1, 65535, f);
	out[n] = '\0';
	pclose(f);
	free(command);
	return out;
}

struct told {
	const char *order, *line;
};

static bool
tells(void *arg)
{
	const struct told *told = arg;
	char *s = said_by_dev("trace", told->order);
	bool found = strstr(s, told->line) != NULL;

	free(s);
	return found;
}

static bool
is_told(const char *order, const char *line)
{
	struct told told = {order, line};

	if (eventually(20000, tells, &told))
		return true;
	tap_note("not told: %s", line);
	return false;
}

/* How many log lines of a service are of the trace. */
static int
lines_of(const char *service, const char *trace)
{
	char *command = text("grep -c '\"trace\":\"%s\"' '%s/%s.log'", trace,
			     stack("LOG_DIR"), service);
	FILE *f = popen(command, "r");
	int n = -1;

	CU_ASSERT_FATAL(f != NULL);
	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	pclose(f);
	free(command);
	return n;
}

/* The trace that the service's order is in. */
static void
trace_of(const char *order, char ret[TRACE_SIZE])
{
	char *command =
		text("grep -h 'order:%s:1' '%s/stuff.log' | jq -r .trace | "
		     "sort -u",
		     order, stack("LOG_DIR"));
	FILE *f = popen(command, "r");

	CU_ASSERT_FATAL(f != NULL);
	CU_ASSERT(fgets(ret, TRACE_SIZE, f) != NULL);
	pclose(f);
	free(command);
}

static void
sign_up(void)
{
	seller = student_signed_up();
	buyer = student_signed_up();
}

/* BUY and paying are two requests of a browser that knows of no traces. */
static void
one_purchase(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(buyer, stuff);
	char *control = text("%s/_control", stack("STRIPE_API_BASE"));
	char trace[TRACE_SIZE] = "", told[TRACE_SIZE] = "";

	TAP_INT(pay(buyer, order, "pm_card_visa")->status, 201);
	CU_ASSERT_TRUE(is_told(order, "orders      POST /api/orders: 201"));
	CU_ASSERT_TRUE(is_told(order, "stuff       heard order:created"));
	CU_ASSERT_TRUE(
		is_told(order, "payments    gateway asked call=confirm"));
	CU_ASSERT_TRUE(
		is_told(order, "payments    gateway asked call=capture"));
	CU_ASSERT_TRUE(is_told(order, "payments    POST /api/payments: 201"));
	CU_ASSERT_TRUE(is_told(order, "orders      heard payment:created"));
	CU_ASSERT_TRUE(is_told(order, "orders      heard stuff:updated"));
	CU_ASSERT_TRUE(is_told(order, "stuff       heard order:completed"));
	CU_ASSERT_TRUE(is_told(order, "expiration  heard order:completed"));
	trace_of(order, trace);
	/* The request, stuff:updated twice, payment:created. */
	CU_ASSERT(lines_of("orders", trace) >= 3);
	/* The request, the calls, two events. */
	CU_ASSERT(lines_of("payments", trace) >= 5);
	CU_ASSERT_TRUE(trace_read(answer_text(http_plain("GET", control, NULL),
					      "traceparent"),
				  told));
	TAP_STRING(told, trace);
	free(control);
	free(stuff);
	free(order);
}

/* Whoever ends it, and by whatever way, it is the same trace. */
static void
cancelled(void)
{
	char *stuff = list_stuff(seller, 700), *order = buy(buyer, stuff);
	char *path = text("/api/orders/%s", order);
	char trace[TRACE_SIZE] = "";

	TAP_INT(ask(buyer, "DELETE", path, NULL, NULL)->status, 204);
	CU_ASSERT_TRUE(is_told(order, "stuff       heard order:cancelled"));
	trace_of(order, trace);
	CU_ASSERT(lines_of("stuff", trace) >= 2);
	free(stuff);
	free(order);
	free(path);
}

static void
lapsed(void)
{
	char *stuff = list_stuff(seller, 700), *order;
	char trace[TRACE_SIZE] = "";

	stack_restart("orders", "EXPIRATION_WINDOW_SECONDS=1");
	order = buy(buyer, stuff);
	CU_ASSERT_TRUE(is_told(order, "stuff       heard order:cancelled"));
	CU_ASSERT_TRUE(is_told(order, "expiration  expired order="));
	trace_of(order, trace);
	CU_ASSERT(lines_of("stuff", trace) >= 2);
	stack_restart("orders", NULL);
	free(stuff);
	free(order);
}

/* A client that traces itself finds its own trace here. */
static void
given(void)
{
	static const char *const good[] = {"traceparent: " PARENT, NULL};
	static const char *const bad[] = {"traceparent: 00-xyz-\"}{-01", NULL};
	char *stuff = list_stuff(seller, 700);
	char *body = text("{\"stuffId\":\"%s\"}", stuff), *order;
	const struct answer *a;

	TAP_INT(ask(seller, "GET", "/api/orders", NULL, bad)->status, 200);
	a = ask(buyer, "POST", "/api/orders", body, good);
	TAP_INT(a->status, 201);
	order = text("%s", answer_text(a, "id"));
	CU_ASSERT_TRUE(is_told(order, "stuff       heard order:created"));
	CU_ASSERT(lines_of("orders", TRACE) >= 1);
	CU_ASSERT(lines_of("stuff", TRACE) >= 1);
	free(stuff);
	free(body);
	free(order);
}

static void
top(void)
{
	char *said, *rest;

	/* It fits a terminal of 80 columns, also when a service is down. */
	stack_kill("expiration", "KILL");
	said = said_by_dev("top", "1");
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "\norders "));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "\nexpiration does not answer\n"));
	for (char *line = strtok_r(said, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		CU_ASSERT(strlen(line) < 80);
	free(said);
	stack_start("expiration", NULL);
	TAP_INT(stack_dev(NULL,
			  (const char *[]){"trace", "0123456789abcdef01234567",
					   NULL}) != 0,
		1);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"two students", sign_up},
		{"a purchase is one trace", one_purchase},
		{"one that is cancelled", cancelled},
		{"one that lapses", lapsed},
		{"a client's own trace", given},
		{"dev top", top},
		{NULL},
	};

	stack_up(NULL);
	return tap_run(argc, argv, tests);
}
