"""Rules: what must be true of the indexed state before a command is taken.

    def may_start_campaign(command, tables):
        "An issuer runs one campaign at a time, and begins one in a year."
        issuer = tables.row(Issuer, issuer=command.beneficiary)
        if issuer is None:
            yield Refusal("not_registered", "the issuer is not registered")

A rule is a pure generator: the command and a read of the tables in, every reason
against it out. It has no database and no clock: `tables.time` is the time of the block
that the tables are true for, `tables.asker` the `Asker` with roles and wallets.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from db.declare.errors import DeclarationError
from db.declare.projections import Projection
from db.declare.roles import Role
from db.declare.settings import S


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason against a command: a word for programs, a sentence for people."""

    code: str
    reason: str


class RowOf:
    """A row of a projection; its columns are attributes, in canonical Python form."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        # Only reached for a column that is not there.
        raise AttributeError(f"the row has {', '.join(self.__dict__)}, no {name}")

    def __repr__(self) -> str:
        return f"RowOf({self.__dict__})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowOf) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Asker:
    """Whoever asks for a command; a reaction has no roles, wallets or account."""

    roles: frozenset[Role] = frozenset()
    wallets: frozenset[bytes] = frozenset()
    account: str = ""


class Tables(Protocol):
    """The tables as they are at one block."""

    @property
    def asker(self) -> Asker:
        """The caller."""
        ...

    @property
    def time(self) -> int:
        """The block's time, in seconds since 1970."""
        ...

    def settings(self, table: type[S]) -> S:
        """The settings of a domain."""
        ...

    def row(self, projection: type[Projection], **keys: Any) -> RowOf | None:
        """The row with these keys, all of them."""
        ...

    def rows(self, projection: type[Projection], **where: Any) -> list[RowOf]:
        """All rows with these keys or indexed columns, by key."""
        ...


Rule = Callable[[Any, Tables], Iterator[Refusal]]


def check_rules(subject: str, given: Any) -> tuple[Rule, ...]:
    """The rules that a command's body lists; refuses what could not be asked."""
    if not isinstance(given, tuple | list):
        raise DeclarationError(
            f"{subject}.rules",
            f"{given!r} is not a list of rules",
            "write rules = (<rule>,), with a comma behind one rule",
        )
    for rule in given:
        if not callable(rule):
            raise DeclarationError(
                f"{subject}.rules",
                f"{rule!r} cannot be called",
                "name a function (command, tables) that yields refusals",
            )
        if not takes_two(rule):
            raise DeclarationError(
                f"{subject}.rules",
                f"{getattr(rule, '__name__', rule)!r} does not take two arguments",
                "write def <rule>(command, tables)",
            )
    return tuple(given)


def takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with two arguments by place."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True
