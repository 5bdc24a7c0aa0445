"""Journal entries about campaigns before they are on the chain."""

from db.declare import STAFF, Address, Duration, Entry, Own, Text, Uint, Uuid
from db.domains.crowdfunding.events import ETB

READERS = (STAFF, Own("beneficiary"))


class CampaignDrafted(Entry):
    """An issuer wrote down what a campaign is to be."""

    draft = Uuid()
    beneficiary = Address()
    campaign_id = Text(max_length=100)
    company_name = Text(max_length=200)
    description = Text(max_length=20_000)
    goal = Uint(meaning=ETB)
    duration = Uint(meaning=Duration())
    document_hash = Text()

    readable_by = READERS


class CampaignApproved(Entry):
    """A revision of a draft was examined and may be put on the chain."""

    draft = Uuid()
    revision = Uint(63)

    readable_by = STAFF


class CampaignRejected(Entry):
    """A revision of a draft may not be put on the chain, and why."""

    draft = Uuid()
    revision = Uint(63)
    reason = Text()

    readable_by = STAFF
