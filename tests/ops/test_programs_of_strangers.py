"""Programs that others wrote and published, followed by their IDLs alone."""

import base64
import json
import shutil

import pytest
from click.testing import CliRunner
from solders.keypair import Keypair
from sqlalchemy import text

from api.app import create_app
from db import reads
from db.declare.times import time_text
from devnet.solana.client import Client, TransactionFailedError
from devnet.solana.run import NodeOptions, SolanaNode
from helpers import servers, strangers
from helpers.npm import NpmUnavailable
from helpers.strangers import GATEWAY, VRF
from idl.base58 import from_base58
from ops.cli.main import main
from ops.indexing import declared, streams
from ops.settings import load_settings

pytestmark = pytest.mark.chain
SETTINGS = """
domains = []

[database]
url = "{database}"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[programs.gateway]
idl = "gateway.json"

[programs.vrf]
idl = "orao_vrf.json"

[tables.depositors]
doc = "What each signer gave to the gateway."
signer = "Key()"
total = "Sum(gateway.DepositInstruction.amount)"
deposits = "Count(gateway.DepositInstruction)"

[tables.seeds]
doc = "The requests of each seed."
seed = "Key()"
requests = "Count(vrf.RequestInstruction)"
payer = "Latest(vrf.RequestInstruction.payer)"
"""
TSS, RECEIVER, ABORT = b"\x11" * 20, b"\x22" * 20, b"\x33" * 20
FEE = 1_000
SEED = b"\x05" * 32
GATEWAY_FEE = 2_000_000  # lamports, which the program takes of each deposit


@pytest.fixture
def node():
    try:
        strangers.install()
    except NpmUnavailable as error:
        pytest.skip(str(error))
    programs = {str(each.address): each.binary for each in strangers.ALL.values()}
    options = NodeOptions(slot_ms=50, finalized_after=3, programs=programs)
    with SolanaNode(options) as running:
        yield running


@pytest.fixture
def client(node):
    made = Client(node.url)
    made.fund()
    return made


@pytest.fixture
def folder(client, database_url, tmp_path, monkeypatch):
    """A folder with settings and the files of the IDLs, as they are in the packages."""
    monkeypatch.chdir(tmp_path)
    for each in strangers.ALL.values():
        shutil.copy(each.idl_path, tmp_path)
    content = SETTINGS.format(
        database=servers.plain(database_url), url=client.rpc.url,
        genesis=client.call("getGenesisHash")[:32],
    )  # fmt: skip
    (tmp_path / "chainfold.toml").write_text(content)
    return tmp_path


def say(*words, code=0):
    result = CliRunner().invoke(main, ["--log-level", "error", *words])
    assert code is None or result.exit_code == code, (
        words,
        result.output,
        result.exception,
    )
    return result.output


def fails(client, *instructions):
    """Send what must fail; the signature of it."""
    with pytest.raises(TransactionFailedError) as caught:
        client.send(*instructions, skipPreflight=True)
    return str(caught.value).split()[0]


def play_gateway(client):
    """Two deposits that go well and one that does not; signatures by what was sent."""
    me = client.payer.pubkey()
    accounts = {"signer": me, "pda": GATEWAY.derived(b"meta")}
    message, revert = b"hi\0\xff", (bytes(me), ABORT, True, b"back", 2**63 + 77)
    first = GATEWAY.call("initialize", accounts, [TSS, 101])
    plain = GATEWAY.call("deposit", accounts, [5_000_000, RECEIVER, None])
    wide = [5_000_001, RECEIVER, message, revert]
    with_call = GATEWAY.call("deposit_and_call", accounts, wide)
    return {
        "initialize": client.send(first),
        "deposits": client.send(plain, with_call),
        "no receiver": fails(
            client, GATEWAY.call("deposit", accounts, [7, bytes(20), None])
        ),
        "again": fails(client, GATEWAY.call("initialize", accounts, [RECEIVER, 102])),
    }


