"""The journal from the command line, down to a real chain."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from db.engine import connect
from db.journal.append import Actor, append
from db.journal.audit.entries import SecurityEvent
from db.registry import Registry
from devnet.deploy import dev_account, dev_key
from devnet.run import up
from ops.embedded.postgres import EmbeddedPostgres

COMMAND = Path(sys.executable).parent / "chainfold"
REGISTRY = Registry.load(["crowdfunding"])  # as the settings of the place have it
TODAY = datetime.now(UTC)

pytestmark = [pytest.mark.chain, pytest.mark.slow]


class Shell:
    """The command line in a folder with a chain, and the database beside it."""

    def __init__(self, folder, engine):
        self.folder, self.engine = folder, engine
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")}
        self.environment = {**kept, "NOTARY_KEY": dev_key(3).hex()}
        self.running = []

    def run(self, *arguments, code=0):
        done = subprocess.run(
            [COMMAND, "--log-level", "warning", *arguments], cwd=self.folder,
            env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, verb):
        self.running.append(
            subprocess.Popen(
                [COMMAND, "--log-level", "warning", verb],
                cwd=self.folder, env=self.environment,
            )
        )  # fmt: skip

    def say(self, days_ago, *kinds):
        now = TODAY - timedelta(days=days_ago)
        with self.engine.begin() as connection:
            for kind in kinds:
                entry = SecurityEvent(kind=kind, account="a", details={})
                append(connection, REGISTRY, entry, actor=Actor("test"), now=now)

    def stop(self):
        for process in self.running:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        self.engine.dispose()


@pytest.fixture
def shell(tmp_path):
    anvil, _ = up(out_dir=tmp_path)
    path = tmp_path / "chainfold.toml"
    path.write_text(
        path.read_text() + '[signers.notary]\nkind = "env"\nenv = "NOTARY_KEY"\n'
        f'address = "{dev_account(3)}"\n'
    )
    server = EmbeddedPostgres(tmp_path / ".chainfold")
    found = Shell(tmp_path, connect(server.start()))
    try:
        found.run("migrate")
        yield found
    finally:
        found.stop()
        server.stop()
        anvil.stop()


def until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_day_is_anchored_and_checked(shell):
    assert "nothing was said" in shell.run("journal", "anchor", code=2)
    shell.say(3, "login")
    shell.say(2, "login", "logout", "login")
    shell.say(1, "login")
    day = (TODAY - timedelta(days=2)).date().isoformat()

    first = shell.run("journal", "anchor", "--day", day)
    again = shell.run("journal", "anchor", "--day", day)
    assert "not anchored" in shell.run("journal", "check", code=1)
    shell.start("index")
    shell.start("work")  # which anchors the other days by itself

    assert "entries 2 to 4" in first
    assert "known already" in again
    with shell.engine.connect() as connection:
        until(lambda: connection.scalar(text("SELECT count(*) FROM anchors")) == 3)
    assert 3 == shell.run("journal", "check").count(": anchored")
    proof = json.loads(shell.run("journal", "prove", "3"))
    with shell.engine.connect() as connection:
        known = connection.scalar(
            text(
                "SELECT content_hash FROM anchors ORDER BY occurred_at OFFSET 1 LIMIT 1"
            )
        )
    assert (proof["root"], proof["seq"], len(proof["steps"])) == (known, 3, 2)
    assert "no entry 99" in shell.run("journal", "prove", "99", code=2)

    with shell.engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text("UPDATE control.journal_entry SET actor = 'other' WHERE seq = 2")
        )
    assert "entry 2 was changed" in shell.run("verify", code=1)


def test_persons_are_erased_and_facts_rebuilt(shell):
    shell.say(0, "login")

    assert "name a subject" in shell.run("journal", "erase", code=2)
    assert "erased, entry 2" in shell.run("journal", "erase", "anna", "--yes")
    assert "erased before" in shell.run("journal", "erase", "anna", "--yes")
    assert "0 keys deleted" in shell.run("journal", "erase", "--again")
    assert "audit_security_event: 1" in shell.run("journal", "rebuild")
    assert "journal: 0 faults" in shell.run("verify")
    assert "entries   2, the last at" in shell.run("status", code=1)
