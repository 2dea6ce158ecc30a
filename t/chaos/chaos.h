/* chaos.h: a campaign of faults against a stack that students use.
 * SPDX-License-Identifier: MIT */
#ifndef T_CHAOS_H
#define T_CHAOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- chance: what follows from the seed alone --- */

/* The n-th number of a series; every thread may ask. */
uint64_t chance(uint64_t seed, uint64_t series, uint64_t n);

/* --- bench.c: the stack, and what is around it --- */

/*
 * Brings up a stack that lets holds lapse after window s.  As root that is in
 * namespaces of its own: NATS and Redis are in a second network, behind a pair
 * of veth, and write to small disks of their own, as nginx does.
 */
void bench_up(int window);
bool bench_is_root(void);

/* By what kill() and start() of `dev` are for the others: NAME is "nats",
 * "redis", or one that dev knows.  False, and a note, when it fails. */
bool bench_signal(const char *name, const char *signal);
bool bench_start(const char *name);

/* Its process id, 0 when it does not run. */
int bench_pid(const char *name);

bool bench_flush(void);				   /* FLUSHALL */
void bench_cut(bool cut);			   /* the network */
bool bench_fill(const char *name, bool full);	   /* its disk */
void bench_clock(const char *service, int64_t ms); /* off by ms */
void bench_files(const char *name, bool few);	   /* file descriptors */

/* One more process of a service; and its end by a signal. */
void bench_twin(const char *service);
void bench_twin_end(const char *service, int signal);

/* --- faults.c --- */

struct fault {
	const char *name;
	bool (*strike)(const char *target, unsigned pick);
	bool (*heal)(const char *target, unsigned pick);
	int least, most; /* ms between the two */
	const char *const *targets;
	bool root; /* needs it */
};
extern const struct fault faults[]; /* ends with one without a name */

/* One strike of the schedule. */
struct strike {
	const struct fault *fault;
	const char *target;
	char text[96]; /* what happens, to whom */
	unsigned pick;
	int64_t at, hold; /* ms: since the start, and until it is healed */
};

/* The schedule: at least count strikes in so many ms, and each kind of those in
 * only ("a|b"; NULL: all) once before any comes again.  To be freed. */
struct strike *schedule(uint64_t seed, const char *only, int64_t ms,
			size_t count, size_t *ret_count);

/* --- students.c --- */

/* What student number i decides as number n: its name. */
const char *decision(uint64_t seed, int student, unsigned n);

/* Each decides something every pace to 2 * pace ms. */
void students_start(uint64_t seed, int pace);
void students_stop(void);

unsigned students_bought(void); /* how often so far */

/* How often each thing was done and how it was answered, as notes; false when
 * something was never done. */
bool students_tell(void);

/* --- memory.c: all that clients were told --- */

void memory_open(const char *path);
void memory_close(void);

/* A line for the checker (see checker.c): of what, with which status, and more
 * as by printf(). */
void remember(const char *what, const char *id, int status, const char *fmt,
	      ...) __attribute__((format(printf, 4, 5)));

/* Something was answered that can't be right, whatever comes. */
void accuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int memory_count(void);
int memory_accusations(void);

#endif
