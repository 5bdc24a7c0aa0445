"""The state that every route of the API is given."""

from dataclasses import dataclass

from sqlalchemy import Engine

from api.auth.options import AuthOptions
from api.chains import Chains
from commands.documents import Documents
from commands.stripe.checkout import CheckoutOptions
from commands.submit import CommandService
from db.registry import Registry

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Service:
    """The database to read from, what is declared, and how long pages may be.

    Without `writer` and `auth` it only reads, and nobody can sign in; without
    `command_service` no commands are accepted, without `documents` no files, and
    without `checkout` no cards.
    """

    engine: Engine
    registry: Registry
    chains: Chains
    page_size: int
    page_size_max: int
    writer: Engine | None = None
    auth: AuthOptions | None = None
    command_service: CommandService | None = None
    documents: Documents | None = None
    checkout: CheckoutOptions | None = None
