"""The versions that an IDL on the chain has had, made again from its transactions.

Every program that Anchor built has instructions for the account in which it keeps its
IDL (`ops.idls`): they make it, append bytes, copy those of another account (a buffer,
which was written in the same way), and close it. `steps_of` finds them in
transactions, the transactions' own and those that others call; `replay` plays them
again. What a slot leaves behind is a version when it is whole, which is when it can be
inflated to its end.

An account of which the beginning was not seen holds what nobody knows, until it is made
or copied anew: nothing is guessed.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import groupby

from idl.parse import BYTES_MAX
from indexer.rpc.messages import Malformed
from indexer.solana.walk import IDL_TAG, InstructionCall, Walked
from ops.errors import OperationError

WORK_MAX = 256 << 20
"""Bytes that a replay may copy and inflate: 60 IDLs as large as they may be."""

UNKNOWN = "an IDL that cannot be told: what was written before it is not known"
CLOSED = "closed: the version before is the last until there is a new one"


class Kind(IntEnum):
    """The instructions, by the byte behind their tag (`IdlInstruction` of Anchor)."""

    CREATE = 0
    CREATE_BUFFER = 1
    WRITE = 2
    SET_BUFFER = 3
    SET_AUTHORITY = 4
    CLOSE = 5
    RESIZE = 6
    STRANGE = 255  # none that is known: what it left in its accounts is not known


_TARGETS: Mapping[Kind, int] = {Kind.CREATE: 1, Kind.SET_BUFFER: 1}
"""Which of its accounts one changes, where it is not the first."""


@dataclass(frozen=True, slots=True)
class IdlStep:
    """One instruction for an account; `source` is the buffer that is copied."""

    slot: int
    kind: Kind
    target: str
    data: bytes = b""
    source: str = ""


@dataclass(frozen=True, slots=True)
class UploadedIdl:
    """The JSON of an IDL, and the slot in which the last of it was written."""

    slot: int
    content: bytes


@dataclass(slots=True)
class ReplayedIdl:
    """The versions of one account, oldest first, and what it holds in the end.

    `deflated` is None where that is not known, or there is no account (`closed`);
    `changed` is the last slot that changed it, `notes` are what happened besides.
    """

    versions: list[UploadedIdl] = field(default_factory=list)
    deflated: bytes | None = None
    closed: bool = False
    changed: int | None = None
    notes: list[tuple[int, str]] = field(default_factory=list)


def steps_of(slot: int, walked: Walked) -> list[IdlStep]:
    """Return the steps of one transaction that succeeded, in their order.

    Raises Malformed where it names an account that it does not have.
    """
    return [
        step
        for call in walked.calls
        if call.data[:8] == IDL_TAG
        for step in _steps(slot, call, walked.keys)
    ]


def sources_of(steps: Iterable[IdlStep], known: Iterable[str]) -> set[str]:
    """Return the accounts that some were copied from, and so on, but for these."""
    found = {*known}
    copied = [(step.target, step.source) for step in steps if step.source]
    while more := {source for target, source in copied if target in found} - found:
        found |= more
    return found - {*known}


def replay(steps: Sequence[IdlStep], address: str) -> ReplayedIdl:
    """Play steps again, in the order of the chain; return what an account has had.

    Raises OperationError when that is more work than real histories are.
    """
    machine = _Machine()
    found = ReplayedIdl()
    for slot, group in groupby(steps, key=lambda step: step.slot):
        touched = [machine.take(step) for step in group]
        if address in touched:
            found.changed = slot
            _look(found, slot, machine.accounts.get(address), machine)
    account = machine.accounts.get(address)
    if account is not None and account.content is not None:
        found.deflated = bytes(account.content)
    found.closed = account is not None and account.closed
    return found


def _look(
    found: ReplayedIdl, slot: int, account: "_Account | None", machine: "_Machine"
) -> None:
    """Note what a slot has left in the account."""
    content = None if account is None else account.whole(machine)
    last = found.versions[-1] if found.versions else None
    if content is not None:
        if last is None or last.content != content:
            found.versions.append(UploadedIdl(slot, content))
        return
    text = UNKNOWN if account is None else CLOSED if account.closed else account.broken
    noted = found.notes[-1] if found.notes else None
    again = noted is not None and noted[1] == text
    if text and not (again and noted and (last is None or last.slot <= noted[0])):
        found.notes.append((slot, text))


@dataclass(slots=True)
class _Account:
    """The bytes behind an account's head; None: it is closed."""

    content: bytearray | None
    broken: str = ""
    _inflater: "zlib._Decompress" = field(default_factory=zlib.decompressobj)
    _inflated: bytearray = field(default_factory=bytearray)
    _read: int = 0  # bytes that were inflated already

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.content is None

    def whole(self, machine: "_Machine") -> bytes | None:
        """Return what it holds, inflated; None while that is not whole."""
        if self.content is None or self.broken:
            return None
        before = len(self._inflated)
        machine.spend(before if self._inflater.eof else 0)
        try:
            self._inflated += self._inflater.decompress(
                self.content[self._read :], BYTES_MAX + 1 - before
            )
        except zlib.error as error:
            self.broken = f"no IDL: it cannot be inflated ({error})"
        self._read = len(self.content)
        machine.spend(len(self._inflated) - before)
        if len(self._inflated) > BYTES_MAX:
            self.broken = f"no IDL: it inflates to more than {BYTES_MAX} bytes"
        if self.broken:
            self._inflated.clear()
            return None
        return bytes(self._inflated) if self._inflater.eof else None


