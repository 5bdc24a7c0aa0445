"""The folder of a demonstration: one at a time, and begun anew by each."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.embedded.supervisor import Home
from ops.errors import OperationError

DATABASE_SECONDS = 15.0
LOCK = "demo.lock"


@contextmanager
def begun_anew(folder: Path) -> Iterator[None]:
    """An empty folder that no other demo uses until this one has ended."""
    if folder.exists():
        others = [each for each in folder.iterdir() if each.name != LOCK]
        if others and not (folder / "chainfold.toml").exists():
            raise OperationError(
                f"{folder} holds something else than a demo: choose another --dir."
            )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise OperationError(
                f"a demo runs in {folder} already (pid {lock.read().strip() or '?'}): "
                "end that one, or choose another --dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _end_database(folder)
        for each in folder.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each.name != LOCK:
                each.unlink()
        yield


def _end_database(folder: Path) -> None:
    """Wait for the end of the Postgres of a demo that was killed a moment ago."""
    home = Home(folder / "postgres")
    deadline = time.monotonic() + DATABASE_SECONDS
    while home.path.exists() and home.alive():
        if time.monotonic() > deadline:
            raise OperationError(
                f"a Postgres in {home.path} is in use by another chainfold: end that "
                "one, or choose another --dir."
            )
        time.sleep(0.1)
