"""For all amounts, rates and shares: what the program pays is what Python reckons."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from solders.compute_budget import set_compute_unit_limit

from devnet.solana import settlement
from devnet.solana.settlement import BASIS_POINTS
from helpers.settling import Town, reference, self_calls

U64_MAX = 2**64 - 1


@st.composite
def wholes(draw) -> tuple[int, ...]:
    """One to twelve shares above zero that are 10,000 basis points together."""
    count = draw(st.integers(1, 12))
    cuts = draw(
        st.lists(
            st.integers(1, BASIS_POINTS - 1),
            min_size=count - 1,
            max_size=count - 1,
            unique=True,
        )
    )
    edges = [0, *sorted(cuts), BASIS_POINTS]
    return tuple(b - a for a, b in pairwise(edges))


AMOUNTS = st.one_of(
    st.integers(1, 60),
    st.integers(1, 10**10),
    st.integers(U64_MAX - 10**5, U64_MAX),
    st.integers(1, U64_MAX),
)


@settings(max_examples=150, deadline=None)
@given(amount=AMOUNTS, fee_bps=st.integers(0, BASIS_POINTS), shares=wholes())
@example(amount=1, fee_bps=0, shares=(9_999, 1))
@example(amount=1, fee_bps=BASIS_POINTS, shares=(BASIS_POINTS,))
@example(amount=U64_MAX, fee_bps=9_999, shares=(1,) * 11 + (9_989,))
@example(amount=U64_MAX, fee_bps=1, shares=(3_333, 3_333, 3_334))
def test_the_parts_are_the_whole(amount, fee_bps, shares):
    town = Town(amount ^ fee_bps, fee_bps=fee_bps, funds=U64_MAX).initialized()
    purchase = town.purchase(*shares, distributable=amount)

    limit = set_compute_unit_limit(settlement.UNITS_MAX)
    done, sent = town.done(limit, town.settle(purchase))

    fee, paid, dust = reference(amount, fee_bps, shares)
    assert paid == [town.held(owner) for owner, _ in purchase.shares]
    assert town.amount(town.treasury) == U64_MAX - sum(paid)
    [data] = self_calls(done, sent)
    event = settlement.read_settled(data)
    assert (fee, dust) == (event.platform_fee, event.dust)
    assert paid == [each.amount for each in event.payouts]
    assert amount == event.platform_fee + event.dust + sum(paid)
    assert 0 <= dust < len(shares)
    receipt = settlement.read_receipt(
        town.data(settlement.receipt_address(purchase.identity))
    )
    assert sum(paid) == receipt.paid
    assert purchase.terms(fee_bps, town.usdc) == receipt.terms
