"""The model of chains: what real ones recorded, and what the product proves of it."""

from __future__ import annotations

import pytest
from eth_hash.auto import keccak
from py_ecc.bls import G2ProofOfPossession as Bls

from fakenode.chain import FORMS, _hashed
from fakenode.encoding import bloom_of, encode
from fakenode.generate import grown
from fakenode.node import Node
from fakenode.profiles import PROFILES
from helpers.recorded import VERSIONS, block_of, receipts_of, vectors
from indexer.evm.headers import form_of
from indexer.evm.ibft import BadSeal, ValidatorState, check_seals, read_extra
from indexer.evm.messages import unhex
from indexer.evm.receipts import receipts_root


def told(name, seed=5, blocks=12):
    """A chain, and the node of a profile that tells it."""
    profile = PROFILES[name]
    return Node(grown(FORMS[profile.form], seed=seed, blocks=blocks), profile)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rule_of_hashing_gives_the_hashes_that_real_edge_nodes_told(version):
    for vector in vectors(version):
        block = vector["block"]
        names = (
            "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot",
            "receiptsRoot", "logsBloom", "difficulty", "number", "gasLimit", "gasUsed",
            "timestamp",
        )  # fmt: skip
        fields = {n: _value(n, block[n]) for n in names}
        fields["extraData"] = bytes.fromhex(vector["extraForHash"])
        form = FORMS["ibft-ecdsa"]

        assert "0x" + keccak(encode(_hashed(form, fields))).hex() == block["hash"]


def _value(name, text):
    numbers = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "logsBloom")
    return int(text, 16) if name in numbers else bytes.fromhex(text[2:])


@pytest.mark.parametrize("name", PROFILES)
def test_the_product_proves_the_headers_receipts_and_blooms_of_every_profile(name):
    node = told(name)
    for height, block in enumerate(node.chain.blocks):
        header = block_of(node.tell_block(block))
        form = "ibft" if node.chain.validators else "ethereum"
        assert form_of(header.sealed).value == form, height
        receipts = [node.tell_receipt(block, at) for at in range(len(block.receipts))]
        assert receipts_root(receipts_of(receipts)) == unhex(header.receipts_root, 32)
        items = (i for *_, log in block.logs for i in (log.address, *log.topics))
        bloom = bloom_of(items) if node.chain.form.blooms else 0
        assert int(header.bloom, 16) == bloom


@pytest.mark.parametrize("name", ["edge-0.6", "edge-0.9", "edge-1.3"])
def test_the_product_takes_the_seals_and_refuses_those_of_forgers(name):
    node = told(name)
    genesis, *blocks = [block_of(node.tell_block(b)) for b in node.chain.blocks]
    state = ValidatorState(
        0, genesis.header.hash, read_extra(unhex(genesis.sealed.extra_data)).validators
    )
    for block in blocks:
        extra = read_extra(unhex(block.sealed.extra_data))
        state = state.next(block.header.hash, extra, bytes(20), bytes(8))

    for trick in ("few", "twice", "stranger"):
        forged = node.chain.forged(trick, [[]])
        last = block_of(node.tell_block(forged.blocks[-1]))
        with pytest.raises(BadSeal):
            check_seals(last.header.hash, read_extra(unhex(last.sealed.extra_data)))


def test_an_aggregate_is_what_another_library_verifies():
    chain = grown(FORMS["ibft-bls"], seed=2, blocks=1)
    block = chain.blocks[1]
    bitmap, aggregate = block.committed.aggregate
    keys = [
        signer.bls_key
        for at, signer in enumerate(chain.validators.signers)
        if int.from_bytes(bitmap) >> at & 1
    ]

    assert Bls.FastAggregateVerify(
        keys, chain.validators._digest(block.hash), aggregate
    )


def test_two_nodes_tell_one_block_with_other_seals():
    chain = grown(FORMS["ibft-ecdsa"], seed=1, blocks=3)
    one, other = (
        Node(chain, PROFILES["edge-0.9"], number=n).tell_block(chain.blocks[3])
        for n in (0, 1)
    )

    assert one["hash"] == other["hash"]
    assert one["extraData"] != other["extraData"]


def test_the_same_seed_gives_the_same_chain_and_a_reorg_another():
    form = FORMS["ethereum"]
    chain, again = (grown(form, seed=4, blocks=9) for _ in range(2))
    assert [b.hash for b in chain.blocks] == [b.hash for b in again.blocks]

    again.reorg(3)
    assert [
        a.hash == b.hash for a, b in zip(chain.blocks, again.blocks, strict=True)
    ] == ([True] * 7 + [False] * 3)


def test_edge_counts_logs_in_their_transaction_and_misplaces_those_of_receipts():
    node = told("edge-0.9")
    block = next(b for b in node.chain.blocks if len({at for at, *_ in b.logs}) > 1)
    logs = [node.tell_log(block, *place) for place in block.logs]
    second = [
        log for log in logs if log["transactionIndex"] != logs[0]["transactionIndex"]
    ]

    assert second[0]["logIndex"] == "0x0"
    receipt = node.tell_receipt(block, block.logs[-1][0])
    assert receipt["logs"][0]["transactionIndex"] == "0x0"
