"""Commands to the crowdfunding contracts, with who may ask for them."""

from db.declare import (
    CALLER,
    Address,
    Bytes32,
    Call,
    Code,
    Command,
    Duration,
    Role,
    Route,
    Text,
    Uint,
    Uuid,
)
from db.domains.crowdfunding import entries, rules
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.projections import CampaignDraft, Investment
from db.domains.crowdfunding.roles import INVESTOR, ISSUER


class RegisterIssuer(Command):
    """Admit an issuer, with the hashes of its credential and its memorandum."""

    issuer = Address()
    credential = Text()
    memorandum = Text()

    route = "issuers/register"
    role = (Role.COMPLIANCE, Role.OPERATOR)
    rules = (rules.issuer_is_new,)
    signer = "registrar"
    call = Call(
        "IssuerRegistry.registerIssuer",
        issuer=issuer,
        vcHash=credential,
        ipfsHash=memorandum,
    )
    proof = e.IssuerRegistered


class UpdateMemorandum(Command):
    """Replace an issuer's information memorandum."""

    issuer = Address()
    memorandum = Text()

    route = "issuers/<issuer>/memorandum"
    role = (Role.COMPLIANCE, Role.OPERATOR)
    rules = (rules.issuer_is_active,)
    signer = "registrar"
    call = Call(
        "IssuerRegistry.updateInformationMemorandumFor",
        issuer=issuer,
        newIpfsHash=memorandum,
    )
    proof = e.MemorandumUpdated


class DeactivateIssuer(Command):
    """Bar an issuer from raising money."""

    issuer = Address()

    route = "issuers/<issuer>/deactivate"
    role = Role.COMPLIANCE
    rules = (rules.issuer_is_active,)
    signer = "registrar"
    call = Call("IssuerRegistry.deactivateIssuer", issuer=issuer)
    proof = e.IssuerDeactivated


class ReactivateIssuer(Command):
    """Let a deactivated issuer raise money again."""

    issuer = Address()

    route = "issuers/<issuer>/reactivate"
    role = Role.COMPLIANCE
    rules = (rules.issuer_is_inactive,)
    signer = "registrar"
    call = Call("IssuerRegistry.reactivateIssuer", issuer=issuer)
    proof = e.IssuerReactivated


class DraftCampaign(Command):
    """Write down a campaign to be, or write it anew."""

    draft = Uuid()
    beneficiary = Address()
    campaign_id = Text(max_length=100)
    company_name = Text(max_length=200)
    description = Text(max_length=20_000)
    goal = Uint(meaning=e.ETB)
    duration = Uint(meaning=Duration())
    document_hash = Text()

    route = "campaigns"
    role = (ISSUER, Role.OPERATOR)
    rules = (rules.is_own_issuer, rules.draft_is_open, rules.terms_are_legal)
    record = entries.CampaignDrafted


class ApproveCampaign(Command):
    """Let a draft be put on the chain, as it was read: in this revision of it."""

    draft = Uuid()
    revision = Uint(63)

    route = "campaigns/<draft>/approve"
    role = Role.COMPLIANCE
    rules = (rules.draft_is_pending, rules.draft_is_as_read)
    record = entries.CampaignApproved


class RejectCampaign(Command):
    """Send a draft back, as it was read, with the reason."""

    draft = Uuid()
    revision = Uint(63)
    reason = Text()

    route = "campaigns/<draft>/reject"
    role = Role.COMPLIANCE
    rules = (rules.draft_is_pending, rules.draft_is_as_read)
    record = entries.CampaignRejected


class DeployCampaign(Command):
    """Make the campaign of an approved draft."""

    draft = Uuid()
    campaign_id = Text(max_length=100)
    company_name = Text(max_length=200)
    description = Text(max_length=20_000)
    goal = Uint(meaning=e.ETB)
    duration = Uint(meaning=Duration())
    document_hash = Text()
    beneficiary = Address()

    route = Route("campaigns/<draft>/deploy", via=CampaignDraft)
    role = Role.OPERATOR
    rules = (
        rules.draft_is_approved,
        rules.can_create_campaign, rules.terms_are_legal, rules.campaign_id_is_new,
    )  # fmt: skip
    signer = "operator"
    call = Call(
        "CampaignFactory.createCampaign",
        campaignId=campaign_id,
        companyName=company_name,
        description=description,
        fundingGoal=goal,
        duration=duration,
        documentHash=document_hash,
        beneficiary=beneficiary,
    )
    proof = e.CampaignCreated


class PauseCampaign(Command):
    """Suspend investing in a campaign."""

    campaign = Address()

    route = "campaigns/<campaign>/pause"
    role = (Role.COMPLIANCE, Role.OPERATOR)
    rules = (rules.campaign_is_running,)
    signer = "admin"
    call = Call("CampaignImplementation.pause", at=campaign)
    proof = e.CampaignPaused


class ResumeCampaign(Command):
    """Let investing in a paused campaign go on."""

    campaign = Address()

    route = "campaigns/<campaign>/resume"
    role = (Role.COMPLIANCE, Role.OPERATOR)
    rules = (rules.campaign_is_paused,)
    signer = "admin"
    call = Call("CampaignImplementation.unpause", at=campaign)
    proof = e.CampaignResumed


