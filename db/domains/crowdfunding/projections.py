"""Projections of the crowdfunding events.

*Native* money moved on the chain; *fiat* was paid off the chain and
attested: it counts towards the goal and is paid out and refunded off the chain.
"""

from db.declare import (
    Count,
    CountDistinct,
    First,
    Key,
    Latest,
    Max,
    Projection,
    Stage,
    Sum,
)
from db.domains.crowdfunding import entries
from db.domains.crowdfunding import events as e

NATIVE = b"crypto".ljust(32, b"\0")  # as the contract codes payments it received itself
NOBODY = bytes(20)

made = e.CampaignStatusChanged


class Issuer(Projection):
    """One row per issuer: who may raise money, and on what terms."""

    issuer = Key()

    registered_at = First(e.IssuerRegistered.block_time)
    credential = First(e.IssuerRegistered.credential)
    memorandum = Latest(e.IssuerRegistered.memorandum, e.MemorandumUpdated.memorandum)
    active = Latest(
        {
            e.IssuerRegistered: True,
            e.IssuerReactivated: True,
            e.IssuerDeactivated: False,
        }
    )
    locked = Latest(e.ExclusivityLockChanged.locked, {e.IssuerRegistered: False})
    last_campaign = Latest(e.ExclusivityLockChanged.campaign)
    last_campaign_year = Max(
        e.ExclusivityLockChanged.year,
        where=e.ExclusivityLockChanged.locked == True,  # noqa: E712
    )
    campaigns = Count(e.CampaignCreated.keyed(issuer="beneficiary"))
    index = ("registered_at",)

    unlocked = active & (locked == False)  # noqa: E712


class IssuerYear(Projection):
    """One row per issuer and calendar year (UTC) in which it began a campaign.

    An issuer may begin one campaign in a year: a row means that the year is used.
    """

    issuer = Key()
    year = Key()

    campaign = First(e.ExclusivityLockChanged.campaign)
    began_at = First(e.ExclusivityLockChanged.block_time)
    running = Latest(e.ExclusivityLockChanged.locked)


class CampaignDraft(Projection):
    """One row per draft of a campaign: its terms, and whether it may be deployed.

    Terms that are written anew under the same id are its next revision and go back to
    `pending`, as long as the draft was not approved. A verdict names the revision that
    was read, and is refused when there is a later one.
    """

    draft = Key()

    beneficiary = Latest(entries.CampaignDrafted.beneficiary)
    campaign_id = Latest(entries.CampaignDrafted.campaign_id)
    company_name = Latest(entries.CampaignDrafted.company_name)
    description = Latest(entries.CampaignDrafted.description)
    goal = Latest(entries.CampaignDrafted.goal)
    duration = Latest(entries.CampaignDrafted.duration)
    document_hash = Latest(entries.CampaignDrafted.document_hash)
    revision = Count(entries.CampaignDrafted)
    drafted_at = First(entries.CampaignDrafted.block_time)
    stage = Stage(
        (["", "pending", "rejected"], entries.CampaignDrafted, "pending"),
        (["pending"], entries.CampaignApproved, "approved"),
        (["pending"], entries.CampaignRejected, "rejected"),
    )
    rejected_because = Latest(entries.CampaignRejected.reason)
    index = ("beneficiary", "stage", "drafted_at")
    readable_by = entries.READERS


class Campaign(Projection):
    """One row per campaign: what it asked for, took in, and paid out."""

    campaign = Key()

    campaign_id = First(e.CampaignCreated.campaign_id)
    company_name = First(e.CampaignCreated.company_name)
    issuer = First(e.CampaignCreated.beneficiary)
    creator = First(e.CampaignCreated.creator)
    goal = First(e.CampaignCreated.goal)
    deadline = First(e.CampaignCreated.deadline)
    created_at = First(e.CampaignCreated.block_time)
    description = First(e.CampaignTermsSet.description)
    document_hash = First(e.CampaignTermsSet.document_hash)
    threshold = First(e.CampaignTermsSet.threshold)
    fee_bps = First(e.CampaignTermsSet.fee_bps)
    raised = Sum(e.InvestmentMade.amount)
    native_raised = Sum(
        e.InvestmentMade.amount, where=e.InvestmentMade.method == NATIVE
    )
    released = Sum(e.FundsReleased.amount)
    fees = Sum(e.FundsReleased.fee)
    fiat_due = Sum(e.FiatPayoutDue.amount)
    fiat_fees_due = Sum(e.FiatPayoutDue.fee)
    deferred = Sum(e.PayoutDeferred.amount, -e.PayoutClaimed.amount)
    refunds_announced = Sum(e.RefundIssued.principal)
    refunded = Sum(e.RefundIssued.paid)
    fiat_refunds_owed = Sum(e.RefundOwed.amount, -e.RefundSettled.amount)
    investments = Count(e.InvestmentMade)
    investors = CountDistinct(e.InvestmentMade.investor)
    last_invested_at = Max(e.InvestmentMade.block_time)
    completed_at = First(e.CampaignCompleted.block_time)
    paused = Latest(
        {e.CampaignCreated: False, e.CampaignPaused: True, e.CampaignResumed: False}
    )
    cancel_reason = First(e.CampaignCancelled.reason)
    stage = Stage(
        ([""], made.only(made.new == 1), "active"),
        (["active"], made.only(made.new == 2), "funded"),
        (["active", "funded"], made.only(made.new == 3), "successful"),
        (["active"], made.only(made.new == 4), "failed"),
        (["failed", "cancelled"], made.only(made.new == 5), "refunding"),
        (["refunding"], made.only(made.new == 6), "refunded"),
        (["active"], made.only(made.new == 7), "cancelled"),
    )
    index = ("issuer", "stage", "created_at", "deadline", "raised")

    held = native_raised - released - fees + deferred - refunded
    funded = raised * 100 >= goal * 75
    progress_percent = raised * 100 // goal


