"""Events of the crowdfunding contracts, under our names."""

from db.declare import (
    Address,
    Bool,
    Bytes32,
    Code,
    Contract,
    Event,
    Money,
    Text,
    Time,
    Uint,
)

ETB = Money(18, "ETB")

registry = Contract("IssuerRegistry")
factory = Contract("CampaignFactory")
certificates = Contract("NFTShareCertificate")
escrow = Contract("FundEscrow")


class IssuerRegistered(Event):
    """An issuer was admitted, with the hash of its credential."""

    source = registry
    issuer = Address()
    credential = Text(param="vcHash")
    memorandum = Text(param="ipfsHash")


class MemorandumUpdated(Event):
    """An issuer's information memorandum was replaced."""

    source = registry
    name = "InformationMemorandumUpdated"
    issuer = Address()
    memorandum = Text(param="newIpfsHash")


class IssuerDeactivated(Event):
    """An issuer may no longer raise money."""

    source = registry
    issuer = Address()


class IssuerReactivated(Event):
    """A deactivated issuer may raise money again."""

    source = registry
    issuer = Address()


class ExclusivityLockChanged(Event):
    """An issuer's one running campaign began or ended; `year` is the calendar year."""

    source = registry
    issuer = Address()
    campaign = Address()
    locked = Bool()
    year = Uint(16)


class CampaignCreated(Event):
    """The factory made a campaign."""

    source = factory
    campaign = Address(param="campaignAddress")
    creator = Address()
    beneficiary = Address()
    campaign_id = Text()
    company_name = Text()
    goal = Uint(param="fundingGoal", meaning=ETB)
    deadline = Uint(meaning=Time())


class CampaignReported(Event):
    """A campaign told the factory how it ended."""

    source = factory
    name = "CampaignCompleted"
    campaign = Address(param="campaignAddress")
    campaign_id = Text()
    total_raised = Uint(meaning=ETB)
    successful = Bool()


class PlatformFeeReceived(Event):
    """A campaign paid its fee to the factory."""

    source = factory
    name = "PlatformFeesReceived"
    factory = Address(emitter=True)
    campaign = Address()
    amount = Uint(meaning=ETB)


class PlatformFeesWithdrawn(Event):
    """The platform took its fees out of the factory."""

    source = factory
    factory = Address(emitter=True)
    recipient = Address()
    amount = Uint(meaning=ETB)


class PlatformFeeUpdated(Event):
    """The fee of new campaigns changed."""

    source = factory
    factory = Address(emitter=True)
    fee_bps = Uint(param="newFee")


class FeeRecipientUpdated(Event):
    """Fees go to another account from now on."""

    source = factory
    factory = Address(emitter=True)
    recipient = Address(param="newRecipient")


class ImplementationUpdated(Event):
    """New campaigns are clones of another implementation from now on."""

    source = factory
    factory = Address(emitter=True)
    implementation = Address(param="newImplementation")


campaigns = Contract("CampaignImplementation", created_by=CampaignCreated.campaign)


class CampaignTermsSet(Event):
    """A campaign stated its terms."""

    source = campaigns
    campaign = Address(emitter=True)
    description = Text()
    document_hash = Text()
    threshold = Uint(param="successThreshold", meaning=ETB)
    fee_bps = Uint(16, param="platformFeeBps")


class CampaignStatusChanged(Event):
    """A campaign moved from one status to another, numbered as its contract does.

    1 active, 2 funded, 3 successful, 4 failed, 5 refunding, 6 refunded, 7 cancelled.
    """

    source = campaigns
    campaign = Address(emitter=True)
    old = Uint(8, param="from")
    new = Uint(8, param="to")


class InvestmentMade(Event):
    """An investor paid in; `method` is `crypto`, or the code of an attested payment."""

    source = campaigns
    campaign = Address(emitter=True)
    investment = Bytes32(param="investmentId")
    investor = Address()
    amount = Uint(meaning=ETB)
    total_raised = Uint(meaning=ETB)
    method = Bytes32(param="methodCode", meaning=Code())
    payment_ref = Bytes32(meaning=Code())


class FundsReleased(Event):
    """A campaign paid its beneficiary, less the platform's fee, in native money."""

    source = campaigns
    campaign = Address(emitter=True)
    gross = Uint(param="grossRaised", meaning=ETB)
    amount = Uint(param="creatorAmount", meaning=ETB)
    fee = Uint(param="platformFee", meaning=ETB)


