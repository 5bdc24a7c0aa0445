"""The SQL functions of the product: each in its file under `db/sql/functions`.

`migrate` loads those whose files changed, in order of name. A file has one
`CREATE OR REPLACE FUNCTION` in the schema `control`, with the file's name, under a
comment that says what it does.
"""

import hashlib
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from db.control import function
from db.engine import sqlstate

DIRECTORY = Path(__file__).resolve().parent / "sql" / "functions"
_DEPENDED_ON = "2BP01"  # dependent_objects_still_exist


def load_functions(connection: Connection) -> list[str]:
    """Load the functions whose files changed since they were loaded; their names.

    One is dropped before it is made, as its parameters may have changed, unless a view
    uses it: those keep their parameters.
    """
    loaded = _loaded(connection)
    changed = [name for name, digest in digests().items() if loaded.get(name) != digest]
    for name in changed:
        try:
            with connection.begin_nested():
                connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS control.{name}")
        except DBAPIError as error:
            if sqlstate(error) != _DEPENDED_ON:
                raise
        content = (DIRECTORY / f"{name}.sql").read_text(encoding="utf-8")
        connection.exec_driver_sql(content, execution_options={"no_parameters": True})
        statement = insert(function).values(name=name, digest=digests()[name])
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={"digest": statement.excluded.digest}
            )
        )
    return changed


def outdated(connection: Connection) -> bool:
    """Whether the functions of a database are those of another version."""
    return _loaded(connection) != digests()


@cache
def digests() -> dict[str, str]:
    """The digest of each function's file, by its name."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(DIRECTORY.glob("*.sql"))
    }


def _loaded(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(function.c.name, function.c.digest))
    return {row.name: row.digest for row in rows}
