/* test-calls.c: each call of MongoDB's driver, of the gateway, of the mail
 * server, of Redis and of libfcgi fails in turn, in each way that it can, while
 * a service does one thing.  The answer says so, or it was done all the same;
 * what is stored is as before or as after, never half; and asked again, it is
 * as if nothing had failed.
 * SPDX-License-Identifier: MIT */
#include <hiredis/hiredis.h>
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <sched.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "../../fcgi/auth/mailer.h"
#include "../../fcgi/auth/model.h"
#include "../../fcgi/auth/password.h"
#include "../../fcgi/auth/session.h"
#include "../../fcgi/auth/throttle.h"
#include "../../fcgi/expiration/timers.h"
#include "../../fcgi/orders/model.h"
#include "../../fcgi/payments/gateway.h"
#include "../../fcgi/payments/model.h"
#include "../../fcgi/payments/webhook.h"
#include "../../fcgi/storefront/client.h"
#include "../../fcgi/stuff/model.h"
#include "../../fcgi/stuff/pictures.h"
#include "calls.h"
#include "letters.h"
#include "money.h"
#include "outbox.h"
#include "scenario.h"
#include "service.h"
#include "standing.h"
#include "transfer.h"

#define WINDOW 900000 /* ms that an order is held */
#define FILE_SIZE (FILES_CHUNK + 1000)

/* --- services of the test's own, in its process --- */

static const struct kind *const orders_kinds[] = {
	&order_kind, &stuff_copy_kind, &mail_kind, &standing_kind, NULL};
static const struct kind *const stuff_kinds[] = {&stuff_kind,
						 &files_kind,
						 &files_chunks_kind,
						 &files_uploads_kind,
						 &picture_kind,
						 &standing_kind,
						 NULL};
static const struct kind *const payments_kinds[] = {
	&payment_kind, &order_copy_kind, &coupon_kind,	 &guesses_kind,
	&webhook_kind, &mail_kind,	 &standing_kind, NULL};
static const struct kind *const auth_kinds[] = {
	&user_kind, &session_kind, &throttle_kind, &letter_kind, NULL};

static struct service orders = {.name = "orders",
				.routes = orders_routes,
				.hears = orders_hears,
				.kinds = orders_kinds};
static struct service stuff = {.name = "stuff",
			       .routes = stuff_routes,
			       .hears = stuff_hears,
			       .kinds = stuff_kinds};
static struct service payments = {.name = "payments",
				  .routes = payments_routes,
				  .hears = payments_hears,
				  .kinds = payments_kinds};
static struct service auth = {.name = "auth",
			      .routes = auth_routes,
			      .hears = mailer_hears,
			      .kinds = auth_kinds};
static struct service *const services[] = {&orders, &stuff, &payments, &auth};
#define SERVICES (sizeof(services) / sizeof(services[0]))

int64_t expiration_window = WINDOW / 1000;

static void
open_services(void)
{
	static char redis_url[256];
	const struct setting *const tables[] = {orders_settings, files_settings,
						mailer_settings, NULL};
	const char *error = NULL;
	char errors[256];

	need(sodium_init() < 0 ? "libsodium can't start" : NULL);
	mongoc_init();
	scenario_open();
	log_init("test", "error");
	token_init(stack("JWT_KEY"), "");
	need(setting_read(tables, errors, sizeof(errors)) == 0 ? NULL : errors);
	for (size_t i = 0; i < SERVICES; i++) {
		char *uri = text("%s/calls_%s", stack("MONGO_URI"),
				 services[i]->name);

		services[i]->base_url = stack("BASE_URL");
		services[i]->store =
			store_open(uri, services[i]->kinds, 4, &error);
		free(uri);
		need(error);
	}
	payments_workers = 4;
	webhook_secret = stack("STRIPE_WEBHOOK_SECRET");
	client_base = stack("BASE_URL");
	client_ca_file = stack("CA_CERT");
	/* Where the stack's own expiration does not look. */
	snprintf(redis_url, sizeof(redis_url), "%s/7", stack("REDIS_URL"));
	need(files_open());
	need(mailer_open());
	need(password_open());
	need(timers_open(redis_url));
	need(client_open(stack("BASE_URL")));
	need(gateway_open(stack("STRIPE_API_BASE"), stack("STRIPE_KEY")));
}

static void
close_services(void)
{
	gateway_close();
	client_close();
	timers_close();
	password_close();
	mailer_close();
	for (size_t i = 0; i < SERVICES; i++)
		store_close(services[i]->store);
	scenario_close();
	mongoc_cleanup();
}

/* --- orders --- */

static char stuff_id[ID_SIZE], order_id[ID_SIZE];

static int
tell_stuff(enum event_type type, int64_t version, const char *status,
	   const char *order)
{
	return tell(&orders, type, stuff_id, version,
		    "{\"id\":\"%s\",\"title\":\"Notes\",\"price\":1250,"
		    "\"userId\":\"%s\",\"status\":\"%s\",%s%s%s"
		    "\"file\":{\"size\":5,\"sha256\":\"abc\"}}",
		    stuff_id, seller.id, status, order ? "\"orderId\":\"" : "",
		    order ? order : "", order ? "\"," : "");
}

static void
nothing(void)
{
	buyer_make(&seller);
	buyer_make(&buyer);
	admin_make(&admin);
	id_new(stuff_id);
	id_new(order_id);
}

static int
copy(void)
{
	return tell_stuff(EVENT_STUFF_CREATED, 1, "available", NULL);
}

static void
with_copy(void)
{
	nothing();
	TAP_INT(copy(), 200);
}

static int
buy_(void)
{
	char *body = text("{\"stuffId\":\"%s\"}", stuff_id);
	int status = call_in(&orders, "POST", "/api/orders", buyer.token, body);

	free(body);
	return status;
}

static void
with_order(void)
{
	with_copy();
	TAP_INT(buy_(), 201);
	answer_id(order_id);
}

static int
cancel(void)
{
	char *path = text("/api/orders/%s", order_id);
	int status = call_in(&orders, "DELETE", path, buyer.token, "");

	free(path);
	return status;
}

static int
list_orders(void)
{
	return call_in(&orders, "GET", "/api/orders", buyer.token, "");
}

static int
confirm(void)
{
	return tell_stuff(EVENT_STUFF_UPDATED, 2, "reserved", order_id);
}

static void
with_confirmed(void)
{
	with_order();
	TAP_INT(confirm(), 200);
}

static int
is_paid(void)
{
	return tell(&orders, EVENT_PAYMENT_CREATED, order_id, 1,
		    "{\"id\":\"%s\",\"orderId\":\"%s\",\"amount\":1250,"
		    "\"status\":\"authorized\"}",
		    order_id, order_id);
}

static int
is_removed(void)
{
	return tell_stuff(EVENT_STUFF_REMOVED, 2, "removed", NULL);
}

static int
is_banned(void)
{
	return tell(&orders, EVENT_USER_BANNED, buyer.id, 1, "{\"id\":\"%s\"}",
		    buyer.id);
}

static void
with_lapsed(void)
{
	with_order();
	calls_later(WINDOW + 1);
}

static int
sweep_orders(void)
{
	return run_in(&orders, &orders_sweep);
}

EACH(orders_copy, &orders, nothing, copy, 200, .steps = true)
EACH(orders_buy, &orders, with_copy, buy_, 201)
EACH(orders_list, &orders, with_order, list_orders, 200)
EACH(orders_cancel, &orders, with_order, cancel, 204)
EACH(orders_confirm, &orders, with_order, confirm, 200, .steps = true)
EACH(orders_paid, &orders, with_confirmed, is_paid, 200, .steps = true)
EACH(orders_removed, &orders, with_order, is_removed, 200, .steps = true)
EACH(orders_banned, &orders, with_order, is_banned, 200, .steps = true)
EACH(orders_sweep_lapsed, &orders, with_lapsed, sweep_orders, 0, .steps = true)

/* --- stuff --- */

static int
create(void)
{
	return call_in(&stuff, "POST", "/api/stuff", seller.token,
		       "{\"title\":\"Notes\",\"price\":1250}");
}

static void
with_stuff(void)
{
	nothing();
	TAP_INT(create(), 201);
	answer_id(stuff_id);
}

static int
at_stuff(const char *method, const char *body)
{
	char *path = text("/api/stuff/%s", stuff_id);
	int status = call_in(&stuff, method, path, seller.token, body);

	free(path);
	return status;
}

static int
edit(void)
{
	return at_stuff("PUT", "{\"title\":\"Better notes\"}");
}

static int
take_off(void)
{
	return at_stuff("DELETE", "");
}

static int
search(void)
{
	return call_in(&stuff, "GET", "/api/stuff", NULL, "");
}

/* A file of two pieces, all of that letter. */
static int
send_file(int letter)
{
	char *path = text("SCRIPT_NAME=/api/stuff/%s/file", stuff_id);
	char *bytes = malloc(FILE_SIZE);
	int status;

	memset(bytes, letter, FILE_SIZE);
	status = ask_in(
		&stuff,
		(const char *const[]){"REQUEST_METHOD=PUT", path,
				      "CONTENT_TYPE=application/pdf",
				      "HTTP_CONTENT_DISPOSITION=attachment; "
				      "filename=\"notes.pdf\"",
				      NULL},
		seller.token, bytes, FILE_SIZE, true);
	free(bytes);
	free(path);
	return status;
}

static void
too_slow(void)
{
	clear(&stuff);
	with_stuff();
	/* As long as it may take, and longer. */
	dawdles = HTTP_GRACE * 1000;
	TAP_INT(send_file('a'), 200);
	dawdles += (FILE_SIZE / HTTP_SLOWEST + 2) * 1000;
	TAP_INT(send_file('a'), 400);
	CU_ASSERT_PTR_NOT_NULL(strstr(answer_body, "too slowly"));
	dawdles = 0;
}

/* The sweep is what deletes: what was left by one that broke off too. */
static void
sweep_files(void)
{
	for (int i = 0; i < 3; i++) {
		calls_later(RECOVERS);
		run_in(&stuff, &files_sweep);
	}
}

static int
upload_(void)
{
	return send_file('a');
}

static void
with_file(void)
{
	with_stuff();
	TAP_INT(upload_(), 200);
}

/* Of all that came, one is left, once it was swept. */
static bool
has_one_file(void)
{
	sweep_files();
	return db_count("calls_stuff", "fs.files", "{}") == 1 &&
	       db_count("calls_stuff", "fs.chunks", "{}") == 2 &&
	       db_count("calls_stuff", "uploads", "{}") == 0;
}

