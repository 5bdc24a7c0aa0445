"""Settings of creator settlement: `[settlement]`."""

from db.declare import Setting, SettingsTable, time_zone

LEVELS = ("healthy", "warning", "critical")


class SettlementSettings(SettingsTable):
    """When the treasury of creator settlement is low, when it is reviewed, who waits.

    Without the section, or a key of it, the defaults hold.
    """

    low_balance_usdc = Setting(
        2_000, "The treasury is low below this balance of all its accounts, in USDC."
    )
    low_balance_level = Setting(
        "critical", "The treasury's health below that balance.", among=LEVELS
    )
    low_runway_days = Setting(
        7.0, "The treasury is short when its balance lasts for fewer days than this."
    )
    low_runway_level = Setting(
        "warning", "The treasury's health with such a runway.", among=LEVELS
    )
    review_zone = Setting(
        "UTC",
        "The time zone, as IANA names it, in which a week is summed up on Monday at "
        "09:00. The seven days that are summed are those of UTC that are over.",
        check=time_zone,
    )
    new_buyer_wait_hours = Setting(
        0,
        "For how long after a payment was captured it waits to be settled, in hours, "
        "while its buyer has no purchase that was settled and that nothing speaks "
        "against. 0: not at all.",
    )
