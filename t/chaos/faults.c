/* faults.c: what can happen to a stack, and when it does.
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chaos.h"
#include "clock.h"
#include "flow.h"

#define JUMP_MAX 120 /* s that a clock is off */
#define STUMBLES 4
#define PAYING_MAX 10000 /* ms for somebody to pay */

static const char *const services[] = {"orders",     "payments", "stuff",
				       "expiration", "auth",	 "storefront",
				       NULL};
/* Those with something to lose. */
static const char *const hearers[] = {"orders", "payments", "stuff",
				      "expiration", NULL};
static const char *const clocks[] = {"orders", "payments", "all", "expiration",
				     "stuff",  "auth",	   NULL};
static const char *const payments[] = {"payments", NULL};
static const char *const nats[] = {"nats", NULL};
static const char *const redis[] = {"redis", NULL};
static const char *const nginx[] = {"nginx", NULL};
static const char *const mongo[] = {"mongo", NULL};
static const char *const stripe[] = {"stripe", NULL};
static const char *const network[] = {"NATS and Redis", NULL};

/* --- processes --- */

static bool
kill_it(const char *target, unsigned pick)
{
	(void)pick;
	return bench_signal(target, "KILL");
}

static bool
stop_it(const char *target, unsigned pick)
{
	(void)pick;
	return bench_signal(target, "STOP");
}

static bool
go_on(const char *target, unsigned pick)
{
	(void)pick;
	return bench_signal(target, "CONT");
}

static bool
end_it(const char *target, unsigned pick)
{
	(void)pick;
	return bench_signal(target, "TERM");
}

static bool
start_it(const char *target, unsigned pick)
{
	(void)pick;
	return bench_start(target);
}

/* What dev sends a TERM to may take its time. */
static bool
start_ended(const char *target, unsigned pick)
{
	int64_t until = clock_monotonic() + 20000;

	(void)pick;
	while (bench_pid(target) != 0 && clock_monotonic() < until)
		clock_sleep(20);
	return bench_start(target);
}

/* It dies while all that it does waits for the database. */
static bool
kill_amid(const char *target, unsigned pick)
{
	if (!stop_it("mongo", pick))
		return false;
	clock_sleep(300 + pick % 700);
	return kill_it(target, pick);
}

static bool
start_amid(const char *target, unsigned pick)
{
	return go_on("mongo", pick) && start_it(target, pick);
}

static bool
flush(const char *target, unsigned pick)
{
	(void)target;
	(void)pick;
	return bench_flush();
}

static bool
nothing(const char *target, unsigned pick)
{
	(void)target;
	(void)pick;
	return true;
}

static bool
twin_comes(const char *target, unsigned pick)
{
	(void)pick;
	bench_twin(target);
	return true;
}

static bool
twin_goes(const char *target, unsigned pick)
{
	bench_twin_end(target, pick % 2 ? SIGKILL : SIGTERM);
	return true;
}

/* What it had read, the other may have changed when it goes on. */
static bool
stumble(const char *target, unsigned pick)
{
	bool ok = twin_comes(target, pick);

	for (int i = 0; ok && i < STUMBLES; i++) {
		clock_sleep(100 + pick % 100);
		ok = stop_it(target, pick);
		clock_sleep(400);
		ok = go_on(target, pick) && ok;
	}
	return ok;
}

/* --- what they live on --- */

static bool
jump(const char *target, unsigned pick)
{
	int64_t s = (int64_t)(pick / 2 % JUMP_MAX) + 1;

	bench_clock(target, (pick % 2 ? s : -s) * 1000);
	return true;
}

static bool
jump_back(const char *target, unsigned pick)
{
	(void)pick;
	bench_clock(target, 0);
	return true;
}

static bool
fill(const char *target, unsigned pick)
{
	(void)pick;
	return bench_fill(target, true);
}

/* NATS ends itself when it can't store. */
static bool
make_room(const char *target, unsigned pick)
{
	return bench_fill(target, false) &&
	       (bench_pid(target) != 0 || strcmp(target, "nginx") != 0) &&
	       (strcmp(target, "nginx") == 0 || start_it(target, pick));
}

