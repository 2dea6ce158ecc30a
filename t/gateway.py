"""A stand-in for Stripe's PaymentIntents API, for race and fault tests.

    python3 t/gateway.py PORT [BOOKS.json [ADDRESS]]

listens on ADDRESS, 127.0.0.1 (PORT 0 takes a free one) and prints the address once it
is ready.  BOOKS.json keeps the books over a restart, replaced before each
answer to a POST; faults and switches are not kept.  SIGTERM ends it.

The API takes forms and answers JSON, for any `Authorization: Bearer sk_...`;
statuses, errors, test cards and `Idempotency-Key` are those of Stripe's v1.
ROUTES lists the calls, CARDS the cards; any other number pays.  There are no
webhooks and no customers.  `_authenticate` is the buyer passing 3-D Secure,
`_dispute` and `_fail` are a bank that contests a payment or refuses a refund.

GET /_books is what happened, for a checker; DELETE /_books wipes it:
    {"intents": [{all that the API shows, "payment_method" as first named,
       "authorised", "captured", "refunded",
       "history": [{"time", "request", "event", "status", "amount"}]}],
     "requests": [{"n", "time", "method", "path", "idempotency_key", "status",
                   "replayed", "order_id", "fault"}]}
The status of a request is null until it is answered, and if it never was.

POST /_control changes what it names; GET shows it, and how often each fault
was `seen` and has `fired`:
    {"reset": true,            no faults, switches as at the start
     "faults": [FAULT, ...],   in place of those before
     "seed": 7,                for the faults that have a probability
     "idempotency": false,     ignore the keys, as localstripe does
     "search_lag_ms": 60000}   how old an intent is when search finds it
The first FAULT that matches a call and fires is the only one.  It has:
    action        as below
    match         {"method", "path", "key", "order_id"}: regular expressions,
                  each found anywhere in it; {} is all calls
    skip, count   leave the first calls alone; fire so often (no limit)
    probability   of firing (1)
    ms            wait so long first (0; hang 60000)
    when          "before" the call has its effect, or "after" (which stores
                  the true answer under the key, whatever the caller gets)
    delay         just wait, after: a slow network.  Before: a slow bank, and
                  the same key answers 409 meanwhile
    drop          close without an answer, before; drop_after: after, so it is
                  charged and nobody was told
    hang, reset   drop after a long silence; drop by TCP reset (before)
    partial       send half of the body promised, then close (after)
    rubbish       answer `status` (200) and `body` (HTML), after
    status        answer `status` (500) and `body` (an error like Stripe's),
                  before.  It is what the key replays, but for 401, 409, 429,
                  502-504 (which never reached the API) and "store": false
libcurl itself sends a call again, once, when a connection that it had used
before closes without an answer: so "count": 1 may show it nothing of a drop.
"""
import hashlib
import json
import os
import random
import re
import secrets
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]

UNSTORED = {401, 409, 429, 502, 503, 504}
MAX_BODY, MAX_KEY, MIN_AMOUNT, MAX_AMOUNT = 1 << 20, 255, 50, 99999999

CARDS = {       # number: (test name, what becomes of a payment)
    "4242424242424242": ("pm_card_visa", "ok"),
    "4000000000000002": ("pm_card_visa_chargeDeclined", "generic_decline"),
    "4000000000000341": ("pm_card_chargeCustomerFail", "generic_decline"),
    "4000000000009995": ("pm_card_visa_chargeDeclinedInsufficientFunds",
                         "insufficient_funds"),
    "4000000000003220": ("pm_card_threeDSecure2Required", "authenticate"),
    "4000000000000994": ("pm_card_captureDeclined", "capture"),     # ours
}
TEST_METHODS = {name: number for number, (name, _) in CARDS.items()}
DECLINES = {"generic_decline": "Your card was declined.",
            "insufficient_funds": "Your card has insufficient funds."}
