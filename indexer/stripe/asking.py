"""Questions to Stripe's API, and its failures as those of the reader.

Objects come back as plain dicts. Nothing is asked again here: the reader does that.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import stripe

from db.payments.events import EventRef
from indexer.stripe.errors import Away, Gone, KeyRefused, OddAnswer, RateLimited
from indexer.stripe.values import Object, flag, inner, number, text

T = TypeVar("T")
PAGE = 100  # objects; the most that Stripe gives at a time
WAIT_SECONDS = 5.0  # after a 429 that does not say how long
WAIT_SECONDS_MOST = 600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Api:
    """An account of Stripe, through its client."""

    client: stripe.StripeClient

    def account(self) -> str:
        """The id of the account that the key is of."""
        found = _asked(self.client.v1.accounts.retrieve_current).to_dict()
        return text(found, "id")

    def event(self, id_: str) -> EventRef:
        """An event by its id."""
        found = _asked(lambda: self.client.v1.events.retrieve(id_))
        return event_ref(found.to_dict())

    def events(
        self, *, since: int, until: int | None = None, pages: int | None = None
    ) -> list[EventRef] | None:
        """The events made between two moments, both included, the oldest first.

        None when there are more than so many pages.
        """
        created: dict[str, int] = {"gte": since}
        if until is not None:
            created["lte"] = until
        found: list[EventRef] = []
        for at, page in enumerate(self._pages("events", {"created": created})):
            if pages is not None and at >= pages:
                return None
            found += [event_ref(each) for each in page]
        found.reverse()
        return found

    def retrieve(self, service: str, id_: str, *expand: str) -> Object:
        """An object by its id, as `charges`, `checkout.sessions`; raises Gone."""
        ask = self._service(service).retrieve
        found = _asked(lambda: ask(id_, {"expand": list(expand)}))
        item: Object = found.to_dict()
        if text(item, "id") != id_:
            raise OddAnswer(f"asked for {id_}, Stripe gave {text(item, 'id')!r}")
        return item

    def each(self, service: str, **params: Any) -> Iterator[Object]:
        """The objects that a list has, the newest first, page by page."""
        for page in self._pages(service, params):
            yield from page

    def _pages(self, service: str, params: dict[str, Any]) -> Iterator[list[Object]]:
        """The pages of a list, the newest first."""
        ask, after = self._service(service).list, ""
        while True:
            asked = {**params, "limit": PAGE}
            if after:
                asked["starting_after"] = after
            found = _asked(lambda asked=asked: ask(asked))  # type: ignore[misc]
            page = [each.to_dict() for each in found.data]
            if page:
                yield page
            if not found.has_more or not page:
                return
            after = text(page[-1], "id")

    def _service(self, name: str) -> Any:
        here: Any = self.client.v1
        for part in name.split("."):
            here = getattr(here, part)
        return here


def event_ref(event: Object) -> EventRef:
    """An event without its content, which may be of any version of the API."""
    about = inner(event, "data") or {}
    subject = inner(about, "object") or {}
    return EventRef(
        id=text(event, "id"),
        type=text(event, "type"),
        created=number(event, "created"),
        livemode=flag(event, "livemode"),
        account=text(event, "account"),
        kind=text(subject, "object"),
        object=text(subject, "id"),
    )


def _asked(ask: Callable[[], T]) -> T:
    """The answer; raises Away, RateLimited, KeyRefused, Gone or OddAnswer."""
    try:
        return ask()
    except stripe.RateLimitError as error:
        raise RateLimited(_pause(error)) from None
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise KeyRefused(
            f"Stripe does not take the secret key ({error.http_status}, "
            f"{error.code or type(error).__name__}). Check the variable or the file "
            "that [stripe] names; a restricted key must be allowed to read charges, "
            "checkout sessions, disputes, events, payouts and balance transactions"
        ) from None
    except stripe.InvalidRequestError as error:
        if error.http_status == 404 or error.code == "resource_missing":
            raise Gone(f"Stripe has no such object for this key: {error.param}") \
                from None  # fmt: skip
        raise OddAnswer(f"Stripe does not take a question: {error}") from None
    except stripe.APIConnectionError as error:
        gist = str(error.user_message or "no connection").split("\n", 1)[0]
        raise Away(f"Stripe cannot be reached: {gist[:200]}. It is asked again") \
            from None  # fmt: skip
    except stripe.StripeError as error:
        what = error.http_status or type(error).__name__
        raise Away(f"Stripe answered {what}. It is asked again") from None


def _pause(error: stripe.RateLimitError) -> float:
    """The seconds that Stripe asks to wait."""
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    try:
        seconds = float(headers.get("retry-after", WAIT_SECONDS))
    except ValueError:
        seconds = WAIT_SECONDS
    return min(max(seconds, 0.0), WAIT_SECONDS_MOST)
