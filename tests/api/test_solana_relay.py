"""Calls that no command asked for, signed by a wallet of Solana and relayed."""

import uuid
from pathlib import Path

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)

from commands.solana import relay
from db.commands.solana.attempts import register_signer
from db.commands.states import State
from db.declare.roles import Role
from devnet.solana import ledger, version1
from devnet.solana.client import TOKEN, Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.ledger_business import write_business
from helpers.wallet_book import (
    COMMANDS,
    WalletBook,
    based,
    compiled,
    instructions_of,
    key_of,
    message_of,
    settings_text,
    signed,
)
from ops.settings import load_settings

pytestmark = pytest.mark.chain
ROOT = Path(__file__).parents[2]
BEN = key_of("ben")


@pytest.fixture(scope="module")
def declarations(tmp_path_factory):
    """A domain outside the product; Python knows a module of its name only once."""
    folder = tmp_path_factory.mktemp("declared") / "relaybook"
    return write_business(folder, *COMMANDS)


@pytest.fixture
def open_book(tmp_path, database_url, declarations):
    opened = []

    def make(rules=""):
        key = key_of("anna")
        client = Devnet(node.url)
        client.fund(key.pubkey(), 3_456_789_012)
        content = settings_text(client, declarations, rules, node.url)
        path = tmp_path / "chainfold.toml"
        path.write_text(content.replace("pocketbook", "relaybook"))
        book = WalletBook(load_settings(str(path)), database_url, client, key)
        opened.append(book)
        return book

    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as node:
        yield make
        for each in opened:
            each.close()


@pytest.fixture
def book(open_book):
    return open_book()


def made(book, *instructions, key=None, keys=(), blockhash=None):
    """A transaction of the book's wallet, or of another."""
    key = key or book.key
    blockhash = blockhash or book.chain.blockhash()
    return signed(compiled(instructions, key.pubkey(), blockhash), key, *keys)


def entry(book, number, *, key=None):
    """A call that makes a receipt, once for each number."""
    author = (key or book.key).pubkey()
    people = [key_of("r0").pubkey()]
    return ledger.record(author, bytes([number]) * 32, ledger.Entry((7,)), people)


def paid(book, to, lamports):
    return transfer(
        TransferParams(
            from_pubkey=book.key.pubkey(), to_pubkey=to, lamports=lamports
        )
    )  # fmt: skip


def hand(book, raw, status=202, *, key=None, token=None, chain=None):
    raw = raw if isinstance(raw, str) else based(raw)
    path = "/api/v1/relay" + (f"?chain={chain}" if chain else "")
    return book.post(
        path, {"raw": raw}, status, token=token or book.by,
        headers={"Idempotency-Key": key or str(uuid.uuid4())},
    )  # fmt: skip


def commands(book):
    with book.writer.connect() as connection:
        query = "SELECT count(*) FROM control.command"
        return connection.exec_driver_sql(query).scalar_one()


def test_a_signed_call_is_kept_sent_and_proved_by_the_index(book):
    raw = made(book, entry(book, 1))

    answer = hand(book, raw)
    data = answer.json["data"]
    assert answer.headers["Location"].endswith(data["id"])
    assert (data["kind"], data["state"]) == ("relay", "signed")
    assert data["wallet"] == str(book.key.pubkey())
    assert data["arguments"] == {"signature": str(raw.signatures[0])}
    assert data["valid_until"] is None
    book.pass_time()
    assert book.row(data).state is State.INCLUDED
    assert not book.shown(data)["final"]
    book.pass_time(5, passes=2)

    done = book.shown(data)
    assert (done["state"], done["final"]) == ("succeeded", True)
    assert done["transaction"] == str(raw.signatures[0])
    assert [each["hash"] for each in done["sent"]] == [done["transaction"]]
    found = book.chain.transaction(done["transaction"], "finalized")
    assert (found["slot"], book.effects()) == (done["height"], 1)
    assert "transaction_to_sign" not in done


@pytest.mark.parametrize("how", ["legacy", "hex", "several calls", "another's too"])
def test_every_form_that_wallets_sign_is_taken(book, how):
    call, key = entry(book, 1), book.key
    raw = based(made(book, call))
    if how == "legacy":
        message = Message.new_with_blockhash(
            [call], key.pubkey(), book.chain.blockhash()
        )
        raw = based(signed(message, key))
    elif how == "hex":
        raw = "0x" + bytes(made(book, call)).hex()
    elif how == "several calls":
        raw = based(made(book, ledger.mark(1, 2), call, ledger.mark(3, 4)))
    else:
        raw = based(made(book, entry(book, 1, key=BEN), keys=[BEN]))
        book.chain.fund(BEN.pubkey())

    data = hand(book, raw).json["data"]
    book.pass_time(5, passes=3)

    assert book.row(data).state is State.SUCCEEDED


