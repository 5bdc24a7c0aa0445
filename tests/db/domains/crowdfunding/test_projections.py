"""What the crowdfunding contracts say, and the rows that come of it."""

from datetime import UTC, datetime

import pytest

from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.projections import (
    NATIVE,
    Campaign,
    Certificate,
    CertificateOwner,
    EscrowAccount,
    EscrowMovement,
    Holding,
    Investment,
    Issuer,
    IssuerYear,
    PlatformAccount,
)
from db.registry import Registry
from helpers.stories import StoryChain
from helpers.tables import rows_as_of

ISSUER, OTHER, ANNA, BEN, FACTORY = (bytes([n]) * 20 for n in range(1, 6))
A, B = b"\xaa" * 20, b"\xbb" * 20
NOBODY = bytes(20)
TELEBIRR = b"telebirr".ljust(32, b"\0")
ETB = 10**18


def part(row, *names):
    return tuple(row[name] for name in names)


@pytest.fixture
def chain():
    return StoryChain()


def created(chain, campaign=A, **values):
    """A campaign as its contracts announce it: its own logs come first."""
    chain.emit(e.CampaignTermsSet, campaign=campaign, threshold=750 * ETB, fee_bps=250)
    chain.emit(e.CampaignStatusChanged, campaign=campaign, old=0, new=1)
    chain.emit(
        e.CampaignCreated,
        **{"campaign": campaign, "beneficiary": ISSUER, "goal": 1000 * ETB, **values},
    )


def invested(chain, investor, amount, campaign=A, number=None, **values):
    number = number or len(chain.facts)
    chain.emit(
        e.InvestmentMade,
        **{
            "campaign": campaign,
            "investor": investor,
            "amount": amount,
            "investment": number.to_bytes(32),
            "method": NATIVE,
            **values,
        },
    )


def moved(chain, old, new, campaign=A):
    chain.emit(e.CampaignStatusChanged, campaign=campaign, old=old, new=new)


# --- issuers


def test_a_registered_issuer_may_raise_money(chain, index):
    chain.emit(e.IssuerRegistered, issuer=ISSUER, credential="vc", memorandum="ipfs1")

    issuer = index(chain).of(Issuer)[ISSUER]

    assert ("vc", "ipfs1", chain.now) == part(
        issuer, "credential", "memorandum", "registered_at"
    )
    assert (True, False, True) == part(issuer, "active", "locked", "unlocked")
    assert (None, None, 0) == part(
        issuer, "last_campaign", "last_campaign_year", "campaigns"
    )


def test_a_new_memorandum_replaces_the_old_one(chain, index):
    chain.emit(e.IssuerRegistered, issuer=ISSUER, memorandum="ipfs1")
    chain.mine()
    chain.emit(e.MemorandumUpdated, issuer=ISSUER, memorandum="ipfs2")

    assert "ipfs2" == index(chain).of(Issuer)[ISSUER]["memorandum"]


def test_a_deactivated_issuer_comes_back(chain, index):
    chain.emit(e.IssuerRegistered, issuer=ISSUER)
    chain.mine()
    chain.emit(e.IssuerDeactivated, issuer=ISSUER)
    deactivated = index(chain).of(Issuer)[ISSUER]
    chain.mine()
    chain.emit(e.IssuerReactivated, issuer=ISSUER)

    assert (False, False) == part(deactivated, "active", "unlocked")
    assert (True, True) == part(index(chain).of(Issuer)[ISSUER], "active", "unlocked")


def test_a_running_campaign_locks_its_issuer(chain, index):
    chain.emit(e.IssuerRegistered, issuer=ISSUER)
    chain.mine()
    chain.emit(
        e.ExclusivityLockChanged, issuer=ISSUER, campaign=A, locked=True, year=2024
    )
    created(chain)
    running = index(chain).of(Issuer)[ISSUER]
    chain.mine()
    chain.emit(
        e.ExclusivityLockChanged, issuer=ISSUER, campaign=A, locked=False, year=2025
    )

    assert (True, False, A, 2024, 1) == part(
        running, "locked", "unlocked", "last_campaign", "last_campaign_year",
        "campaigns",
    )  # fmt: skip
    ended = index(chain).of(Issuer)[ISSUER]
    # The year in which it ended is not one in which it began a campaign.
    assert (False, True, A, 2024) == part(
        ended, "locked", "unlocked", "last_campaign", "last_campaign_year"
    )


