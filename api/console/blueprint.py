"""The pages of the console, and what their forms do."""

import re
import uuid
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request
from flask.blueprints import BlueprintSetupState
from jinja2 import StrictUndefined

from api.auth.context import AuthContext
from api.auth.middleware import accepts
from api.auth.principal import require_role
from api.command_problems import as_problems
from api.console import charts, pages, visitors
from api.console.reports import ConsolePage, report_pages
from api.errors import PROBLEMS, Problem
from api.schedules import states_of
from api.writes import actor_of
from commands import actions
from db import reads
from db.commands.accept import CommandRow
from db.commands.states import State
from db.declare.roles import Role
from db.engine import Unavailable

FORM = "application/x-www-form-urlencoded"
POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
View = Callable[..., Response]


def console_blueprint(context: AuthContext, *, https: bool) -> Blueprint:
    """`/console`: every page, and every form."""
    blueprint = Blueprint(
        "console", __name__, url_prefix=visitors.PATH,
        template_folder="templates", static_folder="static",
    )  # fmt: skip
    _add_sign_in(blueprint, context, https=https)
    _add_pages(blueprint, context)
    _add_forms(blueprint, context)
    _add_command_forms(blueprint, context)
    _add_reports(blueprint, context, tuple(report_pages(context.service)))
    blueprint.record(_refuse_unknown_names)
    blueprint.after_request(_headers)
    blueprint.register_error_handler(visitors.NotSignedIn, _to_sign_in)
    blueprint.register_error_handler(Problem, _problem)
    for kind in (reads.ReadError, *Unavailable):
        blueprint.register_error_handler(kind, _away)
    return blueprint


def _refuse_unknown_names(state: BlueprintSetupState) -> None:
    """Have a template fail that names a value it is not given."""
    state.app.jinja_env.undefined = StrictUndefined


def _add_sign_in(blueprint: Blueprint, context: AuthContext, *, https: bool) -> None:
    def login() -> Response:
        return _show("login.html", login="", after=_after(), refusal="")

    @accepts(FORM)
    def sign_in() -> Response:
        visitors.check_origin()
        given = request.form.get("login", "")[:254]
        try:
            cookie = visitors.sign_in(
                context, given, request.form.get("password", "")[:1024]
            )
        except Problem as problem:
            return _show(
                "login.html", status=PROBLEMS[problem.name].status, login=given,
                after=_after(), refusal=problem.detail,
            )  # fmt: skip
        answer = _see_other(_after() or visitors.PATH + "/")
        visitors.set_cookie(answer, cookie, secure=https)
        return answer

    @accepts(FORM)
    def sign_out() -> Response:
        visitors.check_form(context)
        visitors.sign_out(context)
        answer = _see_other(visitors.PATH + "/login")
        answer.delete_cookie(visitors.COOKIE, path=visitors.PATH)
        return answer

    blueprint.add_url_rule("/login", view_func=login)
    blueprint.add_url_rule("/login", view_func=sign_in, methods=["POST"])
    blueprint.add_url_rule("/logout", view_func=sign_out, methods=["POST"])


def _add_pages(blueprint: Blueprint, context: AuthContext) -> None:
    def commands() -> Response:
        found = visitors.visitor(context)
        page = pages.command_list(context, request.args)
        return _show("commands.html", found, page=page)

    def command(command_id: uuid.UUID) -> Response:
        found = visitors.visitor(context)
        shown = pages.one_command(context, command_id)
        return _show("command.html", found, command=shown)

    def held() -> Response:
        found = visitors.visitor(context)
        page = pages.command_list(context, {"state": State.HELD})
        return _show("held.html", found, page=page)

    def signers() -> Response:
        found = visitors.visitor(context)
        return _show("signers.html", found, signers=pages.signers(context))

    def schedules() -> Response:
        found = visitors.visitor(context)
        schedules, dues = states_of(context.service)
        return _show("schedules.html", found, schedules=schedules, dues=dues)

    blueprint.add_url_rule("/", view_func=commands)
    blueprint.add_url_rule("/schedules", view_func=schedules)
    blueprint.add_url_rule("/commands/<uuid:command_id>", view_func=command)
    blueprint.add_url_rule("/held", view_func=held)
    blueprint.add_url_rule("/signers", view_func=signers)


