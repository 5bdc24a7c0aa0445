"""From settings to how people sign in: the secret, the limits, the sites."""

import os
import secrets
from datetime import timedelta
from pathlib import Path

from api.auth.options import (
    SECRET_BYTES,
    AuthOptions,
    ExternalIssuer,
    WebOptions,
)
from ops.errors import OperationError
from ops.nodes import contract_call, open_callers
from ops.settings import Settings

SECRET_FILE = "auth.secret"  # noqa: S105 - its name


def auth_options(settings: Settings) -> AuthOptions:
    """Return the options of sign-in; the same for every process with these settings."""
    auth, api = settings.auth, settings.api
    nodes = open_callers(settings)
    return AuthOptions(
        secret=_secret(settings),
        registration=auth.registration,
        access_lifetime=timedelta(minutes=auth.access_minutes),
        refresh_lifetime=timedelta(days=auth.refresh_days),
        session_lifetime=timedelta(days=auth.session_days),
        # A site of our own, where nothing else is said: as for a try on one machine.
        origins=auth.origins
        or tuple(f"http://{host}:{api.port}" for host in (api.host, "localhost")),
        chain_ids=frozenset(nodes),
        clusters=frozenset(
            chain.id
            for chain in settings.chains.values()
            if chain.id.startswith("solana:")
        ),
        external=tuple(
            ExternalIssuer(
                each.name,
                each.issuer,
                each.jwks_url,
                each.audience,
                each.algorithms,
                each.solana_wallets,
            )
            for each in auth.external.values()
        ),
        attempts=auth.attempts,
        attempts_of_login=auth.attempts_of_login,
        attempts_from_address=auth.attempts_from_address,
        attempt_window=timedelta(minutes=auth.attempt_minutes),
        contract_call=contract_call(nodes),
    )


def web_options(settings: Settings) -> WebOptions:
    """Return the API's options towards the network."""
    api, redis = settings.api, settings.redis
    return WebOptions(
        limit=api.limit,
        sign_in_limit=api.sign_in_limit,
        redis_url=None if redis.url is None else str(redis.url),
        cors=api.cors,
        https=api.https,
        proxies=api.proxies,
        max_body_bytes=api.max_body_bytes,
    )


def ensure_secret(directory: Path) -> bytes:
    """Return the secret of a data directory; the first caller creates it.

    It is written aside and then linked to its name: others find it whole or not at all,
    and of two who make one at once both use the one that was first.
    """
    path = directory / SECRET_FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        aside = directory / f".{SECRET_FILE}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
            file.write(secrets.token_hex(SECRET_BYTES).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    mode = path.stat().st_mode & 0o077
    if mode:
        raise OperationError(
            f"{path} can be read by others: run chmod 600 on it, and if somebody may "
            "have, delete it; everybody must then sign in again."
        )
    return path.read_bytes()


def _secret(settings: Settings) -> bytes:
    auth = settings.auth
    if auth.secret_env is None:
        found = ensure_secret(settings.data_dir)
        where = str(settings.data_dir / SECRET_FILE)
    elif auth.secret is None:
        raise OperationError(
            f"[auth] secret_env names {auth.secret_env}, which is not set: set it to "
            f"{SECRET_BYTES} random bytes or more, as `openssl rand -hex 32` makes."
        )
    else:
        found, where = auth.secret.value.encode(), auth.secret_env
    if len(found) < SECRET_BYTES:
        raise OperationError(
            f"the secret in {where} has {len(found)} bytes: it needs {SECRET_BYTES} "
            "or more, as `openssl rand -hex 32` makes."
        )
    return found
