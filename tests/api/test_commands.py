"""What became of a command: shown, waited for, streamed, ended, asked for again."""

import threading
import uuid
from datetime import timedelta

import orjson
import pytest

from commands.errors import NodeAway
from db.commands.accept import find, lock, move
from db.commands.evm.slots import take_slot
from db.commands.states import State
from db.commands.watching import watched
from db.declare.roles import Role
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from db.journal.entries import read_entries
from helpers.investing import (
    ETB,
    A,
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
from helpers.office import CHAIN_ID, CONTRACTS, WALLET, Office


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def registered(office, **options):
    answer = office.ask(
        "register-issuer", issuer=hexed(A), credential="vc", memorandum="m", **options
    )
    return uuid.UUID(answer.json["data"]["id"])


def moved(office, command, *states, **values):
    for state in states:
        with office.writer.begin() as connection:
            row = lock(connection, command)
            move(connection, row, state, office.clock(), **values)


def test_a_command_is_shown_with_its_history(office):
    command = registered(office)
    moved(office, command, State.SLOTTED)

    data = shown(office, command)

    assert data["state"] == "slotted"
    assert not data["final"]
    assert ["accepted", "slotted"] == [each["state"] for each in data["events"]]
    assert data["sent"] == []


def test_a_command_to_a_chain_that_it_cannot_go_to_is_refused(office):
    path = "/api/v1/commands/register-issuer?chain="
    asked = {"issuer": hexed(A), "credential": "vc", "memorandum": "m"}

    refused = office.ask("", 400, path=f"{path}south", **asked)
    office.ask("", path=f"{path}devnet", **asked)

    assert "unknown_chain" in refused.json["type"]
    assert ["devnet"] == refused.json["choices"]


def test_others_do_not_see_a_command_and_the_staff_does(office):
    command = registered(office)

    shown(office, command, status=404, by=INVESTOR)
    shown(office, command, by=Role.AUDITOR)
    shown(office, uuid.uuid4(), status=404)
    office.get(f"/api/v1/commands/{command}", 401)


def test_the_list_has_filters_and_pages(office):
    made = [registered(office) for _ in range(5)]
    moved(office, made[0], State.CANCELLED)

    def listed(query, by=Role.OPERATOR, status=200):
        path = f"/api/v1/commands?{query}"
        return office.get(path, status, token=office.by(by)).json

    first = listed("limit=2")
    second = listed(f"limit=2&after={first['next']}")
    third = listed(f"limit=2&after={second['next']}")

    pages = [each["id"] for page in (first, second, third) for each in page["data"]]
    assert [str(each) for each in reversed(made)] == pages
    assert third["next"] is None
    assert [str(made[0])] == [c["id"] for c in listed("state=cancelled")["data"]]
    assert 4 == len(listed("state=accepted&state=held&kind=register-issuer")["data"])
    assert [] == listed("signer=operator")["data"]
    assert [] == listed("", by=ISSUER)["data"]
    for wrong in ("state=lost", "limit=0", "limit=x", "after=1", "colour=red"):
        listed(wrong, status=400)


def test_a_wait_ends_when_the_command_is_so_far(office):
    command = registered(office)
    answers = []

    def wait(query):
        client = office.app.test_client()
        path = f"/api/v1/commands/{command}?{query}"
        headers = {"Authorization": f"Bearer {token}"}
        answers.append(client.get(path, headers=headers).json["data"]["state"])

    token = office.by(Role.OPERATOR)
    waiters = [
        threading.Thread(target=wait, args=(query,))
        for query in ("wait=30&until=included", "wait=30")
    ]
    for waiter in waiters:
        waiter.start()
    moved(office, command, State.SLOTTED, State.SIGNED, State.INCLUDED)
    waiters[0].join(20)
    early = list(answers)
    moved(office, command, State.SUCCEEDED)
    waiters[1].join(20)

    assert ["included"] == early
    assert ["included", "succeeded"] == answers


def test_a_wait_that_is_over_tells_the_state(office):
    command = registered(office)

    assert "accepted" == shown(office, command, "?wait=0.1")["state"]
    for wrong in ("?wait=-1", "?wait=x", "?until=soon", "?colour=red"):
        shown(office, command, wrong, 400)


@pytest.mark.parametrize("limit", ["_most", "_most_of_one"])
def test_only_so_many_may_wait(office, limit):
    command = registered(office)
    setattr(office.app.extensions["chainfold_hub"], limit, 0)

    answer = office.get(
        f"/api/v1/commands/{command}?wait=5", 429, token=office.by(Role.OPERATOR)
    )

    assert answer.headers["Retry-After"]
    shown(office, command)


def test_the_stream_tells_everything_and_ends_with_the_command(office):
    command = registered(office)
    moved(office, command, State.SLOTTED, State.SIGNED)
    path, token = f"/api/v1/commands/{command}/events", office.by(Role.OPERATOR)
    answer = office.get(path, token=token, buffered=False)
    lines = answer.response

    def events(count):
        found = []
        while len(found) < count:
            part = next(lines)
            if b"data: " in part:
                found.append(orjson.loads(part.split(b"data: ")[1]))
        return found

    begun = events(3)
    moved(office, command, State.INCLUDED, State.SUCCEEDED)
    rest = events(2)

    states = ["accepted", "slotted", "signed", "included", "succeeded"]
    assert states == [each["state"] for each in begun + rest]
    assert [b"\n\n"] == list(lines)
    answer.close()
    assert 0 == office.app.extensions["chainfold_hub"].waiting
    headers = {"Last-Event-ID": str(begun[2]["id"])}
    again = office.get(path, token=token, headers=headers).text
    assert "signed" not in again
    assert "included" in again


def acted(office, command):
    """What the journal says people did about a command: action, outcome, by whom."""
    people = {f"account:{each}": role for role, each in office.people.items()}
    with office.writer.connect() as connection:
        entries = [row for row, _ in read_entries(connection)]
    return [
        (each.body["action"], each.body["outcome"], people[each.actor])
        for each in entries
        if each.kind == "audit.ActionTaken" and each.body["subject"] == str(command)
    ]


def test_a_command_is_cancelled_by_its_owner_or_an_operator(office):
    mine, other = registered(office, by=Role.COMPLIANCE), registered(office)
    path = "/api/v1/commands/{}/cancel"
    office.post(path.format(other), {}, 404, token=office.by(Role.COMPLIANCE))
    first = office.post(path.format(mine), {}, token=office.by(Role.COMPLIANCE))
    again = office.post(path.format(mine), {}, token=office.by(Role.OPERATOR))

    assert "cancelled" == first.json["data"]["state"] == again.json["data"]["state"]
    assert [("cancel", "cancelled", Role.COMPLIANCE)] == acted(office, mine)[:1]


def test_a_nonce_that_was_taken_is_closed_not_forgotten(office):
    command = registered(office)
    with office.writer.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE control.signer SET gate_height = -1;"
            " INSERT INTO control.coverage (source, event, filter, blocks)"
            " SELECT source, 'chain.transactions', '0x' || encode(address, 'hex'),"
            " '{[0,9)}' FROM control.signer"
        )
        take_slot(connection, "registrar", office.clock())

    answer = office.post(
        f"/api/v1/commands/{command}/cancel", {}, token=office.by(Role.OPERATOR)
    )

    assert "closing" == answer.json["data"]["state"]


