"""The settings of chains, contracts and signers, as their page has them."""

from db.proofs import Verify
from ops.docs.section import ADDRESSES, AMOUNT, Key, Section, choices
from ops.settings import (
    ChainSettings,
    ContractCommand,
    ContractSettings,
    Fees,
    Finality,
    Logs,
    ProgramSettings,
    SignerKind,
    SignerSettings,
    TableSettings,
)

CHAIN_SECTIONS = (
    Section(
        "chains.<name>",
        "A chain to follow; the name is yours, and stays with what was read.",
        ChainSettings,
        {
            "id": Key("CAIP-2 id", "`eip155:<chain id>`; checked at every endpoint."),
            "rpc": Key("URL, or a list", "The endpoints; all of one chain."),
            "finality": Key(
                choices(Finality),
                "How blocks become final: at once, as the node's `finalized` tag "
                "says, or after `finality_depth` blocks (`commitment`: Solana).",
            ),
            "finality_depth": Key("integer", 'Goes with `finality = "depth"` only.'),
            "start_block": Key("integer", "The first block worth reading."),
            "logs": Key(
                choices(Logs),
                "Every log of a block, or only those of our contracts; a chain keeps "
                "its way, for it numbers the facts.",
            ),
            "genesis": Key("block hash", "Of block 0; another chain is refused."),
            "poll_seconds": Key("number", "How often the head is asked for."),
            "stall_seconds": Key("number", "A head unchanged for longer is a stall."),
            "watch_senders": Key(
                ADDRESSES, "Accounts whose transactions are kept too."
            ),
            "fees": Key(
                choices(Fees),
                "What our own transactions offer for gas: one price, or, of type 2, a "
                "most and a tip.",
            ),
            "verify_bloom": Key(
                choices(Verify),
                "Compare logs with the headers' blooms: near the head on chains that "
                "write them (a chain that had true ones is not let off them), of every "
                "block, or not at all.",
            ),
            "verify_receipts": Key(
                choices(Verify),
                "Read receipts and compare their trie with the header's root, which "
                "proves that no log is missing: near the head while those of a block "
                "fit one request, of every block, or not at all.",
            ),
            "require": Key(
                "`{ header, logs }`",
                "The least that must be proved of a block before it is written: "
                '`header = "parent" | "hash" | "seals"`, '
                '`logs = "none" | "bloom" | "receipts"`.',
            ),
            "validators": Key(
                "address, or a list",
                "The IBFT validators due after `validators_block`, in the order of the "
                "headers; on BLS chains `address:key`. Needed for seals where block 0 "
                "is not read, and where no votes explain a new set (PoS).",
            ),
            "validators_block": Key("integer", "Goes with `validators`."),
            "audit_blocks": Key(
                "integer",
                "So many blocks of history are proved between two polls while nothing "
                "is to be read: seals and receipts of blocks that were read without. "
                "0: none.",
            ),
            "contracts": Key("section", "See below."),
            "programs": Key("section", "See below."),
        },
    ),
    Section(
        "chains.<name>.contracts",
        "Where the declared contracts are, by the name of their declaration; those "
        "that a factory makes are found by themselves.",
        None,
        {
            "<contract>": Key(
                f"{ADDRESSES}; or `{{ address, start }}`",
                "Its address, and the first block worth reading for it.",
            )
        },
    ),
    Section(
        "chains.<name>.programs",
        "The programs of a Solana chain, by the name of their declaration.",
        None,
        {
            "<program>": Key(
                "address in base58, or a list; or `{ address, start }`",
                "The program's address, and the first slot worth reading for it.",
            )
        },
    ),
    Section(
        "contracts.<name>",
        "A contract declared by its ABI alone; its events become tables whose names "
        "begin with the name. `address` or `factory` is needed; with both, it is at "
        "the addresses and wherever it is announced.",
        ContractSettings,
        {
            "abi": Key(
                "path, or a list",
                "A JSON list, or `{abi: [...]}`; relative to the file. Of several, "
                "the union counts; an event that two files have must be the same.",
            ),
            "address": Key(
                f"{ADDRESSES}; or a table by chain",
                "Where it is: on every chain, or `{ edge = …, main = … }`.",
            ),
            "factory": Key(
                "`{ contract, event, param }`, or a list",
                "What announces its addresses: a parameter of a contract's event, an "
                "address or a list of them, or several such parameters. `event` is a "
                "name, or the signature of an overloaded event; a parameter without a "
                "name is `arg0`, `arg1` … by its place. The contract may be made by a "
                "factory too, and by itself.",
            ),
            "chain": Key(
                "text, or a list",
                "The chains it is on; not needed when there is only one. Its tables "
                "are the same for all, with a column `chain`, which is part of the key "
                "of every projection.",
            ),
            "start": Key(
                "integer; or a table by chain",
                "The first block worth reading for it; 0 if not said.",
            ),
            "tagged": Key(
                "true or false",
                "Calls end with their command's id, which contracts do not read; false "
                "for one that does (it hashes its calldata, or passes it on).",
            ),
        },
        {
            "address": "addresses",
            "factory": "factories",
            "chain": "chains",
            "start": "starts",
        },
    ),
    Section(
        "programs.<name>",
        "A Solana program declared by its IDL alone; its events and instructions "
        "become tables whose names begin with the name.",
        ProgramSettings,
        {
            "idl": Key(
                "path",
                "The IDL, as Anchor writes it (`target/idl/<program>.json`), of any "
                "version; relative to the file.",
            ),
            "address": Key(
                "address in base58, or a list; or a table by chain",
                "Where it is; not needed when the IDL says.",
            ),
            "chain": Key(
                "text, or a list",
                "The chains it is on; not needed when there is only one Solana chain.",
            ),
            "start": Key(
                "integer; or a table by chain",
                "The first slot worth reading for it; 0 if not said.",
            ),
        },
        {"address": "addresses", "chain": "chains", "start": "starts"},
    ),
    Section(
        "contracts.<name>.commands.<name>",
        "A command that calls a function of the contract, without code: "
        "`<contract>-<name>`. Its fields are the function's parameters, `wei` of a "
        "payable one, and `contract` where there are several addresses.",
        ContractCommand,
        {
            "role": Key("role, or a list", "Who may ask."),
            "signer": Key("name", 'Who signs; `"caller"`: the client\'s own wallet.'),
            "function": Key(
                "name, or signature",
                "The function; absent: that of the command's name.",
            ),
            "proof": Key("event", "The event that shows that it was done."),
            "doc": Key("text", "What it is for, for those who may ask."),
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
            "doc": Key("text", "What a row is, for those who read the table."),
            "index": Key("names, or a list", "Columns to sort and filter by."),
            "<column>": Key(
                "text",
                "`Key()`, a fold such as `Sum(token.Transfer.value)`, or an "
                "expression of columns above.",
            ),
        },
        {"<column>": "columns"},
    ),
    Section(
        "signers.<name>",
        "A key, by where it is kept; never the key itself.",
        SignerSettings,
        {
            "kind": Key(choices(SignerKind), "Where the key is kept."),
            "path": Key("path", 'The keystore file; with `"keystore"`.'),
            "password_env": Key("text", "The variable with the keystore's password."),
            "env": Key("text", 'The variable with the key; with `"env"`.'),
            "url": Key(
                "URL",
                'With `"remote"`: where `chainfold sign serve`, or a web3signer, '
                "listens; `unix:/path/to/sign.sock` or `http://127.0.0.1:9000`.",
            ),
            "chain": Key(
                "text",
                "The chain that it signs for, a name under `[chains]`; needed where "
                "there are several.",
            ),
            "address": Key("address", "The account that is expected."),
            "allow": Key(
                "list",
                "What it signs: `IssuerRegistry.registerIssuer`, or "
                "`CampaignImplementation.*` for every function; at the addresses of "
                "`[chains.<name>.contracts]` and wherever the contract's factory made "
                "one; `filler` for transfers of nothing to itself, by which a nonce is "
                "given up. Absent: `filler`, and what its declared commands call.",
            ),
            "value_per_transaction": Key(AMOUNT, "The most that is sent at a time."),
            "value_per_day": Key(AMOUNT, "The most that is sent in a day (UTC)."),
            "gas_per_day": Key(
                AMOUNT,
                "The most that gas may cost in a day (UTC), counted by what each "
                "transaction could cost.",
            ),
            "gas_price_max": Key(AMOUNT, "The most that is paid for a unit of gas."),
            "bump_most_times": Key(
                "number",
                "The most that a replacement pays, as a multiple of the price that the "
                "node suggests.",
            ),
            "max_in_flight": Key(
                "integer",
                "How many nonces are open at once; less than the node keeps for an "
                "account (Polygon Edge: 128).",
            ),
        },
    ),
)
