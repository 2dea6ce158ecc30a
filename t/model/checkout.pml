/* checkout.pml: the checkout as spin sees it, to be searched in full.
 * SPDX-License-Identifier: MIT
 *
 * One listing, several orders for it, their payments, a coupon, a gateway, and
 * the events between stuff, orders and payments.  Each transition names the C
 * function that it is; DESIGN.md says what is asserted.
 *
 * What makes no difference, the model leaves out:
 * - A change of a record that depends on that record alone is one step: that is
 *   what a compare-and-set with retries amounts to.  What a decision reads
 *   besides (the line of events, a standing, another record) it reads in steps
 *   of its own, and rev guards what is saved.
 * - A change and its event are one write, so an event can be picked up as soon
 *   as it is saved: how long outbox and bus take is how long a listener waits.
 *   Several may pick it up at once, or again after a crash, and in any order
 *   but that of its own line.
 * - At every step a process may end (CRASH), and with it what it knew.  A lost
 *   answer of the gateway, and a lease that ends, are the same; a process that
 *   was stopped and goes on took long between two steps.  A lease may end at
 *   any moment, so there is none; but pay_seen says who has the payment, until
 *   another claims it.
 * - Time is one bit of each order, lapsed, which may be set at any moment: the
 *   clock, the sweep and expiration:complete.
 * - heard, store_line() and store_heard() are orders_stuff, stuff_order[o] and so
 *   on: the last version heard.
 *
 * Bounds: ORDERS for the one listing, BUYERS, PAYERS and SETTLERS at once, and
 * how many threads hear events (HEAR_STUFF, HEAR_ORDERS, HEAR_PAYMENTS).  With
 * no HEAR_STUFF each order is confirmed at once.  Switches for what else may
 * happen: REMOVAL, CANCEL, BAN, REFUND, DISHONOUR; COUPON is its percentOff.
 * GUARD_X takes the guard X off, and spin must find what breaks.  test-model
 * says which of these are searched together.
 */

#ifndef BUYERS
#define BUYERS 1
#endif
#ifndef PAYERS
#define PAYERS 0
#endif
#ifndef SETTLERS
#define SETTLERS 0
#endif
#ifndef HEAR_STUFF
#define HEAR_STUFF 1
#endif
#ifndef HEAR_ORDERS
#define HEAR_ORDERS 1
#endif
#ifndef HEAR_PAYMENTS
#define HEAR_PAYMENTS 0
#endif

#define N (ORDERS + 1) /* of orders; they count from 1, 0 is none */

/* For one, any and all orders. */
#if ORDERS == 1
#define ANY(o, cond) if :: cond(1) -> o = 1 fi
#define ALL(cond) (cond(1))
#define SUM(count) (count(1))
#elif ORDERS == 2
#define ANY(o, cond) if :: cond(1) -> o = 1 :: cond(2) -> o = 2 fi
#define ALL(cond) (cond(1) && cond(2))
#define SUM(count) (count(1) + count(2))
#else
#define ANY(o, cond) if :: cond(1) -> o = 1 :: cond(2) -> o = 2 \
	:: cond(3) -> o = 3 fi
#define ALL(cond) (cond(1) && cond(2) && cond(3))
#define SUM(count) (count(1) + count(2) + count(3))
#endif

/* --- the records --------------------------------------------------------- */

/*
 * rev, by which a write finds out that another was faster, would grow for ever.
 * All that matters is whether a record is still what a process has read: X_seen
 * has a bit of each process for which it is.
 */

/* orders: fcgi/orders/model.h.  NONE: there is no such record yet. */
#define NONE 0
#define CREATED 1
#define AWAITING 2
#define CANCELLED 3
#define COMPLETE 4
#define REFUNDED 5
byte orders;		/* how many there are */
byte status[N];
bit slot[N];		/* in the unique index */
bit lapsed[N];		/* now >= expiresAt */
byte order_version[N], order_seen[N];
byte buyer_of[N];

#define live(o) (status[o] == CREATED || status[o] == AWAITING)
#define holds(o) (live(o) || status[o] == COMPLETE)

/* orders' copy of stuff: is it removed? */
bit copy_gone;
byte copy_seen;

/* stuff: fcgi/stuff/model.h */
#define AVAILABLE 0
#define RESERVED 1
#define SOLD 2
#define REMOVED 3
byte stuff = AVAILABLE;
byte held_by, other;	/* orderId, otherId */
byte stuff_seen;
byte stuff_version = 1;	/* stuff:created was heard */
byte told_of[16];	/* the orderId in each version's event, until heard */
byte told_gone;		/* the version that is stuff:removed; 0: none */

