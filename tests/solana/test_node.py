"""The Solana node keeps the order of things: slots, commitments, blockhashes, state."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from devnet.programs.build import PACKAGE, program
from devnet.rpc import Rpc, RpcError
from devnet.solana import ledger, version1
from devnet.solana.client import Devnet, TransactionFailedError
from devnet.solana.environment import ensure
from devnet.solana.ledger import Entry
from devnet.solana.run import NodeOptions, SolanaNode, SolanaNodeError
from helpers.processes import COMMAND
from ops.ports import free_port, port_is_free
from test_architecture import ROOT

pytestmark = pytest.mark.chain
CONFIRMED = {"commitment": "confirmed"}
FINAL_AFTER = 32


def refused(call, *arguments, **named) -> RpcError:
    with pytest.raises(RpcError) as caught:
        call(*arguments, **named)
    return caught.value


def slots(chain: Devnet) -> dict[str, int]:
    return {
        level: chain.call("getSlot", {"commitment": level})
        for level in ("processed", "confirmed", "finalized")
    }


def post(chain: Devnet, *instructions, **config) -> str:
    return chain.post(chain.sign(instructions), **config)


def status(chain: Devnet, signature: str):
    return chain.call("getSignatureStatuses", [signature])["value"][0]


def test_a_transaction_climbs_the_ladder(chain):
    signature = post(chain, ledger.mark(1, 2))
    slot = chain.call("getSlot", {"commitment": "processed"})

    assert status(chain, signature)["confirmationStatus"] == "processed"
    assert chain.transaction(signature) is None
    chain.advance()
    assert status(chain, signature)["confirmationStatus"] == "confirmed"
    assert chain.transaction(signature)["slot"] == slot
    assert chain.transaction(signature, "finalized") is None
    chain.advance(FINAL_AFTER - 2)
    assert status(chain, signature)["confirmations"] == FINAL_AFTER - 1
    chain.advance()
    assert status(chain, signature) == {
        "slot": slot,
        "confirmations": None,
        "status": {"Ok": None},
        "err": None,
        "confirmationStatus": "finalized",
    }
    assert chain.transaction(signature, "finalized")["slot"] == slot


def test_old_statuses_are_found_in_history_alone(chain):
    signature = chain.send(ledger.mark(1, 2))
    chain.advance(301)

    assert status(chain, signature) is None
    search = {"searchTransactionHistory": True}
    [found] = chain.call("getSignatureStatuses", [signature], search)["value"]
    assert found["confirmationStatus"] == "finalized"


def test_blocks_link_over_skipped_slots(chain):
    base = chain.advance()
    after = chain.advance(1, skip=3)
    chain.advance()

    asked = {**CONFIRMED, "transactionDetails": "none"}
    first, second = (chain.call("getBlock", slot, asked) for slot in (base, after))
    assert after == base + 4
    assert second["parentSlot"] == base
    assert second["previousBlockhash"] == first["blockhash"]
    assert second["blockHeight"] == first["blockHeight"] + 1
    assert [base, after] == chain.call("getBlocks", base, after, CONFIRMED)
    assert [base, after] == chain.call("getBlocksWithLimit", base, 2, CONFIRMED)
    # What was skipped is known below the final slot only.
    assert refused(chain.call, "getBlock", base + 1, asked).code == -32004
    chain.advance(FINAL_AFTER + 1)
    assert refused(chain.call, "getBlock", base + 1, asked).code == -32007
    assert refused(chain.call, "getBlockTime", base + 1).code == -32007
    assert chain.call("getBlockTime", base) == first["blockTime"]


def test_state_is_that_of_the_commitment(chain):
    key = str(Keypair().pubkey())
    chain.call("requestAirdrop", key, 10**9)

    def lamports(level: str) -> int:
        return chain.call("getBalance", key, {"commitment": level})["value"]

    assert [lamports(level) for level in ("processed", "confirmed")] == [10**9, 0]
    chain.advance()
    chain.call("requestAirdrop", key, 10**9)
    chain.advance()
    assert [lamports(level) for level in ("confirmed", "finalized")] == [2 * 10**9, 0]
    chain.advance(FINAL_AFTER - 2)
    assert lamports("finalized") == 10**9
    chain.advance()
    assert lamports("finalized") == 2 * 10**9


def test_accounts_of_a_program_are_those_of_the_commitment(chain):
    author, identity = chain.payer.pubkey(), os.urandom(32)
    entry, whom = Entry((1,)), [Pubkey.new_unique()]
    chain.send(ledger.record(author, identity, entry, whom))

    def owned(level: str) -> list[str]:
        only = [{"memcmp": {"offset": 8, "bytes": str(Pubkey(identity))}}]
        asked = {"commitment": level, "encoding": "base64", "filters": only}
        found = chain.call("getProgramAccounts", str(ledger.PROGRAM), asked)
        return [row["pubkey"] for row in found]

    assert owned("confirmed") == [str(ledger.receipt(identity))]
    assert owned("finalized") == []


def test_a_blockhash_lives_for_150_blocks(chain):
    sent = chain.sign([ledger.mark(1, 2)])
    found = chain.call("getLatestBlockhash", CONFIRMED)["value"]
    height = chain.call("getBlockHeight", {"commitment": "processed"})
    chain.advance(found["lastValidBlockHeight"] - height)

    asked = [str(sent.message.recent_blockhash), {"commitment": "processed"}]
    assert chain.call("isBlockhashValid", *asked)["value"]
    chain.advance()
    assert not chain.call("isBlockhashValid", *asked)["value"]
    error = refused(chain.post, sent, preflightCommitment="processed")
    assert (error.code, error.data["err"]) == (-32002, "BlockhashNotFound")
    # Without preflight it is taken, and lost: a signature is no promise.
    signature = chain.post(sent, skipPreflight=True)
    assert status(chain, signature) is None


def test_preflight_knows_the_blockhashes_of_its_commitment(chain):
    """A fresh blockhash is unknown to a simulation at `finalized`, the default."""
    sent = chain.sign([ledger.mark(1, 2)])

    error = refused(chain.post, sent, preflightCommitment="finalized")
    assert error.data["err"] == "BlockhashNotFound"
    assert status(chain, chain.post(sent)) is not None


def test_the_same_bytes_land_once(chain):
    sent = chain.sign([ledger.mark(1, 2)])
    first = chain.post(sent)
    chain.advance()

    assert chain.post(sent, skipPreflight=True) == first
    assert refused(chain.post, sent).data["err"] == "AlreadyProcessed"
    listed = chain.call("getSignaturesForAddress", str(chain.payer.pubkey()), CONFIRMED)
    assert [row["signature"] for row in listed].count(first) == 1


def test_a_failed_transaction_is_listed_and_pays(chain):
    before = chain.call("getBalance", str(chain.payer.pubkey()), CONFIRMED)["value"]
    signature = post(chain, ledger.mark(1, 2), ledger.fail(77), skipPreflight=True)
    chain.advance()
    with pytest.raises(TransactionFailedError, match="77"):
        chain.wait(signature)

    error = {"InstructionError": [1, {"Custom": 77}]}
    found = chain.transaction(signature)
    assert (found["meta"]["err"], found["meta"]["status"]) == (error, {"Err": error})
    assert sum("Program data" in line for line in found["meta"]["logMessages"]) == 2
    [row] = chain.call(
        "getSignaturesForAddress", str(chain.payer.pubkey()), {**CONFIRMED, "limit": 1}
    )
    assert (row["signature"], row["err"]) == (signature, error)
    after = chain.call("getBalance", str(chain.payer.pubkey()), CONFIRMED)["value"]
    assert before - after == found["meta"]["fee"] == 5000


def test_what_cannot_pay_lands_nowhere(chain):
    poor = Devnet(chain.rpc.url, Keypair())
    sent = poor.sign([ledger.mark(1, 2)])

    assert refused(poor.post, sent).data["err"] == "AccountNotFound"
    assert status(chain, poor.post(sent, skipPreflight=True)) is None


def test_version_1_pays_its_priority_fee_in_lamports(chain):
    before = chain.call("getBalance", str(chain.payer.pubkey()), CONFIRMED)["value"]
    raw = version1.sign(
        [ledger.mark(1, 2)], [chain.payer], chain.blockhash(), priority_fee=7
    )
    config = {"encoding": "base64", **CONFIRMED}
    text = base64.b64encode(raw).decode()
    told = chain.call("simulateTransaction", text, config)["value"]
    signature = chain.post(raw)
    chain.advance()

    found = chain.transaction(signature)
    assert told["fee"] == 5007
    assert signature == version1.signature(raw)
    assert (found["version"], found["meta"]["fee"]) == (1, 5007)
    assert found["transaction"]["message"]["transactionConfig"]["priorityFee"] == 7
    after = chain.call("getBalance", str(chain.payer.pubkey()), CONFIRMED)["value"]
    assert before - after == 5007
    assert found["meta"]["preBalances"][0] - found["meta"]["postBalances"][0] == 5007


def test_a_client_of_old_versions_is_told(chain):
    raw = version1.sign([ledger.mark(1, 2)], [chain.payer], chain.blockhash())
    newest, middle = chain.post(raw), chain.send(ledger.mark(3, 4), legacy=False)
    chain.advance()

    for signature, asked in (
        (newest, {"maxSupportedTransactionVersion": 0}), (newest, {}), (middle, {})
    ):  # fmt: skip
        error = refused(chain.call, "getTransaction", signature, {**CONFIRMED, **asked})
        assert error.code == -32015
    slot = chain.transaction(newest)["slot"]
    assert refused(chain.call, "getBlock", slot, CONFIRMED).code == -32015
    only = {**CONFIRMED, "transactionDetails": "signatures"}
    assert newest in chain.call("getBlock", slot, only)["signatures"]


def test_a_transaction_says_what_it_returned_and_called(chain):
    author, identity = chain.payer.pubkey(), os.urandom(32)
    entry, whom = Entry((1, 2)), [Pubkey.new_unique(), Pubkey.new_unique()]
    call = ledger.record(author, identity, entry, whom)
    meta = chain.transaction(chain.send(ledger.relay(call)))["meta"]

    assert meta["returnData"] == {
        "programId": str(ledger.PROGRAM),
        "data": [base64.b64encode(identity).decode(), "base64"],
    }
    [inner] = meta["innerInstructions"]
    assert [one["stackHeight"] for one in inner["instructions"]] == [2, 3, 3]


def test_pages_of_signatures_join_without_loss(chain):
    author = chain.payer.pubkey()
    sent = []
    for number in range(25):
        call = ledger.emit(author, bytes([number] * 32), Entry((1,)), [author])
        sent.append(post(chain, call))
        if number % 4 == 3:
            chain.advance()
    chain.advance()

    def page(**asked) -> list[dict]:
        asked = {**CONFIRMED, "limit": 7, **asked}
        return chain.call("getSignaturesForAddress", str(author), asked)

    rows = page()
    while more := page(before=rows[-1]["signature"]):
        rows += more
    names = [row["signature"] for row in rows]
    assert names[:25] == sent[::-1]
    places = [(row["slot"], row["transactionIndex"]) for row in rows]
    assert places == sorted(places, reverse=True)
    between = page(before=sent[20], until=sent[16])
    assert [row["signature"] for row in between] == sent[19:16:-1]


def test_a_fork_undoes_confirmed_slots(chain):
    author = chain.payer.pubkey()
    lost_id, kept_id, other = os.urandom(32), os.urandom(32), Keypair().pubkey()
    chain.advance(40)
    safe = chain.send(ledger.mark(1, 1))
    base = slots(chain)["processed"]
    balance = chain.call("getBalance", str(author), {"commitment": "processed"})[
        "value"
    ]
    lost = post(chain, ledger.record(author, lost_id, Entry((1,)), [author]))
    chain.advance()
    pay = TransferParams(from_pubkey=author, to_pubkey=other, lamports=10**9)
    paid = post(chain, transfer(pay))
    chain.advance()
    # Only what was signed with a blockhash of this fork can land on it again.
    older = chain.blockhash("finalized")
    again = [ledger.record(author, kept_id, Entry((2,)), [author])]
    kept = chain.post(chain.sign(again, blockhash=older))
    chain.advance()
    old = chain.transaction(kept)

    depth = slots(chain)["processed"] - base + 1
    assert chain.fork(depth, keep=[kept, paid]) == [lost, paid]
    chain.advance()

    assert [status(chain, one) for one in (lost, paid)] == [None, None]
    assert chain.transaction(lost) is None
    again = chain.transaction(kept)
    assert again["slot"] > old["slot"]
    listed = chain.call(
        "getSignaturesForAddress", str(author), {**CONFIRMED, "limit": 2}
    )
    assert [row["signature"] for row in listed] == [kept, safe]

    def lamports(key: Pubkey) -> int:
        return chain.call("getBalance", str(key), CONFIRMED)["value"]

    assert [lamports(other), lamports(ledger.receipt(lost_id))] == [0, 0]
    assert balance - lamports(author) == 5000 + lamports(ledger.receipt(kept_id))
    block = chain.call(
        "getBlock", again["slot"], {**CONFIRMED, "transactionDetails": "none"}
    )
    assert block["parentSlot"] < base
    assert refused(chain.call, "getBlock", base, CONFIRMED).code == -32004


def test_a_share_of_a_fork_lands_again_in_another_order(chain):
    chain.advance(40)
    older = chain.blockhash("finalized")
    names = []
    for number in range(20):
        call = ledger.mark(number, 77)
        names.append(chain.post(chain.sign([call], blockhash=older)))
        chain.advance(number % 2)
    gone = chain.fork(11, keep=0.5, seed=4)
    chain.advance()

    assert len(gone) == 10
    assert gone == [name for name in names if name in gone]
    rows = chain.call(
        "getSignaturesForAddress", str(chain.payer.pubkey()), {**CONFIRMED, "limit": 10}
    )
    kept = [row["signature"] for row in rows]
    assert {*kept} == {*names} - {*gone}
    assert kept != [name for name in reversed(names) if name in kept]
    assert len({row["slot"] for row in rows}) == 1


def test_nothing_final_is_undone(chain):
    signature = chain.send(ledger.mark(9, 9))
    chain.advance(FINAL_AFTER)

    chain.fork(10_000)
    chain.advance()

    assert chain.transaction(signature, "finalized") is not None


def test_a_program_is_deployed_as_on_a_real_cluster(chain):
    key = Keypair()
    chain.deploy(program("ledger"), key)
    chain.advance()

    logs = chain.transaction(chain.send(ledger.mark(1, 2, program=key.pubkey())))
    assert f"Program {key.pubkey()} success" in logs["meta"]["logMessages"]


def test_a_program_can_be_put_there_at_once(chain):
    key = Keypair().pubkey()
    chain.add_program(key, program("ledger"))
    chain.advance()

    chain.send(ledger.mark(1, 2, program=key))
    error = refused(chain.add_program, Keypair().pubkey(), b"no program")
    assert "does not load" in str(error)


def test_memos_are_listed(chain):
    memo = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
    chain.send(Instruction(memo, "née".encode(), []), Instruction(memo, b"x", []))

    [row] = chain.call("getSignaturesForAddress", str(memo), {**CONFIRMED, "limit": 1})
    assert row["memo"] == "[4] née; [1] x"


def test_fees_and_simulations_change_nothing(chain):
    sent = chain.sign([ledger.mark(1, 2)])
    message = base64.b64encode(to_bytes_versioned(sent.message)).decode()
    text = base64.b64encode(bytes(sent)).decode()
    config = {"encoding": "base64", **CONFIRMED}

    assert chain.call("getFeeForMessage", message, CONFIRMED)["value"] == 5000
    told = chain.call("simulateTransaction", text, config)["value"]
    assert (told["err"], told["fee"]) == (None, 5000)
    # The payer, the program's account of 36 bytes, and its code.
    code = len(program("ledger")) + 45
    assert told["loadedAccountsDataSize"] == 3 * 64 + 36 + code
    assert told["preBalances"][0] - told["postBalances"][0] == 5000
    assert status(chain, str(sent.signatures[0])) is None
    assert chain.call("getRecentPrioritizationFees")[-1]["prioritizationFee"] == 0
    assert chain.call("getEpochInfo", CONFIRMED)["epoch"] == 0


def test_large_requests_and_batches(chain):
    asked = [{"jsonrpc": "2.0", "id": n, "method": "getHealth"} for n in range(100)]
    answers = chain.rpc._post(asked)

    assert [answer["id"] for answer in answers] == list(range(100))
    connection = chain.rpc._connection
    connection.request("POST", "/", b" " * (50 * 1024 + 1))
    response = connection.getresponse()
    response.read()
    assert response.status == 413


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("getSignatureStatuses", [["1" * 64] * 257], -32602, "max 256"),
        ("getMultipleAccounts", [["1" * 32] * 101], -32602, "max 100"),
        ("getBlocks", [0, "x"], -32602, "expected u64"),
        ("getBlocksWithLimit", [0, 500_001, CONFIRMED], -32602, "max 500000"),
        ("getBlock", [-1], -32602, "expected u64"),
        ("getBlock", [0, {"transactionDetails": "most"}], -32602, "unknown variant"),
        ("getSlot", [{"commitment": "max"}], -32602, "unknown variant `max`"),
        ("getSlot", ["finalized"], -32602, "expected an object"),
        ("getSlot", [{"minContextSlot": 10**9}], -32016, "context slot"),
        ("getProgramAccounts", ["1" * 32, {"filters": [{}]}], -32602, "memcmp"),
        (
            "getProgramAccounts",
            ["1" * 32, {"filters": [{"dataSize": 1}] * 5}], -32602, "max 4",
        ),
        ("getAccountInfo", ["1" * 32, {"encoding": "hex"}], -32602, "unknown variant"),
        ("getTokenSupply", [str(ledger.PROGRAM)], -32602, "not a Token mint"),
        ("sendTransaction", ["1" * 2000], -32602, "too large: 2000 bytes"),
        ("sendTransaction", ["0"], -32602, "invalid base58 encoding"),
        ("sendTransaction", ["1", {"encoding": "json"}], -32602, "unsupported"),
        ("devnet_fork", [1], -32602, "one object"),
        ("devnet_fault", [{"kind": "flood"}], -32602, "no fault 'flood'"),
        ("devnet_fault", [{"kind": "hide"}], -32602, "needs a `slot`"),
        ("devnet_fault", [{"share": 0.5, "kinds": ["hide"]}], -32602, "as a rule"),
    ],
)  # fmt: skip
def test_bad_requests_are_told(chain, method, params, code, words):
    error = refused(chain.call, method, *params)

    assert error.code == code
    assert words in str(error)


METHODS = """
    getBlock getBlocks getBlocksWithLimit getBlockTime getTransaction getSlot
    getBalance getSignaturesForAddress getSignatureStatuses getEpochInfo
    getLatestBlockhash isBlockhashValid getAccountInfo getMultipleAccounts
    getProgramAccounts getTokenAccountBalance getTokenSupply getTokenAccountsByOwner
    getFeeForMessage getMinimumBalanceForRentExemption getRecentPrioritizationFees
    sendTransaction simulateTransaction requestAirdrop devnet_setAccount
    devnet_addProgram devnet_fork
