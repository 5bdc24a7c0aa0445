"""Notices: what people are told, by e-mail or in a channel of theirs.

    SETTLED = Wording(
        en=("{title} is yours", "It is in your wallet: {mint}."),
        fr=("{title} est à vous", "Dans votre portefeuille : {mint}."),
    )

    @reaction(to=PurchaseCompleted)
    def tell_buyer(entry, tables):
        "The buyer is told that the copy is theirs."
        yield Notice("settled", SETTLED, to=ToAccount(entry.account), title=…, mint=…)

Reactions, timers and schedules yield them beside commands. A `Notice` is sent once for
each thing that it follows from (or each `once`, if given), its name and its recipient:
an account (`ToAccount`) or the owner of a wallet (`ToWallet`), by e-mail, or a channel
of the settings (`ToChannel`). A `Wording` has a subject and a text in each language of
`LANGUAGES`, with the same `{names}` in all.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.declare.errors import DeclarationError

LANGUAGES = ("en", "fr")
TEXT_MAX = 2_000  # characters of a value


@dataclass(frozen=True, slots=True)
class ToAccount:
    """The e-mail address of an account, by its id."""

    id: str


@dataclass(frozen=True, slots=True)
class ToWallet:
    """The e-mail address of the account that has a wallet, by its raw bytes."""

    address: bytes


@dataclass(frozen=True, slots=True)
class ToChannel:
    """A channel of `[notifications.channels.<name>]`."""

    name: str


class Wording:
    """A subject and a text in every language; the file's name is for errors."""

    __slots__ = ("names", "texts")

    def __init__(self, **texts: tuple[str, str]) -> None:
        """Raise DeclarationError for a language that lacks or names that differ."""
        if set(texts) != set(LANGUAGES):
            raise _wrong(
                f"it is in {', '.join(sorted(texts)) or 'no language'}",
                f"write it in {' and '.join(LANGUAGES)}",
            )
        found = {language: _names(text) for language, text in texts.items()}
        if len(set(map(frozenset, found.values()))) != 1:
            said = "; ".join(f"{k}: {', '.join(sorted(v))}" for k, v in found.items())
            raise _wrong(f"the languages have other names ({said})", "use the same")
        self.texts: Mapping[str, tuple[str, str]] = texts
        self.names = found[LANGUAGES[0]]


class Notice:
    """One message to one recipient; its values are written into its wording."""

    __slots__ = ("name", "once", "texts", "to")

    def __init__(
        self, name: str, wording: Wording, /, *, to: ToAccount | ToWallet | ToChannel,
        once: str = "", **values: Any,
    ) -> None:  # fmt: skip
        """Write the texts; raises ValueError for values that the wording lacks."""
        if set(values) != wording.names:
            raise ValueError(
                f"the notice {name} is given {', '.join(sorted(values)) or 'nothing'}, "
                f"and its wording names {', '.join(sorted(wording.names)) or 'nothing'}"
            )
        given = {key: str(value)[:TEXT_MAX] for key, value in values.items()}
        self.name = name
        self.to = to
        self.once = once
        self.texts = {
            language: (" ".join(subject.format(**given).split()), text.format(**given))
            for language, (subject, text) in wording.texts.items()
        }


def _names(texts: tuple[str, str]) -> set[str]:
    """The names in braces; raises DeclarationError for anything but plain names."""
    found = set()
    for text in texts:
        for _, name, form, conversion in string.Formatter().parse(text):
            if name is None:
                continue
            if not name.isidentifier() or form or conversion:
                raise _wrong(f"{{{name}}} is no plain name", "write {name} alone")
            found.add(name)
    return found


def _wrong(problem: str, remedy: str) -> DeclarationError:
    return DeclarationError("Wording", problem, remedy)
