"""Rules of the crowdfunding commands, judged by the tables.

The contracts would refuse most of these too, one reason at a time; here every reason is
told at once, and before a nonce is spent.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from db.declare import Duration, Refusal, Role, RowOf, Tables, Time
from db.domains.crowdfunding.entries import CampaignDrafted
from db.domains.crowdfunding.events import ETB
from db.domains.crowdfunding.projections import (
    Campaign,
    CampaignDraft,
    Certificate,
    Holding,
    Investment,
    Issuer,
    IssuerYear,
)

DAY_SECONDS = 86_400
SHORTEST_DAYS, LONGEST_DAYS = 30, 180
LEAST_GOAL = 1_000 * 10**18
LEAST_INVESTMENT = 100 * 10**18
TERMS = tuple(name for name in CampaignDrafted.spec.fields if name != "draft")


def is_own_issuer(command: Any, tables: Tables) -> Iterator[Refusal]:
    """An issuer drafts for itself, and writes over no other issuer's draft."""
    asker = tables.asker
    if Role.OPERATOR in asker.roles:
        return
    if command.beneficiary not in asker.wallets:
        yield Refusal(
            "not_your_wallet", "the beneficiary is not a wallet linked to your account"
        )
    draft = tables.row(CampaignDraft, draft=command.draft)
    if draft is not None and draft.beneficiary not in asker.wallets:
        yield Refusal("not_your_draft", "the draft is another issuer's: draft another")


