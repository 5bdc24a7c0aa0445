"""Documents over HTTP: who may do what, what is kept of it, and how it is lost."""

import hashlib
import io
import os
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from commands.documents import Documents, DocumentType, Quota, Upload
from commands.files import inspect
from commands.s3 import S3Storage
from commands.storage import FolderStorage
from commands.sweeping import sweep
from db.commands.evm.slots import register_signer
from db.declare.roles import Role
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from db.journal.append import Actor
from db.journal.personal import erase
from db.journal.verify import faults
from helpers import servers
from helpers.bucket import BUCKET, KEYS, bucket_server
from helpers.office import REGISTRY, Office
from helpers.samples import GOOD, archive, pdf, png
from helpers.tables import problems

BASE = "/api/v1/issuers/kyc"
MOST = 100_000
SECRET = b"Wilhelmina Quetzalcoatl"
NAME = "wilhelmina-passport.pdf"
NOISE = random.Random(7)
_counter = iter(range(1, 1_000_000))


def noise(size):
    """What compressed content is like: no byte is more likely than another."""
    return NOISE.randbytes(size)


def fresh(make=pdf, **more):
    """A file that nobody has handed in yet."""
    return make(b"%d" % next(_counter), **more)


class SignerContext(Office):
    """An office that takes documents."""

    def __init__(self, url, folder, storage=None):
        super().__init__(url)
        self.folder = folder
        self.documents = Documents(
            self.writer, REGISTRY, storage or FolderStorage(folder), self.clock, MOST
        )
        self.command_service = self.with_lane(
            addresses={**self.lane.addresses, "AnchorRegistry": b"\1" * 20}
        )
        with self.writer.begin() as connection:
            register_signer(
                connection, name="notary", source_id=self.source, address=b"\2" * 20,
                next_nonce=0, gate_height=0,
            )  # fmt: skip
        self.open(command_service=self.command_service, documents=self.documents)

    def upload(self, content, status=201, *, by=ISSUER, name=NAME,
               kind="application/pdf", type_="passport", **fields):  # fmt: skip
        form = {"type": type_, "file": (io.BytesIO(content), name, kind), **fields}
        token = self.by(by) if isinstance(by, Role) else by
        return self.call(
            "POST", f"{BASE}/upload", status, token=token, data=form,
            content_type="multipart/form-data",
        )  # fmt: skip

    def new(self, **options):
        return self.upload(fresh(), **options).json["data"]

    def decide(self, document, what, status=200, *, by=Role.COMPLIANCE, body=None):
        token = self.by(by) if isinstance(by, Role) else by
        return self.post(
            f"{BASE}/{document['id']}/{what}", body or {}, status, token=token
        )

    def state(self, document, by=ISSUER):
        path = f"{BASE}/{document['id']}"
        return self.get(path, token=self.by(by)).json["data"]

    def dump(self):
        """Every table and every file, as text."""
        with self.writer.connect() as connection:
            names = connection.execute(
                text(
                    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                    " WHERE schemaname IN ('control', 'facts', 'state')"
                )
            ).scalars()
            tables = [
                str(connection.execute(text(f"SELECT t::text FROM {name} t")).all())
                for name in list(names)
            ]
        files = [p.read_bytes().hex() for p in self.folder.rglob("*") if p.is_file()]
        return "\n".join([*tables, *files])


@pytest.fixture(scope="module")
def desk(postgres_url, tmp_path_factory):
    with servers.fresh_database(postgres_url) as url:
        found = SignerContext(url, tmp_path_factory.mktemp("documents"))
        yield found
        found.close()


@pytest.fixture
def own_desk(database_url, tmp_path):
    found = SignerContext(database_url, tmp_path / "documents")
    yield found
    found.close()


@pytest.fixture
def otherwise(desk):
    """Opens the desk with some things otherwise, until the test has ended."""

    def change(**changes):
        desk.open(
            command_service=desk.command_service,
            documents=replace(desk.documents, **changes),
        )
        return desk

    yield change
    change()


