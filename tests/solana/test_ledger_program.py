"""The program `ledger` keeps its rules in the real virtual machine."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from devnet.programs.build import BuildError, build, program
from devnet.programs.link import LinkError, link
from devnet.solana import ledger
from devnet.solana.ledger import Entry

ID = bytes(range(32))


class World:
    def __init__(self) -> None:
        self.vm = LiteSVM()
        self.vm.add_program(ledger.PROGRAM, program("ledger"))
        self.author = Keypair()
        self.vm.airdrop(self.author.pubkey(), 10**10)

    @property
    def key(self) -> Pubkey:
        return self.author.pubkey()

    def send(self, *instructions):
        self.vm.expire_blockhash()
        message = Message(list(instructions), self.key)
        sent = Transaction([self.author], message, self.vm.latest_blockhash())
        return self.vm.send_transaction(sent), sent

    def refusal(self, *instructions) -> int:
        done, _ = self.send(*instructions)
        assert isinstance(done, FailedTransactionMetadata), "it was not refused"
        return done.err().err.code


@pytest.fixture
def world() -> World:
    return World()


def people(count: int) -> list[Pubkey]:
    return [Pubkey.new_unique() for _ in range(count)]


def recorded(author: Pubkey, entry: Entry, recipients, referrer=None) -> bytes:
    """What the event is by its IDL, written by hand."""
    amounts = 4 + 8 * len(entry.amounts)
    return b"".join(
        [
            ledger.discriminator("Recorded"),
            bytes(author),
            ID,
            entry.encode()[:-amounts],
            b"\0" if referrer is None else b"\1" + bytes(referrer),
            struct.pack("<I", len(recipients)),
            *(
                bytes(key) + struct.pack("<Q", amount)
                for key, amount in zip(recipients, entry.amounts, strict=True)
            ),
        ]
    )


def lines(logs) -> list[bytes]:
    head = "Program data: "
    return [base64.b64decode(line.removeprefix(head)) for line in logs if head in line]


def self_calls(done, sent) -> list[bytes]:
    keys = sent.message.account_keys
    return [
        bytes(inner.instruction().data)[8:]
        for group in done.inner_instructions()
        for inner in group
        if keys[inner.instruction().program_id_index] == ledger.PROGRAM
        and bytes(inner.instruction().data).startswith(ledger.EVENT_CALL_TAG)
    ]


KINDS = [
    Entry((7,), level=0),
    Entry(
        (7,), level=255, urgent=True, note="naïve ✓", limit=2**64 - 1, kind=(1, 5, 1)
    ),
    Entry((7,), note="x" * 256, kind=(2, 9, 2**63)),
]


@pytest.mark.parametrize("entry", KINDS, ids=["least", "most", "closed"])
def test_an_event_is_what_its_idl_says(world, entry):
    [whom], referrer = people(1), Pubkey.new_unique()

    for named in (None, referrer):
        done, _ = world.send(ledger.emit(world.key, ID, entry, [whom], named))

        assert [recorded(world.key, entry, [whom], named)] == lines(done.logs())


@pytest.mark.parametrize("count", range(1, 13))
def test_a_receipt_names_one_to_twelve_accounts(world, count):
    entry, whom = Entry(tuple(range(1, count + 1)), note="rent"), people(count)

    done, sent = world.send(ledger.record(world.key, ID, entry, whom))

    event = recorded(world.key, entry, whom)
    assert [event] == lines(done.logs())
    assert [event] == self_calls(done, sent)
    account = world.vm.get_account(ledger.receipt(ID))
    assert ledger.PROGRAM == account.owner
    _, bump = Pubkey.find_program_address([b"receipt", ID], ledger.PROGRAM)
    assert bytes(account.data) == b"".join(
        [
            ledger.discriminator("Receipt"),
            ID,
            bytes(world.key),
            struct.pack("<QQBB", sum(entry.amounts), 0, count, bump),
            hashlib.sha256(event[8:]).digest(),
        ]
    )
    assert world.vm.minimum_balance_for_rent_exemption(122) == account.lamports


def test_an_id_is_recorded_once(world):
    once = ledger.record(world.key, ID, Entry((5,)), people(1))
    world.send(once)
    held = world.vm.get_account(ledger.receipt(ID))

    assert world.refusal(once) == 6003
    assert world.refusal(ledger.record(world.key, ID, Entry((6,)), people(1))) == 6003
    assert held == world.vm.get_account(ledger.receipt(ID))


@pytest.mark.parametrize("lamports", [890_880, 5_000_000])
def test_lamports_sent_ahead_hinder_no_receipt(world, lamports):
    world.vm.airdrop(ledger.receipt(ID), lamports)

    world.send(ledger.record(world.key, ID, Entry((5,)), people(1)))

    account = world.vm.get_account(ledger.receipt(ID))
    least = world.vm.minimum_balance_for_rent_exemption(122)
    assert (ledger.PROGRAM, max(lamports, least)) == (account.owner, account.lamports)


def test_entries_that_do_not_add_up_are_refused(world):
    def refused(entry: Entry, recipients: int) -> int:
        return world.refusal(ledger.record(world.key, ID, entry, people(recipients)))

    assert refused(Entry(()), 0) == 6004
    assert refused(Entry((), amount=1), 0) == 6000
    assert refused(Entry((1, 2)), 1) == 6000
    assert refused(Entry((1,) * 13), 13) == 6000
    assert refused(Entry((1, 2), amount=4), 2) == 6001
    assert refused(Entry((2**63, 2**63), amount=2**63), 2) == 6001
    assert refused(Entry((1,), note="x" * 257), 1) == 6002
    assert refused(Entry((0,)), 1) == 6004
    assert world.vm.get_account(ledger.receipt(ID)) is None


def test_arguments_that_are_cut_or_too_long_are_refused(world):
    whole = ledger.emit(world.key, ID, Entry((1,), note="a", limit=3), people(1))
    data = bytes(whole.data)

    def refused(changed: bytes) -> int:
        return world.refusal(
            ledger.Instruction(whole.program_id, changed, whole.accounts)
        )

    assert {102} == {refused(data[:cut]) for cut in range(8, len(data))}
    assert refused(data + b"\0") == 102
    assert refused(b"12345678") == 101


def test_nobody_else_says_events_by_call(world):
    forged = ledger.EVENT_CALL_TAG + ledger.discriminator("Marked") + bytes(16)
    signing = [ledger.AccountMeta(world.key, True, False)]
    named = [ledger._plain(ledger.event_authority())]

    for accounts, code in ((signing, 2006), (named, 3010), ([], 3005)):
        call = ledger.Instruction(ledger.PROGRAM, forged, accounts)
        assert code == world.refusal(call)
        assert code == world.refusal(ledger.relay(call))


def test_foreign_accounts_are_refused(world):
    good = ledger.record(world.key, ID, Entry((1,)), people(1))

    for place, code in ((1, 2006), (3, 3008), (4, 2006), (5, 3008)):
        accounts = list(good.accounts)
        accounts[place] = ledger.AccountMeta(Pubkey.new_unique(), False, place == 1)
        bad = ledger.Instruction(ledger.PROGRAM, good.data, accounts)
        assert code == world.refusal(bad)
    unsigned = ledger.emit(Pubkey.new_unique(), ID, Entry((1,)), people(1))
    unsigned.accounts = [ledger._plain(a.pubkey) for a in unsigned.accounts]
    assert world.refusal(unsigned) == 3010


def test_what_fails_has_said_something(world):
    done, _ = world.send(ledger.mark(1, 2), ledger.fail(77))

    assert isinstance(done, FailedTransactionMetadata)
    marked = ledger.discriminator("Marked")
    assert [
        marked + struct.pack("<QQ", 1, 2), marked + struct.pack("<QQ", 77, 0)
    ] == lines(done.meta().logs())  # fmt: skip
    assert world.refusal(ledger.fail(77)) == 77


def test_spam_cuts_the_log_but_not_the_call(world):
    entry, whom = Entry((1,)), people(1)

    done, sent = world.send(
        ledger.spam(400, 30), ledger.record(world.key, ID, entry, whom)
    )

    assert "Log truncated" in done.logs()
    assert lines(done.logs()) == []
    assert [recorded(world.key, entry, whom)] == self_calls(done, sent)


def test_a_changed_program_is_not_used(monkeypatch, tmp_path):
    data = program("ledger")
    (tmp_path / "ledger.so").write_bytes(data[:-1] + b"\1")
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "ledger.so.sha256").write_text(f"{digest}  ledger.so\n")
    monkeypatch.setattr("devnet.programs.build.PACKAGE", tmp_path)

    with pytest.raises(BuildError, match=r"python -m devnet\.programs\.build"):
        program("ledger")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("int count; unsigned long long entrypoint(void) { return ++count; }", "bss"),
        ("int n = 1; unsigned long long entrypoint(void) { return ++n; }", "writable"),
        ("int other(void) { return 1; }", "entrypoint"),
    ],
)
def test_what_cannot_run_is_not_linked(monkeypatch, tmp_path, source, words):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.c").write_text(source)
    monkeypatch.setattr("devnet.programs.build.PACKAGE", tmp_path)

    with pytest.raises(LinkError, match=words):
        build("ledger")


def test_what_is_no_object_is_not_linked():
    with pytest.raises(LinkError, match="no 64-bit"):
        link(program("ledger")[:4] + bytes(100))


@pytest.mark.slow
def test_c_that_does_not_compile_is_told(monkeypatch, tmp_path):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "ledger.c").write_text("int entrypoint(")
    monkeypatch.setattr("devnet.programs.build.PACKAGE", tmp_path)

    with pytest.raises(BuildError, match="error: expected"):
        build("ledger")
