"""Reading IDLs: of Anchor before 0.30, and of spec 0.1.0, into one model.

What programs of other frameworks publish in these forms is read too: discriminators may
have any length, and an instruction may be named by one byte (`discriminant`). For
programs without a framework there is a little that Anchor does not have: lengths that
Borsh does not write (`idl.types.Counted`), instructions that need no data (`"bare"`),
and all accounts behind those that have a name (`"remaining"`).
Names of fields, arguments, accounts and instructions come out in snake_case, as they
are in the program; those of events, types and variants stay as they are.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from idl.base58 import from_base58
from idl.model import (
    AccountLayout,
    AccountRef,
    Derived,
    ErrorText,
    EventLayout,
    Idl,
    IdlError,
    InstructionLayout,
    Seed,
)
from idl.resolve import Types, named_fields

DIRECTORY = Path(__file__).resolve().parent
BUILTIN = "builtin:"  # in front of the name of a program that everybody uses
BYTES_MAX = 4 << 20
DEPTH_MAX = 64
ANONYMOUS = "the IDL"
GROUPS_MAX = 8  # of accounts, one in another

_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def load_idl(name: str, beside: Path | None = None) -> Idl:
    """Return the IDL in `<name>.json` of a folder or its `idl`, or in `idl` here."""
    for folder in () if beside is None else (beside, beside / "idl"):
        path = folder / f"{name}.json"
        if path.is_file():
            return parse_idl(path.read_bytes(), place=str(path))
    known = sorted(path.stem for path in DIRECTORY.glob("*.json"))
    if name not in known:
        listed = ", ".join(known) or "none"
        raise IdlError(
            f"idl/{name}.json", "there is no such IDL", f"add the file; known: {listed}"
        )
    return parse_idl(
        (DIRECTORY / f"{name}.json").read_bytes(), place=f"idl/{name}.json"
    )


def builtins() -> list[str]:
    """Return the names of the IDLs that `load_builtin` has."""
    return sorted(path.stem for path in (DIRECTORY / "builtin").glob("*.json"))


@cache
def load_builtin(name: str) -> Idl:
    """Return the IDL, in `idl/builtin`, of a program that everybody uses."""
    if name not in builtins():
        known = ", ".join(builtins())
        raise IdlError(BUILTIN + name, "there is no such IDL", f"write one of {known}")
    content = (DIRECTORY / "builtin" / f"{name}.json").read_bytes()
    return parse_idl(content, place=BUILTIN + name)


def parse_idl(data: bytes | Mapping[str, Any], *, place: str = ANONYMOUS) -> Idl:
    """Return an IDL of either form, from JSON in UTF-8 or from an object of it.

    `place` is named in errors. Raises IdlError.
    """
    try:
        return _idl(_loaded(data, place) if isinstance(data, bytes) else data, place)
    except IdlError:
        raise
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:
        raise IdlError(
            place,
            f"it is not an IDL of Anchor ({type(error).__name__}: {error})",
            "take target/idl/<program>.json as Anchor writes it",
        ) from None


def snake_case(name: str) -> str:
    """Return a name as the program has it: `maxAmountIn` is `max_amount_in`."""
    parted = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def _loaded(data: bytes, place: str) -> Mapping[str, Any]:
    if len(data) > BYTES_MAX:
        raise IdlError(
            place, f"it has more than {BYTES_MAX} bytes", "leave the docs out"
        )
    depth = 0
    for match in _BRACKETS.finditer(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > DEPTH_MAX:
            raise IdlError(
                place, f"it nests deeper than {DEPTH_MAX} levels", "flatten its types"
            )
    try:
        loaded = json.loads(data)
    except ValueError as error:
        raise IdlError(place, f"it is not JSON ({error})", "save it anew") from None
    if not isinstance(loaded, dict):
        raise IdlError(place, "it is not an object", "save the whole IDL")
    return loaded


def _idl(raw: Mapping[str, Any], place: str) -> Idl:
    new = "metadata" in raw and "spec" in (raw["metadata"] or {})
    name = _check_name(raw["metadata"]["name"] if new else raw.get("name"), place)
    address = raw.get("address") or (raw.get("metadata") or {}).get("address")
    # Arguments may be of the type of an account, which stands there in the old form.
    accounts_as_types = [each for each in raw.get("accounts") or [] if "type" in each]
    types = Types([*(raw.get("types") or []), *accounts_as_types], place, snake_case)
    events = [_event(each, types, place) for each in raw.get("events") or []]
    accounts = [_account(each, types, place) for each in raw.get("accounts") or []]
    instructions = [
        _instruction(each, types, place) for each in raw.get("instructions") or []
    ]
    for kind in (events, instructions):
        _check_distinct(kind, place)
    return Idl(
        name,
        None if not address else _key(address, f"{place}.address"),
        tuple(events),
        tuple(instructions),
        tuple(accounts),
        MappingProxyType(dict(_errors(raw.get("errors") or [], place))),
        MappingProxyType(types.recursive()),
    )


def _event(raw: Mapping[str, Any], types: Types, place: str) -> EventLayout:
    name = _check_name(raw["name"], f"{place}.events")
    inside = f"{place}.events.{name}"
    if "fields" in raw:
        fields = named_fields(types.of_fields(raw["fields"], inside), inside)
    else:
        fields = named_fields(types.named(name, inside), inside)
    return EventLayout(name, _discriminator(raw, f"event:{name}", inside), fields)


def _account(raw: Mapping[str, Any], types: Types, place: str) -> AccountLayout:
    name = _check_name(raw["name"], f"{place}.accounts")
    inside = f"{place}.accounts.{name}"
    layout = types.body(raw["type"], inside) if "type" in raw else None
    layout = layout or types.named(name, inside)
    return AccountLayout(
        name,
        _discriminator(raw, f"account:{name}", inside),
        named_fields(layout, inside),
    )


def _instruction(raw: Mapping[str, Any], types: Types, place: str) -> InstructionLayout:
    name = snake_case(_check_name(raw["name"], f"{place}.instructions"))
    inside = f"{place}.instructions.{name}"
    accounts = tuple(_accounts(raw.get("accounts") or [], inside))
    fields = named_fields(types.of_fields(raw.get("args") or [], inside), inside)
    layout = InstructionLayout(
        name,
        _discriminator(raw, f"global:{name}", inside),
        accounts,
        fields,
        bool(raw.get("bare")),
    )
    if any(ref.remaining for ref in accounts[:-1]):
        raise IdlError(inside, "accounts are behind the remaining", "put those last")
    names = [*layout.account_fields, *(each.name for each in fields)]
    _check_once(names, inside, "is there twice")
    return layout


def _accounts(
    raw: Sequence[Any], inside: str, group: str = "", depth: int = 0
) -> Iterable[AccountRef]:
    if depth > GROUPS_MAX:
        raise IdlError(inside, "its groups of accounts nest too deeply", "flatten them")
    for each in raw:
        name = group + snake_case(_check_name(each["name"], f"{inside}.accounts"))
        if "accounts" in each:
            yield from _accounts(each["accounts"], inside, f"{name}_", depth + 1)
            continue
        yield AccountRef(
            name,
            bool(each.get("writable", each.get("isMut"))),
            bool(each.get("signer", each.get("isSigner"))),
            bool(each.get("optional", each.get("isOptional"))),
            bool(each.get("remaining")),
            _key(each["address"], inside) if each.get("address") else None,
            _derived(each.get("pda"), inside),
        )


def _derived(raw: Any, inside: str) -> Derived | None:
    """Read how an address is derived; None of what this release cannot derive.

    Who calls the instruction must name the account then.
    """
    if not isinstance(raw, dict):
        return None
    seeds = [_seed(each, inside) for each in raw.get("seeds") or []]
    program = raw.get("program")
    owner = None if program is None else _seed(program, inside)
    if None in seeds or (program is not None and owner is None):
        return None
    return Derived(tuple(each for each in seeds if each is not None), owner)


def _seed(raw: Any, inside: str) -> Seed | None:
    """Read one seed of the new form, in which constants are bytes."""
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if kind == "const" and isinstance(raw.get("value"), list):
        try:
            return Seed("const", bytes(raw["value"]))
        except (ValueError, TypeError):
            raise IdlError(
                inside, "a seed is no list of bytes", "write numbers from 0 to 255"
            ) from None
    path = raw.get("path") if isinstance(raw, dict) else None
    # One with a point is a part of an argument, or of an account's data.
    if kind in ("arg", "account") and isinstance(path, str) and "." not in path:
        return Seed(kind, path=snake_case(path))
    return None


def _errors(raw: Sequence[Any], place: str) -> Iterable[tuple[int, ErrorText]]:
    for each in raw:
        code = each["code"]
        if not isinstance(code, int):
            raise IdlError(f"{place}.errors", f"{code!r} is no code", "write a number")
        yield code, ErrorText(str(each["name"]), str(each.get("msg") or ""))


def _discriminator(raw: Mapping[str, Any], preimage: str, inside: str) -> bytes:
    given = raw.get("discriminator")
    if given is None and "discriminant" in raw:  # as shank writes it
        given = [raw["discriminant"]["value"]]
    if given is None:
        return hashlib.sha256(preimage.encode()).digest()[:8]
    try:
        return bytes(given)
    except (ValueError, TypeError):
        raise IdlError(
            inside, f"its discriminator is {given!r}", "write a list of bytes, 0 to 255"
        ) from None


def _check_distinct(
    layouts: Sequence[EventLayout | InstructionLayout], place: str
) -> None:
    _check_once([layout.name for layout in layouts], place, "is there twice")
    starts = [layout.discriminator.hex() for layout in layouts]
    _check_once(starts, place, "is the discriminator of two of a kind")


def _check_once(names: Sequence[str], place: str, problem: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise IdlError(place, f"{name!r} {problem}", "rename or remove one")


def _check_name(name: Any, place: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise IdlError(
            place,
            f"{str(name)[:60]!r} is no name",
            "names are letters, digits and _, not beginning with a digit",
        )
    return name


def _key(text: Any, place: str) -> bytes:
    try:
        return from_base58(str(text), 32)
    except ValueError as error:
        raise IdlError(place, str(error), "write the program's id in base58") from None
