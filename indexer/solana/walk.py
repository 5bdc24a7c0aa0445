"""Attribution: which program did what in a transaction, and in which order.

Everything that happens is numbered in the order in which it ran: each instruction, the
transaction's own and those that they call, and each `Program data:` line between them.
The number depends on the transaction alone, not on what of it is followed.

Three kinds of things are attributed to a program:
- instructions, by the program that they name;
- events that a program gives to itself in an instruction (`emit_cpi!` of Anchor: eight
  bytes that mark it, then the event). The program must be the caller too; where nodes
  do not tell who called, the account that only it can sign for must be named first;
- events that it logs (`emit!`), by the lines of the runtime that say which program
  runs. A line `Log truncated` ends what is read: behind it lines are missing, and a
  short one may stand where another program's should. Lines that do not fit the stack
  of calls end it too.
"""

import binascii
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from solders.pubkey import Pubkey

from indexer.rpc.messages import Malformed
from indexer.solana.messages import RpcInstruction, RpcTransaction, decode_data

EVENT_TAG = bytes.fromhex("e445a52e51cb9a1d")  # sha256("anchor:event")[:8], reversed
TRUNCATED = "Log truncated"
_DATA = "Program data: "


@dataclass(slots=True)
class Call:
    """One instruction: its program, and where it stands."""

    program: str
    instruction: RpcInstruction
    depth: int | None  # 1: of the transaction itself; None: nobody tells
    number: int = -1
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Emitted:
    """The bytes of an event; `logged`: in a line, not in an instruction."""

    number: int
    program: str
    body: bytes
    logged: bool


@dataclass(frozen=True, slots=True)
class Strange:
    """Bytes that look like an event and are not believed."""

    number: int
    program: str
    body: bytes
    reason: str


@dataclass(slots=True)
class Walked:
    """The calls of followed programs and their events, each in order of number."""

    keys: Sequence[str]
    calls: list[Call] = field(default_factory=list)
    emitted: list[Emitted] = field(default_factory=list)
    strange: list[Strange] = field(default_factory=list)
    truncated: bool = False


@dataclass(slots=True)
class _Logged:
    """The data lines of the followed programs, before they are compared."""

    lines: list[tuple[int, str, str]] = field(default_factory=list)
    truncated: bool = False


def walk(transaction: RpcTransaction, followed: Collection[str]) -> Walked:
    """Attribute what the followed programs did in a transaction that succeeded.

    Raises Malformed when the node's answer contradicts itself, or lacks its logs.
    """
    keys = keys_of(transaction)
    calls = _calls(transaction, keys)
    logged = _read_logs(transaction, calls, followed)
    walked = Walked(keys, truncated=logged.truncated)
    ours = [call for call in calls if call.program in followed]
    for call, data in zip(
        ours, decode_data([c.instruction.data for c in ours]), strict=True
    ):
        call.data = data
    callers: list[Call] = []
    for call in calls:
        if call.depth is not None:
            del callers[call.depth - 1 :]
        if call.program in followed:
            if call.data[:8] == EVENT_TAG:
                _take_event(walked, call, callers)
            else:
                walked.calls.append(call)
        callers.append(call)
    _take_lines(walked, logged.lines)
    return walked


def keys_of(transaction: RpcTransaction) -> list[str]:
    """Return all keys: the static ones, then those of lookup tables."""
    keys = transaction.transaction.message.account_keys
    meta = transaction.meta
    if meta is None or meta.loaded_addresses is None:
        return keys
    return [*keys, *meta.loaded_addresses.writable, *meta.loaded_addresses.readonly]


@lru_cache(maxsize=1024)
def event_authority(program: str) -> str:
    """Return the account that only a program can sign events with."""
    seeds = [b"__event_authority"]
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(program))[0])


