"""Polygon Edge's validators: made-up keys, and what they write into `extraData`.

IBFT: 32 bytes, then RLP of validators, the proposer's seal, the committed seals, the
parent's committed seals and, from 0.9 on, the round (consensus/ibft/signer/extra.go).
PolyBFT: validators' delta, committed, parent, checkpoint; nodes answer without the
committed signature, which the hash does not cover either (consensus/polybft/extra.go,
`GetIbftExtraClean`).
"""

from dataclasses import dataclass
from functools import cached_property

from coincurve import PrivateKey
from eth_hash.auto import keccak
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from fakenode.encoding import encode

VANITY = bytes(32)
COMMIT = b"\x02"
BLS_DOMAIN = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
ROUND = bytes(8)


@dataclass(frozen=True)
class Signer:
    """One validator, its keys derived from a seed."""

    seed: int
    number: int

    @cached_property
    def secret(self) -> PrivateKey:
        """The ECDSA key."""
        return PrivateKey(keccak(f"validator {self.seed} {self.number}".encode()))

    @cached_property
    def address(self) -> bytes:
        """The address of the ECDSA key."""
        return keccak(self.secret.public_key.format(compressed=False)[1:])[12:]

    @cached_property
    def scalar(self) -> int:
        """The BLS key, as a number."""
        return int.from_bytes(keccak(self.address + b"bls")[:16])

    @cached_property
    def bls_key(self) -> bytes:
        """The public BLS key: a compressed point of G1."""
        return bytes((G1Point() * _scalar(self.scalar)).to_compressed_bytes())

    def sign(self, digest: bytes) -> bytes:
        """65 bytes r, s, v over a digest, v being 0 or 1."""
        return self.secret.sign_recoverable(digest, hasher=None)


@dataclass(frozen=True)
class Committed:
    """The committed seals of one block, by the validators' places in the set."""

    seals: tuple[tuple[int, bytes], ...] = ()
    aggregate: tuple[bytes, bytes] | None = None  # bitmap and BLS signature

    def items(self, heard: int | None, quorum: int) -> list[bytes]:
        """As they stand in `extraData`; `heard` names a node that missed one seal."""
        if self.aggregate is not None:
            return list(self.aggregate)
        seals = [seal for _, seal in self.seals]
        if heard is not None and len(seals) > quorum:
            del seals[heard % len(seals)]
        return seals


class Validators:
    """A fixed set that seals every block."""

    def __init__(self, seed: int, count: int, *, bls: bool, items: int) -> None:
        self.signers = [Signer(seed, number) for number in range(count)]
        self.bls, self.items = bls, items
        self.quorum = count if count < 4 else -(-2 * count // 3)

    def extra_data(
        self,
        proposer: bytes,
        committed: list[bytes],
        parent: list[bytes],
        round_: bytes,
    ) -> bytes:
        """`extraData` with these seals."""
        named = [
            [s.address, s.bls_key] if self.bls else s.address for s in self.signers
        ]
        items = [named, proposer, committed, parent, round_]
        return VANITY + encode(items[: self.items])

    def hashed(self, parent: Committed) -> bytes:
        """The part of `extraData` that the hash covers: without seals and round."""
        nothing = [b"", b""] if self.bls else []
        return self.extra_data(b"", nothing, self._of_parent(parent), b"")

    def _of_parent(self, parent: Committed) -> list[bytes]:
        return parent.items(None, self.quorum)

    def propose(self, number: int, block_hash: bytes) -> bytes:
        """The proposer's seal; the validators take turns."""
        return self.signers[number % len(self.signers)].sign(keccak(block_hash))

    def commit(self, number: int, block_hash: bytes) -> Committed:
        """The seals of a quorum, or of all, of the validators."""
        digest = self._digest(block_hash)
        count = len(self.signers)
        absent = {number % count} if number % 3 and count > self.quorum else set()
        present = [at for at in range(count) if at not in absent]
        if not self.bls:
            return Committed(
                tuple((at, self.signers[at].sign(digest)) for at in present)
            )
        total = sum(self.signers[at].scalar for at in present)
        point = G2Point.hash_to_curve(digest, BLS_DOMAIN) * _scalar(total)
        bitmap = sum(1 << at for at in present)
        packed = bitmap.to_bytes((bitmap.bit_length() + 7) // 8)
        return Committed(aggregate=(packed, bytes(point.to_compressed_bytes())))

    def sealed(
        self, number: int, block_hash: bytes, parent: Committed, own: Committed,
        heard: int,
    ) -> bytes:  # fmt: skip
        """`extraData` as the node `heard` tells it."""
        if number == 0:
            return self.hashed(parent)
        seals = own.items(heard, self.quorum)
        proposer = self.propose(number, block_hash)
        return self.extra_data(proposer, seals, self._of_parent(parent), ROUND)

    def _digest(self, block_hash: bytes) -> bytes:
        proposal = keccak(block_hash + ROUND) if self.items == 5 else block_hash
        return keccak(keccak(proposal + COMMIT))


class Forgers(Validators):
    """Too few of the validators, who seal a block that the others never saw.

    `trick` is how they fill the quorum: not at all ("few"), with one seal told twice
    ("twice"), or with the seal of somebody who is no validator ("stranger").
    """

    def __init__(self, true: Validators, trick: str) -> None:
        self.signers, self.bls, self.items = true.signers, true.bls, true.items
        self.quorum, self.trick = true.quorum, trick

    def commit(self, number: int, block_hash: bytes) -> Committed:
        """The seals of one validator less than the quorum, and what the trick adds."""
        digest = self._digest(block_hash)
        few = self.signers[: self.quorum - 1]
        if self.bls:
            total = sum(signer.scalar for signer in few)
            point = G2Point.hash_to_curve(digest, BLS_DOMAIN) * _scalar(total)
            named = self.quorum if self.trick == "twice" else self.quorum - 1
            bitmap = bytes([(1 << named) - 1])
            return Committed(aggregate=(bitmap, bytes(point.to_compressed_bytes())))
        seals = [(at, signer.sign(digest)) for at, signer in enumerate(few)]
        if self.trick == "twice":
            seals.append((len(few), seals[0][1]))
        elif self.trick == "stranger":
            seals.append((len(few), Signer(-1, 0).sign(digest)))
        return Committed(tuple(seals))


def _scalar(value: int) -> Scalar:
    return Scalar.from_le_bytes(value.to_bytes(32, "little"))


def polybft_extra(number: int) -> bytes:
    """PolyBFT's `extraData` as nodes answer it: an empty committed signature."""
    checkpoint = [b"", number // 10 + 1, keccak(b"set"), keccak(b"set"), bytes(32)]
    parent = [] if number < 2 else [keccak(number.to_bytes(8)) * 2, b"\x0f"]
    return VANITY + encode([[], [], parent, checkpoint])
