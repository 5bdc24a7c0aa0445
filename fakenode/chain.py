"""The chain: blocks whose hashes, roots, blooms and seals are those of its form.

chain = Chain(FORMS["ethereum"], chain_id=100)
chain.mine(Tx([Log(TOKEN, [topic0], data)]), Tx(sender=A, reverted=b""))
chain.reorg(2)                                  # other blocks instead
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eth_hash.auto import keccak

from fakenode.encoding import (
    EMPTY_LIST_HASH,
    EMPTY_ROOT,
    bloom_of,
    encode,
    root_of,
)
from fakenode.seals import Committed, Forgers, Validators, polybft_extra

IBFT_MIX = bytes.fromhex(
    "63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
)
POLYBFT_MIX = bytes.fromhex(
    "adce6e5230abe012342a44e4e9b6d05997d6f015387ae0e59be924afc7ec70c1"
)
GAS_LIMIT = 30_000_000
TX_GAS, LOG_GAS = 21_000, 1_500


@dataclass(frozen=True)
class Form:
    """The form of a chain's headers.

    `blooms`: whether `logsBloom` is true; IBFT Edge leaves it zero in every version.
    `later`: the members that Ethereum's forks appended to the header.
    """

    consensus: str  # "ethereum", "ibft" or "polybft"
    blooms: bool = True
    bls: bool = False
    extra_items: int = 5
    validators: int = 4
    later: tuple[str, ...] = ()
    tx_type: int = 0


FORMS = {
    "ethereum": Form(
        "ethereum",
        later=(
            "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas",
            "parentBeaconBlockRoot", "requestsHash",
        ),
        tx_type=2,
    ),
    "anvil": Form("ethereum", later=("baseFeePerGas",)),
    "ibft-0.6": Form("ibft", blooms=False, extra_items=4),
    "ibft-ecdsa": Form("ibft", blooms=False),
    "ibft-bls": Form("ibft", blooms=False, bls=True),
    "polybft": Form("polybft", later=("baseFeePerGas",)),
}  # fmt: skip


@dataclass(frozen=True)
class Log:
    """One log of a contract."""

    address: bytes
    topics: Sequence[bytes]
    data: bytes = b""


@dataclass(frozen=True)
class Tx:
    """A transaction and what became of it; `reverted` holds the data of a failure."""

    logs: Sequence[Log] = ()
    sender: bytes = b"\x01" * 20
    recipient: bytes | None = b"\x02" * 20
    nonce: int = 0
    value: int = 0
    data: bytes = b""
    reverted: bytes | None = None

    @property
    def gas_used(self) -> int:
        """The gas that it used."""
        return TX_GAS + LOG_GAS * len(self.logs)


@dataclass(frozen=True)
class Receipt:
    """The receipt of a transaction."""

    status: int
    gas_used: int
    cumulative: int
    bloom: int


@dataclass(frozen=True)
class Block:
    """A block as the chain has it; every node tells it in its own way."""

    number: int
    hash: bytes
    parent_hash: bytes
    time: int
    fields: dict[str, Any]  # the header's members, by their names in JSON-RPC
    transactions: tuple[tuple[bytes, Tx], ...]
    receipts: tuple[Receipt, ...]
    logs: tuple[tuple[int, int, int, Log], ...]  # transaction, index in it, in block
    committed: Committed
    parent_committed: Committed
    validators: Validators | None = field(repr=False, default=None)

    def extra_data(self, node: int) -> bytes:
        """`extraData` as a node tells it: each stores the seals that it has heard."""
        if self.validators is None:
            found: bytes = self.fields["extraData"]
            return found
        return self.validators.sealed(
            self.number, self.hash, self.parent_committed, self.committed, node
        )

    @cached_property
    def size_bytes(self) -> int:
        """About what the block takes."""
        return 600 + sum(110 + len(tx.data) for _, tx in self.transactions)


class Chain:
    """Blocks 0..head; block 0 is empty. The same arguments give the same hashes."""

    def __init__(
        self, form: Form, *, chain_id: int = 31337, seed: int = 0, block_time: int = 2,
        time: int = 1_700_000_000,
    ) -> None:  # fmt: skip
        self.form, self.chain_id, self.seed = form, chain_id, seed
        self.block_time, self._start = block_time, time
        self.salt = 0  # differs between the histories that a reorg parts
        self.validators: Validators | None = None
        if form.consensus == "ibft":
            self.validators = Validators(
                seed, form.validators, bls=form.bls, items=form.extra_items
            )
        self.blocks: list[Block] = []
        self.gone: list[Block] = []  # blocks that a reorg replaced
        self.mine()

    @property
    def head(self) -> int:
        """The height of the highest block."""
        return len(self.blocks) - 1

    def copy(self) -> "Chain":
        """The same chain, which may go its own way from here."""
        twin = object.__new__(Chain)
        twin.__dict__.update(self.__dict__)
        twin.blocks, twin.gone = list(self.blocks), list(self.gone)
        return twin

    def mine(self, *transactions: Tx) -> Block:
        """Add a block of these transactions."""
        block = self._sealed(transactions)
        self.blocks.append(block)
        return block

    def truncate(self, head: int) -> list[Block]:
        """Take the blocks above `head` away; give them to `restore` later."""
        taken = self.blocks[head + 1 :]
        del self.blocks[head + 1 :]
        return taken

    def restore(self, blocks: Sequence[Block]) -> None:
        """Put back what `truncate` took."""
        self.blocks += blocks

    def reorg(self, depth: int, histories: Sequence[Sequence[Tx]] = ()) -> None:
        """Replace the last blocks by others, each of these transactions."""
        self.gone += self.truncate(self.head - depth)
        self.salt += 1
        for transactions in histories or [()] * depth:
            self.mine(*transactions)

    def restart(self, histories: Sequence[Sequence[Tx]]) -> None:
        """Start anew from the same block 0, as after a wipe with the same genesis."""
        self.reorg(self.head, histories)

    def forged(self, trick: str, histories: Sequence[Sequence[Tx]]) -> "Chain":
        """Return the chain with blocks on top that too few validators sealed."""
        twin = self.copy()
        if twin.validators is None:
            raise ValueError("only a chain that seals its blocks can be forged")
        twin.validators = Forgers(twin.validators, trick)
        twin.salt += 1
        for transactions in histories:
            twin.mine(*transactions)
        return twin

    def _sealed(self, transactions: Sequence[Tx]) -> Block:
        number = len(self.blocks)
        parent = self.blocks[-1] if self.blocks else None
        signed = tuple(
            (self._hash_of(number, at, tx), tx) for at, tx in enumerate(transactions)
        )
        receipts, logs = _outcome(transactions)
        fields = self._fields(number, parent, signed, receipts)
        own = Committed() if parent is None else parent.committed
        if self.validators is not None:
            fields["extraData"] = self.validators.hashed(own)
        digest = keccak(encode(_hashed(self.form, fields)))
        committed = Committed()
        if self.validators is not None and number:
            committed = self.validators.commit(number, digest)
        return Block(
            number, digest, fields["parentHash"], fields["timestamp"], fields, signed,
            receipts, logs, committed, own, self.validators,
        )  # fmt: skip

    def _fields(
        self, number: int, parent: Block | None, signed: Sequence[tuple[bytes, Tx]],
        receipts: Sequence[Receipt],
    ) -> dict[str, Any]:  # fmt: skip
        """The header's members but its hash."""
        form, bft = self.form, self.form.consensus != "ethereum"
        kind = form.tx_type
        entries = [
            _receipt(kind, r, tx) for (_, tx), r in zip(signed, receipts, strict=True)
        ]
        bloom = 0
        for receipt in receipts:
            bloom |= receipt.bloom
        genesis_edge = bft and number == 0
        mix = {"ibft": IBFT_MIX, "polybft": POLYBFT_MIX}.get(form.consensus, bytes(32))
        fields: dict[str, Any] = {
            "parentHash": bytes(32) if parent is None else parent.hash,
            "sha3Uncles": EMPTY_LIST_HASH,
            "miner": bytes(20),
            "stateRoot": keccak(
                f"state {self.seed} {self.salt * (number > 0)} {number}".encode()
            ),
            "transactionsRoot": root_of([encode([h, tx.nonce]) for h, tx in signed]),
            "receiptsRoot": root_of(entries),
            "logsBloom": bloom if form.blooms else 0,
            "difficulty": number if bft else 0,
            "number": number,
            "gasLimit": GAS_LIMIT,
            "gasUsed": receipts[-1].cumulative if receipts else 0,
            # Edge's block 0 is of the year 1970.
            "timestamp": 0 if genesis_edge else self._start + number * self.block_time,
            "extraData": polybft_extra(number) if form.consensus == "polybft" else b"",
            "mixHash": bytes(32) if genesis_edge and form.consensus == "ibft" else mix,
            "nonce": bytes(8),
        }
        later = {
            "baseFeePerGas": 7 if form.consensus == "ethereum" else 1_000_000_000,
            "withdrawalsRoot": EMPTY_ROOT, "blobGasUsed": 0, "excessBlobGas": 0,
            "parentBeaconBlockRoot": bytes(32), "requestsHash": EMPTY_LIST_HASH,
        }  # fmt: skip
        return fields | {name: later[name] for name in form.later}

    def _hash_of(self, number: int, at: int, tx: Tx) -> bytes:
        place = f"{self.chain_id} {self.seed} {self.salt} {number} {at} {tx.nonce}"
        return keccak(place.encode() + tx.sender + tx.data)


