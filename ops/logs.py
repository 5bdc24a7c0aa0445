"""One line per outcome, as key=value for people or JSON for machines.

Callers write the event first and then its pairs, and both forms read them::

    log.info("range_written blocks=%d facts=%d", 10, 2000)

    2026-01-31T12:00:00.123Z info  range_written blocks=10 facts=2000
    {"at": "2026-01-31T12:00:00.123Z", "level": "info", "event": "range_written",
     "blocks": 10, "facts": 2000, "logger": "indexer.follow"}

Whatever looks like a credential is hidden in either form, tracebacks included.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO, Literal

from ops.settings.redact import redact

_PAIR = re.compile(r"(?<!\S)([a-z_][a-z0-9_]*)=(\"(?:[^\"\\]|\\.)*\"|\S+)")
_INTEGER = re.compile(r"-?\d{1,15}")
_NUMBER = re.compile(r"-?\d{1,15}\.\d+")
NOISY = (
    "botocore",
    "flask-limiter",
    "urllib3",
    "werkzeug",
    "aiohttp.access",
    "web3",
    "rq.worker",
    "alembic",
)
RESERVED = ("at", "level", "event", "logger", "message", "error")


def configure_logging(
    format: Literal["text", "json"] = "text",  # noqa: A002 - the option's own name
    *,
    level: int | str = logging.INFO,
    stream: IO[str] | None = None,
) -> None:
    """Send every log to one stream, in one form, without secrets."""
    if format not in ("text", "json"):
        raise ValueError(f'unknown log format {format!r}: say "text" or "json"')
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def current_logging() -> tuple[Literal["text", "json"], int]:
    """The form and level in use, for a process of ours to log in the same way."""
    root = logging.getLogger()
    json_lines = any(isinstance(each.formatter, JsonLines) for each in root.handlers)
    return "json" if json_lines else "text", root.level


class TextLines(logging.Formatter):
    """A time, a level, the event and its pairs; one line, whatever the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback below it if there is one."""
        message = redact(record.getMessage()).replace("\n", "\\n")
        line = f"{_at(record)} {record.levelname.lower():<7} {message}"
        return line + (f"\n{redact(self._trace(record))}" if record.exc_info else "")

    def _trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class JsonLines(logging.Formatter):
    """An object a line: the event, its pairs, and where it came from."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        message = redact(record.getMessage())
        event, _, rest = message.partition(" ")
        pairs = dict(_PAIR.findall(rest))
        line: dict[str, object] = {"at": _at(record), "level": record.levelname.lower()}
        line["event"] = event if _is_event(event, rest) else "message"
        if line["event"] == "message" or _PAIR.sub("", rest).strip():
            line["message"] = message
        line |= {
            f"{key}_" if key in RESERVED else key: _value(text)
            for key, text in pairs.items()
        }
        line["logger"] = record.name
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def _is_event(word: str, rest: str) -> bool:
    """Tell our own lines from a library's prose."""
    named = re.fullmatch(r"[a-z][a-z0-9_]*", word) is not None
    return named and (not rest or _PAIR.match(rest) is not None)


def _value(text: str) -> object:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.startswith('"'):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _at(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03d}Z"
