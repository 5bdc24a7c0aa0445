"""Logs to columns: a decoder for each event on the chain, working on whole batches.

The hex of all logs of an event is joined, turned into bytes at once and viewed as numpy
words: topics of shape (indexed, n, 32), data of shape (n, words, 32). `db.wire` makes a
column of each. Events with strings, arrays or structs are decoded log by log. A log
that is not what its ABI says becomes an `UndecodableLog`, and the others are decoded
without it; where only values had to be mended it is kept as a fact all the same
(`indexer.evm.abi`). Bytes after the last value are ignored. Hex that is
not hex, or an address that is not 20 bytes, is the node's fault: `Malformed`.
"""

import binascii
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from eth_abi.abi import decode, encode

from db.declare import DeclarationError, Event, Field, Json
from db.declare.evm.signatures import identity
from db.declare.evm.types import field_for_abi
from db.declare.fields import Blob
from db.facts import FactColumns, Int64s
from db.wire import Bytes2D, Column, encode_value, encode_words
from indexer.evm.abi import (
    AbiDecodeError,
    Layout,
    Param,
    decode_body,
    decode_topic,
    head_offset,
    layout_of,
    mended_words,
    plain,
    valid_words,
)
from indexer.evm.messages import RpcLog, unhex
from indexer.rpc.messages import Malformed
from indexer.source import UndecodableLog

Words = npt.NDArray[np.uint8]  # (n, words, 32), or (indexed, n, 32) for topics

_ZERO, _X = ord("0"), ord("x")


