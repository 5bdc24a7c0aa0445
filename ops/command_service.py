"""Build the command service from the settings, and run its background work."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from commands.errors import NodeAway
from commands.requests import submit_requests
from commands.submit import CommandService, WalletTerms, no_notify
from db import outbox
from db.engine import Unavailable, connect_at_once
from db.listen import Listener
from db.reads import ReadError
from ops import rq_notifier
from ops.anchoring import NOTARY, Daily
from ops.chains import kind_of
from ops.commanding import work_until
from ops.errors import OperationError
from ops.indexing import declared, streams
from ops.notifying import send_notices
from ops.rq_notifier import RqNotifier
from ops.settings import Settings

WORK_SECONDS = 0.5

log = logging.getLogger(__name__)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def open_command_service(settings: Settings, engine: Engine) -> CommandService:
    """Return the command service for the chains of the settings.

    Raises OperationError without a chain.
    """
    if not settings.chains:
        raise OperationError(
            "commands go to a chain, and none is configured: write [chains.<name>]"
        )
    registry = declared(settings)
    redis, wallet_settings = settings.redis.url, settings.wallets
    at_once = connect_at_once(engine.url)
    plans = streams(settings, registry)
    return CommandService(
        terms=WalletTerms(
            valid=timedelta(hours=wallet_settings.valid_hours),
            afterwards=timedelta(days=wallet_settings.watch_days),
            of_account=wallet_settings.waiting_of_account,
            of_wallet=wallet_settings.waiting_of_wallet,
        ),
        notify=no_notify if redis is None else RqNotifier(str(redis)),
        engine=engine,
        at_once=at_once,
        registry=registry,
        lanes=tuple(
            kind_of(chain).open_lane(
                settings, chain, engine, at_once, registry, plans[chain.name][1]
            )
            for chain in settings.chains.values()
        ),
        clock=now,
    )


def work_requests(settings: Settings, engine: Engine, stop: threading.Event) -> None:
    """Settle wallets' commands and submit reactions' requests until stopped.

    With a notary among the signers the journal's days are anchored too. Notifications
    of the indexer wake it; it also polls, as a notification may be lost.
    """
    command_service: CommandService | None = None
    daily = Daily() if NOTARY in settings.signers else None
    woken = threading.Event()
    rq_notifier.wake_events.add(woken)
    listeners = [
        Listener(engine, channel, lambda _: woken.set()).start()
        for channel in ("chainfold", outbox.CHANNEL)
    ]
    while not stop.is_set():
        woken.clear()
        try:
            command_service = command_service or open_command_service(settings, engine)
            for lane in command_service.lanes:
                for _ in lane.work_wallets(command_service):
                    pass
            for _ in submit_requests(command_service):
                pass
            if daily is not None:
                daily.anchor(command_service)
        except (NodeAway, ReadError, *Unavailable) as error:
            gist = str(error).split("\n", 1)[0]
            log.warning("requests_retried cause=%s", gist)
        except Exception:
            # Whatever one command's trouble is, it must not end the work on the others.
            log.exception("requests_failed")
        woken.wait(WORK_SECONDS)
    rq_notifier.wake_events.discard(woken)
    for listener in listeners:
        listener.stop()


@contextmanager
def working(settings: Settings, engine: Engine) -> Iterator[None]:
    """Sign, send and settle commands in threads beside, for the length of the block."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=(settings, engine, stop), name=work.__name__)
        for work in (work_until, work_requests, send_notices)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
