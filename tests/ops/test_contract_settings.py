"""`[contracts.<name>]`: several ABIs, several chains, several factories."""

import json

import pytest
from sqlalchemy import text

from helpers.bare import (
    ABIS,
    FACTORIES,
    chain_text,
    event,
    families,
    follow,
    named,
    settings_of,
    write_abis,
)
from helpers.rpc import FakeEvmChain, FakeLog, FakeRpcServer
from ops.errors import OperationError
from ops.indexing import declared
from ops.settings import Factory, SettingsError

ONE, TWO = b"\x11" * 20, b"\x22" * 20
CHAINS = chain_text("main", "http://a") + chain_text("side", "http://b", 5)
TRANSFER = "Transfer", "address indexed from", "address indexed to"
FT = event(*TRANSFER, "uint256 value")
FT_OTHER = event(*TRANSFER, "uint256 amount")
FT_SHIFTED = event(*TRANSFER[:2], "address to", "uint256 indexed value")
NFT = event(*TRANSFER, "uint256 indexed tokenId")
UPGRADED = event("Upgraded", "address indexed implementation")


@pytest.fixture
def load(tmp_path):
    write_abis(tmp_path, ABIS)

    def load(said, chains=CHAINS, **abis):
        write_abis(tmp_path, abis)
        return settings_of(tmp_path, chains + said)

    return load


@pytest.fixture
def problem(load):
    def problem(*arguments, **abis):
        with pytest.raises(SettingsError) as caught:
            load(*arguments, **abis)
        assert len(caught.value.problems) == 1, caught.value
        return caught.value.problems[0]

    return problem


def contract(said, at=ONE):
    address = f'address = "0x{at.hex()}"\n' if at else ""
    return f"[contracts.coin]\n{address}{said}\n"


def test_the_events_of_several_files_are_one_union(load):
    """A proxy's file and its implementation's have the proxy's events both."""
    both = 'abi = ["proxy.json", "coin.json"]\nchain = "main"'

    settings = load(contract(both), proxy=[UPGRADED, FT], coin=[FT, NFT, UPGRADED])

    assert settings.contracts["coin"].abi == (UPGRADED, FT, NFT)
    tables = {e.spec.table for e in declared(settings).events_of("coin")}
    assert tables == {
        "coin_upgraded", "coin_transfer_ddf252ad_2", "coin_transfer_ddf252ad_3",
    }  # fmt: skip


def test_files_may_write_what_does_not_matter_differently(load):
    """Compilers add members; short names of types, and missing ones, mean the same."""
    short = json.loads(json.dumps(FT).replace("uint256", "uint"))
    short["inputs"][2]["internalType"] = "Money"
    both = 'abi = ["a.json", "b.json"]\nchain = "main"'

    settings = load(contract(both), a=[FT], b=[short])

    assert len(declared(settings).events_of("coin")) == 1


@pytest.mark.parametrize("other", [FT_OTHER, FT_SHIFTED])
def test_two_forms_of_one_event_name_both_files(problem, load, other):
    both = 'abi = ["a.json", "b.json"]\nchain = "main"'

    found = problem(contract(both), a=[UPGRADED, FT], b=[other])

    assert found.startswith("contracts.coin.abi (in chainfold.toml): a.json and b.json")
    assert "Transfer(address indexed from, address indexed to, uint256 value)" in found
    assert "take it out of one of the files" in found
    assert load(contract(both), a=[UPGRADED, FT], b=[])  # the remedy


def test_a_name_that_leaves_tables_no_room_says_how_much_shorter(load):
    """As that of a contract of Aave, with the events of its proxy."""
    name = "InitializableAdminUpgradeabilityProxy"
    said = contract('abi = "proxy.json"\nchain = "main"')

    with pytest.raises(
        OperationError, match="give it one that is 6 characters sh"
    ) as e:
        declared(load(said.replace("coin", name), proxy=[UPGRADED]))

    assert str(e.value).startswith(f"[contracts.{name}]: the name is too long")
    assert declared(load(said.replace("coin", name[:-6]), proxy=[UPGRADED]))


