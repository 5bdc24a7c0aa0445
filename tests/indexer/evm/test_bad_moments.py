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
from indexer.evm.proofs import Policy, Prover
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
