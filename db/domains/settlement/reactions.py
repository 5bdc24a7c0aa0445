"""Reactions of settlement: a payment is settled, blocked with a reason, or refunded.

Each is given an entry with the tables as of it, and others run beside it: what it asks
for is right only if nothing later speaks against it. So whatever speaks against a
payment (`PurchaseCharge.alarms`) withdraws every settlement that was asked for before,
and what is asked for afterwards is another request (`SettlePurchase.attempt`).
"""

from collections.abc import Iterator
from typing import Any

from db.declare import Command, Entry, RowOf, Tables, Withdrawal, reaction
from db.declare.fields import Encoding
from db.domains.settlement import entries, money
from db.domains.settlement import events as e
from db.domains.settlement.charges import (
    CURRENCY,
    can_be_settled,
    charges_of,
    is_due,
    payment_hash,
    takes,
)
from db.domains.settlement.commands import SettlePurchase
from db.domains.settlement.newcomers import wait_of_new_buyer
from db.domains.settlement.projections import (
    NAME,
    Collaborator,
    Content,
    Purchase,
    PurchaseCharge,
    Sale,
)
from db.payments.stripe import entries as stripe

Asked = Iterator[Command | Entry | Withdrawal]
SOLD = ("paid", "blocked", "settled")


@reaction(to=stripe.PaymentCaptured)
def settle(event: Any, tables: Tables) -> Asked:
    """A payment came in: its purchase is settled or blocked, or it is refunded."""
    if event.domain != NAME:
        return
    purchase = tables.row(Purchase, purchase=event.purchase)
    if purchase is None or not purchase.content:
        yield _refund(event.purchase, event.charge, "there is no such purchase")
        return
    charges = charges_of(event.purchase, tables)
    [own] = [each for each in charges if each.charge == event.charge]
    before = [each for each in charges if each.captured_in < own.captured_in]
    if not is_due(own, purchase):
        why = (
            f"{event.amount} {event.currency} were paid, and {purchase.total} "
            f"{CURRENCY} are due"
        )
        yield _refund(event.purchase, event.charge, why)
    elif purchase.stage == "settled" or any(takes(each, purchase) for each in before):
        yield _refund(event.purchase, event.charge, "it was paid before")
    elif _is_sold_out(purchase, own, tables):
        yield _refund(event.purchase, event.charge, "it was sold out when it was paid")
    elif not can_be_settled(own, purchase):
        yield _blocked(event.purchase, f"{own.charge} did not stay: look at its row")
    else:
        yield _settlement(purchase, own, tables)


@reaction(to=entries.ShareAccepted)
def settle_what_waited(event: Any, tables: Tables) -> Asked:
    """A collaborator has a wallet: what was blocked for want of it is settled."""
    for sale in tables.rows(Sale, content=event.content):
        yield from _go_on(sale.purchase, tables)


@reaction(to=entries.HoldReleased)
def settle_what_was_released(event: Any, tables: Tables) -> Asked:
    """A person let a payment that was held or waited be settled."""
    yield from _go_on(event.purchase, tables)


@reaction(to=entries.PurchaseWaitOver)
def settle_what_has_waited(event: Any, tables: Tables) -> Asked:
    """The payment of a new buyer has waited: its purchase is settled."""
    yield from _go_on(event.purchase, tables)


@reaction(to=entries.RefundWanted)
def refund_by_hand(event: Any, tables: Tables) -> Asked:
    """A person wants a payment refunded."""
    yield _refund(event.purchase, event.charge, event.reason)


@reaction(to=stripe.RefundAsked)
def stop_what_is_refunded(event: Any, tables: Tables) -> Asked:
    """A payment is to be refunded: it is not settled."""
    if event.domain == NAME:
        yield from _stop(event, f"{event.reason}: {event.charge} is refunded", tables)


@reaction(to=stripe.RefundMade)
def stop_what_was_refunded(event: Any, tables: Tables) -> Asked:
    """Money of a payment went back: it is not settled, unless that was done before."""
    if event.domain == NAME:
        why = f"{event.amount} {event.currency} of {event.charge} were refunded"
        yield from _stop(event, f"{why}: {event.refund}", tables)


@reaction(to=stripe.DisputeOpened)
def stop_what_is_disputed(event: Any, tables: Tables) -> Asked:
    """A payment is disputed: it is not settled before that is won."""
    if event.domain == NAME and not event.inquiry:
        why = f"{event.charge} is disputed: {event.dispute}"
        yield from _stop(event, why, tables)


@reaction(to=stripe.EarlyFraudWarning)
def hold_what_is_warned_of(event: Any, tables: Tables) -> Asked:
    """The card's network warns of fraud: a person releases or refunds the payment."""
    if event.domain == NAME:
        why = f"the card's network warns of fraud ({event.fraud_type}): {event.charge}"
        yield from _stop(event, f"{why}. Release the purchase, or refund it", tables)


@reaction(to=stripe.RefundFailed)
def go_on_after_a_refund(event: Any, tables: Tables) -> Asked:
    """A refund came to nothing: its payment is here again."""
    if event.domain == NAME:
        yield from _come_back(event, tables)


@reaction(to=stripe.DisputeClosed)
def go_on_after_a_dispute(event: Any, tables: Tables) -> Asked:
    """A dispute was won: its payment is here again."""
    if event.domain == NAME and event.status == "won":
        yield from _come_back(event, tables)


