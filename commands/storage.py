"""Where files are kept: by name, whole or not at all.

Names are hex digits that we make. What is kept is encrypted before it comes here.
"""

import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from commands.errors import CommandError


class NoFile(CommandError):
    """A file that should be kept is not there."""


class Storage(Protocol):
    """A place for files."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a file for good; one of the same name is the same file."""

    def get(self, name: str) -> bytes:
        """A file as it was put; raises NoFile."""

    def delete(self, name: str) -> None:
        """Forget a file, if it is there."""


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """A folder that only we can read, with a file for each name."""

    folder: Path

    def put(self, name: str, content: bytes) -> None:
        """Keep a file: it has its name only once all of it is on the disk."""
        path = self._path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{name}.{secrets.token_hex(8)}")
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
        _sync(path.parent)

    def get(self, name: str) -> bytes:
        """A file as it was put; raises NoFile."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError as error:
            raise NoFile(
                f"file {name} is not in {self.folder}: restore it from a backup"
            ) from error

    def delete(self, name: str) -> None:
        """Forget a file, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{32,128}", name):
            raise ValueError(f"{name!r} is not a name of ours: use hex digits")
        return self.folder / name[:2] / name


def _sync(folder: Path) -> None:
    """Have the folder's own entries on the disk, the new name among them."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
