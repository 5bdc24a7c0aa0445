"""Each kind of secret opens its own door and no other."""

import pytest
from sqlalchemy import text

from api.auth.tokens import new_access_token
from api.console.visitors import COOKIE
from db.declare.roles import Role
from helpers.door import PASSWORD
from ops.cli.accounts import hash_password

LOGIN = "operator@example.org"


@pytest.fixture
def operator(own_door):
    account = own_door.account(Role.OPERATOR, login=LOGIN)
    with own_door.writer.begin() as connection:
        connection.execute(
            text("UPDATE control.account SET password_hash = :h WHERE id = :i"),
            {"h": hash_password(PASSWORD), "i": account},
        )
    return account


def sign_in(door):
    given = {"login": LOGIN, "password": PASSWORD}
    return door.post("/api/v1/auth/token", given).json


def refresh(door, token, status=200):
    path = "/api/v1/auth/token/refresh"
    return door.post(path, {"refresh_token": token}, status).json


def cookie(door):
    """What the console's cookie holds after a sign-in there."""
    client = door.app.test_client()
    client.post(
        "/console/login", data={"login": LOGIN, "password": PASSWORD},
        headers={"Origin": "http://localhost"},
    )  # fmt: skip
    return client.get_cookie(COOKIE, path="/console").value


def console(door, secret):
    """The status of the console's first page for a cookie that holds a secret."""
    client = door.app.test_client()
    client.set_cookie(COOKIE, secret, path="/console")
    return client.get("/console/").status_code


def doors(door, secret):
    """By door, whether a secret opens it."""
    changed = {"refresh_token": secret}
    answers = {
        "bearer": door.get("/probe", None, token=secret),
        "key": door.get("/probe", None, key=secret),
        "refresh": door.post("/api/v1/auth/token/refresh", changed, None),
    }
    opened = {name: found.status_code == 200 for name, found in answers.items()}
    return {**opened, "console": console(door, secret) == 200}


@pytest.mark.parametrize("kind", ["bearer", "key", "refresh", "console"])
def test_a_secret_opens_one_door(own_door, operator, kind):
    tokens = sign_in(own_door)
    secret = {
        "bearer": tokens["access_token"],
        "key": own_door.key(operator, "operator")[0],
        "refresh": tokens["refresh_token"],
        "console": cookie(own_door),
    }[kind]

    assert {k: k == kind for k in ("bearer", "key", "refresh", "console")} == doors(
        own_door, secret
    )


def test_the_session_of_a_cookie_has_no_access_tokens(own_door, operator):
    cookie(own_door)
    with own_door.writer.connect() as connection:
        session = connection.execute(text("SELECT id FROM control.session")).scalar()
    with own_door.app.app_context():
        token = new_access_token(operator, session)

    own_door.get("/probe", 401, token=token)


@pytest.mark.parametrize("place", ["cookie", "other cookie", "bearer", "key"])
def test_a_used_refresh_token_ends_its_session_wherever_it_is_shown(
    own_door, operator, place
):
    tokens = sign_in(own_door)
    first, latest = tokens["refresh_token"], tokens
    for _ in range(2):
        latest = refresh(own_door, latest["refresh_token"])
    own_door.get("/probe", token=latest["access_token"])

    client = own_door.app.test_client()
    if place == "cookie":
        assert console(own_door, first) != 200
    elif place == "other cookie":
        client.set_cookie("session", first)
        client.get("/api/v1/")
    elif place == "bearer":
        own_door.get("/probe", 401, token=first)
    else:
        own_door.get("/probe", 401, key=first)

    own_door.get("/probe", 401, token=latest["access_token"])
    refresh(own_door, latest["refresh_token"], 401)
    with own_door.writer.connect() as connection:
        why = connection.execute(text("SELECT reason FROM control.session")).scalars()
        assert ["refresh token used again"] == list(why)


def test_a_refresh_token_that_was_not_used_ends_nothing_elsewhere(own_door, operator):
    tokens = sign_in(own_door)

    assert console(own_door, tokens["refresh_token"]) != 200
    own_door.get("/probe", 401, token=tokens["refresh_token"])

    refresh(own_door, tokens["refresh_token"])