/* payments: fcgi/payments/model.h */
#define AUTHORIZING 1
#define AUTHORIZED 2
#define CAPTURED 3
#define FAILED 4
#define VOIDED 5
#define REFUNDING 6
#define PAID_BACK 7
byte pay[N];
bit intent[N];		/* its id is saved */
bit reason[N];		/* why it failed or will */
byte pay_version[N];
bit frees[N];		/* the listing is for others after the refund */
byte wish[N];		/* what was asked for here: 0 nothing, or 1 + frees */
byte pay_seen[N];	/* who has claimed it, and nobody has since */
byte try_seen[N];	/* who asks for the refund under the present key */
bit refused[N];		/* what the gateway has under that key */
bit dashboard[N];	/* the refund was made in the gateway's dashboard */
byte order_copy[N];	/* payments' copy of an order: its status */
byte order_copy_seen[N];

/* coupons: fcgi/payments/coupons.h; one, good for one use */
#define USES 1
bit with_coupon[N];	/* of a payment */
bit covers_all;		/* there is nothing left to charge */
byte redemptions, coupon_seen;
bit pending[N];		/* the order's note in the coupon */

#define free_of_charge(o) (with_coupon[o] && covers_all)

/* the gateway */
#define NO_INTENT 0
#define OPEN 1
#define HELD 2
#define TAKEN 3
#define LET_GO 4
#define GIVEN_BACK 5
byte gate[N];
byte charges[N];	/* how often money of the order was set aside */
byte refunds[N];

/* a ban of buyer 1 */
bit banned;		/* user:banned is saved, in auth */
bit standing;		/* in orders' database */
bit ban_heard;

/* --- events -------------------------------------------------------------- */

/* The last version heard of each line: store_line(), store_heard(). */
byte orders_stuff = 1, orders_payment[N], stuff_order[N], payments_order[N];

/* What version v says: publishes() of fcgi/orders/model.c. */
#define order_says(o, v) \
	(v == 1 -> CREATED : (v == order_version[o] -> status[o] : COMPLETE))

/* publishes() of fcgi/payments/model.c */
#define SAYS_PAID 1
#define SAYS_FAILED 2
#define SAYS_REFUNDED 3
#define payment_says(o, v) \
	(v == 2 -> (pay[o] == FAILED -> SAYS_FAILED : SAYS_REFUNDED) : \
	(pay_version[o] == 1 && pay[o] == FAILED -> SAYS_FAILED : SAYS_PAID))

/* lib/outbox.c.  Without it an event is published after its change is saved. */
#ifdef GUARD_OUTBOX
byte order_sent[N];
#define order_out(o) order_sent[o]
#define PUBLISH(o) if :: order_sent[o]++ :: skip fi
#else
#define order_out(o) order_version[o]
#define PUBLISH(o) skip
#endif

/* lib/listen.c: apply_all().  Without the line, what was heard before counts
 * once more when it comes again. */
#ifdef GUARD_LINE
#define IS_OUT(heard, out) (out > 0)
#define PICK(v, heard, out) \
	if :: heard < out -> v = heard + 1 :: heard > 0 -> v = 1 fi
#define HEARD(heard, v) false
#else
#define IS_OUT(heard, out) (heard < out)
#define PICK(v, heard, out) v = heard + 1
#define HEARD(heard, v) (heard >= v)
#endif

/* lib/store.c: save() compares, unless the guard is off. */
#ifdef GUARD_CAS
#define UNCHANGED(seen) true
#else
#define UNCHANGED(seen) (seen & me)
#endif
#define READ(seen) seen = seen | me
#define UNREAD(seen) seen = seen & (255 - me)

/* lib/store-events.c: store_heard(), which is $max. */
#define NOTE(heard, v) if :: heard < v -> heard = v :: else fi

/* A process ends here, or goes on: it must be able to start anew from what is
 * saved.  Each has only these variables, back at 0 when it is idle. */
#define FINISH o = 0; v = 0; x = 0; goto idle
#define CRASH :: atomic { FORGET; FINISH }

/* --- what must hold ------------------------------------------------------ */

/* fcgi/payments/model.c: next_step() */
#define NOTHING 0
#define DO_CREATE 1
#define DO_CONFIRM 2
#define DO_CAPTURE 3
#define DO_VOID 4
#define DO_FAIL 5
#define DO_REFUND 6
#ifdef GUARD_WAIT_FOR_ORDER
#define may_capture(o) true
#else
#define may_capture(o) (order_copy[o] == COMPLETE)
#endif
#define next_step(o) \
	(pay[o] == REFUNDING -> DO_REFUND : \
	(pay[o] != AUTHORIZING && pay[o] != AUTHORIZED -> NOTHING : \
	(pay[o] == AUTHORIZING && !free_of_charge(o) && !intent[o] && \
	!reason[o] -> DO_CREATE : \
	(order_copy[o] == CANCELLED -> DO_VOID : \
	(reason[o] -> DO_FAIL : \
	(pay[o] == AUTHORIZING -> DO_CONFIRM : \
	(may_capture(o) -> DO_CAPTURE : NOTHING)))))))