def test_registering_again_after_a_deactivation_frees_the_lock(chain, index):
    chain.emit(e.IssuerRegistered, issuer=ISSUER, credential="old")
    chain.emit(e.ExclusivityLockChanged, issuer=ISSUER, campaign=A, locked=True)
    chain.emit(e.IssuerDeactivated, issuer=ISSUER)
    chain.mine()
    chain.emit(e.IssuerRegistered, issuer=ISSUER, credential="new")

    issuer = index(chain).of(Issuer)[ISSUER]
    assert (True, False, True, "old") == part(
        issuer, "active", "locked", "unlocked", "credential"
    )


def test_a_campaign_counts_for_its_beneficiary_and_not_for_its_creator(chain, index):
    created(chain, A, creator=OTHER, beneficiary=ISSUER)
    created(chain, B, creator=ISSUER, beneficiary=ISSUER)

    issuers = index(chain).of(Issuer)
    assert {ISSUER} == set(issuers)
    assert 2 == issuers[ISSUER]["campaigns"]
    # Never registered: neither active nor not.
    assert (None, None, None) == part(issuers[ISSUER], "active", "locked", "unlocked")


def utc(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp())


def test_a_calendar_year_is_used_when_a_campaign_begins_in_it(chain, index):
    last_second = utc(2024, 12, 31, 23, 59, 59)
    chain.mine(last_second)
    chain.emit(
        e.ExclusivityLockChanged, issuer=ISSUER, campaign=A, locked=True, year=2024
    )
    chain.mine(last_second + 1)
    chain.emit(
        e.ExclusivityLockChanged, issuer=OTHER, campaign=B, locked=True, year=2025
    )

    years = index(chain).of(IssuerYear)
    assert {(ISSUER, 2024), (OTHER, 2025)} == set(years)
    assert (A, last_second, True) == part(
        years[ISSUER, 2024], "campaign", "began_at", "running"
    )
    assert (B, last_second + 1) == part(years[OTHER, 2025], "campaign", "began_at")


def test_a_year_stays_used_after_its_campaign(chain, index):
    chain.emit(
        e.ExclusivityLockChanged, issuer=ISSUER, campaign=A, locked=True, year=2024
    )
    chain.mine()
    chain.emit(
        e.ExclusivityLockChanged, issuer=ISSUER, campaign=A, locked=False, year=2024
    )

    year = index(chain).of(IssuerYear)[ISSUER, 2024]
    assert (A, False) == part(year, "campaign", "running")


# --- campaigns


def test_a_campaign_knows_its_terms_though_they_come_first(chain, index):
    created(
        chain, campaign_id="c-1", company_name="Bäckerei", creator=OTHER,
        deadline=1_800_000_000,
    )  # fmt: skip

    campaign = index(chain).of(Campaign)[A]

    assert ("c-1", "Bäckerei", ISSUER, OTHER) == part(
        campaign, "campaign_id", "company_name", "issuer", "creator"
    )
    assert (1000 * ETB, 1_800_000_000, chain.now, 750 * ETB, 250) == part(
        campaign, "goal", "deadline", "created_at", "threshold", "fee_bps"
    )
    assert ("active", 0, False, False, 0) == part(
        campaign, "stage", "stage_refused", "paused", "funded", "progress_percent"
    )


def test_a_campaign_that_succeeds_with_money_from_off_the_chain(chain, index):
    created(chain)
    chain.mine()
    invested(chain, ANNA, 500 * ETB)
    invested(chain, BEN, 249 * ETB, method=TELEBIRR)
    almost = index(chain).of(Campaign)[A]
    chain.mine()
    invested(chain, ANNA, 1 * ETB)
    moved(chain, 1, 2)
    chain.emit(
        e.FundsReleased, campaign=A, gross=501 * ETB, amount=490 * ETB, fee=11 * ETB
    )
    chain.emit(
        e.FiatPayoutDue, campaign=A, gross=249 * ETB, amount=243 * ETB, fee=6 * ETB
    )
    last = chain.now
    funded = index(chain).of(Campaign)[A]
    chain.mine()
    moved(chain, 2, 3)
    chain.emit(e.CampaignCompleted, campaign=A, successful=True)
    done = index(chain).of(Campaign)[A]

    assert (False, 74, "active") == part(almost, "funded", "progress_percent", "stage")
    assert (True, 75, "funded", 750 * ETB, 501 * ETB) == part(
        funded, "funded", "progress_percent", "stage", "raised", "native_raised"
    )
    assert (490 * ETB, 11 * ETB, 243 * ETB, 6 * ETB, 0) == part(
        funded, "released", "fees", "fiat_due", "fiat_fees_due", "held"
    )
    assert (3, 2, last, None) == part(
        funded, "investments", "investors", "last_invested_at", "completed_at"
    )
    assert ("successful", chain.now, 0) == part(
        done, "stage", "completed_at", "stage_refused"
    )


