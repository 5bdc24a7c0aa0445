"""A long history of a Solana program, end to end, against the floor and from afar.

The product's own command reads it as a whole process: `chainfold backfill` with an IDL
and two tables in the settings. The floor is a bare script that makes the same rows of
the same endpoint. Rounds alternate, so that a busy neighbour slows all of them, and the
least times are compared. The targets are printed, not asserted: shared machines are
noisy. That the rows are the same, and all of them there, is asserted.

CHAINFOLD_TEST_BENCH_TRANSACTIONS says how long it is, CHAINFOLD_TEST_BENCH_ROUNDS how
often each is run.
"""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from bench.solana_recording import FIRST_SLOT, PROGRAM, RECORDED, write
from bench.solana_replay import GENESIS
from bench.test_backfill import FOLDER, ROOT, SETTINGS, plain
from helpers import servers
from idl.parse import DIRECTORY
from ops.embedded.postgres import EmbeddedPostgres

COUNT = int(os.environ.get("CHAINFOLD_TEST_BENCH_TRANSACTIONS", "300000"))
ROUNDS = int(os.environ.get("CHAINFOLD_TEST_BENCH_ROUNDS", "1"))
LATENCIES = (0.0, 0.1)
CLI = Path(sys.executable).with_name("chainfold")
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # as it is when installed
CHAINFOLD = f"""
domains = []

[chains.sol]
id = "solana:{GENESIS[:32]}"
rpc = "{{url}}"
finality = "commitment"

[database]
url = "{{database}}"

[programs.ledger]
idl = "ledger.json"
start = {FIRST_SLOT}

[tables.authors]
author = "Key()"
total = "Sum(ledger.Recorded.amount)"
entries = "Count(ledger.Recorded)"
last_at = "Latest(ledger.Recorded.block_time)"

[tables.days]
day = "Bucket('1 day')"
entries = "Count(ledger.Recorded)"
volume = "Sum(ledger.Recorded.amount)"
"""
SUMS = (
    "SELECT count(*), sum(total), sum(entries) FROM {state}authors",
    "SELECT count(*), sum(volume), sum(entries) FROM {state}days",
    "SELECT count(*), sum(level), sum(length(shares::text)) FROM {facts}recorded",
    "SELECT count(*), sum(first) FROM {facts}marked",
    "SELECT count(*), sum(first) FROM {facts}mark{called}",
    "SELECT count(*), sum(length(entry::text)) FROM {facts}emit{called}",
    "SELECT count(*), sum(length(entry::text)) FROM {facts}emit_by_call{called}",
    "SELECT count(*), sum(length(receipt)) FROM {facts}record{called}",
    "SELECT count(*), sum(length(data)) FROM {facts}relay{called}",
)
TRANSACTIONS = """
SELECT max(xmin::text), count(DISTINCT xmin::text) FROM facts.ledger_recorded
GROUP BY position >> 32
"""
FLOOR = {"state": "", "facts": "", "called": ""}
PRODUCT = {"state": "state.", "facts": "facts.ledger_", "called": "_instruction"}


@dataclass
class Run:
    """One run of a whole process, and what it took."""

    seconds: float = 0.0
    cpu: float = 0.0
    served_cpu: float = 0.0  # of the endpoint
    peaks: list[float] = field(default_factory=lambda: [0.0] * 4)  # MB, by quarter


