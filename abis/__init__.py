"""ABIs of EVM contracts: one JSON file a contract, as compiled.

``<domain>/<Contract>.json`` is what a compiler writes (an object with ``abi``, as
Hardhat, Foundry and Truffle do) or a bare ABI. A domain elsewhere keeps its files in
its own folder, or in ``abis/`` there.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).resolve().parent
_beside: dict[str, Path] = {}  # files of domains outside the product, by contract
_given: dict[str, dict[str, Any]] = {}  # of contracts that the settings declare


class UnknownContract(LookupError):
    """No artifact of that name, or more than one, lies in ``abis/``."""


class BadArtifact(ValueError):
    """A file that should hold an ABI, and does not."""


# Any: an ABI is JSON whose shape the Solidity compiler defines.
def load_abi(contract: str, beside: Path | None = None) -> list[dict[str, Any]]:
    """Return the ABI of a contract, found by its name alone, first in a folder."""
    for folder in () if beside is None else (beside, beside / "abis"):
        path = folder / f"{contract}.json"
        if path.is_file():
            _beside[contract] = path
            break
    abi: list[dict[str, Any]] = load_artifact(contract)["abi"]
    return abi


def load_artifact(contract: str) -> dict[str, Any]:
    """Return the whole artifact of a contract. It is shared: do not change it."""
    if contract in _given:
        return _given[contract]
    own = _beside.get(contract)
    if own is not None:
        return _read(own)
    found = [path for path in _artifacts() if path.stem == contract]
    if len(found) > 1:
        places = ", ".join(path.parent.name for path in found)
        raise UnknownContract(f"{contract} is in several places ({places}): rename one")
    if not found:
        known = ", ".join(contract_names())
        raise UnknownContract(f"there is no ABI of {contract!r}; known: {known}")
    return _read(found[0])


def remember(contract: str, abi: list[dict[str, Any]]) -> None:
    """Register a contract's ABI under its name, so that its errors can be decoded."""
    _given[contract] = {"contractName": contract, "abi": abi}


def contract_names() -> list[str]:
    """List the names ``load_abi`` knows, in order."""
    return sorted({*_given, *_beside, *(path.stem for path in _artifacts())})


@cache
def _read(path: Path) -> dict[str, Any]:
    remedy = 'write the compiler\'s output into it, {"abi": [...]} or the list alone'
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadArtifact(f"{path} is not JSON ({error}): {remedy}") from None
    artifact: dict[str, Any] = found if isinstance(found, dict) else {"abi": found}
    abi = artifact.get("abi")
    if not isinstance(abi, list) or not all(
        isinstance(each, dict) and isinstance(each.get("type"), str) for each in abi
    ):
        raise BadArtifact(f"{path} holds no ABI: {remedy}")
    return artifact


def _artifacts() -> list[Path]:
    paths = sorted(DIRECTORY.glob("*/*.json"))
    return [path for path in paths if path.parent.name != "deployments"]
