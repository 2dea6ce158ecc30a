/* fuzz-gateway.c: what a card gateway may answer.  The first byte is which
 * call is made; then each answer is a byte for its status and a line for its
 * body.
 * SPDX-License-Identifier: MIT */
#include <curl/curl.h>

#include "fuzz.h"

static struct input answers;

static CURLcode answer(CURL *curl);
static CURLcode status(CURL *curl, CURLINFO info, long *ret_status);
#undef curl_easy_perform
#undef curl_easy_getinfo
#define curl_easy_perform answer
#define curl_easy_getinfo status
#include "../../fcgi/payments/gateway.c"

static long last_status;

static CURLcode
answer(CURL *curl)
{
	static const long statuses[] = {200, 400, 401, 402, 404,
					409, 429, 500, 503, 0};
	const uint8_t *end;
	size_t len;
	uint8_t choice = input_byte(&answers);

	(void)curl;
	last_status = statuses[choice % 10];
	if (last_status == 0)
		return choice > 128 ? CURLE_OPERATION_TIMEDOUT
				    : CURLE_GOT_NOTHING;
	end = answers.left ? memchr(answers.at, '\n', answers.left) : NULL;
	len = end ? (size_t)(end - answers.at) : answers.left;
	if (len > 0 && receive((char *)(uintptr_t)answers.at, 1, len,
			       thread_line()) != len)
		return CURLE_WRITE_ERROR;
	len += end != NULL;
	answers.at += len;
	answers.left -= len;
	return CURLE_OK;
}

static CURLcode
status(CURL *curl, CURLINFO info, long *ret_status)
{
	(void)curl;
	(void)info;
	*ret_status = last_status;
	return CURLE_OK;
}

static void
on_news(void *closure, const struct gateway_news *news)
{
	MUST(news->intent != NULL && news->status != NULL);
	++*(int *)closure;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char order[] = "65f000000000000000000001", it[] = "pi_1";
	static bool begun;
	struct arena *a = arena_new();
	struct gateway_reply r = {.state = GATEWAY_UNKNOWN};
	int news = 0;

	if (!begun) {
		log_init("fuzz", "error");
		MUST(gateway_open("http://127.0.0.1:1", "sk_test_x") == NULL);
		begun = true;
	}
	answers = (struct input){data, size};
	switch (input_byte(&answers) % 8) {
	case 0:
		r = gateway_create(a, order, 1250, "pm_card_visa");
		MUST(r.state == GATEWAY_OPEN || r.state == GATEWAY_DECLINED ||
		     r.state == GATEWAY_UNKNOWN);
		MUST(r.state != GATEWAY_OPEN || r.intent != NULL);
		break;
	case 1:
		r = gateway_confirm(a, order, it);
		break;
	case 2:
		r = gateway_capture(a, order, it);
		break;
	case 3:
		r = gateway_cancel(a, order, it);
		break;
	case 4:
		r = gateway_refund(a, order, it, 1250, 0);
		MUST(r.state == GATEWAY_RETURNED ||
		     r.state == GATEWAY_DECLINED || r.state == GATEWAY_UNKNOWN);
		break;
	case 5:
		gateway_ask(a, order, it);
		break;
	default:
		gateway_recent(0, on_news, &news);
	}
	arena_free(a);
	return 0;
}
