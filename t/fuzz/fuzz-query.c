/* fuzz-query.c: a query string into a record.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "record.h"

struct asked {
	const char *q;
	int64_t min, at;
	char id[ID_SIZE];
	bool all;
};

static const struct field fields[] = {
	FIELD(struct asked, q, "q", FIELD_TEXT, .flags = FIELD_TRIM, .max = 9),
	FIELD(struct asked, min, "min", FIELD_INT, .min = -5, .max = 5),
	FIELD(struct asked, at, "at", FIELD_TIME),
	FIELD(struct asked, id, "id", FIELD_ID),
	FIELD(struct asked, all, "all", FIELD_BOOL),
	{0},
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	char *query = arena_strndup(a, (const char *)data, size);
	struct asked asked = {0};
	uint64_t given = 0;

	if (record_from_query(a, fields, query, &asked, &given) == NULL) {
		MUST(asked.min >= -5 && asked.min <= 5);
		MUST(*asked.id == '\0' || id_valid(asked.id));
		MUST(asked.q == NULL ||
		     bson_utf8_validate(asked.q, strlen(asked.q), false));
		MUST(given < 32);
	}
	arena_free(a);
	return 0;
}