def test_a_document_from_its_upload_to_the_chain(desk):
    content = fresh()
    answer = desk.upload(content)
    made = answer.json["data"]

    assert ("pending", "passport", NAME) == (
        made["status"], made["type"], made["file_name"]
    )  # fmt: skip
    assert "0x" + hashlib.sha256(content).hexdigest() == made["sha256"]
    assert made["sha256"] != made["content_hash"]
    assert f"{BASE}/{made['id']}" == answer.headers["Location"]
    assert "wrong_document_status" in desk.decide(made, "anchor", 409).json["type"]

    verified = desk.decide(made, "verify").json["data"]
    assert ("verified", f"account:{desk.people[Role.COMPLIANCE]}") == (
        verified["status"], verified["reviewer"]
    )  # fmt: skip
    anchored = desk.decide(made, "anchor", 202).json["data"]
    again = desk.decide(made, "anchor", 200).json["data"]
    assert anchored["id"] == again["id"]
    assert ("anchor-hash", made["content_hash"], 102) == (
        anchored["kind"],
        anchored["arguments"]["content_hash"],
        anchored["arguments"]["kind"],
    )


def test_a_rejected_document_says_why_to_its_owner(desk):
    made = desk.new()

    for body in ({}, {"reason": " "}, {"reason": "x" * 2001}, {"reason": "a\u0000"}):
        desk.decide(made, "reject", 400, body=body)
    desk.decide(made, "reject", body={"reason": "The photograph is blurred."})

    state = desk.state(made)
    assert ("rejected", "The photograph is blurred.") == (
        state["status"], state["reason"]
    )  # fmt: skip
    desk.decide(made, "verify", 409)
    desk.decide(made, "reject", 409, body={"reason": "Again."})


def test_nobody_decides_about_their_own(desk):
    both = desk.token(desk.account(ISSUER, Role.COMPLIANCE))
    made = desk.upload(fresh(), by=both).json["data"]

    refused = desk.decide(made, "verify", 403, by=both)

    assert "somebody else" in refused.json["detail"]
    desk.decide(made, "verify")


@pytest.mark.parametrize("role", [ISSUER, Role.AUDITOR, Role.OPERATOR])
def test_only_compliance_decides(desk, role):
    made = desk.new(by=INVESTOR)

    for what in ("verify", "reject", "anchor"):
        desk.decide(made, what, 403, by=role, body={"reason": "No."})
    assert "pending" == desk.state(made, by=Role.COMPLIANCE)["status"]


def test_who_may_hand_in_and_who_may_look(desk):
    made = desk.new()
    path = f"{BASE}/{made['id']}"

    desk.upload(fresh(), 403, by=Role.AUDITOR)
    desk.get(path, 401)
    desk.get(f"{path}/file", 401)
    desk.get(BASE, 401)
    for role in (INVESTOR, Role.OPERATOR):
        token = desk.by(role)
        assert "no_such_document" in desk.get(path, 404, token=token).json["type"]
        desk.get(f"{path}/file", 404, token=token)
    for role in (ISSUER, Role.COMPLIANCE, Role.AUDITOR):
        desk.get(path, token=desk.by(role))
    desk.get(f"{BASE}/{uuid.uuid4()}", 404, token=desk.by(Role.COMPLIANCE))
    desk.get(f"{BASE}/../../etc", 404, token=desk.by(Role.COMPLIANCE))
    mine = desk.get(BASE, token=desk.by(ISSUER)).json["data"]
    assert made["id"] in [each["id"] for each in mine]
    theirs = desk.get(BASE, token=desk.by(Role.OPERATOR)).json["data"]
    assert [] == theirs


def test_every_reading_is_in_the_journal(desk):
    content = fresh()
    made = desk.upload(content).json["data"]
    path = f"{BASE}/{made['id']}/file"

    mine = desk.get(path, token=desk.by(ISSUER))
    desk.get(path, token=desk.by(Role.AUDITOR))

    assert content == mine.data
    assert "application/pdf" == mine.mimetype
    assert (
        f'attachment; filename="passport-{made["id"]}.pdf"'
        == (mine.headers["Content-Disposition"])
    )
    assert "nosniff" == mine.headers["X-Content-Type-Options"]
    assert mine.headers["Content-Security-Policy"].startswith("sandbox")
    assert "no-store" == mine.headers["Cache-Control"]
    assert 2 == desk.state(made)["reads"]
    with desk.writer.connect() as connection:
        readers = connection.execute(
            text(
                "SELECT actor, body->>'reader' FROM control.journal_entry"
                " WHERE kind = 'compliance.DocumentRead' AND body->>'document' = :id"
                " ORDER BY seq"
            ),
            {"id": made["id"]},
        ).all()
    wanted = [f"account:{desk.people[r]}" for r in (ISSUER, Role.AUDITOR)]
    assert [(who, who) for who in wanted] == [tuple(row) for row in readers]


