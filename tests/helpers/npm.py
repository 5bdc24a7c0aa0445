"""Packages from npm that tests run or read: pinned by a lock, fetched when needed."""

from __future__ import annotations

import fcntl
import os
import subprocess
from functools import cache
from pathlib import Path

from devnet.toolchain import ToolchainError, node_command, npm_command


class NpmUnavailable(Exception):
    """Packages cannot be had here; the message says why."""


@cache
def install(home: Path) -> None:
    """Install what the lock in a folder names, once for all processes."""
    try:
        npm, node = npm_command(), Path(node_command()[0]).parent
    except ToolchainError as error:
        raise NpmUnavailable(str(error)) from None
    named, made = home / "package-lock.json", home / "node_modules/.package-lock.json"
    with named.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists() and made.stat().st_mtime >= named.stat().st_mtime:
            return
        done = subprocess.run(
            [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=home,
            env={**os.environ, "PATH": f"{node}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise NpmUnavailable(f"npm ci failed: {done.stderr[-500:]}")
