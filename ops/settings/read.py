"""Reads each section of the settings into its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType

from db.proofs import UNPROVED, HeaderProof, LogsProof, Proof, Verify
from ops.settings import values
from ops.settings.api import read_api, read_auth
from ops.settings.domains import read_domains
from ops.settings.emitters import read_contract, read_deployments, read_program
from ops.settings.model import (
    SOLANA,
    ChainSettings,
    DatabaseSettings,
    DocumentSettings,
    FeeModel,
    Finality,
    LimitSettings,
    LogQuery,
    MetricsSettings,
    RedisSettings,
    Settings,
    TableSettings,
)
from ops.settings.notifications import read_notifications
from ops.settings.secret import SecretUrl
from ops.settings.signers import read_signer
from ops.settings.stripe import read_stripe
from ops.settings.table import Table
from ops.settings.wallets import read_wallets

EVM_ALONE = (
    "contracts", "logs", "genesis", "watch_senders", "fees", "verify_bloom",
    "verify_receipts", "require", "validators", "validators_block", "audit_blocks",
)  # fmt: skip
SOLANA_ALONE = (
    "programs", "tokens", "wallets", "payers", "accounts", "compare_seconds", "ws",
)  # fmt: skip


def read_settings(
    root: Table, *, path: Path | None, base: Path, environ: Mapping[str, str]
) -> Settings:
    """Read every section; problems are noted in the table."""
    data_dir = root.text("data_dir") or str(Settings().data_dir)
    chains = {name: read_chain(name, table) for name, table in _named(root, "chains")}
    solana = [name for name, chain in chains.items() if chain.namespace == SOLANA]
    evm = [name for name in chains if name not in solana]
    contracts = {
        name: read_contract(name, table, base=base, chains=evm)
        for name, table in _named(root, "contracts")
    }
    programs = {
        name: read_program(name, table, base=base, chains=solana)
        for name, table in _named(root, "programs")
    }
    domains = tuple(root.texts("domains"))
    settings = Settings(
        path=path,
        data_dir=base / Path(data_dir).expanduser(),
        domains=domains if "domains" in root else None,
        declarations=_places(root, "declarations", base),
        database=read_database(root.section("database")),
        redis=read_redis(root.section("redis")),
        chains=MappingProxyType(chains),
        contracts=MappingProxyType(contracts),
        programs=MappingProxyType(programs),
        tables=MappingProxyType(
            {name: read_table(name, table) for name, table in _named(root, "tables")}
        ),
        signers=MappingProxyType(
            {
                name: read_signer(name, table, chains, base=base, environ=environ)
                for name, table in _named(root, "signers")
            }
        ),
        limits=read_limits(root.section("limits")),
        wallets=read_wallets(root.section("wallets")),
        api=read_api(root.section("api")),
        auth=read_auth(root.section("auth"), environ),
        documents=read_documents(root.section("documents")),
        metrics=read_metrics(root.section("metrics")),
        stripe=read_stripe(root, base=base, environ=environ),
        notifications=read_notifications(root, environ),
    )
    settings = replace(
        settings,
        of_domains=read_domains(root, settings.domains, settings.declarations),
    )
    root.finish()
    return settings


def read_database(table: Table) -> DatabaseSettings:
    """Read `[database]`."""
    url = table.parsed("url", values.database_url)
    read_url = table.parsed("read_url", values.database_url)
    table.finish()
    return DatabaseSettings(url=url, read_url=read_url)


def read_redis(table: Table) -> RedisSettings:
    """Read `[redis]`."""
    text = table.text("url")
    url: SecretUrl | None = None
    if text is not None and text != "none":
        url = table.attempt("url", values.redis_url, text)
    table.finish()
    return RedisSettings(url=url, wanted=text != "none")


def read_chain(name: str, table: Table) -> ChainSettings:
    """Read `[chains.<name>]`."""
    default = ChainSettings(name, "", (), Finality.IBFT)
    chain_id = table.parsed("id", values.chain_id)
    rpc = table.parsed_list("rpc", values.http_url)
    table.missing("id", '"eip155:<chain id>", as eth_chainId says')
    table.missing("rpc", "at least one endpoint's URL")
    given = table.take("rpc")
    if given is not None and not given.value:
        table.problem("rpc", "needs at least one endpoint's URL")
    finality, depth = read_finality(table, chain_id)
    pinned = table.number("validators_block", -1, int)
    chain = ChainSettings(
        name=name,
        id=chain_id or "",
        rpc=rpc,
        finality=finality,
        finality_depth=depth,
        start_block=table.number("start_block", default.start_block, int),
        logs=table.choice("logs", LogQuery) or default.logs,
        genesis=table.parsed("genesis", values.block_hash),
        poll_seconds=table.number("poll_seconds", default.poll_seconds, float, 0.01),
        stall_seconds=table.number("stall_seconds", default.stall_seconds, float, 1),
        watch_senders=table.parsed_list("watch_senders", values.address),
        fees=table.choice("fees", FeeModel) or default.fees,
        verify_bloom=table.choice("verify_bloom", Verify) or default.verify_bloom,
        verify_receipts=table.choice("verify_receipts", Verify)
        or default.verify_receipts,
        require=read_require(table.section("require")),
        validators=table.parsed_list("validators", values.validator),
        validators_block=None if pinned < 0 else pinned,
        audit_blocks=table.number("audit_blocks", default.audit_blocks, int),
        contracts=read_deployments(table.section("contracts"), values.address),
        programs=read_deployments(table.section("programs"), values.pubkey),
        tokens=read_deployments(table.section("tokens"), values.pubkey),
        wallets=read_deployments(table.section("wallets"), values.pubkey),
        payers=read_deployments(table.section("payers"), values.pubkey),
        accounts=read_accounts(table.section("accounts")),
        compare_seconds=table.number(
            "compare_seconds", default.compare_seconds, float, 0
        ),
        ws=table.parsed_list("ws", values.websocket_url),
    )
    read_proofs(table, chain)
    refuse_other_kinds(table, chain)
    table.finish()
    return chain


def read_accounts(table: Table) -> Mapping[str, tuple[bytes, ...]]:
    """Read `[chains.<name>.accounts]`: addresses that commands name, once each."""
    found: dict[str, tuple[bytes, ...]] = {}
    for name in table.names():
        keys = table.parsed_list(name, values.pubkey)
        if len(set(keys)) < len(keys):
            table.problem(name, "names an address twice: once is enough")
        if keys:
            found[name] = keys
    return MappingProxyType(found)


def read_require(table: Table) -> Proof:
    """Read `require` of a chain: the lowest level of each kind that may be written."""
    header = table.parsed("header", HeaderProof.parse)
    logs = table.parsed("logs", LogsProof.parse)
    table.finish()
    return Proof(header or HeaderProof.PARENT, logs or LogsProof.NONE)


def read_proofs(table: Table, chain: ChainSettings) -> None:
    """Report contradictions among the keys on proofs."""
    if ("validators" in table) != ("validators_block" in table):
        table.problem(
            "validators" if "validators" in table else "validators_block",
            "validators and validators_block go together: the set that is due after "
            "that block",
        )
    if chain.logs is LogQuery.FILTERED and chain.require != UNPROVED:
        table.problem("require", 'goes only with logs = "all": see what a chain proves')
    if chain.require.logs is LogsProof.BLOOM and chain.verify_bloom is Verify.NEVER:
        table.problem("require", 'logs = "bloom" contradicts verify_bloom = "never"')
    no_receipts = chain.verify_receipts is Verify.NEVER
    if chain.require.logs is LogsProof.RECEIPTS and no_receipts:
        table.problem(
            "require", 'logs = "receipts" contradicts verify_receipts = "never"'
        )


def refuse_other_kinds(table: Table, chain: ChainSettings) -> None:
    """Note the keys that are for chains of another kind."""
    solana = chain.namespace == SOLANA
    for key in EVM_ALONE if solana else SOLANA_ALONE:
        if key in table:
            kind = "EVM" if solana else "Solana"
            table.problem(key, f"is for {kind} chains, and {chain.id} is none")


def read_finality(table: Table, chain_id: str | None) -> tuple[Finality, int | None]:
    """Read how blocks become final; nothing is assumed about an unknown chain."""
    solana = (chain_id or "").startswith(f"{SOLANA}:")
    finality = table.choice("finality", Finality)
    table.missing(
        "finality",
        '"commitment"'
        if solana
        else '"ibft" (instant), "tag" (the node knows) or "depth" with finality_depth',
    )
    if finality is not None and solana != (finality is Finality.COMMITMENT):
        table.problem(
            "finality", '"commitment" is for Solana chains, and only for them'
        )
    depth = table.number("finality_depth", 0, int, 1) or None
    if finality is Finality.DEPTH:
        table.missing("finality_depth", 'how many blocks deep, with finality = "depth"')
    elif depth is not None and finality is not None:
        table.problem("finality_depth", 'goes only with finality = "depth"')
    return finality or Finality.IBFT, depth


def read_table(name: str, table: Table) -> TableSettings:
    """Read `[tables.<name>]`: every other key is a column."""
    doc, index = table.text("doc") or "", tuple(table.texts("index"))
    columns = {
        column: table.text(column) or ""
        for column in table.names()
        if column not in ("doc", "index")
    }
    table.finish()
    return TableSettings(name, MappingProxyType(columns), index, doc)


def read_limits(table: Table) -> LimitSettings:
    """Read `[limits]`, whose keys are its dataclass's fields."""
    default = LimitSettings()
    found: dict[str, object] = {}
    for item in fields(default):
        value = getattr(default, item.name)
        minimum = 0.1 if type(value) is float else 1
        found[item.name] = table.number(item.name, value, type(value), minimum)
    table.finish()
    return LimitSettings(**found)  # type: ignore[arg-type]


