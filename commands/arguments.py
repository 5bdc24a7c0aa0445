"""Check the arguments of a request against the command's declaration."""

from collections.abc import Mapping
from typing import Any

from commands.errors import CommandError
from db.declare.commands import CommandSpec

NAME_SHOWN = 60


class BadArguments(CommandError):
    """The arguments of a request are not what the command takes."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def check_arguments(spec: CommandSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in canonical Python form; raises BadArguments with every reason."""
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
            checked[name] = field.check_given(given[name])
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise BadArguments(problems)
    return checked
