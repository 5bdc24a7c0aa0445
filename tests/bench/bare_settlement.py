"""What a payment takes at least: a webhook, one question to Stripe, one transaction.

    python bare_settlement.py PORT STRIPE_URL NODE_URL KEY_FILE TERMS_FILE

A server of its own process. It checks the webhook's signature, fetches the session,
signs the settlement with the terms of the file and sends it. It keeps nothing: killed
at the wrong moment it loses a payment, told twice it sends twice.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe
from solders.compute_budget import set_compute_unit_limit
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from devnet.solana import settlement
from devnet.solana.client import Client
from devnet.solana.settlement import Purchase
from devnet.stripe.service import KEY
from devnet.stripe.webhooks import SECRET


class Bare(BaseHTTPRequestHandler):
    """Takes webhooks."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Settle the session that was completed; say only that it was heard."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = stripe.Webhook.construct_event(
            body.decode(), self.headers["Stripe-Signature"], SECRET
        )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        if event.type == "checkout.session.completed":
            self.server.settle(event.data.object.id)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """The terms, and clients of Stripe and the node."""

    daemon_threads = True

    def __init__(self, port, stripe_url, node_url, key_file, terms_file) -> None:
        with open(key_file) as file:
            key = Keypair.from_base58_string(file.read())
        self.client = Client(node_url, key)
        self.stripe = stripe.StripeClient(KEY, base_addresses={"api": stripe_url})
        with open(terms_file) as file:
            self.terms = json.load(file)
        super().__init__(("127.0.0.1", int(port)), Bare)

    def settle(self, session_id: str) -> None:
        """Fetch the session, and send the transaction of its purchase."""
        session = self.stripe.v1.checkout.sessions.retrieve(
            session_id, {"expand": ["payment_intent"]}
        )
        charge = session.payment_intent.latest_charge
        people = ((Pubkey.from_string(w), n) for w, n in self.terms["shares"])
        purchase = Purchase(
            bytes.fromhex(session.metadata["purchase"][2:]),
            Pubkey.from_string(session.metadata["buyer"]),
            self.terms["distributable"], tuple(people),
            sha256(charge.encode()).digest(), bytes(32),
        )  # fmt: skip
        payer = self.client.payer.pubkey()
        call = settlement.settle_purchase(
            payer, payer, Pubkey.from_string(self.terms["treasury"]),
            Pubkey.from_string(self.terms["usdc"]), purchase,
        )  # fmt: skip
        limit = set_compute_unit_limit(400_000)
        self.client.post(self.client.sign([limit, call]))


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve_forever()
