"""Real workers and a real node, killed and frozen while a queue is carried out.

200 commands on four signers; `CHAINFOLD_TEST_STORM=1000` for as many as that.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from eth_abi import encode
from eth_utils import keccak
from sqlalchemy import text

import abis
from db.commands.accept import Request, accept
from db.commands.evm.tags import tag_of
from db.engine import connect
from devnet.anvil import AnvilOptions
from devnet.deploy import deploy, dev_account, dev_key
from devnet.rpc import Rpc, UnreachableError
from devnet.toolchain import anvil_path
from ops.embedded.postgres import EmbeddedPostgres
from ops.ports import free_port

COMMANDS = int(os.environ.get("CHAINFOLD_TEST_STORM", "200"))
SECONDS_MAX = 170
SIGNERS = range(1, 5)
COMMAND = Path(sys.executable).parent / "chainfold"
APPROVE = keccak(text="approve(address,uint256)")[:4]
SETTINGS = """
[chains.storm]
id = "eip155:31337"
rpc = "{url}"
finality = "ibft"
poll_seconds = 0.2

[contracts.token]
abi = "{abi}"
address = "{token}"
"""
SIGNER = """
[signers.s{number}]
kind = "env"
env = "KEY_{number}"
address = "{address}"
allow = ["token.approve"]
max_in_flight = {most}
"""

STANDING = """
    SELECT json_build_object(
        'states', (SELECT json_object_agg(state, n) FROM (
            SELECT state, count(*) AS n FROM control.command GROUP BY 1) t),
        'signers', (SELECT json_agg(g) FROM control.signer g),
        'open', (SELECT json_agg(json_build_array(s.signer, s.nonce, a.sent_count,
            a.answer)) FROM control.slot s LEFT JOIN control.attempt a
            USING (signer, nonce) WHERE s.open),
        'chain', (SELECT json_agg(s) FROM control.source s))
"""

pytestmark = [pytest.mark.chain, pytest.mark.slow, pytest.mark.timeout(420)]


class Node:
    """A node that keeps its blocks when it ends, and forgets what was waiting."""

    def __init__(self, folder):
        self.state, self.port = folder / "state.json", None
        self.process = None

    def start(self, port):
        options = AnvilOptions(block_time=0.5)
        self.port = port
        self.process = subprocess.Popen(
            [
                anvil_path(), *options.arguments(port), "--state", self.state,
                "--preserve-historical-states",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.rpc = Rpc(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.rpc.call("eth_chainId")
            except UnreachableError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def again(self):
        """End and begin; a block mined after the state is written would be lost.

        It would be a final block undone, for which signers halt, as they should.
        """
        self.rpc.call("evm_setIntervalMining", 0)
        self.stop()
        self.start(self.port)


def environment():
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")}
    return {**kept, **{f"KEY_{n}": dev_key(n).hex() for n in SIGNERS}}


class Storm:
    """The processes of a platform, some of which die."""

    def __init__(self, folder, database_url):
        self.folder, self.engine = folder, connect(database_url)
        self.workers, self.others = [], []

    def start(self, verb):
        return subprocess.Popen(
            [COMMAND, "--log-level", "error", verb], cwd=self.folder, env=environment()
        )

    def scalar(self, query):
        with self.engine.connect() as connection:
            return connection.scalar(text(query))

    def wait(self, query, seconds):
        deadline = time.monotonic() + seconds
        while not self.scalar(query):
            assert time.monotonic() < deadline, query
            time.sleep(0.2)

    def ask(self, token):
        now = datetime.now(UTC)
        source = self.scalar("SELECT source FROM control.signer LIMIT 1")
        with self.engine.begin() as connection:
            for number in range(COMMANDS):
                command_id = uuid.UUID(int=number + 1)
                call = encode(["address", "uint256"], [dev_account(9), number])
                accept(
                    connection,
                    Request(
                        tenant="t", idempotency_key=str(number), kind="Approve",
                        arguments={"n": number}, source=source,
                        signer=f"s{number % len(SIGNERS) + 1}", target=token,
                        data=APPROVE + call + tag_of(command_id), value=0,
                        gas_limit=90_000,
                    ),
                    now, command_id=command_id,
                )  # fmt: skip

    def blow(self, rng, node):
        """Something dies, something freezes, now and then the node begins anew."""
        worker = rng.choice(self.workers)
        roll = rng.random()
        if roll < 0.45:
            worker.kill()
            worker.wait()
            self.workers[self.workers.index(worker)] = self.start("work")
        elif roll < 0.8:
            worker.send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(1, 3))
            worker.send_signal(signal.SIGCONT)
        else:
            node.again()

    def stop(self):
        for process in [*self.workers, *self.others]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()
        self.engine.dispose()


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    node.start(free_port())
    yield node
    node.stop()


@pytest.fixture
def storm(tmp_path, node):
    deployed = deploy(f"http://127.0.0.1:{node.port}")
    token = deployed.contracts["TestToken"].address
    abi = Path(abis.__file__).parent / "examples" / "TestToken.json"
    (tmp_path / "chainfold.toml").write_text(
        SETTINGS.format(url=f"http://127.0.0.1:{node.port}", abi=abi, token=token)
        + "".join(
            SIGNER.format(
                number=n, address=dev_account(n), most=max(2, COMMANDS // 200)
            )
            for n in SIGNERS
        )
    )
    server = EmbeddedPostgres(tmp_path / ".chainfold")
    storm = Storm(tmp_path, server.start())
    storm.token = bytes.fromhex(token[2:])
    subprocess.run([COMMAND, "migrate"], cwd=tmp_path, env=environment(), check=True)
    try:
        yield storm
    finally:
        storm.stop()
        server.stop()


def test_workers_and_node_killed_again_and_again(storm, node):
    rng, began = random.Random(7), time.monotonic()
    storm.others.append(storm.start("index"))
    storm.workers = [storm.start("work") for _ in range(2)]
    storm.wait("SELECT count(*) = 4 FROM control.signer", 90)
    storm.ask(storm.token)
    left = "SELECT count(*) FROM control.command WHERE next_action_at IS NOT NULL"
    blows = 0
    while (waiting := storm.scalar(left)) and time.monotonic() - began < SECONDS_MAX:
        if waiting > COMMANDS // 10 or blows < 6:
            storm.blow(rng, node)
            blows += 1
        time.sleep(2)

    print(
        f"\n{COMMANDS} commands, {blows} blows, {time.monotonic() - began:.0f} s,"
        f" {storm.scalar('SELECT count(*) FROM control.attempt')} attempts,"
        f" {storm.scalar('SELECT sum(sent_count) FROM control.attempt')} sends"
    )
    print(storm.scalar(STANDING))
    states = "SELECT array_agg(DISTINCT state) FROM control.command"
    assert ["succeeded"] == storm.scalar(states)
    assert blows >= 6
    twice = (
        "SELECT count(*) FROM (SELECT right(encode(data, 'hex'), 64) FROM"
        " control.sender_transaction GROUP BY 1 HAVING count(*) > 1) t"
    )
    assert 0 == storm.scalar(twice)
    assert COMMANDS == storm.scalar("SELECT count(*) FROM control.sender_transaction")
    assert COMMANDS == storm.scalar("SELECT count(*) FROM control.slot WHERE NOT open")
    for number in SIGNERS:
        taken = storm.scalar(
            f"SELECT next_nonce FROM control.signer WHERE name = 's{number}'"
        )
        used = node.rpc.call("eth_getTransactionCount", dev_account(number), "latest")
        assert int(used, 16) == taken