#define has_step(o) (next_step(o) != NOTHING)

/* A note in a coupon that no payment of the order will take away. */
#define forlorn(o) (pending[o] && \
	(pay[o] == NONE -> order_copy[o] == CANCELLED : !with_coupon[o]))

/* What only the gateway knows: payment_reconcile(). */
#ifdef GUARD_RECONCILE
#define unknown(o) false
#else
#define unknown(o) (pay[o] == CAPTURED && gate[o] == GIVEN_BACK)
#endif

#if SETTLERS
#define payments_done(o) (payments_order[o] == order_version[o] && \
	orders_payment[o] == pay_version[o] && !has_step(o) && \
	!forlorn(o) && !unknown(o))
#else
#define payments_done(o) true
#endif
#if HEAR_STUFF
#define stuff_done(o) (stuff_order[o] == order_version[o])
#else
#define stuff_done(o) true
#endif
#define done(o) (stuff_done(o) && payments_done(o) && \
	!(live(o) && lapsed[o]))
#define ALL_DONE (orders_stuff == stuff_version && ban_heard == banned && \
	ALL(done))

/* Rule 1, one holder. */
#define one(o) (holds(o) -> 1 : 0)
#define CHECK_HOLDERS assert(SUM(one) <= 1)

/* Rule 3, money follows the order: in every state ... */
#define CHECK_CHARGES(o) \
	assert(charges[o] <= 1 && refunds[o] <= 1 && \
	(gate[o] != TAKEN || status[o] == COMPLETE || pay[o] == AUTHORIZED || \
	pay[o] == REFUNDING))

/* ... and in each that is settled. */
#define money_right(o) \
	((status[o] == COMPLETE -> pay[o] == CAPTURED && \
	gate[o] == (free_of_charge(o) -> NO_INTENT : TAKEN) : \
	(status[o] == REFUNDED -> pay[o] == PAID_BACK && \
	gate[o] == (free_of_charge(o) -> NO_INTENT : GIVEN_BACK) : \
	(gate[o] != TAKEN && pay[o] != CAPTURED && \
	(live(o) || (gate[o] != HELD && pay[o] != AUTHORIZED))))))

/* Rule 4, what was saved was heard, once and in order: copies are the same. */
#define stuff_right(o) \
	((status[o] == COMPLETE -> stuff == SOLD && held_by == o : \
	(status[o] == AWAITING -> stuff == RESERVED && held_by == o : \
	(live(o) -> (held_by == o || stuff == REMOVED) : \
	held_by != o && other != o))))
#define order_copy_right(o) (order_copy[o] == \
	(status[o] == AWAITING -> CREATED : status[o]))

/* A coupon's uses are those that were needed, or are on their way. */
#define use(o) (with_coupon[o] && pay[o] != NONE && pay[o] != FAILED && \
	pay[o] != VOIDED -> 1 : (pending[o] -> 1 : 0))

#define used(o) (with_coupon[o] && (pay[o] == CAPTURED || \
	pay[o] == REFUNDING || pay[o] == PAID_BACK) || pending[o] -> 1 : 0)

#if SETTLERS
#define PAYMENTS_RIGHT (ALL(money_right) && ALL(order_copy_right) && \
	redemptions == SUM(use))
#else
#define PAYMENTS_RIGHT true
#endif
#if HEAR_STUFF
#define STUFF_RIGHT (ALL(stuff_right) && other == 0 && \
	copy_gone == (stuff == REMOVED))
#else
#define STUFF_RIGHT true
#endif
#define AUDIT assert(!ALL_DONE || \
	(STUFF_RIGHT && PAYMENTS_RIGHT))

/* --- lib/store.c: save() ------------------------------------------------- */

inline save_order(o, to)
{
	status[o] = to;
	order_seen[o] = 0;
	if
	:: to == CANCELLED || to == REFUNDED -> slot[o] = 0
	:: else
	fi;
	if
	:: to != AWAITING -> order_version[o]++; PUBLISH(o)
	:: else
	fi;
	CHECK_HOLDERS;
	AUDIT
}

inline save_stuff(to, order)
{
	stuff = to;
	held_by = order;
	stuff_seen = 0;
	stuff_version++;
	told_of[stuff_version] = order;
	if
	:: to == REMOVED -> told_gone = stuff_version
	:: else
	fi;
	AUDIT
}

/* --- what users, time and the bank do ------------------------------------ */

