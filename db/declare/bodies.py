"""Refuse names in a class body that no declaration knows.

A misspelt `rules` would drop every rule of a command, and a misspelt `where` take every
log. So each name of a body is a part of the declaration, or is refused with the name
that was probably meant.
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from db.declare.errors import DeclarationError

# What Python itself puts into a class body ends so.
_DUNDER = "__"


def refuse_unknown(
    subject: str,
    body: Mapping[str, Any],
    words: Collection[str],
    parts: str,
    is_part: Callable[[Any], bool],
) -> None:
    """Refuse names of a class body that are neither words of it nor parts.

    `parts` describes for messages what `is_part` lets in under a name of its own.
    """
    for name, value in body.items():
        if name in words or is_part(value) or _is_python(name):
            continue
        close = difflib.get_close_matches(name, words, n=1)
        if isinstance(value, type) and not close:
            hint = f"write {name} = {value.__name__}(…), with parentheses"
        elif isinstance(value, tuple) and len(value) == 1 and is_part(value[0]):
            hint = f"take out the comma behind {name} = …"
        else:
            hint = f"did you mean {close[0]!r}" if close else "take it out of the class"
        raise DeclarationError(
            f"{subject}.{name}",
            f"a body has {parts} and {', '.join(sorted(words))}, and this is neither",
            hint,
        )
    for name in body.get("__annotations__", {}):
        if name not in body:
            raise DeclarationError(
                f"{subject}.{name}", "an annotation declares nothing",
                f"write {name} = …",
            )  # fmt: skip


def refuse_bases(subject: str, bases: tuple[type, ...], base: type) -> None:
    """Refuse a declaration that inherits from another: nothing is taken over."""
    if bases != (base,):
        others = ", ".join(each.__name__ for each in bases if each is not base)
        raise DeclarationError(
            subject,
            f"nothing is taken over from {others}",
            f"write class {subject}({base.__name__}) and all it has in its own body",
        )


def text_word(subject: str, body: Mapping[str, Any], word: str, default: str) -> str:
    """Return the text given for a name of a class body."""
    given = body.get(word, default)
    if not isinstance(given, str):
        raise DeclarationError(
            f"{subject}.{word}", f"{given!r} is not text", f'write {word} = "…"'
        )
    return given


def names_word(subject: str, body: Mapping[str, Any], word: str) -> tuple[str, ...]:
    """The names that a body lists for a word."""
    given = body.get(word, ())
    if not isinstance(given, tuple | list) or not all(
        isinstance(each, str) for each in given
    ):
        raise DeclarationError(
            f"{subject}.{word}",
            f"{given!r} is not a list of names",
            f'write {word} = ("…",), with a comma behind one name',
        )
    return tuple(given)


def _is_python(name: str) -> bool:
    return name.startswith(_DUNDER) and name.endswith(_DUNDER)
