"""The tables as rules and reactions read them: rows with values in Python form.

Values are as they are stored, whatever they mean: amounts in the smallest unit.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from db.coverage import Stream
from db.declare import Asker, Projection, RowOf
from db.declare.projections import ProjectionSpec
from db.declare.settings import Given, S, settings_of
from db.journal.head import SOURCE, STREAM
from db.reads.errors import BadQuery, NothingIndexed, PartlyIndexed
from db.reads.forms import Column, ValueForm, parse
from db.reads.freshness import BlockInfo
from db.reads.rows import select_row, select_rows
from db.reads.values import row_columns, row_filters
from db.sources import by_id

PAGE = 1000
NOBODY = Asker()


class ReadTables:
    """The tables of one source, as of a block or as they are; a `db.declare.Tables`.

    `time` is that of the block; of the head it is looked up when a rule asks for it.
    With `journal` those folded from the journal are read as they are besides.
    """

    def __init__(
        self,
        connection: Connection,
        source: int,
        *,
        time: int | None = None,
        as_of: int | None = None,
        plan: Sequence[Stream] | None = None,
        asker: Asker = NOBODY,
        journal: bool = False,
        settings: Given | None = None,
    ) -> None:
        self._connection = connection
        self._source = source
        self._as_of = as_of
        self._plan = plan
        self._time = time
        self._asker = asker
        self._journal = journal
        self._settings = settings or {}

    @property
    def asker(self) -> Asker:
        """The caller."""
        return self._asker

    @property
    def time(self) -> int:
        """The time of the block, in seconds since 1970; raises NothingIndexed."""
        if self._time is None:
            source = by_id(self._connection, self._source)
            if source.head_time is None:
                raise NothingIndexed(source.name)
            self._time = source.head_time
        return self._time

    def settings(self, table: type[S]) -> S:
        """The settings of a domain: its defaults where none are given."""
        return settings_of(self._settings, table)

    def row(self, projection: type[Projection], **keys: Any) -> RowOf | None:
        """The row with these keys; raises a ReadError, as while nothing is indexed."""
        spec = projection.spec
        source, plan, as_of = self._place(spec)
        found = select_row(
            self._connection, spec, source, _checked(spec, keys),
            as_of=as_of, plan=plan, in_units=False,
        )  # fmt: skip
        _check_whole(found.block)
        return None if found.data is None else _row_of(spec, json.loads(found.data))

    def rows(self, projection: type[Projection], **where: Any) -> list[RowOf]:
        """All rows with these values, by key; raises a ReadError."""
        spec = projection.spec
        source, plan, as_of = self._place(spec)
        found: list[RowOf] = []
        after = None
        while True:
            page = select_rows(
                self._connection, spec, source, where=_checked(spec, where),
                after=after, limit=PAGE, as_of=as_of, plan=plan, in_units=False,
            )  # fmt: skip
            _check_whole(page.block)
            found += [_row_of(spec, row) for row in json.loads(page.data)]
            after = page.next
            if after is None:
                return found

    def _place(
        self, spec: ProjectionSpec
    ) -> tuple[int, Sequence[Stream] | None, int | None]:
        """The source that a projection reads, its streams, and as of which block.

        The journal has no state as of a block of a chain, nor a chain one as of an
        entry.
        """
        if not spec.in_journal:
            if self._source == SOURCE:
                raise BadQuery(
                    f"{spec.plural} are folded from a chain, and it is not said of "
                    "which, or as of which block of it: leave the question to the "
                    "rules of a command"
                )
            if self._as_of is not None and self._as_of < 0:  # no block is final yet
                raise NothingIndexed(by_id(self._connection, self._source).name)
            return self._source, self._plan, self._as_of
        if self._source == SOURCE or self._as_of is None:
            return SOURCE, [STREAM], self._as_of if self._source == SOURCE else None
        if self._journal:
            return SOURCE, [STREAM], None
        raise BadQuery(
            f"{spec.plural} are folded from the journal, which has no state as of "
            "a block of the chain: a reaction reads tables of its chain only"
        )


def _check_whole(block: BlockInfo) -> None:
    if not block.exact:
        raise PartlyIndexed(block.chain)


def _checked(spec: ProjectionSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    filters = row_filters(spec, in_units=False)
    return {
        name: parse(filters[name], filters[name].field.text(value))
        if name in filters
        else value
        for name, value in given.items()
    }


def _row_of(spec: ProjectionSpec, row: Mapping[str, Any]) -> RowOf:
    columns = row_columns(spec, in_units=False)
    return RowOf({name: _value(columns[name], value) for name, value in row.items()})


def _value(column: Column, value: Any) -> Any:
    """A value of JSON in canonical Python form."""
    if value is None or column.form is ValueForm.JSON:
        return value
    if column.form in (ValueForm.DECIMAL, ValueForm.NUMBER):
        return int(value)
    if column.form in (ValueForm.HEX, ValueForm.BASE58):
        return column.field.check(value)
    return value
