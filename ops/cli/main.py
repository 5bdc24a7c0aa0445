"""The root command: reads the settings once, and turns errors into messages."""

import difflib
import errno
import logging
import sys
from pathlib import Path
from typing import Any, ClassVar

import click
from psycopg2.errors import (
    DependentObjectsStillExist,
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
)
from sqlalchemy.exc import DBAPIError

from commands.errors import CommandError
from db.declare import DeclarationError
from db.diagnosis import of_database
from db.engine import Unavailable
from db.errors import DatabaseError
from indexer.errors import IndexerError
from ops.cli.context import State
from ops.embedded.supervisor import EmbeddedError
from ops.errors import OperationError
from ops.logs import configure_logging
from ops.settings import SettingsError

NO_FOLDER = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR)
KNOWN = (
    CommandError,
    DatabaseError,
    DeclarationError,
    EmbeddedError,
    IndexerError,
    OperationError,
    SettingsError,
)


class Commands(click.Group):
    """Loads a verb's module only when it is asked for, and reports known errors."""

    modules: ClassVar[dict[str, str]] = {
        "account": "ops.cli.accounts",
        "backfill": "ops.cli.follow",
        "command": "ops.cli.commanding",
        "demo": "ops.cli.demo",
        "describe": "ops.cli.describe",
        "devnet": "ops.cli.devnet",
        "doctor": "ops.cli.doctor",
        "incident": "ops.cli.incidents",
        "index": "ops.cli.follow",
        "journal": "ops.cli.journal",
        "migrate": "ops.cli.tables",
        "repair": "ops.cli.tables",
        "rewind": "ops.cli.tables",
        "run": "ops.cli.serve",
        "serve": "ops.cli.serve",
        "sign": "ops.cli.signing",
        "status": "ops.cli.status",
        "verify": "ops.cli.tables",
        "work": "ops.cli.commanding",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in order of name."""
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a verb's module and return its command."""
        if name not in self.modules:
            return None
        module = __import__(self.modules[name], fromlist=[name])
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; one that is not there is told with the nearest that is."""
        near = difflib.get_close_matches(args[0], self.modules, 1)
        if args[0] not in self.modules and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the verbs with their whole summaries: what is cut says nothing."""
        verbs = (
            (name, self.get_command(ctx, name)) for name in self.list_commands(ctx)
        )
        rows = [(name, verb.get_short_help_str(200)) for name, verb in verbs if verb]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; an error with a remedy is a message, not a traceback."""
        try:
            return super().invoke(ctx)
        except KNOWN as error:
            logging.getLogger(__name__).debug("command_failed", exc_info=True)
            click.echo(f"chainfold: {error}", err=True)
            sys.exit(error.exit_code if isinstance(error, OperationError) else 2)
        except OSError as error:
            if error.errno not in NO_FOLDER or error.filename is None:
                raise
            click.echo(
                f"chainfold: {error.filename} cannot be made or written to: "
                f"{error.strerror}. Go to a folder where this user may write, or name "
                "one (--dir, --out, data_dir).",
                err=True,
            )
            sys.exit(2)
        except Unavailable as error:
            gist = str(error).split("\n", 1)[0]
            click.echo(
                f"chainfold: {of_database(error)}: the database cannot be reached: "
                f"{gist}\n"
                "Check [database] url in chainfold.toml (or CHAINFOLD_DATABASE_URL), "
                "or leave it out to use the embedded Postgres.",
                err=True,
            )
            sys.exit(2)
        except DBAPIError as error:
            told = _told(error.orig)
            if told is None:
                raise
            click.echo(f"chainfold: {told}", err=True)
            sys.exit(2)


def _told(error: BaseException | None) -> str | None:
    """Return Postgres's refusal with its remedy; None when an operator has none."""
    lines = str(error).strip().split("\n")
    if isinstance(error, ReadOnlySqlTransaction):
        return (
            f"the database may only be read: {lines[0]}\n"
            "Give the primary's URL, and a user that may write, as [database] url."
        )
    if isinstance(error, InsufficientPrivilege):
        return (
            f"the database's user may not do this: {lines[0]}\n"
            "Let it own the database, for tables and views are its to make: "
            "ALTER DATABASE <name> OWNER TO <user>. One that is only to read needs "
            "GRANT pg_read_all_data TO <user>."
        )
    if isinstance(error, DependentObjectsStillExist):
        dependents = (error.diag.message_detail or "").split("\n")
        return (
            f"{lines[0]} ({'; '.join(dependents)})\n"
            "Nothing was changed. Drop what you have made on Chainfold's views, "
            "migrate, and make it again."
        )
    return None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; by default ./chainfold.toml, or CHAINFOLD_CONFIG.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.version_option(package_name="chainfold")
@click.pass_context
def main(
    context: click.Context, config: Path | None, log_format: str, log_level: str
) -> None:
    """Follow blockchains and fold their events into Postgres tables."""
    configure_logging(
        "json" if log_format == "json" else "text", level=log_level.upper()
    )
    for noisy in ("alembic", "granian", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    context.obj = State(config)