class _Machine:
    """All accounts that steps are about: those that are not here are not known."""

    def __init__(self) -> None:
        self.accounts: dict[str, _Account] = {}
        self._left = WORK_MAX

    def spend(self, size: int) -> None:
        """Count work; raises OperationError when it is too much."""
        self._left -= size
        if self._left < 0:
            raise OperationError(
                f"the history of this IDL takes more than {WORK_MAX} bytes to replay: "
                "somebody made it so. Fetch the present one, without --history"
            )

    def take(self, step: IdlStep) -> str:
        """Play one step and return the account that it may have changed."""
        accounts, target = self.accounts, step.target
        if step.kind in (Kind.CREATE, Kind.CREATE_BUFFER):
            accounts[target] = _Account(bytearray())
        elif step.kind is Kind.CLOSE:
            accounts[target] = _Account(None)
        elif step.kind is Kind.WRITE:
            self._write(accounts.get(target), step)
        elif step.kind is Kind.SET_BUFFER:
            self._copy(accounts.get(step.source), target)
        elif step.kind is Kind.STRANGE:
            accounts.pop(target, None)
        else:
            return ""
        return target

    def _write(self, account: _Account | None, step: IdlStep) -> None:
        if account is None:
            return
        if account.content is None or len(account.content) > BYTES_MAX:
            del self.accounts[step.target]  # none could be written so: one was missed
        else:
            account.content += step.data

    def _copy(self, source: _Account | None, target: str) -> None:
        self.accounts.pop(target, None)
        if source is not None and source.content is not None:
            self.spend(len(source.content))
            self.accounts[target] = _Account(bytearray(source.content))


def _steps(slot: int, call: InstructionCall, keys: Sequence[str]) -> list[IdlStep]:
    """The step of one instruction; of a strange one, one for each of its accounts."""
    if not all(0 <= at < len(keys) for at in call.accounts):
        raise Malformed("an instruction names an account that is not there: ask again")
    named = [keys[at] for at in call.accounts]
    step = _known(slot, call.data[8:], named)
    if step is not None:
        return [step]
    return [IdlStep(slot, Kind.STRANGE, name) for name in dict.fromkeys(named)]


def _known(slot: int, data: bytes, named: Sequence[str]) -> IdlStep | None:
    """The step of an instruction that is as Anchor's are, else None."""
    if not data or data[0] not in _BY_BYTE:
        return None
    kind = _BY_BYTE[data[0]]
    place = _TARGETS.get(kind, 0)
    if len(named) <= place:
        return None
    if kind is Kind.WRITE:
        size = int.from_bytes(data[1:5], "little")
        if len(data) < 5 + size:
            return None
        return IdlStep(slot, kind, named[place], data[5 : 5 + size])
    source = named[0] if kind is Kind.SET_BUFFER else ""
    return IdlStep(slot, kind, named[place], source=source)


_BY_BYTE: Mapping[int, Kind] = {
    int(kind): kind for kind in Kind if kind is not Kind.STRANGE
}
