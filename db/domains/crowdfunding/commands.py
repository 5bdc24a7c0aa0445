"""What may be asked of the crowdfunding contracts by the platform's own keys."""

from db.declare import Address, Bytes32, Call, Command, Text, Uint
from db.domains.crowdfunding import events as e


class RegisterIssuer(Command):
    """Admit an issuer, with the hashes of its credential and its memorandum."""

    issuer = Address()
    credential = Text()
    memorandum = Text()

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

    signer = "registrar"
    call = Call("IssuerRegistry.deactivateIssuer", issuer=issuer)
    proof = e.IssuerDeactivated


class ReactivateIssuer(Command):
    """Let a deactivated issuer raise money again."""

    issuer = Address()

    signer = "registrar"
    call = Call("IssuerRegistry.reactivateIssuer", issuer=issuer)
    proof = e.IssuerReactivated


class DeployCampaign(Command):
    """Make a campaign for an issuer; the goal in wei, the duration in seconds."""

    campaign_id = Text()
    company_name = Text()
    description = Text()
    goal = Uint()
    duration = Uint()
    document_hash = Text()
    beneficiary = Address()

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


class AttestInvestment(Command):
    """Record a payment made off the chain; its reference may be used once."""

    campaign = Address()
    investor = Address()
    amount = Uint()
    method = Bytes32()
    payment_ref = Bytes32()

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
    """End a campaign whose deadline is over."""

    campaign = Address()

    signer = "operator"
    call = Call("CampaignImplementation.finalize", at=campaign)
    proof = e.CampaignCompleted


class RefundInvestor(Command):
    """Pay an investor of a failed campaign back."""

    campaign = Address()
    investor = Address()

    signer = "operator"
    call = Call("CampaignImplementation.refundFor", at=campaign, investor=investor)
    proof = e.RefundIssued
