"""The page `Tables without code` does what it says, over facts of a chain."""

import json
import re

import pytest
from sqlalchemy import create_engine

from abis import load_artifact
from db.blocks import Header
from db.schema import migrate
from helpers import servers
from helpers.stories import Rows, write
from helpers.tables import empty, rows_as_of
from indexer.writer import rewind
from ops.indexing import declared
from ops.settings import load_settings
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
