"""Wallets followed by settings: what owners hold, `doctor` and `verify --chain`."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from db.schema import migrate
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.bare import settings_of
from helpers.wallet_life import Life, held_by
from ops.cli.main import main
from ops.indexing import declared
from ops.running import catch_up
from ops.settings import SettingsError

pytestmark = pytest.mark.chain
SETTINGS = """
domains = []

[database]
url = "{database}"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[chains.local.wallets]
ours = ["{one}", "{two}"]

[tables.holdings]
owner = "Key()"
mint = "Key()"
held = "Sum(tokens.TokenMoved.amount)"
"""


class Place:
    """Settings over a node with two wallets, one of which has an account."""

    def __init__(self, life, folder, engine):
        self.life, self.folder, self.engine = life, folder, engine
        self.account = life.associated(life.all_mints[0], life.wallets[0])
        life.do(life.minting(self.account, 5_500))
        life.devnet.fund(life.keys[1])
        content = SETTINGS.format(
            database=engine.url.render_as_string(hide_password=False),
            genesis=life.devnet.call("getGenesisHash")[:32], url=life.devnet.rpc.url,
            one=life.keys[0], two=life.keys[1],
        )  # fmt: skip
        self.settings = settings_of(folder, content)
        self.registry = declared(self.settings)
        migrate(engine, self.registry)

    def read(self):
        self.life.devnet.advance(8)
        chain = self.settings.chains["local"]
        asyncio.run(catch_up(self.settings, chain, self.engine, self.registry))

    def say(self, *words, code=0):
        file = str(self.folder / "chainfold.toml")
        result = CliRunner().invoke(
            main, ["--log-level", "error", "--config", file, *words]
        )
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    def compared(self, code=0):
        told = self.say("verify", "--chain", "--json", code=code).splitlines()
        return next(json.loads(each)["balances"] for each in told if "balances" in each)


@pytest.fixture
def place(tmp_path, db_engine):
    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as node:
        found = Place(Life(Devnet(node.url), 4), tmp_path, db_engine)
        found.read()
        yield found


def test_owners_hold_what_the_chain_says_and_verify_compares_every_account(place):
    life, (wallet, _) = place.life, place.life.wallets
    second = life.account(life.all_mints[1], wallet)  # names no wallet
    life.do(life.minting(second, 71))
    life.devnet.advance(8)
    place.read()
    life.close(place.account)
    place.read()

    with place.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM public.holdings")).all()
    held = {row.mint: int(row.held) for row in rows if row.owner == str(life.keys[0])}
    assert {m: n for m, n in held.items() if n} == held_by(life.devnet, life.keys[0])
    found = place.compared()
    assert set(found["equal"]) == {str(place.account), str(second)}  # a closed one too
    assert found["differences"] == found["unread"] == []


def test_verify_finds_what_is_missing_and_an_account_that_was_not_found(
    place, monkeypatch
):
    monkeypatch.setattr("ops.chains.solana.balances.PATIENCE_SECONDS", 0.0)
    life = place.life
    with place.engine.begin() as connection:
        connection.execute(text("DELETE FROM facts.tokens_token_moved"))
    [wrong] = place.compared(code=1)["differences"]
    assert (wrong["folded"], wrong["held"]) == (0, 5_500)

    unnamed = life.account(life.all_mints[2], life.wallets[1])
    monkeypatch.setattr("indexer.solana.wallets.LOOK_SECONDS", 3_600.0)
    life.do(life.minting(unnamed, 8))
    life.devnet.advance(8)
    assert str(unnamed) in place.compared(code=1)["unread"]
    place.read()
    assert str(unnamed) in place.compared(code=1)["equal"]


def test_doctor_tells_how_many_accounts_there_are_and_what_is_no_wallet(place):
    told = place.say("doctor", code=0)
    assert "2 wallets have 1 token accounts" in told

    file = place.folder / "chainfold.toml"
    content = file.read_text()
    file.write_text(content.replace(str(place.life.keys[1]), str(place.account)))
    told = place.say("doctor", code=1)
    assert "is of a token program, and no wallet" in told
    assert "[chains.local.tokens]" in told
    stranger = place.life.person().pubkey()
    file.write_text(content.replace(str(place.life.keys[1]), str(stranger)))
    assert f"nothing is at {stranger}" in place.say("doctor", code=1)
    file.write_text(content)
    place.life.devnet.fault(
        kind="error", code=-32601, method="getTokenAccountsByOwner", times=10**6
    )
    told = place.say("doctor", code=1)
    assert "Add an endpoint that answers getTokenAccountsByOwner" in told


def test_an_address_is_no_wallet_and_a_token_account_at_once(place):
    content = (place.folder / "chainfold.toml").read_text()
    one = str(place.life.keys[0])
    with pytest.raises(SettingsError, match="once is enough"):
        settings_of(
            place.folder, f'{content}\n[chains.local.tokens]\ntreasury = "{one}"\n'
        )
    with pytest.raises(SettingsError, match="once is enough"):
        settings_of(place.folder, content.replace(str(place.life.keys[1]), one))