def play_vrf(client):
    """A network and a request; one without a seed, and one that is not known."""
    me, treasury = client.payer.pubkey(), Keypair().pubkey()
    client.fund(treasury, 10**9)
    accounts = {
        "payer": me,
        "network_state": VRF.derived(b"orao-vrf-network-configuration"),
        "treasury": treasury,
        "request": VRF.derived(b"orao-vrf-randomness-request", SEED),
    }
    authorities = [bytes(Keypair().pubkey()) for _ in range(2)]
    network = [FEE, bytes(me), authorities, None]
    return accounts | {
        "authorities": authorities,
        "init": client.send(VRF.call("init_network", accounts, network)),
        "asked": client.send(VRF.call("request", accounts, [SEED])),
        "twice": fails(client, VRF.call("request", accounts, [SEED])),
        "newer": fails(client, VRF.call("request_v2", accounts, [SEED])),
    }


def test_two_programs_nobody_here_wrote(client, folder, db_engine):
    me = client.payer.pubkey()
    gateway, vrf = play_gateway(client), play_vrf(client)
    client.wait(vrf["asked"], "finalized")
    say("migrate")
    assert "ok  chain local programs: programs at 2 addresses" in say("doctor")

    assert say("index", "--once") == "local: caught up\n"

    get = reader_of(folder, db_engine)
    [made] = get("events/gateway_initialize_instruction")
    assert made["transaction"] == gateway["initialize"]
    assert made["signer"] == str(me)
    assert made["pda"] == str(GATEWAY.derived(b"meta"))
    assert made["system_program"] == "1" * 32
    assert (made["tss_address"], made["chain_id"]) == ("0x" + TSS.hex(), "101")
    assert made["program"] == str(GATEWAY.address)
    [plain] = get("events/gateway_deposit_instruction")
    assert plain["transaction"] == gateway["deposits"]
    assert (plain["amount"], plain["receiver"]) == ("5000000", "0x" + RECEIVER.hex())
    assert plain["revert_options"] is None
    [called] = get("events/gateway_deposit_and_call_instruction")
    assert called["transaction"] == gateway["deposits"]
    assert called["message"] == "0x686900ff"
    assert called["revert_options"] == {
        "revert_address": str(me),
        "abort_address": "0x" + ABORT.hex(),
        "call_on_revert": True,
        "revert_message": "0x" + b"back".hex(),
        "on_revert_gas_limit": str(2**63 + 77),
    }
    [depositor] = get("depositors")
    assert depositor == {"signer": str(me), "total": "5000000", "deposits": 1}
    balance = client.call("getBalance", str(GATEWAY.derived(b"meta")))["value"]
    given = int(plain["amount"]) + int(called["amount"]) + 2 * GATEWAY_FEE
    rent = client.rent(len(account_data(client, GATEWAY.derived(b"meta"))))
    assert balance == rent + given

    assert "the program's address" in say("describe", "vrf_request_instruction")
    [network] = get("events/vrf_init_network_instruction")
    assert network["treasury"] == str(vrf["treasury"])
    assert network["config_authority"] == str(me)
    assert network["fulfillment_authorities"] == [
        str(type(me).from_bytes(each)) for each in vrf["authorities"]
    ]
    [asked] = get("events/vrf_request_instruction")
    assert asked["transaction"] == vrf["asked"]
    assert asked["seed"] == "0x" + SEED.hex()
    assert asked["request"] == str(vrf["request"])
    assert get("seeds") == [
        {"seed": "0x" + SEED.hex(), "requests": 1, "payer": str(me)}
    ]
    for event in ("vrf_request", "vrf_response", "vrf_fulfill"):
        assert get(f"events/{event}") == []  # this binary logs none
    assert get("events/vrf_request_v2_instruction") == []

    rows = get("failed-transactions")
    failed = {row["transaction"]: tuple(row.values())[-3:] for row in rows}
    assert failed == {
        gateway["no receiver"]: (str(GATEWAY.address), 6008, "EmptyReceiver"),
        gateway["again"]: ("1" * 32, 0, "AccountAlreadyInUse"),
        vrf["twice"]: ("1" * 32, 0, "AccountAlreadyInUse"),
        vrf["newer"]: (str(VRF.address), 101, "InstructionFallbackNotFound"),
    }
    newer = get(f"failed-transactions?program={VRF.address}&limit=1")
    assert newer == get("failed-transactions?error=InstructionFallbackNotFound")
    where = client.transaction(vrf["newer"])
    assert (newer[0]["height"], newer[0]["block_time"]) == (
        where["slot"], time_text(where["blockTime"]),
    )  # fmt: skip
    told = [json.loads(line) for line in say("verify", "--json").splitlines()]
    assert {"projection": "depositors", "differences": []} in told
    assert {"projection": "seeds", "differences": []} in told
    assert told[-1] == {"unread_logs": 0}


