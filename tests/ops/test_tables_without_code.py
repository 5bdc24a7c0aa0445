"""The page `Tables without code` does what it says, over facts of a chain."""

import json
import re

import pytest
from sqlalchemy import create_engine

from abis import load_artifact
from db.blocks import Header
from db.declare import DeclarationError, Money
from db.schema import migrate
from helpers import servers
from helpers.stories import Rows, write
from helpers.tables import empty, rows_as_of
from idl.parse import DIRECTORY
from indexer.writer import rewind
from ops.indexing import declared
from ops.settings import SettingsError, load_settings
from ops.stories import GENESIS, StoryChain
from test_architecture import ROOT

PAGE = (ROOT / "docs" / "tables-without-code.md").read_text()
CHAIN = """
[signers.treasurer]
kind = "env"
env = "TREASURER_KEY"

[chains.local]
id = "eip155:1"
rpc = "http://127.0.0.1:1"
finality = "ibft"
"""
NOBODY, ALICE, BOB = bytes(20), b"\xaa" * 20, b"\xbb" * 20
POOL = b"\x99" * 20
DAY = 86_400


@pytest.fixture
def place(tmp_path):
    for name in ("TestToken", "Pair"):
        artifact = {"abi": load_artifact(name)["abi"]}
        (tmp_path / f"{name}.json").write_text(json.dumps(artifact))
    return tmp_path


def read(place, text):
    path = place / "chainfold.toml"
    path.write_text("domains = []\n" + CHAIN + text)
    return declared(load_settings(path, {}))


def examples():
    return "\n".join(re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S))