def test_a_held_command_is_released_by_an_operator(office):
    command = registered(office, by=Role.COMPLIANCE)
    moved(office, command, State.HELD, reason="over the day's budget")
    path = f"/api/v1/commands/{command}/release"

    office.post(path, {}, 403, token=office.by(Role.COMPLIANCE))
    answer = office.post(path, {}, token=office.by(Role.OPERATOR))

    assert "accepted" == answer.json["data"]["state"]
    assert [("release", "accepted", Role.OPERATOR)] == acted(office, command)


def test_what_ended_without_success_is_asked_for_again(office):
    command = registered(office)
    path = f"/api/v1/commands/{command}/retry"
    headers = {"Idempotency-Key": "again"}
    token = office.by(Role.OPERATOR)
    office.post(path, {}, 409, token=token, headers=headers)
    moved(office, command, State.CANCELLED)

    first = office.post(path, {}, 202, token=token, headers=headers).json["data"]
    again = office.post(path, {}, 200, token=token, headers=headers).json["data"]

    assert first["id"] == again["id"] != str(command)
    assert f"retry:{command}" == first["cause"]


# the lane of wallets ------------------------------------------------------------


def test_a_wallet_gets_the_transaction_to_sign(office):
    data = invested(office)

    unsigned = data["transaction_to_sign"]
    assert data["wallet"] == unsigned["from"] == hexed(WALLET)
    assert unsigned["to"] == hexed(B)
    assert unsigned["chainId"] == hex(CHAIN_ID)
    assert int(unsigned["value"], 16) == 200 * ETB
    assert shown(office, data["id"], by=INVESTOR)["transaction_to_sign"] == unsigned
    with office.writer.connect() as connection:
        assert {WALLET: 1} == watched(connection, office.source)


def test_a_wallet_that_is_not_linked_is_refused(office):
    invested(office, 422, wallet=hexed(A))


