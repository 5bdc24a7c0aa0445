"""Money of purchases against published values, and parts that equal the whole."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.domains.settlement.money import (
    BASIS_POINTS,
    GAS_MICRO,
    buyer_total,
    card_fee,
    distributable,
    split,
)

# Price, buyer's total and card's fee in cents; the others in micro-USDC.
GOLDEN = [
    (100, 134, 34, 974_000, 97_400, [438_300, 262_980, 175_320]),
    (300, 340, 40, 2_974_000, 297_400, [1_338_300, 802_980, 535_320]),
    (500, 546, 46, 4_974_000, 497_400, [2_238_300, 1_342_980, 895_320]),
    (1_000, 1_061, 61, 9_974_000, 997_400, [4_488_300, 2_692_980, 1_795_320]),
    (2_000, 2_091, 91, 19_974_000, 1_997_400, [8_988_300, 5_392_980, 3_595_320]),
]


@pytest.mark.parametrize(("price", "total", "card", "amount", "fee", "parts"), GOLDEN)
def test_a_price_becomes_what_the_table_says(price, total, card, amount, fee, parts):
    assert (buyer_total(price), card_fee(total)) == (total, card)
    assert distributable(price) == amount
    assert split(amount, [5_000, 3_000, 2_000]) == (fee, parts, 0)


@pytest.mark.parametrize("price", [0, 1, 2])
def test_a_price_that_the_gas_uses_up_is_refused(price):
    with pytest.raises(ValueError, match=f"a price of {price} cents leaves nothing"):
        distributable(price)


@pytest.mark.parametrize("shares", [[], [9_999], [10_001], [10_000, 0], [-1, 10_001]])
def test_shares_that_are_no_whole_are_refused(shares):
    with pytest.raises(ValueError, match="sum to 10,000"):
        split(10**6, shares)


@st.composite
def shares(draw):
    cuts = draw(st.sets(st.integers(1, BASIS_POINTS - 1), max_size=11))
    edges = [0, *sorted(cuts), BASIS_POINTS]
    return [high - low for low, high in itertools.pairwise(edges)]


@given(st.integers(1, 2**64 - 1), shares(), st.integers(0, BASIS_POINTS))
def test_parts_equal_the_whole(amount, points, fee_points):
    fee, parts, dust = split(amount, points, fee_points)

    assert fee + sum(parts) + dust == amount
    assert 0 <= dust < len(points)
    assert fee == amount * fee_points // BASIS_POINTS


@given(st.integers(3, 10**7))
def test_the_buyer_pays_what_the_card_takes_on_top(price):
    total = buyer_total(price)

    assert abs(total - card_fee(total) - price) <= 1
    assert distributable(price) + GAS_MICRO == price * 10_000
