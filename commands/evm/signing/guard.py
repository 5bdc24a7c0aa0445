"""Guard a key: rules, limits, a kill switch, and a memory of every nonce."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Engine

from commands.errors import SigningHeld, SigningRefused
from commands.evm.signers import Payload, SignedBytes, Signer
from db.commands.evm.memory import (
    Decision,
    SigningRequest,
    SpendingLimits,
    after_last_signed,
    is_child,
    look,
    remember,
)
from db.commands.states import Hold

NO_LIMITS = SpendingLimits()
NONCE_MAX = 1 << 63  # as the database holds them; chains allow 2^64 - 2
FILLER = "filler"  # in the settings, among what may be signed


@dataclass(frozen=True, slots=True)
class Allowance:
    """Functions of a contract that may be called, by their selectors.

    At these addresses; or, for a contract that a factory makes, wherever the index has
    seen the factory announce one.
    """

    contract: str
    addresses: frozenset[bytes]
    selectors: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a signer; amounts in wei, None: no limit. No allowances: anything.

    `fillers`: also transfers of nothing to itself, which use a nonce up.
    """

    name: str
    chain_id: int
    allow: tuple[Allowance, ...] | None = None
    value_per_transaction: int | None = None
    gas_price_max: int | None = None
    limits: SpendingLimits = NO_LIMITS
    fillers: bool = True


@dataclass(frozen=True, slots=True)
class GuardedSigner:
    """A key behind rules and a memory; the memory is written before the key is used."""

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

    def permits(self, payload: Payload) -> None:
        """Raise what `sign` would, for a nonce that nothing was signed for yet."""
        self.inner.permits(payload)
        self._check(payload)
        most, cost = self.rules.limits.gas_per_day, payload.gas * payload.gas_price
        if most is not None and cost > most:
            raise SigningRefused(
                f"it may cost {cost} wei of gas, and signer {self.name} spends at most "
                f"{most} in a day: raise its gas_per_day"
            )
        with self.engine.connect() as connection:
            request, limits = self._request(payload), self.rules.limits
            decision = look(connection, request, limits, self.clock())
        self._raise(decision, payload)

    def floor(self) -> int:
        """The nonce after the last that was signed for this account; 0: none."""
        with self.engine.connect() as connection:
            return after_last_signed(connection, self.rules.chain_id, self.address)

    def sign(self, payload: Payload) -> SignedBytes:
        """Sign what the rules allow and the memory does not contradict."""
        self._check(payload)
        with self.engine.begin() as connection:
            request, limits = self._request(payload), self.rules.limits
            decision = remember(connection, request, limits, self.clock())
        self._raise(decision, payload)
        return self.inner.sign(payload)

    def _request(self, payload: Payload) -> SigningRequest:
        return SigningRequest(
            signer=self.name,
            chain=payload.chain_id,
            address=self.address,
            nonce=payload.nonce,
            is_self_transfer=self._gives_up(payload),
            digest=digest(payload),
            value=payload.value,
            gas_cost=payload.gas * payload.gas_price,
        )

    def _gives_up(self, payload: Payload) -> bool:
        """Whether it moves nothing, and so only uses its nonce up."""
        return payload.to == self.address and not payload.value and not payload.data

    def _check(self, payload: Payload) -> None:
        """Whether the rules allow it, whatever was signed before."""
        rules = self.rules
        if payload.nonce >= NONCE_MAX:
            raise SigningRefused(f"{payload.nonce} is no nonce: one is below 2^63")
        if payload.chain_id != rules.chain_id:
            raise SigningRefused(
                f"signer {self.name} signs for chain {rules.chain_id}, not "
                f"{payload.chain_id}: correct the chain's id"
            )
        if rules.gas_price_max is not None and payload.gas_price > rules.gas_price_max:
            raise SigningHeld(
                Hold.CEILING,
                f"signer {self.name} pays at most {rules.gas_price_max} wei for gas, "
                f"not {payload.gas_price}: raise its gas_price_max",
            )
        if self._gives_up(payload):
            if not rules.fillers:
                raise SigningRefused(
                    f"signer {self.name} may not use a nonce up by a transfer of "
                    f'nothing to itself: add "{FILLER}" to its allow'
                )
            return
        most = rules.value_per_transaction
        if most is not None and payload.value > most:
            raise SigningRefused(
                f"signer {self.name} sends at most {most} wei at a time, not "
                f"{payload.value}: raise its value_per_transaction"
            )
        if rules.allow is not None and not self._allowed(payload, rules.allow):
            raise SigningRefused(
                f"signer {self.name} may not call 0x{payload.data[:4].hex()} at "
                f"0x{payload.to.hex()}: add it to its allow"
            )

    def _allowed(self, payload: Payload, allow: tuple[Allowance, ...]) -> bool:
        selector = payload.data[:4]
        fitting = [each for each in allow if selector in each.selectors]
        if any(payload.to in each.addresses for each in fitting):
            return True
        chain_id = f"eip155:{payload.chain_id}"
        with self.engine.connect() as connection:
            return any(
                is_child(connection, chain_id, each.contract, payload.to)
                for each in fitting
            )

    def _raise(self, decision: Decision, payload: Payload) -> None:
        if decision is Decision.STOPPED:
            raise SigningHeld(
                Hold.STOPPED,
                f"signer {self.name} was stopped: run `chainfold sign resume`",
            )
        if decision is Decision.GAS:
            raise SigningHeld(
                Hold.BUDGET,
                f"what is left of the day's gas of signer {self.name} is not enough "
                f"for {payload.gas * payload.gas_price} wei: raise its gas_per_day, or "
                "wait for the next day (UTC)",
            )
        if decision is Decision.FAR:
            raise SigningHeld(
                Hold.FAR,
                f"nonce {payload.nonce} is far beyond the last that signer {self.name} "
                "is known to have used: when the index has read those before, it goes "
                f"on; else run `chainfold sign resume {self.name} --nonce "
                f"{payload.nonce}` where its key is",
            )
        if decision is Decision.VALUE:
            raise SigningRefused(
                f"signer {self.name} has sent its value of the day: raise its "
                "value_per_day, or wait for the next day (UTC)"
            )
        if decision is Decision.CONFLICT:
            raise SigningRefused(
                f"signer {self.name} signed something else for nonce {payload.nonce}: "
                "two calls must never compete, so the command needs another nonce"
            )


def digest(payload: Payload) -> bytes:
    """Return the digest of what a transaction does, without what it costs.

    The same call with another fee, gas limit or type has the same digest: of two such
    transactions with one nonce only one is mined, and it does not matter which.
    """
    parts = (
        payload.chain_id.to_bytes(8, "big"), payload.nonce.to_bytes(8, "big"),
        payload.to, payload.value.to_bytes(32, "big"), payload.data,
    )  # fmt: skip
    return hashlib.sha256(b"".join(parts)).digest()


def guarded(
    engine: Engine, inner: Signer, rules: Rules, clock: Callable[[], datetime]
) -> GuardedSigner:
    """A key behind its rules, which bear its name."""
    return GuardedSigner(engine, inner, replace(rules, name=inner.name), clock)
