"""Commands that a wallet of Solana signs: asked for, handed in, proved by the index."""

import random
import subprocess
from pathlib import Path

import pytest
from solders.instruction import Instruction
from solders.system_program import TransferParams, transfer
from sqlalchemy import text

from commands.solana import wallets
from db.commands.states import State
from db.commands.watching import watched
from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from devnet.toolchain import ToolchainError, node_command
from helpers import npm
from helpers.ledger_business import write_business
from helpers.wallet_book import (
    COMMANDS,
    WalletBook,
    based,
    compiled,
    entry_of,
    instructions_of,
    key_of,
    message_of,
    settings_text,
    signed,
)
from idl.base58 import to_base58
from ops.settings import load_settings

pytestmark = pytest.mark.chain

HOME = Path(__file__).parents[1] / "solana" / "javascript"


@pytest.fixture(scope="module")
def declarations(tmp_path_factory):
    """A domain outside the product; Python knows a module of its name only once."""
    folder = tmp_path_factory.mktemp("declared") / "pocketbook"
    return write_business(folder, *COMMANDS)


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


def test_the_same_bytes_are_one_transaction_and_another_is_refused_meanwhile(open_book):
    book = open_book()
    data = book.asked(1)
    first = book.sign(data)
    book.chain.fault(kind="lose", times=2)
    given = [book.give(data, first)["data"]["transaction"] for _ in range(3)]
    book.chain.advance(2)
    second = book.sign(book.again(data))

    refused = book.give(data, second, 409)

    assert len(set(given)) == 1
    assert bytes(first) != bytes(second)
    assert "may still land" in refused["detail"]
    assert refused["type"].endswith("nonce_conflict")
    book.pass_time(5, passes=3)
    assert book.row(data).state is State.SUCCEEDED
    assert book.effects() == 1


def test_lost_bytes_are_sent_again_and_signed_anew_only_when_past(open_book):
    book = open_book()
    data = book.asked(1)
    first = book.sign(data)
    book.chain.fault(kind="lose", times=10_000)
    book.give(data, first)
    for _ in range(3):
        book.pass_time(40, seconds=16)
    assert (book.row(data).state, book.effects()) == (State.SIGNED, 0)
    assert book.attempts()[0].sent_count >= 3
    for _ in range(4):
        book.pass_time(40, seconds=16)
    waiting = book.shown(data)
    book.chain.clear()

    assert waiting["state"] == "accepted"
    assert "can land no more" in waiting["reason"]
    assert book.attempts()[0].state == "dead"
    assert "too old" in book.give(data, first, 422)["detail"]
    assert (book.row(data).state, book.effects()) == (State.ACCEPTED, 0)
    book.give(waiting, book.sign(waiting))
    book.pass_time(5, passes=3)
    assert book.row(data).state is State.SUCCEEDED
    assert book.effects() == 1


def test_a_blockhash_that_is_too_old_is_refused_with_the_remedy(open_book):
    book = open_book()
    data = book.asked(1)
    old = book.sign(data)
    book.chain.advance(200)
    book.index()

    refused = book.give(data, old, 422)

    assert refused["type"].endswith("bad_transaction")
    assert "is too old: ask for the command again" in refused["detail"]
    assert (book.row(data).state, book.attempts()) == (State.ACCEPTED, [])


def test_what_has_landed_already_may_be_handed_in_late(open_book):
    book = open_book()
    data = book.asked(1)
    old = book.sign(data)
    book.chain.post(old, skipPreflight=True)
    book.chain.advance(200)

    answer = book.give(data, old)["data"]
    book.pass_time(5, passes=2)

    assert answer["state"] == "signed"
    assert book.row(data).state is State.SUCCEEDED
    assert book.effects() == 1


def test_a_confirmed_slot_that_is_undone_takes_the_inclusion_back(open_book):
    book = open_book()
    book.chain.fund()
    book.chain.send(ledger.mark(3, 5))
    book.pass_time(6)
    data = book.asked(1)
    book.give(data, book.sign(data))
    book.pass_time()
    assert book.row(data).state is State.INCLUDED
    book.chain.fork(2)
    states = []
    for _ in range(6):
        book.pass_time(2, seconds=3)
        states.append(book.row(data).state)

    assert states[-1] is State.SUCCEEDED
    assert book.effects() == 2  # with the mark


def test_a_program_that_would_fail_is_refused_before_anybody_signs(open_book):
    book = open_book()
    entry = {**entry_of(1)["entry"], "amount": "9"}

    refused = book.asked(1, 422, entry=entry)

    assert refused["type"].endswith("would_revert")
    assert "ledger would refuse it" in refused["detail"]


