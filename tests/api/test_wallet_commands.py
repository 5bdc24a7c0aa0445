"""What wallets do although a command has ended, and how many may wait for them."""

import uuid
from datetime import timedelta

import orjson
import pytest

from commands.submit import WalletTerms
from db.commands.accept import find
from db.commands.health import blocker_of
from db.commands.states import State
from db.commands.watching import watched
from db.domains.crowdfunding.roles import INVESTOR
from helpers.investing import (
    ETB,
    B,
    any_call,
    give,
    hexed,
    invested,
    relayed,
    settled,
    shown,
    sign,
)
from helpers.office import CONTRACTS, WALLET, Office

AFTERWARDS = timedelta(days=7)


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def sent_by_itself(office, data, **changes):
    """The index sees the wallet's own transaction for a command."""
    unsigned = data["transaction_to_sign"]
    office.transaction(
        to=B, data=bytes.fromhex(unsigned["data"][2:]), value=200 * ETB, **changes
    )


def cancelled(office):
    data = invested(office)
    path = f"/api/v1/commands/{data['id']}/cancel"
    answer = office.post(path, {}, token=office.by(INVESTOR)).json["data"]
    assert "its wallet can still send it" in answer["reason"]
    return data


def work(office):
    return [
        step
        for step in office.lane.work_wallets(office.command_service)
        if step != "sent"
    ]


def test_what_runs_after_a_cancel_is_told_beside_the_state(office):
    data = cancelled(office)
    sent_by_itself(office, data)
    before = shown(office, data["id"])
    office.final(office.story.height - 1)
    assert [] == work(office)
    office.final(office.story.height)

    assert ["processed"] == work(office)
    after = shown(office, data["id"])

    assert (None, None, None) == (
        before["late_outcome"], before["transaction"], before["height"]
    )  # fmt: skip
    assert ("cancelled", "succeeded", office.story.height) == (
        after["state"], after["late_outcome"], after["height"]
    )  # fmt: skip
    told = after["events"][-1]
    assert ("cancelled", "succeeded", after["transaction"]) == (
        told["state"], told["details"]["late_outcome"], told["details"]["transaction"]
    )  # fmt: skip
    assert [] == work(office)
    assert 1 == office.scalar(
        "SELECT count(*) FROM control.command WHERE late_outcome <> ''"
    )


@pytest.mark.parametrize(("final", "state"), [(99, "succeeded"), (0, "included")])
def test_what_is_on_the_chain_already_is_not_cancelled(office, final, state):
    data = invested(office)
    sent_by_itself(office, data)
    office.final(final)
    path = f"/api/v1/commands/{data['id']}/cancel"

    office.post(
        path, {}, 200 if state == "succeeded" else 409, token=office.by(INVESTOR)
    )

    work(office)
    assert (state, None) == tuple(
        shown(office, data["id"])[name] for name in ("state", "late_outcome")
    )


def test_a_stream_tells_what_ran_after_the_end_too(office):
    data = cancelled(office)
    sent_by_itself(office, data)
    office.final(99)
    work(office)

    path = f"/api/v1/commands/{data['id']}/events"
    text = office.get(path, token=office.by(INVESTOR)).text
    events = [
        orjson.loads(line[6:]) for line in text.splitlines() if line[:6] == "data: "
    ]

    assert ["accepted", "cancelled", "cancelled"] == [e["state"] for e in events]
    assert "succeeded" == events[-1]["details"]["late_outcome"]


def test_what_ran_after_its_end_is_not_asked_for_again(office):
    data = cancelled(office)
    sent_by_itself(office, data)
    office.final(99)
    work(office)

    path = f"/api/v1/commands/{data['id']}/retry"
    headers = {"Idempotency-Key": "again"}
    answer = office.post(path, {}, 409, token=office.by(INVESTOR), headers=headers)

    assert "was executed afterwards" in answer.json["detail"]


def test_a_success_after_a_failure_is_told_and_not_the_other_way_round(office):
    data = invested(office)
    sent_by_itself(office, data, good=False)
    assert State.REVERTED is settled(office, data["id"], final=99).state
    office.story.mine()
    sent_by_itself(office, data, nonce=8, good=False)
    assert "" == settled(office, data["id"], final=99).late_outcome
    sent_by_itself(office, data, nonce=9)

    row = settled(office, data["id"], final=99)

    assert (State.REVERTED, "succeeded") == (row.state, row.late_outcome)
    assert office.story.height == row.height


def test_a_wallet_is_watched_for_a_while_after_the_end(office):
    cancelled(office)

    def wallets():
        with office.writer.connect() as connection:
            return watched(connection, office.source)

    just_after = wallets()
    office.clock.forward(seconds=AFTERWARDS.total_seconds())
    work(office)
    in_time = wallets()
    office.clock.forward(seconds=1)
    work(office)

    assert {WALLET: 1} == just_after == in_time
    assert {} == wallets()


