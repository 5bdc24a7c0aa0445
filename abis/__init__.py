"""ABIs of EVM contracts: one JSON file a contract, as compiled.

``<domain>/<Contract>.json`` holds ``contractName``, ``compiler``, ``abi`` and
``bytecode``; ``deployments/<network>.json`` says where contracts live.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).resolve().parent


class UnknownContract(LookupError):
    """No artifact of that name, or more than one, lies in ``abis/``."""


# Any: an ABI is JSON whose shape the Solidity compiler defines.
def load_abi(contract: str) -> list[dict[str, Any]]:
    """Return the ABI of a contract, found by its name alone."""
    abi: list[dict[str, Any]] = load_artifact(contract)["abi"]
    return abi


@cache
def load_artifact(contract: str) -> dict[str, Any]:
    """Return the whole artifact of a contract. It is shared: do not change it."""
    found = [path for path in _artifacts() if path.stem == contract]
    if len(found) > 1:
        places = ", ".join(path.parent.name for path in found)
        raise UnknownContract(f"{contract} is in several places ({places}): rename one")
    if not found:
        known = ", ".join(contract_names())
        raise UnknownContract(
            f"there is no ABI of {contract!r} in abis/; known: {known}"
        )
    artifact: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
    return artifact


def contract_names() -> list[str]:
    """List the names ``load_abi`` knows, in order."""
    return sorted(path.stem for path in _artifacts())


def _artifacts() -> list[Path]:
    paths = sorted(DIRECTORY.glob("*/*.json"))
    return [path for path in paths if path.parent.name != "deployments"]
