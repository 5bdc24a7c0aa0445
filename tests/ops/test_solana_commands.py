"""Commands for a Solana program, declared outside the product, up to their proof."""

import asyncio
import random
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from solders.keypair import Keypair
from sqlalchemy import delete, text, update

from commands import actions
from commands.arguments import BadArguments
from commands.errors import Refused
from commands.signing.server import open_server
from commands.solana.served import SIGN, methods
from commands.solana.work import work
from commands.submit import Submission
from db.commands import accept
from db.commands.health import signer_health
from db.commands.signers import find_signer
from db.commands.states import Hold, State
from db.control import command as table
from db.control import solana_attempt
from db.journal.append import Actor
from db.schema import migrate
from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.run import NodeOptions, SolanaNode
from helpers.ledger_business import write_business
from helpers.surfpool import SurfpoolUnavailable, surfpool
from idl.base58 import to_base58
from ops import commanding
from ops.chains.solana.commanding import (
    check_signer,
    open_keys,
    open_signer_context,
)
from ops.command_service import open_command_service
from ops.errors import OperationError
from ops.indexing import declared
from ops.running import catch_up
from ops.settings import SignerKind, load_settings
from ops.settings.secret import SecretUrl

pytestmark = pytest.mark.chain

SETTINGS = """
domains = ["bookkeeping"]
declarations = ["{declarations}"]

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
programs.ledger = {{ address = "{program}", start = {start} }}

[signers.author]
kind = "env"
env = "AUTHOR_KEY"
{rules}
"""


def context_of(book):
    """The signer at work, as the settings describe it, with steps of its own."""
    said, chain = book.settings.signers["author"], book.settings.chains["local"]
    return open_signer_context(
        book.settings, said, chain, book.engine, book.registry, commanding.now
    )


def key_of(word):
    return Keypair.from_seed(sha256(f"a key of tests: {word}".encode()).digest())


@dataclass
class Book:
    """A deployment on a chain whose slots advance when told."""

    settings: object
    engine: object
    client: Devnet
    node: SolanaNode
    key: Keypair
    later: timedelta = timedelta(0)  # by which the worker's clock is ahead

    def __post_init__(self):
        self.registry = declared(self.settings)
        migrate(self.engine, self.registry)
        self.index()
        self.worker = commanding.open_worker(self.settings, self.engine, "author")
        self.service = open_command_service(self.settings, self.engine)

    def ask(self, number, amounts=(3, 5), key=None, **options):
        entry = {
            "amount": str(sum(amounts)), "level": 1, "urgent": False,
            "note": f"nº {number}", "limit": None, "kind": "Opened",
            "amounts": list(amounts),
        }  # fmt: skip
        arguments = {
            "id": "0x" + sha256(str(number).encode()).hexdigest(),
            "entry": entry | options.pop("entry", {}),
            "recipients": [str(key_of(f"r{n}").pubkey()) for n in range(len(amounts))],
        }
        asked = Submission(
            Actor("tests", tenant="tests"),
            key or str(uuid.uuid4()),
            arguments,
            **options,
        )
        command = self.registry.commands["record-entry"]
        return self.service.submit(command, asked)[0].id

    def index(self):
        chain = self.settings.chains["local"]
        asyncio.run(catch_up(self.settings, chain, self.engine, self.registry))

    def pass_time(self, slots=1, passes=1):
        """Let slots pass, read them, and let the signer work."""
        for _ in range(passes):
            self.client.advance(slots)
            self.index()
            self.worker()

    def row(self, command_id):
        with self.engine.connect() as connection:
            return accept.find(connection, command_id)

    def signer(self):
        with self.engine.connect() as connection:
            return find_signer(connection, "author")

    def receipts(self):
        """The receipts that are on the chain: one for each effect."""
        config = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 0}}
        found = self.client.call("getProgramAccounts", str(ledger.PROGRAM), config)
        return len(found)


@pytest.fixture
def node():
    with SolanaNode(NodeOptions(slot_ms=0, finalized_after=4)) as running:
        yield running


@pytest.fixture(scope="module")
def declarations(tmp_path_factory):
    """A domain outside the product; Python knows a module of its name only once."""
    folder = tmp_path_factory.mktemp("declared") / "bookkeeping"
    return write_business(folder, ("RecordEntry", "record", '"author"'))


