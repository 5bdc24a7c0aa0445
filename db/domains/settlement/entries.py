"""Journal entries about what is sold, who made it, and who bought it.

A purchase's id is 16 bytes, written as `0x…`: the same on the chain, in the journal and
in the metadata of its payment.
"""

from db.declare import (
    EVERYONE,
    STAFF,
    Bytes32,
    Entry,
    Own,
    Pubkey,
    Text,
    Time,
    Uint,
)


class ContentPublished(Entry):
    """A chapter or another content is for sale, or its terms are others from now on.

    `account` is whose it is; only the first entry of a content says so. `price` is in
    cents of US dollars, `stock` how often it may be sold; 0: without end. `metadata` is
    the document of its NFTs, byte by byte, and `metadata_hash` its SHA-256.
    """

    content = Text(max_length=100)
    account = Text(max_length=100)
    kind = Text(max_length=20)
    title = Text(max_length=200)
    price = Uint(32)
    stock = Uint(32)
    metadata = Text(max_length=8_000)
    metadata_hash = Bytes32()

    readable_by = EVERYONE


class ShareOffered(Entry):
    """Somebody may take part in what a content earns, in basis points of the pool.

    `collaborator` is the id of an account.
    """

    content = Text(max_length=100)
    collaborator = Text(max_length=100)
    share = Uint(16)


class ShareAccepted(Entry):
    """A collaborator takes its share, paid to a wallet."""

    content = Text(max_length=100)
    collaborator = Text(max_length=100)
    wallet = Pubkey()


class PurchaseStarted(Entry):
    """An account is to pay `total` cents, card fee included, for a buyer's wallet."""

    purchase = Text(max_length=34)
    content = Text(max_length=100)
    account = Text(max_length=100)
    buyer = Pubkey()
    price = Uint(32)
    total = Uint(32)

    readable_by = (STAFF, Own("account"))


class PurchaseBlocked(Entry):
    """A purchase that was paid cannot be settled yet, and why.

    The id is as the payment's metadata has it: somebody else may have written it.
    """

    purchase = Text(max_length=500)
    reason = Text(max_length=500)


class PurchaseReleased(Entry):
    """A purchase is blocked no more: it is settled."""

    purchase = Text(max_length=34)


class PurchaseWaits(Entry):
    """A purchase that was paid is not settled before `until`, and why.

    `until` is in seconds since 1970.
    """

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    until = Uint(63, meaning=Time())
    reason = Text(max_length=500)


class PurchaseWaitOver(Entry):
    """The moment has passed for which the settlement of a payment was to wait."""

    purchase = Text(max_length=34)
    charge = Text(max_length=255)


class HoldReleased(Entry):
    """A person has looked at a payment that was held or waited: it may be settled."""

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    note = Text(max_length=500)


class RefundWanted(Entry):
    """A person wants a payment of a purchase refunded: all that is left of it."""

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    reason = Text(max_length=500)


class SettlementSeen(Entry):
    """The chain has settled a purchase, and that will not be undone.

    `payment_hash` is the SHA-256 of the charge that it was settled for; `outflow` is
    what creators were paid, in micro-USDC.
    """

    purchase = Text(max_length=34)
    payment_hash = Bytes32()
    outflow = Uint(64)


class ChargeSettled(Entry):
    """The payment that a purchase was settled for."""

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    outflow = Uint(64)


class TreasuryReviewed(Entry):
    """A week was summed up, in micro-USDC; `replenish` is the outflow."""

    week_start = Uint(63, meaning=Time())
    week_end = Uint(63, meaning=Time())
    purchases = Uint(32)
    fronted = Uint(64)
    earned = Uint(64)
    replenish = Uint(64)


class TreasuryReplenished(Entry):
    """A person said how far the replenishment for a week is."""

    week_start = Uint(63, meaning=Time())
    status = Text(max_length=20)
    note = Text(max_length=500)


class TreasuryFunded(Entry):
    """A person says that the treasury was given `usdc` micro-USDC for `cents`.

    `reference` is that of the transfer or the purchase of USDC; `funded_at` is when it
    happened, in seconds since 1970.
    """

    usdc = Uint(63)
    cents = Uint(63)
    reference = Text(max_length=200)
    funded_at = Uint(63, meaning=Time())


class DebtWrittenOff(Entry):
    """A person says that `cents` of what is owed for a payment will not come back."""

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    cents = Uint(63)
    reason = Text(max_length=500)
