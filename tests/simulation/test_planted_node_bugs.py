"""Bugs planted in the follower and its proofs: the schedules must find each.

A green run of `test_nodes.py` proves as much as this does. Printed with `-s`: how many
schedules each bug needed.
"""

import dataclasses
import itertools

import pytest

import indexer.audit as audit_module
import indexer.bulk as bulk_module
import indexer.evm.bloom as bloom_module
import indexer.evm.finality as finality_module
import indexer.evm.ibft as ibft_module
import indexer.evm.numbering as numbering_module
import indexer.evm.proofs as proofs_module
import indexer.evm.reader as reader_module
import indexer.follow as follow_module
import indexer.rpc.answers as answers_module
import indexer.rpc.client as client_module
import indexer.writer as writer_module
from db import coverage
from db.proofs import HeaderProof, LogsProof, Proof
from helpers import node_schedules
from indexer.errors import Retryable
from indexer.evm.client import RpcClient
from indexer.evm.filters import Followed
from indexer.evm.proofs import Prover
from indexer.evm.reader import Reader
from indexer.evm.sealing import Sealing
from indexer.evm.source import EvmSource
from indexer.rpc.answers import RpcError, TooLarge
from indexer.source import Child

ENOUGH = 800  # schedules that a bug may take
RARE = {"counting learnt from another block": 3000}  # found after 817

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def as_they_came(original):
    """The order of the answer is taken for the order of the block."""

    def place(logs, blocks, *, rank):
        counts = {}
        for log in logs:
            log.log_index = hex(counts.get(log.block_number, 0))
            counts[log.block_number] = counts.get(log.block_number, 0) + 1
        return original(logs, blocks, rank=rank)

    return place


def repeats_kept(original):
    """A log that is there twice is taken for two."""

    def place(logs, blocks, *, rank):
        seen = set()
        for log in logs:
            while (spot := reader_module._place(log)) in seen:
                log.log_index = hex(spot[2] + 1)
            seen.add(spot)
        return original(logs, blocks, rank=rank)

    return place


def of_any_hash(original):
    """Logs are taken for those of the block at their height, whatever their hash."""

    def place(logs, blocks, *, rank):
        for log in logs:
            block = blocks.get(int(str(log.block_number), 16))
            log.block_hash = log.block_hash if block is None else block.hash_hex
        return original(logs, blocks, rank=rank)

    return place


def header_apart(original):
    """Logs are asked for apart from the header that shows that the node has them."""

    async def batch(self, calls, *, ordered=False, height=None):
        if not ordered or len(calls) < 2:
            return await original(self, calls, ordered=ordered, height=height)
        replies = [
            await original(self, [call], ordered=True, height=height) for call in calls
        ]
        results = [reply.results[0] for reply in replies]
        size = sum(reply.size_bytes for reply in replies)
        return answers_module.Reply(results, size, replies[-1].endpoint)

    return batch


def null_is_nothing(original):
    """A null in the place of logs is taken for none."""

    def result(endpoint, call, response, *rest):
        is_null = bytes(memoryview(response.result)[:4]) == b"null"
        if call.method == "eth_getLogs" and is_null and response.failure is None:
            return []
        return original(endpoint, call, response, *rest)

    return result


def first_piece_only(original):
    """Of a range that was too large the first piece is read, and no other."""

    async def cut(self, wanted, plan, step, error):
        return (await original(self, wanted, plan, step, error))[:1]

    return cut


def any_root(original):
    """Receipts are believed to be those of the header."""

    def fit(self, block, receipts, placed):
        self.traits.learn(proofs_module.RECEIPTS, "standard")
        logs = proofs_module._logs(placed, block.height)
        return proofs_module.same_logs(logs, proofs_module.logs_of(receipts)) or True

    return fit


def always(original):
    return lambda *_, **__: True


def nothing(original):
    return lambda *_, **__: None


def one_less(original):
    """The quorum is one validator too small."""
    return lambda validators: original(validators) - 1


def seals_counted(original):
    """Committed seals are counted, not their signers."""

    def check(digest, seals, due):
        ibft_module._check_quorum(len(seals), due)

    return check


