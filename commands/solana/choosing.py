"""Choose which of several accounts of one name a transaction names.

Where the settings give several addresses for a name of a call (`Named`), any of them
serves: token accounts of one owner, which pay for commands beside each other, as a
cluster runs transactions that write the same account one after the other. They are
tried in an order that follows from the instruction's arguments, so that commands are
spread over them and each begins with the same one every time. The first with which the
call would succeed is named; the bytes that were signed keep it.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from commands.solana.node import Node, Simulated
from commands.solana.transaction import (
    UNITS_MAX,
    Budget,
    compile_message,
    unsigned,
    writable_of,
)
from db.declare.solana.accounts import Named
from db.declare.solana.call import SolanaCallSpec

NOTHING_HASH = bytes(32)  # a simulation takes a blockhash of its own
Several = Mapping[str, Sequence[bytes]]


def simulate_choices(
    node: Node,
    call: SolanaCallSpec | None,
    instruction: Instruction,
    payer: bytes,
    several: Several,
    *,
    more: Sequence[Instruction] = (),
) -> tuple[Instruction, Simulated]:
    """Return the instruction with accounts that it succeeds with, and its simulation.

    With none that it succeeds with, the first that was tried, and why it fails. Raises
    NodeAway, and BadArguments for a transaction that is too large.
    """
    tried: list[tuple[Instruction, Simulated]] = []
    for each in choices(call, instruction, several):
        draft = compile_message(
            each, payer, NOTHING_HASH, Budget(UNITS_MAX, 1), more=more
        )
        simulated = node.simulate(unsigned(draft), payer, writable_of(each, payer))
        if simulated.error is None:
            return each, simulated
        tried.append((each, simulated))
    return tried[0]


def choices(
    call: SolanaCallSpec | None, instruction: Instruction, several: Several
) -> Iterator[Instruction]:
    """Yield the instruction with each of the accounts that serve, in its own order."""
    many = {name: keys for name, keys in several.items() if len(keys) > 1}
    if call is None or not many:
        yield instruction
        return
    named = {
        at: many[account.name]
        for at, ref in enumerate(call.layout.accounts)
        if isinstance(account := call.accounts.get(ref.name), Named)
        and account.name in many
    }
    first = int.from_bytes(sha256(bytes(instruction.data)).digest())
    for turn in range(max(map(len, named.values()), default=1)):
        metas = list(instruction.accounts)
        for at, keys in named.items():
            key = Pubkey.from_bytes(keys[(first + turn) % len(keys)])
            metas[at] = AccountMeta(key, metas[at].is_signer, metas[at].is_writable)
        yield Instruction(instruction.program_id, instruction.data, metas)
