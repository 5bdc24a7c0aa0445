"""What the edge lets in, and what it tells browsers."""

import logging
import random

import pytest

from api.auth.middleware import accepts
from api.auth.options import WebOptions
from db.domains.crowdfunding.roles import ISSUER

TOKEN = "/api/v1/auth/token"
SITE = "https://app.example"
EVERYWHERE = (
    "/api/v1/", "/docs", "/health/live", "/nowhere", "/api/v1/auth/me",
    "/api/v1/openapi.json", "/probe",
)  # fmt: skip


@pytest.fixture
def guarded(own_door):
    def make(**web):
        own_door.open(web=WebOptions(**web))
        return own_door

    return make


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_has_the_headers(door, path):
    headers = door.call("GET", path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert "script" not in policy
    assert "Strict-Transport-Security" not in headers


def test_behind_https_browsers_are_told_to_stay_there(guarded):
    door = guarded(https=True)

    for path in EVERYWHERE:
        found = door.call("GET", path).headers["Strict-Transport-Security"]
        assert found == "max-age=31536000"


class TestCors:
    def test_by_default_no_site_reads_anything(self, door):
        for method in ("GET", "OPTIONS", "POST"):
            headers = door.call(method, "/probe", headers={"Origin": SITE}).headers
            assert not [name for name, _ in headers if "Access-Control" in name]

    def test_a_listed_site_may_read_with_its_own_credential(self, guarded):
        door = guarded(cors=(SITE, "http://localhost:5173"))

        for origin in (SITE, "http://localhost:5173"):
            for path, status in (("/api/v1/", 200), ("/probe", 401), ("/nowhere", 404)):
                answer = door.get(path, status, headers={"Origin": origin})
                assert answer.headers["Access-Control-Allow-Origin"] == origin
                assert "Origin" in answer.headers["Vary"]
                # Nothing is sent along by itself, so there is nothing to forge with.
                assert "Access-Control-Allow-Credentials" not in answer.headers

    @pytest.mark.parametrize(
        "origin",
        ["https://evil.example", "https://app.example.evil.example", "null", "",
         "http://app.example", "https://app.example:444", "https://APP.example",
         "https://app.example/"],
    )  # fmt: skip
    def test_no_other_site_does(self, guarded, origin):
        door = guarded(cors=(SITE,))

        for method in ("GET", "OPTIONS"):
            answer = door.call(method, "/api/v1/", headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Access-Control-Allow-Headers" not in answer.headers
            assert "Origin" in answer.headers["Vary"]

    def test_a_preflight_says_what_may_be_sent(self, guarded):
        door = guarded(cors=(SITE,))
        headers = {
            "Origin": SITE, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }  # fmt: skip

        answer = door.call("OPTIONS", TOKEN, 200, headers=headers)

        allowed = answer.headers["Access-Control-Allow-Headers"]
        for name in ("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key"):
            assert name in allowed
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Max-Age"] == "600"


class TestBodies:
    @pytest.mark.parametrize(
        "kind",
        ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data",
         "application/json2", ""],
    )  # fmt: skip
    def test_only_json_is_taken(self, door, kind):
        """A form of another site can send these; it cannot send JSON unasked."""
        answer = door.call("POST", TOKEN, 415, data=b"{}", content_type=kind)

        assert answer.json["type"] == "/docs#not_json"

    @pytest.mark.parametrize(
        "kind",
        ["application/json", "application/json; charset=utf-8", "Application/JSON"],
    )
    def test_json_is(self, door, kind):
        answer = door.call("POST", TOKEN, 400, data=b"{}", content_type=kind)

        assert answer.json["type"] == "/docs#bad_body"

    def test_a_large_body_is_refused(self, guarded):
        door = guarded(max_body_bytes=100)

        answer = door.call(
            "POST", TOKEN, 413, data=b"x" * 101, content_type="application/json"
        )

        assert answer.json["type"] == "/docs#too_large"
        door.call("POST", TOKEN, 400, data=b"x" * 99, content_type="application/json")

    def test_a_view_may_take_something_else(self, own_door):
        @accepts("text/plain", max_bytes=2_000_000)
        def upload():
            from flask import request

            return {"length": len(request.get_data())}

        own_door.app.add_url_rule("/upload", view_func=upload, methods=["POST"])
        large = random.Random(1).randbytes(1_500_000)

        found = own_door.call("POST", "/upload", data=large, content_type="text/plain")

        assert found.json == {"length": len(large)}
        for size, kind, status in (
            (2_000_001, "text/plain", 413), (3, "application/json", 415),
        ):  # fmt: skip
            own_door.call(
                "POST", "/upload", status, data=b"x" * size, content_type=kind
            )


@pytest.mark.parametrize(
    "path", ["/probe%00", "/api/v1/?a=%00", "/console/signers/%00"]
)
def test_an_address_with_a_zero_byte_is_refused(door, path):
    assert door.get(path, 400).json["type"] == "/docs#bad_request"


def test_every_route_of_accounts_is_described(door):
    document = door.get("/api/v1/openapi.json").json
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in door.app.url_map.iter_rules()
        if rule.endpoint.startswith("auth.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items() if "/auth/" in path
        for method in item if method != "parameters"
    }  # fmt: skip

    assert routes == described
    assert len(routes) == 21
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    for method, path in described:
        operation = document["paths"][path][method.lower()]
        assert operation["description"]
        assert operation["security"] is not None
        body = operation.get("requestBody")
        if body is not None:
            reference = body["content"]["application/json"]["schema"]["$ref"]
            schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
            assert schema["additionalProperties"] is False
            assert schema["properties"]


def test_every_route_of_accounts_is_on_the_page(door):
    document = door.get("/api/v1/openapi.json").json
    page = door.get("/docs").text

    assert "<h2 id=signing-in>" in page
    for path, item in document["paths"].items():
        for method in item:
            if "/auth/" in path and method != "parameters":
                assert f"<code>{method.upper()} {path}</code>" in page


def test_every_route_that_needs_somebody_says_so_and_refuses_nobody(door):
    document = door.get("/api/v1/openapi.json").json
    found = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "/auth/" not in path or method == "parameters":
                continue
            security = operation["security"]
            if security and {} not in security:
                filled = path.replace("{", "").replace("}", "")
                answer = door.call(method.upper(), filled)
                assert answer.status_code == 401, (method, path)
                found += 1

    assert found == 13


class TestDatabaseAway:
    def test_it_is_said(self, own_door, caplog):
        own_door.get("/probe", 401)
        own_door.writer.dispose()
        account = own_door.account(ISSUER)
        token = own_door.token(account)
        from sqlalchemy import create_engine

        gone = create_engine(
            own_door.writer.url.set(port=1), connect_args={"connect_timeout": 1}
        )
        own_door.writer = gone
        own_door.open()
        caplog.set_level(logging.WARNING)

        answer = own_door.post(
            TOKEN, {"login": "somebody", "password": "not the password"}, 503
        )

        assert answer.json["type"] == "/docs#database_unavailable"
        assert answer.headers["Retry-After"]
        assert "write_failed" in caplog.text
        assert token not in caplog.text