def test_what_the_wallet_signed_is_kept_sent_and_proved(office):
    data = invested(office)
    raw = sign(data["transaction_to_sign"])

    signed = give(office, data["id"], raw)["data"]
    give(office, data["id"], raw)
    office.transaction(
        to=B, data=bytes.fromhex(data["transaction_to_sign"]["data"][2:]),
        value=200 * ETB,
    )  # fmt: skip
    seen = settled(office, data["id"], final=office.story.height - 1)
    done = settled(office, data["id"], final=office.story.height)

    assert "signed" == signed["state"]
    assert [bytes.fromhex(raw[2:])] * 2 == office.node.sent
    assert 1 == office.scalar("SELECT count(*) FROM control.relay")
    assert (State.INCLUDED, State.SUCCEEDED) == (seen.state, done.state)
    with office.writer.connect() as connection:
        assert {} == watched(connection, office.source)
    assert "command_ended" in give(office, data["id"], raw, 409)["type"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"value": hex(100 * ETB)}, "value is 1"),
        ({"to": "0x" + "99" * 20}, "to is 0x9999"),
        ({"data": "0x00"}, "data is 0x00"),
        ({"chainId": "0x1"}, "chainId is 1 and must be 100"),
    ],
)
def test_what_was_not_asked_for_is_not_relayed(office, changes, told):
    data = invested(office)

    answer = give(office, data["id"], sign(data["transaction_to_sign"], **changes), 422)

    assert told in answer["detail"]
    assert [] == office.node.sent


def test_another_wallet_s_signature_is_refused(office):
    data = invested(office)
    raw = sign(data["transaction_to_sign"], by="0x" + "22" * 32)

    answer = give(office, data["id"], raw, 422)

    assert "from is" in answer["detail"]


def test_a_wallet_that_sends_by_itself_is_recognised_by_the_command_s_id(office):
    data = invested(office)
    office.transaction(
        to=B, data=bytes.fromhex(data["transaction_to_sign"]["data"][2:]),
        value=200 * ETB, good=False,
    )  # fmt: skip

    assert State.REVERTED is settled(office, data["id"], final=99).state


def test_a_nonce_used_for_something_else_is_signed_for_again(office):
    data = invested(office)
    give(office, data["id"], sign(data["transaction_to_sign"]))
    office.transaction(to=A, data=b"", nonce=7)

    before = settled(office, data["id"], final=office.story.height - 1)
    after = settled(office, data["id"], final=office.story.height)

    assert (State.SIGNED, State.ACCEPTED) == (before.state, after.state)
    assert "sign it again" in after.reason


def test_an_undone_block_puts_it_back(office):
    data = invested(office)
    give(office, data["id"], sign(data["transaction_to_sign"]))
    office.transaction(
        to=B, data=bytes.fromhex(data["transaction_to_sign"]["data"][2:]),
        value=200 * ETB,
    )  # fmt: skip
    assert State.INCLUDED is settled(office, data["id"], final=0).state
    with office.writer.begin() as connection:
        connection.exec_driver_sql("DELETE FROM control.sender_transaction")

    assert State.SIGNED is settled(office, data["id"], final=0).state


def test_a_wallet_s_command_ends_when_it_is_not_signed_in_time(office):
    data = invested(office, valid_seconds=60)
    assert State.ACCEPTED is settled(office, data["id"], final=99).state
    office.clock.forward(seconds=61)

    assert State.EXPIRED is settled(office, data["id"], final=99).state


def test_a_signed_command_is_not_ours_to_cancel(office):
    data = invested(office)
    give(office, data["id"], sign(data["transaction_to_sign"]))

    answer = office.post(
        f"/api/v1/commands/{data['id']}/cancel", {}, 409, token=office.by(INVESTOR)
    )

    assert "only that wallet" in answer.json["detail"]


def test_any_signed_call_of_a_contract_we_follow_is_relayed(office):
    data = relayed(office, any_call())["data"]
    again = relayed(office, any_call(), 200)["data"]
    office.transaction(to=CONTRACTS["FundEscrow"], data=b"\x12\x34", nonce=9)

    assert data["id"] == again["id"]
    assert ("relay", "signed", hexed(WALLET)) == (
        data["kind"], data["state"], data["wallet"],
    )  # fmt: skip
    assert 1 == len(office.node.sent)
    assert State.SUCCEEDED is settled(office, data["id"], final=99).state


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (any_call(to="0x" + "99" * 20), "not a contract that is followed"),
        (any_call(chainId="0x1"), "signed for chain 1"),
        ("0x", "what the wallet has signed"),
        ("0x1234", "type 18"),
        ("0x02c0", "not a signed transaction"),
        ("0x05" + "00" * 40, "type 5"),
        ("0x" + "c0" * 9, "not a signed transaction"),
        ("zz", "what the wallet has signed"),
    ],
)  # fmt: skip
def test_anything_else_is_not_relayed(office, raw, told):
    answer = relayed(office, raw, 422)

    assert told in answer["detail"]
    assert [] == office.node.sent
    assert 0 == office.scalar("SELECT count(*) FROM control.command")