def test_a_late_investment_is_released_once_more(chain, index):
    created(chain)
    invested(chain, ANNA, 750 * ETB)
    moved(chain, 1, 2)
    chain.emit(e.FundsReleased, campaign=A, amount=740 * ETB, fee=10 * ETB)
    chain.mine()
    invested(chain, BEN, 100 * ETB)
    held = index(chain).of(Campaign)[A]["held"]
    chain.mine()
    moved(chain, 2, 3)
    chain.emit(e.FundsReleased, campaign=A, amount=98 * ETB, fee=2 * ETB)

    assert 100 * ETB == held
    assert (838 * ETB, 12 * ETB, 0) == part(
        index(chain).of(Campaign)[A], "released", "fees", "held"
    )


def test_a_failed_campaign_pays_back_what_was_paid_on_the_chain(chain, index):
    created(chain)
    invested(chain, ANNA, 100 * ETB)
    invested(chain, ANNA, 50 * ETB, method=TELEBIRR)
    invested(chain, BEN, 30 * ETB)
    chain.mine()
    moved(chain, 1, 4)
    chain.emit(e.CampaignCompleted, campaign=A, successful=False)
    chain.mine()
    moved(chain, 4, 5)
    chain.emit(
        e.RefundIssued, campaign=A, investor=ANNA, principal=150 * ETB, paid=100 * ETB
    )
    chain.emit(
        e.RefundOwed, campaign=A, investor=ANNA, amount=50 * ETB, method=TELEBIRR
    )
    refunding = index(chain).of(Campaign)[A]
    chain.mine()
    chain.emit(
        e.RefundIssued, campaign=A, investor=BEN, principal=30 * ETB, paid=30 * ETB
    )
    moved(chain, 5, 6)
    chain.emit(
        e.RefundSettled, campaign=A, investor=ANNA, amount=50 * ETB, method=TELEBIRR
    )
    rows = index(chain)

    # What was announced is more than what moved: the rest was never on the chain.
    assert (150 * ETB, 100 * ETB, 30 * ETB, 50 * ETB) == part(
        refunding, "refunds_announced", "refunded", "held", "fiat_refunds_owed"
    )
    assert "refunding" == refunding["stage"]
    assert (180 * ETB, 130 * ETB, 0, 0, "refunded") == part(
        rows.of(Campaign)[A],
        "refunds_announced", "refunded", "held", "fiat_refunds_owed", "stage",
    )  # fmt: skip


def test_a_payout_that_cannot_be_delivered_waits_in_the_campaign(chain, index):
    created(chain)
    invested(chain, ANNA, 750 * ETB)
    chain.emit(e.FundsReleased, campaign=A, amount=740 * ETB, fee=10 * ETB)
    chain.emit(e.PayoutDeferred, campaign=A, beneficiary=ISSUER, amount=740 * ETB)
    waiting = index(chain).of(Campaign)[A]
    chain.mine()
    chain.emit(e.PayoutClaimed, campaign=A, beneficiary=ISSUER, amount=740 * ETB)

    assert (740 * ETB, 740 * ETB) == part(waiting, "deferred", "held")
    assert (0, 0) == part(index(chain).of(Campaign)[A], "deferred", "held")


def test_a_campaign_is_paused_and_resumed(chain, index):
    created(chain)
    chain.mine()
    chain.emit(e.CampaignPaused, campaign=A, account=OTHER)
    paused = index(chain).of(Campaign)[A]
    chain.mine()
    chain.emit(e.CampaignResumed, campaign=A, account=OTHER)

    assert (True, "active") == part(paused, "paused", "stage")
    assert index(chain).of(Campaign)[A]["paused"] is False