def test_a_call_that_fails_on_the_chain_is_reverted_with_the_programs_word(open_book):
    """Two ask for one receipt: the second fails, as the first was there."""
    book = open_book()
    first, second = (book.asked(1, kind="keep-entry") for _ in range(2))
    for data in (first, second):
        book.give(data, book.sign(data))
    book.pass_time()
    book.pass_time(5, passes=2)

    found = {book.row(data).state: book.shown(data) for data in (first, second)}
    assert set(found) == {State.SUCCEEDED, State.REVERTED}
    assert "Recorded" in found[State.REVERTED]["reason"]


def test_a_wallet_without_lamports_is_told_so(open_book):
    book = open_book(fund=False)

    refused = book.asked(1, 422)

    assert f"your wallet {book.key.pubkey()} cannot send it" in refused["detail"]


def test_only_a_linked_wallet_of_solana_is_asked_to_sign(open_book):
    book = open_book()
    other = key_of("ben")

    refused = book.asked(1, 422, wallet=str(other.pubkey()))
    named = book.asked(1, wallet=str(book.key.pubkey()))
    book.link(book.account_id, other)
    unnamed = book.asked(2, 422)
    by_other = book.asked(2, 422, wallet=str(other.pubkey()))

    assert refused["choices"] == [str(book.key.pubkey())]
    assert named["wallet"] == str(book.key.pubkey())
    assert len(unnamed["choices"]) == 2
    assert "cannot send it" in by_other["detail"]


def test_a_cancel_before_signing_ends_it_and_what_is_sent_then_is_told(open_book):
    book = open_book()
    data = book.asked(1)
    raw = book.sign(data)
    path = f"/api/v1/commands/{data['id']}/cancel"
    told = book.post(path, {}, token=book.by).json["data"]
    assert (told["state"], "can still send it" in told["reason"]) == ("cancelled", True)
    assert book.give(data, raw, 409)["type"].endswith("command_ended")

    signature = book.chain.post(raw, skipPreflight=True)
    book.pass_time()
    book.pass_time(5, passes=2)

    late = book.shown(data)
    assert (late["state"], late["late_outcome"]) == ("cancelled", "succeeded")
    assert (late["transaction"], late["events"][-1]["details"]["transaction"]) == (
        signature, signature,
    )  # fmt: skip


def test_a_cancel_after_signing_lets_the_chain_decide(open_book):
    book = open_book()
    data = book.asked(1)
    book.chain.fault(kind="lose", times=10_000)
    book.give(data, book.sign(data))
    path = f"/api/v1/commands/{data['id']}/cancel"
    assert book.post(path, {}, token=book.by).json["data"]["state"] == "closing"
    sent = book.attempts()[0].sent_count
    for _ in range(7):
        book.pass_time(40, seconds=16)

    assert book.row(data).state is State.CANCELLED
    assert (book.attempts()[0].sent_count, book.effects()) == (sent, 0)


def test_a_command_that_nobody_signs_expires(open_book):
    book = open_book()
    data = book.asked(1, valid_seconds=60)
    book.pass_time(1, seconds=61)

    assert book.row(data).state is State.EXPIRED


def test_a_wallet_that_signs_twice_is_told_of_both(open_book):
    """Nothing keeps a wallet from it: we send one, and it sends another by itself."""
    book = open_book()
    data = book.asked(1)
    first = book.sign(data)
    book.chain.advance(1)
    second = book.sign(book.again(data))
    book.give(data, first)
    book.chain.post(second, skipPreflight=True)
    book.pass_time()
    book.pass_time(5, passes=3)

    found = book.shown(data)
    assert found["state"] == "succeeded"
    assert [each.state for each in book.attempts()] == ["landed", "landed"]
    assert "once more" in found["events"][-1]["details"]["reason"]


def test_another_programs_transaction_of_the_wallet_is_nobodys(open_book):
    book = open_book()
    data = book.asked(1)
    message = message_of(data)
    ours = instructions_of(message)
    others = [
        [*ours[:3]],  # without the memo
        [ours[0], ours[3]],  # the memo alone
        [*ours[:2], ledger.mark(1, 2), ours[3]],
    ]
    for instructions in others:
        raw = signed(
            compiled(instructions, book.key.pubkey(), book.chain.blockhash()), book.key
        )
        book.chain.post(raw, skipPreflight=True)
        book.pass_time()
    book.pass_time(5, passes=2)

    assert (book.row(data).state, book.attempts()) == (State.ACCEPTED, [])
    assert book.effects() == 2


