"""Notices reach a mail server and a webhook, once each; failures are tried again."""

import io
import json
import logging
import threading
import uuid
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from click.testing import CliRunner

from db import notices
from db.accounts import accounts
from db.declare import (
    Entry,
    Notice,
    Text,
    ToAccount,
    ToChannel,
    ToWallet,
    Wording,
    reaction,
)
from db.journal.append import Actor, append
from db.notices import NoticeState
from db.registry import Registry
from db.schema import migrate
from indexer.react import JournalSource, run_reactions
from ops.cli.main import main
from ops.doctor import examine
from ops.indexing import declared
from ops.logs import configure_logging
from ops.notifying import ATTEMPTS, pause_after, send_due, send_notices
from ops.ports import free_port
from ops.settings import load_settings
from ops.settings.model import NotificationSettings

NOW = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)
PASSWORD = "hunter-two-and-a-half"
TOKEN = "T0K3N-of-the-webhook"
TOLD = Wording(
    en=("{title} is yours", "It is in {where}."),
    fr=("{title} est à vous", "C'est dans {where}."),
)


class Sold(Entry):
    """A copy was sold."""

    __domain__ = "stall"
    account = Text()
    title = Text()


@reaction(to=Sold)
def tell(entry, tables):
    """The buyer and the team are told."""
    said = {"title": entry.title, "where": "your wallet"}
    yield Notice("sold", TOLD, to=ToAccount(entry.account), **said)
    yield Notice("sold", TOLD, to=ToChannel("team"), **said)


REGISTRY = Registry.of([Sold], [], reactions=[tell])


class Mailbox:
    """What a mail server was given; it refuses whoever is in `refused`."""

    def __init__(self):
        self.letters, self.refused = [], set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return f"550 no such user {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = message_from_bytes(envelope.content, policy=policy.default)
        self.letters.append((envelope.rcpt_tos, letter))
        return "250 OK"


class Hook(ThreadingHTTPServer):
    """A webhook that keeps what it is sent, and answers with `status`."""

    def __init__(self):
        self.told, self.status = [], 200
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def mailbox():
    box = Mailbox()

    def authenticate(server, session, envelope, mechanism, given):
        return AuthResult(success=given.password == PASSWORD.encode())

    controller = Controller(
        box, hostname="127.0.0.1", port=free_port(), authenticator=authenticate,
        auth_require_tls=False, auth_required=True,
    )  # fmt: skip
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


@pytest.fixture
def hook():
    server = Hook()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings(tmp_path, mailbox, hook, database_url):
    (tmp_path / "chainfold.toml").write_text(
        f"""
        domains = []
        [database]
        url = "{database_url}"
        [notifications]
        language = "fr"
        mail_env = "MAIL"
        [notifications.channels.team]
        url_env = "TEAM"
        language = "en"
        """
    )
    environ = {
        "MAIL": f"mailto://shop:{PASSWORD}@127.0.0.1:{mailbox.port}"
        "?from=shop@example.org",
        "TEAM": f"json://127.0.0.1:{hook.server_port}/{TOKEN}",
    }
    return load_settings(str(tmp_path / "chainfold.toml"), environ)


@pytest.fixture
def engine(db_engine):
    migrate(db_engine, REGISTRY)
    return db_engine


def account(engine, login="zoe@example.org"):
    with engine.begin() as connection:
        return accounts.create_account(
            connection, login, account_id=uuid.uuid4(), roles=[], now=NOW
        ).id


def ask(engine, to, *, cause="c-1", name="sold", title="Été"):
    item = Notice(name, TOLD, to=to, title=title, where="a wallet")
    with engine.begin() as connection:
        return notices.ask(connection, item, cause=cause, now=NOW)


def rows(engine):
    with engine.connect() as connection:
        return notices.latest(connection, limit=100)[::-1]


def send(settings, engine, now=NOW):
    return send_due(settings.notifications, engine, now)


def test_an_entry_leads_to_an_e_mail_and_a_message_once(
    engine, settings, mailbox, hook
):
    buyer = account(engine)
    with engine.begin() as connection:
        entry = Sold(account=str(buyer), title="Chapter 7 {where}")
        append(connection, REGISTRY, entry, actor=Actor("t", tenant="t"), now=NOW)
    journal = JournalSource(engine, REGISTRY)

    assert (run_reactions(journal), run_reactions(journal)) == (2, 0)
    later = datetime.now(UTC)
    assert (send(settings, engine, later), send(settings, engine, later)) == (2, 0)

    [(to, letter)] = mailbox.letters
    assert to == ["zoe@example.org"]
    assert letter["Subject"] == "Chapter 7 {where} est à vous"
    assert letter["From"].addresses[0].addr_spec == "shop@example.org"
    assert "C'est dans your wallet." in letter.get_body(("plain", "html")).get_content()
    [told] = hook.told
    assert (told["title"], told["message"]) == (
        "Chapter 7 {where} is yours", "It is in your wallet."
    )  # fmt: skip
    assert [each.state for each in rows(engine)] == [NoticeState.SENT] * 2