def test_a_cancelled_campaign_refunds(chain, index):
    created(chain)
    invested(chain, ANNA, 5)
    chain.mine()
    moved(chain, 1, 7)
    chain.emit(e.CampaignCancelled, campaign=A, reason="fraud")
    chain.mine()
    moved(chain, 7, 5)
    chain.emit(e.RefundIssued, campaign=A, investor=ANNA, principal=5, paid=5)
    moved(chain, 5, 6)

    assert ("refunded", 0, "fraud", 0) == part(
        index(chain).of(Campaign)[A], "stage", "stage_refused", "cancel_reason", "held"
    )


def test_moves_that_are_not_legal_are_counted_and_change_nothing(chain, index):
    created(chain)
    moved(chain, 1, 6)
    moved(chain, 0, 1)
    chain.mine()
    moved(chain, 1, 4)
    moved(chain, 4, 3)
    moved(chain, 4, 99)

    # 99 is the number of no status: no move is declared on it, so none is refused.
    assert ("failed", 3) == part(index(chain).of(Campaign)[A], "stage", "stage_refused")


def test_campaigns_do_not_mix(chain, index):
    created(chain, A)
    created(chain, B)
    invested(chain, ANNA, 7, A)
    invested(chain, ANNA, 11, B)
    moved(chain, 1, 7, B)

    campaigns = index(chain).of(Campaign)
    assert (7, "active") == part(campaigns[A], "raised", "stage")
    assert (11, "cancelled") == part(campaigns[B], "raised", "stage")


def test_progress_of_a_campaign_without_a_goal_is_unknown(chain, index):
    created(chain, goal=0)
    invested(chain, ANNA, 7)

    campaign = index(chain).of(Campaign)[A]
    assert (None, True) == part(campaign, "progress_percent", "funded")


# --- holdings and investments


def test_a_holding_adds_up_what_an_investor_put_in(chain, index):
    first = chain.now
    invested(chain, ANNA, 100)
    invested(chain, BEN, 1)
    chain.mine()
    invested(chain, ANNA, 50, method=TELEBIRR)

    holding = index(chain).of(Holding)[A, ANNA]
    assert (150, 150, 2, first, chain.now) == part(
        holding,
        "paid_in", "invested", "investments", "first_invested_at", "last_invested_at",
    )  # fmt: skip


def test_a_refund_takes_the_whole_holding_and_pays_the_native_part(chain, index):
    invested(chain, ANNA, 100)
    invested(chain, ANNA, 50, method=TELEBIRR)
    chain.mine()
    chain.emit(e.RefundIssued, campaign=A, investor=ANNA, principal=150, paid=100)
    chain.emit(e.RefundOwed, campaign=A, investor=ANNA, amount=50, method=TELEBIRR)
    owed = index(chain).of(Holding)[A, ANNA]
    chain.mine()
    chain.emit(e.RefundSettled, campaign=A, investor=ANNA, amount=50, method=TELEBIRR)

    assert (0, 150, 100, 50) == part(
        owed, "invested", "refunds_announced", "paid_back", "fiat_owed"
    )
    assert 0 == index(chain).of(Holding)[A, ANNA]["fiat_owed"]


def test_an_investor_has_one_holding_for_each_campaign(chain, index):
    invested(chain, ANNA, 1, A)
    invested(chain, ANNA, 2, B)
    invested(chain, BEN, 3, A)

    assert {(A, ANNA): 1, (B, ANNA): 2, (A, BEN): 3} == {
        key: row["invested"] for key, row in index(chain).of(Holding).items()
    }


def test_every_payment_is_listed(chain, index):
    reference = b"receipt".ljust(32, b"\0")
    invested(chain, ANNA, 100, number=1)
    invested(chain, ANNA, 50, number=2, method=TELEBIRR, payment_ref=reference)

    investments = index(chain).of(Investment)

    assert 2 == len(investments)
    assert (A, ANNA, 100, NATIVE, bytes(32), chain.now) == part(
        investments[(1).to_bytes(32)],
        "campaign", "investor", "amount", "method", "payment_ref", "made_at",
    )  # fmt: skip
    assert (50, TELEBIRR, reference, chain.facts[1].transaction) == part(
        investments[(2).to_bytes(32)],
        "amount", "method", "payment_ref", "transaction_id",
    )  # fmt: skip


# --- certificates


