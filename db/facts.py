"""Facts: one decoded, stored occurrence of an event; never updated."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from db.declare import Event
from db.wire import Bytes2D, Column, encode_value

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact in Python form, as small sources and tests make them."""

    event: type[Event]
    position: int
    block_time: int
    transaction: bytes
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FactColumns:
    """The facts of one event in a batch, by column, in order of position.

    `values` has one `db.wire` column for each field of the event.
    """

    event: type[Event]
    positions: Int64s
    block_times: Int64s
    transactions: Bytes2D  # (facts, bytes of an id: 32 on EVM chains, 64 on Solana)
    values: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.positions)

    def within(self, first: int, last: int) -> "FactColumns":
        """The facts at positions first..last, both included."""
        lo = int(np.searchsorted(self.positions, first, side="left"))
        hi = int(np.searchsorted(self.positions, last, side="right"))
        return FactColumns(
            self.event,
            self.positions[lo:hi],
            self.block_times[lo:hi],
            self.transactions[lo:hi],
            {name: column[lo:hi] for name, column in self.values.items()},
        )


def columns_from_facts(facts: Iterable[Fact]) -> list[FactColumns]:
    """Group Python facts by event and encode them; each value is checked."""
    by_event: dict[str, list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.position):
        by_event.setdefault(fact.event.spec.id, []).append(fact)
    return [_columns(group[0].event, group) for group in by_event.values()]


def _columns(event: type[Event], facts: Sequence[Fact]) -> FactColumns:
    values: dict[str, Column] = {
        name: [encode_value(field, field.check(fact.values[name])) for fact in facts]
        for name, field in event.spec.fields.items()
    }
    transactions = b"".join(fact.transaction for fact in facts)
    return FactColumns(
        event,
        np.array([fact.position for fact in facts], dtype=np.int64),
        np.array([fact.block_time for fact in facts], dtype=np.int64),
        np.frombuffer(transactions, dtype=np.uint8).reshape(len(facts), -1),
        values,
    )
