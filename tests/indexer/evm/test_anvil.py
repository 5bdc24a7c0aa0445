"""The source against a real node and the real contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from db.declare import Address, Contract, Event, Text, Uint
from db.position import BlockRange
from db.proofs import Verify
from helpers.anvil import World, fresh_world
from indexer.evm.client import RpcClient
from indexer.evm.proofs import ProofPolicy
from indexer.evm.source import Depth, EvmSource, FollowedContract

pytestmark = pytest.mark.chain

factory = Contract("CampaignFactory")


class CampaignCreated(Event):
    source = factory
    campaign = Address(param="campaignAddress")
    company = Text(param="companyName")


campaigns = Contract("CampaignImplementation", created_by=CampaignCreated.campaign)


class Initialized(Event):
    source = campaigns
    campaign = Address(emitter=True)


class InvestmentMade(Event):
    source = campaigns
    campaign = Address(emitter=True)
    amount = Uint()


IDS = [event.spec.id for event in (CampaignCreated, Initialized, InvestmentMade)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with fresh_world() as world:
        first, second = (
            world.campaign(),
            world.campaign(world.issuers[1], campaign_id="C-2"),
        )
        for amount in (1, 2, 3):
            world.invest(first, world.investors[0], amount * 10**17)
        world.invest(second, world.investors[1], 10**18)
        yield world


def fetch(world: World, **options: Any) -> tuple[Any, Any]:
    """The head, and everything up to it."""
    deployed = world.deployment.contracts["CampaignFactory"]
    followed = [
        FollowedContract(
            factory,
            {bytes.fromhex(deployed.address[2:]): deployed.first_block},
            [CampaignCreated],
        ),
        FollowedContract(campaigns, {}, [Initialized, InvestmentMade]),
    ]
    chain_id = world.deployment.chain_id

    async def work() -> tuple[Any, Any]:
        source = EvmSource(
            "dev", f"eip155:{chain_id}", RpcClient([world.anvil.url], chain_id),
            followed, Depth(1), **options,
        )  # fmt: skip
        try:
            head = await source.head()
            return head, await source.fetch(BlockRange(0, head.height), IDS)
        finally:
            await source.close()

    return asyncio.run(work())


@pytest.mark.parametrize("mode", ["all", "filtered"])
def test_real_campaigns_are_followed_from_their_first_log(world, mode):
    head, batch = fetch(world, mode=mode, policy=ProofPolicy(Verify.ALWAYS))

    counts = {found.event.spec.name: len(found) for found in batch.facts}
    assert counts == {"CampaignCreated": 2, "Initialized": 2, "InvestmentMade": 4}
    assert len(batch.children) == 2
    assert batch.undecodable == []
    assert batch.headers[-1] == head


def test_the_operators_own_transactions_are_read(world):
    operator = bytes.fromhex(world.operator[2:])
    _, batch = fetch(world, watch_senders={operator})

    assert len(batch.transactions) >= 4
    nonces = [sent.nonce for sent in batch.transactions]
    assert nonces == sorted(nonces)
    assert {sent.sender for sent in batch.transactions} == {operator}
