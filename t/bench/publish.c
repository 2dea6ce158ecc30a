/* publish.c: events to the bus by cnats alone: the relay's limit.
 * SPDX-License-Identifier: MIT
 *
 *	publish NATS_URL CLUSTER COUNT SIZE BATCH
 *
 * Sends COUNT messages of SIZE bytes to a channel of its own, BATCH at a time:
 * the next when all of them are acknowledged.  Prints how many a second that
 * are, from the first one sent to the last acknowledgement.
 */
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all = PTHREAD_COND_INITIALIZER;
static long left, failed;

static void
on_ack(const char *guid, const char *error, void *closure)
{
	(void)guid;
	(void)closure;
	pthread_mutex_lock(&lock);
	if (error != NULL)
		failed++;
	if (--left == 0)
		pthread_cond_signal(&all);
	pthread_mutex_unlock(&lock);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	stanConnOptions *opts = NULL;
	stanConnection *sc = NULL;
	natsStatus s;
	char id[32], *bytes;
	double began;
	long count, batch;
	int size;

	if (argc != 6) {
		fprintf(stderr,
			"usage: publish NATS_URL CLUSTER COUNT SIZE BATCH\n");
		return 2;
	}
	count = strtol(argv[3], NULL, 10);
	batch = strtol(argv[5], NULL, 10);
	size = (int)strtol(argv[4], NULL, 10);
	bytes = calloc(1, (size_t)size + 1);
	memset(bytes, 'x', (size_t)size);
	snprintf(id, sizeof(id), "bench-%d", (int)getpid());
	s = stanConnOptions_Create(&opts);
	if (s == NATS_OK)
		s = stanConnOptions_SetURL(opts, argv[1]);
	if (s == NATS_OK)
		s = stanConnection_Connect(&sc, argv[2], id, opts);
	began = now();
	for (long sent = 0; s == NATS_OK && sent < count; sent += batch) {
		left = batch;
		for (long i = 0; s == NATS_OK && i < batch; i++)
			s = stanConnection_PublishAsync(sc, "bench", bytes,
							size, on_ack, NULL);
		pthread_mutex_lock(&lock);
		while (s == NATS_OK && left > 0)
			pthread_cond_wait(&all, &lock);
		pthread_mutex_unlock(&lock);
	}
	if (s != NATS_OK || failed > 0) {
		fprintf(stderr, "publish: %s, %ld failed\n",
			natsStatus_GetText(s), failed);
		return 1;
	}
	printf("%.1f\n", (double)count / (now() - began));
	stanConnection_Close(sc);
	stanConnection_Destroy(sc);
	stanConnOptions_Destroy(opts);
	nats_CloseAndWait(1000);
	free(bytes);
	return 0;
}
