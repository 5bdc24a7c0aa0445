"""Our Solana node answers as another one does, but for what is known and written."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
from solders.keypair import Keypair

from devnet.programs.build import program
from devnet.solana import ledger, settlement
from devnet.solana.client import Client, Devnet, TransactionFailedError
from devnet.solana.run import NodeOptions, SolanaNode
from helpers import solana_story
from helpers.market import FEE_BPS, Market, cluster_at
from helpers.settling import reference
from helpers.surfpool import SurfpoolUnavailable, surfpool
from helpers.surfpool_differences import DIFFERENCES
from ops.deploying import deploy, plan

pytestmark = [pytest.mark.slow, pytest.mark.chain]


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        return solana_story.plain(solana_story.play(Devnet(node.url)))


@pytest.fixture(scope="module")
def surfpool_url() -> Iterator[str]:
    try:
        with surfpool() as url:
            yield url
    except SurfpoolUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def theirs(surfpool_url) -> dict[str, Any]:
    return solana_story.plain(solana_story.play(Client(surfpool_url)))


def test_every_difference_from_surfpool_is_known(ours, theirs):
    found = list(solana_story.differences(ours, theirs))

    unknown = [
        f"{place}\n  ours   {str(mine)[:300]}\n  theirs {str(other)[:300]}"
        for place, mine, other in found
        if not any(matches(place, one.places) for one in DIFFERENCES)
    ]
    assert not unknown, "list it with what a real node does:\n" + "\n".join(unknown)


def test_every_known_difference_is_there(ours, theirs):
    """A list of what was once is no list."""
    places = [place for place, _, _ in solana_story.differences(ours, theirs)]

    gone = [
        pattern
        for one in DIFFERENCES
        for pattern in one.places
        if not any(fnmatchcase(place, pattern) for place in places)
    ]
    assert not gone


def test_surfpool_s_loader_takes_the_program(surfpool_url):
    """Its loader is agave's, and verifies what is deployed."""
    client, key = Client(surfpool_url), Keypair()
    client.fund(lamports=10**11)
    client.deploy(program("ledger"), key)

    meta = client.transaction(client.send(ledger.mark(1, 2, program=key.pubkey())))[
        "meta"
    ]
    assert f"Program {key.pubkey()} success" in meta["logMessages"]


def test_surfpool_takes_our_deployment_and_settles(surfpool_url):
    """Deploy, upgrade, configure and settle, with the token programs that it has."""
    market = Market(surfpool_url)
    client, own = market.client, market.program
    cluster = cluster_at(client, unit_price=1_000)
    small, code = program("ledger"), program("settlement")
    deploy(cluster, plan(cluster, small, own.pubkey(), len(code)), own, print)
    found = deploy(cluster, plan(cluster, code, own.pubkey()), None, print)
    assert (found.authority, found.holds(code)) == (market.key, True)
    client.send(market.initialize())
    purchase = market.purchase(*(833,) * 11, 837)

    done = client.transaction(market.settle(purchase))

    _, paid, _ = reference(purchase.distributable, FEE_BPS, [833] * 11 + [837])
    assert paid == [market.held(owner) for owner, _ in purchase.shares]
    assert done["meta"]["computeUnitsConsumed"] < settlement.UNITS_MAX
    code = settlement.error_code("AlreadySettled")
    with pytest.raises(TransactionFailedError, match=f"'Custom': {code}"):
        market.settle(purchase, skipPreflight=True)


def matches(place: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(place, pattern) for pattern in patterns)
