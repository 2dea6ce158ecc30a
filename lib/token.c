/* token.c: see token.h.
 * SPDX-License-Identifier: MIT */
#include "token.h"

#include <jwt.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "json.h"

#define TOKEN_MAX 2048 /* libjwt copies it to the stack */
#define CLOCK_SKEW 60  /* s that an issuer's clock may be ahead */
#define SEEN 512       /* tokens that are remembered */

static struct key {
	const unsigned char *bytes;
	int len;
	char id[9]; /* names it in a token's header ("kid") */
} keys[2];	    /* current, previous */

/* What a good token said. */
struct claims {
	char id[ID_SIZE];
	const char *email, *role;
	int64_t issued, expires;
};

/* One that was read: a client sends the same a hundred times. */
struct seen {
	uint64_t hash;
	struct claims claims;
	char token[]; /* then its email, then its role */
};

/* By a hash with a key, so that nobody can aim at another's: how long it takes
 * to compare the tokens of one hash tells only who has the token.  What counts
 * is the whole token. */
static struct {
	pthread_rwlock_t lock; /* guards at */
	unsigned char key[crypto_shorthash_KEYBYTES];
	struct seen *at[SEEN];
} seen = {.lock = PTHREAD_RWLOCK_INITIALIZER};

void
token_init(const char *current, const char *previous)
{
	const char *texts[2] = {current, previous};
	char hash[ID_HASH_SIZE];

	for (int i = 0; i < 2; i++) {
		size_t len = strlen(texts[i]);

		keys[i] = (struct key){(const unsigned char *)texts[i],
				       (int)len, ""};
		/* The hash of the hash: a name must not help to test a
		 * guessed key faster than a token does. */
		id_hash(hash, texts[i], len);
		id_hash(hash, hash, strlen(hash));
		memcpy(keys[i].id, hash, sizeof(keys[i].id) - 1);
	}
	for (size_t i = 0; i < SEEN; i++) {
		free(seen.at[i]);
		seen.at[i] = NULL;
	}
	crypto_shorthash_keygen(seen.key);
}

static void
free_jwt(void *jwt)
{
	jwt_free(jwt);
}

const char *
token_make(struct arena *a, const struct user *user)
{
	char nonce[33];
	long now = (long)(clock_now() / 1000);
	long from = user->issued > now ? (long)user->issued : now;
	char *encoded;
	const char *text;
	jwt_t *jwt;

	if (jwt_new(&jwt) != 0)
		return NULL;
	arena_defer(a, free_jwt, jwt);
	id_random(nonce, sizeof(nonce) / 2);
	if (jwt_set_alg(jwt, JWT_ALG_HS256, keys[0].bytes, keys[0].len) != 0 ||
	    jwt_add_header(jwt, "kid", keys[0].id) != 0 ||
	    jwt_add_grant(jwt, "sub", user->id) != 0 ||
	    jwt_add_grant(jwt, "email", user->email) != 0 ||
	    jwt_add_grant(jwt, "role", user->role) != 0 ||
	    jwt_add_grant_int(jwt, "iat", from) != 0 ||
	    jwt_add_grant_int(jwt, "exp", now + TOKEN_LIFE) != 0 ||
	    jwt_add_grant(jwt, "jti", nonce) != 0)
		return NULL;
	encoded = jwt_encode_str(jwt);
	if (encoded == NULL)
		return NULL;
	text = arena_strdup(a, encoded);
	free(encoded);
	return text;
}

/*
 * The key that the header asks for; NULL when the token has not the form of
 * one of ours.  libjwt trusts its caller with that: it takes the algorithm
 * from the header, and any length.
 */
