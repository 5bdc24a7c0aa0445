"""The client of an EVM chain: endpoints that are known by their chain id.

client = RpcClient(["https://a.example/key", "https://b.example"], chain_id=100)
reply = await client.batch([block_call(7), logs_call(1, 7)], ordered=True)
"""

from collections.abc import Sequence
from typing import Any

from indexer.evm.messages import quantity
from indexer.rpc.answers import RpcCall
from indexer.rpc.client import Client

CHAIN_ID = RpcCall("eth_chainId", (), str)


class RpcClient(Client):
    """All endpoints of one chain; `others` are taken by `indexer.rpc.client.Client`."""

    chain_id: int

    def __init__(self, endpoints: Sequence[str], chain_id: int, **others: Any) -> None:
        super().__init__(
            endpoints, chain_id, identity=CHAIN_ID, read_identity=quantity, **others
        )
