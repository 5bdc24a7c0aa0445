"""Crowdfunding made up for the development chain: what people do next, and may do.

A ``Business`` remembers what it has done, so that each call it makes up is one the
contracts accept at that point, save those meant to be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from devnet.client import Call, Contract
from devnet.codec import bytes32, created_address
from devnet.deploy import Deployment
from examples.crowdfunding.invention import (
    DAY,
    ETHER,
    MARGIN_SECONDS,
    METHODS,
    OPEN,
    REASONS,
    REPAYING,
    SECTORS,
    Action,
    Campaign,
    Choices,
    Dice,
    Issuer,
    People,
)


@dataclass(frozen=True, slots=True)
class Before:
    """Counts of what is on the chain already: new things are numbered from there."""

    issuers: int
    campaigns: int
    certificates: int
    fee_bps: int


class Business:
    """The crowdfunding business of one chain."""

    def __init__(
        self, deployment: Deployment, people: People, dice: Dice, before: Before
    ) -> None:
        self._people = people
        self._dice = dice
        self._registry = deployment.contract("IssuerRegistry")
        self._factory = deployment.contract("CampaignFactory")
        self._certificates = deployment.contract("NFTShareCertificate")
        self._issuer_count = before.issuers
        self._campaign_count = before.campaigns
        self._certificate_count = before.certificates
        self._issuers: list[Issuer] = []
        self._campaigns: list[Campaign] = []
        self._owners: dict[int, str] = {}
        self._used_references: list[bytes] = []
        self._fees_held = False
        self._fee_bps = before.fee_bps

    @property
    def campaigns(self) -> int:
        """The number of campaigns, if nobody else has made one."""
        return self._campaign_count

    def choices(self, *, automated: bool = False) -> Choices:
        """List what may be done, by weight.

        `automated`: Chainfold ends campaigns, pays refunds and certifies.
        """
        routine = 0.0 if automated else 8.0
        return [
            (2.0, self.register),
            (2.0, self.update_memorandum),
            (0.2, self.deactivate),
            (0.4, self.reactivate),
            (4.0, self.create),
            (30.0, self.invest),
            (14.0, self.record),
            (0.6, self.record_again),
            (0.4, self.pause),
            (1.5, self.resume),
            (0.2, self.cancel),
            (routine, self.finalize),
            (routine, self.refund),
            (4.0, self.settle),
            (routine, self.certify),
            (3.0, self.transfer_certificate),
            (0.4, self.revoke_certificate),
            (0.5, self.withdraw_fees),
            (0.2, self.change_fee),
            (0.1, self.move_certificate_pages),
        ]

    def register(self, now: int) -> Action | None:
        """Register a new issuer."""
        issuer = Issuer(self._dice.address("issuer", self._issuer_count))
        self._issuer_count += 1
        self._issuers.append(issuer)
        number = self._issuer_count
        return self._people.by_operator(
            self._registry,
            "registerIssuer",
            issuer.address,
            f"vc-{number}",
            self._dice.cid(),
        )

    def update_memorandum(self, now: int) -> Action | None:
        """Replace an issuer's memorandum."""
        issuer = self._dice.one([i for i in self._issuers if i.active])
        if issuer is None:
            return None
        function = "updateInformationMemorandumFor"
        return self._people.by_operator(
            self._registry, function, issuer.address, self._dice.cid()
        )

    def deactivate(self, now: int) -> Action | None:
        """Deactivate an issuer, in the middle of a campaign or not."""
        issuer = self._dice.one([i for i in self._issuers if i.active])
        if issuer is None or len(self._issuers) < 4:
            return None
        issuer.active, issuer.campaign = False, None
        return self._people.by_operator(
            self._registry, "deactivateIssuer", issuer.address
        )

    def reactivate(self, now: int) -> Action | None:
        """Take an issuer back."""
        issuer = self._dice.one([i for i in self._issuers if not i.active])
        if issuer is None:
            return None
        issuer.active = True
        return self._people.by_operator(
            self._registry, "reactivateIssuer", issuer.address
        )

    def create(self, now: int) -> Action | None:
        """Start a campaign of an issuer that may."""
        year = datetime.fromtimestamp(now, UTC).year
        # Near midnight of 31 December the block may land in either year.
        if datetime.fromtimestamp(now + MARGIN_SECONDS, UTC).year != year:
            return None
        may = [
            i for i in self._issuers if i.active and not i.campaign and i.year != year
        ]
        issuer = self._dice.one(may)
        if issuer is None:
            return None
        # A contract's nonces start at 1, and the factory spends one on each campaign.
        address = created_address(self._factory.address, 1 + self._campaign_count)
        self._campaign_count += 1
        duration = self._dice.source.randint(30, 180) * DAY
        goal = self._dice.source.randint(10, 500) * 1_000 * ETHER
        contract = Contract("CampaignImplementation", address)
        # The deadline counts from the block's time, which is not known exactly.
        campaign = Campaign(contract, issuer, goal, now + duration, self._fee_bps)
        self._campaigns.append(campaign)
        issuer.campaign, issuer.year = campaign, year
        sector = self._dice.choice(SECTORS)
        return self._people.by_operator(
            self._factory,
            "createCampaign",
            f"CF-{year}-{self._campaign_count:05d}",
            f"{sector} {self._issuer_count}",
            f"Growing a {sector.lower()} business",
            goal,
            duration,
            self._dice.cid(),
            issuer.address,
        )

    def invest(self, now: int) -> Action | None:
        """Invest the native currency."""
        campaign = self._dice.one([c for c in self._campaigns if c.is_open(now)])
        if campaign is None:
            return None
        investor = self._dice.choice(self._people.investors)
        amount = self._dice.amount(campaign.goal)
        campaign.native_held += amount
        self._invested(campaign, investor, amount)
        call = Call(investor, campaign.contract, "investCrypto", (), amount)
        return Action("invest", call)

    def record(self, now: int) -> Action | None:
        """Record a payment made elsewhere."""
        campaign = self._dice.one([c for c in self._campaigns if c.is_open(now)])
        if campaign is None:
            return None
        # Many of those who pay by phone or bank hold no key.
        known = self._dice.source.random() < 0.3
        stranger = self._dice.address("investor", self._dice.source.randrange(200))
        investor = self._dice.choice(self._people.investors) if known else stranger
        method, amount = self._dice.choice(METHODS), self._dice.amount(campaign.goal)
        campaign.fiat.setdefault(investor, set()).add(method)
        self._invested(campaign, investor, amount)
        reference = self._dice.reference()
        self._used_references.append(reference)
        return self._people.by_operator(
            campaign.contract,
            "recordInvestment",
            investor,
            amount,
            bytes32(method),
            reference,
        )

    def record_again(self, now: int) -> Action | None:
        """Report a payment a second time; the chain must refuse it."""
        campaign = self._dice.one([c for c in self._campaigns if c.is_open(now)])
        if campaign is None or not self._used_references:
            return None
        action = self._people.by_operator(
            campaign.contract,
            "recordInvestment",
            self._people.investors[0],
            ETHER,
            bytes32(METHODS[0]),
            self._dice.choice(self._used_references),
        )
        action.accepted = False
        return action

    def pause(self, now: int) -> Action | None:
        """Pause a campaign."""
        campaign = self._dice.one([c for c in self._campaigns if c.is_open(now)])
        if campaign is None:
            return None
        campaign.paused = True
        return self._people.by_admin(campaign.contract, "pause")

    def resume(self, now: int) -> Action | None:
        """Resume a paused campaign."""
        campaign = self._dice.one([c for c in self._campaigns if c.paused])
        if campaign is None:
            return None
        campaign.paused = False
        return self._people.by_admin(campaign.contract, "unpause")

    def cancel(self, now: int) -> Action | None:
        """Cancel a campaign that has released nothing."""
        campaign = self._dice.one([c for c in self._campaigns if c.status == "active"])
        if campaign is None:
            return None
        self._ended(campaign, "cancelled")
        return self._people.by_admin(
            campaign.contract, "cancel", self._dice.choice(REASONS)
        )

    def finalize(self, now: int) -> Action | None:
        """End a campaign whose deadline has passed; anybody may."""
        late = now - MARGIN_SECONDS
        due = [c for c in self._campaigns if c.status in OPEN and c.deadline < late]
        campaign = self._dice.one(due)
        if campaign is None:
            return None
        if campaign.status == "funded":
            self._release(campaign)
            campaign.uncertified = list(campaign.investors)
            self._ended(campaign, "successful")
        else:
            self._ended(campaign, "failed")
        caller = self._dice.choice(self._people.investors)
        return Action("finalize", Call(caller, campaign.contract, "finalize"))

    def refund(self, now: int) -> Action | None:
        """Pay one investor of a failed campaign back."""
        waiting = [c for c in self._campaigns if c.status in REPAYING and c.unpaid]
        campaign = self._dice.one(waiting)
        if campaign is None:
            return None
        index = self._dice.source.randrange(len(campaign.unpaid))
        investor = campaign.unpaid.pop(index)
        methods = sorted(campaign.fiat.get(investor, ()))
        campaign.owed += [(investor, method) for method in methods]
        campaign.status = "refunding" if campaign.unpaid else "refunded"
        return self._people.by_operator(campaign.contract, "refundFor", investor)

    def settle(self, now: int) -> Action | None:
        """State that a refund was paid by phone or bank."""
        campaign = self._dice.one([c for c in self._campaigns if c.owed])
        if campaign is None:
            return None
        investor, method = campaign.owed.pop(0)
        return self._people.by_operator(
            campaign.contract,
            "settleRefund",
            investor,
            bytes32(method),
            self._dice.reference(),
        )

    def certify(self, now: int) -> Action | None:
        """Mint the certificate of one investor."""
        campaign = self._dice.one([c for c in self._campaigns if c.uncertified])
        if campaign is None:
            return None
        investor = campaign.uncertified.pop(0)
        self._certificate_count += 1
        self._owners[self._certificate_count] = investor
        return self._people.by_operator(
            self._certificates,
            "issueCertificate",
            campaign.contract.address,
            investor,
            self._dice.cid(),
        )

    def transfer_certificate(self, now: int) -> Action | None:
        """Pass a certificate on."""
        keys = set(self._people.investors)
        token = self._dice.one(
            [t for t, owner in self._owners.items() if owner in keys]
        )
        if token is None:
            return None
        owner, to = self._owners[token], self._dice.choice(self._people.investors)
        self._owners[token] = to
        call = Call(owner, self._certificates, "transferFrom", (owner, to, token))
        return Action("transfer_certificate", call)

    def revoke_certificate(self, now: int) -> Action | None:
        """Revoke a certificate."""
        token = self._dice.one(list(self._owners))
        if token is None:
            return None
        del self._owners[token]
        reason = self._dice.choice(REASONS)
        return self._people.by_admin(
            self._certificates, "revokeCertificate", token, reason
        )

    def withdraw_fees(self, now: int) -> Action | None:
        """Withdraw the platform's fees."""
        if not self._fees_held:
            return None
        self._fees_held = False
        return self._people.by_admin(self._factory, "withdrawFees")

    def change_fee(self, now: int) -> Action | None:
        """Change the fee of campaigns to come."""
        self._fee_bps = self._dice.choice((100, 200, 250, 300, 500))
        return self._people.by_admin(self._factory, "updatePlatformFee", self._fee_bps)

    def move_certificate_pages(self, now: int) -> Action | None:
        """Move the pages that describe certificates."""
        return self._people.by_admin(
            self._certificates, "setBaseURI", f"{self._dice.cid()}/"
        )

    def _invested(self, campaign: Campaign, investor: str, amount: int) -> None:
        campaign.raised += amount
        if investor not in campaign.investors:
            campaign.investors.append(investor)
        reached = campaign.raised * 100 >= campaign.goal * 75
        if campaign.status == "active" and reached:
            campaign.status = "funded"
            self._release(campaign)

    def _release(self, campaign: Campaign) -> None:
        self._fees_held |= campaign.native_held * campaign.fee_bps // 10_000 > 0
        campaign.native_held = 0

    def _ended(self, campaign: Campaign, status: str) -> None:
        campaign.status = status
        campaign.paused = False
        campaign.unpaid = list(campaign.investors) if status in REPAYING else []
        if campaign.issuer.campaign is campaign:
            campaign.issuer.campaign = None
