"""One contract of the settings on several chains: one table, and each chain alone."""

import pytest
from sqlalchemy import text

from api.app import create_app
from db import sources
from db.declare import Key, Projection, Sum
from db.reads import read_engine
from db.registry import Registry
from db.sql.columns import state_name
from db.status import chain_status
from devnet.anvil import Anvil, AnvilOptions
from helpers.bare import (
    chain_text,
    code_that_logs,
    deploy,
    event,
    families,
    follow,
    named,
    notes,
    notes_of,
    play,
    send,
    settings_of,
    write_abis,
)
from helpers.rpc import FakeEvmChain, FakeRpcServer
from helpers.tables import problems
from indexer.verify import run_verification
from indexer.writer import rewind
from ops.indexing import declared, streams

CHAINS = {"main": 31337, "side": 31338}
BOTH = '["main", "side"]'


class Two:
    """Two fake chains with nodes, and the settings that follow both."""

    def __init__(self, folder, engine):
        self.folder, self.engine = folder, engine
        self.fakes = {n: FakeEvmChain(number) for n, number in CHAINS.items()}
        self.nodes = {n: FakeRpcServer(fake) for n, fake in self.fakes.items()}
        write_abis(folder)

    def settings(self, contracts):
        chains = [chain_text(n, self.nodes[n].url, CHAINS[n]) for n in CHAINS]
        return settings_of(self.folder, "".join(chains) + contracts)

    def follow(self, settings, *names, registry=None):
        for name in names or CHAINS:
            follow(self.engine, settings, name, registry=registry)

    def number(self, name):
        with self.engine.connect() as connection:
            return sources.find(connection, name).id

    def stored(self, name, *tables):
        """All rows of a chain with the transactions that wrote them."""
        found = []
        with self.engine.connect() as connection:
            for table in tables:
                query = f"SELECT xmin::text || t FROM {table} t WHERE source = :s"
                found += connection.execute(text(query), {"s": self.number(name)})
        return sorted(map(str, found))


@pytest.fixture
def two(tmp_path, migrated_engine):
    found = Two(tmp_path, migrated_engine)
    with found.nodes["main"], found.nodes["side"]:
        yield found


def with_totals(settings):
    """The declarations with a projection over a contract of the settings."""
    registry = declared(settings)
    noted = registry.events["vault.Noted"]

    class VaultTotal(Projection):
        """One row per vault."""

        contract = Key()

        total = Sum(noted.amount)

    rows = [*registry.projections.values(), VaultTotal]
    return Registry.of(registry.events.values(), rows)


def totals(found):
    sums = {}
    for _, contract, amount in found:
        sums[contract] = sums.get(contract, 0) + amount
    return sums


def test_both_chains_are_in_one_table_and_a_reorg_of_one_leaves_the_other(two):
    settings = two.settings(families(BOTH))
    registry = with_totals(settings)
    for seed, fake in enumerate(two.fakes.values()):
        play(fake, 40, seed)
    two.follow(settings, registry=registry)
    for name, fake in two.fakes.items():
        assert notes(two.engine, name) == notes_of(fake) != []
    assert notes(two.engine, "main") != notes(two.engine, "side")

    state = f"state.{state_name(registry.projections['vault_totals'].spec)}"
    kept = ["facts.vault_noted", state, "control.child",
            "control.coverage", "control.block"]  # fmt: skip
    before = two.stored("side", *kept)
    two.fakes["main"].reorg(12, 0)
    play(two.fakes["main"], 15, 9)
    two.follow(settings, "main", registry=registry)
    assert notes(two.engine, "main") == notes_of(two.fakes["main"])
    assert two.stored("side", *kept) == before

    assert rewind(two.engine, registry, two.number("main"), 3) > 0
    assert two.stored("side", *kept) == before
    two.follow(settings, "main", registry=registry)
    assert notes(two.engine, "main") == notes_of(two.fakes["main"])

    with two.engine.connect() as connection:
        assert problems(connection, registry) == []
        query = text("SELECT chain, contract, total FROM public.vault_totals")
        rows = {
            (c, bytes.fromhex(at[2:])): int(n) for c, at, n in connection.execute(query)
        }
        plans = streams(settings, registry)
        for name, fake in two.fakes.items():
            found = chain_status(connection, two.number(name), plans[name][1])
            assert (found.checkpoint, found.lag_blocks) == (fake.head, 0)
    assert rows == {
        (name, contract): total
        for name, fake in two.fakes.items()
        for contract, total in totals(notes_of(fake)).items()
    }
    assert not any(each.differences for each in run_verification(two.engine, registry))


