"""Seeded business: coins move, a factory makes deals, deals are paid."""

import random
from collections.abc import Callable, Sequence

from eth_abi.abi import encode as abi_encode
from eth_hash.auto import keccak

from fakenode.chain import Chain, Form, Log, Tx

FACTORY, TOKEN, STRANGER = b"\xfa" * 20, b"\x70" * 20, b"\x5f" * 20
PEOPLE = [bytes([n]) * 20 for n in range(0x11, 0x19)]
TRANSFER = keccak(b"Transfer(address,address,uint256)")
DEAL_MADE = keccak(b"DealMade(address,address,string)")
PAID = keccak(b"Paid(address,uint256)")
CLOSED = keccak(b"Closed(bool)")


def grown(
    form: Form, *, seed: int, blocks: int, chain_id: int = 31337, spare: int = 1
) -> Chain:
    """A chain of this many blocks above block 0; `spare` adds to the empty ones."""
    chain = Chain(form, chain_id=chain_id, seed=seed)
    business = Business(chain, random.Random(seed))  # noqa: S311
    for _ in range(blocks):
        chain.mine(*business.block(spare=spare))
    return chain


class Business:
    """Makes the transactions of the next block."""

    def __init__(self, chain: Chain, rng: random.Random) -> None:
        self.chain, self.rng = chain, rng

    def block(self, *, spare: int = 1, most: int = 3) -> list[Tx]:
        """The transactions of one block, none in about one of `spare + most` blocks."""
        made = deals_of(self.chain)
        count = max(0, self.rng.randrange(-spare, most) + 1)
        return [self._transaction(made) for _ in range(count)]

    def blocks(self, count: int) -> list[list[Tx]]:
        """The transactions of several blocks, to give to `Chain.reorg`."""
        return [self.block() for _ in range(count)]

    def _transaction(self, made: list[bytes]) -> Tx:
        rng = self.rng
        sender = rng.choice(PEOPLE)
        if rng.random() < 0.1:
            return Tx((), sender, nonce=rng.randrange(99), reverted=b"")
        logs: list[Log] = []
        for _ in range(rng.randrange(1, 4)):
            logs += self._logs(made)
        return Tx(tuple(logs), sender, nonce=rng.randrange(99), data=rng.randbytes(4))

    def _logs(self, made: list[bytes]) -> list[Log]:
        rng, roll = self.rng, self.rng.random()
        if roll < 0.15 or not made:
            deal = keccak(rng.randbytes(8))[:20]
            made.append(deal)
            both = [self._announced(deal), self._paid(deal)]
            rng.shuffle(both)  # a child may speak before it is announced
            return both
        kinds: Sequence[Callable[[], Log]] = (
            self._moved, self._moved, lambda: self._paid(rng.choice(made)),
            lambda: self._paid(rng.choice(made)), self._strange,
        )  # fmt: skip
        return [rng.choice(kinds)()]

    def _moved(self) -> Log:
        people = [self.rng.choice(PEOPLE).rjust(32, b"\0") for _ in range(2)]
        amount = self.rng.choice([0, 1, 10**18, self.rng.randrange(10**20)])
        return Log(TOKEN, [TRANSFER, *people], amount.to_bytes(32))

    def _paid(self, deal: bytes) -> Log:
        payer = self.rng.choice(PEOPLE).rjust(32, b"\0")
        amount = self.rng.choice([1, 7, 10**18, 2**255])
        return Log(deal, [PAID, payer], amount.to_bytes(32))

    def _announced(self, deal: bytes) -> Log:
        owner = self.rng.choice(PEOPLE).rjust(32, b"\0")
        title = self.rng.choice(["", "Blue bakery", "ብርሃን", "o'Neil \\ %s"])
        data = abi_encode(["address", "string"], ["0x" + deal.hex(), title])
        return Log(FACTORY, [DEAL_MADE, owner], data)

    def _strange(self) -> Log:
        """A log of nobody's ABI: no topic, many topics, odd data, or a stranger's."""
        topics = [self.rng.randbytes(32) for _ in range(self.rng.randrange(0, 5))]
        address = self.rng.choice([STRANGER, self.rng.randbytes(20)])
        return Log(address, topics, self.rng.randbytes(self.rng.randrange(0, 70)))


def deals_of(chain: Chain) -> list[bytes]:
    """The children that the factory has announced."""
    return [
        log.data[12:32]
        for block in chain.blocks
        for *_, log in block.logs
        if log.address == FACTORY
    ]
