"""Notices of settlement: buyers and creators are told, and the team what needs it.

The team is told in the channel `operations` of the settings.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from db.declare import (
    Notice,
    Tables,
    ToAccount,
    ToChannel,
    Wording,
    reaction,
    schedule,
)
from db.declare.fields import Encoding
from db.domains.settlement import entries, treasury
from db.domains.settlement.projections import (
    NAME,
    AccountDay,
    Collaborator,
    Content,
    Purchase,
    SettledDay,
    TreasuryAccount,
)
from db.domains.settlement.settings import SettlementSettings
from db.domains.settlement.treasury import MICRO, AccountHeld
from db.payments.currencies import shown
from db.payments.stripe import entries as stripe

TEAM = ToChannel("operations")

BOUGHT = Wording(
    en=(
        "{title} is yours",
        "Your purchase {purchase} is complete: its NFT is in the wallet {buyer}.",
    ),
    fr=(
        "{title} est à vous",
        (
            "Votre achat {purchase} est terminé : son NFT est dans le portefeuille "
            "{buyer}."
        ),
    ),
)
SOLD = Wording(
    en=(
        "{title} was sold",
        (
            "A copy of {title} was sold, and your share of {percent} % was paid to "
            "{wallet}."
        ),
    ),
    fr=(
        "{title} a été vendu",
        (
            "Un exemplaire de {title} a été vendu, et votre part de {percent} % a été "
            "versée à {wallet}."
        ),
    ),
)
REFUNDED = Wording(
    en=(
        "A refund of {amount}",
        "{amount} of your purchase {purchase} go back to your card.",
    ),
    fr=(
        "Remboursement de {amount}",
        "{amount} de votre achat {purchase} retournent sur votre carte.",
    ),
)
BLOCKED = Wording(
    en=("A purchase is blocked", "Purchase {purchase}: {reason}."),
    fr=("Un achat est bloqué", "Achat {purchase} : {reason}."),
)
DISPUTED = Wording(
    en=(
        "A payment is disputed",
        (
            "Payment {charge} of purchase {purchase} is disputed ({reason}): answer at "
            "Stripe."
        ),
    ),
    fr=(
        "Un paiement est contesté",
        (
            "Le paiement {charge} de l'achat {purchase} est contesté ({reason}) : "
            "répondez chez Stripe."
        ),
    ),
)
LOW = Wording(
    en=(
        "The treasury is {health}",
        "It holds {balance} USDC, for {days} days: fill {accounts}.",
    ),
    fr=(
        "La trésorerie : {health}",
        (
            "Elle contient {balance} USDC, pour {days} jours : approvisionnez "
            "{accounts}."
        ),
    ),
)
UNFOLLOWED = Wording(
    en=(
        "Accounts of the treasury are not followed",
        (
            "Warnings of a low treasury do not count {accounts}: name them in "
            "[chains.<name>.tokens] of the settings."
        ),
    ),
    fr=(
        "Des comptes de la trésorerie ne sont pas suivis",
        (
            "Les alertes de trésorerie ne comptent pas {accounts} : nommez-les "
            "dans les paramètres, sous [chains.<name>.tokens]."
        ),
    ),
)


@reaction(to=entries.SettlementSeen)
def tell_of_a_sale(entry: Any, tables: Tables) -> Iterator[Notice]:
    """Tell the buyer and the creators that a purchase was settled."""
    purchase = tables.row(Purchase, purchase=entry.purchase)
    content = purchase and tables.row(Content, content=purchase.content)
    if purchase is None or content is None:
        return
    yield Notice(
        "bought", BOUGHT, to=ToAccount(purchase.account), title=content.title,
        purchase=entry.purchase, buyer=Encoding.BASE58.text(purchase.buyer),
    )  # fmt: skip
    for each in tables.rows(Collaborator, content=purchase.content):
        if each.share and each.stage == "accepted":
            yield Notice(
                "sold", SOLD, to=ToAccount(each.collaborator), title=content.title,
                percent=f"{each.share / 100:g}",
                wallet=Encoding.BASE58.text(each.wallet),
            )  # fmt: skip


@reaction(to=stripe.RefundMade)
def tell_of_a_refund(entry: Any, tables: Tables) -> Iterator[Notice]:
    """Tell the buyer that money goes back."""
    purchase = tables.row(Purchase, purchase=entry.purchase)
    if entry.domain == NAME and purchase is not None and purchase.account:
        yield Notice(
            "refunded", REFUNDED, to=ToAccount(purchase.account),
            amount=shown(entry.amount, entry.currency), purchase=entry.purchase,
        )  # fmt: skip


@reaction(to=entries.PurchaseBlocked)
def tell_of_a_block(entry: Any, tables: Tables) -> Iterator[Notice]:
    """Tell the team what keeps a purchase from being settled."""
    yield Notice(
        "blocked", BLOCKED, to=TEAM, purchase=entry.purchase, reason=entry.reason
    )


@reaction(to=stripe.DisputeOpened)
def tell_of_a_dispute(entry: Any, tables: Tables) -> Iterator[Notice]:
    """Tell the team that a payment is disputed: Stripe waits for an answer."""
    if entry.domain == NAME:
        yield Notice(
            "disputed", DISPUTED, to=TEAM, charge=entry.charge,
            purchase=entry.purchase, reason=entry.reason,
        )  # fmt: skip


@schedule("0 * * * *", zone="UTC")
def warn_of_the_treasury(at: datetime, tables: Tables) -> Iterator[Notice]:
    """Tell the team, once a day for each level, that the treasury runs low.

    Its accounts are those that have paid; their balances are those of the indexed
    movements. The team is told once a week of the accounts that are not followed:
    these are not named in `[chains.<name>.tokens]`, and not counted.
    """
    today = int(at.timestamp()) // treasury.DAY_SECONDS * treasury.DAY_SECONDS
    held = [_indexed(tables, each.treasury) for each in tables.rows(TreasuryAccount)]
    unknown = [each.account for each in held if each.balance is None]
    if unknown:
        year, week, _ = at.isocalendar()
        yield Notice(
            "treasury_unfollowed", UNFOLLOWED, to=TEAM, once=f"{year} week {week}",
            accounts=", ".join(unknown),
        )  # fmt: skip
    balance = treasury.balance_of(held)
    settings = tables.settings(SettlementSettings)
    found = treasury.state(tables.rows(SettledDay), today, balance, settings)
    if balance is None or found.health not in ("warning", "critical"):
        return
    known = [each.account for each in held if each.balance is not None]
    runway = found.runway_days
    yield Notice(
        "treasury_low", LOW, to=TEAM, once=f"{today} {found.health}",
        health=found.health, accounts=", ".join(known),
        days="∞" if runway is None else runway, balance=f"{balance / MICRO:,.6f}",
    )  # fmt: skip


def _indexed(tables: Tables, account: bytes) -> AccountHeld:
    """Return what an account holds by its movements; None where none is indexed."""
    moved = tables.rows(AccountDay, account=account)
    latest = max(moved, key=lambda row: row.day, default=None)
    return AccountHeld(account, None if latest is None else int(latest.balance))