@contextmanager
def endpoint(folder, latency):
    """The history, served by a process of its own; its URL and that process."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, FOLDER / "solana_replay.py", folder, port_file, str(latency)],
        env=ENVIRONMENT,
    )
    try:
        while not port_file.exists() or not port_file.read_text():
            assert process.poll() is None, "the replay server ended"
            time.sleep(0.05)
        url = f"http://127.0.0.1:{port_file.read_text()}"
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def measured(command, url, server, output):
    """Run a command to its end, watching its memory."""
    run = Run()
    before = sum(server.cpu_times()[:2])
    began = time.monotonic()
    process = subprocess.Popen(
        [*map(str, command)], env=ENVIRONMENT, stdout=output, stderr=output
    )
    watching = threading.Thread(target=watch, args=(run, process.pid, url))
    watching.start()
    _, status, used = os.wait4(process.pid, 0)
    run.seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    watching.join()
    run.cpu = used.ru_utime + used.ru_stime
    run.served_cpu = sum(server.cpu_times()[:2]) - before
    output.seek(0)
    assert process.returncode == 0, output.read()
    return run


def watch(run, pid, url):
    """Note the most memory in each quarter of what is served, while a process runs."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    body = json.dumps({"id": 1, "method": "bench_served"})
    first = None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            connection.request("POST", "/", body)
            served = json.loads(connection.getresponse().read())["result"]
            first = served if first is None else first
            quarter = min(4 * (served - first) // COUNT, 3)
            memory = process.memory_info().rss / 2**20
            run.peaks[quarter] = max(run.peaks[quarter], memory)
            time.sleep(0.2)


def sums(url, names):
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [
            tuple(connection.execute(text(query.format(**names))).one())
            for query in SUMS
        ]
    engine.dispose()
    return found


def check_transactions(url):
    """Each slot is of one transaction; returns how many transactions there were."""
    engine = create_engine(url)
    with engine.connect() as connection:
        slots = connection.execute(text(TRANSACTIONS)).all()
    engine.dispose()
    assert {how_many for _, how_many in slots} == {1}
    return len({transaction for transaction, _ in slots})


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_history_of_a_program_against_floor(tmp_path, capsys):
    truth = write(tmp_path, COUNT)
    shutil.copy(DIRECTORY / "ledger.json", tmp_path)
    settings = tmp_path / "chainfold.toml"
    subprocess.run([CLI, "--version"], env=ENVIRONMENT, check=True, capture_output=True)
    runs = {(who, away): [] for who in ("floor", "product") for away in LATENCIES}
    written = set()

    def run(who, command, url, away, serving):
        with (tmp_path / f"{who}.log").open("w+") as output:
            runs[who, away].append(measured(command, url, serving, output))

    with EmbeddedPostgres(tmp_path, settings=SETTINGS) as server:
        for away in LATENCIES * ROUNDS:
            with endpoint(tmp_path, away) as (url, serving):
                with servers.fresh_database(server) as database:
                    script = FOLDER / "solana_floor.py"
                    command = [sys.executable, script, url, plain(database), PROGRAM]
                    run("floor", command, url, away, serving)
                    expected = sums(database, FLOOR)
                    assert expected[0][1:] == (truth["total"], truth["entries"])
                with servers.fresh_database(server) as database:
                    settings.write_text(CHAINFOLD.format(url=url, database=database))
                    command = [CLI, "--config", settings, "backfill", "--workers", "1"]
                    run("product", command, url, away, serving)
                    assert sums(database, PRODUCT) == expected
                    written.add(check_transactions(database))
    size = (tmp_path / "transactions").stat().st_size / COUNT
    for name in ("transactions", "lines", "index.npy"):
        (tmp_path / name).unlink()
    with capsys.disabled():
        report(runs, size)
        print(f"written in {min(written)} to {max(written)} transactions of Postgres")


def report(runs, size):
    best = {key: min(found, key=lambda run: run.seconds) for key, found in runs.items()}
    print(
        f"\n{COUNT:,} transactions of {size:,.0f} bytes, made of {RECORDED} that ran;"
        f" the least of {ROUNDS} rounds, load {os.getloadavg()[0]:.1f}"
    )
    for (who, away), run in best.items():
        print(
            f"{who:8} at {away * 1000:3.0f} ms {run.seconds:7.2f} s,"
            f" {COUNT / run.seconds:7,.0f} transactions/s, CPU {run.cpu:6.2f} s,"
            f" the endpoint's {run.served_cpu / run.seconds:4.0%} of the time"
        )
    near, far = (best["product", away] for away in LATENCIES)
    for run, away in ((near, LATENCIES[0]), (far, LATENCIES[1])):
        ratio = best["floor", away].seconds / run.seconds
        print(f"of the floor at {away * 1000:3.0f} ms: {ratio:.2f} (wanted: 0.50)")
    print(f"far: {far.seconds / near.seconds:.2f} times the near one (wanted: 1.50)")
    for run in (near, far):
        quarters = ", ".join(f"{each:.0f}" for each in run.peaks)
        print(f"peak memory by quarters of the history: {quarters} MB (wanted: flat)")
