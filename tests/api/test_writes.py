"""Asking for a change: who may, what is refused, and that nothing happens twice."""

import hashlib
import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from commands.errors import NodeAway
from db.accounts.accounts import link_wallet
from db.commands.evm.tags import command_id_of
from db.declare.roles import Role
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.entries import CampaignApproved, CampaignDrafted
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from db.journal.append import Actor, append
from helpers.office import CONTRACTS, REGISTRY, SIGNERS, Office

A, B = b"\xaa" * 20, b"\xbb" * 20
ETB = 10**18
DAY = 86_400


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def hexed(value):
    return "0x" + value.hex()


def registration(issuer=A):
    return {"issuer": hexed(issuer), "credential": "vc", "memorandum": "ipfs://m"}


DRAFT = "0193b0a0-0000-7000-8000-000000000001"


def terms(**changes):
    return {
        "draft": DRAFT,
        "campaign_id": "CF-1", "company_name": "Coffee", "description": "More coffee",
        "goal": "5000", "duration": "P60D", "document_hash": "Qm",
        "beneficiary": hexed(A), **changes,
    }  # fmt: skip


def commands(office):
    return office.scalar("SELECT count(*) FROM control.command")


def test_a_command_is_taken_with_its_location(office):
    answer = office.ask("register-issuer", **registration())

    data = answer.json["data"]
    assert answer.headers["Location"] == f"/api/v1/commands/{data['id']}"
    assert data["state"] == "accepted"
    assert data["signer"] == "registrar"
    assert data["arguments"] == registration()
    sender, to, value, calldata = office.node.simulated[0]
    assert (sender, to, value) == (SIGNERS["registrar"], CONTRACTS["IssuerRegistry"], 0)
    assert command_id_of(calldata) == uuid.UUID(data["id"])


def test_the_same_key_asks_for_nothing_twice(office):
    first = office.ask("register-issuer", key="one", **registration())
    again = office.ask("register-issuer", 200, key="one", **registration())

    assert first.json["data"]["id"] == again.json["data"]["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert 1 == commands(office)


def test_two_accounts_may_use_the_same_key(office):
    office.ask("register-issuer", key="one", **registration())
    office.ask("register-issuer", key="one", by=Role.COMPLIANCE, **registration())

    assert 2 == commands(office)


@pytest.mark.parametrize("key", [None, "", '""', "a b", "x" * 201, "é"])
def test_a_change_needs_a_key(office, key):
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = office.post(
        "/api/v1/commands/register-issuer", registration(), 400,
        token=office.by(Role.OPERATOR), headers=headers,
    )  # fmt: skip

    assert answer.json["type"] == "/docs#idempotency_key_missing"
    assert 0 == commands(office)


def test_a_key_in_quotes_is_the_same_key(office):
    first = office.ask("register-issuer", key="one", **registration())
    again = office.ask("register-issuer", 200, key='"one"', **registration())

    assert first.json["data"]["id"] == again.json["data"]["id"]


def test_only_some_roles_may_ask(office):
    office.ask("register-issuer", 403, by=INVESTOR, **registration())
    office.ask("register-issuer", 403, by=Role.AUDITOR, **registration())
    nobody = office.post("/api/v1/commands/register-issuer", registration(), 401)

    assert nobody.headers["WWW-Authenticate"]
    assert 0 == commands(office)


def test_everything_wrong_with_the_body_is_told(office):
    wrong = {"issuer": "0x12", "memorandum": 5, "other": 1}
    answer = office.ask("register-issuer", 422, **wrong)

    told = "\n".join(answer.json["problems"])
    for part in ("issuer: expected 20", "memorandum: expected text", "other: no such",
                 "credential: it is required"):  # fmt: skip
        assert part in told
    assert 0 == commands(office)


@pytest.mark.parametrize("body", ["[1]", "{", '"x"', "null"])
def test_a_body_that_is_no_object_is_refused(office, body):
    answer = office.post(
        "/api/v1/commands/register-issuer", None, 400, data=body,
        token=office.by(Role.OPERATOR), headers={"Idempotency-Key": "one"},
        content_type="application/json",
    )  # fmt: skip

    assert answer.json["type"] == "/docs#bad_request"


def test_a_node_that_is_away_takes_nothing(office):
    office.node.away = NodeAway("no answer")

    answer = office.ask("register-issuer", 503, **registration())

    assert answer.headers["Retry-After"]
    assert 0 == commands(office)


def registered(office, issuer=A):
    office.story.emit(e.IssuerRegistered, issuer=issuer)


def test_all_reasons_against_a_campaign_are_told_at_once(office):
    registered(office)
    office.story.emit(
        e.ExclusivityLockChanged, issuer=A, campaign=B, locked=True, year=2023
    )
    office.story.emit(e.IssuerDeactivated, issuer=A)
    office.index()

    answer = office.ask("deploy-campaign", 422, **terms(goal="5", duration="60"))

    assert [
        "no_such_draft", "not_verified", "active_campaign", "already_one_this_year",
        "goal_too_low", "bad_duration",
    ] == [each["code"] for each in answer.json["reasons"]]  # fmt: skip
    assert [] == office.node.simulated


def test_nothing_is_decided_on_tables_that_are_read_in_parts(office):
    """As while a changed event is read again: some rows are there, others are not."""
    registered(office)
    office.index()
    office.index()
    with office.writer.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE control.coverage SET blocks = blocks - '{[1,2)}'::int8multirange"
            " WHERE event = 'crowdfunding.IssuerRegistered'"
        )

    answer = office.ask("register-issuer", 503, **registration(B))

    assert answer.json["type"] == "/docs#nothing_indexed"
    assert "read in parts" in answer.json["detail"]
    assert 0 == commands(office)


