"""What is about somebody is read by them and by the staff, and by nobody else."""

import pytest
from sqlalchemy import text

from db.accounts.accounts import link_wallet
from db.declare.roles import Role
from db.domains.crowdfunding.roles import ISSUER
from helpers.office import Office

ANNA, BEN, OTHER = b"\xa1" * 20, b"\xa2" * 20, b"\xb1" * 20
DRAFTS = "/api/v1/campaign_drafts"
DRAFTED = "/api/v1/events/crowdfunding_campaign_drafted"


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def person(office, *wallets, role=ISSUER):
    account = office.account(role)
    with office.writer.begin() as connection:
        for wallet in wallets:
            link_wallet(connection, account, wallet, kind="evm", now=office.clock())
    return office.token(account)


def draft(office, number, beneficiary):
    """A draft that an operator wrote down for an issuer; its id."""
    id_ = f"0193b0a0-0000-7000-8000-{number:012d}"
    office.ask(
        "draft-campaign", draft=id_, campaign_id=f"CF-{number}", company_name="Coffee",
        description="More coffee", goal="5000", duration="60 days",
        document_hash="Qm", beneficiary="0x" + beneficiary.hex(),
    )  # fmt: skip
    return id_


@pytest.fixture
def drafts(office):
    owners = (ANNA, BEN, OTHER, ANNA, OTHER)
    return [draft(office, number, owner) for number, owner in enumerate(owners)]


def ids(office, path, token):
    return [each["draft"] for each in office.get(path, token=token).json["data"]]


def test_lists_hold_what_is_one_s_own_by_any_wallet(office, drafts):
    both, one = person(office, ANNA, BEN), person(office, OTHER)
    nobody = person(office)

    for path in (DRAFTS, DRAFTED):
        assert {drafts[0], drafts[1], drafts[3]} == set(ids(office, path, both))
        assert {drafts[2], drafts[4]} == set(ids(office, path, one))
        assert [] == ids(office, path, nobody)
        for role in (Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR):
            assert set(drafts) == set(ids(office, path, office.by(role)))
        office.get(path, 401)


def test_filters_sorts_and_pages_do_not_widen_it(office, drafts):
    token = person(office, ANNA)
    theirs = "0x" + OTHER.hex()

    assert [] == ids(office, f"{DRAFTS}?beneficiary={theirs}", token)
    assert [] == ids(office, f"{DRAFTED}?draft={drafts[2]}", token)
    assert 2 == len(ids(office, f"{DRAFTS}?sort=-drafted_at", token))
    first = office.get(f"{DRAFTS}?limit=1", token=token).json
    then = office.get(f"{DRAFTS}?limit=1&after={first['next']}", token=token).json
    found = [each["draft"] for page in (first, then) for each in page["data"]]
    assert ([drafts[3], drafts[0]], None) == (found, then["next"])
    both = f"beneficiary={theirs}&beneficiary={'0x' + ANNA.hex()}"
    for path in (DRAFTS, DRAFTED):
        asked = office.get(f"{path}?{both}&count=true", None, token=token).json
        if path == DRAFTED:  # no index has it, so it is not counted
            assert 400 == asked["status"]
            asked = office.get(f"{path}?{both}", token=token).json
        else:
            assert {"rows": 2, "exact": True} == asked["count"]
        assert {drafts[0], drafts[3]} == {each["draft"] for each in asked["data"]}
    mine = office.get(f"{DRAFTED}?count=true", token=token).json
    assert len(mine["data"]) == mine["count"]["rows"]
    for name in ("beneficiary__own", "beneficiary__any"):
        office.get(f"{DRAFTS}?{name}={theirs}", 400, token=token)
    office.get(f"{DRAFTS}?as_of=3", 400, token=token)


def test_one_row_of_somebody_else_is_as_one_that_is_not_there(office, drafts):
    token, missing = person(office, ANNA), "0193b0a0-0000-7000-8000-999999999999"

    mine = office.get(f"{DRAFTS}/{drafts[0]}", token=token).json["data"]
    assert drafts[0] == mine["draft"]
    other = office.get(f"{DRAFTS}/{drafts[2]}", 404, token=token).json
    none = office.get(f"{DRAFTS}/{missing}", 404, token=token).json
    assert {**other, "instance": ""} == {**none, "instance": ""}
    office.get(f"{DRAFTS}/{drafts[2]}", token=office.by(Role.AUDITOR))


def test_what_one_may_see_is_not_another_s_from_a_cache(office, drafts):
    anna, ben = person(office, ANNA), person(office, BEN)
    seen = office.get(DRAFTS, token=anna)
    tag = {"If-None-Match": seen.headers["ETag"]}

    assert 304 == office.get(DRAFTS, None, token=anna, headers=tag).status_code
    assert 200 == office.get(DRAFTS, None, token=ben, headers=tag).status_code
    assert "private" in seen.headers["Cache-Control"]
    assert {"authorization", "x-api-key"} <= {v.lower() for v in seen.vary}


def test_a_wallet_that_is_let_go_takes_its_drafts_along(office, drafts):
    token = person(office, ANNA)
    assert ids(office, DRAFTS, token)
    with office.writer.begin() as connection:
        connection.execute(text("DELETE FROM control.wallet"))

    assert [] == ids(office, DRAFTS, token)


def test_what_happened_to_an_account_is_its_own(office):
    tokens = []
    for name in ("anna", "ben"):
        who = {"login": f"{name}@example.org", "password": "a long password of theirs"}
        made = office.post("/api/v1/auth/register", who, 201).json
        tokens.append(made["access_token"])
    me = office.get("/api/v1/auth/me", token=tokens[0]).json["account"]

    path = "/api/v1/events/audit_security_event"
    told = office.get(path, token=tokens[0]).json["data"]
    assert {me} == {each["account"] for each in told}
    everything = office.get(path, token=office.by(Role.AUDITOR)).json["data"]
    assert len(told) < len(everything)


def test_the_document_says_whose_it_is(office):
    paths = office.get("/api/v1/openapi.json").json["paths"]
    said = paths["/api/v1/campaign_drafts"]["get"]["description"]

    assert "whoever `beneficiary` names" in said
