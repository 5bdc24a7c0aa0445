"""From settings to where commands are taken."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from commands.errors import NodeAway
from commands.submit import Intake, WalletTerms, unheard
from commands.wishes import work_wishes
from db.engine import Unavailable, connect_at_once
from db.listen import Listener
from db.reads import ReadError
from ops import doorbell
from ops.anchoring import NOTARY, Daily
from ops.chains import kind_of
from ops.commanding import work_until
from ops.doorbell import Ringer
from ops.errors import OperationError
from ops.indexing import declared, streams
from ops.settings import Settings

WORK_SECONDS = 0.5

log = logging.getLogger(__name__)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def open_intake(settings: Settings, engine: Engine) -> Intake:
    """Return where commands for the chains of the settings are taken.

    Raises OperationError without a chain.
    """
    if not settings.chains:
        raise OperationError(
            "commands go to a chain, and none is configured: write [chains.<name>]"
        )
    registry = declared(settings)
    redis, said = settings.redis.url, settings.wallets
    at_once = connect_at_once(engine.url)
    plans = streams(settings, registry)
    return Intake(
        terms=WalletTerms(
            valid=timedelta(hours=said.valid_hours),
            afterwards=timedelta(days=said.watch_days),
            of_account=said.waiting_of_account,
            of_wallet=said.waiting_of_wallet,
        ),
        ring=unheard if redis is None else Ringer(str(redis)),
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


def work_intake(settings: Settings, engine: Engine, stop: threading.Event) -> None:
    """Carry on what wallets signed and what reactions ask for, until told to stop.

    With a notary among the signers the journal's days are anchored too. A notification
    of the indexer wakes it; that it looks again by itself is the guarantee.
    """
    intake: Intake | None = None
    daily = Daily() if NOTARY in settings.signers else None
    bell = threading.Event()
    doorbell.bells.add(bell)
    listener = Listener(engine, "chainfold", lambda _: bell.set()).start()
    while not stop.is_set():
        bell.clear()
        try:
            intake = intake or open_intake(settings, engine)
            for lane in intake.lanes:
                for _ in lane.work_wallets(intake):
                    pass
            for _ in work_wishes(intake):
                pass
            if daily is not None:
                daily.anchor(intake)
        except (NodeAway, ReadError, *Unavailable) as error:
            gist = str(error).split("\n", 1)[0]
            log.warning("intake_retried cause=%s", gist)
        except Exception:
            # Whatever one command's trouble is, it must not end the work on the others.
            log.exception("intake_failed")
        bell.wait(WORK_SECONDS)
    doorbell.bells.discard(bell)
    listener.stop()


@contextmanager
def working(settings: Settings, engine: Engine) -> Iterator[None]:
    """Sign, send and settle commands in threads beside, for the length of the block."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=work, args=(settings, engine, stop), name=work.__name__)
        for work in (work_until, work_intake)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
