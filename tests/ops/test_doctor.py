"""What `doctor` says of nodes that name no final block, and of gone contracts."""

import pytest
from click.testing import CliRunner

from devnet.anvil import Anvil, AnvilOptions
from helpers.bare import (
    chain_text,
    code_that_logs,
    deploy,
    event,
    send,
    settings_of,
    write_abis,
)
from helpers.rpc import FakeEvmChain, FakeRpcServer
from ops.cli.main import main

GONE = event("Gone")


@pytest.fixture
def verb(tmp_path, migrated_url):
    """Runs a verb with a chain's section, and what else there is to say."""

    def run(url, *words, more="", finality='finality = "tag"'):
        text = chain_text("main", url).replace(
            'finality = "depth"\nfinality_depth = 20', finality
        )
        database = f'[database]\nurl = "{migrated_url}"\n[redis]\nurl = "none"\n'
        settings = settings_of(tmp_path, text + more + database)
        return CliRunner().invoke(main, ["--config", str(settings.path), *words])

    return run


def test_a_node_that_does_not_know_the_tag_is_named_with_the_remedy(verb):
    fake = FakeEvmChain()
    fake.mine_many(30)
    with FakeRpcServer(fake, finalized=None) as node:
        said = verb(node.url, "doctor").output
        remedied = 'finality = "depth"\nfinality_depth = 5'
        after = verb(node.url, "doctor", finality=remedied).output

    assert "BAD chain main endpoint 1 finality: the node does not know the tag" in said
    assert 'set finality = "depth" with finality_depth for this chain' in said
    assert "finality:" not in after


@pytest.mark.parametrize(
    ("blocks", "final", "expected"),
    [
        (30, 12, "ok  chain main endpoint 1 finality: block 12 is final"),
        (30, None, "ok  chain main endpoint 1 finality: no block is final yet"),
        (
            1000,
            None,
            "BAD chain main endpoint 1 finality: its head is 1000 and it calls",
        ),
    ],
)
def test_a_node_that_knows_the_tag_says_how_far_it_is(verb, blocks, final, expected):
    fake = FakeEvmChain()
    fake.mine_many(blocks)
    with FakeRpcServer(fake, finalized=final or 0) as node:
        if final is None:
            node.alter = lambda method, params, result: (
                None if params and params[0] == "finalized" else result
            )
        said = verb(node.url, "doctor").output

    assert expected in said


@pytest.mark.chain
def test_a_contract_that_destroyed_itself_raises_no_alarm(verb, tmp_path):
    """Its code is gone and its facts are there; an address that never was is wrong."""
    write_abis(tmp_path, {"bomb": [GONE]})
    with Anvil(AnvilOptions()) as anvil:
        at = deploy(
            anvil, code_that_logs("Gone()") + bytes.fromhex("33ff")
        )  # SELFDESTRUCT to the caller
        bomb = f'[contracts.bomb]\nabi = "bomb.json"\naddress = "{at}"\n'
        before = verb(anvil.url, "doctor", more=bomb).output
        verb(anvil.url, "migrate", more=bomb)
        send(anvil, to=at)
        assert anvil.rpc("eth_getCode", at, "latest") == "0x"
        unread = verb(anvil.url, "doctor", more=bomb).output
        verb(anvil.url, "index", "--once", more=bomb)
        gone = verb(anvil.url, "doctor", more=bomb)
        mistyped = bomb.replace(at, "0x" + "12" * 20)
        wrong = verb(anvil.url, "doctor", more=mistyped).output
        two = bomb.replace(f'"{at}"', f'["{at}", "0x{"12" * 20}"]')
        both = verb(anvil.url, "doctor", more=two).output

    assert "ok  chain main code: code at 1 addresses\n" in before
    assert f"BAD chain main code: no code at bomb {at}" in unread
    assert (
        f"ok  chain main code: code at 0 addresses; none any more at bomb {at}, of "
        "which there are facts: the contract destroyed itself, and its facts stay"
    ) in gone.output
    assert f"BAD chain main code: no code at bomb 0x{'12' * 20}: nothing" in wrong
    assert f"BAD chain main code: no code at bomb 0x{'12' * 20}: nothing" in both
