"""Makes Python environments beside the product's, for what cannot be installed with it.

Each is described by a file of exact versions and made at first use. ``ensure`` may be
called by any number of threads and processes at once; all but the first wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from ops.errors import OperationError

PACKAGE = Path(__file__).resolve().parent
REQUIREMENTS = {
    "node": PACKAGE / "node" / "requirements.txt",
    "zig": PACKAGE.parent / "programs" / "requirements.txt",
}
INSTALL_SECONDS_MAX = 600
STAMP = ".chainfold-stamp"


class MissingEnvironment(OperationError):
    """An environment of the development chain is missing and could not be made."""


def ensure(name: str) -> Path:
    """Make the environment if it is absent or outdated, and return its Python."""
    home, requirements = _home() / name, REQUIREMENTS[name]
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode())
    if _stamp(home) != wanted.hexdigest():
        home.parent.mkdir(parents=True, exist_ok=True)
        with (home.parent / f"{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _stamp(home) != wanted.hexdigest():
                _make(home, requirements)
                (home / STAMP).write_text(wanted.hexdigest())
    return home / "bin" / "python"


def _home() -> Path:
    """Beside this file; where that is read-only, under the working directory."""
    beside = PACKAGE / ".environments"
    if os.access(PACKAGE, os.W_OK) or beside.exists():
        return beside
    return Path.cwd() / ".chainfold" / "devnet" / "environments"


def _stamp(home: Path) -> str | None:
    try:
        return (home / STAMP).read_text()
    except FileNotFoundError:
        return None


def _make(home: Path, requirements: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    try:
        venv.create(home, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise MissingEnvironment(
            f"cannot make a virtual environment in {home} ({error}): "
            "on Debian and Ubuntu install python3-venv"
        ) from None
    command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command)
            [*command, "--disable-pip-version-check", "-r", str(requirements)],
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MissingEnvironment(
            f"installing {requirements.name} took over {INSTALL_SECONDS_MAX} s: "
            "check that the package index can be reached"
        ) from None
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise MissingEnvironment(
            f"installing {requirements} failed:\n{tail}\n"
            "check that the package index can be reached"
        )
