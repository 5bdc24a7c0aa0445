"""Meanings that settings give to values of contracts and programs without code.

    value = "amount 18 TKN"              # of all events and calls that have it
    Approval.value = "amount 0 TKN"      # of one alone

| written         | means                                    |
|-----------------|------------------------------------------|
| `amount 18 TKN` | `Money(18, "TKN")`: decimals, symbol     |
| `share 10000`   | `Share(10_000)`: the parts of a whole    |
| `time`          | `Time()`                                 |
| `duration`      | `Duration()`                             |
| `code`          | `Code()`                                 |
| `url`           | `Url()`                                  |
| `number`        | nothing: what is stored is what is meant |
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping

from db.declare.errors import DeclarationError
from db.declare.fields import Field
from db.declare.meanings import Code, Duration, Meaning, Money, Share, Time, Url
from db.declare.units import meaning_words

# By a field's name, or the name of what carries it, a dot, and the field's name.
Meanings = Mapping[str, Meaning | None]
# The names under which an event or a call is known, and its fields.
Carrier = tuple[Collection[str], Mapping[str, Field]]

_FORMS = (
    '"amount 18 TKN" (decimals and symbol), "share 10000", "time", "duration", '
    '"code", "url" or "number"'
)
_PLAIN: Mapping[str, Callable[[], Meaning | None]] = {
    "time": Time, "duration": Duration, "code": Code, "url": Url,
    "number": lambda: None,
}  # fmt: skip


def read_meaning(text: str) -> Meaning | None:
    """The meaning that a text declares; raises ValueError with the remedy."""
    words = text.split()
    try:
        if words[:1] == ["amount"] and _are_numbers(words[1:2]) and len(words) == 3:
            return Money(int(words[1]), words[2])
        if words[:1] == ["share"] and _are_numbers(words[1:]) and len(words) == 2:
            return Share(int(words[1]))
    except DeclarationError as error:
        raise ValueError(f"{error.subject}: {error.problem}: {error.remedy}") from None
    if len(words) == 1 and words[0] in _PLAIN:
        return _PLAIN[words[0]]()
    raise ValueError(f"{text[:80]!r} is no meaning: write {_FORMS}")


def give_meanings(meanings: Meanings, carrier: Carrier) -> set[str]:
    """Give an event or a call the meanings that are for it; returns those fields.

    A key with the carrier's name stands over one without. What a field cannot mean is
    left out: `check_meanings` tells.
    """
    names, fields = carrier
    given = set()
    for key in sorted(meanings, key=lambda key: "." in key):
        owner, _, name = key.rpartition(".")
        field = fields.get(name)
        if field is None or (owner and owner not in names):
            continue
        if _holds(meanings[key], field):
            field.meaning = meanings[key]
            given.add(name)
    return given


def have_amounts(meanings: Meanings) -> bool:
    """Whether some values are amounts, so that people expect it of others too."""
    return any(isinstance(each, Money) for each in meanings.values())


def check_meanings(
    place: str, meanings: Meanings, carriers: Collection[Carrier]
) -> None:
    """Raise DeclarationError for a key that names nothing, or what cannot mean so."""
    for key, meaning in meanings.items():
        owner, _, name = key.rpartition(".")
        owners = [each for each in carriers if not owner or owner in each[0]]
        if not owners:
            known = sorted({each for names, _ in carriers for each in names})
            raise _unknown(place, key, f"nothing is called {owner}", owner, known)
        found = [fields[name] for _, fields in owners if name in fields]
        if not found:
            problem = f"{owner} has no {name}" if owner else f"nothing has a {name}"
            known = sorted({each for _, fields in owners for each in fields})
            raise _unknown(place, key, problem, name, known)
        if not any(_holds(meaning, each) for each in found):
            raise DeclarationError(
                key,
                f"its values cannot be {meaning_words(meaning)}",
                "times, amounts, shares and durations are of integers, codes of bytes "
                "of a fixed size, and URLs of texts",
                place,
            )


def _holds(meaning: Meaning | None, of: Field) -> bool:
    return Meaning().holds(of) if meaning is None else meaning.holds(of)


def _are_numbers(words: Iterable[str]) -> bool:
    return all(re.fullmatch(r"[0-9]{1,80}", word) for word in words)


def _unknown(
    place: str, key: str, problem: str, word: str, known: list[str]
) -> DeclarationError:
    close = difflib.get_close_matches(word, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"use one of {', '.join(known)}"
    return DeclarationError(key, problem, remedy, place)
