"""The layer of faults: each kind does what it says, once or by seed, and no more."""

from __future__ import annotations

import http.client

import pytest
from solders.pubkey import Pubkey

from devnet.programs.build import program
from devnet.rpc import RpcError, UnreachableError
from devnet.solana import ledger
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry

pytestmark = pytest.mark.chain
CONFIRMED = {"commitment": "confirmed"}


def listed(chain: Devnet, **asked) -> list[dict]:
    return chain.call(
        "getSignaturesForAddress", str(chain.payer.pubkey()), {**CONFIRMED, **asked}
    )


@pytest.fixture
def told(chain: Devnet) -> tuple[Devnet, list[str]]:
    """Nine events, three in each of three slots."""
    author, sent = chain.payer.pubkey(), []
    for slot in range(3):
        for place in range(3):
            entry = Entry((1 + slot, 1 + place))
            call = ledger.emit(author, bytes([slot, place] * 16), entry, [author] * 2)
            sent.append(chain.post(chain.sign([call])))
        chain.advance()
    return chain, sent


def names(rows: list[dict]) -> list[str]:
    return [row["signature"] for row in rows]


def test_a_null_is_answered_once(told):
    chain, sent = told
    chain.fault(kind="null", match=sent[4])

    assert chain.transaction(sent[3]) is not None
    assert chain.transaction(sent[4]) is None
    assert chain.transaction(sent[4]) is not None


def test_a_fault_waits_its_turn_and_lasts_its_times(told):
    chain, sent = told
    chain.fault(kind="null", skip=1, times=2)

    there = [chain.transaction(sent[0]) is not None for _ in range(5)]
    assert there == [True, False, False, True, True]
    chain.fault(kind="null", times=0)
    assert [chain.transaction(sent[0]) for _ in range(3)] == [None] * 3
    chain.clear()
    assert chain.transaction(sent[0]) is not None


def test_a_hidden_slot_is_in_no_list(told):
    chain, sent = told
    slot = chain.transaction(sent[4])["slot"]
    chain.fault(kind="hide", slot=slot, times=0)

    assert names(listed(chain, limit=9))[:6] == [*sent[:5:-1], *sent[2::-1]]
    assert slot not in chain.call("getBlocks", slot - 1, slot + 1, CONFIRMED)
    with pytest.raises(RpcError) as caught:
        chain.call("getBlock", slot, CONFIRMED)
    assert caught.value.code == -32009
    assert chain.transaction(sent[4])["slot"] == slot


def test_the_order_inside_a_slot_is_shuffled(told):
    chain, sent = told
    true = listed(chain, limit=9)
    orders = set()
    for seed in range(20):
        chain.fault(kind="shuffle", seed=seed)
        rows = listed(chain, limit=9)
        assert [row["slot"] for row in rows] == [row["slot"] for row in true]
        assert {*names(rows)} == {*sent}
        orders.add(tuple(names(rows)))

    assert len(orders) > 5
    assert names(listed(chain, limit=9)) == sent[::-1]


def test_logs_are_cut_as_the_runtime_cuts_them(told):
    chain, sent = told
    true = chain.transaction(sent[0])["meta"]["logMessages"]
    chain.fault(kind="truncate", bytes=len(true[0]) + len(true[1]) + 80)

    cut = chain.transaction(sent[0])["meta"]["logMessages"]
    assert cut == [*true[:2], "Log truncated", true[-1]]
    assert chain.transaction(sent[0])["meta"]["logMessages"] == true
    chain.fault(kind="truncate", method="getBlock", bytes=0)
    slot = chain.transaction(sent[0])["slot"]
    block = chain.call("getBlock", slot, CONFIRMED)
    assert {"Log truncated"} == {
        line for row in block["transactions"] for line in row["meta"]["logMessages"]
    }


def test_a_page_is_empty(told):
    chain, sent = told
    chain.fault(kind="empty", method="getSignaturesForAddress")

    assert listed(chain) == []
    assert names(listed(chain, limit=9)) == sent[::-1]


def test_a_stale_replica_knows_nothing_of_the_last_slots(told):
    chain, sent = told
    now = chain.call("getSlot", CONFIRMED)
    chain.fault(kind="stale", lag=2, times=4)

    assert chain.call("getSlot", CONFIRMED) == now - 2
    assert names(listed(chain, limit=3)) == sent[2::-1]
    assert chain.transaction(sent[8]) is None
    with pytest.raises(RpcError) as caught:
        listed(chain, minContextSlot=now)
    assert (caught.value.code, caught.value.data) == (-32016, {"contextSlot": now - 2})
    assert chain.call("getSlot", CONFIRMED) == now


def test_a_fork_comes_before_an_answer(told):
    chain, sent = told
    chain.fault(kind="fork", depth=2, method="getTransaction")

    assert chain.transaction(sent[8]) is None
    chain.advance()
    assert names(listed(chain, limit=6)) == sent[5::-1]


