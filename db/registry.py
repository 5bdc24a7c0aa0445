"""Find the domains, and hold what they and the settings declare."""

import hashlib
import inspect
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from db.declare import (
    Command,
    Contract,
    DeclarationError,
    Event,
    FieldRef,
    Projection,
    Reaction,
    Role,
)
from db.declare.books import Posting, refuse_two_accounts
from db.declare.emitters import Emitter
from db.declare.names import PARTS
from db.declare.projections import ProjectionSpec
from db.declare.roles import SYSTEM_ROLES
from db.declare.settings import Given, S, SettingsTable, settings_of
from db.declare.timers import Due, Schedule
from db.discovery import Domain, find_domains

NAME_LENGTH_MAX = 45  # of a table; what is made beside it has a longer one
T = TypeVar("T")
Declared = type[Event] | type[Projection] | type[Command]


@dataclass(frozen=True, slots=True)
class Registry:
    """All declarations, in order of name.

    Events by id, projections by plural name, commands by slug, reactions,
    dues and schedules by id.
    """

    events: Mapping[str, type[Event]]
    projections: Mapping[str, type[Projection]]
    commands: Mapping[str, type[Command]] = field(default_factory=dict)
    reactions: Mapping[str, Reaction] = field(default_factory=dict)
    journal_print: str = ""  # changes with anything that an entry is folded to
    untagged: frozenset[str] = frozenset()  # contracts whose calls carry no id
    roles: Mapping[str, Role] = field(default_factory=dict)
    routes: tuple[str, ...] = ()  # modules that add routes to the API
    dues: Mapping[str, Due] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    settings: Given = field(default_factory=dict)
    postings: tuple[Posting, ...] = ()  # of entries to accounts, in a fixed order

    @classmethod
    def of(
        cls,
        events: Iterable[type[Event]],
        projections: Iterable[type[Projection]] = (),
        commands: Iterable[type[Command]] = (),
        reactions: Iterable[Reaction] = (),
        *,
        untagged: Iterable[str] = (),
        roles: Iterable[Role] = (),
        routes: Iterable[str] = (),
        timers: Iterable[Due | Schedule] = (),
        settings: Iterable[SettingsTable] = (),
        postings: Iterable[Posting] = (),
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
            _add(tables, by_id, projection.spec.events)
        every_role = [*SYSTEM_ROLES, *roles]
        timers = sorted(timers, key=lambda each: each.id)
        given = {type(each): each for each in settings}
        by_slug = _commands(commands, tables, by_id)
        every_role += (role for each in by_slug.values() for role in each.spec.roles)
        by_name = _reactions(reactions)
        _add(tables, by_id, (each.event for each in by_name.values()))
        postings = tuple(dict.fromkeys(postings))
        refuse_two_accounts(postings)
        _add(tables, by_id, (each.event for each in postings))
        _refuse_two_emitters(by_id.values())
        return cls(
            dict(sorted(by_id.items())),
            dict(sorted(by_plural.items())),
            dict(sorted(by_slug.items())),
            dict(sorted(by_name.items())),
            _journal_print(by_id.values(), by_plural.values()),
            frozenset(untagged) | _untagged(e.spec.source for e in by_id.values()),
            {role: role for role in sorted(dict.fromkeys(every_role))},
            tuple(routes),
            {each.id: each for each in timers if isinstance(each, Due)},
            {e.id: e.as_set(given) for e in timers if isinstance(e, Schedule)},
            given,
            postings,
        )

    @classmethod
    def load(
        cls,
        domains: Sequence[str] | None = None,
        declarations: Sequence[Path] = (),
    ) -> "Registry":
        """Import these domains, or all, and the product's own declarations.

        `declarations` are folders and files of domains outside the product.
        """
        return cls.of_domains(find_domains(domains, declarations))

    @classmethod
    def of_domains(cls, domains: Iterable[Domain]) -> "Registry":
        """A registry of all that domains declare; raises DeclarationError."""
        found = list(domains)
        modules = [module for domain in found for module in domain.modules]
        values = [each for module in modules for each in vars(module).values()]
        for domain in found:
            for module in domain.modules:
                _refuse_hidden(domain.name, module)
        roles = [each for each in values if isinstance(each, Role)]
        commands = _declared(modules, Command)
        _refuse_unknown_roles(roles, commands)
        return cls.of(
            _declared(modules, Event),
            _declared(modules, Projection),
            commands,
            [each for each in values if isinstance(each, Reaction)],
            untagged=_untagged(each for each in values if isinstance(each, Contract)),
            roles=roles,
            routes=[each.routes for each in found if each.routes is not None],
            timers=[each for each in values if isinstance(each, Due | Schedule)],
            settings=[each() for each in _settings(modules)],
            postings=[each for each in values if isinstance(each, Posting)],
        )

    def with_events(
        self,
        events: Iterable[type[Event]] = (),
        projections: Iterable[type[Projection]] = (),
        commands: Iterable[type[Command]] = (),
    ) -> "Registry":
        """The same registry with what the settings declare: no code of ours."""
        return Registry.of(
            [*self.events.values(), *events],
            [*self.projections.values(), *projections],
            [*self.commands.values(), *commands],
            self.reactions.values(),
            untagged=self.untagged,
            roles=self.roles.values(),
            routes=self.routes,
            timers=[*self.dues.values(), *self.schedules.values()],
            settings=self.settings.values(),
            postings=self.postings,
        )

    def with_settings(self, tables: Iterable[SettingsTable]) -> "Registry":
        """The same registry with the values that the settings give its domains."""
        given = {**self.settings, **{type(each): each for each in tables}}
        schedules = {name: e.as_set(given) for name, e in self.schedules.items()}
        return replace(self, settings=given, schedules=schedules)

    def settings_of(self, table: type[S]) -> S:
        """The settings of a domain: its defaults where none are given."""
        return settings_of(self.settings, table)

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


def settings_tables(
    domains: Sequence[str] | None = None, declarations: Sequence[Path] = ()
) -> list[type[SettingsTable]]:
    """The settings that domains declare; raises DeclarationError."""
    found = find_domains(domains, declarations)
    return _settings(module for domain in found for module in domain.modules)


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


def _add(
    tables: dict[str, Declared],
    by_id: dict[str, type[Event]],
    events: Iterable[type[Event]],
) -> None:
    """Add events that others read, whose domains were not chosen."""
    for event in events:
        if event.spec.id not in by_id:
            _claim(tables, event.spec.table, event)
            by_id[event.spec.id] = event


def _commands(
    commands: Iterable[type[Command]],
    tables: dict[str, Declared],
    by_id: dict[str, type[Event]],
) -> dict[str, type[Command]]:
    """Return the commands by slug; their entries are added to the events."""
    by_slug: dict[str, type[Command]] = {}
    for command in commands:
        if command.spec.record is not None:
            _add(tables, by_id, [command.spec.record])
        _claim(tables, command.spec.slug, command)
        by_slug[command.spec.slug] = command
    return by_slug


def _settings(modules: Iterable[ModuleType]) -> list[type[SettingsTable]]:
    """The settings that modules declare; refuses two tables of one domain."""
    found: dict[str, type[SettingsTable]] = {}
    for each in _declared(modules, SettingsTable):
        if found.setdefault(each.domain, each) is not each:
            raise DeclarationError(
                f"{each.domain}.{each.__name__}",
                f"the domain has settings already, {found[each.domain].__name__}",
                "write them into one class",
            )
    return list(found.values())


def _reactions(reactions: Iterable[Reaction]) -> dict[str, Reaction]:
    found: dict[str, Reaction] = {}
    for each in reactions:
        if found.setdefault(each.id, each) is not each:
            raise DeclarationError(
                each.id,
                "two reactions have this name, and one of them would never run",
                "rename one of them",
                each.react.__code__.co_filename,
            )
    return found


def _refuse_two_emitters(events: Iterable[type[Event]]) -> None:
    """Refuse one name for contracts or programs that differ in their ABI or IDL."""
    first: dict[str, type[Event]] = {}
    for event in events:
        if event.spec.in_journal:
            continue
        other = first.setdefault(event.spec.source.name, event)
        if other.spec.source.interface != event.spec.source.interface:
            raise DeclarationError(
                f"{event.spec.domain}.{event.spec.name}",
                f"its source {event.spec.source.name} has another ABI or IDL than that "
                f"of {other.spec.domain}.{other.spec.name} ({_file_of(other)})",
                "give one of the two another name",
                _file_of(event),
            )


def _file_of(owner: Declared) -> str:
    module = sys.modules.get(owner.__module__)
    return getattr(module, "__file__", None) or owner.__module__


def _declared(modules: Iterable[ModuleType], base: type[T]) -> list[type[T]]:
    return [
        item
        for module in modules
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, base)
        and item is not base
        and item.__module__ == module.__name__
    ]


def _refuse_hidden(domain: str, module: ModuleType) -> None:
    """Refuse declarations in modules that are only imported by those that are read."""
    found: list[Declared] = [
        *_declared([module], Event),
        *_declared([module], Projection),
        *_declared([module], Command),
    ]
    for item in found:
        if item.spec.domain != domain:
            raise DeclarationError(
                f"{item.spec.domain}.{item.spec.name}",
                f"the domain {domain} declares in {', '.join(PARTS)} only",
                f"move the class to one of these modules of {domain}",
                _file_of(item),
            )


def _refuse_unknown_roles(
    roles: Collection[Role], commands: Iterable[type[Command]]
) -> None:
    known = {*roles, *SYSTEM_ROLES}
    for command in commands:
        for role in command.spec.roles:
            if role not in known:
                raise DeclarationError(
                    f"{command.spec.domain}.{command.spec.name}",
                    f"no domain declares the role {role!r}; known: "
                    f"{', '.join(sorted(known))}",
                    f'write <NAME> = Role("{role}") in roles.py, or correct it',
                    _file_of(command),
                )
