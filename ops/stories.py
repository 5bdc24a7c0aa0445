"""Stories: tests of a domain, from events to rows.

    import lending
    from lending import events as e
    from lending.projections import Loan
    from ops.stories import Story

    def test_a_loan_is_paid_back():
        with Story(lending) as story:
            story.emit(e.Lent, loan=1, amount=5)
            story.mine()
            story.emit(e.PaidBack, loan=1, amount=3)

            tables = story.tables()

            assert 2 == tables.row(Loan, loan=1).owed

Fields that a story does not name have the zero of their type. `tables` are the
`db.declare.Tables` that rules are given, so a story asks rules too:
`list(rule(Command(…), story.tables()))`; `say` appends an entry to the journal. The
first story of a process starts a Postgres of its own, which ends with the process; each
story has a new database there. Whenever tables are read, every row is compared with all
facts, as `chainfold verify` does.
"""

import atexit
import hashlib
import importlib
import itertools
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import psycopg2
from psycopg2 import sql
from sqlalchemy import make_url

from db import sources
from db.blocks import Header
from db.coverage import Stream
from db.declare import Asker, DeclarationError, Entry, Event, FieldKind
from db.discovery import SYSTEM, read_domain
from db.engine import connect
from db.facts import Fact, columns_from_facts
from db.journal.append import Actor, append
from db.position import BlockRange, position
from db.reads.tables import NOBODY, ReadTables
from db.registry import Registry
from db.schema import migrate
from db.sql.verify import differences
from indexer.source import Batch
from indexer.writer import write_batch
from ops.embedded.postgres import EmbeddedPostgres
from ops.embedded.supervisor import EmbeddedError

GENESIS = 1_700_000_000  # the time of block 0; a block comes every two seconds


@dataclass
class StoryChain:
    """A chain of blocks with given events; `mine` begins the next."""

    facts: list[Fact] = field(default_factory=list)
    times: list[int] = field(default_factory=lambda: [GENESIS])
    written: int = -1  # the last block that was indexed

    @property
    def height(self) -> int:
        """The height of the block that `emit` fills."""
        return len(self.times) - 1

    @property
    def now(self) -> int:
        """The time of that block."""
        return self.times[-1]

    def mine(self, time: int | None = None) -> int:
        """Begin the next block, at a time or two seconds later; returns its time."""
        if time is not None and time <= self.now:
            raise ValueError(f"a block at {time} is not later than {self.now}")
        self.times.append(time or self.now + 2)
        return self.now

    def emit(self, event: type[Event], **values: Any) -> Fact:
        """Say something in this block."""
        if self.height <= self.written:
            raise ValueError("the block is indexed: mine() the next")
        unknown = set(values) - set(event.spec.fields)
        if unknown:
            raise DeclarationError(
                event.spec.name,
                f"it has no {', '.join(sorted(unknown))}",
                f"use {', '.join(event.spec.fields)}",
            )
        ordinal = sum(fact.position >> 32 == self.height for fact in self.facts)
        fact = Fact(
            event,
            position(self.height, ordinal),
            self.now,
            hashlib.sha256(f"{self.height}/{ordinal}".encode()).digest(),
            {
                name: declared.check(values.get(name, zero(declared)))
                for name, declared in event.spec.fields.items()
            },
        )
        self.facts.append(fact)
        return fact

    def batch(self, blocks: BlockRange) -> Batch:
        """The batch that a source would read for a range."""
        facts = [f for f in self.facts if blocks.first <= f.position >> 32]
        facts = [f for f in facts if f.position >> 32 <= blocks.last]
        headers = [self.header(h) for h in range(blocks.first, blocks.last + 1)]
        return Batch(blocks, headers, columns_from_facts(facts))

    def header(self, height: int) -> Header:
        """The header of a block."""
        return Header(height, _hash(height), _hash(height - 1), self.times[height])


class Story(StoryChain):
    """A chain, and the tables of a domain over it; use it as a context manager."""

    def __init__(self, *domains: ModuleType) -> None:
        """The domains' modules, which are read as `chainfold` reads them."""
        super().__init__()
        system = [read_domain(importlib.import_module(name)) for name in SYSTEM]
        found = [*system, *map(read_domain, domains)]
        self.registry = Registry.of_domains(found)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._engine = connect(_new_database(), pool_size=2)
        self._open.callback(self._engine.dispose)
        migrate(self._engine, self.registry)
        with self._engine.begin() as connection:
            self._source = sources.register(
                connection, name="story", chain_id="eip155:1", ordinals="rank"
            ).id
        self._streams = [Stream(event, "story", 0) for event in self.registry.events]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def say(self, entry: Entry, by: str = "story") -> None:
        """Append an entry to the journal, at the time of this block."""
        with self._engine.begin() as connection:
            append(
                connection, self.registry, entry, actor=Actor(by),
                now=datetime.fromtimestamp(self.now, UTC),
            )  # fmt: skip

    def tables(self, asker: Asker = NOBODY) -> ReadTables:
        """Index what was emitted since, check every row, and open the tables."""
        if self.written < self.height:
            blocks = BlockRange(self.written + 1, self.height)
            batch = self.batch(blocks)
            write_batch(self._engine, self.registry, self._source, batch, self._streams)
            self.written = self.height
        connection = self._open.enter_context(self._engine.connect())
        for projection in self.registry.projections.values():
            for each in differences(connection, projection.spec):
                raise AssertionError(f"a row is not what its facts add up to: {each}")
        return ReadTables(
            connection, self._source, time=self.now, plan=self._streams, asker=asker,
            settings=self.registry.settings,
        )  # fmt: skip


def zero(declared: Any) -> Any:
    """The zero of a field's type."""
    zeros: dict[FieldKind, Any] = {
        FieldKind.BYTES: bytes(declared.size or 0),
        FieldKind.NUMERIC: 0,
        FieldKind.BIGINT: 0,
        FieldKind.BOOLEAN: False,
        FieldKind.TEXT: "",
        FieldKind.JSON: [],
    }
    return zeros[declared.kind]


def _hash(height: int) -> bytes:
    return hashlib.sha256(str(height).encode()).digest() if height >= 0 else bytes(32)


@cache
def _server() -> str:
    """Start the Postgres of this process's stories; its URL."""
    folder = Path(tempfile.mkdtemp(prefix="chainfold-story-"))
    folder.chmod(0o711)  # as root, a server may have to run as nobody
    server = EmbeddedPostgres(folder, settings={"fsync": "off"})
    try:
        url = server.start()
    except EmbeddedError:
        shutil.rmtree(folder, ignore_errors=True)
        raise

    def end() -> None:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return url


_numbers = itertools.count(1)


def _new_database() -> str:
    """Make an empty database; its URL."""
    url = make_url(_server())
    name = f"story_{next(_numbers)}"
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(plain)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    finally:
        connection.close()
    return url.set(database=name).render_as_string(hide_password=False)
