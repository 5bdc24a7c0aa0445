"""IDLs that programs keep on their chain, as Anchor writes them there.

The account's address follows from the program's: Anchor makes it with the seed
`anchor:idl` of the program's own derived address. It holds eight bytes that mark it,
the key that may change it, and the IDL's JSON, deflated, behind its length in four
bytes (`IdlAccount` of anchor-lang up to 0.32). The program metadata program, where
later releases keep IDLs, is not read.
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

SEED = "anchor:idl"
MARK = hashlib.sha256(b"internal:IdlAccount").digest()[:8]
METADATA = "ProgM6JCCvbYkfKqJYHePx4xxSUSqJp7rh8Lyv7nk7S"
ELSEWHERE = "or take target/idl/<program>.json from its authors"
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
    address = idl_address(program)
    found = cluster.account(address, _HEAD.size + BYTES_MAX)
    if found is None:
        raise OperationError(
            f"{program} keeps no IDL at {address}: check the address and the chain, "
            f"{ELSEWHERE}. One that the program metadata program ({METADATA}) keeps is "
            "not read"
        )
    if found.owner != program:
        raise OperationError(
            f"{address} is no IDL: its owner is {found.owner} and not the program: "
            f"check the address, {ELSEWHERE}"
        )
    content = inflate(_deflated(found.data, address), str(address))
    try:
        return FetchedIdl(content, parse_idl(content, place=f"the IDL of {program}"))
    except IdlError as error:
        raise OperationError(f"{error}; {ELSEWHERE}") from None


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


def _deflated(data: bytes, address: Pubkey) -> bytes:
    """The part of an account's data that is the IDL; raises OperationError."""
    mark = data[: len(MARK)]
    if len(data) < _HEAD.size or mark != MARK:
        raise OperationError(
            f"{address} is no IDL: it begins with {mark.hex() or 'nothing'} and not "
            f"with {MARK.hex()}: check the address, {ELSEWHERE}"
        )
    _, _, length = _HEAD.unpack_from(data)
    if length > len(data) - _HEAD.size:
        raise OperationError(
            f"{address} is no IDL: it has {len(data) - _HEAD.size} bytes and says "
            f"{length}: check the address, {ELSEWHERE}"
        )
    return data[_HEAD.size : _HEAD.size + length]
