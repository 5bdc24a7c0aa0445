"""`/api/v1/auth`: every route of accounts, and the schemas of what they take."""

from typing import Any

import msgspec
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth import administration, external, keys, sign_in, wallets
from api.auth.context import AuthContext
from api.service import PREFIX
from db.registry import Registry

_PARTS = (sign_in, wallets, external, keys, administration)


def auth_blueprint(context: AuthContext) -> Blueprint:
    """The routes."""
    blueprint = Blueprint("auth", __name__, url_prefix=f"{PREFIX}/auth")
    sign_in.add_sign_in(blueprint, context)
    sign_in.add_session(blueprint, context)
    wallets.add_wallets(blueprint, context)
    external.add_external(blueprint, context)
    keys.add_keys(blueprint, context)
    administration.add_administration(blueprint, context)
    return blueprint


def auth_components(registry: Registry) -> dict[str, Any]:
    """The schemas of the bodies, by name, with the roles that are declared."""
    bodies = [body for part in _PARTS for body in part.BODIES]
    _, found = msgspec.json.schema_components(
        bodies, ref_template="#/components/schemas/{name}"
    )
    found["Roles"]["properties"]["roles"]["items"]["enum"] = [*registry.roles]
    open_to_all = [name for name, role in registry.roles.items() if role.self_service]
    if open_to_all:
        found["Registration"]["properties"]["role"] = {"enum": [*open_to_all, None]}
    return dict(found)
