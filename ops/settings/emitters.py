"""Reads contracts and programs: their ABIs and IDLs, their chains and addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from db.declare.given_meanings import Meanings, read_meaning
from db.declare.meanings import Meaning
from idl import BUILTIN, Idl, load_builtin, parse_idl
from idl.model import IdlVersion
from ops.settings import abi_files, values
from ops.settings.model import (
    ContractCommand,
    ContractSettings,
    Deployment,
    Factory,
    ProgramSettings,
)
from ops.settings.table import Table

T = TypeVar("T")
EVERYBODYS = (
    "most transactions of a cluster run this program, so they cannot all be read. "
    "Write the token accounts, mints, wallets or programs whose transactions are, or "
    "on a cluster of your own the program's address"
)


def read_deployments(
    table: Table, parse: Callable[[str], bytes]
) -> Mapping[str, tuple[Deployment, ...]]:
    """Read `[chains.<name>.contracts]` or `programs`.

    Each is an address, a list, or a table with a start.
    """
    found: dict[str, tuple[Deployment, ...]] = {}
    for name in table.names():
        if table.is_section(name):
            entry = table.section(name)
            block = entry.number("start", 0, int)
            start = block if "start" in entry else None
            addresses = entry.parsed_list("address", parse)
            entry.missing("address", "where it is")
            entry.finish()
        else:
            start, addresses = None, table.parsed_list(name, parse)
        found[name] = tuple(Deployment(address, start) for address in addresses)
    return MappingProxyType(found)


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
    meanings = read_meanings(table.section("meanings"))
    commands = tuple(
        read_command(name, each) for name, each in table.section("commands").sections()
    )
    table.finish()
    return ContractSettings(
        name, on, abi or (), addresses, factories, starts, commands, tagged, meanings
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


def read_program(
    name: str, table: Table, *, base: Path, chains: list[str]
) -> ProgramSettings:
    """Read `[programs.<name>]`."""
    table.missing("idl", 'a JSON file, relative to this one, or "builtin:token"')
    on = read_chains(table, chains)
    path, idls = read_idls(table, base, on)
    idl = idls[-1].idl if idls else None
    addresses = _by_chain(
        table, "address", on, lambda t, key: t.parsed_list(key, values.pubkey)
    )
    if "address" not in table and idl is not None and idl.address is not None:
        addresses = MappingProxyType(dict.fromkeys(on, (idl.address,)))
    elif idl is not None:
        table.missing("address", "where the program is: the IDL does not say")
    starts = _by_chain(table, "start", on, lambda t, key: t.number(key, 0, int))
    accounts = _by_chain(
        table, "accounts", on, lambda t, key: t.parsed_list(key, values.pubkey)
    )
    # Where there are none, all of the program is followed.
    lacking = " and ".join(name for name in on if not accounts.get(name))
    if lacking and path is not None and path.startswith(BUILTIN):
        table.problem("accounts", f"name some on {lacking}: {EVERYBODYS}")
    elif lacking and "accounts" in table:
        table.problem("accounts", f"name some on {lacking}, or leave them out")
    meanings = read_meanings(table.section("meanings"))
    table.finish()
    return ProgramSettings(name, on, idls, addresses, starts, accounts, meanings)


def read_meanings(table: Table) -> Meanings:
    """Read `[contracts.<name>.meanings]` or `programs`, with sections for events."""
    found: dict[str, Meaning | None] = {}
    for name in table.names():
        below = table.section(name) if table.is_section(name) else None
        for key in below.names() if below else [name]:
            text = (below or table).text(key)
            if text is None:
                continue
            try:
                found[f"{name}.{key}" if below else key] = read_meaning(text)
            except ValueError as error:
                (below or table).problem(key, str(error))
    return MappingProxyType(found)


def read_idls(
    table: Table, base: Path, chains: tuple[str, ...]
) -> tuple[str | None, tuple[IdlVersion, ...]]:
    """Read `idl`: one, or a list of versions with the slots from which each is right.

    Also returns what names the one, or the last. Nothing is returned of what cannot be
    read: the table has the problem.
    """
    if not table.is_section("idl") and not table.is_list("idl"):
        path = table.text("idl")
        if path is None:
            return None, ()
        idl = table.attempt("idl", lambda text: read_idl(base, text), path)
        return path, () if idl is None else (IdlVersion(0, idl),)
    found: list[IdlVersion] = []
    path = None
    for at, entry in enumerate(table.entries("idl")):
        path = entry.text("file")
        entry.missing("file", "a JSON file, relative to this one")
        first = entry.number("from_slot", 0, int)
        if at == 0 and "from_slot" in entry:
            entry.problem(
                "from_slot", "leave it out: the first version is from the beginning on"
            )
        elif at and (first <= found[-1].first if found else first < 1):
            entry.problem(
                "from_slot", "say the slot of the upgrade; each is above the one before"
            )
        if path is not None:
            idl = entry.attempt("file", lambda text: read_idl(base, text), path)
            found += [] if idl is None else [IdlVersion(first, idl)]
        entry.finish()
    if len(chains) > 1 and len(found) > 1:
        table.problem(
            "idl",
            "has versions by slot, so it is for one chain: write one section each",
        )
    return path, tuple(found)


def read_idl(base: Path, path: str) -> Idl:
    """Read an IDL's file, or one of ours; raises ValueError when it is none."""
    if path.startswith(BUILTIN):
        return load_builtin(path.removeprefix(BUILTIN))
    try:
        content = (base / Path(path).expanduser()).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    return parse_idl(content, place=path)


def read_chains(table: Table, chains: list[str]) -> tuple[str, ...]:
    """Read which chains of its kind a contract or program is on.

    Not needed where there is only one.
    """
    known = ", ".join(chains) or "none"
    named = table.texts("chain", least=f"of {known}")
    if "chain" not in table:
        if len(chains) != 1:
            table.missing("chain", f"one of {known}, or a list of them")
        return tuple(chains[:1])
    for name in named:
        if name not in chains:
            table.problem("chain", f"no such chain {name!r}; known: {known}")
    if len({*named}) < len(named):
        table.problem("chain", "names a chain twice: once is enough")
    return tuple(dict.fromkeys(named))


def _by_chain(
    table: Table, key: str, chains: tuple[str, ...], read: Callable[[Table, str], T]
) -> Mapping[str, T]:
    """Read a value given once for all chains, or in a section for each chain."""
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
