"""Query strings: what a route understands, and the refusal of everything else.

A parameter that is not known is refused, because a filter misspelt would otherwise
answer with all rows.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from api.errors import Problem
from db import reads
from db.position import MAX_HEIGHT


@dataclass(frozen=True, slots=True)
class Query:
    """The query of a request; None: not given."""

    chain: str | None = None
    as_of: int | None = None
    order: str | None = None
    descending: bool = False
    after: str | None = None
    limit: int = 20
    counted: bool = False
    in_units: bool = True
    where: Mapping[str, Any] = field(default_factory=dict)


COMMON = ("chain", "as_of", "units")
PAGING = ("sort", "limit", "after", "count")
VALUES_MOST = 50  # of a filter that is given several times
RESERVED = frozenset({*COMMON, *PAGING})


def usable(filters: Mapping[str, reads.Column]) -> dict[str, reads.Column]:
    """The filters by names that no parameter has: an underscore follows if one has."""
    return {
        f"{name}_" if name in RESERVED else name: column
        for name, column in filters.items()
    }


def read_query(
    given: "MultiDict[str, str]",
    *,
    filters: Mapping[str, reads.Column] | None = None,
    raw_filters: Mapping[str, reads.Column] | None = None,
    sorts: Iterable[str] = (),
    default_sorts: tuple[str | None, str | None] = (None, None),
    page_size: int = 20,
    page_size_max: int = 20,
) -> Query:
    """A query string read for a list, or for one row when there are no filters.

    `filters` must be `usable`, and `raw_filters`, which read values as they are stored,
    have the same names; `default_sorts` are the order of the rows as they are,
    and that of the rows as of a block. Raises Problem for what cannot be understood.
    """
    in_units = read_units(given)
    filters = (filters if in_units else raw_filters) or filters or {}
    known = [*COMMON, *((*PAGING, *filters) if sorts else ())]
    seen: dict[str, str] = {}
    where: dict[str, Any] = {}
    for name, values in given.lists():
        if name not in known:
            raise unknown_parameter(name, known)
        if len(values) > 1 and not may_repeat(name, filters):
            raise bad_parameter(
                name, f"{name} is given {len(values)} times: give it once."
            )
        seen[name] = values[0]
        if name in filters:
            where |= _filter(filters[name], name, values)
    as_of = _height(seen.get("as_of"))
    sort = seen.get("sort", default_sorts[as_of is not None])
    order, descending = _sort(sort, list(sorts))
    return Query(
        chain=seen.get("chain"),
        as_of=as_of,
        order=order,
        descending=descending,
        after=seen.get("after"),
        limit=_limit(seen.get("limit"), page_size, page_size_max),
        counted=_truth("count", seen.get("count")),
        in_units=in_units,
        where=where,
    )


def read_units(given: "MultiDict[str, str]") -> bool:
    """Whether values are in the forms of their meanings, and not as they are stored."""
    asked = given.getlist("units")
    if asked in ([], ["raw"]):
        return not asked
    raise Problem(
        "bad_parameter",
        f"units: {_shown(', '.join(asked))} is not raw. Leave it out for values as "
        "people read them, or give raw for those that are stored.",
        parameter="units",
        choices=["raw"],
    )


def may_repeat(name: str, filters: Mapping[str, reads.Column]) -> bool:
    """Whether a parameter may be given several times, for any of several values."""
    return name in filters and not reads.is_range(name, filters[name])


def value_of(column: reads.Column, name: str, text: str) -> Any:
    """A value from a query string or a path."""
    if column.choices and text not in column.choices:
        named = [choice for choice in column.choices if choice]
        raise Problem(
            "bad_parameter",
            f"{name}: {_shown(text)} is none of {', '.join(named)}. Give one of them; "
            f"for several, repeat it: {name}={named[0]}&{name}={named[-1]}.",
            parameter=name,
            choices=list(column.choices),
        )
    try:
        return reads.parse(column, text, name)
    except reads.BadQuery as error:
        raise bad_parameter(name, str(error)) from error


def check_names(known: Sequence[str]) -> None:
    """Raise Problem for a parameter of the request that is not among the known."""
    for name in request.args:
        if name not in known:
            raise unknown_parameter(name, known)


def number(name: str, most: int) -> int | None:
    """Return a parameter from 1 to `most`; None: it is not given."""
    text = request.args.get(name)
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,19}", text) and 1 <= int(text) <= most:
        return int(text)
    raise bad_parameter(
        name, f"{name}: {_shown(text)} is not a number from 1 to {most}."
    )


def bad_parameter(name: str, detail: str) -> Problem:
    """Return the problem of a parameter's value."""
    return Problem("bad_parameter", detail, parameter=name)


def unknown_parameter(name: str, known: Sequence[str]) -> Problem:
    """Return the problem of an unknown parameter, with the nearest known one."""
    close = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return Problem(
        "unknown_parameter",
        f"{_shown(name)} is not known. {hint}Use {', '.join(known)}.",
        parameter=name,
        choices=list(known),
    )


def _filter(column: reads.Column, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Read a filter: one value, or any of several."""
    values = [value_of(column, name, text) for text in texts]
    if len(values) > VALUES_MOST:
        raise bad_parameter(
            name, f"{name} is given {len(values)} times: give it {VALUES_MOST} at most."
        )
    return reads.asked(name, column, values)


def _truth(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise bad_parameter(name, f"{name}: {_shown(text)} is not true or false.")
    return text == "true"


def _height(text: str | None) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= MAX_HEIGHT:
        return int(text)
    raise bad_parameter("as_of", f"as_of: {_shown(text)} is not the height of a block.")


def _limit(text: str | None, default: int, highest: int) -> int:
    if text is None:
        return default
    if re.fullmatch(r"[0-9]{1,6}", text) and 1 <= int(text) <= highest:
        return int(text)
    raise bad_parameter(
        "limit", f"limit: {_shown(text)} is not a number from 1 to {highest}."
    )


def _sort(text: str | None, choices: list[str]) -> tuple[str | None, bool]:
    if text is None:
        return None, False
    name = text.removeprefix("-")
    if name not in choices:
        raise Problem(
            "bad_parameter",
            f"sort: {_shown(text)} is not sorted by. Use {', '.join(choices)}, with a "
            "minus in front for descending order.",
            parameter="sort",
            choices=choices,
        )
    return name, text.startswith("-")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
