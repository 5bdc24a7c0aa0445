"""Money of a purchase: what the buyer pays, and what is split.

Prices are in cents of US dollars, what the chain receives in micro-USDC, of which a
cent has 10,000. Everything is integers, so that the parts equal the whole.
"""

from collections.abc import Sequence

MICRO_PER_CENT = 10_000
GAS_MICRO = 26_000  # of each purchase, for its transaction: 0.026 dollars
CARD_FIXED_CENTS = 30  # what the card costs: this, and 2.9 % of what is paid
CARD_PERMILLE = 29
BASIS_POINTS = 10_000
FEE_POINTS = 1_000  # of the platform, unless its program is configured otherwise


def buyer_total(price: int) -> int:
    """Return what the buyer pays for a price, in cents: the card's fee is on top.

    (price + 30) / (1 - 0.029), rounded half up.
    """
    rest = 1_000 - CARD_PERMILLE
    return (2 * (price + CARD_FIXED_CENTS) * 1_000 + rest) // (2 * rest)


def card_fee(total: int) -> int:
    """Return what the card costs of what was paid, in cents, rounded half up."""
    return (2 * total * CARD_PERMILLE + 1_000) // 2_000 + CARD_FIXED_CENTS


def distributable(price: int) -> int:
    """Return what is split of a price in cents, in micro-USDC: without the gas.

    Raises ValueError for a price that the gas uses up.
    """
    found = price * MICRO_PER_CENT - GAS_MICRO
    if found <= 0:
        raise ValueError(f"a price of {price} cents leaves nothing after the gas")
    return found


def split(
    amount: int, shares: Sequence[int], fee_points: int = FEE_POINTS
) -> tuple[int, list[int], int]:
    """Return the platform's fee, each recipient's part, and the dust, in micro-USDC.

    As the program does it: each part is rounded down, and the dust stays with the
    platform. Raises ValueError for shares that do not sum to 10,000 basis points.
    """
    if sum(shares) != BASIS_POINTS or min(shares, default=0) <= 0:
        raise ValueError("shares are above 0 and sum to 10,000 basis points")
    fee = amount * fee_points // BASIS_POINTS
    pool = amount - fee
    parts = [pool * share // BASIS_POINTS for share in shares]
    return fee, parts, pool - sum(parts)
