"""Proves the blocks of a part: headers by their hash, logs by blooms and receipts.

Seals need the blocks before, so `indexer.evm.sealing` proves them, range after range.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from db.proofs import UNPROVED, HeaderProof, Level, LogsProof, Proof, Verify
from indexer.evm.blocks import EvmBlock, Inconsistent, Placed
from indexer.evm.bloom import check_blooms
from indexer.evm.client import RpcClient
from indexer.evm.headers import HeaderHash, form_of, hash_of
from indexer.evm.messages import (
    RpcLog,
    RpcSealedHeader,
    RpcTransaction,
    RpcWholeReceipt,
    unhex,
)
from indexer.evm.receipts import EMPTY_ROOT, logs_of, receipts_root, same_logs
from indexer.evm.traits import BLOOM, HEADER, RECEIPTS, Traits
from indexer.rpc.answers import RpcCall, RpcError
from indexer.rpc.client import DEFAULT_BATCH
from indexer.rpc.refusals import ErrorKind

log = logging.getLogger(__name__)

HEAD_BLOCKS = 128  # of so many blocks below the head all is checked


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """The checks to make on a chain, and the levels that are required."""

    blooms: Verify = Verify.AUTO
    receipts: Verify = Verify.AUTO
    require: Proof = UNPROVED

    @property
    def every_header(self) -> bool:
        """Whether headers far below the head are read with all their fields too."""
        return (
            self.require.header > HeaderProof.PARENT
            or self.require.logs is LogsProof.RECEIPTS
            or self.receipts is Verify.ALWAYS
        )

    @property
    def every_bloom(self) -> bool:
        """Whether blooms far below the head are compared bit by bit."""
        return self.blooms is Verify.ALWAYS or self.require.logs is LogsProof.BLOOM

    @property
    def every_receipt(self) -> bool:
        """Whether receipts are read of every block, however many they are."""
        return self.receipts is Verify.ALWAYS or self.require.logs is LogsProof.RECEIPTS


class Prover:
    """Raises the level of blocks by what their nodes can show."""

    def __init__(self, client: RpcClient, policy: ProofPolicy, traits: Traits) -> None:
        self._client = client
        self.policy = policy
        self.traits = traits
        self._whole_blocks = True  # whether eth_getBlockReceipts may be there
        self._receipts_doubted = False

    @property
    def trusts_bloom(self) -> bool:
        """Whether blooms reveal withheld logs."""
        return (
            self.policy.blooms is not Verify.NEVER and self.traits.get(BLOOM) == "true"
        )

    def provable(self) -> list[Level]:
        """The levels to which every block can be raised, as the chain has shown."""
        found: list[Level] = []
        header = self.traits.get(HEADER)
        if header is not None and header != "other":
            if header == HeaderHash.IBFT.value:
                found.append(HeaderProof.SEALS)
            found.append(HeaderProof.HASH)
        receipts = self.traits.get(RECEIPTS) == "standard"
        if receipts and self.policy.receipts is not Verify.NEVER:
            found.append(LogsProof.RECEIPTS)
        elif self.trusts_bloom:
            found.append(LogsProof.BLOOM)
        return found

    def sealed_from(self, near_head: int) -> int:
        """The block from which headers are read with all that their hash covers."""
        return 0 if self.policy.every_header else near_head

    async def prove(
        self,
        blocks: Sequence[EvmBlock],
        placed: Placed,
        *,
        head: int | None,
        thorough: bool = False,
    ) -> list[EvmBlock]:
        """Return the blocks with their proof levels; `placed` are all their logs.

        `head` None: the head is not known, so that every block counts as near it.
        `thorough`: blooms and receipts are checked of every block.
        Raises Inconsistent where something is shown to be wrong, or where less is
        proved than the policy requires.
        """
        near = 0 if head is None else head - HEAD_BLOCKS
        bloomed = check_blooms(
            blocks,
            placed,
            exact_from=0 if self.policy.every_bloom or thorough else near,
            blooms=self.policy.blooms,
            traits=self.traits,
        )
        hashed = {
            block.height
            for block in blocks
            if block.sealed is not None and self._hash_is_right(block)
        }
        receipted = await self._by_receipts(blocks, placed, hashed, thorough)
        found = []
        for block in blocks:
            logs = LogsProof.BLOOM if block.height in bloomed else LogsProof.NONE
            if block.height in receipted:
                logs = LogsProof.RECEIPTS
            header = HeaderProof.HASH if block.height in hashed else HeaderProof.PARENT
            if header or logs:
                block = block.with_proof(Proof(header, logs))
            found.append(block)
        return found

    def _hash_is_right(self, block: EvmBlock) -> bool:
        """Whether the hash was recomputed; raises when it is not the header's."""
        sealed = _sealed(block)
        if block.height == 0:  # some chains make up the first header
            return form_of(sealed) is not None
        known = self.traits.get(HEADER)
        if known is None:
            form = form_of(sealed)
            if form is None and self.policy.require.header > HeaderProof.PARENT:
                return False  # one lie must not end what is required for ever
            word = "other" if form is None else form.value
            if self.traits.learn(HEADER, word) and form is None:
                log.warning("chain_with_other_headers block=%d", block.height)
            return form is not None
        if known == "other":
            return False
        form = HeaderHash(known)
        if hash_of(sealed, form) == block.header.hash:
            return True
        if form_of(sealed) is not None:
            return True  # a chain whose consensus changed at some height
        raise Inconsistent(
            f"block {block.height}: its hash is not that of the header that the node "
            "tells: the node lies about one of them, read again"
        )

    async def _by_receipts(
        self,
        blocks: Sequence[EvmBlock],
        placed: Placed,
        hashed: set[int],
        thorough: bool,
    ) -> set[int]:
        """The heights whose logs are those of receipts under the header's root."""
        proved: set[int] = set()
        asked: list[EvmBlock] = []
        for block in blocks:
            if block.sealed is None or block.receipts_root is None:
                continue
            if not block.sealed.transactions:
                if self._is_empty(block, placed, hashed):
                    proved.add(block.height)
            elif self._affordable(block, thorough):
                asked.append(block)
        if asked:
            for block, receipts in zip(asked, await self._read(asked), strict=True):
                if self._receipts_fit(block, receipts, placed):
                    proved.add(block.height)
        return proved

    def _is_empty(self, block: EvmBlock, placed: Placed, hashed: set[int]) -> bool:
        """Whether a block without transactions has no receipts, and so no logs."""
        if block.receipts_root != EMPTY_ROOT:
            if block.height in hashed:
                raise Inconsistent(
                    f"block {block.height} has receipts and the node tells no "
                    "transactions of it: read again"
                )
            return False
        # Some chains have logs that belong to no transaction.
        return not _logs(placed, block.height)

    def _affordable(self, block: EvmBlock, thorough: bool) -> bool:
        if self.policy.every_receipt:
            return True
        if self.policy.receipts is Verify.NEVER or self._receipts_doubted:
            return False
        if thorough:
            return True
        most = self._client.limits(block.height).max_batch or DEFAULT_BATCH
        assert block.sealed is not None
        return len(block.sealed.transactions) <= most

    async def _read(self, blocks: Sequence[EvmBlock]) -> list[list[RpcWholeReceipt]]:
        """The receipts of each block, in order."""
        last = max(block.height for block in blocks)
        if self._whole_blocks:
            calls = [
                RpcCall(
                    "eth_getBlockReceipts",
                    (hex(block.height),),
                    list[RpcWholeReceipt],
                )
                for block in blocks
            ]
            try:
                reply = await self._client.batch(calls, height=last)
                return list(reply.results)
            except RpcError as error:
                if error.refusal is not ErrorKind.METHOD:
                    raise
                self._whole_blocks = False
        hashes = [
            (at, sent.hash if isinstance(sent, RpcTransaction) else sent)
            for at, block in enumerate(blocks)
            for sent in _sealed(block).transactions
        ]
        calls = [
            RpcCall("eth_getTransactionReceipt", (sent,), RpcWholeReceipt)
            for _, sent in hashes
        ]
        reply = await self._client.batch(calls, height=last)
        found: list[list[RpcWholeReceipt]] = [[] for _ in blocks]
        for (at, _), receipt in zip(hashes, reply.results, strict=True):
            found[at].append(receipt)
        return found

    def _receipts_fit(
        self, block: EvmBlock, receipts: Sequence[RpcWholeReceipt], placed: Placed
    ) -> bool:
        """Whether receipts give the header's root, and their logs are those received.

        Raises Inconsistent when they do not, on a chain where they did before, or
        where they must.
        """
        sealed = _sealed(block)
        if {receipt.block_hash.lower() for receipt in receipts} - {block.hash_hex}:
            raise Inconsistent(
                f"a receipt of block {block.height} is of another block: the chain "
                "changed while it was read, read again"
            )
        root = receipts_root(receipts)
        if root != unhex(sealed.receipts_root or "", 32):
            if self.traits.get(RECEIPTS) == "standard" or self.policy.every_receipt:
                raise Inconsistent(
                    f"block {block.height}: its {len(receipts)} receipts are not those "
                    "of its header: the node lies, or lacks some: read again"
                )
            self._receipts_doubted = True
            self.traits.learn(RECEIPTS, "other")
            log.warning("chain_with_other_receipts block=%d", block.height)
            return False
        if not same_logs(_logs(placed, block.height), logs_of(receipts)):
            raise Inconsistent(
                f"block {block.height}: the {len(_logs(placed, block.height))} logs "
                f"received are not the {len(logs_of(receipts))} of its receipts: the "
                "node lost or made up some, read again"
            )
        self.traits.learn(RECEIPTS, "standard")
        return True


def require(block: EvmBlock, wanted: Proof) -> None:
    """Raise Inconsistent unless a block is proved as far as the settings require."""
    proof = block.header.proof
    if proof.header >= wanted.header and proof.logs >= wanted.logs:
        return
    raise Inconsistent(
        f"block {block.height} is proved by header = {proof.header.word!r} and logs = "
        f"{proof.logs.word!r}, and the settings require {wanted.header.word!r} and "
        f"{wanted.logs.word!r}: read again from another endpoint, or lower `require` "
        "in its [chains.<name>] section"
    )


def _sealed(block: EvmBlock) -> RpcSealedHeader:
    assert block.sealed is not None
    return block.sealed


def _logs(placed: Placed, height: int) -> Sequence[RpcLog]:
    low, high = np.searchsorted(placed.heights, (height, height + 1))
    return placed.logs[low:high]