ERRORS = {      # what a status says when nothing else is known
    402: {"type": "card_error", "code": "card_declined",
          "decline_code": "generic_decline",
          "message": DECLINES["generic_decline"]},
    409: {"type": "idempotency_error", "code": "idempotency_key_in_use",
          "message": "There is currently another in-progress request using "
          "this Idempotent Key."},
    429: {"type": "invalid_request_error", "code": "rate_limit",
          "message": "Too many requests."},
    500: {"type": "api_error", "message": "An unknown error occurred."},
}


@dataclass
class Reply:
    status: int
    body: bytes
    stored: bool = True         # may be kept under an idempotency key
    replayed: bool = False
    cut: str = ""               # or "close", "reset", "partial"


class Refusal(Exception):
    """An error for the caller.  One that names a parameter is not stored:
    the API had not begun to execute the call."""

    def __init__(self, status: int, message: str, code: str | None = None,
                 type: str = "invalid_request_error", **more: Any) -> None:
        error = {"type": type, "code": code, "message": message, **more}
        self.reply = json_reply({"error": {
            k: v for k, v in error.items() if v is not None}}, status)
        self.reply.stored = "param" not in more


@dataclass
class Call:
    method: str
    path: str
    key: str
    params: Json = field(default_factory=dict)
    digest: str = ""                    # what a key must agree on
    refusal: Refusal | None = None      # it makes no sense
    order_id: str = ""


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode())


def integer(params: Json, name: str, least: int, most: int,
            default: int | None = None) -> int:
    value = str(params.get(name, default))
    if not re.fullmatch("[0-9]{1,12}", value):
        raise Refusal(400, f"Invalid or missing integer: {name}",
                      "parameter_invalid_integer", param=name)
    if not least <= int(value) <= most:
        size = "small" if int(value) < least else "large"
        raise Refusal(400, f"{name} is from {least} to {most}, not {value}",
                      f"amount_too_{size}", param=name)
    return int(value)


def choice(params: Json, name: str, *values: str) -> str:
    """One of @values, and the first when the caller says nothing."""
    value = str(params.get(name, values[0]))
    if value not in values:
        raise Refusal(400, f"{name} is one of {values}", param=name)
    return value


def unflatten(pairs: list[tuple[str, str]]) -> Json:
    """a[b]=1&c=2 as {"a": {"b": "1"}, "c": "2"}."""
    tree: Json = {}
    for name, value in pairs:
        head, bracket, rest = name.partition("[")
        if not bracket:
            tree[head] = value
        elif isinstance(tree.setdefault(head, {}), dict):
            tree[head][rest.removesuffix("]")] = value
    return tree


def new(prefix: str) -> Json:
    return {"id": f"{prefix}_3{secrets.token_hex(12)}",
            "created": int(time.time()), "livemode": False}


def public(thing: Json) -> Json:
    """What the API shows: our own notes have names that start with "_"."""
    return {k: v for k, v in thing.items() if not k.startswith("_")}


@dataclass
class Fault:
    """One line of the script: which calls it meets, what becomes of them."""

    action: str
    match: dict[str, str] = field(default_factory=dict)
    skip: int = 0
    count: int = sys.maxsize
    probability: float = 1
    ms: float = 0
    when: str = ""
    status: int = 0
    body: Any = None
    store: bool = True
    seen: int = 0
    fired: int = 0

    ACTIONS = {     # when, if not said, and how the connection is cut
        "delay": ("after", ""), "drop": ("before", "close"),
        "drop_after": ("after", "close"), "hang": ("before", "close"),
        "reset": ("before", "reset"), "partial": ("after", "partial"),
        "rubbish": ("after", ""), "status": ("before", "")}

    def __post_init__(self) -> None:
        """Refuse what would quietly do nothing; a test relies on it."""
        self.when = self.when or self.ACTIONS[self.action][0]
        self.ms = float(self.ms or 60000 * (self.action == "hang"))
        self.status = self.status or (200 if self.action == "rubbish" else 500)
        if self.when not in ("before", "after") or not (
                self.match.keys() <= {"method", "path", "key", "order_id"}):
            raise ValueError(f"wrong in a fault: {self.when} {self.match}")
        for pattern in self.match.values():
            re.compile(pattern)

    def fires(self, call: Call, dice: random.Random) -> bool:
        if not all(re.search(pattern, getattr(call, name))
                   for name, pattern in self.match.items()):
            return False
        self.seen += 1
        fired = (self.seen > self.skip and self.fired < self.count
                 and dice.random() < self.probability)
        self.fired += fired
        return fired

    def spoil(self, reply: Reply) -> Reply:
        """What the caller gets instead of @reply."""
        if self.action not in ("rubbish", "status"):
            return replace(reply, cut=self.ACTIONS[self.action][1])
        body = self.body
        if body is None and self.action == "rubbish":
            body = "<html>Bad Gateway</html>"
        elif body is None:
            body = {"error": ERRORS.get(self.status, ERRORS[500])}
        text = body if isinstance(body, str) else json.dumps(body)
        return Reply(self.status, text.encode(),
                     self.action == "status" and self.store)


