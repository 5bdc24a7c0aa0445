"""Nodes of a `MempoolChain` that `commands.evm.nodes.pool.Nodes` asks, without HTTP.

Questions and answers are those of JSON-RPC, so that everything between a signer and the
wire is played: which node is asked, what its answers mean, and whom bytes go to.
"""

from concurrent.futures import Executor, Future

from commands.errors import NodeAway
from commands.rpc.endpoint import NodeError

CHAIN_ID, OTHER_CHAIN = 1, 999
LIMITED = NodeError(-32005, "limit exceeded", b"")
LACKING = NodeError(-32600, "invalid signature", b"")
REVERTS = NodeError(3, "execution reverted", b"")


class AtOnce(Executor):
    """Runs what it is given before it returns, so that schedules can be repeated."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class NodeDouble:
    """One node, by its number among the pools of the chain.

    It may be some blocks `behind`, of a `foreign` chain, or `lie` about how many
    transactions there are.
    """

    def __init__(self, chain, at):
        self.chain, self.at, self.label = chain, at, f"node{at}"
        self.behind, self.foreign, self.lie = 0, False, 0

    def heal(self):
        self.behind, self.foreign, self.lie = 0, False, 0

    def hide(self, text):
        return str(text)

    def ask(self, questions, seconds, most_bytes=0):
        chain = self.chain
        if self._fails(0.08):
            raise NodeAway(f"{self.label} did not answer")
        found = [getattr(self, each.method)(*each.params) for each in questions]
        sends = any(each.method == "eth_sendRawTransaction" for each in questions)
        if sends and self._fails(0.15):
            raise NodeAway(f"{self.label} took the bytes, and its answer was lost")
        assert chain.blocks
        return found

    def _height(self):
        return max(0, len(self.chain.blocks) - 1 - self.behind)

    def _fails(self, share):
        return self.chain.faults and self.chain.rng.random() < share

    def eth_chainId(self):
        return hex(OTHER_CHAIN if self.foreign else CHAIN_ID)

    def eth_blockNumber(self):
        return hex(self._height())

    def eth_gasPrice(self):
        price = self.chain.base - 2 + self.chain.rng.randrange(6)
        if self.foreign:
            return hex(price * 100)
        self.chain.suggested = max(self.chain.suggested, price)
        return hex(price)

    def eth_estimateGas(self, call):
        if self.foreign or call["data"][2:] in self.chain.reverting:
            return REVERTS
        if self._height() < len(self.chain.indexed) - 1:  # the contract is as it was
            return self.chain.rng.choice((LACKING, REVERTS))
        return LIMITED if self._fails(0.1) else hex(50_000)

    def eth_getTransactionCount(self, address, tag):
        return hex(self.chain.consumed() + self.lie + (5000 if self.foreign else 0))

    def eth_sendRawTransaction(self, raw):
        content = bytes.fromhex(raw[2:])
        if self.foreign:
            return NodeError(-32000, "invalid sender", b"")
        said = self.chain.take(content, self.at)
        if said == "ok":
            return "0x" + self.chain.hash_of(content).hex()
        return NodeError(-32000, said, b"")

    def eth_call(self, call, at):
        return "0x"

    def debug_traceCall(self, call, at, options):
        return NodeError(-32601, "the method does not exist", b"")
