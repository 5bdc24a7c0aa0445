"""Hashes on the chain: who put them there, about what, and in which order."""

from __future__ import annotations

import pytest

from helpers.anvil import World

pytestmark = pytest.mark.chain

ABOUT, OTHER, CONTENT, REF = (bytes([n]) * 32 for n in (1, 2, 3, 4))


def anchor(world: World, sender: str, about: bytes, **changes: object) -> dict:
    values = {"kind": 600, "content": CONTENT, "at": 2**64 - 1, "ref": REF} | changes
    registry = world.deployment.contract("AnchorRegistry")
    receipt = world.send(sender, registry, "anchor", about, *values.values())
    return receipt.event("Anchored").args


def test_an_anchor_says_everything_it_was_given(world: World) -> None:
    said = anchor(world, world.operator, ABOUT)

    assert said["by"] == world.operator
    assert (said["kind"], said["occurredAt"], said["seq"]) == (600, 2**64 - 1, 1)
    given = [
        value if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))
        for value in (said["subject"], said["contentHash"], said["ref"])
    ]
    assert given == [ABOUT, CONTENT, REF]


def test_anchors_are_counted_for_each_subject(world: World) -> None:
    """Whoever sends them, and of whatever kind: a reader sees that none is missing."""
    said = [
        anchor(world, world.operator, ABOUT)["seq"],
        anchor(world, world.stranger, ABOUT, kind=1)["seq"],
        anchor(world, world.operator, OTHER)["seq"],
        anchor(world, world.operator, ABOUT)["seq"],
    ]

    assert said == [1, 2, 1, 3]
    registry = world.deployment.contract("AnchorRegistry")
    assert [world.call(registry, "count", each) for each in (ABOUT, OTHER, REF)] == [
        3, 1, 0,
    ]  # fmt: skip


def test_who_anchors_is_told_and_not_judged(world: World) -> None:
    said = anchor(world, world.stranger, ABOUT)

    assert said["by"] == world.stranger
