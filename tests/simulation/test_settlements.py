"""Settlements of the real program are indexed whole, whatever nodes and forks do.

`CHAINFOLD_TEST_SETTLEMENTS` says how many (`make simulate-settlements`: 10,000), and
`CHAINFOLD_TEST_SEED` plays another chain.
"""

import logging
import os

import pytest
from sqlalchemy import text

from db.schema import migrate
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.settled_chain import FAULTS, REGISTRY, SettledChain

pytestmark = [pytest.mark.chain, pytest.mark.timeout(7_200)]
COUNT = int(os.environ.get("CHAINFOLD_TEST_SETTLEMENTS", "150"))
SEED = int(os.environ.get("CHAINFOLD_TEST_SEED", "0"))


@pytest.fixture
def settled(db_engine):
    """A chain of settlements, and the index that followed it."""
    migrate(db_engine, REGISTRY)
    logging.disable(logging.CRITICAL)
    with SolanaNode(NodeOptions(slot_ms=0, seed=SEED)) as node:
        chain = SettledChain(db_engine, node.url, SEED)
        chain.play(COUNT)
        yield chain
    logging.disable(logging.NOTSET)


def test_the_index_is_what_receipts_and_balances_say(settled, db_engine):
    assert settled.wrong() == []

    print(f"\n{len(settled.purchases)} settlements; faults: {dict(settled.met)}")
    assert {*FAULTS, "fork"} == {each for each, met in settled.met.items() if met}
    with db_engine.begin() as connection:  # the comparison sees what is wrong
        connection.execute(
            text(
                "DELETE FROM facts.settlement_purchase_settled WHERE position ="
                " (SELECT max(position) FROM facts.settlement_purchase_settled)"
            )
        )
    assert settled.wrong()