static int
download(void)
{
	char *path = text("SCRIPT_NAME=/api/stuff/%s/file", stuff_id);
	int status =
		ask_in(&stuff,
		       (const char *const[]){"REQUEST_METHOD=GET", path, NULL},
		       seller.token, "", 0, true);

	/* Its head goes first: whole, or cut off. */
	if (status == 200 && (strlen(answer_body) != FILE_SIZE ||
			      strspn(answer_body, "a") != FILE_SIZE))
		status = 0;
	free(path);
	return status;
}

static void
with_two_files(void)
{
	with_file();
	sweep_files();
	TAP_INT(send_file('b'), 200);
}

static int
sweep_stuff(void)
{
	return run_in(&stuff, &files_sweep);
}

static int
put_picture(void)
{
	static const char png[] =
		"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0"
		"\0\x90\x91h6\0\0\0\0IEND\xae\x42\x60\x82";
	char *path = text("SCRIPT_NAME=/api/stuff/%s/picture", stuff_id);
	int status =
		ask_in(&stuff,
		       (const char *const[]){"REQUEST_METHOD=PUT", path,
					     "CONTENT_TYPE=image/png", NULL},
		       seller.token, png, sizeof(png) - 1, false);

	free(path);
	return status;
}

static void
with_picture(void)
{
	with_stuff();
	TAP_INT(put_picture(), 200);
}

static bool
has_no_picture(void)
{
	return db_count("calls_stuff", "pictures", "{}") == 0;
}

static int
tell_order(struct service *service, enum event_type type, int64_t version,
	   const char *status)
{
	struct arena *a = arena_new();
	int heard = tell(service, type, order_id, version,
			 "{\"id\":\"%s\",\"status\":\"%s\",\"userId\":\"%s\","
			 "\"expiresAt\":\"%s\",\"stuff\":{\"id\":\"%s\","
			 "\"title\":\"Notes\",\"price\":1250,"
			 "\"sellerId\":\"%s\"}}",
			 order_id, status, buyer.id,
			 clock_format(a, clock_now() + WINDOW), stuff_id,
			 seller.id);

	arena_free(a);
	return heard;
}

static int
reserve(void)
{
	return tell_order(&stuff, EVENT_ORDER_CREATED, 1, "created");
}

static void
with_reserved(void)
{
	with_stuff();
	TAP_INT(reserve(), 200);
}

static int
release(void)
{
	return tell_order(&stuff, EVENT_ORDER_CANCELLED, 2, "cancelled");
}

static int
sell(void)
{
	return tell_order(&stuff, EVENT_ORDER_COMPLETED, 2, "complete");
}

EACH(stuff_create, &stuff, nothing, create, 201, .whole = whole)
EACH(stuff_edit_, &stuff, with_stuff, edit, 200, .whole = whole)
EACH(stuff_take_off, &stuff, with_picture, take_off, 204, .steps = true,
     .whole = has_no_picture, .again = 404)
EACH(stuff_search_, &stuff, with_stuff, search, 200)
EACH(stuff_reserve_, &stuff, with_stuff, reserve, 200, .steps = true)
EACH(stuff_release_, &stuff, with_reserved, release, 200, .steps = true)
EACH(stuff_sell_, &stuff, with_reserved, sell, 200, .steps = true)
EACH(stuff_upload, &stuff, with_stuff, upload_, 200, .steps = true,
     .later = true, .whole = has_one_file)
EACH(stuff_download, &stuff, with_file, download, 200)
EACH(stuff_sweep, &stuff, with_two_files, sweep_stuff, 0, .steps = true)
EACH(stuff_picture, &stuff, with_stuff, put_picture, 200, .steps = true,
     .whole = whole)

/* --- what the store does for the outbox, and before all else --- */

static int
empty_outbox(void)
{
	struct context cx = {.service = &stuff, .arena = arena_new()};
	struct waiting_events waiting = {.events = 0};
	struct outgoing *o;
	size_t n;
	bool good = store_waiting(&cx, &stuff_kind, &waiting) == NULL &&
		    store_unsent(&cx, &stuff_kind, NULL, 10, &o, &n) == NULL &&
		    (n == 0 || (store_unsent(&cx, &stuff_kind, &o->id, 1, &o,
					     &n) == NULL &&
				store_sent(&cx, &stuff_kind, o, n) == NULL));

	arena_free(cx.arena);
	return good ? 200 : 503;
}

static int
first_look(void)
{
	char *uri = text("%s/calls_stuff", stack("MONGO_URI"));
	const char *error = NULL;
	struct service fresh = stuff;
	struct context cx = {.service = &fresh, .arena = arena_new()};
	bool good;

	fresh.store = store_open(uri, stuff_kinds, 4, &error);
	good = store_ping(&cx) == NULL;
	arena_free(cx.arena);
	store_close(fresh.store);
	free(uri);
	return good ? 200 : 503;
}

EACH(store_outbox, &stuff, with_stuff, empty_outbox, 200, .steps = true)
EACH(store_first, &stuff, with_stuff, first_look, 200)

/* One connection that breaks at once says nothing of the others. */
static void
one_connection(void)
{
	int status = 200;

	clear(&stuff);
	with_stuff();
	for (long at = 1; status == 200 && at < 20; at++) {
		calls_begin(at, CALL_CUT);
		status = search();
		calls_end();
	}
	TAP_INT(status, 503);
	TAP_INT(search(), 200);
}

