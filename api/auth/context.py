"""State shared by the routes of sign-in: a database to write to, options, the clock."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from flask import request
from sqlalchemy import Connection, Engine

from api.auth.options import AuthOptions
from api.auth.principal import Principal, current_principal
from api.service import Service
from db.declare.roles import Role


@dataclass(frozen=True, slots=True)
class AuthContext:
    """A service that has accounts."""

    service: Service
    writer: Engine
    options: AuthOptions

    @property
    def newcomer_roles(self) -> list[Role]:
        """The roles of an account whose owner has chosen none."""
        return [each for each in self.service.registry.roles.values() if each.newcomer]

    def now(self) -> datetime:
        """The time."""
        return self.options.clock()

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction."""
        return self.writer.begin()

    def principal(self) -> Principal:
        """Return who makes this request; raises the Problem `not_signed_in`.

        It is asked for before the body is read: a guest is not told what to send.
        """
        return current_principal(self.service)

    def guest_or_principal(self) -> Principal | None:
        """Return who makes this request; None when it shows no credential at all."""
        shown = (name in request.headers for name in ("Authorization", "X-API-Key"))
        return self.principal() if any(shown) else None


def client_address() -> str:
    """Return the address that a request comes from, behind trusted proxies."""
    return request.remote_addr or "unknown"