def test_who_is_not_registered_has_no_campaign(office):
    registered(office, B)
    office.index()

    drafted(office)
    answer = office.ask("deploy-campaign", 422, **terms())

    assert ["not_registered"] == [r["code"] for r in answer.json["reasons"]]


def drafted(office, *, approved=True, **changes):
    answer = office.ask("", path="/api/v1/campaigns", **terms(**changes))
    if approved:
        approve(office)
    return answer.json["data"]


def approve(office, status=202, *, revision=None):
    """Compliance approves the draft, by default in the revision that it reads."""
    return office.ask(
        "", status, path=f"/api/v1/campaigns/{DRAFT}/approve", by=Role.COMPLIANCE,
        revision=read_draft(office)["revision"] if revision is None else revision,
    )  # fmt: skip


def read_draft(office):
    path = f"/api/v1/campaign_drafts/{DRAFT}"
    return office.get(path, token=office.by(Role.COMPLIANCE)).json["data"]


def codes(answer):
    return [each["code"] for each in answer.json["reasons"]]


def test_a_campaign_is_drafted_approved_and_deployed(office):
    registered(office)
    office.index()
    path = f"/api/v1/campaigns/{DRAFT}"

    draft = drafted(office, approved=False)
    early = office.ask("", 422, path=f"{path}/deploy")
    approve(office)
    again = approve(office, 422)
    other = office.ask("deploy-campaign", 422, **terms(goal="9000"))
    rewritten = office.ask("draft-campaign", 422, **terms())
    deployed = office.ask("", path=f"{path}/deploy").json["data"]

    assert ("succeeded", True, None) == (
        draft["state"], draft["final"], draft["signer"],
    )  # fmt: skip
    assert ["not_approved"] == codes(early)
    assert ["not_pending"] == codes(again)
    assert ["terms_changed"] == codes(other)
    assert ["approved_already"] == codes(rewritten)
    assert ("accepted", "operator") == (deployed["state"], deployed["signer"])
    assert terms() == deployed["arguments"]
    row = office.get(f"/api/v1/campaign_drafts/{DRAFT}", token=office.by(Role.AUDITOR))
    assert "approved" == row.json["data"]["stage"]


