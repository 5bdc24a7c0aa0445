"""Accounts from the command line, and the secret that every worker shares."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from api.app import create_app
from db.reads import read_engine
from helpers.ledger import REGISTRY
from helpers.servers import engine_on
from ops.accounts import (
    SECRET_FILE,
    auth_options,
    ensure_secret,
    web_options,
)
from ops.cli.main import main
from ops.errors import OperationError
from ops.settings import SettingsError, load_settings

PASSWORD = "correct horse battery staple"
LOGIN = "op@example.org"


@pytest.fixture
def chainfold(tmp_path, migrated_url):
    """Runs a verb on a database of its own; the output, once the exit code fits."""
    path = tmp_path / "chainfold.toml"
    path.write_text(
        f'[database]\nurl = "{migrated_url}"\n[redis]\nurl = "none"\n'
        '[chains.edge]\nid = "eip155:100"\nrpc = "http://127.0.0.1:9"\n'
        'finality = "ibft"\n'
    )

    def run(*arguments, code=0, **options):
        command = ["--config", str(path), "account", *arguments]
        result = CliRunner().invoke(main, command, **options)
        assert result.exit_code == code, result.output + result.stderr
        return result.output

    run.settings = load_settings(path, {})
    return run


def create(run, login=LOGIN, *more, role="operator", **options):
    return run(
        "create", "--email", login, "--role", role, "--password-stdin", *more,
        input=f"{PASSWORD}\n", **options,
    )  # fmt: skip


@pytest.fixture
def sign_in(chainfold, migrated_url):
    """Signs in over HTTP: the roles that the account has, or the status."""
    with engine_on(migrated_url) as engine:
        app = create_app(
            read_engine(migrated_url), REGISTRY, writer=engine,
            auth=auth_options(chainfold.settings), web=web_options(chainfold.settings),
        )  # fmt: skip
        client = app.test_client()

        def sign_in(login=LOGIN, password=PASSWORD):
            body = {"login": login, "password": password}
            answer = client.post("/api/v1/auth/token", json=body)
            if answer.status_code != 200:
                return answer.status_code
            token = answer.json["access_token"]
            me = client.get(
                "/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}
            )
            return me.json["roles"]

        sign_in.client = client
        yield sign_in


def test_the_first_operator_is_made_and_signs_in(chainfold, sign_in):
    output = create(chainfold)

    assert f"{LOGIN}: operator" in output
    assert sign_in() == ["operator"]
    assert f"{LOGIN}  operator" in chainfold("list")


def test_the_password_is_asked_for_and_never_shown(chainfold):
    assert PASSWORD not in create(chainfold)
    output = chainfold(
        "create", "--email", "other", "--role", "auditor", code=2, input=PASSWORD
    )
    assert "--password-stdin" in output


@pytest.mark.parametrize(
    ("login", "password", "words"),
    [
        ("x", PASSWORD, "login"),
        ("fine", "short", "password"),
        (LOGIN, PASSWORD, "exists"),
    ],
)
def test_what_cannot_be_is_refused_in_words(chainfold, login, password, words):
    create(chainfold)

    output = chainfold(
        "create", "--email", login, "--role", "issuer", "--password-stdin",
        code=2, input=password,
    )  # fmt: skip

    assert words in output
    assert password not in output


def test_roles_are_set_and_accounts_shut_out(chainfold, sign_in):
    create(chainfold)

    chainfold("set-roles", LOGIN.upper(), "auditor", "issuer")
    assert sign_in() == ["auditor", "issuer"]
    chainfold("disable", LOGIN)
    assert sign_in() == 403
    assert "disabled since" in chainfold("list")
    chainfold("enable", LOGIN)
    assert sign_in() == ["auditor", "issuer"]
    chainfold("set-roles", "nobody", "auditor", code=2)


def test_a_password_is_set_anew(chainfold, sign_in):
    create(chainfold)

    chainfold("set-password", LOGIN, "--password-stdin", input="a quite different one")

    assert sign_in() == 401
    assert sign_in(password="a quite different one") == ["operator"]


def test_a_key_is_made_printed_once_and_revoked(chainfold, sign_in):
    create(chainfold, role="issuer")
    made = ("key", "create", LOGIN, "--name", "ci", "--scope")

    key = chainfold(*made, "read").strip().splitlines()[-1]
    chainfold(*made, "operator", code=2)

    def ask():
        headers = {"X-API-Key": key}
        return sign_in.client.get("/api/v1/auth/me", headers=headers).status_code

    prefix = key.split("_")[1]
    assert ask() == 200
    assert f"{prefix}  ci  read  until" in chainfold("key", "list", LOGIN)
    assert key not in chainfold("key", "list", LOGIN)
    chainfold("key", "revoke", prefix)
    assert ask() == 401
    assert "revoked" in chainfold("key", "list", LOGIN)
    chainfold("key", "revoke", "00000000", code=2)


def test_what_is_done_is_in_the_journal(chainfold, migrated_url):
    create(chainfold)
    chainfold("set-roles", LOGIN, "auditor")
    chainfold("set-password", LOGIN, "--password-stdin", input="a quite different one")
    chainfold("disable", LOGIN)
    chainfold("enable", LOGIN)
    key = chainfold("key", "create", LOGIN, "--name", "ci", "--scope", "read").strip()
    chainfold("key", "revoke", key.split("_")[1])
    chainfold("key", "revoke", "00000000", code=2)

    with engine_on(migrated_url) as engine, engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT kind, details::text FROM facts.audit_security_event ORDER BY 1"
            )
        ).all()

    assert sorted(kind for kind, _ in found) == [
        "account_created", "account_disabled", "account_enabled", "key_created",
        "key_revoked", "password_set", "roles_set",
    ]  # fmt: skip
    assert '"auditor"' in dict(found)["roles_set"]
    assert key not in str(found)
    assert PASSWORD not in str(found)


def test_a_program_needs_no_password(chainfold, sign_in):
    chainfold("create", "--email", "robot", "--role", "issuer", "--no-password")

    assert sign_in("robot", "") == 400
    assert sign_in("robot", "anything at all") == 401


class TestSecret:
    def test_it_is_made_once_and_only_we_read_it(self, tmp_path):
        made = ensure_secret(tmp_path / "data")

        assert ensure_secret(tmp_path / "data") == made
        assert len(made) >= 32
        path = tmp_path / "data" / SECRET_FILE
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in path.parent.iterdir()] == [SECRET_FILE]

    def test_of_many_at_once_all_have_the_same(self, tmp_path):
        together = threading.Barrier(8)

        def ask(_):
            together.wait()
            return ensure_secret(tmp_path)

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(ask, range(8)))) == 1

    def test_one_that_others_can_read_is_refused(self, tmp_path):
        ensure_secret(tmp_path)
        (tmp_path / SECRET_FILE).chmod(0o640)

        with pytest.raises(OperationError, match="chmod 600"):
            ensure_secret(tmp_path)

    @pytest.fixture
    def settings(self, tmp_path):
        path = tmp_path / "chainfold.toml"
        path.write_text('[auth]\nsecret_env = "CHAINFOLD_SECRET"\n')

        def settings(**environ):
            return load_settings(path, environ)

        return settings

    def test_it_may_come_from_the_environment(self, settings, tmp_path):
        secret = "s" * 32

        found = auth_options(settings(CHAINFOLD_SECRET=secret))

        assert found.secret == secret.encode()
        assert secret not in repr(found) + repr(settings(CHAINFOLD_SECRET=secret))
        assert not (tmp_path / ".chainfold").exists()

    @pytest.mark.parametrize("environ", [{}, {"CHAINFOLD_SECRET": "s" * 31}])
    def test_one_that_is_missing_or_short_is_refused(self, settings, environ):
        """Never made up: with several machines each would have its own."""
        with pytest.raises(OperationError, match="openssl rand") as caught:
            auth_options(settings(**environ))

        assert "sss" not in str(caught.value)


def test_settings_become_options(tmp_path):
    path = tmp_path / "chainfold.toml"
    path.write_text("""
