"""Faults between a client and a node: what replicas, proxies and forks do to answers.

A layer over anything that answers methods. Faults come by explicit rules, in the order
in which they were given, or by seed: whether request and attempt meet one, and which,
is a hash, so that a schedule can be played again. The layer changes answers only; a
lagging replica and a fork are asked for from the node below.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import (
    BLOCK_CLEANED_UP,
    LONG_TERM_SLOT_SKIPPED,
    RpcError,
    invalid,
    unsigned_or,
)

LISTS = ("getSignaturesForAddress", "getBlocks", "getBlocksWithLimit")
TRANSACTIONS = ("getTransaction", "getBlock")
TRUNCATED = "Log truncated"
# The methods that a kind of fault concerns, when the rule names none; () is all.
KINDS: dict[str, tuple[str, ...]] = {
    "null": ("getTransaction",),
    "hide": (*LISTS, "getBlock"),
    "shuffle": ("getSignaturesForAddress",),
    "truncate": TRANSACTIONS,
    "empty": LISTS,
    "filter": ("getSignaturesForAddress",),
    "stale": (),
    "limit": (),
    "cut": (),
    "error": (),
    "lose": ("sendTransaction",),
    "fork": (),
    "prune": ("getFirstAvailableBlock", *LISTS, *TRANSACTIONS, "getSignatureStatuses"),
    "mute": tuple(
        f"{kind}Notification" for kind in ("logs", "slot", "signature", "account")
    ),
}


class Backend(Protocol):
    """Anything that answers methods."""

    def answer(self, method: str, params: list[Any], lag: int = 0) -> Any:
        """Answer a request, or raise ``RpcError``."""
        ...


class TooManyError(Exception):
    """The request is answered with HTTP 429."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


class CutError(Exception):
    """The connection ends after some bytes of the answer."""

    def __init__(self, sent: int) -> None:
        super().__init__("cut")
        self.sent = sent


@dataclass(slots=True)
class Rule:
    """A fault that was asked for: of ``times`` requests (0: all) after ``skip``."""

    kind: str
    values: dict[str, Any]
    methods: tuple[str, ...]
    match: str
    skip: int
    times: int
    seen: int = 0
    recent: deque[float] = field(default_factory=deque)

    def within(self, rate: int) -> bool:
        """Count a request, and say whether no more than ``rate`` came in a second."""
        now = time.monotonic()
        while self.recent and self.recent[0] <= now - 1:
            self.recent.popleft()
        if len(self.recent) >= rate:
            return False
        self.recent.append(now)
        return True

    def meets(self, method: str, text: str) -> bool:
        """Count a request that matches, and say whether the fault is its."""
        if self.methods and method not in self.methods:
            return False
        if self.match not in text:
            return False
        self.seen += 1
        return self.seen > self.skip and (
            not self.times or self.seen <= self.skip + self.times
        )


@dataclass(slots=True)
class Seeded:
    """Faults of a share of all requests."""

    seed: int
    share: float
    kinds: tuple[str, ...]
    lag: int
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def rule(self, method: str, text: str) -> Rule | None:
        """Return the fault of a request and attempt, if it has one."""
        attempt = self.attempts[method, text]
        self.attempts[method, text] += 1
        digest = hashlib.sha256(
            f"{self.seed} {method} {text} {attempt}".encode()
        ).digest()
        chance = random.Random(digest)  # noqa: S311 (a schedule, not a secret)
        kinds = [
            kind for kind in self.kinds if not KINDS[kind] or method in KINDS[kind]
        ]
        if not kinds or chance.random() >= self.share:
            return None
        kind = chance.choice(kinds)
        values = {
            "seed": chance.getrandbits(32),
            "lag": chance.randint(1, self.lag),
            "bytes": chance.randint(0, 2000),
            "depth": chance.randint(1, 12),
            "keep": chance.random(),
        }
        return Rule(kind, values, (), "", 0, 0)


