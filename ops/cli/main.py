"""The root command: reads the settings once, and turns errors into messages."""

import ast
import difflib
import importlib.util
import logging
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import click


class Commands(click.Group):
    """Loads a verb's module only when it is asked for, and reports known errors."""

    modules: ClassVar[dict[str, str]] = {
        "account": "ops.cli.accounts",
        "backfill": "ops.cli.follow",
        "books": "ops.cli.books",
        "command": "ops.cli.commanding",
        "demo": "ops.cli.demo",
        "describe": "ops.cli.describe",
        "devnet": "ops.cli.devnet",
        "doctor": "ops.cli.doctor",
        "incident": "ops.cli.incidents",
        "index": "ops.cli.follow",
        "journal": "ops.cli.journal",
        "migrate": "ops.cli.tables",
        "new": "ops.cli.new",
        "notice": "ops.cli.notices",
        "program": "ops.cli.program",
        "repair": "ops.cli.tables",
        "rewind": "ops.cli.tables",
        "run": "ops.cli.serve",
        "schedule": "ops.cli.schedules",
        "serve": "ops.cli.serve",
        "settlement": "ops.cli.settlement",
        "sign": "ops.cli.signing",
        "status": "ops.cli.status",
        "stripe": "ops.cli.payments",
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
        """Find the verb; the error for an unknown one names the nearest."""
        near = difflib.get_close_matches(args[0], self.modules, 1)
        if args[0] not in self.modules and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the verbs with their whole summaries."""
        rows = [(name, _summary(self.modules[name], name)) for name in self.modules]
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; an error with a remedy is a message, not a traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            from ops.cli.problems import message_of

            found = message_of(error)
            if found is None:
                raise
            logging.getLogger(__name__).debug("command_failed", exc_info=True)
            message, code = found
            click.echo(f"chainfold: {message}", err=True)
            sys.exit(code)


def _end(number: int, _: object) -> NoReturn:
    """End as after an error: whatever was started is stopped, and locks are left.

    Verbs that go on until a signal put their own handler in the place of this one.
    """
    raise SystemExit(128 + number)


def _summary(module: str, verb: str) -> str:
    """Return the summary of a verb, read from its source: imports take seconds."""
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    for node in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == verb:
            paragraph = (ast.get_docstring(node) or "").split("\n\n", 1)[0]
            return " ".join(paragraph.split()).split(". ", 1)[0].rstrip(".") + "."
    return ""


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
    signal.signal(signal.SIGTERM, _end)
    # Here, as what they import takes seconds and `--help` needs none of it.
    from ops.cli.context import CliState
    from ops.logs import configure_logging

    configure_logging(
        "json" if log_format == "json" else "text", level=log_level.upper()
    )
    for noisy in ("alembic", "granian", "aiohttp", "stripe"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    context.obj = CliState(config)
