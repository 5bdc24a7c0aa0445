"""The nodes of a Solana cluster as the write side asks them, over real HTTP."""

import base64
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.errors import NodeAway, NodeOfOtherChain
from commands.solana.node import Answer, Blockhash, Finalized
from commands.solana.nodes import SolanaNodes, _fee, _simulated
from db.commands.states import Hold
from helpers.scripted_node import Fault, ScriptedNode
from idl.base58 import from_base58, to_base58

GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"  # mainnet's, published
CHAIN = f"solana:{GENESIS[:32]}"
DEVNET = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"
PAYER, MINT = bytes(range(1, 33)), bytes(range(60, 92))
ACCOUNTS = [PAYER, bytes(range(100, 132)), bytes(range(33, 65))]
SIGNATURE, HASH = bytes(range(64)), bytes(range(9, 41))
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
ODD = [None, "x", -1, True, 2**64, 1.5, [], {}, {"value": None}, [[]], {"value": [7]}]


def solana_node(slot=4_567, genesis=GENESIS):
    node = ScriptedNode()
    node.answers |= {
        "getGenesisHash": genesis,
        "getSlot": slot,
        "getSignatureStatuses": {"context": {"slot": slot}, "value": [None]},
        "getRecentPrioritizationFees": [],
        "getLatestBlockhash": {
            "context": {"slot": slot - 2},
            "value": {"blockhash": to_base58(HASH), "lastValidBlockHeight": slot + 41},
        },
        "isBlockhashValid": {"context": {"slot": slot}, "value": False},
        "sendTransaction": to_base58(SIGNATURE),
    }
    return node


@pytest.fixture
def one():
    with solana_node() as node:
        yield node


@pytest.fixture
def two():
    with solana_node() as node:
        yield node


def nodes(*given, **options):
    options = {"chain_id": CHAIN, "timeout_seconds": 2.0, **options}
    return SolanaNodes.at([each.url for each in given], **options)


ASKED = {
    "getSlot": lambda asked: asked.head(),
    "getBalance": lambda asked: asked.balance(PAYER),
    "getTokenAccountBalance": lambda asked: asked.token_balance(PAYER),
    "getLatestBlockhash": lambda asked: asked.blockhash(),
    "getEpochInfo": lambda asked: asked.finalized(),
    "getMultipleAccounts": lambda asked: asked.simulate(b"\1", PAYER, ACCOUNTS),
    "getRecentPrioritizationFees": lambda asked: asked.priority_fee(ACCOUNTS),
    "sendTransaction": lambda asked: asked.send(b"\1"),
    "getSignatureStatuses": lambda asked: asked.cannot_land(SIGNATURE, None),
    "isBlockhashValid": lambda asked: asked.cannot_land(SIGNATURE, HASH),
    "getSignaturesForAddress": lambda asked: asked.sent_by(PAYER, 0),
    "getTransaction": lambda asked: asked.transaction(SIGNATURE),
}
NOTHING = {"getRecentPrioritizationFees": 0, "getSignaturesForAddress": []}


class TestWhichNodeAnswers:
    def test_one_of_another_cluster_is_refused_with_the_remedy(self, one, two):
        one.answers["getGenesisHash"] = DEVNET
        two.answers["getBalance"] = {"value": 5_000_001}

        assert nodes(one, two).balance(PAYER) == 5_000_001
        for ask in ASKED.values():
            with pytest.raises(NodeOfOtherChain, match=r"correct the chain's rpc"):
                ask(nodes(one))

    def test_one_behind_the_index_is_not_asked(self, one, two):
        one.answers["getSlot"], two.answers["getSlot"] = 998, 1_003

        assert nodes(one, two, indexed=lambda: 1_000).head() == 1_003
        with pytest.raises(NodeAway, match="at slot 998, and the index at 1000"):
            nodes(one, indexed=lambda: 1_000).head()

    @pytest.mark.parametrize("genesis", ["", "0" * 44, GENESIS[:32], None, 7, "é" * 44])
    def test_one_that_does_not_tell_its_cluster_is_away(self, one, genesis):
        one.answers["getGenesisHash"] = genesis

        with pytest.raises(NodeAway, match="getGenesisHash"):
            nodes(one).head()


