"""Writes ``CONTRACTS.md``: what the contracts say and take, from their ABIs.

The page's opening is kept as it is; everything from the first contract on is
rewritten by ``python -m devnet.compile``, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "CONTRACTS.md"
FIRST = "\n## "

# Any: one entry of an ABI, whose shape depends on its type.
Entry = dict[str, Any]


def page(contracts: Sequence[tuple[str, str, list[Entry]]], current: str) -> str:
    """Return the whole page, given (domain, contract, ABI) and the page as it is."""
    opening = current.split(FIRST)[0].rstrip()
    parts = [opening]
    domains = list(dict.fromkeys(domain for domain, _, _ in contracts))
    for domain in domains:
        parts.append(f"## {domain}")
        for owner, name, abi in contracts:
            if owner == domain:
                parts.append(f"### {name}\n\n" + "\n\n".join(_sections(abi)))
    return "\n\n".join(parts) + "\n"


def _sections(abi: list[Entry]) -> Iterator[str]:
    functions = [entry for entry in abi if entry["type"] == "function"]
    reads = [f for f in functions if f["stateMutability"] in ("view", "pure")]
    groups = {
        "Events": [_line(e) for e in abi if e["type"] == "event"],
        "Transactions": [_line(f) for f in functions if f not in reads],
        "Reads": [_line(f) for f in reads],
        "Refusals": [_line(e) for e in abi if e["type"] == "error"],
    }
    for title, lines in groups.items():
        if lines:
            yield f"{title}\n\n```solidity\n" + "\n".join(lines) + "\n```"


def _line(entry: Entry) -> str:
    inputs = ", ".join(_parameter(parameter) for parameter in entry["inputs"])
    line = f"{entry['name']}({inputs})"
    if entry.get("stateMutability") == "payable":
        line += " payable"
    outputs = entry.get("outputs")
    if outputs:
        line += f" returns ({', '.join(_parameter(o) for o in outputs)})"
    return line


def _parameter(parameter: Entry) -> str:
    kind = parameter["internalType"].removeprefix("contract ")
    # A struct or enum is named, with what is on the wire where that differs.
    if kind.startswith("enum "):
        kind = f"{parameter['type']} /* {kind.removeprefix('enum ')} */"
    elif kind.startswith("struct "):
        inner = ", ".join(_parameter(c) for c in parameter["components"])
        kind = f"({inner})"
    else:
        kind = parameter["type"]
    indexed = " indexed" if parameter.get("indexed") else ""
    return f"{kind}{indexed} {parameter['name']}".rstrip()
