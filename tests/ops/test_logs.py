"""Both log forms carry the same facts and no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import connect, connect_at_once
from db.reads import read_engine
from ops.logs import configure_logging
from ops.settings.redact import redact, redact_url

MADE = "CREATE TEMP TABLE IF NOT EXISTS t (id int PRIMARY KEY, note text)"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def written(form: str, write) -> str:
    stream = io.StringIO()
    configure_logging(form, stream=stream)
    write(logging.getLogger("indexer.follow"))
    return stream.getvalue()


def test_text_is_one_line_with_the_event_and_its_pairs():
    line = written("text", lambda log: log.info("range_written blocks=%d", 10))

    assert line.endswith(" info    range_written blocks=10\n")


def test_a_message_of_several_lines_stays_one_line():
    assert written("text", lambda log: log.info("a\nb")).count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("INSERT INTO t VALUES (1, :a), (1, :a)", {"a": "Wilhelmina\nQuetzalcoatl"}),
        ("INSERT INTO t VALUES (NULL, :a)", {"a": "Wilhelmina\n[SQL Quetzalcoatl"}),
        ("SELECT CAST(:a AS int)", {"a": "Wilhelmina Quetzalcoatl"}),
        ("INSERT INTO nowhere VALUES (:a)", {"a": "Wilhelmina"}),
        ("SELECT CAST(:a AS text) || chr(0)", {"a": "Wilhelmina Quetzalcoatl"}),
    ],
)
def test_no_value_of_a_statement_is_logged(form, statement, values, database_url):
    for engine in (connect(database_url), connect_at_once(database_url),
                   read_engine(database_url)):  # fmt: skip

        def write(log, engine=engine):
            try:
                with engine.begin() as connection:
                    connection.execute(text(MADE))
                    connection.execute(text(statement), values)
            except SQLAlchemyError as error:
                log.exception("it_failed cause=%s", error)
                log.error("it_failed cause=%s", error)

        said = written(form, write)
        engine.dispose()

        assert "Wilhelmina" not in said
        assert "Quetzalcoatl" not in said
        assert "it_failed" in said


def test_json_holds_the_pairs_as_values():
    text = written(
        "json", lambda log: log.info('range_written blocks=10 seconds=0.5 why="a b"')
    )

    line = json.loads(text)
    expected = {"event": "range_written", "blocks": 10, "seconds": 0.5, "why": "a b"}
    assert expected == {key: line[key] for key in expected}
    assert line["logger"] == "indexer.follow"
    assert "message" not in line


def test_a_library_s_prose_is_kept_whole_in_json():
    line = json.loads(written("json", lambda log: log.warning("Retrying in 5 s")))

    assert ("message", "Retrying in 5 s") == (line["event"], line["message"])


def test_a_pair_cannot_overwrite_the_level():
    line = json.loads(written("json", lambda log: log.info("x level=9")))

    assert (line["level"], line["level_"]) == ("info", 9)


@pytest.mark.parametrize("form", ["text", "json"])
def test_credentials_are_hidden_even_in_tracebacks(form):
    def fail(log: logging.Logger) -> None:
        try:
            raise RuntimeError("cannot reach postgresql://me:hunter2@db/x")
        except RuntimeError:
            log.exception(
                "failed url=%s", "https://rpc.example/v3/0123456789abcdef0123"
            )

    text = written(form, fail)

    assert "hunter2" not in text
    assert "0123456789abcdef0123" not in text
    assert "postgresql://me:***@db/x" in text


def test_an_unknown_form_names_the_two():
    with pytest.raises(ValueError, match='"text" or "json"'):
        configure_logging("xml")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pass@h:1/0", "redis://:***@h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("https://token@h/x", "https://***@h/x"),
        ("postgresql://u:a@b:c@h/x", "postgresql://u:***@h/x"),
        ("https://h/rpc?apikey=abc", "https://h/rpc?apikey=***"),
        ("https://h/v3/abcdef0123456789abcdef", "https://h/v3/***"),
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
    ],
)
def test_urls_are_shown_without_what_opens_them(url, shown):
    assert shown == redact_url(url)
    assert f"see {shown} now" == redact(f"see {url} now")


def test_named_secrets_in_text_are_hidden():
    assert redact("password=x1 private_key: 0xabc") == "password=*** private_key: ***"


def test_hashes_in_text_stay_readable():
    text = "tx=0x" + "ab" * 32

    assert text == redact(text)
