"""One story on a Solana node, and all that the node answers about it."""

from __future__ import annotations

import base64
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from devnet.solana import ledger, version1
from devnet.solana.client import (
    TOKEN,
    Client,
    associated,
    mint_to,
    pay_tokens,
)
from devnet.solana.ledger import Entry

TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
CONFIRMED = {"commitment": "confirmed"}
READ = {**CONFIRMED, "maxSupportedTransactionVersion": 1}
RECEIPT_BYTES = 122
STRANGER = "1" * 64  # a well-formed signature of nothing
SIGNATURE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{80,90}")
NUMBERS = {
    "slot", "blockTime", "blockHeight", "lastValidBlockHeight", "parentSlot",
    "contextSlot", "absoluteSlot", "slotIndex", "transactionCount",
}  # fmt: skip
HASHES = {"blockhash", "previousBlockhash", "recentBlockhash"}


def key(name: str) -> Keypair:
    return Keypair.from_seed(sha256(name.encode()).digest())


def people(count: int) -> list[Pubkey]:
    return [key(f"recipient {n}").pubkey() for n in range(count)]


@dataclass
class Story:
    """The questions to one node: `answers` by label, `names` for what chance chose."""

    client: Client
    answers: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)

    def ask(self, label: str, method: str, *params: object) -> Any:
        """Ask, and keep the answer or the error as it came."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self.client.rpc._post(request)
        self.answers[label] = answer
        return answer

    def do(self, name: str, transaction: VersionedTransaction | bytes, **config) -> str:
        """Send, wait until it is confirmed, and read it in all forms."""
        signature = self.client.post(transaction, **config)
        self.sent[name] = signature
        self.landed(signature)
        for encoding in ("json", "base64"):
            self.ask(
                f"{name} {encoding}", "getTransaction", signature,
                {**READ, "encoding": encoding},
            )  # fmt: skip
        return signature

    def landed(self, signature: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            [found] = self.client.call("getSignatureStatuses", [signature])["value"]
            if found and found["confirmationStatus"] != "processed":
                return
            self.client._pass_time()
        raise AssertionError(f"{signature} did not land")

    def recent(self) -> Hash:
        return self.client.blockhash()


def play(client: Client) -> Story:
    """Everything that happens, and everything that is asked."""
    client.payer = key("author")
    story = Story(client)
    client.fund(lamports=10**11)
    story.answers["getBalance"] = client.call(
        "getBalance", str(client.payer.pubkey()), CONFIRMED
    )
    calls(story)
    money(story)
    tables(story)
    history(story)
    state(story)
    simulations(story)
    refused_transactions(story)
    refused_questions(story)
    return story


def calls(story: Story) -> None:
    """The program in every form, and what goes wrong in it."""
    client, author = story.client, story.client.payer.pubkey()
    entry = Entry((5, 6), urgent=True, note="rent", limit=9, kind=(1, 2, 1))
    two, one = people(2), people(1)
    story.do("emit", client.sign([ledger.emit(author, b"a" * 32, entry, two)]))
    called = ledger.emit_by_call(author, b"b" * 32, entry, two, one[0])
    story.do("emit by call", client.sign([called], legacy=False))
    story.do("record", client.sign([ledger.record(author, b"c" * 32, entry, two)]))
    marks = [ledger.mark(1, 2), ledger.relay(ledger.mark(3, 4))]
    story.do("version 1", version1.sign(marks, [client.payer], story.recent()))
    story.do(
        "failed", client.sign([ledger.mark(5, 6), ledger.fail(77)]), skipPreflight=True
    )
    again = ledger.record(author, b"c" * 32, entry, two)
    story.do("again", client.sign([again]), skipPreflight=True)
    spam = [
        ledger.spam(400, 30),
        ledger.record(author, b"d" * 32, Entry((1,)), one),
        ledger.mark(7, 8),
    ]
    story.do("spam", client.sign(spam))
    rich = key("rich")
    client.fund(rich.pubkey(), 10**10)
    paid = version1.sign(
        [ledger.mark(1, 1)], [rich], story.recent(), priority_fee=7_000
    )
    story.do("priority", paid)
    story.ask("priority balance", "getBalance", str(rich.pubkey()), CONFIRMED)


def money(story: Story) -> None:
    """A mint, two holders, and tokens that move."""
    client, mint, owner = story.client, key("mint"), story.client.payer.pubkey()
    client.make_mint(6, mint)
    other = key("holder").pubkey()
    ours = client.make_account(mint.pubkey(), owner)
    theirs = client.make_account(mint.pubkey(), other)
    story.do("minted", client.sign([mint_to(mint.pubkey(), ours, owner, 5_500_000)]))
    move = pay_tokens(ours, mint.pubkey(), theirs, owner, 1_250_000, 6)
    story.do("moved", client.sign([move]))
    remark = Instruction(MEMO, "for rent, née due".encode(), [])
    story.do("memo", client.sign([remark, ledger.mark(2, 2)]))
    listed = {**CONFIRMED, "limit": 1}
    story.ask("memo listed", "getSignaturesForAddress", str(MEMO), listed)
    too_much = pay_tokens(ours, mint.pubkey(), theirs, owner, 10**12, 6)
    story.do("too much", client.sign([too_much]), skipPreflight=True)


def tables(story: Story) -> None:
    """A transaction that takes addresses from a lookup table."""
    client, author = story.client, story.client.payer.pubkey()
    slot = client.call("getSlot", CONFIRMED)
    seeds = [bytes(author), struct.pack("<Q", slot)]
    table, bump = Pubkey.find_program_address(seeds, TABLES)
    story.names[str(table)] = "TABLE"
    accounts = [
        AccountMeta(table, False, True),
        AccountMeta(author, True, False),
        AccountMeta(author, True, True),
        AccountMeta(SYSTEM, False, False),
    ]
    many = people(12)
    create = Instruction(TABLES, struct.pack("<IQB", 0, slot, bump), accounts)
    extend = Instruction(
        TABLES, struct.pack("<IQ", 2, 12) + b"".join(map(bytes, many)), accounts
    )
    client.send(create, extend)
    entry = Entry(tuple(range(1, 13)), kind=(2, 3, 4))
    call = ledger.emit(author, b"e" * 32, entry, many)
    message = MessageV0.try_compile(
        author, [call], [AddressLookupTableAccount(table, many)], story.recent()
    )
    story.do("table", VersionedTransaction(message, [client.payer]))


def history(story: Story) -> None:
    """Lists, statuses and blocks."""
    ask, sent = story.ask, story.sent
    program = str(ledger.PROGRAM)
    ask("listed", "getSignaturesForAddress", program, CONFIRMED)
    ask(
        "listed between", "getSignaturesForAddress", program,
        {**CONFIRMED, "before": sent["spam"], "until": sent["emit"], "limit": 3},
    )  # fmt: skip
    ask("listed recipient", "getSignaturesForAddress", str(people(12)[11]), CONFIRMED)
    ask(
        "listed nobody",
        "getSignaturesForAddress",
        str(key("nobody").pubkey()),
        CONFIRMED,
    )
    ask("statuses", "getSignatureStatuses", [sent["emit"], sent["failed"], STRANGER])
    slot = story.answers["record json"]["result"]["slot"]
    written = {**READ, "encoding": "json", "rewards": False}
    for details in ("full", "signatures", "none"):
        asked = {**written, "transactionDetails": details}
        ask(f"block {details}", "getBlock", slot, asked)
    for label, method, last in (
        ("blocks", "getBlocks", slot + 1),
        ("blocks limit", "getBlocksWithLimit", 1),
    ):
        answer = ask(label, method, slot, last, CONFIRMED)
        answer["result"] = [one - slot for one in answer["result"]]
    ask("parsed", "getTransaction", sent["emit"], {**READ, "encoding": "jsonParsed"})


def state(story: Story) -> None:
    """Accounts and tokens."""
    ask, mint, owner = story.ask, key("mint").pubkey(), story.client.payer.pubkey()
    receipt = ledger.receipt(b"c" * 32)
    based = {**CONFIRMED, "encoding": "base64"}
    ask("receipt", "getAccountInfo", str(receipt), based)
    piece = {**based, "dataSlice": {"offset": 8, "length": 32}}
    ask("receipt slice", "getAccountInfo", str(receipt), piece)
    ask("no account", "getAccountInfo", str(key("nobody").pubkey()), based)
    both = [str(mint), str(key("nobody").pubkey())]
    ask("accounts", "getMultipleAccounts", both, based)
    only = {"memcmp": {"offset": 8, "bytes": str(Pubkey(b"c" * 32))}}
    for label, filters in (
        ("one", [{"dataSize": 122}, only]), ("none", [{"dataSize": 121}])
    ):  # fmt: skip
        ask(
            f"owned {label}", "getProgramAccounts", str(ledger.PROGRAM),
            {**based, "filters": filters},
        )  # fmt: skip
    ours = associated(owner, mint)
    ask("token balance", "getTokenAccountBalance", str(ours), CONFIRMED)
    ask("token supply", "getTokenSupply", str(mint), CONFIRMED)
    for chosen in ({"mint": str(mint)}, {"programId": str(TOKEN)}):
        ask(
            f"tokens by {next(iter(chosen))}", "getTokenAccountsByOwner", str(owner),
            chosen, based,
        )  # fmt: skip
    ask("rent", "getMinimumBalanceForRentExemption", 122)
    ask("health", "getHealth")


def simulations(story: Story) -> None:
    client, author = story.client, story.client.payer.pubkey()

    def text(*instructions: Instruction) -> str:
        return base64.b64encode(bytes(client.sign(instructions))).decode()

    config = {**CONFIRMED, "encoding": "base64"}
    good = ledger.record(author, b"f" * 32, Entry((1,)), people(1))
    story.ask("simulated", "simulateTransaction", text(good), config)
    story.ask(
        "simulated inner", "simulateTransaction", text(good),
        {**config, "innerInstructions": True},
    )  # fmt: skip
    story.ask("simulated failure", "simulateTransaction", text(ledger.fail(9)), config)
    left = {"addresses": [str(ledger.receipt(b"f" * 32))], "encoding": "base64"}
    story.ask(
        "simulated accounts", "simulateTransaction", text(good),
        {**config, "accounts": left},
    )  # fmt: skip
    stale = client.sign([good], blockhash=Hash.new_unique())
    stale_text = base64.b64encode(bytes(stale)).decode()
    story.ask("simulated stale", "simulateTransaction", stale_text, config)
    story.ask(
        "simulated replaced", "simulateTransaction", stale_text,
        {**config, "replaceRecentBlockhash": True},
    )  # fmt: skip
    story.ask(
        "simulated both", "simulateTransaction", stale_text,
        {**config, "replaceRecentBlockhash": True, "sigVerify": True},
    )  # fmt: skip
    message = base64.b64encode(to_bytes_versioned(client.sign([good]).message)).decode()
    story.ask("fee", "getFeeForMessage", message, CONFIRMED)
    story.ask("blockhash valid", "isBlockhashValid", str(story.recent()), CONFIRMED)
    story.ask(
        "blockhash unknown", "isBlockhashValid", str(Hash.default()), CONFIRMED
    )  # fmt: skip


def refused_transactions(story: Story) -> None:
    """Send transactions that a node does not take."""
    ask, client = story.ask, story.client
    config = {**CONFIRMED, "preflightCommitment": "confirmed", "encoding": "base64"}

    def send(label: str, transaction: VersionedTransaction) -> None:
        text = base64.b64encode(bytes(transaction)).decode()
        ask(label, "sendTransaction", text, config)

    send("refused by program", client.sign([ledger.fail(77)]))
    whole = client.payer.pubkey()
    pay = TransferParams(from_pubkey=whole, to_pubkey=people(1)[0], lamports=10**18)
    send("refused by balance", client.sign([transfer(pay)]))
    send(
        "refused blockhash",
        client.sign([ledger.mark(1, 2)], blockhash=Hash.new_unique()),
    )
    twice = client.sign([ledger.mark(8, 9)])
    story.landed(client.post(twice))
    send("refused again", twice)
    forged = client.sign([ledger.mark(1, 3)])
    forged.signatures = [twice.signatures[0]]
    send("refused signature", forged)
    ask("not base64", "sendTransaction", "!!!", config)
    ask("no transaction", "sendTransaction", base64.b64encode(b"abc").decode(), config)


def refused_questions(story: Story) -> None:
    """Ask questions that a node refuses."""
    ask, client, sent = story.ask, story.client, story.sent
    program, whole = str(ledger.PROGRAM), client.payer.pubkey()
    ask("no such method", "getNothing")
    ask("no parameter", "getAccountInfo")
    ask("bad address", "getAccountInfo", "xyz")
    ask("bad letters", "getAccountInfo", "0" * 44)
    ask("bad signature", "getTransaction", "xyz")
    ask("null", "getTransaction", STRANGER, READ)
    ask("version absent", "getTransaction", sent["emit by call"], CONFIRMED)
    ask("version 0 of 1", "getTransaction", sent["version 1"],
        {**CONFIRMED, "maxSupportedTransactionVersion": 0})  # fmt: skip
    ask("processed", "getTransaction", sent["emit"], {"commitment": "processed"})
    ask(
        "listed processed",
        "getSignaturesForAddress",
        program,
        {"commitment": "processed"},
    )
    ask("limit 0", "getSignaturesForAddress", program, {**CONFIRMED, "limit": 0})
    ask("limit 1001", "getSignaturesForAddress", program, {**CONFIRMED, "limit": 1001})
    for cursor in ("before", "until"):
        ask(f"{cursor} unknown", "getSignaturesForAddress", program,
            {**CONFIRMED, cursor: STRANGER, "limit": 1})  # fmt: skip
    ask("context ahead", "getSignaturesForAddress", program,
        {**CONFIRMED, "minContextSlot": 10**9})  # fmt: skip
    reached = {**CONFIRMED, "minContextSlot": client.call("getSlot", CONFIRMED)}
    ask("context reached", "getSignaturesForAddress", program, {**reached, "limit": 3})
    ask("slot ahead", "getSlot", {**CONFIRMED, "minContextSlot": 10**9})
    ask("block ahead", "getBlock", 10**9, READ)
    ask("no token", "getTokenAccountBalance", str(key("nobody").pubkey()), CONFIRMED)
    ask("no token account", "getTokenAccountBalance", str(whole), CONFIRMED)
    request = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
    story.answers["batch"] = client.rpc._post([request, {**request, "id": 2}])
    story.answers["no request"] = client.rpc._post({"id": 1})


def plain(story: Story) -> dict[str, Any]:
    """The answers with what differs by chance taken out."""
    return {
        label: _plain(answer, "", story.names)
        for label, answer in story.answers.items()
    }


def _plain(value: Any, name: str, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {one: _plain(inner, one, names) for one, inner in value.items()}
    if isinstance(value, list):
        if name == "transaction" and value[1:] == ["base64"]:
            return f"{len(base64.b64decode(value[0]))} bytes"
        if name == "data" and value[1:] == ["base64"]:
            return _account(base64.b64decode(value[0]))
        return [_plain(one, name, names) for one in value]
    if name == "confirmations" or value == "finalized":
        return "a number" if name == "confirmations" else "confirmed"
    if isinstance(value, int) and name in NUMBERS and not isinstance(value, bool):
        return "a number" if value < 10**9 or name != "blockTime" else "seconds"
    if isinstance(value, str):
        if name in HASHES:
            return "a hash"
        if name in ("signature", "signatures", "message", "result"):
            return SIGNATURE.sub("a signature", value)
        return names.get(value, value)
    return value


def _account(data: bytes) -> str:
    """The data of an account; a receipt holds the slot in which it was made."""
    if len(data) == RECEIPT_BYTES:
        data = data[:80] + bytes(8) + data[88:]
    return data.hex()


def differences(ours: Any, theirs: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place at which two answers are not the same."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            absent = "(absent)"
            yield from differences(
                ours.get(name, absent), theirs.get(name, absent), f"{at}/{name}"
            )
    elif (
        isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs)
    ):
        for place, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{at}/{place}")
    elif orjson.dumps(ours) != orjson.dumps(theirs):
        yield at, ours, theirs