def test_somebody_elses_transaction_with_the_memo_is_not_the_wallets(open_book):
    book = open_book()
    data = book.asked(1)
    other = key_of("ben")
    book.chain.fund(other.pubkey())
    memo = instructions_of(message_of(data))[3]
    pay = TransferParams(
        from_pubkey=other.pubkey(), to_pubkey=book.key.pubkey(), lamports=1_000_000
    )
    named = [transfer(pay), ledger.mark(1, 2), memo]
    raw = signed(compiled(named, other.pubkey(), book.chain.blockhash()), other)
    book.chain.post(raw, skipPreflight=True)
    book.pass_time()
    book.pass_time(5, passes=2)

    assert (book.row(data).state, book.attempts()) == (State.ACCEPTED, [])


SMUGGLED = {
    "a transfer": lambda book, ours: [
        *ours,
        transfer(TransferParams(
            from_pubkey=book.key.pubkey(), to_pubkey=key_of("ben").pubkey(), lamports=1,
        )),
    ],
    "our call changed by a byte": lambda book, ours: [
        *ours[:2],
        Instruction(
            ours[2].program_id,
            bytes(ours[2].data[:-1]) + bytes([ours[2].data[-1] ^ 1]),
            ours[2].accounts,
        ),
        ours[3],
    ],
    "our call twice": lambda book, ours: [*ours, ours[2]],
    "no call": lambda book, ours: [*ours[:2], ours[3]],
}  # fmt: skip


def test_what_is_smuggled_in_is_refused_and_nothing_is_sent(open_book):
    book = open_book()
    data = book.asked(1)
    ours = instructions_of(message_of(data))
    for make in SMUGGLED.values():
        message = compiled(make(book, ours), book.key.pubkey(), book.chain.blockhash())
        refused = book.give(data, signed(message, book.key), 422)
        assert refused["type"].endswith("bad_transaction")
        assert "instruction" in refused["detail"]
    book.pass_time(2, passes=2)

    assert (book.row(data).state, book.attempts(), book.effects()) == (
        State.ACCEPTED, [], 0,
    )  # fmt: skip


def test_listed_guards_and_fees_go_with_it(open_book):
    shop = key_of("shop").pubkey()
    rules = f"[wallets.solana.fees]\n{shop} = 1_000_000"
    book = open_book(rules)
    data = book.asked(1)
    ours = instructions_of(message_of(data))
    fee = transfer(
        TransferParams(from_pubkey=book.key.pubkey(), to_pubkey=shop, lamports=900_000)
    )
    message = compiled([*ours, fee], book.key.pubkey(), book.chain.blockhash())

    book.give(data, signed(message, book.key))
    book.pass_time()
    book.pass_time(5, passes=2)

    assert book.row(data).state is State.SUCCEEDED
    assert book.chain.call("getBalance", str(shop))["value"] == 900_000


HOSTILE = [
    None, 7, [], {}, "", "0x", "0x0", "AA=", "AAA", "A===", "====", "AQ==\n", " AQ==",
    "AR==", "é", "A" * 400_000, "0x" + "00" * 200_000, "A" * 131_072,
    "/w" * 600, [["AQ=="] * 3], {"raw": "AQ=="},
]  # fmt: skip


def test_hostile_bodies_are_refused_and_change_nothing(open_book):
    book = open_book()
    data = book.asked(1)
    path = f"/api/v1/commands/{data['id']}/signed"
    whole = based(book.sign(data))
    cut = [whole[:at] for at in range(0, len(whole), 61)]
    for raw in [*HOSTILE, *cut, whole + "AAAA", whole.rstrip("=") + "!"]:
        answer = book.post(path, {"raw": raw}, None, token=book.by)
        assert answer.status_code == 422, (raw, answer.text)
        assert answer.json["type"].endswith("bad_transaction")
    for body in (b"[" * 100_000, b'{"raw":' * 5_000, b'{"raw": "A', b"\xff\xfe", b"[]"):
        answer = book.call(
            "POST", path, None, token=book.by, data=body,
            content_type="application/json",
        )  # fmt: skip
        assert answer.status_code == 400, answer.text

    assert (book.row(data).state, book.attempts()) == (State.ACCEPTED, [])
    book.give(data, whole)


