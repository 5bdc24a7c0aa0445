"""Token movements of a transaction: its balances before and after it, compared.

A node tells the balance of every token account that a transaction names, before and
after it ran (`preTokenBalances` and `postTokenBalances` of getTransaction). Where an
account has the same owner and mint in both, the difference is one movement; else what
it held left the one, and what it holds arrived at the other. A difference of nothing
is no movement.

Movements are numbered behind all that ran: `FIRST_NUMBER` and twice the index of the
account among the keys of the transaction, and one more for what arrived at another
owner or mint. A transaction has at most 256 keys, so these numbers end where 16 bits
do; what ran is numbered below them, or refused (`indexer.solana.assemble`).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from indexer.rpc.messages import Malformed
from indexer.solana.decode import ProgramDecoder
from indexer.solana.messages import RpcTokenBalance, RpcTransaction, key_bytes
from indexer.solana.walk import names_one

KEYS_MAX = 256  # an index of a key has eight bits
FIRST_NUMBER = (1 << 16) - 2 * KEYS_MAX
AMOUNT_MAX = (1 << 64) - 1
AMOUNT_DIGITS_MAX = len(str(AMOUNT_MAX))
# The only token program while nodes did not tell which one it was.
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 (an address)


@dataclass(frozen=True, slots=True)
class FollowedTokens:
    """The addresses whose transactions are looked at, each with its first slot."""

    decoder: ProgramDecoder  # of `db.declare.solana.tokens`
    starts: Mapping[str, int]  # by address in base58

    def concern(self, slot: int, keys: Sequence[str]) -> bool:
        """Whether a transaction with these keys names one of the addresses."""
        return names_one(keys, slot, self.starts)


class Movement(NamedTuple):
    """One movement: its number, the token program, and a body of its layout."""

    number: int
    program: str
    body: bytes


class _Held(NamedTuple):
    """The holding of a token account: whose it is, of what, and how much."""

    owner: str
    mint: str
    program: str
    decimals: int
    amount: int


def movements(transaction: RpcTransaction, keys: Sequence[str]) -> Iterator[Movement]:
    """Yield the token movements of a transaction that succeeded, in order of number.

    Raises Malformed when the answer contradicts itself, and when it tells no balances
    or not whose they are.
    """
    meta = transaction.meta
    if meta is None or meta.pre_token_balances is None:
        raise Malformed(_untold(transaction.slot, "token balances"))
    if meta.post_token_balances is None:
        raise Malformed(_untold(transaction.slot, "token balances"))
    before = _by_index(meta.pre_token_balances, keys, transaction.slot)
    after = _by_index(meta.post_token_balances, keys, transaction.slot)
    for index in sorted(before.keys() | after.keys()):
        number = FIRST_NUMBER + 2 * index
        account = keys[index]
        old, new = before.get(index), after.get(index)
        if old and new and old._replace(amount=0) == new._replace(amount=0):
            if new.amount != old.amount:
                amount = new.amount - old.amount
                yield _movement(number, account, new, amount, new.amount)
            continue
        if old and old.amount:
            yield _movement(number, account, old, -old.amount, 0)
        if new and new.amount:
            yield _movement(number + 1, account, new, new.amount, new.amount)


def _by_index(
    balances: Sequence[RpcTokenBalance], keys: Sequence[str], slot: int
) -> dict[int, _Held]:
    found: dict[int, _Held] = {}
    for each in balances:
        index, amounts = each.account_index, each.ui_token_amount
        if not 0 <= index < min(len(keys), KEYS_MAX) or index in found:
            raise Malformed(
                f"a token balance in slot {slot} is of key {index}, which is not there "
                "or has one already: ask again"
            )
        if each.owner is None:
            raise Malformed(_untold(slot, "the owners of token accounts"))
        is_short = (
            len(amounts.amount) <= AMOUNT_DIGITS_MAX and amounts.amount.isdecimal()
        )
        amount = int(amounts.amount) if is_short else -1
        if not 0 <= amount <= AMOUNT_MAX or not 0 <= amounts.decimals <= 255:
            raise Malformed(
                f"{amounts.amount[:60]!r} with {amounts.decimals} decimals is no amount"
                " of tokens: ask again"
            )
        program = each.program_id or TOKEN
        found[index] = _Held(each.owner, each.mint, program, amounts.decimals, amount)
    return found


def _movement(
    number: int, account: str, held: _Held, amount: int, balance: int
) -> Movement:
    body = (
        key_bytes(account) + key_bytes(held.owner) + key_bytes(held.mint)
        + amount.to_bytes(16, "little", signed=True)
        + struct.pack("<QB", balance, held.decimals)
    )  # fmt: skip
    return Movement(number, held.program, body)


def _untold(slot: int, what: str) -> str:
    return (
        f"a node does not tell {what} in slot {slot}: use an endpoint that records "
        "them, or read from above the slot on: start, in [chains.<name>.tokens]"
    )
