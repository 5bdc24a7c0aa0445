"""Reactions: commands requested because of facts.

    @reaction(to=e.FundsReleased)
    def certify_investors(event, tables):
        "The campaign paid out, so every remaining investor gets a certificate."
        for holding in tables.rows(Holding, campaign=event.campaign):
            yield MintCertificate(campaign=holding.campaign, …)

A reaction is a pure generator: a final fact and the tables as of its block in, commands
out. It has no database, no clock and no randomness. What it asks for is named by the
command's `once_per`, so that running it again asks for nothing new. It may yield
entries of the journal too, which are appended with the note that it ran, and
withdrawals of what was asked for (`db.declare.withdrawals`), and notices to people
(`db.declare.notices`).

A reaction to an `Entry` is given each entry in their order, with the tables folded from
the journal as of it; what the chain says of it is for the rules of its commands.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from db.declare.commands import Command
from db.declare.errors import DeclarationError
from db.declare.events import Event
from db.declare.journal import Entry
from db.declare.names import domain_of
from db.declare.notices import Notice
from db.declare.rules import Tables, takes_two
from db.declare.withdrawals import Withdrawal

React = Callable[[Any, Tables], Iterator[Command | Entry | Notice | Withdrawal]]


@dataclass(frozen=True, slots=True)
class Reaction:
    """A function and the event whose final facts it is given."""

    name: str
    domain: str
    doc: str
    event: type[Event]
    react: React

    @property
    def id(self) -> str:
        """`crowdfunding.certify_investors`."""
        return f"{self.domain}.{self.name}"


def reaction(*, to: type[Event]) -> Callable[[React], Reaction]:
    """Declare that a function is to be given every final fact of an event, once."""

    def declare(function: React) -> Reaction:
        if not (isinstance(to, type) and issubclass(to, Event)):
            raise DeclarationError(
                function.__name__, f"{to!r} is not an event", "react to an Event"
            )
        _check(function, to)
        return Reaction(
            function.__name__,
            domain_of(function.__module__),
            (function.__doc__ or "").strip(),
            to,
            function,
        )

    return declare


def _check(function: React, to: type[Event]) -> None:
    """Refuse a reaction that could never run."""
    if not inspect.isgeneratorfunction(function) or not takes_two(function):
        raise DeclarationError(
            function.__name__,
            "it is not a generator of commands and entries",
            "write def <reaction>(event, tables) and `yield` each command",
        )
