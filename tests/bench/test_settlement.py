"""Prints what a settlement takes: bytes, compute units, and lamports of rent."""

from __future__ import annotations

from statistics import median

import pytest
from solders.compute_budget import set_compute_unit_limit

from devnet.solana import settlement
from devnet.solana.settlement import BASIS_POINTS
from helpers.settling import Town

pytestmark = pytest.mark.bench
TOWNS = 25


def test_the_cost_of_a_settlement():
    print("\nrecipients  bytes  units: least  median  most  lamports of rent")
    for count in range(1, settlement.RECIPIENTS_MAX + 1):
        units, sizes, rents = [], set(), set()
        for seed in range(TOWNS):
            town = Town(100 * seed + count).initialized()
            points = [BASIS_POINTS // count] * count
            points[0] += BASIS_POINTS - sum(points)
            before = town.vm.get_balance(town.payer.pubkey())
            limit = set_compute_unit_limit(1_400_000)
            done, sent = town.done(limit, town.settle(town.purchase(*points)))
            units.append(done.compute_units_consumed())
            sizes.add(len(bytes(sent)))
            paid = before - town.vm.get_balance(town.payer.pubkey())
            rents.add(paid - 2 * 5_000)
        [size], [rent] = sizes, rents
        print(
            f"{count:10} {size:6} {min(units):13,} {median(units):7,.0f} "
            f"{max(units):6,} {rent:12,}"
        )
