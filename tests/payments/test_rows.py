"""The table of what settlement does is whole, and true of the tests and endpoints."""

import ast
import re
from pathlib import Path

import pytest

from api.payments import PaymentOptions
from commands.stripe.checkout import CheckoutOptions
from commands.stripe.client import open_client
from db.registry import Registry
from helpers import servers
from helpers.door import Door

ROOT = Path(__file__).parent.parent.parent
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| `([^|`]+)` \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs/settlement.md").read_text())
ENDPOINTS = re.findall(
    r"`(GET|POST) (/[^`]+)`", (ROOT / "docs/settlement.md").read_text()
)
MISSED = (301, 302, 307, 308, 404, 405)


def test_the_table_is_whole():
    assert [int(number) for number, *_ in ROWS] == list(range(61, 92))


@pytest.mark.parametrize(("number", "shown"), [(row[0], row[3]) for row in ROWS])
def test_what_shows_a_row_is_there(number, shown):
    path, _, name = shown.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    tests = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}

    assert name in tests or (not name and any(t.startswith("test_") for t in tests))


@pytest.fixture(scope="module")
def door(postgres_url):
    """An API that takes cards; nobody is asked for anything."""
    options = CheckoutOptions(
        open_client("sk_test_1", timeout_seconds=1.0), "https://shop.example.org/thanks"
    )
    with servers.fresh_database(postgres_url) as url:
        found = Door(url, Registry.load())
        found.open(payments=PaymentOptions((), options))
        yield found
        found.close()


def spellings(path):
    bare = path.rstrip("/")
    if not bare.startswith("/api/"):
        return [bare, f"{bare}/"]
    versioned = bare.replace("/api/", "/api/v1/")
    return [bare, f"{bare}/", versioned, f"{versioned}/"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for method, given in ENDPOINTS
        if "<" not in given
        for path in spellings(given)
    ],
)
def test_an_endpoint_answers_at_every_spelling(door, method, path):
    answer = door.call(method, path)

    assert answer.status_code not in MISSED, answer.text


def test_endpoints_of_four_rows_are_tried():
    assert len(ENDPOINTS) == 5  # one more is the metadata, which the story reads