static const struct key *
key_of(struct arena *a, const char *token)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789-_";
	size_t head = strspn(token, alphabet), body, tail, n;
	const char *alg, *kid, *p = token + head;
	json_object *header;
	char *text;

	if (head == 0 || *p != '.' || (body = strspn(p + 1, alphabet)) == 0)
		return NULL;
	p += 1 + body;
	if (*p != '.' || (tail = strspn(p + 1, alphabet)) == 0 ||
	    p[1 + tail] != '\0' || head + body + tail + 2 > TOKEN_MAX)
		return NULL;
	text = arena_alloc(a, head + 1);
	if (sodium_base642bin((unsigned char *)text, head, token, head, NULL,
			      &n, NULL,
			      sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
		return NULL;
	header = json_read(a, text, n);
	alg = json_text(header, "alg");
	kid = json_text(header, "kid");
	if (alg == NULL || strcmp(alg, "HS256") != 0)
		return NULL;
	if (kid == NULL) /* made by another issuer that shares the key */
		return &keys[0];
	for (int i = 0; i < 2; i++)
		if (keys[i].len > 0 && strcmp(keys[i].id, kid) == 0)
			return &keys[i];
	return NULL;
}

static const char *
grant(struct arena *a, jwt_t *jwt, const char *name)
{
	const char *s = jwt_get_grant(jwt, name);

	return s ? arena_strdup(a, s) : "";
}

/* Is its signature ours, and does it say what ours say? */
static bool
verify(struct arena *a, const char *token, struct claims *c)
{
	const struct key *key = key_of(a, token);
	const char *sub;
	jwt_t *jwt;

	if (key == NULL || jwt_decode(&jwt, token, key->bytes, key->len) != 0)
		return false;
	arena_defer(a, free_jwt, jwt);
	sub = grant(a, jwt, "sub");
	/* A missing number reads as -1 and one of another type as 0: both are
	 * long past as exp, and refused as iat. */
	*c = (struct claims){
		.email = grant(a, jwt, "email"),
		.role = grant(a, jwt, "role"),
		.issued = jwt_get_grant_int(jwt, "iat"),
		.expires = jwt_get_grant_int(jwt, "exp"),
	};
	if (jwt_get_alg(jwt) != JWT_ALG_HS256 || !id_valid(sub) ||
	    *c->email == '\0' || *c->role == '\0' || c->issued <= 0)
		return false;
	memcpy(c->id, sub, ID_SIZE);
	return true;
}

static uint64_t
hash_of(const char *token, size_t len)
{
	unsigned char raw[crypto_shorthash_BYTES];
	uint64_t hash;

	crypto_shorthash(raw, (const unsigned char *)token, len, seen.key);
	memcpy(&hash, raw, sizeof(hash));
	return hash;
}

static bool
recall(struct arena *a, const char *token, size_t len, struct claims *c)
{
	uint64_t hash = hash_of(token, len);
	const struct seen *s;
	bool same;

	pthread_rwlock_rdlock(&seen.lock);
	s = seen.at[hash % SEEN];
	same = s != NULL && s->hash == hash && strcmp(s->token, token) == 0;
	if (same) {
		*c = s->claims;
		c->email = arena_strdup(a, c->email);
		c->role = arena_strdup(a, c->role);
	}
	pthread_rwlock_unlock(&seen.lock);
	return same;
}

static void
remember(const char *token, size_t len, const struct claims *c)
{
	size_t email = strlen(c->email) + 1, role = strlen(c->role) + 1;
	struct seen *s = malloc(sizeof(*s) + len + 1 + email + role), **place;
	char *p;

	if (s == NULL)
		return;
	s->hash = hash_of(token, len);
	s->claims = *c;
	p = s->token;
	memcpy(p, token, len + 1);
	p += len + 1;
	s->claims.email = memcpy(p, c->email, email);
	s->claims.role = memcpy(p + email, c->role, role);
	pthread_rwlock_wrlock(&seen.lock);
	place = &seen.at[s->hash % SEEN];
	free(*place);
	*place = s;
	pthread_rwlock_unlock(&seen.lock);
}

bool
token_read(struct arena *a, const char *token, struct user *user)
{
	int64_t now = clock_now() / 1000;
	size_t len = strlen(token);
	struct claims c;

	if (len > TOKEN_MAX)
		return false;
	if (!recall(a, token, len, &c)) {
		if (!verify(a, token, &c))
			return false;
		if (c.expires > now)
			remember(token, len, &c);
	}
	*user = (struct user){
		.email = c.email, .role = c.role, .issued = c.issued};
	if (c.issued > now + CLOCK_SKEW || c.expires <= now)
		return false;
	memcpy(user->id, c.id, ID_SIZE);
	return true;
}

static void
hmac(const unsigned char *key, size_t len, const char *text,
     unsigned char out[crypto_auth_hmacsha256_BYTES])
{
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, key, len);
	crypto_auth_hmacsha256_update(&state, (const unsigned char *)text,
				      strlen(text));
	crypto_auth_hmacsha256_final(&state, out);
}

static void
sign(const struct key *key, const char *purpose, const char *text,
     char hex[TOKEN_SIGNATURE_SIZE])
{
	unsigned char derived[crypto_auth_hmacsha256_BYTES];
	unsigned char out[crypto_auth_hmacsha256_BYTES];

	hmac(key->bytes, (size_t)key->len, purpose, derived);
	hmac(derived, sizeof(derived), text, out);
	sodium_bin2hex(hex, TOKEN_SIGNATURE_SIZE, out, sizeof(out));
	sodium_memzero(derived, sizeof(derived));
}

void
token_sign(const char *purpose, const char *text,
	   char hex[TOKEN_SIGNATURE_SIZE])
{
	sign(&keys[0], purpose, text, hex);
}

bool
token_signed(const char *purpose, const char *text, const char *hex)
{
	char ours[TOKEN_SIGNATURE_SIZE];

	if (strlen(hex) != sizeof(ours) - 1)
		return false;
	for (int i = 0; i < 2; i++) {
		if (keys[i].len == 0)
			continue;
		sign(&keys[i], purpose, text, ours);
		if (sodium_memcmp(ours, hex, sizeof(ours) - 1) == 0)
			return true;
	}
	return false;
}
