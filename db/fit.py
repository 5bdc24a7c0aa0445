"""Whether a database is what this version of the declarations needs; it only reads.

`db.schema.migrate` is the one thing that changes a database. Whatever else finds that
the database is not as it should be says what differs, and which verb mends it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, select, text

from db.control import declaration
from db.errors import UnfitDatabase
from db.functions import outdated
from db.registry import Registry, event_fingerprint, projection_fingerprint
from db.sql.columns import STATE, state_name, state_table

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Fit:
    """The state of a database towards this version.

    `control` is the version of its control tables, None where there are none or where
    the first migration ended before it made a declared table. `differences` are what
    its tables were built from and is declared otherwise here, in words; known only if
    the control tables are those of this version.
    """

    control: str | None
    needed: str
    differences: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it holds nothing of ours."""
        return self.control is None

    @property
    def unusable(self) -> str:
        """Return why this version cannot read it, and the remedy; empty if it can."""
        if self.control is None:
            return (
                "the database holds nothing of Chainfold yet. Run `chainfold migrate`, "
                "or `chainfold run`, which makes the tables in an empty database."
            )
        if self.control == self.needed:
            return ""
        if self.control in _revisions():
            return (
                f"the database was last migrated by an older Chainfold (control tables "
                f"{self.control}; this version needs {self.needed}). Stop what runs "
                "with the older one, then run `chainfold migrate` with this version."
            )
        return (
            f"the database was migrated by a newer Chainfold (control tables "
            f"{self.control}; this version knows none above {self.needed}). Start that "
            "version."
        )

    @property
    def message(self) -> str:
        """Everything that is not as it should be, and the remedy; empty if all is."""
        if self.unusable or not self.differences:
            return self.unusable
        shown = "; ".join(self.differences[:_SHOWN])
        if len(self.differences) > _SHOWN:
            shown += f"; and {len(self.differences) - _SHOWN} more"
        return (
            f"the database was not built from these declarations: {shown}. Run "
            "`chainfold migrate` with this version, or start the version that did."
        )


def examine(connection: Connection, registry: Registry) -> Fit:
    """Compare a database with the control tables and declarations of this version."""
    control = None
    if _has_tables(connection, registry):
        control = connection.scalar(
            text("SELECT version_num FROM control.alembic_version")
        )
    needed = _revisions()[-1]
    if control != needed:
        return Fit(control, needed)
    return Fit(control, needed, tuple(differences(connection, registry)))


def _has_tables(connection: Connection, registry: Registry) -> bool:
    """Whether a migration has made the control tables and those that are declared.

    It makes them in two transactions: a process that was killed between the two has
    left the control tables alone, with nothing in them.
    """
    if not connection.scalar(text("SELECT to_regclass('control.declaration')")):
        return False
    return not wanted(registry) or bool(
        connection.scalar(select(select(declaration).exists()))
    )


def require(connection: Connection, registry: Registry) -> None:
    """Raise UnfitDatabase unless the database is what this version needs."""
    message = examine(connection, registry).message
    if message:
        raise UnfitDatabase(message)


def differences(connection: Connection, registry: Registry) -> Iterator[str]:
    """Describe the functions and declarations that differ from what is in it."""
    if outdated(connection):
        yield "its SQL functions are those of another version"
    known = built(connection)
    for kind, name, print_, _ in wanted(registry):
        found = known.get((kind, name))
        if found is None:
            yield f"{name} is not in it"
        elif found[0] != print_:
            yield f"{name} is declared otherwise"
    for name in undeclared(registry, known):
        yield f"{name} is in it and not declared"


Built = dict[tuple[str, str], tuple[str, str]]


def built(connection: Connection) -> Built:
    """Return the fingerprints and relations of the tables, by (kind, name)."""
    return {
        (row.kind, row.name): (row.fingerprint, row.relation)
        for row in connection.execute(select(declaration))
    }


def wanted(registry: Registry) -> list[tuple[str, str, str, str]]:
    """Everything declared: kind, name, fingerprint, relation."""
    rows = [
        ("event", event.spec.id, event_fingerprint(event), event.spec.table)
        for event in registry.events.values()
    ]
    rows += [
        ("projection", plural, projection_fingerprint(item.spec), state_name(item.spec))
        for plural, item in registry.projections.items()
    ]
    return rows


def undeclared(registry: Registry, known: Built) -> list[str]:
    """The projections that were built and are not declared here.

    An event is not asked about: its facts stay, whoever declares it.
    """
    return [
        name
        for kind, name in known
        if kind == "projection" and name not in registry.projections
    ]


def losses(connection: Connection, registry: Registry, known: Built) -> list[str]:
    """The tables and columns of rows that a migration would drop, in words."""
    lost = [f"table {name}" for name in undeclared(registry, known)]
    for plural, projection in registry.projections.items():
        found = known.get(("projection", plural))
        if found is None or found[0] == projection_fingerprint(projection.spec):
            continue
        kept = {column.name for column in state_table(projection.spec).columns}
        columns = connection.execute(
            text(
                "SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
                " AND attrelid = to_regclass(:relation) ORDER BY attnum"
            ),
            {"relation": f'{STATE}."{found[1]}"'},
        ).scalars()
        lost += [f"column {plural}.{name}" for name in columns if name not in kept]
    return lost


@cache
def _revisions() -> list[str]:
    """The versions of the control tables, oldest first."""
    from alembic.config import Config  # here, as it takes long to import
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    return [script.revision for script in scripts.walk_revisions()][::-1]