def test_the_same_file_is_kept_once(desk):
    content = fresh()
    first = desk.upload(content).json["data"]

    assert first["id"] == desk.upload(content, 200).json["data"]["id"]
    other = desk.upload(content, type_="bank_statement").json["data"]
    assert (first["content_hash"], True) == (
        other["content_hash"], first["id"] != other["id"]
    )  # fmt: skip
    foreign = desk.upload(content, by=INVESTOR).json["data"]
    assert foreign["sha256"] == first["sha256"]
    assert foreign["content_hash"] != first["content_hash"], "a salt for each person"
    desk.decide(first, "reject", body={"reason": "Blurred."})
    assert first["id"] != desk.upload(content).json["data"]["id"]


def test_the_same_file_at_the_same_moment_is_kept_once(desk):
    content, account = fresh(), desk.people[ISSUER]
    seen = inspect(content, name=NAME, media_type="application/pdf")
    given = Upload(account, DocumentType.PASSPORT, content, seen)
    start = threading.Barrier(4)

    def work():
        start.wait()
        return desk.documents.upload(given, Actor("t"))

    with ThreadPoolExecutor(4) as pool:
        done = [each.result() for each in [pool.submit(work) for _ in range(4)]]

    assert 1 == len({document.id for document, _ in done})
    assert [False, False, False, True] == sorted(new for _, new in done)


def test_a_document_takes_the_place_of_another(desk):
    first = desk.new()
    second = desk.upload(fresh(), supersedes=first["id"]).json["data"]

    state = desk.state(first)
    assert ("superseded", second["id"]) == (state["status"], state["superseded_by"])
    desk.decide(first, "verify", 409)
    desk.upload(fresh(), 409, supersedes=first["id"])
    desk.upload(fresh(), 404, by=INVESTOR, supersedes=second["id"])
    desk.upload(fresh(), 404, supersedes=str(uuid.uuid4()))
    assert "pending" == desk.state(second)["status"]


@pytest.mark.parametrize("ending", GOOD)
def test_every_kind_of_file(desk, ending):
    make, kind = GOOD[ending]
    made = desk.upload(fresh(make), name=f"x.{ending}", kind=kind).json["data"]

    assert kind == made["media_type"]


@pytest.mark.parametrize(
    ("content", "options", "status"),
    [
        (b"", {}, 422),
        (b"<html></html>", {}, 422),
        (pdf() + b"<script>", {}, 422),
        (pdf(archive()), {}, 422),
        (png(), {}, 422),
        (png(), {"name": "x.png", "kind": "image/jpeg"}, 422),
        (pdf(), {"name": "x.exe"}, 422),
        (pdf(), {"type_": "selfie"}, 400),
        (pdf(), {"type_": ""}, 400),
        (pdf(), {"supersedes": "1"}, 400),
        (pdf(), {"more": "1"}, 400),
        (pdf(), {"more": (io.BytesIO(b"x"), "x.pdf")}, 400),
        (pdf(noise(MOST)), {}, 413),
        (pdf(noise(MOST * 2)), {}, 413),
    ],
)
def test_bad_uploads_are_refused_and_leave_nothing(desk, content, options, status):
    before = sum(1 for _ in desk.folder.rglob("*"))

    desk.upload(content, status, **options)

    assert before == sum(1 for _ in desk.folder.rglob("*"))


@pytest.mark.parametrize("size", [500_000, 1 << 20, 3_000_001, 9_990_000])
def test_files_as_they_are_are_taken_in_every_size(otherwise, size):
    """Compressed: any byte may stand anywhere, those of line ends and dashes too."""
    desk = otherwise(max_bytes=10 << 20)
    for _ in range(4):
        content = pdf(noise(size))
        made = desk.upload(content).json["data"]
        path = f"{BASE}/{made['id']}/file"
        assert content == desk.get(path, token=desk.by(ISSUER)).data


def files(desk):
    return {path.name for path in desk.folder.rglob("*") if path.is_file()}


