"""Methods that read history: blocks, transactions, signatures and their statuses.

Source: agave rpc/src/rpc.rs. The node keeps everything, as one with long-term storage.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from solders.pubkey import Pubkey

from .call import Call, newest_version, pubkey, signature, unsigned
from .chain import RECENT_SLOTS, Block, Record
from .encoding import ENCODINGS, encode_record, status
from .errors import block_not_available, filter_not_found, invalid, slot_skipped

BLOCKS_MAX = 500_000
SIGNATURES_MAX = 1_000
STATUSES_MAX = 256
MEMO_PROGRAMS = (
    Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
    Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
)
DETAILS = ("full", "accounts", "signatures", "none")


def get_block(call: Call) -> Any:
    """Return a block; a slot without one and a slot to come are different errors."""
    slot, config = call.number(0), _encoded(call, 1)
    top = call.slot({"commitment": config.get("commitment")}, confirmed=True)
    if slot > top:
        raise block_not_available(slot)
    block = call.chain.blocks.get(slot)
    if block is None:
        raise _absent(call, slot)
    details = config.get("transactionDetails") or "full"
    if details not in DETAILS:
        raise _unknown(details, DETAILS)
    body: dict[str, Any] = {
        "previousBlockhash": str(block.previous),
        "blockhash": str(block.blockhash),
        "parentSlot": block.parent,
    }
    newest = newest_version(config)
    if details == "signatures":
        body["signatures"] = [record.signature for record in block.records]
    elif details != "none":
        rewards = config.get("rewards", True)
        body["transactions"] = [
            encode_record(record, _encoding(config), newest, details, rewards=rewards)
            for record in block.records
        ]
    if config.get("rewards", True):
        body["rewards"] = []
    return {**body, "blockTime": block.time, "blockHeight": block.height}


def get_blocks(call: Call) -> Any:
    """Return the slots with blocks in a closed range."""
    first = call.number(0)
    second = call.params[1] if len(call.params) > 1 else None
    config = second if isinstance(second, dict) else call.config(2)
    top = call.slot(config, confirmed=True)
    asked = second if second is not None and not isinstance(second, dict) else None
    last = min(first + BLOCKS_MAX if asked is None else unsigned(asked), top)
    if last - first > BLOCKS_MAX:
        raise invalid(f"Slot range too large; max {BLOCKS_MAX}")
    return call.chain.between(first, last)


def get_blocks_with_limit(call: Call) -> Any:
    """Return so many slots with blocks, from one on."""
    first, limit = call.number(0), call.number(1)
    if limit > BLOCKS_MAX:
        raise invalid(f"Limit too large; max {BLOCKS_MAX}")
    top = call.slot(call.config(2), confirmed=True)
    return call.chain.between(first, top)[:limit]


def get_block_time(call: Call) -> Any:
    """Return the time of a slot in seconds."""
    slot = call.number(0)
    if slot > call.ladder.processed:
        raise block_not_available(slot)
    block: Block | None = call.chain.blocks.get(slot)
    if block is None:
        raise _absent(call, slot)
    return block.time


def _absent(call: Call, slot: int) -> Exception:
    """Say that a slot was skipped, which a node knows only below what is final."""
    if slot < call.ladder.finalized:
        return slot_skipped(slot)
    return block_not_available(slot)


def get_transaction(call: Call) -> Any:
    """Return a transaction, or null for one that is not there at the commitment."""
    signature(call.text(0))
    config = _encoded(call, 1)
    top = call.slot({"commitment": config.get("commitment")}, confirmed=True)
    record = call.chain.by_signature.get(call.text(0))
    if record is None or record.slot > top:
        return None
    body = encode_record(record, _encoding(config), newest_version(config))
    body = {"slot": record.slot, **body, "blockTime": record.block_time}
    if call.options.transaction_index:
        body["transactionIndex"] = record.index
    return body


def get_signatures_for_address(call: Call) -> Any:
    """Return transactions that name an address, the newest first."""
    address, config = pubkey(call.text(0)), call.config(1)
    cursors = {}
    for name in ("before", "until"):
        if config.get(name) is not None:
            signature(config[name])
            cursors[name] = config[name]
    limit = config.get("limit")
    limit = SIGNATURES_MAX if limit is None else unsigned(limit)
    if not 0 < limit <= SIGNATURES_MAX:
        raise invalid(f"Invalid limit; max {SIGNATURES_MAX}")
    top = call.slot(config, confirmed=True)
    records = call.chain.records_of(address, top)
    first, last = 0, len(records)
    if "before" in cursors:
        place = _cursor(call, cursors["before"], top)
        last = bisect_left(records, place, key=_place) if place else 0
    if "until" in cursors:
        place = _cursor(call, cursors["until"], top)
        first = bisect_right(records, place, key=_place) if place else 0
    chosen = records[max(first, last - limit) : last][::-1]
    return [_listed(call, record) for record in chosen]


def memo(record: Record) -> str | None:
    """Return the memos of a transaction, each with its length in bytes."""
    found = []
    for one in record.transaction.message.instructions:
        if record.done.keys[one.program_id_index] in MEMO_PROGRAMS:
            data = bytes(one.data)
            try:
                text = data.decode()
            except UnicodeDecodeError:
                text = "(unparseable)"
            found.append(f"[{len(data)}] {text}")
    return "; ".join(found) or None


def _cursor(call: Call, name: str, top: int) -> tuple[int, int] | None:
    record = call.chain.by_signature.get(name)
    if record is not None and record.slot <= top:
        return record.place
    if call.options.unknown_cursor_fails:
        raise filter_not_found(name)
    return None


def _place(record: Record) -> tuple[int, int]:
    return record.place


def _listed(call: Call, record: Record) -> dict[str, Any]:
    row = {
        "signature": record.signature,
        "slot": record.slot,
        "err": record.done.told.error,
        "memo": memo(record),
        "blockTime": record.block_time,
        "confirmationStatus": (
            "finalized" if record.slot <= call.ladder.finalized else "confirmed"
        ),
    }
    if call.options.transaction_index:
        row["transactionIndex"] = record.index
    return row


def get_signature_statuses(call: Call) -> Any:
    """Return how far transactions are; older ones only with a search of history."""
    names = call.texts(0, STATUSES_MAX)
    search = bool(call.config(1).get("searchTransactionHistory"))
    for name in names:
        signature(name)
    return call.context(
        call.ladder.processed, [_status(call, name, search) for name in names]
    )


def _status(call: Call, name: str, search: bool) -> dict[str, Any] | None:
    record, ladder = call.chain.by_signature.get(name), call.ladder
    if record is None or record.slot > ladder.processed:
        return None
    if not search and record.slot < ladder.processed - RECENT_SLOTS:
        return None
    height = call.chain.blocks[ladder.processed].height
    done = record.slot <= ladder.finalized
    confirmed = "confirmed" if record.slot <= ladder.confirmed else "processed"
    error = record.done.told.error
    return {
        "slot": record.slot,
        "confirmations": (
            None if done else height - call.chain.blocks[record.slot].height
        ),
        "status": status(error),
        "err": error,
        "confirmationStatus": "finalized" if done else confirmed,
    }


def _encoded(call: Call, place: int) -> dict[str, Any]:
    """Return the configuration; a string there is the encoding alone."""
    found = call.params[place] if len(call.params) > place else None
    return {"encoding": found} if isinstance(found, str) else call.config(place)


def _encoding(config: dict[str, Any]) -> str:
    encoding = config.get("encoding") or "json"
    if encoding not in ENCODINGS:
        raise _unknown(encoding, ENCODINGS)
    return str(encoding)


def _unknown(found: Any, known: tuple[str, ...]) -> Exception:
    return invalid(
        f"Invalid params: unknown variant `{found}`, expected one of "
        + ", ".join(f"`{one}`" for one in known)
        + "."
    )


METHODS: dict[str, Callable[[Call], Any]] = {
    "getBlock": get_block,
    "getBlocks": get_blocks,
    "getBlocksWithLimit": get_blocks_with_limit,
    "getBlockTime": get_block_time,
    "getTransaction": get_transaction,
    "getSignaturesForAddress": get_signatures_for_address,
    "getSignatureStatuses": get_signature_statuses,
}
