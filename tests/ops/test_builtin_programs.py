"""Programs that everybody uses, followed by accounts and settings alone."""

import asyncio
import json
from dataclasses import dataclass

import pytest
import solders.system_program as system
import spl.token.instructions as token
from click.testing import CliRunner
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, TransferWithSeedParams
from spl.memo.instructions import MemoParams, create_memo
from sqlalchemy import text

from api.app import create_app
from db import reads
from db.schema import migrate
from devnet.programs.build import interface
from devnet.solana import ledger
from devnet.solana.client import ASSOCIATED, TOKEN, Client, Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.bare import settings_of
from idl import load_builtin
from ops.cli.main import main
from ops.indexing import declared, streams
from ops.running import catch_up
from ops.settings import SettingsError, load_settings

MEMO = {
    name: Pubkey.from_bytes(load_builtin(name).address) for name in ("memo", "memo_v1")
}
SETTINGS = """
domains = []

[database]
url = "{database}"

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"

[programs.ledger]
idl = "ledger.json"

[programs.spl]
idl = "builtin:token"
accounts = ["{treasury}", "{mint}"]

[programs.sys]
idl = "builtin:system"
accounts = "{payer}"

[programs.ata]
idl = "builtin:associated_token"
accounts = {{ local = ["{payer}"] }}

[programs.memo]
idl = "builtin:memo"
accounts = "{ledger}"

[programs.old_memo]
idl = "builtin:memo_v1"
accounts = "{payer}"

[tables.paid]
doc = "What left each account, by where it went."
account = "Key()"
destination = "Key()"
total = "Sum({plain}.amount, {checked}.amount)"
"""
PLAIN = "spl.TransferInstruction.keyed(account='source_')"
CHECKED = "spl.TransferCheckedInstruction.keyed(account='source_')"


@dataclass
class Street:
    """People who pay, on a node; the followed treasury is a multisig's."""

    client: Client
    people: list[Keypair]
    multisig: Pubkey
    mint: Pubkey
    treasury: Pubkey
    others: list[Pubkey]

    def pay(self, amount, to, *, checked=True, signers=(0, 1)):
        keys = [self.people[n] for n in signers]
        common = {
            "program_id": TOKEN, "source": self.treasury, "dest": to,
            "owner": self.multisig, "amount": amount,
            "signers": [each.pubkey() for each in keys],
        }  # fmt: skip
        made = (
            token.transfer_checked(
                token.TransferCheckedParams(mint=self.mint, decimals=6, **common)
            )
            if checked
            else token.transfer(token.TransferParams(**common))
        )
        return self.client.send(made, signers=keys)


def built(client):
    """A mint, a multisig of three with a treasury, and accounts of two others."""
    payer = client.payer.pubkey()
    people = [Keypair() for _ in range(3)]
    multisig = Keypair()
    client.send(
        system.create_account(
            {"from_pubkey": payer, "to_pubkey": multisig.pubkey(),
             "lamports": client.rent(355), "space": 355, "owner": TOKEN}
        ),
        token.initialize_multisig(
            token.InitializeMultisigParams(
                TOKEN, multisig.pubkey(), 2, [each.pubkey() for each in people]
            )
        ),
        signers=[multisig],
    )  # fmt: skip
    mint = client.make_mint()
    owners = [multisig.pubkey(), *(each.pubkey() for each in people[:2])]
    client.send(
        *(token.create_associated_token_account(payer, each, mint) for each in owners)
    )
    places = [token.get_associated_token_address(each, mint) for each in owners]
    client.mint_to(mint, places[0], 1_000_000)
    return Street(client, people, multisig.pubkey(), mint, places[0], places[1:])


@pytest.fixture
def street():
    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as node:
        client = Devnet(node.url)
        client.fund()
        yield built(client)


