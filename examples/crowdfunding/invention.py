"""The memory of made-up business, and its seeded dice.

Everything comes from one seeded source: the same seed on the same chain gives the
same calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from eth_utils.crypto import keccak

from devnet.client import Call, Contract

T = TypeVar("T")

ETHER = 10**18
DAY = 86_400
MARGIN_SECONDS = 600
"""How long before its deadline a campaign is left alone: blocks take time."""

METHODS = ("telebirr", "cbe", "awash", "dashen", "abyssinia", "other")
SECTORS = ("Coffee", "Textiles", "Solar", "Logistics", "Dairy", "Software")
REASONS = ("documents expired", "duplicate", "court order", "issuer request")

OPEN = ("active", "funded")
REPAYING = ("failed", "cancelled", "refunding")


@dataclass(slots=True)
class Issuer:
    """Someone who may raise money."""

    address: str
    active: bool = True
    year: int = 0
    campaign: Campaign | None = None

    def may_start(self, year: int) -> bool:
        """Whether the registry lets it start a campaign in a year."""
        return self.active and self.campaign is None and self.year != year


@dataclass(slots=True)
class Campaign:
    """One campaign, as far as deciding what can happen to it needs."""

    contract: Contract
    issuer: Issuer
    goal: int
    deadline: int
    fee_bps: int
    status: str = "active"
    paused: bool = False
    raised: int = 0
    native_held: int = 0
    fiat: dict[str, set[str]] = field(default_factory=dict)
    investors: list[str] = field(default_factory=list)
    unpaid: list[str] = field(default_factory=list)
    uncertified: list[str] = field(default_factory=list)
    owed: list[tuple[str, str]] = field(default_factory=list)

    def is_open(self, now: int) -> bool:
        """Whether it surely takes an investment now."""
        soon = now + MARGIN_SECONDS
        return self.status in OPEN and not self.paused and soon < self.deadline


@dataclass(slots=True)
class Action:
    """A call, and whether the contracts should accept it."""

    name: str
    call: Call
    accepted: bool = True


Choices = list[tuple[float, Callable[[int], Action | None]]]
"""What may be done at a time, by weight; each may find that it can not be now."""


@dataclass(frozen=True, slots=True)
class People:
    """The people who act. The operator is the platform; investors hold keys."""

    admin: str
    operator: str
    investors: Sequence[str]

    def by_operator(self, to: Contract, function: str, *args: object) -> Action:
        """Make an action of the platform, named after what it calls."""
        return Action(function, Call(self.operator, to, function, args))

    def by_admin(self, to: Contract, function: str, *args: object) -> Action:
        """Make an action of the administrator, named after what it calls."""
        return Action(function, Call(self.admin, to, function, args))


class Dice:
    """The one source of chance, and names drawn with it."""

    def __init__(self, seed: int, tag: str) -> None:
        self.source = random.Random(seed)  # noqa: S311 (it must be predictable)
        self._tag = f"{tag}/{seed}"
        self._references = 0

    def one(self, among: Sequence[T]) -> T | None:
        """Draw one, or nothing from nothing."""
        return self.source.choice(among) if among else None

    def choice(self, among: Sequence[T]) -> T:
        """Draw one."""
        return self.source.choice(among)

    def address(self, kind: str, number: int) -> str:
        """Name somebody who holds no key here."""
        return "0x" + keccak(text=f"{kind}/{number}")[12:].hex()

    def cid(self) -> str:
        """Name a document."""
        return f"ipfs://bafy{self.source.getrandbits(128):032x}"

    def reference(self) -> bytes:
        """Name a payment made elsewhere; never twice."""
        self._references += 1
        return keccak(text=f"{self._tag}/payment/{self._references}")

    def amount(self, goal: int) -> int:
        """Draw an investment: most are a few percent of the goal, some are tiny."""
        if self.source.random() < 0.05:
            return self.source.choice((1, ETHER // 100, 100 * ETHER))
        return goal * self.source.randint(5, 150) // 1_000
