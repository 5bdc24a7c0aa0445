"""Calls: what a command does to a chain. Each chain kind has a class of its own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from db.declare.errors import DeclarationError
from db.declare.fields import Field


class CallSpec(Protocol):
    """A call that was checked against an ABI or IDL."""

    @property
    def contract(self) -> str:
        """The contract or program that is called, by its declared name."""
        ...

    @property
    def at(self) -> str | None:
        """The field with its address; None: the settings have it."""
        ...

    @property
    def signature(self) -> str:
        """The function or instruction as its chain identifies it."""
        ...


class ChainCall(ABC):
    """A call as a class body declares it.

    A plain call may have no event that proves it.
    """

    @property
    def plain(self) -> bool:
        """Whether its contract or program is one of the settings."""
        return False

    @abstractmethod
    def bind(
        self, subject: str, names: Mapping[int, str], fields: Mapping[str, Field]
    ) -> CallSpec:
        """Check it against the ABI or IDL and the command's fields.

        `names` are the fields' names by their ids; raises DeclarationError.
        """


# Any: whatever a class body says where a field should be.
def field_named(subject: str, item: Any, names: Mapping[int, str]) -> str | None:
    """The name of a command's own field, None of None; raises DeclarationError."""
    if item is None:
        return None
    if id(item) not in names:
        raise DeclarationError(
            subject, f"{item!r} is not one of its fields", "name a field of the command"
        )
    return names[id(item)]