@pytest.fixture
def open_book(node, tmp_path, db_engine, monkeypatch, declarations):
    def opened(rules="", *, fund=True, word="author", url=node.url):
        key = key_of(word)
        client = Devnet(url)
        if fund:
            client.fund(key.pubkey(), 3_456_789_012)
        monkeypatch.setenv("AUTHOR_KEY", str(key))
        genesis = client.call("getGenesisHash")
        text = SETTINGS.format(
            genesis=genesis[:32],
            url=url,
            program=ledger.PROGRAM,
            rules=rules,
            declarations=declarations,
            start=client.call("getFirstAvailableBlock"),
        )
        monkeypatch.setattr(
            commanding,
            "now",
            lambda: datetime.now(UTC) + (book[0].later if book else timedelta(0)),
        )
        (tmp_path / "chainfold.toml").write_text(text)
        settings = load_settings(str(tmp_path / "chainfold.toml"))
        book.append(Book(settings, db_engine, client, node, key))
        return book[0]

    book = []
    return opened


def test_a_command_is_proved_by_the_index(open_book):
    book = open_book()
    command = book.ask(1)
    book.worker()
    signed = book.row(command)
    assert signed.state is State.SIGNED
    assert len(signed.transaction) == 64

    book.pass_time()
    assert book.row(command).state is State.INCLUDED
    book.pass_time(5, passes=2)

    done = book.row(command)
    assert (done.state, done.transaction) == (State.SUCCEEDED, signed.transaction)
    told = book.client.transaction(to_base58(done.transaction), "finalized")
    assert told["slot"] == done.height
    assert book.receipts() == 1
    with book.engine.connect() as connection:
        [health] = signer_health(connection, datetime.now(UTC))
        steps = accept.history(connection, command)
    assert health.address == str(book.key.pubkey())
    assert steps[-1]["details"]["transaction"] == told["transaction"]["signatures"][0]


@pytest.mark.slow
def test_a_command_is_proved_on_a_node_that_is_not_ours(open_book):
    """Surfpool runs the program: it is sent, followed and settled as on our node."""
    try:
        with surfpool() as url:
            book = open_book(url=url)
            first = book.ask(1)
            deadline = time.monotonic() + 90
            while book.row(first).state is not State.SUCCEEDED:
                assert time.monotonic() < deadline, book.row(first)
                book.index()
                book.worker()
                time.sleep(0.2)
            done = book.row(first)
            found = book.client.transaction(to_base58(done.transaction), "finalized")
            with pytest.raises(Refused, match="Recorded: The id has a receipt"):
                book.ask(1)
    except SurfpoolUnavailable as error:
        pytest.skip(str(error))

    assert (found["slot"], found["meta"]["err"]) == (done.height, None)


def test_a_failing_call_is_refused_by_its_error_and_nothing_is_sent(open_book):
    book = open_book()

    with pytest.raises(Refused, match="ledger would refuse it: .*Nothing was sent"):
        book.ask(1, amounts=(3, 5), entry={"amount": "9"})
    with pytest.raises(BadArguments, match=r"entry.amount: 18446744073709551616 is be"):
        book.ask(1, entry={"amount": str(2**64)})
    with pytest.raises(BadArguments, match="1232 are the most"):
        book.ask(1, amounts=tuple(range(1, 39)))


def test_the_same_key_is_one_command_and_one_effect(open_book):
    book = open_book()
    first = book.ask(1, key="k-7")
    assert book.ask(1, key="k-7") == first

    book.worker()
    book.worker()
    book.pass_time(3, passes=4)

    assert book.row(first).state is State.SUCCEEDED
    assert book.receipts() == 1


def test_bytes_that_are_lost_are_sent_again_and_signed_anew_only_when_past(open_book):
    book = open_book()
    book.client.fault(kind="lose", times=10_000)
    command = book.ask(1)
    book.worker()
    first = book.row(command).transaction

    for _ in range(4):
        book.later += timedelta(seconds=15)
        book.pass_time(30)
    assert book.row(command).transaction == first
    assert book.receipts() == 0
    book.client.clear()
    book.client.fault(kind="lose", times=1)  # once more, and the blockhash is past
    for _ in range(5):
        book.later += timedelta(seconds=15)
        book.pass_time(30)
    second = book.row(command).transaction

    assert second != first
    book.pass_time(3, passes=4)
    assert book.row(command).state is State.SUCCEEDED
    assert book.receipts() == 1