def test_the_api_answers_for_the_chain_that_is_asked_for(two):
    settings = two.settings(families(BOTH))
    registry = with_totals(settings)
    for seed, fake in enumerate(two.fakes.values()):
        play(fake, 40, seed)
    two.follow(settings, registry=registry)
    plans = {n: plan for n, (_, plan) in streams(settings, registry).items()}
    url = two.engine.url.render_as_string(hide_password=False)
    reader = read_engine(url)
    client = create_app(reader, registry, plans=plans, page_size=100).test_client()
    try:
        for name, fake in two.fakes.items():
            for height in (fake.head, 20):
                where = f"chain={name}&as_of={height}&limit=100"
                facts = client.get(f"/api/v1/events/vault_noted?{where}").json
                rows = client.get(f"/api/v1/vault_totals?{where}").json
                expected = [each for each in notes_of(fake) if each[0] <= height]
                assert facts["block"]["chain"] == rows["block"]["chain"] == name
                assert (
                    sorted(
                        (
                            int(f["height"]),
                            bytes.fromhex(f["contract"][2:]),
                            int(f["amount"]),
                        )
                        for f in facts["data"]
                    )
                    == expected
                )
                assert {
                    bytes.fromhex(r["contract"][2:]): int(r["total"])
                    for r in rows["data"]
                } == totals(expected)
        answer = client.get("/api/v1/events/vault_noted")
        assert answer.status_code == 400
        assert "?chain=: main, side" in answer.text
    finally:
        reader.dispose()


COIN = event("Coin", "uint256 n")
HERE, THERE = b"\x0a" * 20, b"\x0b" * 20


def test_addresses_and_first_blocks_may_differ_by_chain(two):
    write_abis(two.folder, {"coin": [COIN]})
    for fake in two.fakes.values():
        for n in range(1, 4):
            fake.mine(named(COIN, HERE, n), named(COIN, THERE, 10 * n))
    settings = two.settings(
        f'[contracts.coin]\nabi = "coin.json"\nchain = {BOTH}\n'
        f'address = {{ main = "0x{HERE.hex()}", side = "0x{THERE.hex()}" }}\n'
        "start = { side = 3 }\n"
    )

    two.follow(settings)

    with two.engine.connect() as connection:
        query = text("SELECT chain, n FROM public.coin_coin")
        rows = {(chain, int(n)) for chain, n in connection.execute(query)}
    assert rows == {("main", 1), ("main", 2), ("main", 3), ("side", 30)}


def test_a_child_is_followed_only_on_the_chains_of_its_contract(two):
    """Its factory is on both, and announces it on both."""
    two.settings("")
    text_ = families(BOTH).replace(
        f'abi = "vault.json"\nchain = {BOTH}', 'abi = "vault.json"\nchain = "side"'
    )
    settings = two.settings(text_)
    for fake in two.fakes.values():
        play(fake, 30, 1)

    two.follow(settings)

    assert notes(two.engine, "main") == []
    assert notes(two.engine, "side") == notes_of(two.fakes["side"]) != []


@pytest.mark.chain
def test_two_real_chains_of_which_one_is_reorganised(tmp_path, migrated_engine):
    write_abis(tmp_path, {"bell": [event("Rang")]})
    with (
        Anvil(AnvilOptions(chain_id=31337)) as main,
        Anvil(AnvilOptions(chain_id=31338)) as side,
    ):
        code = code_that_logs("Rang()") + b"\0"
        at, same = deploy(main, code), deploy(side, code)
        assert at == same
        settings = settings_of(
            tmp_path,
            chain_text("main", main.url, 31337)
            + chain_text("side", side.url, 31338)
            + f"[contracts.bell]\nchain = {BOTH}\n"
            + f'abi = "bell.json"\naddress = "{at}"\n',
        )
        for anvil, times in ((main, 4), (side, 3)):
            for _ in range(times):
                send(anvil, to=at)
            follow(migrated_engine, settings, "main" if anvil is main else "side")
        assert rung(migrated_engine) == {"main": [2, 3, 4, 5], "side": [2, 3, 4]}

        main.reorg(2)
        main.mine(3)
        send(main, to=at)
        follow(migrated_engine, settings, "main")
        found = rung(migrated_engine)

        heights = [
            int(log["blockNumber"], 16)
            for log in main.rpc("eth_getLogs", {"fromBlock": "0x0", "address": at})
        ]
    assert found == {"main": heights, "side": [2, 3, 4]}
    assert heights != [2, 3, 4, 5]


def rung(engine):
    """The blocks in which the bell rang, by chain."""
    query = text(
        "SELECT chain, array_agg(height ORDER BY height)"
        " FROM public.bell_rang GROUP BY chain"
    )
    with engine.connect() as connection:
        return {chain: list(map(int, at)) for chain, at in connection.execute(query)}
