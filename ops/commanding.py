"""Build signers at work from the settings, with their keys and nodes."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Engine

from commands.errors import NodeAway, SigningHeld, SigningRefused
from db.engine import Unavailable
from db.listen import Listener
from db.reads import ReadError
from ops import rq_notifier
from ops.chains import kind_of
from ops.errors import OperationError
from ops.indexing import declared
from ops.settings import Settings
from ops.signing import chain_of

SWEEP_SECONDS = 1.0
# The states of commands that a signer must act on.
WAKING = ("accepted", "closing", "held")

log = logging.getLogger(__name__)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def open_worker(settings: Settings, engine: Engine, name: str) -> Callable[[], None]:
    """Return one pass over a signer's commands; the signer is registered.

    Raises OperationError for one that is not in the settings, or has no chain or key.
    """
    if name not in settings.signers:
        raise OperationError(
            f"no signer {name!r} in the settings; there is "
            f"{', '.join(settings.signers) or 'none'}. Write [signers.{name}]."
        )
    config = settings.signers[name]
    chain = chain_of(settings, config)
    registry = declared(settings)
    return kind_of(chain).open_worker(settings, config, chain, engine, registry, now)


def work_until(settings: Settings, engine: Engine, stop: threading.Event) -> None:
    """Work on the commands of every signer until stopped.

    Each signer has a thread of its own, so that a slow key or node holds up no other.
    Notifications wake them; they also poll every second, as one may be lost.
    """
    wake_events = {name: threading.Event() for name in settings.signers}
    rq_notifier.wake_events.update(wake_events.values())

    def wake(notified: str) -> None:
        if ":" not in notified or notified.endswith(WAKING) or notified.count(":") == 2:
            for woken in wake_events.values():
                woken.set()

    listeners = [
        Listener(engine, channel, wake).start()
        for channel in ("chainfold_command", "chainfold")
    ]
    threads = [
        threading.Thread(
            target=_tend,
            args=(settings, engine, name, stop, woken),
            name=f"signer-{name}",
        )
        for name, woken in wake_events.items()
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    for woken in wake_events.values():
        woken.set()
    for thread in threads:
        thread.join()
    rq_notifier.wake_events.difference_update(wake_events.values())
    for listener in listeners:
        listener.stop()


def _tend(
    settings: Settings,
    engine: Engine,
    name: str,
    stop: threading.Event,
    woken: threading.Event,
) -> None:
    """Work on one signer's commands; failures are retried.

    An error that needs an operator is logged when it changes, not every second.
    """
    work: Callable[[], None] | None = None
    notified = ""
    while not stop.is_set():
        woken.clear()
        try:
            work = work or open_worker(settings, engine, name)
            work()
            notified = ""
        except (NodeAway, SigningHeld, ReadError, *Unavailable) as error:
            gist = str(error).split("\n", 1)[0]
            log.warning("work_retried signer=%s cause=%s", name, gist)
        except (OperationError, SigningRefused) as error:
            if str(error) != notified:
                log.error("signer_unusable signer=%s cause=%s", name, error)
            notified = str(error)
        except Exception:
            # One signer's trouble, whatever it is, must not end the others' work.
            log.exception("work_failed signer=%s", name)
        woken.wait(SWEEP_SECONDS)
