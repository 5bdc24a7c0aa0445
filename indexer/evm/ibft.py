"""Polygon Edge's IBFT: who sealed a block, and who may seal the next one.

`extraData` is 32 bytes and an RLP list: validators, the proposer's seal, the committed
seals, the committed seals of the parent as this block's proposer had them (not in the
first block of old chains), and from version 0.9 on the round. The hash covers the
validators and the parent's seals, and leaves out what is made over it: both own seals
and the round.

Validators are addresses, which seal by ECDSA, or addresses with BLS keys (G1, 48
bytes), whose committed seals are one bitmap and one aggregate (G2, 96 bytes). The
proposer signs by ECDSA on both. A block is sealed by a quorum of the set named in it,
and that set is the one that the votes in earlier headers made (proof of authority):
`miner` is the candidate and `nonce` the vote of the block's proposer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import rlp  # type: ignore[import-untyped]
from coincurve import PublicKey
from eth_hash.auto import keccak
from py_arkworks_bls12381 import GT, G1Point, G2Point

from db.bounded import Unreadable, load_rlp

VANITY_BYTES = 32
EXTRA_DEPTH_MAX = 8  # pairs in a list in a list are the deepest that there is
COMMIT = b"\x02"  # the code of the commit message, which is in what is signed
ADD_VOTE = bytes.fromhex("ffffffffffffffff")
DROP_VOTE = bytes(8)
NOBODY = bytes(20)
BLS_DOMAIN = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"


class NotIbft(Exception):
    """`extraData` is not what IBFT writes."""


class BadSeal(Exception):
    """A block lacks valid seals; the message names the fault."""


class UnknownSet(Exception):
    """A block names validators that no votes made: a PoS chain, or a lie."""


@dataclass(frozen=True, slots=True, order=True)
class Validator:
    """One validator: its address, and its BLS key where the chain seals by BLS."""

    address: bytes
    bls_key: bytes = b""

    def as_json(self) -> list[str]:
        """The address and the key in hex."""
        return [self.address.hex(), self.bls_key.hex()]


Validators = tuple[Validator, ...]


@dataclass(frozen=True, slots=True)
class Extra:
    """The items of `extraData` that are read."""

    validators: Validators
    proposer_seal: bytes
    committed: Any  # list of 65-byte seals, or [bitmap, aggregate]
    round: bytes | None  # None: a version that does not tell

    @property
    def by_bls(self) -> bool:
        """Whether committed seals are one BLS aggregate."""
        return any(validator.bls_key for validator in self.validators)


def read_extra(extra: bytes) -> Extra:
    """Read `extraData`; raises NotIbft."""
    items = _items(extra)
    try:
        validators = tuple(_validator(item) for item in items[0])
    except (TypeError, ValueError):
        raise NotIbft("its validators are not a list of addresses") from None
    round_ = items[4] if len(items) == 5 else None
    return Extra(validators, items[1], items[2], round_)


def hashed_extra(extra: bytes) -> bytes:
    """The part of `extraData` that the block's hash covers; raises NotIbft."""
    items = _items(extra)
    by_bls = bool(items[0]) and isinstance(items[0][0], list)
    items[1] = b""
    items[2] = [b"", b""] if by_bls else []
    if len(items) == 5:
        items[4] = b""
    return extra[:VANITY_BYTES] + bytes(rlp.encode(items))


def _items(extra: bytes) -> list[Any]:
    if len(extra) <= VANITY_BYTES:
        raise NotIbft(f"extraData has {len(extra)} bytes")
    try:
        items = load_rlp(extra[VANITY_BYTES:], depth_max=EXTRA_DEPTH_MAX)
    except Unreadable:
        raise NotIbft("extraData is not RLP behind its first 32 bytes") from None
    if not isinstance(items, (list, tuple)) or len(items) not in (3, 4, 5):
        raise NotIbft("extraData is not a list of three to five items")
    if not isinstance(items[0], (list, tuple)) or not isinstance(items[1], bytes):
        raise NotIbft("extraData does not begin with validators and a seal")
    return list(items)


