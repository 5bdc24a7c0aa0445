"""The settings of contracts, programs and tables without code, for their page."""

from idl.parse import BUILTIN, builtins
from ops.docs.section import ADDRESSES, Section, SettingKey
from ops.settings import (
    ContractCommand,
    ContractSettings,
    ProgramSettings,
    TableSettings,
)

MEANINGS = SettingKey("table", "What values are to people: see the section below.")
MEANING_KEYS = {
    "<parameter>": SettingKey(
        '`"amount <decimals> <symbol>"`, `"share <parts>"`, `"time"`, `"duration"`, '
        '`"code"`, `"url"` or `"number"`',
        "What the parameter is, of every event and call that has it; in a section with "
        "the name of an event or a function of that one alone. Where there are "
        "amounts, every wide integer that a command takes must be said.",
    )
}
BUILTINS = ", ".join(f"`{BUILTIN}{name}`" for name in builtins())
EMITTER_SECTIONS = (
    Section(
        "contracts.<name>",
        "A contract declared by its ABI alone; its events become tables whose names "
        "begin with the name. `address` or `factory` is needed; with both, it is at "
        "the addresses and wherever it is announced.",
        ContractSettings,
        {
            "abi": SettingKey(
                "path, or a list",
                "A JSON list, or `{abi: [...]}`; relative to the file. Of several, "
                "the union counts; an event that two files have must be the same.",
            ),
            "address": SettingKey(
                f"{ADDRESSES}; or a table by chain",
                "Where it is: on every chain, or `{ edge = …, main = … }`.",
            ),
            "factory": SettingKey(
                "`{ contract, event, param }`, or a list",
                "What announces its addresses: a parameter of a contract's event, an "
                "address or a list of them, or several such parameters. `event` is a "
                "name, or the signature of an overloaded event; a parameter without a "
                "name is `arg0`, `arg1` … by its place. The contract may be made by a "
                "factory too, and by itself.",
            ),
            "chain": SettingKey(
                "text, or a list",
                "The chains it is on; not needed when there is only one. Its tables "
                "are the same for all, with a column `chain`, which is part of the key "
                "of every projection.",
            ),
            "start": SettingKey(
                "integer; or a table by chain",
                "The first block worth reading for it; 0 if not said.",
            ),
            "tagged": SettingKey(
                "true or false",
                "Calls end with their command's id, which contracts do not read; false "
                "for one that does (it hashes its calldata, or passes it on).",
            ),
            "meanings": MEANINGS,
        },
        {
            "address": "addresses",
            "factory": "factories",
            "chain": "chains",
            "start": "starts",
        },
    ),
    Section(
        "contracts.<name>.meanings",
        "The amounts, times and codes of a contract without code.",
        None,
        MEANING_KEYS,
    ),
    Section(
        "programs.<name>",
        "A Solana program declared by its IDL alone; its events and instructions "
        "become tables whose names begin with the name.",
        ProgramSettings,
        {
            "idl": SettingKey(
                "path, or `builtin:<name>`; or a list of `{ file, from_slot }`",
                "The IDL, as Anchor writes it (`target/idl/<program>.json`), of any "
                "version; relative to the file. Of programs that publish none there "
                f"is one here: {BUILTINS}. A list has the IDLs of a program that was "
                "upgraded, oldest first, each but the first with the slot from which "
                "it is right: what was done in a slot is read by the IDL of that slot.",
            ),
            "address": SettingKey(
                "address in base58, or a list; or a table by chain",
                "Where it is; not needed when the IDL says.",
            ),
            "accounts": SettingKey(
                "address in base58, or a list; or a table by chain",
                "Only transactions that name one of these are read, and what the "
                "program did in them: token accounts, mints, wallets, other programs. "
                "Needed with `builtin:`, as nearly every transaction runs such a "
                "program.",
            ),
            "chain": SettingKey(
                "text, or a list",
                "The chains it is on; not needed when there is only one Solana chain.",
            ),
            "start": SettingKey(
                "integer; or a table by chain",
                "The first slot worth reading for it; 0 if not said.",
            ),
            "meanings": MEANINGS,
        },
        {"address": "addresses", "chain": "chains", "start": "starts"},
    ),
    Section(
        "programs.<name>.meanings",
        "The amounts, times and codes of a program without code.",
        None,
        MEANING_KEYS,
    ),
    Section(
        "contracts.<name>.commands.<name>",
        "A command that calls a function of the contract, without code: "
        "`<contract>-<name>`. Its fields are the function's parameters, `wei` of a "
        "payable one, and `contract` where there are several addresses.",
        ContractCommand,
        {
            "role": SettingKey("role, or a list", "Who may ask."),
            "signer": SettingKey(
                "name", 'Who signs; `"caller"`: the client\'s own wallet.'
            ),
            "function": SettingKey(
                "name, or signature",
                "The function; absent: that of the command's name.",
            ),
            "proof": SettingKey("event", "The event that shows that it was done."),
            "doc": SettingKey("text", "What it is for, for those who may ask."),
        },
        {"role": "roles"},
    ),
    Section(
        "tables.<name>",
        "A table folded from the events of contracts, one line a column, in the "
        "language of the declarations ([tables without code](../tables-without-code.md)"
        ").",
        TableSettings,
        {
            "doc": SettingKey("text", "What a row is, for those who read the table."),
            "index": SettingKey("names, or a list", "Columns to sort and filter by."),
            "<column>": SettingKey(
                "text",
                "`Key()`, a fold such as `Sum(token.Transfer.value)`, or an "
                "expression of columns above.",
            ),
        },
        {"<column>": "columns"},
    ),
)