@dataclass(frozen=True, slots=True)
class Logs:
    """Logs of one event with their places, in order of position."""

    logs: Sequence[RpcLog]
    positions: Int64s
    block_times: Int64s

    def take(self, indexes: Sequence[int] | Int64s) -> "Logs":
        """Return the logs at the given indexes."""
        at = np.asarray(indexes, dtype=np.int64)
        return Logs(
            [self.logs[i] for i in indexes], self.positions[at], self.block_times[at]
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """The decodable logs of one event in one answer."""

    positions: Int64s
    block_times: Int64s
    transactions: Bytes2D  # (n, 32)
    emitters: Bytes2D  # (n, 20)
    topics: Words  # without topic0, so topic i is at i - 1
    words: Words  # of the data, when the event's layout is fixed, else of no size
    bodies: Sequence[Sequence[Any]]  # values of the data, when it is not


@dataclass(frozen=True, slots=True)
class _Where:
    """One condition of `where`: the parameter, the value as a word and in Python."""

    param: Param
    word: npt.NDArray[np.uint8]
    value: Any


class EventDecoder:
    """Decodes one event of a contract into the facts of each event declared on it."""

    def __init__(
        self, contract: str, abi: Mapping[str, Any], events: Iterable[type[Event]]
    ) -> None:
        self.layout: Layout = layout_of(abi)
        self.contract = contract
        self.events = tuple(events)
        self.name = f"{contract}.{self.layout.signature}"
        self._wheres = {
            event.spec.id: [
                _where(self.layout.param(name), value)
                for name, value in event.spec.where.items()
            ]
            for event in self.events
        }
        self._emitted = any(
            item.emitter for e in self.events for item in e.spec.fields.values()
        )

    def __repr__(self) -> str:
        return f"EventDecoder({self.name})"

    def read(self, group: Logs) -> tuple[Piece, list[UndecodableLog]]:
        """Decode the logs of one answer; bad and mended ones come back beside them."""
        topics = self._valid_topics(group.logs)
        words = self._valid_words(group.logs) if self.layout.fixed else None
        if topics is not None and words is not None:
            return self._piece(group, topics, words, ()), []
        good: list[int] = []
        bodies: list[Sequence[Any]] = []
        bad: list[UndecodableLog] = []
        for index, log in enumerate(group.logs):
            at = int(group.positions[index])
            notes: list[str] = []
            try:
                if topics is None:
                    self._check_topics(log, notes)
                bodies.append(decode_body(self.layout, unhex(log.data), notes))
                good.append(index)
            except AbiDecodeError as error:
                bad.append(self._refuse(log, at, str(error)))
                continue
            if notes:
                bad.append(self._refuse(log, at, "; ".join(notes), kept=True))
        if len(good) < len(group.logs) or topics is None:
            group = group.take(good)
            topics = self._topics(group.logs).copy()
            for param in self.layout.indexed:
                if param.elementary:
                    place = param.slot - 1
                    topics[place] = mended_words(param.type, topics[place])
        if self.layout.fixed:
            words = self._words(group.logs).copy()
            for param in self.layout.body:
                words[:, param.slot] = mended_words(param.type, words[:, param.slot])
            return self._piece(group, topics, words, ()), bad
        return self._piece(group, topics, np.empty((0, 0, 32), np.uint8), bodies), bad

    def columns(
        self, pieces: Sequence[Piece], wanted: Collection[str]
    ) -> list[FactColumns]:
        """The facts of the wanted declared events, those without any left out."""
        pieces = [piece for piece in pieces if len(piece.positions)]
        if not pieces:
            return []
        whole = _joined(pieces)
        found = []
        for event in self.events:
            if event.spec.id in wanted:
                columns = self._event_columns(event, whole)
                if len(columns):
                    found.append(columns)
        return found

    def _valid_topics(self, logs: Sequence[RpcLog]) -> Words | None:
        """The topics, unless a log has other topics than the event or bad values."""
        if set(map(len, [log.topics for log in logs])) != {self.layout.topics}:
            return None
        words = self._topics(logs)
        for param in self.layout.indexed:
            if param.elementary and not valid_words(param.type, words[param.slot - 1]):
                return None
        return words

    def _check_topics(self, log: RpcLog, notes: list[str]) -> None:
        """Raise DecodeError when a log has not the topics of the event."""
        if len(log.topics) != self.layout.topics:
            raise AbiDecodeError(
                f"{len(log.topics)} topics, {self.layout.signature} has "
                f"{self.layout.topics}"
            )
        for param in self.layout.indexed:
            decode_topic(param, unhex(log.topics[param.slot], 32), notes)

    def addresses_in(self, log: RpcLog, param: Param) -> list[bytes]:
        """The addresses of one parameter, whatever else of the log cannot be read."""
        data = unhex(log.data)
        at, count = 0, 1
        if param.indexed:
            data = b"".join(unhex(topic, 32) for topic in log.topics)
            at = 32 * param.slot
        else:
            at = head_offset(self.layout, param)
            _, bracket, size = param.type.partition("[")
            if bracket and size == "]":
                at = int.from_bytes(data[at : at + 32])
                count = int.from_bytes(data[at : at + 32])
                at += 32
            elif bracket:
                count = int(size[:-1])
        words = [
            data[i : i + 32] for i in range(at, min(at + 32 * count, len(data)), 32)
        ]
        whole = len(words) == count and all(len(word) == 32 for word in words)
        return [word[12:] for word in words] if whole else []

    def _valid_words(self, logs: Sequence[RpcLog]) -> Words | None:
        """The data, unless a log has other words than the event or bad values."""
        if set(map(len, [log.data for log in logs])) != {
            2 + 64 * len(self.layout.body)
        }:
            return None
        words = self._words(logs)
        for param in self.layout.body:
            if not valid_words(param.type, words[:, param.slot]):
                return None
        return words

    def _topics(self, logs: Sequence[RpcLog]) -> Words:
        count = self.layout.topics
        flat = list(chain.from_iterable([log.topics for log in logs]))
        texts = list(chain.from_iterable(flat[at::count] for at in range(1, count)))
        return _bytes_of(texts, 32).reshape(count - 1, len(logs), 32)

    def _words(self, logs: Sequence[RpcLog]) -> Words:
        """The data of logs of a fixed layout, what follows the last value cut off."""
        words = len(self.layout.body)
        texts = [log.data[: 2 + 64 * words] for log in logs]
        return _bytes_of(texts, 32 * words).reshape(len(logs), words, 32)

    def _piece(
        self, group: Logs, topics: Words, words: Words, bodies: Sequence[Sequence[Any]]
    ) -> Piece:
        logs = group.logs
        return Piece(
            group.positions,
            group.block_times,
            _bytes_of([log.transaction_hash for log in logs], 32),
            _bytes_of([log.address for log in logs] if self._emitted else [], 20),
            topics,
            words,
            bodies,
        )

    def _refuse(
        self, log: RpcLog, position: int, reason: str, *, kept: bool = False
    ) -> UndecodableLog:
        return UndecodableLog(
            position,
            unhex(log.address, 20),
            unhex(log.transaction_hash, 32),
            [unhex(topic, 32) for topic in log.topics],
            unhex(log.data),
            self.name,
            reason,
            kept,
        )

    def _event_columns(self, event: type[Event], piece: Piece) -> FactColumns:
        keep = self._matching(event, piece)
        values = {
            name: self._column(item, piece, keep)
            for name, item in event.spec.fields.items()
        }
        return FactColumns(
            event,
            piece.positions[keep],
            piece.block_times[keep],
            piece.transactions[keep],
            values,
        )

    def _matching(self, event: type[Event], piece: Piece) -> Int64s | slice:
        """The indexes of the logs that an event's `where` lets through."""
        wheres = self._wheres[event.spec.id]
        if not wheres:
            return slice(None)
        keep = np.ones(len(piece.positions), dtype=bool)
        for where in wheres:
            slot = where.param.slot
            if where.param.indexed:
                keep &= (piece.topics[slot - 1] == where.word).all(axis=1)
            elif self.layout.fixed:
                keep &= (piece.words[:, slot] == where.word).all(axis=1)
            else:
                keep &= np.array([body[slot] == where.value for body in piece.bodies])
        return np.flatnonzero(keep).astype(np.int64)

    def _column(self, item: Field, piece: Piece, keep: Int64s | slice) -> Column:
        if item.emitter:
            return piece.emitters[keep]
        param = self.layout.param(str(item.param))
        if param.indexed or self.layout.fixed:
            column: Bytes2D
            if param.indexed:
                column = piece.topics[param.slot - 1][keep]
            else:
                column = piece.words[keep, param.slot]
            if isinstance(item, Blob):  # a `function`, the one Blob of a fixed size
                return column[:, :24]
            return encode_words(item, column)
        if isinstance(keep, slice):
            bodies = piece.bodies
        else:
            bodies = [piece.bodies[i] for i in keep]
        values = [body[param.slot] for body in bodies]
        if isinstance(item, Json):
            values = [plain(param.abi, value) for value in values]
        return [encode_value(item, item.check(value)) for value in values]


def decoders_for(
    contract: str, events: Iterable[type[Event]]
) -> dict[str, list[EventDecoder]]:
    """The decoders of the on-chain events, by topic0 in lower-case hex.

    Events with one topic0 are told apart by how many of their parameters are indexed,
    as `Transfer` of ERC-20 and of ERC-721 are; raises DeclarationError where that is
    the same.
    """
    by_topic: dict[str, dict[str, tuple[Mapping[str, Any], list[type[Event]]]]] = {}
    for event in events:
        topic0 = "0x" + layout_of(event.spec.schema).topic0.hex()
        alike = by_topic.setdefault(topic0, {})
        own = alike.setdefault(identity(event.spec.schema), (event.spec.schema, []))
        if event not in own[1]:
            own[1].append(event)
    found = {
        topic0: [EventDecoder(contract, *each) for each in alike.values()]
        for topic0, alike in by_topic.items()
    }
    for decoders in found.values():
        counts = {decoder.layout.topics for decoder in decoders}
        if len(counts) < len(decoders):
            raise DeclarationError(
                f"{contract}.{decoders[0].layout.signature}",
                "two events with this signature have as many indexed parameters, so "
                "their logs cannot be told apart",
                "keep one of them in the ABI",
            )
    return found


def _where(param: Param, value: Any) -> _Where:
    field = field_for_abi(param.type, indexed=param.indexed, param=param.name)
    word = encode([param.type], [field.check(value)])
    return _Where(
        param, np.frombuffer(word, dtype=np.uint8), decode([param.type], word)[0]
    )


def _bytes_of(texts: Sequence[str], size: int) -> Bytes2D:
    """Hex texts, each `0x` and `size` bytes, as an array of shape (n, size)."""
    if set(map(len, texts)) - {2 + 2 * size}:
        raise Malformed(f"a node sent hex that is not {size} bytes long: ask again")
    if not texts or not size:
        return np.empty((len(texts), size), dtype=np.uint8)
    try:
        joined = "".join(texts).encode("ascii")
        rows = np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), 2 + 2 * size)
        if (rows[:, 0] != _ZERO).any() or (rows[:, 1] != _X).any():
            raise ValueError("no 0x")
        raw = binascii.unhexlify(rows[:, 2:].tobytes())
    except ValueError:
        raise Malformed(
            "a node sent text that is not 0x-prefixed hex: ask again"
        ) from None
    return np.frombuffer(raw, dtype=np.uint8).reshape(len(texts), size)


def _joined(pieces: Sequence[Piece]) -> Piece:
    """Pieces of the same event as one, in the order given."""
    if len(pieces) == 1:
        return pieces[0]

    def together(name: str, axis: int = 0) -> Any:
        return np.concatenate([getattr(piece, name) for piece in pieces], axis)

    return Piece(
        together("positions"),
        together("block_times"),
        together("transactions"),
        together("emitters"),
        together("topics", 1),
        together("words"),
        list(chain.from_iterable(piece.bodies for piece in pieces)),
    )
