"""How many commands are taken in a second, and how soon a client is told.

A Postgres of its own that syncs every commit to the disk, as in production, and a
made-up node that answers at once. The figures are printed for people: `make bench`.
"""

import multiprocessing
import statistics
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from commands.submit import Submission
from db.commands.accept import lock, move
from db.commands.states import State
from db.declare.roles import Role
from db.domains.crowdfunding.commands import OpenEscrow, RegisterIssuer
from db.journal.append import Actor
from helpers import servers
from helpers.office import Office
from ops.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.bench

COUNT, PROCESSES, THREADS = 2_000, 2, 4  # as `serve --workers 2`
ACTOR = Actor("bench", tenant="bench")


@pytest.fixture
def office():
    with (
        servers.scratch_directory() as folder,
        EmbeddedPostgres(folder) as url,
        servers.fresh_database(url) as database,
    ):
        found = Office(database)
        assert found.scalar("SHOW fsync") == "on"
        assert found.scalar("SHOW synchronous_commit") == "on"
        yield found
        found.close()


def percentile(seconds, share):
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)] * 1e3


def told(name, seconds, wall):
    median, late = statistics.median(seconds) * 1e3, percentile(seconds, 0.99)
    print(
        f"\n{name}: {len(seconds) / wall:,.0f}/s, median {median:.1f} ms, p99 "
        f"{late:.1f} ms, {len(seconds)} by {PROCESSES} processes of {THREADS} threads"
    )


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_threads(office, work, numbers):
    """In a process of its own, which must not use its parent's connections."""
    office.writer.dispose(close=False)
    office.command_service.at_once.dispose(close=False)
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda number: timed(lambda: work(number)), numbers))


def in_processes(office, work):
    context = multiprocessing.get_context("fork")
    ends = []
    began = time.perf_counter()
    for each in range(PROCESSES):
        ours, theirs = context.Pipe()
        numbers = range(each, COUNT, PROCESSES)
        play = lambda end, numbers: end.send(in_threads(office, work, numbers))  # noqa: E731
        process = context.Process(target=play, args=(theirs, numbers))
        process.start()
        ends.append((ours, process))
    seconds = [one for ours, _ in ends for one in ours.recv()]
    wall = time.perf_counter() - began
    for _, process in ends:
        process.join()
    return seconds, wall


def test_accepts(office):
    """Checked, ruled on, simulated, stored, in the audit log; each one durable."""

    def plain(_):
        office.command_service.submit(
            OpenEscrow,
            Submission(
                ACTOR, str(uuid.uuid4()),
                {"campaign_id": "CF-1", "issuer": b"\xaa" * 20},
            ),
        )  # fmt: skip

    def ruled(number):
        office.command_service.submit(
            RegisterIssuer,
            Submission(
                ACTOR, str(uuid.uuid4()),
                {
                    "issuer": number.to_bytes(20), "credential": "vc",
                    "memorandum": "m",
                },
            ),
        )  # fmt: skip

    told("accepts without rules", *in_processes(office, plain))
    told("accepts with a rule", *in_processes(office, ruled))


def test_block_to_told(office):
    """From the commit that moves a command to the answer of a client that waits."""
    token = office.by(Role.OPERATOR)
    seconds = []
    for number in range(100):
        answer = office.ask(
            "register-issuer", by=token, credential="vc", memorandum="m",
            issuer="0x" + number.to_bytes(20).hex(),
        )  # fmt: skip
        command = uuid.UUID(answer.json["data"]["id"])
        answered = []

        def wait(command=command, answered=answered):
            client = office.app.test_client()
            path = f"/api/v1/commands/{command}?wait=30&until=final"
            client.get(path, headers={"Authorization": f"Bearer {token}"})
            answered.append(time.perf_counter())

        waiter = threading.Thread(target=wait)
        waiter.start()
        hub = office.app.extensions["chainfold_hub"]
        while not hub.waiting:
            time.sleep(0.001)
        time.sleep(0.02)
        with office.writer.begin() as connection:
            row = lock(connection, command)
            move(connection, row, State.CANCELLED, office.clock())
        moved = time.perf_counter()
        waiter.join()
        seconds.append(answered[0] - moved)
    print(
        f"\nmoved to told: median {statistics.median(seconds) * 1e3:.1f} ms, "
        f"p99 {percentile(seconds, 0.99):.1f} ms, {len(seconds)} clients in turn"
    )
