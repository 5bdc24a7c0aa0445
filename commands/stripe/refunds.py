"""Refunds, each made once for the entry that asks for it, whatever happens on the way.

That a refund is asked for is written down before Stripe is asked, and Stripe is asked
with an idempotency key of the charge and the entry. Whoever goes on after a lost answer
lists the refunds of the charge and looks through them; the key is asked with again only
while Stripe keeps it. While a dispute is open nothing is asked: the bank may take the
money itself, and what it has taken for good is not refunded besides.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from commands.stripe.asking import (
    PAGE,
    QUIET,
    REPLAYED_FOR,
    REQUEST,
    KeyNotAllowed,
    KeyOfOther,
    PaymentRefused,
    PaymentsAway,
    StaysAnError,
    ask_stripe,
)
from commands.stripe.client import Client
from db.journal.append import append
from db.payments import DOMAIN, PURCHASE
from db.payments import refunds as rows
from db.payments.events import ACTOR
from db.payments.refunds import RefundRow
from db.payments.stripe.entries import RefundRefused
from db.registry import Registry

SOON = timedelta(seconds=30)
LATER = timedelta(hours=1)
ROUND = 100  # refunds gone on with in a round
DISPUTE_OPEN = ("needs_response", "under_review")
DISPUTE_LOST = ("lost", "prevented")
# Codes of refusals that pass by themselves: no money yet, or a dispute of just now.
PASSING = ("balance_insufficient", "insufficient_funds", "charge_disputed")
ALLOW = "Give the secret key the right to write refunds"

log = logging.getLogger(__name__)


def no_guard(connection: Connection) -> None:
    """Guard nothing: for a process that is alone."""


@dataclass(slots=True)
class RefundWorker:
    """Makes the refunds that entries ask for; `guard` is asked in each transaction."""

    engine: Engine
    registry: Registry
    client: Client
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    guard: Callable[[Connection], None] = no_guard

    def round(self) -> int:
        """Take what was asked for and go on with what is due; how many were made."""
        with self._writing() as connection:
            rows.take_asked(connection, self.clock())
        with self.engine.connect() as connection:
            found = rows.due(connection, self.clock(), ROUND)
        made = 0
        for row in found:
            try:
                made += self._go_on(row)
            except PaymentsAway as error:
                self._wait(row.ask, str(error), SOON)
                break  # it would be the same with each
        return made

    def _go_on(self, row: RefundRow) -> bool:
        """Ask for a refund if nothing is in the way; whether it is made."""
        try:
            refund = self._listed(row) if row.attempt else None
            if refund is None and self._is_disputed(row):
                return False
            refund = refund or self._made(row)
        except KeyNotAllowed as error:
            self._wait(row.ask, f"{error.words}. {ALLOW}", SOON)
            return False
        except KeyOfOther as error:
            self._wait(row.ask, error.words, LATER)  # until Stripe forgets the key
            return False
        except PaymentRefused as error:
            if error.code in PASSING:
                self._wait(row.ask, f"Stripe says: {error.words}", LATER, spent=True)
            else:
                self._refuse(row, error.code, error.words)
            return False
        with self._writing() as connection:
            rows.note_made(connection, row.ask, refund)
        log.info("stripe_refund_made charge=%s refund=%s", row.charge, refund)
        return True

    def _made(self, row: RefundRow) -> str:
        """Make the refund of a row that no list shows; its id."""
        age = None if row.asked_at is None else self.clock() - row.asked_at
        if age is not None and REPLAYED_FOR - QUIET <= age < REPLAYED_FOR:
            raise PaymentsAway(
                "Stripe may be about to forget the key: in three minutes"
            )
        if age is None or age >= REPLAYED_FOR:
            row = self._begin(row)
        try:
            return self._create(row)
        except StaysAnError:
            return self._listed(row) or self._create(self._begin(row))

    def _begin(self, row: RefundRow) -> RefundRow:
        with self._writing() as connection:
            begun = rows.begin(connection, row, self.clock())
        if begun is None:
            raise PaymentsAway("another process goes on with it")
        return begun

    def _create(self, row: RefundRow) -> str:
        params: Any = {
            "charge": row.charge,
            "metadata": {
                DOMAIN: row.domain, PURCHASE: row.purchase, REQUEST: row.key,
            },
        }  # fmt: skip
        if row.amount:
            params["amount"] = row.amount
        options: Any = {"idempotency_key": f"chainfold:{row.attempt}:{row.key}"}
        return str(
            ask_stripe(lambda: self.client.v1.refunds.create(params, options)).id
        )

    def _listed(self, row: RefundRow) -> str | None:
        """The refund that an attempt made, found among all of the charge."""
        for each in self._each(self.client.v1.refunds.list, row.charge):
            own_metadata = {} if each.metadata is None else each.metadata.to_dict()
            if own_metadata.get(REQUEST) == row.key:
                return str(each.id)
        return None

    def _is_disputed(self, row: RefundRow) -> bool:
        """Wait while a dispute is open, and give up after one that was lost.

        Inquiries and disputes that were won are not in the way.
        """
        found: dict[str, str] = {}
        for each in self._each(self.client.v1.disputes.list, row.charge):
            found.setdefault(each.status, str(each.id))
        for status, id_ in found.items():
            if status in DISPUTE_LOST:
                words = f"the buyer's bank has taken the money already: dispute {id_}"
                self._refuse(row, "dispute_lost", words)
                return True
        for status, id_ in found.items():
            if status in DISPUTE_OPEN:
                cause = f"the dispute {id_} is open: it is refunded if that is won"
                self._wait(row.ask, cause, LATER)
                return True
        return False

    def _wait(
        self, ask: int, cause: str, pause: timedelta, *, spent: bool = False
    ) -> None:
        log.warning("stripe_refund_waits ask=%d cause=%s", ask, cause)
        with self._writing() as connection:
            rows.wait(connection, ask, cause, self.clock() + pause, spent=spent)

    def _refuse(self, row: RefundRow, code: str, words: str) -> None:
        """Say that no refund comes of a request, in one transaction with its end."""
        log.warning("stripe_refund_refused charge=%s cause=%s", row.charge, words)
        entry = RefundRefused(
            charge=row.charge, domain=row.domain, purchase=row.purchase, code=code,
            reason=words,
        )  # fmt: skip
        with self._writing() as connection:
            if rows.note_refused(connection, row.ask, words):
                append(connection, self.registry, entry, actor=ACTOR, now=self.clock())

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            self.guard(connection)
            yield connection

    def _each(self, ask: Callable[..., Any], charge: str) -> Iterator[Any]:
        """All that a list has of a charge."""
        params: Any = {"charge": charge, "limit": PAGE}
        while True:
            page = ask_stripe(partial(ask, params))
            yield from page.data
            if not page.has_more or not page.data:
                return
            params = {**params, "starting_after": page.data[-1].id}
