"""Reactions of settlement: a payment is settled, or blocked with a reason."""

import hashlib
from collections.abc import Iterator
from typing import Any

from db.declare import Command, Entry, RowOf, Tables, reaction
from db.declare.fields import Encoding
from db.domains.settlement import entries, money
from db.domains.settlement.commands import SettlePurchase
from db.domains.settlement.projections import (
    NAME,
    Collaborator,
    Content,
    Purchase,
    Sale,
)
from db.payments.stripe.entries import PaymentCaptured

Asked = Iterator[Command | Entry]
CURRENCY = "usd"


@reaction(to=PaymentCaptured)
def settle(event: Any, tables: Tables) -> Asked:
    """A payment came in: its purchase is settled, or blocked with the reason."""
    if event.domain != NAME:
        return
    purchase = tables.row(Purchase, purchase=event.purchase)
    if purchase is None or not purchase.content:
        yield _blocked(event.purchase, f"no such purchase: refund {event.charge}")
        return
    if purchase.paid - purchase.refunded > purchase.total:
        yield _blocked(
            event.purchase, f"it was paid before: refund {event.charge} once"
        )
        return
    if (event.amount, event.currency) != (purchase.total, CURRENCY):
        yield _blocked(
            event.purchase,
            f"{event.amount} {event.currency} were paid, and {purchase.total} "
            f"{CURRENCY} are due: refund {event.charge}",
        )
        return
    yield _settlement(purchase, tables)


@reaction(to=entries.ShareAccepted)
def settle_what_waited(event: Any, tables: Tables) -> Asked:
    """A collaborator has a wallet: what was blocked for want of it is settled.

    Not so what was refunded or is disputed meanwhile, or not paid in full.
    """
    for sale in tables.rows(Sale, content=event.content):
        purchase = tables.row(Purchase, purchase=sale.purchase)
        if purchase is None or purchase.stage != "blocked":
            continue
        asked = _settlement(purchase, tables)
        kept = purchase.paid - purchase.refunded
        is_paid = kept == purchase.total and not purchase.disputes
        if isinstance(asked, Command) and is_paid:
            yield entries.PurchaseReleased(purchase=purchase.purchase)
            yield asked


def _settlement(purchase: RowOf, tables: Tables) -> Command | Entry:
    """The transaction of a paid purchase, or the entry that says what it lacks."""
    content = tables.row(Content, content=purchase.content)
    assert content is not None  # nothing else can be bought
    shares = [
        each
        for each in tables.rows(Collaborator, content=purchase.content)
        if each.share
    ]
    lacking = [each.collaborator for each in shares if each.stage != "accepted"]
    if lacking:
        return _blocked(
            purchase.purchase,
            f"{', '.join(lacking)} of {purchase.content} has no wallet: let them "
            "accept their shares, and it goes on",
        )
    total = sum(each.share for each in shares)
    if total != money.BASIS_POINTS:
        return _blocked(
            purchase.purchase,
            f"the shares of {purchase.content} are {total} basis points, and 10,000 "
            "are all: offer what is left",
        )
    return SettlePurchase(
        purchase=bytes.fromhex(purchase.purchase[2:]),
        buyer=purchase.buyer,
        distributable=money.distributable(purchase.price),
        payment_hash=hashlib.sha256(purchase.charge.encode()).digest(),
        metadata_hash=content.metadata_hash,
        recipients=[Encoding.BASE58.text(each.wallet) for each in shares],
        shares=[each.share for each in shares],
    )


def _blocked(purchase: str, reason: str) -> Entry:
    return entries.PurchaseBlocked(purchase=purchase, reason=reason)