@pytest.fixture
def settings(street, db_engine, tmp_path):
    (tmp_path / "ledger.json").write_text(json.dumps(interface("ledger")))
    client = street.client
    content = SETTINGS.format(
        database=db_engine.url.render_as_string(hide_password=False),
        genesis=client.call("getGenesisHash")[:32], url=client.rpc.url,
        treasury=street.treasury, mint=street.mint, payer=client.payer.pubkey(),
        ledger=ledger.PROGRAM, plain=PLAIN, checked=CHECKED,
    )  # fmt: skip
    return settings_of(tmp_path, content)


def read(settings, engine):
    """Follow to the head; a function that reads a path of the API."""
    registry = declared(settings)
    migrate(engine, registry)
    asyncio.run(catch_up(settings, settings.chains["local"], engine, registry))
    reader = reads.read_engine(engine.url.render_as_string(hide_password=False))
    plans = {name: each for name, (_, each) in streams(settings, registry).items()}
    http = create_app(reader, registry, plans=plans).test_client()

    def get(path):
        answer = http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json["data"]

    return get


@pytest.mark.chain
def test_what_accounts_name_is_read_and_nothing_else(street, settings, db_engine):
    client, payer = street.client, street.client.payer.pubkey()
    sent = street.pay(40_001, street.others[0])
    plain = street.pay(2_999, street.others[1], checked=False, signers=(2, 1))
    stray = token.transfer(
        token.TransferParams(
            TOKEN, street.others[0], street.others[1], street.people[0].pubkey(), 5
        )
    )  # which names neither the treasury nor the mint
    client.send(stray, signers=[street.people[0]])
    client.advance(8)

    get = read(settings, db_engine)

    [checked] = get("events/spl_transfer_checked_instruction")
    assert checked["transaction"] == sent
    assert {name: checked[name] for name in (
        "source_", "mint", "destination", "authority", "amount", "decimals", "program",
    )} == {
        "source_": str(street.treasury), "mint": str(street.mint),
        "destination": str(street.others[0]), "authority": str(street.multisig),
        "amount": "40001", "decimals": 6, "program": str(TOKEN),
    }  # fmt: skip
    assert checked["signers"] == [str(each.pubkey()) for each in street.people[:2]]
    [unchecked] = get("events/spl_transfer_instruction")
    assert (unchecked["transaction"], unchecked["amount"]) == (plain, "2999")
    paid = {(row["account"], row["destination"]): row["total"] for row in get("paid")}
    assert paid == {
        (str(street.treasury), str(street.others[0])): "40001",
        (str(street.treasury), str(street.others[1])): "2999",
    }
    [minted] = get("events/spl_mint_to_instruction")
    assert (minted["amount"], minted["mint_authority"]) == ("1000000", str(payer))
    [made] = get("events/spl_initialize_mint2_instruction")
    assert (made["decimals"], made["freeze_authority"]) == (6, None)
    # The accounts were made by calls of the other program, and those are told too.
    assert len(get("events/spl_initialize_account3_instruction")) == 3
    created = get("events/ata_create_instruction")
    assert {row["owner"] for row in created} == {
        str(street.multisig), *(str(each.pubkey()) for each in street.people[:2])
    }  # fmt: skip
    assert {row["program"] for row in created} == {str(ASSOCIATED)}
    with db_engine.connect() as connection:
        unread = text("SELECT count(*) FROM control.undecodable_log")
        assert connection.execute(unread).scalar_one() == 0
    words = ["--log-level", "error", "--config", str(settings.path), "doctor"]
    told = CliRunner().invoke(main, words)
    assert "ok  chain local programs: programs at 6 addresses" in told.output