def any_aggregate(original):
    """The bitmap says who signed; the aggregate is not verified."""
    return lambda keys, message, seal: True


def unsealed(original):
    """Blocks count as sealed when their hash is right."""

    def prove(self, blocks):
        return [
            block.with_proof(
                dataclasses.replace(block.header.proof, header=HeaderProof.SEALS)
            )
            for block in blocks
        ]

    return prove


def one_block_late(original):
    """A child is followed from the block after the one that announces it."""

    def add(self, child):
        return original(self, Child(child.contract, child.address, child.height + 1))

    return add


def one_block_short(original):
    """The undoing leaves the first of the blocks that were replaced."""

    async def fork(*arguments):
        return await original(*arguments) + 1

    return fork


def never_final(original):
    """No block is final when it is compared with what a node says now."""

    async def fork(engine, source, source_id, final, suspect):
        return await original(engine, source, source_id, -1, suspect)

    return fork


def final_at_once(original):
    """The head is final, whatever the chain's finality is."""

    async def height(self, head):
        return head.height

    return height


def covered_first(original):
    """Coverage commits before the facts."""

    def write(engine, registry, source, batch, streams, guard=None):
        with engine.begin() as connection:
            coverage.record(connection, source, streams, batch.range)
        return original(engine, registry, source, batch, streams, guard)

    return write


def any_chain(original):
    """An endpoint is used before anybody asked for its chain id."""

    async def verify(self, endpoint):
        endpoint.chain_id = self.chain_id

    return verify


def claimed(original):
    """Blocks claim the proof by receipts, whatever was read."""

    async def prove(self, blocks, placed, **options):
        found = await original(self, blocks, placed, **options)
        proof = Proof(HeaderProof.HASH, LogsProof.RECEIPTS)
        return [block.with_proof(proof) for block in found]

    return prove


def no_difference(original):
    """The audit compares nothing."""
    return lambda *_: {}


def nothing_learnt(original):
    """A refused range teaches nothing, and is asked for again."""

    async def part(self, wanted, plan):
        try:
            return [await self._consistent(wanted, plan)]
        except TooLarge as error:
            raise RpcError(str(error), error, error.refusal) from None

    return part


def of_any_block(original):
    """How a node counts is learnt from logs of whatever block."""
    return lambda height, logs, block_hash: None


def one_lie_is_enough(original):
    """One header that cannot be hashed ends the proof of all others."""

    def is_right(self, block):
        require = self.policy.require
        self.policy = dataclasses.replace(self.policy, require=Proof())
        try:
            return original(self, block)
        finally:
            self.policy = dataclasses.replace(self.policy, require=require)

    return is_right


def only_objects(original):
    """A long batch is known to be refused by an object alone."""

    def results(endpoint, calls, body, *rest):
        if body.lstrip()[:1] == b"[" and body.count(b'"id"') == 1 < len(calls):
            raise answers_module.Malformed("answered 1 of them")
        return original(endpoint, calls, body, *rest)

    return results


def other_parent_is_fine(original):
    """A block on another parent than the one that was proved has no proof, only."""

    def before(self, first):
        state = self._states.get(first.height - 1)
        if state is not None and state.hash != first.header.parent_hash:
            return None
        return original(self, first)

    return before


def any_error_is_the_tag(original):
    """A node with a bad moment does not know the tag."""
    return lambda body: True


