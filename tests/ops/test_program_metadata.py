"""IDLs of the program metadata program are read as its own client writes them."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from devnet.toolchain import node_command
from helpers import strangers
from helpers.npm import NpmUnavailable, install
from helpers.strangers import GATEWAY
from idl.parse import BYTES_MAX
from ops.cli.main import main
from ops.errors import OperationError
from ops.program_metadata import metadata_address, read_metadata
from test_architecture import ROOT

HOME = ROOT / "tests" / "solana" / "metadata"
SETTINGS = """
[database]
url = "postgresql:///none"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
"""
PROGRAM = Pubkey.new_unique()
ADDRESS = metadata_address(PROGRAM)


def written(
    body, *, size=None, compression=0, source=0, form=1, encoding=1, mark=2,
    program=PROGRAM, seed=b"idl",
):  # fmt: skip
    """An account, as the program's own header is said to be."""
    numbers = [encoding, compression, form, source]
    head = bytes([mark]) + bytes(program) + bytes(32) + b"\1\1" + seed.ljust(16, b"\0")
    length = struct.pack("<I", len(body) if size is None else size)
    return head + bytes(numbers) + length + bytes(5) + body


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An IDL of others without blanks: the node takes no larger request."""
    try:
        strangers.install()
    except NpmUnavailable as error:
        pytest.skip(str(error))
    made = tmp_path_factory.mktemp("idl") / "gateway.json"
    made.write_text(json.dumps(GATEWAY.idl, separators=(",", ":")))
    return made


@pytest.fixture(scope="module")
def accounts(file):
    """What the client writes, by what it says of it."""
    try:
        install(HOME)
    except NpmUnavailable as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [*node_command(), "encode.cjs", str(GATEWAY.address), str(file)],
        cwd=HOME, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def node():
    with SolanaNode(NodeOptions(slot_ms=0)) as running:
        yield running


@pytest.mark.chain
def test_what_the_client_writes_is_fetched(accounts, file, node, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    devnet = Devnet(node.url)
    genesis = devnet.call("getGenesisHash")[:32]
    (tmp_path / "chainfold.toml").write_text(
        SETTINGS.format(genesis=genesis, url=node.url)
    )
    seen = set()
    for each in accounts:
        account = {"pubkey": each["address"], "owner": each["owner"],
                   "lamports": 10**9, "data": each["data"]}  # fmt: skip
        devnet.call("devnet_setAccount", account)
        devnet.advance(2)
        words = ["program", "fetch-idl", str(GATEWAY.address), "--file", "x.json"]
        told = CliRunner().invoke(main, words)
        usable = (
            each["source"] == "Direct" and each["format"] in ("Json", "None")
            and each["encoding"] == "Utf8"
        )  # fmt: skip
        assert told.exit_code == (0 if usable else 2), told.output
        if usable:
            assert (tmp_path / "x.json").read_text() == file.read_text()
            assert f'address = "{GATEWAY.address}"' in told.output
            (tmp_path / "x.json").unlink()
        else:
            seen.add(told.stderr.split("used: ")[1].split(":")[0])
    assert seen == {
        "it is YAML and not JSON", "the IDL is behind a URL, which is not read",
        "the IDL is in another account, which is not read",
        "it is text in base64, which is not read",
    }  # fmt: skip
    refused = CliRunner().invoke(main, [*words[:3], "--history"])
    assert "whose history is not read: fetch the present one" in refused.stderr


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it begins with nothing"),
        (written(b"{}", mark=1), "it begins with 01"),
        (written(b"{}")[:95], "it begins with 02"),
        (written(b"{}", size=3), "it has 2 bytes and says 3"),
        (written(b"{}", program=Pubkey.new_unique()), "it is of another program"),
        (written(b"{}", seed=b"security"), "it is of another program, or no IDL"),
        (written(b"{}", compression=2), "it cannot be inflated"),
        (written(b"", compression=1), "it is a part of one"),
        (written(b"{}", compression=9), "nobody knows its compression 9"),
        (written(b"{}", source=9), "the IDL is number 9"),
        (written(b"{}", form=200), "it is number 200 and not JSON"),
    ],
)
def test_what_is_none_is_refused(data, words):
    with pytest.raises(OperationError, match="take target/idl/<program>.json") as told:
        read_metadata(data, PROGRAM, ADDRESS)

    assert words in str(told.value)


def test_a_bomb_is_refused():
    bomb = zlib.compress(bytes(4 * BYTES_MAX))

    with pytest.raises(OperationError, match=f"more than {BYTES_MAX} bytes"):
        read_metadata(written(bomb, compression=2), PROGRAM, ADDRESS)


@given(
    st.binary(max_size=60), st.integers(0, 4), st.integers(0, 3), st.integers(0, 4),
    st.integers(0, 4), st.integers(0, 99),
)  # fmt: skip
def test_any_bytes_are_read_or_refused(body, compression, source, form, encoding, size):
    data = written(
        body, size=size, compression=compression, source=source, form=form,
        encoding=encoding,
    )  # fmt: skip
    try:
        found = read_metadata(data, PROGRAM, ADDRESS)
    except OperationError:
        return
    assert found == body[:size] or compression


def test_data_is_only_as_long_as_it_says():
    data = written(b"{}rest", size=2)

    assert read_metadata(data, PROGRAM, ADDRESS) == b"{}"
