"""Projections of settlement: the catalogue and purchases, and what the chain settled.

Cents and micro-USDC are integers. What is folded from the journal and what is folded
from the chain have the purchase's id in common.
"""

from typing import Any

from db.declare import (
    EVERYONE,
    STAFF,
    Bucket,
    Count,
    First,
    Key,
    Latest,
    Own,
    Projection,
    Replay,
    Stage,
    Sum,
    TokenMoved,
)
from db.domains.settlement import entries
from db.domains.settlement import events as e
from db.payments.stripe import entries as stripe

NAME = "settlement"  # of this domain, in the metadata of payments

captured = stripe.PaymentCaptured.only(stripe.PaymentCaptured.domain == NAME)
fee_known = stripe.PaymentFeeKnown.only(stripe.PaymentFeeKnown.domain == NAME)
expired = stripe.PaymentExpired.only(stripe.PaymentExpired.domain == NAME)
refunded = stripe.RefundMade.only(stripe.RefundMade.domain == NAME)
refund_failed = stripe.RefundFailed.only(stripe.RefundFailed.domain == NAME)
came_back = refund_failed.only(stripe.RefundFailed.balance_transaction != "")
disputed = stripe.DisputeOpened.only(stripe.DisputeOpened.domain == NAME).only(
    stripe.DisputeOpened.inquiry == False  # noqa: E712
)

asked_back = stripe.RefundAsked.only(stripe.RefundAsked.domain == NAME)
warned = stripe.EarlyFraudWarning.only(stripe.EarlyFraudWarning.domain == NAME)
won = stripe.DisputeClosed.only(stripe.DisputeClosed.domain == NAME).only(
    stripe.DisputeClosed.status == "won"
)


def gone(state: dict[str, int] | None, fact: Any) -> dict[str, int]:
    """Fold the refunds and disputes of a payment that stand, with their amounts."""
    found = dict(state or {})
    if fact.event == "RefundMade":
        found[f"refund {fact.refund}"] = int(fact.amount)
    elif fact.event == "RefundFailed":
        found.pop(f"refund {fact.refund}", None)
    elif fact.event == "DisputeOpened":
        found[f"dispute {fact.dispute}"] = int(fact.amount)
    elif fact.event == "DisputeClosed":
        found.pop(f"dispute {fact.dispute}", None)
    return found


class Content(Projection):
    """One row per chapter or content that is or was for sale."""

    content = Key()

    account = First(entries.ContentPublished.account)
    kind = Latest(entries.ContentPublished.kind)
    title = Latest(entries.ContentPublished.title)
    price = Latest(entries.ContentPublished.price)
    stock = Latest(entries.ContentPublished.stock)
    metadata = Latest(entries.ContentPublished.metadata)
    metadata_hash = Latest(entries.ContentPublished.metadata_hash)
    published_at = First(entries.ContentPublished.block_time)
    index = ("account", "kind")
    readable_by = EVERYONE


class ContentDocument(Projection):
    """One row per document of NFTs that a content ever had, by its hash.

    NFTs keep the hash of the document that was theirs when they were minted.
    """

    metadata_hash = Key()

    content = First(entries.ContentPublished.content)
    metadata = First(entries.ContentPublished.metadata)
    readable_by = EVERYONE


class Collaborator(Projection):
    """One row per share in a content: how much, and the wallet that is paid."""

    content = Key()
    collaborator = Key()

    share = Latest(entries.ShareOffered.share)
    wallet = Latest(entries.ShareAccepted.wallet)
    stage = Stage(
        (["", "invited", "accepted"], entries.ShareOffered, "invited"),
        (["invited", "accepted"], entries.ShareAccepted, "accepted"),
    )
    index = ("stage",)


