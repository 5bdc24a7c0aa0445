"""What is left of our processes when they are told to end, or are killed."""

import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest

from helpers.processes import Group, descendants, listens, live, wait_until
from helpers.rpc import FakeEvmChain, FakeRpcServer
from ops.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node():
    chain = FakeEvmChain(chain_id=31337)
    chain.mine_many(20)
    with FakeRpcServer(chain) as server:
        yield server


@pytest.fixture
def deployment(tmp_path, node, migrated_url):
    """A folder whose settings name a fake node, a real database and a free port."""
    port = free_port()
    (tmp_path / "chainfold.toml").write_text(
        f'data_dir = "{tmp_path}/data"\n'
        f'[chains.fake]\nid = "eip155:31337"\nrpc = ["{node.url}"]\n'
        'finality = "ibft"\n[chains.fake.contracts]\n'
        f'IssuerRegistry = "0x{"5f" * 20}"\n'
        f'[database]\nurl = "{migrated_url}"\n'
        f'[redis]\nurl = "none"\n[api]\nport = {port}\n'
    )
    return tmp_path, port


def api_of(group):
    """The main process of the API that `run` has beside it."""
    children = Path(f"/proc/{group.process.pid}/task").glob("*/children")
    pids = [int(pid) for each in children for pid in each.read_text().split()]
    found = [pid for pid in pids if any(pid == own for own, _ in group.living())]
    return [
        pid for pid in found
        if "multiprocessing" in Path(f"/proc/{pid}/cmdline").read_text()
        and "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verb", ["run", "serve"])
def test_a_signal_to_the_group_leaves_no_process(deployment, verb, number):
    """As Ctrl-C does, at once after the start, later, and more than once."""
    folder, port = deployment
    rng = random.Random(f"{verb}{number}")
    for turn in range(3):
        group = Group(folder, verb)
        try:
            if turn:
                wait_until(lambda: live(port), group=group)
            else:
                wait_until(lambda: listens(port), group=group)
            time.sleep(rng.uniform(0, 0.5))
            for _ in range(turn + 1):
                group.send(number)
                time.sleep(0.05)
            group.process.wait(25)
            wait_until(lambda gone=group: not gone.living(), 8, group)
            assert not listens(port)
        finally:
            group.end()


def test_a_worker_of_the_api_ends_without_tearing_its_interpreter_down(
    deployment, tmp_path, monkeypatch
):
    """Its server's threads would abort it there, now and then, on a busy machine."""
    folder, port = deployment
    torn = tmp_path / "torn"
    torn.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, pathlib\n"
        f"folder = pathlib.Path({str(torn)!r})\n"
        "atexit.register(lambda: (folder / str(os.getpid())).touch())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    group = Group(folder, "run")  # whose workers are spawned: forked ones just end
    try:
        wait_until(lambda: live(port), group=group)
        [api] = api_of(group)
        workers = [
            pid for pid in descendants(api)
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]  # fmt: skip
        assert workers
        group.process.send_signal(signal.SIGTERM)
        assert group.process.wait(25) == 0
    finally:
        group.end()
    ended = {int(each.name) for each in torn.iterdir()}
    assert {group.process.pid, api} <= ended
    assert not ended & set(workers)
    assert "panicked" not in group.log.read_text()


def test_a_signal_at_any_moment_of_the_start_leaves_what_the_next_goes_on_with(
    deployment,
):
    """With a Postgres of its own, which is being made, is coming up, or is up."""
    folder, port = deployment
    settings = folder / "chainfold.toml"
    kept = [s for s in settings.read_text().split("[") if not s.startswith("database")]
    settings.write_text("[".join(kept))
    rng = random.Random("start")
    for _ in range(5):
        group = Group(folder, "run")
        try:
            time.sleep(rng.uniform(0.3, 5))
            group.send(signal.SIGTERM)

            code = group.process.wait(25)
            said = group.log.read_text()
            assert code in (0, 143, -signal.SIGTERM), said
            wait_until(lambda gone=group: not gone.living(), 8, group)
            assert "Traceback" not in said, said
            assert not listens(port)
        finally:
            group.end()
    group = Group(folder, "run")
    try:
        wait_until(lambda: live(port), 60, group)
    finally:
        group.end()


def test_run_starts_an_api_that_was_killed_again_and_gives_up_when_it_keeps_dying(
    deployment,
):
    folder, port = deployment
    group = Group(folder, "run")
    try:
        wait_until(lambda: "API at" in group.log.read_text(), group=group)
        for life in range(3):
            wait_until(lambda: api_of(group) and live(port), group=group)
            (pid,) = api_of(group)
            os.kill(pid, signal.SIGKILL)
            if life < 2:
                wait_until(lambda old=pid: old not in api_of(group), group=group)

        assert group.process.wait(30) == 2
        said = group.log.read_text()
        assert said.count("api_ended") == 2
        assert "3 times in a row" in said
        assert "Traceback" not in said
        wait_until(lambda: not group.living(), 8, group)
        assert not listens(port)
    finally:
        group.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_api_ends_with_the_process_that_started_it(deployment, number):
    folder, port = deployment
    group = Group(folder, "run")
    try:
        wait_until(lambda: live(port), group=group)
        group.process.send_signal(number)
        wait_until(lambda: not group.living(), 15, group)
        assert not listens(port)
    finally:
        group.end()


@pytest.mark.parametrize("verb", ["run", "serve"])
def test_a_taken_port_is_refused_in_one_sentence(deployment, verb):
    folder, port = deployment
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        group = Group(folder, verb)
        try:
            assert group.process.wait(30) == 1
        finally:
            group.end()

    said = group.log.read_text()
    assert f"port {port} of 127.0.0.1 is taken by another program" in said
    assert "[api] port" in said
    assert len(said.splitlines()) == 1


def test_two_deployments_never_share_a_port(deployment):
    folder, port = deployment
    first = Group(folder, "serve")
    second = None
    try:
        wait_until(lambda: listens(port), group=first)
        second = Group(folder, "run")
        assert second.process.wait(30) == 1
        assert "is taken by another Chainfold" in second.log.read_text()
        assert live(port)
    finally:
        first.end()
        if second:
            second.end()


def test_deployments_that_start_at_once_do_not_share_a_port(deployment):
    folder, port = deployment
    groups = [Group(folder, "serve") for _ in range(3)]
    try:
        wait_until(lambda: sum(g.process.poll() is None for g in groups) == 1)
        wait_until(lambda: live(port), group=groups[0])
        assert sum(g.process.poll() == 1 for g in groups) == 2
    finally:
        for group in groups:
            group.end()
