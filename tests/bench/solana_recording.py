"""A long history of the program `ledger`, made of transactions that really ran.

Some hundreds are sent to the development node, which runs the real program, and their
answers are recorded. The history repeats them with other signatures, keys, ids,
amounts, slots and times, in the text and in the bytes of instructions and logs alike.
It is written as a node would answer it, to three files that `solana_replay.py` maps:

    transactions   the result of getTransaction, one after the other, in their order
    lines          what getSignaturesForAddress lists, newest first, with commas
    index          a row of integers for each transaction: slot, and where both end
"""

import base64
import json
import random
import re
import struct
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from based58 import b58decode, b58encode
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.solana import ledger, version1
from devnet.solana.client import Devnet
from devnet.solana.ledger import Entry
from devnet.solana.run import NodeOptions, SolanaNode

RECORDED, AUTHORS, PEOPLE = 240, 20_000, 50_000
FIRST_SLOT, FIRST_TIME = 1_000, 1_767_571_200
ASKED = {
    "encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 1
}  # fmt: skip
PROGRAM = str(ledger.PROGRAM)
FIXED = {
    PROGRAM, str(ledger.event_authority()), "1" * 32,
    "ComputeBudget111111111111111111111111111111",
}  # fmt: skip


def record(count: int = RECORDED, seed: int = 1) -> list[tuple[dict, list[bytes]]]:
    """Send transactions to a node; each as it is answered, with what to renumber.

    That is the id, and each amount in its eight bytes with their sum at the end.
    """
    chance = random.Random(seed)
    with SolanaNode(NodeOptions(slot_ms=0)) as node:
        devnet = Devnet(node.url)
        devnet.fund(lamports=10**12)
        sent = []
        for _ in range(count):
            sent.append(_send(devnet, chance))
            devnet.advance()
        devnet.advance(40)
        return [
            (devnet.call("getTransaction", signature, ASKED), values)
            for signature, values in sent
        ]


def _send(devnet: Devnet, chance: random.Random) -> tuple[str, list[bytes]]:
    key, identity = devnet.payer.pubkey(), chance.randbytes(32)
    amounts = [chance.randrange(10**11, 10**12) for _ in range(chance.randint(1, 5))]
    entry = Entry(
        tuple(amounts),
        level=chance.randrange(200),
        urgent=chance.random() < 0.2,
        note=chance.choice(["", "rent", "a longer note about what this was for", "é"]),
        limit=chance.choice([None, 2**64 - 1]),
        kind=chance.choice([(0,), (1, 5, True), (2, 3, 9)]),
    )
    people = [Keypair().pubkey() for _ in amounts]
    referrer = Keypair().pubkey() if chance.random() < 0.3 else None
    made = chance.choice([ledger.emit, ledger.emit_by_call, ledger.record])
    call = made(key, identity, entry, people, referrer)
    calls = [call]
    if chance.random() < 0.3:
        calls.append(ledger.mark(chance.randrange(2**40, 2**41), chance.randrange(99)))
    if made is not ledger.record and chance.random() < 0.1:
        calls[0] = ledger.relay(call)
    if chance.random() < 0.05:
        calls.append(ledger.fail(6000))
    version = chance.choice(["legacy", 0, 1])
    if version == 1:
        signed = version1.sign(
            calls, [devnet.payer], devnet.blockhash(), unit_limit=600_000
        )
    else:
        signed = devnet.sign(calls, legacy=version == "legacy")
    signature = devnet.post(signed, skipPreflight=True)
    numbers = [struct.pack("<Q", each) for each in (*amounts, sum(amounts))]
    return signature, [identity, *numbers]


@dataclass(frozen=True)
class _Blob:
    """Bytes in the text of a transaction, and where in them what to renumber is."""

    raw: bytes
    base58: bool  # else base64
    places: list[tuple[int, int, str]]  # from, to, and the name of what is there


