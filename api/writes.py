"""Routes that ask for a change: one for each declared command.

    POST /api/v1/commands/register-issuer      Idempotency-Key: 0193…
    {"issuer": "0x…", "credential": "…", "memorandum": "…"}

    202 Accepted, Location: /api/v1/commands/<id>

The body has the command's fields, those that the path does not fill; besides them
`valid_seconds`, after which it is given up, and `wallet` where the caller signs: what
that wallet sends later all the same is told under the command.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.audit import AGENT_LENGTH
from api.auth.context import client_address
from api.auth.principal import Principal, current_principal, require_role
from api.command_answers import command_answer
from api.command_problems import as_problems
from api.errors import Problem
from api.idempotency import HEADER, alone_with, idempotency_key
from api.parameters import read_units, value_of
from api.schemas import CHAIN_PARAMETER, UNITS_PARAMETER, Schema, field_schema
from api.service import PREFIX, Service
from commands.arguments import read_arguments
from commands.errors import NodeAway
from commands.lane import Lane, NoLane
from commands.submit import CommandService, Submission
from db import reads
from db.accounts.accounts import EVM
from db.bounded import Unreadable, load_strict_json
from db.commands.accept import CommandRow
from db.commands.spelling import address_text
from db.commands.states import State
from db.declare import Command, Projection
from db.declare.commands import CommandSpec, Route
from db.journal.append import Actor
from db.reads.tables import ReadTables

VALID_SECONDS_MOST = 30 * 86_400
# Of an EVM chain or of Solana, whose keys have 32 to 44 characters in base58.
WALLET = "^(0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})$"

log = logging.getLogger(__name__)


KEY_HEADER: Schema = {
    "in": "header", "name": HEADER, "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "A new UUID for each request; the same one repeats it.",
}  # fmt: skip


def write_blueprint(service: Service, command: type[Command]) -> Blueprint:
    """`POST /commands/<slug>`, and the command's own route if it has one."""
    spec = command.spec
    blueprint = Blueprint(
        f"command_{spec.slug}", __name__, url_prefix=PREFIX,
        description=spec.doc.split("\n", 1)[0],
    )  # fmt: skip
    _add(service, blueprint, command, Route(f"commands/{spec.slug}"), "ask")
    if spec.route is not None:
        _add(service, blueprint, command, spec.route, "ask_there")
    return blueprint


def require_command_service(service: Service) -> CommandService:
    """Return where commands are taken; raises the Problem `read_only` without one."""
    if service.command_service is None:
        raise Problem(
            "read_only",
            "This API was started without signers: it can only be read. Configure "
            "[signers.<name>].",
        )
    return service.command_service


def lane_asked(service: Service, domain: str) -> Lane:
    """Return the lane of the chain that ?chain= names, or of a domain's only one."""
    command_service = require_command_service(service)
    names = [each.name for each in command_service.lanes_of(domain)]
    chain = service.chains.choose(request.args.get("chain"), among=names)
    with as_problems():
        return command_service.lane_of(chain.id)


def _add(
    service: Service,
    blueprint: Blueprint,
    command: type[Command],
    route: Route,
    endpoint: str,
) -> None:
    spec = command.spec

    def ask(**path: str) -> Response:
        principal = current_principal(service)
        require_role(principal, *spec.roles)
        command_service = require_command_service(service)
        key = idempotency_key()
        asked = _submission(spec, principal, key, service, command_service, route, path)
        with alone_with(principal.tenant, key), as_problems():
            row, fresh = command_service.submit(command, asked)
        return command_answer(service, row, fresh=fresh, **to_sign(service, row))

    documented = blueprint.doc(**_description(spec, route, endpoint))(ask)
    parameters = [
        CHAIN_PARAMETER,
        UNITS_PARAMETER,
        *(
            {"in": "path", "name": name, "required": True, "schema": {"type": "string"}}
            for name in route.names
        ),
    ]
    blueprint.add_url_rule(
        f"/{route.path}", endpoint, documented, methods=["POST"],
        parameters=parameters, strict_slashes=False,
    )  # fmt: skip


def actor_of(principal: Principal) -> Actor:
    """Return the caller as the journal keeps it: account or key, and address."""
    return Actor(
        principal.name,
        principal.tenant,
        client_address(),
        request.headers.get("User-Agent", "")[:AGENT_LENGTH],
    )


def body_of_request() -> dict[str, Any]:
    """The JSON object of the request; raises the Problem `bad_request`."""
    if not request.data:
        return {}
    how = "Send a JSON object, with Content-Type: application/json."
    if not request.is_json:
        raise Problem("bad_request", how)
    try:
        body = load_strict_json(
            request.data, bytes_max=request.max_content_length or sys.maxsize
        )
    except Unreadable as error:
        raise Problem(
            "bad_request", f"The body cannot be read: {error}. {how}"
        ) from None
    if not isinstance(body, dict):
        raise Problem("bad_request", how)
    return body


