"""Sending transactions to a Solana cluster by hand: for deploying and configuring.

Each is signed once for one blockhash and sent again, the same bytes, until a node has
it confirmed or the blockhash has expired; bytes land once at most.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from solana.exceptions import SolanaRpcException
from solana.rpc.api import Client
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException
from solana.rpc.types import TxOpts
from solders.account import Account
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_status import (
    TransactionConfirmationStatus,
    TransactionErrorType,
    TransactionStatus,
)

from indexer.solana.client import identity
from ops.errors import OperationError

T = TypeVar("T")

ATTEMPTS = 7
PAUSE_SECONDS = 0.5  # before the second attempt; doubled each time
POLL_SECONDS = 0.2
RESEND_SECONDS = 2.0
STATUSES_MAX = 256
LAMPORTS_PER_SIGNATURE = 5_000
SETTLED = (
    TransactionConfirmationStatus.Confirmed,
    TransactionConfirmationStatus.Finalized,
)


class ClusterError(OperationError):
    """A cluster does not answer, or refuses what was sent."""


class Expired(ClusterError):
    """A transaction was not seen before its blockhash expired."""


class Failed(ClusterError):
    """A transaction landed with an error; `code` is a program's own, or None."""

    def __init__(self, signature: Signature, error: TransactionErrorType) -> None:
        super().__init__(
            f"transaction {signature} failed: {error}. Nothing of it happened but its "
            "fee; correct the cause and try again"
        )
        self.code: int | None = getattr(getattr(error, "err", None), "code", None)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Instructions of one transaction, and the keys that sign beside the payer."""

    instructions: Sequence[Instruction]
    signers: Sequence[Keypair] = ()


class Cluster:
    """One endpoint, and the key that pays. For one thread.

    With `unit_price`, in micro-lamports, each transaction offers it for `unit_limit`
    compute units.
    """

    def __init__(
        self,
        url: str,
        payer: Keypair,
        *,
        unit_price: int = 0,
        unit_limit: int = 50_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = Client(url, commitment=Confirmed, timeout=30)
        self.payer = payer
        self.unit_price = unit_price
        self._budget = [
            set_compute_unit_limit(unit_limit), set_compute_unit_price(unit_price)
        ] if unit_price else []  # fmt: skip
        self.fee = LAMPORTS_PER_SIGNATURE + -(-unit_price * unit_limit // 1_000_000)
        self._sleep = sleep

    @property
    def key(self) -> Pubkey:
        """The payer's address."""
        return self.payer.pubkey()

    def check_chain(self, chain_id: str) -> None:
        """Raise ClusterError when the endpoint is on another chain."""
        found = identity(str(self._ask(lambda: self._client.get_genesis_hash().value)))
        if found != chain_id:
            raise ClusterError(
                f"the endpoint is on {found}, and the settings say {chain_id}: give "
                "the chain's own endpoint, or correct its id"
            )

    def account(self, key: Pubkey) -> Account | None:
        """Return an account as it is confirmed, None where there is none."""
        return self._ask(lambda: self._client.get_account_info(key).value)

    def balance(self, key: Pubkey) -> int:
        """Return the lamports of a key."""
        return self._ask(lambda: self._client.get_balance(key).value)

    def rent(self, size: int) -> int:
        """Return the lamports that an account of a size must hold."""
        ask = self._client.get_minimum_balance_for_rent_exemption
        return self._ask(lambda: ask(size).value)

    def run(
        self, instructions: Sequence[Instruction], signers: Sequence[Keypair] = ()
    ) -> Signature:
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

    def run_all(self, wanted: Sequence[Prepared]) -> list[Signature | None]:
        """Send transactions side by side; return who was confirmed, in order.

        None stands for one that was not seen before its blockhash expired. Raises
        Failed when one has failed.
        """
        latest = self._ask(lambda: self._client.get_latest_blockhash().value)
        sent = {
            each.signatures[0]: each
            for each in (self._sign(one, latest.blockhash) for one in wanted)
        }
        names, waiting, landed = list(sent), set(sent), set[Signature]()
        resend_at = 0.0
        while waiting:
            if time.monotonic() >= resend_at:
                for name in names:
                    if name in waiting:
                        self._post(sent[name])
                resend_at = time.monotonic() + RESEND_SECONDS
            height = self._ask(lambda: self._client.get_block_height().value)
            found = self._settled([name for name in names if name in waiting])
            landed |= found
            waiting -= found
            if height > latest.last_valid_block_height:
                break
            if waiting:
                self._sleep(POLL_SECONDS)
        return [name if name in landed else None for name in names]

    def _sign(self, wanted: Prepared, blockhash: Hash) -> VersionedTransaction:
        calls = [*self._budget, *wanted.instructions]
        message = Message.new_with_blockhash(calls, self.key, blockhash)
        return VersionedTransaction(message, [self.payer, *wanted.signers])

    def _post(self, transaction: VersionedTransaction) -> None:
        """Hand bytes over; what a node says against them, their status will tell."""
        options = TxOpts(skip_preflight=True, max_retries=0)
        raw = bytes(transaction)
        self._ask(lambda: self._client.send_raw_transaction(raw, options).value)

    def _settled(self, names: list[Signature]) -> set[Signature]:
        """Return which are confirmed; raise Failed when one has."""
        found = set()
        for start in range(0, len(names), STATUSES_MAX):
            part = names[start : start + STATUSES_MAX]
            statuses = self._statuses(part)
            for name, status in zip(part, statuses, strict=True):
                if status is None:
                    continue
                if status.err is not None:
                    raise Failed(name, status.err)
                if status.confirmation_status in SETTLED:
                    found.add(name)
        return found

    def _statuses(self, names: list[Signature]) -> Sequence[TransactionStatus | None]:
        ask = self._client.get_signature_statuses
        return self._ask(lambda: ask(names, search_transaction_history=True).value)

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask until there is an answer; raises ClusterError when there is none."""
        pause, last = PAUSE_SECONDS, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(pause)
                pause *= 2
            try:
                return question()
            except SolanaRpcException as error:
                last = _reason(error.__cause__)
            except RPCException as error:
                last = str(error.args[0].message if error.args else error)
        raise ClusterError(
            f"the endpoint gave no answer in {ATTEMPTS} attempts: {last}. Try again "
            "later, or give another endpoint"
        )


def _reason(error: BaseException | None) -> str:
    """Return what went wrong, without the URL, which may hold a secret."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return type(error).__name__ if status is None else f"HTTP {status}"
