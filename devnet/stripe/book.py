"""The state behind fakestripe: every object by its id, and the events in order."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from devnet.stripe import objects
from devnet.stripe.clock import Clock
from devnet.stripe.errors import missing
from devnet.stripe.money import Prices
from devnet.stripe.objects import Object

API_VERSION = "2026-10-28.endive"
EVENTS_DAYS = 30  # how long an event can be listed and retrieved
DAY = 86_400
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_PREFIXES = {
    "checkout.session": "cs_test_", "payment_intent": "pi_3", "charge": "ch_3",
    "balance_transaction": "txn_3", "refund": "re_3", "dispute": "du_1",
    "radar.early_fraud_warning": "issfr_1", "payout": "po_1", "event": "evt_1",
    "account": "acct_1", "bank_account": "ba_1", "request": "req_",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of a session's request that is for its payment intent."""

    metadata: dict[str, str]
    capture: str = "automatic"


@dataclass(slots=True)
class Listed:
    """An event, and from when on lists show it."""

    event: Object
    visible_at: int


@dataclass(slots=True)
class Book:
    """An account of Stripe: its objects and its events.

    Ids follow from ``seed`` and how many were made. ``late_by`` says for the id of a
    new event after how many seconds lists show it.
    """

    seed: int = 0
    clock: Clock = field(default_factory=Clock)
    prices: Prices = field(default_factory=Prices)
    livemode: bool = False
    objects: dict[str, Object] = field(default_factory=dict)
    events: list[Listed] = field(default_factory=list)
    late_by: Callable[[str], int] = field(default=lambda _: 0)
    heard: list[Callable[[Object], None]] = field(default_factory=list)
    request: tuple[str | None, str | None] = (None, None)  # its id, idempotency key
    account: Object = field(default_factory=dict)
    terms: dict[str, Terms] = field(default_factory=dict)  # by the session's id
    _made: int = 0

    def __post_init__(self) -> None:
        self.account = objects.account(
            self.new_id("account"),
            currency=self.prices.settlement,
            created=self.clock.now() - 400 * DAY,
        )

    def new_id(self, kind: str) -> str:
        """Return an id that was not used before."""
        self._made += 1
        digest = hashlib.sha256(f"{self.seed}/{kind}/{self._made}".encode()).digest()
        return _PREFIXES[kind] + "".join(_LETTERS[byte % 62] for byte in digest[:22])

    def add(self, item: Object) -> Object:
        """Keep a new object."""
        self.objects[item["id"]] = item
        return item

    def get(self, id_: str, kind: str) -> Object:
        """Return an object itself; raises ApiError for one that is not there."""
        found = self.objects.get(id_)
        if found is None or found["object"] != kind:
            raise missing(kind, id_)
        return found

    def all(self, kind: str) -> Iterator[Object]:
        """Yield the objects of a kind, the newest first."""
        found = [item for item in self.objects.values() if item["object"] == kind]
        return reversed(found)

    def emit(self, kind: str, item: Object, *, account: str | None = None) -> Object:
        """Note that something happened to an object, with the object as it is."""
        now = self.clock.now()
        request, key = self.request
        event = objects.event(
            self.new_id("event"), created=now, livemode=self.livemode, kind=kind,
            content=copy.deepcopy(self.shown(item)), version=API_VERSION,
            account=account, request=request, key=key, pending=len(self.heard),
        )  # fmt: skip
        self.events.append(Listed(event, now + self.late_by(event["id"])))
        for hear in self.heard:
            hear(event)
        return event

    def visible_events(self) -> list[Object]:
        """Return the events that can be listed now, the newest first."""
        now = self.clock.now()
        oldest = now - EVENTS_DAYS * DAY
        found = [
            each.event
            for each in self.events
            if each.visible_at <= now and each.event["created"] >= oldest
        ]
        found.reverse()
        return sorted(found, key=lambda event: -event["created"])

    def move_money(
        self, *, kind: str, category: str, source: Object, amount: int, fee: int = 0,
        currency: str | None = None, rate: float | None = None, days: int = 2,
    ) -> Object:  # fmt: skip
        """Make a balance transaction."""
        now = self.clock.now()
        midnight = now - now % DAY
        return self.add(
            objects.transaction(
                self.new_id("balance_transaction"),
                created=now,
                available_on=midnight + days * DAY if days else now,
                amount=amount,
                fee=fee,
                currency=currency or self.prices.settlement,
                rate=rate,
                kind=kind,
                category=category,
                source=source["id"],
            )
        )

    def shown(self, item: Object) -> Object:
        """Return an object as it is told now; what time changes is filled in."""
        if item["object"] == "balance_transaction":
            ready = item["available_on"] <= self.clock.now()
            return {**item, "status": "available" if ready else "pending"}
        if item["object"] == "dispute":
            moved = [self.shown(self.objects[id_]) for id_ in moves_of(item)]
            return {**item, "balance_transactions": moved}
        return item


def moves_of(dispute: Object) -> list[str]:
    """Return the ids of the balance transactions of a dispute."""
    found: list[Any] = dispute["balance_transactions"]
    return [str(each) for each in found]
