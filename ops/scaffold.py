"""A new domain from an ABI or IDL: a folder that loads, to delete and rename in.

`events.py` has every event of the ABI, or every event and instruction of the IDL,
`commands.py` every function that changes something, `projections.py` one table, and
`test_<name>.py` a story of it. Programs of Solana get no commands.
"""

import difflib
import importlib.util
import json
import keyword
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from db.declare import Contract, Event, Field
from db.declare.commands import WORDS
from db.declare.evm.bare import declare_events, with_names
from db.declare.evm.types import field_for_abi
from db.declare.fields import (
    Address,
    Bytes32,
    Encoding,
    FixedBytes,
    Json,
    Pubkey,
    Uint,
)
from db.declare.names import camel_case
from db.declare.naming import column_name, emitter_domain
from db.declare.solana.bare import declare_program
from db.declare.solana.program import ACCOUNT
from idl import parse_idl
from ops.errors import OperationError
from ops.settings.abi_files import read_abi

# The contract of a domain that is begun without an ABI.
SAMPLE = (
    {
        "type": "function", "name": "deposit", "stateMutability": "nonpayable",
        "inputs": [{"name": "amount", "type": "uint256"}], "outputs": [],
    },
    {
        "type": "event", "name": "Deposited", "anonymous": False,
        "inputs": [
            {"name": "account", "type": "address", "indexed": True},
            {"name": "amount", "type": "uint256", "indexed": False},
        ],
    },
)  # fmt: skip
# Names of a command, which no field of it may have.
_OWN = {*WORDS, "values", "spec", "as_json"}
Abi = Sequence[Mapping[str, Any]]


