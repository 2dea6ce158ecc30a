/* test-events.c: lib/events.h, and each row of events.def.
 * SPDX-License-Identifier: MIT */
#include "events.h"

#include <string.h>

#include "clock.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID1 "0123456789abcdef01234567"
#define ID2 "fedcba987654321001234567"
#define ID3 "111111111111111111111111"

#define STUFF                                                    \
	"{\"id\":\"" ID1 "\",\"title\":\"Notes\",\"price\":500," \
	"\"userId\":\"" ID2 "\",\"orderId\":\"" ID3 "\","        \
	"\"status\":\"reserved\",\"file\":{\"size\":9,"          \
	"\"sha256\":\"x\"},\"hidden\":\"banned\"}"
#define ORDER                                                                  \
	"{\"id\":\"" ID1 "\",\"status\":\"cancelled\",\"reason\":\"expired\"," \
	"\"userId\":\"" ID2 "\",\"expiresAt\":\"2026-01-31T09:00:00.000Z\","   \
	"\"stuff\":{\"id\":\"" ID3 "\",\"title\":\"Notes\",\"price\":500,"     \
	"\"sellerId\":\"" ID1 "\"},\"listing\":\"free\"}"
#define PAYMENT                                                       \
	"{\"id\":\"" ID1 "\",\"orderId\":\"" ID2 "\",\"amount\":500," \
	"\"status\":\"failed\",\"reason\":\"declined\",\"listing\":\"free\"}"
#define MAIL                                                                \
	"{\"userId\":\"" ID1 "\",\"letter\":\"lapsing\",\"orderId\":\"" ID2 \
	"\",\"title\":\"Notes\",\"amount\":500,"                            \
	"\"at\":\"2026-01-31T09:00:00.000Z\"}"
#define USER "{\"id\":\"" ID1 "\",\"reason\":\"spam\",\"validAfter\":7}"
#define EXPIRATION "{\"orderId\":\"" ID1 "\"}"

/* A full record for each row of events.def, by its channel. */
static const struct {
	enum event_type type;
	const char *channel, *family, *data;
} rows[] = {
	{EVENT_USER_BANNED, "user:banned", "user", USER},
	{EVENT_USER_UNBANNED, "user:unbanned", "user", USER},
	{EVENT_USER_ERASED, "user:erased", "user", USER},
	{EVENT_STUFF_CREATED, "stuff:created", "stuff", STUFF},
	{EVENT_STUFF_UPDATED, "stuff:updated", "stuff", STUFF},
	{EVENT_STUFF_REMOVED, "stuff:removed", "stuff", STUFF},
	{EVENT_ORDER_CREATED, "order:created", "order", ORDER},
	{EVENT_ORDER_CANCELLED, "order:cancelled", "order", ORDER},
	{EVENT_ORDER_COMPLETED, "order:completed", "order", ORDER},
	{EVENT_ORDER_REFUNDED, "order:refunded", "order", ORDER},
	{EVENT_EXPIRATION_COMPLETE, "expiration:complete", "expiration",
	 EXPIRATION},
	{EVENT_PAYMENT_CREATED, "payment:created", "payment", PAYMENT},
	{EVENT_PAYMENT_FAILED, "payment:failed", "payment", PAYMENT},
	{EVENT_PAYMENT_REFUNDED, "payment:refunded", "payment", PAYMENT},
	{EVENT_MAIL_SEND, "mail:send", "mail", MAIL},
};

static json_object *
parse(struct arena *a, const char *text)
{
	json_object *o = json_read(a, text, strlen(text));

	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	return o;
}

static void
test_channels(void)
{
	TAP_INT(COUNT(rows), EVENT__MAX - 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		TAP_STRING(event_channel(rows[i].type), rows[i].channel);
		TAP_INT(event_of_channel(rows[i].channel), rows[i].type);
	}
	TAP_STRING(event_channel(EVENT_NONE), NULL);
	TAP_INT(event_of_channel(""), EVENT_NONE);
	TAP_INT(event_of_channel("stuff"), EVENT_NONE);
	TAP_INT(event_of_channel("stuff:created "), EVENT_NONE);
	TAP_INT(event_of_channel(EVENT_DEAD_LETTER), EVENT_NONE);
}

