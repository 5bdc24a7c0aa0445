"""Serves fakestripe on a port, with a panel to play the buyers, the banks and the time.

    with FakeStripe() as fake:
        client = stripe.StripeClient(fake.key, base_addresses={"api": fake.url})

`POST /panel/<act>` with a JSON object does what the method `<act>` of `Panel` does;
`GET /pay/<session>` pays for a session, as its buyer would.
"""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson

from devnet.stripe.book import Book
from devnet.stripe.clock import Clock
from devnet.stripe.errors import ApiError
from devnet.stripe.faults import CutError, Fault, Faults, Webhook
from devnet.stripe.money import Prices
from devnet.stripe.service import KEY, Service
from devnet.stripe.webhooks import SECRET, Deliveries
from ops.embedded.startable import Startable
from ops.errors import OperationError
from ops.ports import HOST

BODY_BYTES_MAX = 1 << 20
DELIVER_SECONDS = 0.2
LIVE_FEE_SECONDS = 5  # of a development server: when a late fee comes


class Panel:
    """Lets a person act on fakestripe; the methods' names are the acts'."""

    def __init__(self, fake: FakeStripe) -> None:
        self._fake = fake

    def pay(self, session: str, slowly: bool = False) -> Any:
        """Pay for a session; ``slowly`` by bank debit, which `bank_pays` ends."""
        buying = self._fake.routes.buying
        if slowly:
            return buying.pay_slowly(session)
        return buying.pay(session, late_fee=self._fake.faults.fee_is_late())

    def bank_pays(self, charge: str) -> Any:
        """End a slow payment well."""
        return self._fake.routes.buying.bank_pays(charge)

    def bank_refuses(self, charge: str) -> Any:
        """End a slow payment without money."""
        return self._fake.routes.buying.bank_refuses(charge)

    def decline(self, session: str) -> Any:
        """Refuse the buyer's card."""
        return self._fake.routes.buying.decline(session)

    def expire(self, session: str) -> Any:
        """Let a session end unpaid."""
        return self._fake.routes.buying.expire(session)

    def settle_fee(self, charge: str) -> Any:
        """Make known a fee that is late."""
        return self._fake.routes.buying.settle_fee(charge)

    def refund(self, charge: str, amount: int | None = None) -> Any:
        """Refund a charge as somebody does in Stripe's dashboard."""
        found = self._fake.book.get(charge, "charge")
        refunding = self._fake.routes.refunding
        return refunding.create(found, amount, "requested_by_customer", {})

    def warn(self, charge: str) -> Any:
        """Let the card's network warn of fraud."""
        return self._fake.routes.buying.warn(charge)

    def fail_refund(self, refund: str) -> Any:
        """Let the bank send a refund back."""
        return self._fake.routes.refunding.fail(refund)

    def dispute(
        self, charge: str, reason: str = "fraudulent", inquiry: bool = False
    ) -> Any:
        """Dispute a charge, or only ask about it."""
        disputing = self._fake.routes.disputing
        return disputing.open(charge, reason=reason, inquiry=inquiry)

    def close_dispute(self, dispute: str, won: bool) -> Any:
        """End a dispute."""
        return self._fake.routes.disputing.close(dispute, won=won)

    def pay_out(self) -> Any:
        """Pay out what is available."""
        return self._fake.routes.paying_out.run()

    def arrive(self, payout: str) -> Any:
        """Let a payout be at the bank."""
        return self._fake.routes.paying_out.arrive(payout)

    def fail_payout(self, payout: str) -> Any:
        """Let the bank refuse a payout."""
        return self._fake.routes.paying_out.fail(payout)

    def move(self, seconds: float) -> Any:
        """Move the clock on."""
        return self._fake.book.clock.move(seconds)

    def fault(self, name: str, share: float) -> Any:
        """Let a share of requests or webhooks meet a fault."""
        faults = self._fake.faults
        if name in {each.value for each in Webhook}:
            faults.webhooks[Webhook(name)] = share
        elif name in ("late_fees", "late_events"):
            setattr(faults, name, share)
        elif name == "reorder":
            faults.reorder = share > 0
        elif name in {each.value for each in Fault}:
            faults.shares[Fault(name)] = share
        else:
            raise ApiError(400, f"there is no fault {name}", param="name")
        return {name: share}


