"""All nodes of a chain as one: asked in order of health, and sent to all at once.

A question is answered by a node of the right chain whose head is not behind the index,
which its own answer shows: chain and head are asked for in the same request. A node
that fails is left alone for a while. So many questions are under way at once and no
more: a silent node must not take every thread of its askers.
"""

import enum
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from commands.errors import CommandError, NodeAway, NodeOfOtherChain
from commands.rpc.endpoint import Asked, NodeError, Question

AT_ONCE = 8
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
SENDERS = 4  # threads for each node

log = logging.getLogger(__name__)

T = TypeVar("T")
A = TypeVar("A", bound="Sent")


def nothing_indexed() -> int:
    """No block is known: any head will do."""
    return -1


class Sent(Protocol):
    """A node's answer to signed bytes."""

    @property
    def rank(self) -> tuple[bool, ...]:
        """The order among answers to the same bytes: the highest is told."""
        ...


@dataclass(slots=True)
class NodeHealth:
    """The health of one node; it is asked in its turn again after `parked_until`."""

    endpoint: Asked
    parked_until: float = 0.0
    failures: int = 0
    words: str = ""
    probing: bool = False
    sending: int = 0


@dataclass(frozen=True, slots=True)
class Asking:
    """One question: the block that a node must have, and the time that there is."""

    floor: int
    deadline: float


