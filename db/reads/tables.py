"""The tables as rules and reactions read them: rows with values in Python form."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from db.coverage import Stream
from db.declare import Projection, RowOf
from db.declare.projections import ProjectionSpec
from db.reads.rows import select_row, select_rows
from db.reads.values import Column, Form, parse, row_columns, row_filters

PAGE = 1000


class ReadTables:
    """The tables of one source, as of a block or as they are; a `db.declare.Tables`."""

    def __init__(
        self,
        connection: Connection,
        source: int,
        *,
        time: int,
        as_of: int | None = None,
        plan: Sequence[Stream] | None = None,
    ) -> None:
        self._connection = connection
        self._source = source
        self._as_of = as_of
        self._plan = plan
        self._time = time

    @property
    def time(self) -> int:
        """The time of the block, in seconds since 1970."""
        return self._time

    def row(self, projection: type[Projection], **keys: Any) -> RowOf | None:
        """The row with these keys; raises a ReadError, as while nothing is indexed."""
        spec = projection.spec
        found = select_row(
            self._connection, spec, self._source, _checked(spec, keys),
            as_of=self._as_of, plan=self._plan,
        )  # fmt: skip
        return None if found.data is None else _row_of(spec, json.loads(found.data))

    def rows(self, projection: type[Projection], **where: Any) -> list[RowOf]:
        """All rows with these values, by key; raises a ReadError."""
        spec = projection.spec
        found: list[RowOf] = []
        after = None
        while True:
            page = select_rows(
                self._connection, spec, self._source, where=_checked(spec, where),
                after=after, limit=PAGE, as_of=self._as_of, plan=self._plan,
            )  # fmt: skip
            found += [_row_of(spec, row) for row in json.loads(page.data)]
            after = page.next
            if after is None:
                return found


def _checked(spec: ProjectionSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    filters = row_filters(spec)
    return {
        name: parse(filters[name], _said(value)) if name in filters else value
        for name, value in given.items()
    }


def _said(value: Any) -> Any:
    """A value as a query says it: what is parsed again is also checked."""
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _row_of(spec: ProjectionSpec, row: Mapping[str, Any]) -> RowOf:
    columns = row_columns(spec)
    return RowOf({name: _value(columns[name], value) for name, value in row.items()})


def _value(column: Column, value: Any) -> Any:
    """A value of JSON in canonical Python form."""
    if value is None or column.form is Form.JSON:
        return value
    if column.form in (Form.DECIMAL, Form.NUMBER):
        return int(value)
    if column.form is Form.HEX:
        return bytes.fromhex(value[2:])
    return value
