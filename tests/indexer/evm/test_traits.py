"""Traits are kept; one that was not recognised is tried anew."""

from __future__ import annotations

from db import sources
from indexer.evm.traits import BLOOM, RECEIPTS, Traits


def chain(connection):
    row = sources.register(
        connection, name="edge", chain_id="eip155:100", ordinals="rank"
    )
    return row.id


def test_what_was_not_recognised_is_tried_anew_at_each_start():
    traits = Traits({BLOOM: "true", RECEIPTS: "other"})

    assert traits.get(RECEIPTS) is None
    assert traits.learn(RECEIPTS, "standard")
    assert not traits.learn(BLOOM, "none")
    assert traits.get(BLOOM) == "true"


def test_a_trait_stands_and_other_gives_way(migrated_engine):
    with migrated_engine.begin() as connection:
        source = chain(connection)
        for learnt, contrary in (
            ({BLOOM: "true", RECEIPTS: "other"}, []),
            ({RECEIPTS: "standard"}, []),
            ({RECEIPTS: "other"}, []),
            ({BLOOM: "none"}, [BLOOM]),
        ):
            assert sources.learn(connection, source, learnt) == contrary
        found = sources.by_id(connection, source).traits

    assert found == {BLOOM: "true", RECEIPTS: "standard"}
