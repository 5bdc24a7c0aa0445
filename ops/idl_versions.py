"""The IDLs that a program has had by slot, from the transactions that uploaded them.

The slot of a version is the one in which the last of it was written: when it was
published, which is before or after the program was upgraded, never at the same time.
So the slots in which the program's code was changed are told beside them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from solders.pubkey import Pubkey

from idl import Idl, IdlError, parse_idl
from indexer.errors import IndexerError
from indexer.solana.client import SolanaClient
from ops.cluster import Cluster
from ops.deploying import LOADER, PROGRAM_BYTES
from ops.errors import OperationError
from ops.idl_history import KEEPER, Told, deployments, tell
from ops.idl_replay import ReplayedIdl, UploadedIdl
from ops.idls import ELSEWHERE, account_data, deflated, idl_address, inflate
from ops.program_metadata import METADATA, metadata_address

ROUNDS = 3  # until the account and its history agree
PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SlotIdl:
    """An IDL that can be used, and the slot from which on it was on the chain."""

    slot: int
    content: bytes
    idl: Idl


@dataclass(slots=True)
class IdlVersions:
    """The versions of a program's IDL, oldest first, one at least.

    `notes` say what else was found, and what is not known.
    """

    versions: list[SlotIdl] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    deployed: Sequence[int] = ()


class _Found(NamedTuple):
    """The answers of endpoints, and why a part of them is missing."""

    told: Told
    deployed: Sequence[int] = ()
    problem: str = ""


def fetch_versions(
    cluster: Cluster,
    client: Callable[[], SolanaClient],
    program: Pubkey,
    sleep: Callable[[float], None] = time.sleep,
) -> IdlVersions:
    """Return every IDL that a program has kept on its chain, by slot.

    Raises OperationError where there is none, where a part of the history cannot be
    had, and where the history ends with another IDL than the account has.
    """
    code = _code_account(cluster, program)
    for attempt in range(ROUNDS):
        if attempt:
            sleep(PAUSE_SECONDS)
        before = account_data(cluster, program)
        told, deployed, problem = asyncio.run(_tell(client(), program, code))
        present = account_data(cluster, program)
        if before == present and _agree(told.replay, present):
            break
    else:
        raise OperationError(
            f"the transactions that endpoints list for the IDL of {program} end with "
            f"another one than {idl_address(program)} has, the last of them in slot "
            f"{told.replay.changed}: one that changed it is not listed, or it is being "
            f"changed. {KEEPER}; without --history the present one is fetched"
        )
    found = IdlVersions(notes=[problem] if problem else [], deployed=deployed)
    _say_what_lacks(found, told)
    uploaded = [*told.replay.versions, *_present(found, told, present)]
    _take(found, uploaded, program)
    if not found.versions:
        raise OperationError(_nothing(cluster, program, found.notes))
    return found


async def _tell(client: SolanaClient, program: Pubkey, code: str | None) -> _Found:
    """The history of the IDL, and the slots in which code was deployed.

    Without the latter the former is good, too.
    """
    try:
        told = await tell(client, str(program), str(idl_address(program)))
        try:
            return _Found(told, await deployments(client, code) if code else ())
        except (IndexerError, OperationError) as error:
            return _Found(told, (), f"the program's deployments are not read: {error}")
    finally:
        await client.close()


def _code_account(cluster: Cluster, program: Pubkey) -> str | None:
    """The account with the code of a program that can be upgraded, None of others."""
    account = cluster.account(program)
    if account is None or account.owner != LOADER or len(account.data) < PROGRAM_BYTES:
        return None
    return str(Pubkey(account.data[4:PROGRAM_BYTES]))


def _agree(found: ReplayedIdl, present: bytes | None) -> bool:
    """Whether the account may be what was replayed; unknown bytes may be any."""
    if present is None:
        return found.deflated is None
    if found.deflated is None:
        return not found.closed
    return found.deflated == deflated(present)


def _say_what_lacks(found: IdlVersions, told: Told) -> None:
    replay = told.replay
    if told.silent:
        found.notes.append(f"{', '.join(told.silent)}: did not answer and is left out")
    if told.since:
        found.notes.append(
            f"the endpoints have blocks from slot {told.since} on: what the IDL was "
            f"before, and when it changed, is not known. {KEEPER}"
        )
    found.notes += [f"slot {slot}: {text}" for slot, text in replay.notes]


def _present(
    found: IdlVersions, told: Told, present: bytes | None
) -> list[UploadedIdl]:
    """The present IDL, where the history does not tell what it is made of."""
    if present is None or told.replay.deflated is not None:
        return []
    changed = told.replay.changed
    slot = told.since if changed is None else changed
    try:
        content = inflate(deflated(present), "the account")
    except OperationError as error:
        found.notes.append(str(error))
        return []
    found.notes.append(
        f"slot {slot}: the present IDL, of which not all writes are known. It is taken "
        f"from its account, where it was {'before' if changed is None else 'from'} then"
        f"{' already' if changed is None else ' on'}"
    )
    return [UploadedIdl(slot, content)]


def _take(found: IdlVersions, uploaded: Sequence[UploadedIdl], program: Pubkey) -> None:
    """Keep what can be used as an IDL, each change once."""
    for each in uploaded:
        place = f"slot {each.slot}: the IDL of {program}"
        try:
            idl = parse_idl(each.content, place=place)
        except IdlError as error:
            found.notes.append(f"{error}; the version before is used on, {ELSEWHERE}")
            continue
        if found.versions and found.versions[-1].content == each.content:
            continue
        found.versions.append(SlotIdl(each.slot, each.content, idl))
        if idl.address not in (None, bytes(program)):
            found.notes.append(f"{place} names another address itself")


def _nothing(cluster: Cluster, program: Pubkey, notes: Sequence[str]) -> str:
    """Say that there is no IDL, and where one is."""
    said = "".join(f"\n{note}" for note in notes)
    if cluster.account(metadata_address(program)) is not None:
        return (
            f"{program} keeps its IDL with the program metadata program ({METADATA}), "
            "whose history is not read: fetch the present one, without --history, and "
            f"take those before from its authors{said}"
        )
    return (
        f"{program} never kept an IDL at {idl_address(program)} that can be used, as "
        f"endpoints tell: check the address and the chain, {ELSEWHERE}{said}"
    )
