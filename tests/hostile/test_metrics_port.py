"""Metrics on a port of their own, which several workers fill together."""

import contextlib
import subprocess

import pytest

from helpers.served import COMMAND, serving

pytestmark = pytest.mark.slow

ASKED = 60
COUNTED = 'chainfold_api_requests_total{method="GET",route="/api/v1/",status="200"}'


@pytest.fixture
def two(postgres_url, migrated_template, tmp_path):
    with serving(tmp_path, postgres_url, migrated_template, "--workers", "2") as found:
        yield found


def test_two_workers_count_together_and_never_less_than_before(two):
    before = 0
    for number in range(1, ASKED + 1):
        assert 200 == two.ask("GET", "/api/v1/")[0]
        if number % 5 == 0:
            now = two.samples()[COUNTED]
            assert now == number
            assert now >= before
            before = now


def test_the_port_of_the_api_tells_none(lives):
    assert 404 == lives.ask("GET", "/metrics")[0]
    assert 404 == lives.ask("GET", "/", port=lives.metrics_port)[0]
    names = {name.partition("{")[0] for name in lives.samples()}
    assert "chainfold_database_up" in names
    assert not {name for name in names if name.endswith("_created")}


def test_connections_that_send_nothing_keep_no_scrape_waiting_for_ever(lives):
    import socket

    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", lives.metrics_port))
            )
    assert lives.samples()


def test_a_port_that_is_taken_is_told_with_its_remedy(lives):
    """The settings name it, and another deployment has it."""
    done = subprocess.run(
        [COMMAND, "serve"], cwd=lives.folder, capture_output=True, text=True,
        timeout=60,
        env={**lives.environment, "CHAINFOLD_API__PORT": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "Set [metrics] port" in done.stderr
