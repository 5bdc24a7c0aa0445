"""IDLs are fetched from the chain as anchorpy fetches them; what is none is refused."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib

import pytest
from anchorpy import Program, Provider, Wallet
from click.testing import CliRunner
from solana.rpc.async_api import AsyncClient
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.programs.build import interface
from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.idls import LEGACY
from idl.parse import BYTES_MAX
from ops.cli.main import main
from ops.idls import METADATA, idl_address
from ops.settings import load_settings

pytestmark = pytest.mark.chain
MARK = bytes([24, 70, 98, 191, 58, 144, 123, 158])  # as anchor-lang's IDLs have it
SETTINGS = """
[database]
url = "postgresql:///none"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
"""


@pytest.fixture(scope="module")
def node():
    with SolanaNode(NodeOptions(slot_ms=0)) as running:
        yield running


@pytest.fixture
def devnet(node):
    return Devnet(node.url)


@pytest.fixture
def folder(devnet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chainfold.toml").write_text(
        SETTINGS.format(genesis=devnet.call("getGenesisHash")[:32], url=devnet.rpc.url)
    )
    return tmp_path


def put(devnet, program, data, owner=None):
    account = {"pubkey": str(idl_address(program)), "owner": str(owner or program),
               "lamports": 10**9, "data": base64.b64encode(data).decode()}  # fmt: skip
    devnet.call("devnet_setAccount", account)
    devnet.advance(2)


def written(content, *, length=None, spare=0):
    """An account as Anchor writes it; it may be longer than its IDL."""
    deflated = (
        content if isinstance(content, bytes) else zlib.compress(content.encode())
    )
    head = MARK + bytes(range(32))
    size = len(deflated) if length is None else length
    return head + struct.pack("<I", size) + deflated + bytes(spare)


def fetch(program, *words, code=0, answer=None):
    result = CliRunner().invoke(
        main,
        ["--log-level", "error", "program", "fetch-idl", str(program), *words],
        input=answer,
    )
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def fetched_by_anchorpy(devnet, program):
    async def run():
        async with AsyncClient(devnet.rpc.url, commitment="confirmed") as client:
            provider = Provider(client, Wallet(Keypair()))
            return await Program.fetch_raw_idl(program, provider)

    return asyncio.run(run())


@pytest.mark.parametrize("raw", [LEGACY, interface("ledger")], ids=["old", "new"])
def test_an_idl_is_what_anchorpy_fetches_and_can_be_followed(devnet, folder, raw):
    program = ledger.PROGRAM
    put(devnet, program, written(json.dumps(raw), spare=500))

    told = fetch(program, "--chain", "local")

    target = folder / "idl" / f"{raw.get('name', 'ledger')}.json"
    assert target.read_text() == fetched_by_anchorpy(devnet, program)
    assert json.loads(target.read_text()) == raw
    shown = told[told.index("[programs.") :]
    with (folder / "chainfold.toml").open("a") as settings:
        settings.write("\n" + shown)
    [found] = load_settings(folder / "chainfold.toml").programs.values()
    assert found.addresses == {"local": (bytes(program),)}
    [version] = found.idl
    assert len(version.idl.instructions) == len(raw["instructions"])


def test_a_file_that_is_another_is_not_replaced_unasked(devnet, folder):
    put(devnet, ledger.PROGRAM, written(json.dumps(interface("ledger"))))
    (folder / "mine.json").write_text("mine")

    fetch(ledger.PROGRAM, "--file", "mine.json", code=1, answer="n\n")
    assert (folder / "mine.json").read_text() == "mine"
    fetch(ledger.PROGRAM, "--file", "mine.json", "--yes")
    assert json.loads((folder / "mine.json").read_text()) == interface("ledger")
    fetch(ledger.PROGRAM, "--file", "mine.json")  # it is the same: nothing is asked
    assert "cannot be written" in fetch(
        ledger.PROGRAM, "--file", "mine.json/idl.json", code=2
    )


def test_an_idl_of_another_program_is_said_to_be(devnet, folder):
    program = Pubkey.new_unique()
    put(devnet, program, written(json.dumps(interface("ledger"))))

    told = fetch(program)

    assert "The IDL itself names another address." in told
    assert f'address = "{program}"' in told


BOMB = zlib.compress(bytes(16 << 20))
REFUSED = [
    (written(BOMB), f"inflates to more than {BYTES_MAX} bytes"),
    (written("[" * 70 + "]" * 70), "nests deeper than 64 levels"),
    (written("{"), "it is not JSON"),
    (written("[]"), "it is not an object"),
    (written('{"name": "../../etc/passwd"}'), "is no name"),
    (written(b"plain"), "cannot be inflated"),
    (written(b""), "holds a part of an IDL"),
    (written(zlib.compress(b"{}" * 999)[:-5]), "holds a part of an IDL"),
    (written("{}", length=2**32 - 1), "says 4294967295"),
    (MARK + bytes(35), "is no IDL: it begins with 184662bf3a907b9e"),
    (bytes(44) + zlib.compress(b"{}"), "begins with 0000000000000000 and not"),
    (b"", "begins with nothing"),
]


@pytest.mark.parametrize(("data", "words"), REFUSED, ids=[r[1][:24] for r in REFUSED])
def test_what_is_no_idl_is_refused_and_nothing_is_written(devnet, folder, data, words):
    put(devnet, ledger.PROGRAM, data)

    told = fetch(ledger.PROGRAM, code=2)

    assert words in told
    assert sorted(path.name for path in folder.iterdir()) == ["chainfold.toml"]


def test_an_account_that_is_too_large_is_not_read(devnet, folder, monkeypatch):
    put(devnet, ledger.PROGRAM, bytes(20_045))
    monkeypatch.setattr("ops.idls.BYTES_MAX", 20_000)

    assert "has 20045 bytes, more than 20044" in fetch(ledger.PROGRAM, code=2)


def test_an_account_of_somebody_else_is_refused(devnet, folder):
    owner = Pubkey.new_unique()
    put(devnet, ledger.PROGRAM, written(json.dumps(interface("ledger"))), owner)

    assert f"its owner is {owner} and not the program" in fetch(ledger.PROGRAM, code=2)


def test_a_program_without_one_is_told_where_else_to_look(devnet, folder):
    told = fetch(Pubkey.new_unique(), code=2)

    assert "keeps no IDL at" in told
    assert str(METADATA) in told
    assert "target/idl/<program>.json" in told
