"""Check the arguments of a request against the command's declaration."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from commands.errors import CommandError
from db.declare import Field
from db.declare.commands import Command, CommandSpec

NAME_SHOWN = 60


class BadArguments(CommandError):
    """The arguments of a request are not what the command takes."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def check_arguments(spec: CommandSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in canonical Python form; raises BadArguments with every reason."""
    return _checked(spec, given, Field.check_given)


def read_arguments(
    spec: CommandSpec, given: Mapping[str, Any], stored: Collection[str] = ()
) -> dict[str, Any]:
    """The same of what people wrote, in the forms of the fields' meanings.

    `stored` are the arguments that are as they are stored already.
    """

    def read(field: Field, value: Any) -> Any:
        written = field.name not in stored
        return field.read(value) if written else field.check_given(value)

    return _checked(spec, given, read)


def shown_arguments(
    commands: Mapping[str, type[Command]], kind: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Stored arguments in the forms in which people see them.

    Those of a command that is declared no more, or otherwise, stay as they are.
    """
    fields = commands[kind].spec.fields if kind in commands else {}
    found = dict(arguments)
    for name in fields.keys() & found.keys():
        try:
            found[name] = fields[name].shown(fields[name].check(found[name]))
        except ValueError:
            continue
    return found


def _checked(
    spec: CommandSpec, given: Mapping[str, Any], check: Callable[[Field, Any], Any]
) -> dict[str, Any]:
    problems = [
        f"{name[:NAME_SHOWN]}: no such argument; there is {', '.join(spec.fields)}"
        for name in given
        if name not in spec.fields
    ]
    checked: dict[str, Any] = {}
    for name, field in spec.fields.items():
        if name not in given:
            problems.append(f"{name}: it is required")
            continue
        try:
            checked[name] = check(field, given[name])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise BadArguments(problems)
    return checked
