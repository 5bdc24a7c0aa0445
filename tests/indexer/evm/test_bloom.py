"""Chains with true blooms, without any, and with wrong ones: what is learnt of each."""

from __future__ import annotations

import pytest

from db.position import BlockRange
from db.proofs import LogsProof, Verify
from helpers.families import IDS, STRANGER, noted, places, run, source_for, transfer
from helpers.rpc import EDGE, FakeEvmChain, FakeRpcServer, FakeTx
from indexer.errors import Retryable
from indexer.evm.bloom import EMPTY, FULL
from indexer.evm.proofs import ProofPolicy
from indexer.evm.receipts import EMPTY_ROOT

FORMS = {"zero": EMPTY, "all ones": FULL, "null": None, "empty": "0x", "absent": ...}


def showing(form, first=0):
    """An `alter` that shows this bloom from a block on, whatever the logs are."""

    def alter(method, params, result):
        if method != "eth_getBlockByNumber" or result is None:
            return result
        if int(result["number"], 16) < first:
            return result
        result = dict(result)
        result["logsBloom"] = form
        if form is ...:
            del result["logsBloom"]
        return result

    return alter


def chain_with_logs(blocks=6):
    chain = FakeEvmChain()
    for n in range(1, blocks):
        chain.mine(*([transfer(n), noted(STRANGER, n)] if n % 2 else [FakeTx()]))
    return chain


def read(node, last, **options):
    source = source_for(node.url, **options)
    return run(source, lambda s: s.fetch(BlockRange(0, last), IDS))


@pytest.mark.parametrize("form", FORMS)
def test_a_chain_without_blooms_is_read_and_is_known_to_have_none(form):
    chain = chain_with_logs()
    alter = showing(FORMS[form])
    with FakeRpcServer(chain, alter=alter, **EDGE) as node:
        batch = read(node, 5)

    assert places(batch, "Transfer") == [(1, 0), (3, 0), (5, 0)]
    assert batch.traits["bloom"] in ("none", "wrong")
    assert {header.proof.logs for header in batch.headers} == {LogsProof.NONE}


def test_a_chain_with_true_blooms_is_known_to_have_them():
    with FakeRpcServer(chain_with_logs(), **EDGE) as node:
        batch = read(node, 5)

    assert batch.traits["bloom"] == "true"
    assert {header.proof.logs for header in batch.headers} == {LogsProof.BLOOM}


@pytest.mark.parametrize("form", FORMS)
def test_a_chain_that_had_true_blooms_is_not_let_off_them(form):
    chain = chain_with_logs()
    with (
        FakeRpcServer(chain, alter=showing(FORMS[form], first=4), **EDGE) as node,
        pytest.raises(Retryable, match='say verify_bloom = "never"'),
    ):
        read(node, 5)
    with FakeRpcServer(chain, alter=showing(FORMS[form]), **EDGE) as node:
        with pytest.raises(Retryable, match="had true ones before"):
            read(node, 5, traits={"bloom": "true"})
        # The remedy that the message names.
        policy = ProofPolicy(Verify.NEVER)
        batch = read(node, 5, traits={"bloom": "true"}, policy=policy)

    assert places(batch, "Transfer") == [(1, 0), (3, 0), (5, 0)]


def test_where_blooms_are_required_a_chain_without_them_is_refused():
    with (
        FakeRpcServer(chain_with_logs(), alter=showing(EMPTY), **EDGE) as node,
        pytest.raises(Retryable, match='verify_bloom = "always" asks for them'),
    ):
        read(node, 5, policy=ProofPolicy(Verify.ALWAYS))


def test_bits_in_the_bloom_of_a_block_without_transactions_are_no_bloom():
    """Such chains exist; where there are transactions a node may have lost the logs."""
    chain = FakeEvmChain()
    chain.mine()
    chain.mine(transfer(1))
    other = "0x" + "01" * 256

    def alter(method, params, result):
        if method == "eth_getBlockByNumber" and result:
            result = {**result, "logsBloom": other}
            if not result["transactions"]:
                result["receiptsRoot"] = EMPTY_ROOT
        return result

    with FakeRpcServer(chain, alter=alter, **EDGE) as node:
        batch = read(node, 2)
    assert batch.traits["bloom"] == "wrong"
    assert places(batch, "Transfer") == [(2, 0)]

    lossy = FakeEvmChain()
    lossy.mine(transfer(1))
    lose = lambda method, params, result: [] if method == "eth_getLogs" else result  # noqa: E731
    with (
        FakeRpcServer(lossy, alter=lose, **EDGE) as node,
        pytest.raises(Retryable, match="does not fit the 0 logs"),
    ):
        read(node, 1)


def test_a_chain_that_begins_to_write_true_blooms_is_proved_by_them():
    """As when Polygon Edge goes from IBFT to PolyBFT."""
    chain = chain_with_logs(9)

    def alter(method, params, result):
        if method == "eth_getBlockByNumber" and int(result["number"], 16) < 5:
            return {**result, "logsBloom": EMPTY}
        return result

    with FakeRpcServer(chain, alter=alter, **EDGE) as node:
        batch = read(node, 8, traits={"bloom": "none"})

    proved = {h.height for h in batch.headers if h.proof.logs is LogsProof.BLOOM}
    assert proved == {5, 7}
