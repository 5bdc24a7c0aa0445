"""An API has the routes, roles and commands of the domains that were chosen."""

import pytest

from db.registry import Registry
from helpers.door import PASSWORD, Door
from helpers.ledger import REGISTRY


@pytest.fixture
def door(database_url):
    found = Door(database_url, Registry.load([]), roles=())
    yield found
    found.close()


def test_what_was_not_chosen_has_no_routes_and_no_roles(door):
    rules = {rule.rule for rule in door.app.url_map.iter_rules()}
    client = door.app.test_client()
    body = {"login": "a@example.org", "password": PASSWORD}
    asked = client.post("/api/v1/auth/register", json={**body, "role": "investor"})
    document = client.get("/api/v1/openapi.json").json

    assert not [rule for rule in rules if "campaign" in rule or "kyc/" in rule]
    assert "/api/v1/journal_days" in rules
    assert 400 == asked.status_code
    assert "there is no investor, but auditor" in asked.json["detail"]
    made = client.post("/api/v1/auth/register", json=body)
    me = client.get(
        "/api/v1/auth/me",
        headers={"Authorization": f"Bearer {made.json['access_token']}"},
    )
    assert [] == me.json["roles"]
    schema = document["components"]["schemas"]["Roles"]["properties"]["roles"]
    assert ["auditor", "compliance_officer", "operator"] == schema["items"]["enum"]
    assert REGISTRY.roles.keys() == {"auditor", "compliance_officer", "operator"}
