"""API keys and accounts over HTTP: who may make, see, change and end them."""

import uuid
from datetime import datetime, timedelta

import pytest

from db.declare.roles import Role
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from helpers.door import ROLES

KEYS, ACCOUNTS = "/api/v1/auth/keys", "/api/v1/auth/accounts"


def make(door, token, status=201, **changes):
    body = {"name": "ci", "scopes": ["read"], **changes}
    return door.post(KEYS, body, status, token=token)


class TestKeys:
    @pytest.fixture
    def token(self, door):
        return door.token(door.account(ISSUER))

    def test_a_key_is_shown_once_and_works(self, door, token):
        made = make(door, token, scopes=["issuer", "read"], days=7).json

        (listed,) = door.get(KEYS, token=token).json["data"]
        assert {**listed, "key": made["key"]} == made
        assert made["key"].startswith(f"cfk_{made['prefix']}_")
        begin, end = (
            datetime.fromisoformat(made[name]) for name in ("created_at", "expires_at")
        )
        assert end - begin == timedelta(days=7)
        assert door.post("/probe", key=made["key"]).json["roles"] == ["issuer"]
        (listed,) = door.get(KEYS, token=token).json["data"]
        assert listed["last_used_at"] is not None

    def test_a_key_that_is_revoked_ends(self, door, token):
        made = make(door, token).json

        for _ in range(2):
            door.delete(f"{KEYS}/{made['prefix']}", token=token)

        door.get("/probe", 401, key=made["key"])
        assert door.get(KEYS, token=token).json["data"][0]["revoked_at"]

    def test_nobody_revokes_anothers(self, door, token):
        made = make(door, token).json
        other = door.token(door.account(Role.OPERATOR))

        door.delete(f"{KEYS}/{made['prefix']}", 404, token=other)

        door.get("/probe", key=made["key"])
        assert door.get(KEYS, token=other).json["data"] == []

    def test_it_has_no_more_than_its_account(self, door, token):
        for scopes in (["operator"], ["read", "auditor"], ["everything"]):
            answer = make(door, token, 403, scopes=scopes)
            assert answer.json["choices"] == ["issuer", "read"]

    @pytest.mark.parametrize(
        "changes",
        [{"scopes": []}, {"days": 0}, {"days": 366}, {"name": ""}, {"name": "n" * 101},
         {"name": "a\0b"}, {"name": "a\nb"},
         {"scopes": "read"}, {"account": "x"}],
        ids=str,
    )  # fmt: skip
    def test_what_cannot_be_is_refused(self, door, token, changes):
        make(door, token, 400, **changes)

    def test_a_key_makes_no_keys(self, door, token):
        key = make(door, token, scopes=["issuer"]).json["key"]

        for method, path in (("POST", KEYS), ("GET", KEYS), ("DELETE", f"{KEYS}/x")):
            answer = door.call(method, path, 403, key=key, json={
                "name": "more", "scopes": ["issuer"],
            } if method == "POST" else None)  # fmt: skip
            assert answer.json["type"] == "/docs#not_allowed"

    def test_there_is_a_limit_to_them(self, door, token):
        for _ in range(50):
            prefix = make(door, token).json["prefix"]
        make(door, token, 403)

        door.delete(f"{KEYS}/{prefix}", token=token)

        make(door, token)


class TestAdministration:
    @pytest.fixture
    def operator(self, door):
        return door.token(door.account(Role.OPERATOR))

    def put(self, door, account, roles, status=200, **credentials):
        path = f"{ACCOUNTS}/{account}/roles"
        return door.call("PUT", path, status, json={"roles": roles}, **credentials)

    def test_operators_give_roles(self, door, operator):
        account = door.account(INVESTOR)
        token = door.token(account)

        answer = self.put(door, account, ["auditor", "issuer"], token=operator)

        assert answer.json["roles"] == ["auditor", "issuer"]
        assert door.get("/probe", token=token).json["roles"] == ["auditor", "issuer"]

    def test_others_do_not(self, door):
        account = door.account(INVESTOR)
        for role in set(ROLES) - {Role.OPERATOR}:
            token = door.token(door.account(role))
            self.put(door, account, ["operator"], 403, token=token)
            door.post(f"{ACCOUNTS}/{account}/disable", None, 403, token=token)
        key, _ = door.key(door.account(Role.OPERATOR), "operator")
        self.put(door, account, ["operator"], 403, key=key)
        self.put(door, account, ["operator"], 401)

        assert door.get("/probe", token=door.token(account)).json["roles"] == [
            "investor"
        ]

    def test_nobody_changes_their_own(self, door):
        account = door.account(Role.OPERATOR)
        token = door.token(account)

        self.put(door, account, ["auditor"], 403, token=token)
        door.post(f"{ACCOUNTS}/{account}/disable", None, 403, token=token)

    def test_an_account_is_disabled_and_enabled(self, door, operator):
        account = door.account(ISSUER)
        token, (key, _) = door.token(account), door.key(account, "read")

        off = door.post(f"{ACCOUNTS}/{account}/disable", token=operator).json
        door.get("/probe", 401, token=token)
        door.get("/probe", 401, key=key)
        on = door.post(f"{ACCOUNTS}/{account}/enable", token=operator).json

        assert (off["disabled_at"] is None, on["disabled_at"]) == (False, None)
        door.get("/probe", 401, token=token)
        door.get("/probe", key=key)

    def test_an_account_that_is_not_there(self, door, operator):
        self.put(door, uuid.uuid4(), [], 404, token=operator)
        door.post(f"{ACCOUNTS}/{uuid.uuid4()}/disable", None, 404, token=operator)
        self.put(door, "x", [], 400, token=operator)

    def test_the_list_goes_on_where_it_ended(self, own_door):
        made = [str(own_door.account(INVESTOR)) for _ in range(205)]
        auditor = own_door.account(Role.AUDITOR)
        token = own_door.token(auditor)

        first = own_door.get(ACCOUNTS, token=token).json
        rest = own_door.get(f"{ACCOUNTS}?after={first['next']}", token=token).json

        listed = [each["account"] for each in first["data"] + rest["data"]]
        # Ids of one millisecond are in no order.
        assert sorted([*made, str(auditor)]) == listed
        assert rest["next"] is None
        assert "password_hash" not in first["data"][0]
        for query in ("after=x", "before=x"):
            own_door.get(f"{ACCOUNTS}?{query}", 400, token=token)

    def test_not_everybody_sees_it(self, door):
        for role in (INVESTOR, ISSUER, Role.COMPLIANCE):
            door.get(ACCOUNTS, 403, token=door.token(door.account(role)))
