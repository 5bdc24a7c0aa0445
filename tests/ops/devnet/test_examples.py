"""The example contracts: a token, and a factory of pools."""

from __future__ import annotations

import pytest

from devnet.client import Contract
from helpers.anvil import World, refused

pytestmark = pytest.mark.chain

UNIT = 10**18


@pytest.fixture
def pool(world: World) -> Contract:
    tokens = [world.deployment.contract(name) for name in ("TestToken", "TestTokenB")]
    factory = world.deployment.contract("PairFactory")
    pair = world.call(factory, "getPair", *(token.address for token in tokens))
    for token in tokens:
        world.send(world.investors[0], token, "mint", world.investors[0], 1000 * UNIT)
        world.send(world.investors[0], token, "approve", pair, 2**255)
    return Contract("Pair", pair)


def test_pool_is_announced_by_its_factory(world: World) -> None:
    factory = world.deployment.contract("PairFactory")
    tokens = [world.registry.address, world.factory.address]

    event = world.send(world.stranger, factory, "createPair", *tokens).event(
        "PairCreated"
    )

    assert [event.args["token0"], event.args["token1"]] == sorted(tokens)
    assert event.args["pairCount"] == 2
    with refused("PairExists", event.args["pair"]):
        world.send(world.stranger, factory, "createPair", *reversed(tokens))


def test_liquidity_comes_and_goes(world: World, pool: Contract) -> None:
    owner = world.investors[0]

    added = world.send(owner, pool, "addLiquidity", 100 * UNIT, 400 * UNIT)
    removed = world.send(owner, pool, "removeLiquidity", 200 * UNIT, owner)

    assert added.event("Mint").args["amount1"] == 400 * UNIT
    assert added.event("Sync").args["reserve0"] == 100 * UNIT
    assert removed.event("Burn").args["amount0"] == 100 * UNIT
    assert removed.event("Sync").args == {"reserve0": 0, "reserve1": 0}


def test_swap_keeps_the_product_and_the_fee(world: World, pool: Contract) -> None:
    owner = world.investors[0]
    world.send(owner, pool, "addLiquidity", 100 * UNIT, 400 * UNIT)
    token0 = world.call(pool, "token0")

    receipt = world.send(owner, pool, "swap", token0, UNIT, 0, owner)

    out = receipt.event("Swap").args["amount1Out"]
    assert out == 997 * UNIT * 400 * UNIT // (100 * UNIT * 1000 + 997 * UNIT)
    reserves = receipt.event("Sync").args
    assert reserves["reserve0"] * reserves["reserve1"] > 100 * 400 * UNIT**2
    with refused("TooLittleOut"):
        world.send(owner, pool, "swap", token0, UNIT, 4 * UNIT, owner)