def test_a_cancel_before_signing_ends_it_and_one_after_lets_the_chain_decide(open_book):
    book = open_book()
    early, late = book.ask(1), book.ask(2)
    now, by = datetime.now(UTC), Actor("tests")
    with book.engine.begin() as connection:
        actions.cancel_command(connection, book.registry, early, actor=by, now=now)
    book.client.fault(kind="lose", times=0)
    book.worker()
    with book.engine.begin() as connection:
        actions.cancel_command(connection, book.registry, late, actor=by, now=now)
    assert book.row(early).state is State.CANCELLED
    assert book.row(late).state is State.CLOSING

    for _ in range(8):
        book.later += timedelta(seconds=15)
        book.pass_time(30)

    assert book.row(late).state is State.CANCELLED
    assert book.receipts() == 0


@pytest.mark.parametrize("late", [False, True])
def test_what_was_to_end_after_its_attempt_died_ends(open_book, late):
    """Between an attempt's death and the next nothing more is signed for it."""
    book = open_book()
    valid = datetime.now(UTC) + timedelta(seconds=200)
    command = book.ask(1, valid_until=valid if late else None)
    book.client.fault(kind="lose", times=0)
    context = context_of(book)
    for _ in range(20):
        steps = work(context)
        died = any(step == "dead" for step in steps)
        steps.close()
        if died:
            break
        book.later += timedelta(seconds=8)
        book.client.advance(30)
        book.index()
    assert (died, book.row(command).state) == (True, State.SIGNED)
    if late:
        book.later += timedelta(seconds=200)
    else:
        with book.engine.begin() as connection:
            actions.cancel_command(
                connection, book.registry, command, actor=Actor("tests"),
                now=datetime.now(UTC),
            )  # fmt: skip

    book.worker()

    assert book.row(command).state is (State.EXPIRED if late else State.CANCELLED)
    assert book.receipts() == 0


def test_two_workers_that_sign_at_once_send_what_one_of_them_signed(open_book):
    """The second finds the signature in the signer's memory before it is stored."""
    book = open_book()
    command = book.ask(1)
    first = work(context_of(book))
    while next(first) != "signed":
        pass
    book.later += timedelta(seconds=20)  # the claim of the first is over
    assert "recalled" in list(work(context_of(book)))
    assert "sent" in list(first)
    book.pass_time(3, passes=4)

    assert book.row(command).state is State.SUCCEEDED
    assert book.receipts() == 1


def test_a_signer_without_lamports_waits_for_them(open_book):
    book = open_book(fund=False, word="poor")
    command = book.ask(1)
    book.worker()
    assert (book.signer().hold, book.row(command).state) == (Hold.FUNDS, State.ACCEPTED)

    book.client.fund(book.key.pubkey(), 123_456_789)
    book.later += timedelta(seconds=20)
    book.pass_time(3, passes=4)

    assert book.row(command).state is State.SUCCEEDED
    assert book.signer().hold is Hold.NO


def test_what_would_fail_by_now_is_held_alone_with_the_programs_word(open_book):
    """Two ask for the same receipt: the second is found out before it is signed."""
    book = open_book()
    first, second, third = book.ask(1), book.ask(1), book.ask(3)
    book.pass_time()
    book.pass_time(3, passes=4)

    assert book.row(first).state is State.SUCCEEDED
    assert book.row(third).state is State.SUCCEEDED
    found = book.row(second)
    assert found.state in (State.HELD, State.REVERTED)
    assert found.reason.startswith("Recorded")
    assert book.receipts() == 2


def test_a_days_lamports_are_not_exceeded(open_book):
    book = open_book(rules="lamports_per_day = 4_000_000")
    commands = [book.ask(number) for number in range(5)]
    book.worker()
    for _ in range(4):
        book.pass_time(3)

    states = [book.row(each).state for each in commands]
    assert states.count(State.SUCCEEDED) == 2  # a receipt costs 1,740,000 and the fee
    assert states.count(State.ACCEPTED) == 3
    assert book.signer().hold is Hold.BUDGET


def test_only_allowed_instructions_are_signed(open_book):
    book = open_book(rules='allow = ["ledger.emit"]')
    command = book.ask(1)
    book.worker()

    found = book.row(command)
    assert found.state is State.HELD
    assert "add it to its allow" in found.reason
    assert book.receipts() == 0


