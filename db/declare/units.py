"""The arithmetic of meanings: which values may be added, and what their sum means.

| expression                            | means                                     |
|---------------------------------------|-------------------------------------------|
| a unit + or - the same unit           | the unit                                  |
| a unit * or // a plain number         | the unit                                  |
| a unit // the same unit               | a plain number                            |
| an amount // one of it, as 10**18     | a plain number                            |
| an amount * a share // its parts      | an amount                                 |
| a time - a time                       | a duration                                |
| a time + or - a duration, or seconds  | a time                                    |
| two different units                   | nothing: refused                          |

A literal takes the meaning of what stands beside it, in the unit that is stored. A
field without a meaning beside an amount is refused, for it was probably forgotten;
beside a time, which every event has, it makes a plain number.
"""

from collections.abc import Sequence

from db.declare.errors import DeclarationError
from db.declare.expressions import COMPARISONS
from db.declare.meanings import Duration, Meaning, Share, Time

Side = tuple[Meaning | None, bool]  # what it means, and whether it is a literal


def meaning_words(meaning: Meaning | None) -> str:
    """A meaning in words, or the lack of one."""
    return "a plain number" if meaning is None else meaning.described()


def same_meaning(subject: str, sides: Sequence[Side]) -> Meaning | None:
    """The meaning of values that take each other's place; raises DeclarationError."""
    units = {meaning for meaning, _ in sides if meaning is not None}
    if len(units) > 1:
        one, other = sorted(map(meaning_words, units))[:2]
        raise DeclarationError(
            subject, f"{one} and {other} do not go together", "give both one meaning"
        )
    plain = any(meaning is None and not literal for meaning, literal in sides)
    for unit in units:
        if not plain:
            return unit
        if not isinstance(unit, Time | Duration):
            raise DeclarationError(
                subject,
                f"{meaning_words(unit)} and a plain number do not go together",
                "give both one meaning",
            )
    return None


def meaning_of(subject: str, operator: str, left: Side, right: Side) -> Meaning | None:
    """The meaning of the result of an operator; raises DeclarationError."""
    if operator in COMPARISONS:
        units = {each for each, _ in (left, right) if each is not None}
        same_meaning(subject, [(each, True) for each in units])
        return None
    if operator in ("+", "-"):
        return _added(subject, operator, left, right)
    one, other = left[0], right[0]
    if isinstance(one, Time) or isinstance(other, Time):
        _refuse_if(subject, one, other, not (one is None or other is None))
        return None
    if operator == "*":
        shared = isinstance(one, Share) or isinstance(other, Share)
        both = one is not None and other is not None
        _refuse_if(subject, one, other, both and not shared)
        return None if both else one or other
    _refuse_if(subject, one, other, other is not None and one != other)
    return one if other is None else None


def _added(subject: str, operator: str, left: Side, right: Side) -> Meaning | None:
    """The meaning of a sum or a difference."""
    one, other = left[0], right[0]
    if not (isinstance(one, Time) or isinstance(other, Time)):
        return same_meaning(subject, [left, right])
    if operator == "+":
        rest = other if isinstance(one, Time) else one
        _refuse_if(subject, one, other, not isinstance(rest, Duration | None))
        return Time()
    if other is None:
        return Time() if right[1] else None
    if one is None:
        return None
    _refuse_if(subject, one, other, not isinstance(one, Time))
    _refuse_if(subject, one, other, not isinstance(other, Time | Duration))
    return Duration() if isinstance(other, Time) else Time()


def _refuse_if(
    subject: str, one: Meaning | None, other: Meaning | None, wrong: bool
) -> None:
    if wrong:
        raise DeclarationError(
            subject,
            f"{meaning_words(one)} and {meaning_words(other)} do not go together so",
            "see the table in `db.declare.units`, or take the meaning from one of them",
        )
