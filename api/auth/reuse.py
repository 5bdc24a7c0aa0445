"""Refresh tokens that are shown where none belongs.

A thief tries what they have at every door. A token that was used before tells of it
wherever it is shown, not only where it is exchanged.
"""

from flask import Flask, request

from api.auth.audit import audit
from api.auth.secrets import digest, is_refresh_token
from api.service import Service
from db.accounts.sessions import end_reused


def watch_for_reuse(app: Flask, service: Service) -> None:
    """Look at the credentials of every request of an app."""

    def look() -> None:
        environ = request.environ
        shown = {
            environ.get("HTTP_AUTHORIZATION", "").rpartition(" ")[2],
            environ.get("HTTP_X_API_KEY", ""),
        }
        if "HTTP_COOKIE" in environ:
            shown |= set(request.cookies.values())
        for text in filter(is_refresh_token, shown):
            _end(service, text)

    app.before_request(look)


def _end(service: Service, token: str) -> None:
    assert service.auth is not None
    assert service.writer is not None
    with service.writer.begin() as connection:
        ended = end_reused(connection, digest(token), now=service.auth.clock())
    if ended is not None:
        session, account = ended
        audit("refresh_token_reused", account=account, session=session)