def test_a_backup_that_forgot_what_was_signed_signs_nothing_twice(open_book):
    """The signer's memory is of its own: what it signed is looked for, not repeated."""
    book = open_book()
    command = book.ask(1)
    book.worker()
    signature = book.row(command).transaction
    with book.engine.begin() as connection:
        connection.execute(delete(solana_attempt))
        connection.execute(update(table).values(state="accepted", transaction=None))

    book.later += timedelta(seconds=20)
    book.worker()
    assert book.row(command).state is State.SIGNED
    book.pass_time(3, passes=4)

    assert book.row(command).state is State.SUCCEEDED
    with book.engine.connect() as connection:
        signed = connection.execute(text("SELECT count(*) FROM control.signed_intent"))
        assert signed.scalar_one() == 1
    assert book.row(command).transaction == signature
    assert book.receipts() == 1


def test_a_confirmed_slot_that_is_undone_takes_the_inclusion_back(open_book):
    book = open_book()
    book.client.fund()
    book.client.send(ledger.mark(3, 5))
    book.pass_time(6)
    command = book.ask(1)
    book.worker()
    book.pass_time()
    assert book.row(command).state is State.INCLUDED
    book.client.fork(2)
    book.later += timedelta(seconds=3)
    book.pass_time()
    states = [book.row(command).state]
    for _ in range(6):
        book.later += timedelta(seconds=3)
        book.pass_time(2)
        states.append(book.row(command).state)

    assert states[-1] is State.SUCCEEDED
    assert book.receipts() == 1


def test_a_signing_process_whose_answers_are_lost_signs_nothing_twice(
    open_book, tmp_path
):
    """The key is not here; what it signed and could not tell is not signed again."""
    book = open_book()
    config, chain = book.settings.signers["author"], book.settings.chains["local"]
    keys = open_keys(book.settings, book.engine, book.registry, commanding.now)
    answers = methods(keys)
    lost = [True, True, False, True]

    def sign(parameter):
        answer = answers[SIGN](parameter)
        if lost and lost.pop(0):
            raise ConnectionResetError("the process ends here")
        return answer

    path = tmp_path / "sign.sock"
    far = replace(
        config, kind=SignerKind.REMOTE, secret=None, env=None,
        url=SecretUrl(f"unix:{path}"), address=bytes(book.key.pubkey()),
    )  # fmt: skip
    settings = replace(book.settings, signers={"author": far})
    with pytest.raises(OperationError, match="does not answer"):
        check_signer(settings, far, book.registry)
    with open_server(f"unix:{path}", {**answers, SIGN: sign}) as server:
        server.handle_error = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            assert "is in another process" in check_signer(settings, far, book.registry)
            context = open_signer_context(
                settings, far, chain, book.engine, book.registry, commanding.now
            )
            book.worker = lambda: list(work(context))
            commands = [book.ask(number) for number in range(3)]
            for _ in range(16):
                book.later += timedelta(seconds=70)
                book.pass_time(40)
        finally:
            server.shutdown()
            thread.join()

    assert not lost
    assert {book.row(each).state for each in commands} == {State.SUCCEEDED}
    assert book.receipts() == len(commands)


@pytest.mark.parametrize("seed", range(12))
def test_a_worker_killed_between_any_two_steps_does_each_command_once(open_book, seed):
    """A pass is dropped after a random step; bytes are lost, blockhashes run out."""
    rng = random.Random(seed)
    book = open_book()
    context = context_of(book)
    commands = [book.ask(number) for number in range(6)]
    for _ in range(60):
        book.later += timedelta(seconds=rng.choice([1, 5, 20]))
        if rng.random() < 0.3:
            book.client.fault(kind="lose", times=rng.randint(1, 4))
        steps = work(context)
        for _ in range(rng.randint(0, 12)):
            if next(steps, None) is None:
                break
        steps.close()
        book.client.advance(rng.choice([0, 1, 2, 40]))
        if rng.random() < 0.7:
            book.index()
    book.client.clear()
    for _ in range(12):
        book.later += timedelta(seconds=70)
        book.pass_time(40)

    assert {book.row(each).state for each in commands} == {State.SUCCEEDED}
    assert book.receipts() == len(commands)
