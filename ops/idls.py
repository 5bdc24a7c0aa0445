"""IDLs that programs keep on their chain, as Anchor writes them there.

The account's address follows from the program's: Anchor makes it with the seed
`anchor:idl` of the program's own derived address. It holds eight bytes that mark it,
the key that may change it, and the IDL's JSON, deflated, behind its length in four
bytes (`IdlAccount` of anchor-lang up to 0.32). Where there is no such account, the one
of the program metadata program is read (`ops.program_metadata`). What the IDL was
before: `ops.idl_versions`.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

from solders.pubkey import Pubkey

from idl import Idl, IdlError, parse_idl
from idl.parse import BYTES_MAX
from ops.cluster import Cluster
from ops.errors import OperationError
from ops.program_metadata import METADATA, fetch_metadata

SEED = "anchor:idl"
MARK = hashlib.sha256(b"internal:IdlAccount").digest()[:8]
ELSEWHERE = "or take target/idl/<program>.json from its authors"
_SYSTEM = Pubkey.default()  # owns what was closed, or only given lamports
_HEAD = struct.Struct("<8s32sI")  # mark, authority, length


@dataclass(frozen=True, slots=True)
class FetchedIdl:
    """An IDL as it is on the chain, and as it was read."""

    content: bytes
    idl: Idl


def idl_address(program: Pubkey) -> Pubkey:
    """Return where Anchor keeps the IDL of a program."""
    base, _ = Pubkey.find_program_address([], program)
    return Pubkey.create_with_seed(base, SEED, program)


def fetch_idl(cluster: Cluster, program: Pubkey) -> FetchedIdl:
    """Return the IDL that a program keeps on its chain, checked as any file is.

    Raises OperationError when there is none, and for one that cannot be used.
    """
    data = account_data(cluster, program)
    content = (
        fetch_metadata(cluster, program)
        if data is None
        else inflate(deflated(data), str(idl_address(program)))
    )
    if content is None:
        raise OperationError(
            f"{program} keeps no IDL at {idl_address(program)}, nor with the program "
            f"metadata program ({METADATA}): check the address and the chain, "
            f"{ELSEWHERE}"
        )
    try:
        return FetchedIdl(content, parse_idl(content, place=f"the IDL of {program}"))
    except IdlError as error:
        raise OperationError(f"{error}; {ELSEWHERE}") from None


def account_data(cluster: Cluster, program: Pubkey) -> bytes | None:
    """Return the data of the account in which Anchor keeps a program's IDL, if any.

    Raises OperationError for an account of somebody else, or that is none of Anchor's.
    """
    address = idl_address(program)
    found = cluster.account(address, _HEAD.size + BYTES_MAX)
    if found is None or (found.owner == _SYSTEM and not found.data):
        return None
    if found.owner != program:
        raise OperationError(
            f"{address} is no IDL: its owner is {found.owner} and not the program: "
            f"check the address, {ELSEWHERE}"
        )
    mark = found.data[: len(MARK)]
    if len(found.data) < _HEAD.size or mark != MARK:
        raise OperationError(
            f"{address} is no IDL: it begins with {mark.hex() or 'nothing'} and not "
            f"with {MARK.hex()}: check the address, {ELSEWHERE}"
        )
    room, length = len(found.data) - _HEAD.size, _HEAD.unpack_from(found.data)[2]
    if length > room:
        raise OperationError(
            f"{address} is no IDL: it has {room} bytes and says {length}: check the "
            f"address, {ELSEWHERE}"
        )
    return found.data


def deflated(data: bytes) -> bytes:
    """Return the part of such an account's data that is the IDL."""
    return data[_HEAD.size : _HEAD.size + _HEAD.unpack_from(data)[2]]


def inflate(deflated: bytes, place: str) -> bytes:
    """Return what was deflated with zlib, up to what an IDL may have.

    Raises OperationError for more, and for bytes that are none.
    """
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(deflated, BYTES_MAX + 1)
    except zlib.error as error:
        raise OperationError(
            f"{place} holds no IDL: it cannot be inflated ({error}): check the "
            f"address, {ELSEWHERE}"
        ) from None
    if len(content) > BYTES_MAX:
        raise OperationError(
            f"{place} holds no IDL: it inflates to more than {BYTES_MAX} bytes: check "
            f"the address, {ELSEWHERE}"
        )
    if not inflater.eof:
        raise OperationError(
            f"{place} holds a part of an IDL: it is being written, or never was "
            f"finished: try again later, {ELSEWHERE}"
        )
    return content
