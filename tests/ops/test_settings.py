"""Every key, every way to get it wrong, and all problems at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.declare import Pubkey
from db.declare.evm.signatures import identity
from db.domains.settlement.settings import SettlementSettings
from helpers.programs import ADDRESS, SHOP_TEXT
from ops.errors import OperationError
from ops.indexing import declared, wanted
from ops.settings import (
    Deployment,
    Factory,
    Finality,
    LogQuery,
    SettingsError,
    SignerKind,
    load_settings,
)

ONE = "0x" + "11" * 20
KEY = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TWO = "0x" + "22" * 20
CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

DEVNET = """
[chains.devnet]
id = "eip155:31337"
rpc = ["http://127.0.0.1:8545"]
finality = "ibft"
"""


@pytest.fixture
def load(tmp_path):
    """Load settings from text, with nothing else in the environment."""

    def load(text: str = "", **environ: str):
        file = tmp_path / "chainfold.toml"
        file.write_text(text)
        return load_settings(file, environ)

    return load


@pytest.fixture
def problems(load):
    """Load what must fail; return its problems as one text."""

    def problems(text: str = "", **environ: str) -> str:
        with pytest.raises(SettingsError) as caught:
            load(text, **environ)
        return str(caught.value)

    return problems


# What can be said


def test_nothing_said_is_the_embedded_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    settings = load_settings(environ={})

    assert settings.path is None
    assert tmp_path / ".chainfold" == settings.data_dir
    assert settings.database.url is None
    assert settings.redis.url is None
    assert settings.redis.wanted
    assert {} == settings.chains
    assert (50_000, 1_000, 2) == (
        settings.limits.batch_facts,
        settings.limits.range_blocks,
        settings.limits.backfill_workers,
    )
    assert ("127.0.0.1", 8080, 20) == (
        settings.api.host,
        settings.api.port,
        settings.api.page_size,
    )


def test_the_file_in_the_working_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chainfold.toml").write_text("[api]\nport = 9000\n")

    assert load_settings(environ={}).api.port == 9000


def test_the_file_named_by_the_environment_is_read(tmp_path):
    file = tmp_path / "other.toml"
    file.write_text('data_dir = "here"\n')

    settings = load_settings(environ={"CHAINFOLD_CONFIG": str(file)})

    assert tmp_path / "here" == settings.data_dir


def test_a_chain_is_read_whole(load):
    settings = load(
        f"""
        [chains.devnet]
        id = "eip155:31337"
        rpc = ["http://a:1", "https://b"]
        finality = "depth"
        finality_depth = 64
        start_block = 7
        logs = "filtered"
        genesis = "0x{"ab" * 32}"
        poll_seconds = 0.5
        stall_seconds = 5
        watch_senders = ["{ONE}"]
        [chains.devnet.contracts]
        IssuerRegistry = "{CHECKSUMMED}"
        FundEscrow = ["{ONE}", "{TWO}"]
        CampaignFactory = {{ address = "0x{"33" * 20}", start = 12 }}
        """
    )

    chain = settings.chains["devnet"]
    assert ("devnet", "eip155:31337") == (chain.name, chain.id)
    assert ("http://a:1", "https://b") == chain.rpc
    assert (Finality.DEPTH, 64) == (chain.finality, chain.finality_depth)
    assert (7, LogQuery.FILTERED) == (chain.start_block, chain.logs)
    assert b"\xab" * 32 == chain.genesis
    assert (0.5, 5.0) == (chain.poll_seconds, chain.stall_seconds)
    assert (b"\x11" * 20,) == chain.watch_senders
    address = bytes.fromhex(CHECKSUMMED[2:])
    assert (Deployment(address),) == chain.contracts["IssuerRegistry"]
    assert (Deployment(b"\x33" * 20, 12),) == chain.contracts["CampaignFactory"]
    assert [b"\x11" * 20, b"\x22" * 20] == [
        deployment.address for deployment in chain.contracts["FundEscrow"]
    ]


def test_a_solana_chain_names_programs(load):
    settings = load(
        """
        [chains.settlement]
        id = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
        rpc = "http://127.0.0.1:8899"
        finality = "commitment"
        [chains.settlement.programs]
        settlement = "11111111111111111111111111111111"
        """
    )

    assert settings.chains["settlement"].programs == {
        "settlement": (Deployment(bytes(32)),)
    }


SOLANA = """
[chains.main]
id = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
rpc = "http://127.0.0.1:8899"
finality = "commitment"
"""


def test_a_program_is_its_idl_and_the_address_that_the_idl_says(load, tmp_path):
    (tmp_path / "shop.json").write_text(SHOP_TEXT)

    one = load(DEVNET + SOLANA + '[programs.shop]\nidl = "shop.json"\nstart = 7\n')
    other = load(SOLANA + f'[programs.shop]\nidl = "shop.json"\naddress = ["{KEY}"]\n')

    shop = one.programs["shop"]
    assert shop.chains == ("main",)
    assert shop.starts == {"main": 7}
    assert [Pubkey().text(each) for each in shop.addresses["main"]] == [ADDRESS]
    assert [each.name for each in shop.idl[-1].idl.events] == ["Sold", "Deposit"]
    assert [Pubkey().text(e) for e in other.programs["shop"].addresses["main"]] == [KEY]


def test_a_program_may_have_an_idl_for_each_upgrade(load, tmp_path):
    (tmp_path / "shop.json").write_text(SHOP_TEXT)
    (tmp_path / "new.json").write_text(SHOP_TEXT.replace("Deposit", "Deposited"))
    found = load(
        SOLANA + "[[programs.shop.idl]]\nfile = 'shop.json'\n"
        "[[programs.shop.idl]]\nfile = 'new.json'\nfrom_slot = 312_000_000\n"
    ).programs["shop"]

    assert [each.first for each in found.idl] == [0, 312_000_000]
    names = [[event.name for event in each.idl.events] for each in found.idl]
    assert names == [["Sold", "Deposit"], ["Sold", "Deposited"]]
    assert [Pubkey().text(each) for each in found.addresses["main"]] == [ADDRESS]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ('idl = "none.json"', "programs.x.idl (in chainfold.toml): none.json can't be"),
        ('idl = "bad.json"', "bad.json: it is not JSON"),
        ('idl = "old.json"', "programs.x.address: is required"),
        ('idl = "shop.json"\nchain = "devnet"', "no such chain 'devnet'; known: main"),
        ('idl = "shop.json"\naddress = "0x11"', "is not a Solana address"),
        ('idl = "shop.json"\nstart = -1', "programs.x.start"),
        ("", "programs.x.idl: is required"),
        ('idl = [{ file = "none.json" }]', "none.json can't be read"),
        ("idl = [{ from_slot = 3 }]", "programs.x.idl[0].file: is required"),
        ('idl = [{ file = "shop.json", from_slot = 3 }]', "the first version is from"),
        (
            'idl = [{ file = "shop.json" }, { file = "shop.json" }]',
            "programs.x.idl[1].from_slot: say the slot of the upgrade",
        ),
        (
            (
                'idl = [{ file = "shop.json" }, { file = "shop.json", from_slot = 9 },'
                ' { file = "shop.json", from_slot = 9 }]'
            ),
            "say the slot of the upgrade; each is above the one before",
        ),
        (
            (
                'chain = ["main", "dev"]\n'
                'idl = [{ file = "shop.json" }, { file = "shop.json", from_slot = 9 }]'
            ),
            "so it is for one chain",
        ),
        ("idl = []", "is a section, or a list of them"),
    ],
)
def test_a_program_that_cannot_be_followed_is_refused(
    problems, tmp_path, section, problem
):
    (tmp_path / "shop.json").write_text(SHOP_TEXT)
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "old.json").write_text('{"version": "0.1.0", "name": "old"}')

    assert problem in problems(DEVNET + SOLANA + f"[programs.x]\n{section}\n")


def test_the_websockets_of_endpoints_wake_the_follower(load, problems):
    secret = "k3yOfMyProvider1234567890"
    one, two = f"wss://rpc.example.org/?api-key={secret}", "ws://127.0.0.1:8900"

    assert load(SOLANA).chains["main"].ws == ()
    assert load(SOLANA + f'ws = "{one}"\n').chains["main"].ws == (one,)
    settings = load(SOLANA + f'ws = ["{one}", "{two}"]\n')
    assert settings.chains["main"].ws == (one, two)
    assert secret not in repr(settings)
    for text in (f"https://rpc.example.org/{secret}", "ws://", "127.0.0.1:8900"):
        found = problems(SOLANA + f'ws = "{text}"\n')
        assert "is not a WebSocket" in found
        assert secret not in found
    assert "no number up to" in problems(SOLANA + 'ws = "ws://h:99999"\n')
    found = problems(DEVNET + 'ws = "ws://127.0.0.1:8546"\n')
    assert "chains.devnet.ws (in chainfold.toml): is for Solana chains" in found


def test_tokens_are_followed_by_addresses_under_names(load, tmp_path):
    """One may be a program's too: then from the program's first slot on."""
    (tmp_path / "shop.json").write_text(SHOP_TEXT)
    keys = [Pubkey().text(bytes([n]) * 31 + b"\7") for n in (3, 141, 59)]
    settings = load(
        SOLANA
        + "compare_seconds = 0\nstart_block = 40\n[chains.main.tokens]\n"
        + f'treasury = "{keys[0]}"\nothers = ["{keys[1]}", "{KEY}"]\n'
        + f'late = {{ address = "{keys[2]}", start = 909 }}\n'
        + f'[programs.shop]\nidl = "shop.json"\naddress = "{KEY}"\nstart = 77\n'
    )

    registry = declared(settings)
    plan = wanted(settings, settings.chains["main"], registry)

    starts = {Pubkey().text(key): n for key, n in plan.addresses["tokens"].items()}
    assert starts == {keys[0]: 40, keys[1]: 40, keys[2]: 909, KEY: 77}
    assert "tokens.TokenMoved" in registry.events
    assert settings.chains["main"].compare_seconds == 0
    assert "tokens.TokenMoved" not in declared(load("domains = []\n" + SOLANA)).events


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SOLANA + f'[chains.main.tokens]\na = "{KEY}"\nb = "{KEY}"\n',
            f"chains.main.tokens.b: {KEY} is already chains.main.tokens.a",
        ),
        (SOLANA + '[chains.main.tokens]\na = "0x11"\n', "is not a Solana address"),
        (
            DEVNET + f'[chains.devnet.tokens]\na = "{KEY}"\n',
            "chains.devnet.tokens: is for Solana chains",
        ),
        (SOLANA + "compare_seconds = -1\n", "chains.main.compare_seconds"),
    ],
)
def test_tokens_that_cannot_be_followed_are_refused(problems, text, expected):
    assert expected in problems(text)


def test_tokens_are_no_program(load):
    settings = load(
        SOLANA + f'[chains.main.tokens]\na = "{KEY}"\n'
        f'[chains.main.programs]\ntokens = "{KEY}"\n'
    )
    registry = declared(settings)

    with pytest.raises(OperationError, match="nothing of that name is declared"):
        wanted(settings, settings.chains["main"], registry)


def test_keys_of_the_other_kind_of_chain_are_refused(problems):
    assert "chains.main.logs (in chainfold.toml): is for EVM chains" in problems(
        SOLANA + 'logs = "all"\n'
    )
    assert "chains.devnet.programs" in problems(
        DEVNET + f'[chains.devnet.programs]\nx = "{KEY}"\n'
    )


def test_a_contract_is_its_abi_and_address(load, tmp_path):
    (tmp_path / "erc20.json").write_text('[{"type": "event", "name": "Transfer"}]')

    settings = load(
        DEVNET + f'[contracts.usdc]\nabi = "erc20.json"\naddress = "{ONE}"\nstart = 3\n'
    )

    usdc = settings.contracts["usdc"]
    assert usdc.chains == ("devnet",)
    assert usdc.starts == {"devnet": 3}
    assert usdc.addresses == {"devnet": (b"\x11" * 20,)}
    assert usdc.abi[0]["name"] == "Transfer"


def factory_text(tmp_path: Path, factory: str) -> str:
    pair_created = {
        "type": "event",
        "name": "PairCreated",
        "inputs": [
            {"name": "pair", "type": "address"},
            {"name": "count", "type": "uint256"},
        ],
    }
    (tmp_path / "dex.json").write_text(json.dumps({"abi": [pair_created]}))
    (tmp_path / "pair.json").write_text("[]")
    return (
        DEVNET + f'[contracts.dex]\nabi = "dex.json"\naddress = "{ONE}"\n'
        f'[contracts.pool]\nabi = "pair.json"\nfactory = {factory}\n'
    )


def test_a_contract_may_come_from_a_factory(load, tmp_path):
    settings = load(
        factory_text(
            tmp_path, '{ contract = "dex", event = "PairCreated", param = "pair" }'
        )
    )

    expected = (Factory("dex", "PairCreated", "pair"),)
    assert settings.contracts["pool"].factories == expected


def test_signers_are_names_and_their_keys_are_unseen(load):
    settings = load(
        """
        [signers.minter]
        kind = "env"
        env = "CHAINFOLD_MINTER_KEY"
        [signers.vault]
        kind = "keystore"
        path = "keys/vault.json"
        password_env = "VAULT_PASSWORD"
        [signers.far]
        kind = "remote"
        url = "https://me:hunter2@signer"
        """,
        CHAINFOLD_MINTER_KEY="0xdeadbeef",
        VAULT_PASSWORD="hunter2",
    )

    minter = settings.signers["minter"]
    assert minter.secret.value == "0xdeadbeef"
    assert settings.signers["vault"].secret.value == "hunter2"
    assert settings.signers["vault"].path.parts[-2:] == ("keys", "vault.json")
    assert SignerKind.REMOTE is settings.signers["far"].kind
    assert "deadbeef" not in repr(settings)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgres_urls_get_their_driver(load, scheme):
    url = load(f'[database]\nurl = "{scheme}://me:pw@db/x"').database.url

    assert url == "postgresql+psycopg2://me:pw@db/x"
    assert "pw" not in repr(url)


def test_redis_may_be_given_or_refused(load):
    assert load('[redis]\nurl = "redis://r:1/0"').redis.url == "redis://r:1/0"
    assert not load('[redis]\nurl = "none"').redis.wanted


def test_passwords_and_provider_keys_are_hidden_in_the_repr(load):
    shown = repr(
        load(
            DEVNET.replace("127.0.0.1:8545", "rpc.example/v3/0123456789abcdef0123"),
            CHAINFOLD_DATABASE_URL="postgresql://me:hunter2@db/x",
            CHAINFOLD_REDIS_URL="redis://:hunter3@r/0",
        )
    )

    assert "hunter" not in shown
    assert "0123456789abcdef" not in shown


def test_settings_cannot_be_changed(load):
    settings = load(DEVNET)

    with pytest.raises(AttributeError):
        settings.api.port = 1
    with pytest.raises(TypeError):
        settings.chains["other"] = None


# The environment


def test_the_environment_lies_over_the_file(load):
    settings = load(
        DEVNET,
        CHAINFOLD_DATABASE_URL="postgresql://h/x",
        CHAINFOLD_REDIS_URL="none",
        CHAINFOLD_DATA_DIR="/elsewhere",
        CHAINFOLD_API__PORT="9999",
        CHAINFOLD_CHAINS__DEVNET__RPC="http://a, http://b",
        CHAINFOLD_LIMITS__REQUEST_TIMEOUT_SECONDS="2.5",
    )

    assert settings.database.url == "postgresql+psycopg2://h/x"
    assert not settings.redis.wanted
    assert Path("/elsewhere") == settings.data_dir
    assert settings.api.port == 9999
    assert ("http://a", "http://b") == settings.chains["devnet"].rpc
    assert settings.limits.request_timeout_seconds == 2.5


def test_a_chain_may_be_said_in_the_environment_alone(load):
    settings = load(
        CHAINFOLD_CHAINS__MAIN__ID="eip155:1",
        CHAINFOLD_CHAINS__MAIN__RPC="http://a",
        CHAINFOLD_CHAINS__MAIN__FINALITY="tag",
        CHAINFOLD_CHAINS__MAIN__CONTRACTS__IssuerRegistry=ONE,
    )

    assert Finality.TAG is settings.chains["main"].finality
    assert "IssuerRegistry" in settings.chains["main"].contracts


def test_names_match_whatever_their_case_and_dashes(load):
    text = DEVNET.replace("devnet", "polygon-edge")
    text += f'[chains.polygon-edge.contracts]\nIssuerRegistry = "{ONE}"\n'

    settings = load(text, CHAINFOLD_CHAINS__POLYGON_EDGE__CONTRACTS__ISSUERREGISTRY=TWO)

    contracts = settings.chains["polygon-edge"].contracts
    assert {"IssuerRegistry": (Deployment(b"\x22" * 20),)} == contracts


def test_empty_variables_and_those_for_tests_say_nothing(load):
    settings = load(
        CHAINFOLD_API__PORT="",
        CHAINFOLD_TEST_DATABASE_URL="x",
        CHAINFOLD_TEST_ANY__THING="x",
        UNRELATED="x",
    )

    assert settings.api.port == 8080


def test_a_variable_that_looks_meant_for_us_is_mentioned(load):
    assert "CHAINFOLD_DATABASE_URL" in load(DATABASE_URL="postgresql://h/x").notes[0]
    assert () == load(DATABASE_URL="a", CHAINFOLD_DATABASE_URL="postgresql://h/x").notes


# What is refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[api]\nprot = 1",
            "api.prot (in chainfold.toml): unknown key; did you mean p",
        ),
        (
            "[limit]\nx = 1",
            "limit (in chainfold.toml): unknown key; did you mean l",
        ),
        (
            DEVNET + "finalty = 1",
            "devnet.finalty (in chainfold.toml): unknown key",
        ),
        (DEVNET + "zzz = 1", "known here: "),
        (DEVNET + "confirmations = 3", 'is no longer a key: say finality = "depth"'),
        (DEVNET + "chain_id = 3", 'say id = "eip155:<chain id>"'),
        (DEVNET + 'url = "http://x"', "say rpc = "),
        ("data_dir = 3", "data_dir (in chainfold.toml): must be text"),
        ("[api]\nport = true", "must be an integer"),
        ("[limits]\nbatch_facts = 0", "must be an integer, at least 1"),
        ("api = 3", "is a section: write [api]"),
        ("[data_dir]\nx = 1", "data_dir: is a value, not a section"),
        ("not toml", "cannot be read as TOML"),
        ('[database]\nurl = "mysql://h"', "is not a Postgres URL"),
        ('[redis]\nurl = "http://h"', 'or "none" to do without'),
    ],
)
def test_mistakes_name_the_key_the_place_and_the_remedy(problems, text, expected):
    assert expected in problems(text)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CHAINFOLD_API__PROT": "1"}, "API__PROT): unknown key; did you mean port"),
        ({"CHAINFOLD_DATABASE_URI": "x"}, "did you mean CHAINFOLD_DATABASE_URL"),
        ({"CHAINFOLD_APY__PORT": "1"}, "apy (in CHAINFOLD_APY__PORT): unknown key"),
        ({"CHAINFOLD_API__PORT": "many"}, "api.port (in CHAINFOLD_API__PORT): must be"),
        ({"CHAINFOLD_DATA_DIR__X": "1"}, "is a value, not a section"),
        ({"CONTRACT_ISSUER_REGISTRY": ONE}, "set IssuerRegistry under [chains.<name>."),
        ({"BLOCKCHAIN_DEPLOYER_PRIVATE_KEY": "0xabc"}, "name a signer"),
        ({"CHAINFOLD_CONFIG": "/no/such/file"}, "/no/such/file"),
    ],
)  # fmt: skip
def test_mistakes_in_the_environment_name_the_variable(tmp_path, environ, expected):
    path = None if "CHAINFOLD_CONFIG" in environ else tmp_path / "chainfold.toml"
    (tmp_path / "chainfold.toml").touch()

    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ)

    assert expected in str(caught.value)
    assert "0xabc" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_a_port_is_a_number_and_no_password_is_shown(problems, scheme):
    section = {"postgresql": "database", "redis": "redis"}[scheme]

    said = problems(f'[{section}]\nurl = "{scheme}://me:hidden@db:port/x"\n')

    assert f"{section}.url (in chainfold.toml): {scheme}://me:" in said
    assert "has a port that is no number" in said
    assert "hidden" not in said


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "chainfold.toml").write_bytes(b"\xef\xbb\xbf" + DEVNET.encode())

    assert ["devnet"] == list(load_settings(tmp_path / "chainfold.toml", {}).chains)


def test_a_file_in_another_encoding_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "chainfold.toml").write_bytes("# é".encode("latin-1"))

    with pytest.raises(SettingsError, match="is not in UTF-8: save it so"):
        load_settings(tmp_path / "chainfold.toml", {})


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"inputs": []}, "its name is missing"),
        ({"name": "A", "inputs": [{"name": "x"}]}, "an input has no type"),
        ({"name": "A", "inputs": ["x"]}, "an input has no type"),
        ({"name": "A", "inputs": [{"type": "tuple"}]}, "a tuple no components"),
        ({"name": "A", "inputs": [{"type": "uint7"}]}, "no such type: uint7"),
    ],
)
def test_an_abi_that_was_edited_by_hand_is_refused(problems, tmp_path, entry, expected):
    (tmp_path / "odd.json").write_text(json.dumps([{"type": "event", **entry}]))
    text = DEVNET + f'[contracts.x]\nabi = "odd.json"\naddress = "{ONE}"\n'

    assert expected in problems(text)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('"eip155:31337"', '"31337"'), 'write "eip155:<chain id>"'),
        (('"eip155:31337"', '"eip155:0x7a69"'), "is a decimal number"),
        (('"eip155:31337"', '"cosmos:hub-4"'), "cannot be followed"),
        (('id = "eip155:31337"\n', ""), "chains.devnet.id: is required"),
        (('rpc = ["http://127.0.0.1:8545"]\n', ""), "chains.devnet.rpc: is required"),
        (('["http://127.0.0.1:8545"]', "[]"), "needs at least one endpoint"),
        (('["http://127.0.0.1:8545"]', "[1]"), "must be text or a list of texts"),
        (("http://127", "ftp://127"), "is not an endpoint"),
        ((":8545", ":http"), "has a port that is no number"),
        ((":8545", ":85450"), "has a port that is no number"),
        (('finality = "ibft"\n', ""), "chains.devnet.finality: is required"),
        (('"ibft"', '"ibf"'), "unknown value 'ibf'; did you mean ibft?"),
        (('"ibft"', '"depth"'), "chains.devnet.finality_depth: is required"),
        (('"ibft"', '"ibft"\nfinality_depth = 3'), 'goes only with finality = "depth"'),
        (('"ibft"', '"commitment"'), "is for Solana chains, and only for them"),
        (('"ibft"', '"ibft"\nlogs = "some"'), "unknown value 'some'"),
        (('"ibft"', '"ibft"\ngenesis = "0x12"'), "is not a block hash"),
        (('"ibft"', '"ibft"\npoll_seconds = -1'), "must be a number"),
        (('"ibft"', '"ibft"\nwatch_senders = ["0x12"]'), "(2 here)"),
        (('"ibft"', '"ibft"\nprograms = { a = "x" }'), "is not a Solana address"),
    ],
)
def test_a_wrong_chain_is_refused(problems, change, expected):
    assert expected in problems(DEVNET.replace(*change))


def test_a_mistyped_digit_fails_the_checksum(problems):
    wrong = CHECKSUMMED.replace("5aAeb6", "5aAeb7")
    text = DEVNET + f'[chains.devnet.contracts]\nIssuerRegistry = "{wrong}"\n'

    assert "wrong checksum" in problems(text)


def test_one_chain_is_followed_once(problems):
    text = problems(DEVNET + DEVNET.replace("devnet", "again"))

    assert "chains.again.id: eip155:31337 is already chains.devnet" in text


def test_the_journal_has_its_name_to_itself(problems):
    text = problems(DEVNET.replace("devnet", "journal"))

    assert "chains.journal: that is the journal's name" in text


def test_one_address_is_one_contract(problems, tmp_path):
    (tmp_path / "a.json").write_text("[]")

    text = problems(
        DEVNET
        + f'[chains.devnet.contracts]\nA = ["{ONE}", "{ONE}"]\n'
        + f'[contracts.b]\nabi = "a.json"\naddress = "{ONE}"\n'
    )

    assert f"chains.devnet.contracts.A: {ONE} is already" in text
    assert f"contracts.b: {ONE} is already chains.devnet.contracts.A" in text


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (
            '{ contract = "dax", event = "E", param = "p" }',
            "no contract 'dax' on chain 'devnet'; known: d",
        ),
        (
            '{ contract = "pool", event = "E", param = "p" }',
            "nothing but pool announces pool: give pool an address too",
        ),
        (
            '{ contract = "dex", event = "E", param = "p" }',
            "has no event 'E'; it has: ",
        ),
        (
            '{ contract = "dex", event = "PairCreated", param = "count" }',
            "no address parameter 'count'; it has: pair",
        ),
        ('{ contract = "dex", event = "E" }', "factory.param: is required"),
    ],
)
def test_a_factory_must_exist_and_announce_addresses(
    problems, tmp_path, factory, expected
):
    assert expected in problems(factory_text(tmp_path, factory))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'address = "{ONE}"', "contracts.x.abi: is required"),
        (f'abi = "no.json"\naddress = "{ONE}"', "cannot read"),
        (f'abi = "bad.json"\naddress = "{ONE}"', "is not JSON"),
        (f'abi = "odd.json"\naddress = "{ONE}"', "holds no ABI"),
        ('abi = "good.json"', "say address, or factory, or both"),
        (f'abi = []\naddress = "{ONE}"', "needs at least one JSON file"),
        (f'abi = 7\naddress = "{ONE}"', "must be text or a list of texts"),
        (
            f'abi = "good.json"\naddress = "{ONE}"\nchain = "zz"',
            "no such chain 'zz'; known: devnet",
        ),
    ],
)
def test_a_wrong_contract_is_refused(problems, tmp_path, text, expected):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text('{"x": 1}')
    (tmp_path / "good.json").write_text("[]")

    assert expected in problems(DEVNET + f"[contracts.x]\n{text}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "signers.x.kind: is required"),
        ('kind = "env"', 'signers.x.env: is required: with kind = "env"'),
        ('kind = "env"\nenv = "A"\npath = "b"', 'does not go with kind = "env"'),
        ('kind = "vault"', "unknown value 'vault'"),
        (
            'kind = "env"\nenv = "A"\nprivate_key = "0xabc"',
            "keys never live in this file",
        ),
    ],
)
def test_a_wrong_signer_is_refused_without_showing_a_key(problems, text, expected):
    found = problems(f"[signers.x]\n{text}\n")

    assert expected in found
    assert "0xabc" not in found


def test_every_problem_is_reported_at_once(problems):
    text = problems(
        DEVNET.replace("31337", "x").replace("ibft", "?")
        + "zzz = 1\n[api]\nport = -1\n",
        CHAINFOLD_LIMITS__BATCH_FACTS="x",
    )

    assert text.startswith("5 problem(s)")
    for key in (
        "devnet.id",
        "devnet.finality",
        "devnet.zzz",
        "api.port",
        "batch_facts",
    ):
        assert key in text


def made(*kinds, named=True):
    inputs = [
        {"name": f"p{at}" if named else "", "type": kind, "indexed": False}
        for at, kind in enumerate(kinds)
    ]
    return {"type": "event", "name": "Made", "inputs": inputs}


def factory_of(tmp_path, events, event, param):
    (tmp_path / "dex.json").write_text(json.dumps(events))
    moved = {"type": "event", "name": "Moved", "inputs": []}
    (tmp_path / "pool.json").write_text(json.dumps([moved]))
    return (
        DEVNET
        + f'[contracts.dex]\nabi = "dex.json"\naddress = "{ONE}"\n'
        + '[contracts.pool]\nabi = "pool.json"\n'
        + f'factory = {{ contract = "dex", event = "{event}", param = "{param}" }}\n'
    )


@pytest.mark.parametrize(
    ("events", "event", "param"),
    [
        ([made("uint256"), made("address", "uint256")], "Made", "p0"),
        ([made("address"), made("address", "uint256")], "Made(address)", "p0"),
        ([made("uint256", "address", named=False)], "Made", "arg1"),
        ([{"type": "event", "name": "Made", "inputs": [{"type": "address"}]}],
         "Made", "arg0"),
    ],
)  # fmt: skip
def test_overloads_and_unnamed_parameters_announce_children(
    tmp_path, events, event, param
):
    file = tmp_path / "chainfold.toml"
    file.write_text(factory_of(tmp_path, events, event, param))

    registry = declared(load_settings(str(file)))

    (moved,) = registry.events_of("pool")
    (maker,) = moved.spec.source.makers.values()
    assert maker.field.param == param
    assert "address" in identity(maker.view.event.spec.schema)


def test_an_ambiguous_announcement_names_the_choices(problems, tmp_path):
    both = [made("address"), made("address", "uint256")]

    text = problems(factory_of(tmp_path, both, "Made", "p0"))

    assert "write event = 'Made(address)' or 'Made(address,uint256)'" in text


def test_domains_are_chosen_by_name_and_declared_beside_the_file(tmp_path):
    path = tmp_path / "chainfold.toml"
    path.write_text('domains = ["lending"]\ndeclarations = ["./lending"]\n')

    found = load_settings(path, {})

    assert ("lending",) == found.domains
    assert (tmp_path / "lending",) == found.declarations
    assert None is load_settings(None, {}).domains
    assert ("a", "b") == load_settings(path, {"CHAINFOLD_DOMAINS": "a,b"}).domains


BELLS = '''
"""Bells that ring."""

from db.declare import Setting, SettingsTable


class BellSettings(SettingsTable):
    """How bells ring."""

    times = Setting(3, "How often a bell rings.", least=1)
    loud = Setting(False, "Whether all hear it.")
    tone = Setting("low", "Its tone.", among=("low", "high"))
'''


def test_a_domain_reads_the_settings_that_it_declares(load, tmp_path):
    (tmp_path / "handbells.py").write_text(BELLS)
    said = 'declarations = ["handbells.py"]\n[handbells]\ntimes = 4\n'

    settings = load(
        said, CHAINFOLD_HANDBELLS__LOUD="true", CHAINFOLD_HANDBELLS__TONE="high"
    )
    [found] = [each for each in settings.of_domains if each.domain == "handbells"]
    assert (found.times, found.loud, found.tone) == (4, True, "high")
    registry = declared(settings)
    assert registry.settings_of(type(found)) is found
    assert load("").of_domains == ()  # nothing was imported for it


def test_the_treasurys_settings_reach_its_schedule(load):
    zone = "America/Toronto"
    text = f'[settlement]\nlow_balance_usdc = 500\nreview_zone = "{zone}"\n'
    registry = declared(load(text))

    assert registry.settings_of(SettlementSettings).low_balance_usdc == 500
    assert registry.settings_of(SettlementSettings).low_runway_days == 7
    assert registry.schedules["settlement.review_treasury"].zone == zone
    default = declared(load("")).schedules["settlement.review_treasury"]
    assert (default.rule, default.zone) == ("0 9 * * MON", "UTC")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("low_balanc_usdc = 1", "unknown key; did you mean low_balance_usdc?"),
        ('low_balance_usdc = "much"', "must be an integer, at least 0"),
        ("low_runway_days = -1", "must be a number, at least 0"),
        ('low_balance_level = "critcal"', "unknown value 'critcal'; did you mean"),
        ('review_zone = "Torronto"', "there is no zone 'Torronto': write one as"),
        ("review_zone = 3", "must be text in quotes"),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_a_domain_is_named_with_its_remedy(problems, text, words):
    found = problems(f"[settlement]\n{text}\n")

    assert words in found
    assert found.startswith("1 problem(s)")
    assert f"settlement.{text.split()[0]} (in chainfold.toml)" in found


def test_sections_of_domains_are_known_where_the_domain_is_chosen(problems, tmp_path):
    assert "unknown key; did you mean settlement?" in problems("[settlment]\na = 1\n")
    other = problems('domains = ["crowdfunding"]\n[settlement]\nreview_zone = "UTC"\n')
    assert "settlement (in chainfold.toml): unknown key" in other
    (tmp_path / "gongs.py").write_text(BELLS.replace("Setting(3", "3 or Setting(3"))
    broken = problems('declarations = ["gongs.py"]\n[gongs]\ntimes = 4\n')
    assert "BellSettings.times: it is no setting. Remedy: write times" in broken
    assert broken.startswith("1 problem(s)")


def test_a_name_may_have_several_accounts(load, problems):
    chain = (
        '[chains.s]\nid = "solana:x"\nrpc = "http://a"\nfinality = "commitment"\n'
        "[chains.s.accounts]\n"
    )
    other = "9sFQ4WDmYvUPTBYg7p3Gvxyq4Nt3ZCvSzXJ8hLHzBMZv"

    found = load(f'{chain}one = "{KEY}"\ntwo = ["{other}", "{KEY}"]\n').chains["s"]

    one, two = Pubkey().check(KEY), Pubkey().check(other)
    assert found.accounts == {"one": (one,), "two": (two, one)}
    twice = problems(f'{chain}one = ["{KEY}", "{KEY}"]\n')
    assert "chains.s.accounts.one (in chainfold.toml): names an address twice" in twice
    assert "is not a Solana address" in problems(f'{chain}one = ["x"]\n')
