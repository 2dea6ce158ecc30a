/* test-id.c: lib/id.h.
 * SPDX-License-Identifier: MIT */
#include "id.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
test_valid(void)
{
	static const struct {
		const char *id;
		bool valid;
	} rows[] = {
		{"0123456789abcdef01234567", true},
		{"000000000000000000000000", true},
		{"ffffffffffffffffffffffff", true},
		{"", false},
		{"0", false},
		{"0123456789abcdef0123456", false},
		{"0123456789abcdef012345678", false},
		{"0123456789ABCDEF01234567", false},
		{"0123456789abcdeg01234567", false},
		{"0123456789abcdef0123456 ", false},
		{" 123456789abcdef01234567", false},
		{"0123456789abcdef0123456\n", false},
		{"0123456789abcdef01234-67", false},
		{"0x23456789abcdef01234567", false},
		{"{\"$gt\":\"\"}", false},
		{"............/etc/passwd.", false},
		{"\xef\xbc\x90-123456789abcdef01234", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (id_valid(rows[i].id) != rows[i].valid)
			tap_note("wrong about: %s", rows[i].id);
		TAP_INT(id_valid(rows[i].id), rows[i].valid);
	}
}

static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
test_new(void)
{
	static char ids[20000][ID_SIZE];
	int same = 0, ill = 0;

	for (size_t i = 0; i < COUNT(ids); i++) {
		id_new(ids[i]);
		ill += !id_valid(ids[i]);
	}
	qsort(ids, COUNT(ids), ID_SIZE, compare);
	for (size_t i = 1; i < COUNT(ids); i++)
		same += strcmp(ids[i - 1], ids[i]) == 0;
	TAP_INT(ill, 0);
	TAP_INT(same, 0);
}

static void
test_random(void)
{
	static const size_t sizes[] = {1, 2, 16, 63, 64, 65, 128, 200};
	char one[401], other[401];

	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t digits = 2 * sizes[i];

		memset(one, '?', sizeof(one));
		memset(other, '?', sizeof(other));
		id_random(one, sizes[i]);
		id_random(other, sizes[i]);
		TAP_INT(strlen(one), digits);
		TAP_INT(strspn(one, "0123456789abcdef"), digits);
		/* Nothing is written past the end. */
		if (digits + 1 < sizeof(one))
			TAP_INT(one[digits + 1], '?');
		if (sizes[i] >= 16)
			CU_ASSERT_STRING_NOT_EQUAL(one, other);
	}
}

static void
test_hash(void)
{
	static const struct {
		const char *data;
		size_t len;
		const char *hash;
	} rows[] = {
		/* FIPS 180-2's own, and one with a NUL. */
		{"", 0,
		 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b785"
		 "2b855"},
		{"abc", 3,
		 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20"
		 "015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
		 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419d"
		 "b06c1"},
		{"\0", 1,
		 "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617a"
		 "fa01d"},
	};
	char hash[ID_HASH_SIZE];

	for (size_t i = 0; i < COUNT(rows); i++) {
		id_hash(hash, rows[i].data, rows[i].len);
		TAP_STRING(hash, rows[i].hash);
	}
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what an id is", test_valid},
		{"new ids are well-formed and differ", test_new},
		{"random codes", test_random},
		{"hashes", test_hash},
		{NULL},
	};

	if (sodium_init() < 0)
		abort();
	return tap_run(argc, argv, tests);
}
