"""The supervisor's small parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ops.embedded.supervisor import (
    CHILD,
    EmbeddedError,
    Home,
    RunAs,
    ServerState,
    child_command,
    namespaces_work,
    run,
    write_private,
)


def test_state_is_read_back_and_rubbish_is_nothing(tmp_path):
    home = Home(tmp_path / "server")
    home.create()
    assert home.read_state() is None

    home.write_state(ServerState(pid=1, port=2))
    assert home.read_state() == ServerState(pid=1, port=2)

    home.state.write_text('{"pid": 1, "colour": 2}')
    assert home.read_state() is None


def test_a_directory_that_cannot_be_made_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("no directory")

    with pytest.raises(EmbeddedError, match="file/server cannot be made.*data_dir"):
        Home(tmp_path / "file" / "server").create()


def test_a_starter_waits_and_then_names_the_other(tmp_path):
    home = Home(tmp_path / "server")
    home.create()

    with (
        home.starting(1),
        pytest.raises(EmbeddedError, match="another process"),
        home.starting(0.1),
    ):
        pass


def test_a_child_of_a_dead_owner_never_starts(tmp_path):
    """The owner may die between fork and the request for its death signal."""
    marker = tmp_path / "ran"
    command = child_command(["/bin/touch", str(marker)], RunAs.SELF, signal.SIGTERM)
    owner = command.index(str(os.getpid()))
    command[owner] = "1"

    answer = subprocess.run(command, check=False)

    assert answer.returncode == 125
    assert not marker.exists()


def test_a_child_says_what_it_could_not_run():
    answer = run(["/no/such/program"], RunAs.SELF)

    assert answer.returncode == 126
    assert "cannot run /no/such/program as self" in answer.stdout


def test_a_namespace_hides_root_and_keeps_files_ours(tmp_path):
    if os.geteuid() != 0 or not namespaces_work():
        pytest.skip("needs root and user namespaces")
    made = tmp_path / "made"
    script = f"touch {made}; id -u"

    answer = run(["/bin/sh", "-c", script], RunAs.NAMESPACE)

    assert answer.stdout.strip() not in ("", "0")
    assert made.stat().st_uid == 0


def test_private_files_are_private(tmp_path):
    write_private(tmp_path / "secret", "x")

    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_the_child_needs_nothing_but_the_standard_library():
    answer = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"compile(open({str(CHILD)!r}).read(), 'c', 'exec')",
        ],
        check=False,
    )

    assert answer.returncode == 0
