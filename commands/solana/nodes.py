"""The nodes of a Solana cluster as one (`commands.rpc.pool`).

The methods are those of Solana's JSON-RPC (solana.com/docs/rpc). A node is of the right
cluster when its genesis hash begins as the chain id says (CAIP-2).
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from commands.errors import NodeAway, NodeOfOtherChain
from commands.rpc.endpoint import Asked, NodeEndpoint, NodeError, Question
from commands.rpc.pool import Asking, NodeHealth, Pool, nobody
from commands.solana.node import Answer, Blockhash, Finalized, SentByWallet, Simulated
from idl.base58 import from_base58, to_base58

CONFIRMED = {"commitment": "confirmed"}
FINALIZED = {"commitment": "finalized"}
_TOKEN_PROGRAMS = frozenset(
    {
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
    }
)
_TOKEN_ACCOUNT = struct.Struct("<32s32sQ")  # mint, owner, amount (SPL Token)
_TOKEN_ACCOUNT_BYTES = 165
FEES_READ = 150  # slots whose fees count, the newest ones
PERCENT = 75  # of the fees that were paid, ours is above so many
PAGE, PAGES_MOST = 1_000, 10  # of what a wallet sent
FEE_ACCOUNTS_MOST = 128  # that a node takes in the question for fees
WITNESSES = 2  # nodes that must say that nothing can land, if there are as many


class SolanaNodes(Pool[Answer]):
    """The nodes of one cluster; a `commands.solana.node.Node`."""

    identity = (Question("getGenesisHash"), Question("getSlot", (CONFIRMED,)))

    def __init__(
        self,
        endpoints: Sequence[Asked],
        *,
        chain_id: str,
        **options: Any,  # those of `Pool`
    ) -> None:
        super().__init__(endpoints, **options)
        self._reference = chain_id.partition(":")[2]

    @classmethod
    def at(cls, urls: Sequence[str], **options: Any) -> "SolanaNodes":
        """The nodes at these URLs."""
        return cls([NodeEndpoint(url) for url in urls], **options)

    def head(self) -> int:
        """The last confirmed slot."""
        return self._ask(Question("getSlot", (CONFIRMED,)), _count)

    def balance(self, address: bytes) -> int:
        """Return the balance of an account in lamports."""
        question = Question("getBalance", (to_base58(address), CONFIRMED))
        return self._ask(question, lambda answer: _count(answer["value"]))

    def token_balance(self, account: bytes) -> int:
        """Return what a token account holds, in the token's smallest unit."""
        question = Question("getTokenAccountBalance", (to_base58(account), CONFIRMED))
        return self._ask(question, lambda answer: int(answer["value"]["amount"]))

    def blockhash(self) -> Blockhash:
        """Return a confirmed blockhash to sign with."""
        return self._ask(_LATEST, _blockhash)

    def finalized(self) -> Finalized:
        """Return the last finalized slot and its height."""
        return self._ask(Question("getEpochInfo", (FINALIZED,)), _finalized)

    def simulate(
        self, raw: bytes, payer: bytes, writable: Sequence[bytes]
    ) -> Simulated:
        """Return what a transaction would do; see `Node.simulate`."""
        keys = [to_base58(each) for each in writable]
        config = {
            **CONFIRMED,
            "encoding": "base64",
            "sigVerify": False,
            "replaceRecentBlockhash": True,
            "accounts": {"encoding": "base64", "addresses": keys},
        }
        in_base64 = {**CONFIRMED, "encoding": "base64"}
        before, answer, price, recent = self._ask_all([
            (
                Question("getMultipleAccounts", (keys, in_base64)),
                lambda answer: _accounts(answer["value"], len(keys)),
            ),
            (
                Question("simulateTransaction", (_base64(raw), config)),
                lambda answer: _simulated(answer["value"], len(keys)),
            ),
            (_fees_of(keys), _fee),
            (_LATEST, _blockhash),
        ])  # fmt: skip
        units, logs, error, after = answer
        if error is not None:
            return Simulated(units, error, logs)
        lamports, tokens = _spent(before, after, writable, payer)
        return Simulated(units, None, logs, lamports, tokens, price, recent)

    def priority_fee(self, accounts: Sequence[bytes]) -> int:
        """Return the fee that most recent blocks would have asked for; see `Node`."""
        return self._ask(_fees_of([to_base58(each) for each in accounts]), _fee)

    def send(self, raw: bytes) -> Answer:
        """Hand the same bytes to every node, unsimulated; see `Pool._send`."""
        config = {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}
        return self._send(Question("sendTransaction", (_base64(raw), config)))

    def knows(self, signature: bytes) -> bool:
        """Whether a node has a transaction in a block, in its whole history."""
        return self._ask(_status_of(signature), _is_known)

    def cannot_land(self, signature: bytes, blockhash: bytes | None) -> bool:
        """Whether two nodes, or the only one, say that it is too late; see `Node`."""
        questions = [_status_of(signature)]
        if blockhash is not None:
            questions.append(_validity_of(blockhash))
        return self._denied(questions)

    def too_old(self, blockhash: bytes) -> bool:
        """Whether two nodes, or the only one, say that it is not valid; see `Node`."""
        return self._denied([_validity_of(blockhash)])

    def _denied(self, questions: Sequence[Question]) -> bool:
        """Whether `WITNESSES` nodes, or as many as there are, deny all of it."""
        needed = min(WITNESSES, len(self._all))
        words: list[NodeAway] = []
        witnesses = 0
        with self._turn() as asking:
            for state in self._in_order():
                try:
                    answers = self._checked(state, questions, asking)
                    alive = [
                        self._read(state, each.method, answer, _ALIVE[each.method])
                        for each, answer in zip(questions, answers, strict=True)
                    ]
                except NodeAway as error:
                    words.append(error)
                    continue
                if any(alive):
                    return False
                witnesses += 1
                if witnesses >= needed:
                    return True
        raise nobody(words)

    def sent_by(self, wallet: bytes, since: int) -> list[SentByWallet]:
        """Return what names a wallet, the newest `PAGES_MOST` pages of it at most."""
        found: list[SentByWallet] = []
        for _ in range(PAGES_MOST):
            config: dict[str, Any] = {**CONFIRMED, "limit": PAGE}
            if found:
                config["before"] = to_base58(found[-1].signature)
            question = Question("getSignaturesForAddress", (to_base58(wallet), config))
            page = self._ask(question, _lines)
            found += page
            if len(page) < PAGE or page[-1].slot < since:
                break
        return [each for each in found if each.slot >= since]

    def transaction(self, signature: bytes) -> bytes | None:
        """Return the bytes of a transaction of a version that wallets are given."""
        config = {
            **CONFIRMED,
            "encoding": "base64",
            "maxSupportedTransactionVersion": 0,
        }
        question = Question("getTransaction", (to_base58(signature), config))
        return self._ask(question, _bytes)

    def _identify(self, state: NodeHealth, answer: Sequence[Any], floor: int) -> None:
        """Refuse a node of another cluster, and one that is behind the index."""
        genesis, head = answer
        label = state.endpoint.label
        is_of = self._read(state, "getGenesisHash", genesis, _key)
        slot = self._read(state, "getSlot", head, _count)
        text = to_base58(is_of)
        if not text.startswith(self._reference):
            raise NodeOfOtherChain(
                f"{label} is a node of the cluster solana:{text[:32]}, not of "
                f"solana:{self._reference}: correct the chain's rpc"
            )
        if slot < floor:
            raise NodeAway(f"{label} is at slot {slot}, and the index at {floor}")

    def _refusal(self, error: NodeError, state: NodeHealth) -> Exception:
        return NodeAway(f"{state.endpoint.label} says: {error.message}")

    def _sent(self, state: NodeHealth, question: Question, asking: Asking) -> Answer:
        (result,) = self._checked(state, [question], asking)
        if isinstance(result, NodeError):
            return Answer(result.message)
        text = self._read(state, question.method, result, _signature)
        return Answer(f"the node answered {text}", taken=True)


