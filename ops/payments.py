"""From settings to a reader of Stripe, and reading beside the loops of the chains."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine

from api.payments import PaymentOptions
from commands.stripe.checkout import CheckoutOptions
from commands.stripe.client import Client, open_client
from commands.stripe.refunds import RefundWorker, no_guard
from db.engine import Refused
from db.errors import DatabaseError, LeaseLost
from db.payments import account as accounts
from db.payments.webhooks import CHANNEL
from db.registry import Registry
from indexer.errors import Permanent, Retryable
from indexer.follow import backoff, first_line
from indexer.stripe.asking import Api
from indexer.stripe.errors import RateLimited
from indexer.stripe.reader import Stopped, StripeReader
from ops.errors import OperationError
from ops.settings import Settings
from ops.waking import heard, pause

AGAIN_SECONDS = 60.0  # after what only a person can put right
LEASE_SECONDS = 1.0

log = logging.getLogger(__name__)


def stripe_client(settings: Settings) -> Client:
    """The client of the account in the settings; raises OperationError without one."""
    config = settings.stripe
    if not config.given:
        raise OperationError(
            "no account of Stripe is configured: write [stripe] with secret_key_env in "
            "chainfold.toml"
        )
    if config.secret_key is None:
        where = config.secret_key_env or config.secret_key_file
        raise OperationError(
            f"[stripe] secret_key_env: the secret key is not in {where}: put it there. "
            "In test mode it begins with sk_test_ or rk_test_"
        )
    return open_client(
        config.secret_key.value,
        api=None if config.api is None else str(config.api),
        timeout_seconds=config.timeout_seconds,
    )


def payment_options(settings: Settings) -> PaymentOptions:
    """The secrets of webhooks; with `success_url`, the account that takes cards."""
    config = settings.stripe
    secrets = [each.value for each in config.webhook_secrets]
    if config.success_url is None or config.secret_key is None:
        return PaymentOptions(secrets)
    client = stripe_client(settings)
    cancel = "" if config.cancel_url is None else str(config.cancel_url)
    checkout = CheckoutOptions(client, str(config.success_url), cancel)
    return PaymentOptions(secrets, checkout)


def payment_domains(settings: Settings, registry: Registry) -> tuple[str, ...]:
    """The domains whose payments are ours, as metadata names them."""
    if settings.stripe.domains is not None:
        return settings.stripe.domains
    found = {each.spec.domain for each in registry.events.values()}
    found |= {each.spec.domain for each in registry.projections.values()}
    found |= {each.spec.domain for each in registry.commands.values()}
    return tuple(sorted(found))


def payment_checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Checks of `doctor`: the key with its account, and the secret of webhooks."""
    if not settings.stripe.given:
        return

    def account() -> str:
        config = settings.stripe
        found = Api(stripe_client(settings)).account()
        if config.account and found != config.account:
            raise OperationError(
                f"the secret key is of {found}, and [stripe] account says "
                f"{config.account}: give the key of that account"
            )
        return f"the key is of {found}, in {'live' if config.live else 'test'} mode"

    def webhooks() -> str:
        config = settings.stripe
        if config.webhook_secrets:
            return "webhooks are taken"
        where = config.webhook_secret_env or config.webhook_secret_file
        if where is not None:
            raise OperationError(
                f"no webhook is taken: the signing secret is not in {where}. Put it "
                "there: the page of the endpoint at Stripe shows it"
            )
        return f"none is taken; payments are read every {config.poll_seconds:g} s"

    yield "stripe account", account
    yield "stripe webhooks", webhooks


def open_reader(settings: Settings, engine: Engine, registry: Registry) -> StripeReader:
    """The reader of the account in the settings; raises OperationError without one."""
    config = settings.stripe
    return StripeReader(
        engine,
        registry,
        Api(stripe_client(settings)),
        payment_domains(settings, registry),
        livemode=config.live,
        account=config.account,
        overlap_seconds=config.overlap_seconds,
    )


async def read_payments(
    settings: Settings, engine: Engine, registry: Registry, stop: asyncio.Event
) -> None:
    """Read the account of the settings until told to stop; one process does at a time.

    It reads every `poll_seconds`, and at once after a webhook.
    """
    if settings.stripe.given:
        async with heard(engine, CHANNEL) as told:
            await _read_when_told(settings, engine, registry, stop, told)


async def _read_when_told(
    settings: Settings,
    engine: Engine,
    registry: Registry,
    stop: asyncio.Event,
    told: asyncio.Event,
) -> None:
    ending = threading.Event()
    reader: StripeReader | None = None
    failures = 0
    try:
        while not stop.is_set():
            told.clear()
            rest, failures = settings.stripe.poll_seconds, failures + 1
            try:
                if reader is None:
                    opened = open_reader(settings, engine, registry)
                    opened.stopping = ending.is_set
                    await asyncio.to_thread(opened.open)
                    reader = opened
                if await asyncio.to_thread(_read_once, reader):
                    failures = 0
                else:
                    rest = LEASE_SECONDS
            except RateLimited as error:
                rest = error.seconds
                await _tell(engine, reader, "retrying", error)
            except LeaseLost as error:
                log.warning("stripe_lease_lost cause=%s", error)
            except (Retryable, Refused) as error:
                rest = backoff(failures)
                await _tell(engine, reader, "retrying", error)
            except (Permanent, DatabaseError, OperationError) as error:
                rest = AGAIN_SECONDS
                await _tell(engine, reader, "refused", error)
            except Exception as error:
                # Without this nothing would be read any more, and nobody hear of it.
                rest = AGAIN_SECONDS
                log.exception("stripe_failed")
                await _tell(engine, reader, "stopped", error)
            await pause(stop, told, rest)
    finally:
        ending.set()
        with contextlib.suppress(Refused):
            if reader is not None and reader.lease is not None:
                reader.lease.leave(engine)


def _read_once(reader: StripeReader) -> bool:
    """Read a round and make refunds, if the lease can be had; whether it was read."""
    if reader.lease is None:
        reader.lease = accounts.acquire_lease(reader.engine, reader.known)
    if reader.lease is None:
        return False
    try:
        done = reader.round()
    except LeaseLost:
        reader.lease = None
        raise
    except Stopped:
        return False
    if done.entries:
        log.info("stripe_read events=%d entries=%d", done.events, done.entries)
    refund_worker(reader, reader.lease.guard).round()
    return True


def refund_worker(
    reader: StripeReader, guard: Callable[[Connection], None] = no_guard
) -> RefundWorker:
    """The worker that makes the refunds of the account that is read."""
    client = reader.api.client
    return RefundWorker(reader.engine, reader.registry, client, reader.clock, guard)


async def _tell(
    engine: Engine, reader: StripeReader | None, state: str, error: Exception
) -> None:
    """Record what is in the way, for `status`."""
    cause = first_line(error)
    log.warning("stripe_not_read state=%s cause=%s", state, cause)

    def record() -> None:
        with engine.begin() as connection:
            row = accounts.find(connection)
            if row is not None:
                accounts.record_trouble(connection, row.account, state, cause)

    with contextlib.suppress(Refused):
        await asyncio.to_thread(record)
