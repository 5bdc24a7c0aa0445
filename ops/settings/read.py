"""Reads each section of the settings into its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from db.proofs import UNPROVED, HeaderProof, LogsProof, Proof, Verify
from ops.settings import abi_files, values
from ops.settings.door import read_api, read_auth
from ops.settings.model import (
    ChainSettings,
    ContractCommand,
    ContractSettings,
    DatabaseSettings,
    Deployment,
    DocumentSettings,
    Factory,
    Fees,
    Finality,
    LimitSettings,
    Logs,
    MetricsSettings,
    RedisSettings,
    SecretUrl,
    Settings,
    TableSettings,
    WalletSettings,
)
from ops.settings.signers import read_signer
from ops.settings.table import Table

SOLANA = "solana:"
T = TypeVar("T")


def read_settings(
    root: Table, *, path: Path | None, base: Path, environ: Mapping[str, str]
) -> Settings:
    """Read every section; problems are noted in the table."""
    data_dir = root.text("data_dir") or str(Settings().data_dir)
    chains = {name: read_chain(name, table) for name, table in _named(root, "chains")}
    contracts = {
        name: read_contract(name, table, base=base, chains=list(chains))
        for name, table in _named(root, "contracts")
    }
    domains = tuple(root.texts("domains"))
    settings = Settings(
        path=path,
        data_dir=base / Path(data_dir).expanduser(),
        domains=domains if "domains" in root else None,
        declarations=tuple(
            (base / Path(each).expanduser()).resolve()
            for each in root.texts("declarations")
        ),
        database=read_database(root.section("database")),
        redis=read_redis(root.section("redis")),
        chains=MappingProxyType(chains),
        contracts=MappingProxyType(contracts),
        tables=MappingProxyType(
            {name: read_table(name, table) for name, table in _named(root, "tables")}
        ),
        signers=MappingProxyType(
            {
                name: read_signer(
                    name, table, chains=list(chains), base=base, environ=environ
                )
                for name, table in _named(root, "signers")
            }
        ),
        limits=read_limits(root.section("limits")),
        wallets=read_wallets(root.section("wallets")),
        api=read_api(root.section("api")),
        auth=read_auth(root.section("auth"), environ),
        documents=read_documents(root.section("documents")),
        metrics=read_metrics(root.section("metrics")),
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
    said = table.take("rpc")
    if said is not None and not said.value:
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
        logs=table.choice("logs", Logs) or default.logs,
        genesis=table.parsed("genesis", values.block_hash),
        poll_seconds=table.number("poll_seconds", default.poll_seconds, float, 0.01),
        stall_seconds=table.number("stall_seconds", default.stall_seconds, float, 1),
        watch_senders=table.parsed_list("watch_senders", values.address),
        fees=table.choice("fees", Fees) or default.fees,
        verify_bloom=table.choice("verify_bloom", Verify) or default.verify_bloom,
        verify_receipts=table.choice("verify_receipts", Verify)
        or default.verify_receipts,
        require=read_require(table.section("require")),
        validators=table.parsed_list("validators", values.validator),
        validators_block=None if pinned < 0 else pinned,
        audit_blocks=table.number("audit_blocks", default.audit_blocks, int),
        contracts=read_deployments(table.section("contracts")),
        programs=read_programs(table.section("programs"), chain_id),
    )
    read_proofs(table, chain)
    table.finish()
    return chain


def read_require(table: Table) -> Proof:
    """Read `require` of a chain: the lowest level of each kind that may be written."""
    header = table.parsed("header", HeaderProof.parse)
    logs = table.parsed("logs", LogsProof.parse)
    table.finish()
    return Proof(header or HeaderProof.PARENT, logs or LogsProof.NONE)


def read_proofs(table: Table, chain: ChainSettings) -> None:
    """Note what contradicts itself among the keys on proofs."""
    if ("validators" in table) != ("validators_block" in table):
        table.problem(
            "validators" if "validators" in table else "validators_block",
            "validators and validators_block go together: the set that is due after "
            "that block",
        )
    if chain.logs is Logs.FILTERED and chain.require != UNPROVED:
        table.problem("require", 'goes only with logs = "all": see what a chain proves')
    if chain.require.logs is LogsProof.BLOOM and chain.verify_bloom is Verify.NEVER:
        table.problem("require", 'logs = "bloom" contradicts verify_bloom = "never"')
    no_receipts = chain.verify_receipts is Verify.NEVER
    if chain.require.logs is LogsProof.RECEIPTS and no_receipts:
        table.problem(
            "require", 'logs = "receipts" contradicts verify_receipts = "never"'
        )


def read_finality(table: Table, chain_id: str | None) -> tuple[Finality, int | None]:
    """Read how blocks become final; nothing is assumed about an unknown chain."""
    solana = (chain_id or "").startswith(SOLANA)
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


def read_deployments(table: Table) -> Mapping[str, tuple[Deployment, ...]]:
    """Read `[chains.<name>.contracts]`: an address, a list, or a table with a start."""
    found: dict[str, tuple[Deployment, ...]] = {}
    for name in table.names():
        if table.is_section(name):
            entry = table.section(name)
            block = entry.number("start", 0, int)
            start = block if "start" in entry else None
            addresses = entry.parsed_list("address", values.address)
            entry.missing("address", "where the contract is")
            entry.finish()
        else:
            start, addresses = None, table.parsed_list(name, values.address)
        found[name] = tuple(Deployment(address, start) for address in addresses)
    return MappingProxyType(found)


def read_programs(table: Table, chain_id: str | None) -> Mapping[str, bytes]:
    """Read `[chains.<name>.programs]` of a Solana chain."""
    names = table.names()
    if names and chain_id and not chain_id.startswith(SOLANA):
        table.problem(names[0], "programs are for Solana chains: say contracts")
    parsed = {name: table.parsed(name, values.pubkey) for name in names}
    return MappingProxyType({name: key for name, key in parsed.items() if key})


def read_contract(
    name: str, table: Table, *, base: Path, chains: list[str]
) -> ContractSettings:
    """Read `[contracts.<name>]`."""
    files = table.texts("abi", commas=False, least="JSON file")
    table.missing("abi", "a JSON file, or a list of them, relative to this one")
    abi: abi_files.Abi | None = None
    if files:
        abi = table.attempt("abi", lambda _: abi_files.read_union(base, files), "")
    on = read_chains(table, chains)
    addresses = _by_chain(
        table, "address", on, lambda t, key: t.parsed_list(key, values.address)
    )
    factories = read_factories(table)
    if "address" not in table and "factory" not in table:
        table.problem("address", "say address, or factory, or both")
    elif "factory" not in table and table.is_section("address"):
        for chain in on:
            table.section("address").missing(
                chain, f'where it is there; or leave "{chain}" out of chain'
            )
    starts = _by_chain(table, "start", on, lambda t, key: t.number(key, 0, int))
    tagged = table.flag("tagged", True)
    commands = tuple(
        read_command(name, each) for name, each in table.section("commands").sections()
    )
    table.finish()
    return ContractSettings(
        name, on, abi or (), addresses, factories, starts, commands, tagged
    )


def read_command(name: str, table: Table) -> ContractCommand:
    """Read `[contracts.<name>.commands.<name>]`."""
    roles = tuple(table.texts("role", least="role"))
    signer = table.text("signer") or ""
    table.missing("role", 'who may ask: "operator", or a list')
    table.missing("signer", 'a name of [signers.<name>], or "caller"')
    found = ContractCommand(
        name=name,
        function=table.text("function") or name,
        roles=roles,
        signer=signer,
        proof=table.text("proof"),
        doc=table.text("doc") or "",
    )
    table.finish()
    return found


def read_chains(table: Table, chains: list[str]) -> tuple[str, ...]:
    """Read which chains a contract is on; not needed where there is only one."""
    known = ", ".join(chains) or "none"
    said = table.texts("chain", least=f"of {known}")
    if "chain" not in table:
        if len(chains) != 1:
            table.missing("chain", f"one of {known}, or a list of them")
        return tuple(chains[:1])
    for name in said:
        if name not in chains:
            table.problem("chain", f"no such chain {name!r}; known: {known}")
    if len({*said}) < len(said):
        table.problem("chain", "names a chain twice: once is enough")
    return tuple(dict.fromkeys(said))


def _by_chain(
    table: Table, key: str, chains: tuple[str, ...], read: Callable[[Table, str], T]
) -> Mapping[str, T]:
    """Read what is said once for all chains, or in a section for each of them."""
    if table.is_section(key):
        entry = table.section(key)
        found = {name: read(entry, name) for name in chains}
        entry.finish()
        return MappingProxyType(found)
    value = read(table, key)
    return MappingProxyType(dict.fromkeys(chains, value))


def read_factories(table: Table) -> tuple[Factory, ...]:
    """Read which parameters of which contracts' events announce this one's addresses.

    One table or a list of them, each with one parameter or a list of them.
    """
    found: list[Factory] = []
    for entry in table.entries("factory"):
        contract, event = entry.text("contract"), entry.text("event")
        params = entry.texts("param", least="parameter's name")
        for key in ("contract", "event", "param"):
            entry.missing(key, 'as in { contract = "dex", event = "…", param = "…" }')
        entry.finish()
        if contract and event:
            found += [Factory(contract, event, param) for param in params]
    return tuple(dict.fromkeys(found))


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


def read_wallets(table: Table) -> WalletSettings:
    """Read `[wallets]`."""
    default = WalletSettings()

    def number(key: str, minimum: int = 1) -> int:
        return table.number(key, int(getattr(default, key)), int, minimum)

    found = WalletSettings(
        valid_hours=number("valid_hours"),
        watch_days=number("watch_days", 0),
        waiting_of_account=number("waiting_of_account"),
        waiting_of_wallet=number("waiting_of_wallet"),
    )
    table.finish()
    return found


def read_metrics(table: Table) -> MetricsSettings:
    """Read `[metrics]`."""
    default = MetricsSettings()
    found = MetricsSettings(
        host=table.text("host") or default.host,
        port=table.number("port", default.port, int),
        said="port" in table,
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


def _named(root: Table, key: str) -> list[tuple[str, Table]]:
    return list(root.section(key).sections())