def _validator(item: Any) -> Validator:
    if isinstance(item, bytes):
        address, key = item, b""
    else:
        address, key = item
        if len(key) != 48:
            raise ValueError("a BLS key has 48 bytes")
    if len(address) != 20:
        raise ValueError("an address has 20 bytes")
    return Validator(bytes(address), bytes(key))


def quorum(validators: int) -> int:
    """Return the number of validators that must seal a block, of so many.

    Two thirds, rounded up; all of them when they are fewer than four. Chains may have
    blocks below their `quorumSizeBlockNum` that fewer sealed (2F + 1): those of five or
    six validators are refused here.
    """
    return validators if validators < 4 else -(-2 * validators // 3)


def check_seals(block_hash: bytes, extra: Extra) -> bytes:
    """Check that the validators a block names sealed it; returns its proposer.

    Raises BadSeal unless one of them proposed it, and a quorum of them committed to it.
    Whether they are those that were due is asked of `ValidatorState`.
    """
    due = extra.validators
    proposer = _signer(keccak(block_hash), extra.proposer_seal)
    if proposer not in {validator.address for validator in due}:
        raise BadSeal("its proposer is none of its validators")
    digest = _commit_digest(block_hash, extra.round)
    if extra.by_bls:
        _check_aggregate(digest, extra.committed, due)
    else:
        _check_committed(digest, extra.committed, due)
    return proposer


def _commit_digest(block_hash: bytes, round_: bytes | None) -> bytes:
    """Return the digest that validators sign when they commit to a block."""
    proposal = block_hash
    if round_ is not None:
        proposal = keccak(block_hash + int.from_bytes(round_).to_bytes(8))
    return keccak(keccak(proposal + COMMIT))


def _check_committed(digest: bytes, seals: Any, due: Validators) -> None:
    if not isinstance(seals, (list, tuple)):
        raise BadSeal("its committed seals are not a list")
    signers = {_signer(digest, seal) for seal in seals}
    if len(signers) != len(seals):
        raise BadSeal("a validator is counted twice among its committed seals")
    if strangers := signers - {validator.address for validator in due}:
        raise BadSeal(f"{len(strangers)} of its committed seals are of no validator")
    _check_quorum(len(signers), due)


def _check_aggregate(digest: bytes, committed: Any, due: Validators) -> None:
    if not isinstance(committed, (list, tuple)) or len(committed) != 2:
        raise BadSeal("its committed seals are not a bitmap and an aggregate")
    bitmap, aggregate = int.from_bytes(committed[0]), committed[1]
    if bitmap >> len(due):
        raise BadSeal("the bitmap of its seals names more validators than there are")
    keys = [each.bls_key for at, each in enumerate(due) if bitmap >> at & 1]
    _check_quorum(len(keys), due)
    if not _aggregate_fits(keys, digest, aggregate):
        raise BadSeal("its aggregate seal is not of the validators it names")


def _aggregate_fits(keys: Sequence[bytes], message: bytes, seal: bytes) -> bool:
    """FastAggregateVerify of the IETF's BLS draft (3.3.4), with keys in G1."""
    try:
        points = [G1Point.from_compressed_bytes(key) for key in keys]
        signature = G2Point.from_compressed_bytes(seal)
    except ValueError:
        return False
    none = G1Point.identity()
    if any(point == none for point in points):
        return False
    hashed = G2Point.hash_to_curve(message, BLS_DOMAIN)
    return bool(GT.pairing_check([sum(points, none), -G1Point()], [hashed, signature]))


def _check_quorum(sealed: int, due: Validators) -> None:
    needed = quorum(len(due))
    if sealed < needed:
        raise BadSeal(f"{sealed} of {len(due)} validators sealed it, {needed} must")


def _signer(digest: bytes, seal: Any) -> bytes:
    """The address that made a 65-byte ECDSA seal (r, s, v with v 0 or 1)."""
    if not isinstance(seal, bytes) or len(seal) != 65 or seal[64] > 1:
        raise BadSeal("one of its seals is not a signature of 65 bytes")
    try:
        key = PublicKey.from_signature_and_message(seal, digest, hasher=None)
    except Exception:  # coincurve raises plain Exception, ValueError among others
        raise BadSeal("one of its seals is no signature") from None
    return keccak(key.format(compressed=False)[1:])[12:]


@dataclass(frozen=True, slots=True)
class ValidatorState:
    """The validators due for the block after `height`, and the votes that are open.

    A vote is (voter, candidate); it adds a candidate that is no validator and drops one
    that is. When more than half of the validators voted for a candidate the next block
    names the changed set. Votes lapse at the end of an epoch, whose length no header
    tells: a set is therefore taken as it was, or changed as open votes allow, whichever
    the next block names.
    """

    height: int
    hash: bytes
    validators: Validators
    votes: frozenset[tuple[bytes, Validator]] = frozenset()

    def next(self, block_hash: bytes, extra: Extra, miner: bytes, nonce: bytes) -> Self:
        """The state after the next block; raises BadSeal or UnknownSet."""
        due = self._due(extra.validators)
        proposer = check_seals(block_hash, extra)
        votes = due.votes
        candidate = _candidate(miner)
        if candidate is not None and nonce in (ADD_VOTE, DROP_VOTE):
            is_member = candidate.address in {v.address for v in due.validators}
            if is_member != (nonce == ADD_VOTE):
                votes |= {(proposer, candidate)}
        return replace(due, height=self.height + 1, hash=block_hash, votes=votes)

    def _due(self, named: Validators) -> Self:
        """The state with the change that the named set shows, if votes allow it."""
        if named == self.validators:
            return self
        for candidate in {candidate for _, candidate in self.votes}:
            voters = {voter for voter, each in self.votes if each == candidate}
            members = {validator.address for validator in self.validators}
            if len(voters & members) <= len(self.validators) // 2:
                continue
            dropped = candidate.address in members
            changed = tuple(
                v for v in self.validators if v.address != candidate.address
            )
            if not dropped:
                changed += (candidate,)
            if named == changed:
                gone = {candidate.address} if dropped else set()
                left = {
                    (voter, each)
                    for voter, each in self.votes
                    if each != candidate and voter not in gone
                }
                return replace(self, validators=changed, votes=frozenset(left))
        raise UnknownSet(
            f"it names {len(named)} validators that are neither the "
            f"{len(self.validators)} of the block before nor made by votes"
        )

    def as_json(self) -> dict[str, Any]:
        """The set and the votes, for `control.validator_set`."""
        return {
            "validators": [validator.as_json() for validator in self.validators],
            "votes": [
                [voter.hex(), *candidate.as_json()]
                for voter, candidate in sorted(self.votes)
            ],
        }

    @classmethod
    def from_json(cls, height: int, hash_: bytes, state: Mapping[str, Any]) -> Self:
        """Read back what `as_json` wrote."""
        votes = {
            (bytes.fromhex(voter), _validator_of(*candidate))
            for voter, *candidate in state["votes"]
        }
        validators = tuple(_validator_of(*each) for each in state["validators"])
        return cls(height, hash_, validators, frozenset(votes))


def _validator_of(address: str, key: str) -> Validator:
    return Validator(bytes.fromhex(address), bytes.fromhex(key))


def _candidate(miner: bytes) -> Validator | None:
    """The candidate of a vote: an address, or an RLP pair of address and BLS key."""
    if len(miner) == 20:
        return None if miner == NOBODY else Validator(miner)
    try:
        return _validator(load_rlp(miner, depth_max=EXTRA_DEPTH_MAX))
    except (TypeError, ValueError):
        return None
