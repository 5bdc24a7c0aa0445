"""The app as a whole: its own description, and over real HTTP."""

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest

from api.errors import PROBLEMS
from helpers.ledger import REGISTRY
from helpers.servers import plain

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document(ledger):
    return ledger.get("/api/v1/openapi.json").json


def references(node):
    """Every $ref in a document."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def resolve(document, reference):
    node = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def check(document, schema, value, path="$"):
    """A value against a JSON schema, as far as ours go."""
    if "$ref" in schema:
        return check(document, resolve(document, schema["$ref"]), value, path)
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    python = {
        "object": dict, "array": list, "string": str, "integer": int,
        "boolean": bool, "null": type(None),
    }  # fmt: skip
    assert not types or any(type(value) is python[each] for each in types), path
    if "pattern" in schema and value is not None:
        assert re.search(schema["pattern"], value), (path, value)
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema.get("required", [])) <= set(value), path
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(schema["properties"]), path
        for name, each in value.items():
            if name in schema["properties"]:
                check(document, schema["properties"][name], each, f"{path}.{name}")
    if isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            check(document, schema["items"], each, f"{path}[{number}]")
    return None


class TestOpenApi:
    def test_it_is_well_formed(self, document):
        assert document["openapi"] == "3.1.0"
        assert {"title", "version"} <= set(document["info"])
        names = set()
        for path, item in document["paths"].items():
            assert path.startswith("/")
            for operation in item.values() if isinstance(item, dict) else ():
                if not isinstance(operation, dict):
                    continue
                names.add(operation["operationId"])
                assert operation["summary"]
                for status, response in operation["responses"].items():
                    assert re.fullmatch(r"[1-5]\d\d|default", status)
                    assert "$ref" in response or response["description"]
            given = [
                p
                for group in [
                    item.get("parameters", []),
                    *(o.get("parameters", []) for o in item.values() if "get" in item
                      and isinstance(o, dict)),
                ]
                for p in group
            ]  # fmt: skip
            for parameter in given:
                assert {"in", "name", "schema"} <= set(parameter)
            in_path = {p["name"] for p in given if p["in"] == "path"}
            assert set(re.findall(r"{(\w+)}", path)) == in_path
        webhook = 1
        routes = 2 * len(REGISTRY.projections) + len(REGISTRY.events) + webhook
        assert len(names) == len(document["paths"]) == routes

    def test_every_reference_leads_somewhere(self, document):
        found = set(references(document))

        assert found
        for reference in found:
            assert resolve(document, reference)

    @pytest.mark.parametrize("plural", REGISTRY.projections)
    def test_answers_are_as_described(self, ledger, document, plural):
        described = document["paths"][f"/api/v1/{plural}"]["get"]["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]

        check(document, schema, ledger.get(f"/api/v1/{plural}?limit=200").json)
        check(document, schema, ledger.get(f"/api/v1/{plural}?as_of=4").json)

    @pytest.mark.parametrize("event", REGISTRY.events.values(), ids=lambda e: e.spec.id)
    def test_facts_are_as_described(self, ledger, document, event):
        path = f"/api/v1/events/{event.spec.table}"
        described = document["paths"][path]["get"]["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]

        check(document, schema, ledger.get(f"{path}?limit=200").json)

    def test_problems_are_as_described(self, ledger, document):
        schema = {"$ref": "#/components/schemas/Problem"}

        for path, status in (("deals?x=1", 400), ("deals?as_of=99", 422), ("x", 404)):
            check(document, schema, ledger.get(f"/api/v1/{path}", status).json)


def test_the_index_lists_everything(ledger):
    index = ledger.get("/api/v1/").json

    assert [each["name"] for each in index["projections"]] == [*REGISTRY.projections]
    assert len(index["events"]) == len(REGISTRY.events)
    for each in [*index["projections"], *index["events"]]:
        row = ledger.get(each["url"]).json["data"][0]
        assert set(each["columns"]) == set(row)
    for url in (index["docs"], index["openapi"], index["chains"]):
        ledger.get(url)
    deals = next(each for each in index["projections"] if each["name"] == "deals")
    assert deals["filters"] == ["deal", "raised", "raised__gte", "raised__lte"]
    assert deals["sorts"] == ["deal", "raised"]


def test_the_chains_are_listed(ledger):
    (chain,) = ledger.data("/api/v1/chains")

    assert (chain["name"], chain["chain_id"]) == ("devnet", "eip155:devnet")
    assert (chain["checkpoint"], chain["gaps"], chain["state"]) == (30, [], "new")


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links, self.tags = [], [], set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[k] for k in ("href", "src") if k in attributes]


def test_the_docs_are_one_page_that_needs_nothing_else(ledger):
    answer = ledger.get("/docs")
    page = Page()
    page.feed(answer.text)

    assert answer.mimetype == "text/html"
    assert not page.tags & {"script", "link", "img"}
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert ledger.client.get(link).status_code in (200, 503)
    assert set(PROBLEMS) <= set(page.ids)
    for spec in (p.spec for p in REGISTRY.projections.values()):
        assert spec.plural in page.ids
        assert all(f"<code>{name}</code>" in answer.text for name in spec.columns)


SERVED = """
from api.app import create_app
from db.reads import read_engine
from helpers.ledger import REGISTRY

app = create_app(read_engine({url!r}), REGISTRY)
"""


@pytest.mark.slow
def test_it_is_served_by_granian_over_real_http(ledger, tmp_path):
    (tmp_path / "served.py").write_text(SERVED.format(url=plain(ledger.url)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = ":".join(map(str, (tmp_path, ROOT, ROOT / "tests")))
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port"]
    command += [str(port), "--blocking-threads", "4", "served:app"]
    server = subprocess.Popen(
        command, cwd=tmp_path, env={"PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health/live", server)
        with urllib.request.urlopen(f"{url}/api/v1/deals?limit=2") as answer:
            content, tag = orjson.loads(answer.read()), answer.headers["ETag"]
        assert len(content["data"]) == 2
        assert content == ledger.get("/api/v1/deals?limit=2").json
        again = urllib.request.Request(
            f"{url}/api/v1/deals?limit=2", headers={"If-None-Match": tag}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(again)
        assert caught.value.code == 304
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/api/v1/deals?limit=x")
        assert caught.value.headers["Content-Type"] == "application/problem+json"
    finally:
        server.terminate()
        server.wait(20)


def wait_for(url, server):
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
