"""State that all verbs share: settings, declarations, and the database.

Only `migrate` changes a database that is there already; with `--migrate` the verbs that
follow chains do it first. A verb that writes makes the tables in an empty database, for
nothing can be lost there. One that only reads does so wherever it may: on a replica, as
a role that may do nothing else.
"""

import getpass
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import click
from sqlalchemy import Engine

from db.engine import Unavailable, may_write
from db.errors import UnfitDatabase
from db.fit import Fit, examine
from db.journal.append import Actor
from db.registry import Registry
from db.schema import migrate
from ops.embedded.postgres import has_data
from ops.errors import OperationError
from ops.indexing import declared
from ops.services import engine, nothing_here, read_only_engine
from ops.settings import ChainSettings, Settings, load_settings

T = TypeVar("T")

RESTART_SECONDS = 10.0


def at_terminal(tenant: str = "cli") -> Actor:
    """Whoever types, as the journal keeps it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = str(os.getuid())
    return Actor(f"cli:{name}", tenant=tenant)


@dataclass
class CliState:
    """The settings of this run, read when first needed."""

    config: Path | None

    @cached_property
    def settings(self) -> Settings:
        """The settings; raises SettingsError with everything that is wrong."""
        settings = load_settings(self.config)
        for note in settings.notes:
            click.echo(f"note: {note}", err=True)
        return settings

    @cached_property
    def registry(self) -> Registry:
        """Everything declared, in code and in the settings."""
        return declared(self.settings)

    @contextmanager
    def database(self, *, migrate_first: bool = False) -> Iterator[Engine]:
        """An engine to write with, on a database that is as this version needs it.

        Raises UnfitDatabase when it is not, unless told to migrate it first.
        """
        self._know_what_is_meant()
        with engine(self.settings) as opened:
            fit = self._patiently(lambda: self._examine(opened))
            if migrate_first or fit.empty:
                self._patiently(lambda: migrate(opened, self.registry))
            elif fit.message:
                raise UnfitDatabase(fit.message)
            with opened.connect() as connection:
                if not may_write(connection):
                    raise OperationError(
                        "the database may only be read here: it is a replica, or its "
                        "user may not write. Give the primary's URL, with the user "
                        "that owns the database, as [database] url"
                    )
            yield opened

    @contextmanager
    def reading(self, *, whole: bool = True) -> Iterator[Engine]:
        """An engine that cannot write, on a database that this version can read.

        Raises UnfitDatabase when it cannot be read, and with `whole` also when it was
        built from other declarations.
        """
        with read_only_engine(self.settings) as opened:
            fit = self._patiently(lambda: self._examine(opened))
            wrong = fit.message if whole else fit.unusable
            if wrong:
                raise UnfitDatabase(wrong)
            yield opened

    @contextmanager
    def serving(self) -> Iterator[tuple[Engine, bool]]:
        """The engine of what the API serves from, and whether it may write there.

        Raises UnfitDatabase when it cannot be read; what differs otherwise is told, and
        keeps `/health/ready` at 503 until somebody has migrated.
        """
        settings = self.settings
        ours = settings.database.embedded and has_data(settings.data_dir)
        opening = engine if settings.database.url or ours else read_only_engine
        with opening(settings) as opened:
            fit = self._patiently(lambda: self._examine(opened))
            if fit.unusable:
                raise UnfitDatabase(fit.unusable)
            if fit.message:
                click.echo(f"chainfold: {fit.message}", err=True)
            with opened.connect() as connection:
                writable = may_write(connection)
            yield opened, writable

    @contextmanager
    def any_database(self) -> Iterator[Engine]:
        """An engine to write with, whatever the database is like: for `migrate`."""
        self._know_what_is_meant()
        with engine(self.settings) as opened:
            yield opened

    def _know_what_is_meant(self) -> None:
        """Raise OperationError where there are neither settings nor data.

        Making a database in whatever folder somebody happens to be in helps nobody.
        """
        message = self.settings.path is not None or self.settings.chains
        data = has_data(self.settings.data_dir)
        if self.settings.database.embedded and not message and not data:
            raise OperationError(nothing_here(self.settings))

    def _examine(self, engine: Engine) -> Fit:
        with engine.connect() as connection:
            return examine(connection, self.registry)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask the database something, again while the embedded server starts anew.

        It may have been joined just before its owner ended; it is started again then,
        and a moment later all is well.
        """
        patience = RESTART_SECONDS if self.settings.database.embedded else 0
        deadline = time.monotonic() + patience
        while True:
            try:
                return ask()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.25)

    def chains(self, names: tuple[str, ...]) -> list[ChainSettings]:
        """The chains named, or all; raises OperationError when there is none."""
        known = self.settings.chains
        if not known:
            raise OperationError(
                "no chain is configured. Write [chains.<name>] in chainfold.toml, or "
                "try `chainfold demo`, which brings its own."
            )
        for name in names:
            if name not in known:
                raise OperationError(
                    f"no chain {name!r} in the settings; there is {', '.join(known)}."
                )
        return [known[name] for name in names or known]


pass_state = click.make_pass_decorator(CliState)
MIGRATE_FIRST = click.option(
    "--migrate",
    "migrate_first",
    is_flag=True,
    help="Bring tables and views up to date first, as `chainfold migrate` does.",
)
