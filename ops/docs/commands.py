"""The page of the command line: every verb's own help."""

from collections.abc import Iterator

import click

from ops.cli import main
from ops.docs.markdown import block, code, page, table

WIDTH = 80


def commands_page() -> str:
    """Return the page of the command line, from each verb's help."""
    found = list(verbs())
    return page(
        "The command line",
        "Exit codes: 0 done and well; 1 something is not well (differences found, a "
        "chain is stopped); 2 the command could not be done, and the message says why "
        "and what to do.",
        table(
            ["verb", "does"],
            [(code(_verb(c)), c.command.get_short_help_str(200)) for c in found[1:]],
        ),
        *(f"## {context.command_path}\n\n{_help(context)}" for context in found),
    )


def verbs(context: click.Context | None = None) -> Iterator[click.Context]:
    """A context for the command itself and for every verb below it."""
    context = context or _context(main, "chainfold", None)
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from verbs(_context(below, name, context))


def _context(
    command: click.Command, name: str, parent: click.Context | None
) -> click.Context:
    return click.Context(
        command,
        parent,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )


def _verb(context: click.Context) -> str:
    return context.command_path.removeprefix("chainfold ")


def _help(context: click.Context) -> str:
    return block(context.get_help())