static bool
few_files(const char *target, unsigned pick)
{
	(void)pick;
	bench_files(target, true);
	return true;
}

static bool
many_files(const char *target, unsigned pick)
{
	(void)pick;
	bench_files(target, false);
	return true;
}

static bool
cut(const char *target, unsigned pick)
{
	(void)target;
	(void)pick;
	bench_cut(true);
	return true;
}

static bool
join(const char *target, unsigned pick)
{
	(void)target;
	(void)pick;
	bench_cut(false);
	return true;
}

/* --- the gateway --- */

#define SCRIPT(name, fault)                                   \
	static bool name(const char *target, unsigned pick)   \
	{                                                     \
		(void)target;                                 \
		(void)pick;                                   \
		gateway_script("{\"faults\":[{" fault "}]}"); \
		return true;                                  \
	}

SCRIPT(charge_and_drop, "\"action\":\"drop_after\",\"probability\":0.6,"
			"\"match\":{\"method\":\"POST\"}")
SCRIPT(charge_and_hang, "\"action\":\"hang\",\"when\":\"after\",\"ms\":15000,"
			"\"probability\":0.6,\"match\":{\"method\":\"POST\"}")
SCRIPT(answer_500, "\"action\":\"status\",\"status\":500,\"probability\":0.7")
SCRIPT(answer_429, "\"action\":\"status\",\"status\":429,\"probability\":0.8")
SCRIPT(answer_409, "\"action\":\"status\",\"status\":409,\"probability\":0.8")
SCRIPT(answer_rubbish, "\"action\":\"rubbish\",\"probability\":0.7")
SCRIPT(answer_half, "\"action\":\"partial\",\"probability\":0.7")
SCRIPT(answer_late, "\"action\":\"delay\",\"when\":\"before\",\"ms\":2500")

/* Has the bank set money aside, and not said so yet? */
static bool
pays(void *arg)
{
	char *url = text("%s/_control", stack("STRIPE_API_BASE"));
	const struct answer *a = http_plain("GET", url, NULL);

	(void)arg;
	free(url);
	return answer_int(a, "faults.0.fired") > 0;
}

/* It dies after it told the bank to set money aside, and before it knows. */
static bool
kill_while_paying(const char *target, unsigned pick)
{
	gateway_script("{\"faults\":[{\"action\":\"delay\",\"ms\":2000,"
		       "\"match\":{\"path\":\"confirm\"}}]}");
	eventually(PAYING_MAX, pays, NULL);
	return kill_it(target, pick);
}

static bool
behave(const char *target, unsigned pick)
{
	(void)target;
	(void)pick;
	gateway_script("{\"faults\":[]}");
	return true;
}

static bool
start_paying(const char *target, unsigned pick)
{
	return behave(target, pick) && start_it(target, pick);
}

/* --- the table --- */