def test_what_somebody_wrote_is_no_markup_in_an_e_mail(engine, settings, mailbox):
    evil = '<a href="https://evil.example.org">pay here</a> & <img src="//e/p.gif">'
    ask(engine, ToAccount(str(account(engine))), title=evil)
    with engine.begin() as connection:
        item = Notice(
            "n", TOLD, to=ToAccount(rows(engine)[0].recipient), title="x", where=evil
        )
        notices.ask(connection, item, cause="c-2", now=NOW)

    assert send(settings, engine) == 2

    for _, letter in mailbox.letters:
        for part in letter.walk():
            if part.get_content_type() == "text/html":
                assert "<a " not in part.get_content()
                assert "<img" not in part.get_content()
    assert mailbox.letters[0][1]["Subject"] == f"{evil} est à vous"


def test_the_owner_of_a_wallet_is_written_to(engine, settings, mailbox):
    owner, wallet = account(engine), bytes(range(32))
    with engine.begin() as connection:
        accounts.link_wallet(connection, owner, wallet, now=NOW, kind=accounts.SOLANA)
    ask(engine, ToWallet(wallet))
    ask(engine, ToWallet(wallet[::-1]))  # of nobody here

    send(settings, engine)

    assert [to for to, _ in mailbox.letters] == [["zoe@example.org"]]
    sent, failed = rows(engine)
    assert (sent.state, failed.state) == (NoticeState.SENT, NoticeState.FAILED)
    assert failed.reason == "the recipient has no account with an e-mail address"


def test_what_fails_is_tried_again_later_and_given_up_in_the_end(
    engine, settings, hook
):
    ask(engine, ToChannel("team"))
    hook.status = 503
    now, tried = NOW, 0
    while rows(engine)[0].state is NoticeState.WAITING:
        tried += send(settings, engine, now)
        assert send(settings, engine, now) == 0  # not before its time
        now += pause_after(tried)

    [row] = rows(engine)
    assert (tried, row.attempts, row.state) == (ATTEMPTS, ATTEMPTS, NoticeState.FAILED)
    assert "503" in row.reason
    hook.status = 200
    with engine.begin() as connection:
        assert notices.retry(connection, row.id, now)
        assert not notices.retry(connection, row.id, now)
    send(settings, engine, now)
    assert rows(engine)[0].state is NoticeState.SENT
    assert len(hook.told) == ATTEMPTS + 1


def test_pauses_double_up_to_an_hour():
    pauses = [pause_after(number).total_seconds() for number in range(1, 12)]

    assert pauses[:4] == [15, 30, 60, 120]
    assert pauses[-2:] == [3_600, 3_600]
    assert sum(pauses) > 3 * 3_600


def test_a_sender_that_died_has_its_notice_sent_by_another(engine, settings, hook):
    ask(engine, ToChannel("team"))
    with engine.begin() as connection:
        [taken] = notices.take(connection, NOW)  # and it dies here

    assert send(settings, engine) == 0
    assert send(settings, engine, NOW + notices.TAKEN_FOR) == 1
    [row] = rows(engine)
    assert (row.id, row.state, row.attempts) == (taken.id, NoticeState.SENT, 2)
    assert len(hook.told) == 1


def test_two_senders_share_what_is_due(engine, settings, hook):
    for number in range(60):
        ask(engine, ToChannel("team"), cause=f"c-{number}")
    start = threading.Barrier(3)

    def work():
        start.wait()
        while send(settings, engine):
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(hook.told) == 60
    assert {each.attempts for each in rows(engine)} == {1}


