"""Reads one section of the settings: typed, and with every problem noted.

A key asked for is a known key, so what is left over at `finish` is a mistake, and the
readers of `ops.settings.read` need no second list of what may be said.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from ops.settings.tree import Found, Tree, nearest, plant

E = TypeVar("E", bound=enum.Enum)
T = TypeVar("T")

_BY_ENVIRONMENT = (
    "keys never live in this file: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
OBSOLETE_KEYS = {
    "chains.*.chain_id": 'say id = "eip155:<chain id>"',
    "chains.*.confirmations": (
        'say finality = "depth" with finality_depth, or finality = "ibft" on a chain '
        "with instant finality"
    ),
    "chains.*.endpoints": 'say rpc = ["<url>", …]',
    "chains.*.from_block": "say start_block",
    "chains.*.poll_interval": "say poll_seconds",
    "chains.*.rpc_url": 'say rpc = ["<url>"]',
    "chains.*.rpc_urls": 'say rpc = ["<url>", …]',
    "chains.*.url": 'say rpc = ["<url>"]',
    "contracts.*.abi_path": "say abi",
    "contracts.*.start_block": "say start",
    "database.dsn": "say url",
    "documents.access_key": _BY_ENVIRONMENT,
    "documents.secret_key": _BY_ENVIRONMENT,
    "stripe.secret_key": (
        "keys never live in this file: say secret_key_env or secret_key_file"
    ),
    "stripe.webhook_secret": (
        "secrets never live in this file: say webhook_secret_env or webhook_secret_file"
    ),
    "signers.*.key": 'keys never live in this file: say kind = "keystore" and path',
    "signers.*.private_key": (
        'keys never live in this file: say kind = "keystore" and path'
    ),
}


class Table:
    """A section of the settings while it is being read."""

    def __init__(self, tree: Tree, path: str, problems: list[str]) -> None:
        self._tree = tree
        self._known: set[str] = set()
        self._problems = problems
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self._tree

    def place(self, key: str) -> str:
        """Return the key's full name."""
        return f"{self.path}.{key}" if self.path else key

    def problem(self, key: str, text: str) -> None:
        """Report a problem of a key with its location."""
        found = self._tree.get(key)
        origin = f" (in {found.origin})" if isinstance(found, Found) else ""
        self._problems.append(f"{self.place(key)}{origin}: {text}")

    def take(self, key: str) -> Found | None:
        """Return the value of a key, if there is one."""
        self._known.add(key)
        found = self._tree.get(key)
        if isinstance(found, dict):
            self.problem(key, "is a value, not a section")
            return None
        return found

    def missing(self, key: str, hint: str) -> None:
        """Note that a required key was not given."""
        if key not in self._tree:
            self._problems.append(f"{self.place(key)}: is required: {hint}")

    def text(self, key: str) -> str | None:
        """Read a piece of text."""
        found = self.take(key)
        if found is None:
            return None
        if isinstance(found.value, str) and found.value:
            return found.value
        self.problem(key, "must be text in quotes")
        return None

    def number(self, key: str, default: T, kind: type[T], minimum: float = 0) -> T:
        """Read an integer or a number, by `kind`."""
        found = self.take(key)
        if found is None:
            return default
        value: Any = found.value
        if found.from_environment:
            try:
                value = kind(value)  # type: ignore[call-arg]
            except ValueError:
                value = None
        good = (int,) if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, good) or value < minimum:
            what = "an integer" if kind is int else "a number"
            self.problem(key, f"must be {what}, at least {minimum:g}")
            return default
        return kind(value)  # type: ignore[call-arg]

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        found = self.take(key)
        if found is None:
            return default
        value = found.value
        if found.from_environment:
            value = {"true": True, "false": False}.get(str(value).lower())
        if isinstance(value, bool):
            return value
        self.problem(key, "must be true or false")
        return default

    def choice(self, key: str, options: type[E]) -> E | None:
        """Read one of an enum's values."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return options(text)
        except ValueError:
            known = [str(option.value) for option in options]
            self.problem(key, f"unknown value {text!r}; {nearest(text, known)}")
            return None

    def texts(self, key: str, *, commas: bool = True, least: str = "") -> list[str]:
        """Read a list of text; one text is a list of one, commas separate.

        Without `commas` they do so only in the environment, which has no lists. An
        empty list is a problem where `least` says what of it there must be one.
        """
        found = self.take(key)
        if found is None:
            return []
        value = found.value
        if isinstance(value, str) and not commas and not found.from_environment:
            value = [value]
        elif isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            if least and not value:
                self.problem(key, f"needs at least one {least}")
            return list(value)
        self.problem(key, "must be text or a list of texts")
        return []

    def parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        """Read text and parse it; a ValueError's message is the problem."""
        text = self.text(key)
        return None if text is None else self.attempt(key, parse, text)

    def parsed_list(self, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Read a list of text and parse each."""
        values = (self.attempt(key, parse, text) for text in self.texts(key))
        return tuple(value for value in values if value is not None)

    def attempt(self, key: str, parse: Callable[[str], T], text: str) -> T | None:
        """Parse, or note why not."""
        try:
            return parse(text)
        except ValueError as error:
            self.problem(key, str(error))
            return None

    def section(self, key: str) -> Table:
        """Read a sub-section; one that was not given is empty."""
        self._known.add(key)
        below = self._tree.get(key, {})
        if isinstance(below, Found):
            self.problem(key, f"is a section: write [{self.place(key)}]")
            below = {}
        return Table(below, self.place(key), self._problems)

    def entries(self, key: str) -> list[Table]:
        """Read a sub-section, or a list of them."""
        self._known.add(key)
        found = self._tree.get(key)
        if not isinstance(found, Found):
            return [self.section(key)] if found is not None else []
        if isinstance(found.value, list) and found.value:
            trees = [plant({key: each}, found.origin)[key] for each in found.value]
            if all(isinstance(each, dict) for each in trees):
                return [
                    Table(each, f"{self.place(key)}[{at}]", self._problems)
                    for at, each in enumerate(trees)
                    if isinstance(each, dict)
                ]
        self.problem(key, "is a section, or a list of them")
        return []

    def sections(self) -> Iterator[tuple[str, Table]]:
        """Read every sub-section; their names are the operator's own."""
        for name in self.names():
            yield name, self.section(name)

    def names(self) -> list[str]:
        """Return every key given here, all of them taken as known."""
        self._known.update(self._tree)
        return list(self._tree)

    def is_section(self, key: str) -> bool:
        """Tell whether a key holds a section."""
        return isinstance(self._tree.get(key), dict)

    def is_list(self, key: str) -> bool:
        """Tell whether a key holds a list."""
        found = self._tree.get(key)
        return isinstance(found, Found) and isinstance(found.value, list)

    def unread(self) -> list[str]:
        """Return the keys given here that were not asked for yet."""
        return [key for key in self._tree if key not in self._known]

    def finish(self, also: Iterable[str] = ()) -> None:
        """Report every unknown key; `also` are known though nobody asked for them."""
        self._known.update(also)
        for key in self._tree:
            if key in self._known:
                continue
            place = self.place(key)
            for pattern, remedy in OBSOLETE_KEYS.items():
                if fnmatchcase(place, pattern):
                    self.problem(key, f"is no longer a key: {remedy}")
                    break
            else:
                origin = _origins(self._tree[key])
                hint = nearest(key, sorted(self._known))
                self._problems.append(f"{place} (in {origin}): unknown key; {hint}")


def _origins(found: Found | Tree) -> str:
    if isinstance(found, Found):
        return found.origin
    return (
        ", ".join(sorted({_origins(below) for below in found.values()})) or "the file"
    )
