"""A year of payments by a seed, read by readers that are killed anywhere.

What goes wrong is drawn by the seed too: webhooks that are lost, doubled, late and out
of order, events that lists show late, fees that come late, told or not, requests that
are refused, cut or answered with errors, and readers that end between any two requests
to Stripe and any two statements to Postgres. Entries ask for refunds besides, which
the same process makes.
"""

import json
import random
from collections import Counter

from sqlalchemy import event, text
from sqlalchemy.dialects.postgresql import insert

from commands.stripe.asking import REQUEST
from commands.stripe.refunds import RefundWorker
from db.books.chart import AccountChart
from db.books.lines import Span
from db.books.trial_balance import read_trial_balance
from db.control import stripe_webhook
from db.engine import Refused
from db.journal.append import append
from db.payments.events import ACTOR
from db.payments.stripe import entries as e
from db.payments.stripe.postings import STRIPE_BALANCE
from devnet.stripe.book import DAY
from devnet.stripe.faults import Fault, Faults, Webhook
from helpers.stripe_shop import OURS, Shop, said
from indexer.stripe.errors import Away

DAYS = 365
PAYMENTS = 30
# How long something may be open: authorisations, bank debits, refunds and so on.
OPEN_DAYS = {"held": 30, "slow": 14, "refunds": 60, "disputes": 120, "payouts": 30}
AT_BANK = ("needs_response", "under_review", "lost")  # of disputes: no refund is made
CURRENCIES = ("usd", "usd", "usd", "eur", "jpy", "kwd")


class Killed(BaseException):
    """The reader's process ends here."""


class Killer:
    """Ends the reader at a step that is drawn; a step is a request or a statement."""

    def __init__(self, engine, chance):
        self.chance, self.left, self.kills = chance, None, 0
        event.listen(engine, "before_cursor_execute", self._step)
        event.listen(engine, "after_cursor_execute", self._step)
        event.listen(engine, "commit", self._step)

    def arm(self, share):
        """Let a share of the coming rounds end somewhere in the middle."""
        armed = self.chance.random() < share
        self.left = self.chance.randint(1, 60) if armed else None

    def step(self):
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            self.kills += 1
            raise Killed

    def _step(self, *_):
        self.step()