/* What a thread wants of orders' copies of listings, and what became of it. */
struct wish {
	int number; /* of the copy */
	bool add;
	int status; /* 409: there is one already */
	pthread_t thread;
};

#define WISHES 5
#define GRANT_WAIT 30000000 /* us, on a clock that nobody pushes */

static atomic_int granted;

static const char *
copy_id(int number)
{
	static const char ids[][ID_SIZE] = {"5f0000000000000000000000",
					    "5f0000000000000000000001",
					    "5f0000000000000000000002",
					    "5f0000000000000000000003"};

	return ids[number];
}

static void *
grant(void *arg)
{
	struct wish *w = arg;
	struct context cx = {.service = &orders, .arena = arena_new()};
	struct stuff_copy copy = {.title = "Notes", .status = "available"};
	const struct fail *fail;

	memcpy(copy.head.id, copy_id(w->number), ID_SIZE);
	fail = w->add ? store_add(&cx, &stuff_copy_kind, &copy)
		      : store_get(&cx, &stuff_copy_kind, copy_id(w->number),
				  &copy);
	if (fail == NULL && strcmp(copy.head.id, copy_id(w->number)) != 0)
		w->status = 500;
	else
		w->status = fail == NULL	      ? 200
			    : fail == STORE_DUPLICATE ? 409
						      : fail->status;
	arena_free(cx.arena);
	granted++;
	return NULL;
}

/* The first one by itself, and meanwhile the others come, one by one. */
static void
grant_all(struct wish *wishes)
{
	int64_t until = clock_micros() + GRANT_WAIT;

	granted = 0;
	calls_hold();
	for (int i = 0; i < WISHES; i++) {
		if (pthread_create(&wishes[i].thread, NULL, grant,
				   &wishes[i]) != 0)
			abort();
		/* A failure lets some through. */
		while (calls_standing() + calls_behind() + granted <= i &&
		       clock_micros() < until)
			sched_yield();
	}
	calls_let_go();
	for (int i = 0; i < WISHES; i++)
		pthread_join(wishes[i].thread, NULL);
}

static int
get_copy(int number)
{
	struct wish w = {.number = number};

	grant(&w);
	return w.status;
}

static void
expect_one_behind_one(const struct wish *all, const int *want)
{
	TAP_INT(calls_standing(), 1);
	TAP_INT(calls_behind(), WISHES - 1);
	for (int i = 0; i < WISHES; i++)
		TAP_INT(all[i].status, want[i]);
}

static void
added_as_one(void)
{
	struct wish all[WISHES] = {
		{0, true}, {1, true}, {2, true}, {1, true}, {3, true}};
	static const int want[] = {200, 200, 200, 409, 200};

	clear(&orders);
	grant_all(all);
	expect_one_behind_one(all, want);
	for (int i = 0; i < 4; i++)
		TAP_INT(get_copy(i), 200);
}

static void
got_as_one(void)
{
	struct wish some[] = {{0, true}, {1, true}, {3, true}};
	struct wish all[WISHES] = {{1}, {1}, {2}, {0}, {1}};
	static const int want[] = {200, 200, 404, 200, 200};

	clear(&orders);
	for (int i = 0; i < 3; i++)
		grant(&some[i]);
	grant_all(all);
	expect_one_behind_one(all, want);
}

/* How many of those behind the first one read 503. */
static int
failed(const struct wish *all)
{
	int n = 0;

	for (int i = 1; i < WISHES; i++)
		n += all[i].status == 503;
	return n;
}

/* Each call of these fails in turn: whoever is told something else than that
 * can rely on it. */
static void
fail_as_one(void)
{
	int adds = 0, gets = 0;

	for (int how = CALL_CUT; how <= CALL_REFUSED; how++)
		for (long at = 1, calls = 1; at <= calls; at++) {
			struct wish add[WISHES] = {{0, true},
						   {1, true},
						   {2, true},
						   {1, true},
						   {3, true}};
			struct wish get[WISHES] = {{0}, {1}, {2}, {3}, {0}};

			clear(&orders);
			calls_begin_everywhere(at, (enum calls_how)how);
			grant_all(add);
			grant_all(get);
			calls = calls_end();
			calls_later(RECOVERS);
			adds += failed(add) == WISHES - 1;
			gets += failed(get) == WISHES - 1;
			for (int i = 0; i < WISHES; i++) {
				if (add[i].status != 503)
					TAP_INT(get_copy(add[i].number), 200);
				if (get[i].status != 503)
					TAP_INT(get_copy(get[i].number),
						get[i].status);
			}
		}
	/* One failure was all of theirs. */
	CU_ASSERT_TRUE(adds > 0);
	CU_ASSERT_TRUE(gets > 0);
}

/* What the bus can't take is not taken from users either, without end. */
static void
full_outbox(void)
{
	int n = 0;

	clear(&stuff);
	with_stuff();
	while (n < 100 && edit() == 200)
		n++;
	TAP_INT(n, STORE_MAX_UNSENT - 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(answer_whole, "Status: 503"));
	TAP_INT(empty_outbox(), 200);
	TAP_INT(edit(), 200);
}