def draft_is_open(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A draft that was approved is not written anew."""
    draft = tables.row(CampaignDraft, draft=command.draft)
    if draft is not None and draft.stage == "approved":
        yield Refusal("approved_already", "the draft was approved: draft another")


def draft_is_pending(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The draft waits for a verdict."""
    draft = tables.row(CampaignDraft, draft=command.draft)
    if draft is None:
        yield Refusal("no_such_draft", "there is no such draft")
    elif draft.stage != "pending":
        yield Refusal("not_pending", f"the draft is {draft.stage} already")


def draft_is_as_read(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The verdict is on the draft as it is, not on what it was before."""
    draft = tables.row(CampaignDraft, draft=command.draft)
    if draft is not None and draft.revision != command.revision:
        yield Refusal(
            "draft_rewritten",
            f"the draft was written anew since revision {command.revision}, and is at "
            f"{draft.revision}: read it again",
        )


def draft_is_approved(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The draft was approved, with exactly these terms."""
    draft = tables.row(CampaignDraft, draft=command.draft)
    if draft is None:
        yield Refusal("no_such_draft", "there is no such draft")
        return
    if draft.stage != "approved":
        yield Refusal("not_approved", f"the draft is {draft.stage}")
    changed = [n for n in TERMS if getattr(draft, n) != getattr(command, n)]
    if changed:
        yield Refusal("terms_changed", f"the draft has another {', '.join(changed)}")


def can_create_campaign(command: Any, tables: Tables) -> Iterator[Refusal]:
    """An issuer is active, runs one campaign at a time, and begins one in a year."""
    issuer = tables.row(Issuer, issuer=command.beneficiary)
    if issuer is None or issuer.registered_at is None:
        yield Refusal("not_registered", "the issuer is not registered on the chain")
        return
    if not issuer.active:
        yield Refusal("not_verified", "the issuer was deactivated")
    if issuer.locked:
        yield Refusal("active_campaign", "the issuer has a campaign that is running")
    year = datetime.fromtimestamp(tables.time, UTC).year
    used = tables.row(IssuerYear, issuer=command.beneficiary, year=year)
    if used is not None:
        yield Refusal(
            "already_one_this_year", f"the issuer has begun a campaign in {year} (UTC)"
        )


def terms_are_legal(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A goal of 1000 ETB at least, and 30 to 180 days."""
    if command.goal < LEAST_GOAL:
        yield Refusal("goal_too_low", f"the goal is below {ETB.text(LEAST_GOAL)} ETB")
    days = command.duration / DAY_SECONDS
    if not SHORTEST_DAYS <= days <= LONGEST_DAYS:
        yield Refusal(
            "bad_duration",
            f"the duration is {Duration().text(command.duration)}, and "
            f"{SHORTEST_DAYS} to {LONGEST_DAYS} days are allowed",
        )


def campaign_id_is_new(command: Any, tables: Tables) -> Iterator[Refusal]:
    """No campaign of the issuer has this id."""
    campaigns = tables.rows(Campaign, issuer=command.beneficiary)
    if any(each.campaign_id == command.campaign_id for each in campaigns):
        yield Refusal("campaign_exists", "the issuer has a campaign with this id")


def issuer_is_new(command: Any, tables: Tables) -> Iterator[Refusal]:
    """An issuer is registered once."""
    issuer = tables.row(Issuer, issuer=command.issuer)
    if issuer is not None and issuer.registered_at is not None:
        yield Refusal("already_registered", "the issuer is registered already")


def issuer_is_active(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The issuer is registered and active."""
    issuer = tables.row(Issuer, issuer=command.issuer)
    if issuer is None or issuer.registered_at is None:
        yield Refusal("not_registered", "the issuer is not registered on the chain")
    elif not issuer.active:
        yield Refusal("not_active", "the issuer was deactivated")


def issuer_is_inactive(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The issuer is registered, and was deactivated."""
    issuer = tables.row(Issuer, issuer=command.issuer)
    if issuer is None or issuer.registered_at is None:
        yield Refusal("not_registered", "the issuer is not registered on the chain")
    elif issuer.active:
        yield Refusal("already_active", "the issuer is active")


def campaign_takes_money(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The campaign is open, not paused, before its deadline; 100 ETB at least."""
    campaign = tables.row(Campaign, campaign=command.campaign)
    if campaign is None:
        yield _unknown()
        return
    if campaign.stage not in ("active", "funded"):
        yield Refusal("not_open", f"the campaign is {campaign.stage or 'not begun'}")
    if campaign.paused:
        yield Refusal("paused", "the campaign is paused")
    if campaign.deadline is not None and tables.time > campaign.deadline:
        yield Refusal("too_late", "the campaign's deadline is over")
    if command.amount < LEAST_INVESTMENT:
        yield Refusal(
            "too_little", f"the amount is below {ETB.text(LEAST_INVESTMENT)} ETB"
        )


def payment_is_new(command: Any, tables: Tables) -> Iterator[Refusal]:
    """A payment made off the chain is attested once."""
    known = tables.rows(Investment, payment_ref=command.payment_ref)
    if known:
        yield Refusal("payment_used", "the payment reference was attested already")


def campaign_can_end(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The deadline is over, and the campaign was not finalised."""
    campaign = tables.row(Campaign, campaign=command.campaign)
    if campaign is None:
        yield _unknown()
        return
    if campaign.stage not in ("active", "funded"):
        yield Refusal("ended", f"the campaign is {campaign.stage or 'not begun'}")
    if tables.time <= campaign.deadline:
        yield Refusal(
            "too_early", f"its deadline {Time().text(campaign.deadline)} is not over"
        )


def campaign_refunds(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The campaign failed or was cancelled."""
    campaign = tables.row(Campaign, campaign=command.campaign)
    if campaign is None:
        yield _unknown()
    elif campaign.stage not in ("failed", "cancelled", "refunding"):
        yield Refusal("no_refunds", f"the campaign is {campaign.stage}: it does not")


def is_refundable(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The campaign failed or was cancelled, and the investor has money in it."""
    yield from campaign_refunds(command, tables)
    holding = tables.row(Holding, campaign=command.campaign, investor=command.investor)
    if holding is None or holding.invested <= 0:
        yield Refusal("nothing_invested", "the investor has nothing in the campaign")


def is_certifiable(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The campaign succeeded, and the investor holds shares without a certificate."""
    campaign = tables.row(Campaign, campaign=command.campaign)
    if campaign is None:
        yield _unknown()
        return
    if campaign.stage != "successful":
        yield Refusal("not_successful", f"the campaign is {campaign.stage}")
    holding = tables.row(Holding, campaign=command.campaign, investor=command.investor)
    if holding is None or holding.invested <= 0:
        yield Refusal("nothing_invested", "the investor has nothing in the campaign")
    if certificate_of(tables, command.campaign, command.investor) is not None:
        yield Refusal("certificate_exists", "the investor has the certificate already")


def certificate_of(tables: Tables, campaign: bytes, investor: bytes) -> RowOf | None:
    """The certificate that was issued to an investor of a campaign."""
    for each in tables.rows(Certificate, campaign=campaign):
        if each.issued_to == investor:
            return each
    return None


def certificate_is_valid(command: Any, tables: Tables) -> Iterator[Refusal]:
    """There is such a certificate, and it was not revoked."""
    certificate = tables.row(Certificate, certificate=command.certificate)
    if certificate is None:
        yield Refusal("no_such_certificate", "there is no such certificate")
    elif certificate.revoked:
        yield Refusal("already_revoked", "the certificate was revoked already")


def campaign_is_paused(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The campaign is paused."""
    campaign = tables.row(Campaign, campaign=command.campaign)
    if campaign is None:
        yield _unknown()
    elif not campaign.paused:
        yield Refusal("not_paused", "the campaign is not paused")


def campaign_is_running(command: Any, tables: Tables) -> Iterator[Refusal]:
    """The campaign is there, and not paused."""
    campaign = tables.row(Campaign, campaign=command.campaign)
    if campaign is None:
        yield _unknown()
    elif campaign.paused:
        yield Refusal("already_paused", "the campaign is paused already")


def _unknown() -> Refusal:
    return Refusal("no_such_campaign", "no such campaign is indexed")