def test_fees_of_type_two_are_read_too(office):
    fees = {"gas": "0x5208", "maxFeePerGas": "0x2", "maxPriorityFeePerGas": "0x1"}
    unsigned = {
        "chainId": hex(CHAIN_ID), "nonce": "0x9", "value": "0x0", "data": "0x1234",
        "to": hexed(CONTRACTS["FundEscrow"]), "type": "0x2", "from": "", **fees,
    }  # fmt: skip

    assert "signed" == relayed(office, sign(unsigned))["data"]["state"]


def test_a_lost_answer_of_the_node_loses_nothing(office):
    data = invested(office)
    unsigned = data["transaction_to_sign"]
    raw = sign(unsigned)
    office.node.away = NodeAway("timeout")
    give(office, data["id"], raw)
    office.node.away = None
    office.clock.forward(seconds=11)
    passes = list(office.lane.work_wallets(office.command_service))
    office.clock.forward(seconds=1)
    quiet = list(office.lane.work_wallets(office.command_service))

    assert 2 == len(office.node.sent)
    assert ["sent"] == passes
    assert [] == quiet
    with office.writer.connect() as connection:
        row = find(connection, uuid.UUID(data["id"]))
    assert row.state is State.SIGNED
    assert row.created_at < office.clock() - timedelta(seconds=11)


def test_a_relayed_call_is_not_taken_for_another_one_like_it(office):
    """The same call at another nonce is another one, done before or after."""
    office.transaction(to=CONTRACTS["FundEscrow"], data=b"\x12\x34", nonce=3)
    data = relayed(office, any_call())["data"]
    waits = settled(office, data["id"], final=99).state
    office.transaction(
        to=CONTRACTS["FundEscrow"], data=b"\x12\x34", nonce=9, good=False
    )

    assert State.SIGNED is waits
    assert State.REVERTED is settled(office, data["id"], final=99).state


def test_the_same_bytes_are_one_command_under_any_key(office):
    first = relayed(office, any_call())["data"]
    other = relayed(office, any_call(), 200, key="other")["data"]

    assert first["id"] == other["id"]
    assert 1 == office.scalar("SELECT count(*) FROM control.command")


def test_a_nonce_that_was_used_already_is_not_relayed(office):
    answer = relayed(office, any_call(nonce="0x3"), 422)
    data = invested(office)
    late = give(office, data["id"], sign(data["transaction_to_sign"], nonce="0x6"), 422)

    assert "nonce 3" in answer["detail"]
    assert "nonce 6" in late["detail"]
    assert [] == office.node.sent


def test_a_command_is_shown_while_the_node_is_away(office):
    data = invested(office)
    office.node.away = NodeAway("no answer")

    told = shown(office, data["id"], by=INVESTOR)

    assert "accepted" == told["state"]
    assert "transaction_to_sign" not in told


@pytest.mark.parametrize(
    "changes",
    [{"gas": hex(2**64)}, {"value": hex(2**256)}, {"nonce": hex(2**300)}],
)
def test_numbers_that_no_chain_takes_are_refused(office, changes):
    relayed(office, any_call(**changes), 422)


def test_a_wallet_is_watched_from_the_last_final_block_on(office):
    """Blocks above it may be replaced by fewer, and the call be in one of those."""
    office.final(0)
    for _ in range(3):
        office.story.mine()
    data = invested(office)
    with office.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE control.source SET final = 2")
    other = office.ask(
        "", path=f"/api/v1/campaigns/{hexed(B)}/invest", by=INVESTOR,
        amount="200",
    ).json["data"]["id"]  # fmt: skip

    assert data["id"] != other
    query = "SELECT seen_from FROM control.command WHERE id = :id"
    assert 2 == office.scalar(query, id=other)


def test_only_what_may_have_something_new_is_looked_at(office):
    late = invested(office, valid_seconds=60)
    assert [] == list(office.lane.work_wallets(office.command_service))
    office.clock.forward(seconds=61)
    assert ["settled"] == list(office.lane.work_wallets(office.command_service))

    assert "expired" == shown(office, late["id"])["state"]


def test_a_node_that_is_away_is_asked_once_in_a_pass(office):
    for number in (9, 10, 11):
        relayed(office, any_call(nonce=hex(number)), key=str(number))
    office.clock.forward(seconds=11)
    office.node.away = NodeAway("no answer")
    office.node.sent.clear()

    assert [] == list(office.lane.work_wallets(office.command_service))
    assert 1 == len(office.node.sent)
