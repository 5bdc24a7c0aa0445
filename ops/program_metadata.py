"""IDLs that the program metadata program keeps, as newer releases of Anchor want it.

Its account for a program's IDL has an address that follows from the program's. The
account begins with 96 bytes that say whose it is and how the data behind them is
written (`Header` of solana-program/program-metadata). Only the account that the
program's own upgrade authority made is looked for (`canonical`), and only data that is
in the account: not behind a URL, nor in another account.
"""

import struct
import zlib
from collections.abc import Sequence

from solders.pubkey import Pubkey

from idl.parse import BYTES_MAX
from ops.cluster import Cluster
from ops.errors import OperationError

METADATA = Pubkey.from_string("ProgM6JCCvbYkfKqJYHePx4xxSUSqJp7rh8Lyv7nk7S")
SEED = b"idl".ljust(16, b"\0")
ELSEWHERE = "take target/idl/<program>.json from its authors"
_ACCOUNT = 2  # of `AccountDiscriminator`
_HEAD = struct.Struct("<B32s32sBB16sBBBBI5x")
_PLACES = ("in the account", "behind a URL", "in another account")
_ENCODINGS = ("none", "UTF-8", "base58", "base64")
_FORMATS = ("none", "JSON", "YAML", "TOML")
_WINDOWS = {1: 31, 2: 15}  # gzip and zlib, as zlib names them


def metadata_address(program: Pubkey) -> Pubkey:
    """Return the account in which a program's own IDL is kept."""
    return Pubkey.find_program_address([bytes(program), SEED], METADATA)[0]


def fetch_metadata(cluster: Cluster, program: Pubkey) -> bytes | None:
    """Return the JSON of a program's IDL, None where this program keeps none.

    Raises OperationError for an account that holds something else.
    """
    address = metadata_address(program)
    account = cluster.account(address, _HEAD.size + BYTES_MAX)
    if account is None or (account.owner != METADATA and not account.data):
        return None
    if account.owner != METADATA:
        raise _refused(address, f"its owner is {account.owner}")
    return read_metadata(account.data, program, address)


def read_metadata(data: bytes, program: Pubkey, address: Pubkey) -> bytes:
    """Return the JSON in an account's data; raises OperationError where it is none."""
    if len(data) < _HEAD.size or data[0] != _ACCOUNT:
        raise _refused(address, f"it begins with {data[:1].hex() or 'nothing'}")
    _, of, _, _, _, seed, encoding, compression, form, source, size = _HEAD.unpack_from(
        data
    )
    problem = ""
    if (of, seed) != (bytes(program), SEED):
        problem = "it is of another program, or no IDL"
    elif size > len(data) - _HEAD.size:
        problem = f"it has {len(data) - _HEAD.size} bytes and says {size}"
    elif source:
        problem = f"the IDL is {_name(_PLACES, source)}, which is not read"
    elif form > 1:
        problem = f"it is {_name(_FORMATS, form)} and not JSON"
    elif encoding > 1:
        problem = f"it is text in {_name(_ENCODINGS, encoding)}, which is not read"
    elif compression and compression not in _WINDOWS:
        problem = f"nobody knows its compression {compression}"
    if problem:
        raise _refused(address, problem)
    content = data[_HEAD.size : _HEAD.size + size]
    window = _WINDOWS.get(compression)
    return content if window is None else _inflate(content, window, address)


def _inflate(data: bytes, window: int, address: Pubkey) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        content = inflater.decompress(data, BYTES_MAX + 1)
    except zlib.error as error:
        raise _refused(address, f"it cannot be inflated ({error})") from None
    if len(content) > BYTES_MAX:
        raise _refused(address, f"it inflates to more than {BYTES_MAX} bytes")
    if not inflater.eof:
        raise _refused(address, "it is a part of one, and being written perhaps")
    return content


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"number {number}"


def _refused(address: Pubkey, problem: str) -> OperationError:
    return OperationError(
        f"{address} holds no IDL that can be used: {problem}: {ELSEWHERE}"
    )