#define going(o) (live(o) && !lapsed[o])
#define over(o) (live(o) && lapsed[o])
#define captured(o) (pay[o] == CAPTURED)
#define charged(o) ((captured(o) || pay[o] == REFUNDING) && gate[o] == TAKEN)
#define held(o) (gate[o] == HELD)

/* wish_refund(): a new key for the gateway, and a claim that was there ends. */
inline refund_anew(o)
{
	pay[o] = REFUNDING;
	pay_seen[o] = 0;
	try_seen[o] = 0;
	refused[o] = 0
}

proctype world()
{
	byte o;

	do
	:: atomic { ANY(o, going); lapsed[o] = 1; o = 0 }
#ifndef GUARD_SWEEPER
	/* order_expire(), by the sweep or by expiration:complete */
	:: atomic { ANY(o, over); save_order(o, CANCELLED); o = 0 }
#endif
#ifdef CANCEL
	/* order_cancel() */
	:: atomic { ANY(o, live); save_order(o, CANCELLED); o = 0 }
#endif
#ifdef REMOVAL
	/* stuff_remove(), which check_free() allows */
	:: atomic { stuff == AVAILABLE -> save_stuff(REMOVED, 0) }
#endif
#ifdef BAN
	:: atomic { banned == 0 -> banned = 1 }
#endif
#ifdef REFUND
	/* wish_refund() */
	:: atomic {
		ANY(o, captured);
		if
		:: frees[o] = 1
		:: frees[o] = 0
		fi;
		wish[o] = 1 + frees[o];
		refund_anew(o);
		o = 0
	}
	/* The refund is made in the gateway's dashboard. */
	:: atomic {
		ANY(o, charged);
		gate[o] = GIVEN_BACK;
		dashboard[o] = 1;
		refunds[o]++;
		CHECK_CHARGES(o);
		o = 0
	}
#ifndef GUARD_RECONCILE
	/* webhook.c: at the gateway's word, or once a minute;
	 * payment_reconcile() */
	:: atomic {
		ANY(o, unknown);
#ifndef GUARD_WISH
		frees[o] = (wish[o] == 0 -> 0 : frees[o]);
#else
		frees[o] = 0;
#endif
		refund_anew(o);
		o = 0
	}
#endif
#endif
#ifdef DISHONOUR
	/* The bank lets go of what it has set aside. */
	:: atomic { ANY(o, held); gate[o] = LET_GO; o = 0 }
#endif
	/* Nobody else can do anything more. */
	:: timeout ->
		d_step {
			assert(ALL_DONE);
#define not_live(o) (!live(o))
			assert(ALL(not_live));
			AUDIT
		}
		break
	od
}

/* --- orders -------------------------------------------------------------- */

#ifdef GUARD_SLOT
#define SLOT_TAKEN false
#else
#define in_slot(o) (slot[o] -> 1 : 0)
#define SLOT_TAKEN (SUM(in_slot) > 0)
#endif

#define FORGET skip

/* order_buy() */
proctype buyer(byte me)
{
	byte o, v, x;
idle:
	/* A BUY that finds the listing held has no effect; nor has one for what
	 * the copy says is gone, or by one who is known to be banned. */
	atomic {
		orders < ORDERS && !copy_gone && !SLOT_TAKEN &&
		    !(me == 1 && standing) ->
		skip
	}
	/* store_add(): the unique index says who is first.  meet_holder() ends
	 * what has lapsed and tries again: world() does the first half. */
	if
	:: atomic {
		if
		:: SLOT_TAKEN || orders == ORDERS -> FINISH
		:: else
		fi;
		orders++;
		o = orders;
		slot[o] = 1;
		buyer_of[o] = me;
		save_order(o, CREATED);
#if !HEAR_STUFF
		status[o] = AWAITING
#endif
	}
	CRASH
	fi;
#if (defined(REMOVAL) || defined(BAN)) && !defined(GUARD_LOOK_AGAIN)
	/* end_of_barred(), of which the last read counts: standing is only
	 * ever set. */
	if
	:: atomic {
		if
		:: me == 1 && standing && live(o) -> save_order(o, CANCELLED);
			FINISH
		:: else
		fi
	}
	CRASH
	fi;
	/* order_drop() */
	if
	:: atomic {
		if
		:: copy_gone && live(o) -> save_order(o, CANCELLED)
		:: else
		fi
	}
	CRASH
	fi;
#endif
	/* What was heard by now has ended the order, or will. */
	atomic {
		assert(!(live(o) && copy_gone &&
		    orders_stuff == stuff_version));
		assert(!(live(o) && me == 1 && ban_heard));
		FINISH
	}
}

