"""Emitters of events: contracts, programs and the journal.

A contract (`db.declare.evm`), a program (`db.declare.solana`) and the journal are
emitters. Each finds the schema of an event in its ABI or IDL, ties the fields of a
class body to it, and says what the ids of transactions look like. Everything else in
the vocabulary is the same for all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from db.declare.fields import Encoding, Field, Uint
from db.declare.meanings import Meaning, Time

if TYPE_CHECKING:
    from db.declare.events import FieldRef

# Any: an entry of an ABI is JSON, an event of an IDL is an `idl` layout.
Schema = Any


class _Implicit(Uint):
    """A value that every event has."""

    def __init__(self, name: str, meaning: Meaning | None = None) -> None:
        super().__init__(63, meaning=meaning)
        self.name = name


# What every event of every chain has, besides the id of its transaction.
PLACE: Mapping[str, Field] = {
    "position": _Implicit("position"), "height": _Implicit("height"),
    "block_time": _Implicit("block_time", Time()),
}  # fmt: skip


def implicit(transaction: Field) -> dict[str, Field]:
    """The values that every event of a kind has, given its form of transaction ids."""
    transaction.name = "transaction"
    return {**PLACE, "transaction": transaction}


class Emitter(ABC):
    """A contract, a program or the journal: it writes events."""

    __slots__ = ()

    name: str  # in the settings, and in declarations
    implicit: ClassVar[Mapping[str, Field]]  # values that no schema names
    encoding: ClassVar[Encoding] = Encoding.HEX  # of addresses as text

    @property
    @abstractmethod
    def interface(self) -> Any:
        """The ABI or IDL: equal for emitters that write the same events."""

    @property
    def makers(self) -> "Mapping[str, FieldRef]":
        """The event fields that announce its addresses, by `<event>.<field>`."""
        return {}

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences that documentation has about it."""
        return ()

    def heights(self, schema: Schema) -> Sequence[tuple[int, int | None]]:
        """The blocks in which an event is written: first, and the one after the last.

        Nothing: in all of them.
        """
        return ()

    @abstractmethod
    def find(self, subject: str, wanted: str) -> Schema:
        """Find an event by its name on the chain.

        Raises DeclarationError about `subject` when there is none, or several.
        """

    @abstractmethod
    def bind(self, subject: str, item: Field, schema: Schema) -> None:
        """Set the field's `param` to its parameter's name in the schema.

        Raises DeclarationError when there is no such parameter, or when the field
        cannot hold its values.
        """

    @abstractmethod
    def check_where(
        self, subject: str, where: Mapping[str, Any], schema: Schema
    ) -> None:
        """Raise DeclarationError when a `where` names what cannot be compared."""

    @abstractmethod
    def signature(self, schema: Schema) -> str:
        """The event's name and types as its chain identifies it."""