static void
test_write(void)
{
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		json_object *record = parse(a, rows[i].data), *o;
		const char *text, *id;
		int64_t at = 0;

		/* What is not the event's stays in the record. */
		json_put_text(record, "password", "secret");
		json_put_text(record, "createdAt", "x");
		text = event_write(a, rows[i].type, ID1, 7, record, &id, NULL);
		o = parse(a, text);
		TAP_STRING(json_text(o, "id"),
			   arena_printf(a, "%s:" ID1 ":7", rows[i].family));
		TAP_STRING(id, json_text(o, "id"));
		TAP_STRING(json_text(o, "type"), rows[i].channel);
		TAP_STRING(json_text(o, "subject"), ID1);
		TAP_INT(json_object_get_int64(
				json_member(o, "version", json_type_int)),
			7);
		TAP_INT(clock_parse(json_text(o, "time"), &at), 0);
		CU_ASSERT_TRUE(clock_now() - at >= 0);
		CU_ASSERT_TRUE(
			json_object_object_get_ex(o, "traceparent", NULL));
		TAP_STRING(json_write(json_member(o, "data", json_type_object),
				      NULL),
			   rows[i].data);
	}
	arena_free(a);
}

static void
check_stuff(const struct stuff_event *e)
{
	TAP_STRING(e->id, ID1);
	TAP_STRING(e->title, "Notes");
	TAP_INT(e->price, 500);
	TAP_STRING(e->user_id, ID2);
	TAP_STRING(e->order_id, ID3);
	TAP_STRING(e->status, "reserved");
	TAP_INT(e->file.size, 9);
	TAP_STRING(e->file.sha256, "x");
	TAP_STRING(e->hidden, "banned");
}

static void
check_order(const struct order_event *e)
{
	TAP_STRING(e->id, ID1);
	TAP_STRING(e->status, "cancelled");
	TAP_STRING(e->reason, "expired");
	TAP_STRING(e->user_id, ID2);
	TAP_INT(e->expires_at, 1769850000000);
	TAP_STRING(e->stuff.id, ID3);
	TAP_STRING(e->stuff.title, "Notes");
	TAP_INT(e->stuff.price, 500);
}

static void
check_payment(const struct payment_event *e)
{
	TAP_STRING(e->id, ID1);
	TAP_STRING(e->order_id, ID2);
	TAP_INT(e->amount, 500);
	TAP_STRING(e->status, "failed");
	TAP_STRING(e->reason, "declined");
}

static void
check_user(const struct user_event *e)
{
	TAP_STRING(e->id, ID1);
	TAP_STRING(e->reason, "spam");
	TAP_INT(e->valid_after, 7);
}

static void
check_expiration(const struct expiration_event *e)
{
	TAP_STRING(e->order_id, ID1);
}

static void
test_read(void)
{
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t before = clock_now();
		const char *id,
			*text = event_write(a, rows[i].type, ID1, 3,
					    parse(a, rows[i].data), &id, NULL);
		struct event e = {0};

		CU_ASSERT_PTR_NULL_FATAL(
			event_read(a, rows[i].channel, text, strlen(text), &e));
		TAP_INT(e.type, rows[i].type);
		TAP_STRING(e.id, id);
		TAP_STRING(e.family, rows[i].family);
		TAP_STRING(e.subject, ID1);
		TAP_INT(e.version, 3);
		CU_ASSERT_TRUE(e.time >= before && e.time <= clock_now());
		switch (*rows[i].family) {
		case 's':
			check_stuff(e.data);
			break;
		case 'o':
			check_order(e.data);
			break;
		case 'p':
			check_payment(e.data);
			break;
		case 'u':
			check_user(e.data);
			break;
		default:
			check_expiration(e.data);
		}
	}
	arena_free(a);
}