#define payment_out(o) IS_OUT(orders_payment[o], pay_version[o])
/* order_pay() says STORE_EARLY of an order that stuff has not confirmed: the
 * event is parked.  Not of one that has lapsed. */
#ifdef GUARD_CONFIRMED
#define early(o) false
#else
#define early(o) (status[o] == CREATED && !lapsed[o] && \
	payment_says(o, (orders_payment[o] + 1)) == SAYS_PAID)
#endif
#define payment_next(o) (payment_out(o) && !early(o))

#undef FORGET
#define FORGET UNREAD(copy_seen); UNREAD(order_seen[o])

/* fcgi/orders/events.c */
proctype orders_hears(byte me)
{
	byte o, v, x;
idle:
	if
	:: atomic { IS_OUT(orders_stuff, stuff_version) ->
		PICK(v, orders_stuff, stuff_version);
		goto of_stuff }
#if PAYERS
	:: atomic { ANY(o, payment_next);
		PICK(v, orders_payment[o], pay_version[o]);
		goto of_payment }
#endif
#ifdef BAN
	:: atomic { banned && !ban_heard -> goto of_user }
#endif
	fi;

of_stuff:
	/* stuff_copy_put().  The record, then the line ... */
	if
	:: atomic {
		READ(copy_seen);
		o = told_of[v];
		if
		:: HEARD(orders_stuff, v) -> FORGET; FINISH
		:: else
		fi
	}
	CRASH
	fi;
	/* ... then it is saved, if it is still the same. */
	if
	:: atomic {
		if
		:: !UNCHANGED(copy_seen) -> goto of_stuff
		:: else
		fi;
		copy_gone = (told_gone == v -> 1 : copy_gone);
		copy_seen = 0
	}
	CRASH
	fi;
	/* order_confirm(), of the order that stuff:updated tells of;
	 * order_drop(), of the holder() of what is removed */
	if
	:: atomic {
		if
		:: HEARD(orders_stuff, v) -> FINISH
		:: !HEARD(orders_stuff, v) && told_gone == v ->
			if
			:: slot[1] && live(1) -> save_order(1, CANCELLED)
#if ORDERS > 1
			:: slot[2] && live(2) -> save_order(2, CANCELLED)
#endif
#if ORDERS > 2
			:: slot[3] && live(3) -> save_order(3, CANCELLED)
#endif
			:: else
			fi
		:: !HEARD(orders_stuff, v) && told_gone != v && o != 0 &&
		    status[o] == CREATED ->
			save_order(o, AWAITING)
		:: else
		fi
	}
	CRASH
	fi;
	atomic {
		NOTE(orders_stuff, v);
#ifndef GUARD_LINE
		told_of[v] = 0;
#endif
		AUDIT;
		FINISH
	}

#if PAYERS
of_payment:
	/* order_pay(), order_fail(), order_refund() */
	if
	:: atomic {
		READ(order_seen[o]);
		x = status[o];
#ifdef GUARD_ACK
		NOTE(orders_payment[o], v);
#else
		if
		:: HEARD(orders_payment[o], v) -> FORGET; FINISH
		:: else
		fi
#endif
	}
	CRASH
	fi;
	if
	:: atomic {
		if
		:: !UNCHANGED(order_seen[o]) -> goto of_payment
		:: else
		fi;
		if
		:: payment_says(o, v) == SAYS_PAID && x == AWAITING &&
		    !lapsed[o] ->
			save_order(o, COMPLETE)
		:: payment_says(o, v) == SAYS_PAID && x == CREATED &&
		    !lapsed[o] ->
#ifdef GUARD_CONFIRMED
			save_order(o, COMPLETE)
#else
			FORGET;
			FINISH	/* STORE_EARLY */
#endif
#ifdef GUARD_ARBITER
		:: payment_says(o, v) == SAYS_PAID && (x == CANCELLED ||
		    ((x == CREATED || x == AWAITING) && lapsed[o])) ->
			slot[o] = 1;
			save_order(o, COMPLETE)
#else
		:: payment_says(o, v) == SAYS_PAID &&
		    (x == CREATED || x == AWAITING) && lapsed[o] ->
			save_order(o, CANCELLED)
#endif
		:: payment_says(o, v) == SAYS_FAILED &&
		    (x == CREATED || x == AWAITING || x == COMPLETE) ->
			save_order(o, CANCELLED)
		:: payment_says(o, v) == SAYS_REFUNDED && x == COMPLETE ->
			save_order(o, REFUNDED)
		:: else
		fi
	}
	CRASH
	fi;
	atomic { NOTE(orders_payment[o], v); AUDIT; FORGET; FINISH }
#endif

#ifdef BAN
of_user:
	/* standing.c: put() */
	if
	:: atomic { standing = 1 }
	CRASH
	fi;
	/* orders_end_of() */
	if
	:: atomic {
		if
		:: live(1) && buyer_of[1] == 1 -> save_order(1, CANCELLED)
#if ORDERS > 1
		:: live(2) && buyer_of[2] == 1 -> save_order(2, CANCELLED)
#endif
#if ORDERS > 2
		:: live(3) && buyer_of[3] == 1 -> save_order(3, CANCELLED)
#endif
		:: else
		fi
	}
	CRASH
	fi;
	atomic { ban_heard = 1; AUDIT; FINISH }
#endif
}