class Holding(Projection):
    """One row per investor in a campaign: what they have at stake."""

    campaign = Key()
    investor = Key()

    paid_in = Sum(e.InvestmentMade.amount)
    refunds_announced = Sum(e.RefundIssued.principal)
    paid_back = Sum(e.RefundIssued.paid)
    fiat_owed = Sum(e.RefundOwed.amount, -e.RefundSettled.amount)
    investments = Count(e.InvestmentMade)
    first_invested_at = First(e.InvestmentMade.block_time)
    last_invested_at = Max(e.InvestmentMade.block_time)
    index = ("investor",)

    invested = paid_in - refunds_announced


class Investment(Projection):
    """One row per payment into a campaign."""

    investment = Key()

    campaign = First(e.InvestmentMade.campaign)
    investor = First(e.InvestmentMade.investor)
    amount = First(e.InvestmentMade.amount)
    method = First(e.InvestmentMade.method)
    payment_ref = First(e.InvestmentMade.payment_ref)
    made_at = First(e.InvestmentMade.block_time)
    transaction_id = First(e.InvestmentMade.transaction)
    index = ("campaign", "investor", "made_at", "payment_ref")


class Certificate(Projection):
    """One row per share certificate: what it certifies, and who owns it."""

    certificate = Key()

    campaign = First(e.CertificateIssued.campaign)
    issued_to = First(e.CertificateIssued.owner)
    owner = Latest(e.CertificateTransferred.recipient)
    amount = First(e.CertificateIssued.amount)
    shares = First(e.CertificateIssued.shares)
    votes = First(e.CertificateIssued.votes)
    issued_at = First(e.CertificateIssued.block_time)
    transfers = Count(e.CertificateTransferred)
    revoked = Latest({e.CertificateIssued: False, e.CertificateRevoked: True})
    revoked_because = Latest(e.CertificateRevoked.reason)
    index = ("campaign", "owner")


transfer = e.CertificateTransferred
given = transfer.keyed(owner="recipient").only(transfer.recipient != NOBODY)
taken = transfer.keyed(owner="sender").only(transfer.sender != NOBODY)


class CertificateOwner(Projection):
    """One row per account that ever held a certificate: how many it holds."""

    owner = Key()

    certificates = Sum({given: 1, taken: -1})
    received_last_at = Max(given.block_time)


class EscrowAccount(Projection):
    """One row per escrow account: what went in and where it went."""

    campaign_key = Key()

    campaign_id = First(e.EscrowAccountCreated.campaign_id)
    issuer = First(e.EscrowAccountCreated.issuer)
    opened_at = First(e.EscrowAccountCreated.block_time)
    deposited = Sum(e.EscrowDeposited.amount)
    released = Sum(e.EscrowReleased.amount)
    refunded = Sum(e.EscrowRefunded.amount)
    withdrawn = Sum(e.EscrowWithdrawn.amount)
    depositors = CountDistinct(e.EscrowDeposited.party)
    stage = Stage(
        ([""], e.EscrowAccountCreated, "open"),
        (["open"], e.EscrowReleased, "released"),
        (["open"], e.EscrowRefundsOpened, "refunding"),
        (["open", "refunding"], e.EscrowWithdrawn, "withdrawn"),
    )
    index = ("issuer", "stage")

    held = deposited - released - refunded - withdrawn


class EscrowMovement(Projection):
    """One row per movement of money into or out of escrow, in order of the chain."""

    position = Key()

    campaign_key = First(
        e.EscrowDeposited.campaign_key,
        e.EscrowReleased.campaign_key,
        e.EscrowRefunded.campaign_key,
        e.EscrowWithdrawn.campaign_key,
    )
    kind = First(
        {
            e.EscrowDeposited: "deposit",
            e.EscrowReleased: "release",
            e.EscrowRefunded: "refund",
            e.EscrowWithdrawn: "withdrawal",
        }
    )
    party = First(
        e.EscrowDeposited.party,
        e.EscrowReleased.party,
        e.EscrowRefunded.party,
        e.EscrowWithdrawn.party,
    )
    amount = First(
        e.EscrowDeposited.amount,
        e.EscrowReleased.amount,
        e.EscrowRefunded.amount,
        e.EscrowWithdrawn.amount,
    )
    moved_at = First(
        e.EscrowDeposited.block_time,
        e.EscrowReleased.block_time,
        e.EscrowRefunded.block_time,
        e.EscrowWithdrawn.block_time,
    )
    index = ("campaign_key", "party")


class PlatformAccount(Projection):
    """One row per factory: the platform's fees, and the terms of new campaigns."""

    factory = Key()

    received = Sum(e.PlatformFeeReceived.amount)
    withdrawn = Sum(e.PlatformFeesWithdrawn.amount)
    campaigns_paying = CountDistinct(e.PlatformFeeReceived.campaign)
    fee_bps = Latest(e.PlatformFeeUpdated.fee_bps)
    fee_recipient = Latest(e.FeeRecipientUpdated.recipient)
    implementation = Latest(e.ImplementationUpdated.implementation)

    held = received - withdrawn
