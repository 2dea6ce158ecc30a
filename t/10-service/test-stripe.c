/* test-stripe.c: what payments asks Stripe, checked by stripe-mock against
 * Stripe's own OpenAPI.  It knows nothing of what was asked before, so its
 * answers don't matter but for whether it takes the question.
 * SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway.h"
#include "harness.h"

#define ORDER "0123456789abcdef01234567"
#define INTENT "pi_3NxyzTEST"

static char port[8], base[64];
static FILE *said;
static pid_t mock;

static void
end_mock(void)
{
	kill(mock, SIGKILL);
	waitpid(mock, NULL, 0);
}

static void
start_mock(void)
{
	const char *tools = getenv("DEV_TOOLS");
	char path[4096], address[32];

	snprintf(path, sizeof(path), "%.4000s/bin/stripe-mock",
		 tools ? tools : ".dev/tools");
	if (access(path, X_OK) != 0)
		tap_skip_all("stripe-mock is not installed");
	port_choose(port);
	snprintf(base, sizeof(base), "http://127.0.0.1:%s", port);
	snprintf(address, sizeof(address), "127.0.0.1:%s", port);
	said = tmpfile();
	mock = program_start(&(struct program){
		.argv = (const char *const[]){path, "-http-addr", address,
					      "-https-addr",
					      "127.0.0.1:", NULL},
		.out = fileno(said),
		.err = fileno(said)});
	atexit(end_mock);
	if (!eventually(20000, port_answers, port))
		tap_note("stripe-mock does not start");
}

/* How many questions "METHOD path" it has taken, and how many refused; what
 * it said of those goes to the output. */
struct asked {
	int taken, refused;
};

static struct asked
count(const char *question)
{
	struct asked n = {0};
	char line[2000], last[2000] = "";

	fflush(said);
	rewind(said);
	while (fgets(line, sizeof(line), said) != NULL) {
		if (strncmp(line, "Request: ", 9) == 0) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(last, sizeof(last), "%s", line + 9);
		} else if (strncmp(line, "Response: ", 10) == 0) {
			if (question != NULL && strcmp(last, question) != 0)
				continue;
			if (strstr(line, "status=200") != NULL)
				n.taken++;
			else
				n.refused++;
		} else if (strstr(line, "rror") != NULL && question == NULL) {
			tap_note("%s: %.500s", last, line);
		}
	}
	return n;
}

static void
taken(const char *question)
{
	struct asked n = count(question);

	if (n.taken == 0 || n.refused > 0)
		tap_note("%s: taken %d times, refused %d times", question,
			 n.taken, n.refused);
	CU_ASSERT(n.taken > 0 && n.refused == 0);
}

static void
see_news(void *closure, const struct gateway_news *news)
{
	(void)news;
	++*(int *)closure;
}

static void
all_that_payments_asks(void)
{
	struct arena *a = arena_new();
	int news = 0;

	gateway_create(a, ORDER, 1000, "pm_card_visa");
	gateway_confirm(a, ORDER, INTENT);
	gateway_capture(a, ORDER, INTENT);
	gateway_cancel(a, ORDER, INTENT);
	gateway_refund(a, ORDER, INTENT, 100000, 0);
	gateway_ask(a, ORDER, INTENT);
	CU_ASSERT(gateway_recent(1, see_news, &news));
	taken("POST /v1/payment_intents");
	taken("POST /v1/payment_intents/" INTENT "/confirm");
	taken("POST /v1/payment_intents/" INTENT "/capture");
	taken("POST /v1/payment_intents/" INTENT "/cancel");
	taken("GET /v1/payment_intents/" INTENT);
	taken("POST /v1/refunds");
	taken("GET /v1/refunds");
	taken("GET /v1/disputes");
	taken("GET /v1/charges");
	TAP_INT(count(NULL).refused, 0);
	arena_free(a);
}

/* What it does not know it refuses: else the above would show nothing. */
static void
negative_control(void)
{
	CURL *curl = curl_easy_init();
	char url[128];
	FILE *nowhere = fopen("/dev/null", "w");

	snprintf(url, sizeof(url), "%s/v1/refunds", base);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_USERPWD, "sk_test_1:");
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
			 "payment_intent=pi_x&amuont=5");
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, nowhere);
	CU_ASSERT(curl_easy_perform(curl) == CURLE_OK);
	curl_easy_cleanup(curl);
	fclose(nowhere);
	TAP_INT(count("POST /v1/refunds").refused, 1);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"all that payments asks", all_that_payments_asks},
		{"negative control: a parameter with a typo", negative_control},
		{0},
	};
	int status;

	start_mock();
	if (gateway_open(base, "sk_test_123") != NULL)
		return 1;
	status = tap_run(argc, argv, tests);
	gateway_close();
	return status;
}
