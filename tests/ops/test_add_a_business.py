"""The page `Add a business` does what it says, and `new` writes what loads."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import db.domains.crowdfunding as crowdfunding
from abis import load_artifact
from db.declare import Asker, DeclarationError
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.commands import DraftCampaign
from db.domains.crowdfunding.entries import CampaignDrafted
from db.domains.crowdfunding.projections import CampaignDraft, Issuer
from db.domains.crowdfunding.rules import is_own_issuer
from devnet.deploy import dev_account, dev_key
from devnet.run import up
from idl.parse import DIRECTORY as IDLS
from ops.cli.main import main
from ops.ports import free_port
from ops.scaffold import write_domain
from ops.stories import Story, StoryChain
from test_architecture import ROOT

PAGE = (ROOT / "docs" / "add-a-business.md").read_text()
BIN = Path(sys.executable).parent


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.M | re.S)


class Walk:
    """A newcomer's folder, in which the page is followed."""

    def __init__(self, folder):
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")}
        path = f"{BIN}:{os.environ['PATH']}"
        key = dev_key(0).hex()
        self.environment = {**kept, "PATH": path, "TREASURER_KEY": key}

    def run(self, line, code=0):
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert code == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def write_files(self):
        """The Python of the page, each block into the file that it names."""
        for text in blocks("python"):
            [name] = re.findall(r"^# (points/\w+\.py)$", text, re.M)
            (self.folder / name).write_text(text)


@pytest.fixture
def walk(tmp_path):
    artifact = {"abi": load_artifact("TestToken")["abi"]}
    (tmp_path / "TestToken.json").write_text(json.dumps(artifact))
    return Walk(tmp_path)