def test_a_rejected_draft_may_be_written_anew(office):
    registered(office)
    office.index()
    drafted(office, approved=False)
    path = f"/api/v1/campaigns/{DRAFT}/reject"
    office.ask("", path=path, by=Role.COMPLIANCE, revision=1, reason="no plan")

    early = office.ask("", 422, path=f"/api/v1/campaigns/{DRAFT}/deploy")
    drafted(office, description="With a plan")
    office.ask("", path=f"/api/v1/campaigns/{DRAFT}/deploy")

    assert ["not_approved"] == codes(early)


def test_an_issuer_drafts_only_for_its_own_wallet(office):
    stranger = office.ask("draft-campaign", 422, by=ISSUER, **terms())
    with office.writer.begin() as connection:
        link_wallet(
            connection, office.people[ISSUER], A, kind="evm", now=office.clock()
        )

    assert ["not_your_wallet"] == codes(stranger)
    office.ask("draft-campaign", by=ISSUER, **terms())


def test_everything_asked_and_refused_is_in_the_journal(office):
    office.ask("register-issuer", **registration())
    office.ask("deactivate-issuer", 422, by=Role.COMPLIANCE, issuer=hexed(B))
    office.ask("draft-campaign", **terms())

    def entries(kind):
        path = f"/api/v1/events/{kind}"
        return office.get(path, token=office.by(Role.AUDITOR)).json["data"]

    [accepted], [refused] = (
        entries("audit_command_accepted"),
        entries("audit_command_refused"),
    )
    assert ("register-issuer", registration()) == (
        accepted["kind"], accepted["arguments"],
    )  # fmt: skip
    assert "not registered" in refused["reason"]
    assert [DRAFT] == [
        each["draft"] for each in entries("crowdfunding_campaign_drafted")
    ]
    office.get("/api/v1/events/audit_command_refused", 403, token=office.by(INVESTOR))
    actor = "SELECT actor || ' ' || address FROM control.journal_entry WHERE seq = 1"
    assert f"account:{office.people[Role.OPERATOR]} 127.0.0.1" == office.scalar(actor)


def test_text_is_no_longer_than_it_may_be(office):
    before = journal_bytes(office)
    for long in (
        {"description": "x" * 20_001}, {"company_name": "é" * 201},
        {"campaign_id": "C" * 101}, {"document_hash": "Q" * 2001},
    ):  # fmt: skip
        answer = office.ask("draft-campaign", 422, **terms(**long))
        [(name, value)] = long.items()
        assert f"{name}: it has {len(value)} characters" in answer.text
        assert len(answer.data) < 1000
    office.ask("draft-campaign", **terms(description="é" * 20_000))
    assert before < journal_bytes(office)


def journal_bytes(office):
    """What all entries take, as they are stored."""
    return office.scalar(
        "SELECT coalesce(sum(pg_column_size(e.*)), 0) FROM control.journal_entry e"
    )


def test_a_refusal_keeps_the_digest_of_what_is_long(office):
    noise = random.Random(5).randbytes(7000).hex()  # Postgres cannot compress it
    office.ask(
        "draft-campaign", 422, by=ISSUER,
        **terms(beneficiary=hexed(B), description=noise, goal="1"),
    )  # fmt: skip

    [refused] = office.get(
        "/api/v1/events/audit_command_refused", token=office.by(Role.AUDITOR)
    ).json["data"]
    digest = "0x" + hashlib.sha256(noise.encode()).hexdigest()
    assert {"sha256": digest, "characters": 14_000} == (
        refused["arguments"]["description"]
    )
    assert "Coffee" == refused["arguments"]["company_name"]
    assert journal_bytes(office) < 4000


@pytest.mark.parametrize("value", ["a\0b", "\0"])
def test_a_zero_character_is_refused_by_name(office, value):
    answer = office.ask(
        "register-issuer", 400, **{**registration(), "memorandum": value}
    )

    assert "memorandum holds a zero character" in answer.json["detail"]
    assert 0 == commands(office)


