"""Registration, passwords, sessions: what lets in, and what shuts out."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from api.auth import passwords, secrets
from api.auth.passwords import outdated
from db.accounts import accounts
from db.domains.crowdfunding.roles import INVESTOR
from helpers.door import NUMBERS, PASSWORD, ROLES

REGISTER, TOKEN = "/api/v1/auth/register", "/api/v1/auth/token"
REFRESH, LOGOUT, ME = f"{TOKEN}/refresh", "/api/v1/auth/logout", "/api/v1/auth/me"


def name(answer):
    assert answer.mimetype == "application/problem+json"
    return answer.json["type"].removeprefix("/docs#")


def new_login():
    return f"person-{next(NUMBERS)}@example.org"


def register(door, login=None, status=201, **more):
    body = {"login": login or new_login(), "password": PASSWORD, **more}
    return door.post(REGISTER, body, status)


def sign_in(door, login, password=PASSWORD, status=200, **options):
    body = {"login": login, "password": password}
    return door.post(TOKEN, body, status, **options)


def refresh(door, token, status=200):
    return door.post(REFRESH, {"refresh_token": token}, status)


class TestRegistration:
    def test_it_opens_an_account_and_signs_in(self, door):
        login = new_login()

        opened = register(door, login, role="issuer").json

        me = door.get(ME, token=opened["access_token"]).json
        assert me == {
            "account": opened["account"], "login": login, "roles": ["issuer"],
            "wallets": [],
        }  # fmt: skip
        assert sign_in(door, login).json["account"] == opened["account"]

    @pytest.mark.parametrize("role", ROLES)
    def test_a_role_of_trust_cannot_be_taken(self, door, role):
        own = ("buyer", "creator", "investor", "issuer")
        status = 201 if role in own else 403

        answer = register(door, role=role, status=status)

        assert status == 201 or name(answer) == "not_allowed"

    def test_a_login_is_taken_in_whatever_case(self, door):
        login = new_login()
        register(door, login)

        assert name(register(door, login.upper(), status=409)) == "login_taken"
        assert sign_in(door, login.upper()).json["account"]

    def test_of_two_at_once_one_is_refused(self, door):
        login, together = new_login(), threading.Barrier(2)

        def ask(_):
            client = door.app.test_client()
            together.wait()
            body = {"login": login, "password": PASSWORD}
            return client.post(REGISTER, json=body).status_code

        with ThreadPoolExecutor(2) as pool:
            assert [201, 409] == sorted(pool.map(ask, range(2)))

    @pytest.mark.parametrize(
        "login", ["ab", "a b c", "x@y@z", "evm:0xabc", "a\nbc", "é" * 5]
    )
    def test_a_login_that_is_none_is_refused(self, door, login):
        assert name(register(door, login, status=400)) == "bad_body"

    @pytest.mark.parametrize(
        "password", ["elevenchars", "aaaaaaaaaaaaaaaa", "ababab" * 4]
    )
    def test_a_password_that_is_easily_guessed_is_refused(self, door, password):
        answer = register(door, password=password, status=400)

        assert name(answer) == "weak_password"
        assert password not in answer.text

    def test_it_can_be_closed(self, own_door):
        own_door.open(auth={"registration": False})

        assert name(register(own_door, status=403)) == "registration_closed"


class TestPasswords:
    def test_what_is_wrong_is_not_said(self, door):
        login = new_login()
        register(door, login)
        wallet_only = door.account(INVESTOR)
        with door.writer.connect() as connection:
            no_password = accounts.find_account(connection, wallet_only).login

        answers = [
            sign_in(door, each, "another password", 401)
            for each in (login, new_login(), no_password)
        ]

        assert ["bad_sign_in"] * 3 == [name(answer) for answer in answers]
        assert len({answer.json["detail"] for answer in answers}) == 1
        assert all(a.headers["WWW-Authenticate"] for a in answers)

    def test_as_much_is_computed_for_nobody(self, door, monkeypatch):
        """Else the time would tell which logins there are."""
        seen = []
        verify = PasswordHasher.verify

        def watched(self, hashed, password):
            seen.append(hashed.split("$")[3])
            return verify(self, hashed, password)

        monkeypatch.setattr(PasswordHasher, "verify", watched)
        login = new_login()
        register(door, login)

        for each in (login, new_login()):
            sign_in(door, each, "another password", 401)

        parameters, other = seen
        assert parameters == other

    def test_only_so_many_are_looked_at_at_once(self, door, monkeypatch):
        """Each takes 64 MB: else those who cannot sign in could take all the memory."""
        login = new_login()
        register(door, login)
        monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.01)
        with ExitStack() as taken:
            for _ in range(passwords.AT_ONCE):
                taken.enter_context(passwords._in_turn())
            refused = sign_in(door, login, status=429)

        assert refused.headers["Retry-After"]
        sign_in(door, login)

    def test_the_same_letter_composed_otherwise_is_the_same(self, door):
        login = new_login()
        register(door, login, password="caf\u00e9 au lait at noon")

        sign_in(door, login, "cafe\u0301 au lait at noon")

    def test_an_old_hash_is_replaced_when_it_can_be(self, door):
        login = new_login()
        account = door.account(INVESTOR, login=login)
        old = PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD)
        with door.writer.begin() as connection:
            accounts.set_password(connection, account, old)

        sign_in(door, login, "another password", 401)
        assert outdated(stored_hash(door, account))
        sign_in(door, login)

        assert not outdated(stored_hash(door, account))
        sign_in(door, login)

    def test_a_disabled_account_does_not_come_in(self, door):
        login = new_login()
        account = register(door, login).json["account"]
        with door.writer.begin() as connection:
            accounts.set_disabled(connection, account, disabled=True, now=door.clock())

        assert name(sign_in(door, login, status=403)) == "not_allowed"
        assert name(sign_in(door, login, "another password", 401)) == "bad_sign_in"

    def test_a_change_ends_the_other_sessions(self, door):
        login, new = new_login(), "a quite different one"
        mine, other = register(door, login).json, sign_in(door, login).json
        path = "/api/v1/auth/password"
        body = {"password": "not the password", "new_password": new}

        refused = door.post(path, body, 401, token=mine["access_token"])
        body["password"] = PASSWORD
        door.post(path, body, 204, token=mine["access_token"])

        assert name(refused) == "bad_sign_in"
        door.get(ME, 200, token=mine["access_token"])
        door.get(ME, 401, token=other["access_token"])
        refresh(door, other["refresh_token"], 401)
        sign_in(door, login, PASSWORD, 401)
        sign_in(door, login, new)

    @pytest.mark.parametrize(
        "odd", ["zero\0byte", "\ud800", "\u202e", "x" * 254, "'--"]
    )
    def test_odd_letters_are_nobodys_name_and_no_password(self, door, odd):
        login = new_login()
        register(door, login)

        for body in (
            {"login": odd, "password": PASSWORD}, {"login": login, "password": odd},
        ):  # fmt: skip
            answer = door.client.post(
                TOKEN, data=json.dumps(body), content_type="application/json"
            )
            assert answer.status_code in (400, 401), answer.text

    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"[]", b'{"login": "a"}', b'{"login": 1, "password": "x"}',
            b'{"login": "a", "password": "x", "more": 1}', b"\xff\xfe",
            b'{"login": "a", "password": ""}', b"[" * 5000,
            b'{"login": "a", "password": "' + b"p" * 2000 + b'"}',
        ],
        ids=range(10),
    )  # fmt: skip
    def test_a_body_that_is_none_is_refused(self, door, body):
        answer = door.client.post(TOKEN, data=body, content_type="application/json")

        assert (answer.status_code, name(answer)) == (400, "bad_body")


def stored_hash(door, account):
    with door.writer.connect() as connection:
        return accounts.find_account(connection, account).password_hash


class TestRefresh:
    def test_each_token_gives_the_next(self, door):
        first = register(door).json

        second = refresh(door, first["refresh_token"]).json
        third = refresh(door, second["refresh_token"]).json

        shown = [each["refresh_token"] for each in (first, second, third)]
        assert len(set(shown)) == 3
        assert all(secrets.is_refresh_token(each) for each in shown)
        assert door.get(ME, token=third["access_token"]).json["login"]

    def test_a_token_used_again_later_ends_the_session(self, own_door, caplog):
        caplog.set_level("INFO")
        first = register(own_door).json
        second = refresh(own_door, first["refresh_token"]).json
        own_door.clock.forward(seconds=11)

        assert name(refresh(own_door, first["refresh_token"], 401)) == "bad_sign_in"

        refresh(own_door, second["refresh_token"], 401)
        for each in (first, second):
            own_door.get(ME, 401, token=each["access_token"])
        assert "kind=refresh_token_reused" in caplog.text

    def test_a_token_used_again_after_its_successor_ends_the_session(self, door):
        """However soon: only one of two who have it can have used the successor."""
        first = register(door).json
        second = refresh(door, first["refresh_token"]).json
        third = refresh(door, second["refresh_token"]).json

        refresh(door, first["refresh_token"], 401)

        refresh(door, third["refresh_token"], 401)

    def test_a_client_that_lost_the_answer_may_ask_again(self, own_door):
        first = register(own_door).json
        second = refresh(own_door, first["refresh_token"]).json
        own_door.clock.forward(seconds=9)

        again = refresh(own_door, first["refresh_token"]).json

        assert again["refresh_token"] == second["refresh_token"]
        refresh(own_door, again["refresh_token"])

    def test_two_at_once_get_the_same(self, door):
        first, together = register(door).json, threading.Barrier(4)

        def ask(_):
            client = door.app.test_client()
            together.wait()
            body = {"refresh_token": first["refresh_token"]}
            return client.post(REFRESH, json=body).json["refresh_token"]

        with ThreadPoolExecutor(4) as pool:
            (following,) = set(pool.map(ask, range(4)))

        refresh(door, following)

    def test_a_thief_who_is_quick_is_found_out_at_the_next_step(self, own_door):
        """Both hold the same successor; whoever uses it second, and late, is caught."""
        first = register(own_door).json
        owner = refresh(own_door, first["refresh_token"]).json
        thief = refresh(own_door, first["refresh_token"]).json
        newest = refresh(own_door, thief["refresh_token"]).json
        own_door.clock.forward(minutes=14)

        refresh(own_door, owner["refresh_token"], 401)

        refresh(own_door, newest["refresh_token"], 401)

    def test_a_token_is_over_after_its_time(self, own_door):
        own_door.open(auth={"refresh_lifetime": timedelta(days=7)})
        token = register(own_door).json["refresh_token"]

        own_door.clock.forward(days=7)

        refresh(own_door, token, 401)

    def test_a_session_is_over_however_often_it_was_refreshed(self, own_door):
        token = register(own_door).json["refresh_token"]
        for _ in range(5):
            own_door.clock.forward(days=6)
            if (answer := own_door.post(REFRESH, {"refresh_token": token}, None)).json:
                token = answer.json.get("refresh_token", token)

        assert answer.status_code == 401

    @pytest.mark.parametrize(
        "token", ["", "x", "cfr_" + "A" * 43, "cfr_" + "A" * 43 + "\n", "é"]
    )
    def test_a_token_of_nobody_is_refused(self, door, token):
        assert name(refresh(door, token, 401)) == "bad_sign_in"

    def test_the_successor_cannot_be_told_without_the_secret(self):
        token = secrets.new_refresh_token()

        made = {secrets.next_refresh_token(token, bytes([n]) * 32) for n in range(3)}

        assert len(made) == 3


def test_signing_out_ends_the_session(door):
    mine = register(door).json

    key, _ = door.key(mine["account"], "investor")
    door.post(LOGOUT, None, 403, key=key)
    door.get(ME, token=mine["access_token"])
    answer = door.post(LOGOUT, None, 204, token=mine["access_token"])

    assert answer.data == b""
    door.get(ME, 401, token=mine["access_token"])
    refresh(door, mine["refresh_token"], 401)


def test_answers_are_not_kept(door):
    mine = register(door)

    for answer in (
        mine,
        door.get(ME, token=mine.json["access_token"]),
        door.get(ME, 401),
    ):
        assert answer.headers["Cache-Control"] == "no-store"


class TestGuessing:
    """Without Redis, and in whatever process: the count is in the database."""

    def test_a_login_is_closed_for_a_while(self, own_door):
        login = new_login()
        register(own_door, login)
        for _ in range(10):
            sign_in(own_door, login, "another password", 401)

        refused = sign_in(own_door, login, PASSWORD, 429)

        assert name(refused) == "too_many_requests"
        assert 0 < int(refused.headers["Retry-After"]) <= 900
        sign_in(own_door, new_login(), status=401)  # others are not touched
        own_door.clock.forward(seconds=int(refused.headers["Retry-After"]))
        sign_in(own_door, login)

    def test_knocking_does_not_keep_it_closed(self, own_door):
        own_door.open(auth={"attempts": 2})
        login = new_login()
        register(own_door, login)
        for _ in range(5):
            sign_in(own_door, login, "another password", status=None)
        own_door.clock.forward(minutes=15)

        sign_in(own_door, login)

    def test_a_success_forgets_the_failures(self, own_door):
        own_door.open(auth={"attempts": 3})
        login = new_login()
        register(own_door, login)

        for _ in range(2):
            for _ in range(2):
                sign_in(own_door, login, "another password", 401)
            sign_in(own_door, login)

    def test_from_elsewhere_the_owner_still_comes_in(self, own_door):
        login = new_login()
        register(own_door, login)
        for _ in range(11):
            sign_in(own_door, login, "another password", status=None)

        sign_in(own_door, login, environ_base={"REMOTE_ADDR": "10.1.2.3"})

    def test_many_addresses_together_are_bounded(self, own_door):
        own_door.open(auth={"attempts_of_login": 12})
        login = new_login()
        register(own_door, login)

        found = [
            sign_in(
                own_door, login, "another password", status=None,
                environ_base={"REMOTE_ADDR": f"10.0.0.{n}"},
            ).status_code
            for n in range(14)
        ]  # fmt: skip

        assert [401] * 12 + [429] * 2 == found

    def test_one_address_trying_many_logins_is_bounded(self, own_door):
        own_door.open(auth={"attempts_from_address": 5})

        found = [
            sign_in(own_door, new_login(), status=None).status_code for _ in range(7)
        ]

        assert [401] * 5 + [429] * 2 == found

    def test_many_at_once_do_not_slip_through(self, own_door):
        own_door.open(auth={"attempts": 3})
        login = new_login()
        register(own_door, login)

        def ask(_):
            body = {"login": login, "password": "another password"}
            return own_door.app.test_client().post(TOKEN, json=body).status_code

        with ThreadPoolExecutor(4) as pool:
            found = sorted(pool.map(ask, range(8)))

        assert [401] * 3 + [429] * 5 == found

    def test_old_counts_are_swept(self, own_door):
        for _ in range(3):
            sign_in(own_door, new_login(), status=401)
        own_door.clock.forward(minutes=16)

        sign_in(own_door, new_login(), status=401)

        with own_door.writer.connect() as connection:
            query = text("SELECT count(*) FROM control.sign_in_attempt")
            assert connection.execute(query).scalar_one() == 3