class Purchase(Projection):
    """One row per purchase: what was to be paid, what was, and how far it is.

    `paid` is in cents of what the buyer paid, `refunded` what of it went back; `net`
    what came to the balance after the card's fee, in the account's currency, once it is
    known. `disputes` does not count inquiries.
    """

    purchase = Key()

    content = First(entries.PurchaseStarted.content)
    account = First(entries.PurchaseStarted.account)
    buyer = First(entries.PurchaseStarted.buyer)
    price = First(entries.PurchaseStarted.price)
    total = First(entries.PurchaseStarted.total)
    started_at = First(entries.PurchaseStarted.block_time)
    charge = First(captured.charge)
    currency = First(captured.currency)
    payments = Count(captured)
    paid = Sum(captured.amount)
    paid_at = First(captured.block_time)
    card_fee = Sum(captured.fee, fee_known.fee)
    net = Sum(captured.net, fee_known.net)
    refunded = Sum(refunded.amount, -came_back.amount)
    disputes = Count(disputed)
    blocked_because = Latest(
        entries.PurchaseBlocked.reason, {entries.PurchaseReleased: ""}
    )
    waits_because = Latest(
        entries.PurchaseWaits.reason,
        {entries.PurchaseWaitOver: "", entries.HoldReleased: ""},
    )
    stage = Stage(
        ([""], entries.PurchaseStarted, "open"),
        (["", "open", "expired"], captured, "paid"),
        (["open"], expired, "expired"),
        (["paid", "blocked"], entries.PurchaseBlocked, "blocked"),
        (["blocked"], entries.PurchaseReleased, "paid"),
        (["", "open", "expired", "paid", "blocked"], entries.SettlementSeen, "settled"),
    )
    index = ("account", "buyer", "content", "stage")
    readable_by = (STAFF, Own("account"))


class PurchaseCharge(Projection):
    """One row per card payment of a purchase: what may keep it from being settled.

    `gone_for` has each refund that was made and each dispute that is open or lost, with
    its amount in cents. `alarms` counts all that ever spoke against settling. `hold` is
    `held` after one, and `released` once a person has looked. `waits` is `waiting`
    up to `wait_until` (seconds since 1970) where a rule says so, then `over`.
    """

    purchase = Key()
    charge = Key()

    amount = First(captured.amount)
    currency = First(captured.currency)
    captured_in = First(captured.height)
    captured_at = First(captured.block_time)
    gone_for = Replay(gone, refunded, refund_failed, disputed, won)
    refunds_asked = Count(asked_back)
    warnings = Count(warned)
    alarms = Count(asked_back, refunded, disputed, warned)
    hold = Stage(
        (["", "released"], asked_back, "held"),
        (["", "released"], refunded, "held"),
        (["", "released"], disputed, "held"),
        (["", "released"], warned, "held"),
        (["held"], entries.HoldReleased, "released"),
    )
    wait_until = First(entries.PurchaseWaits.until)
    waits = Stage(
        ([""], entries.PurchaseWaits, "waiting"),
        (["waiting"], entries.PurchaseWaitOver, "over"),
        (["", "waiting"], entries.HoldReleased, "over"),
    )
    index = ("hold",)


class Debt(Projection):
    """One row per card payment that was settled or went back: both make a debt.

    In the stage `debt` both happened, and `owed_for` has the refunds and disputes that
    stand, each with its amount in cents; it is empty when all of them came to nothing.
    What was `written_off` of that, in cents, is owed no more. `outflow` is what
    creators were paid for it, in micro-USDC.
    """

    purchase = Key()
    charge = Key()

    settled_at = First(entries.ChargeSettled.block_time)
    outflow = First(entries.ChargeSettled.outflow)
    owed_for = Replay(gone, refunded, refund_failed, disputed, won)
    written_off = Sum(entries.DebtWrittenOff.cents)
    stage = Stage(
        ([""], entries.ChargeSettled, "settled"),
        ([""], refunded, "returned"),
        ([""], disputed, "returned"),
        (["returned"], entries.ChargeSettled, "debt"),
        (["settled"], refunded, "debt"),
        (["settled"], disputed, "debt"),
    )
    index = ("stage",)


