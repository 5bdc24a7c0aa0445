"""Books: accounts, and the entries of the journal that are posted to them.

    STRIPE = LedgerAccount("1000", "Stripe balance", AccountType.ASSET)
    FEES = LedgerAccount("5000", "Card fees", AccountType.EXPENSE)

    fee = Posting(
        "card fee", debit=FEES, credit=STRIPE, amount=PaymentCaptured.fee,
        currency=PaymentCaptured.settlement_currency,
        effective=PaymentCaptured.charged_at, reference=PaymentCaptured.charge,
    )

Each entry that a posting reads debits one account and credits another by the same
amount, so the books balance whatever is posted. An amount below zero is posted the
other way round, and one of zero is not posted.

Only entries are posted, never events of a chain: the journal has one order and loses
nothing, so a period that was closed stays as it was. A reaction to a final event tells
the journal what the chain did.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from db.declare.errors import DeclarationError
from db.declare.events import Event, EventView, FieldRef
from db.declare.expressions import Expression
from db.declare.fields import FieldKind
from db.declare.values import value_field


class AccountType(StrEnum):
    """The class of an account, in the order of a trial balance."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """An account of the chart; `number` orders it and is its own in a deployment."""

    number: str
    name: str
    type: AccountType


@dataclass(frozen=True, slots=True)
class Currency:
    """The currency of amounts whose entry names none: its code and decimals."""

    code: str
    decimals: int


@dataclass(frozen=True, slots=True, eq=False)
class Posting:
    """One account to debit and one to credit for each entry of a kind.

    `amount` is in minor units of `currency`: a field with a code of ISO 4217 in lower
    case, or a `Currency`. `effective` is the field with the moment that the entry is
    about, in seconds since 1970; without it that is when the entry was made.
    `reference` is the field that names the payment, purchase or payout, `business` the
    one with the domain that it belongs to. Raises DeclarationError.
    """

    text: str
    debit: LedgerAccount
    credit: LedgerAccount
    amount: Expression
    currency: FieldRef | Currency
    effective: FieldRef | None = None
    reference: FieldRef | None = None
    business: FieldRef | None = None

    def __post_init__(self) -> None:
        views = {leaf.view.identity() for leaf in self._of_amount()}
        found = {leaf.view.event for leaf in self._fields()}
        one = len(views) == len(found) == 1
        if not one or not all(event.spec.in_journal for event in found):
            raise DeclarationError(
                f"posting {self.text!r}",
                "it does not read the fields of one entry of the journal",
                "name fields of one Entry; what a chain did is told to the journal by "
                "a reaction",
            )
        if value_field(self.amount).kind not in (FieldKind.BIGINT, FieldKind.NUMERIC):
            raise DeclarationError(
                f"posting {self.text!r}",
                "its amount is no number",
                "name a field with an amount in minor units",
            )
        if self.debit == self.credit:
            raise DeclarationError(
                f"posting {self.text!r}",
                f"it debits and credits account {self.debit.number}",
                "name two accounts",
            )

    @property
    def view(self) -> EventView:
        """The entry that is read, narrowed as its amount is."""
        return self._of_amount()[0].view

    @property
    def event(self) -> type[Event]:
        """The entry that is read."""
        return self.view.event

    def _of_amount(self) -> list[FieldRef]:
        return [leaf for leaf in self.amount.leaves() if isinstance(leaf, FieldRef)]

    def _fields(self) -> Iterator[FieldRef]:
        yield from self._of_amount()
        for each in (self.currency, self.effective, self.reference, self.business):
            if isinstance(each, FieldRef):
                yield each


def refuse_two_accounts(postings: Iterable[Posting]) -> None:
    """Refuse one number for accounts of two names or types: raise DeclarationError."""
    found: dict[str, LedgerAccount] = {}
    for posting in postings:
        for account in (posting.debit, posting.credit):
            other = found.setdefault(account.number, account)
            if other != account:
                raise DeclarationError(
                    f"posting {posting.text!r}",
                    f"account {account.number} is {account.name} ({account.type}) and "
                    f"{other.name} ({other.type})",
                    "give one of the two another number",
                )
