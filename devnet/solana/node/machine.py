"""The virtual machine, and what a transaction did to it.

LiteSVM executes; everything that a node tells beside (balances before and after, loaded
addresses, the accounts as they were) is read around each execution.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import orjson
from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from . import tokens

SYSTEM = Pubkey.default()
LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
UPGRADER = Keypair.from_seed(
    hashlib.sha256(b"chainfold development program: upgrades").digest()
).pubkey()
"""May upgrade the programs that are put here; its key is public."""

ACCOUNT_BYTES, TABLE_BYTES = 64, 8_248
TABLE_HEADER_BYTES = 56
EPOCH_SLOTS = 432_000
LOG_BYTES = 10_000
# What a transaction can fail with so that it is in no block and costs nothing.
NOT_LANDING = {
    "AccountInUse", "AccountLoadedTwice", "AccountNotFound",
    "AddressLookupTableNotFound",
    "AlreadyProcessed", "BlockhashNotFound", "CallChainTooDeep", "ClusterMaintenance",
    "InsufficientFundsForFee", "InvalidAccountForFee", "InvalidAccountIndex",
    "InvalidAddressLookupTableData", "InvalidAddressLookupTableIndex",
    "InvalidAddressLookupTableOwner", "InvalidProgramForExecution",
    "MissingSignatureForFee",
    "ProgramAccountNotFound", "SanitizeFailure", "SignatureFailure",
    "TooManyAccountLocks", "UnsupportedVersion",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inner:
    """One inner instruction, as JSON-RPC writes it but for base58."""

    program_index: int
    accounts: bytes
    data: bytes
    stack_height: int


@dataclass(frozen=True, slots=True)
class Told:
    """Metadata of an execution; inner instructions by the index of the outer one."""

    error: Any
    logs: list[str]
    inner: list[list[Inner]]
    units: int
    fee: int
    returned: tuple[Pubkey, bytes] | None


@dataclass(frozen=True, slots=True)
class Done:
    """An executed transaction: all its keys, and the state around it."""

    told: Told
    keys: list[Pubkey]
    loaded: tuple[list[Pubkey], list[Pubkey]]
    lamports: tuple[list[int], list[int]]
    tokens: tuple[list[tokens.Held], list[tokens.Held]]
    before: dict[Pubkey, Account | None]


@dataclass(frozen=True, slots=True)
class Simulated:
    """A transaction that was not executed: accounts it would leave, bytes it loads."""

    done: Done
    left: dict[Pubkey, Account]
    loaded_bytes: int


class Machine:
    """LiteSVM; blockhashes, signatures and repetition are checked by others."""

    def __init__(self) -> None:
        vm = LiteSVM().with_blockhash_check(False).with_sigverify(False)
        vm = vm.with_transaction_history(0).with_log_bytes_limit(LOG_BYTES)
        self.vm: Any = vm._inner
        self._hashes: list[tuple[int, Hash]] | None = None

    def at(self, slot: int, unix_time: int, hashes: list[tuple[int, Hash]]) -> None:
        """Set the clock and the recent blocks that programs read, the newest first."""
        epoch = slot // EPOCH_SLOTS
        self.vm.set_clock(Clock(slot, unix_time, epoch, epoch + 1, unix_time))
        self._hashes = hashes

    def _write_hashes(self) -> None:
        """Hand the recent blocks over: it costs much, and most slots are empty."""
        if self._hashes is not None:
            self.vm.set_slot_hashes(self._hashes)
            self._hashes = None

    def account(self, key: Pubkey) -> Account | None:
        """Return an account as it is now."""
        found: Account | None = self.vm.get_account(key)
        return found

    def put(self, key: Pubkey, account: Account | None) -> None:
        """Write an account; None removes it."""
        self.vm.set_account(key, account or Account(0, b"", SYSTEM))

    def add_program(self, key: Pubkey, program: bytes) -> None:
        """Put a program at an address, as the upgradeable loader would.

        ``UPGRADER`` may upgrade it. Raises what the loader raises.
        """
        self.vm.add_program(key, program)
        place, _ = Pubkey.find_program_address([bytes(key)], LOADER)
        held: Account = self.vm.get_account(place)
        data = bytearray(held.data)
        data[12:45] = b"\1" + bytes(UPGRADER)  # the option after tag and slot
        self.put(place, Account(held.lamports, bytes(data), LOADER))

    def loaded(
        self, transaction: VersionedTransaction
    ) -> tuple[list[Pubkey], list[Pubkey]]:
        """Return the writable and the read-only addresses from lookup tables."""
        writable: list[Pubkey] = []
        readonly: list[Pubkey] = []
        for lookup in getattr(transaction.message, "address_table_lookups", ()):
            table = self.account(lookup.account_key)
            body = bytes(table.data)[TABLE_HEADER_BYTES:] if table else b""
            for indexes, into in (
                (lookup.writable_indexes, writable),
                (lookup.readonly_indexes, readonly),
            ):
                for index in indexes:
                    raw = body[index * 32 : index * 32 + 32]
                    if len(raw) == 32:
                        into.append(Pubkey(raw))
        return writable, readonly

    def execute(self, transaction: VersionedTransaction) -> Done:
        """Execute a transaction; whether it lands is in ``told.error``."""
        self._write_hashes()
        message: Any = transaction.message
        loaded = self.loaded(transaction)
        keys = [*message.account_keys, *loaded[0], *loaded[1]]
        get = self.vm.get_account
        before = [get(key) for key in keys]
        held = tokens.holdings(keys, before, self.account)
        extra = _priority_fee(message)
        payer = before[0]
        if extra and payer is not None:
            if payer.lamports < extra:
                return self._refused("InsufficientFundsForFee", keys, loaded)
            self.put(keys[0], _with_lamports(payer, payer.lamports - extra))
        told = told_by(self.vm.send_transaction(transaction), extra)
        if extra and not lands(told.error):
            self.put(keys[0], payer)
        after = [get(key) for key in keys]
        return Done(
            told=told,
            keys=keys,
            loaded=loaded,
            lamports=(_lamports(before), _lamports(after)),
            tokens=(held, tokens.holdings(keys, after, self.account)),
            before=dict(zip(keys, before, strict=True)),
        )

    def simulate(self, transaction: VersionedTransaction) -> Simulated:
        """Return what a transaction would do now."""
        self._write_hashes()
        message: Any = transaction.message
        loaded = self.loaded(transaction)
        keys = [*message.account_keys, *loaded[0], *loaded[1]]
        before = [self.account(key) for key in keys]
        result = self.vm.simulate_transaction(transaction)
        posted = getattr(result, "post_accounts", None)
        told = told_by(result.meta() if posted else result, _priority_fee(message))
        left = dict(posted()) if posted else {}
        after = [left.get(key) or self.account(key) for key in keys]
        lamports = (_lamports(before), _lamports(after))
        if told.error is not None and lands(told.error):
            lamports[1][0] -= told.fee
        held = tokens.holdings(keys, before, self.account)
        later = tokens.holdings(keys, after, self.account)
        done = Done(told, keys, loaded, lamports, (held, later), {})
        return Simulated(done, left, self._loaded_bytes(transaction, before))

    def _loaded_bytes(
        self, transaction: VersionedTransaction, accounts: list[Account | None]
    ) -> int:
        """Return how much a transaction loads, as SIMD-0186 counts it."""
        tables = getattr(transaction.message, "address_table_lookups", ())
        size = TABLE_BYTES * len(tables)
        for account in accounts:
            if account is None:
                continue
            size += ACCOUNT_BYTES + len(account.data)
            if account.owner == LOADER and account.executable:
                code = self.account(Pubkey(bytes(account.data)[4:36]))
                size += ACCOUNT_BYTES + len(code.data) if code else 0
        return size

    def _refused(
        self, error: str, keys: list[Pubkey], loaded: tuple[list[Pubkey], list[Pubkey]]
    ) -> Done:
        told = Told(error, [], [], 0, 0, None)
        return Done(told, keys, loaded, ([], []), ([], []), {})


def lands(error: Any) -> bool:
    """Say whether a transaction with that error is in a block, and pays for it."""
    name = next(iter(error)) if isinstance(error, dict) else error
    return name not in NOT_LANDING


def told_by(result: Any, extra: int) -> Told:
    """Read LiteSVM's metadata; ``extra`` lamports were charged beside it."""
    failed = hasattr(result, "err")
    meta = result.meta() if failed else result
    error = orjson.loads(result.to_json())["err"] if failed else None
    returned = meta.return_data()
    data = bytes(returned.data)
    return Told(
        error=error,
        logs=meta.logs(),
        inner=[[_inner(one) for one in group] for group in meta.inner_instructions()],
        units=meta.compute_units_consumed(),
        fee=meta.fee() + extra,
        returned=(returned.program_id, data) if data else None,
    )


def _inner(one: Any) -> Inner:
    made = one.instruction()
    return Inner(
        made.program_id_index,
        bytes(made.accounts),
        bytes(made.data),
        one.stack_height(),
    )


def _lamports(accounts: list[Account | None]) -> list[int]:
    return [account.lamports if account else 0 for account in accounts]


def _with_lamports(account: Account, lamports: int) -> Account:
    return Account(
        lamports, account.data, account.owner, account.executable, account.rent_epoch
    )


def _priority_fee(message: Any) -> int:
    """Return what a message of version 1 offers, in lamports; LiteSVM charges none."""
    config = getattr(message, "config", None)
    return (config.priority_fee or 0) if config else 0


def u64(data: bytes, at: int) -> int:
    """Read eight bytes, the least significant first."""
    (value,) = struct.unpack_from("<Q", data, at)
    return int(value)
