"""Token movements followed by settings alone: tables, API, and the chain's word."""

import asyncio
import json
import logging
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from api.app import create_app
from db import reads
from db.schema import migrate, rebuild
from devnet.solana.client import TOKEN, Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.bare import settings_of
from helpers.tables import problems
from helpers.token_bank import TOKEN_2022, Bank
from ops.chains.solana.balances import keep_comparing
from ops.cli.main import main
from ops.indexing import declared, streams
from ops.running import catch_up

pytestmark = pytest.mark.chain
SETTINGS = """
domains = []

[database]
url = "{database}"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[chains.local.tokens]
treasury = "{treasury}"
others = {{ address = ["{second}", "{mint}"], start = {start} }}

[tables.balances]
doc = "What each token account holds."
index = ["held"]
account = "Key()"
held = "Sum(tokens.TokenMoved.amount)"
told = "Latest(tokens.TokenMoved.balance)"

[tables.income]
owner = "Key()"
mint = "Key()"
came = "Sum(tokens.TokenMoved.only(tokens.TokenMoved.amount > 0).amount)"
"""


@pytest.fixture
def bank():
    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as node:
        yield Bank(Devnet(node.url), 23)


class Place:
    """Settings over a node with a treasury of Token-2022 and an account of SPL Token.

    The second account is followed from a slot on, when it held something already.
    """

    def __init__(self, bank, folder, engine):
        self.bank, self.folder, self.engine = bank, folder, engine
        with_fee, plain = bank.mint(TOKEN_2022, fee_bps=99), bank.mint(TOKEN)
        self.treasury, self.payee = bank.account(with_fee), bank.account(with_fee)
        self.second, self.third = bank.account(plain), bank.account(plain)
        bank.do(bank.minting(self.treasury, 10**9 + 7))
        bank.do(bank.minting(self.second, 654_321))
        start = bank.devnet.advance(5)
        self.pay(500_003)
        bank.do(
            bank.moving(self.second, self.third, 4_321, checked=False),
            signers=[bank.owner(self.second)],
        )
        content = SETTINGS.format(
            database=engine.url.render_as_string(hide_password=False),
            genesis=bank.devnet.call("getGenesisHash")[:32], url=bank.devnet.rpc.url,
            treasury=self.treasury, second=self.second, mint=plain.key, start=start,
        )  # fmt: skip
        self.settings = settings_of(folder, content)
        self.registry = declared(self.settings)
        self.chain = self.settings.chains["local"]
        migrate(engine, self.registry)

    def pay(self, amount):
        owner = self.bank.owner(self.treasury)
        moving = self.bank.moving(self.treasury, self.payee, amount)
        return self.bank.do(moving, signers=[owner])

    def read(self):
        self.bank.devnet.advance(8)
        asyncio.run(catch_up(self.settings, self.chain, self.engine, self.registry))

    def verify(self, *words, code=0):
        return self.invoke("verify", *words, code=code)

    def slot_of(self, amount):
        """The slot in which so much moved."""
        asked = text("SELECT height FROM public.tokens_token_moved WHERE amount = :a")
        with self.engine.connect() as connection:
            [slot] = connection.execute(asked, {"a": amount}).scalars()
        return slot

    def invoke(self, *words, code=0):
        file = str(self.folder / "chainfold.toml")
        result = CliRunner().invoke(
            main, ["--log-level", "error", "--config", file, *words]
        )
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    def change(self, statement, **binds):
        with self.engine.begin() as connection:
            assert connection.execute(text(statement), binds).rowcount


@pytest.fixture
def place(bank, tmp_path, db_engine):
    found = Place(bank, tmp_path, db_engine)
    found.read()
    return found


