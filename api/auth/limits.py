"""Rate limits: by account when the credential is good, else by address.

Counts are in Redis when there is one, so that all processes share them. When it is
away, each process counts for itself until it is back: reading goes on, and a client may
get as many times its share as there are processes. Guessing does not profit from that,
for failed sign-ins are also counted in Postgres (`db.accounts.attempts`).
"""

import time
from math import ceil

from flask import Flask, Response, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_smorest import Blueprint  # type: ignore[import-untyped]
from limits.errors import StorageError

from api.auth.context import client_address
from api.auth.options import WebOptions
from api.auth.principal import current_principal
from api.errors import Problem, problem_response
from api.service import Service
from db.engine import Unavailable
from db.reads import ReadError

REDIS_SECONDS = 0.25  # a limiter that is slow is worse than one that is away
CHANGING = ["POST", "PUT", "PATCH", "DELETE"]


class _LimiterOfSignIn(Limiter):
    """Looks only at what may be sign-in: most of a small answer is to look."""

    def _check_request_limit(
        self, callable_name: str | None = None, in_middleware: bool = True
    ) -> None:
        if request.method in CHANGING:
            super()._check_request_limit(callable_name, in_middleware)


def limit_requests(app: Flask, service: Service, web: WebOptions) -> Limiter:
    """Have an app count requests, and refuse those that are too many."""

    def who() -> str:
        return _who(service)

    limiter = (Limiter if web.limit else _LimiterOfSignIn)(
        who,
        app=app,
        application_limits=[web.limit] if web.limit else [],
        application_limits_exempt_when=_is_preflight,
        storage_uri=_storage(web.redis_url),
        storage_options=_storage_options(web.redis_url),
        strategy="fixed-window",
        in_memory_fallback_enabled=web.redis_url is not None,
        key_prefix="chainfold",
    )
    limiter.request_filter(_is_health)
    app.register_error_handler(RateLimitExceeded, lambda error: _refuse(limiter, error))
    return limiter


def limit_sign_in(limiter: Limiter, blueprint: Blueprint, web: WebOptions) -> None:
    """Count the changing requests of a blueprint by address, all its routes as one."""
    if web.sign_in_limit:
        limiter.shared_limit(
            web.sign_in_limit, "sign-in", key_func=client_address, methods=CHANGING,
            override_defaults=False,
        )(blueprint)  # fmt: skip


def _who(service: Service) -> str:
    """A credential counts only when it is good: else a new one each time would do.

    Whatever keeps it from being looked at is the route's to tell: from here it would
    pass for trouble with the counting.
    """
    try:
        return str(current_principal(service).account)
    except (Problem, ReadError, *Unavailable):
        return client_address()


def _refuse(limiter: Limiter, error: RateLimitExceeded) -> Response:
    seconds = error.limit.limit.get_expiry() if error.limit is not None else 1
    current = limiter.current_limit
    try:
        if current is not None:
            seconds = min(seconds, max(1, ceil(current.reset_at - time.time())))
    except StorageError:
        # Redis went away between two questions; the whole window is long enough.
        pass
    return problem_response(
        "too_many_requests",
        f"There were more than {error.description}. Try again in {seconds} seconds.",
        retry_after=seconds,
    )


def _storage(url: str | None) -> str:
    if url is None:
        return "memory://"
    return f"redis+{url}" if url.startswith("unix://") else url


def _storage_options(url: str | None) -> dict[str, str | int]:
    if url is None:
        return {}
    options: dict[str, float | bool] = {
        "socket_connect_timeout": REDIS_SECONDS,
        "socket_timeout": REDIS_SECONDS,
        "wrap_exceptions": True,
    }
    return options  # type: ignore[return-value]  # they go to redis as they are


def _is_preflight() -> bool:
    return request.method == "OPTIONS"


def _is_health() -> bool:
    return request.path.startswith("/health/")
