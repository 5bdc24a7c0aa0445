"""The part of the documentation page on signing in and on changing things.

It is made from the OpenAPI document: a route that is described there is here too.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from html import escape
from typing import Any

from api.service import PREFIX

_CODE = re.compile("`([^`]+)`")
METHODS = ("get", "post", "put", "delete")
AUTH = "auth"
_ASKING = f"""
<p>Sign in with <code>POST {PREFIX}/auth/token</code> or with a wallet, then send
<code>Authorization: Bearer &lt;access token&gt;</code>; programs send
<code>X-API-Key: &lt;key&gt;</code>. Bodies are JSON, and
<a href="{PREFIX}/openapi.json">the OpenAPI document</a> has what they hold. Too many
requests are answered with 429 and <code>Retry-After</code>.</p>
"""


def routes_sections(document: Mapping[str, Any], reads: Collection[str]) -> str:
    """The routes that are not those of `reads`, named by their tags."""
    signing_in, changing = [], []
    for tag, row in _routes(document):
        if tag == AUTH:
            signing_in.append(row)
        elif tag not in reads:
            changing.append(row)
    return "".join(
        f"<h2 id={name}>{title}</h2>{text}{_list(rows)}"
        for name, title, text, rows in (
            ("signing-in", "Signing in", _ASKING, signing_in),
            ("changing", "Changing things", "", changing),
        )
        if rows
    )


def _routes(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                yield operation["tags"][0], _row(path, method, operation)


def _row(path: str, method: str, operation: Mapping[str, Any]) -> str:
    security = operation.get("security") or [{}]
    names = {"bearer": "session", "key": "key"}
    who = [names[name] for each in security for name in each if name in names]
    asks = "anybody" if {} in security else " or ".join(who)
    about = escape(operation.get("description") or operation.get("summary", ""))
    about = _CODE.sub(r"<code>\1</code>", about)
    return f"<dt><code>{method.upper()} {escape(path)}</code> {asks}<dd>{about}"


def _list(rows: list[str]) -> str:
    return f"<dl>{''.join(rows)}</dl>"
