"""Guard a key: which instructions it signs, what it spends, and what it signed.

The guard reads the message itself. What a transaction spends is what a simulation at a
node said: the day's limits are for mistakes, and the rules for everything else.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from solders.message import MessageV0, from_bytes_versioned
from sqlalchemy import Engine

from commands.errors import SigningHeld, SigningRefused
from commands.solana.signers import Payload, Signer
from db.commands.solana.memory import (
    LAMPORTS,
    Decision,
    GivenSignature,
    SigningRequest,
    examine,
    remember,
    signed_for,
)
from db.commands.states import Hold
from idl.base58 import to_base58

COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
# Its instructions by their first byte, and their lengths (solana.com/docs, "Fees"):
# heap, limit of compute units, price of one in micro-lamports, limit of loaded bytes.
_BUDGET_BYTES = {1: 5, 2: 5, 3: 9, 4: 5}
_PRICE_TAG, _PRICE = 3, struct.Struct("<Q")


class UnknownSignatures(SigningHeld):
    """Something was signed for the intent that its asker does not know of."""

    def __init__(self, found: list[GivenSignature]) -> None:
        self.found = found
        super().__init__(Hold.NO, f"{len(found)} signatures were given for it before")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Instructions of a program that may be called, by how their data begins."""

    program: bytes
    discriminators: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a signer; no allowances: anything.

    `limits` is the most of each asset in a day (UTC): a mint's tokens in their smallest
    unit, or lamports. `price_max` is in micro-lamports for a compute unit. `named` are
    the names of accounts in the settings; of one name, each may stand for another.
    """

    name: str
    chain: str
    allow: tuple[Allowance, ...] | None = None
    limits: Mapping[bytes, int] = field(default_factory=dict)
    price_max: int | None = None
    named: Mapping[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GuardedSigner:
    """A key behind rules and a memory, which is written before a signature leaves."""

    engine: Engine
    inner: Signer
    rules: Rules
    clock: Callable[[], datetime]

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self.inner.name

    @property
    def address(self) -> bytes:
        """The account that its signatures speak for."""
        return self.inner.address

    def recall(self, intent: bytes, settled: frozenset[bytes]) -> list[GivenSignature]:
        """Return what was signed for an intent, without what is known to be settled."""
        with self.engine.connect() as connection:
            return signed_for(
                connection, self.rules.chain, self.address, intent, settled
            )

    def sign(self, payload: Payload) -> bytes:
        """Sign what the rules allow and the memory does not contradict."""
        request, now = self._request(payload), self.clock()
        with self.engine.begin() as connection:
            decision, before = examine(connection, request, self.rules.limits, now)
            self._raise(decision)
            if before:
                raise UnknownSignatures(before)
            signature = self.inner.sign(payload)
            made = GivenSignature(signature, payload.slot, payload.last_valid)
            remember(connection, request, made, now)
        return signature

    def _request(self, payload: Payload) -> SigningRequest:
        """Return what is asked of the memory; raises SigningRefused by the rules."""
        return SigningRequest(
            signer=self.name,
            chain=self.rules.chain,
            address=self.address,
            intent=payload.intent,
            digest=self._check(payload.message),
            settled=payload.settled,
            spends={LAMPORTS: payload.lamports, **dict(payload.tokens)},
        )

    def _check(self, raw: bytes) -> bytes:
        """Return the digest of what a message does; raises SigningRefused."""
        try:
            message = from_bytes_versioned(raw)
        except ValueError:
            message = None
        if not isinstance(message, MessageV0) or message.address_table_lookups:
            raise SigningRefused(
                f"signer {self.name} signs messages of version 0 without lookup tables"
            )
        header, keys = message.header, [bytes(key) for key in message.account_keys]
        if header.num_required_signatures != 1 or keys[:1] != [self.address]:
            raise SigningRefused(
                f"signer {self.name} signs what it alone signs and pays for"
            )
        digest = hashlib.sha256()
        for each in message.instructions:
            places = bytes(each.accounts)
            if max(each.program_id_index, *places, 0) >= len(keys):
                raise SigningRefused(
                    f"signer {self.name} signs no message whose instruction names an "
                    "account that the message does not have: compile it again"
                )
            program, data = keys[each.program_id_index], bytes(each.data)
            if to_base58(program) == COMPUTE_BUDGET:
                self._check_budget(data)
                continue
            self._check_call(program, data)
            for part in (program, data, *(self._account(keys[at]) for at in places)):
                digest.update(len(part).to_bytes(4, "big") + part)
            digest.update(b"\xff" * 4)  # no part has this length: the instruction ends
        return digest.digest()

    def _account(self, key: bytes) -> bytes:
        """Return what stands for an account in a digest: its name, if it has one."""
        name = self.rules.named.get(key)
        return key if name is None else f"account {name}".encode()

    def _check_budget(self, data: bytes) -> None:
        """Take known instructions of the compute budget, and no higher price."""
        if len(data) != _BUDGET_BYTES.get(data[0] if data else 0):
            raise SigningRefused(
                f"signer {self.name} does not know the instruction "
                f"0x{data[:9].hex()} of the compute budget: leave it out"
            )
        most = self.rules.price_max
        if most is None or data[0] != _PRICE_TAG:
            return
        (price,) = _PRICE.unpack(data[1:])
        if price > most:
            raise SigningHeld(
                Hold.CEILING,
                f"signer {self.name} pays at most {most} micro-lamports for a compute "
                f"unit, not {price}: raise its priority_fee_max",
            )

    def _check_call(self, program: bytes, data: bytes) -> None:
        allow = self.rules.allow
        if allow is None:
            return
        for each in allow:
            if each.program == program and any(
                data.startswith(start) for start in each.discriminators
            ):
                return
        raise SigningRefused(
            f"signer {self.name} may not call 0x{data[:8].hex()} of "
            f"{to_base58(program)}: add it to its allow"
        )

    def _raise(self, decision: Decision) -> None:
        if decision is Decision.STOPPED:
            raise SigningHeld(
                Hold.STOPPED,
                f"signer {self.name} was stopped: run `chainfold sign resume`",
            )
        if decision is Decision.BUDGET:
            raise SigningHeld(
                Hold.BUDGET,
                f"what is left of the day's limits of signer {self.name} is not "
                "enough: raise its lamports_per_day or tokens_per_day, or wait for the "
                "next day (UTC)",
            )
        if decision is Decision.CONFLICT:
            raise SigningRefused(
                f"signer {self.name} signed something else for the same request: two "
                "transactions of one request must never differ. Ask with a new key"
            )


def guarded(
    engine: Engine, inner: Signer, rules: Rules, clock: Callable[[], datetime]
) -> GuardedSigner:
    """A key behind its rules, which bear its name."""
    return GuardedSigner(engine, inner, replace(rules, name=inner.name), clock)