def test_a_field_that_is_there_twice_is_refused(office):
    body = b'{"issuer": "%s", "credential": "", "memorandum": "", "issuer": "%s"}' % (
        hexed(A).encode(), hexed(B).encode(),
    )  # fmt: skip
    answer = office.call(
        "POST", "/api/v1/commands/register-issuer", 400, data=body,
        token=office.by(Role.OPERATOR), content_type="application/json",
        headers={"Idempotency-Key": "k"},
    )  # fmt: skip

    assert "issuer is there twice" in answer.json["detail"]
    assert 0 == commands(office)


def test_the_document_tells_how_long_text_may_be(office):
    paths = office.get("/api/v1/openapi.json").json["paths"]
    for path, operations in paths.items():
        body = operations.get("post", {}).get("requestBody")
        if "/commands/" not in path or body is None:
            continue
        for name, schema in body["content"]["application/json"]["schema"][
            "properties"
        ].items():
            bounded = {"maxLength", "maximum", "pattern"} & schema.keys()
            told = "bytes at most" in schema.get("description", "")
            assert bounded or told or schema["type"] == "boolean", (path, name)


def campaign(office, stage=1, **created):
    registered(office)
    office.story.emit(
        e.CampaignCreated, campaign=B, beneficiary=A, goal=5000 * ETB,
        deadline=office.story.now + 60 * DAY, campaign_id="CF-1", **created,
    )  # fmt: skip
    office.story.emit(e.CampaignStatusChanged, campaign=B, new=stage)


def attested(**changes):
    return {
        "campaign": hexed(B), "investor": hexed(A), "amount": "200.00",
        "method": "telebirr",
        "payment_ref": hexed(b"\1" * 32), **changes,
    }  # fmt: skip


def test_a_payment_is_attested_once(office):
    campaign(office)
    office.story.emit(
        e.InvestmentMade, campaign=B, investor=A, investment=b"\5" * 32,
        amount=200 * ETB, payment_ref=b"\1" * 32,
    )  # fmt: skip
    office.index()

    used = office.ask("attest-investment", 422, **attested(amount="1"))
    office.ask(
        "", path="/api/v1/investments", **attested(payment_ref=hexed(b"\2" * 32))
    )

    assert ["too_little", "payment_used"] == [r["code"] for r in used.json["reasons"]]


