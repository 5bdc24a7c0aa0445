"""The message that a wallet is asked to sign, and whether it signed that.

It is the command's instruction, and behind it a memo with the command's id: so the
chain itself says for which command a transaction was. The wallet pays and signs alone.
"""

import re
import uuid
from collections.abc import Sequence

from solders.instruction import Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey

from commands.errors import BadTransaction
from commands.solana.extras import Additions, Extras
from commands.solana.messages import (
    Step,
    WalletTransaction,
    flags_of,
    named,
    steps_of,
)
from commands.solana.transaction import UNITS_MAX, Budget, compile_message
from idl.base58 import to_base58

MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_MEMO = re.compile(rb"command ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_ASIDE = 2  # instructions of the compute budget, which stand before ours
_DRAFT_HASH = bytes(32)
REMEDY = "sign `message` of the command as it is, and give it back unchanged"


def memo_of(command_id: uuid.UUID) -> Instruction:
    """Return the memo that names a command."""
    return Instruction(MEMO, f"command {command_id}".encode(), [])


def command_named(steps: Sequence[Step]) -> uuid.UUID | None:
    """Return the id of the command that a transaction's memo names; None without."""
    for step in steps:
        found = _MEMO.fullmatch(step.data) if step.program == bytes(MEMO) else None
        if found:
            return uuid.UUID(found[1].decode())
    return None


def compile_asked(
    data: bytes, command_id: uuid.UUID, wallet: bytes, blockhash: bytes, budget: Budget
) -> MessageV0:
    """Return the message of a command for its wallet; `data` is its instruction.

    Raises BadArguments when the transaction would be larger than nodes take.
    """
    instruction = Instruction.from_bytes(data)
    return compile_message(
        instruction, wallet, blockhash, budget, more=[memo_of(command_id)]
    )


def check_signed(
    signed: WalletTransaction,
    data: bytes,
    command_id: uuid.UUID,
    wallet: bytes,
    extras: Extras,
) -> Additions:
    """Return what the wallet added to what it was asked to sign.

    Raises BadTransaction, which names the instruction, unless it is just what was asked
    for, and what `extras` lists.
    """
    if signed.signers != (wallet,):
        shown = ", ".join(to_base58(each) for each in signed.signers)
        raise BadTransaction(
            f"{shown} would sign and pay, and it must be {to_base58(wallet)} alone: "
            f"{REMEDY}"
        )
    asked = compile_asked(
        data, command_id, wallet, _DRAFT_HASH, Budget(UNITS_MAX, 1)
    )  # fmt: skip
    additions = Additions(extras, wallet)
    _check_steps(signed.steps, steps_of(asked)[_ASIDE:], additions)
    _check_flags(signed, flags_of(asked), additions)
    return additions


def carries_out(signed: WalletTransaction, data: bytes, command_id: uuid.UUID) -> bool:
    """Whether a transaction that landed has a command's instruction, and its memo."""
    ours = Instruction.from_bytes(data)
    step = Step(
        bytes(ours.program_id),
        bytes(ours.data),
        tuple(bytes(each.pubkey) for each in ours.accounts),
    )
    return step in signed.steps and command_named(signed.steps) == command_id


def _check_steps(
    steps: Sequence[Step], asked: Sequence[Step], additions: Additions
) -> None:
    """Find every instruction that was asked for, once, in order; take the others."""
    found = 0
    for number, step in enumerate(steps, 1):
        place = f"instruction {number} ({named(step)})"
        if found < len(asked) and step == asked[found]:
            found += 1
        elif step in asked:
            again = "repeats what" if step in asked[:found] else "stands before what"
            raise BadTransaction(f"{place} {again} was asked for: {REMEDY}")
        elif ours := [each for each in asked if each.program == step.program]:
            raise BadTransaction(
                f"{place} is not what was asked: {_difference(step, ours[0])}. {REMEDY}"
            )
        else:
            additions.take(step, place)
    if found < len(asked):
        raise BadTransaction(
            f"the instruction {named(asked[found])} is missing: {REMEDY}"
        )


def _check_flags(
    signed: WalletTransaction,
    asked: dict[bytes, tuple[bool, bool]],
    additions: Additions,
) -> None:
    """Raise BadTransaction for an account that may do otherwise than was asked."""
    used = {key for step in signed.steps for key in (step.program, *step.accounts)}
    for key, flags in signed.flags.items():
        if key not in used and key not in signed.signers:
            raise BadTransaction(
                f"no instruction uses the account {to_base58(key)}: {REMEDY}"
            )
        least = (False, key in additions.paid)
        if flags != asked.get(key, least):
            wanted = asked.get(key, least)
            at = next(
                (n for n, s in enumerate(signed.steps, 1) if key in s.accounts), 0
            )
            raise BadTransaction(
                f"the account {to_base58(key)} of instruction {at} is "
                f"{_flags_text(flags)}, and must be {_flags_text(wanted)}: {REMEDY}"
            )


def _difference(given: Step, asked: Step) -> str:
    """Say where an instruction differs from the one that was asked for."""
    if given.data != asked.data:
        pairs = zip(given.data, asked.data, strict=False)
        least = min(len(given.data), len(asked.data))
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), least)
        return f"its data differs from byte {at} on"
    for at, (key, wanted) in enumerate(
        zip(given.accounts, asked.accounts, strict=False), 1
    ):
        if key != wanted:
            return (
                f"its account {at} is {to_base58(key)} and must be {to_base58(wanted)}"
            )
    return f"it has {len(given.accounts)} accounts and must have {len(asked.accounts)}"


def _flags_text(flags: tuple[bool, bool]) -> str:
    signs, written = flags
    return f"{'signed' if signs else 'unsigned'} and " + (
        "writable" if written else "read-only"
    )
