"""All nodes of a chain as one: asked in order of health, and sent to all at once.

A question is answered by a node of the right chain whose head is not behind the index,
which its own answer shows: chain id and head are asked for in the same request. A node
that fails is left alone for a while. So many questions are under way at once and no
more: a silent node must not take every thread of its askers.
"""

import enum
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from commands.errors import NodeAway, WrongChain
from commands.evm.node import Answer, Mined, NoMoney, Reverted
from commands.evm.nodes import answers
from commands.evm.nodes.endpoint import Asked, Endpoint, Question, RpcError

AT_ONCE = 8
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
SENDERS = 4  # threads for each node
TRACE_BYTES = 8 << 20
_QUIET_TRACE = {
    "disableStack": True,
    "disableStorage": True,
    "enableMemory": False,
    "enableReturnData": False,
    "timeout": "2s",
}

log = logging.getLogger(__name__)

T = TypeVar("T")


def nothing_indexed() -> int:
    """No block is known: any head will do."""
    return -1


@dataclass(slots=True)
class _Standing:
    """The health of one node; it is asked in its turn again after `parked_until`."""

    endpoint: Asked
    parked_until: float = 0.0
    failures: int = 0
    words: str = ""
    probing: bool = False
    sending: int = 0


class Nodes:
    """The nodes of one chain; a `commands.evm.node.Node`.

    `indexed` tells the last block that the index has. `timeout_seconds` is for a whole
    question, however many nodes are asked; each gets its part of what is left.
    """

    def __init__(
        self,
        endpoints: Sequence[Asked],
        *,
        chain_id: int,
        indexed: Callable[[], int] = nothing_indexed,
        timeout_seconds: float = 10.0,
        at_once: int = AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        senders: Executor | None = None,
    ) -> None:
        self._all = [_Standing(each) for each in endpoints]
        self._chain_id, self._indexed = chain_id, indexed
        self._timeout, self._clock = timeout_seconds, clock
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._senders = senders or ThreadPoolExecutor(SENDERS * len(self._all), "send")

    @classmethod
    def at(cls, urls: Sequence[str], **options: Any) -> "Nodes":
        """The nodes at these URLs."""
        return cls([Endpoint(url) for url in urls], **options)

    def gas_price(self) -> int:
        """The price that the node suggests, in wei."""
        return self._number("eth_gasPrice", (), answers.PRICE_BITS)

    def priority_fee(self) -> int:
        """The tip that the node suggests, in wei (EIP-1559)."""
        return self._number("eth_maxPriorityFeePerGas", (), answers.PRICE_BITS)

    def head(self) -> int:
        """The node's highest block."""
        return self._number("eth_blockNumber", (), answers.HEIGHT_BITS)

    def balance(self, address: bytes) -> int:
        """Return the balance of an account in wei."""
        question = ("0x" + address.hex(), "latest")
        return self._number("eth_getBalance", question, answers.WEI_BITS)

    def nonce(self, address: bytes, height: int | None = None) -> int:
        """Return the number of an account's transactions in blocks, up to a height."""
        question = ("0x" + address.hex(), "latest" if height is None else hex(height))
        return self._number("eth_getTransactionCount", question, answers.NONCE_BITS)

    def simulate(self, sender: bytes, to: bytes, value: int, data: bytes) -> int:
        """The gas that a call would use; raises Reverted, with the reason, NoMoney."""
        call = answers.call_of(sender, to, value, data)
        return self._ask(Question("eth_estimateGas", (call,)), answers.gas_of, call)

    def call(self, to: bytes, data: bytes) -> bytes:
        """Return a contract's answer to a call; raises Reverted."""
        call = {"to": "0x" + to.hex(), "data": "0x" + data.hex()}
        return self._ask(Question("eth_call", (call, "latest")), answers.content)

    def replay(self, mined: Mined) -> Reverted | None:
        """Return why a call failed in its block; None: run again, it does not fail.

        It is run after the block before its own, and, if it succeeds there, after its
        own: something in the same block may have been in its way.
        """
        call = answers.call_as_mined(mined)
        for height in (mined.height - 1, mined.height):
            at = hex(height)
            try:
                self._run(call, at)
            except Reverted as error:
                return error
        return None

    def _run(self, call: dict[str, str], at: str) -> None:
        """Run a call after a block; raises Reverted.

        Polygon Edge up to 0.9 runs it with the nonce that its sender has now, and
        refuses that, unless it is told the nonce of then.
        """
        question = Question("eth_call", (call, at))
        try:
            self._ask(question, answers.content, call, at)
        except NodeAway as error:
            if "incorrect nonce" not in str(error):
                raise
            asked = (call["from"], at)
            used = self._number("eth_getTransactionCount", asked, answers.NONCE_BITS)
            call = call | {"nonce": hex(used)}
            question = Question("eth_call", (call, at))
            self._ask(question, answers.content, call, at)

    def send(self, raw: bytes) -> Answer:
        """Hand the same bytes to every node; what one that took them says, or another.

        Nodes that are away are sent to as well, and not waited for beside others.
        """
        question = Question("eth_sendRawTransaction", ("0x" + raw.hex(),))
        with self._turn() as asking:
            if len(self._all) == 1:
                return self._sent(self._all[0], question, asking)
            return self._sent_to_all(question, asking)

    def counts(self, address: bytes) -> dict[str, int]:
        """Each node's count of an account's transactions, mined or not, by its name.

        Raises NodeAway when none may be asked.
        """
        account, method = "0x" + address.hex(), "eth_getTransactionCount"
        both = [Question(method, (account, tag)) for tag in ("latest", "pending")]
        found: dict[str, int] = {}
        words: list[NodeAway] = []
        with self._turn() as asking:
            for state in self._all:
                try:
                    results = self._checked(state, both, asking)
                    found[state.endpoint.label] = max(
                        _read(state, method, each, answers.nonce_of) for each in results
                    )
                except NodeAway as error:
                    words.append(error)
        if not found:
            raise _nobody(words)
        return found

    def _number(self, method: str, params: Sequence[Any], bits: int) -> int:
        return self._ask(
            Question(method, params), lambda result: answers.quantity(result, bits)
        )

    def _ask(
        self,
        question: Question,
        read: Callable[[Any], T],
        call: dict[str, str] | None = None,
        at: str = "latest",
    ) -> T:
        """The first answer of a node that may be believed; of a revert, the reason."""
        words: list[NodeAway] = []
        with self._turn() as asking:
            for state in self._in_order():
                way = self._enter(state)
                if way is _Way.CLOSED:
                    words.append(NodeAway(state.words))
                    continue
                try:
                    (result,) = self._checked(state, [question], asking)
                    return _read(state, question.method, result, read)
                except NoMoney:
                    raise
                except NodeAway as error:
                    words.append(error)
                except Reverted as error:
                    if error.data or call is None or str(error) != answers.NO_REASON:
                        raise
                    raise self._explained(state, call, at, asking) from None
                finally:
                    if way is _Way.PROBE:
                        state.probing = False
        raise _nobody(words)

    @contextmanager
    def _turn(self) -> Iterator["_Asking"]:
        """A place among those who ask; raises NodeAway when there is none."""
        if not self._turns.acquire(blocking=False):
            raise NodeAway(
                "too many questions wait for the node already: ask again soon"
            )
        try:
            yield _Asking(self._indexed(), self._clock() + self._timeout)
        finally:
            self._turns.release()

    def _in_order(self) -> list[_Standing]:
        """Those that are well as the settings have them, then those that failed."""
        now = self._clock()
        return sorted(self._all, key=lambda state: max(state.parked_until, now))

    def _enter(self, state: _Standing) -> "_Way":
        """Of a node that failed, one asker at a time finds out whether it is back."""
        with self._lock:
            if state.parked_until <= self._clock():
                return _Way.OPEN
            if state.probing:
                return _Way.CLOSED
            state.probing = True
            return _Way.PROBE

    def _checked(
        self, state: _Standing, questions: Sequence[Question], asking: "_Asking"
    ) -> list[Any]:
        """Return a node's answer if it is believable; raises NodeAway, WrongChain."""
        label = state.endpoint.label
        if asking.deadline <= self._clock():
            raise NodeAway(f"there was no time left to ask {label}")
        try:
            chain, head, *results = state.endpoint.ask(
                [Question("eth_chainId"), Question("eth_blockNumber"), *questions],
                self._share(asking),
            )
            is_of = _read(state, "eth_chainId", chain, answers.chain_of)
            height = _read(state, "eth_blockNumber", head, answers.height_of)
            if is_of != self._chain_id:
                raise WrongChain(
                    f"{label} is a node of chain {is_of}, not of {self._chain_id}: "
                    "correct the chain's rpc"
                )
            if height < asking.floor:
                raise NodeAway(
                    f"{label} is at block {height}, and the index at {asking.floor}"
                )
        except NodeAway as error:
            self._failed(state, error)
            raise
        self._well(state)
        return results

    def _share(self, asking: "_Asking") -> float:
        """The seconds that one node may take, of those that are left for all."""
        left = asking.deadline - self._clock()
        return min(max(self._timeout / len(self._all), 1.0), left)

    def _failed(self, state: _Standing, error: NodeAway) -> None:
        with self._lock:
            if not state.failures:
                log.warning("node_left_alone cause=%s", error)
            state.failures += 1
            pause = FIRST_PAUSE_SECONDS * 2.0 ** min(state.failures - 1, 5)
            state.parked_until = self._clock() + min(pause, LONGEST_PAUSE_SECONDS)
            state.words = str(error)

    def _well(self, state: _Standing) -> None:
        if not state.failures:
            return
        with self._lock:
            state.failures, state.parked_until, state.words = 0, 0.0, ""
        log.info("node_is_back node=%s", state.endpoint.label)

    def _explained(
        self, state: _Standing, call: dict[str, str], at: str, asking: "_Asking"
    ) -> Reverted:
        """Find the reason of a revert at a node that did not tell it at once.

        Polygon Edge up to 0.9 tells what a contract gave back in traces alone.
        """
        try:
            (said,) = state.endpoint.ask(
                [Question("eth_call", (call, at))], self._share(asking)
            )
            if isinstance(said, RpcError) and answers.is_revert(said):
                found = answers.refusal(said, state.endpoint.label)
                if isinstance(found, Reverted) and str(found) != answers.NO_REASON:
                    return found
            question = Question("debug_traceCall", (call, at, _QUIET_TRACE))
            (trace,) = state.endpoint.ask([question], self._share(asking), TRACE_BYTES)
            return answers.reverted_in(trace)
        except (NodeAway, ValueError):
            return Reverted(b"", answers.NO_REASON)

    def _sent(self, state: _Standing, question: Question, asking: "_Asking") -> Answer:
        (result,) = self._checked(state, [question], asking)
        if isinstance(result, RpcError):
            return Answer(result.message)
        hash_ = _read(state, question.method, result, answers.hash_of)
        return Answer("the node answered the hash 0x" + hash_.hex(), hash_)

    def _sent_to_all(self, question: Question, asking: "_Asking") -> Answer:
        now = self._clock()
        waited: list[Future[Answer]] = []
        for state in self._in_order():
            with self._lock:
                if state.sending >= SENDERS:
                    continue  # it is silent; what is due is sent again
                state.sending += 1
            future = self._senders.submit(self._sent, state, question, asking)
            future.add_done_callback(partial(self._has_sent, state))
            if state.parked_until <= now or not waited:
                waited.append(future)
        if not waited:
            raise NodeAway("no node takes bytes: ask again soon")
        wait(waited, timeout=max(0.0, asking.deadline - now))
        said, words = [], []
        for future in waited:
            try:
                said.append(future.result(timeout=0))
            except NodeAway as error:
                words.append(error)
            except TimeoutError:
                words.append(NodeAway("a node did not answer in time"))
        if said:
            return max(said, key=lambda each: (each.accepted, each.hash is not None))
        raise _nobody(words)

    def _has_sent(self, state: _Standing, _: "Future[Answer]") -> None:
        with self._lock:
            state.sending -= 1


class _Way(enum.Enum):
    """The way to ask a node: as usual, as a probe whether it is back, or not now."""

    OPEN = "open"
    PROBE = "probe"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Asking:
    """One question: the block that a node must have, and the time that there is."""

    floor: int
    deadline: float


def _read(state: _Standing, method: str, result: Any, read: Callable[[Any], T]) -> T:
    """A result as what it is to be; raises what an error means, or NodeAway."""
    if isinstance(result, RpcError):
        raise answers.refusal(result, state.endpoint.label)
    try:
        return read(result)
    except ValueError as error:
        words = state.endpoint.hide(error)
        raise NodeAway(f"{state.endpoint.label} answered {method}: {words}") from None


def _nobody(words: Sequence[NodeAway]) -> NodeAway:
    """Return one error that tells the troubles of all nodes."""
    kind = NodeAway
    if any(isinstance(each, WrongChain) for each in words):
        kind = WrongChain
    told = "; ".join(dict.fromkeys(str(each) for each in words))
    return kind(f"{told}. Ask again soon")