def test_the_same_bytes_are_one_command_of_an_account_under_any_key(book):
    raw = made(book, entry(book, 1))

    first = hand(book, raw, key="one").json["data"]
    again = hand(book, raw, 200, key="one")
    other = hand(book, raw, 200, key="two").json["data"]
    refused = hand(book, made(book, ledger.mark(1, 2)), 422, key="one").json
    book.pass_time(5, passes=3)
    late = hand(book, raw, 200, key="three").json["data"]

    assert again.headers["Idempotent-Replayed"] == "true"
    assert {first["id"]} == {again.json["data"]["id"], other["id"], late["id"]}
    assert refused["type"].endswith("idempotency_key_reused")
    assert late["state"] == "succeeded"
    assert (commands(book), len(book.attempts()), book.effects()) == (1, 1, 1)


def test_two_accounts_have_a_command_each_for_the_same_bytes(book):
    """Whoever saw bytes and was faster keeps nobody from being told of them."""
    stranger = book.token(book.account(Role.OPERATOR))
    landing = made(book, entry(book, 1))
    book.chain.fault(kind="lose", times=10_000)
    lost = made(book, entry(book, 2))
    given = [
        hand(book, raw, token=token).json["data"]
        for raw in (landing, lost)
        for token in (book.by, stranger)
    ]
    book.chain.clear()
    book.chain.post(landing, skipPreflight=True)
    book.chain.fault(kind="lose", times=10_000)
    for _ in range(7):
        book.pass_time(40, seconds=16)
    book.chain.clear()

    assert len({each["id"] for each in given}) == 4
    assert [book.row(each).state for each in given] == [
        State.SUCCEEDED, State.SUCCEEDED, State.EXPIRED, State.EXPIRED,
    ]  # fmt: skip
    assert book.get(
        f"/api/v1/commands/{given[0]['id']}", 404,
        token=book.token(book.account()),
    )  # fmt: skip


def test_lost_bytes_are_sent_again_and_expire_only_when_they_are_past(book):
    raw = made(book, entry(book, 1))
    book.chain.fault(kind="lose", times=10_000)
    data = hand(book, raw).json["data"]
    for _ in range(3):
        book.pass_time(40, seconds=16)
    [waits] = book.attempts()
    assert (book.row(data).state, waits.state) == (State.SIGNED, "open")
    assert waits.sent_count >= 3
    assert bytes(waits.raw) == bytes(raw)
    for _ in range(4):
        book.pass_time(40, seconds=16)
    book.chain.clear()

    done = book.shown(data)
    assert (done["state"], done["final"], done["height"]) == ("expired", True, None)
    assert "no block, and can land no more" in done["reason"]
    retry = book.post(
        f"/api/v1/commands/{data['id']}/retry", {}, 409, token=book.by,
        headers={"Idempotency-Key": "retry"},
    ).json  # fmt: skip
    assert "sign it anew, and give that to POST /relay" in retry["detail"]
    assert [each.state for each in book.attempts()] == ["dead"]
    assert hand(book, raw, 200).json["data"]["id"] == data["id"]
    book.pass_time(5, passes=3)
    assert (book.row(data).state, book.effects()) == (State.EXPIRED, 0)


def test_time_alone_ends_nothing(book):
    book.chain.fault(kind="lose", times=10_000)
    data = hand(book, made(book, entry(book, 1))).json["data"]
    book.clock.forward(seconds=40 * 86_400)
    book.work()
    assert book.row(data).state is State.SIGNED
    book.chain.clear()
    book.clock.forward(seconds=60)
    book.work()
    book.pass_time(5, passes=3)

    assert book.row(data).state is State.SUCCEEDED


def test_a_call_that_fails_on_the_chain_is_reverted_with_the_programs_word(book):
    first, second = (
        made(book, entry(book, 1), ledger.mark(number, 2)) for number in range(2)
    )
    book.chain.fault(kind="lose", times=10_000)  # else the second would be refused
    given = [hand(book, raw).json["data"] for raw in (first, second)]
    book.chain.clear()
    book.clock.forward(seconds=5)
    book.work()
    book.pass_time()
    book.pass_time(5, passes=2)

    found = {book.row(each).state: book.shown(each) for each in given}
    assert set(found) == {State.SUCCEEDED, State.REVERTED}
    failed = found[State.REVERTED]
    assert "Recorded" in failed["reason"]
    listed = book.get("/api/v1/failed-transactions").json["data"]
    assert [each["transaction"] for each in listed] == [failed["transaction"]]
    assert [each["error"] for each in listed] == [failed["reason"]]