def test_a_second_nonce_is_refused_while_the_first_may_run(office):
    data = invested(office)
    unsigned = data["transaction_to_sign"]
    give(office, data["id"], sign(unsigned))

    answer = give(office, data["id"], sign(unsigned, nonce="0x8"), 409)
    give(office, data["id"], sign(unsigned, gasPrice="0x99999999"))  # a replacement
    office.transaction(to=b"\x99" * 20, data=b"", nonce=7)
    office.final(99)
    give(office, data["id"], sign(unsigned, nonce="0x8"))

    assert "signed with nonce 7 before" in answer["detail"]
    assert 3 == len(office.node.sent)


def test_a_call_in_a_block_binds_the_command_to_its_nonce(office):
    """The block may be undone, and the call come again."""
    data = invested(office)
    sent_by_itself(office, data, nonce=9)
    assert State.INCLUDED is settled(office, data["id"], final=0).state
    with office.writer.begin() as connection:
        connection.exec_driver_sql("DELETE FROM control.sender_transaction")
    row = settled(office, data["id"], final=0)
    unsigned = shown(office, data["id"])["transaction_to_sign"]

    assert (State.ACCEPTED, None, None) == (row.state, row.transaction, row.height)
    assert "0x9" == unsigned["nonce"]
    give(office, data["id"], sign(unsigned, nonce="0x7"), 409)
    give(office, data["id"], sign(unsigned))


def test_bytes_for_what_the_chain_has_already_are_not_taken(office):
    data = invested(office)
    sent_by_itself(office, data)
    office.final(99)

    answer = give(
        office, data["id"], sign(data["transaction_to_sign"], nonce="0x8"), 409
    )

    assert "is succeeded" in answer["detail"]
    assert [] == office.node.sent


def test_a_nonce_of_before_the_command_is_lost_once_a_later_one_is_final(office):
    """The index never read what used it: that came before the wallet was watched."""
    data = invested(office)
    office.node.nonce = lambda address, height=None: 0  # a node that is behind
    give(office, data["id"], sign(data["transaction_to_sign"], nonce="0x3"))
    office.transaction(to=b"\x99" * 20, data=b"", nonce=7)
    unread = settled(office, data["id"], final=99).state
    with office.writer.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO control.coverage (source, event, filter, blocks) VALUES"
            f" ({office.source}, 'chain.transactions', '{hexed(WALLET)}', '{{[0,9)}}')"
        )

    assert State.SIGNED is unread
    assert State.ACCEPTED is settled(office, data["id"], final=99).state


def test_a_relayed_call_with_a_nonce_of_before_is_dropped_not_signed_again(office):
    office.node.nonce = lambda address, height=None: 0
    data = relayed(office, any_call(nonce="0x3"))["data"]
    office.transaction(to=b"\x99" * 20, data=b"", nonce=7)
    with office.writer.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO control.coverage (source, event, filter, blocks) VALUES"
            f" ({office.source}, 'chain.transactions', '{hexed(WALLET)}', '{{[0,9)}}')"
        )

    row = settled(office, data["id"], final=99)

    assert State.DROPPED is row.state
    assert "perhaps by the same bytes" in row.reason


def test_a_call_and_its_bytes_are_stored_together(office, monkeypatch):
    """A process that died between the two left a command that nobody could send."""

    def die(*_, **__):
        raise SystemExit

    monkeypatch.setattr("commands.evm.wallets.store_relay", die)
    with pytest.raises(SystemExit):
        relayed(office, any_call())
    monkeypatch.undo()

    assert 0 == office.scalar("SELECT count(*) FROM control.command")
    assert "signed" == relayed(office, any_call())["data"]["state"]


def test_nothing_is_relayed_while_the_node_cannot_tell_of_the_nonce(office):
    from commands.errors import NodeAway

    office.node.away = NodeAway("no answer")

    relayed(office, any_call(), 503)

    assert 0 == office.scalar("SELECT count(*) FROM control.command")


def test_a_wallet_s_command_waits_for_a_day_unless_it_says_so(office):
    data = invested(office)
    with office.writer.connect() as connection:
        row = find(connection, uuid.UUID(data["id"]))
        why = blocker_of(connection, row.id)

    assert row.created_at + timedelta(days=1) == row.valid_until
    assert "its wallet has not signed it" == why.reason
    office.clock.forward(seconds=86_400)
    work(office)
    assert "expired" == shown(office, data["id"])["state"]


@pytest.mark.parametrize(
    ("terms", "whose"),
    [
        ({"of_wallet": 2}, f"wallet {hexed(WALLET)}"),
        ({"of_account": 2}, "your account"),
    ],
)
def test_only_so_many_wait_for_wallets(office, terms, whose):
    object.__setattr__(office.command_service, "terms", WalletTerms(**terms))
    data = invested(office)
    relayed(office, any_call(to=hexed(CONTRACTS["FundEscrow"])))

    answer = office.ask(
        "", 429, path=f"/api/v1/campaigns/{hexed(B)}/invest", by=INVESTOR,
        amount="200",
    )  # fmt: skip
    told = relayed(office, any_call(nonce="0xa"), 429, key="other")
    office.post(f"/api/v1/commands/{data['id']}/cancel", {}, token=office.by(INVESTOR))
    relayed(office, any_call(nonce="0xa"), key="other")

    assert answer.headers["Retry-After"]
    for detail in (answer.json["detail"], told["detail"]):
        assert f"2 commands wait for {whose}" in detail
        assert "cancel what is not wanted" in detail
