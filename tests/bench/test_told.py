"""From a block that is indexed to a client that is told what became of its command.

Everything is real: a node, `chainfold run` (indexer, workers and API in one process), a
Postgres that syncs to the disk, clients over HTTP. The clock starts when the indexer's
notification of the block is heard, which is at its commit. Printed for people.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from db.engine import connect
from db.listen import Listener
from db.registry import Registry
from db.schema import migrate
from devnet.run import up
from examples.crowdfunding.cast import (
    hire_signers,
    hire_staff,
    signer_section,
    variable_of,
)
from examples.person import Person
from helpers import servers
from ops.embedded.postgres import EmbeddedPostgres
from ops.ports import free_port

pytestmark = [pytest.mark.bench, pytest.mark.chain]

COMMAND = Path(sys.executable).parent / "chainfold"
SETTINGS = """
data_dir = "{folder}"
{chain}
[database]
url = "{database}"
[api]
port = {port}
[redis]
url = "none"
"""
CLIENTS, ROUNDS = 8, 12


class Heard:
    """When each block was committed, by the notifications of the chain's source."""

    def __init__(self, source):
        self.source, self.at = source, {}

    def __call__(self, payload):
        now = time.perf_counter()
        source, _, blocks = payload.partition(":")
        if source == str(self.source) and not blocks.startswith("final"):
            first, last = map(int, blocks.split(":"))
            for height in range(first, last + 1):
                self.at.setdefault(height, now)


@pytest.fixture
def platform(tmp_path):
    with contextlib.ExitStack() as stack:
        anvil, deployment = up()
        stack.callback(anvil.stop)
        keys = hire_signers(deployment)
        folder = stack.enter_context(servers.scratch_directory())
        url = stack.enter_context(EmbeddedPostgres(folder))
        database = stack.enter_context(servers.fresh_database(url))
        engine = connect(database)
        stack.callback(engine.dispose)
        migrate(engine, Registry.load())
        staff = hire_staff(engine)
        port = free_port()
        settings = SETTINGS.format(
            folder=tmp_path, chain=deployment.to_settings_toml(), port=port,
            database=servers.plain(database),
        )  # fmt: skip
        settings += "\n".join(signer_section(name, key) for name, key in keys.items())
        (tmp_path / "chainfold.toml").write_text(settings)
        secrets = {variable_of(name): "0x" + key.hex() for name, key in keys.items()}
        process = subprocess.Popen(
            [COMMAND, "--log-level", "error", "run"], cwd=tmp_path,
            env={**os.environ, **secrets},
        )  # fmt: skip
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        yield engine, f"http://127.0.0.1:{port}", staff


def signed_in(base, staff):
    person, deadline = Person(base, staff.operator), time.monotonic() + 60
    while True:
        try:
            person.sign_in(staff.password)
            person.await_index()
            return person
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_block_to_told(platform):
    engine, base, staff = platform
    person = signed_in(base, staff)
    with engine.connect() as connection:
        source = connection.exec_driver_sql(
            "SELECT id FROM control.source WHERE name <> 'journal'"
        ).scalar_one()
    heard, told, lock = Heard(source), [], threading.Lock()
    listener = Listener(engine, "chainfold", heard).start()

    def register(number):
        asked = person.ask(
            "/issuers/register", credential="vc", memorandum="m",
            issuer="0x" + (number + 1).to_bytes(20).hex(),
        )  # fmt: skip
        done = person.follow(asked)
        with lock:
            told.append((done["height"], time.perf_counter()))

    for turn in range(ROUNDS):
        numbers = range(turn * CLIENTS, (turn + 1) * CLIENTS)
        threads = [threading.Thread(target=register, args=(n,)) for n in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    listener.stop()

    assert len(told) == CLIENTS * ROUNDS
    seconds = sorted(at - heard.at[height] for height, at in told)
    late = seconds[int(len(seconds) * 0.99)]
    print(
        f"\nblock to told: median {statistics.median(seconds) * 1e3:.1f} ms, p99 "
        f"{late * 1e3:.1f} ms, {len(seconds)} commands, {CLIENTS} clients at a time"
    )
