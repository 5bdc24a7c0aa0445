"""Reads `[signers.<name>]`: keys, where they are, and the rules of what they sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.settings import values
from ops.settings.model import Secret, SignerKind, SignerSettings
from ops.settings.table import Table


def read_signer(
    name: str,
    table: Table,
    *,
    chains: Sequence[str],
    base: Path,
    environ: Mapping[str, str],
) -> SignerSettings:
    """Read `[signers.<name>]`; `chains` are the names of those that are followed."""
    kind = table.choice("kind", SignerKind)
    table.missing("kind", ", ".join(f'"{option.value}"' for option in SignerKind))
    path = table.text("path")
    env, password_env = table.text("env"), table.text("password_env")
    url = table.parsed("url", values.signer_url)
    _check_place_of_key(table, kind)
    secret = environ.get(env or password_env or "")
    chain = _chain_of_signer(table, chains)
    address = table.parsed("address", values.address)
    default = SignerSettings(name, SignerKind.KEYSTORE)
    allowed = table.texts("allow")
    allow = tuple(allowed) if "allow" in table else None
    limits = {
        key: table.parsed(key, values.wei)
        for key in ("value_per_transaction", "value_per_day", "gas_per_day")
    }
    gas_price_max = table.parsed("gas_price_max", values.wei)
    bump_most_times = table.number(
        "bump_most_times", default.bump_most_times, float, 1.2
    )
    max_in_flight = table.number("max_in_flight", default.max_in_flight, int, 1)
    table.finish()
    return SignerSettings(
        name=name,
        kind=kind or SignerKind.KEYSTORE,
        chain=chain,
        path=base / path if path else None,
        env=env,
        password_env=password_env,
        url=url,
        address=address,
        allow=allow,
        **limits,
        gas_price_max=gas_price_max or default.gas_price_max,
        bump_most_times=bump_most_times,
        max_in_flight=max_in_flight,
        secret=Secret(secret) if secret else None,
    )


def _check_place_of_key(table: Table, kind: SignerKind | None) -> None:
    """Note a problem unless the one place is given that goes with the kind."""
    needed = {
        SignerKind.KEYSTORE: "path",
        SignerKind.ENV: "env",
        SignerKind.REMOTE: "url",
    }
    if kind is None:
        return
    table.missing(needed[kind], f'with kind = "{kind.value}"')
    for other in {*needed.values()} - {needed[kind]}:
        if other in table:
            table.problem(other, f'does not go with kind = "{kind.value}"')


def _chain_of_signer(table: Table, chains: Sequence[str]) -> str:
    """Return the name of the chain that a signer signs for; empty without chains."""
    chain = table.text("chain") or (chains[0] if len(chains) == 1 else "")
    if not chain and chains:
        table.problem("chain", f"say which chain it signs for: {', '.join(chains)}")
    elif chain and chain not in chains:
        known = ", ".join(chains) or "none"
        table.problem("chain", f"there is no chain {chain!r}; known: {known}")
    return chain