def minted(chain, certificate, owner, **values):
    """As the contract does it: the token moves before the certificate is announced."""
    chain.emit(
        e.CertificateTransferred,
        certificate=certificate,
        sender=NOBODY,
        recipient=owner,
    )
    chain.emit(
        e.CertificateIssued,
        certificate=certificate,
        owner=owner,
        campaign=A,
        **{"amount": 5000, "shares": 50, "votes": 5, **values},
    )


def handed(chain, certificate, sender, recipient):
    chain.emit(
        e.CertificateTransferred,
        certificate=certificate,
        sender=sender,
        recipient=recipient,
    )


def test_a_certificate_belongs_to_whom_it_was_issued(chain, index):
    minted(chain, 1, ANNA)

    certificate = index(chain).of(Certificate)[1]
    assert (A, ANNA, ANNA, 5000, 50, 5, chain.now) == part(
        certificate,
        "campaign", "issued_to", "owner", "amount", "shares", "votes", "issued_at",
    )  # fmt: skip
    assert (1, False, None) == part(
        certificate, "transfers", "revoked", "revoked_because"
    )


def test_a_transfer_changes_the_owner_and_not_whom_it_was_issued_to(chain, index):
    minted(chain, 1, ANNA)
    chain.mine()
    handed(chain, 1, ANNA, BEN)

    assert (ANNA, BEN, 2) == part(
        index(chain).of(Certificate)[1], "issued_to", "owner", "transfers"
    )


def test_a_certificate_may_be_revoked_twice(chain, index):
    minted(chain, 1, ANNA)
    chain.mine()
    chain.emit(e.CertificateRevoked, certificate=1, reason="error")
    chain.mine()
    chain.emit(e.CertificateRevoked, certificate=1, reason="fraud")

    assert (True, "fraud", ANNA) == part(
        index(chain).of(Certificate)[1], "revoked", "revoked_because", "owner"
    )


def test_owners_hold_what_was_given_to_them_less_what_they_gave(chain, index):
    minted(chain, 1, ANNA)
    minted(chain, 2, ANNA)
    received = chain.now
    chain.mine()
    handed(chain, 1, ANNA, BEN)
    handed(chain, 2, ANNA, ANNA)

    owners = index(chain).of(CertificateOwner)
    assert {ANNA: 1, BEN: 1} == {o: row["certificates"] for o, row in owners.items()}
    assert (chain.now, chain.now) == (
        owners[ANNA]["received_last_at"],
        owners[BEN]["received_last_at"],
    )
    assert received < chain.now


def test_who_gave_all_away_holds_none_and_nobody_holds_nothing(chain, index):
    minted(chain, 1, ANNA)
    chain.mine()
    handed(chain, 1, ANNA, BEN)
    chain.mine()
    handed(chain, 1, BEN, NOBODY)

    owners = index(chain).of(CertificateOwner)
    assert (0, 0) == (owners[ANNA]["certificates"], owners[BEN]["certificates"])
    # A token that is destroyed is nobody's: there is no row for who does not exist.
    assert NOBODY not in owners


# --- escrow

ACCOUNT = b"\x0e" * 32


def test_an_escrow_account_releases_what_was_deposited(chain, index):
    chain.emit(
        e.EscrowAccountCreated, campaign_key=ACCOUNT, issuer=ISSUER, campaign_id="c-1"
    )
    opened = chain.now
    chain.mine()
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=ANNA, amount=70)
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=ANNA, amount=5)
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=BEN, amount=25)
    full = index(chain).of(EscrowAccount)[ACCOUNT]
    chain.mine()
    chain.emit(e.EscrowReleased, campaign_key=ACCOUNT, party=ISSUER, amount=100)
    released = index(chain).of(EscrowAccount)[ACCOUNT]

    assert ("c-1", ISSUER, opened, 100, 100, 2, "open") == part(
        full,
        "campaign_id", "issuer", "opened_at", "deposited", "held", "depositors",
        "stage",
    )  # fmt: skip
    assert (100, 0, "released", 0) == part(
        released, "released", "held", "stage", "stage_refused"
    )


