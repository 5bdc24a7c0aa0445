"""Temporary folders that outlive no process for long.

A process that is killed cannot remove its folder: whoever makes one later does. The
folder of a process that lives is known by a lock, which the system gives back.
"""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"
YOUNG_SECONDS = 60  # a folder is not locked in the moment in which it is made


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a folder for the length of a block; remove those of dead processes."""
    _remove_abandoned(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def _remove_abandoned(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            if time.time() - folder.stat().st_mtime < YOUNG_SECONDS:
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:
            continue  # it is locked, of another user, or being removed by another
