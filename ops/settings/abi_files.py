"""Read the ABI files of a contract; each ValueError names the remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eth_abi.abi import is_encodable_type

from db.bounded import load_json
from db.declare.evm.bare import with_names
from db.declare.evm.signatures import canonical_type, signature

Entry = Mapping[str, Any]  # Any: JSON whose shape the Solidity compiler defines
Abi = tuple[Entry, ...]
# Artifacts of compilers hold bytecode and syntax trees besides the ABI.
ABI_BYTES_MAX, ABI_DEPTH_MAX = 64 << 20, 512
TYPE_PARTS_MAX = 64  # tuples and arrays in one; the parser of types is recursive


def read_union(base: Path, names: Sequence[str]) -> Abi:
    """Return the entries of all files, each once; paths are relative to `base`.

    Raises ValueError when two files have an event in forms whose logs cannot be told
    apart, or that would fill its table differently.
    """
    first: dict[tuple[str, int], tuple[str, Entry]] = {}
    union: dict[str, Entry] = {}
    for name in names:
        for entry in read_abi(base / name):
            if entry.get("type") == "event" and not entry.get("anonymous"):
                event = with_names(entry)
                topics = sum(part["indexed"] for part in event["inputs"])
                key = signature(event), topics
                file, known = first.setdefault(key, (name, event))
                if file != name and _form(known) != _form(event):
                    raise ValueError(
                        f"{file} and {name} have the event {event['name']} in two "
                        f"forms, {_shown(known)} and {_shown(event)}: take it out of "
                        "one of the files, or write it the same in both"
                    )
                if file != name:
                    continue
            union.setdefault(json.dumps(entry, sort_keys=True), entry)
    return tuple(union.values())


def _form(event: Entry) -> list[Any]:
    """Return the parts of an event that its columns depend on besides its signature."""

    def part_of(part: Entry) -> Any:
        inner = [part_of(each) for each in part.get("components", ())]
        return part.get("name"), part.get("indexed"), inner

    return [part_of(part) for part in event["inputs"]]


def _shown(event: Entry) -> str:
    parts = [
        canonical_type(part) + " indexed" * part["indexed"] + f" {part['name']}"
        for part in event["inputs"]
    ]
    return f"{event['name']}({', '.join(parts)})"


def read_abi(path: Path) -> Abi:
    """Return the ABI in a file: a bare list, or one under `abi`."""
    try:
        document = load_json(
            path.read_bytes(), bytes_max=ABI_BYTES_MAX, depth_max=ABI_DEPTH_MAX
        )
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    entries = document.get("abi") if isinstance(document, dict) else document
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ValueError(f'{path} holds no ABI: neither a list nor {{"abi": [...]}}')
    for entry in entries:
        if entry.get("type") == "event":
            _check_abi_entry(path, entry)
    return tuple(entries)


def _check_abi_entry(path: Path, entry: Entry) -> None:
    """A file that was edited by hand may lack what compilers always write."""
    wrong = "its name is missing"
    if isinstance(entry.get("name"), str):
        try:
            kinds = [canonical_type(item) for item in entry.get("inputs", [])]
        except (KeyError, TypeError, AttributeError):
            wrong = "an input has no type, or a tuple no components"
        else:
            if any(k.count("(") + k.count("[") > TYPE_PARTS_MAX for k in kinds):
                wrong = f"a type has more than {TYPE_PARTS_MAX} tuples and arrays"
            elif all(is_encodable_type(kind) for kind in kinds):
                return
            else:
                wrong = "no such type: " + ", ".join(
                    kind for kind in kinds if not is_encodable_type(kind)
                )
    raise ValueError(
        f"{path}: {entry['type']} {entry.get('name', '')} is not as compilers write it "
        f"({wrong}): take the ABI from the compiler's output"
    )