def test_a_published_idl_is_described(client, folder):
    listed = say("describe")
    assert "gateway_deposit_and_call_instruction" in listed
    told = say("describe", "vrf_init_network_instruction")
    for words in ("fulfillment_authorities", "vec<pubkey>", "config_authority"):
        assert words in told


def test_what_an_older_idl_does_not_know_is_kept_until_it_does(
    client, folder, db_engine
):
    signature = deposit_and_call(client)
    whole = GATEWAY.idl_path.read_text()
    lessened = GATEWAY.idl
    lessened["instructions"] = [
        each for each in lessened["instructions"] if each["name"] != "deposit_and_call"
    ]
    (folder / "gateway.json").write_text(json.dumps(lessened))
    say("migrate")
    say("index", "--once")

    [kept] = raws(db_engine)
    assert bytes(kept.transaction) == raw(signature)
    assert bytes(kept.emitter) == bytes(GATEWAY.address)
    assert bytes(kept.data) == bytes(deposit(client.payer.pubkey()).data)
    assert (kept.event, kept.reason) == (
        "gateway", "the IDL knows nothing that begins so",
    )  # fmt: skip
    told = say("status", code=1)
    assert "1 are not what their ABI or IDL says and are in no table" in told
    assert "unread_logs" in say("verify", "--json", code=1)

    (folder / "gateway.json").write_text(whole)
    assert "created gateway.DepositAndCallInstruction" in say("migrate")
    say("index", "--once")

    assert raws(db_engine) == []
    get = reader_of(folder, db_engine)
    [called] = get("events/gateway_deposit_and_call_instruction")
    assert (called["transaction"], called["message"]) == (signature, "0x6869")
    say("verify")


def deposit(signer):
    accounts = {"signer": signer, "pda": GATEWAY.derived(b"meta")}
    return GATEWAY.call("deposit_and_call", accounts, [5, RECEIVER, b"hi", None])


def deposit_and_call(client):
    """Initialize the gateway, and pay into it; the signature, when it is final."""
    me = client.payer.pubkey()
    accounts = {"signer": me, "pda": GATEWAY.derived(b"meta")}
    client.send(GATEWAY.call("initialize", accounts, [TSS, 101]))
    signature = client.send(deposit(me))
    client.wait(signature, "finalized")
    return signature


def raws(engine):
    with engine.connect() as connection:
        return connection.execute(text("SELECT * FROM control.undecodable_log")).all()


def reader_of(folder, engine):
    """Ask the API for the data of a list."""
    settings = load_settings(folder / "chainfold.toml", {})
    registry = declared(settings)
    reader = reads.read_engine(engine.url.render_as_string(hide_password=False))
    plan = {name: each for name, (_, each) in streams(settings, registry).items()}
    http = create_app(reader, registry, plans=plan).test_client()

    def get(path):
        answer = http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    return get


def raw(signature):
    return from_base58(signature, 64)


def account_data(client, key):
    found = client.call("getAccountInfo", str(key), {"encoding": "base64"})
    return base64.b64decode(found["value"]["data"][0])
