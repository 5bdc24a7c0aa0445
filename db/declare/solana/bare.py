"""Events and instructions of programs that have an IDL and no code of ours.

Every event and every instruction of the IDL becomes a declared event whose domain is
the program's name in the settings: facts of an event are in `<program>_<event>`, those
of an instruction in `<program>_<instruction>_instruction`, with its arguments and the
accounts that it names. `program` is the address that wrote it. Names that SQL or
Chainfold reserves get a `_` behind them.
"""

import hashlib
from typing import Any

from db.declare.events import Event, EventMeta
from db.declare.fields import Field, Pubkey
from db.declare.names import snake_case
from db.declare.naming import clean_name, column_name, emitter_domain, free_name
from db.declare.solana.program import ACCOUNT, Layout, Program, parts_of
from db.declare.solana.types import field_for_idl
from idl import Idl
from idl.model import InstructionLayout

TABLE_LENGTH_MAX = 43


def declare_program(name: str, idl: Idl) -> list[type[Event]]:
    """Declare every event and instruction of an IDL under a name in the settings."""
    program = Program(name, idl)
    layouts: list[Layout] = [*idl.events, *idl.instructions]
    return [_declare(program, layout) for layout in layouts]


def _declare(program: Program, layout: Layout) -> type[Event]:
    is_call = isinstance(layout, InstructionLayout)
    domain = emitter_domain(program.name)
    name = "".join(part[:1].upper() + part[1:] for part in layout.name.split("_"))
    name = clean_name(name) + ("Instruction" if is_call else "")
    if len(domain) + len(snake_case(name)) > TABLE_LENGTH_MAX:
        digest = hashlib.sha256(layout.name.encode()).hexdigest()[:8]
        # Each letter may be a word, and get an underscore in front of it.
        name = f"{name[: max(1, (35 - len(domain)) // 2)].rstrip('_')}_{digest}"
    kind = "Instruction" if is_call else "Event"
    body = {
        "source": program,
        "name": layout.name,
        "__doc__": f"{kind} {layout.name} of {program.name}.",
        "__domain__": domain,
        "__module__": __name__,
        **_fields(layout),
    }
    declared: Any = EventMeta(name, (Event,), body)
    return declared  # type: ignore[no-any-return]


def _fields(layout: Layout) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for param, part in parts_of(layout).items():
        column = column_name(param.removeprefix(ACCOUNT))
        if column in fields:
            column = f"{column}_account"
        fields[free_name(column, fields)] = field_for_idl(part, param=param)
    fields[free_name("program", fields)] = Pubkey(emitter=True)
    return fields
