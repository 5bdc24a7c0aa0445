"""The decimals of Stripe's amounts, by currency.

From Stripe's manual, "Supported currencies": its lists of zero-decimal and
three-decimal currencies. Icelandic krónur and Ugandan shillings have no decimals any
more, but their amounts have two, as that page says under "Special cases".
"""

ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
)
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())


def exponent(currency: str) -> int:
    """The number of decimals."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def shown(amount: int, currency: str) -> str:
    """An amount in minor units as people write it: `-1,234.50 USD`."""
    digits = exponent(currency)
    whole, rest = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    decimals = f".{rest:0{digits}d}" if digits else ""
    return f"{sign}{whole:,}{decimals} {currency.upper()}"