class Year:
    """One seed: what happened at Stripe, and the journal that came of it."""

    def __init__(self, engine, registry, seed, payments=PAYMENTS):
        self.engine, self.registry, self.payments = engine, registry, payments
        self.chance = chance = random.Random(f"year {seed}")
        faults = Faults(
            seed,
            shares={
                Fault.RATE_LIMITED: chance.choice((0, 0.02)),
                Fault.UNAVAILABLE: chance.choice((0, 0.02)),
                Fault.CUT_BEFORE: chance.choice((0, 0.01)),
                Fault.CUT_AFTER: chance.choice((0, 0.02)),
                Fault.SERVER_ERROR: chance.choice((0, 0.01)),
            },
            webhooks={Webhook.DROP: chance.choice((0, 0.3, 1)),
                      Webhook.DUPLICATE: chance.choice((0, 0.3)),
                      Webhook.DELAY: chance.choice((0, 0.3))},
            reorder=chance.random() < 0.5,
            late_events=chance.choice((0, 0.3)),
            late_seconds=chance.choice((60, 600, 14 * 3600)),
        )  # fmt: skip
        self.shop = Shop(seed, faults)
        self.late_fees = chance.choice((0, 0.3, 0.9))
        self.killer = Killer(engine, chance)
        self.shop.direct.watch = self.killer.step
        self.kills = chance.choice((0, 0.1, 0.4))
        self.hints = []
        self.shop.book.heard.append(self._hear)
        self.trouble = Counter()

    def play(self):
        """Live through the year, then give everything time to be told."""
        shop, chance = self.shop, self.chance
        moments = sorted(
            chance.randint(0, DAYS * DAY) for _ in range(self.payments * 4)
        )
        begun = shop.book.clock.now()
        self.reader = shop.reader(self.engine, self.registry)
        self.open = {"late": [], "slow": [], "refunds": [], "disputes": [],
                     "payouts": [], "held": []}  # fmt: skip
        self.paid = []
        self.asks, self.made = 0, set()
        bought = 0
        self._read()  # an account is read from when it is first used
        for moment in moments:
            ahead = begun + moment - shop.book.clock.now()
            shop.book.clock.move(max(ahead, 0))
            if bought < self.payments and chance.random() < 0.4:
                bought += 1
                self._buy()
            else:
                self._happen()
            if chance.random() < 0.5:
                self._read()
        self._settle()

    def _buy(self):
        shop, chance = self.shop, self.chance
        currency = chance.choice(CURRENCIES)
        amount = chance.randint(101, 3_000_007)
        kind = chance.choice(
            "card card card card slow held declined expired foreign".split()
        )
        late = chance.random() < self.late_fees
        if kind == "foreign":
            named = chance.choice(({}, {"domain": "somebody-else"}))
            charge = shop.buying.stranger_pays(amount, currency, named)
            if chance.random() < 0.5:
                shop.refund(charge)
            return
        session = shop.session(
            amount, currency, capture="manual" if kind == "held" else "automatic"
        )
        if kind == "slow":
            self.open["slow"].append(shop.buying.pay_slowly(session)["id"])
        elif kind == "expired":
            shop.buying.expire(session)
        else:
            if kind == "declined":
                shop.buying.decline(session)
            charge = shop.buying.pay(session, late_fee=late and kind != "held")
            if kind == "held":
                self.open["held"].append(charge["payment_intent"])
                return
            self.paid.append(charge["id"])
            if late:
                self.open["late"].append(charge["id"])

    def _happen(self):
        """Something happens to what is open."""
        shop, chance = self.shop, self.chance
        self._forget_old()
        what = chance.choice(
            "late slow held refund ask ask end_refund dispute close warn payout arrive "
            "bank_refuses by_hand".split()
        )
        if what == "late" and self.open["late"]:
            charge = self._pick("late")
            shop.buying.settle_fee(charge, told=chance.random() < 0.5)
        elif what == "slow" and self.open["slow"]:
            charge = self._pick("slow")
            if chance.random() < 0.3:
                shop.buying.bank_refuses(charge)
            else:
                late = chance.random() < self.late_fees
                shop.buying.bank_pays(charge, late_fee=late)
                self.paid.append(charge)
                if late:
                    self.open["late"].append(charge)
        elif what == "held" and self.open["held"]:
            intent = shop.book.objects[self._pick("held")]
            shop.buying.capture(intent["id"], chance.randint(1, intent["amount"]))
            self.paid.append(intent["latest_charge"])
        elif what == "refund" and self.paid:
            self._refund()
        elif what == "ask" and self.paid:
            self._ask()
        elif what == "end_refund" and self.open["refunds"]:
            refund = shop.book.objects[self._pick("refunds")]
            pending = refund["status"] == "pending"
            ends = [shop.refunding.succeed, shop.refunding.cancel] if pending else []
            chance.choice([*ends, shop.refunding.fail])(refund["id"])
        elif what == "dispute" and self.paid:
            made = shop.disputing.open(
                chance.choice(self.paid), inquiry=chance.random() < 0.3
            )
            self.open["disputes"].append(made["id"])
        elif what == "close" and self.open["disputes"]:
            shop.disputing.close(self._pick("disputes"), won=chance.random() < 0.5)
        elif what == "warn" and self.paid:
            shop.buying.warn(chance.choice(self.paid))
        elif what == "by_hand" and self.paid:
            self.open["payouts"].append(
                shop.paying_out.by_hand(chance.randint(1, 999))["id"]
            )
        elif what == "payout":
            made = shop.paying_out.run()
            if made is not None:
                self.open["payouts"].append(made["id"])
        elif what == "arrive" and self.open["payouts"]:
            payout = self._pick("payouts")
            if chance.random() < 0.8:
                shop.paying_out.arrive(payout)
            if chance.random() < 0.2:
                shop.paying_out.fail(payout)

    def _forget_old(self):
        """What is open for longer than it can be at Stripe does not change any more."""
        now = self.shop.book.clock.now()
        for name, days in OPEN_DAYS.items():
            self.open[name] = [
                id_
                for id_ in self.open[name]
                if now - self.shop.book.objects[id_]["created"] <= days * DAY
            ]

    def _refund(self):
        charge = self.shop.book.objects[self.chance.choice(self.paid)]
        left = charge["amount_captured"] - charge["amount_refunded"]
        if left <= 0 or self._at_bank(charge["id"]):
            return
        made = self.shop.refund(
            charge, self.chance.randint(1, left),
            self.chance.choice(("succeeded", "succeeded", "pending")),
            funded=self.chance.random() < 0.7,
        )  # fmt: skip
        self.open["refunds"].append(made["id"])

    def _ask(self):
        """An entry asks for a refund, mostly of a part."""
        charge = self.shop.book.objects[self.chance.choice(self.paid)]
        amount = self.chance.choice((0, charge["amount_captured"] // 7 or 1))
        entry = e.RefundAsked(
            charge=charge["id"], domain=OURS["domain"], amount=amount,
            purchase=charge["metadata"]["purchase"], reason="it was paid twice",
        )  # fmt: skip
        with self.engine.begin() as connection:
            append(connection, self.registry, entry, actor=ACTOR, now=self.shop.now())
        self.asks += 1

    def _at_bank(self, charge):
        return any(
            each["charge"] == charge and each["status"] in AT_BANK
            for each in self.shop.book.all("dispute")
        )

    def _make_refunds(self):
        """Go on with what was asked for; what is made may fail like any refund."""
        refunding = self.shop.refunding
        refunding.next_status = self.chance.choice(("succeeded", "pending"))
        RefundWorker(
            self.engine, self.registry, self.shop.client, self.shop.now
        ).round()

    def _note_refunds(self):
        """Refunds of a worker may fail or be cancelled like those by hand."""
        for each in self.shop.book.all("refund"):
            if REQUEST in each["metadata"] and each["id"] not in self.made:
                self.made.add(each["id"])
                self.open["refunds"].append(each["id"])

    def _pick(self, name):
        found = self.open[name]
        return found.pop(self.chance.randrange(len(found)))

    def _settle(self):
        """End all faults; every late thing comes; then read for some days."""
        for charge in self.open["late"]:
            self.shop.buying.settle_fee(charge, told=False)
        for each in list(self.shop.book.all("dispute")):
            if each["status"] == "needs_response":
                self.shop.disputing.close(each["id"], won=self.chance.random() < 0.5)
        self.shop.faults.shares.clear()
        self.kills = 0
        self._read()
        for _ in range(6):
            self.shop.book.clock.move(DAY)
            self._read()

    def _hear(self, made):
        fault = self.shop.faults.of_delivery()
        if fault is Webhook.DROP:
            return
        late = self.chance.randint(1, 5 * DAY) if fault is Webhook.DELAY else 0
        at = self.shop.book.clock.now() + late
        told = (at, made["id"], json.dumps(made).encode())
        self.hints += [told] * (2 if fault is Webhook.DUPLICATE else 1)

    def _webhooks(self):
        """The webhooks that are due are stored, as the API stores them."""
        now = self.shop.book.clock.now()
        due = [each for each in self.hints if each[0] <= now]
        self.hints = [each for each in self.hints if each[0] > now]
        if self.shop.faults.reorder:
            self.chance.shuffle(due)
        with self.engine.begin() as connection:
            for _, id_, body in due:
                connection.execute(
                    insert(stripe_webhook)
                    .values(
                        event=id_,
                        received_at=self.shop.now(),
                        signed_at=now,
                        body=body,
                    )
                    .on_conflict_do_nothing()
                )

    def _read(self):
        """Read as a process does: it may fail, be killed and begin anew."""
        self._webhooks()
        for _ in range(30):
            self.killer.arm(self.kills)
            try:
                self.reader.round()
                self._make_refunds()
                break
            except Away:
                self.trouble["away"] += 1
            except (Killed, Refused):
                self.trouble["killed"] += 1
                self.reader = self.shop.reader(self.engine, self.registry)
            finally:
                self.killer.left = None
        self._note_refunds()


def truth(shop):
    """What Stripe's own objects say must be in the journal, by kind of entry."""
    book, found = shop.book, {}
    ours = {
        each["id"]: each for each in book.all("charge")
        if each["metadata"].get("domain") == "crowdfunding"
    }  # fmt: skip
    captured = {id_: each for id_, each in ours.items() if each["captured"]}
    found["captured"] = Counter(
        {(id_, each["amount_captured"], each["currency"]): 1
         for id_, each in captured.items()}
    )  # fmt: skip
    found["expired"] = Counter(
        each["id"]
        for each in book.all("checkout.session")
        if each["status"] == "expired"
    )
    found["failed"] = Counter(
        shop.buying.session_of(each)["id"] for each in ours.values()
        if each["status"] == "failed"
        and each["payment_method_details"]["type"] == "us_bank_account"
    )  # fmt: skip
    found["disputes"] = Counter(
        (each["id"], each["status"]) for each in book.all("dispute")
        if each["charge"] in ours
        and each["status"] in ("won", "lost", "warning_closed")
    )  # fmt: skip
    found["paid_out"] = Counter(
        each["id"] for each in book.all("payout") if each["status"] == "paid"
    )
    moves = Counter()
    for each in book.all("balance_transaction"):
        source = book.objects[each["source"]]
        charge = source["id"] if source["object"] == "charge" else source.get("charge")
        if source["object"] == "payout" or charge in ours:
            moves[each["id"], each["amount"], each["fee"], each["net"]] += 1
    found["moves"] = moves
    return found


def journal(engine):
    """The same of the journal."""
    found = {
        "captured": Counter((x["charge"], x["amount"], x["currency"])
                            for x in said(engine, e.PaymentCaptured)),
        "expired": Counter(x["session"] for x in said(engine, e.PaymentExpired)),
        "failed": Counter(x["session"] for x in said(engine, e.PaymentFailed)),
        "disputes": Counter((x["dispute"], x["status"])
                            for x in said(engine, e.DisputeClosed)),
        "paid_out": Counter(x["payout"] for x in said(engine, e.PayoutPaid)),
    }  # fmt: skip
    moves = Counter()
    for kind in (e.PaymentCaptured, e.PaymentFeeKnown, e.RefundMade, e.RefundFailed,
                 e.DisputeFundsMoved, e.PayoutMade, e.PayoutFailed):  # fmt: skip
        for x in said(engine, kind):
            if x["balance_transaction"]:
                moves[x["balance_transaction"], x["settled"], x["fee"], x["net"]] += 1
    found["moves"] = moves
    return found


def wrong_refunds(year):
    """What entries asked for and came to nothing, or to several refunds."""
    made = Counter(
        each["metadata"][REQUEST]
        for each in year.shop.book.all("refund")
        if REQUEST in each["metadata"]
    )
    twice = {key: n for key, n in made.items() if n > 1}
    refused = len(said(year.engine, e.RefundRefused))
    if twice or len(made) + refused != year.asks:
        return {"twice": twice, "asked": year.asks, "made": len(made),
                "refused": refused}  # fmt: skip
    return {}


def wrong_books(year):
    """Where the trial balance has another balance at Stripe than Stripe, by currency.

    Payments of others are in Stripe's balance and not in our books.
    """
    ours = truth(year.shop)["moves"]
    expected = Counter()
    for each in year.shop.book.all("balance_transaction"):
        if (each["id"], each["amount"], each["fee"], each["net"]) in ours:
            expected[each["currency"]] += each["net"]
    chart = AccountChart(year.registry.postings)
    with year.engine.connect() as connection:
        found = read_trial_balance(connection, chart, Span())
    at_stripe = {
        row.currency: row.balance for row in found.rows if row.account == STRIPE_BALANCE
    }
    uneven = [each for each in found.totals() if each[1] != each[2]]
    wrong = {
        currency: (at_stripe.get(currency, 0), expected[currency])
        for currency in {*at_stripe, *expected}
        if at_stripe.get(currency, 0) != expected[currency]
    }
    return {"balance": wrong, "uneven": uneven} if wrong or uneven else {}


def differences(year):
    """Everything in which the journal is not what Stripe's objects say."""
    expected, found = truth(year.shop), journal(year.engine)
    wrong = {}
    for name in expected:
        less, more = expected[name] - found[name], found[name] - expected[name]
        if name == "paid_out":
            # One that was seen as paid and failed afterwards was said to be paid too.
            failed = {x["payout"] for x in said(year.engine, e.PayoutFailed)}
            more = Counter({k: n for k, n in more.items() if k not in failed or n > 1})
        if less or more:
            wrong[name] = {"missing": dict(less), "too much": dict(more)}
    if refunds := wrong_refunds(year):
        wrong["refunds"] = refunds
    if books := wrong_books(year):
        wrong["books"] = books
    with year.engine.connect() as connection:
        waiting = connection.scalar(text("SELECT count(*) FROM control.stripe_waiting"))
        odd = connection.scalar(
            text("SELECT count(*) FROM control.stripe_event WHERE outcome = 'odd'")
        )
    if waiting or odd:
        wrong["waiting"] = (waiting, odd)
    return wrong