class Pool(ABC, Generic[A]):
    """The nodes of one chain; each chain kind says how a node shows what it is.

    `indexed` tells the last block that the index has. `timeout_seconds` is for a whole
    question, however many nodes are asked; each gets its part of what is left.
    """

    identity: Sequence[Question]  # asked before each question: its chain, its head

    def __init__(
        self,
        endpoints: Sequence[Asked],
        *,
        indexed: Callable[[], int] = nothing_indexed,
        timeout_seconds: float = 10.0,
        at_once: int = AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        senders: Executor | None = None,
    ) -> None:
        self._all = [NodeHealth(each) for each in endpoints]
        self._indexed = indexed
        self._timeout, self._clock = timeout_seconds, clock
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._senders = senders or ThreadPoolExecutor(SENDERS * len(self._all), "send")

    @abstractmethod
    def _identify(
        self, state: NodeHealth, identified: Sequence[Any], floor: int
    ) -> None:
        """Raise NodeOfOtherChain or NodeAway unless a node is to be asked."""

    @abstractmethod
    def _refusal(self, error: NodeError, state: NodeHealth) -> Exception:
        """Classify the error that a node answered."""

    @abstractmethod
    def _sent(self, state: NodeHealth, question: Question, asking: Asking) -> A:
        """Hand bytes to one node; raises NodeAway."""

    def _explain(
        self, error: Exception, state: NodeHealth, asking: Asking
    ) -> Exception | None:
        """Return what is raised of a node's final word; None: ask another node."""
        return None if isinstance(error, NodeAway) else error

    def _ask(
        self,
        question: Question,
        read: Callable[[Any], T],
        explain: Callable[[Exception, NodeHealth, Asking], Exception | None]
        | None = None,
    ) -> T:
        """Return the first answer of a node that may be believed; raises NodeAway.

        `explain` makes what is raised of a node's final word.
        """
        answer: T = self._ask_all([(question, read)], explain)[0]
        return answer

    def _ask_all(
        self,
        asked: Sequence[tuple[Question, Callable[[Any], Any]]],
        explain: Callable[[Exception, NodeHealth, Asking], Exception | None]
        | None = None,
    ) -> list[Any]:
        """Return what one node answers to several questions, asked in one request."""
        explain = explain or self._explain
        words: list[CommandError] = []
        with self._turn() as asking:
            for state in self._in_order():
                way = self._enter(state)
                if way is _Way.CLOSED:
                    words.append(NodeAway(state.words))
                    continue
                try:
                    found = self._checked(state, [each for each, _ in asked], asking)
                    return [
                        self._read(state, question.method, result, read)
                        for (question, read), result in zip(asked, found, strict=True)
                    ]
                except CommandError as error:
                    final = explain(error, state, asking)
                    if final is not None:
                        raise final from None
                    words.append(error)
                finally:
                    if way is _Way.PROBE:
                        state.probing = False
        raise nobody(words)

    def _send(self, question: Question) -> A:
        """Send bytes to every node; returns an accepting node's answer, else another's.

        Nodes that are away are sent to as well, and not waited for beside others.
        """
        with self._turn() as asking:
            if len(self._all) == 1:
                return self._sent(self._all[0], question, asking)
            return self._sent_to_all(question, asking)

    @contextmanager
    def _turn(self) -> Iterator[Asking]:
        """Wait for one of the slots for requests; raises NodeAway at the deadline."""
        if not self._turns.acquire(blocking=False):
            raise NodeAway(
                "too many questions wait for the node already: ask again soon"
            )
        try:
            yield Asking(self._indexed(), self._clock() + self._timeout)
        finally:
            self._turns.release()

    def _in_order(self) -> list[NodeHealth]:
        """Those that are well as the settings have them, then those that failed."""
        now = self._clock()
        return sorted(self._all, key=lambda state: max(state.parked_until, now))

    def _enter(self, state: NodeHealth) -> "_Way":
        """Of a node that failed, one asker at a time finds out whether it is back."""
        with self._lock:
            if state.parked_until <= self._clock():
                return _Way.OPEN
            if state.probing:
                return _Way.CLOSED
            state.probing = True
            return _Way.PROBE

    def _checked(
        self, state: NodeHealth, questions: Sequence[Question], asking: Asking
    ) -> list[Any]:
        """Return a believable node's answer; raises NodeAway, NodeOfOtherChain."""
        label = state.endpoint.label
        if asking.deadline <= self._clock():
            raise NodeAway(f"there was no time left to ask {label}")
        count = len(self.identity)
        try:
            results = state.endpoint.ask(
                [*self.identity, *questions], self._share(asking)
            )
            self._identify(state, results[:count], asking.floor)
        except NodeAway as error:
            self._failed(state, error)
            raise
        self._well(state)
        return results[count:]

    def _share(self, asking: Asking) -> float:
        """The seconds that one node may take, of those that are left for all."""
        left = asking.deadline - self._clock()
        return min(max(self._timeout / len(self._all), 1.0), left)

    def _failed(self, state: NodeHealth, error: NodeAway) -> None:
        with self._lock:
            if not state.failures:
                log.warning("node_paused cause=%s", error)
            state.failures += 1
            pause = FIRST_PAUSE_SECONDS * 2.0 ** min(state.failures - 1, 5)
            state.parked_until = self._clock() + min(pause, LONGEST_PAUSE_SECONDS)
            state.words = str(error)

    def _well(self, state: NodeHealth) -> None:
        if not state.failures:
            return
        with self._lock:
            state.failures, state.parked_until, state.words = 0, 0.0, ""
        log.info("node_recovered node=%s", state.endpoint.label)

    def _sent_to_all(self, question: Question, asking: Asking) -> A:
        now = self._clock()
        waited: list[Future[A]] = []
        for state in self._in_order():
            with self._lock:
                if state.sending >= SENDERS:
                    continue  # it is silent; what is due is sent again
                state.sending += 1
            future = self._senders.submit(self._sent, state, question, asking)
            future.add_done_callback(partial(self._has_sent, state))
            if state.parked_until <= now or not waited:
                waited.append(future)
        if not waited:
            raise NodeAway("no node takes bytes: ask again soon")
        wait(waited, timeout=max(0.0, asking.deadline - now))
        refusals, words = [], []
        for future in waited:
            try:
                refusals.append(future.result(timeout=0))
            except NodeAway as error:
                words.append(error)
            except TimeoutError:
                words.append(NodeAway("a node did not answer in time"))
        if refusals:
            return max(refusals, key=lambda each: each.rank)
        raise nobody(words)

    def _has_sent(self, state: NodeHealth, _: "Future[A]") -> None:
        with self._lock:
            state.sending -= 1

    def _read(
        self, state: NodeHealth, method: str, result: Any, read: Callable[[Any], T]
    ) -> T:
        """A result as what it is to be; raises what an error means, or NodeAway."""
        if isinstance(result, NodeError):
            raise self._refusal(result, state)
        try:
            return read(result)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            words = state.endpoint.hide(error)
            label = state.endpoint.label
            raise NodeAway(f"{label} answered {method}: {words}") from None


class _Way(enum.Enum):
    """The way to ask a node: as usual, as a probe whether it is back, or not now."""

    OPEN = "open"
    PROBE = "probe"
    CLOSED = "closed"


def nobody(words: Sequence[CommandError]) -> NodeAway:
    """Return one error that tells the troubles of all nodes."""
    kind = NodeAway
    if any(isinstance(each, NodeOfOtherChain) for each in words):
        kind = NodeOfOtherChain
    identified = "; ".join(dict.fromkeys(str(each) for each in words))
    return kind(f"{identified}. Ask again soon")
