"""Programs are deployed through the real loader, whatever happens on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.programs.build import PACKAGE, program
from devnet.solana import ledger, settlement
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.market import cluster_at
from ops.buffers import find_buffers
from ops.cli.main import main
from ops.cluster import Cluster, ClusterError, Failed
from ops.deploying import (
    CHUNK_BYTES,
    DeployError,
    check_funds,
    deploy,
    find_program,
    hand_over,
    plan,
    read_program,
)
from ops.errors import OperationError
from ops.keypairs import read_keypair, write_keypair

pytestmark = pytest.mark.chain
COMMAND = Path(sys.executable).parent / "chainfold"
CODE = program("settlement")
SMALL = program("ledger")
PARTS = -(-len(CODE) // CHUNK_BYTES)


@pytest.fixture(scope="module")
def node():
    with SolanaNode(NodeOptions(slot_ms=40, finalized_after=4)) as running:
        yield running


@pytest.fixture
def devnet(node):
    client = Devnet(node.url)
    client.clear()
    client.fund()
    yield client
    client.clear()


@pytest.fixture
def cluster(devnet):
    return cluster_at(devnet)


def silent(_: str) -> None:
    """Tell nobody."""


class Stopped(Exception):
    """Somebody pressed Ctrl-C."""


def stopping_at(words: str):
    """Stop when a line with these words is told."""

    def tell(line: str) -> None:
        if words in line:
            raise Stopped

    return tell


def test_a_new_program_runs_and_belongs_to_who_paid(cluster, devnet):
    own = Keypair()
    planned = plan(cluster, SMALL, own.pubkey(), len(SMALL) + 4_321)
    before = cluster.balance(cluster.key)

    found = deploy(cluster, planned, own, silent)

    assert found.holds(SMALL)
    assert len(found.code) == len(SMALL) + 4_321
    assert found.authority == cluster.key
    assert found.digest == hashlib.sha256(SMALL.rstrip(b"\0")).hexdigest()
    assert before - cluster.balance(cluster.key) <= planned.lamports
    assert cluster.account(planned.buffer) is None
    told = devnet.send(ledger.mark(11, 13, own.pubkey()))
    logs = devnet.transaction(told)["meta"]["logMessages"]
    assert any(line.startswith("Program data: ") for line in logs)


def test_the_lamports_of_a_plan_are_enough(devnet):
    """To the lamport: with one less it is refused before anything is sent."""
    poor, own = Keypair(), Keypair()
    cluster = cluster_at(devnet, poor)
    needed = plan(cluster, SMALL, own.pubkey()).lamports

    devnet.fund(poor.pubkey(), needed - 1)
    with pytest.raises(DeployError, match="send it the difference"):
        deploy(cluster, plan(cluster, SMALL, own.pubkey()), own, silent)
    assert cluster.balance(poor.pubkey()) == needed - 1
    devnet.fund(poor.pubkey(), 1)
    deploy(cluster, plan(cluster, SMALL, own.pubkey()), own, silent)


@pytest.mark.parametrize("words", ["making", "writing", "deploying"])
def test_what_was_stopped_goes_on(cluster, words):
    own = Keypair()
    with pytest.raises(Stopped):
        deploy(cluster, plan(cluster, CODE, own.pubkey()), own, stopping_at(words))

    again = plan(cluster, CODE, own.pubkey())
    found = deploy(cluster, again, own, silent)

    assert len(again.missing) == (0 if words == "deploying" else PARTS)
    assert found.holds(CODE)
    assert plan(cluster, CODE, own.pubkey()).done
    assert deploy(cluster, plan(cluster, CODE, own.pubkey()), None, silent) == found


def test_what_was_stopped_among_the_parts_goes_on_with_the_others(devnet):
    own, chance = Keypair(), random.Random(77)
    arrive = chance.randint(3, PARTS - 3)
    polls = iter(range(12))

    def sleep(seconds: float) -> None:
        if next(polls, None) is None:
            raise Stopped
        time.sleep(seconds)

    # The first makes the buffer; of the parts so many arrive, and the others never.
    devnet.fault(kind="lose", method="sendTransaction", times=0, skip=1 + arrive)
    stopped = cluster_at(devnet, sleep=sleep)
    with pytest.raises(Stopped):
        deploy(stopped, plan(stopped, CODE, own.pubkey()), own, silent)
    devnet.clear()
    told: list[str] = []
    cluster = cluster_at(devnet)
    again = plan(cluster, CODE, own.pubkey())
    found = deploy(cluster, again, own, told.append)

    assert len(again.missing) == PARTS - arrive
    assert f"writing {PARTS - arrive} of {PARTS} parts" in told
    assert found.holds(CODE)


def test_other_bytes_have_another_buffer(cluster):
    own = Keypair()
    with pytest.raises(Stopped):
        deploy(
            cluster, plan(cluster, CODE, own.pubkey()), own, stopping_at("deploying")
        )
    changed = bytearray(CODE)
    changed[2_000] ^= 255

    first = plan(cluster, CODE, own.pubkey())
    other = plan(cluster, bytes(changed), own.pubkey())

    assert first.missing == ()
    assert other.buffer != first.buffer
    assert len(other.missing) == PARTS


@pytest.mark.parametrize("seed", [3, 58, 1_729])
def test_a_bad_line_is_overcome(devnet, seed):
    """Requests that are refused, cut or slowed down, and transactions that are lost."""
    chance = random.Random(seed)
    own = Keypair()
    cluster = cluster_at(devnet, sleep=lambda _: time.sleep(0.05))
    behind = {"code": -32005, "message": "Node is behind by 42 slots"}
    for kind, more in (
        ("limit", {"retryAfter": 0}), ("cut", {"bytes": 40}), ("error", behind)
    ):  # fmt: skip
        devnet.fault(kind=kind, times=3, skip=chance.randint(0, 30), **more)
    devnet.fault(kind="lose", method="sendTransaction", times=5,
                 skip=chance.randint(0, 20))  # fmt: skip

    found = deploy(cluster, plan(cluster, CODE, own.pubkey()), own, silent)

    assert found.holds(CODE)


def test_who_may_upgrade_does(cluster, devnet):
    own = Keypair()
    room = max(len(CODE), len(SMALL)) + 17
    deploy(cluster, plan(cluster, CODE, own.pubkey(), room), own, silent)
    before = cluster.balance(cluster.key)

    planned = plan(cluster, SMALL, own.pubkey())
    found = deploy(cluster, planned, None, silent)

    assert found.holds(SMALL)
    assert len(found.code) == room
    # The buffer's lamports come back: fees are all that it cost.
    assert 0 < before - cluster.balance(cluster.key) < 10**6
    assert not plan(cluster, CODE, own.pubkey()).done


def test_who_may_not_is_refused(cluster, devnet):
    own, other, heir = Keypair(), Keypair(), Keypair()
    deploy(cluster, plan(cluster, SMALL, own.pubkey()), own, silent)
    for key in (other, heir):
        devnet.fund(key.pubkey())
    changed = SMALL[:-1] + bytes([SMALL[-1] ^ 1])

    stranger = cluster_at(devnet, other)
    with pytest.raises(DeployError, match=str(cluster.key)):
        plan(stranger, changed, own.pubkey())
    with pytest.raises(DeployError, match="may not change"):
        hand_over(stranger, own.pubkey(), other.pubkey())
    hand_over(cluster, own.pubkey(), heir.pubkey())
    with pytest.raises(DeployError, match=str(heir.pubkey())):
        plan(cluster, changed, own.pubkey())
    hand_over(cluster_at(devnet, heir), own.pubkey(), None)
    assert find_program(cluster, own.pubkey()).authority is None
    with pytest.raises(DeployError, match="nobody, for ever"):
        plan(cluster_at(devnet, heir), changed, own.pubkey())


def test_what_does_not_fit_is_refused(cluster):
    own = Keypair()
    with pytest.raises(DeployError, match="--max-bytes"):
        plan(cluster, SMALL, own.pubkey(), len(SMALL) - 1)
    with pytest.raises(DeployError, match="--max-bytes"):
        plan(cluster, SMALL, own.pubkey(), 10 * 2**20)
    deploy(cluster, plan(cluster, SMALL, own.pubkey()), own, silent)
    with pytest.raises(DeployError, match="extend"):
        plan(cluster, CODE, own.pubkey())


def test_what_is_no_program_is_not_written_over(cluster, devnet):
    with pytest.raises(DeployError, match="no program of the upgradeable loader"):
        plan(cluster, SMALL, cluster.key)
    with pytest.raises(DeployError, match=r"\.so file"):
        read_program(b"\x7fELF\x01\x01" + bytes(90), "a.so")
    own = Keypair()
    with pytest.raises(DeployError, match="--program-keypair"):
        deploy(cluster, plan(cluster, SMALL, own.pubkey()), None, silent)
    planned = plan(cluster, SMALL, own.pubkey())
    strange = {"lamports": 10**9, "owner": str(ledger.PROGRAM), "data": ""}
    devnet.call("devnet_setAccount", {"pubkey": str(planned.buffer), **strange})
    while cluster.account(planned.buffer) is None:
        time.sleep(0.02)  # until its slot is confirmed
    with pytest.raises(DeployError, match="not as we left it"):
        plan(cluster, SMALL, own.pubkey())


def test_code_that_the_loader_refuses_stays_a_buffer(cluster):
    own = Keypair()
    broken = bytearray(SMALL)
    broken[18:20] = b"\0\0"  # the machine, in the header of ELF
    planned = plan(cluster, bytes(broken), own.pubkey())

    with pytest.raises(Failed):
        deploy(cluster, planned, own, silent)

    assert find_program(cluster, own.pubkey()) is None
    assert cluster.account(planned.buffer) is not None


def test_another_chain_and_a_dead_endpoint_are_told():
    mainnet = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
    with SolanaNode(NodeOptions(slot_ms=40, seed=7)) as node:
        url = node.url.replace("://", "://user:secret@")
        cluster = Cluster([url], mainnet, Keypair(), sleep=lambda _: None)
        with pytest.raises(ClusterError, match="correct the chain's rpc"):
            cluster.balance(cluster.key)
    with pytest.raises(ClusterError, match="answered in 7 attempts") as told:
        cluster.balance(cluster.key)
    assert "secret" not in str(told.value)


def test_a_key_file_is_solana_s_and_its_owner_s_alone(tmp_path):
    path = tmp_path / "id.json"
    made = write_keypair(path)

    assert read_keypair(path) == made
    assert json.loads(path.read_text()) == list(bytes(made))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OperationError, match="choose another name"):
        write_keypair(path)
    path.chmod(0o640)
    with pytest.raises(OperationError, match="chmod 600"):
        read_keypair(path)
    secret = list(bytes(made))
    for number, text in enumerate(
        ["", "{}", "[1, 2]", json.dumps([*secret[:63], 256]), json.dumps(secret[:63]),
         json.dumps([*secret[:63], secret[63] ^ 1]), '"abc"', "\xff", "[" * 4_000,
         json.dumps([10**40, *secret[1:]]), json.dumps([0.5] * 64)]
    ):  # fmt: skip
        bad = tmp_path / f"{number}.json"
        bad.write_text(text, encoding="latin-1")
        bad.chmod(0o600)
        with pytest.raises(OperationError, match="no key file"):
            read_keypair(bad)
    with pytest.raises(OperationError, match="new-key"):
        read_keypair(tmp_path / "absent.json")
    with pytest.raises(OperationError, match="choose a folder"):
        write_keypair(tmp_path / "absent" / "id.json")


class Desk:
    """A folder with settings and keys, and the command line in it."""

    def __init__(self, folder: Path, node: SolanaNode, devnet: Devnet) -> None:
        self.folder = folder
        genesis = devnet.call("getGenesisHash")
        text = (
            f'[chains.local]\nid = "solana:{genesis[:32]}"\nrpc = "{node.url}"\n'
            'finality = "commitment"\n'
        )
        (folder / "chainfold.toml").write_text(text)
        self.payer = write_keypair(folder / "payer.json").pubkey()
        devnet.fund(self.payer)

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [COMMAND, *words], cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def run(self, *words: str, code: int = 0) -> str:
        """In this process: the imports of another take seconds."""
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, words)
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture
def desk(tmp_path, node, devnet):
    return Desk(tmp_path, node, devnet)


DEPLOY = ("program", "deploy", str(PACKAGE / "settlement.so"), "--keypair",
          "payer.json", "--program-keypair", "own.json", "--yes")  # fmt: skip


@pytest.mark.slow
def test_a_killed_deployment_goes_on_and_the_program_is_configured(desk, devnet):
    own = desk.run("program", "new-key", "own.json").split()[0]
    devnet.fault(kind="lose", method="sendTransaction", times=0, skip=12)
    process = desk.start(*DEPLOY)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("writing") and f"{PARTS} of" not in line:
            break  # some have arrived, and the others were given up once
    process.kill()
    process.wait()
    devnet.clear()

    told = desk.run(*DEPLOY)

    assert f"program {own}" in told
    assert f"upgrade authority {desk.payer}" in told
    [parts] = [line for line in told.splitlines() if line.startswith("deploy ")]
    assert 0 < int(parts.split(" in ")[1].split()[0]) < PARTS
    assert "writing" not in desk.run(*DEPLOY)  # it is there
    held = ("program", "show", own, "--file")
    assert "is what" in desk.run(*held, str(PACKAGE / "settlement.so"))
    assert "is not what" in desk.run(*held, str(PACKAGE / "ledger.so"), code=1)
    configured(desk, devnet, own)


def configured(desk: Desk, devnet: Devnet, own: str) -> None:
    usdc = devnet.make_mint(6)
    treasury = Keypair().pubkey()
    by = ("--program", own, "--keypair", "payer.json", "--yes")
    asked = (
        "--usdc", str(usdc), "--treasury-authority", str(treasury), "--fee-bps", "875",
        "--name", "Édition", "--symbol", "ED", "--uri-base", "https://nft.example.org/",
    )  # fmt: skip
    told = desk.run("settlement", "initialize", *by, *asked[:-2], code=2)
    assert "give --uri-base" in told
    told = desk.run("settlement", "initialize", *by, *asked)
    assert f"admin {desk.payer}" in told
    told = desk.run("settlement", "initialize", *by, *asked, code=2)
    assert "AlreadyInitialized: There is a configuration" in told
    dear = ("--unit-price", "20000")
    told = desk.run("settlement", "configure", *by, "--fee-bps", "900", *dear)
    signature = told.split()[1]
    # A signature, and 20,000 micro-lamports for each of 200,000 units.
    assert devnet.transaction(signature)["meta"]["fee"] == 5_000 + 4_000
    devnet.mint_to(usdc, devnet.make_account(usdc, treasury), 2_500_000_017)
    heir = desk.run("program", "new-key", "heir.json").split()[0]
    desk.run("settlement", "propose-admin", heir, *by)
    told = desk.run("settlement", "show", "--program", own)
    assert "fee 900 basis points" in told
    assert "2500.000017 USDC" in told
    assert f"proposed admin {heir}" in told
    devnet.fund(Pubkey.from_string(heir))
    as_heir = ("--program", own, "--keypair", "heir.json", "--yes")
    assert f"admin {heir}" in desk.run("settlement", "accept-admin", *as_heir)
    told = desk.run("settlement", "configure", *by, "--fee-bps", "1", code=2)
    assert "NotAdmin: Sign with the admin" in told
    data = devnet.call(
        "getAccountInfo", str(settlement.config_address(Pubkey.from_string(own))),
        {"commitment": "confirmed", "encoding": "base64"},
    )["value"]  # fmt: skip
    assert data["owner"] == own
    desk.run("program", "set-authority", own, heir, *by[2:])
    assert f"upgrade authority {heir}" in desk.run("program", "show", own)


def test_what_was_given_up_is_closed_and_its_lamports_come_back(desk, devnet):
    key = read_keypair(desk.folder / "payer.json")
    cluster, other = cluster_at(devnet, key), cluster_at(devnet)
    before = cluster.balance(key.pubkey())
    for payer in (cluster, cluster, other):
        own = Keypair()
        with pytest.raises(Stopped):
            deploy(payer, plan(payer, SMALL, own.pubkey()), own, stopping_at("writing"))
    assert before - cluster.balance(key.pubkey()) > 10**8

    told = desk.run("program", "buffers", "--keypair", "payer.json")
    assert told.count(" SOL\n") == len(find_buffers(cluster)) == 2
    close = ("program", "buffers", "--close", "--keypair", "payer.json", "--yes")
    assert "2 of 2 are closed" in desk.run(*close)

    assert find_buffers(cluster) == []
    assert desk.run(*close) == ""
    assert len(find_buffers(other)) == 1
    # What it cost are the fees: two buffers made, two closed.
    assert before - cluster.balance(key.pubkey()) == 4 * 5_000


def test_nothing_is_sent_without_a_yes(desk, devnet):
    desk.run("program", "new-key", "own.json")
    before = devnet.call("getBalance", str(desk.payer))["value"]

    told = desk.run(*DEPLOY[:-1], code=1)

    assert "SOL at the most" in told
    assert "Aborted" in told
    assert devnet.call("getBalance", str(desk.payer))["value"] == before


def test_mistakes_at_the_command_line_are_told(desk):
    so, by = DEPLOY[2], ("--keypair", "payer.json", "--yes")
    told = desk.run("program", "deploy", so, *by, code=2)
    assert "--program-keypair for a new one, --address" in told
    told = desk.run("program", "deploy", so, *by, "--address", "0x11", code=2)
    assert "32 bytes in base58" in told
    nobody = str(Keypair().pubkey())
    told = desk.run("program", "deploy", so, *by, "--address", nobody, code=2)
    assert "there is no program" in told
    desk.run("program", "new-key", "own.json")
    told = desk.run("program", "deploy", "absent.so", *DEPLOY[3:], code=2)
    assert "name the .so file" in told
    told = desk.run("program", "show", nobody, "--chain", "edge", code=2)
    assert "no chain 'edge'" in told


def test_funds_are_asked_for_before_anything_is_sent(devnet):
    poor = cluster_at(devnet, Keypair())
    planned = plan(poor, SMALL, Keypair().pubkey())

    with pytest.raises(DeployError, match="0.000000000 SOL"):
        check_funds(poor, planned)
