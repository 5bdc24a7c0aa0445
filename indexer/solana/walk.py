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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import NamedTuple, Self

from solders.pubkey import Pubkey

from indexer.rpc.messages import Malformed
from indexer.solana.messages import RpcInstruction, RpcTransaction, decode_data

EVENT_TAG = bytes.fromhex("e445a52e51cb9a1d")  # sha256("anchor:event")[:8], reversed
IDL_TAG = bytes.fromhex("40f4bc78a7e9690a")  # sha256("anchor:idl")[:8], reversed
TRUNCATED = "Log truncated"
_DATA = "Program data: "
_SAID = "Program log: "
_USED = " compute units"


class InstructionCall(NamedTuple):
    """One instruction of a followed program; `accounts` are indexes of keys."""

    number: int
    program: str
    data: bytes
    accounts: Sequence[int]


@dataclass(slots=True)
class _Run:
    """All instructions of a transaction in the order in which they ran.

    A depth of 1 is the transaction's own; None: nobody tells.
    """

    keys: Sequence[str]
    logs: Sequence[str]
    instructions: list[RpcInstruction]
    programs: list[str]
    depths: list[int | None]
    ours: list[int]  # the indexes of those of followed programs


class Emitted(NamedTuple):
    """The bytes of an event; `logged`: in a line, not in an instruction."""

    number: int
    program: str
    body: bytes
    logged: bool


class Strange(NamedTuple):
    """Bytes that look like an event and are not believed."""

    number: int
    program: str
    body: bytes
    reason: str


@dataclass(slots=True)
class Walked:
    """The calls of followed programs and their events, each in order of number."""

    keys: Sequence[str]
    calls: list[InstructionCall] = field(default_factory=list)
    emitted: list[Emitted] = field(default_factory=list)
    strange: list[Strange] = field(default_factory=list)
    truncated: bool = False

    def of(self, programs: Collection[str]) -> Self:
        """Return what some of the followed programs did, and nothing of the others."""
        return replace(
            self,
            calls=[each for each in self.calls if each.program in programs],
            emitted=[each for each in self.emitted if each.program in programs],
            strange=[each for each in self.strange if each.program in programs],
        )


def walk(
    transactions: Sequence[RpcTransaction], followed: Collection[str]
) -> list[Walked]:
    """Attribute what the followed programs did in transactions that succeeded.

    Raises Malformed when the node's answer contradicts itself, or lacks its logs.
    """
    runs = [_run(each, followed) for each in transactions]
    texts = [run.instructions[at].data for run in runs for at in run.ours]
    data = iter(decode_data(texts))
    return [_walk(run, [next(data) for _ in run.ours], followed) for run in runs]


def _walk(run: _Run, data: Sequence[bytes], followed: Collection[str]) -> Walked:
    walked = Walked(run.keys)
    lines, numbers = _read_logs(run, followed, walked)
    for at, body in zip(run.ours, data, strict=True):
        program, accounts = run.programs[at], run.instructions[at].accounts
        if body[:8] != EVENT_TAG:
            walked.calls.append(InstructionCall(numbers[at], program, body, accounts))
        elif _is_genuine(run, at):
            event = Emitted(numbers[at], program, body[8:], logged=False)
            walked.emitted.append(event)
        else:
            reason = "an event that another program, or nobody, gave in its name"
            walked.strange.append(Strange(numbers[at], program, body[8:], reason))
    if lines:
        _take_lines(walked, lines)
    return walked


def keys_of(transaction: RpcTransaction) -> list[str]:
    """Return all keys: the static ones, then those of lookup tables."""
    keys = transaction.transaction.message.account_keys
    meta = transaction.meta
    if meta is None or meta.loaded_addresses is None:
        return keys
    return [*keys, *meta.loaded_addresses.writable, *meta.loaded_addresses.readonly]


def names_one(keys: Sequence[str], slot: int, starts: Mapping[str, int]) -> bool:
    """Whether keys of a transaction are among those that count from a slot on."""
    return any(starts.get(key, slot + 1) <= slot for key in keys)


@lru_cache(maxsize=1024)
def event_authority(program: str) -> str:
    """Return the account that only a program can sign events with."""
    seeds = [b"__event_authority"]
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(program))[0])