@pytest.mark.slow
@pytest.mark.chain
def test_the_page_leads_from_an_abi_to_a_command_on_a_chain(walk):
    begun, tested, started, asked = (text.splitlines() for text in blocks("sh"))
    for line in begun:
        walk.run(line)
    walk.write_files()
    [line] = tested
    assert "1 passed" in walk.run(line)
    anvil, deployment = up()
    try:
        [settings] = blocks("toml")
        address = deployment.contracts["TestToken"].address
        settings = re.sub(r'TestToken = "\w+"', f'TestToken = "{address}"', settings)
        settings = re.sub(r'rpc = "[^"]+"', f'rpc = "{anvil.url}"', settings)
        settings = settings.replace("f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
                                    dev_account(0).removeprefix("0x"))  # fmt: skip
        settings += f"\n[api]\nport = {free_port()}\n[metrics]\nport = {free_port()}\n"
        (walk.folder / "chainfold.toml").write_text(settings)
        describe, run = started
        assert "PointBalance" in walk.run(describe)
        running = subprocess.Popen(
            run.split(), cwd=walk.folder, env=walk.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            submit, verify = asked
            said = until_followed(walk, submit)
            assert "succeeded" in said
            assert "may have 1000" in walk.run(submit.replace("=5", "=996"), code=2)
            assert "point_balances: 0 differences" in walk.run(verify)
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(30)
    finally:
        anvil.stop()


def until_followed(walk, line):
    """Ask until the chain is followed, so that there are tables to rule by."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return walk.run(line)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def called(name, *types, payable=False):
    return {
        "type": "function", "name": name, "outputs": [],
        "stateMutability": "payable" if payable else "nonpayable",
        "inputs": [{"name": each, "type": each.strip("_")} for each in types],
    }  # fmt: skip


ODD = [
    called("mint", "address"),
    called("_mint", "address", payable=True),
    called("twice", "bytes4"),
    called("twice", "uint8"),
    called("odd", "fixed128x18"),
    called("class", "bool", "string"),
    *(
        {
            "type": "event", "name": name, "anonymous": False,
            "inputs": [{"name": "from", "type": kind, "indexed": kind == "string"}],
        }
        for name, kind in (("Role", "string"), ("Role", "tuple[]"), ("lambda", "bool"))
    ),
]  # fmt: skip
ODD[-2]["inputs"][0]["components"] = [{"name": "a", "type": "uint8"}]


@pytest.mark.parametrize(
    "contract",
    [None, "TestToken", "Pair", "CampaignImplementation", "FundEscrow", "My-Odd 1"],
)
def test_what_new_writes_loads(tmp_path, contract):
    """In a process of its own: a domain's name is a module's name."""
    file = None
    if contract is not None:
        file = tmp_path / f"{contract}.json"
        odd = contract.startswith("My")
        file.write_text(json.dumps(ODD if odd else load_artifact(contract)["abi"]))
    folder = tmp_path / "fresh"

    write_domain(folder, file)

    script = (
        "import sys, pathlib; from db.registry import Registry;"
        "r = Registry.load(['fresh'], [pathlib.Path(sys.argv[1])]);"
        "print(sum(e.spec.domain == 'fresh' for e in r.events.values()),"
        "      sum(c.spec.domain == 'fresh' for c in r.commands.values()),"
        "      sum(p.spec.domain == 'fresh' for p in r.projections.values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    events, commands, projections = map(int, done.stdout.split())
    assert events >= 1
    assert commands >= 1
    assert 1 == projections


def test_what_new_writes_of_an_idl_loads_and_its_story_is_green(tmp_path):
    write_domain(tmp_path / "books", idl_file=IDLS / "ledger.json")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "books"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "1 passed" in done.stdout, done.stdout


def new(folder, *arguments):
    os.chdir(folder)
    answer = CliRunner().invoke(main, ["new", *arguments])
    assert answer.exit_code == 2, answer.output
    return answer.output


def test_new_refuses_what_cannot_be_a_domain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "odd.json").write_text('{"bytecode": "0x"}')
    (tmp_path / "mute.json").write_text("[]")

    assert "cannot be a domain's name" in new(tmp_path, "My-Bank")
    assert "cannot be a domain's name" in new(tmp_path, "class")
    assert "Python knows another module json" in new(tmp_path, "json")
    assert "is there already" in new(tmp_path, "taken")
    assert "holds no ABI" in new(tmp_path, "bank", "--abi", "odd.json")
    assert "no event that can be indexed" in new(tmp_path, "bank", "--abi", "mute.json")
    assert not (tmp_path / "bank").exists()


def test_stories_refuse_what_a_chain_cannot_say():
    chain = StoryChain()
    event = e.IssuerRegistered

    with pytest.raises(DeclarationError, match="it has no issuerr.*use issuer"):
        chain.emit(event, issuerr=b"")
    with pytest.raises(ValueError, match="is not later than"):
        chain.mine(chain.now)
    chain.written = 0
    with pytest.raises(ValueError, match=r"mine\(\) the next"):
        chain.emit(event)


def test_a_story_says_entries_and_asks_rules():
    draft = {
        "draft": "01a2291f-2425-7269-9e93-99418a764582", "beneficiary": b"\xaa" * 20,
        "campaign_id": "C-1", "company_name": "A", "description": "B",
        "goal": 10**21, "duration": 60 * 86_400, "document_hash": "",
    }  # fmt: skip
    asker = Asker(wallets=frozenset({b"\xbb" * 20}))
    with Story(crowdfunding) as story:
        story.emit(e.IssuerRegistered, issuer=b"\xaa" * 20)
        story.say(CampaignDrafted(**draft))
        tables = story.tables(asker)

        row = tables.row(CampaignDraft, draft=draft["draft"])
        refusals = list(is_own_issuer(DraftCampaign(**draft), tables))

        assert "pending" == row.stage
        assert ["not_your_wallet", "not_your_draft"] == [r.code for r in refusals]
        story.mine()
        story.emit(e.IssuerDeactivated, issuer=b"\xaa" * 20)
        assert not story.tables().row(Issuer, issuer=b"\xaa" * 20).active
