"""Fees and conversions of fakestripe, in whole minor units.

Currencies without a minor unit and with three decimals are those that Stripe's manual
lists ("Supported currencies", zero-decimal and three-decimal currencies).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
)
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())


def exponent(currency: str) -> int:
    """Return how many decimals a currency has."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


@dataclass(slots=True)
class Prices:
    """What Stripe takes, and at which rates it converts."""

    settlement: str = "usd"
    percent: Decimal = Decimal("2.9")
    fixed: int = 30
    conversion_percent: Decimal = Decimal("1")
    dispute: int = 1500
    rates: dict[str, Decimal] = field(
        default_factory=lambda: {
            "eur": Decimal("1.083417"), "gbp": Decimal("1.271903"),
            "jpy": Decimal("0.006719"), "kwd": Decimal("3.254071"),
            "cad": Decimal("0.728316"),
        }
    )  # fmt: skip

    def settle(self, amount: int, currency: str) -> tuple[int, Decimal | None]:
        """Return an amount in the settlement currency, and the rate if one was used.

        The rate is between major units, so that 1 of ``currency`` is so many.
        """
        if currency == self.settlement:
            return amount, None
        rate = self.rates[currency]
        shift = exponent(self.settlement) - exponent(currency)
        exact = Decimal(amount) * rate * Decimal(10) ** shift
        return int(exact.quantize(Decimal(1), ROUND_HALF_UP)), rate

    def fee(self, settled: int, *, converted: bool) -> int:
        """Return what a charge of so much, settled, costs."""
        percent = self.percent + (self.conversion_percent if converted else 0)
        exact = Decimal(settled) * percent / 100
        return int(exact.quantize(Decimal(1), ROUND_HALF_UP)) + self.fixed
