"""Instructions that a wallet may add to those that it was asked to sign.

Wallets put guards (assertions about balances, such as Lighthouse's) and a fee of their
own into transactions. What may be added is in the settings, by program and recipient,
with a number or an amount as its limit; the compute budget may be set, up to a price.
Nothing that is added may have an account written, or signed for, that is not in ours,
but for the recipient of a fee.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from commands.errors import BadTransaction
from commands.solana.messages import Step
from commands.solana.transaction import UNITS_MAX, Budget
from idl.base58 import from_base58, to_base58

COMPUTE_BUDGET = from_base58("ComputeBudget111111111111111111111111111111", 32)
SYSTEM = bytes(32)
# The limit of compute units, and the price of one in micro-lamports (solana.com/docs,
# "Fees"); a transfer of the system program (solana-system-interface).
_LIMIT, _PRICE, _TRANSFER = (struct.Struct(f) for f in ("<BI", "<BQ", "<IQ"))
_LIMIT_TAG, _PRICE_TAG, _TRANSFER_TAG = 2, 3, 2


@dataclass(frozen=True, slots=True)
class Extras:
    """The instructions that wallets may add.

    `guards` are programs, of which `guards_most` instructions may stand in a
    transaction; `fees` is the most lamports for each recipient, once. `price_max` is in
    micro-lamports for a compute unit.
    """

    guards: frozenset[bytes] = frozenset()
    guards_most: int = 4
    fees: Mapping[bytes, int] = field(default_factory=dict)
    price_max: int = 1_000_000


NO_EXTRAS = Extras()
_UNASKED = (
    "was not asked for, and is none that a wallet may add: sign `message` of the "
    "command as it is, or list the wallet's guards and fees under [wallets.solana]"
)


class Additions:
    """The additions of one transaction: each is taken, or BadTransaction is raised.

    `refusal` is said of one that is not listed, behind its place.
    """

    def __init__(self, extras: Extras, wallet: bytes, refusal: str = _UNASKED) -> None:
        self._extras, self._wallet, self._refusal = extras, wallet, refusal
        self._guards = 0
        self._units: int | None = None
        self._price: int | None = None
        self.paid: set[bytes] = set()  # recipients of fees
        self.lamports = 0

    @property
    def budget(self) -> Budget:
        """The compute budget that the transaction asks for."""
        units = UNITS_MAX if self._units is None else self._units
        return Budget(units, self._price or 0)

    def take(self, step: Step, place: str) -> None:
        """Take an instruction that is not ours; `place` names it in a refusal."""
        if step.program == COMPUTE_BUDGET:
            self._take_budget(step, place)
        elif step.program in self._extras.guards:
            self._guards += 1
            if self._guards > self._extras.guards_most:
                raise BadTransaction(
                    f"{place} is one guard too many: at most "
                    f"{self._extras.guards_most} are taken. Have the wallet add fewer"
                )
        elif step.program == SYSTEM and step.data[:4] == _TRANSFER.pack(2, 0)[:4]:
            self._take_transfer(step, place)
        else:
            raise self._unasked(place)

    def _take_budget(self, step: Step, place: str) -> None:
        """Take a limit and a price, once each, up to what the settings allow."""
        tag = step.data[0] if step.data else 0
        if tag == _LIMIT_TAG and len(step.data) == _LIMIT.size:
            before, (_, self._units) = self._units, _LIMIT.unpack(step.data)
            over = (self._units or 0) > UNITS_MAX
            limit = f"{UNITS_MAX} compute units"
        elif tag == _PRICE_TAG and len(step.data) == _PRICE.size:
            before, (_, self._price) = self._price, _PRICE.unpack(step.data)
            over = (self._price or 0) > self._extras.price_max
            limit = f"{self._extras.price_max} micro-lamports for a compute unit"
        else:
            raise BadTransaction(
                f"{place} is none that is taken: set the limit and the price of the "
                "compute budget, and nothing else of it"
            )
        if step.accounts or before is not None:
            raise BadTransaction(
                f"{place} sets the same twice, or names accounts: sign with one limit "
                "and one price"
            )
        if over:
            raise BadTransaction(f"{place} asks for more than {limit}: sign with less")

    def _take_transfer(self, step: Step, place: str) -> None:
        """Take a transfer to a listed recipient, once, up to its cap."""
        if len(step.data) != _TRANSFER.size or len(step.accounts) != 2:
            raise self._unasked(place)
        _, lamports = _TRANSFER.unpack(step.data)
        payer, recipient = step.accounts
        most = self._extras.fees.get(recipient)
        if most is None or payer != self._wallet or recipient in self.paid:
            place = f"{place}, {lamports} lamports to {to_base58(recipient)},"
            raise self._unasked(place)
        if lamports > most:
            raise BadTransaction(
                f"{place} pays {lamports} lamports to {to_base58(recipient)}, and at "
                f"most {most} are taken as a fee: have the wallet add a lower one"
            )
        self.paid.add(recipient)
        self.lamports += lamports

    def _unasked(self, place: str) -> BadTransaction:
        return BadTransaction(f"{place} {self._refusal}")
