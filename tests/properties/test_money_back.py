"""Money that goes back, in any order: what is settled, what is refunded, what is owed.

Payments come, are refunded, disputed and warned of, while reactions run late or die,
and transactions that were sent land when they like. In the end each purchase is settled
for one payment that stayed, or is not to be; what was paid too much was asked back
once; and the debts are what went back of what was settled, counted by hand.
"""

import contextlib
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from db.declare import RowOf, Withdrawal
from db.domains.settlement import charges, entries, money, projections, reactions
from db.domains.settlement.projections import Debt, PurchaseCharge
from db.domains.settlement.settings import SettlementSettings
from db.engine import connect
from db.journal.append import append
from db.journal.head import SOURCE
from db.payments.events import ACTOR
from db.payments.stripe import entries as stripe
from db.reads.tables import ReadTables
from db.registry import Registry
from helpers import servers
from helpers.history import rounds
from helpers.journal_of import bodies
from indexer.react import JournalSource, run_reactions
from indexer.timers import run_due

REGISTRY = Registry.load()
PRICE = 500
TOTAL = money.buyer_total(PRICE)
STOCK = {"endless": 0, "single": 1, "pair": 2, "waiting": 0}


class Killed(Exception):
    """The process died here."""


@dataclass
class Paid:
    """A payment as the test knows it: what was said of it, in order."""

    purchase: str
    charge: str
    amount: int
    refunds: dict = field(default_factory=dict)  # those that stand
    disputes: dict = field(default_factory=dict)  # those that are open or lost
    warnings: int = 0
    asked: int = 0
    wanted: int = 0  # by a person
    released: bool = False  # since the last alarm
    let_pass: bool = False  # by a person, ever
    hour: int = 0  # in which it was captured
    came_back: bool = False

    @property
    def gone(self):
        return sum(self.refunds.values()) + sum(self.disputes.values())

    @property
    def fits(self):
        if self.amount != TOTAL:
            return False
        if self.released:
            return self.gone < self.amount
        return not (self.gone or self.warnings or self.asked)


