"""Lists under load beside a handler written by hand, as ratios of one run.

Both are served by two processes over one Postgres, and asked by 32 connections that
ask again as soon as they are answered. Turns alternate, so that a busy neighbour slows
both; the medians are compared. The targets are printed, not asserted: shared machines
are noisy.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from db import sources
from db.blocks import Header
from db.domains.crowdfunding import events as e
from db.engine import connect
from db.facts import Fact, columns_from_facts
from db.position import BlockRange, position
from db.schema import migrate
from helpers import servers
from helpers.processes import descendants
from helpers.served import SETTINGS, Served
from indexer.source import Batch
from indexer.writer import write_batch
from ops.embedded.postgres import EmbeddedPostgres
from ops.indexing import declared, streams
from ops.ports import free_port
from ops.settings import load_settings

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
CAMPAIGNS, INVESTMENTS = 2000, 20_000
CONNECTIONS, WORKERS = 32, 2
ROUNDS = int(os.environ.get("CHAINFOLD_TEST_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("CHAINFOLD_TEST_BENCH_SECONDS", "4"))
PATH = "/api/v1/campaigns?limit=20&units=raw"
CONTRACTS = """
[chains.edge.contracts]
IssuerRegistry = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
CampaignFactory = "0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0"
NFTShareCertificate = "0xcf7ed3acca5a467e9e704c703e8d87f634fb0fc9"
FundEscrow = "0xdc64a140aa3e981100a9beca4e685f962f0cf6c9"
"""


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_lists_under_load(tmp_path, capsys):
    with (
        EmbeddedPostgres(tmp_path, settings=servers.TEST_SETTINGS) as server,
        servers.fresh_database(server) as url,
        contextlib.ExitStack() as stack,
    ):
        write_history(tmp_path, url)
        served = Served(tmp_path, url, "--workers", str(WORKERS), more=CONTRACTS)
        stack.callback(served.close)
        bare, children = stack.enter_context(bare_server(url))
        meter = Meter(url, {served.port: served.workers, bare: children})
        measured = measure(meter, tmp_path, served.port, bare)
    bare, page, same = measured["bare"], measured["page"], measured["same"]
    with capsys.disabled():
        print(f"\n{CONNECTIONS} connections, {WORKERS} processes, {PATH}")
        for name, found in measured.items():
            print(
                f"{name:5} {found['rate']:7,.0f}/s, half within "
                f"{found['half_ms']:5.1f} ms, 99 of 100 within {found['p99_ms']:5.1f}; "
                f"{found['cpu']:4.0f} us of the processor, {found['database_cpu']:4.0f}"
                " of them Postgres"
            )
        print(f"p99 {page['p99_ms'] / bare['p99_ms']:.2f} times by hand (wanted: 2.00)")
        print(f"rate {page['rate'] / bare['rate']:.2f} times by hand")
        print(f"a 304 costs {same['cpu'] / page['cpu']:.2f} of a page (wanted: 0.33)")


def write_history(folder, url):
    """Campaigns and what was invested in them, as the indexer writes them."""
    text = SETTINGS.format(url=servers.plain(url), port=1, metrics=2, rpc="http://a")
    (folder / "chainfold.toml").write_text(text + CONTRACTS)
    settings = load_settings(str(folder / "chainfold.toml"))
    registry = declared(settings)
    engine = connect(url)
    migrate(engine, registry)
    with engine.begin() as connection:
        row = sources.register(
            connection, name="edge", chain_id="eip155:100", ordinals="rank"
        )
    plan = streams(settings, registry)["edge"][1]
    headers = [Header(n, name(n), name(n - 1), 1_700_000_000 + n) for n in range(2)]
    facts = [created(n) for n in range(CAMPAIGNS)]
    facts += [invested(n) for n in range(INVESTMENTS)]
    batch = Batch(BlockRange(0, 1), headers, columns_from_facts(facts))
    write_batch(engine, registry, row.id, batch, plan)
    with engine.begin() as connection:
        sources.observe(connection, row.id, head=1, head_time=1_700_000_001, final=1)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")  # as Postgres does in time
    engine.dispose()


def name(number):
    return number.to_bytes(32, "big", signed=True)


def address(kind, number):
    return kind + number.to_bytes(19, "big")


def created(number):
    return Fact(e.CampaignCreated, position(0, number), 1_700_000_000, name(number), {
        "campaign": address(b"c", number), "creator": address(b"m", number % 50),
        "beneficiary": address(b"b", number), "campaign_id": f"campaign-{number}",
        "company_name": f"Company {number} Ltd", "goal": 10**18 * (number + 1),
        "deadline": 1_800_000_000 + number,
    })  # fmt: skip


def invested(number):
    return Fact(e.InvestmentMade, position(1, number), 1_700_000_001, name(number), {
        "campaign": address(b"c", number % CAMPAIGNS), "investment": name(number),
        "investor": address(b"i", number % 700), "amount": 10**15 * (number + 1),
        "total_raised": 10**15 * (number + 1), "method": name(1),
        "payment_ref": name(number),
    })  # fmt: skip


@contextlib.contextmanager
def bare_server(url):
    """The handler written by hand: its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, FOLDER / "bare_reads.py", str(port), servers.plain(url),
         str(WORKERS)],
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                asked(port)
                break
            except urllib.error.HTTPError as refused:
                raise AssertionError(refused.read()) from refused
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield port, partial(descendants, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def asked(port):
    """The rows and the tag of one answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}") as answer:
        return json.load(answer)["data"], answer.headers["ETag"]


class Meter:
    """The processor's time of each server's processes, and of Postgres for it."""

    def __init__(self, url, processes):
        self.processes = processes  # by port
        self.connection = psycopg2.connect(servers.plain(url))
        self.connection.autocommit = True

    def seconds(self, port):
        """The server's, and Postgres's for this database."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
            backends = [pid for (pid,) in cursor.fetchall()]
        return used(self.processes[port]()), used(backends)


def used(pids):
    """Seconds that processes have used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def measure(meter, folder, port, bare):
    """The medians of all turns."""
    rows, tag = asked(port)
    by_hand, _ = asked(bare)
    assert len(rows) == 20
    for name in ("campaign", "company_name", "stage", "investments"):
        assert [row[name] for row in rows] == [row[name] for row in by_hand]
    assert len(by_hand[0]) + 5 > len(rows[0])
    turns = {"bare": (bare, 200, ""), "page": (port, 200, "")}
    turns["same"] = (port, 304, f"If-None-Match: {tag}\r\n")
    found = {name: [] for name in turns}
    for _ in range(ROUNDS):
        for name, (at, status, header) in turns.items():
            before = meter.seconds(at)
            turn = load(folder, at, status, header)
            own, database = (
                b - a for a, b in zip(before, meter.seconds(at), strict=True)
            )
            asked_ = turn["rate"] * SECONDS / 1e6
            turn |= {
                "cpu": (own + database) / asked_,
                "database_cpu": database / asked_,
            }
            found[name].append(turn)
    return {
        name: {key: statistics.median(turn[key] for turn in each) for key in each[0]}
        for name, each in found.items()
    }


def load(folder, port, status, header):
    """The figures of one turn."""
    file = folder / "request"
    file.write_text(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n")
    done = subprocess.run(
        [sys.executable, FOLDER / "load.py", str(port), str(CONNECTIONS),
         str(SECONDS), file, str(status)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
