"""The IDLs that programs of others had are found again, from their own uploads.

The programs are Anchor's, from npm, on a node with the real virtual machine: it is
their own code that makes, writes, copies and closes the accounts.
"""

from __future__ import annotations

import json
import random
import struct
import tomllib
from contextlib import contextmanager
from functools import partial

import pytest
from click.testing import CliRunner
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from sqlalchemy import text

from devnet.solana import ledger
from devnet.solana.client import (
    BUFFER_HEADER,
    CLOCK,
    LOADER,
    RENT,
    UPGRADER,
    Client,
    Devnet,
    TransactionFailedError,
)
from devnet.solana.run import NodeOptions, SolanaNode
from helpers import servers, strangers
from helpers.anchor_idls import HEAD, NEVER_GROWN, PART, IdlKeeper, deflate
from helpers.npm import NpmUnavailable
from helpers.scripted_node import ScriptedNode
from helpers.strangers import GATEWAY, VRF
from helpers.surfpool import SurfpoolUnavailable, surfpool_with_socket
from idl.base58 import to_base58
from ops.cli.main import main
from ops.settings import load_settings

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


@contextmanager
def replica(devnet, **answers):
    """Another endpoint of the same chain that answers some methods otherwise."""
    with ScriptedNode() as other:
        for method in (
            "getGenesisHash", "getSignaturesForAddress", "getTransaction", "getBlock",
            "getFirstAvailableBlock", "getAccountInfo", "getSlot",
        ):  # fmt: skip
            other.answers[method] = partial(devnet.call, method)
        other.answers |= answers
        yield other


def files(folder):
    return sorted(path.name for path in folder.glob("idl/*"))


def test_a_program_writes_upgrades_closes_and_writes_again(devnet, folder):
    keeper = IdlKeeper(devnet, GATEWAY.address)
    deflated = deflate(numbered(1))
    devnet.send(keeper.create(len(deflated)))
    parts = [deflated[:900], deflated[900:1800], deflated[1800:2700], deflated[2700:]]
    for part in parts[:3]:
        devnet.send(keeper.write(part[:PART]), keeper.write(part[PART:]))
    first = keeper.write_all(parts[3])
    second = keeper.upgrade(numbered(2))
    third = keeper.upgrade(numbered(3))
    devnet.send(keeper.close())
    fourth = keeper.publish(numbered(4))
    devnet.advance(2)

    told = fetch(GATEWAY.address)

    assert versions_of(told, folder) == [
        (None, numbered(1)), (second, numbered(2)),
        (third, numbered(3)), (fourth, numbered(4)),
    ]  # fmt: skip
    slots = (first, second, third, fourth)
    assert files(folder) == sorted(f"gateway.idl.{slot}.json" for slot in slots)
    assert "closed: the version before is the last until there is" in told.stderr
    [program] = load_settings_with(folder, told).programs.values()
    assert [each.first for each in program.idl] == [0, second, third, fourth]


def load_settings_with(folder, told):
    shown = told.stdout[told.stdout.index("[programs.") :]
    with (folder / "chainfold.toml").open("a") as settings:
        settings.write("\n" + shown)
    return load_settings(folder / "chainfold.toml")


def test_a_program_of_an_older_anchor(devnet, folder):
    keeper = IdlKeeper(devnet, VRF.address)
    keeper.publish(numbered(1, VRF))
    second = keeper.upgrade(numbered(2, VRF))
    devnet.advance(2)

    told = fetch(VRF.address)

    assert versions_of(told, folder) == [
        (None, numbered(1, VRF)), (second, numbered(2, VRF)),
    ]  # fmt: skip


def test_an_idl_that_is_larger_than_one_instruction_may_make_it(devnet, folder):
    """It is made, grown twice, written, and upgraded within its room."""
    large = numbered(1)
    chance = random.Random(5)
    large["docs"] = [chance.randbytes(30).hex() for _ in range(600)]
    deflated = deflate(large)
    assert len(deflated) > 2 * NEVER_GROWN
    keeper = IdlKeeper(devnet, GATEWAY.address)
    devnet.send(keeper.create(len(deflated)))
    for _ in range(2):
        devnet.send(keeper.resize(len(deflated) + HEAD))
    keeper.write_all(deflated, part=800)
    second = keeper.upgrade(numbered(2))
    devnet.advance(2)

    assert versions_of(fetch(GATEWAY.address), folder) == [
        (None, large), (second, numbered(2)),
    ]  # fmt: skip


