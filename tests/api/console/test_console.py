"""The console: who comes in, what is shown, and that no other site acts through it."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import text

import api.console
from api.auth.options import WebOptions
from db.commands.accept import find
from db.declare.roles import Role
from helpers import servers
from helpers.door import PASSWORD, ROLES, Door
from helpers.ledger_of_commands import fill
from ops.cli.accounts import hash_password

HOST = "http://localhost"
PAGES = ("/console/", "/console/held", "/console/signers", "/console/schedules")


class Browser:
    """A client with cookies that sends forms as browsers do."""

    def __init__(self, door):
        self.client = door.app.test_client()
        self.page = None

    def get(self, path, status=200):
        self.page = self.client.get(path)
        assert self.page.status_code == status, self.page.text
        return self.page

    def submit(self, path, status=303, origin=HOST, **fields):
        """Send a form, with the token of the page last seen unless told otherwise."""
        token = re.search(r'name="form_token" value="(\w+)"', self.page.text)
        data = {"form_token": token[1]} if token else {}
        headers = {} if origin is None else {"Origin": origin}
        answer = self.client.post(path, data={**data, **fields}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    def sign_in(self, login, password=PASSWORD, status=303, **options):
        self.get("/console/login")
        fields = {"login": login, "password": password, **options.pop("fields", {})}
        return self.submit("/console/login", status, **fields, **options)


@pytest.fixture(scope="module")
def door(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        found = Door(url)
        yield found
        found.close()


@pytest.fixture(scope="module")
def commands(door):
    return fill(door.writer, door.clock(), many=30)


@pytest.fixture(scope="module")
def logins(door):
    """One login for each role, all with the same password."""
    hashed = hash_password(PASSWORD)
    found = {}
    for role in ROLES:
        found[role] = f"{role}@example.org"
        account = door.account(role, login=found[role])
        with door.writer.begin() as connection:
            connection.execute(
                text("UPDATE control.account SET password_hash = :h WHERE id = :i"),
                {"h": hashed, "i": account},
            )
    return found


@pytest.fixture
def visit(door, commands, logins):
    """Makes a browser in which somebody of a role is signed in."""

    def visit(role=Role.OPERATOR):
        browser = Browser(door)
        browser.sign_in(logins[role])
        browser.get("/console/")
        return browser

    return visit


class TestSigningIn:
    @pytest.mark.parametrize("path", PAGES)
    def test_nobody_sees_anything(self, door, path):
        answer = Browser(door).get(path, 303)

        assert answer.headers["Location"] == f"/console/login?after={path}"
        assert b"registrar" not in answer.data

    def test_one_is_led_to_the_page_that_was_wanted(self, door, logins):
        browser = Browser(door)
        fields = {"after": "/console/signers"}

        answer = browser.sign_in(logins[Role.OPERATOR], fields=fields)

        assert answer.headers["Location"] == "/console/signers"

    @pytest.mark.parametrize(
        "after",
        ["https://evil.example", "//evil.example", "/console/../x", "/consolex",
         "/console//evil\r\nX: y", "/api/v1/", "/console/\\evil"],
    )  # fmt: skip
    def test_nobody_is_led_elsewhere(self, door, logins, after):
        browser = Browser(door)

        answer = browser.sign_in(logins[Role.OPERATOR], fields={"after": after})

        assert answer.headers["Location"] == "/console/"

    @pytest.mark.parametrize("role", ROLES)
    def test_it_is_for_the_staff(self, door, logins, role):
        staff = role in ("operator", "compliance_officer", "auditor")
        browser = Browser(door)

        answer = browser.sign_in(logins[role], status=303 if staff else 403)

        assert staff or "Ask an operator" in answer.text
        browser.get("/console/", 200 if staff else 303)

    def test_a_wrong_password_is_refused_and_not_repeated(self, door, logins):
        answer = Browser(door).sign_in(logins[Role.OPERATOR], "not this one", 401)

        assert "Check both" in answer.text
        assert "not this one" not in answer.text
        assert logins[Role.OPERATOR] in answer.text
        assert "Set-Cookie" not in answer.headers

    def test_a_role_that_is_taken_away_ends_it(self, door, visit, logins):
        browser = visit(Role.AUDITOR)
        browser.get("/console/held")
        change = text("UPDATE control.account SET roles = :r WHERE login = :l")
        for roles, status in (["investor"], 303), (["auditor"], 200):
            with door.writer.begin() as connection:
                connection.execute(change, {"r": roles, "l": logins[Role.AUDITOR]})
            browser.get("/console/held", status)

    def test_it_is_over_after_twelve_hours(self, own_door):
        account = own_door.account(Role.OPERATOR, login="op@example.org")
        with own_door.writer.begin() as connection:
            connection.execute(
                text("UPDATE control.account SET password_hash = :h WHERE id = :i"),
                {"h": hash_password(PASSWORD), "i": account},
            )
        browser = Browser(own_door)
        browser.sign_in("op@example.org")
        browser.get("/console/")

        own_door.clock.forward(hours=12)

        browser.get("/console/", 303)

    def test_signing_out_ends_the_session_itself(self, door, visit):
        browser = visit()
        cookie = browser.client.get_cookie("chainfold_console", path="/console").value

        browser.submit("/console/logout")

        assert browser.client.get_cookie("chainfold_console", path="/console") is None
        browser.client.set_cookie("chainfold_console", cookie, path="/console")
        browser.get("/console/", 303)

    def test_the_cookie_is_good_for_the_console_only(self, door, visit):
        browser = visit()
        cookie = browser.client.get_cookie("chainfold_console", path="/console").value

        for headers in (
            {"Authorization": f"Bearer {cookie}"}, {"X-API-Key": cookie}, {},
        ):  # fmt: skip
            assert browser.client.get("/probe", headers=headers).status_code == 401
        door.post("/api/v1/auth/token/refresh", {"refresh_token": cookie}, 401)

    @pytest.mark.parametrize("https", [True, False])
    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, own_door, https):
        own_door.open(web=WebOptions(https=https))
        account = own_door.account(Role.OPERATOR, login="op@example.org")
        with own_door.writer.begin() as connection:
            connection.execute(
                text("UPDATE control.account SET password_hash = :h WHERE id = :i"),
                {"h": hash_password(PASSWORD), "i": account},
            )

        answer = Browser(own_door).sign_in("op@example.org")

        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=43200"} <= set(
            cookie.split("; ")
        )
        assert ("Secure" in cookie.split("; ")) is https

    def test_guessing_is_counted_with_that_over_the_api(self, own_door):
        own_door.open(auth={"attempts": 2})
        body = {"login": "somebody", "password": "not the password"}

        own_door.post("/api/v1/auth/token", body, 401)
        browser = Browser(own_door)
        browser.sign_in("somebody", status=401)

        assert "too many" in browser.sign_in("somebody", status=429).text


FORMS = ("/console/logout", "release", "cancel", "/console/signers/treasury/resume")


class TestForgery:
    def path(self, commands, form):
        if form.startswith("/"):
            return form
        return f"/console/commands/{commands['held']}/{form}"

    @pytest.mark.parametrize("form", FORMS)
    def test_a_form_without_its_token_does_nothing(self, visit, commands, form):
        browser = visit()
        for token in ("", "0" * 64, visit(Role.AUDITOR).page.text[:64]):
            browser.submit(self.path(commands, form), 403, form_token=token)

        browser.get("/console/")

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize(
        "origin",
        [None, "null", "https://evil.example", "http://localhost.evil.example", ""],
    )
    def test_a_form_of_another_site_does_nothing(self, visit, commands, form, origin):
        browser = visit()

        browser.submit(self.path(commands, form), 403, origin=origin)

        browser.get("/console/")

    @pytest.mark.parametrize("form", FORMS)
    def test_a_form_of_nobody_does_nothing(self, door, visit, commands, form):
        answer = Browser(door)
        answer.get("/console/login")
        sent = answer.submit(self.path(commands, form), form_token="0" * 64)

        assert sent.headers["Location"] == "/console/login"

    def test_nobody_is_signed_in_from_another_site(self, door, logins):
        for origin in (None, "https://evil.example"):
            browser = Browser(door)
            answer = browser.sign_in(logins[Role.OPERATOR], status=403, origin=origin)
            assert "Set-Cookie" not in answer.headers

    def test_json_and_other_kinds_are_not_taken(self, visit, commands):
        path = self.path(commands, "cancel")

        answer = visit().client.post(path, json={}, headers={"Origin": HOST})

        assert answer.status_code == 415

    def test_pages_cannot_be_framed_and_load_nothing_of_others(self, visit):
        browser = visit()
        for path in (*PAGES, "/console/login"):
            headers = browser.get(path).headers
            assert headers["Content-Security-Policy"] == (
                "default-src 'none'; style-src 'self'; form-action 'self'; "
                "frame-ancestors 'none'; base-uri 'none'"
            )
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Cache-Control"] == "no-store"
            # With `no-referrer` browsers would send `Origin: null` with our own forms.
            assert headers["Referrer-Policy"] == "same-origin"


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.places, self.styled = set(), [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.styled |= "style" in attributes
        self.places += [
            attributes[k] for k in ("href", "action", "src") if k in attributes
        ]


class TestPages:
    def test_they_need_no_script_and_nothing_from_elsewhere(self, visit, commands):
        browser = visit()
        for path in (*PAGES, f"/console/commands/{commands['held']}"):
            page = Page(browser.get(path).text)

            assert not page.tags & {"script", "img", "iframe", "style"}
            assert not page.styled
            assert all(place.startswith("/console") for place in page.places)
            for place in set(page.places) - {"/console/logout"}:
                answer = browser.client.get(unescape(place))
                assert answer.status_code in (200, 405), place

    def test_the_sheet_is_served(self, door):
        answer = door.get("/console/static/style.css")

        assert answer.mimetype == "text/css"
        assert "url(" not in answer.text
        assert "@import" not in answer.text

    def test_commands_are_listed_page_by_page_and_by_state(self, visit, commands):
        browser = visit()

        def ids(path):
            found = re.findall(
                r"/console/commands/([0-9a-f-]{36})", browser.get(path).text
            )
            return list(dict.fromkeys(found))

        first = ids("/console/")
        older = re.search(r'href="([^"]+after=[^"]+)"', browser.page.text)[1]
        second = ids(unescape(older))

        made = sorted(map(str, commands.values()), reverse=True)
        assert first + second == made
        assert len(first) == 25
        assert ids("/console/?state=held") == [str(commands["held"])]
        browser.get("/console/?state=nonsense", 400)
        browser.get("/console/?after=nonsense", 400)

    def test_what_is_written_in_a_command_is_only_shown(self, visit, commands):
        browser = visit()

        for path in (
            "/console/",
            f"/console/commands/{commands['held']}",
            "/console/held",
        ):
            html = browser.get(path).text
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
            assert "<script" not in html
            assert "<b>gas" not in html

    def test_a_command_tells_its_story(self, visit, commands):
        html = visit().get(f"/console/commands/{commands['ended']}").text

        assert html.index("accepted</span>") < html.index("cancelled</span> <time")
        assert "cancelled by request" in html
        assert "/release" not in html

    def test_a_state_has_the_colour_of_its_tone(self, visit, commands):
        browser = visit()
        tones = {
            name: re.findall(
                r'<span class="state (\w*)">',
                browser.get(f"/console/commands/{commands[name]}").text,
            )
            for name in ("waiting", "held", "ended")
        }

        assert tones == {
            "waiting": ["open", "open"],
            "held": ["bad", "open", "bad"],
            "ended": ["bad", "open", "bad"],
        }
        signers = browser.get("/console/signers").text
        assert ["bad", "good"] == re.findall(r'<span class="state (\w*)">', signers)

    def test_one_that_is_not_there(self, visit):
        html = visit().get(
            f"/console/commands/{'0' * 8}-0000-7000-8000-{'0' * 12}", 404
        )

        assert "There is no command" in html.text
        assert html.mimetype == "text/html"

    def test_signers_show_what_they_do(self, visit):
        html = visit().get("/console/signers").text

        assert html.index("treasury") < html.index("registrar"), (
            "the halted one is first"
        )
        assert "a nonce went elsewhere" in html
        assert "1, oldest 2 h" in html
        assert "0x" + "01" * 20 in html

    def test_those_who_only_look_have_no_buttons(self, visit, commands):
        for role in (Role.AUDITOR, Role.COMPLIANCE):
            browser = visit(role)
            for path in (*PAGES, f"/console/commands/{commands['held']}"):
                forms = [
                    p for p in Page(browser.get(path).text).places if "logout" not in p
                ]
                assert not [place for place in forms if place.endswith(
                    ("release", "cancel", "resume"))]  # fmt: skip
            browser.submit(f"/console/commands/{commands['held']}/cancel", 403)
            browser.submit("/console/signers/treasury/resume", 403)


class TestActions:
    @pytest.fixture
    def browser(self, own_door):
        self.door = own_door
        self.commands = fill(own_door.writer, own_door.clock())
        account = own_door.account(Role.OPERATOR, login="op@example.org")
        with own_door.writer.begin() as connection:
            connection.execute(
                text("UPDATE control.account SET password_hash = :h WHERE id = :i"),
                {"h": hash_password(PASSWORD), "i": account},
            )
        browser = Browser(own_door)
        browser.sign_in("op@example.org")
        browser.get("/console/held")
        return browser

    def state(self, name):
        with self.door.writer.connect() as connection:
            return find(connection, self.commands[name]).state

    def acted(self):
        """What the journal says was done, and to what."""
        with self.door.writer.connect() as connection:
            query = "SELECT action, subject FROM facts.audit_action_taken"
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def test_a_held_command_is_released(self, browser):
        path = f"/console/commands/{self.commands['held']}"

        answer = browser.submit(f"{path}/release")

        assert answer.headers["Location"] == path
        assert self.state("held") == "accepted"
        assert "There are none" in browser.get("/console/held").text
        assert self.acted() == [("release", str(self.commands["held"]))]

    def test_a_command_is_cancelled(self, browser):
        for _ in range(2):  # the second time it has ended already
            browser.submit(f"/console/commands/{self.commands['waiting']}/cancel")

        assert self.state("waiting") == "cancelled"
        assert self.acted() == [("cancel", str(self.commands["waiting"]))] * 2

    def test_a_halted_signer_goes_on(self, browser):
        browser.submit("/console/signers/treasury/resume")

        html = browser.get("/console/signers").text
        assert "halted" not in html
        assert "/resume" not in html
        assert self.acted() == [("resume", "treasury")]

    def test_what_is_not_there_is_said(self, browser):
        missing = f"{'0' * 8}-0000-7000-8000-{'0' * 12}"

        browser.submit(f"/console/commands/{missing}/release", 404)
        browser.submit("/console/signers/nobody/resume", 404)


def test_the_pages_are_in_the_package():
    folder = Path(api.console.__file__).parent
    made = (Path(__file__).parents[3] / "setup.cfg").read_text()

    assert list(folder.glob("templates/*.html"))
    assert list(folder.glob("static/*.css"))
    assert "console/templates/*.html, console/static/*.css" in made