def test_a_path_with_a_comma_is_one_path(load, tmp_path):
    (tmp_path / "a,b.json").write_text("[]")

    settings = load(contract('abi = "a,b.json"\nchain = "side"'))

    assert settings.contracts["coin"].abi == ()


def test_logs_of_an_address_with_two_abis_are_in_the_tables_of_both(
    load, migrated_engine
):
    fake = FakeEvmChain()
    fake.mine(named(UPGRADED, ONE, TWO), named(FT, ONE, ONE, TWO, 5))
    with FakeRpcServer(fake) as node:
        settings = load(
            contract('abi = ["proxy.json", "coin.json"]'),
            chain_text("main", node.url),
            proxy=[UPGRADED],
            coin=[UPGRADED, FT],
        )
        follow(migrated_engine, settings, "main")

    with migrated_engine.connect() as connection:
        for table, count in (("coin_upgraded", 1), ("coin_transfer", 1)):
            query = text(f"SELECT count(*) FROM public.{table}")
            assert connection.execute(query).scalar() == count


def test_what_is_said_once_holds_on_every_chain(load):
    settings = load(contract('abi = "vault.json"\nchain = ["main", "side"]\nstart = 7'))

    coin = settings.contracts["coin"]
    assert coin.chains == ("main", "side")
    assert coin.addresses == {"main": (ONE,), "side": (ONE,)}
    assert coin.starts == {"main": 7, "side": 7}


def test_what_is_said_by_chain_holds_there(load):
    places = f'{{ main = "0x{ONE.hex()}", side = ["0x{ONE.hex()}", "0x{TWO.hex()}"] }}'
    settings = load(
        contract(f'abi = "vault.json"\nchain = ["main", "side"]\naddress = {places}', 0)
    )

    addresses = settings.contracts["coin"].addresses
    assert addresses == {"main": (ONE,), "side": (ONE, TWO)}


def test_one_address_is_one_contract_on_each_of_its_chains(problem):
    other = contract('abi = "vault.json"\nchain = "side"').replace("coin", "gold")

    found = problem(contract('abi = "vault.json"\nchain = ["main", "side"]') + other)

    assert f"contracts.gold: 0x{ONE.hex()} is already contracts.coin" in found


BOTH = 'abi = "vault.json"\nchain = ["main", "side"]\n'
SHOP = 'factory = { contract = "shop", event = "Listed", param = "vaults" }'


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('abi = "vault.json"', "chain: is required: one of main, side, or a list"),
        ('abi = "vault.json"\nchain = []', "needs at least one of main, side"),
        ('abi = "vault.json"\nchain = ["main", "moon"]', "no such chain 'moon'"),
        ('abi = "vault.json"\nchain = ["main", "main"]', "names a chain twice"),
        (BOTH + f'address = {{ main = "0x12", side = "0x{ONE.hex()}" }}',
         "address.main"),
        (BOTH + f'address = {{ main = "0x{ONE.hex()}" }}',
         'address.side: is required: where it is there; or leave "side" out of chain'),
        (BOTH + f'address = {{ main = "0x{ONE.hex()}", side = "0x{ONE.hex()}", '
         f'mon = "0x{ONE.hex()}" }}', "address.mon (in chainfold.toml): unknown key"),
        (BOTH + f'address = "0x{ONE.hex()}"\nstart = {{ main = -1 }}', "start.main"),
        (BOTH + f'address = "0x{ONE.hex()}"\nstart = {{ moon = 1 }}', "unknown key"),
        (BOTH + SHOP, "shop is on chain 'main', not on 'side': write \"side\" into"),
    ],
)  # fmt: skip
def test_a_chain_that_is_wrong_is_named_with_the_remedy(problem, said, expected):
    shop = contract('abi = "shop.json"\nchain = "main"', TWO).replace("coin", "shop")
    at = 0 if "address" in said or "factory" in said else ONE

    assert expected in problem(shop + contract(said, at))


