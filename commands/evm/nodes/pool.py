"""The nodes of an EVM chain as one (`commands.rpc.pool`)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from commands.errors import NodeAway, NodeOfOtherChain
from commands.evm.node import Answer, Mined, NoMoney, Reverted
from commands.evm.nodes import answers
from commands.rpc.endpoint import Asked, NodeEndpoint, NodeError, Question
from commands.rpc.pool import Asking, NodeHealth, Pool, nobody

TRACE_BYTES = 8 << 20
_QUIET_TRACE = {
    "disableStack": True,
    "disableStorage": True,
    "enableMemory": False,
    "enableReturnData": False,
    "timeout": "2s",
}

T = TypeVar("T")


class Nodes(Pool[Answer]):
    """The nodes of one chain; a `commands.evm.node.Node`."""

    identity = (Question("eth_chainId"), Question("eth_blockNumber"))

    def __init__(
        self,
        endpoints: Sequence[Asked],
        *,
        chain_id: int,
        **options: Any,  # those of `Pool`
    ) -> None:
        super().__init__(endpoints, **options)
        self._chain_id = chain_id

    @classmethod
    def at(cls, urls: Sequence[str], **options: Any) -> "Nodes":
        """The nodes at these URLs."""
        return cls([NodeEndpoint(url) for url in urls], **options)

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
        return self._ask_call(
            Question("eth_estimateGas", (call,)), answers.gas_of, call
        )

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
            self._ask_call(question, answers.content, call, at)
        except NodeAway as error:
            if "incorrect nonce" not in str(error):
                raise
            asked = (call["from"], at)
            used = self._number("eth_getTransactionCount", asked, answers.NONCE_BITS)
            call = call | {"nonce": hex(used)}
            question = Question("eth_call", (call, at))
            self._ask_call(question, answers.content, call, at)

    def send(self, raw: bytes) -> Answer:
        """Send bytes to every node; returns an accepting node's answer, else another's.

        Nodes that are away are sent to as well, and not waited for beside others.
        """
        return self._send(Question("eth_sendRawTransaction", ("0x" + raw.hex(),)))

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
                        self._read(state, method, each, answers.nonce_of)
                        for each in results
                    )
                except NodeAway as error:
                    words.append(error)
        if not found:
            raise nobody(words)
        return found

    def _number(self, method: str, params: Sequence[Any], bits: int) -> int:
        return self._ask(
            Question(method, params), lambda result: answers.quantity(result, bits)
        )

    def _ask_call(
        self,
        question: Question,
        read: Callable[[Any], T],
        call: dict[str, str],
        at: str = "latest",
    ) -> T:
        """Ask about a call; of a revert without a reason, the reason is looked for."""
        return self._ask(question, read, partial(self._explain_call, call, at))

    def _explain(
        self, error: Exception, state: NodeHealth, asking: Asking
    ) -> Exception | None:
        """Return a word that is final, of whichever node: a revert, or no money."""
        away = isinstance(error, NodeAway) and not isinstance(error, NoMoney)
        return None if away else error

    def _explain_call(
        self,
        call: dict[str, str],
        at: str,
        error: Exception,
        state: NodeHealth,
        asking: Asking,
    ) -> Exception | None:
        bare = isinstance(error, Reverted) and not error.data
        if bare and str(error) == answers.NO_REASON:
            return self._explained(state, call, at, asking)
        return self._explain(error, state, asking)

    def _identify(
        self, state: NodeHealth, identified: Sequence[Any], floor: int
    ) -> None:
        """Refuse a node of another chain, and one that is behind the index."""
        chain, head = identified
        label = state.endpoint.label
        is_of = self._read(state, "eth_chainId", chain, answers.chain_of)
        height = self._read(state, "eth_blockNumber", head, answers.height_of)
        if is_of != self._chain_id:
            raise NodeOfOtherChain(
                f"{label} is a node of chain {is_of}, not of {self._chain_id}: "
                "correct the chain's rpc"
            )
        if height < floor:
            raise NodeAway(f"{label} is at block {height}, and the index at {floor}")

    def _refusal(self, error: NodeError, state: NodeHealth) -> Exception:
        """Return Reverted, NoMoney or NodeAway, as the node's words are."""
        return answers.refusal(error, state.endpoint.label)

    def _explained(
        self, state: NodeHealth, call: dict[str, str], at: str, asking: Asking
    ) -> Reverted:
        """Find the reason of a revert by a second call, or by a trace.

        Polygon Edge up to 0.9 tells what a contract gave back in traces alone.
        """
        try:
            (called,) = state.endpoint.ask(
                [Question("eth_call", (call, at))], self._share(asking)
            )
            if isinstance(called, NodeError) and answers.is_revert(called):
                found = answers.refusal(called, state.endpoint.label)
                if isinstance(found, Reverted) and str(found) != answers.NO_REASON:
                    return found
            question = Question("debug_traceCall", (call, at, _QUIET_TRACE))
            (trace,) = state.endpoint.ask([question], self._share(asking), TRACE_BYTES)
            return answers.reverted_in(trace)
        except (NodeAway, ValueError):
            return Reverted(b"", answers.NO_REASON)

    def _sent(self, state: NodeHealth, question: Question, asking: Asking) -> Answer:
        (result,) = self._checked(state, [question], asking)
        if isinstance(result, NodeError):
            return Answer(result.message)
        hash_ = self._read(state, question.method, result, answers.hash_of)
        return Answer("the node answered the hash 0x" + hash_.hex(), hash_)