@pytest.fixture
def engine(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


def tell(chain, registry):
    """Two days of a token and a pool."""
    transfer = registry.events["token.Transfer"]
    share = registry.events["pool.Transfer"]
    chain.mine(GENESIS - GENESIS % DAY + DAY)
    chain.emit(transfer, from_=NOBODY, to_=ALICE, value=5000)
    chain.emit(share, from_=NOBODY, to_=ALICE, value=7, contract=POOL)
    chain.mine()
    chain.emit(transfer, from_=ALICE, to_=BOB, value=999)
    chain.mine(chain.now + DAY)
    chain.emit(transfer, from_=BOB, to_=ALICE, value=999)
    chain.emit(share, from_=ALICE, to_=NOBODY, value=7, contract=POOL)
    chain.emit(share, from_=NOBODY, to_=BOB, value=2, contract=POOL)


def test_the_examples_fold_what_they_say(place, engine):
    registry = read(place, examples())
    migrate(engine, registry)
    source, chain = empty(engine), StoryChain()
    tell(chain, registry)
    first = GENESIS - GENESIS % DAY + DAY

    rows = write(engine, registry, source, chain)  # compares rows with the facts

    balances = rows.of(registry.projections["token_balances"])
    assert {ALICE: 5000, BOB: 0} == {
        holder: row["balance"] for holder, row in balances.items() if holder != NOBODY
    }
    assert (True, False) == (balances[ALICE]["holds"], balances[BOB]["holds"])
    assert first + 2 == balances[BOB]["since"]
    volumes = rows.of(registry.projections["daily_volumes"])
    assert [first, first + DAY] == sorted(volumes)
    assert {
        "transfers": 2, "volume": 5999, "large": 1, "mean": 2999, "mean_sum": 5999,
        "mean_count": 2, "greatest": 5000, "senders": 2,
        "three_greatest": ["5000", "999"],
    } == volumes[first]  # fmt: skip
    positions = rows.of(registry.projections["pool_positions"])
    assert {(POOL, ALICE): False, (POOL, BOB): True} == {
        key: row["open"] for key, row in positions.items() if key[1] != NOBODY
    }
    assert 2 == positions[POOL, ALICE]["moves"]


def test_a_block_undone_and_a_block_past_are_exact(place, engine):
    registry = read(place, examples())
    migrate(engine, registry)
    source, chain = empty(engine), StoryChain()
    tell(chain, registry)
    write(engine, registry, source, chain)
    volumes = registry.projections["daily_volumes"]
    with engine.connect() as connection:
        early = rows_as_of(connection, volumes, source, 1)

    rewind(engine, registry, source, 2)
    chain.facts = [fact for fact in chain.facts if fact.position >> 32 < 2]
    del chain.times[2:]
    chain.written = 1
    chain.mine()
    rows = write(engine, registry, source, chain)

    assert isinstance(chain.header(1), Header)
    assert early == {(key,): row for key, row in rows.of(volumes).items()}
    assert 1 == len(rows.of(volumes))


def test_a_line_that_changed_rebuilds_its_table_alone(place, engine):
    registry = read(place, examples())
    migrate(engine, registry)
    source, chain = empty(engine), StoryChain()
    tell(chain, registry)
    write(engine, registry, source, chain)

    changed = read(place, examples().replace("value >= 1000", "value >= 900"))
    report = migrate(engine, changed)

    assert ["daily_volumes"] == report.rebuilt
    rows = Rows(engine, source).of(changed.projections["daily_volumes"])
    assert [1, 2] == sorted(row["large"] for row in rows.values())


def test_the_error_of_the_page_is_the_real_one(place):
    shown = PAGE.split("```")[-2]
    text = examples().replace(
        'volume = "Sum(token.Transfer.value)"', 'volume = "Sum(token.Transfer.valeu)"'
    )

    with pytest.raises(Exception, match="valeu") as caught:
        read(place, text)

    assert shown.strip() == f"chainfold: {caught.value}"


def test_the_command_of_the_page_is_there(place):
    spec = read(place, examples()).commands["token-mint"].spec

    assert "treasurer" == spec.signer
    assert ["to_", "amount"] == list(spec.fields)


def test_a_table_of_another_s_name_is_refused(place):
    with pytest.raises(Exception, match=r"token_transfer.*is already taken"):
        read(place, examples().replace("tables.daily_volumes", "tables.token_transfer"))


def meant(place, text):
    registry = read(place, examples().split("[contracts.token.meanings]")[0] + text)
    return registry, registry.events["token.Transfer"].spec.fields["value"].meaning


def test_amounts_of_a_contract_without_code_are_shown_in_units(place, engine):
    registry = read(place, examples())
    migrate(engine, registry)
    source, chain = empty(engine), StoryChain()
    tell(chain, registry)
    write(engine, registry, source, chain)
    with engine.connect() as connection:
        asked = connection.exec_driver_sql(
            "SELECT value::text FROM token_transfer ORDER BY value"
        )
        told = [value for [value] in asked]
    assert told == ["0.000000000000000999"] * 2 + ["0.000000000000005"]
    amount = registry.commands["token-mint"].spec.fields["amount"]
    assert amount.read("12.5") == 125 * 10**17
    share = registry.events["pool.Transfer"].spec.fields["value"]
    assert share.meaning is None  # it is another contract's


def test_amounts_of_a_program_without_code_have_a_meaning_in_tables_too(place):
    (place / "ledger.json").write_bytes((DIRECTORY / "ledger.json").read_bytes())
    registry = read(
        place,
        f'[chains.cluster]\nid = "solana:{"1" * 32}"\nrpc = "http://127.0.0.1:1"\n'
        'finality = "commitment"\n[programs.ledger]\nidl = "ledger.json"\n'
        '[programs.ledger.meanings]\namount = "amount 6 USDC"\n'
        '[tables.authors]\nauthor = "Key()"\ntotal = "Sum(ledger.Recorded.amount)"\n'
        'paid = "Count(ledger.RecordInstruction)"\n',
    )
    found = registry.projections["authors"].spec.column_field("total").meaning
    assert found == Money(6, "USDC")


def test_a_meaning_of_one_event_stands_over_that_of_all(place):
    registry, meaning = meant(
        place,
        '[contracts.token.meanings]\nvalue = "amount 6 A"\n'
        'Transfer.value = "amount 2 B"\n',
    )
    approval = registry.events["token.Approval"].spec.fields["value"].meaning
    assert (meaning, approval) == (Money(2, "B"), Money(6, "A"))


def test_a_command_beside_amounts_says_what_its_own_numbers_are(place):
    """Else people would read units, and send the smallest unit."""
    page = examples().split("[contracts.token.meanings]")
    command = (
        "[contracts.token.commands" + page[1].split("[contracts.token.commands")[1]
    )
    said = '[contracts.token.meanings]\nvalue = "amount 18 TEST"\n'

    with pytest.raises(
        DeclarationError, match=r"mint\.amount has no meaning"
    ) as caught:
        read(place, page[0] + said + command)
    assert 'mint.amount = "amount …"' in str(caught.value)
    registry = read(place, page[0] + said + 'mint.amount = "number"\n' + command)
    fields = registry.commands["token-mint"].spec.fields
    assert fields["amount"].read("12") == 12
    with pytest.raises(ValueError, match=r"12\.5"):
        fields["amount"].read("12.5")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('valeu = "time"', "did you mean value?"),
        ('Transfre.value = "time"', "did you mean Transfer?"),
        ('Transfer.spender = "time"', "Transfer has no spender"),
        ('value = "code"', "its values cannot be a code"),
        ('value = "amount 18"', 'write "amount 18 TKN"'),
        ('value = "amount 99 TKN"', "0..77"),
        ('value = "amount 18 \\u00e9"', "symbol"),
        ('value = "share 30"', "10_000"),
        ("value = 18", "contracts.token.meanings.value"),
    ],
)
def test_a_meaning_that_cannot_be_is_refused_with_its_place(place, line, words):
    with pytest.raises((DeclarationError, SettingsError)) as caught:
        meant(place, f"[contracts.token.meanings]\n{line}\n")
    said = str(caught.value)
    assert words in said
    assert "contracts.token.meanings" in said