def test_inner_instructions_count_and_failed_ones_do_not(devnet, folder):
    keeper = IdlKeeper(devnet, GATEWAY.address)
    deflated = deflate(numbered(1))
    devnet.send(keeper.create(len(deflated)))
    half = len(deflated) // 6
    for start in range(0, len(deflated), half):
        part = keeper.write(deflated[start : start + half])
        devnet.send(ledger.relay(part))
        with pytest.raises(TransactionFailedError):
            devnet.send(part, ledger.fail(7), skipPreflight=True)
    buffer = keeper.make_buffer(9_000).pubkey()
    keeper.write_all(deflate(numbered(2)), buffer)
    with pytest.raises(TransactionFailedError):
        devnet.send(keeper.set_buffer(buffer), ledger.fail(7), skipPreflight=True)
    devnet.send(keeper.write(b""), keeper.set_authority(keeper.owner))
    devnet.advance(2)
    assert versions_of(fetch(GATEWAY.address), folder) == [(None, numbered(1))]

    # One that fits is copied, from a buffer that was copied itself.
    small = numbered(3)
    del small["instructions"][3:]
    source, middle = (keeper.make_buffer(4_000).pubkey() for _ in range(2))
    keeper.write_all(deflate(small), source)
    devnet.send(keeper.set_buffer(source, middle))
    slot = keeper.slot(devnet.send(ledger.relay(keeper.set_buffer(middle))))
    devnet.advance(2)

    assert versions_of(fetch(GATEWAY.address, "--yes"), folder) == [
        (None, numbered(1)), (slot, small),
    ]  # fmt: skip


def test_the_order_in_a_slot_is_that_of_its_block(devnet, folder):
    """All of a version is written in one slot; the listing has another order."""
    keeper = IdlKeeper(devnet, GATEWAY.address)
    deflated = deflate(numbered(1))
    parts = [keeper.write(deflated[at : at + 500]) for at in range(0, 5_000, 500)]
    devnet.send(keeper.create(len(deflated)))
    sent = [devnet.post(devnet.sign([each])) for each in parts if each.data[13:]]
    devnet.wait(sent[-1])
    assert len({keeper.slot(each) for each in sent}) == 1
    devnet.advance(2)
    devnet.fault(kind="shuffle", times=0, seed=4)

    def bare(*asked):
        found = devnet.call("getTransaction", *asked)
        return {
            name: each for name, each in found.items() if name != "transactionIndex"
        }

    for answers in ({}, {"getTransaction": bare}):
        with replica(devnet, **answers) as other:
            follow(folder, devnet, [other.url])
            assert versions_of(fetch(GATEWAY.address), folder) == [(None, numbered(1))]


def test_what_one_endpoint_lacks_another_has(devnet, folder):
    """A line that is not listed, and a transaction that is null."""
    keeper = IdlKeeper(devnet, GATEWAY.address)
    keeper.publish(numbered(1))
    second = keeper.upgrade(numbered(2))
    devnet.advance(2)
    asked = []

    def some(*words):
        return devnet.call("getSignaturesForAddress", *words)[1::2]

    def null(*words):
        asked.append(words)

    with replica(devnet, getSignaturesForAddress=some, getTransaction=null) as other:
        follow(folder, devnet, [other.url, devnet.rpc.url])
        told = fetch(GATEWAY.address)
        assert asked
        follow(folder, devnet, [other.url])
        refused = fetch(GATEWAY.address, code=2)

    assert versions_of(told, folder) == [(None, numbered(1)), (second, numbered(2))]
    assert "no endpoint has it" in refused.stderr
    assert "None is left out: add an endpoint" in refused.stderr


def test_an_endpoint_that_lists_too_little_is_found_out(devnet, folder):
    keeper = IdlKeeper(devnet, GATEWAY.address)
    keeper.publish(numbered(1))
    second = keeper.upgrade(numbered(2))
    devnet.advance(2)
    devnet.fault(kind="hide", slot=second, times=0)

    refused = fetch(GATEWAY.address, code=2)

    assert "end with another one than" in refused.stderr
    assert "without --history the present one is fetched" in refused.stderr
    assert files(folder) == []