static void
no_id(void)
{
	struct context cx = {.service = &stuff, .arena = arena_new()};
	struct stuff s;

	TAP_INT(store_get(&cx, &stuff_kind, "x", &s)->status, 404);
	arena_free(cx.arena);
}

/* An event whose predecessor never comes is set aside after an hour. */
static void
never_its_turn(void)
{
	struct arena *a = arena_new();
	static const char data[] =
		"{\"id\":\"65f000000000000000000001\",\"title\":\"t\","
		"\"price\":5,\"userId\":\"65f000000000000000000001\","
		"\"status\":\"available\"}";
	const char *id;
	const char *event =
		event_write(a, EVENT_STUFF_UPDATED, "65f000000000000000000001",
			    5, json_read(a, data, strlen(data)), &id, NULL);

	clear(&orders);
	buried = 0;
	TAP_INT(listen_handle(&orders, "stuff:updated", event, strlen(event)),
		BUS_AGAIN);
	TAP_INT(buried, 0);
	calls_later(3600001);
	TAP_INT(listen_handle(&orders, "stuff:updated", event, strlen(event)),
		BUS_DONE);
	TAP_INT(buried, 1);
	arena_free(a);
}

/* More than are read at once. */
static void
many_are_banned(void)
{
	struct context cx = {.service = &orders, .arena = arena_new()};
	struct user user = {.issued = 0};

	clear(&orders);
	for (int i = 0; i < 300; i++) {
		struct standing s = {.state = STANDING_BANNED,
				     .valid_after = clock_now() / 1000,
				     .changed_at = clock_now()};

		CU_ASSERT_PTR_NULL(store_add(&cx, &standing_kind, &s));
		memcpy(user.id, s.head.id, ID_SIZE);
	}
	TAP_INT(standing_of_token(&user), TOKEN_GOOD);
	run_in(&orders, &standing_task);
	TAP_INT(standing_of_token(&user), TOKEN_BANNED);
	clear(&orders);
	arena_free(cx.arena);
}

/* --- payments --- */

static char code[64];

static int
hear_order(void)
{
	return tell_order(&payments, EVENT_ORDER_CREATED, 1, "created");
}

static void
with_order_copy(void)
{
	nothing();
	TAP_INT(hear_order(), 200);
}

static int
pay_(void)
{
	char *body = text("{\"orderId\":\"%s\",\"token\":\"pm_card_visa\"%s%s"
			  "%s}",
			  order_id, *code ? ",\"coupon\":\"" : "", code,
			  *code ? "\"" : "");
	int status =
		call_in(&payments, "POST", "/api/payments", buyer.token, body);

	free(body);
	return status;
}

/* Money moves once, whatever was lost. */
static void
check_gateway(int64_t captured, int64_t refunded)
{
	char *url = text("%s/_books", stack("STRIPE_API_BASE"));
	const struct answer *a = http_plain("GET", url, NULL);
	json_object *list = json_member(a->json, "intents", json_type_array);
	int64_t took = 0, gave = 0, holds = 0;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *o = json_object_array_get_idx(list, i), *n;
		const char *id =
			json_text(json_member(o, "metadata", json_type_object),
				  "order_id");

		if (id == NULL || strcmp(id, order_id) != 0)
			continue;
		holds +=
			strcmp(json_text(o, "status"), "requires_capture") == 0;
		if (json_object_object_get_ex(o, "captured", &n))
			took += json_object_get_int64(n);
		if (json_object_object_get_ex(o, "refunded", &n))
			gave += json_object_get_int64(n);
	}
	TAP_INT(took, captured);
	TAP_INT(gave, refunded);
	CU_ASSERT(holds <= 1);
	free(url);
}

static int
pay_once(void)
{
	int status = pay_();

	check_gateway(0, 0);
	return status;
}

static void
with_payment(void)
{
	*code = '\0';
	with_order_copy();
	TAP_INT(pay_(), 201);
}

static int
complete(void)
{
	return tell_order(&payments, EVENT_ORDER_COMPLETED, 2, "complete");
}

static void
with_complete(void)
{
	with_payment();
	TAP_INT(complete(), 200);
}

static int
settle(void)
{
	return run_in(&payments, &payments_settling);
}

static void
with_cancelled(void)
{
	with_payment();
	TAP_INT(tell_order(&payments, EVENT_ORDER_CANCELLED, 2, "cancelled"),
		200);
}

static void
with_captured(void)
{
	with_complete();
	settle();
	check_gateway(1250, 0);
}

static int
refund(void)
{
	char *path = text("/api/payments/%s/refund", order_id);
	int status = call_in(&payments, "POST", path, seller.token,
			     "{\"listing\":\"free\"}");

	free(path);
	return status;
}

static int
make_coupon(void)
{
	return call_in(&payments, "POST", "/api/coupons", admin.token,
		       "{\"percentOff\":20,\"maxRedemptions\":1}");
}

static void
with_coupon(void)
{
	json_object *o;

	nothing();
	TAP_INT(hear_order(), 200);
	TAP_INT(make_coupon(), 201);
	o = json_tokener_parse(answer_body);
	snprintf(code, sizeof(code), "%s", json_text(o, "code"));
	json_object_put(o);
}

static void
with_coupon_complete(void)
{
	with_coupon();
	TAP_INT(pay_(), 201);
	TAP_INT(complete(), 200);
}