@pytest.fixture
def log():
    """What our own log says, at its finest."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    configure_logging(level=logging.DEBUG, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_no_secret_and_no_address_is_kept_or_logged(
    engine, settings, mailbox, hook, log
):
    mailbox.refused.add("zoe@example.org")
    logging.getLogger("mail.log").propagate = False  # the server of this test
    ask(engine, ToAccount(str(account(engine))))
    ask(engine, ToChannel("team"))
    hook.status = 500
    send(settings, engine)

    said = "\n".join([log.getvalue(), *(each.reason for each in rows(engine))])
    assert said.count("notice_not_sent") == 2
    for secret in (PASSWORD, TOKEN, "zoe@example.org"):
        assert secret not in said


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        (ToChannel("press"), "write [notifications.channels.press]"),
        (ToAccount("no uuid"), "no account with an e-mail address"),
        (ToAccount(str(uuid.uuid4())), "no account with an e-mail address"),
    ],
)
def test_who_cannot_be_reached_is_told_with_the_remedy(engine, settings, to, reason):
    ask(engine, to)

    send(settings, engine)

    assert reason in rows(engine)[0].reason


def test_a_channel_that_is_configured_later_has_what_waited(
    engine, settings, hook, tmp_path
):
    path = str(tmp_path / "chainfold.toml")
    ask(engine, ToChannel("team"))
    send(load_settings(path, {}), engine)
    assert "not in TEAM: set it" in rows(engine)[0].reason

    send(settings, engine, NOW + pause_after(1))

    assert len(hook.told) == 1


def test_without_settings_nobody_is_told_and_nothing_waits(engine, settings, hook):
    ask(engine, ToChannel("team"))

    assert send_due(NotificationSettings(), engine, NOW) == 1

    [row] = rows(engine)
    assert (row.state, row.next_action_at) == (NoticeState.OFF, None)
    with engine.begin() as connection:
        assert notices.retry(connection, row.id, NOW)
    send(settings, engine)
    assert len(hook.told) == 1


def test_a_notice_is_asked_for_once(engine):
    assert ask(engine, ToChannel("team"))
    assert not ask(engine, ToChannel("team"))
    assert ask(engine, ToChannel("team"), name="other")
    assert ask(engine, ToChannel("press"))
    assert ask(engine, ToChannel("team"), cause="c-2")
    daily = [
        Notice("low", TOLD, to=ToChannel("team"), once="Monday", title="x", where="y")
        for _ in range(2)
    ]
    with engine.begin() as connection:
        asked = [
            notices.ask(connection, each, cause=f"hour {n}", now=NOW)
            for n, each in enumerate(daily)
        ]
    assert asked == [True, False]


def test_what_ended_long_ago_is_forgotten(engine, settings):
    ask(engine, ToAccount("nobody"))
    send(settings, engine)
    ask(engine, ToChannel("team"), cause="c-2")
    with engine.begin() as connection:
        assert notices.forget(connection, NOW + timedelta(days=89)) == 0
        assert notices.forget(connection, NOW + timedelta(days=91)) == 1
        assert notices.counts(connection)[NoticeState.WAITING] == 1


def test_the_loop_sends_until_it_is_stopped(engine, settings, hook):
    ask(engine, ToChannel("team"))
    stop = threading.Event()
    thread = threading.Thread(target=send_notices, args=(settings, engine, stop))
    thread.start()
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while not hook.told and datetime.now(UTC) < deadline:
        stop.wait(0.05)
    stop.set()
    thread.join(10)

    assert not thread.is_alive()
    assert len(hook.told) == 1


def test_verbs_list_try_again_and_try_out(db_engine, settings, hook, tmp_path):
    engine = db_engine
    migrate(engine, declared(settings))
    environ = {"TEAM": settings.notifications.channels["team"].url.value}

    def run(*words):
        given = ["--config", str(tmp_path / "chainfold.toml"), "notice", *words]
        return CliRunner().invoke(main, given, env=environ)

    ask(engine, ToAccount("nobody"))
    send(settings, engine)
    [row] = rows(engine)

    line = f"{row.id}  2026-11-29 09:30  failed  sold to account nobody"
    assert line in run("list", "--state", "failed").output
    assert run("retry", str(row.id)).exit_code == 0
    refused = run("retry", str(row.id))
    assert (refused.exit_code, "did not fail" in refused.output) == (2, True)
    assert run("test", "team").output == "sent to team\n"
    assert hook.told[0]["title"] == "A test of notices"
    for words, said in (
        ((), "say a channel of the settings, or --to and an address"),
        (("press",), "write [notifications.channels.press]"),
        (("--to", "a@example.org"), "not in MAIL: set it"),
    ):
        failed = run("test", *words)
        assert (failed.exit_code, said in failed.output) == (2, True), failed.output
    hook.status = 404
    failed = run("test", "team")
    assert (failed.exit_code, "404" in failed.output) == (2, True)
    assert TOKEN not in failed.output


def test_doctor_names_addresses_that_cannot_be(settings, tmp_path):
    path = str(tmp_path / "chainfold.toml")
    good = {each.check: each for each in examine(settings, REGISTRY)}
    assert good["notifications mail"].well
    assert good["notifications team"].detail == "in en"

    bad = load_settings(path, {"MAIL": "smtp.example.org", "TEAM": "pigeon://roof"})
    found = {each.check: each for each in examine(bad, REGISTRY)}

    for name in ("notifications mail", "notifications team"):
        assert not found[name].well
        assert "of no form that apprise knows" in found[name].detail


def test_settings_of_another_language_or_without_an_address_are_refused(tmp_path):
    (tmp_path / "chainfold.toml").write_text(
        '[notifications]\nlanguage = "de"\n[notifications.channels.team]\n'
    )

    with pytest.raises(Exception, match="language: is one of en, fr") as caught:
        load_settings(str(tmp_path / "chainfold.toml"), {})
    assert "url_env: is required" in str(caught.value)
