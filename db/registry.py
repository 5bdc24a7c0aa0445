"""Find the domains, and hold what they and the settings declare."""

import hashlib
import importlib
import importlib.util
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TypeVar

import db.domains
from db.declare import (
    Command,
    Contract,
    DeclarationError,
    Event,
    FieldRef,
    Projection,
    Reaction,
)
from db.declare.emitters import Emitter
from db.declare.projections import ProjectionSpec

NAME_LENGTH_MAX = 45  # of a table; what is made beside it has a longer one
T = TypeVar("T")
Declared = type[Event] | type[Projection] | type[Command]


@dataclass(frozen=True, slots=True)
class Registry:
    """All declarations, in order of name.

    Events by id, projections by plural name, commands by slug, reactions by id.
    """

    events: Mapping[str, type[Event]]
    projections: Mapping[str, type[Projection]]
    commands: Mapping[str, type[Command]] = field(default_factory=dict)
    reactions: Mapping[str, Reaction] = field(default_factory=dict)
    journal_print: str = ""  # changes with anything that an entry is folded to
    untagged: frozenset[str] = frozenset()  # contracts whose calls carry no id

    @classmethod
    def of(
        cls,
        events: Iterable[type[Event]],
        projections: Iterable[type[Projection]] = (),
        commands: Iterable[type[Command]] = (),
        reactions: Iterable[Reaction] = (),
        *,
        untagged: Iterable[str] = (),
    ) -> "Registry":
        """A registry of these declarations; raises DeclarationError on a name clash."""
        by_id: dict[str, type[Event]] = {}
        tables: dict[str, Declared] = {}
        for event in events:
            spec = event.spec
            _claim(tables, spec.table, event)
            by_id[spec.id] = event
        by_plural: dict[str, type[Projection]] = {}
        for projection in projections:
            _claim(tables, projection.spec.plural, projection)
            by_plural[projection.spec.plural] = projection
            for event in projection.spec.events:
                if event.spec.id not in by_id:
                    _claim(tables, event.spec.table, event)
                    by_id[event.spec.id] = event
        by_slug: dict[str, type[Command]] = {}
        for command in commands:
            _claim(tables, command.spec.slug, command)
            by_slug[command.spec.slug] = command
        return cls(
            dict(sorted(by_id.items())),
            dict(sorted(by_plural.items())),
            dict(sorted(by_slug.items())),
            dict(sorted((each.id, each) for each in reactions)),
            _journal_print(by_id.values(), by_plural.values()),
            frozenset(untagged) | _untagged(e.spec.source for e in by_id.values()),
        )

    @classmethod
    def load(cls) -> "Registry":
        """Import every domain under `db.domains`."""
        events: list[type[Event]] = []
        projections: list[type[Projection]] = []
        commands: list[type[Command]] = []
        reactions: list[Reaction] = []
        contracts: list[Contract] = []
        for found in pkgutil.iter_modules(db.domains.__path__):
            if not found.ispkg:
                continue
            for name in ("events", "entries", "projections", "commands", "reactions"):
                path = f"db.domains.{found.name}.{name}"
                if importlib.util.find_spec(path) is None:
                    continue
                module = importlib.import_module(path)
                events += _declared(module, Event)
                projections += _declared(module, Projection)
                commands += _declared(module, Command)
                values = vars(module).values()
                reactions += [each for each in values if isinstance(each, Reaction)]
                contracts += [each for each in values if isinstance(each, Contract)]
        said = _untagged(contracts)
        return cls.of(events, projections, commands, reactions, untagged=said)

    def with_events(self, events: Iterable[type[Event]]) -> "Registry":
        """The same registry with the events of contracts that have no code."""
        return Registry.of(
            [*self.events.values(), *events],
            self.projections.values(),
            self.commands.values(),
            self.reactions.values(),
            untagged=self.untagged,
        )

    @property
    def emitters(self) -> dict[str, Emitter]:
        """The contracts and programs whose events are declared, by name."""
        return {
            e.spec.source.name: e.spec.source
            for e in self.events.values()
            if not e.spec.in_journal
        }

    @property
    def contracts(self) -> dict[str, Contract]:
        """Those of them that are contracts."""
        found = self.emitters.items()
        return {name: each for name, each in found if isinstance(each, Contract)}

    @property
    def makers(self) -> dict[str, FieldRef]:
        """The event fields that announce contracts, by `<event>.<field>`."""
        found: dict[str, FieldRef] = {}
        for emitter in self.emitters.values():
            found |= emitter.makers
        return found

    def events_of(self, emitter: str) -> list[type[Event]]:
        """The declared events of a contract or program."""
        return [
            e
            for e in self.events.values()
            if e.spec.source.name == emitter and not e.spec.in_journal
        ]

    @property
    def entries(self) -> dict[str, type[Event]]:
        """The declared entries of the journal, by id."""
        return {id_: e for id_, e in self.events.items() if e.spec.in_journal}


@cache
def event_fingerprint(event: type[Event]) -> str:
    """Changes exactly when an event's facts would: 12 hex digits."""
    text = json.dumps(event.spec.describe(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def projection_fingerprint(spec: ProjectionSpec) -> str:
    """Changes exactly when a projection's rows would; every write compares it."""
    return spec.fingerprint()


def _journal_print(
    events: Iterable[type[Event]], projections: Iterable[type[Projection]]
) -> str:
    prints = [event_fingerprint(e) for e in events if e.spec.in_journal]
    prints += [projection_fingerprint(p.spec) for p in projections if p.spec.in_journal]
    return hashlib.sha256(" ".join(sorted(prints)).encode()).hexdigest()[:12]


def _untagged(emitters: Iterable[Emitter]) -> frozenset[str]:
    contracts = (each for each in emitters if isinstance(each, Contract))
    return frozenset(each.name for each in contracts if not each.tagged)


def _claim(taken: dict[str, Declared], name: str, owner: Declared) -> None:
    if name in taken:
        other = taken[name]
        raise DeclarationError(
            f"{owner.spec.domain}.{owner.spec.name}",
            f"the name {name!r} is already taken by {other.spec.domain}."
            f"{other.spec.name} ({_file_of(other)})",
            "rename one of them (or give the projection another `plural`)",
            _file_of(owner),
        )
    if len(name) > NAME_LENGTH_MAX:
        raise DeclarationError(
            f"{owner.spec.domain}.{owner.spec.name}",
            f"the name {name!r} is longer than {NAME_LENGTH_MAX} characters",
            "shorten it",
            _file_of(owner),
        )
    taken[name] = owner


def _file_of(owner: Declared) -> str:
    module = sys.modules.get(owner.__module__)
    return getattr(module, "__file__", None) or owner.__module__


def _declared(module: ModuleType, base: type[T]) -> list[type[T]]:
    return [
        item
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, base)
        and item is not base
        and item.__module__ == module.__name__
    ]