static int
settle_twice(void)
{
	settle();
	return run_in(&payments, &coupons_sweep);
}

static void
finish_pay(void)
{
	*code = '\0';
}

/* --- what the gateway says of its own accord --- */

static char *intent;

/* It has nothing in its books, and knows no other time. */
static void
fresh_gateway(void)
{
	char *url = text("%s/_books", stack("STRIPE_API_BASE"));

	TAP_INT(http_plain("DELETE", url, NULL)->status, 200);
	calls_clock_right();
	free(url);
}

static void
with_told(void)
{
	struct deal d;

	fresh_gateway();
	with_captured();
	memcpy(d.order, order_id, ID_SIZE);
	free(intent);
	intent = deal_intent(&d);
}

/* We gave up what it took all the same. */
static void
with_voided(void)
{
	with_told();
	db_update("calls_payments", "payments", "{}",
		  "{\"$set\":{\"status\":\"" PAYMENT_VOIDED "\"}}");
}

static int
hear_webhook(void)
{
	char *body = text("{\"id\":\"evt_%s\",\"object\":\"event\",\"type\":"
			  "\"payment_intent.succeeded\",\"data\":{\"object\":"
			  "{\"object\":\"payment_intent\",\"id\":\"%s\"}}}",
			  order_id, intent);
	char *signature = webhook_signature(body, 0);
	int status =
		ask_in(&payments,
		       (const char *const[]){"REQUEST_METHOD=POST",
					     "SCRIPT_NAME=/api/payments/"
					     "webhook",
					     "CONTENT_TYPE=application/json",
					     signature, NULL},
		       NULL, body, strlen(body), false);
	int64_t gave;

	calls_end();
	gave = gateway_refunded(order_id);
	CU_ASSERT(gave == 1250 || (gave == 0 && status != 200));
	free(signature);
	free(body);
	return status;
}

/* Somebody gave the money back in its dashboard, and no webhook came. */
static void
with_untold(void)
{
	char *form;

	with_told();
	form = text("payment_intent=%s&amount=1250", intent);
	free(gateway_post("/v1/refunds", form));
	free(form);
}

static int
reconcile(void)
{
	run_in(&payments, &payments_reconciling);
	calls_end();
	check_gateway(1250, 1250);
	return 0;
}

static void
with_sale(void)
{
	with_payment();
	db_update("calls_payments", "payments", "{}",
		  "{\"$set\":{\"status\":\"" PAYMENT_CAPTURED "\"}}");
}

static int
read_sales(void)
{
	return call_in(&payments, "GET", "/api/payments/sales", seller.token,
		       "");
}

static void
finish_gateway(void)
{
	free(intent);
	intent = NULL;
}

EACH(webhook_told, &payments, with_voided, hear_webhook, 200, .steps = true)
EACH(webhook_untold, &payments, with_untold, reconcile, 0, .steps = true)
EACH(books_sales_, &payments, with_sale, read_sales, 200)

EACH(payments_copy, &payments, nothing, hear_order, 200, .steps = true)
EACH(payments_pay, &payments, with_order_copy, pay_once, 201, .steps = true)
EACH(payments_capture, &payments, with_complete, settle, 0, .steps = true)
EACH(payments_void, &payments, with_cancelled, settle, 0, .steps = true)
EACH(payments_refund_, &payments, with_captured, refund, 200, .steps = true)
EACH(payments_make_coupon, &payments, nothing, make_coupon, 201, .whole = whole)
EACH(payments_redeem, &payments, with_coupon, pay_, 201, .steps = true)
EACH(payments_spend, &payments, with_coupon_complete, settle_twice, 0,
     .steps = true)

/* --- auth --- */

#define CREDENTIALS "{\"email\":\"ann@x.edu\",\"password\":\"correct horse\"}"

static int
sign_in(void)
{
	return call_in(&auth, "POST", "/api/users/signin", NULL, CREDENTIALS);
}

/* Who has an account by an answer that was lost signs in. */
static int
sign_up(void)
{
	int status =
		call_in(&auth, "POST", "/api/users/signup", NULL, CREDENTIALS);

	if (status == 400 && strstr(answer_body, "Email in use") != NULL)
		status = sign_in() == 200 ? 201 : 0;
	return status;
}

static void
with_account(void)
{
	nothing();
	TAP_INT(sign_up(), 201);
	answer_id(buyer.id);
}

static char refresh_token[512];

static void
with_session(void)
{
	const char *p;

	with_account();
	p = strstr(answer_whole, TOKEN_REFRESH_COOKIE "=");
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	snprintf(refresh_token, sizeof(refresh_token), "HTTP_COOKIE=%.*s",
		 (int)strcspn(p, ";"), p);
}

static int
refresh(void)
{
	return ask_in(&auth,
		      (const char *const[]){"REQUEST_METHOD=POST",
					    "SCRIPT_NAME=/api/users/refresh",
					    refresh_token, NULL},
		      NULL, "", 0, false);
}

static int
sign_out(void)
{
	return ask_in(&auth,
		      (const char *const[]){"REQUEST_METHOD=POST",
					    "SCRIPT_NAME=/api/users/signout",
					    refresh_token, NULL},
		      NULL, "", 0, false);
}

EACH(auth_sign_up, &auth, nothing, sign_up, 201, .whole = whole, .steps = true)
EACH(auth_sign_in, &auth, with_account, sign_in, 200, .whole = whole,
     .steps = true)
