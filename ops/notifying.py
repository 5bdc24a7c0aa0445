"""Send notices by e-mail and to channels, through apprise; tried again when it fails.

An address holds secrets: what is logged or kept of a failure is free of them.
"""

import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import quote, unquote, urlsplit

import apprise
from sqlalchemy import Connection, Engine

from db import notices
from db.engine import Refused
from db.notices import NoticeRow, RecipientKind
from ops.errors import OperationError
from ops.settings import Settings
from ops.settings.model import NotificationSettings

LOOK_SECONDS = 2.0
ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=15), timedelta(hours=1)
FORGET_SECONDS = 3600.0

log = logging.getLogger(__name__)


class NotSent(Exception):
    """A notice was not sent, and why; `again` is whether it may be sent later."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        """`reason` is for the log that people read: it holds no secret."""
        super().__init__(reason)
        self.again = again


def send_notices(settings: Settings, engine: Engine, stop: threading.Event) -> None:
    """Send what is due until stopped; several processes may do so."""
    pause, forgotten_at = 0.0, datetime.min.replace(tzinfo=UTC)
    while not stop.wait(pause):
        pause, now = LOOK_SECONDS, datetime.now(UTC)
        try:
            if send_due(settings.notifications, engine, now):
                pause = 0.0
            if (now - forgotten_at).total_seconds() > FORGET_SECONDS:
                forgotten_at = now
                with engine.begin() as connection:
                    notices.forget(connection, now)
        except Refused as error:
            log.warning("notices_retried cause=%s", str(error).split("\n", 1)[0])
        except Exception:
            # Without this nobody would be told anything any more.
            log.exception("notices_failed")


def send_due(settings: NotificationSettings, engine: Engine, now: datetime) -> int:
    """Send the notices that are due; how many were due.

    Without `[notifications]` they are marked as off.
    """
    with engine.begin() as connection:
        taken = notices.take(connection, now)
        for row in taken:
            if not settings.given:
                notices.note_off(connection, row.id)
    for row in taken if settings.given else ():
        try:
            with engine.connect() as connection:
                url, language, secrets = _place(settings, connection, row)
            subject, text = row.texts.get(language) or next(iter(row.texts.values()))
            deliver(url, subject, text, secrets)
        except NotSent as error:
            again = now + pause_after(row.attempts) if error.again else None
            if row.attempts >= ATTEMPTS:
                again = None
            log.warning(
                "notice_not_sent id=%d name=%s attempt=%d cause=%s",
                row.id, row.name, row.attempts, error,
            )  # fmt: skip
            with engine.begin() as connection:
                notices.note_not_sent(connection, row.id, str(error), again)
        else:
            log.info("notice_sent id=%d name=%s kind=%s", row.id, row.name, row.kind)
            with engine.begin() as connection:
                notices.note_sent(connection, row.id, datetime.now(UTC))
    return len(taken)


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts: twice as long, up to an hour."""
    return min(FIRST_PAUSE * (1 << min(attempts - 1, 20)), LONGEST_PAUSE)


def deliver(url: str, subject: str, text: str, secrets: tuple[str, ...] = ()) -> None:
    """Send one message; raises NotSent, with the service's words and no secret.

    It is plain text: where a service takes HTML, what is in it is escaped.
    """
    service = apprise.Apprise()
    service.add(_service(url))
    with _said(logging.WARNING) as said:
        try:
            done = service.notify(
                title=subject, body=text, body_format=apprise.NotifyFormat.TEXT
            )
        except Exception as error:
            # A plugin meets whatever its server does; the next attempt is in time.
            words = f"{type(error).__name__}: {error}"
            raise NotSent(_clean(words, url, secrets)) from None
        if not done:
            words = " ".join(said.getvalue().split())
            raise NotSent(_clean(words or "the service refused it", url, secrets))


def channel_url(settings: NotificationSettings, name: str) -> str:
    """Return the address of a channel; raises NotSent with the remedy."""
    channel = settings.channels.get(name)
    if channel is None:
        raise NotSent(
            f"there is no channel {name}: write [notifications.channels.{name}]"
        )
    if channel.url is None:
        raise NotSent(f"the address of {name} is not in {channel.url_env}: set it")
    return channel.url.value


def mail_url(settings: NotificationSettings, to: str) -> str:
    """Return the address that writes to somebody; raises NotSent with the remedy."""
    if settings.mail is None:
        raise NotSent(
            "no mail server is configured: write [notifications] mail_env"
            if settings.mail_env is None
            else f"the mail server's address is not in {settings.mail_env}: set it"
        )
    url = settings.mail.value
    return f"{url}{'&' if '?' in url else '?'}to={quote(to, safe='')}"


def notification_checks(
    settings: Settings,
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Checks of `doctor`: every address is there and of a form that apprise knows."""
    chosen = settings.notifications

    def mail() -> str:
        _checked(lambda: mail_url(chosen, "somebody@example.org"))
        return "people are written to by e-mail"

    def channel(name: str) -> Callable[[], str]:
        def check() -> str:
            _checked(lambda: channel_url(chosen, name))
            return f"in {chosen.channels[name].language}"

        return check

    if chosen.mail_env is not None:
        yield "notifications mail", mail
    for name in chosen.channels:
        yield f"notifications {name}", channel(name)


def _checked(url: Callable[[], str]) -> None:
    try:
        _service(url())
    except NotSent as error:
        raise OperationError(str(error)) from None


def _service(url: str) -> apprise.NotifyBase:
    """Return what sends to an address; raises NotSent for a form nobody knows.

    `instantiate` logs the address itself, with its secrets: it is kept silent.
    """
    with _said(logging.CRITICAL):
        found = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if found is None:
        raise NotSent(
            "the address is of no form that apprise knows: correct it, and try it with "
            "`chainfold notice test`"
        )
    return found


def _place(
    settings: NotificationSettings, connection: Connection, row: NoticeRow
) -> tuple[str, str, tuple[str, ...]]:
    """Return the address, the language, and what must not be logged."""
    if row.kind is RecipientKind.CHANNEL:
        url = channel_url(settings, row.recipient)
        return url, settings.channels[row.recipient].language, ()
    to = notices.address_of(connection, row)
    if to is None:
        raise NotSent(
            "the recipient has no account with an e-mail address", again=False
        )
    return mail_url(settings, to), settings.language, (to,)


def _said(level: int) -> AbstractContextManager[io.StringIO]:
    """Capture what apprise logs in the block, from a level on."""
    logging.getLogger("apprise").propagate = False  # it names addresses
    capture = apprise.LogCapture(  # type: ignore[no-untyped-call]
        level=level, fmt="%(message)s"
    )
    return cast(AbstractContextManager[io.StringIO], capture)


def _clean(words: str, url: str, secrets: tuple[str, ...]) -> str:
    """Words without the parts of an address that may be secret: all but its host."""
    parts = {part for part in re.split(r"[/?&=:@]+", url) if len(part) > 3}
    host = urlsplit(url).hostname or ""
    hidden = {each for part in parts | set(secrets) for each in (part, unquote(part))}
    for each in sorted(hidden - {host, *host.split(".")}, key=len, reverse=True):
        words = words.replace(each, "…")
    return words
