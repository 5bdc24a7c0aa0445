"""Sending transactions to a Solana cluster by hand: for deploying and configuring.

Each is signed once for one blockhash and sent again, the same bytes, until a node has
it confirmed or the blockhash has expired; bytes land once at most.
"""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from commands.errors import NodeAway, NodeOfOtherChain
from commands.rpc.endpoint import NodeEndpoint, Question
from commands.solana.nodes import CONFIRMED, SolanaNodes
from idl.base58 import from_base58, to_base58
from ops.errors import OperationError

T = TypeVar("T")

ATTEMPTS = 7
PAUSE_SECONDS = 0.5  # before the second attempt; doubled each time
POLL_SECONDS = 0.2
RESEND_SECONDS = 2.0
STATUSES_MAX = 256
DECIDED = ("confirmed", "finalized")  # below, another fork may decide otherwise
ACCOUNT_BYTES_MAX = 10 << 20  # MAX_PERMITTED_DATA_LENGTH
PART_BYTES = 500_000  # of an account's data in one answer
LAMPORTS_PER_SIGNATURE = 5_000
LOADER_UNITS = 50_000
"""Compute units that any call of the loader keeps within."""


class ClusterError(OperationError):
    """A cluster does not answer, or refuses what was sent."""


class Expired(ClusterError):
    """A transaction was not seen before its blockhash expired."""


class Failed(ClusterError):
    """A transaction landed with an error; `code` is a program's own, or None."""

    def __init__(self, signature: str, error: Any) -> None:
        super().__init__(
            f"transaction {signature} failed: {error}. Nothing of it happened but its "
            "fee; correct the cause and try again"
        )
        reported = error.get("InstructionError") if isinstance(error, dict) else None
        last = reported[-1] if isinstance(reported, list) and reported else None
        code = last.get("Custom") if isinstance(last, dict) else None
        self.code = code if isinstance(code, int) else None