EACH(auth_refresh, &auth, with_session, refresh, 200, .soon = true)
EACH(auth_sign_out, &auth, with_session, sign_out, 200, .steps = true)

/* --- auth's letters --- */

static char letter_id[ID_SIZE];

static int
ask_for_letter(void)
{
	return tell(&auth, EVENT_MAIL_SEND, letter_id, 1,
		    "{\"userId\":\"%s\",\"letter\":\"" MAIL_RECEIPT
		    "\",\"orderId\":\"%s\",\"title\":\"Notes\","
		    "\"amount\":1250}",
		    buyer.id, order_id);
}

static void
no_letter(void)
{
	with_account();
	id_new(letter_id);
}

static void
with_letter(void)
{
	no_letter();
	TAP_INT(ask_for_letter(), 200);
}

static bool
is_letter(const char *status)
{
	char *filter = text("{\"status\":\"%s\"}", status);
	int64_t n = db_count("calls_auth", "letters", filter);

	free(filter);
	return n == 1;
}

/* How often the mail server took it. */
static int
letters_taken(void)
{
	char *command = text("cat '%s'/*.eml 2>/dev/null | "
			     "grep -c 'Message-ID: <%s@'",
			     letters_folder(), letter_id);
	FILE *f = popen(command, "r");
	int n = -1;

	if (f == NULL || fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f != NULL)
		pclose(f);
	free(command);
	return n;
}

/* A letter is sent once it was taken, and waits until then. */
static int
send_letter(void)
{
	run_in(&auth, &mailer_sending);
	calls_end();
	CU_ASSERT(is_letter("queued") ||
		  (is_letter("sent") && letters_taken() > 0));
	return 0;
}

/* Twice where it is not known that it was taken, see mailer.h. */
static bool
letter_is_sent(void)
{
	int n = letters_taken();

	return is_letter("sent") && (n == 1 || n == 2);
}

/* Without memory for the call it waits, too. */
static void
no_memory_for_letter(void)
{
	for (long at = 1; at <= 2; at++) {
		clear(&auth);
		with_letter();
		calls_begin_fatal(at);
		send_letter();
		CU_ASSERT_PTR_NOT_NULL(calls_failed());
		CU_ASSERT(is_letter("queued"));
		TAP_INT(letters_taken(), 0);
		calls_later(RECOVERS);
		send_letter();
		CU_ASSERT(is_letter("sent"));
		TAP_INT(letters_taken(), 1);
	}
}

EACH(auth_hear_letter, &auth, no_letter, ask_for_letter, 200, .steps = true)
EACH(auth_send_letter, &auth, with_letter, send_letter, 0, .steps = true,
     .whole = letter_is_sent)

/* --- expiration and storefront: Redis and libcurl --- */

static void
no_timers(void)
{
	static char url[256];

	nothing();
	snprintf(url, sizeof(url), "%s/7", stack("REDIS_URL"));
	timers_close(); /* connecting may fail, too */
	need(timers_open(url));
}

static int
with_timers(const struct fail *(*what)(struct context *cx))
{
	struct context cx = {.service = &auth, .arena = arena_new()};
	const struct fail *fail = what(&cx);
	int status = fail ? fail->status : 200;

	arena_free(cx.arena);
	return status;
}

static const struct fail *
add_(struct context *cx)
{
	return timers_add(cx, order_id, 1);
}

static int
add_timer(void)
{
	return with_timers(add_);
}

static void
with_timer(void)
{
	no_timers();
	TAP_INT(add_timer(), 200);
}

static const struct fail *
claim_(struct context *cx)
{
	const char **ids;
	size_t n;

	TRY(timers_claim(cx, 100, &ids, &n));
	return NULL;
}

static int
claim_timers(void)
{
	return with_timers(claim_);
}

static const struct fail *
done_(struct context *cx)
{
	const char *ids[] = {order_id};

	return timers_done(cx, ids, 1);
}

static void
with_claimed(void)
{
	with_timer();
	TAP_INT(claim_timers(), 200);
}

static int
timers_are_done(void)
{
	return with_timers(done_);
}

static const struct fail *
rebuild_(struct context *cx)
{
	const char *name;

	TRY(timers_rebuild(cx, &name));
	return *name ? timers_rebuilt(cx, name) : NULL;
}

static int
rebuild_timers(void)
{
	return with_timers(rebuild_);
}

/* Does Redis know of the order, by a connection of the test's own? */
static bool
is_timed(void)
{
	static const char *const keys[] = {"{expiration}:due",
					   "{expiration}:claimed"};
	const char *port = strrchr(stack("REDIS_URL"), ':') + 1;
	redisContext *c =
		redisConnect("127.0.0.1", (int)strtol(port, NULL, 10));
	bool is = false;

	freeReplyObject(redisCommand(c, "SELECT 7"));
	for (int i = 0; i < 2; i++) {
		redisReply *r =
			redisCommand(c, "ZSCORE %s %s", keys[i], order_id);

		is = is || (r != NULL && r->type == REDIS_REPLY_STRING);
		freeReplyObject(r);
	}
	redisFree(c);
	return is;
}

static bool
is_not_timed(void)
{
	return !is_timed();
}

