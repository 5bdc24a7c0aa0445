"""Guard browsers and the server: security headers, CORS, limits of bodies.

The API needs no cookie, so a page of another site can do nothing in somebody's name; a
site that is listed for CORS may read answers, with the credential that it holds itself.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, Response, current_app, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.auth.options import WebOptions
from api.errors import Problem

JSON = "application/json"
WITH_BODY = ("POST", "PUT", "PATCH")
HSTS = "max-age=31536000"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # An answer that is no page loads nothing; pages say what they need themselves.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
CORS_SECONDS = 600
CORS_METHODS = "GET, POST, PUT, DELETE"
CORS_REQUEST = (
    "Authorization, X-API-Key, Content-Type, Idempotency-Key, If-None-Match, If-Match"
)
CORS_ANSWER = "ETag, Location, Retry-After, WWW-Authenticate, Idempotency-Replayed"

KEPT = ("console.static",)

V = TypeVar("V", bound=Callable[..., Any])


def accepts(*media_types: str, max_bytes: int | None = None) -> Callable[[V], V]:
    """Let a view take bodies of these kinds instead of JSON, and of this size."""

    def mark(view: V) -> V:
        view.media_types = media_types  # type: ignore[attr-defined]
        view.max_bytes = max_bytes  # type: ignore[attr-defined]
        return view

    return mark


def protect_app(app: Flask, web: WebOptions) -> None:
    """Check every body of an app, and put the headers on every answer."""
    app.config["MAX_CONTENT_LENGTH"] = web.max_body_bytes
    if web.proxies:
        # Only as many as there are: what is before them is the client's own invention.
        fixed = ProxyFix(app.wsgi_app, x_for=web.proxies, x_proto=web.proxies)
        app.wsgi_app = fixed  # type: ignore[method-assign]

    def protect(response: Response) -> Response:
        _protect(response, web)
        return _share(response, web) if web.cors else response

    app.before_request(_check_path)
    app.before_request(_check_body)
    app.after_request(protect)


def _check_path() -> None:
    """Raise the Problem `bad_request` for a zero byte, which no Postgres text has."""
    if "\0" in request.path or b"%00" in request.query_string:
        raise Problem("bad_request", "The address holds a zero byte. Leave it out.")


def _check_body() -> None:
    """Raise `not_json` or `too_large` for a body that the view does not accept."""
    if request.method not in WITH_BODY:
        return
    view = current_app.view_functions.get(request.endpoint or "")
    media_types: tuple[str, ...] = getattr(view, "media_types", (JSON,))
    max_bytes: int | None = getattr(view, "max_bytes", None)
    if max_bytes is not None:
        request.max_content_length = max_bytes
    most = request.max_content_length
    if most is not None and (request.content_length or 0) > most:
        raise Problem("too_large", f"The body may have {most} bytes. Send less.")
    empty = not request.content_length and "Transfer-Encoding" not in request.headers
    if not empty and request.mimetype not in media_types:
        raise Problem(
            "not_json",
            f"The body is of another kind. Send Content-Type: {media_types[0]}.",
        )


def _protect(response: Response, web: WebOptions) -> None:
    headers = response.headers
    given = {name.lower() for name, _ in headers}  # cheaper than to ask for each
    for name, value in HEADERS.items():
        if name.lower() not in given:
            headers.add(name, value)
    if web.https:
        response.headers["Strict-Transport-Security"] = HSTS
    if request.blueprint in ("auth", "console") and request.endpoint not in KEPT:
        response.headers["Cache-Control"] = "no-store"


def _share(response: Response, web: WebOptions) -> Response:
    """Let the page of a listed site read the answer."""
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin not in web.cors:
        return response
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = CORS_ANSWER
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = CORS_METHODS
        response.headers["Access-Control-Allow-Headers"] = CORS_REQUEST
        response.headers["Access-Control-Max-Age"] = str(CORS_SECONDS)
    return response
