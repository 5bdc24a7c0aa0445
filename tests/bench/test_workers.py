"""One worker of a backfill beside two, near the endpoint and far from it, in one run.

Turns alternate, so that a busy neighbour slows all; the least times are compared. The
processor's time is that of all processes of the backfill, and of Postgres for it. The
targets are printed, not asserted: shared machines are noisy.
"""

import os
import resource
from pathlib import Path

import pytest

from bench.recording import record
from bench.test_backfill import BLOCKS, SETTINGS, replay, run, sums
from helpers import servers
from ops.embedded.postgres import EmbeddedPostgres

ROUNDS = int(os.environ.get("CHAINFOLD_TEST_BENCH_ROUNDS", "3"))
TURNS = [(latency, workers) for latency in (0.0, 0.1) for workers in (1, 2)]


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_two_workers_beside_one(tmp_path, capsys):
    recording = tmp_path / "chain.gz"
    logs = record(recording, BLOCKS)
    found = {turn: [] for turn in TURNS}
    with EmbeddedPostgres(tmp_path, settings=SETTINGS) as server:
        for _ in range(ROUNDS):
            for latency, workers in TURNS:
                found[latency, workers].append(
                    backfilled(tmp_path, recording, server, latency, workers, logs)
                )
    least = {
        turn: [min(figures) for figures in zip(*rounds, strict=True)]
        for turn, rounds in found.items()
    }
    with capsys.disabled():
        print(f"\n{logs:,} logs in {BLOCKS:,} blocks, the least of {ROUNDS} rounds")
        for (latency, workers), (seconds, own, database) in least.items():
            print(
                f"{latency * 1000:4.0f} ms, {workers} workers: {seconds:6.2f} s; "
                f"processor {own:6.2f} s, Postgres {database:6.2f} s"
            )
        for latency, wanted in ((0.0, 1.0), (0.1, 1.3)):
            one, two = least[latency, 1], least[latency, 2]
            print(
                f"{latency * 1000:4.0f} ms: two are {one[0] / two[0]:.2f} times as "
                f"fast (wanted: {wanted:.1f}), their processor time "
                f"{two[1] / one[1]:.2f} times one's, with Postgres "
                f"{sum(two[1:]) / sum(one[1:]):.2f} (wanted: 1.15)"
            )


def backfilled(folder, recording, server, latency, workers, logs):
    """The seconds that a backfill takes, its processor's time, and Postgres's."""
    with replay(recording, folder, latency) as url:
        database = servers.create_database(server)
        try:
            before = used(), used_by_postgres(folder)
            answer, seconds = run("product.py", url, database, workers)
            own = used() - before[0]
            assert answer["facts"] == logs
            after = used_by_postgres(folder)
            assert sums(database, "state.")["campaigns"][0] == BLOCKS // 10
        finally:
            servers.drop_database(server, database)
    return seconds, own, after - before[1]


def used():
    """Seconds of the processor that ended children, and theirs, have used."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def used_by_postgres(folder):
    """The same of the sessions of the server in a folder that have ended."""
    pid = (folder / "postgres/data/postmaster.pid").read_text().split("\n", 1)[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