def test_factories_are_a_list_and_parameters_too(load):
    settings = load(families('["main", "side"]'))

    made = "Made(address,address,uint256)"
    assert settings.contracts["vault"].factories == (
        Factory("shop", made, "first"),
        Factory("shop", made, "second"),
        Factory("shop", "Made(address)", "arg0"),
        Factory("shop", "Listed", "vaults"),
        Factory("vault", "Split", "child"),
    )
    makers = declared(settings).contracts["vault"].makers
    assert len(makers) == 5


def test_sections_of_an_array_are_a_list_of_factories(load):
    """As TOML writes longer lists of tables."""
    parts = [
        f'[[contracts.vault.factory]]\ncontract = "shop"\nevent = "Listed"\n{param}\n'
        for param in ('param = "vaults"', 'param = ["vaults"]')
    ]
    said = families('"main"', "[]").replace("factory = []\n", "") + "".join(parts)

    factories = load(said).contracts["vault"].factories

    assert factories == (Factory("shop", "Listed", "vaults"),)


def one(contract_="shop", event_="Listed", param='"vaults"', more=""):
    named_ = f'contract = "{contract_}", event = "{event_}", param = {param}{more}'
    return f"{{ {named_} }}"


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("[]", "factory (in chainfold.toml): is a section, or a list of them"),
        ('"shop"', "is a section, or a list of them"),
        (f"[{one()}, 7]", "is a section, or a list of them"),
        (f"[{one()}, {one(more=', evnt = 1')}]", "factory[1].evnt (in chainfold.toml)"),
        (f"[{one()}, {{ contract = \"shop\", event = \"Listed\" }}]",
         "factory[1].param: is required: as in { contract"),
        (one(param="[]"), "factory.param (in chainfold.toml): needs at least one"),
        (one(param="[1]"), "must be text or a list of texts"),
        (one(param='["vaults", "sizes"]'),
         "Listed has no address parameter 'sizes'; it has: vaults"),
        (one(event_="Made", param='"first"'), ""),
        (one(event_="Maid"), "shop has no event 'Maid'; it has: Listed, Made, Made"),
        (one("vault", "Split", '"child"'),
         "on chain 'main' nothing but vault announces vault: give vault an address"),
    ],
)  # fmt: skip
def test_a_factory_that_is_wrong_is_named_with_the_remedy(
    problem, load, factory, expected
):
    said = families('"main"', factory)
    if expected:
        assert expected in problem(said)
    else:
        assert load(said)


def test_an_indexed_list_announces_nobody(problem):
    """Only its hash is in the log."""
    hashed = {"shop": [event("Listed", "address[] indexed vaults")]}

    found = problem(families('"main"', one()), **hashed)

    assert "Listed has no address parameter 'vaults'; it has: none" in found


def test_a_contract_may_be_at_an_address_and_made_by_itself(load):
    said = families('"main"', FACTORIES.replace('"shop"', '"vault"'))
    said = said.replace(
        'abi = "vault.json"',
        f'abi = ["vault.json", "shop.json"]\naddress = "0x{ONE.hex()}"',
    )

    (maker, *_) = declared(load(said)).contracts["vault"].makers

    assert maker.startswith("vault.Made_")


def test_children_in_a_list_are_followed_whatever_else_is_bad(load, migrated_engine):
    """The place of the list is known although the title before it cannot be read."""
    listed, noted = ABIS["shop"][2], ABIS["vault"][0]
    good = named(listed, TWO, "x", [1, 2], [ONE])
    fake = FakeEvmChain()
    fake.mine(FakeLog(TWO, good.topics, b"\xff" * 32 + good.data[32:]))
    fake.mine(named(noted, ONE, 3))
    shop = f'[contracts.shop]\nabi = "shop.json"\naddress = "0x{TWO.hex()}"\n'
    vault = f'[contracts.vault]\nabi = "vault.json"\nfactory = {one()}\n'
    with FakeRpcServer(fake) as node:
        settings = load(shop + vault, chain_text("main", node.url))
        follow(migrated_engine, settings, "main")

    with migrated_engine.connect() as connection:
        query = text("SELECT amount FROM public.vault_noted")
        assert [int(n) for n in connection.execute(query).scalars()] == [3]