class World:
    """A shop whose payments go back, with a chain of its own making."""

    def __init__(self, engine, seed, wait_hours=0):
        self.engine, self.rng = engine, random.Random(seed)
        settings = SettlementSettings(new_buyer_wait_hours=wait_hours)
        self.journal = JournalSource(engine, REGISTRY.with_settings([settings]))
        self.begun = datetime.now(UTC)  # what reactions say is said by this clock
        self.wait_hours, self.hours = wait_hours, 0
        self.purchases, self.paid, self.settled = {}, [], {}
        self.accounts, self.early = {}, []
        self.sent, self.seen, self.made = set(), 0, 0
        for name, stock in STOCK.items():
            document = "{}"
            self.say(
                entries.ContentPublished(
                    content=name, account="a", kind="chapter", title="t", price=PRICE,
                    stock=stock, metadata=document,
                    metadata_hash=hashlib.sha256(document.encode()).digest(),
                ),
                entries.ShareOffered(content=name, collaborator="ada", share=10_000),
            )  # fmt: skip
            if name != "waiting":
                self.accept(name)

    def accept(self, name="waiting"):
        wallet = hashlib.sha256(name.encode()).digest()
        self.say(entries.ShareAccepted(content=name, collaborator="ada", wallet=wallet))

    def say(self, *said):
        with self.engine.begin() as connection:
            for each in said:
                append(connection, REGISTRY, each, actor=ACTOR, now=self.now)

    @property
    def now(self):
        return self.begun + timedelta(hours=self.hours)

    def of(self, paid):
        return {"charge": paid.charge, "payment_intent": "", "domain": "settlement",
                "purchase": paid.purchase}  # fmt: skip

    def new(self, prefix):
        self.made += 1
        return f"{prefix}_{self.made}"

    def start(self):
        name = self.rng.choice([*STOCK, "single", "single"])
        purchase = "0x" + hashlib.md5(self.new("p").encode()).hexdigest()
        self.purchases[purchase] = name
        self.accounts[purchase] = self.rng.choice("bcd")
        self.say(
            entries.PurchaseStarted(
                purchase=purchase, content=name, price=PRICE, total=TOTAL,
                account=self.accounts[purchase],
                buyer=hashlib.sha256(purchase.encode()).digest(),
            )
        )  # fmt: skip

    def capture(self):
        chance = self.rng.random()
        unpaid = self.purchases.keys() - {each.purchase for each in self.paid}
        purchase = self.rng.choice(
            sorted(unpaid)
            if unpaid and self.rng.random() < 0.7
            else [*self.purchases, "nobody's"]
        )
        amount = TOTAL if chance < 0.85 else TOTAL + 1
        paid = Paid(purchase, self.new("ch"), amount, hour=self.hours)
        self.paid.append(paid)
        self.say(
            stripe.PaymentCaptured(
                **self.of(paid), session="", method="card", amount=amount,
                currency="usd", balance_transaction="t", settlement_currency="usd",
                exchange_rate="", settled=amount, fee=0, net=amount, charged_at=0,
            )
        )  # fmt: skip

    def refund(self, paid=None, amount=None):
        """Somebody refunds all that is left, or a part; nothing that is disputed."""
        paid = paid or self.any(lambda p: not p.disputes and p.gone < p.amount)
        left = paid.amount - paid.gone
        amount = amount or self.rng.choice((left, left, self.rng.randint(1, left)))
        id_ = self.new("re")
        paid.refunds[id_], paid.released = amount, False
        self.say(
            stripe.RefundMade(
                **self.of(paid), refund=id_, amount=amount, currency="usd", reason="",
                balance_transaction="t", settlement_currency="usd", exchange_rate="",
                settled=-amount, fee=0, net=-amount, refunded_at=0,
            )
        )  # fmt: skip

    def fail_refund(self):
        paid = self.any(lambda p: p.refunds)
        id_ = self.rng.choice(list(paid.refunds))
        amount, paid.came_back = paid.refunds.pop(id_), True
        self.say(
            stripe.RefundFailed(
                **self.of(paid), refund=id_, amount=amount, currency="usd",
                status="failed", reason="", balance_transaction="t",
                settlement_currency="usd", settled=amount, fee=0, net=amount,
            )
        )  # fmt: skip

    def fail_unmade_refund(self):
        """A refund that never had money fails: nothing changes."""
        paid = self.any(lambda p: True)
        self.say(
            stripe.RefundFailed(
                **self.of(paid), refund=self.new("re"), amount=7, currency="usd",
                status="canceled", reason="", balance_transaction="",
                settlement_currency="", settled=0, fee=0, net=0,
            )
        )  # fmt: skip

    def dispute(self):
        paid = self.any(lambda p: not p.disputes and p.gone < p.amount)
        inquiry, id_ = self.rng.random() < 0.3, self.new("du")
        amount = paid.amount - paid.gone
        if not inquiry:
            paid.disputes[id_], paid.released = amount, False
        self.say(
            stripe.DisputeOpened(
                **self.of(paid), dispute=id_, amount=amount, currency="usd",
                reason="fraudulent", inquiry=inquiry, opened_at=0,
            )
        )  # fmt: skip

    def close(self):
        paid = self.any(lambda p: any(id_.startswith("du") for id_ in p.disputes))
        id_ = next(id_ for id_ in paid.disputes if id_.startswith("du"))
        won, amount = self.rng.random() < 0.6, paid.disputes.pop(id_)
        paid.came_back = paid.came_back or won
        if not won:
            paid.disputes[f"lost {id_}"] = amount
        self.say(
            stripe.DisputeClosed(
                **self.of(paid), dispute=id_, status="won" if won else "lost"
            )
        )

    def warn(self):
        paid = self.any(lambda p: True)
        paid.warnings, paid.released = paid.warnings + 1, False
        self.say(
            stripe.EarlyFraudWarning(
                **self.of(paid), warning=self.new("w"), fraud_type="misc", warned_at=0
            )
        )

    def release(self):
        """A person lets a payment that is held be settled, as the rule allows."""
        paid = self.any(lambda p: not p.disputes and p.gone < p.amount)
        with self.engine.connect() as connection:
            keys = {"purchase": paid.purchase, "charge": paid.charge}
            row = ReadTables(connection, SOURCE).row(PurchaseCharge, **keys)
        self.hear()
        may = row.hold == "held" or row.waits == "waiting"
        if not may or paid.purchase in self.settled or self.is_asked(paid):
            return
        paid.released = paid.let_pass = True
        self.say(entries.HoldReleased(**keys, note="a friend of ours"))

    def is_asked(self, paid):
        """Whether a refund of a payment is under way."""
        return any(x["charge"] == paid.charge for x in self.open_asks())

    def want_refund(self):
        paid = self.any(lambda p: not p.disputes and p.gone < p.amount)
        if self.is_asked(paid) or paid.purchase not in self.purchases:
            return
        paid.wanted += 1
        self.say(
            entries.RefundWanted(
                purchase=paid.purchase, charge=paid.charge, reason="a wish"
            )
        )

    def open_asks(self):
        return bodies(self.engine, stripe.RefundAsked)[self.seen :]

    def make_refunds(self):
        """What was asked for is made, as far as something is left."""
        self.hear()
        for each in self.open_asks():
            self.seen += 1
            paid = next(p for p in self.paid if p.charge == each["charge"])
            if paid.gone < paid.amount:
                self.refund(paid, paid.amount - paid.gone)

    def hear(self):
        """Learn what was asked back: it speaks against a payment as it is said."""
        for paid in self.paid:
            said = bodies(self.engine, stripe.RefundAsked)
            number = sum(each["charge"] == paid.charge for each in said)
            if number > paid.asked:
                paid.asked, paid.released = number, False

    def react(self):
        run_reactions(self.journal)
        self.hear()
        wanted = {digest for _, digest, _ in self.wanted()}
        self.early += [
            each
            for each in self.paid
            if digest_of(each) in wanted
            and self.hours < each.hour + self.wait_hours
            and not each.let_pass
            and not any(self.account(each) == self.accounts[x] for x in self.settled)
        ]

    def account(self, paid):
        return self.accounts.get(paid.purchase)

    def wait(self):
        """An hour passes, and what is due by then is given."""
        self.hours += 1
        run_due(self.journal, self.now)

    def react_and_die(self):
        def die(*_, **__):
            raise Killed

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr("indexer.react.outbox.move_reaction", die)
            self.react()

    def wanted(self):
        """The settlements that are asked for and not withdrawn."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text("SELECT arguments FROM control.outbox"
                     " WHERE kind = 'settle-purchase' AND withdrawn_because = ''")
            )  # fmt: skip
            return [
                (x["purchase"], x["payment_hash"], int(x["attempt"]))
                for x in rows.scalars()
            ]

    def send(self):
        """Sign what is wanted; it may land whatever is said afterwards."""
        self.sent.update(each[:2] for each in self.wanted())

    def land(self):
        """The chain settles one that was sent; a purchase only once."""
        open_ = sorted(x for x in self.sent if x[0] not in self.settled)
        if open_:
            purchase, digest = self.rng.choice(open_)
            self.settled[purchase] = digest
            self.say(
                entries.SettlementSeen(
                    purchase=purchase, payment_hash=bytes.fromhex(digest[2:]),
                    outflow=9,
                )
            )  # fmt: skip

    def any(self, condition):
        found = [each for each in self.paid if condition(each)]
        if not found:
            raise LookupError
        return self.rng.choice(found)

    def play(self, steps):
        for step in self.rng.choices(STEPS, k=steps):
            with contextlib.suppress(LookupError):
                getattr(self, step)()

    def settle(self):
        """Everything is said that is to be said, and every reaction has run."""
        self.accept()
        with contextlib.suppress(LookupError):
            while True:
                self.close()
        for _ in range(6):
            self.react()
            self.make_refunds()
        self.react()
        self.hours += self.wait_hours
        self.wait()
        self.react()


STEPS = [
    "start", "start", "start", "capture", "capture", "capture", "capture", "refund",
    "refund", "fail_refund", "fail_refund", "fail_unmade_refund", "dispute", "close",
    "warn", "release", "release", "want_refund", "make_refunds", "accept", "react",
    "react", "react", "react_and_die", "wait", "send", "send", "land", "land",
]  # fmt: skip


def digest_of(paid):
    return "0x" + hashlib.sha256(paid.charge.encode()).hexdigest()


def wrong(world):
    """Everything in which the tables are not what the test counts."""
    found = {}
    wanted = {}
    for purchase, digest, _ in world.wanted():
        wanted.setdefault(purchase, []).append(digest)
    asked = Counter(x["charge"] for x in bodies(world.engine, stripe.RefundAsked))
    for purchase in world.purchases:
        paid = [each for each in world.paid if each.purchase == purchase]
        fits = [digest_of(each) for each in paid if each.fits]
        came_back = any(each.came_back or each.released for each in paid)
        if purchase in world.settled:
            continue
        now = wanted.get(purchase, [])
        if len(fits) < 2 and now != fits:
            found["settled"] = purchase, now, fits
        if len(now) > 1 or (len(fits) > 1 and not came_back):
            found["twice"] = purchase, now, fits
    for each in world.paid:
        if each.purchase not in world.purchases and asked[each.charge] != 1:
            found["unknown"] = each
        if each.amount != TOTAL and not asked[each.charge]:
            found["amount"] = each
        if asked[each.charge] > 1 + each.wanted:
            found["asked"] = each, asked[each.charge]
    if world.early:
        found["early"] = world.early
    return found | wrong_debts(world) | oversold(world)


def oversold(world):
    """Contents that more have than there are.

    Left out is what came again after its copy was sold to another, and what landed when
    its money had gone back already: it could not be stopped.
    """
    found = {}
    for name in (each for each, stock in STOCK.items() if stock):
        paid = [p for p in world.paid if world.purchases.get(p.purchase) == name]
        having = {
            p.purchase
            for p in paid
            if p.fits or (world.settled.get(p.purchase) == digest_of(p) and not p.gone)
        }
        having -= {p.purchase for p in paid if p.came_back or p.released}
        if len(having) > STOCK[name]:
            found["oversold"] = name, having
    return found


def wrong_debts(world):
    expected = {
        each.charge: each.gone
        for each in world.paid
        if world.settled.get(each.purchase) == digest_of(each) and each.gone
    }
    with world.engine.connect() as connection:
        rows = ReadTables(connection, SOURCE).rows(Debt, stage="debt")
    owed = {row.charge: charges.owed(row) for row in rows if charges.owed(row)}
    return {} if owed == expected else {"debts": (owed, expected)}


@pytest.fixture(scope="session")
def fresh_world(postgres_url, migrated_template):
    @contextlib.contextmanager
    def make(seed, **settings):
        with servers.fresh_database(postgres_url, migrated_template) as url:
            engine = connect(url)
            try:
                yield World(engine, seed, **settings)
            finally:
                engine.dispose()

    return make


@pytest.mark.slow
@given(seed=st.integers(0, 2**32), wait_hours=st.sampled_from((0, 0, 1, 3)))
@rounds(25)
def test_what_stays_is_settled_once_and_what_goes_back_is_owed(
    fresh_world, seed, wait_hours
):
    with fresh_world(seed, wait_hours=wait_hours) as world:
        world.play(60)
        world.settle()
        assert wrong(world) == {}


@pytest.fixture
def found(fresh_world):
    """Play seeds until one shows something wrong; which kinds of it."""

    def run():
        for seed in range(30):
            with fresh_world(seed, wait_hours=seed % 2 * 2) as world:
                world.play(60)
                world.settle()
                if wrong_ := wrong(world):
                    return set(wrong_)
        return set()

    return run


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestPlanted:
    """What the test above must find."""

    def test_settlements_that_are_not_withdrawn(self, found, monkeypatch):
        monkeypatch.setattr(reactions, "_withdrawn", lambda *_: iter(()))
        assert {"settled", "twice"} & found()

    def test_a_settlement_that_is_asked_for_under_the_withdrawn_name(
        self, found, monkeypatch
    ):
        command = reactions.SettlePurchase
        monkeypatch.setattr(
            reactions, "SettlePurchase",
            lambda **values: command(**{**values, "attempt": 0}),
        )  # fmt: skip
        monkeypatch.setattr(reactions, "_withdrawn", _withdrawn_of(command))
        assert "settled" in found()

    def test_a_second_payment_that_is_kept(self, found, monkeypatch):
        monkeypatch.setattr(reactions, "takes", lambda *_: False)
        assert {"twice", "settled", "oversold"} & found()

    def test_a_last_copy_that_is_sold_twice(self, found, monkeypatch):
        monkeypatch.setattr(reactions, "_is_sold_out", lambda *_: False)
        assert "oversold" in found()

    def test_warnings_that_hold_nothing(self, found, monkeypatch):
        monkeypatch.setattr(
            reactions, "can_be_settled",
            lambda row, purchase: charges.can_be_settled(
                RowOf({**vars(row), "warnings": 0}), purchase
            ),
        )  # fmt: skip
        assert "settled" in found()

    def test_waits_that_hold_nothing(self, found, monkeypatch):
        monkeypatch.setattr(
            reactions, "can_be_settled",
            lambda row, purchase: charges.can_be_settled(
                RowOf({**vars(row), "waits": ""}), purchase
            ),
        )  # fmt: skip
        monkeypatch.setattr(reactions, "wait_of_new_buyer", lambda *_: None)
        assert "early" in found()

    def test_new_buyers_that_wait_for_ever(self, found, monkeypatch):
        monkeypatch.setattr("indexer.timers.timers.due_rows", lambda *_: [])
        assert "settled" in found()

    def test_a_failed_refund_that_stays_a_debt(self, found, monkeypatch):
        def gone(state, fact):
            return (
                projections.gone(state, fact) if "Failed" not in fact.event else state
            )

        for each in (
            Debt.spec.folds["owed_for"],
            PurchaseCharge.spec.folds["gone_for"],
        ):
            monkeypatch.setattr(each, "reducer", gone)
        assert {"debts", "settled"} & found()


def _withdrawn_of(command):
    def withdrawn(charge, attempts, why):
        for number in range(attempts):
            yield Withdrawal(
                command, why, purchase=bytes.fromhex(charge.purchase[2:]),
                payment_hash=charges.payment_hash(charge.charge), attempt=number,
            )  # fmt: skip

    return withdrawn