@pytest.mark.parametrize("cut", ["in the first", "in a buffer", "behind all"])
def test_pruned_history_is_said_to_be(devnet, folder, cut):
    keeper = IdlKeeper(devnet, GATEWAY.address)
    first = keeper.publish(numbered(1))
    second = keeper.upgrade(numbered(2))
    third = keeper.upgrade(numbered(3))
    devnet.advance(40)
    since = {"in the first": first, "in a buffer": second - 1, "behind all": third + 9}
    devnet.fault(kind="prune", first=since[cut], times=0)

    told = fetch(GATEWAY.address)

    expected = {
        "in the first": [(None, numbered(2)), (third, numbered(3))],
        "in a buffer": [(None, numbered(3))],
        "behind all": [(None, numbered(3))],
    }[cut]
    assert versions_of(told, folder) == expected
    assert f"have blocks from slot {since[cut]} on" in told.stderr
    if cut == "behind all":
        slot = since[cut]
        assert "where it was before then already" in told.stderr
    else:
        slot = second if cut == "in the first" else third
        assert "what was written before it is not known" in told.stderr
    assert f"gateway.idl.{slot}.json" in files(folder)


def test_a_pruned_version_that_is_still_there_is_taken_from_the_account(devnet, folder):
    keeper = IdlKeeper(devnet, GATEWAY.address)
    keeper.publish(numbered(1))
    second = keeper.upgrade(numbered(2))
    devnet.advance(40)
    devnet.fault(kind="prune", first=second - 1, times=0)

    told = fetch(GATEWAY.address)

    assert versions_of(told, folder) == [(None, numbered(2))]
    assert files(folder) == [f"gateway.idl.{second}.json"]
    assert f"slot {second}: the present IDL, of which not all writes" in told.stderr
    assert "where it was from then on" in told.stderr


def test_a_program_is_followed_with_what_was_written(
    devnet, folder, database_url, db_engine
):
    """Each deposit is read by the IDL of its slot; in the upload's, by the new one."""
    old = numbered(1)
    kept = {"initialize", "deposit"}
    old["instructions"] = [e for e in old["instructions"] if e["name"] in kept]
    [deposit] = [e for e in old["instructions"] if e["name"] == "deposit"]
    del deposit["args"][2]  # "revert_options"
    new = numbered(2)
    keeper = IdlKeeper(devnet, GATEWAY.address)
    accounts = {"signer": keeper.owner, "pda": GATEWAY.derived(b"meta")}
    devnet.send(keeper.create(9_000))  # room for the larger one
    keeper.write_all(deflate(old))
    devnet.send(GATEWAY.call("initialize", accounts, [b"\x11" * 20, 101]))

    def pay(amount, name="deposit", *more):
        args = [amount, b"\x22" * 20, *more, None]
        return devnet.sign([GATEWAY.call(name, accounts, args)])

    before = devnet.post(pay(5_000_001))
    devnet.post(pay(5_000_002, "deposit_and_call", b"hi"))
    devnet.wait(before)
    buffer = keeper.make_buffer(9_000).pubkey()
    keeper.write_all(deflate(new), buffer)
    within = devnet.post(pay(5_000_003))
    devnet.wait(devnet.post(devnet.sign([keeper.set_buffer(buffer)])))
    after = devnet.send(
        GATEWAY.call("deposit", accounts, [5_000_004, b"\x22" * 20, None])
    )
    called = devnet.post(pay(5_000_005, "deposit_and_call", b"hi"))
    devnet.advance(40)
    content = (folder / "chainfold.toml").read_text()
    plain = servers.plain(database_url)
    content = "domains = []\n" + content.replace("postgresql:///none", plain)
    (folder / "chainfold.toml").write_text(content)

    told = fetch(GATEWAY.address)
    load_settings_with(folder, told)
    for words in (["migrate"], ["index", "--once"]):
        done = CliRunner().invoke(main, ["--log-level", "error", *words])
        assert done.exit_code == 0, done.output

    def rows(table):
        with db_engine.connect() as connection:
            query = f"SELECT transaction, amount FROM public.gateway_{table}"
            found = connection.execute(text(query + " ORDER BY position")).all()
        return [(name, int(amount)) for name, amount in found]

    assert rows("deposit_instruction") == [(before, 5_000_001)]
    assert rows("deposit_instruction_v2") == [(within, 5_000_003), (after, 5_000_004)]
    assert rows("deposit_and_call_instruction") == [(called, 5_000_005)]
    shown = CliRunner().invoke(main, ["status"])
    assert "1 are not what their ABI or IDL says and are in no table" in shown.output


