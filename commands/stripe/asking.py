"""Requests that make something at Stripe, and their failures by what to do next.

What is to be made once is asked for with an idempotency key. Stripe keeps such a key
for a day, with whatever it answered. Later, and where that is an error of its own, only
a list shows what was made; `REQUEST` in the metadata names whose it is.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import stripe

from commands.errors import CommandError

REQUEST = "request"  # the member of the metadata with the key
REPLAYED_FOR = timedelta(hours=23)  # Stripe promises a day
QUIET = timedelta(minutes=3)  # before an attempt is over: nothing may be under way then
PAGE = 100


class PaymentsAway(CommandError):
    """Stripe did not answer; what was asked for may be made or not.

    Ask with the same key.
    """


class PaymentRefused(CommandError):
    """Stripe will not do it as it was asked for: `code` and `words` are Stripe's."""

    def __init__(self, message: str, *, code: str = "", words: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.words = words or message


class KeyNotAllowed(PaymentRefused):
    """Stripe does not take the secret key, or not for this."""


class KeyOfOther(PaymentRefused):
    """The idempotency key was used with other parameters."""


class StaysAnError(Exception):
    """Stripe keeps an error as the answer to an idempotency key."""


def ask_stripe(ask: Callable[[], Any]) -> Any:
    """Return Stripe's answer; raises PaymentsAway, PaymentRefused or StaysAnError."""
    try:
        return ask()
    except stripe.RateLimitError:
        raise PaymentsAway(
            "Stripe is asked too much at the moment: ask again in some seconds"
        ) from None
    except stripe.AuthenticationError:
        raise KeyNotAllowed(
            "Stripe does not take the secret key: check what [stripe] names"
        ) from None
    except stripe.IdempotencyError as error:
        if error.http_status == 409:
            raise PaymentsAway(
                "the same is being asked for just now: ask again in a second"
            ) from None
        raise KeyOfOther(
            f"Stripe knows the key from another request: {error.user_message}. Use a "
            "new key"
        ) from None
    except (stripe.InvalidRequestError, stripe.PermissionError) as error:
        is_permission = isinstance(error, stripe.PermissionError)
        refused = KeyNotAllowed if is_permission else PaymentRefused
        words = error.user_message or ""
        raise refused(
            f"Stripe refuses it: {words}. Correct what is asked for",
            code=error.code or "", words=words,
        ) from None  # fmt: skip
    except stripe.StripeError as error:
        headers = {name.lower(): v for name, v in (error.headers or {}).items()}
        if headers.get("idempotent-replayed") == "true":
            raise StaysAnError from None
        raise PaymentsAway(
            "Stripe did not answer as it should: ask again with the same key"
        ) from None