def test_an_escrow_account_refunds_its_depositors(chain, index):
    chain.emit(e.EscrowAccountCreated, campaign_key=ACCOUNT)
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=ANNA, amount=70)
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=BEN, amount=30)
    chain.mine()
    chain.emit(e.EscrowRefundsOpened, campaign_key=ACCOUNT, total=100)
    chain.emit(e.EscrowRefunded, campaign_key=ACCOUNT, party=ANNA, amount=70)
    refunding = index(chain).of(EscrowAccount)[ACCOUNT]
    chain.mine()
    chain.emit(e.EscrowWithdrawn, campaign_key=ACCOUNT, party=OTHER, amount=30)

    assert ("refunding", 70, 30) == part(refunding, "stage", "refunded", "held")
    assert ("withdrawn", 30, 0) == part(
        index(chain).of(EscrowAccount)[ACCOUNT], "stage", "withdrawn", "held"
    )


def test_a_release_after_refunds_were_opened_is_refused(chain, index):
    chain.emit(e.EscrowAccountCreated, campaign_key=ACCOUNT)
    chain.emit(e.EscrowRefundsOpened, campaign_key=ACCOUNT)
    chain.emit(e.EscrowReleased, campaign_key=ACCOUNT, amount=1)

    assert ("refunding", 1) == part(
        index(chain).of(EscrowAccount)[ACCOUNT], "stage", "stage_refused"
    )


def test_movements_are_listed_in_the_order_of_the_chain(chain, index):
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=ANNA, amount=70)
    chain.emit(e.EscrowDeposited, campaign_key=ACCOUNT, party=BEN, amount=30)
    chain.mine()
    chain.emit(e.EscrowRefunded, campaign_key=ACCOUNT, party=BEN, amount=30)
    chain.emit(e.EscrowReleased, campaign_key=ACCOUNT, party=ISSUER, amount=60)
    chain.emit(e.EscrowWithdrawn, campaign_key=ACCOUNT, party=OTHER, amount=10)

    movements = index(chain).of(EscrowMovement)

    assert [
        ("deposit", ANNA, 70),
        ("deposit", BEN, 30),
        ("refund", BEN, 30),
        ("release", ISSUER, 60),
        ("withdrawal", OTHER, 10),
    ] == [part(movements[at], "kind", "party", "amount") for at in sorted(movements)]
    assert [fact.position for fact in chain.facts] == sorted(movements)
    assert {ACCOUNT} == {row["campaign_key"] for row in movements.values()}
    assert chain.now == movements[max(movements)]["moved_at"]


# --- the platform


def test_the_platform_holds_the_fees_it_has_not_withdrawn(chain, index):
    chain.emit(e.PlatformFeeReceived, factory=FACTORY, campaign=A, amount=10)
    chain.emit(e.PlatformFeeReceived, factory=FACTORY, campaign=A, amount=5)
    chain.emit(e.PlatformFeeReceived, factory=FACTORY, campaign=B, amount=3)
    chain.mine()
    chain.emit(e.PlatformFeesWithdrawn, factory=FACTORY, recipient=OTHER, amount=15)

    account = index(chain).of(PlatformAccount)[FACTORY]
    assert (18, 15, 3, 2) == part(
        account, "received", "withdrawn", "held", "campaigns_paying"
    )


def test_the_terms_of_new_campaigns_are_the_latest(chain, index):
    chain.emit(e.PlatformFeeUpdated, factory=FACTORY, fee_bps=250)
    chain.emit(e.FeeRecipientUpdated, factory=FACTORY, recipient=ANNA)
    chain.emit(e.ImplementationUpdated, factory=FACTORY, implementation=A)
    chain.mine()
    chain.emit(e.PlatformFeeUpdated, factory=FACTORY, fee_bps=100)
    chain.emit(e.FeeRecipientUpdated, factory=FACTORY, recipient=BEN)
    chain.emit(e.ImplementationUpdated, factory=FACTORY, implementation=B)

    assert (100, BEN, B) == part(
        index(chain).of(PlatformAccount)[FACTORY],
        "fee_bps", "fee_recipient", "implementation",
    )  # fmt: skip


def test_a_campaign_as_it_stood_before_its_refunds(chain, index):
    """A read as of a block tells what was known then."""
    created(chain)
    invested(chain, ANNA, 5)
    chain.mine()
    chain.emit(e.RefundIssued, campaign=A, investor=ANNA, principal=5, paid=5)
    rows = index(chain)

    with rows.engine.connect() as connection:
        campaigns = Registry.load().projections["campaigns"]
        before = rows_as_of(connection, campaigns, rows.source, 0)
        after = rows_as_of(connection, campaigns, rows.source, 1)
    assert (5, 0) == (before[(A,)]["held"], after[(A,)]["held"])