class Sale(Projection):
    """One row per purchase of a content: which purchases there are of it."""

    content = Key()
    purchase = Key()

    started_at = First(entries.PurchaseStarted.block_time)


class BuyerPurchase(Projection):
    """One row per purchase of an account: which purchases its buyer began."""

    account = Key()
    purchase = Key()

    started_at = First(entries.PurchaseStarted.block_time)
    readable_by = (STAFF, Own("account"))


class Settlement(Projection):
    """One row per purchase that was settled on the chain."""

    purchase = Key()

    buyer = First(e.PurchaseSettled.buyer)
    mint = First(e.PurchaseSettled.mint)
    treasury = First(e.PurchaseSettled.treasury)
    amount = First(e.PurchaseSettled.amount)
    platform_fee = First(e.PurchaseSettled.platform_fee)
    dust = First(e.PurchaseSettled.dust)
    payouts = First(e.PurchaseSettled.payouts)
    payment_hash = First(e.PurchaseSettled.payment_hash)
    metadata_hash = First(e.PurchaseSettled.metadata_hash)
    settled_at = First(e.PurchaseSettled.block_time)
    settled_in = First(e.PurchaseSettled.transaction)
    index = ("buyer", "mint", "settled_at")

    outflow = amount - platform_fee - dust


class TreasuryWeek(Projection):
    """One row per week that was reviewed, and what people did about it."""

    week_start = Key()

    week_end = First(entries.TreasuryReviewed.week_end)
    purchases = First(entries.TreasuryReviewed.purchases)
    fronted = First(entries.TreasuryReviewed.fronted)
    earned = First(entries.TreasuryReviewed.earned)
    replenish = First(entries.TreasuryReviewed.replenish)
    status = Latest(
        entries.TreasuryReplenished.status, {entries.TreasuryReviewed: "pending"}
    )
    note = Latest(entries.TreasuryReplenished.note)


class SettledDay(Projection):
    """One row per day (UTC): what was settled on it, for runway and reports."""

    day = Bucket("1 day")

    purchases = Count(e.PurchaseSettled)
    fronted = Sum(e.PurchaseSettled.amount)
    earned = Sum(e.PurchaseSettled.platform_fee)
    dust = Sum(e.PurchaseSettled.dust)

    outflow = fronted - earned - dust


class ProgramConfig(Projection):
    """One row per mint of USDC that the program pays in: how it was configured last.

    `fee_points` are the platform's basis points of what is split.
    """

    usdc_mint = Key()

    fee_points = Latest(e.ConfigChanged.fee_points)
    treasury_authority = Latest(e.ConfigChanged.treasury_authority)
    admin = Latest(e.ConfigChanged.admin)
    changed_at = Latest(e.ConfigChanged.block_time)
    readable_by = EVERYONE


class TreasuryAccount(Projection):
    """One row per token account that paid for purchases."""

    treasury = Key()

    purchases = Count(e.PurchaseSettled)


class PaidDay(Projection):
    """One row per day (UTC): what was paid by card on it, in cents."""

    day = Bucket("1 day")

    payments = Count(captured)
    paid = Sum(captured.amount)
    blocked = Count(entries.PurchaseBlocked)


class AccountDay(Projection):
    """One row per token account and day (UTC) on which it moved: what it then held.

    `balance` is in the token's smallest unit, at the end of the day.
    """

    account = Key()
    day = Bucket("1 day")

    balance = Latest(TokenMoved.balance)


class TreasuryFunding(Projection):
    """One row per funding of the treasury that was recorded, by its reference."""

    reference = Key()

    usdc = First(entries.TreasuryFunded.usdc)
    cents = First(entries.TreasuryFunded.cents)
    funded_at = First(entries.TreasuryFunded.funded_at)
