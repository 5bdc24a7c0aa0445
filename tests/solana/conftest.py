"""One node for a module, with slots that advance only when told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode


@pytest.fixture(scope="module")
def solana_node() -> Iterator[SolanaNode]:
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        yield node


@pytest.fixture
def chain(solana_node: SolanaNode) -> Iterator[Devnet]:
    """A client with lamports; what it wished for of faults ends with the test."""
    client = Devnet(solana_node.url)
    client.clear()
    client.fund()
    yield client
    client.clear()
