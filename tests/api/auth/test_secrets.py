"""Secrets stay secret: planted everywhere, then looked for in all that is written."""

import logging

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from sqlalchemy import text

from api.auth import secrets as made
from api.auth.keys import NewKey
from api.auth.options import ExternalIssuer
from api.auth.sign_in import PasswordChange, Refresh, Registration, SignIn
from db.accounts import accounts
from db.domains.crowdfunding.roles import ISSUER
from db.registry import Registry
from helpers.door import SECRET, Door
from helpers.issuer import Issuer

AUTH = "/api/v1/auth"


class Heard(logging.Handler):
    """Everything that is logged, tracebacks too, at every level."""

    def __init__(self):
        super().__init__(logging.NOTSET)
        self.lines = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def heard():
    handler, root = Heard(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


class Visitor:
    """Does everything there is to do, well and badly, and remembers every secret."""

    def __init__(self, door, issuer):
        self.door, self.issuer = door, issuer
        self.secrets, self.emails = {SECRET.decode()}, set()
        self.problems = []
        self.number = 0

    def secret(self, text):
        self.secrets.add(text)
        return text

    def password(self):
        self.number += 1
        return self.secret(f"planted password number {self.number}")

    def email(self):
        self.number += 1
        email = f"planted.{self.number}@example.org"
        self.emails.add(email)
        return email

    def post(self, path, body=None, **options):
        answer = self.door.post(f"{AUTH}{path}", body, None, **options)
        content = answer.get_json(silent=True) or {}
        for name in ("access_token", "refresh_token", "key"):
            if name in content:
                self.secret(content[name])
        if answer.status_code >= 400:
            self.problems.append(answer.text + str(answer.headers))
        return content

    def register(self):
        email, password = self.email(), self.password()
        body = {"login": email, "password": password}
        return email, password, self.post("/register", body)

    def passwords(self):
        email, password, tokens = self.register()
        self.post("/register", {"login": email, "password": self.password()})
        self.post("/register", {"login": self.password(), "password": self.password()})
        self.post("/register", {"login": email, "password": self.secret("tooshort0")})
        self.post("/token", {"login": email, "password": password})
        self.post("/token", {"login": email, "password": self.password()})
        # Some type the password where the name goes, or in the wrong shape.
        self.post("/token", {"login": self.password(), "password": self.password()})
        self.post("/token", {"login": email, "password": [self.password()]})
        self.post("/token", {"login": email, "pasword": self.password()})
        raw = f'{{"password": "{self.password()}"'
        self.post("/token", None, data=raw, content_type="application/json")
        body = {"password": self.password(), "new_password": self.password()}
        self.post("/password", body, token=tokens["access_token"])
        body["password"] = password
        self.post("/password", body, token=tokens["access_token"])

    def refreshes(self):
        first = self.register()[2]
        body = {"refresh_token": first["refresh_token"]}
        second = self.post("/token/refresh", body)
        self.post("/token/refresh", {"refresh_token": second["refresh_token"]})
        self.post("/token/refresh", body)  # used again: the session ends
        self.post(
            "/token/refresh", {"refresh_token": self.secret(made.new_refresh_token())}
        )
        self.post("/logout", token=self.register()[2]["access_token"])
        self.post("/logout", token=self.secret("planted.access.token"))

    def keys(self):
        token = self.register()[2]["access_token"]
        body = {"name": "planted", "scopes": ["read"]}
        key = self.post("/keys", body, token=token)
        self.door.get("/probe", key=key["key"])
        self.post("/keys", body, key=key["key"])
        self.post("/logout", key=self.secret(made.new_api_key()[0]))
        self.door.delete(f"{AUTH}/keys/{key['prefix']}", token=token)
        self.post("/logout", key=key["key"])

    def wallets(self):
        account = Account.create()
        self.secret(account.key.hex())
        nonce = self.post("/siwe/nonce")["nonce"]
        signature = account.sign_message(encode_defunct(text=nonce)).signature
        body = {"message": nonce, "signature": self.secret(bytes(signature).hex())}
        self.post("/siwe", body)

    def external(self):
        address = Account.create().address
        for audience in ("us", "others"):
            token = self.secret(self.issuer.sign({
                "iss": "them", "aud": audience, "iat": 1, "exp": 99999999999,
                "wallets": [{"address": address}],
            }))  # fmt: skip
            body = {"kind": "them", "token": token, "address": address}
            self.post("/token/external", body)

    def many_failures(self):
        email = self.email()
        for _ in range(12):
            self.post("/token", {"login": email, "password": self.password()})

    def breakage(self):
        """A mistake of ours in the middle of it: its traceback is logged."""

        def broken():
            from flask import request

            content = request.get_json()
            raise RuntimeError(f"broken with {len(content)} members")

        self.door.app.add_url_rule("/broken", view_func=broken, methods=["POST"])
        self.door.post("/broken", {"password": self.password()}, 500)


@pytest.fixture
def visit(migrated_url, heard):
    """Over everything that is declared, so that there is a journal too."""
    issuer = Issuer()
    external = ExternalIssuer("them", "them", issuer.url, "us")
    own_door = Door(migrated_url, Registry.load(), auth={"external": (external,)})
    visitor = Visitor(own_door, issuer)
    visitor.breakage()
    visitor.passwords()
    visitor.refreshes()
    visitor.keys()
    visitor.wallets()
    visitor.external()
    visitor.many_failures()
    issuer.close()
    assert len(visitor.secrets) > 40
    assert len(visitor.problems) > 20
    yield visitor
    own_door.close()


def dump(engine):
    """Every row of every table of ours, as text."""
    with engine.connect() as connection:
        names = connection.execute(
            text(
                "SELECT schemaname || '.' || tablename FROM pg_tables"
                " WHERE schemaname IN ('control', 'facts', 'state')"
            )
        )
        return {
            name: "\n".join(
                connection.execute(text(f"SELECT t::text FROM {name} t")).scalars()
            )
            for name in names.scalars().all()
        }


def test_no_secret_is_found_in_anything(visit, heard):
    tables = dump(visit.door.writer)
    assert "argon2id" in tables["control.account"]
    kept = ("session", "refresh_token", "api_key", "wallet", "journal_entry")
    assert all(tables[f"control.{name}"] for name in kept)
    assert "sign_in_refused" in tables["facts.audit_security_event"]
    written = {
        "logs": "\n".join(heard.lines),
        "problems": "\n".join(visit.problems),
        "tables": "\n".join(tables.values()),
    }
    assert "kind=refresh_token_reused" in written["logs"]
    assert "broken with" in written["logs"]

    found = [
        (where, secret)
        for where, content in written.items()
        for secret in visit.secrets
        # Bytes are shown in hex, so a secret kept as it is would look like that.
        if secret in content or secret.encode().hex() in content
    ]
    elsewhere = {n: t for n, t in tables.items() if n != "control.account"}
    written["others"] = "\n".join(elsewhere.values())
    mails = [
        (where, email)
        for where in ("logs", "others")
        for email in visit.emails
        if email in written[where]
    ]

    assert ([], []) == (found, mails)


def test_what_is_looked_for_would_be_found(visit):
    """The search itself: a secret stored or logged as it is does not escape it."""
    secret = next(iter(visit.secrets))
    with visit.door.writer.begin() as connection:
        accounts.create_account(
            connection, secret, account_id=made_id(), roles=[], now=visit.door.clock()
        )

    assert secret in dump(visit.door.writer)["control.account"]


def made_id():
    from commands.submit import new_id

    return new_id()


def test_no_repr_shows_one(door):
    secret = "planted password"
    shown = [
        repr(Registration(secret, secret)), repr(SignIn(secret, secret)),
        repr(Refresh(secret)), repr(PasswordChange(secret, secret)),
        repr(NewKey(secret, [])), repr(door.options), repr(door.service),
        str(SignIn(secret, secret)), f"{Refresh(secret)!r}",
    ]  # fmt: skip
    account = door.account(ISSUER)
    with door.writer.begin() as connection:
        accounts.set_password(connection, account, secret)
        shown.append(repr(accounts.find_account(connection, account)))

    assert not [each for each in shown if secret in each or SECRET.decode() in each]


def test_a_client_cannot_write_lines_or_pairs_into_the_log(door, caplog):
    caplog.set_level("INFO")
    agent = 'x account=1 kind=signed_in" forged=1'

    door.post(
        f"{AUTH}/token", {"login": "somebody", "password": "x"}, 401,
        headers={"User-Agent": agent},
    )  # fmt: skip

    (line,) = [r.getMessage() for r in caplog.records if r.name == "api.auth.audit"]
    assert line.startswith("security_event kind=sign_in_refused method=password")
    assert line.endswith(r'agent="x account=1 kind=signed_in\" forged=1"')