def read_metrics(table: Table) -> MetricsSettings:
    """Read `[metrics]`."""
    default = MetricsSettings()
    found = MetricsSettings(
        host=table.text("host") or default.host,
        port=table.number("port", default.port, int),
        explicit="port" in table,
    )
    if found.port > 65_535:
        table.problem("port", "must be at most 65535")
    table.finish()
    return found


def read_documents(table: Table) -> DocumentSettings:
    """Read `[documents]`."""
    default = DocumentSettings()
    found = DocumentSettings(
        of_account=table.number("of_account", default.of_account, int, 1),
        mb_of_account=table.number("mb_of_account", default.mb_of_account, int, 1),
        bucket=table.parsed("bucket", values.bucket),
        endpoint=table.parsed("endpoint", values.http_url),
        region=table.text("region"),
        prefix=table.parsed("prefix", values.prefix) or "",
    )
    if found.endpoint or found.region or found.prefix:
        table.missing("bucket", "the name of one that is there")
    table.finish()
    return found


def _places(root: Table, key: str, base: Path) -> tuple[Path, ...]:
    texts = root.texts(key)
    return tuple((base / Path(each).expanduser()).resolve() for each in texts)


def _named(root: Table, key: str) -> list[tuple[str, Table]]:
    return list(root.section(key).sections())