def test_too_many_requests_are_refused_by_http(told):
    chain, sent = told
    chain.fault(kind="limit", retryAfter=7)
    connection = http.client.HTTPConnection(chain.rpc.url.removeprefix("http://"))
    body = b'{"jsonrpc":"2.0","id":1,"method":"getHealth"}'

    connection.request("POST", "/", body)
    response = connection.getresponse()
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert b"Too many requests" in response.read()
    connection.request("POST", "/", body)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_rate_is_kept(told):
    chain, _ = told
    chain.fault(kind="limit", perSecond=5, times=0)
    connection = http.client.HTTPConnection(chain.rpc.url.removeprefix("http://"))
    codes = []
    for _ in range(12):
        connection.request(
            "POST", "/", b'{"jsonrpc":"2.0","id":1,"method":"getHealth"}'
        )
        response = connection.getresponse()
        response.read()
        codes.append(response.status)
    connection.close()

    assert codes == [200] * 5 + [429] * 7


@pytest.mark.parametrize("sent_bytes", [0, 30])
def test_a_connection_is_cut(told, sent_bytes):
    chain, _ = told
    chain.fault(kind="cut", bytes=sent_bytes, times=2)

    with pytest.raises(UnreachableError):
        chain.call("getHealth")
    chain.clear()
    assert chain.call("getHealth") == "ok"


def test_any_error_can_be_asked_for(told):
    chain, _ = told
    words = "Failed to query long-term storage; please try again"
    chain.fault(kind="error", code=-32019, message=words)

    with pytest.raises(RpcError, match=words) as caught:
        listed(chain)
    assert caught.value.code == -32019


def test_a_transaction_is_taken_and_lost(told):
    chain, _ = told
    sent = chain.sign([ledger.mark(1, 2)])
    chain.fault(kind="lose")

    assert chain.post(sent) == str(sent.signatures[0])
    assert chain.call("getSignatureStatuses", [str(sent.signatures[0])])["value"] == [
        None
    ]
    chain.wait(chain.post(sent))


def test_faults_by_seed_come_again_and_pass(told):
    chain, sent = told

    def schedule(seed: int) -> list[bool]:
        chain.clear()
        chain.fault(seed=seed, share=0.5, kinds=["null"])
        return [chain.transaction(sent[0]) is None for _ in range(40)]

    assert schedule(1) == schedule(1) != schedule(2)
    assert 8 < sum(schedule(3)) < 32
    met = chain.call("devnet_faults")
    assert met["null"] > 40


def test_every_fault_by_seed_is_survived_by_asking_again(told):
    chain, sent = told
    kinds = ["null", "shuffle", "empty", "stale", "limit", "cut", "truncate"]
    chain.fault(seed=5, share=0.6, kinds=kinds)

    found = set()
    for _ in range(400):
        try:
            found |= {*names(listed(chain, limit=9))}
        except (RpcError, UnreachableError, KeyError):
            continue
        if found >= {*sent}:
            break
    assert found >= {*sent}


def test_forks_come_by_seed(told):
    chain, _ = told
    before = chain.call("devnet_state")["forks"]
    chain.fault(seed=1, share=0.3, kinds=["fork"])
    for _ in range(30):
        listed(chain)
        chain.advance()

    # The address that is listed, which the hash takes in, differs from run to run.
    assert 0 < chain.call("devnet_state")["forks"] - before < 25


def test_a_node_that_pruned_its_history_says_from_where_on_it_has_blocks(told):
    chain, signatures = told
    slots = {each["slot"] for each in listed(chain)}
    first = max(slots)
    [gone, *_] = [e["signature"] for e in listed(chain) if e["slot"] < first]
    chain.fault(kind="prune", first=first, times=0)

    assert chain.call("getFirstAvailableBlock") == first
    assert {each["slot"] for each in listed(chain)} == {first}
    assert chain.call("getBlocks", 0, first, {"commitment": "confirmed"}) == [first]
    assert chain.transaction(gone) is None
    asked = {"searchTransactionHistory": True}
    assert chain.call("getSignatureStatuses", [gone], asked)["value"] == [None]
    with pytest.raises(RpcError, match=f"First available block: {first}"):
        chain.call("getBlock", first - 1, {"commitment": "confirmed"})


def test_a_fault_concerns_no_steering(told):
    chain, _ = told
    chain.fault(kind="cut", times=0)

    assert chain.advance() > 0
    assert chain.call("devnet_state")["manual"]


def test_the_composer_of_a_transaction_can_forge_a_short_event_after_the_cut(chain):
    """Log bytes are burned so that `success` of the program falls into the cut.

    What is written after it then seems to come from inside the program's frame.
    """
    other = Pubkey.new_unique()
    chain.add_program(other, program("ledger"))
    chain.advance()
    success = f"Program {ledger.PROGRAM} success"
    for burn in range(9_400, 9_800, 2):
        call = [
            ledger.spam(1, burn, program=other),
            ledger.mark(1, 2),
            ledger.mark(6, 6, program=other),
        ]
        logs = chain.transaction(chain.send(*call))["meta"]["logMessages"]
        if "Log truncated" not in logs or success in logs:
            continue
        after = logs[logs.index("Log truncated") :]
        if any(line.startswith("Program data: ") for line in after):
            return
    raise AssertionError("no burn of the log let a line of another program through")