/* --- stuff --------------------------------------------------------------- */

#define order_next(o) (IS_OUT(stuff_order[o], order_out(o)) && !(other != 0 && \
	other != o && held_by != o && stuff != REMOVED && stuff_order[o] == 0))

#undef FORGET
#define FORGET UNREAD(stuff_seen)

/* fcgi/stuff/events.c */
proctype stuff_hears(byte me)
{
	byte o, v, x;
idle:
	atomic { ANY(o, order_next); PICK(v, stuff_order[o], order_out(o)) }
again:
	if
	:: atomic {
		READ(stuff_seen);
		if
		:: HEARD(stuff_order[o], v) -> FORGET; FINISH
		:: else
		fi
	}
	CRASH
	fi;
	if
	:: atomic {
		if
		:: !UNCHANGED(stuff_seen) -> goto again
		:: else
		fi;
		x = order_says(o, v);
		if
		/* stuff_reserve() */
		:: x == CREATED && stuff != REMOVED && held_by != o &&
		    other != o ->
			if
			:: other != 0 -> FORGET; FINISH /* STORE_EARLY */
			:: other == 0 && held_by != 0 ->
				other = o;
				save_stuff(stuff, held_by)
			:: other == 0 && held_by == 0 ->
				save_stuff(RESERVED, o)
			fi
		/* stuff_release(), pass_on() */
		:: x == CANCELLED && held_by == o ->
			x = other;
			other = 0;
			save_stuff((x != 0 -> RESERVED : AVAILABLE), x)
		:: x == CANCELLED && held_by != o && other == o ->
			other = 0;
			save_stuff(stuff, held_by)
		/* stuff_sell() */
		:: x == COMPLETE && (held_by == o || other == o) &&
		    !(held_by == o && stuff == SOLD) ->
			other = (other == o -> 0 : other);
			save_stuff(SOLD, o)
		/* stuff_take_back() */
		:: x == REFUNDED && held_by == o ->
			x = other;
			other = 0;
			if
			:: !frees[o] -> save_stuff(REMOVED, 0)
			:: else ->
				save_stuff((x != 0 -> RESERVED : AVAILABLE), x)
			fi
		:: else
		fi
	}
	CRASH
	fi;
	atomic { NOTE(stuff_order[o], v); AUDIT; FORGET; FINISH }
}

/* --- payments ------------------------------------------------------------ */

#if SETTLERS
#define copy_next(o) IS_OUT(payments_order[o], order_out(o))

#undef FORGET
#define FORGET UNREAD(order_copy_seen[o])

/* fcgi/payments/events.c: order_copy_put() */
proctype payments_hears(byte me)
{
	byte o, v, x;
idle:
	atomic { ANY(o, copy_next); PICK(v, payments_order[o], order_out(o)) }
again:
	if
	:: atomic {
		READ(order_copy_seen[o]);
		if
		:: HEARD(payments_order[o], v) -> FORGET; FINISH
		:: else
		fi
	}
	CRASH
	fi;
	if
	:: atomic {
		if
		:: !UNCHANGED(order_copy_seen[o]) -> goto again
		:: else
		fi;
		order_copy[o] = order_says(o, v);
		order_copy_seen[o] = 0
	}
	CRASH
	fi;
	atomic { NOTE(payments_order[o], v); AUDIT; FORGET; FINISH }
}

/* fcgi/payments/coupons.c: end() */
inline coupon_end(o, back)
{
	if
	:: pending[o] ->
		pending[o] = 0;
		redemptions = redemptions - back;
		coupon_seen = 0
	:: else
	fi
}

#define payable(o) (order_copy[o] == CREATED && !lapsed[o] && pay[o] == NONE)

#ifdef GUARD_COUPON_USES
#define uses_left true
#else
#define uses_left (v < USES)
#endif
#undef FORGET
#define FORGET UNREAD(coupon_seen)

/* fcgi/payments/routes.c: start(); model.c: payment_start().  x is 1 with a
 * coupon. */
