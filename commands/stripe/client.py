"""The client of Stripe's API, as every part of the product has it."""

import logging

import stripe

CONNECT_SECONDS = 5.0
LIVE_KEYS = ("sk_live_", "rk_live_")

Client = stripe.StripeClient

logging.getLogger("stripe").setLevel(logging.WARNING)


def open_client(
    secret_key: str, *, api: str | None = None, timeout_seconds: float = 30.0
) -> Client:
    """Return a client; `api` is another base address than Stripe's, for development.

    It asks nothing twice by itself: who calls it knows what may be asked again.
    """
    return stripe.StripeClient(
        secret_key,
        base_addresses={} if api is None else {"api": api},
        http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, timeout_seconds)),
        max_network_retries=0,
    )


def is_live(secret_key: str) -> bool:
    """Whether a key is of live mode, by how it begins."""
    return secret_key.startswith(LIVE_KEYS)
