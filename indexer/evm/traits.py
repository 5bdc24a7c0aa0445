"""Traits that a chain has shown: learnt once, kept with the chain, never dropped.

| trait | values | decides |
|---|---|---|
| `bloom` | `true`, `none`, `wrong` | whether a header's bloom is that of its logs |
| `header` | `ethereum`, `ibft`, `other` | how headers are hashed |
| `receipts` | `standard`, `other` | whether receipts give the header's root |
| `log_index` | `block`, `transaction` | where `logIndex` starts again |
| `positions` | `one`, `mixed` | whether all facts were numbered in one way |

A trait that was learnt stands. A chain that had true blooms and shows none is not
believed: that would be how a node hides logs. `other` alone is tried anew at each
start, and gives way: one node that lies about one block must not end a proof for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BLOOM: Final = "bloom"
HEADER: Final = "header"
RECEIPTS: Final = "receipts"
LOG_INDEX: Final = "log_index"
OTHER: Final = "other"


@dataclass(slots=True)
class Traits:
    """The traits of one chain: those that are stored, and those learnt since."""

    stored: dict[str, str] = field(default_factory=dict)
    learnt: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored = {k: v for k, v in self.stored.items() if v != OTHER}

    def get(self, name: str) -> str | None:
        """The value of a trait, None while it is not known."""
        return self.stored.get(name) or self.learnt.get(name)

    def learn(self, name: str, value: str) -> bool:
        """Take a value for a trait that is not known; whether it was new."""
        if self.get(name) is not None:
            return False
        self.learnt[name] = value
        return True

    def take(self) -> Mapping[str, str]:
        """Return the traits that were learnt and are to be stored."""
        return dict(self.learnt)
