"""What EVM contracts look like: ABIs as compiled, looked up by contract name."""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def load_artifact(contract: str) -> dict[str, Any]:
    """The compiled artifact of a contract: `{"contractName", "abi", "bytecode"}`.

    Raises LookupError, naming those that exist, when there is none.
    """
    known = {}
    for folder in resources.files(__name__).iterdir():
        if folder.is_dir():
            known.update({f.name[:-5]: f for f in folder.iterdir()})
    if contract not in known:
        raise LookupError(
            f"no ABI for {contract!r} under abis/; there is {', '.join(sorted(known))}"
        )
    artifact: dict[str, Any] = json.loads(known[contract].read_text())
    return artifact


def load_abi(contract: str) -> list[dict[str, Any]]:
    """The ABI of a contract: the JSON list of the Solidity ABI specification."""
    abi: list[dict[str, Any]] = load_artifact(contract)["abi"]
    return abi
