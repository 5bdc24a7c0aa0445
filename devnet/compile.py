"""Compiles the Solidity sources into ``abis/``: run ``python -m devnet.compile``.

``contracts/*.sol`` become ``abis/crowdfunding/<Contract>.json`` and
``contracts/examples/*.sol`` become ``abis/examples/<Contract>.json``, and
``CONTRACTS.md`` lists what is in them. The same sources give the same bytes on every
machine, which a test holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

from devnet import describe
from devnet.toolchain import ensure_toolchain, node_command
from ops.errors import OperationError

HERE = Path(__file__).resolve().parent
CONTRACTS = HERE / "contracts"
ABIS = HERE.parent / "abis"
COMPILE_SECONDS_MAX = 180

DOMAINS = {".": "crowdfunding", "anchoring": "anchoring", "examples": "examples"}
"""Directory of a source, below ``contracts/``, to the directory of its artifact."""


class CompileError(OperationError):
    """The Solidity sources do not compile; the compiler's own words follow."""


class Artifact(TypedDict):
    """The parts of one compiled contract that are kept."""

    contractName: str
    compiler: str
    abi: list[dict[str, object]]
    bytecode: str


class _Code(TypedDict):
    object: str


class _Evm(TypedDict):
    bytecode: _Code


class _Compiled(TypedDict):
    abi: list[dict[str, object]]
    evm: _Evm


class _Complaint(TypedDict):
    formattedMessage: str


class _Output(TypedDict):
    """The output of ``compile.js``."""

    compiler: str
    errors: list[_Complaint]
    contracts: dict[str, dict[str, _Compiled]]


def compile_contracts() -> dict[Path, Artifact]:
    """Compile every deployable contract, keyed by its path below ``abis/``."""
    output = _run_compiler()
    if output["errors"]:
        complaints = [error["formattedMessage"] for error in output["errors"]]
        raise CompileError("\n".join(complaints))
    artifacts: dict[Path, Artifact] = {}
    for source, contracts in output["contracts"].items():
        domain = DOMAINS.get(str(Path(source).parent))
        for name, compiled in contracts.items():
            code = compiled["evm"]["bytecode"]["object"]
            # Interfaces have no code, libraries of internal functions no ABI.
            if domain is None or not code or not compiled["abi"]:
                continue
            artifacts[Path(domain) / f"{name}.json"] = Artifact(
                contractName=name,
                compiler=f"solc {output['compiler']}, paris, optimizer 200",
                abi=compiled["abi"],
                bytecode=f"0x{code}",
            )
    return artifacts


def render(artifact: Artifact) -> str:
    """Return the text of an artifact's file."""
    return json.dumps(artifact, indent=2, ensure_ascii=False) + "\n"


def render_page(artifacts: dict[Path, Artifact], current: str) -> str:
    """Return the text of ``CONTRACTS.md``, keeping the opening of the current one."""
    contracts = [
        (p.parent.name, a["contractName"], a["abi"]) for p, a in artifacts.items()
    ]
    return describe.page(contracts, current)


def write_artifacts() -> list[Path]:
    """Compile and write everything; returns the paths written."""
    artifacts = compile_contracts()
    for relative, artifact in artifacts.items():
        path = ABIS / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(artifact), encoding="utf-8")
    current = describe.PAGE.read_text(encoding="utf-8")
    describe.PAGE.write_text(render_page(artifacts, current), encoding="utf-8")
    return [*(ABIS / relative for relative in artifacts), describe.PAGE]


def _run_compiler() -> _Output:
    modules = ensure_toolchain().modules
    done = subprocess.run(  # noqa: S603 (a fixed command)
        [*node_command(), str(HERE / "compile.js"), str(CONTRACTS)],
        env={**os.environ, "CHAINFOLD_NODE_MODULES": str(modules)},
        capture_output=True,
        text=True,
        timeout=COMPILE_SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        raise CompileError(f"the compiler did not run:\n{done.stderr.strip()}")
    output: _Output = json.loads(done.stdout)
    return output


def main() -> None:
    """Rebuild all artifacts and list them."""
    for path in write_artifacts():
        sys.stdout.write(f"{path.relative_to(ABIS.parent)}\n")


if __name__ == "__main__":
    main()