const struct fault faults[] = {
	{"is killed", kill_it, start_it, 0, 1500, services, false},
	{"is stopped", stop_it, go_on, 1500, 5000, services, false},
	{"is killed while the database stands still", kill_amid, start_amid, 0,
	 1000, hearers, false},
	{"payments is killed while the bank is slow", kill_while_paying,
	 start_paying, 0, 1000, payments, false},
	{"stumbles beside another", stumble, twin_goes, 500, 2000, hearers,
	 false},
	{"is there twice", twin_comes, twin_goes, 3000, 6000, hearers, false},
	{"NATS is killed", kill_it, start_it, 0, 2500, nats, false},
	{"NATS is stopped", stop_it, go_on, 1500, 6000, nats, false},
	{"Redis is killed", kill_it, start_it, 0, 2500, redis, false},
	{"Redis is stopped", stop_it, go_on, 1000, 4000, redis, false},
	{"FLUSHALL", flush, nothing, 0, 500, redis, false},
	{"nginx is killed", kill_it, start_it, 0, 1000, nginx, false},
	{"nginx is restarted", end_it, start_ended, 0, 500, nginx, false},
	{"the database is restarted", end_it, start_ended, 0, 1000, mongo,
	 false},
	{"the database is stopped", stop_it, go_on, 1000, 4000, mongo, false},
	{"the gateway is restarted", kill_it, start_it, 0, 1500, stripe, false},
	{"the gateway charges, and the line breaks", charge_and_drop, behave,
	 2000, 5000, stripe, false},
	{"the gateway charges, and is silent", charge_and_hang, behave, 2000,
	 5000, stripe, false},
	{"the gateway answers 500", answer_500, behave, 2000, 5000, stripe,
	 false},
	{"the gateway answers 429", answer_429, behave, 2000, 5000, stripe,
	 false},
	{"the gateway answers 409", answer_409, behave, 2000, 5000, stripe,
	 false},
	{"the gateway answers rubbish", answer_rubbish, behave, 2000, 5000,
	 stripe, false},
	{"the gateway answers by halves", answer_half, behave, 2000, 5000,
	 stripe, false},
	{"the gateway is slow", answer_late, behave, 2000, 5000, stripe, false},
	{"has a clock that jumps", jump, jump_back, 2000, 6000, clocks, false},
	{"has no file descriptors left", few_files, many_files, 2000, 5000,
	 services, false},
	{"NATS' disk is full", fill, make_room, 2000, 5000, nats, true},
	{"Redis' disk is full", fill, make_room, 2000, 5000, redis, true},
	{"nginx' disk is full", fill, make_room, 2000, 5000, nginx, true},
	{"the network to NATS and Redis is cut", cut, join, 2000, 6000, network,
	 true},
	{0},
};

/* --- when --- */

static bool
is_in(const char *name, const char *list)
{
	size_t len = strlen(name);

	for (const char *p = list; p != NULL && *p != '\0';
	     p += strcspn(p, "|"), p += *p == '|')
		if (strncmp(p, name, len) == 0 && strchr("|", p[len]) != NULL)
			return true;
	return list == NULL;
}

uint64_t
chance(uint64_t seed, uint64_t series, uint64_t n)
{
	uint64_t z = seed * UINT64_C(0xD1342543DE82EF95) +
		     series * UINT64_C(0xBF58476D1CE4E5B9) +
		     (n + 1) * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

enum {
	SHUFFLES = 1000000,
	PICKS,
	HOLDS,
	PACES,
	FIRSTS
}; /* series of chance() */

struct strike *
schedule(uint64_t seed, const char *only, int64_t ms, size_t count,
	 size_t *ret_count)
{
	const struct fault *kinds[64];
	struct strike *s;
	size_t n = 0;
	int64_t pace;

	for (const struct fault *f = faults; f->name != NULL; f++)
		if (is_in(f->name, only))
			kinds[n++] = f;
	if (n == 0)
		abort(); /* a control names what there is not */
	count = count < n ? n : count;
	pace = ms / (int64_t)count;
	s = calloc(count, sizeof(*s));
	for (size_t i = 0; i < count; i++) {
		const struct fault *f;
		uint64_t wide, first;
		size_t targets = 0;

		for (size_t j = n - 1; i % n == 0 && j > 0; j--) {
			size_t k = chance(seed, SHUFFLES, i + j) % (j + 1);

			f = kinds[j];
			kinds[j] = kinds[k];
			kinds[k] = f;
		}
		f = kinds[i % n];
		while (f->targets[targets] != NULL)
			targets++;
		/* A kind's targets take turns. */
		first = chance(seed, FIRSTS, (uint64_t)(f - faults));
		s[i] = (struct strike){
			.fault = f,
			.target = f->targets[(i / n + first) % targets],
			.pick = (unsigned)chance(seed, PICKS, i),
			.at = (int64_t)i * pace +
			      (int64_t)(chance(seed, PACES, i) %
					(uint64_t)(pace / 2 + 1)),
		};
		snprintf(s[i].text, sizeof(s[i].text), "%s%s%s",
			 targets > 1 ? s[i].target : "", targets > 1 ? " " : "",
			 f->name);
		/* In a short campaign each lasts less long. */
		wide = (uint64_t)(f->most - f->least);
		if ((int64_t)wide > pace / 3)
			wide = (uint64_t)(pace / 3);
		s[i].hold = f->least +
			    (int64_t)(chance(seed, HOLDS, i) % (wide + 1));
	}
	*ret_count = count;
	return s;
}
