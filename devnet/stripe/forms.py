"""Form bodies and queries as Stripe nests them: ``a[b][0][c]=x``."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from devnet.stripe.errors import ApiError


def decode_form(text: str) -> dict[str, Any]:
    """Return the nested value of a form; indexes make lists, all else is text."""
    tree: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        head, *rest = key.replace("]", "").split("[")
        parts = [head, *rest]
        here = tree
        for part in parts[:-1]:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                raise ApiError(400, f"Invalid form: {key}", param=key)
        last = parts[-1] or str(len(here))
        here[last] = value
    return {key: _listed(value) for key, value in tree.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_listed(value[key]) for key in sorted(value, key=int)]
    return {key: _listed(item) for key, item in value.items()}


def integer(form: dict[str, Any], key: str, default: int | None = None) -> int:
    """Return a whole number of a form; raises ApiError."""
    value = form.get(key, default)
    try:
        return int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ApiError(
            400,
            f"Invalid integer: {value}",
            code="parameter_invalid_integer",
            param=key,
        ) from None


def known(form: dict[str, Any], *keys: str) -> None:
    """Refuse every parameter but these, as Stripe does."""
    for key in form:
        if key not in keys:
            raise ApiError(
                400,
                f"Received unknown parameter: {key}",
                code="parameter_unknown",
                param=key,
            )
