"""Compares the journal with Stripe's balance, transaction by transaction, to the cent.

Every balance transaction of a time is one of: said in an entry with the same amounts;
of somebody else's payment; a fee of Stripe's own; or not explained. Every payout that
Stripe has reconciled is the sum of its lines. Entries of the time whose transaction
Stripe does not list are retrieved one by one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from db.payments import ledger
from db.payments.ledger import Line
from indexer.stripe.asking import Api
from indexer.stripe.errors import Gone
from indexer.stripe.look import Looking
from indexer.stripe.values import Object, flag, id_of, moved_by, number, text

BATCH = 500
# Types of balance transactions by which Stripe takes money for itself.
OWN_FEES = frozenset({"stripe_fee", "stripe_fx_fee", "tax_fee", "network_cost"})
# The services of the API by the object that a balance transaction is of.
SOURCES = {"charge", "refund", "dispute", "payout"}
OTHERS, FEES, UNEXPLAINED = "of others", "Stripe's own fees", "not explained"


@dataclass(slots=True)
class Sums:
    """A count of transactions, and the sums of their amounts in minor units."""

    count: int = 0
    settled: int = 0
    fee: int = 0
    net: int = 0

    def add(self, settled: int, fee: int, net: int) -> None:
        """Add one."""
        self.count += 1
        self.settled += settled
        self.fee += fee
        self.net += net


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is not equal; `drift` is Stripe's net less the journal's."""

    what: str
    id: str
    object: str
    currency: str
    drift: int


@dataclass(slots=True)
class Comparison:
    """The result: sums of both sides by kind and currency, and what differs."""

    since: int
    until: int
    stripe: dict[tuple[str, str], Sums] = field(default_factory=dict)
    journal: dict[tuple[str, str], Sums] = field(default_factory=dict)
    differences: list[Discrepancy] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # kind and id
    payouts: int = 0
    payouts_waiting: int = 0

    @property
    def well(self) -> bool:
        """Whether all is equal and explained."""
        return not self.differences

    def drift(self) -> dict[str, int]:
        """Stripe's net less the journal's, by currency."""
        found: dict[str, int] = {}
        for each in self.differences:
            found[each.currency] = found.get(each.currency, 0) + each.drift
        return found

    def as_json(self) -> dict[str, Any]:
        """The result as it is kept."""

        def rows(sums: Mapping[tuple[str, str], Sums]) -> list[dict[str, Any]]:
            return [
                {"kind": kind, "currency": currency, "count": each.count,
                 "settled": each.settled, "fee": each.fee, "net": each.net}
                for (kind, currency), each in sorted(sums.items())
            ]  # fmt: skip

        return {
            "stripe": rows(self.stripe), "journal": rows(self.journal),
            "drift": self.drift(), "payouts": self.payouts,
            "payouts_waiting": self.payouts_waiting,
            "differences": [
                {"what": d.what, "id": d.id, "object": d.object,
                 "currency": d.currency, "drift": d.drift}
                for d in self.differences[:1000]
            ],
            "difference_count": len(self.differences),
        }  # fmt: skip


def compare(engine: Engine, looking: Looking, *, since: int, until: int) -> Comparison:
    """Compare all balance transactions that were made between two moments."""
    found = Comparison(since, until)
    api = looking.api
    created = {"gte": since, "lte": until}
    listed: set[str] = set()
    items = api.each("balance_transactions", created=created, expand=["data.source"])
    for batch in _batches(items):
        ids = [text(item, "id") for item in batch]
        listed.update(ids)
        with engine.connect() as connection:
            recorded = ledger.lines_of(connection, ids)
        for item in batch:
            _compare_one(found, looking, item, recorded.get(text(item, "id")))
    with engine.connect() as connection:
        ours = ledger.lines_said(connection, since=since, until=until)
    for line in ours.values():
        if line.id not in listed:
            _compare_unlisted(found, api, line)
    for payout in api.each("payouts", created=created):
        _compare_payout(found, api, payout)
    return found


