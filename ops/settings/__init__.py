"""The settings: `chainfold.toml` with the environment laid over it.

The only reader of the environment. Everything wrong is reported at once::

    settings = load_settings()
    settings.chains["devnet"].rpc
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ops.settings.check import check
from ops.settings.model import (
    SOLANA,
    ApiSettings,
    AuthSettings,
    ChainSettings,
    ContractCommand,
    ContractSettings,
    DatabaseSettings,
    Deployment,
    DocumentSettings,
    ExternalSettings,
    Factory,
    FeeModel,
    Finality,
    LimitSettings,
    LogQuery,
    MetricsSettings,
    ProgramSettings,
    RedisSettings,
    Settings,
    SignerKind,
    SignerSettings,
    StripeSettings,
    TableSettings,
)
from ops.settings.read import read_settings
from ops.settings.secret import Secret, SecretUrl
from ops.settings.table import Table
from ops.settings.tree import NOT_READ, Tree, lay_environment, plant
from ops.settings.wallet_model import SolanaWalletSettings, WalletSettings

__all__ = [
    "FILE",
    "SOLANA",
    "ApiSettings",
    "AuthSettings",
    "ChainSettings",
    "ContractCommand",
    "ContractSettings",
    "DatabaseSettings",
    "Deployment",
    "DocumentSettings",
    "ExternalSettings",
    "Factory",
    "FeeModel",
    "Finality",
    "LimitSettings",
    "LogQuery",
    "MetricsSettings",
    "ProgramSettings",
    "RedisSettings",
    "Secret",
    "SecretUrl",
    "Settings",
    "SettingsError",
    "SignerKind",
    "SignerSettings",
    "SolanaWalletSettings",
    "StripeSettings",
    "TableSettings",
    "WalletSettings",
    "load_settings",
]

FILE = "chainfold.toml"


class SettingsError(ValueError):
    """The settings cannot be used; the message lists every reason."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problem(s) in the settings:\n{lines}")


def load_settings(
    path: Path | str | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Return the checked settings, or raise every problem in one SettingsError."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    file = _find_file(path, environ, problems)
    tree = _read_file(file, problems)
    lay_environment(tree, environ, problems)
    base = (file.parent if file is not None else Path.cwd()).absolute()
    root = Table(tree, "", problems)
    settings = read_settings(root, path=file, base=base, environ=environ)
    problems.extend(check(settings))
    if problems:
        raise SettingsError(problems)
    return replace(settings, notes=tuple(_notes(environ)))


def _find_file(
    path: Path | str | None, environ: Mapping[str, str], problems: list[str]
) -> Path | None:
    """Return the file to read; one that was asked for must be there."""
    wanted, origin = path, "the path given"
    if wanted is None and environ.get("CHAINFOLD_CONFIG"):
        wanted, origin = environ["CHAINFOLD_CONFIG"], "CHAINFOLD_CONFIG"
    if wanted is None:
        return Path(FILE).absolute() if Path(FILE).is_file() else None
    file = Path(wanted).expanduser().absolute()
    if not file.is_file():
        problems.append(f"no file {wanted} ({origin}): create it or correct the path")
        return None
    return file


def _read_file(file: Path | None, problems: list[str]) -> Tree:
    if file is None:
        return {}
    try:
        # Some editors put a byte order mark in front.
        return plant(tomllib.loads(file.read_text("utf-8-sig")), file.name)
    except OSError as error:
        problems.append(
            f"{file} cannot be read: {error.strerror}. Let the user that runs this "
            "read it"
        )
    except UnicodeDecodeError:
        problems.append(f"{file} is not in UTF-8: save it so")
    except ValueError as error:
        problems.append(f"{file} cannot be read as TOML: {error}")
    return {}


def _notes(environ: Mapping[str, str]) -> list[str]:
    """Mention variables that look meant for us and are not read."""
    return [
        f"{name} is set but not read: if it was meant for Chainfold, set {ours}"
        for name, ours in NOT_READ.items()
        if environ.get(name) and not environ.get(ours)
    ]