class TestWhatIsRead:
    def test_answers_as_agave_gives_them(self, one):
        one.answers |= {
            "getLatestBlockhash": {
                "context": {"apiVersion": "2.3.1", "slot": 4_560},
                "value": {"blockhash": DEVNET, "lastValidBlockHeight": 4_601},
            },
            "getEpochInfo": {
                "absoluteSlot": 4_530, "blockHeight": 4_451, "epoch": 10,
                "slotIndex": 210, "slotsInEpoch": 432, "transactionCount": 99_123,
            },
            "getTokenAccountBalance": {
                "value": {"amount": "9007199254740993", "decimals": 6}
            },
        }  # fmt: skip

        asked = nodes(one)
        assert asked.blockhash() == Blockhash(from_base58(DEVNET, 32), 4_601, 4_560)
        assert asked.finalized() == Finalized(4_530, 4_451)
        assert asked.token_balance(PAYER) == 9_007_199_254_740_993

    @pytest.mark.parametrize("odd", ODD, ids=str)
    @pytest.mark.parametrize("method", ASKED)
    def test_an_answer_of_another_shape_is_none(self, one, method, odd):
        one.answers[method] = odd
        if odd == [] and method in NOTHING:
            assert ASKED[method](nodes(one)) == NOTHING[method]  # nobody paid, or sent
            return
        if (method, odd) == ("getTransaction", None):
            assert nodes(one).transaction(SIGNATURE) is None
            return

        with pytest.raises(NodeAway, match=one.url.removeprefix("http://")):
            ASKED[method](nodes(one))

    def test_what_a_wallet_sent_is_read_in_pages_down_to_a_slot(self, one):
        lines = [
            {"signature": to_base58(number.to_bytes(64)), "slot": 9_000 - number // 2}
            for number in range(2_500)
        ]

        def page(address, config):
            last = config.get("before")
            start = (
                0 if last is None else 1 + [e["signature"] for e in lines].index(last)
            )
            return lines[start : start + config["limit"]]

        one.answers["getSignaturesForAddress"] = page
        found = nodes(one).sent_by(PAYER, 8_300)

        assert [each.slot for each in found] == [9_000 - n // 2 for n in range(1_402)]
        assert found[-1].signature == (1_401).to_bytes(64)
        assert one.calls["getSignaturesForAddress"] == 2

    def test_a_transaction_is_read_as_bytes(self, one):
        raw = bytes(range(200))
        one.answers["getTransaction"] = {
            "slot": 7, "transaction": [base64.b64encode(raw).decode(), "base64"],
        }  # fmt: skip

        assert nodes(one).transaction(SIGNATURE) == raw

    def test_the_fee_is_what_three_of_four_paid_less_than(self):
        paid = [{"slot": n, "prioritizationFee": n * 10 + 3} for n in range(1, 101)]

        assert _fee(paid) == 763
        assert _fee([{"slot": 0, "prioritizationFee": 10**9}, *paid * 3]) < 2_000

    def test_an_error_of_a_node_is_told_with_its_name(self, one):
        one.answers["getBalance"] = Fault(-32005, "Node is behind by 42 slots")

        with pytest.raises(NodeAway, match=r"127.0.0.1:\d+ says: Node is behind by 42"):
            nodes(one).balance(PAYER)


def account(lamports, *, owner=None, amount=0):
    """An account as JSON; with an owner, a token account of `MINT`."""
    data = b""
    if owner is not None:
        data = struct.pack("<32s32sQ", MINT, owner, amount).ljust(165, b"\1")
    program = TOKEN if owner is not None else "11111111111111111111111111111111"
    text = base64.b64encode(data).decode()
    return {"lamports": lamports, "owner": program, "data": [text, "base64"]}


class TestASimulation:
    def simulated(self, one, before, after, **result):
        one.answers["getMultipleAccounts"] = {"value": before}
        one.answers["simulateTransaction"] = {
            "value": {"err": None, "logs": ["Program log: hi"], "unitsConsumed": 4_321,
                      "accounts": after, **result}
        }  # fmt: skip
        return nodes(one).simulate(b"\1\2", PAYER, ACCOUNTS)

    def test_what_the_payer_would_have_less(self, one):
        found = self.simulated(
            one,
            [account(9_000_777), account(5, owner=PAYER, amount=1_000_100), None],
            [account(7_000_000), account(5, owner=PAYER, amount=400_099), account(9)],
        )

        assert found.lamports == 2_000_777
        assert dict(found.tokens) == {MINT: 600_001}
        assert (found.units, found.error) == (4_321, None)

    def test_all_to_sign_with_is_asked_in_one_request(self, one):
        one.answers["getRecentPrioritizationFees"] = [
            {"slot": 4_500 + number, "prioritizationFee": number} for number in range(8)
        ]
        found = self.simulated(one, [account(7)] * 3, [account(5)] * 3)

        assert (found.price, found.recent) == (6, Blockhash(HASH, 4_608, 4_565))
        assert one.requests == 1

    def test_what_comes_in_is_not_spent(self, one):
        found = self.simulated(
            one,
            [account(5), account(5, owner=PAYER, amount=7), None],
            [account(11), account(5, owner=PAYER, amount=8), None],
        )

        assert (found.lamports, dict(found.tokens)) == (0, {})

    def test_an_account_that_is_closed_or_given_away_is_spent(self, one):
        for then in (None, account(5, owner=MINT, amount=77)):
            found = self.simulated(
                one,
                [account(5), account(5, owner=PAYER, amount=77), None],
                [account(5), then, None],
            )
            assert dict(found.tokens) == {MINT: 77}

    def test_a_failure_has_its_error_and_logs(self, one):
        error = {"InstructionError": [2, {"Custom": 6_003}]}
        found = self.simulated(one, [None] * 3, None, err=error)

        assert (found.error, list(found.logs)) == (error, ["Program log: hi"])

    @pytest.mark.parametrize("logs", ["text", [7], [None], {"a": 1}])
    def test_logs_that_are_no_lines_are_no_answer(self, one, logs):
        with pytest.raises(NodeAway, match="no lines of text"):
            self.simulated(one, [None] * 3, [None] * 3, logs=logs)

    def test_accounts_that_nobody_asked_for_are_no_answer(self, one):
        with pytest.raises(NodeAway, match="other accounts"):
            self.simulated(one, [None] * 3, [None] * 2)

    @settings(max_examples=200, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["err", "logs", "accounts", "unitsConsumed", "owner",
                                 "lamports", "data"]),
                inner, max_size=5,
            ),
            max_leaves=12,
        )
    )  # fmt: skip
    def test_any_json_is_read_or_refused_as_the_pool_expects(self, answer):
        # What `Pool` takes for an answer of another shape.
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            _simulated(answer, 0)