class Gateway:
    """The books and the script.  `lock` guards all but the file."""

    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self.saving = threading.Lock()      # taken before `lock`
        self.path = path
        self.version = self.saved = 0       # of the books; in the file
        self.request = 0                    # the one being executed
        self.running: set[str] = set()      # keys in use
        self.books: Json = {}
        self.wipe()
        self.reset()
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.books.update(json.load(file))

    def wipe(self) -> None:
        self.books = {"intents": {}, "charges": {}, "refunds": {},
                      "disputes": {}, "payment_methods": {}, "keys": {},
                      "requests": []}
        self.version += 1

    def reset(self) -> None:
        self.faults: list[Fault] = []
        self.traceparent = ""  # of the last call that changed something
        self.switches: Json = {"idempotency": True, "search_lag_ms": 0}
        self.dice = random.Random()

    def save(self) -> None:
        """Return once what was done before the call is in the file."""
        wanted = self.version
        with self.saving:
            if not self.path or self.saved >= wanted:   # by another thread
                return
            with self.lock:
                text, version = json.dumps(self.books), self.version
            with open(self.path + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(self.path + ".new", self.path)
            self.saved = version

    def control(self, orders: Json) -> None:
        wrong = orders.keys() - self.switches - {"reset", "faults", "seed"}
        if wrong:
            raise ValueError(f"unknown: {wrong}")
        faults = [Fault(**spec) for spec in orders.get("faults", [])]
        with self.lock:
            if orders.get("reset"):
                self.reset()
            if "faults" in orders:
                self.faults = faults
            if "seed" in orders:
                self.dice = random.Random(orders["seed"])
            self.switches.update(
                {k: orders[k] for k in self.switches if k in orders})

    def show_control(self) -> Reply:
        with self.lock:
            return json_reply({"faults": [vars(f) for f in self.faults],
                               "traceparent": self.traceparent,
                               **self.switches})

    def show_books(self) -> Reply:
        with self.lock:
            return json_reply({"requests": self.books["requests"], "intents": [
                {**public(intent), "payment_method": intent["_named"],
                 "authorised": intent["_authorised"],
                 "captured": intent["amount_received"],
                 "refunded": intent["_refunded"],
                 "history": intent["_history"]}
                for intent in self.books["intents"].values()]})

    # How a call is answered.

    def answer(self, call: Call, signed_in: bool) -> Reply:
        with self.lock:
            call.order_id = self.order_of(call)
            fault = next((f for f in self.faults if signed_in
                          and f.fires(call, self.dice)), None)
            entry: Json = {
                "n": len(self.books["requests"]) + 1, "time": time.time(),
                "method": call.method, "path": call.path,
                "idempotency_key": call.key or None, "status": None,
                "replayed": False, "order_id": call.order_id or None,
                "fault": fault.action if fault else None}
            self.books["requests"].append(entry)
            if call.method != "POST" or not self.switches["idempotency"]:
                call.key = ""
        if not signed_in:
            reply = Refusal(401, "Invalid API Key provided.").reply
        elif fault and fault.when == "before" and fault.action != "delay":
            time.sleep(fault.ms / 1000)
            reply = fault.spoil(Reply(200, b'{"object": "payment_intent"}'))
            with self.lock:
                if call.key not in self.running:
                    self.keep(call, reply)
        else:
            reply = self.serve(call, fault, entry["n"])
        with self.lock:
            self.version += call.method == "POST"
            entry["replayed"] = reply.replayed
            if reply.cut in ("", "partial"):
                entry["status"] = reply.status
        self.save()
        if fault and fault.when == "after":
            time.sleep(fault.ms / 1000)
        return reply

    def order_of(self, call: Call) -> str:
        """The order that a call is about, from it or from its intent."""
        facts = call.params.get("metadata")
        named = re.search(r"/(pi_\w+)", call.path)
        id = named[1] if named else call.params.get("payment_intent")
        if isinstance(id, str) and id in self.books["intents"]:
            facts = self.books["intents"][id]["metadata"]
        return facts.get("order_id", "") if isinstance(facts, dict) else ""

    def serve(self, call: Call, fault: Fault | None, n: int) -> Reply:
        """The stored reply if the key was used, or else a new one."""
        with self.lock:
            reply = self.claim(call) if call.key else None
        if reply:
            return fault.spoil(reply) if fault else reply
        try:
            if fault and fault.when == "before":
                time.sleep(fault.ms / 1000)
            with self.lock:
                self.request = n
                reply = self.run(call)
                spoilt = fault.spoil(reply) if fault else reply
                if not self.keep(call, spoilt):
                    self.keep(call, reply)
                return spoilt
        finally:
            with self.lock:
                self.running.discard(call.key)

    def claim(self, call: Call) -> Reply | None:
        """Take the key, or return what Stripe says to one that is taken."""
        kept = self.books["keys"].get(call.key)
        if kept and kept["digest"] != call.digest:
            return Refusal(
                400, "Keys for idempotent requests can only be used with the "
                "same endpoint and parameters they were first used with. Try "
                f"using a key other than '{call.key}' if you meant to execute "
                "a different request.", type="idempotency_error").reply
        if kept:
            return Reply(kept["status"], kept["body"].encode(), replayed=True)
        if call.key in self.running:
            return json_reply({"error": ERRORS[409]}, 409)
        self.running.add(call.key)
        return None

    def keep(self, call: Call, reply: Reply) -> bool:
        """Store the reply under the key, if Stripe would."""
        if (not call.key or not reply.stored or reply.cut
                or reply.status in UNSTORED):
            return False
        self.books["keys"].setdefault(call.key, {
            "digest": call.digest, "status": reply.status,
            "body": reply.body.decode()})
        return True

    def run(self, call: Call) -> Reply:
        try:
            if call.refusal:
                raise call.refusal
            for method, pattern, do, allowed in ROUTES:
                found = re.fullmatch(pattern, call.path)
                if found and method == call.method:
                    for name in call.params.keys() - set(allowed.split()):
                        raise Refusal(
                            400, f"Received unknown parameter: {name}",
                            "parameter_unknown", param=name)
                    return json_reply(do(self, call.params, *found.groups()))
            raise Refusal(404, "Unrecognized request URL "
                          f"({call.method}: {call.path}).")
        except Refusal as refusal:
            return refusal.reply

    # Payment methods.

    def create_method(self, params: Json) -> Json:
        choice(params, "type", "card")
        card = params.get("card")
        number = str(card.get("number")) if isinstance(card, dict) else ""
        if not re.fullmatch("[0-9]{12,19}", number):
            raise Refusal(402, "Your card number is incorrect.",
                          "incorrect_number", "card_error", param="number")
        return public(self.new_method(number))

    def new_method(self, number: str, name: str = "") -> Json:
        method = {**new("pm"), "object": "payment_method", "type": "card",
                  "card": {"brand": "visa", "last4": number[-4:]},
                  "_fate": CARDS.get(number, ("", "ok"))[1]}
        method["_named"] = name or method["id"]
        self.books["payment_methods"][method["id"]] = method
        return method

    def get_method(self, params: Json, id: str) -> Json:
        return public(self.method(id, 404))

    def method(self, name: str, status: int = 400) -> Json:
        if name in TEST_METHODS:        # as Stripe does: a new one each time
            return self.new_method(TEST_METHODS[name], name)
        return self.find("payment_method", name, status, "PaymentMethod")

    def find(self, kind: str, id: str, status: int, what: str) -> Json:
        found: Json | None = self.books[kind + "s"].get(id)
        if not found:
            raise Refusal(status, f"No such {what}: '{id}'",
                          "resource_missing", param=kind)
        return found

    # Payment intents.

    def intent(self, id: str, done: str = "", *states: str) -> Json:
        """The intent, which may be @done (a word) in these @states alone."""
        intent = self.find("intent", id, 404, "payment_intent")
        if states and intent["status"] not in states:
            raise Refusal(
                400, f"This PaymentIntent could not be {done} because it has "
                f"a status of {intent['status']}. Only a PaymentIntent with "
                f"one of the following statuses may be {done}: "
                f"{', '.join(states)}.", "payment_intent_unexpected_state",
                payment_intent=public(intent))
        return intent

    def note(self, intent: Json, event: str, amount: int = 0) -> None:
        intent["_history"].append({
            "time": time.time(), "request": self.request, "event": event,
            "status": intent["status"], "amount": amount})

    def create_intent(self, params: Json) -> Json:
        amount = integer(params, "amount", MIN_AMOUNT, MAX_AMOUNT)
        currency = str(params.get("currency")).lower()
        if not re.fullmatch("[a-z]{3}", currency):
            raise Refusal(400, f"Invalid currency: {currency}",
                          param="currency")
        facts = params.get("metadata") or {}
        if not isinstance(facts, dict):
            raise Refusal(400, "metadata is a hash", param="metadata")
        capture = choice(params, "capture_method", "automatic", "manual",
                         "automatic_async")
        confirm = choice(params, "confirm", "false", "true") == "true"
        name = params.get("payment_method")
        method = self.method(str(name)) if name else None
        intent = {
            **new("pi"), "object": "payment_intent", "amount": amount,
            "amount_capturable": 0, "amount_received": 0, "canceled_at": None,
            "cancellation_reason": None, "capture_method": capture,
            "client_secret": f"pi_secret_{secrets.token_hex(12)}",
            "currency": currency, "last_payment_error": None,
            "latest_charge": None, "metadata": facts, "next_action": None,
            "payment_method": method and method["id"],
            "status": ("requires_confirmation" if method
                       else "requires_payment_method"),
            "_named": method and method["_named"], "_authorised": 0,
            "_refunded": 0, "_time": time.time(), "_history": []}
        self.books["intents"][intent["id"]] = intent
        self.note(intent, "create", amount)
        return self.confirm(intent, method) if confirm else public(intent)

    def get_intent(self, params: Json, id: str) -> Json:
        return public(self.intent(id))

    def confirm_intent(self, params: Json, id: str) -> Json:
        intent = self.intent(id, "confirmed", "requires_confirmation",
                             "requires_action", "requires_payment_method")
        name = params.get("payment_method") or intent["payment_method"]
        return self.confirm(intent, self.method(str(name)) if name else None)

    def confirm(self, intent: Json, method: Json | None) -> Json:
        if not method:
            raise Refusal(
                400, "You cannot confirm this PaymentIntent because it's "
                "missing a payment method.", "payment_intent_unexpected_state",
                payment_intent=public(intent))
        intent.update(payment_method=method["id"], _named=method["_named"],
                      next_action=None, last_payment_error=None)
        if method["_fate"] != "authenticate":
            return self.pay(intent, method)
        intent.update(status="requires_action", next_action={
            "type": "use_stripe_sdk", "use_stripe_sdk": {}})
        self.note(intent, "challenge")
        return public(intent)

    def authenticate_intent(self, params: Json, id: str) -> Json:
        intent = self.intent(id, "authenticated", "requires_action")
        intent["next_action"] = None
        return self.pay(intent, self.method(intent["payment_method"]))

    def pay(self, intent: Json, method: Json) -> Json:
        """Ask the bank; with a manual capture the money is only held."""
        charge = {
            **new("ch"), "object": "charge", "amount": intent["amount"],
            "amount_captured": 0, "amount_refunded": 0, "captured": False,
            "currency": intent["currency"], "failure_code": None,
            "failure_message": None, "metadata": dict(intent["metadata"]),
            "paid": True, "payment_intent": intent["id"],
            "payment_method": method["id"], "refunded": False,
            "disputed": False, "status": "succeeded"}
        self.books["charges"][charge["id"]] = charge
        intent["latest_charge"] = charge["id"]
        if method["_fate"] in DECLINES:
            self.decline(intent, charge, method)
        intent.update(status="requires_capture", _authorised=intent["amount"],
                      amount_capturable=intent["amount"])
        self.note(intent, "authorise", intent["amount"])
        if intent["capture_method"] == "manual":
            return public(intent)
        return self.take(intent, intent["amount"])

    def capture_intent(self, params: Json, id: str) -> Json:
        intent = self.intent(id, "captured", "requires_capture")
        held = intent["amount_capturable"]
        return self.take(intent, integer(params, "amount_to_capture", 1, held,
                                         held))

    def take(self, intent: Json, amount: int) -> Json:
        charge = self.books["charges"][intent["latest_charge"]]
        method = self.books["payment_methods"][charge["payment_method"]]
        if method["_fate"] == "capture":
            self.decline(intent, charge, method)
        charge.update(captured=True, amount_captured=amount)
        intent.update(status="succeeded", amount_capturable=0,
                      amount_received=amount)
        self.note(intent, "capture", amount)
        return public(intent)

    def decline(self, intent: Json, charge: Json, method: Json) -> None:
        reason = method["_fate"]
        reason = reason if reason in DECLINES else "generic_decline"
        error = {"type": "card_error", "code": "card_declined",
                 "decline_code": reason, "message": DECLINES[reason],
                 "charge": charge["id"], "payment_method": public(method)}
        charge.update(status="failed", paid=False, failure_code=error["code"],
                      failure_message=error["message"])
        intent.update(status="requires_payment_method", payment_method=None,
                      amount_capturable=0, last_payment_error=error)
        self.note(intent, "decline")
        raise Refusal(402, payment_intent=public(intent), **error)

    def cancel_intent(self, params: Json, id: str) -> Json:
        intent = self.intent(id, "canceled", "requires_payment_method",
                             "requires_capture", "requires_confirmation",
                             "requires_action")
        intent.update(status="canceled", canceled_at=int(time.time()),
                      amount_capturable=0, next_action=None,
                      cancellation_reason=params.get("cancellation_reason"))
        self.note(intent, "cancel")
        return public(intent)

    # Refunds and lists.

    def create_refund(self, params: Json) -> Json:
        intent = self.intent(str(params.get("payment_intent")))
        if intent["status"] != "succeeded":
            raise Refusal(400, f"This PaymentIntent ({intent['id']}) does not "
                          "have a successful charge to refund.")
        charge = self.books["charges"][intent["latest_charge"]]
        left = charge["amount_captured"] - charge["amount_refunded"]
        if not left:
            raise Refusal(400, f"Charge {charge['id']} has already been "
                          "refunded.", "charge_already_refunded")
        amount = integer(params, "amount", 1, left, left)
        charge["amount_refunded"] += amount
        charge["refunded"] = amount == left
        intent["_refunded"] += amount
        self.note(intent, "refund", amount)
        refund = {
            **new("re"), "object": "refund", "amount": amount,
            "charge": charge["id"], "currency": intent["currency"],
            "metadata": params.get("metadata") or {}, "status": "succeeded",
            "payment_intent": intent["id"], "reason": params.get("reason")}
        self.books["refunds"][refund["id"]] = refund
        return refund

    def fail_refund(self, params: Json, id: str) -> Json:
        refund = self.find("refund", id, 404, "refund")
        intent = self.intent(refund["payment_intent"])
        charge = self.books["charges"][refund["charge"]]
        if refund["status"] != "failed":
            refund["status"] = "failed"
            charge["amount_refunded"] -= refund["amount"]
            charge["refunded"] = False
            intent["_refunded"] -= refund["amount"]
            self.note(intent, "refund failed", refund["amount"])
        return refund

    def dispute_intent(self, params: Json, id: str) -> Json:
        """Open a dispute, or say how it went."""
        intent = self.intent(id, "disputed", "succeeded")
        charge = self.books["charges"][intent["latest_charge"]]
        status = choice(params, "status", "needs_response", "won", "lost")
        for dispute in self.books["disputes"].values():
            if dispute["payment_intent"] == id:
                dispute["status"] = status
                return dispute
        dispute = {
            **new("dp"), "object": "dispute", "amount": intent["amount"],
            "charge": charge["id"], "currency": intent["currency"],
            "payment_intent": id, "status": status}
        charge["disputed"] = True
        self.books["disputes"][dispute["id"]] = dispute
        return dispute

    def page(self, params: Json, kind: str, things: list[Json]) -> Json:
        """The newest first."""
        limit = integer(params, "limit", 1, 100, 10)
        ids = [thing["id"] for thing in reversed(things)]
        after = params.get("starting_after")
        start = ids.index(after) + 1 if after in ids else 0
        shown = things[::-1][start:start + limit]
        return {"object": "list", "url": f"/v1/{kind}",
                "data": [public(thing) for thing in shown],
                "has_more": len(things) > start + limit}

    def list_intents(self, params: Json) -> Json:
        return self.page(params, "payment_intents",
                         [*self.books["intents"].values()])

    def list_of(self, params: Json, kind: str) -> Json:
        """Charges, refunds or disputes, of one intent or all."""
        wanted = params.get("payment_intent")
        return self.page(params, kind, [
            thing for thing in self.books[kind].values()
            if wanted in (None, thing["payment_intent"])])

    def search_intents(self, params: Json) -> Json:
        """By metadata['name']:'value', status:'...' or currency:'...'."""
        query, clause = str(params.get("query", "")), (
            r"""(?:metadata\[['"]([^'"]+)['"]\]|(status|currency)):"""
            r"""['"]([^'"]*)['"](?: AND |\s*$)""")
        wanted = re.findall(clause, query)
        if not wanted or re.sub(clause, "", query):
            raise Refusal(400, "We were unable to parse your search query.",
                          param="query")
        latest = time.time() - self.switches["search_lag_ms"] / 1000
        found = self.page(params, "payment_intents/search", [
            intent for intent in self.books["intents"].values()
            if intent["_time"] <= latest and all(
                (intent["metadata"].get(fact) if fact else intent[name])
                == value for fact, name, value in wanted)])
        return {**found, "object": "search_result", "next_page": None}


INTENTS = "/v1/payment_intents"
ROUTES = (      # method, path, what does it, and the parameters it knows
    ("POST", INTENTS, Gateway.create_intent,
     "amount currency capture_method payment_method payment_method_types "
     "automatic_payment_methods confirm off_session return_url metadata "
     "description receipt_email statement_descriptor_suffix"),
    ("GET", INTENTS, Gateway.list_intents, "limit starting_after"),
    ("GET", INTENTS + "/search", Gateway.search_intents, "query limit"),
    ("GET", INTENTS + r"/(\w+)", Gateway.get_intent, ""),
    ("POST", INTENTS + r"/(\w+)/confirm", Gateway.confirm_intent,
     "payment_method off_session return_url"),
    ("POST", INTENTS + r"/(\w+)/_authenticate", Gateway.authenticate_intent,
     "client_secret success"),
    ("POST", INTENTS + r"/(\w+)/_dispute", Gateway.dispute_intent, "status"),
    ("POST", INTENTS + r"/(\w+)/capture", Gateway.capture_intent,
     "amount_to_capture"),
    ("POST", INTENTS + r"/(\w+)/cancel", Gateway.cancel_intent,
     "cancellation_reason"),
    ("POST", "/v1/refunds", Gateway.create_refund,
     "payment_intent amount reason metadata"),
    ("POST", r"/v1/refunds/(\w+)/_fail", Gateway.fail_refund, ""),
    ("GET", "/v1/(charges|refunds|disputes)", Gateway.list_of,
     "payment_intent limit starting_after"),
    ("POST", "/v1/payment_methods", Gateway.create_method,
     "type card billing_details metadata"),
    ("GET", r"/v1/payment_methods/(\w+)", Gateway.get_method, ""),
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    gateway: Gateway

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the books have it."""

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if (not length.isdecimal() or int(length) > MAX_BODY
                or "Transfer-Encoding" in self.headers):
            self.close_connection = True
            return self.send(Refusal(413, "Content-Length wanted").reply)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return None                         # the caller has gone
        try:
            reply = self.reply_to(body)
        except Exception:
            traceback.print_exc()
            reply = json_reply({"error": ERRORS[500]}, 500)
        return self.send(reply)

    do_POST = do_DELETE = do_GET

    def reply_to(self, body: bytes) -> Reply:
        url = urlsplit(self.path)
        if url.path == "/_control":
            try:
                if self.command == "POST":
                    self.gateway.control(json.loads(body))
            except (AttributeError, LookupError, TypeError, ValueError,
                    re.error) as error:
                return Refusal(400, f"{type(error).__name__}: {error}").reply
            return self.gateway.show_control()
        if url.path == "/_books":
            if self.command == "DELETE":
                with self.gateway.lock:
                    self.gateway.wipe()
                self.gateway.save()
            return self.gateway.show_books()
        if self.command == "POST":
            self.gateway.traceparent = self.headers.get("traceparent", "")
        call = Call(self.command, url.path,
                    self.headers.get("Idempotency-Key", ""))
        kind = self.headers.get("Content-Type", "")
        if len(call.key) > MAX_KEY:
            call.refusal = Refusal(400, "The key is too long.", param="key")
        elif body and not kind.startswith("application/x-www-form-urlencoded"):
            call.refusal = Refusal(400, "Check that your POST content type is "
                                   "application/x-www-form-urlencoded.",
                                   param="body")
        else:
            pairs = sorted(parse_qsl(
                body.decode(errors="replace") if self.command == "POST"
                else url.query, keep_blank_values=True))
            call.params = unflatten(pairs)
            call.digest = hashlib.sha256(
                repr([url.path, pairs]).encode()).hexdigest()
        return self.gateway.answer(call, bool(re.match(
            r"Bearer sk_\w|Basic \w", self.headers.get("Authorization", ""))))

    def send(self, reply: Reply) -> None:
        if reply.cut:
            self.close_connection = True
        if reply.cut == "reset":        # an end with unsent data is a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        if reply.cut in ("close", "reset"):
            return
        phrase = responses.get(reply.status, "Other")
        head = [f"HTTP/1.1 {reply.status} {phrase}",
                "Content-Type: application/json",
                f"Content-Length: {len(reply.body)}",
                f"Request-Id: req_{secrets.token_hex(7)}"]
        if reply.replayed:
            head.append("Idempotent-Replayed: true")
        if self.close_connection:
            head.append("Connection: close")
        size = len(reply.body) // (2 if reply.cut else 1)
        self.wfile.write("\r\n".join([*head, "", ""]).encode()
                         + reply.body[:size])


class Server(ThreadingHTTPServer):
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # the caller has gone
            super().handle_error(request, client_address)


def main() -> None:
    if len(sys.argv) not in (2, 3, 4) or not sys.argv[1].isdecimal():
        raise SystemExit("usage: gateway.py PORT [BOOKS.json [ADDRESS]]")
    address = sys.argv[3] if len(sys.argv) == 4 else "127.0.0.1"
    Handler.gateway = Gateway("".join(sys.argv[2:3]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())
    with Server((address, int(sys.argv[1])), Handler) as server:
        print(f"http://{address}:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