_LATEST = Question("getLatestBlockhash", (CONFIRMED,))


def _status_of(signature: bytes) -> Question:
    search = {"searchTransactionHistory": True}
    return Question("getSignatureStatuses", ([to_base58(signature)], search))


def _validity_of(blockhash: bytes) -> Question:
    return Question("isBlockhashValid", (to_base58(blockhash), CONFIRMED))


def _fees_of(keys: Sequence[str]) -> Question:
    return Question("getRecentPrioritizationFees", (keys[:FEE_ACCOUNTS_MOST],))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"{str(value)[:40]!r} is no number")
    return value


def _key(value: Any) -> bytes:
    return from_base58(str(value), 32)


def _signature(value: Any) -> str:
    from_base58(str(value), 64)
    return str(value)


def _blockhash(answer: Any) -> Blockhash:
    value = answer["value"]
    return Blockhash(
        _key(value["blockhash"]),
        _count(value["lastValidBlockHeight"]),
        _count(answer["context"]["slot"]),
    )


def _finalized(answer: Any) -> Finalized:
    return Finalized(_count(answer["absoluteSlot"]), _count(answer["blockHeight"]))


def _lines(answer: Any) -> list[SentByWallet]:
    if not isinstance(answer, list):
        raise ValueError("its listing is no list")
    return [
        SentByWallet(from_base58(str(each["signature"]), 64), _count(each["slot"]))
        for each in answer
    ]


