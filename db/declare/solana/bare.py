"""Events and instructions of programs that have an IDL and no code of ours.

Every event and every instruction of the IDL becomes a declared event whose domain is
the program's name in the settings: facts of an event are in `<program>_<event>`, those
of an instruction in `<program>_<instruction>_instruction`, with its arguments and the
accounts that it names. `program` is the address that wrote it. Names that SQL or
Chainfold reserves get a `_` behind them. Where a program has several IDLs, by slot, the
first form of an event has its plain name, and each other one `_v` and the version's
number behind it: tables that are there stay when a version is added.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from db.declare.events import Event, EventMeta
from db.declare.fields import Field, Pubkey
from db.declare.names import snake_case
from db.declare.naming import clean_name, column_name, emitter_domain, free_name
from db.declare.solana.program import ACCOUNT, Layout, Program, parts_of
from db.declare.solana.types import field_for_idl
from idl import Idl
from idl.model import IdlVersion, InstructionLayout

TABLE_LENGTH_MAX = 43


def declare_program(name: str, idl: Idl | Sequence[IdlVersion]) -> list[type[Event]]:
    """Declare every event and instruction of an IDL under a name in the settings.

    Of several versions an event that is otherwise than in those before is one more.
    """
    program = Program(name, idl)
    declared: list[type[Event]] = []
    names: set[str] = set()
    for number, version in enumerate(program.versions):
        layouts: list[Layout] = [*version.idl.events, *version.idl.instructions]
        for layout in layouts:
            if program.known_in(layout)[0] < number:
                continue
            spoken = layout.name
            if len(program.versions) > 1:
                spoken = f"{layout.name}@{number + 1}"
            kind = _kind(layout)
            later = f"V{number + 1}" if kind + layout.name in names else ""
            names.add(kind + layout.name)
            declared.append(_declare(program, layout, spoken, later))
    return declared


def _kind(layout: Layout) -> str:
    return "Instruction" if isinstance(layout, InstructionLayout) else "Event"


def _declare(program: Program, layout: Layout, spoken: str, later: str) -> type[Event]:
    """Declare a layout, found as `spoken`; `later` is behind the name of another."""
    kind = _kind(layout)
    domain = emitter_domain(program.name)
    name = "".join(part[:1].upper() + part[1:] for part in layout.name.split("_"))
    name = clean_name(name) + ("Instruction" if kind == "Instruction" else "") + later
    if len(domain) + len(snake_case(name)) > TABLE_LENGTH_MAX:
        digest = hashlib.sha256((layout.name + later).encode()).hexdigest()[:8]
        # Each letter may be a word, and get an underscore in front of it.
        name = f"{name[: max(1, (35 - len(domain)) // 2)].rstrip('_')}_{digest}"
    body = {
        "source": program,
        "name": spoken,
        "__doc__": f"{kind} {layout.name} of {program.name}{_when(program, layout)}.",
        "__domain__": domain,
        "__module__": __name__,
        **_fields(layout),
    }
    declared: Any = EventMeta(name, (Event,), body)
    return declared  # type: ignore[no-any-return]


def _when(program: Program, layout: Layout) -> str:
    """The slots in which it is so, in words; empty where these are all."""
    spans = [
        f"from slot {first}" + ("" if end is None else f" to {end - 1}")
        for first, end in program.heights(layout)
    ]
    return f", {' and '.join(spans)}" if spans else ""


def _fields(layout: Layout) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for param, part in parts_of(layout).items():
        column = column_name(param.removeprefix(ACCOUNT))
        if column in fields:
            column = f"{column}_account"
        fields[free_name(column, fields)] = field_for_idl(part, param=param)
    fields[free_name("program", fields)] = Pubkey(emitter=True)
    return fields