/* The fields that a failure names, as "title price"; "" when there is none,
 * its message when it names none. */
static const char *
named(struct arena *a, const struct fail *fail)
{
	const char *names = "";

	if (fail == NULL)
		return "";
	for (const struct reason *r = fail->reasons; r != NULL; r = r->next)
		names = arena_printf(a, "%s%s%s", names, *names ? " " : "",
				     r->param ? r->param : r->msg);
	return names;
}

static const char *
read_named(struct arena *a, const char *channel, const char *text)
{
	struct event e;
	const char *bad =
		named(a, event_read(a, channel, text, strlen(text), &e));

	return bad;
}

#define ENVELOPE(id, type, subject, version, time, data)        \
	"{\"id\":" id ",\"type\":" type ",\"subject\":" subject \
	",\"version\":" version ",\"time\":" time ",\"data\":" data "}"
#define ID "\"order:" ID1 ":1\""
#define TYPE "\"expiration:complete\""
#define SUBJECT "\"" ID1 "\""
#define TIME "\"2026-01-31T09:00:00.000Z\""

static void
test_envelope(void)
{
	static const struct {
		const char *text, *bad;
	} envelopes[] = {
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, EXPIRATION), ""},
		{ENVELOPE(ID, TYPE, SUBJECT, "9223372036854775806", TIME,
			  EXPIRATION),
		 ""},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME,
			  "{\"orderId\":\"" ID1 "\",\"later\":1}"),
		 ""},
		/* not JSON */
		{"", "not JSON"},
		{"rubbish", "not JSON"},
		{"{\"id\":", "not JSON"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, EXPIRATION) "x",
		 "not JSON"},
		{"\xff\xfe", "not JSON"},
		/* another shape */
		{"[]", "A JSON object is expected"},
		{"\"x\"", "A JSON object is expected"},
		{"{}", "id type subject version time"},
		{"{\"id\":1,\"type\":2,\"subject\":3,\"version\":\"4\","
		 "\"time\":5,\"data\":6}",
		 "id type subject version time"},
		/* one thing wrong each */
		{ENVELOPE("\"\"", TYPE, SUBJECT, "1", TIME, EXPIRATION), "id"},
		{ENVELOPE("null", TYPE, SUBJECT, "1", TIME, EXPIRATION), "id"},
		{ENVELOPE(ID, "null", SUBJECT, "1", TIME, EXPIRATION), "type"},
		{ENVELOPE(ID, "\"\"", SUBJECT, "1", TIME, EXPIRATION), "type"},
		{ENVELOPE(ID, "\"order:created\"", SUBJECT, "1", TIME,
			  EXPIRATION),
		 "type"},
		{ENVELOPE(ID, "\"expiration:complete\\u0000\"", SUBJECT, "1",
			  TIME, EXPIRATION),
		 "type"},
		{ENVELOPE(ID, TYPE, "\"x\"", "1", TIME, EXPIRATION), "subject"},
		{ENVELOPE(ID, TYPE, "{\"$gt\":\"\"}", "1", TIME, EXPIRATION),
		 "subject"},
		{ENVELOPE(ID, TYPE, SUBJECT, "0", TIME, EXPIRATION), "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "-1", TIME, EXPIRATION),
		 "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "\"1\"", TIME, EXPIRATION),
		 "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1.0", TIME, EXPIRATION),
		 "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1e400", TIME, EXPIRATION),
		 "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "9223372036854775807", TIME,
			  EXPIRATION),
		 "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "null", TIME, EXPIRATION),
		 "version"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", "\"yesterday\"", EXPIRATION),
		 "time"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", "1769850000", EXPIRATION),
		 "time"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, "null"), "data"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, "[]"), "data"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, "\"x\""), "data"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, "{}"), "orderId"},
		{ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, "{\"orderId\":1}"),
		 "orderId"},
	};
	struct arena *a = arena_new();
	char long_id[200];

	for (size_t i = 0; i < COUNT(envelopes); i++) {
		const char *bad =
			read_named(a, "expiration:complete", envelopes[i].text);

		if (strcmp(bad, envelopes[i].bad) != 0)
			tap_note("%s", envelopes[i].text);
		TAP_STRING(bad, envelopes[i].bad);
	}
	memset(long_id, 'x', sizeof(long_id) - 1);
	long_id[sizeof(long_id) - 1] = '\0';
	TAP_STRING(read_named(a, "expiration:complete",
			      arena_printf(a,
					   ENVELOPE("\"%s\"", TYPE, SUBJECT,
						    "1", TIME, EXPIRATION),
					   long_id)),
		   "id");
	arena_free(a);
}