def test_a_program_that_keeps_none_is_told_where_to_look(devnet, folder):
    told = fetch(Pubkey.new_unique(), code=2)
    assert "never kept an IDL at" in told.stderr
    assert "target/idl/<program>.json" in told.stderr

    keeper = IdlKeeper(devnet, GATEWAY.address)
    devnet.send(keeper.create(4_000))
    keeper.write_all(deflate({"name": "../../etc/passwd"}))
    devnet.send(keeper.close())
    devnet.advance(2)
    told = fetch(GATEWAY.address, code=2)
    assert "is no name" in told.stderr
    assert files(folder) == []

    told = fetch(GATEWAY.address, "--file", "x.json", code=2)
    assert "say --folder with --history" in told.stderr


def test_a_file_that_is_another_is_not_replaced_unasked(devnet, folder):
    slot = IdlKeeper(devnet, GATEWAY.address).publish(numbered(1))
    devnet.advance(2)
    target = folder / "mine" / f"gateway.idl.{slot}.json"
    target.parent.mkdir()
    target.write_text("mine")

    fetch(GATEWAY.address, "--folder", "mine", code=1)  # nobody says yes
    assert target.read_text() == "mine"
    told = fetch(GATEWAY.address, "--folder", "mine", "--yes")
    assert versions_of(told, folder) == [(None, numbered(1))]
    fetch(GATEWAY.address, "--folder", "mine")
    assert "cannot be written" in fetch(
        GATEWAY.address, "--folder", f"mine/{target.name}/deeper", code=2
    ).stderr  # fmt: skip


def line(slot, name=b"\1" * 64, **others):
    return {"signature": to_base58(name), "slot": slot, "err": None, **others}


# What an endpoint may answer to a listing that is no listing.
NO_LISTS = {
    "a text": "x",
    "null": None,
    "no signature": [line(3, b"\1" * 60)],
    "below zero": [line(-3)],
    "beyond numbers": [line(2**70)],
    "in no order": [line(3), line(5, b"\2" * 64)],
    "an object": {"a": [[[[]]]]},
    "a line of text": ["x"],
}


@pytest.mark.parametrize("answer", NO_LISTS.values(), ids=NO_LISTS)
def test_what_is_no_listing_is_refused(devnet, folder, answer, monkeypatch):
    monkeypatch.setattr("ops.idl_history.PAUSE_SECONDS", 0.01)
    with replica(devnet, getSignaturesForAddress=lambda *_: answer) as other:
        follow(folder, devnet, [other.url])
        told = fetch(GATEWAY.address, code=2)

    assert "Traceback" not in told.output
    assert len(told.stderr) < 600
    assert files(folder) == []


def endless(*_):
    """A page that is another each time."""
    return [line(5, random.randbytes(64)) for _ in range(1000)]


def test_a_listing_without_an_end_is_refused(devnet, folder, monkeypatch):
    monkeypatch.setattr("ops.idl_history.LINES_MAX", 3_000)
    with replica(devnet, getSignaturesForAddress=endless) as other:
        follow(folder, devnet, [other.url])
        told = fetch(GATEWAY.address, code=2)

    assert "more than is read: somebody made it so" in told.stderr


def odd_transactions():
    """Transactions as no node tells them; each is a change of a good one."""

    def instruction(found, **changed):
        found["transaction"]["message"]["instructions"][0].update(changed)

    return {
        "a program beyond": lambda found: instruction(found, programIdIndex=99),
        "accounts beyond": lambda found: instruction(found, accounts=[99, 2**40, -7]),
        "no base58": lambda found: instruction(found, data="0OIl"),
        "much data": lambda found: instruction(found, data="2" * 20_000),
        "no results": lambda found: found.update(meta=None),
        "no calls": lambda found: found["meta"].update(innerInstructions=None),
        "another": lambda found: found["transaction"].update(signatures=["1" * 64]),
        "another slot": lambda found: found.update(slot=found["slot"] + 1),
    }


