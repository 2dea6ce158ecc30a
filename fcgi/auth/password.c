/* password.c: see password.h.
 * SPDX-License-Identifier: MIT */
#include "password.h"

#include <errno.h>
#include <semaphore.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>

#define AT_ONCE 2
#define WAIT 5 /* s */
/* OWASP's first choice for argon2id: 19 MiB, two passes, one lane. */
#define PASSES 2
#define MEMORY (19 * 1024 * 1024)

static sem_t places;
/* Looks like any hash, is looked at for as long, and is none of a password. */
static char nobody[crypto_pwhash_STRBYTES];

static int
hash(char out[crypto_pwhash_STRBYTES], const char *password)
{
	return crypto_pwhash_str_alg(out, password, strlen(password), PASSES,
				     MEMORY, crypto_pwhash_ALG_ARGON2ID13);
}

const char *
password_open(void)
{
	unsigned char bytes[16 + 32]; /* of salt and hash */
	char salt[32], made[64];

	randombytes_buf(bytes, sizeof(bytes));
	sodium_bin2base64(salt, sizeof(salt), bytes, 16,
			  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	sodium_bin2base64(made, sizeof(made), bytes + 16, 32,
			  sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	snprintf(nobody, sizeof(nobody), "$argon2id$v=19$m=%d,t=%d,p=1$%s$%s",
		 MEMORY / 1024, PASSES, salt, made);
	sem_init(&places, 0, AT_ONCE);
	return crypto_pwhash_str_needs_rehash(nobody, PASSES, MEMORY) == 0
		       ? NULL
		       : "libsodium makes other hashes than were expected";
}

void
password_close(void)
{
	sem_destroy(&places);
}

static int
compare(const void *password, const void *row)
{
	return strcasecmp(password, *(const char *const *)row);
}

bool
password_uncommon(const void *member)
{
	static const char *const common[] = {
#include "common-passwords.def"
	};

	return bsearch(*(const char *const *)member, common,
		       sizeof(common) / sizeof(common[0]), sizeof(common[0]),
		       compare) == NULL;
}

/* The library says that a password is wrong also when it had none to tell. */
static bool
has_memory(void)
{
	void *p = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && munmap(p, MEMORY) == 0;
}

static const struct fail *
no_memory(struct context *cx)
{
	return fail_unavailable(cx->arena, "Please try again",
				"not enough memory for a hash");
}

static const struct fail *
enter(struct context *cx)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT;
	while (sem_timedwait(&places, &until) != 0)
		if (errno != EINTR)
			return fail_too_many(cx->arena, WAIT);
	return NULL;
}

const struct fail *
password_hash(struct context *cx, const char *password, const char **ret_hash)
{
	char out[crypto_pwhash_STRBYTES];
	int rc;

	TRY(enter(cx));
	rc = hash(out, password);
	sem_post(&places);
	if (rc != 0)
		return no_memory(cx);
	*ret_hash = arena_strdup(cx->arena, out);
	return NULL;
}

const struct fail *
password_check(struct context *cx, const char *hash_text, const char *password,
	       bool *ret_right)
{
	int rc;

	TRY(enter(cx));
	rc = crypto_pwhash_str_verify(hash_text ? hash_text : nobody, password,
				      strlen(password));
	sem_post(&places);
	if (rc != 0 && !has_memory())
		return no_memory(cx);
	*ret_right = rc == 0 && hash_text != NULL;
	return NULL;
}
