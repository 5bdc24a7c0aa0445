"""One development node for the tests of a module, and a chain of its own for each."""

from __future__ import annotations

import pytest

from db.schema import migrate
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.solana_following import REGISTRY, Town


@pytest.fixture
def node():
    with SolanaNode(NodeOptions(slot_ms=0)) as running:
        yield running


@pytest.fixture
def town(node):
    return Town(Devnet(node.url))


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine
