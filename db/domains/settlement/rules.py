"""Rules of settlement, judged by the journal."""

import hashlib
import re
import time
from collections.abc import Iterator
from typing import Any

from db.declare import Refusal, Role, RowOf, Tables
from db.domains.settlement import money
from db.domains.settlement.charges import (
    is_due,
    kept,
    owed,
    total,
)
from db.domains.settlement.projections import (
    Collaborator,
    Content,
    Debt,
    Purchase,
    PurchaseCharge,
    TreasuryFunding,
    TreasuryWeek,
)
from db.payments.stripe.projections import StripeRefund

KINDS = ("chapter", "content")
LEAST_PRICE = 50  # cents: Stripe takes no less
STATUSES = ("pending", "in_progress", "completed")
TAKEN = ("open", "paid", "blocked", "settled")  # stages in which a copy is taken
RECIPIENTS_MOST = 12
CLOCK_SECONDS = 300  # that clocks may differ


def content_is_yours(command: Any, tables: Tables) -> Iterator[Refusal]:
    """Creators publish under their own account, and change what is theirs alone."""
    if Role.OPERATOR in tables.asker.roles:
        return
    mine = tables.asker.account
    content = tables.row(Content, content=command.content)
    owner = getattr(command, "account", mine) if content is None else content.account
    if not mine or owner != mine:
        yield Refusal(
            "not_your_content",
            "the content is of another account: publish under your own, with another "
            "name, or ask an operator",
        )


