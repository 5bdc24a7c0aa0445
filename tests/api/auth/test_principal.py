"""Who asks: tokens and keys, and what they lose at once."""

import uuid
from datetime import timedelta

import jwt
import pytest
from sqlalchemy import text

from api.auth.secrets import new_api_key
from db.accounts import accounts, keys, sessions
from db.declare.roles import Role
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from helpers.door import SECRET


def problem(answer, name):
    assert answer.mimetype == "application/problem+json"
    assert answer.json["type"] == f"/docs#{name}"
    return answer.json


def refused(door, **credentials):
    answer = door.get("/probe", 401, **credentials)
    problem(answer, "not_signed_in")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    return answer


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_tells_the_account_and_nothing_else(door):
    account = door.account(ISSUER, INVESTOR)
    token = door.token(account)

    found = door.get("/probe", token=token).json

    assert found["account"] == str(account)
    assert found["tenant"] == found["name"] == f"account:{account}"
    assert found["roles"] == ["investor", "issuer"]
    assert {"sub", "sid", "jti", "iss", "iat", "nbf", "exp", "type", "fresh"} == set(
        claims(token)
    )


def test_without_a_credential_nobody_asks(door):
    refused(door)


def test_two_credentials_are_one_too_many(door):
    account = door.account(ISSUER)

    refused(door, token=door.token(account), key=door.key(account, "read")[0])


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer x.y.z", "Basic dTpw", "Bearer " + "a" * 5000, "bearer \xff"],
)
def test_what_is_no_token_is_refused(door, header):
    refused(door, headers={"Authorization": header})


def forged(door, key=SECRET, algorithm="HS256", **changes):
    account = door.account(Role.OPERATOR)
    content = {**claims(door.token(account)), **changes}
    content = {name: value for name, value in content.items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm)


def test_a_token_made_by_hand_with_the_secret_holds(door):
    """So that the forgeries below fail for their own reason."""
    door.get("/probe", token=forged(door))


@pytest.mark.parametrize(
    "changes",
    [
        {"key": b"another secret of thirty-two bytes or more"},
        {"key": "", "algorithm": "none"},
        {"key": SECRET * 2, "algorithm": "HS384"},
        {"iss": "somebody"},
        {"iss": None},
        {"exp": 1},
        {"type": "refresh"},
        {"sub": str(uuid.uuid4())},
        {"sub": "1"},
        {"sid": str(uuid.uuid4())},
        {"sid": None},
        {"sid": 7},
        {"nbf": 99999999999},
    ],
)
def test_a_forged_token_is_refused(door, changes):
    refused(door, token=forged(door, **changes))


def test_an_expired_token_is_refused(own_door):
    own_door.open(auth={"access_lifetime": timedelta(seconds=-31)})

    refused(own_door, token=own_door.token(own_door.account(ISSUER)))


def test_the_clock_of_another_host_of_ours_may_differ_by_half_a_minute(own_door):
    own_door.open(auth={"access_lifetime": timedelta(seconds=-20)})

    own_door.get("/probe", token=own_door.token(own_door.account(ISSUER)))


def test_a_role_taken_away_is_gone_at_once(door):
    account = door.account(Role.OPERATOR)
    token, key = door.token(account), door.key(account, "operator")[0]
    door.post("/operate", token=token)
    door.post("/operate", key=key)

    with door.writer.begin() as connection:
        accounts.set_roles(connection, account, [ISSUER])

    for credential in ({"token": token}, {"key": key}):
        found = problem(door.post("/operate", status=403, **credential), "not_allowed")
        if "token" in credential:
            assert found["roles"] == ["compliance_officer", "operator"]


def test_a_disabled_account_is_out_at_once_and_may_come_back(door):
    account = door.account(ISSUER)
    token, key = door.token(account), door.key(account, "read")[0]
    found = []

    for disabled in (False, True, False):
        with door.writer.begin() as connection:
            accounts.set_disabled(
                connection, account, disabled=disabled, now=door.clock()
            )
        for credential in ({"token": token}, {"key": key}):
            found.append(door.call("GET", "/probe", **credential).status_code)

    # The session ended for good; the key slept.
    assert [200, 200, 401, 401, 401, 200] == found


def test_an_ended_session_is_refused(door):
    token = door.token(door.account(ISSUER))
    session = uuid.UUID(claims(token)["sid"])
    door.get("/probe", token=token)

    with door.writer.begin() as connection:
        sessions.revoke_session(connection, session, now=door.clock(), reason="test")

    refused(door, token=token)


def test_wallets_are_told(door):
    account = door.account(INVESTOR)
    with door.writer.begin() as connection:
        accounts.link_wallet(
            connection, account, b"\7" * 20, kind="evm", now=door.clock()
        )

    assert door.get("/probe", token=door.token(account)).json["wallets"] == ["07" * 20]


class TestKeys:
    def test_a_key_acts_for_its_account_with_its_scopes(self, door):
        account = door.account(ISSUER, Role.OPERATOR)
        key, prefix = door.key(account, "issuer")

        found = door.post("/probe", key=key).json

        assert found["tenant"] == f"account:{account}"
        assert found["name"] == f"key:{prefix}"
        assert found["roles"] == ["issuer"]
        problem(door.post("/operate", status=403, key=key), "not_allowed")

    def test_a_scope_that_the_account_has_not_gives_nothing(self, door):
        key, _ = door.key(door.account(ISSUER), "operator", "issuer")

        assert door.post("/probe", key=key).json["roles"] == ["issuer"]

    def test_a_key_that_reads_has_every_role_until_it_writes(self, door):
        key, _ = door.key(door.account(Role.OPERATOR), "read")

        assert door.get("/operate", key=key).json == {"done": "GET"}
        for path in ("/operate", "/probe"):
            problem(door.post(path, status=403, key=key), "not_allowed")

    def test_an_expired_key_is_refused(self, own_door):
        key, _ = own_door.key(own_door.account(ISSUER), "read", days=1)
        own_door.get("/probe", key=key)

        own_door.clock.forward(days=1)

        refused(own_door, key=key)

    def test_a_revoked_key_is_refused(self, door):
        account = door.account(ISSUER)
        key, prefix = door.key(account, "read")
        with door.writer.begin() as connection:
            keys.revoke_key(
                connection, account_id=account, prefix=prefix, now=door.clock()
            )

        refused(door, key=key)

    def test_a_key_of_nobody_is_refused(self, door):
        account = door.account(ISSUER)
        key, _ = door.key(account, "read")

        for wrong in (new_api_key()[0], key[:-1], key + "A", "", "cfk_", key.upper()):
            refused(door, key=wrong)

    def test_its_use_is_noted_to_the_minute(self, own_door):
        key, _ = own_door.key(own_door.account(ISSUER), "read")
        seen = []
        for seconds in (0, 30, 31):
            own_door.clock.forward(seconds=seconds)
            own_door.get("/probe", key=key)
            with own_door.writer.connect() as connection:
                query = text("SELECT last_used_at FROM control.api_key")
                seen.append(connection.execute(query).scalar_one())

        assert seen[0] == seen[1] < seen[2] == own_door.clock()


def test_an_api_without_accounts_knows_nobody(door):
    """As when it only reads."""
    from api.app import create_app
    from helpers.door import REGISTRY, _routes

    app = create_app(door.reader, REGISTRY)
    app.register_blueprint(_routes(app.extensions["chainfold"]))

    answer = app.test_client().get("/probe", headers={"X-API-Key": new_api_key()[0]})

    assert answer.status_code == 401
