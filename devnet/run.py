"""Brings a development chain up: node, contracts, and the settings to follow it."""

from __future__ import annotations

from pathlib import Path

from devnet.anvil import GENESIS_TIMESTAMP, Anvil, AnvilOptions
from devnet.deploy import Deployment, deploy

DEPLOYMENT = "devnet.json"
SETTINGS = "chainfold.toml"
DOMAINS = 'domains = ["crowdfunding"]'


def up(
    port: int | None = None,
    chain_id: int = 31337,
    block_time: float | None = None,
    out_dir: Path | None = None,
) -> tuple[Anvil, Deployment]:
    """Start a node, deploy everything, write ``devnet.json`` and ``chainfold.toml``.

    Without ``block_time`` the chain is reproducible: its clock starts at a fixed moment
    and moves two seconds a block. With it, the clock is the wall's. The caller stops
    the node; it also ends with this process.
    """
    options = AnvilOptions(
        chain_id=chain_id,
        block_time=block_time,
        timestamp=GENESIS_TIMESTAMP if block_time is None else None,
    )
    anvil = Anvil(options, port=port).start()
    try:
        deployment = deploy(
            anvil.url, path=out_dir / DEPLOYMENT if out_dir is not None else None
        )
        if out_dir is not None:
            settings = f"{DOMAINS}\n\n{deployment.to_settings_toml()}"
            (out_dir / SETTINGS).write_text(settings, encoding="utf-8")
    except BaseException:
        anvil.stop()
        raise
    return anvil, deployment