proctype payer(byte me)
{
	byte o, v, x;
idle:
	/* check_order() */
#ifdef COUPON
	atomic {
		ANY(o, payable);
		if
		:: x = 0
		:: x = 1
		fi
	}
	if
	:: x == 0 -> goto insert
	:: x == 1
	fi;
	/* coupons.c: take() reads the coupon, */
	if
	:: atomic { READ(coupon_seen); v = redemptions }
	CRASH
	fi;
	/* then the order, */
	if
	:: atomic {
		if
		:: order_copy[o] == CANCELLED -> FORGET; FINISH
		:: else
		fi
	}
	CRASH
	fi;
	/* then the payment, */
	if
	:: atomic {
		if
		:: pay[o] != NONE -> goto give_up
		:: else
		fi
	}
	CRASH
	fi;
	/* and saves the coupon that it has read. */
	if
	:: atomic {
		if
		:: !UNCHANGED(coupon_seen) -> FINISH
		:: UNCHANGED(coupon_seen) && pending[o]
		:: UNCHANGED(coupon_seen) && !pending[o] && !uses_left ->
			FORGET;
			FINISH
		:: UNCHANGED(coupon_seen) && !pending[o] && uses_left ->
			redemptions = v + 1;
			coupon_seen = 0;
			pending[o] = 1
		fi;
		assert(redemptions <= USES && SUM(used) <= USES);
		FORGET;
		v = 0
	}
	CRASH
	fi;
#else
	atomic { ANY(o, payable) }
#endif
insert:
	/* store_add(): its id is the order's. */
	if
	:: atomic {
		if
		:: pay[o] == NONE ->
			pay[o] = AUTHORIZING;
			with_coupon[o] = x;
			FINISH
		:: else
		fi
	}
	CRASH
	fi;
#ifdef COUPON
give_up:
	/* The order has a payment already; does that use the coupon? */
	if
	:: atomic {
		if
		:: x == 1 && !with_coupon[o] && pending[o] ->
			coupon_end(o, 1)
		:: else
		fi;
		FORGET;
		FINISH
	}
	CRASH
	fi
#else
	atomic { FINISH }
#endif
}

#define unused(o) (pending[o] && (pay[o] == NONE || !with_coupon[o]))
#undef FORGET
#define FORGET skip

/* coupons.c: sweep_use() */
proctype coupons_sweep()
{
	byte o, v, x;
idle:
	/* First the payment, */
	atomic { ANY(o, unused); x = (pay[o] == NONE -> 1 : 0) }
	/* then, where there was none, the order; */
	if
	:: atomic {
		if
		:: x == 1 && order_copy[o] != CANCELLED -> FINISH
		:: else
		fi
	}
	CRASH
	fi;
	atomic { coupon_end(o, 1); AUDIT; FINISH }
}

/* The gateway: what each call makes of the intent, and says.  v is the answer,
 * one of the gateway's states or */
#define DECLINED 6

/* claim(): nobody else has it any more.  make() and lend() look for that. */
#ifdef GUARD_LEASE
#define MINE true
#else
#define MINE (pay_seen[o] & me)
#endif

#undef FORGET
#define FORGET UNREAD(pay_seen[o]); UNREAD(try_seen[o])