def _add_reports(
    blueprint: Blueprint, context: AuthContext, added: tuple[ConsolePage, ...]
) -> None:
    """Add the pages of domains, and their places to the navigation."""
    places = tuple((f"{visitors.PATH}/{each.name}", each.title) for each in added)
    blueprint.context_processor(lambda: {"report_places": places})

    def view_of(page: ConsolePage) -> View:
        def report() -> Response:
            found = visitors.visitor(context)
            shown = page.report()
            return _show(
                "report.html", found, report=shown, svg=charts.svg, shown=charts.shown
            )

        return report

    def moved(page: ConsolePage) -> View:
        place = f"{visitors.PATH}/{page.name}"
        return lambda: _headers(
            _show(
                "message.html", title=page.title, text="This page is in the console.",
                place=place, place_name=page.title,
            )
        )  # fmt: skip

    def add_old_path(state: BlueprintSetupState, page: ConsolePage) -> None:
        state.app.add_url_rule(
            page.old_path, f"moved_{page.name}", moved(page), strict_slashes=False
        )

    for each in added:
        blueprint.add_url_rule(f"/{each.name}", each.name, view_of(each))
        if each.old_path:
            blueprint.record(partial(add_old_path, page=each))


def _add_forms(blueprint: Blueprint, context: AuthContext) -> None:
    @accepts(FORM)
    def resume(name: str) -> Response:
        return _act(name, actions.resume_signer, "signers")

    @accepts(FORM)
    def run(name: str) -> Response:
        return _act(name, actions.run_schedule, "schedules")

    def _act(name: str, act: Callable[..., None], page: str) -> Response:
        found = visitors.check_form(context)
        require_role(found.principal, Role.OPERATOR)
        try:
            with context.begin() as connection:
                act(
                    connection, context.service.registry, name,
                    actor=actor_of(found.principal), now=context.now(),
                )  # fmt: skip
        except (actions.UnknownSigner, actions.UnknownSchedule) as error:
            raise Problem("no_such_row", f"{error}.") from None
        return _see_other(f"{visitors.PATH}/{page}")

    for rule, view in (
        ("/signers/<name>/resume", resume),
        ("/schedules/<name>/run", run),
    ):
        blueprint.add_url_rule(rule, view_func=view, methods=["POST"])


def _add_command_forms(blueprint: Blueprint, context: AuthContext) -> None:
    @accepts(FORM)
    def release_command(command_id: uuid.UUID) -> Response:
        return _act(command_id, actions.release_command)

    @accepts(FORM)
    def cancel_command(command_id: uuid.UUID) -> Response:
        return _act(command_id, actions.cancel_command)

    def _act(command_id: uuid.UUID, act: Callable[..., CommandRow]) -> Response:
        found = visitors.check_form(context)
        require_role(found.principal, Role.OPERATOR)
        pages.one_command(context, command_id)
        with as_problems(), context.begin() as connection:
            act(
                connection, context.service.registry, command_id,
                actor=actor_of(found.principal), now=context.now(),
            )  # fmt: skip
        return _see_other(f"{visitors.PATH}/commands/{command_id}")

    one = "/commands/<uuid:command_id>"
    for rule, view in (
        (f"{one}/release", release_command),
        (f"{one}/cancel", cancel_command),
    ):
        blueprint.add_url_rule(rule, view_func=view, methods=["POST"])


def _show(
    template: str,
    found: visitors.Visitor | None = None,
    *,
    status: int = 200,
    **values: Any,
) -> Response:
    html = render_template(template, visitor=found, path=request.path, **values)
    return make_response(html, status)


def _see_other(place: str) -> Response:
    return make_response(redirect(place, HTTPStatus.SEE_OTHER))


def _after() -> str:
    """Return the page to show after sign-in, if it is a page of the console."""
    wanted = request.values.get("after", "")
    fits = re.fullmatch(rf"{visitors.PATH}(/[A-Za-z0-9_/-]*)?", wanted)
    return wanted if fits else ""


def _headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    # With no referrer at all, browsers send no origin with a form either.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _to_sign_in(_: Exception) -> Response:
    after = f"?after={request.path}" if request.method == "GET" else ""
    return _see_other(f"{visitors.PATH}/login{after}")


def _problem(problem: Problem) -> Response:
    kind = PROBLEMS[problem.name]
    return _show(
        "message.html", status=kind.status, title=kind.title, text=problem.detail
    )


def _away(_: Exception) -> Response:
    return _show(
        "message.html", status=503, title=PROBLEMS["database_unavailable"].title,
        text="The database does not answer at the moment. Try again soon.",
    )  # fmt: skip