def test_an_account_has_so_many_documents_and_bytes_of_them(otherwise):
    desk = otherwise(quota=Quota(documents=2, total_bytes=2000))
    who = desk.token(desk.account(ISSUER))
    first = pdf(noise(500))
    desk.upload(first, by=who)
    before = files(desk)

    answer = desk.upload(pdf(noise(1500)), 409, by=who).json
    assert "/docs#quota_reached" == answer["type"]
    assert before == files(desk)

    desk.upload(pdf(noise(300)), by=who)
    desk.upload(fresh(), 409, by=who)
    desk.upload(first, 200, by=who)  # the same is no more
    other = desk.token(desk.account(ISSUER))
    desk.upload(fresh(), by=other)  # others have their own


def test_rows_of_documents_are_their_owner_s_and_compliance_s(desk):
    anna, ben = (desk.token(desk.account(INVESTOR)) for _ in range(2))
    made = desk.upload(fresh(), by=anna).json["data"]

    for path in ("kyc_documents", "events/compliance_document_uploaded"):
        rows = desk.get(f"/api/v1/{path}", token=anna).json["data"]
        assert [made["id"]] == [row["document"] for row in rows]
        assert [] == desk.get(f"/api/v1/{path}", token=ben).json["data"]
    one = f"/api/v1/kyc_documents/{made['id']}"
    desk.get(one, token=anna)
    desk.get(one, 404, token=ben)
    desk.get(one, token=desk.by(Role.COMPLIANCE))


def test_what_is_refused_for_what_it_supersedes_is_not_stored(desk):
    first = desk.new()
    desk.upload(fresh(), supersedes=first["id"])
    before = files(desk)

    desk.upload(fresh(), 409, supersedes=first["id"])
    desk.upload(fresh(), 404, supersedes=str(uuid.uuid4()))

    assert before == files(desk)


def test_files_that_no_document_speaks_of_are_swept_away_after_a_week(desk):
    kept = desk.new()["content_hash"][2:]
    lost, new = "ab" * 32, "cd" * 32
    for name in (lost, new):
        desk.documents.storage.put(name, b"nobody speaks of it")
    part = desk.folder / "ab" / f".{lost}.0011"
    part.write_bytes(b"half")
    for name in (kept, lost, part.name):
        [path] = desk.folder.rglob(name)
        os.utime(path, (0, 0))

    assert 1 == sweep(desk.documents)

    assert {kept, new} <= files(desk)
    assert files(desk).isdisjoint({lost, part.name})


def test_a_file_that_was_swept_while_it_was_handed_in_again_is_there(desk, otherwise):
    storage = desk.documents.storage

    class Sweeping:
        """A storage from which a file vanishes as soon as it was put."""

        def put(self, name, content):
            storage.put(name, content)
            if not vanished:
                vanished.append(name)
                storage.delete(name)

        def __getattr__(self, name):
            return getattr(storage, name)

    vanished = []
    otherwise(storage=Sweeping())
    made = desk.new()

    assert [made["content_hash"][2:]] == vanished
    desk.get(f"{BASE}/{made['id']}/file", token=desk.by(ISSUER))


def test_names_never_become_paths(desk):
    made = desk.new(name="../../../etc/passwd.pdf")

    assert "passwd.pdf" == made["file_name"]
    names = [path.name for path in desk.folder.rglob("*") if path.is_file()]
    assert made["content_hash"][2:] in names
    assert not any("passwd" in name for name in names)


def test_other_bodies_and_two_files_are_refused(desk):
    token = desk.by(ISSUER)
    desk.post(f"{BASE}/upload", {"type": "passport"}, 415, token=token)
    two = {"type": "passport", "file": [
        (io.BytesIO(pdf()), "a.pdf", "application/pdf"),
        (io.BytesIO(pdf()), "b.pdf", "application/pdf"),
    ]}  # fmt: skip
    desk.call(
        "POST", f"{BASE}/upload", 400, token=token, data=two,
        content_type="multipart/form-data",
    )  # fmt: skip


