"""The page of the books: the chart of accounts, and what is posted to them."""

from db.books.chart import AccountChart
from db.declare.books import Currency, Posting
from db.declare.events import FieldRef
from db.registry import Registry
from ops.docs.markdown import code, page, table


def books_page(registry: Registry | None = None) -> str:
    """Every account, and every posting with the entry that it reads."""
    chart = AccountChart((registry or Registry.load()).postings)
    return page(
        "Books",
        "The accounts of the double-entry books, and how entries of the journal are "
        "posted to them. An amount below zero is posted the other way round. What "
        "books are for: [books](../books.md).",
        "## Accounts",
        table(
            ["number", "account", "type"],
            [(a.number, a.name, a.type.value) for a in chart.accounts.values()],
        ),
        "## Postings",
        table(
            ["posting", "entry", "debit", "credit", "amount", "currency", "effective"],
            [_posting(each) for each in chart.postings],
        ),
    )


def _posting(posting: Posting) -> tuple[str, ...]:
    prefix = f"{posting.event.spec.id}."
    currency = posting.currency
    return (
        posting.text,
        code(posting.event.spec.id),
        f"{posting.debit.number} {posting.debit.name}",
        f"{posting.credit.number} {posting.credit.name}",
        code(posting.amount.describe().replace(prefix, "")),
        currency.code if isinstance(currency, Currency) else code(currency.field.name),
        _field(posting.effective),
    )


def _field(ref: FieldRef | None) -> str:
    return "when it was appended" if ref is None else code(ref.field.name)