def share_is_yours(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A share is accepted by the account that it was offered to."""
    asker = tables.asker
    if Role.OPERATOR not in asker.roles and command.collaborator != asker.account:
        yield Refusal(
            "not_your_share", "the share was offered to another account than yours"
        )


def content_is_whole(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A content has a kind, a price that leaves something, and its document's hash."""
    if command.kind not in KINDS:
        yield Refusal("unknown_kind", f"kind is one of {', '.join(KINDS)}")
    if command.price < LEAST_PRICE:
        yield Refusal("too_cheap", f"the price is at least {LEAST_PRICE} cents")
    found = hashlib.sha256(command.metadata.encode()).digest()
    if found != command.metadata_hash:
        yield Refusal(
            "other_hash",
            f"metadata_hash is not the SHA-256 of metadata: it is 0x{found.hex()}",
        )


def share_is_left(command: Any, tables: Tables) -> Iterator[Refusal]:
    """All shares of a content are at most 10,000 basis points, of twelve people."""
    if tables.row(Content, content=command.content) is None:
        yield Refusal("no_such_content", "there is no such content: publish it first")
    others = [
        each
        for each in tables.rows(Collaborator, content=command.content)
        if each.collaborator != command.collaborator and each.share
    ]
    left = money.BASIS_POINTS - sum(each.share for each in others)
    if command.share > left:
        yield Refusal("no_share_left", f"{left} basis points are left of the content")
    if command.share and len(others) >= RECIPIENTS_MOST:
        yield Refusal("too_many", f"a content has at most {RECIPIENTS_MOST} shares")


def share_is_offered(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A share was offered, and the wallet takes no other share of the content."""
    rows = tables.rows(Collaborator, content=command.content)
    offered = [each for each in rows if each.collaborator == command.collaborator]
    if not offered or not offered[0].share:
        yield Refusal("not_offered", "no share of the content was offered")
    for each in rows:
        if each.wallet == command.wallet and each.collaborator != command.collaborator:
            yield Refusal("wallet_taken", "the wallet takes another share already")


def purchase_has_an_id(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A purchase has an id of 16 bytes, as the program keeps it."""
    if not re.fullmatch(r"0x[0-9a-f]{32}", command.purchase):
        yield Refusal("bad_id", "purchase is 16 bytes: 0x and 32 hex digits")


def content_can_be_bought(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The content is for sale and in stock, and the buyer neither has nor pays it."""
    content = tables.row(Content, content=command.content)
    if content is None:
        yield Refusal("no_such_content", "there is no such content")
        return
    if (command.price, command.total) != (
        content.price, money.buyer_total(content.price),
    ):  # fmt: skip
        yield Refusal("other_price", f"its price is {content.price} cents now")
    rows = tables.rows(Purchase, content=command.content)
    sold = [each for each in rows if each.stage in TAKEN and not _went_back(each)]
    if content.stock and len(sold) >= content.stock:
        yield Refusal("sold_out", "it is sold out, or the last ones are being paid for")
    mine = [each for each in sold if each.buyer == command.buyer]
    if any(each.stage != "open" for each in mine):
        yield Refusal("already_owned", "the buyer has bought it already")
    elif mine:
        yield Refusal("already_pending", "the buyer has an open purchase of it")


def payment_can_be_released(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A payment that is held or waits is of the right amount, and not disputed."""
    purchase = tables.row(Purchase, purchase=command.purchase)
    charge = _payment(command, tables)
    if purchase is None or charge is None:
        yield Refusal("no_such_payment", "the purchase has no such payment")
        return
    if purchase.stage == "settled":
        yield Refusal("settled", "the purchase is settled already")
    if charge.hold != "held" and charge.waits != "waiting":
        yield Refusal("not_held", "the payment is not held, and waits for nothing")
    if not is_due(charge, purchase):
        yield Refusal("other_amount", f"{purchase.total} cents are due: refund it")
    if total(charge.gone_for, "dispute"):
        yield Refusal("disputed", "the payment is disputed: wait until that is won")
    elif kept(charge) <= 0:
        yield Refusal("refunded", "nothing is left of the payment: it was refunded")
    yield from _no_refund_under_way(command, tables)


def payment_can_be_refunded(command: Any, tables: Tables) -> Iterator[Refusal]:
    """Something is left of a payment, and no refund of it is under way."""
    charge = _payment(command, tables)
    if charge is None:
        yield Refusal("no_such_payment", "the purchase has no such payment")
        return
    if kept(charge) <= 0:
        yield Refusal("refunded", "nothing is left of the payment: it went back")
    yield from _no_refund_under_way(command, tables)


def debt_is_owed(command: Any, tables: Tables) -> Iterator[Refusal]:
    """So much is owed for a payment that was settled and whose money went back."""
    debt = tables.row(Debt, purchase=command.purchase, charge=command.charge)
    if debt is None or debt.stage != "debt" or not owed(debt):
        yield Refusal("nothing_owed", "nothing is owed for such a payment")
    elif not 0 < command.cents <= owed(debt):
        yield Refusal("too_much", f"{owed(debt)} cents are owed: write off 1 to that")


def _payment(command: Any, tables: Tables) -> RowOf | None:
    """The payment that a command names, if it was captured."""
    keys = {"purchase": command.purchase, "charge": command.charge}
    found = tables.row(PurchaseCharge, **keys)
    return None if found is None or found.captured_in is None else found


def _no_refund_under_way(command: Any, tables: Tables) -> Iterator[Refusal]:
    refund = tables.row(StripeRefund, charge=command.charge)
    if refund is not None and refund.stage == "asked":
        yield Refusal("being_refunded", "a refund of the payment is under way")


def _went_back(purchase: RowOf) -> bool:
    """Whether all that was paid was refunded before the purchase was settled."""
    unsettled = purchase.stage in ("paid", "blocked")
    return unsettled and purchase.refunded >= purchase.paid


def week_was_reviewed(command: Any, tables: Tables) -> Iterator[Refusal]:
    """There is a review of that week, and the status is one of those there are."""
    if command.status not in STATUSES:
        yield Refusal("unknown_status", f"status is one of {', '.join(STATUSES)}")
    if tables.row(TreasuryWeek, week_start=command.week_start) is None:
        yield Refusal("no_such_week", "no week that begins then was reviewed")


def funding_is_new(command: Any, tables: Tables) -> Iterator[Refusal]:
    """USDC arrived, not in the future, and nobody has recorded it under its name."""
    if not command.usdc:
        yield Refusal("nothing_came", "usdc is what the treasury was given: above 0")
    if not command.reference:
        yield Refusal("no_reference", "reference names the transfer, for the books")
    if command.funded_at > time.time() + CLOCK_SECONDS:
        yield Refusal("in_the_future", "funded_at is in seconds since 1970, and past")
    if tables.row(TreasuryFunding, reference=command.reference) is not None:
        yield Refusal("recorded", "a funding with this reference is recorded already")
