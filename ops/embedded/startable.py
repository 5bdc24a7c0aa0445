"""Servers that run for the length of a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Startable(ABC, Generic[T]):
    """A server: use it as a context manager, or call `start` and `stop`."""

    @abstractmethod
    def start(self) -> T:
        """Start the server and return when it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server if it was started here."""

    def __enter__(self) -> T:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
