"""Storage of files, by name: each is there whole or not at all.

Names are hex digits that we make. What is kept is encrypted before it comes here.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from commands.errors import CommandError


class NoFile(CommandError):
    """A file that should be kept is not there."""


class StorageAway(CommandError):
    """Files can be neither kept nor given at the moment."""


class Storage(Protocol):
    """A place for files; as text, where it is. Everything raises StorageAway."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a file for good; one of the same name is the same file."""

    def get(self, name: str) -> bytes:
        """A file as it was put; raises NoFile."""

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def older(self, than: datetime) -> Iterator[str]:
        """The names of files that were put before a time and not again since."""

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""


def is_name(name: str) -> bool:
    """Whether it is a name of ours."""
    return re.fullmatch(r"[0-9a-f]{32,128}", name) is not None


def path_of(name: str) -> str:
    """Return the path of a file in a storage, the same in all storages."""
    if not is_name(name):
        raise ValueError(f"{name!r} is not a name of ours: use hex digits")
    return f"{name[:2]}/{name}"


def try_out(storage: Storage) -> None:
    """Keep a file, read it and forget it again; raises StorageAway, NoFile."""
    name = secrets.token_hex(32)
    storage.put(name, name.encode())
    if storage.get(name) != name.encode():
        raise StorageAway(
            f"{storage} returns other content than was stored: check the service"
        )
    storage.delete(name)


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """A folder that only we can read, with a file for each name."""

    folder: Path

    def put(self, name: str, content: bytes) -> None:
        """Keep a file: it has its name only once all of it is on the disk."""
        path = self.folder / path_of(name)
        with self._reached():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, path.parent):
                _make_private(folder)
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
        """A file as it was put; raises NoFile, StorageAway."""
        with self._reached():
            try:
                return (self.folder / path_of(name)).read_bytes()
            except FileNotFoundError as error:
                raise NoFile(
                    f"file {name} is not in {self}: restore it from a backup"
                ) from error

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._reached():
            return (self.folder / path_of(name)).exists()

    def older(self, than: datetime) -> Iterator[str]:
        """The names of files that were put before a time and not again since.

        Parts that a crash left of files that were never whole are taken away.
        """
        with self._reached():
            for path in self.folder.glob("??/*"):
                if path.stat().st_mtime >= than.timestamp():
                    continue
                if is_name(path.name):
                    yield path.name
                elif path.name.startswith("."):
                    path.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        with self._reached():
            (self.folder / path_of(name)).unlink(missing_ok=True)

    def __str__(self) -> str:
        return str(self.folder)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageAway(
                f"{self} cannot be used ({error.strerror}): check the disk, and "
                "who may write there"
            ) from error


def _make_private(folder: Path) -> None:
    """Create a private folder, or make an existing one private."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def _sync(folder: Path) -> None:
    """Have the folder's own entries on the disk, the new name among them."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