@dataclass(frozen=True, slots=True)
class ClusterAccount:
    """An account of a cluster as it is confirmed."""

    owner: Pubkey
    lamports: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Instructions of one transaction, and the keys that sign beside the payer."""

    instructions: Sequence[Instruction]
    signers: Sequence[Keypair] = ()


class Cluster:
    """The endpoints of one cluster, and the key that pays. For one thread.

    With `unit_price`, in micro-lamports, each transaction offers it for `unit_limit`
    compute units.
    """

    def __init__(
        self,
        urls: Sequence[str],
        chain_id: str,
        payer: Keypair,
        *,
        unit_price: int = 0,
        unit_limit: int = LOADER_UNITS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._nodes = _Nodes([NodeEndpoint(url) for url in urls], chain_id=chain_id)
        self.payer = payer
        self._budget = [
            set_compute_unit_limit(unit_limit), set_compute_unit_price(unit_price)
        ] if unit_price else []  # fmt: skip
        self.fee = LAMPORTS_PER_SIGNATURE + -(-unit_price * unit_limit // 1_000_000)
        self._sleep = sleep

    @property
    def key(self) -> Pubkey:
        """The payer's address."""
        return self.payer.pubkey()

    def account(
        self, key: Pubkey, bytes_max: int = ACCOUNT_BYTES_MAX
    ) -> ClusterAccount | None:
        """Return an account, None where there is none.

        Raises ClusterError for one that has more bytes than that.
        """
        found = self._ask(partial(self._nodes.part, key, 0))
        if found is None:
            return None
        account, size = found
        if size > bytes_max:
            raise ClusterError(
                f"account {key} has {size} bytes, more than {bytes_max}: check the "
                "address"
            )
        data = account.data
        while len(data) < size:
            more = self._ask(partial(self._nodes.part, key, len(data)))
            if more is None or not more[0].data:
                raise ClusterError(
                    f"account {key} changed while it was read: try again"
                )
            data += more[0].data
        return ClusterAccount(account.owner, account.lamports, data)

    def owned(self, program: Pubkey, start: bytes) -> list[tuple[Pubkey, int]]:
        """Return a program's accounts whose data starts so, and their lamports."""
        return self._ask(partial(self._nodes.owned, program, start))

    def balance(self, key: Pubkey) -> int:
        """Return the lamports of a key."""
        return self._ask(lambda: self._nodes.balance(bytes(key)))

    def rent(self, size: int) -> int:
        """Return the lamports that an account of a size must hold."""
        return self._ask(lambda: self._nodes.rent(size))

    def run(
        self, instructions: Sequence[Instruction], signers: Sequence[Keypair] = ()
    ) -> str:
        """Send one transaction and return its signature when it is confirmed.

        Raises Failed when it failed, Expired when it was not seen in time.
        """
        [landed] = self.run_all([Prepared(instructions, signers)])
        if landed is None:
            raise Expired(
                "the transaction was not seen before its blockhash expired: try "
                "again, and when it happens often, with a higher --unit-price"
            )
        return landed

    def run_all(self, wanted: Sequence[Prepared]) -> list[str | None]:
        """Send transactions side by side; return who was confirmed, in order.

        None stands for one that was not seen before its blockhash expired. Raises
        Failed when one has failed.
        """
        latest = self._ask(self._nodes.blockhash)
        signed = [self._sign(each, Hash.from_bytes(latest.hash)) for each in wanted]
        sent = {str(each.signatures[0]): bytes(each) for each in signed}
        waiting, resend_at = dict.fromkeys(sent), 0.0
        while waiting:
            if time.monotonic() >= resend_at:
                for name in waiting:
                    self._post(sent[name])
                resend_at = time.monotonic() + RESEND_SECONDS
            height = self._ask(lambda: self._nodes.finalized().height)
            for name in self._confirmed(list(waiting)):
                del waiting[name]
            if height > latest.last_valid:
                break
            if waiting:
                self._sleep(POLL_SECONDS)
        return [None if name in waiting else name for name in sent]

    def _sign(self, wanted: Prepared, blockhash: Hash) -> VersionedTransaction:
        calls = [*self._budget, *wanted.instructions]
        message = Message.new_with_blockhash(calls, self.key, blockhash)
        return VersionedTransaction(message, [self.payer, *wanted.signers])

    def _post(self, raw: bytes) -> None:
        """Hand bytes over; what a node says against them, their status will tell."""
        self._ask(lambda: self._nodes.send(raw))

    def _confirmed(self, names: list[str]) -> list[str]:
        """Return which are confirmed; raises Failed when one has failed."""
        found = []
        for start in range(0, len(names), STATUSES_MAX):
            part = names[start : start + STATUSES_MAX]
            reported = self._ask(partial(self._nodes.statuses, part))
            for name, status in zip(part, reported, strict=True):
                if status is None or status["confirmationStatus"] not in DECIDED:
                    continue
                if status["err"] is not None:
                    raise Failed(name, status["err"])
                found.append(name)
        return found

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask until there is an answer; raises ClusterError when there is none."""
        pause, last = PAUSE_SECONDS, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(pause)
                pause *= 2
            try:
                return question()
            except NodeOfOtherChain as error:
                raise ClusterError(str(error)) from None
            except NodeAway as error:
                last = str(error)
        raise ClusterError(f"no endpoint answered in {ATTEMPTS} attempts: {last}")


class _Nodes(SolanaNodes):
    """The questions that only deploying asks."""

    def part(self, key: Pubkey, start: int) -> tuple[ClusterAccount, int] | None:
        """Return an account with a part of its data, and the size of all of it."""
        config = {
            **CONFIRMED,
            "encoding": "base64",
            "dataSlice": {"offset": start, "length": PART_BYTES},
        }
        question = Question("getAccountInfo", (str(key), config))
        return self._ask(question, lambda reported: _account(reported["value"]))

    def owned(self, program: Pubkey, start: bytes) -> list[tuple[Pubkey, int]]:
        """Return a program's accounts whose data starts so, and their lamports."""
        config = {
            **CONFIRMED,
            "encoding": "base64",
            "dataSlice": {"offset": 0, "length": 0},
            "filters": [{"memcmp": {"offset": 0, "bytes": to_base58(start)}}],
        }
        question = Question("getProgramAccounts", (str(program), config))
        return self._ask(question, lambda reported: [_owned(each) for each in reported])

    def rent(self, size: int) -> int:
        """Return the lamports that an account of a size must hold."""
        question = Question("getMinimumBalanceForRentExemption", (size,))
        return self._ask(question, int)

    def statuses(self, signatures: Sequence[str]) -> list[dict[str, Any] | None]:
        """Return how signatures stand, those of long ago too."""
        config = {"searchTransactionHistory": True}
        question = Question("getSignatureStatuses", (list(signatures), config))
        return self._ask(
            question, lambda reported: _statuses(reported, len(signatures))
        )


def _owned(reported: Any) -> tuple[Pubkey, int]:
    return Pubkey(from_base58(reported["pubkey"], 32)), int(
        reported["account"]["lamports"]
    )


def _account(reported: Any) -> tuple[ClusterAccount, int] | None:
    if reported is None:
        return None
    data = base64.b64decode(reported["data"][0], validate=True)
    owner = Pubkey(from_base58(reported["owner"], 32))
    return ClusterAccount(owner, int(reported["lamports"]), data), int(
        reported["space"]
    )


def _statuses(reported: Any, count: int) -> list[dict[str, Any] | None]:
    found = reported["value"]
    if not isinstance(found, list) or len(found) != count:
        raise ValueError("it told of other signatures than were asked for")
    for each in found:
        if each is not None and not {"err", "confirmationStatus"} <= each.keys():
            raise ValueError("a status is not whole")
    return found
