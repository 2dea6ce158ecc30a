/* test-files-large.c: a gibibyte up and down in constant memory, and two
 * hundred slow downloads that nobody else notices.  T_ROUNDS is how many
 * percent of that it is.
 * SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "harness.h"
#include "traffic.h"

#define GIB (INT64_C(1) << 30)
#define RSS_MAX (24 * 1024) /* KiB */
#define SLOW 200	    /* downloads at once */
#define SLOW_SIZE (4 << 20)
#define SLOW_SPEED 65536 /* bytes/s: each takes a minute */
#define BUYS 20

/* Sanitizers keep a shadow of all memory, and what was freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static struct student *seller, *buyer;

static int64_t
percent_of(int64_t n)
{
	const char *percent = getenv("T_ROUNDS");
	int64_t p = percent ? strtoll(percent, NULL, 10) : 100;

	return p > 0 && p <= 100 ? n / 100 * p + 1 : n;
}

static const char *
path_of(const char *id)
{
	static char path[64];

	snprintf(path, sizeof(path), "/api/stuff/%s/file", id);
	return path;
}

static atomic_bool watching;

static void *
watch(void *arg)
{
	long *most = arg;

	while (watching) {
		long now = stack_rss("stuff");

		*most = now > *most ? now : *most;
		clock_sleep(20);
	}
	return NULL;
}

/* Does it, and returns the most memory that the service had meanwhile. */
static void
watched(struct transfer *t)
{
	int64_t began = clock_monotonic(), ms;
	pthread_t thread;
	long most = 0;

	watching = true;
	pthread_create(&thread, NULL, watch, &most);
	transfer_run(t);
	watching = false;
	pthread_join(thread, NULL);
	ms = clock_monotonic() - began;
	tap_note("%s: %d, %lld ms, %lld MB/s, at most %ld KiB", t->method,
		 t->status, (long long)ms,
		 (long long)((t->size + t->received) / 1000 / (ms + 1)), most);
	CU_ASSERT(most > 0 && (SANITIZED || most < RSS_MAX));
}

static char *
listing(void)
{
	const struct answer *a;

	if (seller == NULL) {
		seller = student_signed_up();
		buyer = student_signed_up();
	}
	a = askf(seller, "POST", "/api/stuff",
		 "{\"title\":\"Notes\",\"price\":500}");
	TAP_INT(a->status, 201);
	return strdup(a->status == 201 ? answer_text(a, "id") : "0");
}

static void
test_gibibyte(void)
{
	int64_t size = percent_of(GIB);
	char *id = listing(), member[64];
	const struct answer *a;
	struct transfer t = {.method = "PUT",
			     .path = path_of(id),
			     .token = student_cookie(seller),
			     .seed = 7,
			     .size = size};

	watched(&t);
	TAP_INT(t.status, 200);
	snprintf(member, sizeof(member), "/api/stuff/%s", id);
	a = ask(seller, "GET", member, NULL, NULL);
	TAP_INT(answer_int(a, "file.size"), size);
	TAP_STRING(answer_text(a, "file.sha256"), bytes_hash(7, size));
	t = (struct transfer){.method = "GET",
			      .path = path_of(id),
			      .token = student_cookie(seller),
			      .seed = 7};
	watched(&t);
	TAP_INT(t.status, 200);
	TAP_INT(t.received, size);
	CU_ASSERT(t.same);
	free(id);
}

struct slow {
	int count;
	struct transfer transfers[SLOW];
	CURLM *multi;
	atomic_bool stop;
	atomic_int begun, ended;
};

static void *
download_slowly(void *arg)
{
	struct slow *s = arg;
	int running = 1;

	while (running > 0 && !s->stop) {
		int begun = 0;
		CURLMsg *m;

		curl_multi_perform(s->multi, &running);
		for (int i = 0, left;
		     (m = curl_multi_info_read(s->multi, &left)); i++)
			s->ended++;
		for (int i = 0; i < s->count; i++)
			begun += s->transfers[i].received > 0;
		s->begun = begun;
		curl_multi_poll(s->multi, NULL, 0, 20, NULL);
	}
	return NULL;
}

static bool
all_begun(void *arg)
{
	struct slow *s = arg;

	return s->begun == s->count;
}

static void
test_slow_downloads(void)
{
	static struct slow s;
	char *wanted[BUYS], *id, path[64];
	CURL *curls[SLOW];
	struct transfer t;
	pthread_t thread;
	int64_t most = 0;

	id = listing();
	t = (struct transfer){.method = "PUT",
			      .path = path_of(id),
			      .token = student_cookie(seller),
			      .seed = 9,
			      .size = SLOW_SIZE};
	transfer_run(&t);
	TAP_INT(t.status, 200);
	for (int i = 0; i < BUYS; i++)
		wanted[i] = list_stuff(seller, 500);
	s.count = percent_of(SLOW) < SLOW ? (int)percent_of(SLOW) : SLOW;
	s.multi = curl_multi_init();
	for (int i = 0; i < s.count; i++) {
		s.transfers[i] =
			(struct transfer){.method = "GET",
					  .path = path_of(id),
					  .token = student_cookie(seller),
					  .seed = 9,
					  .speed = SLOW_SPEED};
		curls[i] = transfer_start(&s.transfers[i]);
		curl_multi_add_handle(s.multi, curls[i]);
	}
	pthread_create(&thread, NULL, download_slowly, &s);
	CU_ASSERT(eventually(30000, all_begun, &s));
	snprintf(path, sizeof(path), "/api/stuff/%s", id);
	for (int i = 0; i < BUYS; i++) {
		const struct answer *a =
			askf(buyer, "POST", "/api/orders",
			     "{\"stuffId\":\"%s\"}", wanted[i]);

		TAP_INT(a->status, 201);
		most = a->ms > most ? a->ms : most;
		a = ask(buyer, "GET", path, NULL, NULL);
		TAP_INT(a->status, 200);
		most = a->ms > most ? a->ms : most;
		/* And files too, of those who are faster. */
		t = (struct transfer){.method = "GET",
				      .path = path_of(wanted[i]),
				      .token = student_cookie(seller)};
		transfer_run(&t);
		TAP_INT(t.status, 200);
		TAP_STRING(t.body, "all of it");
		free(wanted[i]);
	}
	/* All of that was while they went on. */
	TAP_INT(s.ended, 0);
	tap_note("%d downloads had begun; the slowest answer took %lld ms",
		 s.begun, (long long)most);
	s.stop = true;
	pthread_join(thread, NULL);
	for (int i = 0; i < s.count; i++) {
		CU_ASSERT(s.transfers[i].same);
		TAP_INT(s.transfers[i].length, SLOW_SIZE);
		curl_multi_remove_handle(s.multi, curls[i]);
		transfer_end(&s.transfers[i], curls[i],
			     CURLE_ABORTED_BY_CALLBACK);
	}
	curl_multi_cleanup(s.multi);
	free(id);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"a gibibyte in constant memory", test_gibibyte},
		{"200 slow downloads hold nobody up", test_slow_downloads},
		{NULL},
	};

	stack_up((const char *[]){"DEV_MONGO=h2", "FILE_MAX_BYTES=1073741824",
				  NULL});
	return tap_run(argc, argv, tests);
}
