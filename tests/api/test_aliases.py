"""Routes under the names that older clients know."""

import pytest

from commands.errors import NodeAway
from db.accounts.accounts import link_wallet
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.roles import INVESTOR
from helpers.office import CONTRACTS, Office

A, B = b"\xaa" * 20, b"\xbb" * 20
PAID = "0x" + "05" * 32


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def hexed(value):
    return "0x" + value.hex()


def place(office, path, status=307, **options):
    answer = office.get(path, status, **options)
    return answer.headers["Location"]


def test_other_names_lead_to_the_one_route(office):
    issuer, campaign = hexed(A), hexed(B)

    path = f"/api/v1/issuers/{issuer}/blockchain/"
    assert f"/api/v1/issuers/{issuer}" == place(office, path)
    path = f"/api/v1/campaigns/{campaign}/status/"
    assert f"/api/v1/campaigns/{campaign}" == place(office, path)


def test_one_s_own_investments_are_those_of_the_wallet(office):
    token = office.by(INVESTOR)
    office.get("/api/v1/investments/my", 401)
    office.get("/api/v1/investments/my", 400, token=token)
    with office.writer.begin() as connection:
        for wallet in (A, B):
            link_wallet(
                connection, office.people[INVESTOR], wallet, kind="evm",
                now=office.clock(),
            )  # fmt: skip
    several = office.get("/api/v1/investments/my", 400, token=token)
    path = f"/api/v1/investments/my?wallet={hexed(A)}"
    stranger = f"/api/v1/investments/my?wallet=0x{'cc' * 20}"

    assert [hexed(A), hexed(B)] == several.json["choices"]
    assert f"/api/v1/investments?investor={hexed(A)}" == place(
        office, path, token=token
    )
    office.get(stranger, 400, token=token)


def test_an_investment_leads_to_its_certificate(office):
    office.story.emit(
        e.InvestmentMade, campaign=B, investor=A, investment=b"\5" * 32, amount=9
    )
    office.index()
    office.get(f"/api/v1/investments/{PAID}/nft", 404)
    office.story.emit(e.CertificateIssued, certificate=6, owner=B, campaign=B)
    office.story.emit(e.CertificateIssued, certificate=7, owner=A, campaign=B)
    office.index()

    assert "/api/v1/certificates/7" == place(office, f"/api/v1/investments/{PAID}/nft")
    office.get("/api/v1/investments/0x12/nft", 400)


def test_the_chain_s_node_is_asked_for_its_health(office):
    found = office.get("/api/v1/blockchain/health/").json["data"]
    info = office.get("/api/v1/blockchain/network-info/").json["data"]
    office.node.away = NodeAway("no answer")
    away = office.post("/api/v1/blockchain/test-connection/", None, 503).json["data"]

    assert (True, "devnet") == (found["connected"], found["chain"])
    assert hexed(CONTRACTS["FundEscrow"]) == info["contracts"]["FundEscrow"]
    assert (False, None) == (away["connected"], away["head"])
