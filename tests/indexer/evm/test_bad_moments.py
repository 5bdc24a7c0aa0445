"""What schedules over the conformance node found: a bad answer must not end it all."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from db.position import BlockRange
from db.proofs import HeaderProof, Proof
from fakenode.chain import FORMS, Chain, Log, Tx
from fakenode.generate import TOKEN, grown
from fakenode.node import Node, RpcFault
from fakenode.profiles import PROFILES, Refusal
from helpers.node_schedules import Wire, WiredClient
from helpers.recorded import votes
from indexer.errors import Permanent, Reorg, Retryable
from indexer.evm.blocks import Inconsistent, block_call
from indexer.evm.finality import Tag
from indexer.evm.ibft import ValidatorState, read_extra
from indexer.evm.messages import unhex
from indexer.evm.numbering import Numbering, whole_block_call
from indexer.evm.proofs import ProofPolicy, Prover
from indexer.evm.sealing import Sealing
from indexer.evm.source import EvmSource
from indexer.evm.traits import HEADER, LOG_INDEX, Traits

URL = "http://n.test"


def client_of(node, **options):
    return WiredClient(Wire({URL: node}), 31337, random.Random(1), **options)


@pytest.mark.parametrize("name", ["geth", "erigon", "edge-0.9"])
def test_the_limit_of_batches_is_learnt_whatever_the_form_of_its_refusal(name):
    profile = replace(PROFILES[name], max_batch=5)
    node = Node(grown(FORMS[profile.form], seed=1, blocks=20), profile)
    client = client_of(node)
    reply = asyncio.run(client.batch([block_call(height) for height in range(18)]))

    assert [int(block.number, 16) for block in reply.results] == list(range(18))
    assert client.endpoints[0].limits.max_batch <= 5
    assert node.refused["batch"] <= 3


def final_height(refusal, most):
    """The final height, where the tag is refused so many times."""
    node = Node(grown(FORMS["ethereum"], seed=1, blocks=9), PROFILES["geth"],
                final_behind=2)  # fmt: skip
    tell = node._methods["eth_getBlockByNumber"]
    left = [most]

    def refusing(head, named, full):
        if named == "finalized" and left[0]:
            left[0] -= 1
            raise RpcFault(refusal)
        return tell(head, named, full)

    node._methods["eth_getBlockByNumber"] = refusing
    source = EvmSource("t", "eip155:31337", client_of(node), [], Tag())

    async def ask():
        return await source.final_height(await source.head())

    return asyncio.run(ask())


def test_a_bad_moment_is_not_a_chain_without_the_tag():
    bad_moment = Refusal(-32603, "internal error")

    with pytest.raises(Retryable):
        final_height(bad_moment, 3)
    assert final_height(bad_moment, 2) == 7
    with pytest.raises(Permanent, match='finality = "depth"'):
        final_height(Refusal(-32602, "Invalid Params"), 99)
    with pytest.raises(Permanent, match="does not know the tag"):
        final_height(Refusal(-32000, "Unknown tag: finalized"), 99)


def test_a_header_that_must_be_hashed_teaches_no_other_form():
    node = Node(grown(FORMS["ethereum"], seed=1, blocks=6), PROFILES["geth"])
    true, lies = node.tell_block, [True]
    node.tell_block = lambda block, full=False: (
        true(block, full) | ({"gasUsed": "0x1"} if lies else {})
    )
    policy = ProofPolicy(require=Proof(HeaderProof.HASH))
    traits = Traits()
    client = client_of(node)
    source = EvmSource("t", "eip155:31337", client, [], Tag(), policy=policy)
    source._prover = source._reader._prover = Prover(client, policy, traits)

    async def read():
        with pytest.raises(Inconsistent):
            await source.fetch(BlockRange(1, 3), [])
        lies.clear()
        return await source.fetch(BlockRange(1, 3), [])

    batch = asyncio.run(read())

    assert {header.proof.header for header in batch.headers} == {HeaderProof.HASH}
    assert traits.get(HEADER) == "ethereum"


def test_a_block_on_another_parent_than_the_proved_one_is_a_reorg_where_seals_must_be():
    blocks = votes(4)
    named = read_extra(unhex(blocks[9].sealed.extra_data)).validators
    state = ValidatorState(9, b"\x99" * 32, named)

    with pytest.raises(Reorg, match="block 10 does not follow on block 9") as caught:
        Sealing(state, required=True).prove(blocks[10:12])
    assert caught.value.height == 9
    assert Sealing(state, required=False).prove(blocks[10:12]) == blocks[10:12]


@pytest.mark.parametrize("lie", ["another block", "twice", "another hash"])
def test_logs_of_another_block_or_told_twice_teach_no_way_of_counting(lie):
    topic = b"\x01" * 32
    one, two = Tx([Log(TOKEN, [topic])]), Tx([Log(TOKEN, [topic])], nonce=1)
    chain = Chain(FORMS["ethereum"])
    chain.mine(one, two)
    chain.mine(Tx(), Tx([Log(TOKEN, [topic])], nonce=2))
    node = Node(chain, PROFILES["geth"])
    [first, second] = [node.tell_log(chain.blocks[1], *p) for p in chain.blocks[1].logs]
    added = {
        "another block": node.tell_log(chain.blocks[2], *chain.blocks[2].logs[0]),
        "twice": first,
        "another hash": second | {"logIndex": "0x0", "blockHash": "0x" + "77" * 32},
    }[lie]
    node.matching = lambda blocks, query: [first, second, added]
    client, traits = client_of(node), Traits()

    async def learn():
        endpoint = client.endpoints[0]
        asked = await client.ask(endpoint, whole_block_call(1))
        mine = [log for log in asked if log.block_hash == first["blockHash"]][1:2]
        await Numbering(client, traits).normalise(mine, endpoint)

    with pytest.raises(Inconsistent, match="some of another, or one is there twice"):
        asyncio.run(learn())
    assert traits.get(LOG_INDEX) is None