def test_a_call_that_would_fail_is_refused_with_the_programs_word(book):
    refused = hand(book, made(book, ledger.fail(77)), 422).json

    assert refused["type"].endswith("would_revert")
    assert "it would fail: " in refused["detail"]
    poor = hand(book, made(book, entry(book, 1, key=BEN), key=BEN), 422).json
    assert "the payer has no lamports" in poor["detail"]
    assert commands(book) == 0


def test_a_confirmed_slot_that_is_undone_takes_the_inclusion_back(book):
    data = hand(book, made(book, entry(book, 1))).json["data"]
    book.pass_time()
    assert book.row(data).state is State.INCLUDED
    book.chain.fork(1)
    for _ in range(6):
        book.pass_time(2, seconds=3)

    assert (book.row(data).state, book.effects()) == (State.SUCCEEDED, 1)


def test_a_cancel_sends_no_more_and_lets_the_chain_decide(book):
    book.chain.fault(kind="lose", times=10_000)
    data = hand(book, made(book, entry(book, 1))).json["data"]
    path = f"/api/v1/commands/{data['id']}/cancel"
    assert book.post(path, {}, token=book.by).json["data"]["state"] == "closing"
    sent = book.attempts()[0].sent_count
    for _ in range(7):
        book.pass_time(40, seconds=16)

    assert book.row(data).state is State.CANCELLED
    assert book.attempts()[0].sent_count == sent


def smuggled(book):
    """What is refused, by the words that tell of it."""
    me, call = book.key.pubkey(), entry(book, 1)
    other = BEN.pubkey()
    token = Instruction(
        TOKEN, bytes([3]) + (9).to_bytes(8, "little"),
        [AccountMeta(other, False, True), AccountMeta(other, False, True),
         AccountMeta(me, True, False)],
    )  # fmt: skip
    return {
        "instruction 2 (0x0200": [call, paid(book, other, 1)],
        "instruction 1 (0x0200": [paid(book, other, 1), call],
        "instruction 2 (0x03": [call, token],
        "calls no program that is followed": [call, Instruction(other, b"x", [])],
        "it calls no program": [],
        "durable nonce": [
            advance_nonce_account(
                AdvanceNonceAccountParams(nonce_pubkey=other, authorized_pubkey=me)
            ),
            call,
        ],
    }


def test_what_is_smuggled_in_is_refused_and_nothing_is_sent(book):
    for words, instructions in smuggled(book).items():
        refused = hand(book, made(book, *instructions), 422).json
        assert refused["type"].endswith("bad_transaction")
        assert words in refused["detail"]
    data = book.asked(1)
    for_command = signed(message_of(data), book.key)
    assert "/signed" in hand(book, for_command, 422).json["detail"]
    book.pass_time(2, passes=2)

    assert (commands(book), book.attempts(), book.effects()) == (1, [], 0)


def test_listed_fees_go_with_it_up_to_their_cap(open_book):
    shop = key_of("shop").pubkey()
    book = open_book(f"[wallets.solana.fees]\n{shop} = 1_000_000")
    call = entry(book, 1)

    over = hand(book, made(book, call, paid(book, shop, 1_000_001)), 422).json
    data = hand(book, made(book, call, paid(book, shop, 900_000))).json["data"]
    book.pass_time(5, passes=3)

    assert "at most 1000000" in over["detail"]
    assert book.row(data).state is State.SUCCEEDED
    assert book.chain.call("getBalance", str(shop))["value"] == 900_000


def test_what_is_followed_by_accounts_is_not_relayed_and_other_addresses_are(
    open_book,
):
    """Nothing would show what became of a transaction that no account lists."""
    second = key_of("another ledger").pubkey()
    book = open_book(
        f"""
        [programs.spl]
        idl = "builtin:token"
        accounts = ["{BEN.pubkey()}"]

        [programs.other]
        idl = "{ROOT / "idl" / "ledger.json"}"
        address = "{second}"
        """
    )
    move = smuggled(book)["instruction 2 (0x03"][1]

    refused = hand(book, made(book, move), 422).json["detail"]

    assert "instruction 1 (0x03" in refused
    assert "calls no program that is followed" in refused
    assert set(book.lane.followed) == {bytes(ledger.PROGRAM), bytes(second)}


def test_what_can_land_no_more_or_has_landed_is_refused_with_the_remedy(book):
    old, done = made(book, entry(book, 1)), made(book, entry(book, 2))
    book.chain.post(done, skipPreflight=True)
    book.chain.advance(1)
    landed = hand(book, done, 422).json["detail"]
    book.chain.advance(200)
    late = hand(book, old, 422).json["detail"]
    of_nobody = made(book, entry(book, 1), blockhash=key_hash("another cluster"))
    elsewhere = hand(book, of_nobody, 422).json["detail"]

    assert "is in a block already: nothing is left" in landed
    for told in (late, elsewhere):
        assert "is too old, or of another cluster than local: sign it" in told
    assert commands(book) == 0


