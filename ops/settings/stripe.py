"""Reads `[stripe]`: whose payments are read, and where its secrets are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ops.settings import values
from ops.settings.model import StripeSettings
from ops.settings.secret import Secret
from ops.settings.table import Table

SECTION = "stripe"
SECRET_BYTES_MAX = 4096
_LIVE = ("sk_live_", "rk_live_")


def read_stripe(
    root: Table, *, base: Path, environ: Mapping[str, str]
) -> StripeSettings:
    """Read `[stripe]`, if it is there."""
    if SECTION not in root:
        return StripeSettings()
    table, default = root.section(SECTION), StripeSettings()
    key_env, key_file = _place(table, "secret_key", base)
    hook_env, hook_file = _place(table, "webhook_secret", base)
    if key_env is None and key_file is None:
        table.missing("secret_key_env", "the variable that holds the secret key")
    key = _secret(table, "secret_key", key_env, key_file, environ)
    hooks = _secret(table, "webhook_secret", hook_env, hook_file, environ)
    live = table.flag("live", default.live)
    if key is not None and key.value.startswith(_LIVE) != live:
        mode = "live" if not live else "test"
        table.problem("live", f"the secret key is of {mode} mode: say so, or change it")
    domains = tuple(table.texts("domains"))
    found = StripeSettings(
        given=True,
        secret_key_env=key_env,
        secret_key_file=key_file,
        webhook_secret_env=hook_env,
        webhook_secret_file=hook_file,
        account=table.parsed("account", _account) or "",
        live=live,
        domains=domains if "domains" in table else None,
        api=table.parsed("api", values.trusted_url),
        success_url=table.parsed("success_url", values.http_url),
        cancel_url=table.parsed("cancel_url", values.http_url),
        poll_seconds=table.number("poll_seconds", default.poll_seconds, float, 0.1),
        overlap_seconds=table.number(
            "overlap_seconds", default.overlap_seconds, int, 60
        ),
        timeout_seconds=table.number(
            "timeout_seconds", default.timeout_seconds, float, 1
        ),
        secret_key=key,
        webhook_secrets=() if hooks is None else _several(hooks),
    )
    table.finish()
    return found


def _place(table: Table, name: str, base: Path) -> tuple[str | None, Path | None]:
    """The variable or the file that holds a secret: one of them, or none."""
    env, file = table.text(f"{name}_env"), table.text(f"{name}_file")
    if env and file:
        table.problem(f"{name}_file", f"does not go with {name}_env: say one of them")
    return env, base / Path(file).expanduser() if file else None


def _secret(
    table: Table,
    name: str,
    env: str | None,
    file: Path | None,
    environ: Mapping[str, str],
) -> Secret | None:
    """A secret, if its variable or file is there."""
    found = environ.get(env or "", "")
    if file is not None and file.is_file():
        try:
            with file.open("rb") as opened:
                found = opened.read(SECRET_BYTES_MAX).decode().strip()
        except (OSError, UnicodeDecodeError):
            table.problem(
                f"{name}_file", "cannot be read as text: let this user read the file"
            )
    return Secret(found) if found else None


def _several(secrets: Secret) -> tuple[Secret, ...]:
    """Two or more, parted by white space, while one replaces another."""
    return tuple(Secret(each) for each in secrets.value.split())


def _account(text: str) -> str:
    if not re.fullmatch(r"acct_[A-Za-z0-9]{4,40}", text):
        raise ValueError(f"{text!r} is no account: it begins with acct_")
    return text