/* payment_settle(), go_on(): whoever comes does the next step.  x is which. */
proctype settler(byte me)
{
	byte o, v, x;
idle:
	atomic {
		ANY(o, has_step);
		x = next_step(o);
		pay_seen[o] = me;
		try_seen[o] = try_seen[o] | me
	}
	/* The call. */
	if
	:: atomic {
		if
		/* gateway_create(), under the order's key */
		:: x == DO_CREATE ->
#ifdef GUARD_GATEWAY_KEY
			gate[o] = HELD;
			charges[o]++;
			v = OPEN
#else
			if
			:: gate[o] == NO_INTENT -> gate[o] = OPEN; v = OPEN
			:: gate[o] == NO_INTENT -> v = DECLINED
			:: gate[o] != NO_INTENT -> v = OPEN
			fi
#endif
		/* gateway_confirm() */
		:: x == DO_CONFIRM ->
			if
			:: free_of_charge(o) -> v = HELD
			:: !free_of_charge(o) && gate[o] == OPEN ->
				gate[o] = HELD;
				charges[o]++;
				v = HELD
			:: !free_of_charge(o) && gate[o] == OPEN -> v = DECLINED
			:: !free_of_charge(o) && gate[o] != OPEN -> v = gate[o]
			fi
		/* gateway_capture() */
		:: x == DO_CAPTURE ->
			if
			:: free_of_charge(o) -> v = TAKEN
			:: !free_of_charge(o) && gate[o] == HELD ->
				gate[o] = TAKEN;
				v = TAKEN
#ifdef DISHONOUR
			:: !free_of_charge(o) && gate[o] == HELD -> v = DECLINED
#endif
			:: !free_of_charge(o) && gate[o] != HELD -> v = gate[o]
			fi
		/* gateway_cancel(), and gateway_refund() of what was taken */
		:: x == DO_VOID || x == DO_FAIL ->
			if
			:: intent[o] && (gate[o] == OPEN || gate[o] == HELD) ->
				gate[o] = LET_GO
			:: intent[o] && gate[o] == TAKEN ->
				gate[o] = GIVEN_BACK;
				refunds[o]++
			:: else
			fi;
			v = LET_GO
		/* gateway_refund(), which looks first */
		:: x == DO_REFUND ->
			if
			:: free_of_charge(o) -> v = GIVEN_BACK
#ifdef GUARD_REFUND_LOOK
			:: !free_of_charge(o) ->
#else
			:: !free_of_charge(o) && gate[o] == GIVEN_BACK ->
				v = GIVEN_BACK
			:: !free_of_charge(o) && gate[o] == TAKEN ->
				refused[o] = (try_seen[o] & me -> 1 :
				    refused[o]);
				v = DECLINED
			:: !free_of_charge(o) && gate[o] == TAKEN &&
			    (try_seen[o] & me) && !refused[o] ->
#endif
				gate[o] = GIVEN_BACK;
				refunds[o]++;
				v = GIVEN_BACK
			fi
		fi;
		CHECK_CHARGES(o)
	}
	CRASH
	fi;
	/* coupon_spend() or coupon_return(), before the status says so */
	if
	:: atomic {
		if
		:: x == DO_CAPTURE && v == TAKEN && with_coupon[o] ->
			coupon_end(o, 0)
		:: (x == DO_VOID || x == DO_FAIL) && with_coupon[o] ->
			coupon_end(o, 1)
		:: else
		fi
	}
	CRASH
	fi;
	/* make(): from one status to the next and no other. */
	atomic {
		if
		:: !MINE
		:: MINE && x == DO_CREATE && pay[o] == AUTHORIZING && v == OPEN ->
			intent[o] = 1
		:: MINE && x == DO_CREATE && pay[o] == AUTHORIZING && v == DECLINED ->
			reason[o] = 1
		:: MINE && x == DO_CONFIRM && pay[o] == AUTHORIZING &&
		    (v == HELD || v == TAKEN) ->
			pay[o] = AUTHORIZED;
			pay_version[o]++
		:: MINE && x == DO_CONFIRM && pay[o] == AUTHORIZING &&
		    (v == DECLINED || v == LET_GO) ->
			reason[o] = 1
		:: MINE && x == DO_CAPTURE && pay[o] == AUTHORIZED && v == TAKEN ->
			pay[o] = CAPTURED
		:: MINE && x == DO_CAPTURE && pay[o] == AUTHORIZED &&
		    (v == DECLINED || v == LET_GO) ->
			reason[o] = 1
		:: MINE && x == DO_VOID && (pay[o] == AUTHORIZING ||
		    pay[o] == AUTHORIZED) ->
			pay[o] = VOIDED
		:: MINE && x == DO_FAIL && (pay[o] == AUTHORIZING ||
		    pay[o] == AUTHORIZED) ->
			pay[o] = FAILED;
			pay_version[o]++
		:: MINE && x == DO_REFUND && pay[o] == REFUNDING && v == GIVEN_BACK ->
			pay[o] = PAID_BACK;
			pay_version[o]++;
			/* The listing is what was asked for. */
			assert(wish[o] == 0 || wish[o] == 1 + frees[o])
		:: MINE && x == DO_REFUND && pay[o] == REFUNDING && v == DECLINED ->
			pay[o] = CAPTURED;
			/* Nothing is said to be refused that was made here. */
			assert(gate[o] == TAKEN || dashboard[o])
		:: else
		fi;
		CHECK_CHARGES(o);
		AUDIT;
		FORGET;
		FINISH
	}
}
#endif

init {
	byte i;

	atomic {
#ifdef COUPON
		covers_all = (COUPON == 100);
		run coupons_sweep();
#endif
		run world();
		for (i : 1 .. BUYERS) {
			run buyer(i)
		}
#if HEAR_STUFF
		for (i : 1 .. HEAR_STUFF) {
			run stuff_hears(1 << i)
		}
#endif
		for (i : 1 .. HEAR_ORDERS) {
			run orders_hears(1 << i)
		}
#if SETTLERS
		for (i : 1 .. HEAR_PAYMENTS) {
			run payments_hears(1 << i)
		}
		for (i : 1 .. PAYERS) {
			run payer(1 << i)
		}
		for (i : 1 .. SETTLERS) {
			run settler(1 << i)
		}
#endif
	}
}