def test_tables_and_api_say_what_moved(place):
    sent = place.pay(70_001)
    place.read()
    reader = reads.read_engine(place.engine.url.render_as_string(hide_password=False))
    plan = {
        name: each
        for name, (_, each) in streams(place.settings, place.registry).items()
    }
    http = create_app(reader, place.registry, plans=plan).test_client()

    def get(path):
        answer = http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    bank, payee, treasury = place.bank, str(place.payee), str(place.treasury)
    held = {row["account"]: row["held"] for row in get("balances")}
    assert held[treasury] == str(bank.held(place.treasury))
    assert held[payee] == str(bank.held(place.payee))
    # Of the second account only what moved since it is followed is known.
    assert held[str(place.second)] == "-4321"
    last = get(f"events/tokens_token_moved?account={payee}")[0]
    fee = -(-70_001 * 99 // 10_000)
    assert {name: last[name] for name in ("amount", "owner", "mint", "program")} == {
        "amount": str(70_001 - fee),
        "owner": str(bank.owner(place.payee).pubkey()),
        "mint": str(bank.mints[place.payee].key),
        "program": str(TOKEN_2022),
    }
    assert (last["transaction"], last["balance"], last["decimals"]) == (
        sent, str(bank.held(place.payee)), bank.mints[place.payee].decimals,
    )  # fmt: skip
    bad = http.get("/api/v1/events/tokens_token_moved?account=0x11")
    assert (bad.status_code, "32 bytes in base58" in bad.json["detail"]) == (400, True)
    owner = str(bank.owner(place.payee).pubkey())
    assert [row["came"] for row in get(f"income?owner={owner}")] == [held[payee]]
    with place.engine.connect() as connection:
        assert problems(connection, place.registry) == []
    reader.dispose()


def test_verify_compares_with_the_chain(place):
    told = place.verify("--chain")
    assert "local: 0 of 2 token accounts hold something else" in told
    assert "1 followed addresses are no token accounts" in told
    [row] = [
        json.loads(line) for line in place.verify("--chain", "--json").splitlines()
        if "balances" in line and "chain" in line and "projection" not in line
    ]  # fmt: skip
    assert sorted(row["balances"]["equal"]) == sorted(
        [str(place.treasury), str(place.second)]
    )


def test_verify_finds_a_movement_that_is_missing_and_where(place, monkeypatch):
    """Its remedy mends it: the chain is read again from where balances fit no more."""
    monkeypatch.setattr("ops.chains.solana.balances.PATIENCE_SECONDS", 0.0)
    for amount in (21, 31_337, 84, 126):
        place.pay(amount)
        place.bank.devnet.advance(2)
    place.read()
    held = place.bank.held(place.treasury, "finalized")
    last, first = place.slot_of(-21), place.slot_of(-31_337)
    place.change("DELETE FROM facts.tokens_token_moved WHERE amount = -31337")
    for name in ("balances", "income"):
        rebuild(place.engine, place.registry, name)

    told = place.verify("--chain", "balances", code=1)

    assert "balances: 0 differences" in told
    assert "local: 1 of 2 token accounts hold something else" in told
    assert f"{place.treasury}: its movements add up to {held + 31_337}, and" in told
    assert f"it held {held} in slot" in told
    assert f"`chainfold rewind local {last}`" in told
    assert last < first
    place.invoke("rewind", "local", str(last), "--yes")
    place.read()
    assert "local: 0 of 2" in place.verify("--chain")
    assert place.slot_of(-31_337) == first


def test_verify_finds_what_is_missing_at_the_ends(place, monkeypatch):
    monkeypatch.setattr("ops.chains.solana.balances.PATIENCE_SECONDS", 0.0)
    place.change("DELETE FROM facts.tokens_token_moved WHERE amount = 1000000007")
    assert "`chainfold rewind local 0`" in place.verify("--chain", "balances", code=1)
    last = place.slot_of(-4321)
    place.bank.do(
        place.bank.minting(place.second, 5), place.bank.minting(place.treasury, 2)
    )
    place.read()
    place.change("DELETE FROM facts.tokens_token_moved WHERE amount IN (5, 2)")
    told = place.verify("--chain", "balances", "--json", code=1).splitlines()[-1]
    found = json.loads(told)["balances"]["differences"]
    assert {each["account"]: each["since"] for each in found} == {
        str(place.treasury): 0, str(place.second): last,
    }  # fmt: skip


def test_a_chain_that_is_not_read_up_to_a_final_slot_is_not_compared(
    place, monkeypatch
):
    monkeypatch.setattr("ops.chains.solana.balances.PATIENCE_SECONDS", 0.0)
    place.pay(12)
    place.bank.devnet.advance(9)

    told = place.verify("--chain", code=1)

    assert "local: 0 of 0" in told
    assert "2 not compared, the chain is not read up to the final slot" in told


def test_a_follower_compares_on_and_on(place, caplog):
    place.change("UPDATE facts.tokens_token_moved SET amount = amount + 1"
                 " WHERE amount = -500003")  # fmt: skip
    chain = replace(place.chain, compare_seconds=0.01)
    _, plan = streams(place.settings, place.registry)["local"]

    async def run():
        working = keep_comparing(
            place.settings, chain, place.engine, place.registry, plan
        )
        task = asyncio.create_task(working)
        for _ in range(600):
            await asyncio.sleep(0.1)
            if "balance_differs" in caplog.text:
                break
        task.cancel()

    caplog.set_level(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ops.chains.solana.balances.PATIENCE_SECONDS", 0.0)
        asyncio.run(run())

    assert f"balance_differs chain=local account={place.treasury}" in caplog.text
    never = replace(place.chain, compare_seconds=0.0)
    asyncio.run(
        keep_comparing(place.settings, never, place.engine, place.registry, plan)
    )


def test_without_followed_tokens_there_is_nothing_to_compare(place, tmp_path):
    file = tmp_path / "chainfold.toml"
    head, _, rest = file.read_text().partition("[chains.local.tokens]")
    file.write_text(head)
    assert rest
    migrate(place.engine, declared(settings_of(tmp_path, head)), drop=True)

    told = place.verify("--chain", code=2)

    assert "write [chains.<name>.tokens], or leave out --chain" in told