def _bytes(answer: Any) -> bytes | None:
    if answer is None:
        return None
    return base64.b64decode(answer["transaction"][0], validate=True)


def _is_known(answer: Any) -> bool:
    """Whether the status of a single signature is told."""
    [status] = answer["value"]
    if status is not None and not isinstance(status, Mapping):
        raise ValueError(f"{str(status)[:40]!r} is no status")
    return status is not None


def _is_valid(answer: Any) -> bool:
    """Whether a blockhash is valid."""
    if not isinstance(answer["value"], bool):
        raise ValueError(f"{str(answer['value'])[:40]!r} is neither true nor false")
    return answer["value"]


_ALIVE = {"getSignatureStatuses": _is_known, "isBlockhashValid": _is_valid}


def _fee(answer: Any) -> int:
    """The 75th percentile of what was paid in the newest slots."""
    if not isinstance(answer, list):
        raise ValueError("its fees are no list")
    newest = sorted(answer, key=lambda each: _count(each["slot"]))[-FEES_READ:]
    paid = sorted(_count(each["prioritizationFee"]) for each in newest)
    return paid[len(paid) * PERCENT // 100] if paid else 0


class _Account:
    """An account's lamports, and what it holds if it is a token account."""

    __slots__ = ("lamports", "mint", "owner", "tokens")

    def __init__(self, answer: Any) -> None:
        self.lamports = 0 if answer is None else _count(answer["lamports"])
        self.mint, self.owner, self.tokens = b"", b"", 0
        if answer is not None and answer.get("owner") in _TOKEN_PROGRAMS:
            data = base64.b64decode(answer["data"][0])
            if len(data) >= _TOKEN_ACCOUNT_BYTES:
                self.mint, self.owner, self.tokens = _TOKEN_ACCOUNT.unpack_from(data)


def _accounts(answer: Any, count: int) -> list[_Account]:
    if not isinstance(answer, list) or len(answer) != count:
        raise ValueError("it told of other accounts than were asked for")
    return [_Account(each) for each in answer]


def _simulated(
    answer: Any, count: int
) -> tuple[int, Sequence[str], Any, list[_Account]]:
    """Return units, logs, the error or None, and the accounts that there would be."""
    units, logs = _count(answer.get("unitsConsumed") or 0), answer.get("logs") or []
    if not isinstance(logs, list) or not all(isinstance(line, str) for line in logs):
        raise ValueError("its logs are no lines of text")
    error = answer["err"]
    after = [] if error is not None else _accounts(answer["accounts"], count)
    return units, logs, error, after


def _spent(
    before: Sequence[_Account],
    after: Sequence[_Account],
    writable: Sequence[bytes],
    payer: bytes,
) -> tuple[int, Mapping[bytes, int]]:
    """Return the lamports, and the tokens by mint, that the payer would have less."""
    lamports, tokens = 0, dict[bytes, int]()
    for key, was, then in zip(writable, before, after, strict=True):
        if key == payer:
            lamports += was.lamports - then.lamports
        if was.owner == payer:
            kept = then.tokens if then.owner == payer else 0
            tokens[was.mint] = tokens.get(was.mint, 0) + was.tokens - kept
    return max(0, lamports), {mint: n for mint, n in tokens.items() if n > 0}
