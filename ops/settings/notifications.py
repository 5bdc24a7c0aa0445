"""Reads `[notifications]`: the mail server and the channels that notices go to."""

from collections.abc import Mapping
from types import MappingProxyType

from db.declare.notices import LANGUAGES
from ops.settings.model import ChannelSettings, NotificationSettings
from ops.settings.secret import Secret
from ops.settings.table import Table

SECTION = "notifications"


def read_notifications(root: Table, environ: Mapping[str, str]) -> NotificationSettings:
    """Read `[notifications]`, if it is there."""
    if SECTION not in root:
        return NotificationSettings()
    table, default = root.section(SECTION), NotificationSettings()
    mail_env = table.text("mail_env")
    language = _language(table, default.language)
    channels = {
        name: _channel(each, language, environ)
        for name, each in table.section("channels").sections()
    }
    table.finish()
    return NotificationSettings(
        given=True,
        language=language,
        mail_env=mail_env,
        mail=_secret(mail_env, environ),
        channels=MappingProxyType(channels),
    )


def _channel(
    table: Table, language: str, environ: Mapping[str, str]
) -> ChannelSettings:
    table.missing("url_env", "the variable that holds the channel's address")
    url_env = table.text("url_env") or ""
    found = ChannelSettings(
        url_env=url_env,
        language=_language(table, language),
        url=_secret(url_env, environ),
    )
    table.finish()
    return found


def _language(table: Table, default: str) -> str:
    found = table.text("language") or default
    if found not in LANGUAGES:
        table.problem("language", f"is one of {', '.join(LANGUAGES)}")
    return found


def _secret(name: str | None, environ: Mapping[str, str]) -> Secret | None:
    found = environ.get(name or "", "")
    return Secret(found) if found else None
