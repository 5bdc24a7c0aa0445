"""Commands on a real chain with real processes, some of which die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from db.engine import connect
from devnet.anvil import Anvil
from devnet.deploy import dev_account, dev_key
from devnet.run import up
from ops.embedded.postgres import EmbeddedPostgres
from ops.settings import load_settings

COMMAND = Path(sys.executable).parent / "chainfold"
SIGNERS = """
[signers.registrar]
kind = "env"
env = "REGISTRAR_KEY"
address = "{registrar}"

[signers.operator]
kind = "env"
env = "OPERATOR_KEY"
address = "{operator}"
"""

pytestmark = [pytest.mark.chain, pytest.mark.slow]


class Platform:
    """A chain, a database, an indexer, and commands for both signers."""

    def __init__(self, folder: Path, anvil: Anvil, database_url: str) -> None:
        self.folder, self.anvil = folder, anvil
        self.engine = connect(database_url)
        self.running: list[subprocess.Popen] = []

    def start(self, verb):
        process = subprocess.Popen(
            [COMMAND, "--log-level", "warning", verb], cwd=self.folder,
            env=environment(),
        )  # fmt: skip
        self.running.append(process)
        if verb == "index":
            self.await_index()
        return process

    def await_index(self):
        """Commands are ruled on by tables, which must be there."""
        following = (
            "SELECT count(*) FROM control.source WHERE id > 0 AND state = 'following'"
        )
        deadline = time.monotonic() + 30
        while not self.scalar(following):
            assert time.monotonic() < deadline, "the chain is not followed"
            time.sleep(0.1)

    def run(self, *arguments, code=0):
        done = subprocess.run(
            [COMMAND, "--log-level", "warning", *arguments], cwd=self.folder,
            env=environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def scalar(self, query):
        with self.engine.connect() as connection:
            return connection.scalar(text(query))

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
        self.engine.dispose()


def environment():
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")}
    keys = {"REGISTRAR_KEY": dev_key(0).hex(), "OPERATOR_KEY": dev_key(1).hex()}
    return {**kept, **keys}


@pytest.fixture
def platform(tmp_path):
    anvil, _ = up(out_dir=tmp_path)
    path = tmp_path / "chainfold.toml"
    signers = SIGNERS.format(registrar=dev_account(0), operator=dev_account(1))
    path.write_text(path.read_text() + signers)
    server = EmbeddedPostgres(tmp_path / ".chainfold")
    found = Platform(tmp_path, anvil, server.start())
    try:
        found.run("migrate")
        yield found
    finally:
        found.stop()
        server.stop()
        anvil.stop()


def issuer(number):
    return "0x" + f"{number:040x}"


def register(platform, number, *more, code=0):
    return platform.run(
        "command", "submit", "register-issuer", f"issuer={issuer(number)}",
        f"credential=vc{number}", "memorandum=ipfs://m", *more, code=code,
    )  # fmt: skip


def test_an_issuer_is_registered_and_its_row_follows(platform):
    platform.start("index")
    platform.start("work")

    said = register(platform, 0xABC, "--wait", "30", "--key", "one")
    again = register(platform, 0xABC, "--key", "one")
    other = platform.run(
        "command", "submit", "deactivate-issuer", f"issuer={issuer(1)}",
        "--key", "one", code=2,
    )  # fmt: skip
    refused = register(platform, 0xABC, code=2)

    states = [line.split()[1] for line in said.splitlines() if "  " in line]
    assert "succeeded" in states
    assert platform.scalar("SELECT count(*) FROM issuers") == 1
    assert platform.scalar("SELECT credential FROM issuers") == "vc2748"
    assert "known already" in again
    assert "was used for another request" in other
    assert "registered already" in refused
    assert platform.scalar("SELECT count(*) FROM control.attempt") == 1


def test_a_campaign_is_deployed_and_money_attested_through_commands_alone(platform):
    platform.start("index")
    platform.start("work")
    register(platform, 0xABC, "--wait", "30")

    terms = (
        "draft=0193b0a0-0000-7000-8000-000000000001", "campaign_id=CF-1",
        "company_name=Bakery", "description=Bread", "goal=1000",
        "duration=30 days", "document_hash=ipfs://d",
        f"beneficiary={issuer(0xABC)}",
    )  # fmt: skip
    platform.run("command", "submit", "draft-campaign", *terms)
    platform.run("command", "submit", "approve-campaign", terms[0], "revision=1")
    platform.run("command", "submit", "deploy-campaign", *terms, "--wait", "30")
    campaign = platform.scalar("SELECT campaign FROM campaigns")
    platform.run(
        "command", "submit", "attest-investment", f"campaign={campaign}",
        f"investor={issuer(0xDEF)}", "amount=100.00",
        "method=telebirr", "payment_ref=0x" + "11" * 32,
        "--wait", "30",
    )  # fmt: skip

    assert platform.scalar("SELECT raised FROM campaigns") == 100
    assert platform.scalar("SELECT funded FROM campaigns") is False
    assert "differences" in platform.run("verify")


def test_workers_killed_anywhere_run_each_command_once(platform):
    platform.start("index")
    for number in range(1, 7):
        register(platform, number)
    for _ in range(3):
        workers = [platform.start("work"), platform.start("work")]
        time.sleep(1.6)
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
    platform.start("work")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and platform.scalar(
        "SELECT count(*) FROM control.command WHERE state <> 'succeeded'"
    ):
        time.sleep(0.2)

    assert platform.scalar("SELECT array_agg(DISTINCT state) FROM control.command") == [
        "succeeded"
    ]
    assert platform.scalar("SELECT count(*) FROM issuers") == 6
    assert (
        platform.scalar(
            "SELECT count(*) FROM control.sender_transaction t JOIN control.signer s"
            " ON s.address = t.sender AND s.name = 'registrar' WHERE NOT t.succeeded"
        )
        == 0
    )
    gaps = "SELECT max(nonce) - min(nonce) + 1 - count(*) FROM control.slot"
    assert platform.scalar(gaps) == 0


def test_bad_arguments_are_all_named_at_once(platform):
    said = platform.run(
        "command", "submit", "register-issuer", "issuer=0x12", "nonsense=1", code=2
    )

    assert "issuer: expected 20 bytes" in said
    assert "nonsense: no such argument" in said
    assert "credential: it is required" in said
    assert platform.scalar("SELECT count(*) FROM control.command") == 0


def test_a_key_never_shows(platform):
    platform.start("index")
    platform.start("work")
    said = register(platform, 7, "--wait", "30")
    key = dev_key(0).hex()

    dump = platform.scalar(
        "SELECT string_agg(c::text, '') || string_agg(a::text, '')"
        " FROM control.command c, control.attempt a"
    )
    assert key not in said
    assert key not in dump
    settings = load_settings(platform.folder / "chainfold.toml", environment())
    assert key not in repr(settings)


def test_a_key_in_another_process_signs_until_it_is_stopped(platform):
    """The workers have no key: `sign serve` has it, behind a socket of its own."""
    settings = platform.folder / "chainfold.toml"
    server = settings.read_text()
    (platform.folder / "signing.toml").write_text(server)
    socket = platform.folder / "sign.sock"
    settings.write_text(
        server.replace(
            'kind = "env"\nenv = "REGISTRAR_KEY"',
            f'kind = "remote"\nurl = "unix:{socket}"',
        )
    )
    serving = subprocess.Popen(
        [
            COMMAND, "--log-level", "warning", "--config", "signing.toml", "sign",
            "serve", "--listen", f"unix:{socket}",
        ],
        cwd=platform.folder, env=environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    platform.running.append(serving)
    deadline = time.monotonic() + 30
    while not socket.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    platform.start("index")
    platform.start("work")
    register(platform, 1, "--wait", "40")

    platform.run("sign", "stop", "--reason", "drill")
    register(platform, 2)
    deadline = time.monotonic() + 20
    while "was stopped" not in (said := platform.run("sign", "show", code=1)):
        assert time.monotonic() < deadline, said
    assert platform.scalar("SELECT count(*) FROM control.attempt") == 1
    assert "chainfold sign resume" in said
    platform.run("sign", "resume")
    assert platform.scalar(
        "SELECT string_agg(action || ' ' || subject || ' ' || outcome, ', '"
        " ORDER BY position) FROM facts.audit_action_taken"
    ).startswith("stop every signer drill, allow every signer , resume ")
    deadline = time.monotonic() + 40
    while platform.scalar("SELECT count(*) FROM issuers") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert platform.scalar("SELECT count(*) FROM control.signed") == 2
    platform.run("sign", "show")