def test_a_death_between_storing_and_sending_loses_nothing(open_book, monkeypatch):
    book = open_book()
    data = book.asked(1)
    raw = book.sign(data)

    class Killed(BaseException):
        pass

    def dies(self, raw):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(type(book.lane.node), "send", dies)
        with pytest.raises(Killed):
            wallets.relay_signed(
                book.command_service, book.lane, book.row(data), bytes(raw)
            )
    assert (book.row(data).state, book.effects()) == (State.SIGNED, 0)
    book.pass_time(5, passes=3)

    assert book.row(data).state is State.SUCCEEDED
    assert book.effects() == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_worker_killed_between_any_two_steps_does_each_command_once(open_book, seed):
    """Some hand in and some send by themselves; bytes are lost, blockhashes run out."""
    rng = random.Random(seed)
    book = open_book()
    commands = [book.asked(number) for number in range(5)]
    for _ in range(45):
        book.clock.forward(seconds=rng.choice([1, 5, 20]))
        if rng.random() < 0.3:
            book.chain.fault(kind="lose", times=rng.randint(1, 4))
        data = rng.choice(commands)
        shown = book.shown(data)
        if shown["state"] == "accepted" and rng.random() < 0.6:
            raw = book.sign(shown)
            if rng.random() < 0.5 and not book.sent_alone(data):
                book.give(data, raw, None)
            elif not book.sent_alone(data):
                book.send_alone(data, raw)
        steps = book.lane.work_wallets(book.command_service)
        for _ in range(rng.randint(0, 12)):
            if next(steps, None) is None:
                break
        steps.close()
        book.chain.advance(rng.choice([0, 1, 2, 40]))
        if rng.random() < 0.7:
            book.index()
    book.chain.clear()
    for _ in range(14):
        book.pass_time(40, seconds=70)
        for data in commands:
            shown = book.shown(data)
            if shown["state"] == "accepted":
                book.give(shown, book.sign(shown), None)

    assert {book.row(each).state for each in commands} == {State.SUCCEEDED}
    assert book.effects() == len(commands)


def by_javascript(book, data, how):
    try:
        npm.install(HOME)
        node = node_command()
    except (npm.NpmUnavailable, ToolchainError) as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [*node, "sign.cjs", how, bytes(book.key.secret()).hex()], cwd=HOME, check=True,
        capture_output=True, text=True,
        input=data["transaction_to_sign"]["message"],
    )  # fmt: skip
    return done.stdout


def test_what_solanas_javascript_client_signs_is_taken(open_book):
    """As it is, and compiled anew: legacy, and with the wallet's own price."""
    book = open_book()
    commands = [book.asked(number) for number in range(3)]
    for data, how in zip(commands, ("as-is", "legacy", "priced"), strict=True):
        given = by_javascript(book, data, how)
        if how == "as-is":
            assert given == based(book.sign(data))
        book.give(data, given)
    smuggled = book.asked(3)
    refused = book.give(smuggled, by_javascript(book, smuggled, "transfer"), 422)
    book.pass_time()
    book.pass_time(5, passes=2)

    assert {book.row(each).state for each in commands} == {State.SUCCEEDED}
    assert "instruction 5 (0x02000000e8030000" in refused["detail"]
    assert book.effects() == 3


def test_the_indexer_reads_no_wallets_of_solana(open_book):
    """What they do with a program is listed by the program's address."""
    book = open_book()
    book.asked(1)
    cancelled = book.asked(2)
    book.post(f"/api/v1/commands/{cancelled['id']}/cancel", {}, token=book.by)
    book.pass_time(2, passes=2)

    with book.writer.connect() as connection:
        assert watched(connection, book.lane.source) == {}
        events = connection.execute(text("SELECT DISTINCT event FROM control.coverage"))
        assert "chain.transactions" not in set(events.scalars())


def test_a_cancelled_command_is_asked_for_again_for_the_same_wallet(open_book):
    book = open_book()
    data = book.asked(1)
    path = f"/api/v1/commands/{data['id']}"
    book.post(f"{path}/cancel", {}, token=book.by)
    again = book.post(
        f"{path}/retry", {}, 202, token=book.by, headers={"Idempotency-Key": "again"}
    ).json["data"]
    shown = book.shown(again)

    first, second = (message_of(each) for each in (data, shown))
    assert instructions_of(first)[2] == instructions_of(second)[2]
    assert instructions_of(first)[3] != instructions_of(second)[3]  # the memo
    assert "must be" not in book.give(shown, book.sign(shown))
    book.pass_time(5, passes=3)
    assert book.row(again).state is State.SUCCEEDED


def test_one_commands_signature_is_not_taken_for_another_that_asks_for_the_same(
    open_book,
):
    book = open_book()
    first, second = book.asked(1), book.asked(1)

    refused = book.give(second, book.sign(first), 422)
    book.give(first, book.sign(first))
    book.pass_time(5, passes=3)

    assert "instruction 4" in refused["detail"]
    assert [book.row(each).state for each in (first, second)] == [
        State.SUCCEEDED, State.ACCEPTED,
    ]  # fmt: skip
