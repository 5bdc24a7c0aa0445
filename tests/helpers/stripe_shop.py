"""A shop on fakestripe: payments of many kinds, and a reader of them."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

import stripe

from db.payments import account as accounts
from db.payments.stripe import entries as e
from devnet.stripe.book import Book
from devnet.stripe.faults import CutError, Faults
from devnet.stripe.service import Service
from helpers.journal_of import bodies
from indexer.stripe.asking import Api
from indexer.stripe.reader import StripeReader

OURS = {"domain": "crowdfunding"}
ENTRIES = [each for each in vars(e).values()
           if isinstance(each, type) and issubclass(each, e.Entry)
           and each is not e.Entry]  # fmt: skip


class Direct(stripe.HTTPClient):
    """Stripe's own client without a network: requests go to a `Service` at once."""

    name = "direct"

    def __init__(self, service):
        super().__init__()
        self.service = service
        self.watch = lambda: None  # called before and after each request

    def request(self, method, url, headers, post_data=None, *, _usage=None):
        target = "/" + url.split("/", 3)[3]
        named = {name.lower(): value for name, value in headers.items()}
        self.watch()
        try:
            found = self.service.answer(method.upper(), target, named, post_data or "")
        except CutError:
            raise stripe.APIConnectionError("cut", should_retry=False) from None
        self.watch()
        return found.content.decode(), found.status, _Headers(found.headers)

    def close(self):
        pass


class _Headers(dict):
    """Headers whose names are found in any case, as those of `requests`."""

    def __init__(self, values):
        super().__init__({name.lower(): value for name, value in values.items()})

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


@dataclass
class Shop:
    """An account with its service, its client and what may happen to it."""

    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    made: int = 0

    def __post_init__(self):
        self.book = Book(self.seed)
        self.service = Service(self.book, self.faults)
        self.direct = Direct(self.service)
        self.client = stripe.StripeClient(
            self.service.key, base_addresses={"api": "http://127.0.0.1:9"},
            http_client=self.direct,
        )  # fmt: skip
        self.routes = self.service.routes
        self.chance = random.Random(f"shop {self.seed}")

    @property
    def buying(self):
        return self.routes.buying

    @property
    def refunding(self):
        return self.routes.refunding

    @property
    def disputing(self):
        return self.routes.disputing

    @property
    def paying_out(self):
        return self.routes.paying_out

    def now(self):
        return datetime.fromtimestamp(self.book.clock.now(), UTC)

    def session(self, amount=None, currency="usd", metadata=None, capture="automatic"):
        """Create a session as a request of ours would, without a fault; its id."""
        self.made += 1
        said = {**OURS, "purchase": f"p-{self.seed}-{self.made}"}
        said = said if metadata is None else metadata
        form = {
            "mode": "payment", "metadata": said,
            "line_items": [{"quantity": "1", "price_data": {
                "currency": currency,
                "unit_amount": str(amount or self.chance.randint(101, 98_765)),
            }}],
            "payment_intent_data": {"metadata": said, "capture_method": capture},
        }  # fmt: skip
        return self.routes.answer("POST", "/v1/checkout/sessions", form)["id"]

    def paid(self, amount=None, currency="usd", *, late_fee=False, **options):
        """A session that was paid by card: its charge."""
        session = self.session(amount, currency, **options)
        return self.buying.pay(session, late_fee=late_fee)

    def refund(self, charge, amount=None, status="succeeded", *, funded=True):
        self.refunding.next_status, self.refunding.funded = status, funded
        return self.refunding.create(charge, amount, "requested_by_customer", {})

    def reader(self, engine, registry, **options):
        return StripeReader(
            engine, registry, Api(self.client), ("crowdfunding",),
            livemode=False, clock=self.now, **options,
        )  # fmt: skip


def said(engine, entry):
    """The entries of a kind, in their order, as dicts."""
    return bodies(engine, entry)


def counts(engine):
    from db.payments.events import counts as counted

    with engine.connect() as connection:
        row = accounts.find(connection)
        return dict(counted(connection, row.account))
