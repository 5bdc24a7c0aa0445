"""Names as declarations give them: of columns, of domains."""

import re
from functools import cache

# The modules of a domain that declare.
PARTS = (
    "settings", "roles", "events", "entries", "projections", "commands", "reactions",
    "timers", "notices", "reports", "postings",
)  # fmt: skip


@cache
def snake_case(name: str) -> str:
    """`CampaignCreated` to `campaign_created`, `NFTMinted` to `nft_minted`."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def camel_case(name: str) -> str:
    """`funding_goal` to `fundingGoal`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def domain_of(module: str) -> str:
    """`lending` for `lending.events` and for `lending`."""
    parts = module.split(".")
    return parts[-2] if parts[-1] in PARTS and len(parts) > 1 else parts[-1]
