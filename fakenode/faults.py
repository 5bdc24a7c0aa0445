"""Trouble, decided by hash(seed, request, attempt): it can be played again.

Three kinds: of the way (an answer lost, late, cut, or an error), of the node (it lags),
and lies, which are answers that look right and are not. Which lies a follower can
detect depends on what the chain proves; `PROVABLE` and `UNPROVED` say which.
"""

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fakenode.encoding import to_hex

if TYPE_CHECKING:
    from fakenode.node import Node

TRANSPORT = (
    "drop", "hang", "429", "500", "503", "html", "html 502", "empty", "half", "error",
    "wrong id", "short batch",
)  # fmt: skip
LAG = ("lagging",)


@dataclass(frozen=True)
class Trouble:
    """The fault of one request; `roll` decides the details."""

    kind: str
    roll: int
    seed: int = 0  # what a node says in its bad moments is the same each time


@dataclass
class Faults:
    """Trouble for `share` of the requests, at most `most` times for the same one."""

    seed: int
    share: float = 0.3
    kinds: Sequence[str] = (*TRANSPORT, *LAG)
    most: int = 3
    _attempts: Counter[bytes] = field(default_factory=Counter)

    def draw(self, request: bytes) -> Trouble | None:
        """Decide about a request, by its bytes and how often they came."""
        key = hashlib.sha256(request).digest()
        attempt = self._attempts[key]
        self._attempts[key] += 1
        if attempt >= self.most or not self.kinds:
            return None
        roll = hashlib.sha256(f"{self.seed}/{attempt}/".encode() + key).digest()
        if int.from_bytes(roll[:4]) / 2**32 >= self.share:
            return None
        kind = self.kinds[int.from_bytes(roll[4:6]) % len(self.kinds)]
        return Trouble(kind, int.from_bytes(roll[6:10]), self.seed)


Lie = Callable[["Node", int, dict[str, Any], Any], Any]
SAME = object()  # this lie cannot be told here


def spoil(
    trouble: Trouble, node: "Node", calls: list[dict[str, Any]], replies: list[Any]
) -> str | None:
    """Tell a lie in one of the replies; which it was, None without an occasion.

    Where the calls give none for the lie that was drawn, the next one is told.
    """
    kinds = [
        kind for kind in (node.faults.kinds if node.faults else ()) if kind in LIES
    ]
    first = kinds.index(trouble.kind)
    for kind in (*kinds[first:], *kinds[:first]):
        if _told(Trouble(kind, trouble.roll), node, calls, replies):
            return kind
    return None