def test_files_are_not_kept_in_clear(own_desk):
    made = own_desk.upload(pdf(SECRET), name=f"{SECRET.decode()}.pdf").json["data"]
    own_desk.decide(made, "reject", body={"reason": f"Not {SECRET.decode()}."})

    dump = own_desk.dump()

    assert SECRET.decode() not in dump
    assert SECRET.hex() not in dump
    assert made["sha256"][2:] not in dump
    assert made["content_hash"][2:] in dump, "which shows that the search finds things"


def test_an_erased_owner_takes_the_files_along(own_desk):
    made = own_desk.upload(pdf(SECRET)).json["data"]
    owner = str(own_desk.people[ISSUER])
    with own_desk.writer.begin() as connection:
        erase(connection, REGISTRY, owner, actor=Actor("t"), now=own_desk.clock())

    state = own_desk.state(made, by=Role.COMPLIANCE)
    assert (None, None) == (state["file_name"], state["sha256"])
    path = f"{BASE}/{made['id']}/file"
    lost = own_desk.get(path, 410, token=own_desk.by(Role.COMPLIANCE))
    assert "erased" in lost.json["detail"]
    own_desk.upload(fresh(), 410)
    assert [] == list(faults(own_desk.writer, REGISTRY))
    with own_desk.writer.connect() as connection:
        assert [] == problems(connection, REGISTRY)


def test_a_file_that_was_changed_or_lost_is_not_given_out(own_desk):
    made = own_desk.new()
    path = f"{BASE}/{made['id']}/file"
    [file] = [each for each in own_desk.folder.rglob("*") if each.is_file()]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1

    file.write_bytes(content)
    assert "not the one" in own_desk.get(
        path, 410, token=own_desk.by(ISSUER)
    ).json["detail"]  # fmt: skip
    file.unlink()
    own_desk.get(path, 410, token=own_desk.by(ISSUER))
    assert 0 == own_desk.state(made)["reads"]


@pytest.fixture
def server(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with bucket_server() as found:
        yield found


@pytest.fixture
def distant(migrated_url, tmp_path, server):
    """A desk whose files are in a bucket."""
    storage = S3Storage.open(BUCKET, prefix="live", endpoint=server.endpoint)
    found = SignerContext(migrated_url, tmp_path, storage)
    yield found
    found.close()


def test_a_document_in_a_bucket_from_its_upload_to_its_loss(distant, server):
    content = pdf(SECRET)
    made = distant.upload(content).json["data"]
    path = f"{BASE}/{made['id']}/file"

    assert made["id"] == distant.upload(content, 200).json["data"]["id"]
    [key] = server.listed()
    assert key.endswith(made["content_hash"][2:])
    assert SECRET not in server.read(key)
    assert content == distant.get(path, token=distant.by(Role.COMPLIANCE)).data
    distant.decide(made, "verify")
    distant.decide(made, "anchor", 202)
    assert 1 == distant.state(made)["reads"]

    server.client.put_object(Bucket=BUCKET, Key=key, Body=server.read(key)[:-1] + b"?")
    told = distant.get(path, 410, token=distant.by(ISSUER)).json["detail"]
    assert "not the one" in told
    server.client.delete_object(Bucket=BUCKET, Key=key)
    distant.get(path, 410, token=distant.by(ISSUER))
    assert 1 == distant.state(made)["reads"]


def test_a_bucket_that_is_away_takes_nothing_and_loses_nothing(distant, server):
    made = distant.new()
    path, token = f"{BASE}/{made['id']}/file", distant.by(ISSUER)
    [key] = server.listed()
    kept = server.read(key)
    server.client.delete_object(Bucket=BUCKET, Key=key)
    server.client.delete_bucket(Bucket=BUCKET)
    content = fresh()

    for answer in (
        distant.upload(content, 503), distant.get(path, 503, token=token),
    ):  # fmt: skip
        assert "storage_unavailable" in answer.json["type"]
        assert BUCKET not in answer.json["detail"], "where it is, is for operators"
        assert answer.headers["Retry-After"]
    mine = distant.get(BASE, token=token).json["data"]
    assert [(made["id"], 0)] == [(each["id"], each["reads"]) for each in mine]

    server.client.create_bucket(Bucket=BUCKET)
    server.client.put_object(Bucket=BUCKET, Key=key, Body=kept)
    distant.upload(content)
    distant.get(path, token=token)
    server.stop()
    distant.upload(fresh(), 503)


def test_there_are_nine_types():
    assert 9 == len(DocumentType)
