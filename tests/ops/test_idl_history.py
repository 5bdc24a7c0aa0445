"""The IDLs that programs of others had are found again, from their own uploads.

The programs are Anchor's, from npm, on a node with the real virtual machine: it is
their own code that makes, writes, copies and closes the accounts.
"""

from __future__ import annotations

import json
import tomllib

import pytest
from click.testing import CliRunner

from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers import strangers
from helpers.anchor_idls import IdlKeeper, deflate
from helpers.npm import NpmUnavailable
from helpers.strangers import GATEWAY
from ops.cli.main import main

pytestmark = pytest.mark.chain
SETTINGS = """
[database]
url = "postgresql:///none"

[chains.local]
id = "solana:{genesis}"
rpc = {urls}
finality = "commitment"
"""


@pytest.fixture
def node():
    try:
        strangers.install()
    except NpmUnavailable as error:
        pytest.skip(str(error))
    programs = {str(each.address): each.binary for each in strangers.ALL.values()}
    with SolanaNode(NodeOptions(slot_ms=0, programs=programs)) as running:
        yield running


@pytest.fixture
def devnet(node):
    made = Devnet(node.url)
    made.fund()
    return made


@pytest.fixture
def folder(devnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    follow(tmp_path, devnet, [devnet.rpc.url])
    return tmp_path


def follow(folder, devnet, urls):
    genesis = devnet.call("getGenesisHash")[:32]
    content = SETTINGS.format(genesis=genesis, urls=json.dumps(urls))
    (folder / "chainfold.toml").write_text(content)


def fetch(program, *words, code=0):
    told = CliRunner().invoke(
        main,
        ["--log-level", "error", "program", "fetch-idl", str(program), "--history",
         *words],
    )  # fmt: skip
    assert told.exit_code == code, (told.output, told.exception)
    return told


def versions_of(told, folder):
    """What the shown lines say: the slot of each version, and what its file has."""
    shown = tomllib.loads(told.stdout[told.stdout.index("[programs.") :])
    [program] = shown["programs"].values()
    return [
        (each.get("from_slot"), json.loads((folder / each["file"]).read_text()))
        for each in program["idl"]
    ]


def numbered(number, stranger=GATEWAY):
    """An IDL of the program, another for each number."""
    idl = stranger.idl
    idl["metadata"]["version"] = f"{number}.0.0"
    return idl


def test_a_program_writes_upgrades_closes_and_writes_again(devnet, folder):
    keeper = IdlKeeper(devnet, GATEWAY.address)
    deflated = deflate(numbered(1))
    devnet.send(keeper.create(len(deflated)))
    third = -(-len(deflated) // 3)
    first = keeper.write_all(deflated, part=1000 if third > 1000 else third)
    second = keeper.upgrade(numbered(2))
    third = keeper.upgrade(numbered(3))
    devnet.send(keeper.close())
    fourth = keeper.publish(numbered(4))
    devnet.advance(2)

    told = fetch(GATEWAY.address)

    print(told.output)
    assert versions_of(told, folder) == [
        (None, numbered(1)), (second, numbered(2)),
        (third, numbered(3)), (fourth, numbered(4)),
    ]  # fmt: skip
    assert (folder / f"idl/gateway.idl.{first}.json").exists()