def test_an_amount_is_written_and_answered_in_units(office):
    campaign(office)
    office.index()
    path = "/api/v1/investments"
    attested_at = {
        "campaign": hexed(B), "investor": hexed(A), "amount": "200.5",
        "method": "telebirr", "payment_ref": hexed(b"\1" * 32),
    }  # fmt: skip

    first = office.ask("", path=path, key="one", **attested(amount="200.50"))
    again = office.ask("", 200, path=path, key="one", **attested(amount="200.5"))
    other = office.ask("", 422, path=path, key="one", **attested(amount="200.51"))

    assert first.json["data"]["arguments"] == attested_at
    assert again.json["data"]["id"] == first.json["data"]["id"]
    assert other.json["type"] == "/docs#idempotency_key_reused"
    calldata = office.node.simulated[0][3]
    assert (2005 * ETB // 10).to_bytes(32) in calldata
    assert b"telebirr".ljust(32, b"\0") in calldata
    one = f"/api/v1/commands/{first.json['data']['id']}"
    token = office.by(Role.OPERATOR)
    assert attested_at == office.get(one, token=token).json["data"]["arguments"]
    raw = office.get(f"{one}?units=raw", token=token).json["data"]["arguments"]
    assert raw["amount"] == str(2005 * ETB // 10)
    [listed] = office.get("/api/v1/commands", token=token).json["data"]
    assert listed["arguments"] == attested_at


def test_a_client_that_writes_wei_is_told_so_and_may_say_so(office):
    """Read as units it would be 10^18 times too much, and a wallet would sign it."""
    campaign(office)
    office.index()
    in_wei = attested(amount=str(200 * ETB))

    refused = office.ask("attest-investment", 422, **in_wei)
    path = "/api/v1/investments?units=raw"
    coded = hexed(b"telebirr".ljust(32, b"\0"))
    taken = office.ask("", path=path, **{**in_wei, "method": coded}).json["data"]
    unclear = office.ask("", 400, path="/api/v1/investments?units=wei", **in_wei)

    [problem] = refused.json["problems"]
    assert "Amounts are in ETB: did you mean 200? For the smallest unit" in problem
    assert "?units=raw" in problem
    assert taken["arguments"]["amount"] == str(200 * ETB)
    assert len(office.node.simulated) == 1
    assert unclear.json["choices"] == ["raw"]


def test_a_row_fills_fields_with_what_is_stored(office):
    registered(office)
    office.index()
    drafted(office)

    path = f"/api/v1/campaigns/{DRAFT}/deploy"
    deployed = office.ask("", path=path).json["data"]

    assert deployed["arguments"]["goal"] == "5000"
    assert deployed["arguments"]["duration"] == "P60D"
    assert read_draft(office)["goal"] == "5000"
    assert read_draft(office)["duration"] == "P60D"


def test_a_path_fills_fields_and_a_row_fills_others(office):
    campaign(office)
    office.story.emit(
        e.InvestmentMade, campaign=B, investor=A, investment=b"\5" * 32,
        amount=200 * ETB,
    )  # fmt: skip
    office.index()
    office.story.emit(e.CampaignStatusChanged, campaign=B, old=1, new=3)
    office.index()

    paused = office.ask("", path=f"/api/v1/campaigns/{hexed(B)}/pause/")
    path = f"/api/v1/investments/0x{'05' * 32}/mint-nft"
    minted = office.ask("", path=path, uri="ipfs://c").json["data"]
    missing = f"/api/v1/investments/0x{'06' * 32}/mint-nft"
    office.ask("", 404, path=missing, uri="ipfs://c")
    twice = office.ask("", 422, path=path, uri="u", campaign=hexed(B))

    assert paused.json["data"]["arguments"] == {"campaign": hexed(B)}
    assert minted["kind"] == "mint-certificate"
    assert minted["arguments"] == {
        "campaign": hexed(B), "investor": hexed(A), "uri": "ipfs://c",
    }  # fmt: skip
    assert "in the path" in twice.json["detail"]


def test_a_signer_that_never_worked_is_named(office):
    with office.writer.begin() as connection:
        connection.exec_driver_sql(
            "DELETE FROM control.signer WHERE name = 'registrar'"
        )

    answer = office.ask("register-issuer", 503, **registration())

    assert "[signers.registrar]" in answer.json["detail"]


def test_routes_of_commands_are_in_the_document(office):
    paths = office.get("/api/v1/openapi.json").json["paths"]

    post = paths["/api/v1/commands/deploy-campaign"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert "goal" in schema["required"]
    assert post["security"] == [{"bearer": []}, {"key": []}]
    mint = paths["/api/v1/investments/{investment}/mint-nft"]["post"]
    body = mint["requestBody"]["content"]["application/json"]["schema"]
    assert ["uri"] == body["required"]


def test_what_happens_to_accounts_is_in_the_journal_too(office):
    body = {"login": "ada@example.org", "password": "a long enough password"}
    office.post("/api/v1/auth/register", body, 201)
    office.post("/api/v1/auth/token", {**body, "password": "x" * 12}, 401)

    path = "/api/v1/events/audit_security_event"
    told = office.get(path, token=office.by(Role.AUDITOR)).json["data"]
    kinds = [each["kind"] for each in told]
    assert "account_created" in kinds
    assert "sign_in_refused" in kinds
    assert "ada@example.org" not in str(told)
    [created] = [each for each in told if each["kind"] == "account_created"]
    assert uuid.UUID(created["account"])


@pytest.mark.parametrize(
    "body",
    [
        '{"issuer": "0x12", "credential": "\\ud800", "memorandum": "m"}',
        '{"\\ud800": 1}',
        '{"\\u0000": 1}',
        '{"issuer": ' + "9" * 9000 + "}",
        '{"issuer": ' + "[" * 60_000 + "]" * 60_000 + "}",
    ],
)
def test_a_body_that_cannot_be_stored_is_refused(office, body):
    answer = office.post(
        "/api/v1/commands/register-issuer", None, None, data=body,
        token=office.by(Role.OPERATOR), headers={"Idempotency-Key": "one"},
        content_type="application/json",
    )  # fmt: skip

    assert answer.status_code in (400, 422), answer.text
    assert 0 == commands(office)


def test_an_issuer_writes_over_no_draft_of_another(office):
    drafted(office, approved=False)
    with office.writer.begin() as connection:
        link_wallet(
            connection, office.people[ISSUER], B, kind="evm", now=office.clock()
        )

    answer = office.ask("draft-campaign", 422, by=ISSUER, **terms(beneficiary=hexed(B)))

    assert ["not_your_draft"] == codes(answer)


def test_a_draft_is_not_changed_while_it_is_approved(office):
    """Rules look again once no other entry can come between."""
    drafted(office, approved=False)
    with ThreadPoolExecutor(1) as pool:
        with office.writer.begin() as connection:
            append(
                connection, REGISTRY, CampaignApproved(draft=DRAFT, revision=1),
                actor=Actor("compliance"), now=office.clock(),
            )  # fmt: skip
            answer = pool.submit(
                office.ask, "draft-campaign", 422, **terms(description="Less coffee")
            )
            while not blocked(office) and not answer.done():
                pass
        refused = answer.result(30)

    assert ["approved_already"] == codes(refused)
    approve(office, 422)
    assert 1 == commands(office)


def test_a_verdict_is_on_the_draft_as_it_was_read(office):
    """Or what an issuer writes after the reading would be approved unread."""
    drafted(office, approved=False)
    read = read_draft(office)
    drafted(office, approved=False, goal="9000")

    verdict = {"by": Role.COMPLIANCE, "path": f"/api/v1/campaigns/{DRAFT}/reject"}
    approved = approve(office, 422, revision=read["revision"])
    rejected = office.ask(
        "", 422, **verdict, revision=read["revision"], reason="no plan"
    )
    unnamed = office.ask("", 422, **verdict, reason="no plan")

    assert ["draft_rewritten"] == codes(approved) == codes(rejected)
    assert "read it again" in approved.json["detail"]
    assert ["revision: it is required"] == unnamed.json["problems"]
    rewritten = read_draft(office)
    assert ("pending", 2) == (rewritten["stage"], rewritten["revision"])
    approve(office, revision=2)
    assert "approved" == read_draft(office)["stage"]
    entries = "/api/v1/events/crowdfunding_campaign_approved"
    [said] = office.get(entries, token=office.by(Role.AUDITOR)).json["data"]
    assert (DRAFT, "2") == (said["draft"], said["revision"])


def test_a_draft_that_is_written_anew_meanwhile_is_not_approved(office):
    """The verdict is ruled on again once no other entry can come between."""
    drafted(office, approved=False)
    entry = CampaignDrafted(
        **{**terms(goal=9000 * ETB, duration=60 * DAY), "beneficiary": A}
    )
    with ThreadPoolExecutor(1) as pool:
        with office.writer.begin() as connection:
            append(
                connection, REGISTRY, entry, actor=Actor("issuer"), now=office.clock()
            )
            answer = pool.submit(approve, office, 422, revision=1)
            while not blocked(office) and not answer.done():
                pass
        refused = answer.result(30)

    assert ["draft_rewritten"] == codes(refused)


def blocked(office):
    return office.scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
