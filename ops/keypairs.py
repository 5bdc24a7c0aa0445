"""Key files as Solana's command line writes them: a JSON list of 64 bytes."""

import json
import os
from pathlib import Path

from solders.keypair import Keypair

from ops.errors import OperationError

SIZE_MAX = 4096  # bytes of a file that is read; a key has under 400


def read_keypair(path: Path) -> Keypair:
    """Return the key in a file.

    Raises OperationError when it is not there, is no key, or can be read by others.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o077
            text = file.read(SIZE_MAX)
    except OSError as error:
        raise OperationError(
            f"{path} cannot be read ({error.strerror}): name a key file, or make one "
            "with `chainfold program new-key <file>`"
        ) from None
    if mode:
        raise OperationError(
            f"{path} can be read by others: run chmod 600 on it, and if somebody may "
            "have, use another key"
        )
    try:
        numbers = json.loads(text)
        return Keypair.from_bytes(bytes(numbers))
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise OperationError(
            f"{path} is no key file: it must be a JSON list of 64 numbers, as "
            "`solana-keygen new` and `chainfold program new-key` write it"
        ) from None


def write_keypair(path: Path) -> Keypair:
    """Make a key and write it to a new file, which only its owner can read.

    Raises OperationError when the file exists or cannot be made.
    """
    made = Keypair()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise OperationError(
            f"{path} exists, and may be the only copy of a key: choose another name"
        ) from None
    except OSError as error:
        raise OperationError(
            f"{path} cannot be made ({error.strerror}): choose a folder that this user "
            "may write to"
        ) from None
    with os.fdopen(handle, "w") as file:
        json.dump(list(bytes(made)), file)
        file.flush()
        os.fsync(file.fileno())
    return made
