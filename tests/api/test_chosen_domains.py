"""An API has the routes, roles and commands of the domains that were chosen."""

import sys

import pytest

from db.declare import DeclarationError
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


ROUTES = '''
from flask import Response
from flask_smorest import Blueprint
from api.service import PREFIX


def {function}(api, service):
    """Add a route."""
    blueprint = Blueprint("knell", __name__, url_prefix=PREFIX)
    blueprint.add_url_rule("/knell", "ring", lambda: Response("dong"))
    api.register_blueprint(blueprint)
'''


@pytest.fixture
def knell(tmp_path):
    """A domain outside the product that brings routes alone."""
    folder = tmp_path / "knells"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Bells that ring for somebody."""\n')
    yield folder
    for name in ("knells", "knells.routes"):
        sys.modules.pop(name, None)


def test_a_domain_outside_the_product_brings_routes(knell, database_url):
    (knell / "routes.py").write_text(ROUTES.replace("{function}", "add_routes"))
    registry = Registry.load(["knells"], [knell])

    door = Door(database_url, registry)

    assert ("knells.routes",) == registry.routes
    assert "dong" == door.get("/api/v1/knell").text
    door.close()


def test_a_routes_module_without_routes_is_refused(knell, database_url):
    (knell / "routes.py").write_text(ROUTES.replace("{function}", "ad_routes"))
    registry = Registry.load(["knells"], [knell])

    with pytest.raises(DeclarationError, match="write def add_routes") as caught:
        Door(database_url, registry)

    assert str(knell / "routes.py") in str(caught.value)