def write_domain(
    folder: Path, abi_file: Path | None = None, idl_file: Path | None = None
) -> str:
    """Write a domain into a new folder; the name of its contract or program.

    Raises OperationError.
    """
    name = folder.name
    if not name.isidentifier() or name != name.lower() or keyword.iskeyword(name):
        raise OperationError(
            f"{name!r} cannot be a domain's name: use lower case with underscores"
        )
    if importlib.util.find_spec(name) is not None:
        raise OperationError(f"Python knows another module {name}: choose another name")
    if folder.exists():
        raise OperationError(f"{folder} is there already: choose another name")
    if idl_file is not None:
        emitter, events, interface = _of_idl(idl_file)
        commands = f'"""Commands of {name}: what may be asked."""\n'
    else:
        emitter, events, interface, abi = _of_abi(name, abi_file)
        commands = _commands(name, emitter, abi, events)
    files = {
        "__init__.py": f'"""{_capital(name)}: say here what the business is."""\n',
        "events.py": _events(emitter, events),
        "projections.py": _projections(name, events),
        "commands.py": commands,
        f"test_{name}.py": _story(name, events),
        # The plugin of a library of ours, which needs what is not installed.
        "pytest.ini": "[pytest]\naddopts = -p no:pytest_anchorpy\n",
        f"{'abis' if idl_file is None else 'idl'}/{emitter}.json": interface,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return emitter


def _of_abi(name: str, file: Path | None) -> tuple[str, list[type[Event]], str, Abi]:
    """The contract's name, its events, and its ABI as text and as it is."""
    contract = _capital(name) if file is None else file.stem
    try:
        abi = SAMPLE if file is None else read_abi(file)
        events = declare_events(contract, abi)
    except ValueError as error:
        raise OperationError(str(error)) from None
    if not events:
        raise OperationError(
            f"{file} has no event that can be indexed: take the ABI of a contract "
            "that emits some"
        )
    return contract, events, json.dumps(list(abi), indent=1) + "\n", abi


def _of_idl(file: Path) -> tuple[str, list[type[Event]], str]:
    """The program's name, its events and instructions, and its IDL as text."""
    content = file.read_bytes()
    try:
        events = declare_program(file.stem, parse_idl(content, place=str(file)))
    except ValueError as error:
        raise OperationError(str(error)) from None
    if not events:
        raise OperationError(f"{file} has no event and no instruction")
    return file.stem, events, content.decode()


def _events(contract: str, events: Sequence[type[Event]]) -> str:
    variable = _free(
        emitter_domain(contract), (f for e in events for f in e.spec.fields)
    )
    used = {_type(f) for e in events for f in e.spec.fields.values()}
    kind = type(events[0].spec.source).__name__
    parts = [
        f'"""Events of {contract}, under our names."""',
        f"from db.declare import {', '.join(sorted({kind, 'Event', *used}))}",
        f'{variable} = {kind}("{contract}")',
    ]
    for event in events:
        lines = [f"class {_class(event)}(Event):"]
        lines += [f'    """{event.spec.doc}"""', "", f"    source = {variable}"]
        text = _name_on_chain(event)
        if text != _class(event):
            lines.append(f"    name = {json.dumps(text)}")
        lines += [
            f"    {name} = {_field(name, field, solana=kind == 'Program')}"
            for name, field in event.spec.fields.items()
        ]
        parts.append("\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _projections(domain: str, events: Sequence[type[Event]]) -> str:
    event, key, folds = _table(events)
    words = ["Count", "Key", "Latest", "Projection", *(["Sum"] if folds else [])]
    lines = [
        f'"""Tables of {domain}, folded from its events."""',
        "",
        f"from db.declare import {', '.join(words)}",
        "",
        f"from {domain} import events as e",
        "",
        "",
        f"class {_row(key)}(Projection):",
        f'    """One row for each {key} of {event}: say what it tells."""',
        "",
        f"    {key} = Key()",
        "",
        f"    times = Count(e.{event})",
    ]
    if "sum" in folds:
        lines.append(f"    total = Sum(e.{event}.{folds['sum']})")
    lines.append(f"    last_at = Latest(e.{event}.block_time)")
    return "\n".join(lines) + "\n"


def _commands(
    domain: str, contract: str, abi: Abi, events: Sequence[type[Event]]
) -> str:
    bodies = list(_bodies(contract, abi, events))
    head = f'"""Commands of {domain}: what may be asked of {contract}."""\n'
    if not bodies:
        return head
    used = {"Call", "Command", "Role", *(name for _, names in bodies for name in names)}
    return (
        f"{head}\nfrom db.declare import {', '.join(sorted(used))}\n\n"
        f"from {domain} import events as e\n\n\n"
        + "\n\n".join(body for body, _ in bodies)
    )


def _bodies(
    contract: str, abi: Abi, events: Sequence[type[Event]]
) -> Iterator[tuple[str, set[str]]]:
    """The class of each function that changes something, and the fields that it needs.

    Overloaded functions, and those with a parameter without a name or of a type that no
    field holds, cannot be called by name and are left out.
    """
    names = Counter(i.get("name") for i in abi if i.get("type") == "function")
    changing = [
        item
        for item in abi
        if item.get("type") == "function"
        and item.get("stateMutability") not in ("view", "pure")
        and all(part.get("name") for part in item["inputs"])
        and names[item["name"]] == 1
    ]
    taken: set[str] = set()
    for item in changing:
        fields: dict[str, Field] = {}
        lines, arguments = [], []
        try:
            for part in with_names(item)["inputs"]:
                name = _free(column_name(part["name"]), {*fields, *_OWN})
                fields[name] = field_for_abi(part["type"], indexed=False, param="")
                arguments.append(f'"{part["name"]}": {name}')
        except ValueError:  # a type that no field holds
            continue
        if item.get("stateMutability") == "payable":
            name = _free("wei", fields)
            fields[name] = Uint()
            lines = [f", value={name}"]
        title = _free(_capital(item["name"]), taken)
        taken.add(title)
        proof = _nearest(item["name"], events)
        declared = [f"    {n} = {_field(n, f, param=False)}" for n, f in fields.items()]
        given = ("{" + ", ".join(arguments) + "}") if arguments else ""
        call = f'"{contract}.{item["name"]}"' + (f", {given}" if given else "")
        yield (
            "\n".join(
                [
                    f"class {title}(Command):",
                    f'    """Call {item["name"]} of {contract}: say what it is for."""',
                    "",
                    *declared,
                    *([""] if declared else []),
                    "    role = Role.OPERATOR",
                    '    signer = "operator"',
                    f"    call = Call({call}{''.join(lines)})",
                    f"    proof = e.{proof}",
                    "",
                ]
            ),
            {_type(field) for field in fields.values()},
        )


def _story(domain: str, events: Sequence[type[Event]]) -> str:
    event, key, folds = _table(events)
    spec = next(e.spec for e in events if _class(e) == event)
    value = _example(spec.fields[key])
    pairs = f"{key}=ONE" + (f", {folds['sum']}=5" if "sum" in folds else "")
    checks = [
        f"        row = story.tables().row({_row(key)}, {key}=ONE)",
        "",
        "        assert 2 == row.times",
    ]
    if "sum" in folds:
        checks.append("        assert 10 == row.total")
    checks.append("        assert story.now == row.last_at")
    return "\n".join(
        [
            f'"""Stories of {domain}: what a chain says, and the rows of it."""',
            "",
            "from ops.stories import Story",
            "",
            f"import {domain}",
            f"from {domain} import events as e",
            f"from {domain}.projections import {_row(key)}",
            "",
            f"ONE = {value}",
            "",
            "",
            f"def test_each_{key}_has_a_row():",
            f"    with Story({domain}) as story:",
            f"        story.emit(e.{event}, {pairs})",
            "        story.mine()",
            f"        story.emit(e.{event}, {pairs})",
            "",
            *checks,
            "",
        ]
    )


def _table(events: Sequence[type[Event]]) -> tuple[str, str, dict[str, str]]:
    """The event that the first table is folded from, its key, and what is summed up.

    The first event with an address that is not the emitter's, else the first of all.
    """
    for event in events:
        fields = event.spec.fields
        keys = [
            n
            for n, f in fields.items()
            if isinstance(f, Address | Pubkey) and not f.emitter
        ]
        if keys:
            break
    else:
        event, fields = events[0], events[0].spec.fields
        keys = [n for n, f in fields.items() if not isinstance(f, Json)]
    sums = [n for n, f in fields.items() if isinstance(f, Uint) and n != keys[0]]
    return _class(event), keys[0], {"sum": sums[0]} if sums else {}


def _class(event: type[Event]) -> str:
    return _free(event.spec.name, ())


def _row(key: str) -> str:
    return f"{_capital(key)}Total"


def _name_on_chain(event: type[Event]) -> str:
    """Return the event's name in the ABI or IDL; the plain one if it is unambiguous."""
    source = event.spec.source
    if not isinstance(source, Contract):
        return str(event.spec.schema.name)
    names = [each["name"] for each in source.abi]
    plain = str(event.spec.schema["name"])
    return plain if names.count(plain) == 1 else event.spec.doc.split(" of ")[0]


def _field(name: str, field: Field, *, param: bool = True, solana: bool = False) -> str:
    """A field as its declaration is written."""
    pairs = []
    if isinstance(field, FixedBytes) and field.size != 32:
        pairs.append(str(field.size))
    bits = getattr(field, "bits", 256)
    if bits != 256:
        pairs.append(str(bits))
    if field.emitter:
        pairs.append("emitter=True")
    elif param and field.param not in _found_as(name, solana=solana):
        pairs.append(f'param="{field.param}"')
    return f"{_type(field)}({', '.join(pairs)})"


def _found_as(name: str, *, solana: bool) -> tuple[str, str]:
    """Return the parameters that a field binds to by its name."""
    return (name, ACCOUNT + name) if solana else (name, camel_case(name))


def _type(field: Field) -> str:
    fixed = isinstance(field, FixedBytes) and field.size == 32
    return Bytes32.__name__ if fixed else type(field).__name__


def _example(field: Field) -> str:
    if field.size is not None:
        if field.encoding is Encoding.BASE58:
            return f'"{field.text(bytes([17]) * field.size)}"'
        return f'"0x" + "11" * {field.size}'
    return {"boolean": "True", "text": '"a"', "bytea": '"0x11"'}.get(
        field.kind.value, "1"
    )


def _nearest(function: str, events: Sequence[type[Event]]) -> str:
    names = {event.spec.name.lower(): _class(event) for event in events}
    close = difflib.get_close_matches(function.lower(), names, n=1, cutoff=0.3)
    return names[close[0]] if close else _class(events[0])


def _capital(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _free(name: str, taken: Any) -> str:
    taken = set(taken)
    while name in taken or keyword.iskeyword(name):
        name = f"{name}_"
    return name