@pytest.mark.chain
def test_lamports_and_memos_are_read_where_they_are_named(street, settings, db_engine):
    client, payer = street.client, street.client.payer.pubkey()
    friend, seed = Keypair().pubkey(), "é-seed"
    derived = Pubkey.create_with_seed(payer, seed, system.ID)
    gift = system.transfer(
        TransferParams(from_pubkey=payer, to_pubkey=derived, lamports=10**8)
    )
    back = system.transfer_with_seed(
        TransferWithSeedParams(
            from_pubkey=derived, from_base=payer, from_seed=seed, from_owner=system.ID,
            to_pubkey=friend, lamports=10**8,
        )
    )  # fmt: skip
    moved = client.send(gift, back)
    memo = create_memo(MemoParams(MEMO["memo"], payer, "purchase 17 é".encode()))
    entry = ledger.emit(payer, b"\7" * 32, ledger.Entry((5,)), [friend])
    said = client.send(memo, entry)
    client.send(create_memo(MemoParams(MEMO["memo"], payer, b"of nobody's interest")))
    old = create_memo(MemoParams(MEMO["memo_v1"], payer, b"as in 2020"))
    client.send(old)
    client.advance(8)

    get = read(settings, db_engine)

    given = get("events/sys_transfer_instruction")
    assert (moved, str(derived), str(10**8)) in [
        (row["transaction"], row["destination"], row["lamports"]) for row in given
    ]
    [returned] = get("events/sys_transfer_with_seed_instruction")
    assert {name: returned[name] for name in (
        "source_", "base_account", "destination", "source_seed", "source_owner",
    )} == {
        "source_": str(derived), "base_account": str(payer), "destination": str(friend),
        "source_seed": seed, "source_owner": str(system.ID),
    }  # fmt: skip
    assert returned["lamports"] == str(10**8)
    [told] = get("events/memo_memo_instruction")
    assert (told["transaction"], told["text"]) == (said, "purchase 17 é")
    assert told["signers"] == [str(payer)]
    [before] = get("events/old_memo_memo_instruction")
    assert before["text"] == "as in 2020"


def changed(settings, folder, *pairs):
    content = (folder / "chainfold.toml").read_text()
    for old, new in pairs:
        assert old in content
        content = content.replace(old, new)
    (folder / "chainfold.toml").write_text(content)
    return load_settings(str(folder / "chainfold.toml"))


@pytest.mark.chain
def test_an_account_that_is_added_later_brings_its_transactions(
    street, settings, db_engine, tmp_path
):
    """And an account whose transactions another one brings changes none of them."""
    street.pay(77, street.others[0])
    street.pay(78, street.others[1])
    street.client.advance(8)
    only = changed(
        settings, tmp_path,
        (f'["{street.treasury}", "{street.mint}"]', f'"{street.others[0]}"'),
    )  # fmt: skip

    first = read(only, db_engine)("events/spl_transfer_checked_instruction")
    both = changed(
        settings, tmp_path,
        (f'"{street.others[0]}"', f'["{street.others[0]}", "{street.treasury}"]'),
    )  # fmt: skip
    then = read(both, db_engine)("events/spl_transfer_checked_instruction")

    assert [row["amount"] for row in first] == ["77"]
    assert sorted(row["amount"] for row in then) == ["77", "78"]
    assert first[0] in then


REFUSED = [
    (f'accounts = ["{TOKEN}", "{TOKEN}"]', "", "spl.accounts.*so they cannot all be"),
    ("accounts = { local", "accounts = { other", "ata.accounts: name some on local"),
    (f'accounts = "{TOKEN}"', "accounts = []", "sys.accounts.*name some on local"),
    ("[programs.ledger]", "[programs.ledger]\naccounts = []", "or leave them out"),
    ("builtin:token", "builtin:tokens", "write one of associated_token"),
]


@pytest.mark.parametrize(("old", "new", "words"), REFUSED)
def test_all_that_such_a_program_does_is_not_followed(tmp_path, old, new, words):
    content = SETTINGS.format(
        database="postgresql:///x", genesis="1" * 32, url="http://localhost:1",
        treasury=TOKEN, mint=TOKEN, payer=TOKEN, ledger=TOKEN, plain=PLAIN,
        checked=CHECKED,
    )  # fmt: skip
    (tmp_path / "ledger.json").write_text(json.dumps(interface("ledger")))
    assert old in content
    (tmp_path / "chainfold.toml").write_text(content.replace(old, new))

    with pytest.raises(SettingsError, match=words):
        load_settings(str(tmp_path / "chainfold.toml"))