/* Three at once, of the stack's own services. */
static int
ask_all(void)
{
	struct arena *a = arena_new();
	struct call calls[] = {{.path = "/api/stuff", .what = "the listings"},
			       {.path = "/api/stuff?q=x", .what = "a search"},
			       {.path = "/api/users/currentuser",
				.what = "you"}};
	struct call *all[] = {&calls[0], &calls[1], &calls[2]};
	const struct visitor visitor = {.agent = "test"};
	int status = 200;

	client_run(a, &visitor, all, 3, clock_monotonic() + 5000);
	for (int i = 0; i < 3; i++)
		if (!calls[i].good)
			status = client_fail(a, all[i])->status;
	arena_free(a);
	return status;
}

EACH(expiration_add, &auth, no_timers, add_timer, 200, .whole = is_timed)
EACH(expiration_claim, &auth, with_timer, claim_timers, 200, .whole = is_timed)
EACH(expiration_done, &auth, with_claimed, timers_are_done, 200,
     .whole = is_not_timed)
EACH(expiration_rebuild, &auth, no_timers, rebuild_timers, 200, .whole = whole)
EACH(storefront_asks, &auth, nothing, ask_all, 200, .whole = whole)

/* --- what a process can't do without --- */

static void
pays(void)
{
	struct arena *a = arena_new();

	gateway_create(a, order_id, 1250, "pm_card_visa");
	arena_free(a);
}

static void
asks(void)
{
	ask_all();
}

static void
publishes(void)
{
	outbox_open(&orders);
}

static void
connects(void)
{
	static const char *const none[] = {NULL};

	bus_start(bus_open(&(struct bus_options){.channels = none}));
}

static void
transfers(void)
{
	transfers_open(&stuff, 4);
}

/* In processes of their own, before this one has threads. */
static void
ends_with_71(void)
{
	static void (*const rows[])(void) = {pays, asks, publishes, connects,
					     transfers};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = 0, ended = 0;

		/* The first two need several such calls. */
		for (long at = 1; at <= (i < 2 ? 50 : 1); at++) {
			pid_t pid;

			fflush(stdout);
			pid = fork();
			if (pid == 0) {
				calls_begin_fatal(at);
				rows[i]();
				_exit(calls_failed() ? 99 : 0);
			}
			waitpid(pid, &status, 0);
			if (status == 0)
				break;
			TAP_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1,
				EX_OSERR);
			ended++;
		}
		tap_note("%zu: %d calls end it", i, ended);
		CU_ASSERT(ended > 0);
	}
}

int
main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		{"what a process can't do without ends it", ends_with_71},
		{"orders hears of a listing", orders_copy},
		{"BUY", orders_buy},
		{"a list of orders", orders_list},
		{"an order is cancelled", orders_cancel},
		{"an order is confirmed", orders_confirm},
		{"an order is paid", orders_paid},
		{"an order's listing is removed", orders_removed},
		{"an order's buyer is banned", orders_banned},
		{"a lapsed order is swept", orders_sweep_lapsed},
		{"a listing is made", stuff_create},
		{"a listing is edited", stuff_edit_},
		{"a listing is taken off", stuff_take_off},
		{"a search", stuff_search_},
		{"a listing is reserved", stuff_reserve_},
		{"a listing is released", stuff_release_},
		{"a listing is sold", stuff_sell_},
		{"a file comes", stuff_upload},
		{"a file that comes too slowly", too_slow},
		{"a file goes", stuff_download},
		{"a file that was replaced is swept", stuff_sweep},
		{"a picture comes", stuff_picture},
		{"an outbox is emptied", store_outbox},
		{"indexes are made", store_first},
		{"an outbox that is full", full_outbox},
		{"one connection that breaks", one_connection},
		{"what is added as one", added_as_one},
		{"what is read as one", got_as_one},
		{"what fails as one", fail_as_one},
		{"what is no id", no_id},
		{"an event whose turn never comes", never_its_turn},
		{"many are banned", many_are_banned},
		{"payments hears of an order", payments_copy},
		{"an order is paid for", payments_pay},
		{"a payment is captured", payments_capture},
		{"a payment is voided", payments_void},
		{"a payment is refunded", payments_refund_},
		{"a coupon is made", payments_make_coupon},
		{"a coupon is redeemed", payments_redeem},
		{"a coupon is spent", payments_spend},
		{"no coupon", finish_pay},
		{"a webhook tells of money to let go", webhook_told},
		{"a refund that no webhook told of", webhook_untold},
		{"a seller's sales", books_sales_},
		{"no intent", finish_gateway},
		{"an account is made", auth_sign_up},
		{"signing in", auth_sign_in},
		{"a session goes on", auth_refresh},
		{"signing out", auth_sign_out},
		{"a letter is asked for", auth_hear_letter},
		{"a letter is sent", auth_send_letter},
		{"no memory for a letter", no_memory_for_letter},
		{"an order's time is noted", expiration_add},
		{"timers are claimed", expiration_claim},
		{"timers are done with", expiration_done},
		{"timers are rebuilt", expiration_rebuild},
		{"the storefront asks", storefront_asks},
		{0},
	};

	int rc;

	stack_up((const char *const[]){NULL});
	setenv("SMTP_URL", letters_open(), 1);
	setenv("SMTP_FROM", "market@example.edu", 1);
	open_services();
	rc = tap_run(argc, argv, tests);
	close_services();
	return rc;
}