@reaction(to=e.PurchaseSettled)
def tell_the_journal(event: Any, tables: Tables) -> Asked:
    """The chain has settled a purchase for good: the journal says so too."""
    yield entries.SettlementSeen(
        purchase="0x" + event.purchase.hex(),
        payment_hash=event.payment_hash,
        outflow=event.amount - event.platform_fee - event.dust,
    )


@reaction(to=entries.SettlementSeen)
def note_settled(event: Any, tables: Tables) -> Asked:
    """A purchase is settled: for one of its payments, and for no other any more."""
    charges = charges_of(event.purchase, tables)
    for each in charges:
        if payment_hash(each.charge) == event.payment_hash:
            yield entries.ChargeSettled(
                purchase=event.purchase, charge=each.charge, outflow=event.outflow
            )
    if len(charges) > 1 or any(each.alarms for each in charges):
        for each in charges:
            yield from _withdrawn(each, each.alarms + 1, "the purchase is settled")


def _come_back(event: Any, tables: Tables) -> Asked:
    """Go on with a payment that is here again, unless another was taken for it."""
    purchase = tables.row(Purchase, purchase=event.purchase)
    if purchase is None or purchase.stage == "settled":
        return
    charges = charges_of(event.purchase, tables)
    others = [each.charge for each in charges if takes(each, purchase)]
    if event.charge in others and len(others) > 1:
        yield _blocked(
            event.purchase,
            f"{event.charge} is here again, and it was paid anew: refund one of "
            f"{', '.join(others)}",
        )
        return
    yield from _go_on(event.purchase, tables)


def _go_on(name: str, tables: Tables) -> Asked:
    """Ask for the settlement of a purchase, if there is one payment to settle for.

    With two it is not known yet which is refunded; when it is, this is asked again.
    """
    purchase = tables.row(Purchase, purchase=name)
    if purchase is None or not purchase.content or purchase.stage == "settled":
        return
    charges = charges_of(name, tables)
    fit = [each for each in charges if can_be_settled(each, purchase)]
    if len(fit) != 1:
        return
    asked = _settlement(purchase, fit[0], tables)
    if not isinstance(asked, entries.PurchaseBlocked):
        if purchase.stage == "blocked":
            yield entries.PurchaseReleased(purchase=name)
        yield asked
    elif asked.values["reason"] != purchase.blocked_because:
        yield asked


def _stop(event: Any, why: str, tables: Tables) -> Asked:
    """Withdraw what was asked for a payment; block its purchase, or go on without."""
    purchase = tables.row(Purchase, purchase=event.purchase)
    if purchase is None or purchase.stage == "settled":
        return
    if not purchase.content:
        yield _blocked(event.purchase, why)
        return
    row = tables.row(PurchaseCharge, purchase=event.purchase, charge=event.charge)
    assert row is not None  # the event itself is folded into it
    yield from _withdrawn(row, row.alarms, why)
    charges = charges_of(event.purchase, tables)
    if any(takes(each, purchase) for each in charges if each.charge != event.charge):
        yield from _go_on(event.purchase, tables)
    else:
        yield _blocked(event.purchase, why)


def _withdrawn(charge: RowOf, attempts: int, why: str) -> Iterator[Withdrawal]:
    """Withdraw the settlements that the first attempts for a payment asked for."""
    for number in range(attempts):
        yield Withdrawal(
            SettlePurchase, why, purchase=bytes.fromhex(charge.purchase[2:]),
            payment_hash=payment_hash(charge.charge), attempt=number,
        )  # fmt: skip


def _is_sold_out(purchase: RowOf, own: RowOf, tables: Tables) -> bool:
    """Whether others have paid for the last of a content before."""
    content = tables.row(Content, content=purchase.content)
    if content is None or not content.stock:
        return False
    sales = tables.rows(Sale, content=purchase.content)
    if len(sales) <= content.stock:
        return False
    names = (each.purchase for each in sales if each.purchase != purchase.purchase)
    others = (tables.row(Purchase, purchase=name) for name in names)
    sold = sum(each is not None and _has_paid(each, own, tables) for each in others)
    return sold >= int(content.stock)


def _has_paid(other: RowOf, own: RowOf, tables: Tables) -> bool:
    """Whether another purchase was settled, or paid for before a payment."""
    if other.stage not in SOLD:
        return False
    return other.stage == "settled" or any(
        takes(each, other) and each.captured_in < own.captured_in
        for each in charges_of(other.purchase, tables)
    )


def _settlement(purchase: RowOf, charge: RowOf, tables: Tables) -> Command | Entry:
    """The transaction of a paid purchase, or the entry that says why not yet."""
    if (wait := wait_of_new_buyer(purchase, charge, tables)) is not None:
        return wait
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
        payment_hash=payment_hash(charge.charge),
        metadata_hash=content.metadata_hash,
        recipients=[Encoding.BASE58.text(each.wallet) for each in shares],
        shares=[each.share for each in shares],
        attempt=charge.alarms,
    )


def _refund(purchase: str, charge: str, reason: str) -> Entry:
    return stripe.RefundAsked(
        charge=charge, domain=NAME, purchase=purchase, amount=0, reason=reason
    )


def _blocked(purchase: str, reason: str) -> Entry:
    return entries.PurchaseBlocked(purchase=purchase, reason=reason[:500])
