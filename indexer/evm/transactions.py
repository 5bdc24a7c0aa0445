"""The transactions of watched senders: our own signers, whose commands they prove."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from db.position import position
from indexer.errors import Retryable
from indexer.evm.blocks import EvmBlock, Inconsistent
from indexer.evm.client import RpcClient
from indexer.evm.messages import RpcReceipt, RpcTransaction, quantity, unhex
from indexer.rpc.answers import RpcCall, RpcError
from indexer.source import SenderTransaction


async def sender_transactions(
    client: RpcClient, blocks: Iterable[EvmBlock], senders: Collection[bytes]
) -> list[SenderTransaction]:
    """Return the senders' transactions in these blocks, in order, with outcomes.

    A receipt that is not there yet raises Retryable: the block is known, so it must
    come (Polygon Edge before 1.1 shows a block a moment before its receipts).
    """
    watched = {"0x" + sender.hex() for sender in senders}
    found = [
        (block, sent)
        for block in blocks
        for sent in block.transactions
        if sent.sender.lower() in watched
    ]
    if not found:
        return []
    calls = [
        RpcCall("eth_getTransactionReceipt", (sent.hash,), RpcReceipt)
        for _, sent in found
    ]
    height = found[-1][0].header.height
    receipts = (await client.batch(calls, height=height)).results
    return [
        await _transaction(client, block, sent, receipt)
        for (block, sent), receipt in zip(found, receipts, strict=True)
    ]


async def _transaction(
    client: RpcClient, block: EvmBlock, sent: RpcTransaction, receipt: RpcReceipt
) -> SenderTransaction:
    if receipt.block_hash.lower() != block.hash_hex:
        raise Inconsistent(
            f"the receipt of {sent.hash} is of another block than the transaction: "
            "read again"
        )
    succeeded = quantity(receipt.status) == 1
    revert_data = None if succeeded else await _replay(client, block, sent)
    return SenderTransaction(
        position(block.header.height, quantity(sent.transaction_index)),
        block.header.time,
        unhex(sent.hash, 32),
        unhex(sent.sender, 20),
        None if sent.recipient is None else unhex(sent.recipient, 20),
        quantity(sent.nonce),
        quantity(sent.value),
        unhex(sent.input),
        succeeded,
        quantity(receipt.gas_used),
        revert_data,
    )


async def _replay(
    client: RpcClient, block: EvmBlock, sent: RpcTransaction
) -> bytes | None:
    """Return the revert data of a failed transaction, by repeating its call.

    It is called on the state before its block, so what other transactions of the block
    changed is not seen; None when the node cannot tell.
    """
    call = {
        "from": sent.sender,
        "gas": sent.gas,
        "value": sent.value,
        "data": sent.input,
    }
    if sent.recipient is not None:
        call["to"] = sent.recipient
    parent = hex(max(block.header.height - 1, 0))
    endpoint = client.preferred(block.header.height)
    if endpoint is None:
        return None
    try:
        await client.ask(endpoint, RpcCall("eth_call", (call, parent), str))
    except RpcError as error:
        return revert_data_in(error.body.data)
    except Retryable:
        return None
    return None


def revert_data_in(data: Any) -> bytes | None:
    """The revert data in the `data` of a JSON-RPC error, whose shape nodes vary."""
    if isinstance(data, dict):
        candidates: Sequence[Any] = [data.get("data"), data.get("result")]
    else:
        candidates = [data]
    for candidate in candidates:
        if isinstance(candidate, str) and "0x" in candidate:
            text = candidate[candidate.index("0x") :].strip()
            try:
                return bytes.fromhex(text[2:])
            except ValueError:
                continue
    return None
