"""Wallets call a contract that takes no ids: only what is given counts."""

from dataclasses import replace

import pytest

from db.commands.evm.tags import command_id_of
from db.domains.crowdfunding.roles import INVESTOR
from helpers import office as offices
from helpers.investing import ETB, B, give, hexed, invested, settled, sign

PATH = f"/api/v1/campaigns/{hexed(B)}/invest"


@pytest.fixture
def office(migrated_url, monkeypatch):
    untagged = frozenset({"CampaignImplementation"})
    registry = replace(offices.REGISTRY, untagged=untagged)
    monkeypatch.setattr(offices, "REGISTRY", registry)
    found = offices.Office(migrated_url)
    yield found
    found.close()


def test_a_command_is_known_by_what_was_relayed(office):
    """The same call at another nonce may be anything: the wallet does not say."""
    data = invested(office)
    unsigned = data["transaction_to_sign"]
    call = bytes.fromhex(unsigned["data"][2:])
    made = {"to": B, "data": call, "value": 200 * ETB}
    office.transaction(**made, nonce=3)

    before = settled(office, data["id"], final=office.story.height)
    give(office, data["id"], sign(unsigned, nonce=hex(8)))
    waiting = settled(office, data["id"], final=office.story.height)
    office.transaction(**made, nonce=8)
    done = settled(office, data["id"], final=office.story.height)

    assert command_id_of(call) is None
    states = ["accepted", "signed", "succeeded"]
    assert states == [before.state, waiting.state, done.state]


def test_one_transaction_is_signed_for_one_command(office):
    first = invested(office)
    body = {"amount": "200"}
    second = office.ask("", path=PATH, by=INVESTOR, **body).json["data"]
    unsigned = second["transaction_to_sign"]
    give(office, first["id"], sign(unsigned))

    for raw in (sign(unsigned), sign(unsigned, gasPrice=hex(2 * 10**9))):
        answer = give(office, second["id"], raw, 422)
        assert f"nonce 7 is signed for command {first['id']}" in answer["detail"]

    give(office, second["id"], sign(unsigned, nonce=hex(8)))
