"""Migrate the database to the declarations, and refuse one that does not fit.

Control tables are Alembic's. Declared tables follow from the declarations: each has a
fingerprint in `control.declaration`. A new one is created; a projection whose
fingerprint changed is rebuilt from facts in a table beside the old one, and the views
are moved to it in the same transaction: no RPC call, no failed read. An event that
changed needs the chain to be read again, which is done only when asked for; facts of
entries are remade from the journal.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import (
    Connection,
    Engine,
    delete,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError

from db.control import declaration
from db.declare import Event
from db.declare.projections import ProjectionSpec
from db.engine import ask_or_end, lock_declarations, lock_projection, sqlstate
from db.errors import ChangedEvent, StaleDeclarations, TooManyTables, WouldDrop
from db.fit import Built, built, losses, undeclared, wanted
from db.functions import load_functions
from db.incidents import release_stop
from db.journal.entries import refill_facts
from db.journal.head import begin_journal, declare_journal, lock_head
from db.refetch import build_beside, swap
from db.registry import Registry, event_fingerprint
from db.sql.columns import (
    FACTS,
    STATE,
    fact_table,
    member_folds,
    member_table,
    state_name,
    state_table,
)
from db.sql.ddl import created, key_indexes, run_all
from db.sql.repair import refill
from db.views import drop_view, replace_views

INDEXING_LOCK = 7362002
INDEXING_PATIENCE_SECONDS = 30
_OUT_OF_MEMORY = "53200"  # of the memory that is shared, where locks are kept


@dataclass(slots=True)
class Report:
    """The changes that `migrate` made, by names."""

    created: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def migrate(
    engine: Engine,
    registry: Registry,
    *,
    refetch: Collection[str] = (),
    drop: bool = False,
) -> Report:
    """Bring control tables, declared tables and views up to date; safe to repeat.

    `refetch` names events whose facts may be dropped, to be read from the chain again;
    raises ChangedEvent when an event needs it and is not named. Tables and columns of
    rows are dropped with `drop` alone; raises WouldDrop, and changes no declared table,
    when some are no longer declared.
    """
    report = Report()
    try:
        _migrate(engine, registry, refetch, drop, report)
    except OperationalError as error:
        if sqlstate(error) == _OUT_OF_MEMORY:
            raise TooManyTables(len(registry.events)) from None
        raise
    return report


def _migrate(
    engine: Engine,
    registry: Registry,
    refetch: Collection[str],
    drop: bool,
    report: Report,
) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(7362001)"))
        if connection.scalar(text("SELECT to_regclass('control.declaration')")):
            _refuse_losses(connection, registry, built(connection), drop)
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS control"))
        upgrade_control(connection, registry)
        load_functions(connection)
    with engine.begin() as connection:
        lock_declarations(connection, alone=True)
        if registry.entries:
            # Nothing is appended until the tables are those of these declarations.
            begin_journal(connection)
            declare_journal(connection, registry.journal_print)
        known = built(connection)
        _refuse_losses(connection, registry, known, drop)
        changed = _ensure_events(connection, registry, known, refetch, report)
        retired: list[str] = []
        with build_beside(connection, registry, changed):
            for projection in registry.projections.values():
                spec = projection.spec
                retired += _ensure_projection(connection, spec, known, report)
        # Last, because whoever reads a view or changed facts waits from here to the
        # commit.
        swap(connection, changed)
        _drop_undeclared(connection, registry, known, report)
        replace_views(connection, registry)
        _drop_tables(connection, retired)
        release_stop(connection)  # of chains that had stopped for want of this


def _refuse_losses(
    connection: Connection, registry: Registry, known: Built, drop: bool
) -> None:
    if not drop and (lost := losses(connection, registry, known)):
        raise WouldDrop(lost)


def check_declarations(connection: Connection, registry: Registry) -> None:
    """Until commit: hold the declarations as they are; raise if they are not ours.

    A projection that another version added would be left behind by what we write, so it
    is refused too. An event that we do not know is not: its facts stay as they are.
    """
    lock_declarations(connection, alone=False)
    _compare(connection, registry, [row[:3] for row in wanted(registry)])


@contextmanager
def unchanged(engine: Engine, registry: Registry) -> Iterator[Connection]:
    """A snapshot for the length of the block, with the declarations held as they are.

    They are held by another transaction: a snapshot that had waited for `migrate`
    would find its tables, and none of their rows.
    """
    with (
        engine.connect() as held,
        engine.connect().execution_options(
            isolation_level="REPEATABLE READ"
        ) as connection,
    ):
        check_declarations(held, registry)
        yield connection


def check_journal(connection: Connection, registry: Registry, event: str) -> None:
    """As `check_declarations`, of what an entry is folded to; the head must be held.

    `migrate` waits for the head too, so that nothing changes until commit.
    """
    folded = {n for n, p in registry.projections.items() if p.spec.in_journal}
    rows = [row[:3] for row in wanted(registry) if row[1] in {event, *folded}]
    _compare(connection, registry, rows)


def _compare(
    connection: Connection, registry: Registry, rows: list[tuple[str, str, str]]
) -> None:
    known = built(connection)
    wrong = [
        name
        for kind, name, print_ in rows
        if known.get((kind, name), ("", ""))[0] != print_
    ]
    wrong += undeclared(registry, known)
    if wrong:
        raise StaleDeclarations(wrong)


def rebuild(engine: Engine, registry: Registry, plural: str) -> int:
    """Recompute a projection from all its facts; returns its rows.

    Readers see the old rows until the commit; writers of this projection wait.
    """
    spec = registry.projections[plural].spec
    table = state_table(spec)
    with engine.begin() as connection:
        check_declarations(connection, registry)
        if spec.in_journal:
            lock_head(connection)
        lock_projection(connection, plural, alone=True)
        connection.execute(delete(table))
        for fold in member_folds(spec):
            connection.execute(delete(member_table(spec, fold)))
        refill(connection, spec, None)
        rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return int(rows)


def ensure_key_indexes(
    engine: Engine,
    registry: Registry,
    *,
    begin: Callable[[int], bool] = lambda pid: True,
) -> list[str]:
    """Index facts by the keys of the projections that read them; returns new names.

    Made concurrently, so that writing goes on; an index left invalid by a crash is
    made again. Only one process does it at a time, others leave it to that one.
    `begin` is given the number of the database process before each index, so that it
    can be ended, and says whether to go on. Raises OperationalError when somebody's
    old transaction is in the way for long.
    """
    specs = [projection.spec for projection in registry.projections.values()]
    made = []
    with (
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        _indexing_alone(connection) as alone,
    ):
        for index in key_indexes(specs) if alone else ():
            valid = connection.execute(
                text(
                    "SELECT i.indisvalid FROM pg_index i"
                    " WHERE i.indexrelid = to_regclass(:name)"
                ),
                {"name": f'{FACTS}."{index.name}"'},
            ).scalar()
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            if valid or not begin(pid):
                continue
            assert index.table is not None
            index.dialect_options["postgresql"]["concurrently"] = True
            if valid is False:
                index.drop(connection)
            index.create(connection)
            made.append(str(index.name))
    return made


@contextmanager
def _indexing_alone(connection: Connection) -> Iterator[bool]:
    """Whether no other process makes indexes; waits for old transactions end in time.

    It must not be waited for: who waits is an old transaction to the other.
    """
    lock = {"key": INDEXING_LOCK}
    alone = ask_or_end(connection, text("SELECT pg_try_advisory_lock(:key)"), lock)
    patience = f"SET lock_timeout = '{INDEXING_PATIENCE_SECONDS}s'"
    ask_or_end(connection, text(patience))
    try:
        yield bool(alone)
    finally:
        if not connection.invalidated:
            ask_or_end(connection, text("RESET lock_timeout"))
            if alone:
                ask_or_end(connection, text("SELECT pg_advisory_unlock(:key)"), lock)


def cancel_statement(engine: Engine, pid: int) -> None:
    """End what a database process is doing."""
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": pid})


def upgrade_control(
    connection: Connection, registry: Registry, to: str = "head"
) -> None:
    """Bring the control tables to a version of theirs."""
    # Here, as what only writes has no need of it, and it takes long to import.
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    config.attributes["makers"] = registry.makers
    command.upgrade(config, to)


def _record(
    connection: Connection, kind: str, rows: Sequence[tuple[str, str, str]]
) -> None:
    """Keep from which declarations tables were built: name, fingerprint, relation."""
    if not rows:
        return
    statement = insert(declaration).values(built_at=func.now())
    names = ("fingerprint", "relation", "built_at")
    updates = {name: statement.excluded[name] for name in names}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["kind", "name"], set_=updates),
        [
            {"kind": kind, "name": name, "fingerprint": print_, "relation": relation}
            for name, print_, relation in rows
        ],
    )


def _ensure_events(
    connection: Connection,
    registry: Registry,
    known: Built,
    refetch: Collection[str],
    report: Report,
) -> list[type[Event]]:
    """Make the tables of new events; the events whose tables are to be made anew."""
    changed: list[type[Event]] = []
    new: list[type[Event]] = []
    unnamed: list[str] = []
    for event in registry.events.values():
        spec = event.spec
        old = known.get(("event", spec.id))
        if old is None:
            new.append(event)
            report.created.append(spec.id)
        elif old[0] != event_fingerprint(event):
            named = spec.id in refetch or spec.name in refetch
            if not named and not spec.in_journal:
                unnamed.append(spec.id)
            changed.append(event)
            report.emptied.append(spec.id)
    if unnamed:
        raise ChangedEvent(unnamed)
    run_all(connection, [each for e in new for each in created(fact_table(e))])
    for event in new:
        if event.spec.in_journal:
            refill_facts(connection, event, fact_table(event))
    _record(
        connection,
        "event",
        [(e.spec.id, event_fingerprint(e), e.spec.table) for e in new + changed],
    )
    return changed


def _ensure_projection(
    connection: Connection,
    spec: ProjectionSpec,
    known: Built,
    report: Report,
) -> Sequence[str]:
    """Build a projection's tables if they are not; those that they take over from."""
    old = known.get(("projection", spec.plural))
    if old is not None and old[0] == spec.fingerprint():
        return []
    for name in _tables_of(connection, state_name(spec)):
        connection.execute(text(f'DROP TABLE {STATE}."{name}" CASCADE'))
    state_table(spec).create(connection)
    for fold in member_folds(spec):
        member_table(spec, fold).create(connection)
    refill(connection, spec, None)
    row = spec.plural, spec.fingerprint(), state_name(spec)
    _record(connection, "projection", [row])
    (report.created if old is None else report.rebuilt).append(spec.plural)
    if old is None or old[1] == state_name(spec):
        return []
    return _tables_of(connection, old[1])


def _drop_tables(connection: Connection, names: Sequence[str]) -> None:
    for name in names:
        connection.execute(text(f'DROP TABLE {STATE}."{name}"'))


def _drop_undeclared(
    connection: Connection,
    registry: Registry,
    known: Built,
    report: Report,
) -> None:
    """Drop projections that are no longer declared; facts are kept."""
    for name in undeclared(registry, known):
        relation = known["projection", name][1]
        drop_view(connection, "public", name)
        drop_view(connection, STATE, name)
        _drop_tables(connection, _tables_of(connection, relation))
        connection.execute(
            delete(declaration).where(
                declaration.c.kind == "projection", declaration.c.name == name
            )
        )
        report.dropped.append(name)


def _tables_of(connection: Connection, relation: str) -> Sequence[str]:
    """A state table and its tables of values, those that exist."""
    rows = connection.execute(
        text(
            "SELECT tablename FROM pg_tables WHERE schemaname = :schema"
            " AND (tablename = :name OR starts_with(tablename, :name || '__'))"
        ),
        {"schema": STATE, "name": relation},
    )
    return list(rows.scalars())