class Faults:
    """The layer. Its own methods steer it: ``devnet_fault``, ``devnet_clearFaults``."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.rules: list[Rule] = []
        self.seeded: Seeded | None = None
        self.met: Counter[str] = Counter()
        self.control: dict[str, Callable[[list[Any]], Any]] = {
            "devnet_fault": self._add,
            "devnet_clearFaults": self._clear,
            "devnet_faults": lambda params: dict(self.met),
        }

    def answer(self, method: str, params: list[Any], lag: int = 0) -> Any:
        """Answer a request through the faults that it meets."""
        if method in self.control:
            return self.control[method](params)
        if method.startswith("devnet_"):
            return self.backend.answer(method, params)
        faults = self._meeting(method, params)
        for fault in faults:
            self.met[fault.kind] += 1
            lag = max(lag, self._before(fault, method, params))
        if any(fault.kind == "lose" for fault in faults):
            return self.backend.answer("devnet_signature", params)
        if any(fault.kind == "hide" for fault in faults) and method == "getBlock":
            self._hidden_block(faults, params)
        if method == "getBlock":
            _pruned_block(faults, params)
        result = self.backend.answer(method, params, lag)
        for fault in faults:
            result = _AFTER.get(fault.kind, _unchanged)(method, result, fault.values)
            if fault.kind == "filter":
                result = _filtered(result, params)
        return result

    def silent(self, method: str) -> bool:
        """Say whether a notification over WebSocket is lost."""
        lost = any(
            rule.kind == "mute" and rule.meets(method, "") for rule in self.rules
        )
        self.met["mute"] += lost
        return lost

    def _meeting(self, method: str, params: list[Any]) -> list[Rule]:
        if not self.rules and self.seeded is None:
            return []
        text = json.dumps(params, sort_keys=True)
        found = [rule for rule in self.rules if rule.meets(method, text)]
        by_seed = self.seeded.rule(method, text) if self.seeded else None
        return [*found, by_seed] if by_seed else found

    def _before(self, fault: Rule, method: str, params: list[Any]) -> int:
        """Do what a fault does before the node is asked; return how far that lags."""
        values = fault.values
        rate = values.get("perSecond")
        if fault.kind == "limit" and not (rate and fault.within(rate)):
            raise TooManyError(values.get("retryAfter", 1))
        if fault.kind == "cut":
            raise CutError(values.get("bytes", 0))
        if fault.kind == "error":
            raise RpcError(values["code"], values.get("message", "an error"))
        if fault.kind == "fork":
            known = ("depth", "keep", "seed")
            asked = {name: values[name] for name in known if name in values}
            self.backend.answer("devnet_fork", [asked])
        return unsigned_or(values.get("lag"), 8) if fault.kind == "stale" else 0

    def _hidden_block(self, faults: list[Rule], params: list[Any]) -> None:
        for fault in faults:
            if (
                fault.kind == "hide"
                and params
                and fault.values.get("slot") == params[0]
            ):
                raise RpcError(
                    LONG_TERM_SLOT_SKIPPED,
                    f"Slot {params[0]} was skipped, or missing in long-term storage",
                )

    def _add(self, params: list[Any]) -> Any:
        for asked in params:
            if not isinstance(asked, dict):
                raise invalid("Invalid params: a fault is an object.")
            if "share" in asked:
                self.seeded = _seeded(asked)
            else:
                self.rules.append(_rule(asked))
        return len(self.rules)

    def _clear(self, params: list[Any]) -> Any:
        self.rules.clear()
        self.seeded = None


def _pruned_block(faults: list[Rule], params: list[Any]) -> None:
    for fault in faults:
        first = fault.values["first"] if fault.kind == "prune" else 0
        if params and params[0] < first:
            raise RpcError(
                BLOCK_CLEANED_UP,
                f"Block {params[0]} cleaned up, does not exist on node. First "
                f"available block: {first}",
            )


def _rule(asked: dict[str, Any]) -> Rule:
    kind = asked.get("kind")
    if kind not in KINDS:
        raise invalid(f"no fault {kind!r}: one of {', '.join(KINDS)}")
    if kind == "hide" and "slot" not in asked:
        raise invalid("the fault `hide` needs a `slot`")
    if kind == "prune" and "first" not in asked:
        raise invalid("the fault `prune` needs the `first` slot that is kept")
    if kind == "error" and "code" not in asked:
        raise invalid("the fault `error` needs a `code`")
    method = asked.get("method")
    return Rule(
        kind=kind,
        values=asked,
        methods=(method,) if method else KINDS[kind],
        match=str(asked.get("match", "")),
        skip=unsigned_or(asked.get("skip"), 0),
        times=unsigned_or(asked.get("times"), 1),
    )


def _seeded(asked: dict[str, Any]) -> Seeded:
    kinds = tuple(asked.get("kinds") or ("null", "shuffle", "empty", "stale", "limit"))
    for kind in kinds:
        if kind not in KINDS or kind in ("hide", "error", "mute", "prune"):
            raise invalid(f"the fault {kind!r} cannot come by seed: give it as a rule")
    return Seeded(
        int(asked.get("seed", 0)), float(asked["share"]), kinds, asked.get("lag", 40)
    )


def _unchanged(method: str, result: Any, values: dict[str, Any]) -> Any:
    return result


def _null(method: str, result: Any, values: dict[str, Any]) -> Any:
    return None


def _empty(method: str, result: Any, values: dict[str, Any]) -> Any:
    return []


def _hide(method: str, result: Any, values: dict[str, Any]) -> Any:
    """Leave a slot out of a list of slots, or of rows that have one."""
    if method not in LISTS:
        return result
    return [row for row in result if _slot(row) != values["slot"]]


def _filtered(result: Any, params: list[Any]) -> Any:
    """Leave out rows below `minContextSlot`, which Surfpool 1.5 takes for a filter."""
    config = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
    least = unsigned_or(config.get("minContextSlot"), 0)
    return [row for row in result if row["slot"] >= least]


def _shuffle(method: str, result: Any, values: dict[str, Any]) -> Any:
    """Give rows of one slot in another order; slots stay in theirs."""
    chance = random.Random(values.get("seed", 0))  # noqa: S311 (a schedule)
    return sorted(result, key=lambda row: (-row["slot"], chance.random()))


def _truncate(method: str, result: Any, values: dict[str, Any]) -> Any:
    """Cut logs as the runtime does, which still writes later lines that fit."""
    if result is None:
        return None
    limit = values.get("bytes", 0)
    if method == "getTransaction":
        return {**result, "meta": _cut(result["meta"], limit)}
    rows = [
        {**row, "meta": _cut(row["meta"], limit)}
        for row in result.get("transactions", ())
    ]
    return {**result, "transactions": rows} if "transactions" in result else result


def _cut(meta: dict[str, Any], limit: int) -> dict[str, Any]:
    if "logMessages" not in meta:
        return meta
    kept: list[str] = []
    written, cut = 0, False
    for line in meta["logMessages"]:
        if written + len(line) < limit:
            written += len(line)
            kept.append(line)
        elif not cut:
            cut = True
            kept.append(TRUNCATED)
    return {**meta, "logMessages": kept}


def _prune(method: str, result: Any, values: dict[str, Any]) -> Any:
    """Answer as a node that keeps no block below `first`."""
    first = values["first"]
    if method == "getFirstAvailableBlock":
        return max(first, result)
    if method == "getSignatureStatuses":
        rows = [
            row if row and row["slot"] >= first else None for row in result["value"]
        ]
        return {**result, "value": rows}
    if method in LISTS:
        kept = (row for row in result if _slot(row) >= first)
        return list(kept)
    if method == "getTransaction":
        return result if result and result["slot"] >= first else None
    return result


def _slot(row: Any) -> int:
    return int(row["slot"] if isinstance(row, dict) else row)


_AFTER: dict[str, Callable[[str, Any, dict[str, Any]], Any]] = {
    "null": _null,
    "empty": _empty,
    "hide": _hide,
    "shuffle": _shuffle,
    "truncate": _truncate,
    "prune": _prune,
}