/* An event of one channel on each other one, and on one that is unknown. */
static void
test_channel_mismatch(void)
{
	struct arena *a = arena_new();
	const char *id;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *text =
			event_write(a, rows[i].type, ID1, 1,
				    parse(a, rows[i].data), &id, NULL);

		for (size_t j = 0; j < COUNT(rows); j++)
			TAP_STRING(read_named(a, rows[j].channel, text),
				   i == j ? "" : "type");
		TAP_STRING(read_named(a, "no:such", text), "type");
		TAP_STRING(read_named(a, EVENT_DEAD_LETTER, text), "type");
	}
	arena_free(a);
}

static bool
is_required(const char *family, const char *name)
{
	static const char *const optional[] = {
		"reason", "orderId", "hidden", "file", "validAfter", "listing"};

	if (strcmp(family, "mail") == 0)
		return strstr("userId letter orderId", name) != NULL;
	for (size_t i = 0; i < COUNT(optional); i++)
		if (strcmp(name, optional[i]) == 0)
			return false;
	return true;
}

/* Data without each of its members: named if it is required.  Only stuff has
 * an orderId that may be absent. */
static void
test_missing_data(void)
{
	struct arena *a = arena_new();

	for (size_t i = 0; i < COUNT(rows); i++) {
		json_object *full = parse(a, rows[i].data);

		json_object_object_foreach(full, name, value)
		{
			json_object *less = parse(a, rows[i].data);
			bool needed = is_required(rows[i].family, name) ||
				      (strcmp(name, "orderId") == 0 &&
				       *rows[i].family != 's');
			const char *id, *text;

			(void)value;
			json_object_object_del(less, name);
			text = event_write(a, rows[i].type, ID1, 1, less, &id,
					   NULL);
			TAP_STRING(read_named(a, rows[i].channel, text),
				   needed ? name : "");
		}
	}
	TAP_STRING(
		read_named(a, "order:created",
			   ENVELOPE(ID, "\"order:created\"", SUBJECT, "1", TIME,
				    "{\"id\":\"" ID1
				    "\",\"status\":\"created\","
				    "\"userId\":\"" ID2 "\",\"expiresAt\":" TIME
				    ",\"stuff\":{\"price\":\"5\"}}")),
		"stuff.id stuff.title stuff.price");
	arena_free(a);
}

/* No beginning of an event is one. */
static void
test_truncated(void)
{
	static const char text[] =
		ENVELOPE(ID, TYPE, SUBJECT, "1", TIME, EXPIRATION);
	struct arena *a = arena_new();
	struct event e;

	for (size_t n = 0; n < sizeof(text) - 1; n++)
		CU_ASSERT_PTR_NOT_NULL(
			event_read(a, "expiration:complete", text, n, &e));
	CU_ASSERT_PTR_NULL(event_read(a, "expiration:complete", text,
				      sizeof(text) - 1, &e));
	/* With the NUL behind it, it is not JSON. */
	CU_ASSERT_PTR_NOT_NULL(
		event_read(a, "expiration:complete", text, sizeof(text), &e));
	arena_free(a);
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"channels", test_channels},
		{"each event is written", test_write},
		{"each event is read back", test_read},
		{"each error of an envelope is named", test_envelope},
		{"events on other channels", test_channel_mismatch},
		{"missing data is named", test_missing_data},
		{"truncated anywhere", test_truncated},
		{NULL},
	};

	return tap_run(argc, argv, tests);
}
