"""Commands of settlement: what is sold and to whom, and the one transaction."""

from db.declare import (
    ITEM,
    SIGNER,
    Ata,
    Bytes32,
    Command,
    Each,
    FixedBytes,
    Invoke,
    Json,
    Named,
    Pubkey,
    Role,
    Route,
    Text,
    Time,
    Uint,
)
from db.domains.settlement import entries, rules
from db.domains.settlement import events as e
from db.domains.settlement.projections import Debt, Purchase
from db.domains.settlement.roles import CREATOR

USDC = Named("usdc")


class PublishContent(Command):
    """Put a chapter or another content up for sale, or change its terms."""

    content = Text(max_length=100)
    account = Text(max_length=100)
    kind = Text(max_length=20)
    title = Text(max_length=200)
    price = Uint(32)
    stock = Uint(32)
    metadata = Text(max_length=8_000)
    metadata_hash = Bytes32()

    route = "contents"
    role = (CREATOR, Role.OPERATOR)
    rules = (rules.content_is_yours, rules.content_is_whole)
    record = entries.ContentPublished


class OfferShare(Command):
    """Offer somebody a share in what a content earns; 0 takes it back."""

    content = Text(max_length=100)
    collaborator = Text(max_length=100)
    share = Uint(16)

    role = (CREATOR, Role.OPERATOR)
    rules = (rules.content_is_yours, rules.share_is_left)
    record = entries.ShareOffered


class AcceptShare(Command):
    """Take a share, and name the wallet that is paid."""

    content = Text(max_length=100)
    collaborator = Text(max_length=100)
    wallet = Pubkey()

    role = (CREATOR, Role.OPERATOR)
    rules = (rules.share_is_yours, rules.share_is_offered)
    record = entries.ShareAccepted


class ReplenishTreasury(Command):
    """Say how far the replenishment for a reviewed week is."""

    week_start = Uint(63, meaning=Time())
    status = Text(max_length=20)
    note = Text(max_length=500)

    role = Role.OPERATOR
    rules = (rules.week_was_reviewed,)
    record = entries.TreasuryReplenished


class StartPurchase(Command):
    """Begin to buy, for an account; `routes` asks for it, and makes the session."""

    purchase = Text(max_length=34)
    content = Text(max_length=100)
    account = Text(max_length=100)
    buyer = Pubkey()
    price = Uint(32)
    total = Uint(32)

    role = Role.OPERATOR
    rules = (rules.purchase_has_an_id, rules.content_can_be_bought)
    record = entries.PurchaseStarted


class ReleasePurchase(Command):
    """Let a purchase be settled for a payment that is held: `note` says why.

    It is held after a warning of fraud, a refund of a part, or a dispute that was won;
    that of a new buyer may wait (`[settlement] new_buyer_wait_hours`).
    """

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    note = Text(max_length=500)

    route = Route("purchases/<purchase>/release", via=Purchase)
    role = Role.OPERATOR
    rules = (rules.payment_can_be_released,)
    record = entries.HoldReleased


class RefundPurchase(Command):
    """Refund what is left of a payment; what was settled for it is a debt then."""

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    reason = Text(max_length=500)

    route = Route("purchases/<purchase>/refund", via=Purchase)
    role = Role.OPERATOR
    rules = (rules.payment_can_be_refunded,)
    record = entries.RefundWanted


class SettlePurchase(Command):
    """Mint the NFT of a purchase and split its USDC, in one transaction, once.

    `distributable` is in micro-USDC; `shares` are the basis points of `recipients`, in
    order. What may pass by itself is tried again: a treasury that is short, a
    recipient that cannot be paid now. `attempt` counts what spoke against settling for
    the payment before: what was asked for until then was withdrawn.
    """

    purchase = FixedBytes(16)
    buyer = Pubkey()
    distributable = Uint(64)
    payment_hash = Bytes32()
    metadata_hash = Bytes32()
    recipients = Json()
    shares = Json()
    attempt = Uint(16)

    role = Role.OPERATOR
    once_per = (purchase, payment_hash, attempt)
    signer = "treasury"
    call = Invoke(
        "settlement.settle_purchase",
        {
            "purchase_id": purchase,
            "distributable": distributable,
            "payment_hash": payment_hash,
            "metadata_hash": metadata_hash,
            "shares": shares,
        },
        accounts={
            "payer": SIGNER,
            "treasury_authority": SIGNER,
            "treasury": Named("treasury", owner=SIGNER, mint=USDC),
            "usdc_mint": USDC,
            "buyer": buyer,
        },
        remaining=[Each(recipients, Ata(ITEM, USDC))],
        retried=("TreasuryTooLow", "RecipientFrozen", "NotRecipient"),
    )
    proof = e.PurchaseSettled


class RecordTreasuryFunding(Command):
    """Record for the books that the treasury was given USDC, and what they cost.

    `usdc` is in micro-USDC, `cents` in cents of US dollars; `funded_at` in seconds
    since 1970. Each `reference` is recorded once.
    """

    usdc = Uint(63)
    cents = Uint(63)
    reference = Text(max_length=200)
    funded_at = Uint(63, meaning=Time())

    role = Role.OPERATOR
    rules = (rules.funding_is_new,)
    record = entries.TreasuryFunded


class WriteOffDebt(Command):
    """Write off what is owed for a payment that was settled and whose money went back.

    `cents` of it will not come back: the dispute is lost, or the refund was ours to
    bear. It is owed no more, and the books stay as they are: they had the loss when the
    money left.
    """

    purchase = Text(max_length=34)
    charge = Text(max_length=255)
    cents = Uint(63)
    reason = Text(max_length=500)

    route = Route("debts/<purchase>/<charge>/write-off", via=Debt)
    role = Role.OPERATOR
    rules = (rules.debt_is_owed,)
    record = entries.DebtWrittenOff
