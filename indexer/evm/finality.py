"""Finality: which blocks cannot be undone; declared per chain, with no default."""

import re
from dataclasses import dataclass

from db.blocks import Header
from indexer.errors import Permanent
from indexer.evm.blocks import read_block
from indexer.evm.client import RpcClient
from indexer.evm.messages import RpcHeader
from indexer.rpc.answers import Missing, RpcCall, RpcError
from indexer.rpc.messages import ErrorBody
from indexer.rpc.refusals import ErrorKind


@dataclass(frozen=True, slots=True)
class Ibft:
    """A block is final when it is there: IBFT seals it once."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A block is final when it is not above the block of this tag."""

    name: str = "finalized"


@dataclass(frozen=True, slots=True)
class Depth:
    """A block is final when this many blocks stand above it."""

    blocks: int

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise ValueError(f"depth {self.blocks}: it counts blocks, from 0")


Finality = Ibft | Tag | Depth

_BAD_REQUEST = (-32700, -32602, -32601, -32600)  # JSON-RPC 2.0, section 5.1
_TAG_WORDS = re.compile(
    r"\b(tag|finalized|safe|hex|invalid|unsupported|unknown)\b", re.I
)


async def final_height(client: RpcClient, finality: Finality, head: Header) -> int:
    """The highest final block, -1 when there is none yet."""
    if isinstance(finality, Ibft):
        return head.height
    if isinstance(finality, Depth):
        return max(head.height - finality.blocks, -1)
    call = RpcCall("eth_getBlockByNumber", (finality.name, False), RpcHeader, True)
    try:
        answer = await client.call(call)
    except Missing:
        return -1
    except RpcError as error:
        if error.refusal is ErrorKind.TIMEOUT or not _is_about_tag(error.body):
            raise
        raise Permanent(
            f"the node does not know the tag {finality.name!r} ({error}): "
            'set finality = "depth" with finality_depth for this chain'
        ) from None
    if answer is None:
        return -1
    return min(read_block(answer).header.height, head.height)


def _is_about_tag(body: ErrorBody) -> bool:
    """Whether a node refuses the tag, rather than having a bad moment."""
    return body.code in _BAD_REQUEST or _TAG_WORDS.search(body.message) is not None
