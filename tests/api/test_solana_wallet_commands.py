"""Commands that a wallet of Solana signs: asked for, handed in, proved by the index."""

import pytest

from db.commands.states import State
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.wallet_book import (
    BUSINESS,
    WalletBook,
    key_of,
    settings_text,
)
from idl.base58 import to_base58
from ops.settings import load_settings

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def declarations(tmp_path_factory):
    """A domain outside the product; Python knows a module of its name only once."""
    folder = tmp_path_factory.mktemp("declared") / "pocketbook"
    folder.mkdir()
    (folder / "__init__.py").write_text(BUSINESS)
    return folder


@pytest.fixture
def open_book(tmp_path, database_url, declarations):
    opened = []

    def make(rules="", *, fund=True):
        key = key_of("anna")
        client = Devnet(node.url)
        if fund:
            client.fund(key.pubkey(), 3_456_789_012)
        (tmp_path / "chainfold.toml").write_text(
            settings_text(client, declarations, rules, node.url)
        )
        settings = load_settings(str(tmp_path / "chainfold.toml"))
        opened.append(WalletBook(settings, database_url, client, key))
        return opened[-1]

    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as node:
        yield make
        for each in opened:
            each.close()


def test_a_command_is_signed_by_its_wallet_and_proved_by_the_index(open_book):
    book = open_book()
    data = book.asked(1)
    unsigned = data["transaction_to_sign"]
    assert data["wallet"] == unsigned["feePayer"] == str(book.key.pubkey())
    assert [each["name"] for each in unsigned["instructions"]] == [
        None, None, "ledger.emit", None,
    ]  # fmt: skip

    answer = book.give(data, book.sign(data))["data"]
    assert answer["state"] == "signed"
    book.pass_time()
    assert book.row(data).state is State.INCLUDED
    book.pass_time(5, passes=2)

    done = book.shown(data)
    assert (done["state"], done["final"]) == ("succeeded", True)
    assert done["transaction"] == answer["transaction"]
    found = book.chain.transaction(done["transaction"], "finalized")
    assert found["slot"] == done["height"]
    assert [each["hash"] for each in done["sent"]] == [done["transaction"]]
    assert book.effects() == 1


def test_what_the_wallet_sends_by_itself_is_found_by_the_index(open_book):
    book = open_book()
    data = book.asked(1)
    signature = book.chain.post(book.sign(data), skipPreflight=True)

    book.pass_time()
    assert book.row(data).state is State.INCLUDED
    book.pass_time(5, passes=2)

    done = book.row(data)
    assert done.state is State.SUCCEEDED
    assert to_base58(done.transaction) == signature
