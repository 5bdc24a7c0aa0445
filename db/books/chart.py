"""The chart of accounts of a deployment, and amounts as people read them."""

from collections.abc import Sequence

from db.declare.books import Currency, LedgerAccount, Posting
from db.payments.currencies import exponent


class AccountChart:
    """The accounts that postings name, by number, and the decimals of currencies."""

    def __init__(self, postings: Sequence[Posting]) -> None:
        self.postings = tuple(postings)
        both = {each.debit for each in postings} | {each.credit for each in postings}
        self.accounts: dict[str, LedgerAccount] = {
            each.number: each for each in sorted(both, key=lambda a: a.number)
        }
        named = (each.currency for each in postings)
        self._decimals = {
            each.code: each.decimals for each in named if isinstance(each, Currency)
        }

    def decimals(self, currency: str) -> int:
        """Return the number of decimals: as declared, or as ISO 4217 has it."""
        found = self._decimals.get(currency)
        return exponent(currency) if found is None else found

    def text(self, amount: int, currency: str) -> str:
        """Return an amount in minor units as a decimal: `-1234.50`."""
        digits = self.decimals(currency)
        whole, rest = divmod(abs(amount), 10**digits)
        sign = "-" if amount < 0 else ""
        return f"{sign}{whole}.{rest:0{digits}d}" if digits else f"{sign}{whole}"