def key_hash(word):
    from solders.hash import Hash

    return Hash.from_bytes(bytes(key_of(word).pubkey()))


def test_what_our_own_signers_signed_is_refused(book):
    """Whoever saw a command's bytes on the way has no command of them."""
    ours = Keypair()
    book.chain.fund(ours.pubkey())
    with book.writer.begin() as connection:
        register_signer(
            connection, name="treasury", source_id=book.lane.source,
            address=bytes(ours.pubkey()), max_in_flight=4,
        )  # fmt: skip
    pays = made(book, entry(book, 1, key=ours), key=ours)
    signs = made(book, entry(book, 1, key=ours), keys=[ours])

    for raw in (pays, signs):
        assert "is our own signer treasury" in hand(book, raw, 422).json["detail"]
    assert commands(book) == 0


def test_only_so_many_of_a_wallet_wait(open_book):
    book = open_book("[wallets]\nwaiting_of_wallet = 2")
    book.chain.fault(kind="lose", times=10_000)
    for number in range(2):
        hand(book, made(book, entry(book, number)))

    told = hand(book, made(book, entry(book, 3)), 429).json

    assert "2 commands wait for wallet" in told["detail"]


def test_hostile_bodies_are_refused_and_change_nothing(book):
    whole = based(made(book, entry(book, 1)))
    cut = [whole[:at] for at in range(0, len(whole), 61)]
    one = version1.sign([entry(book, 1)], [book.key], book.chain.blockhash())
    hostile = [
        None, 7, [], {}, "", "0x", "0x00", "AA=", "A===", " AQ==", "é", "A" * 400_000,
        "0x" + "00" * 200_000, "A" * 131_072, "/w" * 600, [["AQ=="] * 3], *cut,
        whole + "AAAA", "gA" * 30, based(one),
    ]  # fmt: skip
    for raw in hostile:
        answer = book.post(
            "/api/v1/relay", {"raw": raw}, None, token=book.by,
            headers={"Idempotency-Key": str(uuid.uuid4())},
        )  # fmt: skip
        assert answer.status_code == 422, (raw, answer.text)
        assert answer.json["type"].endswith("bad_transaction")
    assert "of version 1" in answer.json["detail"]
    assert commands(book) == 0
    unknown = hand(book, whole, 400, chain="nowhere").json
    assert (unknown["choices"], commands(book)) == (["local"], 0)
    hand(book, whole, chain="local")


def test_a_death_between_storing_and_sending_loses_nothing(book, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(self, raw):
        raise Killed

    raw = made(book, entry(book, 1))
    with monkeypatch.context() as patched:
        patched.setattr(type(book.lane.node), "send", dies)
        with pytest.raises(Killed):
            hand(book, raw, key="one")
    [kept] = book.attempts()
    assert (bytes(kept.raw), kept.sent_count, book.effects()) == (bytes(raw), 0, 0)
    book.pass_time(5, passes=3)

    data = hand(book, raw, 200, key="one").json["data"]
    assert data["state"] == "succeeded"
    assert book.effects() == 1


def test_a_death_before_storing_leaves_nothing(book, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    raw = made(book, entry(book, 1))
    with monkeypatch.context() as patched:
        patched.setattr(relay, "store_signed", dies)
        with pytest.raises(Killed):
            hand(book, raw, key="one")
    book.pass_time(2)
    assert (commands(book), book.effects()) == (0, 0)

    data = hand(book, raw, key="one").json["data"]
    book.pass_time(5, passes=3)
    assert book.row(data).state is State.SUCCEEDED


def test_another_transaction_with_its_id_is_not_taken_for_it(book):
    """A memo names commands that were asked for; this one was only relayed."""
    asked = book.asked(9)  # so that the wallet is looked at
    book.chain.fault(kind="lose", times=2)
    data = hand(book, made(book, entry(book, 1))).json["data"]
    memo = instructions_of(message_of(asked))[3]
    named = Instruction(memo.program_id, f"command {data['id']}".encode(), [])
    book.chain.clear()
    book.chain.post(made(book, entry(book, 1), named), skipPreflight=True)
    book.pass_time(1)
    book.pass_time(5, passes=3)

    refused = book.give(data, made(book, entry(book, 2)), 422)
    assert "give another one to POST /relay" in refused["detail"]
    assert len(book.attempts()) == 1
    assert book.row(data).state is State.REVERTED  # the receipt was there already
