"""Our Solana node answers as another one does, but for what is known and written."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from helpers import solana_story
from helpers.surfpool import SurfpoolUnavailable, surfpool
from helpers.surfpool_differences import DIFFERENCES
from ops.devnet.solana.client import Client, Devnet
from ops.devnet.solana.run import NodeOptions, SolanaNode

pytestmark = [pytest.mark.slow, pytest.mark.chain]


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        return solana_story.plain(solana_story.play(Devnet(node.url)))


@pytest.fixture(scope="module")
def theirs() -> Iterator[dict[str, Any]]:
    try:
        with surfpool() as url:
            yield solana_story.plain(solana_story.play(Client(url)))
    except SurfpoolUnavailable as error:
        pytest.skip(str(error))


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


def matches(place: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(place, pattern) for pattern in patterns)