@pytest.mark.parametrize("name", odd_transactions())
def test_a_transaction_that_is_none_is_refused(devnet, folder, name, monkeypatch):
    monkeypatch.setattr("ops.idl_versions.PAUSE_SECONDS", 0.01)
    IdlKeeper(devnet, GATEWAY.address).publish(numbered(1))
    devnet.advance(2)

    def answer(*asked):
        found = devnet.call("getTransaction", *asked)
        odd_transactions()[name](found)
        return found

    with replica(devnet, getTransaction=answer) as other:
        follow(folder, devnet, [other.url])
        told = fetch(GATEWAY.address, code=2)

    assert "Traceback" not in told.output
    assert files(folder) == []


def test_the_slots_of_the_programs_code_are_told(devnet, folder):
    """The program is really upgraded, by the loader, before and after its IDL."""
    keeper = IdlKeeper(devnet, GATEWAY.address)
    devnet.fund(UPGRADER.pubkey(), 10**11)
    keeper.publish(numbered(1))
    code = upgrade_code(devnet, GATEWAY.address, GATEWAY.binary.read_bytes())
    keeper.upgrade(numbered(2))
    devnet.advance(2)

    told = fetch(GATEWAY.address)

    assert f"The program's code is of slots {code}, and runs from" in told.stdout
    shown = CliRunner().invoke(main, ["program", "show", str(GATEWAY.address)])
    assert f"slot {code}, " in shown.stdout


def upgrade_code(devnet, program, code):
    """Upgrade a program of a development chain; the slot of it."""
    buffer, key = Keypair(), UPGRADER.pubkey()
    size = BUFFER_HEADER + len(code)
    made = CreateAccountParams(
        from_pubkey=key, to_pubkey=buffer.pubkey(), lamports=devnet.rent(size),
        space=size, owner=LOADER,
    )  # fmt: skip
    client = Devnet(devnet.rpc.url, UPGRADER)
    marked = [AccountMeta(buffer.pubkey(), False, True), AccountMeta(key, False, False)]
    client.send(
        create_account(made), Instruction(LOADER, bytes(4), marked), signers=[buffer]
    )
    signing = [AccountMeta(buffer.pubkey(), False, True), AccountMeta(key, True, False)]
    for start in range(0, len(code), 900):
        part = code[start : start + 900]
        data = struct.pack("<IIQ", 1, start, len(part)) + part
        client.post(client.sign([Instruction(LOADER, data, signing)]))
    devnet.advance(2)
    data_account, _ = Pubkey.find_program_address([bytes(program)], LOADER)
    writable = [data_account, program, buffer.pubkey(), key]
    accounts = [
        *(AccountMeta(each, False, True) for each in writable),
        *(AccountMeta(each, False, False) for each in (RENT, CLOCK)),
        AccountMeta(key, True, False),
    ]
    signature = client.send(Instruction(LOADER, struct.pack("<I", 3), accounts))
    return int(client.transaction(signature)["slot"])


@pytest.mark.slow
def test_on_a_node_that_nobody_here_wrote(tmp_path, monkeypatch):
    """Surfpool answers no batches, and tells no place of a transaction in its block."""
    monkeypatch.chdir(tmp_path)
    try:
        strangers.install()
        stage = surfpool_with_socket(program=GATEWAY.address, binary=GATEWAY.binary)
        with stage as (url, _):
            client = Client(url)
            client.fund()
            keeper = IdlKeeper(client, GATEWAY.address)
            keeper.publish(numbered(1))
            second = keeper.upgrade(numbered(2))
            client.send(keeper.close())
            third = keeper.publish(numbered(3))
            client.wait(client.send(keeper.write(b"")), "confirmed")
            follow(tmp_path, client, [url])

            told = fetch(GATEWAY.address)
    except (NpmUnavailable, SurfpoolUnavailable) as error:
        pytest.skip(str(error))

    assert versions_of(told, tmp_path) == [
        (None, numbered(1)), (second, numbered(2)), (third, numbered(3)),
    ]  # fmt: skip
