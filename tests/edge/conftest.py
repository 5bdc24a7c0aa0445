"""One real Polygon Edge network for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devnet.deploy import Deployment, deploy
from helpers.edge import EdgeNetwork, EdgeUnavailable, edge_program


@pytest.fixture(scope="module")
def network() -> Iterator[EdgeNetwork]:
    """Four validators on loopback; skips, saying why, where the program is not."""
    try:
        edge_program()
    except EdgeUnavailable as unavailable:
        pytest.skip(str(unavailable))
    with EdgeNetwork() as running:
        yield running


@pytest.fixture(scope="module")
def deployment(network: EdgeNetwork) -> Deployment:
    """The crowdfunding contracts on the network, known to every node."""
    found = deploy(network.urls[0])
    network.wait_for_height(max(c.first_block for c in found.contracts.values()))
    return found