def to_sign(service: Service, row: CommandRow) -> dict[str, Any]:
    """Return the transaction that a command's wallet signs; {} while no node answers.

    The command was taken all the same, and tells of it when it is asked for again.
    """
    command_service = service.command_service
    if row.sender is None or row.state is not State.ACCEPTED or command_service is None:
        return {}
    try:
        return {
            "transaction_to_sign": command_service.lane_of(row.source).unsigned(
                command_service, row
            )
        }
    except (NodeAway, NoLane) as error:
        log.warning(
            "unsigned_transaction_unavailable command=%s cause=%s", row.id, error
        )
        return {}


def _submission(
    spec: CommandSpec,
    principal: Principal,
    key: str,
    service: Service,
    command_service: CommandService,
    route: Route,
    path: Mapping[str, str],
) -> Submission:
    body = body_of_request()
    seconds = body.pop("valid_seconds", None)
    sender = None
    if spec.by_caller:
        with as_problems():
            lane = command_service.lane_for(spec, request.args.get("chain"))
        sender = _wallet(principal, lane.wallet_kind, body.pop("wallet", None))
    filled: dict[str, Any] = dict(path)
    in_units, stored = read_units(request.args), frozenset[str]()
    if route.via is not None:
        with as_problems():
            lane = command_service.lane_for(spec, request.args.get("chain"))
        filled = _from_row(service, lane, spec, route.via, path)
        stored = frozenset(filled)
    both = sorted(filled.keys() & body.keys())
    if both:
        raise Problem(
            "bad_arguments",
            f"{', '.join(both)} is in the path already: leave it out of the body.",
            problems=[f"{name}: it is in the path" for name in both],
        )
    arguments = {**body, **filled}
    if in_units:
        with as_problems():
            arguments = read_arguments(spec, arguments, stored)
    return Submission(
        actor=actor_of(principal),
        idempotency_key=key,
        arguments=arguments,
        valid_until=_deadline(command_service, seconds),
        sender=sender,
        asker=principal.asker,
        chain=request.args.get("chain"),
    )


def _from_row(
    service: Service,
    lane: Lane,
    spec: CommandSpec,
    via: type[Projection],
    path: Mapping[str, str],
) -> dict[str, Any]:
    """The fields that a projection's row fills."""
    columns = reads.row_columns(via.spec, in_units=read_units(request.args))
    keys = {name: value_of(columns[name], name, path[name]) for name in via.spec.keys}
    row = reads.read(
        service.engine,
        lambda connection: ReadTables(connection, lane.source, plan=lane.plan).row(
            via, **keys
        ),
    )
    if row is None:
        raise Problem("no_such_row", f"No {via.spec.name} has these keys. Check them.")
    return {name: getattr(row, name) for name in spec.fields if name in columns}


def _deadline(command_service: CommandService, seconds: Any) -> Any:
    if seconds is None:
        return None
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not whole or not 1 <= seconds <= VALID_SECONDS_MOST:
        raise Problem(
            "bad_arguments",
            f"valid_seconds: {json.dumps(seconds)} is not 1 to {VALID_SECONDS_MOST}.",
            problems=["valid_seconds: it is a number of seconds"],
        )
    return command_service.clock() + timedelta(seconds=seconds)


def _wallet(principal: Principal, kind: str, given: Any) -> bytes:
    """Return the wallet that signs: the one given, or the account's only one."""
    wallets = {address_text(each): each for each in principal.wallets_of(kind)}
    linked = list(wallets)
    if given is None and len(linked) == 1:
        given = linked[0]
    if isinstance(given, str) and kind == EVM:
        given = given.lower()
    if not isinstance(given, str) or given not in wallets:
        raise Problem(
            "bad_arguments",
            "wallet: name the linked wallet that signs: "
            f"{', '.join(linked) or 'none yet, link one with /auth/wallets'}.",
            problems=["wallet: it must be one that is linked to the account"],
            choices=linked,
        )
    return wallets[given]


def _description(spec: CommandSpec, route: Route, endpoint: str) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/CommandAnswer"}
    roles = ", ".join(spec.roles)
    about = [spec.doc, f"For the role {roles}."]
    about += [str(rule.__doc__).split("\n", 1)[0] for rule in spec.rules]
    return {
        "summary": spec.doc.split("\n", 1)[0],
        "description": "\n\n".join(about),
        "operationId": f"{endpoint}_{spec.slug}",
        "security": [{"bearer": []}, {"key": []}],
        "parameters": [KEY_HEADER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body_schema(spec, route)}},
        },
        "responses": {
            "202": {
                "description": "Taken: it happens at most once. See `Location`.",
                "content": {"application/json": {"schema": reference}},
            },
            "200": {
                "description": "Known already by its key.",
                "content": {"application/json": {"schema": reference}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }


def body_schema(spec: CommandSpec, route: Route) -> Schema:
    """The schema of a command's body on a route."""
    given = set(route.names)
    if route.via is not None:
        given = set(reads.row_columns(route.via.spec))
    fields = {
        name: field_schema(field)
        for name, field in spec.fields.items()
        if name not in given
    }
    extra: Schema = {
        "valid_seconds": {
            "type": "integer", "minimum": 1, "maximum": VALID_SECONDS_MOST,
        },
    }  # fmt: skip
    if spec.by_caller:
        extra["wallet"] = {"type": "string", "pattern": WALLET}
    return {
        "type": "object",
        "required": list(fields),
        "additionalProperties": False,
        "properties": {**fields, **extra},
    }