[api]
limit = "none"
sign_in_limit = "5/hour"
cors = "https://a.example, http://localhost:5173"
https = true
proxies = 2
max_body_bytes = 1000
[redis]
url = "redis://r/0"
[chains.edge]
id = "eip155:100"
rpc = "http://127.0.0.1:9"
finality = "ibft"
[chains.solana]
id = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
rpc = "http://127.0.0.1:9"
finality = "commitment"
[auth]
registration = false
access_minutes = 5
origins = ["https://a.example"]
[auth.external.web3auth]
issuer = "https://api-auth.web3auth.io"
jwks_url = "https://api-auth.web3auth.io/jwks"
audience = "us"
solana_wallets = true
[auth.external.another]
issuer = "https://another.example"
jwks_url = "https://another.example/jwks"
audience = "us too"
""")
    settings = load_settings(path, {"CHAINFOLD_API__HTTPS": "false"})

    auth, web = auth_options(settings), web_options(settings)

    assert (auth.registration, auth.origins) == (False, ("https://a.example",))
    assert auth.access_lifetime == timedelta(minutes=5)
    assert auth.chain_ids == {100}
    assert auth.clusters == {"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"}
    assert [(each.audience, each.solana_wallets) for each in auth.external] == [
        ("us", True), ("us too", False),
    ]  # fmt: skip
    assert (web.limit, web.sign_in_limit, web.https) == ("", "5/hour", False)
    assert web.cors == ("https://a.example", "http://localhost:5173")
    assert (web.proxies, web.max_body_bytes, web.redis_url) == (2, 1000, "redis://r/0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[api]\nlimit = "often"', "600/minute"),
        ('[api]\ncors = "*"', "not an origin"),
        ('[api]\ncors = "https://a.example/"', "not an origin"),
        ('[api]\ncors = "https://A.example"', "not an origin"),
        ('[api]\nhttps = "yes"', "true or false"),
        ("[api]\nproxies = -1", "at least 0"),
        ("[auth]\naccess_minutes = 0", "at least 1"),
        ('[auth]\norigin = "https://a.example"', "did you mean origins?"),
        ('[auth.external.x]\nissuer = "i"', "jwks_url: is required"),
        ('[auth.external.x]\nsolana_wallets = "yes"', "true or false"),
        ('[auth.external.x]\nalgorithms = "HS256"', "HS256 is not taken"),
        ('[auth.external.x]\njwks_url = "http://k.example"', "use https"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, text, words):
    path = tmp_path / "chainfold.toml"
    path.write_text(text)

    with pytest.raises(SettingsError, match=re.escape(words)):
        load_settings(path, {})
