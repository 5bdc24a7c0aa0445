"""Proves by their seals who made the blocks of a Polygon Edge chain, one after another.

The validators that are due for a block follow from an anchor and the votes in the
blocks between: the anchor is block 0, which is the chain's identity, or a set that the
operator pinned. So blocks are proved in order, from the state after the block before
the range; a range that does not follow on such a state keeps the level `hash`. The
state is written with the blocks, and the audit of history goes on from it.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from db.position import BlockRange
from db.proofs import HeaderProof
from indexer.errors import Reorg
from indexer.evm import ibft
from indexer.evm.blocks import EvmBlock, Inconsistent
from indexer.evm.headers import IBFT_MIX, HeaderHash, hash_of
from indexer.evm.ibft import ValidatorState
from indexer.evm.messages import RpcSealedHeader, unhex

log = logging.getLogger(__name__)

KEPT_STATES = 64
PINNED = b""  # stands for the hash of a state that an operator pinned


class Sealing:
    """The validators that are due, as far as blocks were proved."""

    def __init__(self, state: ValidatorState | None, *, required: bool) -> None:
        self._required = required
        self._states: dict[int, ValidatorState] = {}
        if state is not None:
            self._states[state.height] = state

    def after(self, height: int) -> ValidatorState | None:
        """The state after a block, None where none is known."""
        return self._states.get(height)

    def prove(self, blocks: Sequence[EvmBlock]) -> list[EvmBlock]:
        """The blocks in order, raised to `seals` where a state is known before them.

        Raises Inconsistent when a block's seals are not those of its validators: the
        node made it up. A set that no votes explain ends the proof, unless seals are
        required. Raises Reorg when they are, and the first block has another parent
        than the block that was proved before it.
        """
        if not blocks:
            return []
        state = self._before(blocks[0])
        if state is None:
            return list(blocks)
        found: list[EvmBlock] = []
        for at, block in enumerate(blocks):
            state = self._next(state, block)
            if state is None:
                return [*found, *blocks[at:]]
            found.append(
                block.with_proof(replace(block.header.proof, header=HeaderProof.SEALS))
            )
        assert state is not None
        self._keep(state)
        return found

    def known(self) -> frozenset[int]:
        """The heights after which the state is known."""
        return frozenset(self._states)

    def settle(self, blocks: BlockRange, known: Collection[int]) -> None:
        """A range was proved: of its new states only the last is needed again."""
        for height in self.known() - set(known):
            if blocks.first <= height < blocks.last:
                del self._states[height]

    def _before(self, first: EvmBlock) -> ValidatorState | None:
        state = self._states.get(first.height - 1)
        if state is None:
            return _anchor(first)
        if state.hash in (first.header.parent_hash, PINNED):
            return state
        if self._required:
            raise Reorg(
                state.height,
                f"block {first.height} does not follow on block {state.height} as it "
                "was proved: find the fork",
            )
        return None

    def _next(self, state: ValidatorState, block: EvmBlock) -> ValidatorState | None:
        sealed = block.sealed
        if sealed is None or block.header.proof.header < HeaderProof.HASH:
            return None
        if block.height == 0:
            return state
        try:
            return _sealed_state(state, block, sealed)
        except ibft.NotIbft:
            return None
        except ibft.BadSeal as error:
            raise Inconsistent(
                f"block {block.height} is not sealed: {error}: the node made it up, "
                "read again"
            ) from None
        except ibft.UnknownSet as error:
            if self._required:
                raise Inconsistent(
                    f"block {block.height} is not proved by seals: {error}. If the "
                    "chain changed its validators in another way, pin them with "
                    "`validators` and `validators_block` in its [chains.<name>] section"
                ) from None
            log.warning(
                "validator_change_unexplained block=%d cause=%s", block.height, error
            )
            return None

    def _keep(self, state: ValidatorState) -> None:
        self._states.pop(state.height, None)
        self._states[state.height] = state
        while len(self._states) > KEPT_STATES:  # the one that was kept first goes
            del self._states[next(iter(self._states))]


def _anchor(first: EvmBlock) -> ValidatorState | None:
    """The state after block 0, from the validators that it names."""
    sealed = first.sealed
    if first.height > 0 or sealed is None or sealed.extra_data is None:
        return None
    if hash_of(sealed, HeaderHash.IBFT) != first.header.hash:
        return None
    extra = ibft.read_extra(unhex(sealed.extra_data))
    if not extra.validators:
        return None
    return ValidatorState(0, first.header.hash, extra.validators)


def _sealed_state(
    state: ValidatorState, block: EvmBlock, sealed: RpcSealedHeader
) -> ValidatorState:
    if sealed.mix_hash != IBFT_MIX:
        raise ibft.NotIbft("its mixHash is not IBFT's")
    miner, nonce = unhex(sealed.miner or ""), unhex(sealed.nonce or "", 8)
    if nonce not in (ibft.ADD_VOTE, ibft.DROP_VOTE):
        raise ibft.BadSeal("its nonce is no vote")
    extra = ibft.read_extra(unhex(sealed.extra_data or ""))
    return state.next(block.header.hash, extra, miner, nonce)
