"""Transactions as trees of calls: what a node would answer, and what truly happened.

The truth is read off the tree by a walk that knows nothing of logs or stack heights.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field

import msgspec
from solders.pubkey import Pubkey

from idl.base58 import to_base58
from indexer.solana.assemble import Placed
from indexer.solana.messages import RpcTransaction

TAG = hashlib.sha256(b"anchor:event").digest()[:8][::-1]
LOG_LIMIT = 10_000  # bytes; agave's LogCollector


def key(name: str) -> str:
    return to_base58(hashlib.sha256(name.encode()).digest())


def signature(name: str) -> str:
    return to_base58(hashlib.sha512(name.encode()).digest())


def authority(program: str) -> str:
    found = Pubkey.find_program_address(
        [b"__event_authority"], Pubkey.from_string(program)
    )
    return str(found[0])


@dataclass
class Call:
    """One instruction and, in order, what its program did: lines, events, calls."""

    program: str
    data: bytes = b"\0"
    accounts: list[str] = field(default_factory=list)
    does: list = field(default_factory=list)
    silent: bool = False  # a precompiled program: nothing in the logs


@dataclass
class Say:
    """A line of a program's own: `msg!`."""

    text: str


@dataclass
class Log:
    """An event in a data line: `emit!`."""

    body: bytes


def emit(program: str, body: bytes) -> Call:
    """An event that a program gives to itself: `emit_cpi!`."""
    return Call(program, TAG + body, [authority(program)])


class LogCollector:
    """As agave's: what does not fit is left out, what is short enough still fits."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self.warned, self.lines = limit, 0, False, []

    def add(self, line: str) -> None:
        if self.used + len(line) >= self.limit:
            if not self.warned:
                self.warned = True
                self.lines.append("Log truncated")
            return
        self.used += len(line)
        self.lines.append(line)


def response(
    calls, *, slot=5, name="tx", index=0, heights=True, version=0, error=None,
    limit=LOG_LIMIT, loaded=0, block_time=1_700_000_000,
):  # fmt: skip
    """The `result` of getTransaction for these calls, one for each of its own."""
    payer = key("payer")
    keys = [payer]

    def visit(call):
        for each in [*call.accounts, call.program]:
            if each not in keys:
                keys.append(each)
        for each in call.does:
            if isinstance(each, Call):
                visit(each)

    for call in calls:
        visit(call)
    logs = LogCollector(limit)
    inner = []

    def instruction(call, depth):
        return {
            "programIdIndex": keys.index(call.program),
            "accounts": [keys.index(each) for each in call.accounts],
            "data": to_base58(call.data),
            "stackHeight": depth if heights else None,
        }

    def run(call, depth, into):
        if not call.silent:
            logs.add(f"Program {call.program} invoke [{depth}]")
        for each in call.does:
            if isinstance(each, Call):
                into.append(instruction(each, depth + 1))
                run(each, depth + 1, into)
            elif isinstance(each, Log):
                logs.add("Program data: " + base64.b64encode(each.body).decode())
            else:
                logs.add(f"Program log: {each.text}")
        if not call.silent:
            logs.add(f"Program {call.program} consumed 1 of 200000 compute units")
            end = "success" if error is None else "failed: custom program error: 0x1770"
            logs.add(f"Program {call.program} {end}")

    for at, call in enumerate(calls):
        into = []
        run(call, 1, into)
        if into:
            inner.append({"index": at, "instructions": into})
    static = keys[: len(keys) - loaded] if loaded else keys
    rest = keys[len(static) :]
    return {
        "slot": slot,
        "blockTime": block_time,
        "transactionIndex": index,
        "version": version,
        "transaction": {
            "signatures": [signature(name)],
            "message": {
                "accountKeys": static,
                "instructions": [instruction(call, 1) for call in calls],
            },
        },
        "meta": {
            "err": error,
            "innerInstructions": inner,
            "logMessages": logs.lines,
            "loadedAddresses": {
                "writable": rest[: loaded // 2],
                "readonly": rest[loaded // 2 :],
            },
        },
    }


def placed(calls, slot=9, index=0, **how):
    """The transaction as the assembler is given it."""
    answer = response(calls, slot=slot, index=index, name=f"{slot} {index}", **how)
    transaction = msgspec.json.decode(json.dumps(answer), type=RpcTransaction)
    return Placed(transaction, index, 1_700_000_000)


def truth(calls, program):
    """What a program did, as (number, kind, bytes), read off the tree.

    An event that stands in a line and in an instruction of its own is one.
    """
    found, number = [], -1

    def visit(call, caller):
        nonlocal number
        number += 1
        if call.program == program:
            if call.data[:8] == TAG:
                kind = "given" if caller == program else "forged"
                found.append((number, kind, call.data[8:]))
            else:
                found.append((number, "call", call.data))
        for each in call.does:
            if isinstance(each, Call):
                visit(each, call.program)
            elif isinstance(each, Log):
                number += 1
                if call.program == program:
                    found.append((number, "line", each.body))

    for call in calls:
        visit(call, None)
    given = [body for _, kind, body in found if kind == "given"]
    once = []
    for each in found:
        if each[1] == "line" and each[2] in given:
            given.remove(each[2])
            continue
        once.append(each)
    return once