class FiatPayoutDue(Event):
    """Money attested off the chain is due to the beneficiary off the chain."""

    source = campaigns
    campaign = Address(emitter=True)
    gross = Uint(param="grossRaised", meaning=ETB)
    amount = Uint(param="creatorAmount", meaning=ETB)
    fee = Uint(param="platformFee", meaning=ETB)


class PayoutDeferred(Event):
    """The beneficiary could not be paid; the money waits in the campaign."""

    source = campaigns
    campaign = Address(emitter=True)
    beneficiary = Address()
    amount = Uint(meaning=ETB)


class PayoutClaimed(Event):
    """The beneficiary took a payout that had waited."""

    source = campaigns
    campaign = Address(emitter=True)
    beneficiary = Address()
    recipient = Address(param="to")
    amount = Uint(meaning=ETB)


class RefundIssued(Event):
    """An investor was refunded; `paid` is the native money that really moved."""

    source = campaigns
    campaign = Address(emitter=True)
    investor = Address()
    principal = Uint(meaning=ETB)
    paid = Uint(meaning=ETB)


class RefundOwed(Event):
    """A payment made off the chain is owed back off the chain."""

    source = campaigns
    campaign = Address(emitter=True)
    investor = Address()
    amount = Uint(meaning=ETB)
    method = Bytes32(param="methodCode", meaning=Code())


class RefundSettled(Event):
    """A refund owed off the chain was attested as paid."""

    source = campaigns
    campaign = Address(emitter=True)
    investor = Address()
    amount = Uint(meaning=ETB)
    method = Bytes32(param="methodCode", meaning=Code())
    payment_ref = Bytes32(meaning=Code())


class CampaignCompleted(Event):
    """A campaign ended."""

    source = campaigns
    campaign = Address(emitter=True)
    successful = Bool()
    total_raised = Uint(meaning=ETB)


class CampaignCancelled(Event):
    """A campaign was called off, with the reason."""

    source = campaigns
    campaign = Address(emitter=True)
    reason = Text()


class CampaignPaused(Event):
    """Investing is suspended."""

    source = campaigns
    name = "Paused"
    campaign = Address(emitter=True)
    account = Address()


class CampaignResumed(Event):
    """Investing goes on."""

    source = campaigns
    name = "Unpaused"
    campaign = Address(emitter=True)
    account = Address()


class CertificateIssued(Event):
    """An investor's shares were certified; the token's number is `certificate`."""

    source = certificates
    certificate = Uint(param="tokenId")
    owner = Address()
    campaign = Address()
    campaign_id = Text()
    amount = Uint(param="investmentAmount", meaning=ETB)
    shares = Uint(param="shareCount")
    votes = Uint(param="votingPower")


class CertificateRevoked(Event):
    """A certificate is void; the token stays."""

    source = certificates
    certificate = Uint(param="tokenId")
    reason = Text()


class CertificateTransferred(Event):
    """A certificate changed hands (ERC-721): the truth about who owns it."""

    source = certificates
    name = "Transfer"
    certificate = Uint(param="tokenId")
    sender = Address(param="from")
    recipient = Address(param="to")


class EscrowAccountCreated(Event):
    """An escrow account was opened for a campaign."""

    source = escrow
    campaign_key = Bytes32()
    issuer = Address()
    campaign_id = Text()


class EscrowDeposited(Event):
    """Money was put into escrow."""

    source = escrow
    name = "FundsDeposited"
    campaign_key = Bytes32()
    party = Address(param="investor")
    campaign_id = Text()
    amount = Uint(meaning=ETB)


class EscrowReleased(Event):
    """An escrow account paid its issuer."""

    source = escrow
    name = "FundsReleased"
    campaign_key = Bytes32()
    party = Address(param="issuer")
    campaign_id = Text()
    amount = Uint(meaning=ETB)


class EscrowRefundsOpened(Event):
    """The depositors of an escrow account may take their money back."""

    source = escrow
    name = "RefundsOpened"
    campaign_key = Bytes32()
    campaign_id = Text()
    total = Uint(param="totalEscrow", meaning=ETB)


class EscrowRefunded(Event):
    """A depositor got their money back."""

    source = escrow
    name = "RefundProcessed"
    campaign_key = Bytes32()
    party = Address(param="investor")
    campaign_id = Text()
    amount = Uint(meaning=ETB)


class EscrowWithdrawn(Event):
    """An administrator took what an account held, in an emergency."""

    source = escrow
    name = "EmergencyWithdrawal"
    campaign_key = Bytes32()
    party = Address(param="to")
    campaign_id = Text()
    amount = Uint(meaning=ETB)