def _run(transaction: RpcTransaction, followed: Collection[str]) -> _Run:
    meta, keys = transaction.meta, keys_of(transaction)
    if meta is None or meta.inner_instructions is None or meta.log_messages is None:
        raise Malformed(
            "a node keeps no inner instructions, or no logs: use an endpoint that "
            "records both"
        )
    inner = {each.index: each.instructions for each in meta.inner_instructions}
    found: list[RpcInstruction] = []
    own: list[int] = []
    for at, outer in enumerate(transaction.transaction.message.instructions):
        own.append(len(found))
        found.append(outer)
        found += inner.get(at, ())
    depths = [each.stack_height for each in found]
    for at in own:
        depths[at] = 1
    try:
        programs = [keys[each.program_id_index] for each in found]
    except IndexError:
        raise Malformed("an instruction names a key that is not there") from None
    ours = [at for at, program in enumerate(programs) if program in followed]
    return _Run(keys, meta.log_messages, found, programs, depths, ours)


def _read_logs(
    run: _Run, followed: Collection[str], walked: Walked
) -> tuple[list[tuple[int, str, str]], Sequence[int]]:
    """The data lines of the followed programs, and the number of each instruction.

    Depths that the node did not tell are filled in from the lines.
    """
    walked.truncated = TRUNCATED in run.logs
    if _DATA in "".join(run.logs) or None in run.depths:
        return _follow_lines(run, followed)
    return [], range(len(run.programs))


def _follow_lines(
    run: _Run, followed: Collection[str]
) -> tuple[list[tuple[int, str, str]], list[int]]:
    """Follow the stack of calls, line by line; a line that does not fit ends it."""
    lines: list[tuple[int, str, str]] = []
    numbers: list[int] = []
    programs, depths = run.programs, run.depths
    stack: list[str] = []
    leaving: list[str] = [""]
    entering = _entering(1)
    number = at = 0  # of what comes next, and of the next instruction
    for line in run.logs:
        if line == leaving[-1]:
            stack.pop()
            leaving.pop()
            entering = _entering(len(stack) + 1)
        elif line.startswith(_SAID) or line.endswith(_USED):
            continue
        elif line.endswith(entering) and (program := _entered(line, entering)):
            stack.append(program)
            leaving.append(_leaving(program))
            entering = _entering(len(stack) + 1)
            if program in programs[at:]:
                # Those between are of precompiled programs, which write no line.
                while programs[at] != program:
                    numbers.append(number)
                    number, at = number + 1, at + 1
                if depths[at] is None:
                    depths[at] = len(stack)
                numbers.append(number)
                number, at = number + 1, at + 1
        elif line.startswith(_DATA):
            if not stack:
                break
            if stack[-1] in followed:
                lines.append((number, stack[-1], line[len(_DATA) :]))
            number += 1
        elif _ends_reading(line):
            break
    numbers += range(number, number + len(programs) - len(numbers))
    return lines, numbers


@cache
def _entering(depth: int) -> str:
    """The end of the line that says that a program is entered at a depth."""
    return f" invoke [{depth}]"


@lru_cache(maxsize=4096)
def _leaving(program: str) -> str:
    """The line that says that a program has ended well."""
    return f"Program {program} success"


@lru_cache(maxsize=4096)
def _entered(line: str, end: str) -> str:
    """The program of a line with that end; empty when the runtime did not write it."""
    program = line[len("Program ") : -len(end)]
    is_status = (
        line.startswith("Program ") and ":" not in program and " " not in program
    )
    return program if is_status else ""


def _ends_reading(line: str) -> bool:
    """Whether the runtime wrote a line that does not fit: the stack is not known on.

    What fails ends its transaction, which then is not read.
    """
    parts = line.split(" ", 3)
    is_status = parts[0] == "Program" and len(parts) > 2 and parts[1][-1:] != ":"
    return line == TRUNCATED or (
        is_status and parts[2] in ("invoke", "success", "failed:")
    )


def _is_genuine(run: _Run, at: int) -> bool:
    """Whether the program of an instruction is the one that called it, too."""
    depth, program = run.depths[at], run.programs[at]
    if depth is None:
        accounts = run.instructions[at].accounts
        named = run.keys[accounts[0]] if accounts else ""
        return named == event_authority(program)
    for below in range(at - 1, -1, -1):
        caller = run.depths[below]
        if caller is not None and caller < depth:
            return caller == depth - 1 and run.programs[below] == program
    return False


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