def _compare_one(
    found: Comparison, looking: Looking, item: Object, line: Line | None
) -> None:
    moved = moved_by(item)
    currency = moved.currency
    kind = line.kind if line is not None else _kind_without_entry(looking, item)
    key = (kind or "missing", currency)
    found.stripe.setdefault(key, Sums()).add(moved.settled, moved.fee, moved.net)
    source = _source(item)
    name = text(source, "id") or id_of(item, "source")
    if line is not None:
        sums = found.journal.setdefault((line.kind, line.currency), Sums())
        sums.add(line.settled, line.fee, line.net)
        same = (moved.settled, moved.fee, moved.net, currency)
        if same != (line.settled, line.fee, line.net, line.currency):
            found.differences.append(
                Discrepancy("amounts differ", moved.id, name, currency,
                           moved.net - line.net)
            )  # fmt: skip
    elif kind in ("", UNEXPLAINED):
        what = "no entry" if kind == "" else f"not explained: {text(item, 'type')}"
        found.differences.append(Discrepancy(what, moved.id, name, currency, moved.net))
        if kind == "":
            found.missing.append((text(source, "object"), name))


def _source(item: Object) -> Object:
    """The expanded source of a balance transaction; empty when it has none."""
    source = item.get("source")
    return source if isinstance(source, Mapping) else {}


def _kind_without_entry(looking: Looking, item: Object) -> str:
    """Name the kind of a transaction without an entry; empty: it is one of ours."""
    if text(item, "type") in OWN_FEES:
        return FEES
    source = _source(item)
    kind = text(source, "object")
    if kind not in SOURCES:
        return UNEXPLAINED
    if kind == "payout":
        return ""
    return "" if looking.is_ours(_charge_of(looking.api, source)) else OTHERS


def _charge_of(api: Api, source: Object) -> Object:
    """The charge that a transaction's source is, or is about."""
    if text(source, "object") == "charge":
        return api.retrieve("charges", text(source, "id"), "payment_intent")
    charge = id_of(source, "charge")
    return api.retrieve("charges", charge, "payment_intent") if charge else {}


def _compare_unlisted(found: Comparison, api: Api, line: Line) -> None:
    """An entry of the time whose transaction is of another time, or of none."""
    sums = found.journal.setdefault(("said then", line.currency), Sums())
    try:
        item = api.retrieve("balance_transactions", line.id)
    except Gone:
        sums.add(line.settled, line.fee, line.net)
        found.differences.append(
            Discrepancy("no such transaction", line.id, "", line.currency, -line.net)
        )
        return
    moved = moved_by(item)
    sums.add(line.settled, line.fee, line.net)
    key = ("said then", moved.currency)
    found.stripe.setdefault(key, Sums()).add(moved.settled, moved.fee, moved.net)
    if (moved.settled, moved.fee, moved.net) != (line.settled, line.fee, line.net):
        found.differences.append(
            Discrepancy("amounts differ", line.id, id_of(item, "source"),
                       line.currency, moved.net - line.net)
        )  # fmt: skip


def _compare_payout(found: Comparison, api: Api, payout: Object) -> None:
    """A payout that Stripe has reconciled is the sum of its lines."""
    if not flag(payout, "automatic"):
        return
    if text(payout, "reconciliation_status") != "completed":
        found.payouts_waiting += 1
        return
    id_ = text(payout, "id")
    total = sum(
        number(line, "net")
        for line in api.each("balance_transactions", payout=id_)
        if text(line, "type") != "payout"
    )
    found.payouts += 1
    amount = number(payout, "amount")
    if total != amount:
        found.differences.append(
            Discrepancy("a payout is not its lines", id_, id_, text(payout, "currency"),
                       amount - total)
        )  # fmt: skip


def _batches(items: Iterator[Object]) -> Iterator[list[Object]]:
    batch: list[Object] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