""".split()


def test_no_question_is_left_without_an_answer(chain):
    """Whatever the parameters are, the answer is JSON with a result or an error."""
    chance = random.Random(11)
    key, signature = str(chain.payer.pubkey()), "1" * 64

    def value(depth: int = 0):
        leaves = [None, True, -1, 0, 3, 2**70, 1.5, "", "x", key, signature, "base64"]
        if depth > 2 or chance.random() < 0.6:
            return chance.choice(leaves)
        if chance.random() < 0.4:
            return [value(depth + 1) for _ in range(chance.randint(0, 3))]
        names = (
            "commitment encoding limit before until filters dataSlice minContextSlot "
            "memcmp dataSize offset bytes mint programId accounts addresses keep depth "
            "maxSupportedTransactionVersion transactionDetails pubkey lamports data "
            "owner"
        ).split()
        return {chance.choice(names): value(depth + 1) for _ in range(3)}

    asked = [
        {
            "jsonrpc": "2.0",
            "id": number,
            "method": chance.choice(METHODS),
            "params": [value() for _ in range(chance.randint(0, 3))],
        }
        for number in range(3_000)
    ]
    for start in range(0, len(asked), 50):
        part = asked[start : start + 50]
        # 2**70 is more than this client's JSON writes as a number.
        answers = json.loads(chain.rpc._exchange(json.dumps(part).encode()))
        assert [one["id"] for one in answers] == [one["id"] for one in part]
        for one in answers:
            assert ("result" in one) != ("error" in one)
    assert chain.call("getHealth") == "ok"


def test_transactions_have_a_largest_size(chain):
    author = chain.payer.pubkey()
    entry = Entry((1,), note="x" * 250)
    many = [ledger.emit(author, bytes(32), entry, [author])] * 4

    error = refused(chain.post, chain.sign(many))
    assert "too large" in str(error)
    raw = version1.sign(many, [chain.payer], chain.blockhash())
    assert len(raw) > 1232
    chain.wait(chain.post(raw))


def test_two_chains_from_one_seed_are_the_same():
    def story(seed: int) -> list[str]:
        with SolanaNode(NodeOptions(slot_ms=0, seed=seed)) as node:
            client = Devnet(node.url, Keypair.from_seed(bytes(32)))
            client.fund()
            client.send(ledger.mark(1, 2))
            slot = client.advance() - 1
            block = client.call("getBlock", slot, CONFIRMED)
            return [client.call("getGenesisHash"), block["blockhash"]]

    assert story(1) == story(1) != story(2)


def test_a_node_of_before_agave_4_is_quieter():
    options = NodeOptions(slot_ms=0, transaction_index=False, forgiving_cursors=True)
    with SolanaNode(options) as node:
        client = Devnet(node.url)
        client.fund()
        address = str(client.payer.pubkey())

        def listed(**asked) -> list[dict]:
            return client.call(
                "getSignaturesForAddress", address, {**CONFIRMED, **asked}
            )

        assert "transactionIndex" not in listed()[0]
        assert listed(before="1" * 64) == []
        assert listed(until="1" * 64) == listed()


def test_the_clock_moves_the_chain():
    with SolanaNode(NodeOptions(slot_ms=20, finalized_after=4)) as node:
        client = Devnet(node.url)
        client.fund()
        signature = client.send(ledger.mark(1, 2))

        assert client.wait(signature, "finalized")["confirmations"] is None
        found = client.transaction(signature, "finalized")
        assert abs(found["blockTime"] - time.time()) < 60


def test_the_clock_leaves_slots_out():
    with SolanaNode(NodeOptions(slot_ms=10, finalized_after=2, skip_share=0.5)) as node:
        deadline = time.monotonic() + 20
        while node.rpc("getSlot") < 40 and time.monotonic() < deadline:
            time.sleep(0.05)
        top = node.rpc("getSlot")
        there = node.rpc("getBlocks", 0, top)

    assert top >= 40
    assert 0.2 < len(there) / top < 0.8


def test_a_taken_port_is_told():
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        with pytest.raises(SolanaNodeError, match=f"port {node.port} is in use"):
            SolanaNode(port=node.port).start()
        pid = node.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_verb_serves_until_a_signal():
    port = free_port()
    while not port_is_free(port + 1):
        port = free_port()
    process = subprocess.Popen(
        [COMMAND, "devnet", "solana", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        assert re.search(rf"JSON-RPC at http://\S+:{port}, WebSocket at ws", line)
        assert Rpc(f"http://127.0.0.1:{port}").call("getHealth") == "ok"
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(10) == 0
    assert rest.endswith("ended\n")


def test_the_environment_holds_what_its_file_says():
    listed = (PACKAGE.parent / "solana/node/requirements.txt").read_text().split()
    done = subprocess.run(
        [ensure("node"), "-m", "pip", "freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed) == set(done.stdout.split())
