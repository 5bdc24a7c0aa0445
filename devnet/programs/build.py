"""Builds the programs: C to a BPF object with Zig's clang, and that to a program.

``python -m devnet.programs.build`` writes ``<name>.so`` and its hash beside this
file. The same source and compiler give the same bytes, which a test holds.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from devnet.programs.link import link
from devnet.solana.environment import ensure
from idl.base58 import from_base58
from ops.errors import OperationError

PACKAGE = Path(__file__).resolve().parent
IDL = PACKAGE.parents[1] / "idl"
PROGRAMS = ("ledger", "settlement")
FLAGS = (
    "-target", "bpfel-freestanding", "-mcpu=v2", "-O2", "-std=c11", "-ffreestanding",
    "-nostdinc", "-fno-jump-tables", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-mllvm", "-bpf-stack-size=4096",
    "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
COMPILE_SECONDS_MAX = 120
_SPACES = (
    ("instructions", "INSTRUCTION"),
    ("events", "EVENT"),
    ("accounts", "ACCOUNT"),
)


class BuildError(OperationError):
    """A program does not compile."""


def build(name: str) -> bytes:
    """Return the program made from ``<name>/<name>.c`` and the IDL of that name."""
    source = PACKAGE / name / f"{name}.c"
    python = ensure("zig")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / f"{name}.o"
        done = subprocess.run(  # noqa: S603 (a fixed command)
            [
                str(python), "-m", "ziglang", "cc", *FLAGS, *definitions(name),
                "-c", source.name, "-o", str(target),
            ],
            cwd=source.parent,
            env={
                "ZIG_GLOBAL_CACHE_DIR": f"{scratch}/global",
                "ZIG_LOCAL_CACHE_DIR": f"{scratch}/local",
            },
            capture_output=True,
            text=True,
            timeout=COMPILE_SECONDS_MAX,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise BuildError(f"{source} does not compile:\n{done.stderr.strip()}")
        return link(target.read_bytes())


def interface(name: str) -> dict[str, Any]:
    """Return the IDL of a program."""
    found: dict[str, Any] = json.loads((IDL / f"{name}.json").read_text())
    return found


def definitions(name: str) -> list[str]:
    """Return what the IDL fixes as definitions for the compiler.

    ``EVENT_RECORDED`` and others are discriminators, ``ERROR_SHARES`` is the code of an
    error, ``ADDRESS_TOKEN_PROGRAM`` the bytes of the one key that an account may have.
    """
    idl = interface(name)
    addresses = {
        account["name"]: from_base58(account["address"], 32)
        for instruction in idl["instructions"]
        for account in instruction["accounts"]
        if "address" in account
    }
    return [
        *(
            f"-D{prefix}_{_upper(item['name'])}="
            f"0x{int.from_bytes(bytes(item['discriminator']), 'little'):016x}ULL"
            for space, prefix in _SPACES
            for item in idl.get(space, ())
        ),
        *(
            f"-DERROR_{_upper(item['name'])}={item['code']}ULL"
            for item in idl.get("errors", ())
        ),
        *(
            f"-DADDRESS_{_upper(account)}={{{','.join(map(str, key))}}}"
            for account, key in addresses.items()
        ),
    ]


def program(name: str) -> bytes:
    """Return the committed program, or refuse one that is not what its hash says."""
    data = (PACKAGE / f"{name}.so").read_bytes()
    told = (PACKAGE / f"{name}.so.sha256").read_text().split()[0]
    if hashlib.sha256(data).hexdigest() != told:
        raise BuildError(
            f"{name}.so is not what {name}.so.sha256 says: run "
            "`python -m devnet.programs.build`, or restore both files"
        )
    return data


def write(name: str) -> str:
    """Build a program, write it and its hash, and return the hash."""
    data = build(name)
    digest = hashlib.sha256(data).hexdigest()
    (PACKAGE / f"{name}.so").write_bytes(data)
    (PACKAGE / f"{name}.so.sha256").write_text(f"{digest}  {name}.so\n")
    return digest


def _upper(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


if __name__ == "__main__":
    for _name in sys.argv[1:] or PROGRAMS:
        sys.stdout.write(f"{_name} {write(_name)}\n")
