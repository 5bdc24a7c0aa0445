"""Every contract that commands call takes an id behind its calldata as if it were not.

The same business is played with and without, and the contracts say the same. One that
does not must be declared with `tagged=False`.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from db.commands.evm.tags import tag_of
from db.registry import Registry
from devnet.client import Call
from devnet.codec import bytes32
from examples.crowdfunding.traffic import Traffic
from helpers.anvil import World, fresh_world

pytestmark = [pytest.mark.chain, pytest.mark.slow]


def played() -> list[tuple[Any, ...]]:
    with fresh_world() as world:
        Traffic(world.deployment, seed=3, transactions_max=30).play(60)
        anchor(world)
        span = {"fromBlock": "0x0", "toBlock": "latest"}
        logs = world.anvil.rpc("eth_getLogs", span)
        return [(log["address"], log["topics"], log["data"]) for log in logs]


def anchor(world: World) -> None:
    registry = world.deployment.contract("AnchorRegistry")
    words = bytes32("subject"), bytes32("hash"), bytes32("ref")
    world.send(world.operator, registry, "anchor", words[0], 600, words[1], 1, words[2])


def test_the_same_is_said_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, called, suffix = Call.transaction, set(), tag_of(uuid.UUID(int=7)).hex()

    def tagged(call: Call) -> dict[str, str]:
        called.add(call.to.name)
        sent = plain(call)
        return {**sent, "data": sent["data"] + suffix}

    without = played()
    monkeypatch.setattr(Call, "transaction", tagged)

    assert without == played()
    business = Registry.load(["crowdfunding"])
    commands = [each.spec.call for each in business.commands.values()]
    assert {call.contract for call in commands if call is not None} <= called
