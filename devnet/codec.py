"""Speaks one contract's ABI: calls out, results, events and custom errors back.

Small and complete for this purpose, and independent of the indexer's decoder, which
the tests compare against real chains made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from abis import load_abi

Abi = Mapping[str, Any]
"""One entry of an ABI. Any: its shape depends on its ``type``."""


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded log."""

    name: str
    address: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decoded custom error."""

    name: str
    args: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


class Interface:
    """The ABI of one contract, ready for use."""

    def __init__(self, name: str, abi: list[dict[str, Any]]) -> None:
        self.name = name
        self._abi = abi

    def encode_call(self, function: str, *args: object) -> str:
        """Return a transaction's input."""
        entry = self._function(function, len(args))
        return _hex(_selector(entry) + encode(_types(entry["inputs"]), args))

    def decode_result(self, function: str, arity: int, data: str) -> Any:
        """Return what a call gave: a value, or a tuple of several."""
        entry = self._function(function, arity)
        values = decode(_types(entry["outputs"]), _bytes(data))
        return values[0] if len(values) == 1 else values

    def encode_constructor(self, *args: object) -> bytes:
        """Return what follows the bytecode in a deployment."""
        entries = [e for e in self._abi if e["type"] == "constructor"]
        return encode(_types(entries[0]["inputs"]) if entries else [], args)

    def topic(self, event: str) -> str:
        """Return the first topic of an event's logs."""
        (topic,) = (t for t, e in self._events.items() if e["name"] == event)
        return topic

    def decode_log(self, log: Mapping[str, Any]) -> Event | None:
        """Return a log's event, or None when it is not one of this contract."""
        entry = self._events.get(log["topics"][0]) if log["topics"] else None
        if entry is None:
            return None
        indexed = [i for i in entry["inputs"] if i["indexed"]]
        plain = [i for i in entry["inputs"] if not i["indexed"]]
        if len(log["topics"]) != len(indexed) + 1:
            return None
        values = dict(
            zip(
                (i["name"] for i in plain),
                decode(_types(plain), _bytes(log["data"])),
                strict=True,
            )
        )
        for entry_input, topic in zip(indexed, log["topics"][1:], strict=True):
            values[entry_input["name"]] = _topic(entry_input["type"], _bytes(topic))
        args = {i["name"]: values[i["name"]] for i in entry["inputs"]}
        return Event(entry["name"], log["address"].lower(), args)

    def decode_refusal(self, data: str) -> Refusal | None:
        """Return the custom error in revert data, or None when it is not known."""
        raw = _bytes(data)
        entry = self._errors.get(raw[:4])
        if entry is None:
            return None
        return Refusal(entry["name"], decode(_types(entry["inputs"]), raw[4:]))

    def _function(self, name: str, arity: int) -> Abi:
        for entry in self._abi:
            named = entry["type"] == "function" and entry["name"] == name
            if named and len(entry["inputs"]) == arity:
                return entry
        raise LookupError(f"{self.name} has no function {name} of {arity} arguments")

    @cached_property
    def _events(self) -> dict[str, Abi]:
        events = (e for e in self._abi if e["type"] == "event")
        return {_hex(keccak(text=_signature(e))): e for e in events}

    @cached_property
    def _errors(self) -> dict[bytes, Abi]:
        return {_selector(e): e for e in self._abi if e["type"] == "error"}


@cache
def interface(contract: str) -> Interface:
    """Return the interface of a contract whose ABI lies in ``abis/``."""
    return Interface(contract, load_abi(contract))


def bytes32(text: str) -> bytes:
    """Return a short text as Solidity keeps it in a ``bytes32``."""
    raw = text.encode()
    if len(raw) > 32:
        raise ValueError(f"{text!r} is longer than 32 bytes: use its hash")
    return raw.ljust(32, b"\0")


def created_address(sender: str, nonce: int) -> str:
    """Return where a sender's nth creation lands: keccak of the RLP of both."""
    count = nonce.to_bytes((nonce.bit_length() + 7) // 8)
    if not count or count[0] > 0x7F or len(count) > 1:
        count = bytes([0x80 + len(count)]) + count
    body = b"\x94" + bytes.fromhex(sender.removeprefix("0x")) + count
    return "0x" + keccak(bytes([0xC0 + len(body)]) + body)[12:].hex()


def _signature(entry: Abi) -> str:
    return f"{entry['name']}({','.join(_types(entry['inputs']))})"


@cache
def _keccak4(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def _selector(entry: Abi) -> bytes:
    return _keccak4(_signature(entry))


def _types(parameters: list[dict[str, Any]]) -> list[str]:
    return [_type(parameter) for parameter in parameters]


def _type(parameter: Abi) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_types(parameter["components"]))
    return f"({inner}){kind.removeprefix('tuple')}"


def _topic(kind: str, raw: bytes) -> Any:
    """Return an indexed value; of a dynamic one only the hash is left."""
    if kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("tuple"):
        return raw
    return decode([kind], raw)[0]


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def _bytes(data: str) -> bytes:
    return bytes.fromhex(data.removeprefix("0x"))
