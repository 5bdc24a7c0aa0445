"""Settings of a domain: a table of `chainfold.toml` that bears the domain's name.

    class LibrarySettings(SettingsTable):
        "How long books are lent."

        loan_days = Setting(21, "For how many days a book is lent.", least=1)
        zone = Setting("UTC", "The time zone of opening hours.", check=time_zone)

In the domain `library`, `[library]` of the file may say `loan_days = 14`. The default
says which values a setting takes: an integer, a number, true or false, or text. `least`
bounds numbers, `among` lists the texts there are, `check` returns a text or raises
ValueError with the remedy. A domain has one such table, in `settings.py`.

Rules, reactions and timers read `tables.settings(LibrarySettings).loan_days`, routes
`service.registry.settings_of(LibrarySettings)`. With `zone=LibrarySettings.zone` a
schedule runs in the zone that is set.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar, overload
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from db.declare.errors import DeclarationError
from db.declare.names import domain_of

T = TypeVar("T", bool, int, float, str)
S = TypeVar("S", bound="SettingsTable")
Given = Mapping["type[SettingsTable]", "SettingsTable"]
FORMS: dict[type, str] = {
    bool: "true or false", int: "integer", float: "number", str: "text"
}  # fmt: skip


class Setting(Generic[T]):
    """One setting: its default, and a sentence on its meaning, with its unit."""

    def __init__(
        self,
        default: T,
        meaning: str,
        *,
        least: float = 0,
        among: tuple[T, ...] = (),
        check: Callable[[str], str] | None = None,
    ) -> None:
        self.default: T = default
        self.meaning = meaning
        self.least = least
        self.among: tuple[T, ...] = among
        self.check = check
        self.name = ""
        self.owner: type[SettingsTable] = SettingsTable

    def __set_name__(self, owner: "type[SettingsTable]", name: str) -> None:
        self.owner, self.name = owner, name

    @overload
    def __get__(self, table: None, owner: object) -> "Setting[T]": ...

    @overload
    def __get__(self, table: "SettingsTable", owner: object) -> T: ...

    def __get__(self, table: "SettingsTable | None", owner: object) -> "Setting[T] | T":
        return self if table is None else table.values.get(self.name, self.default)

    @property
    def kind(self) -> type[T]:
        """Return the type of its values."""
        return type(self.default)

    def among_given(self, given: Given) -> T:
        """Return its value in the tables that are given, or its default."""
        return self.__get__(settings_of(given, self.owner), self.owner)


class SettingsTable:
    """The settings of a domain, with the values that differ from the defaults."""

    domain: ClassVar[str] = ""
    doc: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, Setting[Any]]] = {}

    def __init_subclass__(cls) -> None:
        cls.domain = domain_of(cls.__module__)
        cls.doc = " ".join((cls.__doc__ or "").split())
        cls.settings = {k: v for k, v in vars(cls).items() if isinstance(v, Setting)}
        _check(cls)

    def __init__(self, **values: Any) -> None:
        for name in values:
            if name not in self.settings:
                raise TypeError(f"{type(self).__name__} has no setting {name}")
        self.values = values


def settings_of(given: Given, table: type[S]) -> S:
    """Return the settings of a domain: its defaults where none are given."""
    found = given.get(table)
    return found if isinstance(found, table) else table()


def time_zone(text: str) -> str:
    """Return the name of a time zone of IANA; raises ValueError for another text."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f'there is no zone {text[:60]!r}: write one as "America/Toronto"'
        ) from None
    return text


def _check(table: type[SettingsTable]) -> None:
    """Refuse a table that could not be documented or read."""
    if not table.doc:
        raise DeclarationError(
            table.__name__, "it has no docstring", "say in a sentence what it is for"
        )
    for name, value in vars(table).items():
        wrong = None
        if name.startswith("__") or name in ("domain", "doc", "settings"):
            continue
        if not isinstance(value, Setting):
            wrong = "it is no setting", f'write {name} = Setting(<default>, "…")'
        elif value.kind not in FORMS:
            wrong = (
                f"{value.default!r} is no default of a setting",
                f"write one that is {', '.join(FORMS.values())}",
            )
        elif value.among and value.default not in value.among:
            wrong = f"{value.default!r} is not among its values", "correct the default"
        if wrong is not None:
            raise DeclarationError(f"{table.__name__}.{name}", *wrong)