class Invest(Command):
    """Pay the native currency into a campaign, from the investor's own wallet."""

    campaign = Address()
    amount = Uint(meaning=e.ETB)

    route = "campaigns/<campaign>/invest"
    role = INVESTOR
    rules = (rules.campaign_takes_money,)
    signer = CALLER
    call = Call("CampaignImplementation.investCrypto", at=campaign, value=amount)
    proof = e.InvestmentMade


class AttestInvestment(Command):
    """Record a payment made off the chain; its reference may be used once."""

    campaign = Address()
    investor = Address()
    amount = Uint(meaning=e.ETB)
    method = Bytes32(meaning=Code())
    payment_ref = Bytes32(meaning=Code())

    route = "investments"
    role = Role.OPERATOR
    rules = (rules.campaign_takes_money, rules.payment_is_new)
    signer = "operator"
    call = Call(
        "CampaignImplementation.recordInvestment",
        at=campaign,
        investor=investor,
        amount=amount,
        methodCode=method,
        paymentRef=payment_ref,
    )
    proof = e.InvestmentMade


class FinaliseCampaign(Command):
    """End a campaign whose deadline is over; its money is released, or refundable."""

    campaign = Address()

    route = "campaigns/<campaign>/release"
    role = (ISSUER, Role.OPERATOR)
    rules = (rules.campaign_can_end,)
    signer = "operator"
    call = Call("CampaignImplementation.finalize", at=campaign)
    proof = e.CampaignCompleted


class RequestRefund(Command):
    """Take one's money back out of a failed campaign, with one's own wallet."""

    campaign = Address()

    route = "campaigns/<campaign>/request-refund"
    role = INVESTOR
    rules = (rules.campaign_refunds,)
    signer = CALLER
    call = Call("CampaignImplementation.requestRefund", at=campaign)
    proof = e.RefundIssued


class RefundInvestor(Command):
    """Pay an investor of a failed campaign back."""

    campaign = Address()
    investor = Address()

    route = "campaigns/<campaign>/refund"
    role = Role.OPERATOR
    rules = (rules.is_refundable,)
    signer = "operator"
    call = Call("CampaignImplementation.refundFor", at=campaign, investor=investor)
    proof = e.RefundIssued


class WithdrawFees(Command):
    """Pay the platform's fees, which the factory holds, to their recipient."""

    route = "platform/withdraw-fees"
    role = Role.OPERATOR
    signer = "admin"
    call = Call("CampaignFactory.withdrawFees")
    proof = e.PlatformFeesWithdrawn


class MintCertificate(Command):
    """Certify the shares of an investor in a campaign that succeeded."""

    campaign = Address()
    investor = Address()
    uri = Text()

    route = Route("investments/<investment>/mint-nft", via=Investment)
    role = Role.OPERATOR
    rules = (rules.is_certifiable,)
    once_per = (campaign, investor)
    signer = "operator"
    call = Call(
        "NFTShareCertificate.issueCertificate",
        campaign=campaign,
        investor=investor,
        uri=uri,
    )
    proof = e.CertificateIssued


class RevokeCertificate(Command):
    """Void a certificate, with the reason; the token stays."""

    certificate = Uint()
    reason = Text()

    route = "certificates/<certificate>/revoke"
    role = Role.COMPLIANCE
    rules = (rules.certificate_is_valid,)
    signer = "admin"
    call = Call(
        "NFTShareCertificate.revokeCertificate", tokenId=certificate, reason=reason
    )
    proof = e.CertificateRevoked


class OpenEscrow(Command):
    """Open an escrow account for a campaign."""

    campaign_id = Text(max_length=100)
    issuer = Address()

    route = "escrow/open"
    role = Role.OPERATOR
    signer = "operator"
    call = Call("FundEscrow.createEscrowAccount", campaignId=campaign_id, issuer=issuer)
    proof = e.EscrowAccountCreated


class DepositEscrow(Command):
    """Put one's own money into a campaign's escrow account, with one's own wallet."""

    campaign_id = Text(max_length=100)
    investor = Address()
    amount = Uint(meaning=e.ETB)

    route = "escrow/deposit"
    role = INVESTOR
    signer = CALLER
    call = Call(
        "FundEscrow.depositFunds",
        value=amount,
        campaignId=campaign_id,
        investor=investor,
    )
    proof = e.EscrowDeposited


class ReleaseEscrow(Command):
    """Pay what an escrow account holds to its issuer."""

    campaign_id = Text(max_length=100)

    route = "escrow/release"
    role = Role.OPERATOR
    signer = "operator"
    call = Call("FundEscrow.releaseFunds", campaignId=campaign_id)
    proof = e.EscrowReleased


class OpenEscrowRefunds(Command):
    """Let the depositors of an escrow account have their money back."""

    campaign_id = Text(max_length=100)

    route = "escrow/open-refunds"
    role = Role.OPERATOR
    signer = "operator"
    call = Call("FundEscrow.openRefunds", campaignId=campaign_id)
    proof = e.EscrowRefundsOpened


class RefundEscrow(Command):
    """Send a depositor of a refunding escrow account its deposit."""

    campaign_id = Text(max_length=100)
    investor = Address()

    route = "escrow/refund"
    role = Role.OPERATOR
    signer = "operator"
    call = Call("FundEscrow.processRefund", campaignId=campaign_id, investor=investor)
    proof = e.EscrowRefunded