class Template:
    """A recorded transaction whose parts can be replaced."""

    def __init__(self, answer: dict, values: list[bytes]) -> None:
        self.failed = answer["meta"]["err"]
        keys = answer["transaction"]["message"]["accountKeys"]
        self.people = [key for key in keys if key not in FIXED]
        self.amounts = len(values) - 2
        bytes_of = {b58decode(key.encode()): key for key in self.people}
        bytes_of |= {value: str(at) for at, value in enumerate(values)}
        self._blobs: dict[str, _Blob] = {}
        outer = answer["transaction"]["message"]["instructions"]
        inner = [
            each for group in answer["meta"]["innerInstructions"]
            for each in group["instructions"]
        ]  # fmt: skip
        for each in (*outer, *inner):
            raw = b58decode(each["data"].encode())
            self._add(each["data"], raw, bytes_of, base58=True)
        for line in answer["meta"]["logMessages"]:
            if line.startswith("Program data: "):
                text = line.removeprefix("Program data: ")
                self._add(text, base64.b64decode(text), bytes_of, base58=False)
        replaced = {
            answer["transaction"]["signatures"][0]: "signature",
            f'"slot":{answer["slot"]},': "slot",
            f'"blockTime":{answer["blockTime"]}': "time",
            f'"transactionIndex":{answer["transactionIndex"]}': "index",
            **{key: key for key in self.people},
            **{text: text for text in self._blobs},
        }
        whole = json.dumps(answer, separators=(",", ":"))
        pattern = "|".join(map(re.escape, sorted(replaced, key=len, reverse=True)))
        self._parts = re.split(f"({pattern})", whole)
        self._names = [replaced[each] for each in self._parts[1::2]]

    def _add(self, text: str, raw: bytes, named: dict, *, base58: bool) -> None:
        places = []
        for value, name in named.items():
            places += [
                (each.start(), each.end(), name)
                for each in re.finditer(re.escape(value), raw)
            ]
        if places and text not in self._blobs:
            self._blobs[text] = _Blob(raw, base58, places)

    def render(self, told: dict[str, str], raw: dict[str, bytes]) -> str:
        """The text with other values: `told` as text, `raw` those in bytes."""
        values = dict(told)
        for text, blob in self._blobs.items():
            body = bytearray(blob.raw)
            for first, end, name in blob.places:
                body[first:end] = raw[name]
            values[text] = (
                b58encode(bytes(body)).decode()
                if blob.base58
                else base64.b64encode(body).decode()
            )
        parts = self._parts[:]
        parts[1::2] = [values[name] for name in self._names]
        return "".join(parts)


def write(folder: Path, count: int, seed: int = 1) -> dict:
    """Write a history of this many transactions; returns what is true of it."""
    chance = random.Random(seed)
    templates = [Template(*each) for each in record(seed=seed)]
    author = [_key(chance) for _ in range(AUTHORS)]
    people = [_key(chance) for _ in range(PEOPLE)]
    index = np.zeros((count, 3), dtype=np.int64)
    lines: list[str] = []
    total = entries = failed = 0
    slot, place, end = FIRST_SLOT, 0, 0
    with (folder / "transactions").open("wb") as file:
        for at in range(count):
            template = chance.choice(templates)
            if chance.random() < 0.6 and at:
                slot, place = slot + chance.randint(1, 5), 0
            else:
                place += chance.randint(1, 300)
            signature = b58encode(chance.randbytes(64)).decode()
            others = chance.sample(people, len(template.people) - 1)
            keys = [chance.choice(author), *others]
            named = dict(zip(template.people, keys, strict=True))
            amounts = [
                chance.randrange(1, 10**12) for _ in range(template.amounts)
            ]  # fmt: skip
            numbers = [chance.randbytes(32), *map(_u64, (*amounts, sum(amounts)))]
            told = {
                "signature": signature,
                "slot": f'"slot":{slot},',
                "time": f'"blockTime":{time_of(slot)}',
                "index": f'"transactionIndex":{place}',
                **{key: text for key, (text, _) in named.items()},
            }
            raw = {str(at): number for at, number in enumerate(numbers)}
            raw |= {key: each for key, (_, each) in named.items()}
            end += file.write(template.render(told, raw).encode())
            lines.append(_line(signature, slot, place, template.failed))
            index[at, :2] = slot, end
            if template.failed is None:
                entries, total = entries + 1, total + sum(amounts)
            failed += template.failed is not None
    lines.reverse()
    (folder / "lines").write_text(",".join(lines))
    index[:, 2] = list(accumulate(len(each) + 1 for each in lines))
    np.save(folder / "index.npy", index)
    return {"total": total, "entries": entries, "failed": failed, "last": slot}


def time_of(slot: int) -> int:
    """The time of the block in a slot."""
    return FIRST_TIME + slot * 2 // 5


def _line(signature: str, slot: int, place: int, error: object) -> str:
    line = {
        "signature": signature, "slot": slot, "err": error, "memo": None,
        "blockTime": time_of(slot), "confirmationStatus": "finalized",
        "transactionIndex": place,
    }  # fmt: skip
    return json.dumps(line, separators=(",", ":"))


def _key(chance: random.Random) -> tuple[str, bytes]:
    raw = chance.randbytes(32)
    return str(Pubkey.from_bytes(raw)), raw


def _u64(number: int) -> bytes:
    return struct.pack("<Q", number)
