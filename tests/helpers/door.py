"""An app with accounts over a database of its own, and people to sign in."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flask import Blueprint, jsonify, request
from sqlalchemy import create_engine

from api.app import create_app
from api.auth.options import AuthOptions
from api.auth.principal import current_principal, require_role
from api.auth.secrets import digest, new_api_key
from api.auth.tokens import new_access_token
from commands.submit import new_id
from db import reads
from db.accounts import accounts, keys, sessions
from db.declare.roles import Role
from db.registry import Registry
from db.schema import migrate
from helpers.ledger import REGISTRY

SECRET = b"a well-known secret, for tests only"
PASSWORD = "correct horse battery staple"
ROLES = tuple(Registry.load().roles.values())


class Clock:
    """A clock that tests move."""

    def __init__(self):
        self.time = datetime.now(UTC)

    def __call__(self):
        return self.time

    def forward(self, **by):
        self.time += timedelta(**by)


class Door:
    """An app that knows who asks, with a route that tells and one that is guarded."""

    def __init__(self, url, registry=REGISTRY, roles=ROLES, **options):
        said = registry.roles | {role: role for role in roles}
        self.url, self.registry = url, replace(registry, roles=said)
        self.clock = Clock()
        self.writer = create_engine(url)
        self.reader = reads.read_engine(url)
        migrate(self.writer, registry)
        self.open(**options)

    def open(self, **options):
        """Make the app, as with other settings."""
        self.options = AuthOptions(
            **{"secret": SECRET, "clock": self.clock, **options.pop("auth", {})}
        )
        self.app = create_app(
            self.reader, self.registry, writer=self.writer, auth=self.options, **options
        )
        self.service = self.app.extensions["chainfold"]
        self.app.register_blueprint(_routes(self.service))
        self.client = self.app.test_client()

    def call(self, method, path, status=None, *, token=None, key=None, **options):
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if key is not None:
            headers["X-API-Key"] = key
        answer = self.client.open(path, method=method, headers=headers, **options)
        assert status is None or answer.status_code == status, answer.text
        return answer

    def get(self, path, status=200, **options):
        return self.call("GET", path, status, **options)

    def post(self, path, json=None, status=200, **options):
        return self.call("POST", path, status, json=json, **options)

    def delete(self, path, status=204, **options):
        return self.call("DELETE", path, status, **options)

    def account(self, *roles, login=None):
        """An account made behind the API's back."""
        with self.writer.begin() as connection:
            return accounts.create_account(
                connection, login or f"user-{next(NUMBERS)}@example.org",
                account_id=new_id(), roles=roles, now=self.clock(),
            ).id  # fmt: skip

    def token(self, account):
        """An access token of a new session."""
        session = new_id()
        with self.writer.begin() as connection:
            sessions.open_session(
                connection, account, session_id=session, method="test",
                now=self.clock(), expires_at=self.clock() + timedelta(days=30),
            )  # fmt: skip
        with self.app.app_context():
            return new_access_token(account, session)

    def key(self, account, *scopes, days=90):
        """A key, and its prefix."""
        key, prefix = new_api_key()
        with self.writer.begin() as connection:
            keys.create_key(
                connection, account, digest(key), key_id=new_id(), name="a key",
                prefix=prefix, scopes=scopes, now=self.clock(),
                expires_at=self.clock() + timedelta(days=days),
            )  # fmt: skip
        return key, prefix

    def close(self):
        self.writer.dispose()
        self.reader.dispose()


NUMBERS = itertools.count(1)


def _routes(service):
    blueprint = Blueprint("probe", __name__)

    def whoami():
        found = current_principal(service)
        return jsonify(
            name=found.name, account=found.account, tenant=found.tenant,
            roles=sorted(found.roles), wallets=sorted(w.hex() for w in found.wallets),
        )  # fmt: skip

    def operate():
        require_role(current_principal(service), Role.OPERATOR, Role.COMPLIANCE)
        return jsonify(done=request.method)

    blueprint.add_url_rule("/probe", view_func=whoami, methods=["GET", "POST"])
    blueprint.add_url_rule("/operate", view_func=operate, methods=["GET", "POST"])
    return blueprint