class FakeStripe(Startable["FakeStripe"]):
    """A fakestripe that listens: a context manager, or call ``start`` and ``stop``."""

    def __init__(
        self, *, seed: int = 0, port: int = 0, prices: Prices | None = None,
        live: bool = False, webhook_url: str = "", faults: Faults | None = None,
        key: str = KEY, secret: str = SECRET,
    ) -> None:  # fmt: skip
        clock = Clock(time.time(), live=True) if live else Clock()
        self.faults = faults or Faults(seed)
        self.book = Book(seed, clock, prices or Prices())
        self.service = Service(self.book, self.faults, key)
        self.routes = self.service.routes
        self.key, self.port, self._live = key, port, live
        self.webhooks = Deliveries(self.book, self.faults, webhook_url, secret)
        self.panel = Panel(self)
        self._server: _Server | None = None
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        """The base address of its API."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> Self:
        """Begin to listen; raises OperationError for a port that is taken."""
        try:
            self._server = _Server((HOST, self.port), _Handler)
        except OSError as error:
            raise OperationError(
                f"port {self.port} cannot be had ({error.strerror}): stop what listens "
                "there, or give another --port"
            ) from None
        self._server.fake = self
        self.port = self._server.server_address[1]
        self.service.url = self.url
        works = [self._server.serve_forever, *([self._live_on] if self._live else [])]
        for work in works:
            threading.Thread(target=work, name="fakestripe", daemon=True).start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        self._ended.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def act(self, name: str, arguments: dict[str, Any]) -> Any:
        """Do an act of the panel; raises ApiError for one that cannot be done."""
        method = None if name.startswith("_") else getattr(self.panel, name, None)
        if method is None:
            raise ApiError(404, f"the panel has no {name}")
        try:
            with self.service.lock:
                return method(**arguments)
        except TypeError as error:
            raise ApiError(400, str(error)) from None

    def _live_on(self) -> None:
        """Deliver webhooks, settle late fees and expire sessions as time goes by."""
        while not self._ended.wait(DELIVER_SECONDS):
            self.webhooks.deliver()
            with self.service.lock:
                now = self.book.clock.now()
                for charge in list(self.book.all("charge")):
                    late = charge["captured"] and not charge["balance_transaction"]
                    if late and charge["created"] + LIVE_FEE_SECONDS <= now:
                        self.routes.buying.settle_fee(charge["id"])
                for session in list(self.book.all("checkout.session")):
                    if session["status"] == "open" and session["expires_at"] <= now:
                        self.routes.buying.expire(session["id"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeStripe


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer a read, or let a buyer pay."""
        if self.path.startswith("/pay/"):
            self._play("pay", {"session": self.path.removeprefix("/pay/")})
        else:
            self._api("GET", "")

    def do_POST(self) -> None:
        """Answer a change, or an act of the panel."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self._send(413, b"{}", {"Connection": "close"})
            return
        body = self.rfile.read(length)
        if not self.path.startswith("/panel/"):
            self._api("POST", body.decode(errors="replace"))
            return
        try:
            arguments = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError:
            arguments = None
        if isinstance(arguments, dict):
            self._play(self.path.removeprefix("/panel/"), arguments)
        else:
            self._send(400, b'{"error": "send a JSON object"}', {})

    def _api(self, method: str, body: str) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            found = self.server.fake.service.answer(method, self.path, headers, body)
        except CutError:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        time.sleep(found.after_seconds)
        self._send(found.status, found.content, dict(found.headers))

    def _play(self, act: str, arguments: dict[str, Any]) -> None:
        try:
            told = self.server.fake.act(act, arguments)
            self._send(200, orjson.dumps(told), {})
        except ApiError as error:
            self._send(error.status, orjson.dumps({"error": error.content}), {})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing for each request."""