BUGS = {
    "logs in the order of the answer": [(reader_module, "place", as_they_came)],
    "a repeated log is two": [(reader_module, "place", repeats_kept)],
    "logs of a replaced block": [(reader_module, "place", of_any_hash)],
    "logs apart from their header": [(RpcClient, "batch", header_apart)],
    "null logs are none": [(answers_module, "_result", null_is_nothing)],
    "the rest of a cut range is not read": [(Reader, "_cut", first_piece_only)],
    "a refused range is asked for again": [(Reader, "_part", nothing_learnt)],
    "receipts are not under the root": [(Prover, "_receipts_fit", any_root)],
    "logs are not those of the receipts": [(proofs_module, "same_logs", always)],
    "no transactions, no logs": [(Prover, "_is_empty", always)],
    "header hashes are believed": [(Prover, "_hash_is_right", always)],
    "proofs are claimed": [(Prover, "prove", claimed)],
    "the quorum is one too small": [(ibft_module, "quorum", one_less)],
    "seals of anybody": [(ibft_module, "_check_committed", seals_counted)],
    "the aggregate is not verified": [
        (ibft_module, "_aggregate_fits", any_aggregate),
    ],
    "every block is sealed": [(Sealing, "prove", unsealed)],
    "a child is followed a block late": [(Followed, "add", one_block_late)],
    "blooms are not compared": [(bloom_module, "_require", nothing)],
    "undone one block short": [(follow_module, "find_fork", one_block_short)],
    "a final block is replaced": [(follow_module, "find_fork", never_final)],
    "the head is final": [(EvmSource, "final_height", final_at_once)],
    "written blocks are not linked": [
        (writer_module, "check_links", nothing), (bulk_module, "check_links", nothing),
    ],
    "coverage before facts": [(follow_module, "write_batch", covered_first)],
    "no endpoint's chain id is asked": [(RpcClient, "_verify", any_chain)],
    "the audit compares nothing": [(audit_module, "_differing", no_difference)],
    "counting learnt from another block": [
        (numbering_module, "_check_one_block", of_any_block),
    ],
    "one lie ends the proof of headers": [
        (Prover, "_hash_is_right", one_lie_is_enough),
    ],
    "a long batch is refused by objects alone": [
        (client_module, "read_results", only_objects),
    ],
    "another parent is no reorg": [(Sealing, "_before", other_parent_is_fine)],
    "any error is about the tag": [
        (finality_module, "_is_about_tag", any_error_is_the_tag),
    ],
}  # fmt: skip


EDGE = ("edge-0.6", "edge-0.9", "edge-1.3")
# Where a bug can show at all: by style, and by profile (any, if none is named).
WHERE = {
    "a repeated log is two": ("filtered", ()),
    "logs of a replaced block": ("filtered", node_schedules.REORGING),
    "logs apart from their header": ("filtered", ()),
    "null logs are none": ("filtered", ()),
    "receipts are not under the root": ("strict", ()),
    "logs are not those of the receipts": ("strict", ()),
    "no transactions, no logs": ("strict", EDGE),
    "header hashes are believed": ("strict", ()),
    "the quorum is one too small": ("strict", EDGE),
    "seals of anybody": ("strict", EDGE[:2]),
    "the aggregate is not verified": ("strict", EDGE[2:]),
    "every block is sealed": ("strict", EDGE),
    "blooms are not compared": ("blooms", ()),
    "the audit compares nothing": ("auto", ()),
    "counting learnt from another block": ("filtered", ()),
    "one lie ends the proof of headers": ("strict", ()),
    "another parent is no reorg": ("strict", EDGE),
    "any error is about the tag": ("", ("geth", "erigon", "infura")),
    "undone one block short": ("", node_schedules.REORGING),
    "written blocks are not linked": ("", node_schedules.REORGING),
}


def seeds(stage, name):
    """The seeds of the schedules in which a bug can show."""
    style, profiles = WHERE.get(name, ("", ()))
    names = node_schedules.NAMES
    for seed in range(50_000):
        if profiles and names[seed % len(names)] not in profiles:
            continue
        if not style or node_schedules.Schedule(stage, seed).style == style:
            yield seed


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(node_stage, monkeypatch, name):
    for target, attribute, plant in BUGS[name]:
        monkeypatch.setattr(target, attribute, plant(getattr(target, attribute)))

    chosen = itertools.islice(seeds(node_stage, name), RARE.get(name, ENOUGH))
    for number, seed in enumerate(chosen, 1):
        try:
            found = node_schedules.run(node_stage, seed)
        except Retryable as error:
            found = [type(error).__name__]
        if found:
            print(f"\n{name}: {number} schedules ({found[0][:90]})")
            return
    raise AssertionError(f"{number} schedules did not show it")