def _calls(transaction: RpcTransaction, keys: Sequence[str]) -> list[Call]:
    """All instructions in the order in which they ran."""
    meta = transaction.meta
    if meta is None or meta.inner_instructions is None or meta.log_messages is None:
        raise Malformed(
            "a node keeps no inner instructions, or no logs: use an endpoint that "
            "records both"
        )
    inner = {each.index: each.instructions for each in meta.inner_instructions}
    calls: list[Call] = []
    try:
        for at, outer in enumerate(transaction.transaction.message.instructions):
            calls.append(Call(keys[outer.program_id_index], outer, 1))
            for each in inner.get(at, ()):
                depth = each.stack_height
                calls.append(Call(keys[each.program_id_index], each, depth))
    except IndexError:
        raise Malformed("an instruction names a key that is not there") from None
    return calls


def _read_logs(
    transaction: RpcTransaction, calls: list[Call], followed: Collection[str]
) -> _Logged:
    """Number the calls, and find the data lines of the followed programs.

    Depths that the node did not tell are filled in from the lines.
    """
    logs = transaction.meta.log_messages if transaction.meta else None
    logged = _Logged()
    stack: list[str] = []
    at = number = 0
    for line in logs or ():
        if not line.startswith("Program "):
            if line == TRUNCATED:
                logged.truncated = True
                break
            continue
        if line.startswith(_DATA):
            if not stack:
                break
            if stack[-1] in followed:
                logged.lines.append((number, stack[-1], line[len(_DATA) :]))
            number += 1
            continue
        parts = line.split(" ", 3)
        if len(parts) < 3 or parts[1][-1:] == ":":
            continue  # what a program says itself
        if parts[2] == "invoke" and len(parts) == 4:
            if parts[3] != f"[{len(stack) + 1}]":
                break
            stack.append(parts[1])
            reached = _find(calls, at, parts[1])
            for call in calls[at : reached + 1]:
                call.number = number
                number += 1
            if reached >= at:
                if calls[reached].depth is None:
                    calls[reached].depth = len(stack)
                at = reached + 1
        elif _is_end(parts) and (not stack or stack.pop() != parts[1]):
            break
    for call in calls[at:]:
        call.number = number
        number += 1
    return logged


def _is_end(parts: Sequence[str]) -> bool:
    return (parts[2] == "success" and len(parts) == 3) or parts[2] == "failed:"


def _find(calls: Sequence[Call], at: int, program: str) -> int:
    """The index of the next call of a program, -1 when there is none.

    Those between are of precompiled programs, which write no line.
    """
    for index in range(at, len(calls)):
        if calls[index].program == program:
            return index
    return -1


def _take_event(walked: Walked, call: Call, callers: Sequence[Call]) -> None:
    """Take an event in an instruction, if its program called it."""
    body = call.data[8:]
    if call.depth is None:
        accounts = call.instruction.accounts
        named = walked.keys[accounts[0]] if accounts else ""
        genuine = named == event_authority(call.program)
    else:
        told = call.depth > 1 and len(callers) == call.depth - 1
        genuine = told and callers[-1].program == call.program
    if genuine:
        walked.emitted.append(Emitted(call.number, call.program, body, logged=False))
        return
    reason = "an event that another program, or nobody, gave in its name"
    walked.strange.append(Strange(call.number, call.program, body, reason))


def _take_lines(walked: Walked, lines: Sequence[tuple[int, str, str]]) -> None:
    """Take logged events, but for those that were given in an instruction too."""
    given: dict[tuple[str, bytes], int] = {}
    for each in walked.emitted:
        key = each.program, each.body
        given[key] = given.get(key, 0) + 1
    for number, program, text in lines:
        try:
            body = binascii.a2b_base64(text, strict_mode=True)
        except (binascii.Error, ValueError):
            body = text.encode()
            walked.strange.append(Strange(number, program, body, "it is not base64"))
            continue
        if left := given.get((program, body)):
            given[program, body] = left - 1
            continue
        walked.emitted.append(Emitted(number, program, body, logged=True))
    walked.emitted.sort(key=lambda each: each.number)
