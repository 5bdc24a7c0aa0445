"""What every verb shares: settings, declarations, and a migrated database."""

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
from sqlalchemy import Engine

from db.engine import Unavailable
from db.journal.append import Actor
from db.registry import Registry
from db.schema import migrate
from ops.errors import OperationError
from ops.indexing import declared
from ops.services import engine
from ops.settings import ChainSettings, Settings, load_settings

RESTART_SECONDS = 10.0


def at_terminal(tenant: str = "cli") -> Actor:
    """Whoever types, as the journal keeps it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = str(os.getuid())
    return Actor(f"cli:{name}", tenant=tenant)


@dataclass
class State:
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
    def database(self, *, migrated: bool = True) -> Iterator[Engine]:
        """An engine on the database, brought up to date first unless told not to."""
        with engine(self.settings) as opened:
            if migrated:
                self._migrate(opened)
            yield opened

    def _migrate(self, engine: Engine) -> None:
        """Bring the database up to date.

        The embedded server may have been joined just before its owner ended; it is
        started again then, and a moment later all is well.
        """
        embedded = self.settings.database.url is None
        deadline = time.monotonic() + (RESTART_SECONDS if embedded else 0)
        while True:
            try:
                migrate(engine, self.registry)
                return
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


pass_state = click.make_pass_decorator(State)
