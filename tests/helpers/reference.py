"""The slow, obvious meaning of a projection: no SQL, one fact at a time.

It shares no code with the compiler; it reads only the declarations. The fast path must
give what this gives, on any history.
"""

import json
import re
import types
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from db.declare import (
    Count,
    CountDistinct,
    EventView,
    First,
    Latest,
    Max,
    Min,
    Projection,
    Replay,
    Stage,
    Sum,
    Top,
)
from db.facts import Fact


def fold(
    projection: type[Projection], facts: Iterable[Fact], as_of: int | None = None
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows of a projection: key values to visible columns."""
    spec = projection.spec
    seen: dict[tuple[Any, ...], dict[str, list[tuple[int, int, Any]]]] = {}
    for fact in facts:
        if as_of is not None and fact.position >> 32 > as_of:
            continue
        for name, fold_ in spec.folds.items():
            for order, contribution in enumerate(fold_.contributions):
                view = contribution.view
                if view.event is not fact.event:
                    continue
                if view.condition is not None and not view.condition.evaluate(
                    lambda leaf, fact=fact: _value(leaf, fact)
                ):
                    continue
                renamed = dict(view.keys)
                key = tuple(_named(renamed.get(k, k), fact) for k in spec.keys)
                value = contribution.value.evaluate(
                    lambda leaf, fact=fact: _value(leaf, fact)
                )
                if isinstance(fold_, Replay):
                    value = _as_json(fact)
                row = seen.setdefault(key, {name: [] for name in spec.folds})
                if value is not None:
                    row[name].append((fact.position, order, value))
    return {key: _row(projection, columns) for key, columns in seen.items()}


def _row(projection, columns):
    spec = projection.spec
    row = {}
    for name, fold_ in spec.folds.items():
        entries = sorted(columns[name], key=_order(fold_))
        row[name] = _folded(fold_, [value for _, _, value in entries])
        if isinstance(fold_, Stage):
            row[name], row[f"{name}_refused"] = row[name]
    for name, expression in spec.expressions.items():
        row[name] = expression.evaluate(lambda leaf: row[leaf.name])
    return row


def _hashable(value):
    """JSON as text that is equal when it is."""
    plain = isinstance(value, bytes | str | int)
    return value if plain else json.dumps(value, sort_keys=True)


def _order(fold_):
    """By position; of one fact, Stage as written, First and Latest by value."""
    if isinstance(fold_, Stage | Replay):
        return lambda entry: entry[:2]
    return lambda entry: (entry[0], _comparable(entry[2]))


def _comparable(value):
    return value.encode() if isinstance(value, str) else value


def _folded(fold_, values):
    if isinstance(fold_, Sum):
        return sum(values)
    if isinstance(fold_, Top):
        return [str(value) for value in sorted(values, reverse=True)[: fold_.number]]
    if isinstance(fold_, Count):
        return len(values)
    if isinstance(fold_, CountDistinct):
        return len({_hashable(value) for value in values})
    if isinstance(fold_, Stage):
        return _stage(fold_, values)
    if isinstance(fold_, Replay):
        state = None
        for fact in values:
            state = fold_.reducer(state, types.SimpleNamespace(**fact))
        return state
    if not values:
        return None
    if isinstance(fold_, Min):
        return min(values)
    if isinstance(fold_, Max):
        return max(values)
    if isinstance(fold_, First):
        return values[0]
    assert isinstance(fold_, Latest)
    return values[-1]


def _stage(fold_, tags):
    """Walk the moves as they were declared, not as the compiler tabulates them."""
    state, refused = "", 0
    names = []
    for _, source, _ in fold_.moves:
        if _identity(source) not in names:
            names.append(_identity(source))
    for tag in tags:
        for origins, source, target in fold_.moves:
            if _identity(source) == names[int(tag)] and state in origins:
                state = target
                break
        else:
            refused += 1
    return state, refused


def _identity(source):
    view = source if isinstance(source, EventView) else EventView(source)
    return view.identity()


def _value(leaf, fact):
    return _named(leaf.field.name, fact)


def _named(name, fact):
    if name == "position":
        return fact.position
    if name == "height":
        return fact.position >> 32
    if re.fullmatch(r"block_time_\d+", name):
        return fact.block_time // int(name[11:]) * int(name[11:])
    if name in ("block_time", "transaction"):
        return getattr(fact, name)
    return fact.values[name]


def moment(seconds):
    """A time as JSON has it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _as_json(fact):
    plain = {
        name: "0x" + value.hex() if isinstance(value, bytes) else value
        for name, value in fact.values.items()
    }
    return {
        "event": fact.event.spec.name,
        "position": fact.position,
        "block_time": fact.block_time,
        **plain,
    }
