"""Reads `[signers.<name>]`: keys, where they are, and the rules of what they sign."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ops.settings import values
from ops.settings.model import (
    SOLANA,
    ChainSettings,
    SignerKind,
    SignerSettings,
)
from ops.settings.secret import Secret
from ops.settings.table import Table

EVM_ALONE = (
    "value_per_transaction", "value_per_day", "gas_per_day", "gas_price_max",
    "bump_most_times",
)  # fmt: skip
SOLANA_ALONE = ("lamports_per_day", "tokens_per_day", "priority_fee_max")


def read_signer(
    name: str,
    table: Table,
    chains: Mapping[str, ChainSettings],
    *,
    base: Path,
    environ: Mapping[str, str],
) -> SignerSettings:
    """Read `[signers.<name>]`; `chains` are those that are followed."""
    kind = table.choice("kind", SignerKind)
    table.missing("kind", ", ".join(f'"{option.value}"' for option in SignerKind))
    path = table.text("path")
    env, password_env = table.text("env"), table.text("password_env")
    url = table.parsed("url", values.signer_url)
    _check_place_of_key(table, kind)
    secret = environ.get(env or password_env or "")
    chain = _chain_of_signer(table, chains)
    solana = chain in chains and chains[chain].namespace == SOLANA
    _refuse_other_kinds(table, solana=solana)
    address = table.parsed("address", values.pubkey if solana else values.address)
    if solana and kind is SignerKind.REMOTE:
        table.missing("address", "whose key it is, in base58")
    default = SignerSettings(name, SignerKind.KEYSTORE)
    allowed = table.texts("allow")
    allow = tuple(allowed) if "allow" in table else None
    max_in_flight = table.number("max_in_flight", default.max_in_flight, int, 1)
    limits = _read_limits(table, default)
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
        max_in_flight=max_in_flight,
        **limits,
        secret=Secret(secret) if secret else None,
    )


def _read_limits(table: Table, default: SignerSettings) -> dict[str, Any]:
    """Read what a signer may spend, on either kind of chain."""
    amounts = ("value_per_transaction", "value_per_day", "gas_per_day")
    price = table.parsed("gas_price_max", values.wei)
    bump = table.number("bump_most_times", default.bump_most_times, float, 1.2)
    lamports = table.number("lamports_per_day", -1, int)
    priority = table.number("priority_fee_max", default.priority_fee_max, int)
    return {
        **{key: table.parsed(key, values.wei) for key in amounts},
        "gas_price_max": price or default.gas_price_max,
        "bump_most_times": bump,
        "lamports_per_day": None if lamports < 0 else lamports,
        "tokens_per_day": _read_tokens(table.section("tokens_per_day")),
        "priority_fee_max": priority,
    }


def _read_tokens(table: Table) -> Mapping[bytes, int]:
    """Read `tokens_per_day`: the most of each mint's tokens, in their smallest unit."""
    found: dict[bytes, int] = {}
    for name in table.names():
        mint = table.attempt(name, values.pubkey, name)
        most = table.number(name, 0, int)
        if mint is not None:
            found[mint] = most
    return MappingProxyType(found)


def _refuse_other_kinds(table: Table, *, solana: bool) -> None:
    """Note the keys that are for signers of another kind of chain."""
    for key in EVM_ALONE if solana else SOLANA_ALONE:
        if key in table:
            kind = "an EVM chain" if solana else "a Solana chain"
            table.problem(key, f"is for signers of {kind}")


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


def _chain_of_signer(table: Table, chains: Mapping[str, ChainSettings]) -> str:
    """Return the name of the chain that a signer signs for; empty without chains.

    One that does not say is for the only EVM chain, or else for the only chain.
    """
    evm = [name for name, each in chains.items() if each.namespace != SOLANA]
    likely = evm or list(chains)
    chain = table.text("chain") or (likely[0] if len(likely) == 1 else "")
    if not chain and chains:
        table.problem("chain", f"say which chain it signs for: {', '.join(chains)}")
    elif chain and chain not in chains:
        known = ", ".join(chains) or "none"
        table.problem("chain", f"there is no chain {chain!r}; known: {known}")
    return chain
