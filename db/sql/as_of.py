"""A projection as it stood at a block: the same fold over fewer facts."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Table, bindparam

from db.declare.events import EventView
from db.declare.projections import ProjectionSpec
from db.sql.columns import key_column
from db.sql.fold import fold_select


def as_of_select(
    spec: ProjectionSpec, keys: Mapping[str, Any] | None = None
) -> Select[Any]:
    """The rows at the end of a block; binds source and highest (a position).

    `keys` narrows to rows with these key values before folding, which an index on the
    facts answers; a Replay's column is the list of its facts.
    """

    def restrict(view: EventView, table: Table) -> Sequence[ColumnElement[bool]]:
        conditions = [
            table.c.source == bindparam("source", type_=table.c.source.type),
            table.c.position <= bindparam("highest", type_=BigInteger),
        ]
        for key, value in (keys or {}).items():
            field = view.field_for_key(key)
            assert field is not None
            conditions.append(key_column(table, field) == value)
        return conditions

    return fold_select(spec, restrict)
