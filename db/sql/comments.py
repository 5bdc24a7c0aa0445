r"""Comments on the columns of the views that people read, made from the declarations.

psql shows them with `\d+`, and tools for dashboards beside the column.
"""

from functools import cache
from typing import Any

from db.declare import Event, Field
from db.declare.emitters import PLACE
from db.declare.projections import ProjectionSpec
from db.sql.columns import first_line
from db.sql.folds import sql_folds
from db.sql.folds.base import SqlFold

_CHAIN = "The name of the chain, as in the settings."
_PLACES = {
    "height": "The number of the block.",
    "position": "Where it stands on the chain: height << 32 | its order in the block.",
    "block_time": "The time of the block.",
    "transaction": "The id of the transaction.",
}


@cache
def row_comments(spec: ProjectionSpec) -> dict[str, str]:
    """The comment of each column of a projection's view."""
    found = {"chain": _CHAIN}
    for name, field in spec.keys.items():
        found[name] = f"Key: {type_words(field)}."
    folds = sql_folds(spec)
    for fold in folds:
        found[fold.name] = _of_fold(fold)
    for name, expression in spec.expressions.items():
        parts = [f"Computed on read: {expression.describe()}."]
        found[name] = " ".join([*parts, *_meaning(spec.column_field(name))])
    for fold in folds:
        for name, meaning in fold.beside().items():
            found[name] = f"{meaning[:1].upper()}{meaning[1:]}."
    return found


def fact_comments(event: type[Event]) -> dict[str, str]:
    """The comment of each column of an event's view."""
    found = {"chain": _CHAIN, **_PLACES}
    for name, field in event.spec.fields.items():
        origin = "The contract that wrote the log"
        if not field.emitter:
            origin = f"Parameter {field.param or name}"
        found[name] = f"{origin}: {type_words(field)}."
    return found


def type_words(field: Field) -> str:
    """The declared type of a field, in words; of a meaning, that."""
    if field.meaning is not None:
        return field.meaning.described()
    if field is PLACE["position"]:
        return "a position on the chain"
    name = type(field).__name__.strip("_")
    if field.size is not None:
        return f"{name} of {field.size} bytes"
    bits = getattr(field, "bits", None)
    return name if bits is None else f"{name} of {bits} bits"


def _meaning(field: Field) -> list[str]:
    """The sentence on what a value means, if it means something."""
    return [] if field.meaning is None else [field.meaning.sentence()]


def _of_fold(fold: SqlFold[Any]) -> str:
    """The origin of a fold's values, and the summary of its event if there is one."""
    events = {each.view.event for each in fold.fold.contributions}
    parts = [f"{fold.meaning()}."]
    parts += _meaning(fold.field)
    parts += [first_line(event.spec.doc) for event in events if len(events) == 1]
    return " ".join(filter(None, parts))
