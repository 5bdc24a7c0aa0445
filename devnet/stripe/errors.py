"""Refusals in the form of Stripe's API: a status and an ``error`` object."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that tells what is wrong with a request."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.content: dict[str, Any] = {"type": kind, "message": message}
        if code is not None:
            self.content["code"] = code
        if param is not None:
            self.content["param"] = param


def missing(kind: str, id_: str) -> ApiError:
    """Return the refusal of an object that is not there."""
    return ApiError(
        404, f"No such {kind}: '{id_}'", code="resource_missing", param="id"
    )


def unexpected_state(message: str, code: str) -> ApiError:
    """Return the refusal of a change that the object's state does not allow."""
    return ApiError(400, message, code=code)