class TestSending:
    def test_the_same_bytes_go_to_every_node(self, one, two):
        given_ = []
        for node in (one, two):
            node.answers["sendTransaction"] = lambda raw, config: (
                given_.append((raw, config["skipPreflight"], config["maxRetries"]))
                or to_base58(SIGNATURE)
            )

        assert nodes(one, two).send(b"\5\6").accepted
        assert given_ == [("BQY=", True, 0)] * 2

    @pytest.mark.parametrize(
        ("words", "accepted", "hold"),
        [
            ("This transaction has already been processed", True, Hold.NO),
            ("Attempt to debit an account but found no record of a prior credit.",
             False, Hold.FUNDS),
            ("Transaction simulation failed: Insufficient funds for fee", False,
             Hold.FUNDS),
            ("Blockhash not found", False, Hold.NO),
        ],
    )  # fmt: skip
    def test_what_a_refusal_says_of_the_account(self, one, words, accepted, hold):
        one.answers["sendTransaction"] = Fault(-32002, words)

        answer = nodes(one).send(b"\5")

        assert (answer.accepted, answer.hold, answer.taken) == (accepted, hold, False)

    def test_one_that_takes_them_outweighs_one_that_does_not(self, one, two):
        one.answers["sendTransaction"] = Fault(-32002, "Blockhash not found")

        assert nodes(one, two).send(b"\5").taken
        assert Answer("", taken=True).rank > Answer("Blockhash not found").rank


class TestWitnesses:
    def test_the_only_node_is_enough(self, one):
        assert nodes(one).cannot_land(SIGNATURE, HASH)

    def test_a_second_one_must_say_so_where_there_are_two(self, one, two):
        assert nodes(one, two).cannot_land(SIGNATURE, HASH)

        two.answers["getSignatureStatuses"] = Fault(-32011, "no history here")
        with pytest.raises(NodeAway, match="no history here"):
            nodes(one, two).cannot_land(SIGNATURE, HASH)

    def test_one_that_knows_it_is_believed(self, one, two):
        status = {"slot": 77, "confirmations": None, "confirmationStatus": "finalized"}
        two.answers["getSignatureStatuses"] = {"value": [status]}

        assert not nodes(one, two).cannot_land(SIGNATURE, HASH)

    def test_one_that_takes_its_blockhash_for_valid_is_believed(self, one, two):
        two.answers["isBlockhashValid"] = {"value": True}

        assert not nodes(one, two).cannot_land(SIGNATURE, HASH)
        assert nodes(one, two).cannot_land(SIGNATURE, None)

    def test_a_blockhash_is_too_old_when_two_say_so(self, one, two):
        assert nodes(one, two).too_old(HASH)

        two.answers["isBlockhashValid"] = {"value": True}
        assert not nodes(one, two).too_old(HASH)

        two.answers["isBlockhashValid"] = Fault(-32005, "behind")
        with pytest.raises(NodeAway, match="behind"):
            nodes(one, two).too_old(HASH)

    def test_one_node_tells_what_is_in_a_block(self, one, two):
        status = {"slot": 77, "confirmations": 3, "confirmationStatus": "confirmed"}
        assert not nodes(one, two).knows(SIGNATURE)

        one.answers["getSignatureStatuses"] = {"value": [status]}
        assert nodes(one, two).knows(SIGNATURE)

    @pytest.mark.parametrize("odd", [None, {}, {"value": []}, {"value": ["landed"]}])
    def test_a_status_of_another_shape_is_none(self, one, odd):
        one.answers["getSignatureStatuses"] = odd

        with pytest.raises(NodeAway):
            nodes(one).knows(SIGNATURE)

    def test_one_behind_the_index_is_no_witness(self, one, two):
        two.answers["getSlot"] = 99

        with pytest.raises(NodeAway, match="at slot 99"):
            nodes(one, two, indexed=lambda: 100).cannot_land(SIGNATURE, HASH)

    def test_history_is_searched(self, one):
        asked = []
        one.answers["getSignatureStatuses"] = lambda *given_: (
            asked.append(given_) or {"value": [None]}
        )
        nodes(one).cannot_land(SIGNATURE, HASH)

        assert asked == [([to_base58(SIGNATURE)], {"searchTransactionHistory": True})]