def _told(
    trouble: Trouble, node: "Node", calls: list[dict[str, Any]], replies: list[Any]
) -> bool:
    methods, lie = LIES[trouble.kind]
    chosen = [
        (call, reply)
        for call, reply in zip(calls, replies, strict=False)
        if call.get("method") in methods and reply.get("result") is not None
    ]
    for at in range(len(chosen)):
        call, reply = chosen[(trouble.roll + at) % len(chosen)]
        told = copy.deepcopy(reply["result"])
        changed = lie(node, trouble.roll // 7, call, told)
        if changed is not SAME and changed != reply["result"]:
            reply["result"] = changed
            if trouble.kind == "a block emptied":
                _without_logs_of(changed["number"], calls, replies)
            return True
    return False


def _without_logs_of(
    number: str, calls: list[dict[str, Any]], replies: list[Any]
) -> None:
    """Take the logs of a block out of all answers, and its transactions too."""
    for call, reply in zip(calls, replies, strict=False):
        result = reply.get("result")
        if call.get("method") == "eth_getLogs" and result:
            reply["result"] = [log for log in result if log["blockNumber"] != number]
        elif call.get("method") in _BLOCK and result and result["number"] == number:
            reply["result"] = result | {"transactions": []}


def _any_of(roll: int, items: Sequence[Any]) -> int:
    return roll % len(items)


def _left_out(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    if not logs:
        return SAME
    del logs[_any_of(roll, logs)]
    return logs


def _none(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    return []


def _repeated(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    return [*logs, logs[_any_of(roll, logs)]] if logs else SAME


def _shuffled(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    return logs[::-1]


def _foreign(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    """Add a log of a block that was not asked for, or that a reorg replaced."""
    last = int(call["params"][0].get("toBlock", "0x0"), 16)
    first = int(call["params"][0].get("fromBlock", "0x0"), 16)
    blocks = [
        block
        for block in node.chain.blocks
        if block.logs and (block.number > last or block.number < first)
    ] + [block for block in node.chain.gone if block.logs]
    if not blocks:
        return SAME
    block = blocks[_any_of(roll, blocks)]
    return [*logs, node.tell_log(block, *block.logs[0])]


def _orphaned(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    """Give the logs of a block as one beside it has them, which was never on top.

    Only where blocks can be replaced: a chain with instant finality has no such blocks.
    """
    if not logs or node.chain.validators is not None:
        return SAME
    number = logs[_any_of(roll, logs)]["blockNumber"]
    busy = [block for block in node.chain.blocks if block.logs]
    beside = node.chain.copy()
    beside.truncate(int(number, 16) - 1)
    beside.salt += 1
    block = beside.mine(*(tx for _, tx in busy[_any_of(roll // 2, busy)].transactions))
    others = [log for log in logs if log["blockNumber"] != number]
    told = node.matching([block], call["params"][0])
    return [*others, *told] if told else SAME  # without any it is "a log left out"


def _indexes_swapped(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    """Exchange the indexes of two logs of one transaction."""
    for one, other in pairwise(logs):
        if one["transactionHash"] == other["transactionHash"]:
            one["logIndex"], other["logIndex"] = other["logIndex"], one["logIndex"]
            return logs
    return SAME


def _data_changed(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    with_data = [log for log in logs if len(log["data"]) == 66]
    if not with_data:
        return SAME
    log = with_data[_any_of(roll, with_data)]
    log["data"] = f"0x{(int(log['data'], 16) ^ 1):064x}"
    return logs


def _emitter_changed(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    if len(logs) < 2:
        return SAME
    log, other = logs[_any_of(roll, logs)], logs[_any_of(roll + 1, logs)]
    log["address"] = other["address"]
    return logs


def _invented(node: "Node", roll: int, call: dict[str, Any], logs: Any) -> Any:
    """Add a log to the last transaction that has one."""
    if not logs:
        return SAME
    log = copy.deepcopy(logs[-1])
    log["logIndex"] = hex(int(log["logIndex"], 16) + 1)
    return [*logs, log]


def _null(node: "Node", roll: int, call: dict[str, Any], told: Any) -> Any:
    return None


def _below(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    number = int(block["number"], 16)
    if number == 0 or call["params"][0] == "latest":
        return SAME
    return node.tell_block(node.chain.blocks[number - 1], call["params"][1])


def _no_transactions(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    block["transactions"] = []
    return block


def _other_transactions(
    node: "Node", roll: int, call: dict[str, Any], block: Any
) -> Any:
    """Give a block the transactions of another one."""
    busy = [b for b in node.chain.blocks if b.transactions]
    if not busy or not block["transactions"]:
        return SAME
    other = busy[_any_of(roll, busy)]
    block["transactions"] = node.tell_block(other, call["params"][1])["transactions"]
    return block


def _field_changed(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    name = ("timestamp", "timestamp", "gasUsed", "receiptsRoot")[roll % 4]
    width = len(block[name]) - 2 if name.endswith("Root") else 0
    block[name] = f"0x{int(block[name], 16) ^ 1:0{width}x}"
    return block


def _hash_changed(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    """Tell another hash, but not of block 0.

    That one says which chain this is, and is taken from the settings, or on the word of
    the node that is asked first.
    """
    if block["number"] == "0x0":
        return SAME
    block["hash"] = to_hex(hashlib.sha256(block["hash"].encode()).digest())
    return block


def _bloom_cleared(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    block["logsBloom"] = "0x" + "0" * 512
    return block


def _seal_missing(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    """Leave the committed seals of an IBFT block below the quorum."""
    found = node.chain.blocks[min(int(block["number"], 16), node.chain.head)]
    validators = found.validators
    if validators is None or found.number == 0 or validators.bls:
        return SAME
    seals = found.committed.items(None, validators.quorum)[: validators.quorum - 1]
    proposer = validators.propose(found.number, found.hash)
    parent = found.parent_committed.items(None, validators.quorum)
    block["extraData"] = to_hex(
        validators.extra_data(proposer, seals, parent, bytes(8))
    )
    return block


def _head_made_up(node: "Node", roll: int, call: dict[str, Any], block: Any) -> Any:
    """Tell of a head that is not there, one to three blocks above."""
    if call["params"][0] != "latest":
        return SAME
    block["number"] = hex(int(block["number"], 16) + 1 + roll % 3)
    block["parentHash"], block["hash"] = block["hash"], to_hex(bytes([roll % 256]) * 32)
    return block


def _stale_receipt(node: "Node", roll: int, call: dict[str, Any], told: Any) -> Any:
    """Answer with the receipts of another block, or of a replaced one."""
    busy = [b for b in [*node.chain.gone, *node.chain.blocks] if b.transactions]
    if not busy or told == []:
        return SAME
    other = busy[_any_of(roll, busy)]
    if isinstance(told, list):
        return [node.tell_receipt(other, at) for at in range(len(other.receipts))]
    return node.tell_receipt(other, 0)


def _receipt_short(node: "Node", roll: int, call: dict[str, Any], told: Any) -> Any:
    """Leave out the last receipt of a block, or a log of one."""
    if isinstance(told, list):
        return told[:-1] if told else SAME
    if not told["logs"]:
        return SAME
    del told["logs"][_any_of(roll, told["logs"])]
    return told


def _receipt_changed(node: "Node", roll: int, call: dict[str, Any], told: Any) -> Any:
    receipt = told[_any_of(roll, told)] if isinstance(told, list) and told else told
    if not receipt or not receipt["logs"]:
        return SAME
    log = receipt["logs"][_any_of(roll, receipt["logs"])]
    log["data"] = log["data"] + "01"
    return told


_LOGS = ("eth_getLogs",)
_BLOCK = ("eth_getBlockByNumber",)
_RECEIPT = ("eth_getTransactionReceipt", "eth_getBlockReceipts")

LIES: dict[str, tuple[tuple[str, ...], Lie]] = {
    "a log left out": (_LOGS, _left_out),
    "no logs": (_LOGS, _none),
    "a log repeated": (_LOGS, _repeated),
    "logs out of order": (_LOGS, _shuffled),
    "a log of another block": (_LOGS, _foreign),
    "logs of an orphan": (_LOGS, _orphaned),
    "indexes swapped": (_LOGS, _indexes_swapped),
    "data changed": (_LOGS, _data_changed),
    "emitter changed": (_LOGS, _emitter_changed),
    "a log made up": (_LOGS, _invented),
    "null logs": (_LOGS, _null),
    "null block": (_BLOCK, _null),
    "the block below": (_BLOCK, _below),
    "no transactions": (_BLOCK, _no_transactions),
    "transactions of another": (_BLOCK, _other_transactions),
    "a block emptied": (_BLOCK, _no_transactions),
    "a field changed": (_BLOCK, _field_changed),
    "a hash made up": (_BLOCK, _hash_changed),
    "no bloom": (_BLOCK, _bloom_cleared),
    "seals missing": (_BLOCK, _seal_missing),
    "a head made up": (_BLOCK, _head_made_up),
    "a stale receipt": (_RECEIPT, _stale_receipt),
    "a short receipt": (_RECEIPT, _receipt_short),
    "a changed receipt": (_RECEIPT, _receipt_changed),
    "null receipt": (_RECEIPT, _null),
}

PROVABLE = tuple(LIES)
"""With header hashes and receipts required every lie is seen."""

ABOUT_LOGS = tuple(
    kind
    for kind, (methods, _) in LIES.items()
    if methods != _BLOCK
    or kind
    in ("null block", "no transactions", "transactions of another", "a block emptied")
)
"""Seen, or found by an audit of the history, where nothing is required: there a header
whose fields were changed is believed until another one contradicts it."""

BLOOMED = ("no logs", "no bloom", "null logs", "null block", "the block below")
"""Seen by blooms alone; they tell neither data nor what has the same topics twice."""

UNPROVED = (
    "logs out of order", "a log repeated", "a log of another block",
    "logs of an orphan", "null logs", "null block", "the block below",
)  # fmt: skip
"""Seen also where only followed addresses are asked for: there nothing proves that a
log is missing or was changed, and headers are read without what their hash covers."""