def _outcome(
    transactions: Sequence[Tx],
) -> tuple[tuple[Receipt, ...], tuple[tuple[int, int, int, Log], ...]]:
    """The receipts, and all logs with their places."""
    receipts: list[Receipt] = []
    logs: list[tuple[int, int, int, Log]] = []
    cumulative = 0
    for at, tx in enumerate(transactions):
        cumulative += tx.gas_used
        bloom = bloom_of(item for log in tx.logs for item in (log.address, *log.topics))
        status = int(tx.reverted is None)
        receipts.append(Receipt(status, tx.gas_used, cumulative, bloom))
        for index, log in enumerate(tx.logs):
            logs.append((at, index, len(logs), log))
    return tuple(receipts), tuple(logs)


def _receipt(kind: int, receipt: Receipt, tx: Tx) -> bytes:
    """A receipt as the trie holds it (EIP-658; with its type in front: EIP-2718)."""
    logs = [[log.address, list(log.topics), log.data] for log in tx.logs]
    body = encode(
        [receipt.status, receipt.cumulative, receipt.bloom.to_bytes(256), logs]
    )
    return bytes([kind]) + body if kind else body


def _hashed(form: Form, fields: dict[str, Any]) -> list[Any]:
    """The members that the hash covers, in order.

    IBFT leaves out `mixHash` and `nonce` (consensus/ibft/hash.go); the others are as
    the Yellow Paper says, with what later forks appended.
    """
    values = {**fields, "logsBloom": fields["logsBloom"].to_bytes(256)}
    names = list(values)
    if form.consensus == "ibft":
        names = names[:13]
    return [values[name] for name in names]
