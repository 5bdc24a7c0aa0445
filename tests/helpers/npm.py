"""Packages from npm that tests run or read: pinned by a lock, fetched when needed."""

from __future__ import annotations

import fcntl
import os
import subprocess
from functools import cache
from pathlib import Path

from ops.devnet.toolchain import ToolchainError, node_command, npm_command


class NpmUnavailable(Exception):
    """Packages cannot be had here; the message says why."""


@cache
def install(home: Path, made: str) -> None:
    """Install what the lock in a folder names, once for all processes.

    `made` is a file under the folder that is there when all is.
    """
    try:
        npm, node = npm_command(), Path(node_command()[0]).parent
    except ToolchainError as error:
        raise NpmUnavailable(str(error)) from None
    with (home / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / made).exists():
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
