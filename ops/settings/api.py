"""Reads `[api]` and `[auth]`: how the API meets the network, and who may come in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from api.auth.options import ALGORITHMS
from ops.settings import values
from ops.settings.model import (
    ApiSettings,
    AuthSettings,
    ExternalSettings,
)
from ops.settings.secret import Secret
from ops.settings.table import Table


def read_api(table: Table) -> ApiSettings:
    """Read `[api]`."""
    default = ApiSettings()
    limit = table.parsed("limit", values.rate)
    sign_in_limit = table.parsed("sign_in_limit", values.rate)
    found = ApiSettings(
        host=table.text("host") or default.host,
        port=table.number("port", default.port, int),
        page_size=table.number("page_size", default.page_size, int, 1),
        limit=default.limit if limit is None else limit,
        sign_in_limit=default.sign_in_limit if sign_in_limit is None else sign_in_limit,
        cors=table.parsed_list("cors", values.origin),
        https=table.flag("https", default.https),
        proxies=table.number("proxies", default.proxies, int),
        max_body_bytes=table.number("max_body_bytes", default.max_body_bytes, int, 1),
        max_document_bytes=table.number(
            "max_document_bytes", default.max_document_bytes, int, 1
        ),
    )
    table.finish()
    return found


def read_auth(table: Table, environ: Mapping[str, str]) -> AuthSettings:
    """Read `[auth]`."""
    default = AuthSettings()
    secret_env = table.text("secret_env")
    secret = environ.get(secret_env or "")

    def number(key: str) -> int:
        return table.number(key, int(getattr(default, key)), int, 1)

    found = AuthSettings(
        registration=table.flag("registration", default.registration),
        secret_env=secret_env,
        access_minutes=number("access_minutes"),
        refresh_days=number("refresh_days"),
        session_days=number("session_days"),
        origins=table.parsed_list("origins", values.origin),
        attempts=number("attempts"),
        attempts_of_login=number("attempts_of_login"),
        attempts_from_address=number("attempts_from_address"),
        attempt_minutes=number("attempt_minutes"),
        external=MappingProxyType(
            {
                name: read_external(name, below)
                for name, below in table.section("external").sections()
            }
        ),
        secret=Secret(secret) if secret else None,
    )
    table.finish()
    return found


def read_external(name: str, table: Table) -> ExternalSettings:
    """Read `[auth.external.<name>]`."""
    issuer, audience = table.text("issuer"), table.text("audience")
    jwks_url = table.parsed("jwks_url", values.trusted_url)
    for key, hint in (
        ("issuer", "the `iss` of its tokens"),
        ("audience", "the `aud` of those that are for us: our client id there"),
        ("jwks_url", "where its public keys are"),
    ):
        table.missing(key, hint)
    algorithms = table.parsed_list("algorithms", _algorithm)
    solana_wallets = table.flag("solana_wallets", default=False)
    table.finish()
    return ExternalSettings(
        name=name,
        issuer=issuer or "",
        jwks_url=str(jwks_url or ""),
        audience=audience or "",
        algorithms=algorithms or ("ES256",),
        solana_wallets=solana_wallets,
    )


def _algorithm(text: str) -> str:
    if text not in ALGORITHMS:
        raise ValueError(f"{text} is not taken: use {', '.join(ALGORITHMS)}")
    return text
